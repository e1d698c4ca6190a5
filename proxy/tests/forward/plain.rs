//! What goes through: heads, bodies of all framings, trailers, version translation, upgrades, limits on bodies.

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use rust_ingress_model::AppProtocol;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::rig::*;

/// Answers with what it got.
async fn echo() -> Server {
    Server::start(|request: Request<hyper::body::Incoming>| async move {
        let (parts, body) = request.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().map_or(0, http::HeaderMap::len);
        let text = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
        Response::builder().header("x-trailers", trailers).header("x-method", parts.method.as_str()).body(full(text)).unwrap()
    })
    .await
}

#[test]
fn a_request_reaches_the_endpoint_in_origin_form_with_its_host() {
    run(async {
        let server = echo().await;
        let front = Front::start(Plan::to(&[server.address]));
        let got = get(&front).await;
        assert_eq!((got.status, got.text()), (200, ""));
        let seen = server.seen.lock().unwrap();
        assert_eq!(seen[0].uri, "/path?q=1");
        assert_eq!(seen[0].headers[header::HOST], "web.test");
        assert!(!seen[0].headers.contains_key(header::CONTENT_LENGTH));
    });
}

#[test]
fn bodies_with_a_length_and_chunked_ones_arrive_whole_over_each_pair_of_versions() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        run(async move {
            let server = echo().await;
            let front = Front::start(Plan::backend(backend(protocol, &[server.address])));
            let long = "0123456789".repeat(100_000);
            for method in ["POST", "PUT", "GET", "DELETE"] {
                assert_eq!(send(&front, request(method, long.clone())).await.text(), long, "{method} h1");
                let got = Client::h2(&front).await.send(request(method, long.clone())).await;
                assert_eq!(got.text(), long, "{method} h2");
                let chunks = ["a", "b", "c"].map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::from(chunk))));
                let stream = StreamBody::new(futures_util::stream::iter(chunks));
                let chunked = Request::builder()
                    .method(method)
                    .uri("/")
                    .header(header::HOST, "web.test")
                    .header(header::TRANSFER_ENCODING, "chunked")
                    .body(stream)
                    .unwrap();
                assert_eq!(Client::h1(&front).await.send(chunked).await.text(), "abc", "{method} chunked");
            }
        });
    }
}

#[test]
fn trailers_go_both_ways_without_framing_fields() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        run(async move {
            let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
                let trailers = request.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
                let seen = trailers.get("x-sum").map_or("none", |value| value.to_str().unwrap()).to_owned();
                let mut back = http::HeaderMap::new();
                back.insert("grpc-status", "0".parse().unwrap());
                back.insert("x-seen", seen.parse().unwrap());
                back.insert("content-type", "text/evil".parse().unwrap());
                let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(back))];
                Response::builder()
                    .header("trailer", "grpc-status, x-seen, content-type")
                    .body(StreamBody::new(futures_util::stream::iter(frames)).boxed())
                    .unwrap()
            })
            .await;
            let front = Front::start(Plan::backend(backend(protocol, &[server.address])));
            let mut sum = http::HeaderMap::new();
            sum.insert("x-sum", "42".parse().unwrap());
            let frames = [Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(sum))];
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let request = Request::builder()
                .method("POST")
                .uri("http://web.test/")
                .header("te", "trailers")
                .header("trailer", "x-sum")
                .body(body)
                .unwrap();
            let got = Client::h2(&front).await.send(request).await;
            let trailers = got.trailers.expect("trailers");
            assert_eq!(trailers["grpc-status"], "0", "{protocol}");
            assert_eq!(trailers["x-seen"], "42", "{protocol}");
            assert!(!trailers.contains_key("content-type"));
        });
    }
}

#[test]
fn head_204_and_304_have_no_body_and_the_connection_serves_on() {
    run(async {
        let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
            let response = Response::builder();
            match request.uri().path() {
                "/204" => response.status(204).body(full("")).unwrap(),
                "/304" => response.status(304).header("etag", "\"1\"").body(full("")).unwrap(),
                _ => response.body(full("content")).unwrap(),
            }
        })
        .await;
        let front = Front::start(Plan::to(&[server.address]));
        let mut client = Client::h1(&front).await;
        for (method, path, status, length) in
            [("HEAD", "/", 200, "7"), ("GET", "/204", 204, ""), ("GET", "/304", 304, ""), ("GET", "/", 200, "7")]
        {
            let request =
                Request::builder().method(method).uri(path).header("host", "web.test").body(Full::<Bytes>::default()).unwrap();
            let got = client.send(request).await;
            assert_eq!((got.status, got.header("content-length")), (status, length), "{method} {path}");
        }
        assert_eq!(server.connections(), 1, "every answer left the connection usable");
    });
}

#[test]
fn cookies_split_by_http2_are_one_field_for_http1() {
    run(async {
        let server = echo().await;
        let front = Front::start(Plan::to(&[server.address]));
        let request = Request::builder().uri("http://web.test/").header("cookie", "a=1").header("cookie", "b=2");
        Client::h2(&front).await.send(request.body(Full::<Bytes>::default()).unwrap()).await;
        let seen = server.seen.lock().unwrap();
        let cookies: Vec<_> = seen[0].headers.get_all("cookie").iter().collect();
        assert_eq!(cookies, ["a=1; b=2"]);
    });
}

#[test]
fn a_body_over_the_limit_is_413_by_its_length_or_by_its_bytes() {
    run(async {
        let server = echo().await;
        let front = Front::start(Plan::to(&[server.address]).rule(|rule| rule.max_body = Some(10)));
        assert_eq!(send(&front, request("POST", "0123456789")).await.status, 200);
        let got = send(&front, request("POST", "0123456789a")).await;
        assert_eq!((got.status, got.header("x-fault")), (413, "body_too_large"));
        assert_eq!(server.requests(), 1, "known by its length before anything is sent");
        for protocol in [AppProtocol::Http, AppProtocol::H2c] {
            let front = Front::start(Plan::backend(backend(protocol, &[server.address])).rule(|rule| rule.max_body = Some(10)));
            let frames = (0..20).map(|_| Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"1234"))));
            let body = StreamBody::new(futures_util::stream::iter(frames));
            let got = Client::h2(&front).await.send(Request::post("http://web.test/").body(body).unwrap()).await;
            assert_eq!((got.status, got.header("x-fault")), (413, "body_too_large"), "{protocol}");
        }
    });
}

#[test]
fn a_response_streams_before_the_request_has_ended() {
    for protocol in [AppProtocol::Http, AppProtocol::H2c] {
        run(async move {
            let server = Server::start(|request: Request<hyper::body::Incoming>| async move {
                Response::new(request.into_body().map_err(Into::into).boxed())
            })
            .await;
            let front = Front::start(Plan::backend(backend(protocol, &[server.address])));
            let (sender, receiver) = futures_channel();
            let request = Request::post("http://web.test/").body(StreamBody::new(receiver)).unwrap();
            let mut response = Client::h2(&front).await.open(request).await;
            for word in ["one", "two", "three"] {
                sender.send(Ok(Frame::data(Bytes::from(word)))).unwrap();
                let frame = response.body_mut().frame().await.unwrap().unwrap();
                assert_eq!(frame.into_data().unwrap(), word, "{protocol}");
            }
            drop(sender);
            assert!(response.into_body().collect().await.unwrap().to_bytes().is_empty(), "{protocol}");
        });
    }
}

type Frames = tokio::sync::mpsc::UnboundedSender<Result<Frame<Bytes>, std::io::Error>>;

/// A stream of frames that a test sends when it likes.
pub fn futures_channel() -> (Frames, impl futures_util::Stream<Item = Result<Frame<Bytes>, std::io::Error>> + Send + Unpin) {
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    (sender, futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx)))
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    run(async {
        let endpoint = raw(|mut stream, _| async move {
            let head = read_head(&mut stream).await.to_ascii_lowercase();
            assert!(head.contains("upgrade: chat") && head.contains("connection: upgrade"), "{head}");
            stream
                .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\nhello ")
                .await
                .unwrap();
            let mut buffer = [0; 5];
            stream.read_exact(&mut buffer).await.unwrap();
            stream.write_all(&buffer).await.unwrap();
        })
        .await;
        let front = Front::start(Plan::to(&[endpoint]));
        let mut client = TcpStream::connect(front.address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: web.test\r\nconnection: upgrade\r\nupgrade: chat\r\n\r\n").await.unwrap();
        assert!(read_head(&mut client).await.starts_with("HTTP/1.1 101 "));
        client.write_all(b"world").await.unwrap();
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "hello world");
    });
}

#[test]
fn an_upgrade_that_the_endpoint_declines_is_answered_as_it_answers() {
    run(async {
        let server = echo().await;
        let front = Front::start(Plan::to(&[server.address]));
        let request =
            Request::builder().uri("/").header("host", "web.test").header("connection", "upgrade").header("upgrade", "chat");
        let got = send(&front, request.body(Full::default()).unwrap()).await;
        assert_eq!((got.status, got.header("x-method")), (200, "GET"));
    });
}
