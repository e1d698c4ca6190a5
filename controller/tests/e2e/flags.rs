//! Flags of `run` reach the proxy: each is seen at work from outside.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::client::{Ask, ask, trusting};
use crate::program::{PATIENCE, Program, repository};

fn start(flags: &[&str]) -> Program {
    Program::start(&repository().join("examples/quickstart"), flags)
}

/// Sends bytes on a new connection and reads to its end.
async fn raw(program: &Program, bytes: &str) -> String {
    let mut stream = TcpStream::connect(program.http).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is an end too.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8(answer).unwrap()
}

const CLOSING: &str = "GET /seen HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn access_log_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("access.log");
    let program = start(&["--access-log", log.to_str().unwrap()]);
    assert_eq!(ask(Ask { path: "/logged?a=b", ..Ask::plain(program.http) }).await.status, 200);
    let start = Instant::now();
    let line = loop {
        if let Some(line) = fs::read_to_string(&log).unwrap().lines().next() {
            break line.to_owned();
        }
        assert!(start.elapsed() < PATIENCE, "nothing was logged");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((said["path"].as_str(), said["status"].as_u64()), (Some("/logged"), Some(200)), "{said:#}");
    assert_eq!((said["service_name"].as_str(), said["route_name"].as_str()), (Some("echo"), Some("any-host")), "{said:#}");
}

#[tokio::test]
async fn proxy_protocol_tells_the_client() {
    let program = start(&["--proxy-protocol"]);
    let answer = raw(&program, &format!("PROXY TCP4 192.0.2.7 192.0.2.1 5000 80\r\n{CLOSING}")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"x-forwarded-for\": \"192.0.2.7\""), "{answer}");
    let without = raw(&program, CLOSING).await;
    assert!(!without.contains("200 OK"), "a connection without the header is not served: {without}");
}

#[tokio::test]
async fn only_trusted_proxies_are_believed() {
    let asking = CLOSING.replace("connection", "x-forwarded-for: 192.0.2.9\r\nconnection");
    let trusting = raw(&start(&["--trusted-proxy", "127.0.0.0/8,10.0.0.1"]), &asking).await;
    assert!(trusting.contains("192.0.2.9"), "{trusting}");
    let wary = raw(&start(&["--trusted-proxy", "10.0.0.0/8"]), &asking).await;
    assert!(wary.contains("200 OK") && !wary.contains("192.0.2.9"), "{wary}");
}

#[tokio::test]
async fn bodies_and_heads_have_limits() {
    let program = start(&["--max-body", "10", "--max-head", "8192"]);
    let post = |length: usize| {
        format!("POST / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length))
    };
    let within = raw(&program, &post(10)).await;
    assert!(within.starts_with("HTTP/1.1 200"), "{within}");
    let over = raw(&program, &post(11)).await;
    assert!(over.starts_with("HTTP/1.1 413"), "{over}");
    let head = raw(&program, &CLOSING.replace("connection", &format!("x: {}\r\nconnection", "x".repeat(9000)))).await;
    assert!(head.starts_with("HTTP/1.1 431"), "{head}");
}

#[tokio::test]
async fn a_default_certificate_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["own.test".into()]).unwrap();
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let program = start(&["--default-certificate", &format!("{},{}", certificate.display(), key.display())]);
    let stream = TcpStream::connect(program.https).await.unwrap();
    let connector = TlsConnector::from(Arc::new(trusting(b"h2")));
    let stream = connector.connect(ServerName::try_from("any.test").unwrap(), stream).await.unwrap();
    assert_eq!(stream.get_ref().1.peer_certificates().unwrap().first().unwrap(), made.cert.der());
}
