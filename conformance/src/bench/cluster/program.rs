//! The program on the nodes of the test cluster, for measuring: a process with its parts in each node's network namespace.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use tempfile::TempDir;

use super::client::get;
use super::until_served;
use crate::bench::process::Process;
use crate::cluster::{Cluster, Place};

/// Ports that neither the cluster nor an installed chart uses.
const HTTP: u16 = 18080;
const HEALTH: u16 = 19902;

/// The running programs, one a node.
pub(super) struct Programs {
    processes: Vec<Process>,
    http: Vec<SocketAddr>,
    health: Vec<SocketAddr>,
    _folder: TempDir,
}

impl Programs {
    /// Starts one on each of the first nodes, with the administrator's rights.
    pub(super) fn start(cluster: &Cluster, name: &str, nodes: usize) -> Result<Self> {
        let program = crate::bench::program()?.display().to_string();
        let kubeconfig = cluster.kubeconfig().display().to_string();
        let folder = tempfile::tempdir()?;
        let (mut processes, mut http, mut health) = (Vec::new(), Vec::new(), Vec::new());
        for node in cluster.nodes().take(nodes) {
            let address = |port: u16| format!("{}:{port}", node.v4());
            let line = [
                &program,
                "run",
                "--kubeconfig",
                &kubeconfig,
                "--http",
                &address(HTTP),
                "--https",
                &address(HTTP + 1),
                "--admin",
                "off",
                "--health",
                &address(HEALTH),
                "--publish-address",
                "192.0.2.250",
                "--lease-name",
                "bench-cluster",
                "--log-level",
                "warn",
            ];
            let mut command = cluster.command(Place::Network(node.0), &line)?;
            command.env("POD_NAME", format!("bench-{name}-{}", node.name())).env("POD_NAMESPACE", "default");
            processes.push(Process::start(&mut command, &format!("{name}-{}", node.name()), folder.path())?);
            http.push(address(HTTP).parse()?);
            health.push(address(HEALTH).parse()?);
        }
        Ok(Self { processes, http, health, _folder: folder })
    }

    /// Waits until every node serves a host.
    pub(super) async fn wait_for(&self, host: &str, patience: Duration) -> Result<()> {
        let all = try_join_all(self.http.iter().map(|address| until_served(*address, host, patience))).await;
        all.map(drop).with_context(|| self.processes.iter().map(Process::printed).collect::<String>())
    }

    /// The first node's.
    pub(super) fn first(&self) -> Result<SocketAddr> {
        self.http.first().copied().context("a program runs")
    }

    /// Memory of the first node's processes, in bytes.
    pub(super) fn resident(&self) -> Result<u64> {
        self.processes.first().context("a program runs")?.resident()
    }

    /// CPU time of the first node's processes, in nanoseconds.
    pub(super) fn cpu(&self) -> Result<f64> {
        self.processes.first().context("a program runs")?.cpu()
    }

    /// Snapshots that the first node has published.
    pub(super) async fn generations(&self) -> Result<u64> {
        let health = *self.health.first().context("a program runs")?;
        let (_, metrics) = get(health, "bench", "/metrics").await?;
        let line = metrics.lines().find(|line| line.starts_with(PUBLISHED));
        let count = line.and_then(|line| line.split_whitespace().last()?.parse::<f64>().ok());
        Ok(count.with_context(|| format!("no {PUBLISHED} in /metrics"))? as u64)
    }
}

/// The metric that counts them.
const PUBLISHED: &str = "rust_ingress_snapshot_publishes_total";
