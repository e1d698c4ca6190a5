//! `examples/gateway-http`: what its README says happens, happens. On ports of its own.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::client::{Answer, Ask, ask};
use crate::program::{Program, output, repository};

/// The example on free ports: the program, and where its two ports are.
fn start() -> (Program, SocketAddr, SocketAddr, tempfile::TempDir) {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (http, https) = (free(), free());
    let yaml = fs::read_to_string(repository().join("examples/gateway-http/gateway.yaml")).unwrap();
    let yaml = yaml.replace("8081", &http.port().to_string()).replace("8444", &https.port().to_string());
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("gateway.yaml"), yaml).unwrap();
    (Program::start(folder.path(), &[]), http, https, folder)
}

/// One request with a header more.
async fn with_header(address: SocketAddr, header: (&str, &str)) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::get("/").header("host", "127.0.0.1").header(header.0, header.1).body(Full::<Bytes>::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Answer { status: head.status.as_u16(), version: head.version, headers: head.headers, body }
}

fn backend(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["headers"]["x-backend"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_commands_of_its_readme_work() {
    let readme = fs::read_to_string(repository().join("examples/gateway-http/README.md")).unwrap();
    let (_program, http, https, _folder) = start();
    let mut lines = readme.lines().filter(|line| line.starts_with("curl "));
    let mut next = |with: &str| assert!(lines.next().unwrap().ends_with(with), "{with}");
    let plain = |host, path| ask(Ask { host, path, ..Ask::plain(http) });

    next("8081/blue");
    assert_eq!(backend(&plain("127.0.0.1", "/blue").await), "blue");
    next("-H x-colour:blue http://127.0.0.1:8081/");
    assert_eq!(backend(&with_header(http, ("x-colour", "blue")).await), "blue");
    next("8081/");
    assert_eq!(backend(&plain("127.0.0.1", "/").await), "green");
    next("8081/both");
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        seen.insert(backend(&plain("127.0.0.1", "/both").await));
    }
    assert_eq!(seen.len(), 2, "one of two in 50 draws: 2^-49");

    next("/old/hat");
    let answer = plain("a.shop.localhost", "/old/hat").await;
    let said = answer.json();
    assert_eq!((said["path"].as_str(), said["headers"]["x-shop"].as_str()), (Some("/new/hat"), Some("a")));
    next("/order");
    let answer = plain("a.shop.localhost", "/order").await;
    let location = answer.headers.get("location").unwrap().to_str().unwrap().to_owned();
    assert_eq!((answer.status, location), (303, format!("http://orders.localhost:{}/order", http.port())));
    next("b.shop.localhost:8081/blue");
    assert_eq!(plain("b.shop.localhost", "/blue").await.status, 404, "a listener has only its own routes");

    next("https://secure.localhost:8444/");
    let answer = ask(Ask { address: https, tls: true, h2: true, host: "secure.localhost", path: "/" }).await;
    assert_eq!(backend(&answer), "green");
    assert!(lines.next().is_none(), "every command of the README is tried");
}

#[tokio::test]
async fn a_route_is_live_once_it_is_saved_and_a_gateway_gone_is_closed() {
    let (_program, http, _, folder) = start();
    let file = folder.path().join("gateway.yaml");
    let yaml = fs::read_to_string(&file).unwrap();
    fs::write(&file, yaml.replace("{value: /blue}", "{value: /azure}")).unwrap();
    let azure = || ask(Ask { path: "/azure", ..Ask::plain(http) });
    while backend(&azure().await) != "blue" {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    fs::write(&file, "").unwrap();
    while TcpStream::connect(http).await.is_ok() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

#[test]
fn check_finds_nothing_in_it() {
    let folder = repository().join("examples/gateway-http");
    // cargo run --release -- run --manifests examples/gateway-http
    let output = output(&["check", "--manifests", folder.to_str().unwrap()]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "10 objects in 1 files: 0 errors, 0 warnings\n");
}
