//! HTTP/2 to endpoints: shared connections, their limit on streams, goodbyes, gRPC-like streams.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rust_ingress_model::AppProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::plain::futures_channel;
use crate::rig::*;

fn front(endpoints: &[std::net::SocketAddr]) -> Front {
    Front::start(Plan::backend(backend(AppProtocol::H2c, endpoints)))
}

#[test]
fn requests_share_one_connection_and_carry_authority_and_scheme() {
    run(async {
        let server = Server::start(|_| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Response::new(full("ok"))
        })
        .await;
        let front = front(&[server.address]);
        let all = futures_util::future::join_all((0..20).map(|_| get(&front))).await;
        assert!(all.iter().all(|got| got.status == 200));
        assert_eq!((server.requests(), server.connections()), (20, 1));
        let seen = server.seen.lock().unwrap();
        assert_eq!(seen[0].uri, "http://web.test/path?q=1");
        assert_eq!(seen[0].version, http::Version::HTTP_2);
    });
}

/// An HTTP/2 endpoint made of the `h2` crate: `script` serves one connection.
async fn scripted<F, R>(streams: u32, script: F) -> (std::net::SocketAddr, Arc<AtomicUsize>)
where
    F: Fn(h2::server::Connection<TcpStream, Bytes>, usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (script, number) = (script.clone(), count.fetch_add(1, Ordering::SeqCst));
            tokio::spawn(async move {
                let connection = h2::server::Builder::new().max_concurrent_streams(streams).handshake(stream).await.unwrap();
                script(connection, number).await;
            });
        }
    });
    (address, connections)
}

#[test]
fn a_full_connection_gets_a_second_one_beside_it() {
    run(async {
        let all_there = Arc::new(tokio::sync::Barrier::new(12));
        let most = Arc::new(AtomicUsize::new(0));
        let seen = most.clone();
        let (address, connections) = scripted(4, move |mut connection, _| {
            let (most, all_there) = (seen.clone(), all_there.clone());
            async move {
                let open = Arc::new(AtomicUsize::new(0));
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let (open, all_there) = (open.clone(), all_there.clone());
                    tokio::spawn(async move {
                        if request.method() == "GET" {
                            all_there.wait().await;
                        }
                        open.fetch_sub(1, Ordering::SeqCst);
                        respond.send_response(Response::new(()), true).unwrap();
                    });
                }
            }
        })
        .await;
        let front = front(&[address]);
        assert_eq!(send(&front, request("HEAD", "")).await.status, 200, "the limit is known after the first");
        let all = futures_util::future::join_all((0..12).map(|_| get(&front))).await;
        assert!(all.iter().all(|got| got.status == 200));
        assert_eq!(connections.load(Ordering::SeqCst), 3);
        assert!(most.load(Ordering::SeqCst) <= 4);
    });
}

#[test]
fn after_goaway_requests_go_over_a_new_connection_and_none_fails() {
    run(async {
        let (address, connections) = scripted(100, |mut connection, _| async move {
            let mut served = 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
                served += 1;
                if served == 3 {
                    connection.graceful_shutdown();
                }
            }
        })
        .await;
        let front = front(&[address]);
        for _ in 0..12 {
            let got = send(&front, request("POST", "x")).await;
            assert_eq!((got.status, got.header("x-fault")), (200, ""));
        }
        assert!(connections.load(Ordering::SeqCst) >= 3);
    });
}

#[test]
fn a_refused_stream_is_sent_again_whatever_the_method() {
    run(async {
        let (address, _) = scripted(100, |mut connection, number| async move {
            let mut first = number == 0;
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                if std::mem::take(&mut first) {
                    respond.send_reset(h2::Reason::REFUSED_STREAM);
                } else {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            }
        })
        .await;
        let got = send(&front(&[address]), request("POST", "")).await;
        assert_eq!((got.status, got.header("x-retries")), (200, "1"));
    });
}

#[test]
fn a_reset_stream_is_502_and_spoils_no_other() {
    run(async {
        let (address, connections) = scripted(100, |mut connection, _| async move {
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                if request.method() == "POST" {
                    respond.send_reset(h2::Reason::INTERNAL_ERROR);
                } else {
                    respond.send_response(Response::new(()), true).unwrap();
                }
            }
        })
        .await;
        let front = front(&[address]);
        let got = send(&front, request("POST", "")).await;
        assert_eq!((got.status, got.header("x-fault")), (502, "upstream_reset"));
        assert_eq!(get(&front).await.status, 200);
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn an_endpoint_that_speaks_http1_only_is_502() {
    run(async {
        let endpoint = raw(|mut stream, _| async move {
            let mut some = [0; 24];
            stream.read_exact(&mut some).await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.unwrap();
            // Closing at once would reset the connection, since not all of the preface was read.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let got = get(&front(&[endpoint])).await;
        assert_eq!((got.status, got.header("x-fault")), (502, "upstream_protocol"));
    });
}

#[test]
fn both_streams_of_a_call_run_at_once_and_end_with_trailers() {
    run(async {
        let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
            let mut body = request.into_body();
            let (sender, receiver) = futures_channel();
            tokio::spawn(async move {
                while let Some(Ok(frame)) = body.frame().await {
                    if let Ok(data) = frame.into_data() {
                        sender.send(Ok(Frame::data(data))).unwrap();
                    }
                }
                let mut trailers = http::HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                sender.send(Ok(Frame::trailers(trailers))).unwrap();
            });
            Response::builder()
                .header("content-type", "application/grpc")
                .body(StreamBody::new(receiver).map_err(Into::into).boxed())
                .unwrap()
        })
        .await;
        let front = front(&[server.address]);
        let (sender, receiver) = futures_channel();
        let request = Request::post("http://web.test/call").header("te", "trailers").body(StreamBody::new(receiver)).unwrap();
        let mut response = Client::h2(&front).await.open(request).await;
        for number in 0..50 {
            sender.send(Ok(Frame::data(Bytes::from(format!("message {number}"))))).unwrap();
            let frame = response.body_mut().frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), format!("message {number}"));
        }
        drop(sender);
        let rest = response.into_body().collect().await.unwrap();
        assert_eq!(rest.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(server.seen.lock().unwrap()[0].headers["te"], "trailers");
    });
}

#[test]
fn a_client_that_goes_away_resets_its_stream_alone() {
    run(async {
        let (gone, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let (address, connections) = scripted(100, move |mut connection, _| {
            let gone = gone.clone();
            async move {
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let gone = gone.clone();
                    tokio::spawn(async move {
                        if request.method() == "GET" {
                            respond.send_response(Response::new(()), true).unwrap();
                            return;
                        }
                        gone.send(None).unwrap();
                        let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await.unwrap();
                        gone.send(Some(reason)).unwrap();
                    });
                }
            }
        })
        .await;
        let front = front(&[address]);
        for _ in 0..3 {
            let mut client = TcpStream::connect(front.address).await.unwrap();
            client.write_all(b"DELETE / HTTP/1.1\r\nhost: web.test\r\n\r\n").await.unwrap();
            assert_eq!(seen.recv().await, Some(None));
            drop(client);
            assert_eq!(seen.recv().await, Some(Some(h2::Reason::CANCEL)));
            assert_eq!(get(&front).await.status, 200);
        }
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    });
}
