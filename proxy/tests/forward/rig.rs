//! The rig: a front server around a `Forwarder`, endpoints that are hyper services or scripts on raw sockets, clients.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rust_ingress_model::backend::{BackendTls, Balance};
use rust_ingress_model::{
    AppProtocol, Backend, BackendRef, Discovery, Endpoint, KeyStore, ObjectRef, Part, PathMatch, RouteMatch, Rule, Snapshot,
    Timeouts, WeightedBackend,
};
use rust_ingress_proxy::body::Body;
use rust_ingress_proxy::exchange::{Connection, Exchange, Protocol};
use rust_ingress_proxy::forward::Forwarder;
use rust_ingress_proxy::observe::Observer;
use rust_ingress_proxy::options::Options;
use rust_ingress_proxy::upstream::Upstreams;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Longer than anything takes that works.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test with a bound on its time.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test took too long") });
}

/// What a front forwards by.
#[derive(Clone)]
pub struct Plan {
    pub snapshot: Snapshot,
    pub rule: Rule,
    pub options: Options,
}

impl Plan {
    /// One backend with these endpoints.
    pub fn to(endpoints: &[SocketAddr]) -> Self {
        Self::backend(backend(AppProtocol::Http, endpoints))
    }

    pub fn backend(backend: Backend) -> Self {
        let mut snapshot = Snapshot::default();
        snapshot.backends.insert("default/web:80".parse().unwrap(), Part::new(backend));
        let rule = Rule {
            source: ObjectRef::new("Ingress", "default", "web"),
            field: "spec.rules[0].http.paths[0]".into(),
            matches: vec![RouteMatch::path(PathMatch::Prefix("/".into()))],
            filters: Vec::new(),
            guards: Vec::new(),
            backends: vec![service("default/web:80", 1)],
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
            max_body: None,
        };
        Self { snapshot, rule, options: Options::default() }
    }

    pub fn rule(mut self, change: impl FnOnce(&mut Rule)) -> Self {
        change(&mut self.rule);
        self
    }

    pub fn options(mut self, change: impl FnOnce(&mut Options)) -> Self {
        change(&mut self.options);
        self
    }
}

pub fn service(key: &str, weight: u32) -> WeightedBackend {
    WeightedBackend { backend: BackendRef::Service(key.parse().unwrap()), weight, filters: Vec::new() }
}

pub fn backend(protocol: AppProtocol, endpoints: &[SocketAddr]) -> Backend {
    let endpoints = endpoints.iter().map(|address| Endpoint { address: *address, target: None, zone: None }).collect();
    let tls = protocol.tls().then(BackendTls::default);
    Backend { protocol, tls, balance: Balance::default(), discovery: Discovery::Endpoints(endpoints) }
}

/// A front server on its own thread, as a worker of the proxy is.
pub struct Front {
    pub address: SocketAddr,
    publish: tokio::sync::mpsc::UnboundedSender<(Snapshot, Rule)>,
}

impl Front {
    pub fn start(plan: Plan) -> Self {
        let (publish, mut changes) = tokio::sync::mpsc::unbounded_channel::<(Snapshot, Rule)>();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async move {
                let listener = TcpListener::from_std(listener).unwrap();
                let options = Arc::new(plan.options);
                let forwarder = Forwarder::new(options.clone(), Observer::new(&options).unwrap());
                let table = Upstreams::new(&plan.snapshot, &KeyStore::default(), None);
                let live = Rc::new(RefCell::new((Arc::new(table), Arc::new(plan.rule))));
                loop {
                    tokio::select! {
                        change = changes.recv() => {
                            let Some((snapshot, rule)) = change else { return };
                            let table = Upstreams::new(&snapshot, &KeyStore::default(), Some(&live.borrow().0));
                            *live.borrow_mut() = (Arc::new(table), Arc::new(rule));
                        }
                        accepted = listener.accept() => {
                            let (stream, peer) = accepted.unwrap();
                            tokio::task::spawn_local(serve(stream, peer, forwarder.clone(), live.clone()));
                        }
                    }
                }
            });
        });
        Self { address, publish }
    }

    /// Puts another snapshot in place; live once the next connection is served.
    pub fn publish(&self, plan: &Plan) {
        self.publish.send((plan.snapshot.clone(), plan.rule.clone())).unwrap();
    }
}

type Live = Rc<RefCell<(Arc<Upstreams>, Arc<Rule>)>>;

#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, forwarder: Forwarder, live: Live) {
    stream.set_nodelay(true).unwrap();
    let mut first = [0; 3];
    let h2 = stream.peek(&mut first).await.is_ok_and(|_| first == *b"PRI");
    let local = stream.local_addr().unwrap();
    let connection = Arc::new(Connection { peer, local, listener: "http".into(), tls: None });
    let service = service_fn(move |request| answer(request, connection.clone(), forwarder.clone(), live.clone()));
    let io = TokioIo::new(stream);
    if h2 {
        let _ = hyper::server::conn::http2::Builder::new(Local).serve_connection(io, service).await;
    } else {
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).with_upgrades().await;
    }
}

/// Forwards as the life of a request does, and shows what the exchange says in headers.
async fn answer(
    mut request: Request<Incoming>,
    connection: Arc<Connection>,
    forwarder: Forwarder,
    live: Live,
) -> Result<Response<Body>, Infallible> {
    let (upstreams, rule) = live.borrow().clone();
    let mut exchange = Exchange::new(connection, request.method().clone(), Protocol::Http11);
    let client = hyper::upgrade::on(&mut request);
    let upgrade = request.headers().contains_key(header::UPGRADE);
    if let Some(authority) = request.uri().authority().cloned() {
        request.headers_mut().insert(header::HOST, authority.as_str().parse().unwrap());
        *request.uri_mut() = request.uri().path_and_query().unwrap().clone().into();
    }
    if !upgrade {
        request.headers_mut().remove(header::CONNECTION);
    }
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    let mut response = match forwarder.forward(&upstreams, &rule, &mut exchange, request.map(Body::incoming)).await {
        Ok(response) => response,
        Err(fault) => Response::builder()
            .status(fault.status)
            .header("x-fault", fault.kind.label())
            .body(Body::full(fault.message.into_owned()))
            .unwrap(),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let endpoint = hyper::upgrade::on(&mut response);
        tokio::task::spawn_local(async move {
            let (Ok(client), Ok(endpoint)) = tokio::join!(client, endpoint) else { return };
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(endpoint)).await;
        });
    } else {
        for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
            response.headers_mut().remove(name);
        }
    }
    response.headers_mut().insert("x-retries", exchange.retries.into());
    Ok(response)
}

/// An endpoint: a hyper service over HTTP/1 or HTTP/2, counting connections and requests.
#[derive(Clone)]
pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    pub requests: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Vec<http::request::Parts>>>,
}

pub type Answer = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

pub fn full(text: impl Into<Bytes>) -> Answer {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

impl Server {
    /// Answers every request by a function.
    pub async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Answer>> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer, None)
    }

    pub async fn tls<F, R>(answer: F, tls: Arc<rustls::ServerConfig>) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Answer>> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), answer, Some(tls))
    }

    fn on<F, R>(listener: TcpListener, answer: F, tls: Option<Arc<rustls::ServerConfig>>) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<Answer>> + Send + 'static,
    {
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            seen: Arc::default(),
        };
        let this = server.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                this.connections.fetch_add(1, Ordering::SeqCst);
                let (this, answer, tls) = (this.clone(), answer.clone(), tls.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<Incoming>| {
                        this.requests.fetch_add(1, Ordering::SeqCst);
                        let (parts, body) = request.into_parts();
                        this.seen.lock().unwrap().push(parts.clone());
                        let response = answer(Request::from_parts(parts, body));
                        async move { Ok::<_, Infallible>(response.await) }
                    });
                    let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    match tls {
                        None => drop(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await),
                        Some(tls) => {
                            let acceptor = tokio_rustls::TlsAcceptor::from(tls);
                            if let Ok(stream) = acceptor.accept(stream).await {
                                let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
                            }
                        }
                    }
                });
            }
        });
        server
    }

    /// Says its name.
    pub async fn named(name: &'static str) -> Self {
        Self::start(move |_| async move { Response::new(full(name)) }).await
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// An endpoint of raw bytes: runs a script on every connection, which is told the connection's number.
pub async fn raw<F, R>(script: F) -> SocketAddr
where
    F: Fn(TcpStream, usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(script(stream, number));
        }
    });
    address
}

/// An address that refuses connections.
pub async fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// Reads up to the end of a head.
pub async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Result<String, String>,
    pub trailers: Option<http::HeaderMap>,
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn text(&self) -> &str {
        self.body.as_deref().unwrap()
    }

    async fn of(response: Response<Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let (body, trailers) = match body.collect().await {
            Ok(collected) => {
                let trailers = collected.trailers().cloned();
                (Ok(String::from_utf8(collected.to_bytes().to_vec()).unwrap()), trailers)
            }
            Err(error) => (Err(error.to_string()), None),
        };
        Self { status: parts.status.as_u16(), headers: parts.headers, body, trailers }
    }
}

/// A client's connection to a front.
pub struct Client<B> {
    sender: Sender<B>,
}

enum Sender<B> {
    H1(hyper::client::conn::http1::SendRequest<B>),
    H2(hyper::client::conn::http2::SendRequest<B>),
}

impl<B> Client<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub async fn h1(front: &Front) -> Self {
        let stream = TcpStream::connect(front.address).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender: Sender::H1(sender) }
    }

    pub async fn h2(front: &Front) -> Self {
        Self::h2_to(front.address).await
    }

    pub async fn h2_to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self { sender: Sender::H2(sender) }
    }

    /// The response's head, its body still streaming.
    pub async fn open(&mut self, request: Request<B>) -> Response<Incoming> {
        match &mut self.sender {
            Sender::H1(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
            Sender::H2(sender) => sender.send_request(request).await.unwrap(),
        }
    }

    pub async fn send(&mut self, request: Request<B>) -> Got {
        Got::of(self.open(request).await).await
    }
}

pub fn request(method: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder()
        .method(method)
        .uri("http://web.test/path?q=1")
        .header(header::HOST, "web.test")
        .body(Full::new(body.into()))
        .unwrap()
}

/// One request on a connection of its own.
pub async fn send(front: &Front, request: Request<Full<Bytes>>) -> Got {
    Client::h1(front).await.send(request).await
}

pub async fn get(front: &Front) -> Got {
    send(front, request("GET", "")).await
}

/// Writes all and closes.
pub async fn write(mut stream: TcpStream, bytes: &str) {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
}
