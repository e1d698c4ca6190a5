//! Backends, compiled, and each core's connections to their endpoints.
//!
//! [`Upstreams`] belongs to a table and is shared by all cores; the table builds it at every publish, and backends that
//! didn't change are shared with the one before. What belongs to a core (connections, requests in flight, ejections) is
//! kept by that core's `Forwarder`, by endpoint, and survives the swap of tables.

mod connect;
mod endpoint;
mod h1;
mod h2;
mod idle;
mod local;
mod resolve;
mod stream;
mod tls;
mod verify;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::AHashMap;
use rust_ingress_model::{Backend, BackendKey, Digest, KeyStore, Part, PartMap, Snapshot};

pub(crate) use connect::{Connect, ConnectError};
pub(crate) use endpoint::{Endpoint, Lease};
pub(crate) use h1::{H1, ResponseStream, cut_off};
pub(crate) use h2::{H2Lease, Place as H2Place};
pub(crate) use idle::Raw;
pub(crate) use local::{Local, LocalUpstream};
pub(crate) use stream::Stream;

/// All backends of a table.
#[derive(Debug, Default)]
pub struct Upstreams {
    by_key: AHashMap<BackendKey, Arc<Upstream>>,
    /// What they were compiled from.
    parts: PartMap<BackendKey, Backend>,
    /// Those that couldn't be compiled whole: they are compiled again with every table.
    unsound: Vec<BackendKey>,
    /// Counts up with every table, so that cores know which is newer.
    generation: u64,
}

/// One backend, compiled.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub key: BackendKey,
    /// What the snapshot says of it.
    pub backend: Part<Backend>,
    /// Tells it from what its name stood for earlier.
    id: u64,
    transport: Arc<Transport>,
}

/// How connections to endpoints are made. Connections are shared by backends with equal transports.
#[derive(Debug)]
pub(crate) struct Transport {
    /// Names it: protocol and TLS settings.
    digest: Digest,
    /// Whether HTTP/2 is spoken.
    pub(crate) h2: bool,
    /// The client side of TLS; `Err` says what is wrong with its settings.
    pub(crate) tls: Option<Result<tls::Client, String>>,
}

impl Upstreams {
    /// Compiles a snapshot's backends: a copy of `previous` with what differs.
    pub fn new(snapshot: &Snapshot, keys: &KeyStore, previous: Option<&Self>) -> Self {
        let mut by_key = previous.map(|previous| previous.by_key.clone()).unwrap_or_default();
        let nothing = PartMap::new();
        let before = previous.map_or(&nothing, |previous| &previous.parts);
        for (key, _) in before.near_changes(&snapshot.backends).filter(|(key, _)| !snapshot.backends.contains_key(*key)) {
            by_key.remove(key);
        }
        let again = previous.iter().flat_map(|previous| &previous.unsound);
        let again = again.filter_map(|key| Some((key, snapshot.backends.get(key)?)));
        let mut unsound = Vec::new();
        for (key, backend) in snapshot.backends.near_changes(before).chain(again) {
            if by_key.get(key).is_none_or(|kept| kept.backend != *backend || !kept.sound()) {
                let upstream = Upstream::new(key.clone(), backend.clone(), keys);
                if !upstream.sound() {
                    unsound.push(key.clone());
                }
                by_key.insert(key.clone(), Arc::new(upstream));
            }
        }
        let parts = snapshot.backends.clone();
        Self { by_key, parts, unsound, generation: previous.map_or(1, |previous| previous.generation + 1) }
    }

    /// The backend of a name.
    pub fn get(&self, key: &BackendKey) -> Option<&Arc<Upstream>> {
        self.by_key.get(key)
    }
}

impl Upstream {
    fn new(key: BackendKey, backend: Part<Backend>, keys: &KeyStore) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let (protocol, settings) = (backend.protocol, backend.tls.clone().unwrap_or_default());
        let tls = protocol.tls().then(|| tls::Client::new(&settings, protocol.h2(), keys));
        let digest = Digest::of(&(protocol, protocol.tls().then_some(&settings)));
        let transport = Arc::new(Transport { digest, h2: protocol.h2(), tls });
        Self { key, backend, id: NEXT.fetch_add(1, Ordering::Relaxed), transport }
    }

    /// Whether its endpoints speak HTTP/2.
    pub(crate) fn speaks_h2(&self) -> bool {
        self.transport.h2
    }

    /// Whether it could be compiled whole; else it is compiled again, because a key may have come.
    fn sound(&self) -> bool {
        !matches!(self.transport.tls, Some(Err(_)))
    }
}
