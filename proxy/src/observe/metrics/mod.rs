//! Counters of the data plane: who counts holds a handle of its own core, and a scrape adds the cores up.
//!
//! A request costs one look-up by pointer in a table of its thread and a handful of plain additions to cache lines
//! that no other core writes (`bench observe` measures it). Label sets are bounded: past [`MAX_SERIES`] routes and backends are counted as `other`.
//! [`crate::observe::Observer`] owns the [`Metrics`]; `render` writes them as OpenMetrics text.

mod families;
mod handles;
mod process;
mod render;
mod series;
mod shard;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rust_ingress_model::{BackendKey, ListenerName, Name, Snapshot};

use super::{Finished, Published, Readiness, Standing};
use crate::exchange::Exchange;
use series::Labels;
use shard::Shard;

pub use handles::{ListenerMetrics, Rejection, UpstreamMetrics};
pub(super) use render::Scrape;

/// Distinct (listener, route, backend) triples, and distinct backends, that are counted by name.
pub const MAX_SERIES: usize = 2000;

/// What routes and backends are called beyond [`MAX_SERIES`].
const OTHER: &str = "other";

/// All counters. Clones are the same counters.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Tells this set of counters from another proxy's in the same process.
    id: u64,
    /// Counted up when series were dropped, so that threads forget their handles.
    epoch: AtomicU64,
    shards: Mutex<Vec<Arc<Shard>>>,
    admitted: Mutex<Admitted>,
    publishes: AtomicU64,
    publish_micros: AtomicU64,
    last_publish_micros: AtomicU64,
    log_written: AtomicU64,
    log_dropped: AtomicU64,
    started: SystemTime,
}

/// The label values that are counted by name.
#[derive(Debug, Default)]
struct Admitted {
    series: HashSet<Labels>,
    backends: HashSet<Name>,
}

/// A poisoned lock only means that a thread died between two additions.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Metrics {
    pub(super) fn new() -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self(Arc::new(Inner {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            epoch: AtomicU64::new(0),
            shards: Mutex::default(),
            admitted: Mutex::default(),
            publishes: AtomicU64::new(0),
            publish_micros: AtomicU64::new(0),
            last_publish_micros: AtomicU64::new(0),
            log_written: AtomicU64::new(0),
            log_dropped: AtomicU64::new(0),
            started: SystemTime::now(),
        }))
    }

    /// This thread's counters for a listener's connections. Look up once per listener and worker, and keep.
    pub fn listener(&self, name: &ListenerName) -> Arc<ListenerMetrics> {
        shard::with(&self.0, |local| local.shard.listener(name)).unwrap_or_default()
    }

    /// This thread's counters for a backend's connections. Look up once per backend and worker, and keep.
    pub fn upstream(&self, backend: &BackendKey) -> Arc<UpstreamMetrics> {
        shard::with(&self.0, |local| {
            let name: Name = backend.to_string().into();
            local.shard.upstream(&self.0.admit_backend(name))
        })
        .unwrap_or_default()
    }

    /// Counts an informational response of an endpoint that can't be passed on.
    pub fn interim_dropped(&self) {
        shard::with(&self.0, |local| local.shard.interim_dropped.fetch_add(1, Ordering::Relaxed));
    }

    pub(super) fn request(&self, exchange: &Exchange, finished: &Finished, duration: Duration) {
        shard::with(&self.0, |local| {
            if let Some(kind) = exchange.fault {
                local.shard.fault(kind);
            }
            local.series(&self.0, exchange).count(exchange, finished, duration);
        });
    }

    pub(super) fn published(&self, took: Duration) {
        let micros = micros(took);
        self.0.publishes.fetch_add(1, Ordering::Relaxed);
        self.0.publish_micros.fetch_add(micros, Ordering::Relaxed);
        self.0.last_publish_micros.store(micros, Ordering::Relaxed);
    }

    pub(super) fn log_written(&self, records: u64) {
        self.0.log_written.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn log_dropped(&self, records: u64) {
        self.0.log_dropped.fetch_add(records, Ordering::Relaxed);
    }

    /// Makes room for new series, when little is left, by dropping those of routes and backends that are gone.
    pub(super) fn prune(&self, snapshot: &Snapshot) {
        let mut admitted = lock(&self.0.admitted);
        if admitted.series.len().max(admitted.backends.len()) < MAX_SERIES / 4 * 3 {
            return;
        }
        let rules = snapshot.route_sets.values().flat_map(|set| set.hosts.values()).flat_map(|host| &host.rules);
        let routes: HashSet<_> = rules.map(|rule| &rule.source).collect();
        let routes: HashSet<String> = routes.into_iter().map(ToString::to_string).collect();
        let backends: HashSet<String> = snapshot.backends.keys().map(ToString::to_string).collect();
        let live = |set: &HashSet<String>, label: &Name| label.is_empty() || **label == *OTHER || set.contains(&**label);
        admitted.series.retain(|labels| live(&routes, &labels.route) && live(&backends, &labels.backend));
        admitted.backends.retain(|name| live(&backends, name));
        for shard in lock(&self.0.shards).iter() {
            shard.retain(|labels| live(&routes, &labels.route) && live(&backends, &labels.backend), |name| live(&backends, name));
        }
        self.0.epoch.fetch_add(1, Ordering::Release);
    }

    /// All counters at this moment, to be written.
    pub(super) fn scrape(&self, published: Option<Arc<Published>>, readiness: Readiness, standing: Arc<Standing>) -> Scrape {
        Scrape::of(&self.0, published, readiness, standing)
    }
}

impl Inner {
    /// The labels that a triple is counted under.
    fn admit(&self, labels: Labels) -> Labels {
        let mut admitted = lock(&self.admitted);
        if admitted.series.contains(&labels) {
            return labels;
        }
        if admitted.series.len() < MAX_SERIES {
            admitted.series.insert(labels.clone());
            return labels;
        }
        let other = |label: Name| if label.is_empty() { label } else { OTHER.into() };
        Labels { listener: labels.listener, route: other(labels.route), backend: other(labels.backend) }
    }

    fn admit_backend(&self, name: Name) -> Name {
        let mut admitted = lock(&self.admitted);
        if admitted.backends.contains(&name) {
            return name;
        }
        if admitted.backends.len() < MAX_SERIES {
            admitted.backends.insert(name.clone());
            return name;
        }
        OTHER.into()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
