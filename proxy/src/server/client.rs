//! What the requests of one connection share, and when the connection is due to end. Made by `connection`, read by the
//! life of each request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::exchange::Connection;
use crate::gate::head::Authority;
use crate::server::core::{Core, Permit};
use crate::server::link::Link;

/// What the requests of one connection share.
pub struct Client {
    /// The core.
    pub core: Rc<Core>,
    /// Facts for the exchange.
    pub facts: Arc<Connection>,
    /// The other end: the connection's bytes.
    pub link: Arc<Link>,
    /// The last authority that was asked for; clients repeat it.
    pub authority: RefCell<Option<Authority>>,
    /// Whether it speaks HTTP/2.
    pub h2: bool,
    /// Requests begun.
    served: Cell<u64>,
    /// Requests in flight.
    active: Cell<u32>,
    /// When the connection was made, or its last request ended.
    idle_since: Cell<Instant>,
    /// Its place in the counts.
    _permit: Permit,
}

impl Client {
    /// A connection that was made just now.
    pub fn new(core: Rc<Core>, facts: Connection, link: Arc<Link>, h2: bool, permit: Permit) -> Rc<Self> {
        Rc::new(Self {
            core,
            facts: Arc::new(facts),
            link,
            authority: RefCell::new(None),
            h2,
            served: Cell::new(0),
            active: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            _permit: permit,
        })
    }

    /// A request begins; returns its ordinal, from 1.
    pub fn begin(&self) -> u64 {
        self.active.set(self.active.get() + 1);
        let ordinal = self.served.get() + 1;
        self.served.set(ordinal);
        ordinal
    }

    /// Requests begun.
    pub fn served(&self) -> u64 {
        self.served.get()
    }

    /// A request has ended.
    pub fn end(&self) {
        self.active.set(self.active.get().saturating_sub(1));
        self.idle_since.set(Instant::now());
    }

    /// When the connection was made, or its last request ended.
    pub fn idle_since(&self) -> Instant {
        self.idle_since.get()
    }

    /// When something must be done if nothing happens, and what.
    pub fn due(&self) -> Option<(Instant, Due)> {
        let timeouts = &self.core.shared.options.timeouts;
        if self.active.get() > 0 {
            let stuck = self.link.write_stuck_since().filter(|_| !timeouts.idle.is_zero());
            return stuck.map(|since| (since + timeouts.idle, Due::Drop));
        }
        // While a request is served nobody reads the rest of the next head: its time begins afterwards.
        if let Some(since) = self.link.partial_head_since() {
            return Some((since.max(self.idle_since.get()) + timeouts.header_read, Due::Head));
        }
        match self.served.get() {
            0 => Some((self.idle_since.get() + timeouts.header_read, Due::Drop)),
            _ => Some((self.idle_since.get() + timeouts.keep_alive, Due::End)),
        }
    }
}

/// What is done when time is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// A head didn't come whole: 408.
    Head,
    /// Idle after a request: the connection is ended politely.
    End,
    /// Nothing was asked, or nothing is taken: it is dropped.
    Drop,
}
