//! Observation: metrics, access log, readiness, and the two ports that show them.
//!
//! `Proxy::start` makes one [`Observer`]; workers and forwarders count through it; `publish` tells it what is live.
//! Its servers run on a thread and a runtime of their own, so that a scrape never waits for, or delays, a request.

mod access_log;
mod http;
pub mod metrics;
mod time;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use ::http::{HeaderMap, Uri};
use arc_swap::{ArcSwap, ArcSwapOption};
use rust_ingress_model::{Digest, ListenerName, Snapshot};

use crate::exchange::{Exchange, RequestLine};
use crate::options::Options;
use crate::server::sockets::Sharing;
use access_log::AccessLog;
use http::Servers;

pub(crate) use http::{JSON, OPEN_METRICS, TEXT, respond, serve};
pub(crate) use time::rfc3339;

pub use http::Ports;
pub use metrics::{ListenerMetrics, Metrics, Rejection, UpstreamMetrics};
pub use time::http_date;

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// The status that the client got; 0 when it went away before one was sent.
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the response's body that were sent.
    pub response_bytes: u64,
}

/// What is live.
#[derive(Debug, Clone)]
pub struct Published {
    /// The snapshot.
    pub snapshot: Arc<Snapshot>,
    /// Its digest.
    pub digest: Digest,
    /// How many snapshots this process has published, this one included.
    pub generation: u64,
    /// When it became live.
    pub at: SystemTime,
    /// Listeners of it that could not be opened.
    pub unavailable: Vec<Unavailable>,
}

/// A listener that could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unavailable {
    /// Its name.
    pub listener: ListenerName,
    /// The address that was tried.
    pub address: SocketAddr,
    /// What the system said.
    pub error: String,
}

/// Whether the proxy wants traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Readiness {
    /// Nothing has been published yet.
    Starting,
    /// A snapshot is live.
    Ready,
    /// The program is stopping; load balancers shall look elsewhere.
    Draining,
}

/// What the program says of the proxy's surroundings: facts that the proxy can't know by itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Standing {
    /// When what is served was written, in seconds since 1970, where it is the last good state of an earlier run and nothing
    /// newer is known.
    pub last_good: Option<u64>,
    /// Whether the program is stopping.
    pub draining: bool,
    /// How often the process of the proxy was started again because it had died.
    pub restarts: u64,
}

/// Metrics, access log, readiness and what is live. One per proxy, shared by all its threads.
pub struct Observer {
    /// Counters.
    pub metrics: Metrics,
    published: ArcSwapOption<Published>,
    generation: AtomicU64,
    readiness: AtomicU8,
    standing: ArcSwap<Standing>,
    sharing: Sharing,
    access_log: Option<AccessLog>,
    servers: OnceLock<Servers>,
}

impl Observer {
    /// Binds the health and admin ports and starts the threads that serve them and write the access log.
    ///
    /// # Errors
    /// A port that can't be bound, an admin address that isn't loopback, an access log that can't be opened.
    pub fn new(options: &Options) -> io::Result<Arc<Self>> {
        Self::on(options, Ports::bind(options.health, options.admin, options.sharing)?)
    }

    /// The same with ports that are bound already.
    ///
    /// # Errors
    /// An access log that can't be opened, or no thread.
    pub fn on(options: &Options, ports: Ports) -> io::Result<Arc<Self>> {
        let metrics = Metrics::new();
        let observer = Arc::new(Self {
            access_log: AccessLog::open(&options.access_log, &metrics)?,
            metrics,
            published: ArcSwapOption::empty(),
            generation: AtomicU64::new(0),
            readiness: AtomicU8::new(Readiness::Starting as u8),
            standing: ArcSwap::default(),
            sharing: options.sharing,
            servers: OnceLock::new(),
        });
        let later = options.health.is_some() && ports.health.is_none();
        let servers = ports.serve(Arc::downgrade(&observer), later)?;
        observer.servers.get_or_init(|| servers);
        Ok(observer)
    }

    /// What the access log wants of a request's head; `None`, at no cost, when there is no access log.
    pub fn line(&self, uri: &Uri, headers: &HeaderMap) -> Option<Box<RequestLine>> {
        self.logs().then(|| Box::new(RequestLine::of(uri, headers)))
    }

    /// Whether there is an access log.
    pub fn logs(&self) -> bool {
        self.access_log.is_some()
    }

    /// Counts an exchange that has ended, and writes it to the access log.
    pub fn finished(&self, exchange: &Exchange, finished: &Finished) {
        let duration = exchange.start.elapsed();
        self.metrics.request(exchange, finished, duration);
        if let Some(log) = &self.access_log {
            log.append(exchange, finished, duration);
        }
    }

    /// Notes that a snapshot is live, and how long that took; ready from the first one on.
    pub fn published(&self, snapshot: Arc<Snapshot>, digest: Digest, unavailable: Vec<Unavailable>, took: Duration) {
        let generation = self.generation.fetch_add(1, Ordering::Relaxed) + 1;
        self.metrics.published(took);
        self.published.store(Some(Arc::new(Published { snapshot, digest, generation, at: SystemTime::now(), unavailable })));
        let _ = self.readiness.compare_exchange(
            Readiness::Starting as u8,
            Readiness::Ready as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
    }

    /// What is live; `None` before the first publish.
    pub fn current(&self) -> Option<Arc<Published>> {
        self.published.load_full()
    }

    /// Whether the proxy wants traffic.
    pub fn readiness(&self) -> Readiness {
        match self.readiness.load(Ordering::Acquire) {
            0 => Readiness::Starting,
            1 => Readiness::Ready,
            _ => Readiness::Draining,
        }
    }

    /// Takes note of the proxy's surroundings.
    pub fn set_standing(&self, standing: Standing) {
        if standing.draining {
            self.draining();
            // On a port that is shared, who asks after the successor would hear of us.
            if self.sharing == Sharing::WithOurselves
                && let Some(servers) = self.servers.get()
            {
                servers.close_health();
            }
        }
        self.standing.store(Arc::new(standing));
    }

    /// Serves the health port on this socket, where it wasn't bound at start.
    pub fn serve_health(&self, socket: TcpListener) {
        if let Some(servers) = self.servers.get() {
            servers.serve_health(socket);
        }
    }

    /// The proxy's surroundings.
    pub fn standing(&self) -> Arc<Standing> {
        self.standing.load_full()
    }

    /// Not ready from now on: the program is stopping.
    pub fn draining(&self) {
        self.readiness.store(Readiness::Draining as u8, Ordering::Release);
    }

    /// Where the health port is, for port 0; `None` when it isn't served.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.servers.get()?.health
    }

    /// Where the admin port is, for port 0; `None` when it isn't served.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.servers.get()?.admin
    }

    /// Ends the servers and writes what is left of the access log. Returns when both are done.
    pub fn stop(&self) {
        self.draining();
        if let Some(servers) = self.servers.get() {
            servers.stop();
        }
        if let Some(log) = &self.access_log {
            log.close();
        }
    }
}
