//! Listening sockets that the parent opened and handed in, until the proxy takes them.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rust_ingress_model::{ListenerName, Snapshot};

use super::message::Handover;
use crate::server::sockets::Sockets;

/// What was handed in. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Handed(Arc<Mutex<BTreeMap<ListenerName, Waiting>>>);

struct Waiting {
    asked: SocketAddr,
    bound: Result<SocketAddr, String>,
    sockets: Vec<TcpListener>,
}

impl Handed {
    /// Keeps sockets for the listener. More of the same address join those that are there.
    pub(super) fn put(&self, handover: Handover, sockets: Vec<TcpListener>) {
        let Handover { listener, asked, bound } = handover;
        let mut all = self.all();
        match all.get_mut(&listener).filter(|waiting| waiting.asked == asked && waiting.bound == bound) {
            Some(waiting) => waiting.sockets.extend(sockets),
            None => drop(all.insert(listener, Waiting { asked, bound, sockets })),
        }
    }

    /// Lets go of what no listener of the snapshot waits for: no socket outlives its listener.
    pub(super) fn retain(&self, snapshot: &Snapshot) {
        self.all().retain(|name, _| snapshot.listeners.contains_key(name));
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ListenerName, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sockets for Handed {
    fn open(&self, listener: &ListenerName, address: SocketAddr, _: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
        let mut all = self.all();
        match all.get_mut(listener).filter(|waiting| waiting.asked == address) {
            Some(Waiting { bound: Ok(bound), sockets, .. }) if !sockets.is_empty() => Ok((*bound, std::mem::take(sockets))),
            Some(Waiting { bound: Err(error), .. }) => Err(io::Error::other(error.clone())),
            _ => Err(io::Error::other("its sockets weren't handed over; this is a bug")),
        }
    }
}
