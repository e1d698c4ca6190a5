//! Endpoints that misbehave, endpoints that aren't there, and what the client is told.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rust_ingress_model::route::Retry;
use rust_ingress_model::{AppProtocol, BackendRef, Discovery, WeightedBackend};
use tokio::io::AsyncWriteExt;

use crate::plain::futures_channel;
use crate::rig::*;

/// A front to an endpoint that answers every request with these bytes and closes.
async fn answering(bytes: impl Into<String>) -> Front {
    let bytes = bytes.into();
    let endpoint = raw(move |mut stream, _| {
        let bytes = bytes.clone();
        async move {
            read_head(&mut stream).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    })
    .await;
    Front::start(Plan::to(&[endpoint]))
}

#[test]
fn what_is_no_response_is_502_with_the_endpoint_named() {
    run(async {
        let cases = [
            ("", "upstream_reset"),
            ("HTTP/1.1 200 OK\r\ncontent-le", "upstream_reset"),
            ("garbage and no HTTP at all\r\n\r\n", "upstream_protocol"),
            ("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "upstream_protocol"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", "upstream_protocol"),
            ("HTTP/1.1 999999 OK\r\n\r\n", "upstream_protocol"),
        ];
        for (bytes, flag) in cases {
            let got = get(&answering(bytes).await).await;
            assert_eq!((got.status, got.header("x-fault")), (502, flag), "{bytes:?}");
            assert!(got.text().contains("127.0.0.1:") && got.text().contains("default/web:80"), "{}", got.text());
        }
        let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
        let got = get(&answering(huge).await).await;
        assert_eq!((got.status, got.header("x-fault")), (502, "upstream_protocol"));
    });
}

#[test]
fn a_response_that_breaks_off_is_broken_for_the_client_too() {
    run(async {
        for head in ["content-length: 10\r\n", "transfer-encoding: chunked\r\n"] {
            let seen = Arc::new(tokio::sync::Notify::new());
            let told = seen.clone();
            let endpoint = raw(move |mut stream, _| {
                let told = told.clone();
                async move {
                    read_head(&mut stream).await;
                    stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n5\r\nab").as_bytes()).await.unwrap();
                    told.notified().await;
                }
            })
            .await;
            let front = Front::start(Plan::to(&[endpoint]));
            let response = Client::h1(&front).await.open(request("GET", "")).await;
            assert_eq!(response.status(), 200);
            seen.notify_one();
            response.into_body().collect().await.unwrap_err();
        }
    });
}

#[test]
fn a_response_without_a_length_ends_with_the_connection() {
    run(async {
        let got = get(&answering("HTTP/1.1 200 OK\r\n\r\nall of it").await).await;
        assert_eq!((got.status, got.text()), (200, "all of it"));
    });
}

#[test]
fn interim_responses_are_dropped() {
    run(async {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n".repeat(3);
        let got = get(&answering(format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).await).await;
        assert_eq!((got.status, got.text(), got.header("link")), (200, "ok", ""));
    });
}

#[test]
fn an_early_response_comes_through_while_the_body_is_still_sent() {
    run(async {
        let front = answering("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 2\r\n\r\nno").await;
        let (sender, receiver) = futures_channel();
        sender.send(Ok(Frame::data(Bytes::from_static(b"first")))).unwrap();
        let request = Request::post("/").header("host", "web.test").body(StreamBody::new(receiver)).unwrap();
        let got = Client::h1(&front).await.send(request).await;
        assert_eq!((got.status, got.text()), (403, "no"));
        drop(sender);
    });
}

#[test]
fn timeouts_of_the_rule_are_answered_by_their_kind() {
    run(async {
        let silent = raw(|stream, _| async move {
            tokio::time::sleep(PATIENCE).await;
            drop(stream);
        })
        .await;
        let front = Front::start(Plan::to(&[silent]).rule(|rule| rule.timeouts.response_headers_ms = Some(50)));
        for body in ["", "body"] {
            let got = send(&front, request("POST", body)).await;
            assert_eq!((got.status, got.header("x-fault")), (504, "response_timeout"));
        }
        let front = Front::start(Plan::to(&[silent]).rule(|rule| rule.timeouts.request_ms = Some(50)));
        let got = get(&front).await;
        assert_eq!((got.status, got.header("x-fault")), (504, "request_timeout"));

        let stalls = raw(|mut stream, _| async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
            tokio::time::sleep(PATIENCE).await;
        })
        .await;
        for change in [
            |t: &mut rust_ingress_model::Timeouts| t.idle_ms = Some(50),
            |t: &mut rust_ingress_model::Timeouts| t.request_ms = Some(100),
        ] {
            let got = get(&Front::start(Plan::to(&[stalls]).rule(|rule| change(&mut rule.timeouts)))).await;
            assert_eq!(got.status, 200);
            got.body.unwrap_err();
        }
    });
}

#[test]
fn a_client_that_stops_sending_its_body_is_408() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        run(async move {
            let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
                let _ = request.into_body().collect().await;
                Response::new(full("never"))
            })
            .await;
            let plan = Plan::backend(backend(protocol, &[server.address])).rule(|rule| rule.timeouts.idle_ms = Some(100));
            let (sender, receiver) = futures_channel();
            sender.send(Ok(Frame::data(Bytes::from_static(b"first")))).unwrap();
            let request = Request::post("/").header("host", "web.test").body(StreamBody::new(receiver)).unwrap();
            let got = Client::h1(&Front::start(plan)).await.send(request).await;
            assert_eq!((got.status, got.header("x-fault")), (408, "client_timeout"), "{protocol}");
            drop(sender);
        });
    }
}

#[test]
fn without_a_timeout_nothing_is_cut() {
    run(async {
        let slow = raw(|mut stream, _| async move {
            read_head(&mut stream).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            write(stream, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        })
        .await;
        let front = Front::start(Plan::to(&[slow]).rule(|rule| {
            rule.timeouts.response_headers_ms = Some(0);
            rule.timeouts.idle_ms = Some(0);
            rule.timeouts.request_ms = Some(0);
            rule.timeouts.connect_ms = Some(0);
        }));
        assert_eq!(get(&front).await.text(), "ok");
    });
}

#[test]
fn a_backend_that_fails_as_stated_answers_so() {
    run(async {
        let absent = Plan::backend({
            let mut backend = backend(AppProtocol::Http, &[]);
            backend.discovery = Discovery::Absent("Service default/web isn't there; make it".into());
            backend
        });
        let got = get(&Front::start(absent)).await;
        assert_eq!((got.status, got.header("x-fault")), (503, "no_endpoints"));
        assert_eq!(got.text(), "Service default/web isn't there; make it");

        let got = get(&Front::start(Plan::to(&[]))).await;
        assert_eq!((got.status, got.header("x-fault")), (503, "no_endpoints"));

        let own = Plan::backend({
            let mut backend = backend(AppProtocol::Http, &[]);
            backend.discovery = Discovery::Dns { name: "localhost".into(), port: 80 };
            backend
        });
        let got = get(&Front::start(own)).await;
        assert_eq!((got.status, got.header("x-fault")), (503, "resolve_failed"), "an ExternalName that leads to this host");

        for status in [404, 500, 503] {
            let fail = BackendRef::Fail { status, reason: "as stated".into() };
            let plan = Plan::to(&[]).rule(|rule| {
                rule.backends = vec![WeightedBackend { backend: fail, weight: 1, filters: Vec::new() }];
            });
            let got = get(&Front::start(plan)).await;
            assert_eq!((got.status, got.header("x-fault"), got.text()), (status, "backend_invalid", "as stated"));
        }
        let got = get(&Front::start(Plan::to(&[]).rule(|rule| rule.backends.clear()))).await;
        assert_eq!((got.status, got.header("x-fault")), (500, "backend_invalid"));
    });
}

#[test]
fn a_refused_connection_is_tried_on_other_endpoints_whatever_the_method() {
    run(async {
        let server = Server::named("ok").await;
        let front = Front::start(Plan::to(&[refusing().await, server.address, refusing().await]));
        for method in ["GET", "POST", "PATCH"] {
            for _ in 0..10 {
                assert_eq!(send(&front, request(method, "body")).await.text(), "ok");
            }
        }
        let got = get(&Front::start(Plan::to(&[refusing().await, refusing().await]))).await;
        assert_eq!((got.status, got.header("x-fault"), got.header("x-retries")), (502, "connect_failed", "1"));
    });
}

fn retry(codes: &[u16]) -> Retry {
    Retry { attempts: 2, codes: codes.to_vec(), backoff_ms: 1 }
}

#[test]
fn the_retry_of_a_rule_sends_the_body_again() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        run(async move {
            let count = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let server = Server::start(move |request: Request<hyper::body::Incoming>| {
                let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    Response::builder().status(if number % 3 < 2 { 503 } else { 200 }).body(full(body)).unwrap()
                }
            })
            .await;
            let plan =
                |codes: &[u16]| Plan::backend(backend(protocol, &[server.address])).rule(|rule| rule.retry = Some(retry(codes)));
            let front = Front::start(plan(&[502, 503]));
            let got = send(&front, request("PUT", "again")).await;
            assert_eq!((got.status, got.text(), got.header("x-retries")), (200, "again", "2"), "{protocol}");

            let got = send(&front, request("POST", "once")).await;
            assert_eq!((got.status, got.header("x-retries")), (503, "0"), "not idempotent");
            let got = send(&Front::start(plan(&[504])), request("PUT", "x")).await;
            assert_eq!((got.status, got.header("x-retries")), (503, "0"), "not among the codes");
            assert_eq!(get(&front).await.status, 200);

            let big = "b".repeat((64 << 10) + 1);
            let got = send(&front, request("PUT", big)).await;
            assert_eq!((got.status, got.header("x-retries")), (503, "0"), "larger than the replay buffer");
        });
    }
}

#[test]
fn the_retry_of_a_rule_covers_broken_connections() {
    run(async {
        let endpoint = raw(|mut stream, number| async move {
            read_head(&mut stream).await;
            write(stream, if number < 2 { "" } else { "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" }).await;
        })
        .await;
        let front = Front::start(Plan::to(&[endpoint]).rule(|rule| rule.retry = Some(retry(&[]))));
        let got = send(&front, request("PUT", "body")).await;
        assert_eq!((got.status, got.header("x-retries")), (200, "2"));
    });
}

#[test]
fn more_requests_than_may_wait_for_endpoints_are_shed() {
    run(async {
        let server = Server::start(|_| async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Response::new(full("ok"))
        })
        .await;
        let front = Front::start(Plan::to(&[server.address]).options(|options| options.limits.requests_in_flight = 2));
        let all = futures_util::future::join_all((0..6).map(|_| get(&front))).await;
        let shed: Vec<_> = all.iter().filter(|got| got.status == 503).collect();
        assert_eq!((all.iter().filter(|got| got.status == 200).count(), shed.len()), (2, 4));
        assert!(shed.iter().all(|got| got.header("x-fault") == "overloaded"));
        assert_eq!(get(&front).await.status, 200, "and taken again afterwards");
    });
}
