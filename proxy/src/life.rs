//! One request from its head to its response's last byte, as `lifecycle` and `upgrade` hold it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use http::Method;

use crate::body::{Counter, Ended};
use crate::exchange::{Exchange, Protocol};
use crate::observe::Finished;
use crate::server::client::Client;

/// A request from its head to its response's last byte. Dropped early, it ends as unanswered.
pub struct Life {
    /// Its connection.
    pub client: Rc<Client>,
    /// What becomes known of it.
    pub exchange: Exchange,
    /// How long it may be silent once upgraded; `ZERO`: for ever.
    pub idle: Duration,
    /// Which request of the connection it is, from 1.
    pub ordinal: u64,
    /// Whether the wire refused it.
    pub refused: bool,
    /// Whether it counts among the requests in flight.
    pub counted: bool,
    /// The host it is for.
    pub host: rust_ingress_model::Name,
    /// Bytes of its body.
    pub received: Option<Counter>,
    /// The status of its response; 0: none.
    pub status: Cell<u16>,
    /// Bytes of its response's body.
    sent: Cell<u64>,
}

impl Life {
    /// A request begins.
    pub fn begin(client: Rc<Client>, method: Method, protocol: Protocol) -> Self {
        let exchange = Exchange::new(client.facts.clone(), method, protocol);
        let ordinal = client.begin();
        let counted = client.core.enter_request();
        let host = NO_HOST.with(Clone::clone);
        let idle = client.core.shared.options.timeouts.idle;
        Self {
            client,
            exchange,
            idle,
            ordinal,
            refused: false,
            counted,
            host,
            received: None,
            status: Cell::new(0),
            sent: Cell::new(0),
        }
    }

    /// The response's body has ended.
    pub fn end(self, ended: Ended) {
        self.sent.set(ended.bytes);
    }

    /// Bytes of bodies that weren't hyper's, or of an upgraded connection: from the client, and to it.
    pub fn relayed(&mut self, received: u64, sent: u64) {
        self.received = (received > 0).then(|| Rc::new(Cell::new(received)));
        self.sent.set(sent);
    }
}

thread_local! {
    /// Made once: an empty `Arc<str>` costs an allocation.
    static NO_HOST: rust_ingress_model::Name = "".into();
}

impl Drop for Life {
    fn drop(&mut self) {
        if self.counted {
            self.client.core.leave_request();
        }
        self.client.end();
        let request_bytes = self.received.as_ref().map_or(0, |received| received.get());
        let finished = Finished { status: self.status.get(), request_bytes, response_bytes: self.sent.get() };
        self.client.core.shared.observer.finished(&self.exchange, &finished);
    }
}
