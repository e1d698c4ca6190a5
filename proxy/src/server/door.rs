//! A listener on one core: what its accept loop and its connections share. Made by `worker`.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rust_ingress_model::ListenerName;

use crate::observe::ListenerMetrics;
use crate::server::core::Core;
use crate::server::signal::Signal;

/// A listener on one core.
pub struct Door {
    /// The listener's name: its entry is looked up in the table for every connection and request.
    pub name: ListenerName,
    /// Where it listens.
    pub address: SocketAddr,
    /// The core.
    pub core: Rc<Core>,
    /// This core's counters for the listener.
    pub metrics: Arc<ListenerMetrics>,
    /// Raised: no more connections.
    pub closed: Rc<Signal>,
    /// Whether the port lives on in another process when this one closes it.
    pub succeeded: Cell<bool>,
    /// Raised: its connections end when their requests have.
    pub ending: Rc<Signal>,
}

impl Door {
    /// A listener on this core.
    pub fn new(name: ListenerName, address: SocketAddr, core: Rc<Core>) -> Rc<Self> {
        let metrics = core.shared.observer.metrics.listener(&name);
        Rc::new(Self { name, address, core, metrics, closed: Rc::default(), succeeded: Cell::new(false), ending: Rc::default() })
    }
}
