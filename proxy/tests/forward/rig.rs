//! The rig: a front server around a `Forwarder`; endpoints and clients stand beside it.

mod client;
mod endpoint;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
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
use tokio::net::{TcpListener, TcpStream};

pub use client::{Client, Got, get, request, send, write};
pub use endpoint::{Server, full, raw, read_head, refusing};

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
    let connection = Arc::new(Connection { peer, local, listener: "http".into(), tls: None, source: None });
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
