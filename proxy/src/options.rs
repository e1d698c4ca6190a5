//! What the program tells the data plane at start: workers, ports, limits, defaults. Not per route, never swapped.
//! It can be serialised because the proxy may be a process of its own (`feed`).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::server::sockets::Sharing;

/// Options of the data plane.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Cores that serve requests, each with its own runtime, listeners and pools. At least 1.
    pub workers: usize,
    /// Where `/snapshot` and the like are served; must be loopback. `None`: nowhere.
    pub admin: Option<SocketAddr>,
    /// Where `/livez`, `/readyz`, `/metrics` and `/generation` are served. `None`: nowhere.
    pub health: Option<SocketAddr>,
    /// Whose `X-Forwarded-*`, `Forwarded` and `X-Request-Id` are believed. Empty: nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// Also send `Forwarded` (RFC 7239) to endpoints.
    pub send_forwarded: bool,
    /// Where access logs go.
    pub access_log: AccessLog,
    /// Limits against floods and slow clients.
    pub limits: Limits,
    /// Timeouts where a route says nothing.
    pub timeouts: DefaultTimeouts,
    /// How the proxy stops.
    pub drain: Drain,
    /// Who else may have its ports open.
    pub sharing: Sharing,
}

/// Where access logs go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccessLog {
    /// Nowhere.
    Off,
    /// Standard output.
    Stdout,
    /// Appended to a file.
    File(PathBuf),
}

/// Limits. Numbers are those of Envoy's guide for edge proxies where it has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Downstream connections, all workers together. Over it new ones are closed at once and counted.
    pub connections: usize,
    /// Downstream connections from one address; 0: no limit.
    pub connections_per_address: usize,
    /// Requests in flight per worker; over it 503.
    pub requests_in_flight: usize,
    /// Bytes of a request's head, and of an HTTP/2 header list.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub headers: usize,
    /// Streams of an HTTP/2 connection.
    pub h2_streams: u32,
    /// HTTP/2 stream window, in bytes.
    pub h2_stream_window: u32,
    /// HTTP/2 connection window, in bytes.
    pub h2_connection_window: u32,
    /// Resets that a client may send, beyond those answered, before its connection is closed (CVE-2023-44487).
    pub h2_pending_resets: usize,
    /// Largest request body in bytes where a rule says nothing; 0: no limit.
    pub body_bytes: u64,
    /// Replay buffer of a request body whose rule can retry, in bytes.
    pub replay_bytes: usize,
    /// Idle connections kept per endpoint and worker.
    pub idle_per_endpoint: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 50_000,
            connections_per_address: 0,
            requests_in_flight: 25_000,
            head_bytes: 64 << 10,
            headers: 100,
            h2_streams: 100,
            h2_stream_window: 64 << 10,
            h2_connection_window: 1 << 20,
            h2_pending_resets: 20,
            body_bytes: 0,
            replay_bytes: 64 << 10,
            idle_per_endpoint: 64,
        }
    }
}

/// Timeouts where a route says nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DefaultTimeouts {
    /// From the first byte (or the accept) to the whole head of a request, TLS handshake included.
    pub header_read: Duration,
    /// A downstream connection without a request.
    pub keep_alive: Duration,
    /// To a connection with an endpoint.
    pub connect: Duration,
    /// To the response's head. `ZERO`: none.
    pub response_headers: Duration,
    /// A request's or response's body, or an upgraded connection, without a byte. `ZERO`: none.
    pub idle: Duration,
    /// The whole request. `ZERO`: none.
    pub request: Duration,
    /// An idle upstream connection.
    pub upstream_idle: Duration,
}

impl Default for DefaultTimeouts {
    fn default() -> Self {
        Self {
            header_read: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            connect: Duration::from_secs(5),
            response_headers: Duration::from_secs(60),
            idle: Duration::from_secs(300),
            request: Duration::ZERO,
            upstream_idle: Duration::from_secs(60),
        }
    }
}

/// How the proxy stops.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drain {
    /// How long it goes on accepting after it reports not ready, so that load balancers notice.
    pub delay: Duration,
    /// How long requests in flight may take after that.
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self { delay: Duration::ZERO, timeout: Duration::from_secs(30) }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            admin: None,
            health: None,
            trusted_proxies: Vec::new(),
            send_forwarded: false,
            access_log: AccessLog::Off,
            limits: Limits::default(),
            timeouts: DefaultTimeouts::default(),
            drain: Drain::default(),
            sharing: Sharing::default(),
        }
    }
}
