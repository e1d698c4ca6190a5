//! What the status writer counts. The observation server shows it; the wiring is in `cli/run`.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// Counters since start, and where we stand.
#[derive(Debug, Default)]
pub struct StatusMetrics {
    /// Whether we hold the Lease.
    pub leads: AtomicBool,
    /// Statuses written.
    pub writes: AtomicU64,
    /// Writes that another's write was ahead of; tried again.
    pub conflicts: AtomicU64,
    /// Writes that failed otherwise; tried again.
    pub failures: AtomicU64,
    /// Objects that wait for their write.
    pub waiting: AtomicU64,
    /// Events written.
    pub events: AtomicU64,
    /// Events left out because their object had too many.
    pub events_dropped: AtomicU64,
}
