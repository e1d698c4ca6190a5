//! A shard: one thread's counters, and that thread's table from what an exchange points at to its series.
//!
//! The table is keyed by the addresses of shared names, not by their text: names of a snapshot are shared, so a request
//! hashes a few words. An entry keeps its names alive, so that an address can't come to mean another name.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ahash::RandomState;
use rust_ingress_model::{BackendKey, ListenerName, Name, ObjectRef, PortRef};

use super::handles::{ListenerMetrics, UpstreamMetrics};
use super::series::{Labels, Series};
use super::{Inner, lock};
use crate::exchange::Exchange;
use crate::fault::Kind;

/// Entries of a thread's table; over it, it begins anew. Each keeps a few names alive, about 200 bytes.
const MAX_ENTRIES: usize = 16_384;

/// Proxies that one thread counts for; more than one only in tests.
const MAX_LOCALS: usize = 8;

thread_local! {
    static LOCALS: RefCell<Vec<Local>> = const { RefCell::new(Vec::new()) };
}

/// One thread's counters.
#[derive(Debug)]
pub(super) struct Shard {
    /// Requests.
    pub series: Mutex<BTreeMap<Labels, Arc<Series>>>,
    /// Downstream connections.
    pub listeners: Mutex<BTreeMap<ListenerName, Arc<ListenerMetrics>>>,
    /// Upstream connections.
    pub upstreams: Mutex<BTreeMap<Name, Arc<UpstreamMetrics>>>,
    /// By [`Kind`], in the order of [`Kind::ALL`].
    pub faults: [AtomicU64; Kind::ALL.len()],
    /// Informational responses that can't be passed on.
    pub interim_dropped: AtomicU64,
}

impl Shard {
    fn new() -> Self {
        Self {
            series: Mutex::default(),
            listeners: Mutex::default(),
            upstreams: Mutex::default(),
            faults: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            interim_dropped: AtomicU64::new(0),
        }
    }

    pub(super) fn listener(&self, name: &ListenerName) -> Arc<ListenerMetrics> {
        lock(&self.listeners).entry(name.clone()).or_default().clone()
    }

    pub(super) fn upstream(&self, backend: &Name) -> Arc<UpstreamMetrics> {
        lock(&self.upstreams).entry(backend.clone()).or_default().clone()
    }

    pub(super) fn fault(&self, kind: Kind) {
        if let Some(counter) = self.faults.get(kind as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Drops what is not to be kept.
    pub(super) fn retain(&self, series: impl Fn(&Labels) -> bool, backend: impl Fn(&Name) -> bool) {
        lock(&self.series).retain(|labels, _| series(labels));
        lock(&self.upstreams).retain(|name, _| backend(name));
    }
}

/// The addresses of the names that an exchange points at.
type Addresses = [usize; 9];

/// What keeps the addresses of an entry from being used again.
type Names = (ListenerName, Option<ObjectRef>, Option<BackendKey>);

/// One thread's view of one proxy's counters.
pub(super) struct Local {
    id: u64,
    epoch: u64,
    /// The thread's counters.
    pub shard: Arc<Shard>,
    table: HashMap<Addresses, (Names, Arc<Series>), RandomState>,
}

impl Local {
    fn new(inner: &Inner) -> Self {
        let shard = Arc::new(Shard::new());
        lock(&inner.shards).push(shard.clone());
        Self { id: inner.id, epoch: inner.epoch.load(Ordering::Acquire), shard, table: HashMap::default() }
    }

    /// The series that an exchange is counted in.
    pub(super) fn series(&mut self, inner: &Inner, exchange: &Exchange) -> &Series {
        let epoch = inner.epoch.load(Ordering::Relaxed);
        if epoch != self.epoch || self.table.len() >= MAX_ENTRIES {
            self.epoch = epoch;
            self.table.clear();
        }
        let shard = &self.shard;
        let (_, series) = self.table.entry(addresses(exchange)).or_insert_with(|| {
            let names = (
                exchange.connection.listener.clone(),
                exchange.route.as_ref().map(|(object, _)| object.clone()),
                exchange.backend.clone(),
            );
            let labels = inner.admit(labels(&names));
            let series = lock(&shard.series).entry(labels).or_default().clone();
            (names, series)
        });
        series
    }
}

fn labels((listener, route, backend): &Names) -> Labels {
    let text = |name: Option<String>| name.unwrap_or_default().into();
    Labels {
        listener: listener.clone(),
        route: text(route.as_ref().map(ToString::to_string)),
        backend: text(backend.as_ref().map(ToString::to_string)),
    }
}

fn address(name: &Name) -> usize {
    Arc::as_ptr(name).cast::<u8>() as usize
}

fn addresses(exchange: &Exchange) -> Addresses {
    let [kind, namespace, name] = match &exchange.route {
        Some((object, _)) => [address(&object.kind), address(&object.namespace), address(&object.name)],
        None => [0; 3],
    };
    let [space, service, sort, port, protocol] = match &exchange.backend {
        Some(backend) => {
            let (sort, port) = match &backend.port {
                PortRef::Number(number) => (0, usize::from(*number)),
                PortRef::Name(name) => (1, address(name)),
            };
            let protocol = backend.protocol.map_or(0, |protocol| protocol as usize + 1);
            [address(&backend.namespace), address(&backend.service), sort, port, protocol]
        }
        None => [0; 5],
    };
    [address(&exchange.connection.listener), kind, namespace, name, space, service, sort, port, protocol]
}

/// Runs something on this thread's counters; `None` while the thread ends.
pub(super) fn with<T>(inner: &Inner, run: impl FnOnce(&mut Local) -> T) -> Option<T> {
    let on = |locals: &RefCell<Vec<Local>>| {
        let mut locals = locals.try_borrow_mut().ok()?;
        if locals.first().is_none_or(|local| local.id != inner.id) {
            let local = match locals.iter().position(|local| local.id == inner.id) {
                Some(at) => locals.remove(at),
                None => Local::new(inner),
            };
            locals.truncate(MAX_LOCALS - 1);
            locals.insert(0, local);
        }
        locals.first_mut().map(run)
    };
    LOCALS.try_with(on).ok().flatten()
}
