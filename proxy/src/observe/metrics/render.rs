//! A scrape: the cores added up, and written as OpenMetrics text. Called by the health port for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use rust_ingress_model::{ListenerName, Name};

use super::families::{Families, seconds};
use super::handles::{ListenerMetrics, Rejection, TLS_VERSIONS, UpstreamMetrics};
use super::process;
use super::series::{HistogramSum, Labels, SeriesSum};
use super::{Inner, lock};
use crate::fault::Kind;
use crate::observe::{Published, Readiness, Standing};

/// Certificates whose expiry is shown: those that expire first.
const MAX_CERTIFICATES: usize = 1000;

/// All counters at one moment.
#[derive(Debug)]
pub(in crate::observe) struct Scrape {
    inner: Arc<Inner>,
    /// Of each kind, the sum over cores.
    series: BTreeMap<Labels, SeriesSum>,
    listeners: BTreeMap<ListenerName, ListenerSum>,
    upstreams: BTreeMap<Name, UpstreamSum>,
    faults: Vec<u64>,
    interim_dropped: u64,
    published: Option<Arc<Published>>,
    readiness: Readiness,
    standing: Arc<Standing>,
}

/// A listener's connections, over all cores.
#[derive(Debug, Default)]
struct ListenerSum {
    open: i64,
    accepted: u64,
    rejected: [u64; Rejection::ALL.len()],
    handshakes: [u64; TLS_VERSIONS.len()],
    handshake_failures: u64,
}

impl ListenerSum {
    fn add(&mut self, core: &ListenerMetrics) {
        self.open += core.open.load(Relaxed);
        self.accepted += core.accepted.load(Relaxed);
        self.handshake_failures += core.handshake_failures.load(Relaxed);
        for (sum, counter) in self.rejected.iter_mut().zip(&core.rejected) {
            *sum += counter.load(Relaxed);
        }
        for (sum, counter) in self.handshakes.iter_mut().zip(&core.handshakes) {
            *sum += counter.load(Relaxed);
        }
    }
}

/// A backend's connections, over all cores.
#[derive(Debug, Default)]
struct UpstreamSum {
    connects: HistogramSum,
    connect_failures: u64,
    reuses: u64,
    retries: u64,
    ejections: u64,
    open: i64,
}

impl UpstreamSum {
    fn add(&mut self, core: &UpstreamMetrics) {
        core.connects.add_to(&mut self.connects);
        self.connect_failures += core.connect_failures.load(Relaxed);
        self.reuses += core.reuses.load(Relaxed);
        self.retries += core.retries.load(Relaxed);
        self.ejections += core.ejections.load(Relaxed);
        self.open += core.open.load(Relaxed);
    }
}

impl Scrape {
    /// Adds the cores up.
    pub(super) fn of(
        inner: &Arc<Inner>,
        published: Option<Arc<Published>>,
        readiness: Readiness,
        standing: Arc<Standing>,
    ) -> Self {
        let mut scrape = Self {
            inner: inner.clone(),
            series: BTreeMap::new(),
            listeners: BTreeMap::new(),
            upstreams: BTreeMap::new(),
            faults: vec![0; Kind::ALL.len()],
            interim_dropped: 0,
            published,
            readiness,
            standing,
        };
        for shard in lock(&inner.shards).iter() {
            for (labels, series) in lock(&shard.series).iter() {
                series.add_to(scrape.series.entry(labels.clone()).or_default());
            }
            for (name, listener) in lock(&shard.listeners).iter() {
                scrape.listeners.entry(name.clone()).or_default().add(listener);
            }
            for (name, upstream) in lock(&shard.upstreams).iter() {
                scrape.upstreams.entry(name.clone()).or_default().add(upstream);
            }
            for (sum, counter) in scrape.faults.iter_mut().zip(&shard.faults) {
                *sum += counter.load(Relaxed);
            }
            scrape.interim_dropped += shard.interim_dropped.load(Relaxed);
        }
        scrape
    }

    /// OpenMetrics text.
    ///
    /// # Errors
    /// None that is known: writing to a string doesn't fail.
    pub(in crate::observe) fn text(self) -> Result<String, Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(process::Process { started: self.inner.started }));
        registry.sub_registry_with_prefix("rust_ingress").register_collector(Box::new(self));
        let mut out = String::new();
        text::encode(&mut out, &registry)?;
        Ok(out)
    }

    fn requests(&self, out: &mut Families<'_>) -> Result<(), Error> {
        let counts = self.series.iter().flat_map(|(labels, sum)| {
            let row = move |(method, protocol, code, count)| {
                let [listener, route, backend] = triple(labels);
                ([listener, route, backend, ("method", method), ("protocol", protocol), ("code", code)], count)
            };
            sum.counts().map(row)
        });
        out.counters("requests", "Requests that have ended, by class of status code", counts)?;
        let help = "From a request's head to the end of its response";
        out.histograms("request_duration", help, self.series.iter().map(|(l, sum)| (triple(l), &sum.duration)))?;
        let reached = self.series.iter().filter(|(labels, _)| !labels.backend.is_empty());
        let help = "From the first byte to the endpoint to its response's head";
        out.histograms("upstream_response_duration", help, reached.map(|(l, sum)| (triple(l), &sum.response)))?;
        let sizes = self.series.iter().map(|(labels, sum)| (triple(labels), sum.request_bytes));
        out.counters("request_bytes", "Bytes of request bodies", sizes)?;
        let sizes = self.series.iter().map(|(labels, sum)| (triple(labels), sum.response_bytes));
        out.counters("response_bytes", "Bytes of response bodies", sizes)?;
        let faults = Kind::ALL
            .iter()
            .zip(&self.faults)
            .map(|(kind, count)| ([("kind", kind.label()), ("blame", kind.blame().label())], *count));
        out.counters("faults", "Requests that ended in a fault, by kind and by who has to mend it", faults)?;
        out.counter("interim_responses_dropped", "Responses of status 1xx that were not passed on", self.interim_dropped)
    }

    fn connections(&self, out: &mut Families<'_>) -> Result<(), Error> {
        let all = || self.listeners.iter().map(|(name, sum)| ([("listener", &**name)], sum));
        out.gauges("connections_open", "Connections of clients", all().map(|(label, sum)| (label, sum.open)))?;
        out.counters("connections_accepted", "Connections accepted", all().map(|(label, sum)| (label, sum.accepted)))?;
        let rejected = self.listeners.iter().flat_map(|(name, sum)| {
            let reasons = Rejection::ALL.iter().zip(sum.rejected);
            reasons.map(move |(why, count)| ([("listener", &**name), ("reason", why.label())], count))
        });
        out.counters("connections_rejected", "Connections closed before their first request", rejected)?;
        let handshakes = self.listeners.iter().flat_map(|(name, sum)| {
            let versions = TLS_VERSIONS.iter().zip(sum.handshakes);
            versions.map(move |(version, count)| ([("listener", &**name), ("version", *version)], count))
        });
        out.counters("tls_handshakes", "TLS handshakes completed", handshakes)?;
        let failures = all().map(|(label, sum)| (label, sum.handshake_failures));
        out.counters("tls_handshake_failures", "TLS handshakes that failed or took too long", failures)
    }

    fn upstreams(&self, out: &mut Families<'_>) -> Result<(), Error> {
        let all = || self.upstreams.iter().map(|(name, sum)| ([("backend", &**name)], sum));
        let connects = all().map(|(label, sum)| (label, &sum.connects));
        out.histograms("upstream_connect_duration", "To a connection with an endpoint, TLS included", connects)?;
        let failures = all().map(|(label, sum)| (label, sum.connect_failures));
        out.counters("upstream_connect_failures", "Endpoints that could not be connected to", failures)?;
        let reuses = all().map(|(label, sum)| (label, sum.reuses));
        out.counters("upstream_connection_reuses", "Requests sent on a connection that stood already", reuses)?;
        out.gauges("upstream_connections_open", "Connections to endpoints", all().map(|(label, sum)| (label, sum.open)))?;
        out.counters("upstream_retries", "Requests sent once more", all().map(|(label, sum)| (label, sum.retries)))?;
        let ejections = all().map(|(label, sum)| (label, sum.ejections));
        out.counters("upstream_ejections", "Endpoints left out for a while after failures", ejections)
    }

    fn snapshot(&self, out: &mut Families<'_>) -> Result<(), Error> {
        out.gauge("ready", "1 while the proxy wants traffic", &u32::from(self.readiness == Readiness::Ready))?;
        let last_good = u32::from(self.standing.last_good.is_some());
        out.gauge("last_good_state", "1 while what an earlier run wrote is served and nothing newer is known", &last_good)?;
        let restarts = self.standing.restarts;
        out.counter("proxy_restarts", "How often the proxy's process died and was started again", restarts)?;
        out.counter("snapshot_publishes", "Snapshots that became live", self.inner.publishes.load(Relaxed))?;
        let total = seconds(self.inner.publish_micros.load(Relaxed));
        out.counter("snapshot_publish_duration_seconds", "Time spent making snapshots live", total)?;
        let last = seconds(self.inner.last_publish_micros.load(Relaxed));
        out.gauge("snapshot_last_publish_duration_seconds", "Time spent making the last snapshot live", &last)?;
        let Some(published) = &self.published else { return Ok(()) };
        out.gauge("snapshot_generation", "Number of the snapshot that is live", &published.generation)?;
        let at = published.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        out.gauge("snapshot_published_timestamp_seconds", "When it became live", &at)?;
        out.info("snapshot", "The snapshot that is live", &[("digest", published.digest.to_string())])?;
        let severities = published.snapshot.faults().fold([0_u64; 2], |[errors, warnings], fault| match fault.severity {
            rust_ingress_model::Severity::Error => [errors + 1, warnings],
            rust_ingress_model::Severity::Warning => [errors, warnings + 1],
        });
        let severities = ["error", "warning"].into_iter().zip(severities).map(|(name, n)| ([("severity", name)], n));
        out.gauges("object_faults", "Faults of objects; see /faults of the admin port", severities)?;
        let unavailable = u64::try_from(published.unavailable.len()).unwrap_or(u64::MAX);
        out.gauge("listeners_unavailable", "Listeners that could not be opened", &unavailable)?;
        self.certificates(out, published)
    }

    fn certificates(&self, out: &mut Families<'_>, published: &Published) -> Result<(), Error> {
        let mut all: Vec<_> = published.snapshot.certificates.iter().collect();
        all.sort_by_key(|(_, certificate)| certificate.not_after);
        let rows = all.into_iter().take(MAX_CERTIFICATES).map(|(fingerprint, certificate)| {
            let source = certificate.source.as_ref().map_or_else(|| "default".to_owned(), ToString::to_string);
            ([("source", source), ("fingerprint", fingerprint.to_string())], certificate.not_after)
        });
        out.gauges("certificate_not_after_timestamp_seconds", "When a certificate expires", rows)
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let mut out = Families(encoder);
        out.info("build", "The program", &[("version", env!("CARGO_PKG_VERSION"))])?;
        self.requests(&mut out)?;
        self.connections(&mut out)?;
        self.upstreams(&mut out)?;
        self.snapshot(&mut out)?;
        out.counter("access_log_records", "Records written to the access log", self.inner.log_written.load(Relaxed))?;
        let dropped = self.inner.log_dropped.load(Relaxed);
        out.counter("access_log_records_dropped", "Records dropped because the access log was too slow", dropped)
    }
}

fn triple(labels: &Labels) -> [(&'static str, &str); 3] {
    [("listener", &*labels.listener), ("route", &*labels.route), ("backend", &*labels.backend)]
}
