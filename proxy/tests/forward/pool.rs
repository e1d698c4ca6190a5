//! Connections: kept, reused, closed, and the race with an endpoint that closes them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use rust_ingress_model::AppProtocol;
use rust_ingress_model::backend::Balance;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn connections_are_kept_and_reused_after_every_kind_of_body() {
    run(async {
        let server = Server::start(|request: http::Request<hyper::body::Incoming>| async move {
            if request.uri().path() == "/chunked" {
                return Response::new(request.into_body().map_err(Into::into).boxed());
            }
            let body = request.into_body().collect().await.unwrap().to_bytes();
            Response::new(full(body))
        })
        .await;
        let front = Front::start(Plan::to(&[server.address]));
        for body in ["", "short", &"long".repeat(100_000)] {
            for method in ["GET", "POST"] {
                assert_eq!(send(&front, request(method, body.to_owned())).await.text(), body);
                let mut chunked = request(method, body.to_owned());
                *chunked.uri_mut() = "/chunked".parse().unwrap();
                assert_eq!(send(&front, chunked).await.text(), body);
            }
        }
        assert_eq!((server.requests(), server.connections()), (12, 1));
    });
}

#[test]
fn a_connection_that_the_endpoint_ends_is_not_reused() {
    run(async {
        let endpoint = raw(|mut stream, _| async move {
            read_head(&mut stream).await;
            write(stream, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
        })
        .await;
        let front = Front::start(Plan::to(&[endpoint]));
        let mut client = Client::h1(&front).await;
        for _ in 0..5 {
            let got = client.send(request("POST", "x")).await;
            assert_eq!((got.status, got.text(), got.header("x-retries")), (200, "ok", "0"));
        }
    });
}

#[test]
fn an_idle_connection_closed_by_the_endpoint_costs_no_request() {
    run(async {
        let endpoint = raw(|mut stream, _| async move {
            read_head(&mut stream).await;
            write(stream, OK).await;
        })
        .await;
        let front = Front::start(Plan::to(&[endpoint]));
        let mut client = Client::h1(&front).await;
        for _ in 0..10 {
            let got = client.send(request("GET", "")).await;
            assert_eq!((got.status, got.text()), (200, "ok"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

/// Answers one request and closes on the next one, as an endpoint does whose idle timeout has just run out.
async fn closes_on_second(served: Arc<AtomicUsize>) -> SocketAddr {
    raw(move |mut stream, number| {
        let served = served.clone();
        async move {
            read_head(&mut stream).await;
            served.fetch_add(1, Ordering::SeqCst);
            stream.write_all(OK.as_bytes()).await.unwrap();
            read_head(&mut stream).await;
            if number > 0 {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await
}

#[test]
fn the_reuse_race_is_lost_once_for_idempotent_requests() {
    run(async {
        let served = Arc::new(AtomicUsize::new(0));
        let front = Front::start(Plan::to(&[closes_on_second(served.clone()).await]));
        let mut client = Client::h1(&front).await;
        assert_eq!(client.send(request("GET", "")).await.status, 200);
        let got = client.send(request("GET", "")).await;
        assert_eq!((got.status, got.header("x-retries")), (200, "1"));
        assert_eq!(served.load(Ordering::SeqCst), 2, "the second went to a connection of its own");
    });
}

#[test]
fn the_reuse_race_is_not_retried_for_a_request_that_may_have_been_seen() {
    run(async {
        let front = Front::start(Plan::to(&[closes_on_second(Arc::default()).await]));
        let mut client = Client::h1(&front).await;
        assert_eq!(client.send(request("GET", "")).await.status, 200);
        let got = client.send(request("POST", "x")).await;
        assert_eq!((got.status, got.header("x-fault"), got.header("x-retries")), (502, "upstream_reset", "0"));
    });
}

#[test]
fn idle_connections_are_closed_after_their_time() {
    run(async {
        let (closed, mut when) = tokio::sync::mpsc::unbounded_channel();
        let endpoint = raw(move |mut stream, _| {
            let closed = closed.clone();
            async move {
                read_head(&mut stream).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
                let rest = stream.read(&mut [0; 1]).await.unwrap();
                closed.send(rest).unwrap();
            }
        })
        .await;
        let front =
            Front::start(Plan::to(&[endpoint]).options(|options| options.timeouts.upstream_idle = Duration::from_millis(100)));
        assert_eq!(get(&front).await.status, 200);
        assert_eq!(when.recv().await, Some(0));
    });
}

/// Answers every request, and tells when the connection was closed.
async fn telling(closed: tokio::sync::mpsc::UnboundedSender<()>) -> SocketAddr {
    raw(move |mut stream, _| {
        let closed = closed.clone();
        async move {
            while !read_head(&mut stream).await.is_empty() {
                stream.write_all(OK.as_bytes()).await.unwrap();
            }
            closed.send(()).unwrap();
        }
    })
    .await
}

#[test]
fn connections_to_endpoints_that_left_the_table_are_closed_once_idle() {
    run(async {
        let (closed, mut leaves) = tokio::sync::mpsc::unbounded_channel();
        let (never, mut stays) = tokio::sync::mpsc::unbounded_channel();
        let endpoints = [telling(closed).await, telling(never).await];
        let both = || {
            let mut backend = backend(AppProtocol::Http, &endpoints);
            backend.balance = Balance::RoundRobin;
            Plan::backend(backend)
        };
        let front = Front::start(both().options(|options| options.timeouts.upstream_idle = PATIENCE));
        for _ in 0..4 {
            assert_eq!(get(&front).await.status, 200);
        }
        front.publish(&Plan::to(&endpoints[1..]));
        while leaves.try_recv().is_err() {
            assert_eq!(get(&front).await.status, 200);
        }
        stays.try_recv().unwrap_err();
    });
}

#[test]
fn connections_survive_a_swap() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        run(async move {
            let (stays, other) = (Server::named("stays").await, Server::named("other").await);
            let front = Front::start(Plan::backend(backend(protocol, &[stays.address])));
            assert_eq!(get(&front).await.text(), "stays");
            front.publish(&Plan::backend(backend(protocol, &[stays.address, other.address])));
            while other.requests() == 0 {
                get(&front).await;
            }
            front.publish(&Plan::backend(backend(protocol, &[stays.address])));
            for _ in 0..20 {
                get(&front).await;
            }
            assert_eq!((stays.connections(), other.connections()), (1, 1), "{protocol}");
        });
    }
}

#[test]
fn no_more_idle_connections_are_kept_than_allowed() {
    run(async {
        let server = Server::start(|_| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Response::new(full("ok"))
        })
        .await;
        let front = Front::start(Plan::to(&[server.address]).options(|options| options.limits.idle_per_endpoint = 2));
        let all = (0..8).map(|_| get(&front));
        futures_util::future::join_all(all).await;
        assert_eq!(server.connections(), 8);
        let all = (0..8).map(|_| get(&front));
        futures_util::future::join_all(all).await;
        assert_eq!(server.connections(), 14, "two of eight were kept");
    });
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    run(async {
        let (gone, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let endpoint = raw(move |mut stream, _| {
            let gone = gone.clone();
            async move {
                read_head(&mut stream).await;
                gone.send("asked").unwrap();
                assert_eq!(stream.read(&mut [0; 1]).await.unwrap_or(0), 0);
                gone.send("gone").unwrap();
            }
        })
        .await;
        let front = Front::start(Plan::to(&[endpoint]));
        for _ in 0..3 {
            let mut client = TcpStream::connect(front.address).await.unwrap();
            client.write_all(b"GET / HTTP/1.1\r\nhost: web.test\r\n\r\n").await.unwrap();
            assert_eq!(seen.recv().await, Some("asked"));
            drop(client);
            assert_eq!(seen.recv().await, Some("gone"));
        }
    });
}
