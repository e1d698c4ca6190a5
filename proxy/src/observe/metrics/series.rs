//! One (listener, route, backend) triple's counters on one core, and the histogram they use.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::Method;
use rust_ingress_model::Name;

use super::micros;
use crate::exchange::{Exchange, Protocol};
use crate::observe::Finished;

/// Upper bounds in microseconds: 0.5 ms to 60 s, as proxies in front of web services commonly have them.
pub(super) const BOUNDS: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
    30_000_000, 60_000_000,
];

/// Methods that are counted by name.
pub(super) const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];

/// Classes of status codes; the first is for exchanges that the client left before a status was sent.
pub(super) const CODES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

const PROTOCOLS: usize = Protocol::ALL.len();

/// What a series is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Labels {
    /// The listener's name.
    pub listener: Name,
    /// `Ingress/namespace/name`; empty when no rule took the request.
    pub route: Name,
    /// `namespace/service:port`; empty when the request reached none.
    pub backend: Name,
}

/// Adds to a counter that only this thread writes: no locked instruction. Scrapes only read.
fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

/// Durations, in buckets. Only the thread that it belongs to observes.
#[derive(Debug, Default)]
pub(super) struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Histogram {
    pub(super) fn observe(&self, duration: Duration) {
        let value = micros(duration);
        let at = BOUNDS.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(at) {
            add(bucket, 1);
        }
        add(&self.micros, value);
    }

    /// Adds what has been observed to a sum over cores.
    pub(super) fn add_to(&self, sum: &mut HistogramSum) {
        for (total, bucket) in sum.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Relaxed);
        }
        sum.micros += self.micros.load(Relaxed);
    }
}

/// The sum of several cores' histograms.
#[derive(Debug, Default, Clone)]
pub(super) struct HistogramSum {
    /// One per bound, and one for what is above all.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all durations, in microseconds.
    pub micros: u64,
}

/// One triple's counters on one core. Only that core's thread counts.
#[derive(Debug)]
pub(super) struct Series {
    /// By method, then protocol, then code: [`Series::place`].
    requests: [AtomicU64; METHODS.len() * PROTOCOLS * CODES.len()],
    duration: Histogram,
    response: Histogram,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

impl Default for Series {
    fn default() -> Self {
        Self {
            requests: [const { AtomicU64::new(0) }; METHODS.len() * PROTOCOLS * CODES.len()],
            duration: Histogram::default(),
            response: Histogram::default(),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
        }
    }
}

/// The sum of one triple's counters over all cores.
#[derive(Debug, Default, Clone)]
pub(super) struct SeriesSum {
    /// As in [`Series`]; empty for nothing.
    pub requests: Vec<u64>,
    /// From head to end.
    pub duration: HistogramSum,
    /// From the first byte to the endpoint to its response's head.
    pub response: HistogramSum,
    /// Bodies of requests.
    pub request_bytes: u64,
    /// Bodies of responses.
    pub response_bytes: u64,
}

impl Series {
    /// Counts an exchange.
    pub(super) fn count(&self, exchange: &Exchange, finished: &Finished, duration: Duration) {
        let at = (method(&exchange.method) * PROTOCOLS + exchange.protocol as usize) * CODES.len() + code(finished.status);
        if let Some(counter) = self.requests.get(at) {
            add(counter, 1);
        }
        self.duration.observe(duration);
        if let (Some(start), Some(head)) = (exchange.upstream_start, exchange.upstream_head) {
            self.response.observe(head.saturating_duration_since(start));
        }
        add(&self.request_bytes, finished.request_bytes);
        add(&self.response_bytes, finished.response_bytes);
    }

    /// Adds it to a sum over cores.
    pub(super) fn add_to(&self, sum: &mut SeriesSum) {
        sum.requests.resize(self.requests.len(), 0);
        for (total, counter) in sum.requests.iter_mut().zip(&self.requests) {
            *total += counter.load(Relaxed);
        }
        self.duration.add_to(&mut sum.duration);
        self.response.add_to(&mut sum.response);
        sum.request_bytes += self.request_bytes.load(Relaxed);
        sum.response_bytes += self.response_bytes.load(Relaxed);
    }
}

impl SeriesSum {
    /// The counts that aren't 0: method, protocol, code class, count.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> {
        let names = METHODS.iter().flat_map(|method| {
            let protocols = Protocol::ALL.iter().map(|protocol| protocol.label());
            protocols.flat_map(move |protocol| CODES.iter().map(move |code| (*method, protocol, *code)))
        });
        let counts = names.zip(&self.requests).map(|((method, protocol, code), count)| (method, protocol, code, *count));
        counts.filter(|(_, _, _, count)| *count > 0)
    }
}

/// The place of a method in [`METHODS`].
fn method(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::DELETE => 4,
        Method::PATCH => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

/// The place of a status in [`CODES`].
fn code(status: u16) -> usize {
    match status / 100 {
        class @ 1..=5 => usize::from(class),
        _ => 0,
    }
}
