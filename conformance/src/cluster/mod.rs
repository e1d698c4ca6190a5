//! The test cluster: a real, dual-stack Kubernetes in network namespaces of this machine, and the API by which suites use it.
//!
//! etcd, apiserver, controller-manager, scheduler, a kubelet with containerd per node, CoreDNS; no container engine and no image
//! registry. `up.rs` and `down.rs` bring it up and take it away; `record.rs` says why nothing is left behind after a kill.

pub mod cli;
mod down;
pub mod golang;
mod images;
pub mod layout;
mod lock;
mod needs;
mod net;
mod nodes;
mod pki;
pub mod process;
pub mod programs;
mod record;
mod texts;
mod up;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

pub use images::{ECHO, Stock};
pub use layout::Node;
use lock::Lock;
pub use process::Place;
use process::{Processes, output};
use record::Record;

/// The version of Kubernetes that the cluster runs.
pub const KUBERNETES: &str = "1.37.2";
/// The version of etcd under it.
pub const ETCD: &str = "3.7.0";
/// The version of the Gateway API that the suite and the CRDs have.
pub const GATEWAY_API: &str = "1.7.0";

/// What a cluster can be asked to be.
#[derive(Debug, Clone, Args, Serialize, Deserialize, PartialEq, Eq)]
pub struct Options {
    /// Nodes; the control plane runs on node1.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=i64::from(layout::MOST_NODES)))]
    pub nodes: u8,
    /// How Pods of different nodes reach each other.
    #[arg(long, value_enum, default_value_t)]
    pub pod_network: PodNetwork,
    /// Who carries Services: nobody, or the peer to measure against.
    #[arg(long, value_enum, default_value_t)]
    pub kube_proxy: KubeProxy,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 1, pod_network: PodNetwork::default(), kube_proxy: KubeProxy::default() }
    }
}

/// How Pods of different nodes reach each other.
#[derive(Debug, Clone, Copy, Default, ValueEnum, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum PodNetwork {
    /// Routes through the nodes' addresses.
    #[default]
    Routes,
    /// An overlay: a device per node, MTU 1450, and no other way to the Pod ranges.
    Vxlan,
}

/// Who carries Services.
#[derive(Debug, Clone, Copy, Default, ValueEnum, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum KubeProxy {
    /// Nobody, until the node agent does.
    #[default]
    None,
    /// kube-proxy with nftables.
    Nftables,
    /// kube-proxy with iptables.
    Iptables,
}

impl fmt::Display for PodNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Routes => "routes",
            Self::Vxlan => "vxlan",
        })
    }
}

impl fmt::Display for KubeProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        })
    }
}

/// A cluster that is up.
pub struct Cluster {
    state: PathBuf,
    record: Record,
    processes: Processes,
    kubectl: PathBuf,
}

impl Cluster {
    /// Brings a cluster up, or takes the one that is up if it has these options.
    pub fn up(options: &Options) -> Result<Self> {
        let _lock = Lock::take()?;
        up::up(options)?;
        Self::open()
    }

    /// Takes away whatever cluster there is, whole or half. Says whether there was one.
    pub fn down() -> Result<bool> {
        let _lock = Lock::take()?;
        down::down(&layout::state()?)
    }

    /// The cluster that is up.
    pub fn open() -> Result<Self> {
        let state = layout::state()?;
        let record = Record::read(&state)?.filter(|record| record.complete);
        let record = record.context("no cluster is up: cargo run -p rust-ingress-conformance -- cluster up --nodes 2")?;
        Self::of(state, record)
    }

    fn of(state: PathBuf, record: Record) -> Result<Self> {
        let processes = Processes::of(&state, &record)?;
        Ok(Self { processes, kubectl: programs::Programs::cached()?.path("kubectl")?, state, record })
    }

    /// The administrator's kubeconfig. The apiserver's address is reached from inside the namespaces only: [`Self::command`].
    pub fn kubeconfig(&self) -> PathBuf {
        self.state.join("admin.kubeconfig")
    }

    /// A folder for a suite's files; gone with the cluster.
    pub fn folder(&self) -> &Path {
        &self.state
    }

    /// Its nodes: names, addresses, namespaces, zones.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + Clone {
        Node::all(self.record.options.nodes)
    }

    /// What it was asked to be.
    pub fn options(&self) -> &Options {
        &self.record.options
    }

    /// One line for result files: versions, nodes, Pod network, who carries Services.
    pub fn describe(&self) -> String {
        self.record.describe()
    }

    /// `kubectl ARGUMENTS`, ready to run in the outside world: for its exit status, its input, a limit of its own.
    pub fn kubectl_command(&self, arguments: &[&str]) -> Result<Command> {
        let mut line =
            vec![self.kubectl.display().to_string(), "--kubeconfig".to_owned(), self.kubeconfig().display().to_string()];
        line.extend(arguments.iter().map(ToString::to_string));
        self.processes.enter(Place::Wan, &line)
    }

    /// Runs `kubectl ARGUMENTS`; what it printed, or an error with what it said.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        output(&mut self.kubectl_command(arguments)?)
    }

    /// Applies objects given as YAML, by server-side apply.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), yaml)?;
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &file.path().display().to_string()])
    }

    /// A command, ready to run in a place of the cluster's network.
    pub fn command(&self, place: Place, command: &[&str]) -> Result<Command> {
        self.processes.enter(place, &command.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// A long command of a suite, ready to run in a place. It ends with the tool, even by SIGKILL, and what it started itself
    /// ends with the cluster.
    pub fn long_command(&self, place: Place, command: &[&str]) -> Result<Command> {
        let command: Vec<&str> = [&["setpriv", "--pdeathsig", "KILL", "--"], command].concat();
        self.processes.member(place, &command.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    /// Runs a command in a place; what it printed, or an error with what it said.
    pub fn run(&self, place: Place, command: &[&str]) -> Result<String> {
        output(&mut self.command(place, command)?)
    }

    /// Loads an OCI or docker archive into every node, at once.
    pub fn load_image(&self, archive: &Path) -> Result<()> {
        nodes::load_images(&self.processes, &self.record.options, &[archive.to_owned()])
    }

    /// Makes an image of ours, unless the cache has it, and loads it: what suites call before they start Pods with it.
    pub fn load_stock(&self, stock: &[Stock]) -> Result<()> {
        nodes::load_images(&self.processes, &self.record.options, &images::make(stock)?)
    }

    /// Stops one of the cluster's processes (`apiserver`, `etcd`, `kubelet1`, …); `at_once` is SIGKILL.
    pub fn stop(&self, process: &str, at_once: bool) -> Result<()> {
        self.processes.stop(process, at_once)
    }

    /// Starts again what [`Self::stop`] stopped.
    pub fn start(&self, process: &str) -> Result<()> {
        self.processes.restart(process)
    }

    /// Waits until a Kubernetes condition holds: `wait(&["-n", "x", "--for=condition=Ready", "pod", "--all"], …)`.
    pub fn wait(&self, arguments: &[&str], patience: Duration) -> Result<()> {
        let timeout = format!("--timeout={}s", patience.as_secs());
        let begin = Instant::now();
        loop {
            match self.kubectl(&[&["wait", &timeout], arguments].concat()) {
                Ok(_) => return Ok(()),
                // Objects that a controller has yet to make are not waited for by kubectl.
                Err(error) if error.to_string().contains("no matching resources") && begin.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(200));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Does the rest of the tool's run in the outside world: starts this very command again there and gives its exit status.
    /// `None`: it is there already. A suite begins with it, so that its own sockets reach nodes and apiserver.
    pub fn move_to_wan(&self) -> Result<Option<std::process::ExitStatus>> {
        let here = std::fs::read_link("/proc/self/ns/net")?;
        let there = self.run(Place::Wan, &["readlink", "/proc/self/ns/net"])?;
        if Path::new(there.trim()) == here {
            return Ok(None);
        }
        let tool = std::env::current_exe()?.display().to_string();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        ensure!(!arguments.is_empty(), "the tool was started without arguments");
        let mut line = vec![tool.as_str()];
        line.extend(arguments.iter().map(String::as_str));
        Ok(Some(self.command(Place::Wan, &line)?.status()?))
    }
}
