//! One endpoint as one core sees it: idle connections, requests in flight, whether it is left out for a while.
//!
//! Kept by `local`; `forward` takes a [`Lease`] for every request. Never borrowed across an await.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Transport;
use super::h2::H2Pool;
use super::idle::{Idle, Raw};

/// How long an endpoint that refuses connections is left out at first; doubles up to [`EJECT_MOST`].
const EJECT_FIRST: Duration = Duration::from_secs(1);
/// The longest that an endpoint is left out.
const EJECT_MOST: Duration = Duration::from_secs(30);

/// An address, and how connections to it are made.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    pub(crate) transport: Arc<Transport>,
    /// The address that connections to it come from; `None`: as the system chooses.
    pub(crate) source: Option<IpAddr>,
    /// The same endpoint from where the system chooses: what is known of the one is known of the other.
    base: Option<Rc<Endpoint>>,
    /// HTTP/1 connections without a request; the last used is at the end, and taken first.
    idle: RefCell<Vec<Idle>>,
    /// At most so many idle ones.
    idle_most: usize,
    /// HTTP/2 connections.
    pub(crate) h2: H2Pool,
    in_flight: Cell<u32>,
    failures: Cell<u32>,
    ejected_until: Cell<Option<Instant>>,
}

impl Endpoint {
    pub(super) fn new(address: SocketAddr, transport: Arc<Transport>, idle_most: usize) -> Self {
        Self {
            address,
            transport,
            source: None,
            base: None,
            idle: RefCell::default(),
            idle_most,
            h2: H2Pool::default(),
            in_flight: Cell::new(0),
            failures: Cell::new(0),
            ejected_until: Cell::new(None),
        }
    }

    /// The same, with connections that come from this address.
    pub(super) fn from_source(base: &Rc<Self>, source: IpAddr) -> Self {
        let same = Self::new(base.address, base.transport.clone(), base.idle_most);
        Self { source: Some(source), base: Some(base.clone()), ..same }
    }

    /// Where requests and failures are counted.
    fn counted(&self) -> &Self {
        self.base.as_deref().unwrap_or(self)
    }

    /// Whether it is another one's, from an address.
    pub(super) fn is_from_source(&self) -> bool {
        self.base.is_some()
    }

    /// An idle HTTP/1 connection, the warmest first.
    pub(crate) fn take_idle(&self) -> Option<Idle> {
        self.idle.borrow_mut().pop()
    }

    /// The same without hyper, still standing.
    pub(crate) fn take_raw(&self) -> Option<Raw> {
        loop {
            // Borrowed for the pop alone: what is dropped here counts itself out.
            let idle = self.take_idle()?;
            if let Some(raw) = idle.into_raw() {
                return Some(raw);
            }
        }
    }

    /// Takes a connection back that can carry another request.
    pub(super) fn put_idle(&self, connection: Idle) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.idle_most {
            idle.push(connection);
        }
    }

    /// Requests in flight on this core.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight.get()
    }

    /// Whether it is left out now.
    pub(super) fn ejected(&self) -> bool {
        self.ejected_until.get().is_some_and(|until| Instant::now() < until)
    }

    /// A connection stands.
    pub(crate) fn connected(&self) {
        let counted = self.counted();
        counted.failures.set(0);
        counted.ejected_until.set(None);
    }

    /// No connection could be made: it is left out for a while, longer each time. Says whether it wasn't before.
    pub(crate) fn refused(&self) -> bool {
        let counted = self.counted();
        let before = counted.ejected();
        let failures = counted.failures.get();
        let period = EJECT_FIRST.saturating_mul(1 << failures.min(5)).min(EJECT_MOST);
        counted.failures.set(failures.saturating_add(1));
        counted.ejected_until.set(Some(Instant::now() + period));
        !before
    }

    /// Closes connections that are dead, or idle since before `since`. Says whether any idle one is left.
    pub(super) fn sweep(&self, since: Option<Instant>) -> bool {
        let mut idle = std::mem::take(&mut *self.idle.borrow_mut());
        idle.retain_mut(|connection| since.is_none_or(|since| connection.since() > since) && connection.alive());
        let h2 = self.h2.sweep(since);
        // Nothing can have been put back meanwhile: dropping a connection runs none of our code but a counter's.
        let left = !idle.is_empty() || h2;
        *self.idle.borrow_mut() = idle;
        left
    }
}

/// One request at an endpoint, counted while it lives.
#[derive(Debug)]
pub(crate) struct Lease(Rc<Endpoint>);

impl Lease {
    pub(crate) fn new(endpoint: Rc<Endpoint>) -> Self {
        let in_flight = &endpoint.counted().in_flight;
        in_flight.set(in_flight.get().saturating_add(1));
        Self(endpoint)
    }

    pub(crate) fn endpoint(&self) -> &Rc<Endpoint> {
        &self.0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let in_flight = &self.0.counted().in_flight;
        in_flight.set(in_flight.get().saturating_sub(1));
    }
}
