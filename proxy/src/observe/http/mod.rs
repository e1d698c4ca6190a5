//! The servers of the health and admin ports, on a thread and a runtime of their own.
//!
//! The stack, outermost first: load shed, concurrency limit, timeout, (admin) loopback host check, router. Made and ended
//! by [`crate::observe::Observer`].

mod loopback;
mod router;

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _};

use super::Observer;
use crate::server::sockets::{self, Sharing};
use loopback::LoopbackHost;
use router::{ADMIN, HEALTH, Router};

pub(crate) use router::{JSON, OPEN_METRICS, TEXT, respond};

/// Requests in work at a time, per port; more are answered 503.
const CONCURRENCY: usize = 32;

/// What one request may take: a scrape or a snapshot of a large cluster is well under a second.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Connections to each port; more wait. Nobody on the node's network shall use up the proxy's file descriptors.
const CONNECTIONS: usize = 128;

/// From a connection to its first request's head, and between two requests.
const IDLE: Duration = Duration::from_secs(10);

/// The health and the admin port, bound and not served yet.
#[derive(Debug, Default)]
pub struct Ports {
    /// The health port.
    pub health: Option<TcpListener>,
    /// The admin port.
    pub admin: Option<TcpListener>,
}

/// The running servers.
#[derive(Debug)]
pub(super) struct Servers {
    /// Where the health port is.
    pub health: Option<SocketAddr>,
    /// Where the admin port is.
    pub admin: Option<SocketAddr>,
    /// Where the health port's socket is given, when it isn't bound at start.
    given: Mutex<Option<oneshot::Sender<TcpListener>>>,
    /// Dropped to close the health port while the admin port goes on.
    health_open: Mutex<Option<oneshot::Sender<()>>>,
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Ports {
    /// Binds both ports.
    ///
    /// # Errors
    /// A port that can't be bound, an admin address that isn't loopback; the message says which and what to do.
    pub fn bind(health: Option<SocketAddr>, admin: Option<SocketAddr>, sharing: Sharing) -> io::Result<Self> {
        if let Some(address) = admin.filter(|address| !address.ip().is_loopback()) {
            let text = format!("admin address {address} is not loopback: it shows all routes; use 127.0.0.1 or [::1]");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let bind = |what: &str, address: Option<SocketAddr>| address.map(|address| bind(what, address, sharing)).transpose();
        Ok(Self { health: bind("health", health)?, admin: bind("admin", admin)? })
    }

    /// Serves them on a new thread. `later`: the health port's socket comes later.
    pub(super) fn serve(self, observer: Weak<Observer>, later: bool) -> io::Result<Servers> {
        let addr = |listener: &Option<TcpListener>| listener.as_ref().map(TcpListener::local_addr).transpose();
        let (health, admin) = (addr(&self.health)?, addr(&self.admin)?);
        let (give, given) = oneshot::channel();
        let (health_open, health_closed) = oneshot::channel::<()>();
        let (given_by, health_open) = (Mutex::new(Some(give)), Mutex::new(Some(health_open)));
        if health.is_none() && admin.is_none() && !later {
            return Ok(Servers { health, admin, given: given_by, health_open, running: Mutex::new(None) });
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            let served = async move {
                let health = health_until(self.health, given, health_closed, observer.clone());
                let admin = self.admin.map(|listener| stack_admin(listener, observer));
                tokio::join!(health, run(admin))
            };
            runtime.block_on(async {
                tokio::select! { _ = served => (), _ = stopped => () }
            });
        };
        let thread = thread::Builder::new().name("observe".into()).spawn(serve)?;
        Ok(Servers { health, admin, given: given_by, health_open, running: Mutex::new(Some((stop, thread))) })
    }
}

impl Servers {
    /// Serves the health port on this socket from now on, if it wasn't bound at start.
    pub(super) fn serve_health(&self, socket: TcpListener) {
        if let Some(give) = self.given.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = give.send(socket);
        }
    }

    /// Closes the health port.
    pub(super) fn close_health(&self) {
        drop(self.health_open.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Ends them; returns when their thread is gone.
    pub(super) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((stop, thread)) = running {
            drop(stop);
            if thread.join().is_err() {
                tracing::error!("the thread of the health and admin ports died");
            }
        }
    }
}

fn bind(what: &str, address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let opened = sockets::open(address, 1, sharing);
    let first = opened.and_then(|(_, sockets)| sockets.into_iter().next().ok_or_else(|| io::Error::other("no socket")));
    first.map_err(|error| {
        let text = format!("{what} port {address}: {error}; is something else listening there? Choose another with --{what}");
        io::Error::new(error.kind(), text)
    })
}

async fn run(server: Option<impl Future<Output = ()>>) {
    if let Some(server) = server {
        server.await;
    }
}

/// Serves the health port, once there is a socket for it, until it is closed.
async fn health_until(
    bound: Option<TcpListener>,
    given: oneshot::Receiver<TcpListener>,
    closed: oneshot::Receiver<()>,
    observer: Weak<Observer>,
) {
    let serve = async {
        let listener = match bound {
            Some(listener) => Some(listener),
            None => given.await.ok(),
        };
        run(listener.map(|listener| stack_health(listener, observer))).await;
    };
    tokio::select! { () = serve => (), _ = closed => () }
}

async fn stack_health(listener: TcpListener, observer: Weak<Observer>) {
    serve("health", listener, Router::new(&HEALTH, observer)).await;
}

async fn stack_admin(listener: TcpListener, observer: Weak<Observer>) {
    serve("admin", listener, LoopbackHost(Router::new(&ADMIN, observer))).await;
}

/// Serves a port for as long as the runtime runs, within the bounds of all such ports.
pub(crate) async fn serve<S>(what: &'static str, listener: TcpListener, answers: S)
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let stack = ServiceBuilder::new().load_shed().concurrency_limit(CONCURRENCY).timeout(TIMEOUT);
    accept(what, listener, stack.service(answers)).await;
}

/// Accepts connections for as long as the runtime runs.
async fn accept<S>(what: &'static str, listener: TcpListener, stack: S)
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the {what} port can't be served"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    while let Ok(place) = places.clone().acquire_owned().await {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, mostly: nothing gets better by asking at once.
                tracing::warn!(%error, "the {what} port can't accept a connection; trying again");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let stack = stack.clone();
        let service = service_fn(move |request| answer(stack.clone(), request));
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(IDLE);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the {what} port ended early");
            }
            drop(place);
        });
    }
}

/// A request through the stack; its refusals become responses.
async fn answer<S>(stack: S, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = BoxError>,
{
    Ok(stack.oneshot(request).await.unwrap_or_else(|error| {
        let text = format!("{error}; ask again later\n");
        respond(StatusCode::SERVICE_UNAVAILABLE, TEXT, text)
    }))
}
