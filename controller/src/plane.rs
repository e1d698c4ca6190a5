//! Where snapshots go live: a proxy in this process, or one in a child process. The driver knows only this.

use std::net::SocketAddr;
use std::sync::Arc;

use rust_ingress_model::{KeyStore, ListenerName, Snapshot};
use rust_ingress_proxy::{Proxy, PublishFault};

/// Serves snapshots.
pub trait Plane {
    /// Makes a snapshot live; it is when this returns, except for the listeners returned.
    fn publish(&self, snapshot: Arc<Snapshot>, keys: &KeyStore) -> Vec<PublishFault>;
    /// The listeners that are open, with their real addresses (for port 0).
    fn bound(&self) -> Vec<(ListenerName, SocketAddr)>;
}

impl Plane for Proxy {
    fn publish(&self, snapshot: Arc<Snapshot>, keys: &KeyStore) -> Vec<PublishFault> {
        Proxy::publish(self, snapshot, keys)
    }

    fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        Proxy::bound(self)
    }
}
