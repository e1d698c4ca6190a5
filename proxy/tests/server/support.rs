//! What the tests stand on: a proxy with one route set, endpoints that echo, and raw clients.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rust_ingress_model::backend::Balance;
use rust_ingress_model::{
    AppProtocol, Backend, BackendKey, BackendRef, Discovery, Endpoint, Filter, HostPattern, KeyStore, Listener, ListenerAddress,
    Name, ObjectRef, Part, PathMatch, PortRef, RouteMatch, RouteSet, Rule, Snapshot, Timeouts, VirtualHost, WeightedBackend,
};
use rust_ingress_proxy::Proxy;
use rust_ingress_proxy::options::Options;

/// How long any answer may take; far beyond what one does.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Options of a small proxy.
pub fn options() -> Options {
    Options { workers: 2, ..Options::default() }
}

/// The key of the one backend.
pub fn backend_key() -> BackendKey {
    BackendKey { namespace: "default".into(), service: "web".into(), port: PortRef::Number(80), protocol: None, gateway: None }
}

/// A rule for a path.
pub fn rule(path: PathMatch) -> Rule {
    Rule {
        source: ObjectRef::new("Ingress", "default", "web"),
        field: "spec.rules[0].http.paths[0]".into(),
        matches: vec![RouteMatch::path(path)],
        filters: Vec::new(),
        guards: Vec::new(),
        backends: vec![WeightedBackend { backend: BackendRef::Service(backend_key()), weight: 1, filters: Vec::new() }],
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
        max_body: None,
    }
}

/// A listener for the tests' route set on a free port of loopback.
pub fn listener() -> Listener {
    Listener::http(ListenerAddress::Ip(Ipv4Addr::LOCALHOST.into()), 0, "ingress".into())
}

/// A snapshot that is put together piece by piece.
#[derive(Clone, Default)]
pub struct Draft {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Its keys.
    pub keys: KeyStore,
}

impl Draft {
    /// One plain listener, `http`, and one rule for everything, to this endpoint.
    pub fn to(endpoint: SocketAddr) -> Self {
        Self::default()
            .listen("http", listener())
            .endpoint(endpoint)
            .host(HostPattern::Any, vec![rule(PathMatch::Prefix("/".into()))])
    }

    /// With a listener.
    pub fn listen(mut self, name: &str, listener: Listener) -> Self {
        self.snapshot.listeners.insert(name.into(), Part::new(listener));
        self
    }

    /// With an endpoint behind the one backend.
    pub fn endpoint(mut self, address: SocketAddr) -> Self {
        let endpoint = Endpoint { address, target: None, zone: None };
        let backend = Backend {
            protocol: AppProtocol::Http,
            tls: None,
            balance: Balance::default(),
            discovery: Discovery::Endpoints(vec![endpoint]),
        };
        self.snapshot.backends.insert(backend_key(), Part::new(backend));
        self
    }

    /// With a virtual host.
    pub fn host(mut self, host: HostPattern, rules: Vec<Rule>) -> Self {
        let set: &mut RouteSet = self.snapshot.route_sets.entry(Name::from("ingress")).or_default();
        set.hosts.insert(host.clone(), Part::new(VirtualHost { host, rules }));
        self
    }

    /// With filters on the rule for everything.
    pub fn filtered(self, filters: Vec<Filter>) -> Self {
        self.host(HostPattern::Any, vec![Rule { filters, ..rule(PathMatch::Prefix("/".into())) }])
    }

    /// Makes it live.
    pub fn publish(&self, proxy: &Proxy) {
        let faults = proxy.publish(Arc::new(self.snapshot.clone()), &self.keys);
        assert!(faults.is_empty(), "{faults:?}");
    }
}

/// A running proxy.
pub struct Served {
    /// The proxy.
    pub proxy: Proxy,
}

impl Served {
    /// Starts a proxy with a draft live.
    pub fn new(options: Options, draft: &Draft) -> Self {
        let proxy = Proxy::start(options).expect("the proxy starts");
        draft.publish(&proxy);
        Self { proxy }
    }

    /// Where a listener is.
    pub fn address(&self, name: &str) -> SocketAddr {
        let bound = self.proxy.bound();
        bound.iter().find(|(bound, _)| &**bound == name).unwrap_or_else(|| panic!("{name} is bound: {bound:?}")).1
    }

    /// A raw client of the listener `http`.
    pub fn client(&self) -> Client {
        Client::to(self.address("http"))
    }

    /// What a raw request on a connection of its own is answered, up to the connection's end.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.client();
        client.send(bytes);
        client.rest()
    }
}

/// A raw client.
pub struct Client(pub TcpStream);

impl Client {
    /// Connects.
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the listener accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_nodelay(true).expect("TCP_NODELAY can be set");
        Self(stream)
    }

    /// Sends bytes; a proxy that has closed already is no error.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.0.write_all(bytes.as_ref());
    }

    /// One response: its head and its body by Content-Length.
    pub fn response(&mut self) -> String {
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"\r\n\r\n") {
            assert_eq!(self.0.read(&mut byte).expect("a response comes"), 1, "closed after {:?}", String::from_utf8_lossy(&text));
            text.push(byte[0]);
        }
        let head = String::from_utf8(text).expect("a head of text");
        let length = header(&head, "content-length").map_or(0, |length| length.parse().expect("a number"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("the whole body comes");
        head + &String::from_utf8_lossy(&body)
    }

    /// All that comes until the connection ends.
    pub fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.0.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => bytes.extend_from_slice(b"<reset>"),
            Err(error) => panic!(
                "the connection isn't closed: {error}, after {:?}",
                String::from_utf8_lossy(bytes.get(..200).unwrap_or(&bytes))
            ),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// A header of a response's text.
pub fn header<'r>(response: &'r str, name: &str) -> Option<&'r str> {
    let head = response.split("\r\n\r\n").next()?;
    head.lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// The status of a response's text.
pub fn status(response: &str) -> u16 {
    response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("no status in {response:?}"))
}

/// An HTTP/1.1 endpoint that answers with the request it got, byte for byte as text; keeps connections open.
pub struct Echo {
    /// Where it is.
    pub address: SocketAddr,
    /// Requests that reached it.
    pub requests: Arc<AtomicUsize>,
}

impl Echo {
    /// Starts it.
    pub fn new() -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let address = socket.local_addr().expect("it has an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let count = count.clone();
                thread::spawn(move || echo(stream, &count));
            }
        });
        Self { address, requests }
    }

    /// Requests that reached it.
    pub fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Reads requests with bodies by Content-Length or chunked, answers each with its own text.
fn echo(mut stream: TcpStream, count: &AtomicUsize) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        while let Some(length) = whole(&bytes) {
            count.fetch_add(1, Ordering::SeqCst);
            let request: Vec<u8> = bytes.drain(..length).collect();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
            let body: &[u8] = if request.starts_with(b"HEAD ") { b"" } else { &request };
            if stream.write_all(&[head.as_bytes(), body].concat()).is_err() {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(read @ 1..) => bytes.extend_from_slice(&buffer[..read]),
            Ok(_) | Err(_) => return,
        }
    }
}

/// The length of the request at the beginning, when it is whole.
fn whole(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    if text.contains("transfer-encoding: chunked") {
        let end = bytes[head..].windows(5).position(|five| five == b"0\r\n\r\n")? + 5;
        return Some(head + end);
    }
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().expect("a number"));
    (bytes.len() >= head + length).then_some(head + length)
}
