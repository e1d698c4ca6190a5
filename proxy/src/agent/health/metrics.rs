//! What the agent counts: under kube-proxy's names (KEP-3866), and what kube-proxy doesn't have under our own.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use http::StatusCode;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::Health;
use super::changes::Changes;

/// Changes of a kind: all, and those that the kernel hasn't got yet.
#[derive(Debug, Clone, Default)]
struct Pending {
    all: Counter,
    pending: Gauge,
}

impl Pending {
    fn add(&self, count: u64) {
        self.all.inc_by(count);
        self.pending.inc_by(i64::try_from(count).unwrap_or_default());
    }

    fn register(&self, registry: &mut Registry, what: &str) {
        let name = |end: &str| format!("sync_proxy_rules_{what}_changes{end}");
        registry.register(name(""), format!("Changes: {what}"), self.all.clone());
        registry.register(name("_pending"), format!("Changes that the kernel hasn't got yet: {what}"), self.pending.clone());
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Clones count together.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Metrics {
    all: Histogram,
    full: Histogram,
    partial: Histogram,
    last: Gauge<f64, AtomicU64>,
    queued: Gauge<f64, AtomicU64>,
    programming: Histogram,
    services: Pending,
    endpoints: Pending,
    failures: Counter,
    healthz: Family<[(&'static str, String); 1], Counter>,
    livez: Family<[(&'static str, String); 1], Counter>,
    drifts: Counter,
    flows: Counter,
    /// Addresses of pools that this node answers for, and how often it took one over.
    pub(in crate::agent) held: Gauge,
    pub(in crate::agent) takeovers: Counter,
    l7_frontends: Gauge,
    l7_alive: Gauge,
    l7_losses: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        // 0.1 ms to 1.6 s: one endpoint takes about 0.1 ms, 20,000 Services about 1 s.
        let durations = || Histogram::new(exponential_buckets(0.0001, 2.0, 15));
        Self {
            all: durations(),
            full: durations(),
            partial: durations(),
            last: Gauge::default(),
            queued: Gauge::default(),
            // 1 ms to 524 s: kube-proxy's buckets end at 300 s.
            programming: Histogram::new(exponential_buckets(0.001, 2.0, 20)),
            services: Pending::default(),
            endpoints: Pending::default(),
            failures: Counter::default(),
            healthz: Family::default(),
            livez: Family::default(),
            drifts: Counter::default(),
            flows: Counter::default(),
            held: Gauge::default(),
            takeovers: Counter::default(),
            l7_frontends: Gauge::default(),
            l7_alive: Gauge::default(),
            l7_losses: Counter::default(),
        }
    }
}

impl Metrics {
    /// The kernel got everything, or a change.
    pub fn synced(&self, everything: bool, took: Duration) {
        self.all.observe(took.as_secs_f64());
        if everything { &self.full } else { &self.partial }.observe(took.as_secs_f64());
        self.last.set(now());
    }

    /// The kernel has what happened so long ago.
    pub fn programmed(&self, took: Duration) {
        self.programming.observe(took.as_secs_f64());
    }

    /// The kernel is to get changes.
    pub(super) fn queued(&self, changes: Changes) {
        self.queued.set(now());
        self.services.add(changes.services);
        self.endpoints.add(changes.endpoints);
    }

    /// The kernel has all changes.
    pub(super) fn settled(&self) {
        self.services.pending.set(0);
        self.endpoints.pending.set(0);
    }

    /// The kernel refused a transaction.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// Somebody else had changed our tables.
    pub fn drifted(&self) {
        self.drifts.inc();
    }

    /// So many UDP flows were forgotten.
    pub fn forgot(&self, flows: u64) {
        self.flows.inc_by(flows);
    }

    /// So many addresses and node ports go through the L7 proxy.
    pub fn through_l7(&self, frontends: usize) {
        self.l7_frontends.set(i64::try_from(frontends).unwrap_or(i64::MAX));
    }

    /// The kernel takes the L7 proxy for alive, or not any more.
    pub fn l7_alive(&self, alive: bool) {
        self.l7_alive.set(i64::from(alive));
    }

    /// The L7 proxy was gone, or silent, unasked.
    pub fn l7_lost(&self) {
        self.l7_losses.inc();
    }

    /// `/healthz` or `/livez` was asked.
    pub(super) fn asked(&self, healthz: bool, answer: StatusCode) {
        let family = if healthz { &self.healthz } else { &self.livez };
        family.get_or_create(&[("code", answer.as_str().to_owned())]).inc();
    }

    /// As OpenMetrics text.
    pub(super) fn text(&self, health: &Health) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        let theirs = registry.sub_registry_with_prefix("kubeproxy");
        let seconds = || Unit::Seconds;
        theirs.register_with_unit("sync_proxy_rules_duration", "Time of one sync", seconds(), self.all.clone());
        theirs.register_with_unit(
            "sync_full_proxy_rules_duration",
            "Time of one sync of everything",
            seconds(),
            self.full.clone(),
        );
        theirs.register_with_unit(
            "sync_partial_proxy_rules_duration",
            "Time of one sync of a change",
            seconds(),
            self.partial.clone(),
        );
        theirs.register_with_unit("sync_proxy_rules_last_timestamp", "When rules were last synced", seconds(), self.last.clone());
        let programming = "Time from a change of endpoints, as their controller noted it, until the kernel had it";
        theirs.register_with_unit("network_programming_duration", programming, seconds(), self.programming.clone());
        let queued = "sync_proxy_rules_last_queued_timestamp";
        theirs.register_with_unit(queued, "When rules were last to be synced", seconds(), self.queued.clone());
        self.services.register(theirs, "service");
        self.endpoints.register(theirs, "endpoint");
        let without_local = Family::<[(&'static str, &'static str); 1], Gauge>::default();
        let facts = health.facts();
        let counts = [
            ("internal", facts.without_local(|service| service.internal)),
            ("external", facts.without_local(|service| service.external)),
        ];
        drop(facts);
        for (label, count) in counts {
            without_local.get_or_create(&[("traffic_policy", label)]).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
        let help = "Services with a policy Local, endpoints, and none of them on this node";
        // A gauge, in spite of its name.
        theirs.register("sync_proxy_rules_no_local_endpoints_total", help, without_local);
        theirs.register("sync_proxy_rules_nftables_sync_failures", "Syncs that the kernel refused", self.failures.clone());
        theirs.register("proxy_healthz", "Answers of /healthz", self.healthz.clone());
        theirs.register("proxy_livez", "Answers of /livez", self.livez.clone());
        let ours = registry.sub_registry_with_prefix("rust_ingress_l4");
        ours.register("drift", "Times that another program had changed our tables", self.drifts.clone());
        ours.register("udp_flows_forgotten", "UDP flows forgotten because their endpoint went", self.flows.clone());
        ours.register("addresses_held", "Addresses of pools that this node answers for", self.held.clone());
        ours.register("address_takeovers", "Times that this node began to answer for one", self.takeovers.clone());
        let frontends = "Addresses and node ports of Services whose traffic goes through the L7 proxy of this node";
        ours.register("l7_frontends", frontends, self.l7_frontends.clone());
        let alive = "1 while the kernel sends them to the L7 proxy; 0: straight to the endpoints";
        ours.register("l7_alive", alive, self.l7_alive.clone());
        ours.register("l7_losses", "Times that the L7 proxy was gone or silent, unasked", self.l7_losses.clone());
        let pending = Gauge::<i64>::default();
        pending.set(i64::from(health.facts().pending.is_some()));
        ours.register("pending", "1 while the kernel lacks what it should have", pending);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
