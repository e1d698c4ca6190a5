//! A child with a snapshot for a few endpoints that answer with their name, and clients.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rust_ingress::child::{Child, ChildOptions};
use rust_ingress_model::backend::Balance;
use rust_ingress_model::{
    AppProtocol, Backend, BackendKey, BackendRef, Discovery, Endpoint, HostPattern, Listener, ListenerAddress, ObjectRef, Part,
    PathMatch, PortRef, RouteMatch, RouteSet, Rule, Snapshot, Timeouts, VirtualHost, WeightedBackend,
};
use rust_ingress_proxy::options::Options;

/// Longer than any machine needs.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub fn options() -> ChildOptions {
    let free = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    ChildOptions {
        program: env!("CARGO_BIN_EXE_rust-ingress").into(),
        flags: vec!["--log-level=warn".into()],
        proxy: Options { workers: 2, health: free, admin: free, ..Options::default() },
        alive: None,
    }
}

pub fn start() -> Child {
    Child::start(options()).unwrap()
}

/// An endpoint that answers every request with its name, one request a connection.
pub fn endpoint(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut head = Vec::new();
                let mut byte = [0; 512];
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut byte) {
                        Ok(read) if read > 0 => head.extend_from_slice(&byte[..read]),
                        _ => return,
                    }
                }
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{name}", name.len());
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

fn key() -> BackendKey {
    BackendKey { namespace: "default".into(), service: "web".into(), port: PortRef::Number(80), protocol: None, gateway: None }
}

pub fn rule() -> Rule {
    Rule {
        source: ObjectRef::new("Ingress", "default", "web"),
        field: "spec.rules[0].http.paths[0]".into(),
        matches: vec![RouteMatch::path(PathMatch::Prefix("/".into()))],
        filters: Vec::new(),
        guards: Vec::new(),
        backends: vec![WeightedBackend { backend: BackendRef::Service(key()), weight: 1, filters: Vec::new() }],
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
        max_body: None,
    }
}

pub fn listener(port: u16) -> Listener {
    Listener::http(ListenerAddress::Ip(Ipv4Addr::LOCALHOST.into()), port, "ingress".into())
}

/// A plain listener `http`, and one route for all hosts to this endpoint.
pub fn snapshot(endpoint: SocketAddr) -> Snapshot {
    let mut snapshot = Snapshot::default();
    snapshot.listeners.insert("http".into(), Part::new(listener(0)));
    let host = VirtualHost { host: HostPattern::Any, rules: vec![rule()] };
    let hosts = [(HostPattern::Any, Part::new(host))].into();
    snapshot.route_sets.insert("ingress".into(), RouteSet { hosts });
    snapshot.backends.insert(key(), backend(endpoint));
    snapshot
}

pub fn backend(endpoint: SocketAddr) -> Part<Backend> {
    let endpoint = Endpoint { address: endpoint, target: None, zone: None };
    let discovery = Discovery::Endpoints(vec![endpoint]);
    Part::new(Backend { protocol: AppProtocol::Http, tls: None, balance: Balance::RoundRobin, discovery })
}

/// The same with another endpoint: all other parts are shared.
pub fn with_endpoint(snapshot: &Snapshot, endpoint: SocketAddr) -> Arc<Snapshot> {
    let mut snapshot = snapshot.clone();
    snapshot.backends.insert(key(), backend(endpoint));
    Arc::new(snapshot)
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The body of a 200.
    Body(String),
    /// Anything else that was answered.
    Answer(String),
    /// The connection couldn't be made.
    NoConnection(std::io::ErrorKind),
    /// The connection ended without an answer.
    Broken,
}

/// One request on a connection of its own.
pub fn get(address: SocketAddr, path: &str) -> Got {
    let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(error) => return Got::NoConnection(error.kind()),
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    if stream.write_all(request.as_bytes()).is_err() || stream.read_to_string(&mut answer).is_err() {
        return Got::Broken;
    }
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Got::Body(body.to_owned()),
        Some(_) => Got::Answer(answer),
        None => Got::Broken,
    }
}

/// Waits until something is so.
pub fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
