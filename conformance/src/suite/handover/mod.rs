//! `suite handover`: from kube-proxy to us and back on the test cluster, by the commands of `MIGRATE-KUBE-PROXY.md`, under load.
//!
//! Clients ask a ClusterIP from a node and a NodePort from outside, both families, over connections that are kept, over new ones, and
//! over UDP. None may fail, none that is kept may end, and nothing of the other may be left.

mod udp;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::Report;
use super::reader::{Reader, commands, read, section, top};
use crate::built;
use crate::chart::RELEASE;
use crate::chart::install::Install;
use crate::cluster::{Cluster, KubeProxy, Node, Options, Place, Stock, layout};
use crate::load::{self, Load, Outcome};

/// What is followed.
const DOCUMENT: &str = "charts/rust-ingress/MIGRATE-KUBE-PROXY.md";
/// What is asked: an example's Pod, its Service and its NodePort.
const ASKED: &str = "examples/traffic-paths/4-node-port/path.yaml";
const NAMESPACE: &str = "path-4";
const NODE_PORT: u16 = 30_080;
/// How the document stops kube-proxy, and starts it again. Here it is a process of each node, not a DaemonSet.
const STOP: &str = "kubectl -n kube-system patch daemonset kube-proxy --type merge -p '{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"kube-proxy\":\"stopped\"}}}}}'";
const START: &str = "kubectl -n kube-system patch daemonset kube-proxy --type merge -p '{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":{\"kube-proxy\":null}}}}}'";
const STARTED: &str = "kubectl -n kube-system rollout status daemonset kube-proxy";

/// On which cluster.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The mode of the kube-proxy that is replaced
    #[arg(long, value_enum, default_value_t = KubeProxy::Nftables)]
    kube_proxy: KubeProxy,
    /// A program that is built already, in place of a release build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl Arguments {
    /// The cluster, if none is up.
    pub fn cluster(&self) -> Options {
        Options { nodes: 2, kube_proxy: self.kube_proxy, ..Options::default() }
    }
}

/// Runs the suite; from inside the cluster's outside world.
pub fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let mode = cluster.options().kube_proxy;
    ensure!(
        mode != KubeProxy::None,
        "suite handover needs a cluster with kube-proxy: cluster up --nodes 2 --kube-proxy nftables"
    );
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => built::release()?,
    };
    let install = Install::on(cluster)?;
    install.image(&program).context("the image can't be made")?;
    let name = if mode == KubeProxy::Iptables { "handover-iptables" } else { "handover-nftables" };
    let mut report = Report::new(name, cluster.describe());
    let values = vec![
        format!("apiserver.url={}", layout::api_server()),
        format!("l4.clusterCIDR={{{}}}", layout::POD_RANGES),
        "l4.egressSNAT.enabled=false".to_owned(),
    ];
    let scene = Scene { cluster, reader: Reader { cluster, install: &install, program: Some(&program), values } };
    scene.serve()?;
    for (name, title, ours) in [("forward", "From kube-proxy to rust-ingress", true), ("back", "Back to kube-proxy", false)] {
        let mut said = Vec::new();
        report.case(name, &format!("kube-proxy in mode {mode}, under load: nothing fails, what is established stays"), || {
            said = scene.under_load(title)?;
            Ok(())
        });
        said.iter().for_each(|line| println!("        {line}"));
        report.notes.extend(said.into_iter().map(|line| format!("{name}: {line}.")));
        report.case(name, "nothing of the other is left on any node", || scene.carried_by(ours));
    }
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])?;
    install.remove()?;
    Ok(report)
}

struct Scene<'a> {
    cluster: &'a Cluster,
    reader: Reader<'a>,
}

impl Scene<'_> {
    fn serve(&self) -> Result<()> {
        self.cluster.load_stock(&[Stock::Agnhost])?;
        self.cluster.kubectl(&["apply", "-f", &top()?.join(ASKED).display().to_string()])?;
        self.cluster.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/server", "--timeout=120s"])?;
        for (place, to) in [(Place::Wan, self.node_ports()?), (Place::Network(2), self.cluster_ips()?)] {
            to.iter().try_for_each(|to| self.until_served(place, *to))?;
        }
        Ok(())
    }

    /// kube-proxy may take its time.
    fn until_served(&self, place: Place, to: SocketAddr) -> Result<()> {
        let begin = Instant::now();
        let url = format!("http://{to}/hostname");
        while let Err(error) = self.cluster.run(place, &["curl", "-fsg", "-m", "2", &url]) {
            ensure!(begin.elapsed() < Duration::from_secs(60), "{to} isn't served after a minute: {error:#}");
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    fn node_ports(&self) -> Result<Vec<SocketAddr>> {
        let nodes = self.cluster.nodes().flat_map(|node| [node.v4(), format!("[{}]", node.v6())]);
        nodes.map(|node| Ok(format!("{node}:{NODE_PORT}").parse()?)).collect()
    }

    fn cluster_ips(&self) -> Result<Vec<SocketAddr>> {
        let query = "jsonpath={.spec.clusterIPs[*]}";
        let addresses = self.cluster.kubectl(&["-n", NAMESPACE, "get", "service", "server", "-o", query])?;
        addresses.split_whitespace().map(|address| Ok(SocketAddr::new(address.parse()?, 80))).collect()
    }

    /// Follows a section while clients ask; a line for each kind of them.
    fn under_load(&self, title: &str) -> Result<Vec<String>> {
        let node_ports = self.node_ports()?;
        let outside = self.load(Place::Wan, node_ports.clone())?;
        let inside = self.load(Place::Network(2), self.cluster_ips()?)?;
        let datagrams = udp::start(&node_ports);
        std::thread::sleep(Duration::from_secs(1));
        let followed = self.follow(title);
        std::thread::sleep(Duration::from_secs(2));
        let (outside, inside, datagrams) = (outside.stop()?, inside.stop()?, datagrams.stop());
        followed?;
        for (who, outcome) in [("NodePort", &outside), ("ClusterIP", &inside)] {
            let examples = || outcome.examples.join("\n");
            ensure!(outcome.failed == 0 && outcome.reconnects == 0, "{who}: {}\n{}", outcome.line(), examples());
        }
        ensure!(datagrams.lost == 0, "NodePort, UDP: {datagrams}");
        let line = |who: &str, outcome: &Outcome| format!("{who}: {}", outcome.line());
        Ok(vec![
            line("NodePort from outside", &outside),
            line("ClusterIP from a node", &inside),
            format!("NodePort, UDP: {datagrams}"),
        ])
    }

    fn load(&self, place: Place, to: Vec<SocketAddr>) -> Result<Load> {
        let arguments =
            load::Arguments { to, host: "server".into(), path: "/hostname".into(), kept: 8, fresh: 8, pause: 20, limit: 600 };
        let tool = std::env::current_exe()?.display().to_string();
        Load::start(self.cluster.command(place, &[&tool])?, &arguments)
    }

    fn follow(&self, title: &str) -> Result<()> {
        let commands = commands(&section(&read(DOCUMENT)?, title)?);
        ensure!(commands.len() >= 3, "{DOCUMENT}, {title:?}: {} commands", commands.len());
        commands.iter().try_for_each(|command| self.step(command).with_context(|| command.clone()))
    }

    fn step(&self, command: &str) -> Result<()> {
        let name = |node: Node| format!("kube-proxy{}", node.0);
        match command {
            STOP => self.cluster.nodes().try_for_each(|node| self.cluster.stop(&name(node), false)),
            START => self.cluster.nodes().try_for_each(|node| self.cluster.start(&name(node))),
            STARTED => self.cluster.nodes().try_for_each(|node| self.until_kube_proxy(node)),
            _ => self.reader.run(command),
        }
    }

    /// Its process has no readiness of Kubernetes here: its rules show it.
    fn until_kube_proxy(&self, node: Node) -> Result<()> {
        let begin = Instant::now();
        while !self.rules(node)?.contains(&format!("dport {NODE_PORT}"))
            && !self.rules(node)?.contains(&format!(". {NODE_PORT} :"))
        {
            ensure!(begin.elapsed() < Duration::from_secs(60), "{}: kube-proxy has no rules after a minute", node.name());
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// All rules of others.
    fn rules(&self, node: Node) -> Result<String> {
        let all = self.cluster.run(Place::Network(node.0), &["nft", "list", "ruleset"])?;
        let tables = all.split("\ntable ").filter(|table| !table.trim_start_matches("table ").contains(" rust-ingress {"));
        Ok(tables.collect::<Vec<_>>().join("\ntable "))
    }

    /// Whose rules every node has.
    fn carried_by(&self, ours: bool) -> Result<()> {
        for node in self.cluster.nodes() {
            let all = self.cluster.run(Place::Network(node.0), &["nft", "list", "ruleset"])?;
            let own = all.contains("table ip rust-ingress {") && all.contains("table ip6 rust-ingress {");
            let any = all.contains(" rust-ingress {");
            let theirs =
                ["table ip kube-proxy", "table ip6 kube-proxy", "chain KUBE-SERVICES", "chain KUBE-SVC-", "chain KUBE-SEP-"];
            let theirs: Vec<&str> = theirs.into_iter().filter(|sign| all.contains(sign)).collect();
            let name = node.name();
            match ours {
                true => ensure!(own && theirs.is_empty(), "{name}: our tables: {own}; of kube-proxy: {theirs:?}"),
                false => ensure!(!any && !theirs.is_empty(), "{name}: a table of ours: {any}; of kube-proxy: {theirs:?}"),
            }
        }
        let pods = self.cluster.kubectl(&["get", "namespace", RELEASE, "--ignore-not-found", "-o", "name"])?;
        ensure!(!pods.is_empty(), "the namespace {RELEASE} is gone");
        Ok(())
    }
}
