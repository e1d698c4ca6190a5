//! The suites: what the program does on a real cluster, each one command with a summary line, a JUnit file and a result file.
//!
//! A suite is a file (or folder) here and a variant of [`Suite`]; it returns a [`Report`], and everything after that is done once.

mod carrier;
pub mod chart;
pub mod fallback;
pub mod faults;
pub mod gateway;
pub mod handover;
pub mod ingress;
pub mod packets;
pub mod paths;
mod reader;
mod report;
pub mod services;
pub mod source;
pub mod status;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::cluster::{Cluster, Options};

pub use report::{Case, Outcome, Report};

/// Which suite, and what to do with its results.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    suite: Suite,
    /// Write the results, with date, machine, cluster and command, into `conformance/results/`
    #[arg(long, global = true)]
    write: bool,
    /// Where the JUnit file goes [default: suites/NAME.xml in the cache folder]
    #[arg(long, global = true, value_name = "FILE")]
    junit: Option<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Suite {
    /// The Helm chart: lint, what it renders, what its schema refuses, what an API server says to it
    Chart(chart::Arguments),
    /// Kubernetes' own e2e suite, sig-network: Services, DNS, conntrack, traffic policies
    Services(services::Arguments),
    /// The Gateway API conformance suite, all profiles
    Gateway(gateway::Arguments),
    /// What is written on objects: addresses, Events, by one writer
    Status(status::Arguments),
    /// Ingress v1 on the cluster, through the installed chart: the 30 scenarios of its conformance suite and more
    Ingress(ingress::Arguments),
    /// What the program learns from an API server: restarts, expired watches, missing rights, Secrets
    Source(source::Arguments),
    /// The node agent with real packets, in network namespaces: every behaviour of Services at L4
    Packets(packets::Arguments),
    /// Every path of `examples/traffic-paths` through the installed chart: what was seen, beside what `agent explain` predicts
    Paths(paths::Arguments),
    /// A Service through the L7 proxy of its nodes, and on without it: the proxy killed, stopped, out of memory, upgraded
    Fallback(fallback::Arguments),
    /// From kube-proxy to us and back, under load, by the commands of the chart's MIGRATE-KUBE-PROXY.md
    Handover(handover::Arguments),
    /// What a user loses when something breaks or is replaced, under load, on the cluster with the chart
    Faults(faults::Arguments),
}

/// Runs a suite; false when a case failed.
pub fn run(arguments: &Arguments) -> Result<bool> {
    let report = match &arguments.suite {
        Suite::Chart(arguments) => chart::run(arguments)?,
        Suite::Services(arguments) => match in_wan(&arguments.cluster(), |cluster| services::run(cluster, arguments))? {
            Ran::Here(report) => report,
            Ran::Elsewhere(passed) => return Ok(passed),
        },
        Suite::Gateway(arguments) => match &arguments.kubeconfig {
            Some(kubeconfig) => gateway::elsewhere(kubeconfig, arguments)?,
            None => match in_wan(&arguments.cluster(), |cluster| gateway::run(cluster, arguments))? {
                Ran::Here(report) => report,
                Ran::Elsewhere(passed) => return Ok(passed),
            },
        },
        Suite::Status(arguments) => status::run(arguments)?,
        Suite::Ingress(arguments) => match in_wan(&two_nodes(), |cluster| ingress::run(cluster, arguments))? {
            Ran::Here(report) => report,
            Ran::Elsewhere(passed) => return Ok(passed),
        },
        Suite::Faults(arguments) => match in_wan(&two_nodes(), |cluster| faults::run(cluster, arguments))? {
            Ran::Here(report) => report,
            Ran::Elsewhere(passed) => return Ok(passed),
        },
        Suite::Fallback(arguments) => match in_wan(&fallback::cluster(), |cluster| fallback::run(cluster, arguments))? {
            Ran::Here(report) => report,
            Ran::Elsewhere(passed) => return Ok(passed),
        },
        Suite::Handover(arguments) => match in_wan(&arguments.cluster(), |cluster| handover::run(cluster, arguments))? {
            Ran::Here(report) => report,
            Ran::Elsewhere(passed) => return Ok(passed),
        },
        Suite::Paths(arguments) => match in_wan(&two_nodes(), |cluster| paths::run(cluster, arguments))? {
            Ran::Here(report) => report,
            Ran::Elsewhere(passed) => return Ok(passed),
        },
        Suite::Packets(arguments) => match packets::run(arguments)? {
            Ran::Here(report) => report,
            Ran::Elsewhere(passed) => return Ok(passed),
        },
        Suite::Source(arguments) => source::run(arguments)?,
    };
    let junit = report.write_junit(arguments.junit.as_deref())?;
    if arguments.write {
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        println!("results: {}", report.write(&command)?.display());
    }
    println!("JUnit: {}", junit.display());
    println!("{}", report.summary());
    Ok(report.passed())
}

/// Where a suite ran.
enum Ran {
    /// In this process.
    Here(Report),
    /// In a process that was started for it in namespaces of its own, which has reported; whether all passed.
    Elsewhere(bool),
}

fn two_nodes() -> Options {
    Options { nodes: 2, ..Options::default() }
}

/// Runs a suite in the outside world of a cluster, which is brought up with these options if none is.
fn in_wan(options: &Options, suite: impl FnOnce(&Cluster) -> Result<Report>) -> Result<Ran> {
    let borrowed = Borrowed::take(options)?;
    match borrowed.cluster.move_to_wan()? {
        Some(status) => Ok(Ran::Elsewhere(status.success())),
        None => suite(&borrowed.cluster).map(Ran::Here),
    }
}

/// The cluster that a suite runs on: the one that is up, whatever it is, else one of these options that ends with this value.
pub struct Borrowed {
    /// The cluster.
    pub cluster: Cluster,
    ours: bool,
}

impl Borrowed {
    /// Takes or brings up a cluster.
    pub fn take(options: &Options) -> Result<Self> {
        match Cluster::open() {
            Ok(cluster) => {
                eprintln!("using the cluster that is up: {}", cluster.describe());
                Ok(Self { cluster, ours: false })
            }
            Err(_) => Ok(Self { cluster: Cluster::up(options)?, ours: true }),
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = Cluster::down()
        {
            eprintln!("the cluster can't be taken away: {error:#}. Try again: cluster down");
        }
    }
}
