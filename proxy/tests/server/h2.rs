//! HTTP/2: prior knowledge and over TLS, both with the same gate; streams, trailers, floods, going away.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, StatusCode, Version};
use rust_ingress_model::{AppProtocol, Backend, Discovery, Endpoint, Part};
use tokio::net::TcpStream;

use crate::support::{Draft, Echo, PATIENCE, Served, backend_key, options};
use crate::tls::{certificate, trusting};

/// Runs a client on a runtime of its own, within bounds.
fn client<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("it ends in time") })
}

async fn connect(served: &Served) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(served.address("http")).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    send.ready().await.unwrap()
}

/// One exchange without a request body: status and body.
async fn ask(send: &mut SendRequest<Bytes>, request: Request<()>) -> Result<(StatusCode, String), h2::Error> {
    let (response, _) = send.send_request(request, true)?;
    let (parts, mut body) = response.await?.into_parts();
    let mut text = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        text.extend_from_slice(&data);
    }
    Ok((parts.status, String::from_utf8_lossy(&text).into_owned()))
}

fn get(uri: &str) -> Request<()> {
    Request::builder().version(Version::HTTP_2).uri(uri).body(()).unwrap()
}

#[test]
fn prior_knowledge_is_served_over_one_connection() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    client(async {
        let mut send = connect(&served).await;
        for round in 0..5 {
            let (status, text) = ask(&mut send, get(&format!("http://b.example/{round}"))).await.unwrap();
            let text = text.to_ascii_lowercase();
            assert_eq!(status, 200, "{text}");
            assert!(
                text.starts_with(&format!("get /{round} http/1.1\r\n")) && text.contains("\r\nhost: b.example\r\n"),
                "{text}"
            );
        }
    });
}

#[test]
fn over_tls_it_is_chosen_by_alpn() {
    let echo = Echo::new();
    let one = certificate(&["a.example"]);
    let served = Served::new(options(), &Draft::to(echo.address).https(&[], Some(&one)));
    client(async {
        let stream = TcpStream::connect(served.address("https")).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(trusting(&[&one], &[b"h2"]));
        let tls = connector.connect("a.example".try_into().unwrap(), stream).await.unwrap();
        let (send, connection) = h2::client::handshake(tls).await.unwrap();
        tokio::spawn(connection);
        let mut send = send.ready().await.unwrap();
        let (status, text) = ask(&mut send, get("https://a.example/x")).await.unwrap();
        assert!(status == 200 && text.to_ascii_lowercase().contains("x-forwarded-proto: https"), "{text}");
    });
}

#[test]
fn the_gate_holds_for_it_too() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    client(async {
        let mut send = connect(&served).await;
        for (request, expected) in [
            (get("http://a/x%2fy"), 400),
            (get("http://a/../x"), 400),
            (get("http://a/caf\u{e9}"), 400),
            (Request::builder().uri("http://a/").header("host", "b").body(()).unwrap(), 400),
        ] {
            let named = format!("{request:?}");
            assert_eq!(ask(&mut send, request).await.unwrap().0.as_u16(), expected, "{named}");
        }
        let crumbs = Request::builder().uri("http://a/./c").header("host", "a").header("x_forwarded_for", "6.6.6.6");
        let crumbs = crumbs.header("cookie", "a=1").header("cookie", "b=2").body(()).unwrap();
        let (status, text) = ask(&mut send, crumbs).await.unwrap();
        assert!(status == 200 && text.starts_with("GET /c ") && !text.contains("6.6.6.6"), "{text}");
        assert!(text.contains("cookie: a=1; b=2\r\n"), "{text}");
    });
    assert_eq!(echo.count(), 1);
}

#[test]
fn headers_of_a_connection_are_refused() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    client(async {
        for (name, value) in
            [("connection", "close"), ("keep-alive", "5"), ("upgrade", "x"), ("transfer-encoding", "chunked"), ("te", "gzip")]
        {
            let mut send = connect(&served).await;
            let mut request = get("http://a/");
            request.headers_mut().insert(name, value.parse().unwrap());
            let outcome = ask(&mut send, request).await;
            assert!(!matches!(outcome, Ok((status, _)) if status.is_success()), "{name}");
        }
    });
    assert_eq!(echo.count(), 0);
}

#[test]
fn a_flood_of_resets_closes_the_connection() {
    let echo = Echo::new();
    let served = Served::new(options(), &Draft::to(echo.address));
    client(async {
        let mut send = connect(&served).await;
        let mut closed = false;
        for _ in 0..20_000 {
            let Ok(ready) = send.ready().await else {
                closed = true;
                break;
            };
            send = ready;
            match send.send_request(get("http://a/"), false) {
                Ok((_, mut stream)) => stream.send_reset(h2::Reason::CANCEL),
                Err(_) => {
                    closed = true;
                    break;
                }
            }
            tokio::task::yield_now().await;
        }
        assert!(closed, "the connection is closed on a client that only resets");
    });
    // Others are served.
    client(async { assert_eq!(ask(&mut connect(&served).await, get("http://a/")).await.unwrap().0, 200) });
}

#[test]
fn grpc_gets_its_own_kind_of_answer() {
    let served = Served::new(options(), &Draft::default().listen("http", crate::support::listener()));
    client(async {
        let mut send = connect(&served).await;
        let request = Request::post("http://a/s/M").header("content-type", "application/grpc").body(()).unwrap();
        let (response, _) = send.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "12");
        assert!(response.body().is_end_stream());
    });
}

/// An h2c endpoint that sends each frame back, and trailers at the end.
async fn grpc_like() -> std::net::SocketAddr {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    tokio::spawn(async move {
                        let mut send = respond.send_response(http::Response::new(()), false).unwrap();
                        let mut body = request.into_body();
                        while let Some(Ok(data)) = body.data().await {
                            body.flow_control().release_capacity(data.len()).unwrap();
                            send.send_data(data, false).unwrap();
                        }
                        let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())].into_iter().collect();
                        send.send_trailers(trailers).unwrap();
                    });
                }
            });
        }
    });
    address
}

#[test]
fn both_directions_stream_at_once_with_trailers_at_the_end_across_swaps() {
    client(async {
        let endpoint = Endpoint { address: grpc_like().await, target: None, zone: None };
        let mut draft = Draft::to(endpoint.address);
        let backend = Backend {
            protocol: AppProtocol::H2c,
            tls: None,
            balance: Default::default(),
            discovery: Discovery::Endpoints(vec![endpoint]),
        };
        draft.snapshot.backends.insert(backend_key(), Part::new(backend));
        let served = Arc::new(Served::new(options(), &draft));
        let mut send = connect(&served).await;
        let request =
            Request::post("http://a/s/M").header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
        let (response, mut up) = send.send_request(request, false).unwrap();
        up.send_data(Bytes::from_static(b"0"), false).unwrap();
        let mut down = response.await.unwrap().into_body();
        assert_eq!(down.data().await.unwrap().unwrap(), "0");
        for round in 1..10 {
            draft.publish(&served.proxy);
            up.send_data(Bytes::from(round.to_string()), false).unwrap();
            assert_eq!(down.data().await.unwrap().unwrap(), round.to_string());
        }
        up.send_data(Bytes::new(), true).unwrap();
        assert!(down.data().await.is_none());
        assert_eq!(down.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn going_away_is_announced_and_streams_end_first() {
    client(async {
        let endpoint = Endpoint { address: grpc_like().await, target: None, zone: None };
        let mut draft = Draft::to(endpoint.address);
        let backend = Backend {
            protocol: AppProtocol::H2c,
            tls: None,
            balance: Default::default(),
            discovery: Discovery::Endpoints(vec![endpoint]),
        };
        draft.snapshot.backends.insert(backend_key(), Part::new(backend));
        let served = Served::new(options(), &draft);
        let stream = TcpStream::connect(served.address("http")).await.unwrap();
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut send: SendRequest<Bytes> = send.ready().await.unwrap();
        let (response, mut up) = send.send_request(Request::post("http://a/s/M").body(()).unwrap(), false).unwrap();
        let mut down = response.await.unwrap().into_body();
        let stopping = tokio::task::spawn_blocking(move || served.proxy.stop());
        while send.clone().ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
        up.send_data(Bytes::from_static(b"late"), true).unwrap();
        assert_eq!(down.data().await.unwrap().unwrap(), "late", "a stream in flight goes on behind GOAWAY");
        while let Some(data) = down.data().await {
            data.unwrap();
        }
        drop((send, down, up));
        let _ = connection.await.unwrap();
        stopping.await.unwrap();
    });
}
