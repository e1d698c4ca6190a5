//! The listening sockets. The parent opens and keeps them and hands copies to the child, so that connections wait in their
//! queues, and none is refused, while a dead child is started again.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use rust_ingress_model::{ListenerName, Snapshot};
use rust_ingress_proxy::PublishFault;
use rust_ingress_proxy::feed::{FeedError, Handover, Orders};
use rust_ingress_proxy::server::sockets::{self, Sharing};
use rust_ingress_proxy::table::{bind_address, not_served};

/// The sockets of all listeners.
pub(super) struct Held {
    listeners: BTreeMap<ListenerName, Listening>,
    workers: usize,
    sharing: Sharing,
}

struct Listening {
    asked: SocketAddr,
    bound: Result<SocketAddr, String>,
    sockets: Vec<TcpListener>,
    /// Whether the child that runs has been told.
    told: bool,
}

impl Held {
    pub(super) fn new(workers: usize, sharing: Sharing) -> Self {
        Self { listeners: BTreeMap::new(), workers, sharing }
    }

    /// Opens what the snapshot asks for and isn't open, and closes what it doesn't ask for. The child empties the queues of
    /// what is closed here: it has copies until it hears of the snapshot. Gives listeners that can't be opened.
    pub(super) fn follow(&mut self, snapshot: &Snapshot) -> Vec<PublishFault> {
        let mut faults = Vec::new();
        let mut wanted = BTreeMap::new();
        for (name, listener) in snapshot.listeners.iter().filter(|(_, listener)| listener.has_socket()) {
            let tls = listener.tls.as_ref().is_some_and(|name| snapshot.tls_sets.contains_key(name));
            match bind_address(listener, tls) {
                Some(address) => drop(wanted.insert(name, address)),
                None => faults.push(fault(name, listener.socket_addr(), not_served())),
            }
        }
        self.listeners.retain(|name, is| is.bound.is_ok() && wanted.get(name) == Some(&is.asked));
        for (name, asked) in wanted {
            if self.listeners.contains_key(name) {
                continue;
            }
            let (bound, sockets) = match sockets::open(asked, self.workers, self.sharing) {
                Ok((bound, sockets)) => (Ok(bound), sockets),
                Err(error) => {
                    let text = error.to_string();
                    faults.push(fault(name, asked, error));
                    (Err(text), Vec::new())
                }
            };
            self.listeners.insert(name.clone(), Listening { asked, bound, sockets, told: false });
        }
        faults
    }

    /// A new child knows of none.
    pub(super) fn forget_child(&mut self) {
        self.listeners.values_mut().for_each(|listening| listening.told = false);
    }

    /// Hands over what the child doesn't know of.
    pub(super) fn hand_over(&mut self, orders: &mut Orders) -> Result<(), FeedError> {
        for (name, listening) in self.listeners.iter_mut().filter(|(_, listening)| !listening.told) {
            let Listening { asked, bound, sockets, .. } = &*listening;
            let handover = Handover { listener: name.clone(), asked: *asked, bound: bound.clone() };
            orders.sockets(&handover, sockets)?;
            listening.told = true;
        }
        Ok(())
    }

    /// The listeners that are open, with their real addresses.
    pub(super) fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        let open = self.listeners.iter().filter_map(|(name, listening)| Some((name.clone(), *listening.bound.as_ref().ok()?)));
        open.collect()
    }

    /// Closes our copies of all. Where a successor listens too, nobody begins another handshake on them: they go to it. The
    /// child can't see to that itself: without capabilities the kernel refuses it the filter (EPERM, seen on 6.18).
    pub(super) fn close(&mut self) {
        if self.sharing == Sharing::WithOurselves {
            for socket in self.listeners.values().flat_map(|listening| &listening.sockets) {
                if let Err(error) = sockets::refuse_new(socket) {
                    tracing::debug!(%error, "handshakes under way may be reset");
                }
            }
        }
        self.listeners.clear();
    }
}

fn fault(listener: &ListenerName, address: SocketAddr, error: io::Error) -> PublishFault {
    PublishFault { listener: listener.clone(), address, error }
}
