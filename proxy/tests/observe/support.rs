//! A proxy's observer on free ports, exchanges to feed it, and a small HTTP client.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use rust_ingress_model::{BackendKey, ObjectRef, Snapshot};
use rust_ingress_proxy::exchange::{Connection, Exchange, Protocol, TlsFacts};
use rust_ingress_proxy::observe::Observer;
use rust_ingress_proxy::options::{AccessLog, Options};

pub fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

pub fn options() -> Options {
    Options { health: Some(loopback()), admin: Some(loopback()), ..Options::default() }
}

pub fn observer() -> Arc<Observer> {
    Observer::new(&options()).unwrap()
}

pub fn logging(to: AccessLog) -> Arc<Observer> {
    Observer::new(&Options { access_log: to, ..options() }).unwrap()
}

pub fn publish(observer: &Observer, snapshot: Snapshot) {
    let digest = snapshot.digest();
    observer.published(Arc::new(snapshot), digest, Vec::new(), Duration::from_millis(2));
}

pub fn connection() -> Arc<Connection> {
    Arc::new(Connection {
        peer: "192.0.2.7:50123".parse().unwrap(),
        local: "192.0.2.1:443".parse().unwrap(),
        listener: "https".into(),
        tls: Some(TlsFacts { server_name: Some("shop.example".into()), version: "TLSv1.3", cipher: "TLS13_AES_128_GCM_SHA256" }),
        source: None,
    })
}

pub fn exchange(route: &str, backend: &str) -> Exchange {
    let mut exchange = Exchange::new(connection(), Method::GET, Protocol::Http11);
    exchange.route = Some((ObjectRef::new("Ingress", "default", route), "spec.rules[0].http.paths[1]".into()));
    exchange.backend = Some(backend.parse::<BackendKey>().unwrap());
    exchange
}

/// Status, head and body of a request whose head is given in full.
pub fn raw(address: SocketAddr, head: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_ascii_lowercase(), body.to_owned())
}

pub fn get(address: Option<SocketAddr>, path: &str) -> (u16, String, String) {
    raw(address.unwrap(), &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
}

pub fn metrics(observer: &Observer) -> String {
    let (status, head, body) = get(observer.health_addr(), "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{head}");
    assert!(body.ends_with("# EOF\n"));
    body
}

/// The value of a sample, by its name and all its labels as written.
pub fn sample(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}
