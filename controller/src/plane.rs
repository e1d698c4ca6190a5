//! Where snapshots go live: a proxy in this process, or one in a child process; and the kernel of this node, where an agent
//! runs. The driver knows only this.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use rust_ingress_model::l4::NodeFacts;
use rust_ingress_model::{Fault, KeyStore, ListenerName, Snapshot};
use rust_ingress_proxy::{Proxy, PublishFault};

/// Serves snapshots.
pub trait Plane {
    /// Makes a snapshot live; it is when this returns, except for the listeners returned.
    fn publish(&self, snapshot: Arc<Snapshot>, keys: &KeyStore) -> Vec<PublishFault>;
    /// The listeners that are open, with their real addresses (for port 0).
    fn bound(&self) -> Vec<(ListenerName, SocketAddr)>;
}

/// Programs the kernel of this node.
pub trait Kernel {
    /// Makes the Services of a snapshot live, as this node carries them. Gives all that is wrong with them now; where nothing
    /// could be programmed at all, the kernel keeps what it had. `triggered`: when what changed endpoints since the last time
    /// happened, for a metric.
    fn publish(&self, snapshot: &Arc<Snapshot>, node: &NodeFacts, triggered: &[SystemTime]) -> Vec<Fault>;
}

impl Plane for Proxy {
    fn publish(&self, snapshot: Arc<Snapshot>, keys: &KeyStore) -> Vec<PublishFault> {
        Proxy::publish(self, snapshot, keys)
    }

    fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        Proxy::bound(self)
    }
}
