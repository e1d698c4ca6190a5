//! What all connections of one core share: the table, the forwarder, and counts. One per worker thread, behind `Rc`.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use ahash::AHashMap;
use arc_swap::{ArcSwap, Cache};
use tokio::sync::Notify;

use crate::forward::Forwarder;
use crate::observe::{ListenerMetrics, Observer, Rejection};
use crate::options::Options;
use crate::table::Table;

/// What the cores share.
pub struct Shared {
    /// Options of the program.
    pub options: Arc<Options>,
    /// The live table.
    pub table: Arc<ArcSwap<Table>>,
    /// Metrics, access log, readiness.
    pub observer: Arc<Observer>,
    connections: AtomicUsize,
    by_address: Mutex<AHashMap<IpAddr, usize>>,
}

impl Shared {
    /// Before the first publish.
    pub fn new(options: Arc<Options>, observer: Arc<Observer>) -> Self {
        Self {
            options,
            table: Arc::new(ArcSwap::from_pointee(Table::empty())),
            observer,
            connections: AtomicUsize::new(0),
            by_address: Mutex::new(AHashMap::new()),
        }
    }

    /// Counts a connection against the limits; where it is over one, which.
    fn admit(&self, address: IpAddr) -> Result<(), Rejection> {
        let limits = &self.options.limits;
        if self.connections.fetch_add(1, Relaxed) >= limits.connections {
            self.connections.fetch_sub(1, Relaxed);
            return Err(Rejection::ConnectionLimit);
        }
        if limits.connections_per_address > 0
            && let Ok(mut by_address) = self.by_address.lock()
        {
            let count = by_address.entry(address).or_insert(0);
            if *count >= limits.connections_per_address {
                self.connections.fetch_sub(1, Relaxed);
                return Err(Rejection::AddressLimit);
            }
            *count += 1;
        }
        Ok(())
    }

    fn leave(&self, address: IpAddr) {
        self.connections.fetch_sub(1, Relaxed);
        if self.options.limits.connections_per_address > 0
            && let Ok(mut by_address) = self.by_address.lock()
            && let Some(count) = by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }
}

/// One core.
pub struct Core {
    /// What the cores share.
    pub shared: Arc<Shared>,
    /// The core's way to endpoints, with its connections.
    pub forwarder: Forwarder,
    table: RefCell<Cache<Arc<ArcSwap<Table>>, Arc<Table>>>,
    /// Requests in flight.
    in_flight: Cell<usize>,
    /// Open connections.
    connections: Cell<usize>,
    /// Told when the last connection closes.
    emptied: Notify,
}

impl Core {
    /// A core's state, made in its runtime.
    pub fn new(shared: Arc<Shared>) -> Rc<Self> {
        let forwarder = Forwarder::new(shared.options.clone(), shared.observer.clone());
        let table = RefCell::new(Cache::new(shared.table.clone()));
        let (in_flight, connections, emptied) = (Cell::new(0), Cell::new(0), Notify::new());
        Rc::new(Self { shared, forwarder, table, in_flight, connections, emptied })
    }

    /// The live table; one load per request.
    pub fn table(&self) -> Arc<Table> {
        self.table.borrow_mut().load().clone()
    }

    /// Counts a request in; `false`, and not counted, when there are too many.
    pub fn enter_request(&self) -> bool {
        let allowed = self.in_flight.get() < self.shared.options.limits.requests_in_flight;
        if allowed {
            self.in_flight.set(self.in_flight.get() + 1);
        }
        allowed
    }

    /// Counts a request out.
    pub fn leave_request(&self) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
    }

    /// Counts a connection of a listener in.
    ///
    /// # Errors
    /// The limit that it is over.
    pub fn admit(self: &Rc<Self>, address: IpAddr, metrics: &Arc<ListenerMetrics>) -> Result<Permit, Rejection> {
        self.shared.admit(address)?;
        self.connections.set(self.connections.get() + 1);
        metrics.accepted();
        Ok(Permit { core: self.clone(), address, metrics: metrics.clone() })
    }

    /// Waits until no connection is open.
    pub async fn empty(&self) {
        while self.connections.get() > 0 {
            self.emptied.notified().await;
        }
    }

    /// Open connections.
    pub fn open_connections(&self) -> usize {
        self.connections.get()
    }
}

/// A connection's place in the counts, until it is dropped. An upgraded connection keeps it.
pub struct Permit {
    core: Rc<Core>,
    address: IpAddr,
    metrics: Arc<ListenerMetrics>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.metrics.closed();
        self.core.shared.leave(self.address);
        let left = self.core.connections.get().saturating_sub(1);
        self.core.connections.set(left);
        if left == 0 {
            self.core.emptied.notify_waiters();
            self.core.emptied.notify_one();
        }
    }
}
