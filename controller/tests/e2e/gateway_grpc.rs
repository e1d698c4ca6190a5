//! `examples/gateway-grpc`: what its README says happens, happens to a gRPC client. On a port of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2;
use hyper::{HeaderMap, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::program::{Program, output, repository};

/// One message of gRPC: no compression, five bytes.
const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// What a gRPC client sees: where it came from, its messages, its status in the trailers or, without messages, in the head.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    backend: Option<String>,
    messages: Vec<u8>,
    in_trailers: bool,
    status: u8,
}

fn start() -> (Program, SocketAddr, tempfile::TempDir) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let yaml = fs::read_to_string(repository().join("examples/gateway-grpc/gateway.yaml")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.yaml"), yaml.replace("8082", &port.port().to_string())).unwrap();
    (Program::start(folder.path(), &[]), port, folder)
}

async fn call(address: SocketAddr, method: &str, header: Option<(&str, &str)>) -> Seen {
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::post(format!("http://{address}{method}")).header("content-type", "application/grpc").header("te", "trailers");
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let response = sender.send_request(request.body(Full::new(Bytes::from_static(MESSAGE))).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    assert_eq!(
        (head.status, head.headers.get("content-type").unwrap().as_bytes()),
        (200.try_into().unwrap(), &b"application/grpc"[..])
    );
    let text = |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let backend = text(&head.headers, "x-backend");
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().and_then(|trailers| text(trailers, "grpc-status"));
    let in_trailers = trailers.is_some();
    let status = trailers.or_else(|| text(&head.headers, "grpc-status")).unwrap().parse().unwrap();
    Seen { backend, messages: collected.to_bytes().to_vec(), in_trailers, status }
}

#[tokio::test]
async fn the_commands_of_its_readme_work() {
    let readme = fs::read_to_string(repository().join("examples/gateway-grpc/README.md")).unwrap();
    let (_program, address, _folder) = start();
    let mut lines = readme.lines().filter(|line| line.starts_with("curl "));
    let mut next = |with: &str| assert!(lines.next().unwrap().contains(with), "{with}");
    let answered = |by: &str| Seen { backend: Some(by.into()), messages: MESSAGE.into(), in_trailers: true, status: 0 };
    let failed = |status| Seen { backend: None, messages: Vec::new(), in_trailers: false, status };

    next("8082/shop.v1.Carts/Checkout");
    assert_eq!(call(address, "/shop.v1.Carts/Checkout", None).await, answered("checkout"));
    next("-H x-version:next -d '' http://127.0.0.1:8082/shop.v1.Carts/Add");
    assert_eq!(call(address, "/shop.v1.Carts/Add", Some(("x-version", "next"))).await, answered("next"));
    next("8082/shop.v1.Carts/Add");
    assert_eq!(call(address, "/shop.v1.Carts/Add", None).await, answered("carts"));
    next("8082/shop.v1.Orders/List");
    assert_eq!(call(address, "/shop.v1.Orders/List", None).await, failed(12));
    next("8082/shop.v1.Closed/Any");
    assert_eq!(call(address, "/shop.v1.Closed/Any", None).await, failed(14));
    assert!(lines.next().is_none(), "every command of the README is tried");
}

#[test]
fn check_finds_what_is_wrong_in_it_on_purpose() {
    let folder = repository().join("examples/gateway-grpc");
    // cargo run --release -- run --manifests examples/gateway-grpc
    let output = output(&["check", "--manifests", folder.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("port 80 has no endpoint"), "{said}");
    assert!(said.ends_with("9 objects in 1 files: 0 errors, 1 warnings\n"), "{said}");
}
