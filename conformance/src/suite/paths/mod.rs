//! `cargo run -p rust-ingress-conformance -- suite paths`: every path of `examples/traffic-paths`, applied through the installed
//! chart, with real packets in both families.
//!
//! For each packet three things are held against each other: where it came from and went to as the far end and the node's
//! conntrack saw it, and what `rust-ingress agent explain` had predicted. Any difference fails the case.

mod cases;
mod egress;
mod ends;
mod outside;
mod packet;
mod pool;
mod seen;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::Report;
use super::carrier;
use crate::built;
use crate::cluster::{Cluster, Node, Place, Stock, layout};

/// What to run it with.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A program that is built already, in place of a release build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Only paths whose name holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    focus: String,
}

/// What every case has at hand.
pub struct Rig<'a> {
    cluster: &'a Cluster,
    /// Asked to explain.
    program: PathBuf,
}

impl Rig<'_> {
    /// Applies the objects of a path.
    fn apply(&self, folder: &str) -> Result<()> {
        // One that was there before may still be going.
        let number = folder.split('-').next().unwrap_or_default();
        let namespace = format!("path-{number}");
        self.cluster.kubectl(&["delete", "namespace", &namespace, "--ignore-not-found", "--timeout=120s"])?;
        let file = examples().join(folder).join("path.yaml");
        self.cluster.kubectl(&["apply", "-f", &file.display().to_string()]).map(drop)
    }

    /// Waits for a Deployment's or DaemonSet's Pods.
    fn rolled(&self, namespace: &str, what: &str) -> Result<()> {
        self.cluster.kubectl(&["-n", namespace, "rollout", "status", what, "--timeout=120s"]).map(drop)
    }

    /// Waits for a Pod.
    fn ready(&self, namespace: &str, pod: &str) -> Result<()> {
        self.cluster.kubectl(&["-n", namespace, "wait", "--for=condition=Ready", pod, "--timeout=120s"]).map(drop)
    }

    /// All addresses that a node has on any interface.
    fn addresses(&self, node: Node) -> Result<BTreeSet<IpAddr>> {
        let text = self.cluster.run(Place::Network(node.0), &["ip", "-o", "addr"])?;
        let addresses = text.lines().filter_map(|line| line.split_whitespace().nth(3)?.split('/').next()?.parse().ok());
        Ok(addresses.collect())
    }

    /// What `agent explain` says of a packet on a node.
    fn explain(&self, node: Node, packet: &str, egress: bool) -> Result<String> {
        let (kubeconfig, name) = (self.cluster.kubeconfig().display().to_string(), node.name());
        let program = self.program.display().to_string();
        let mut line = vec![&*program, "agent", "explain", "--kubeconfig", &kubeconfig, "--node", &name];
        line.extend(["--cluster-cidr", layout::POD_RANGES, "--packet", packet, "--log-level", "warn"]);
        if egress {
            line.push("--egress-snat");
        }
        self.cluster.run(Place::Wan, &line)
    }
}

/// Where the paths stand.
fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/traffic-paths")
}

/// Runs the suite; from inside the cluster's outside world.
pub fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => built::release()?,
    };
    carrier::install(cluster, Some(&program), &[]).context("the chart can't be installed in place of kube-proxy")?;
    cluster.load_stock(&[Stock::Agnhost])?;
    let mut report = Report::new("paths", cluster.describe());
    let rig = Rig { cluster, program };
    for (folder, title, case) in cases::ALL {
        if !folder.contains(&arguments.focus) {
            continue;
        }
        let mut said = Vec::new();
        report.case(folder, title, || {
            rig.apply(folder)?;
            case(&rig, &mut said)
        });
        said.iter().for_each(|line| println!("        {line}"));
        report.notes.extend(said.into_iter().map(|line| format!("{folder}: {line}")));
        let number = folder.split('-').next().unwrap_or_default();
        cluster.kubectl(&["delete", "namespace", &format!("path-{number}"), "--wait=false"])?;
    }
    carrier::alone(cluster)?;
    Ok(report)
}
