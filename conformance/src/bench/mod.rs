//! The benches: what issue "Spine" promises of speed and memory, measured. Called by the tool's `bench` command.
//!
//! Figures are CPU time, not wall-clock time, wherever the machine's other load would show; ratios are taken within one run.

mod agent;
mod change;
mod cluster;
mod http;
mod observe;
pub mod process;
mod report;
mod restart;
mod routes;
mod swap;

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::built;
use crate::cluster::Options;
use crate::suite::Borrowed;
pub(crate) use report::machine;

pub use report::{Figure, Report};

/// What to measure, and what to do with it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// One or more of these.
    #[arg(required = true)]
    pub benches: Vec<Bench>,
    /// Interleaved rounds of `http`; medians are over these.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Requests per round and proxy of `http`; a twentieth as many handshakes.
    #[arg(long, default_value_t = 40_000)]
    pub requests: usize,
    /// Exit with status 1 when a figure misses its limit.
    #[arg(long)]
    pub check: bool,
    /// Write each table, with date, machine and command, into `conformance/results/`.
    #[arg(long)]
    pub write: bool,
}

/// A bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bench {
    /// The node agent with 10,000 and 20,000 Services: start, changes, memory, connections.
    Agent,
    /// One change among 10,000 routes until it is live; resident memory with them.
    Change,
    /// On the test cluster: created → served, start with 10,000 Ingresses, 1,000 changes in 10 s.
    Cluster,
    /// CPU time of the proxy per request: ours, nginx, HAProxy.
    Http,
    /// One route lookup at 10,000 and 100,000 routes.
    Routes,
    /// With the API server away: from the last good state to the first answer; and the proxy's process killed.
    Restart,
    /// What counting one exchange, and logging it, costs a worker.
    Observe,
    /// 1,000 swaps in 60 s under load: failed requests and closed connections.
    Swap,
}

/// Runs the benches; false when `--check` finds a figure over its limit.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let wants_cluster = arguments.benches.contains(&Bench::Cluster);
    let borrowed = wants_cluster.then(|| Borrowed::take(&Options { nodes: 2, ..Options::default() })).transpose()?;
    if let Some(borrowed) = &borrowed
        && let Some(ended) = borrowed.cluster.move_to_wan()?
    {
        return Ok(ended.success());
    }
    process::end_with_the_tool()?;
    let mut kept = true;
    for bench in &arguments.benches {
        let report = match bench {
            Bench::Agent => agent::run()?,
            Bench::Change => change::run()?,
            Bench::Cluster => cluster::run(&borrowed.as_ref().context("taken above")?.cluster)?,
            Bench::Http => http::run(arguments)?,
            Bench::Routes => routes::run()?,
            Bench::Restart => restart::run()?,
            Bench::Observe => observe::run()?,
            Bench::Swap => swap::run()?,
        };
        println!("{report}");
        if arguments.write {
            println!("written to {}", report.write(&env::args().skip(1).collect::<Vec<_>>().join(" "))?.display());
        }
        kept &= report.kept();
    }
    Ok(kept || !arguments.check)
}

/// The program that is measured.
pub(crate) fn program() -> Result<PathBuf> {
    ensure!(
        !cfg!(debug_assertions),
        "benches measure release builds: cargo run --release -p rust-ingress-conformance -- bench …"
    );
    built::release()
}

/// The middle of some figures; of an even number, the lower of the two.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len().saturating_sub(1) / 2;
    figures.get(middle).copied().unwrap_or(f64::NAN)
}
