//! Observation, end to end: counters and log lines in, what the health port, the admin port and the log file show out.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access_log;
mod document;
mod metrics;
mod ports;
mod proxy;
mod support;
