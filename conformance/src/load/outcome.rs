//! What a load saw: answers, failures by kind, latencies, the longest time without an answer.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Failures that are kept word for word.
const KEPT: usize = 10;

/// What a load saw.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Requests answered with 200.
    pub answers: u64,
    /// Requests that weren't.
    pub failed: u64,
    /// Failures by kind: `refused`, `reset`, `closed`, `timeout`, `status 503`.
    pub failures: BTreeMap<String, u64>,
    /// The first of them, with when they came.
    pub examples: Vec<String>,
    /// Kept connections that the proxy closed between two requests, announced by `Connection: close` or not: no request was lost.
    pub reconnects: u64,
    /// Microseconds from request to answer.
    pub p50: u64,
    /// Microseconds from request to answer.
    pub p99: u64,
    /// Longest time in milliseconds in which no request was answered.
    pub longest_gap: u64,
}

impl Outcome {
    /// One line for a report.
    pub fn line(&self) -> String {
        let failures: Vec<String> = self.failures.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let failures = if failures.is_empty() { "0 failed".to_owned() } else { failures.join(", ") };
        let Self { answers, p50, p99, longest_gap, reconnects, .. } = self;
        format!(
            "{answers} answers, {failures}; p50 {p50} µs, p99 {p99} µs, longest gap {longest_gap} ms, {reconnects} reconnects"
        )
    }
}

/// Counts of all clients.
pub(super) struct Tally {
    start: Instant,
    seen: Mutex<Seen>,
}

struct Seen {
    outcome: Outcome,
    micros: Vec<u64>,
    last: Instant,
}

impl Tally {
    pub(super) fn new() -> Self {
        let start = Instant::now();
        Self { start, seen: Mutex::new(Seen { outcome: Outcome::default(), micros: Vec::new(), last: start }) }
    }

    pub(super) fn answered(&self, after: Duration) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        seen.outcome.answers += 1;
        seen.outcome.longest_gap = seen.outcome.longest_gap.max(millis(now - seen.last));
        seen.last = now;
        seen.micros.push(u64::try_from(after.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn reconnected(&self) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).outcome.reconnects += 1;
    }

    pub(super) fn failed(&self, kind: String, text: &str) {
        let at = millis(self.start.elapsed());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = &mut seen.outcome;
        outcome.failed += 1;
        if outcome.examples.len() < KEPT {
            outcome.examples.push(format!("after {at} ms: {kind}: {text}"));
        }
        *outcome.failures.entry(kind).or_default() += 1;
    }

    pub(super) fn outcome(&self) -> Outcome {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.micros.sort_unstable();
        let at = |share: usize| seen.micros.get(seen.micros.len() * share / 100).copied().unwrap_or_default();
        let (p50, p99, gap) = (at(50), at(99), millis(seen.last.elapsed()));
        let outcome = &seen.outcome;
        Outcome { p50, p99, longest_gap: outcome.longest_gap.max(gap), ..outcome.clone() }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
