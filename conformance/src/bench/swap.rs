//! `bench swap`: 1,000 snapshots in 60 seconds under load of every kind, and what the clients saw of it.

use std::time::Duration;

use anyhow::Result;

use super::{Figure, Report};
use crate::swap::{self, Outcome, Plan};

/// What the swaps may take: a minute, and the last one's end.
const SECONDS: f64 = 61.0;

/// Runs it.
pub fn run() -> Result<Report> {
    let plan = Plan::full();
    let outcome = swap::run(plan)?;
    for failure in &outcome.failures {
        eprintln!("{failure}");
    }
    Ok(report(plan, &outcome))
}

fn report(plan: Plan, outcome: &Outcome) -> Report {
    let mut figures = vec![Figure {
        what: "failed requests and closed connections".into(),
        columns: vec![String::new(); 4],
        value: count(outcome.failed),
        limit: Some(0.0),
    }];
    figures.push(Figure {
        what: format!("{} swaps, in seconds", plan.swaps),
        columns: vec![String::new(); 4],
        value: outcome.took.as_secs_f64(),
        limit: Some(SECONDS),
    });
    figures.extend(outcome.figures.iter().map(|(kind, own)| Figure {
        what: kind.label().into(),
        columns: vec![own.clients.to_string(), own.answers.to_string(), own.quiet_p99.to_string(), own.p99.to_string()],
        value: f64::from(own.p99) / f64::from(own.quiet_p99),
        limit: None,
    }));
    let at = |share: usize| outcome.publishes.get(outcome.publishes.len().saturating_sub(1) * share / 100).copied();
    let micros = |share: usize| at(share).unwrap_or(Duration::ZERO).as_micros();
    let notes = vec![
        format!("Between any two swaps every client got an answer; it asks again {} ms later.", plan.pause.as_millis()),
        "Each swap changes routes, hosts, endpoints, the certificate and a listener, and is checked to be live.".into(),
        format!("publish: median {} µs, p99 {} µs, longest {} µs.", micros(50), micros(99), micros(100)),
        format!("Proxy ({} workers), endpoints and clients share one process and all cores.", plan.workers),
    ];
    let columns = ["clients", "answers", "p99 quiet µs", "p99 swapping µs"];
    Report { name: "swap", columns: columns.map(str::to_owned).to_vec(), value: "count; s; ratio of p99", figures, notes }
}

/// As a figure of a report.
fn count(value: u64) -> f64 {
    f64::from(u32::try_from(value).unwrap_or(u32::MAX))
}
