//! Handles that workers and forwarders keep: connections of a listener, connections to a backend.
//!
//! Each thread has its own, and only that thread may count with it; all methods are relaxed additions.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::series::Histogram;

/// Why a downstream connection was closed before its first request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The limit on all connections.
    ConnectionLimit,
    /// The limit on one address' connections.
    AddressLimit,
    /// The PROXY protocol header is missing or can't be read.
    ProxyProtocol,
    /// The listener no longer exists, or the connection was meant for somebody else's address.
    Unserved,
}

impl Rejection {
    /// All of them.
    pub(super) const ALL: [Self; 4] = [Self::ConnectionLimit, Self::AddressLimit, Self::ProxyProtocol, Self::Unserved];

    /// The metric label.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::ConnectionLimit => "connection_limit",
            Self::AddressLimit => "address_limit",
            Self::ProxyProtocol => "proxy_protocol",
            Self::Unserved => "unserved",
        }
    }
}

/// One thread's counters for a listener's connections.
#[derive(Debug, Default)]
pub struct ListenerMetrics {
    pub(super) open: AtomicI64,
    pub(super) accepted: AtomicU64,
    pub(super) rejected: [AtomicU64; Rejection::ALL.len()],
    pub(super) handshakes: [AtomicU64; 2],
    pub(super) handshake_failures: AtomicU64,
}

/// The TLS versions of `handshakes`, in its order.
pub(super) const TLS_VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

impl ListenerMetrics {
    /// A connection was accepted.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
        self.open.fetch_add(1, Relaxed);
    }

    /// An accepted connection is gone, for whatever reason.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// An accepted connection is refused.
    pub fn rejected(&self, why: Rejection) {
        if let Some(counter) = self.rejected.get(why as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A TLS handshake is complete; `version` as in [`crate::exchange::TlsFacts`].
    pub fn handshake(&self, version: &str) {
        let at = usize::from(version != "TLSv1.2");
        if let Some(counter) = self.handshakes.get(at) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A TLS handshake failed, or took too long.
    pub fn handshake_failed(&self) {
        self.handshake_failures.fetch_add(1, Relaxed);
    }
}

/// One thread's counters for a backend's connections.
#[derive(Debug, Default)]
pub struct UpstreamMetrics {
    pub(super) connects: Histogram,
    pub(super) connect_failures: AtomicU64,
    pub(super) reuses: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) ejections: AtomicU64,
    pub(super) open: AtomicI64,
}

impl UpstreamMetrics {
    /// A connection to an endpoint stands, TLS included, after this long.
    pub fn connected(&self, took: Duration) {
        self.connects.observe(took);
        self.open.fetch_add(1, Relaxed);
    }

    /// A connection that stood is gone.
    pub fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// No connection to an endpoint, or not in time.
    pub fn connect_failed(&self) {
        self.connect_failures.fetch_add(1, Relaxed);
    }

    /// A request went out on a connection that stood already.
    pub fn reused(&self) {
        self.reuses.fetch_add(1, Relaxed);
    }

    /// A request is sent once more.
    pub fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// An endpoint is left out for a while.
    pub fn ejected(&self) {
        self.ejections.fetch_add(1, Relaxed);
    }
}
