//! `suite fallback`: a Service through the L7 proxy of its nodes on the test cluster, installed by the chart in place of kube-proxy,
//! while that proxy is killed, stopped, out of memory, gone with its parent, or upgraded.
//!
//! Clients open 200 connections a second: by ClusterIP from a node, by NodePort and by a load balancer's address from the outside
//! world, in both families. The Pods answer with the headers that they got: what the proxy adds says which path was taken.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::faults::processes::{Part, find};
use super::{Report, carrier};
use crate::built;
use crate::cluster::{Cluster, ECHO, KubeProxy, Options, Place, Stock};
use crate::load::steady::{self, Asked, Elsewhere, falls_back, goes_on};

const NAMESPACE: &str = "suite-fallback";
const NODE_PORT: u16 = 30_090;
/// As another's load balancer wrote them; the outside world's routes to them lead to node1.
const BALANCERS: [&str; 2] = ["203.0.113.9", "2001:db8:5::9"];
/// 200 connections a second, shared by six ways.
const EVERY: Duration = Duration::from_millis(30);
/// Longer than Pods take to come on a machine under load.
const PATIENCE: Duration = Duration::from_secs(120);
/// So little that its next page ends it, as the kernel ends what uses too much memory. What it has already counts elsewhere.
const NO_MEMORY: &str = "16384";

/// What to run it with.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A program that is built already, in place of a release build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Only cases whose names hold this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    focus: String,
}

/// The cluster that it needs.
pub fn cluster() -> Options {
    Options { nodes: 2, kube_proxy: KubeProxy::None, ..Options::default() }
}

/// What happens, how long it is watched, and what clients are to see of it.
type Case = (&'static str, Duration, fn(&Scene<'_>) -> Result<()>, Seen);

/// Of what was asked, around an event at a time: a line of figures.
type Seen = fn(&[Asked], u64) -> Result<String>;

const LOST: Seen = |asked, at| falls_back(asked, at, true);

const CASES: [Case; 5] = [
    ("the proxy is killed", Duration::from_secs(8), |scene| scene.signal(Part::Child, Signal::KILL), LOST),
    ("the proxy is stopped and hangs", Duration::from_secs(15), |scene| scene.signal(Part::Child, Signal::STOP), LOST),
    ("the proxy is killed by a limit on memory", Duration::from_secs(10), |scene| scene.out_of_memory(), LOST),
    ("both processes are killed", Duration::from_secs(40), |scene| scene.both_killed(), LOST),
    ("Helm upgrades the program", Duration::from_secs(20), |scene| scene.upgraded(), goes_on),
];

struct Scene<'a> {
    cluster: &'a Cluster,
}

/// Runs the suite; from inside the cluster's outside world.
pub fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => built::release()?,
    };
    carrier::install(cluster, Some(&program), &[]).context("the chart can't be installed in place of kube-proxy")?;
    cluster.load_stock(&[Stock::Echo])?;
    let scene = Scene { cluster };
    scene.serve()?;
    scene.balance("replace")?;
    let mut report = Report::new("fallback", cluster.describe());
    for (name, watched, happens, seen) in CASES.into_iter().filter(|(name, ..)| name.contains(&arguments.focus)) {
        let mut said = Vec::new();
        report.case("200 connections a second", name, || scene.under_load(watched, happens, seen, &mut said));
        said.iter().for_each(|line| println!("        {line}"));
        report.notes.extend(said.into_iter().map(|line| format!("{name}: {line}")));
    }
    if arguments.focus.is_empty() {
        report.case("Events on the Node", "the loss is said, and that it is over", || scene.said());
    }
    scene.balance("del")?;
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])?;
    carrier::alone(cluster)?;
    Ok(report)
}

impl Scene<'_> {
    /// Two echo servers, one a node, and their Service.
    fn serve(&self) -> Result<()> {
        let labels = json!({"app": "echo"});
        let container = json!({
            "name": "echo", "image": ECHO, "imagePullPolicy": "Never",
            "env": [
                {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            ],
            "readinessProbe": {"tcpSocket": {"port": 3000}, "periodSeconds": 1},
        });
        let objects = [
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
            json!({
                "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "echo", "namespace": NAMESPACE},
                "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}}},
            }),
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "echo", "namespace": NAMESPACE, "annotations": {"rust-ingress.dev/l7": "enabled"}},
                "spec": {
                    "type": "LoadBalancer", "ipFamilyPolicy": "PreferDualStack", "selector": labels,
                    "ports": [{"name": "http", "port": 80, "targetPort": 3000, "nodePort": NODE_PORT, "appProtocol": "http"}],
                },
            }),
        ];
        self.cluster.apply(&objects.map(|object| object.to_string()).join("\n---\n"))?;
        let ingress = BALANCERS.map(|ip| json!({"ip": ip}));
        let given = json!({"status": {"loadBalancer": {"ingress": ingress}}}).to_string();
        let patch = ["-n", NAMESPACE, "patch", "service", "echo", "--subresource=status", "--type=merge", "-p", &given];
        self.cluster.kubectl(&patch)?;
        let status = ["-n", NAMESPACE, "rollout", "status", "daemonset/echo", "--timeout=120s"];
        self.cluster.kubectl(&status).map(drop)
    }

    /// The outside world's routes to the load balancer's addresses.
    fn balance(&self, change: &str) -> Result<()> {
        let node = self.cluster.nodes().next().context("a node")?;
        for (address, through) in BALANCERS.into_iter().zip([node.v4(), node.v6()]) {
            self.cluster.run(Place::Wan, &["ip", "route", change, address, "via", &through])?;
        }
        Ok(())
    }

    /// Where clients ask, and from where: the ClusterIP on node1, its NodePort and the load balancer's address, both families.
    fn asked(&self) -> Result<Vec<(Place, SocketAddr)>> {
        let query = ["-n", NAMESPACE, "get", "service", "echo", "-o", "jsonpath={.spec.clusterIPs[*]}"];
        let node = self.cluster.nodes().next().context("a node")?;
        let mut asked = Vec::new();
        for address in self.cluster.kubectl(&query)?.split_whitespace() {
            asked.push((Place::Network(node.0), SocketAddr::new(address.parse()?, 80)));
        }
        for address in [node.v4(), node.v6()] {
            asked.push((Place::Wan, SocketAddr::new(address.parse()?, NODE_PORT)));
        }
        for address in BALANCERS {
            asked.push((Place::Wan, SocketAddr::new(address.parse()?, 80)));
        }
        ensure!(asked.len() == 6, "the Service has not both families");
        Ok(asked)
    }

    /// Asks all the while around an event, once every way goes through the proxy.
    fn under_load(&self, watched: Duration, happens: fn(&Self) -> Result<()>, seen: Seen, said: &mut Vec<String>) -> Result<()> {
        let tool = std::env::current_exe()?.display().to_string();
        let asked = self.asked()?;
        for (place, to) in &asked {
            self.until_proxied(*place, *to)?;
        }
        let start = |(place, to): &(Place, SocketAddr)| Elsewhere::start(self.cluster.command(*place, &[&tool])?, *to, EVERY);
        let clients: Vec<Elsewhere> = asked.iter().map(start).collect::<Result<_>>()?;
        sleep(Duration::from_secs(2));
        let at = steady::now();
        let happened = happens(self);
        sleep(watched);
        let asked_all: Vec<_> = clients.into_iter().map(Elsewhere::stop).collect::<Result<_>>()?;
        happened?;
        for ((_, to), all) in asked.iter().zip(asked_all) {
            said.push(format!("{to}: {}", seen(&all, at).with_context(|| to.to_string())?));
        }
        Ok(())
    }

    fn until_proxied(&self, place: Place, to: SocketAddr) -> Result<()> {
        let begin = Instant::now();
        let url = format!("http://{to}/");
        loop {
            let answer = self.cluster.run(place, &["curl", "-s", "-m", "2", &url]).unwrap_or_else(|error| format!("{error:#}"));
            if answer.to_ascii_lowercase().contains("x-request-id") {
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "{to} isn't served through the proxy: {answer}");
            sleep(Duration::from_millis(100));
        }
    }

    fn signal(&self, part: Part, signal: Signal) -> Result<()> {
        Ok(kill_process(find(self.cluster, 1, part)?, signal)?)
    }

    fn both_killed(&self) -> Result<()> {
        let child = find(self.cluster, 1, Part::Child)?;
        self.signal(Part::Parent, Signal::KILL)?;
        // It hears of its parent's end, and may be gone already.
        let _ = kill_process(child, Signal::KILL);
        Ok(())
    }

    /// The limit is the child's alone: of a container that is over its limit, the kernel chooses who ends.
    fn out_of_memory(&self) -> Result<()> {
        let child = find(self.cluster, 1, Part::Child)?;
        let folder = limited(child)?;
        let began = Instant::now();
        while find(self.cluster, 1, Part::Child).is_ok_and(|now| now == child) {
            ensure!(began.elapsed() < PATIENCE, "the kernel doesn't end what is over its limit");
            sleep(Duration::from_millis(20));
        }
        Ok(fs::remove_dir(folder)?)
    }

    fn said(&self) -> Result<()> {
        for reason in ["L7Away", "L7Back"] {
            let select = format!("involvedObject.kind=Node,involvedObject.name=node1,reason={reason}");
            let events = self.cluster.kubectl(&["-n", "default", "get", "events", "--field-selector", &select, "-o", "name"])?;
            ensure!(!events.trim().is_empty(), "Node node1 has no Event {reason}");
        }
        Ok(())
    }

    fn upgraded(&self) -> Result<()> {
        carrier::with(self.cluster, &[&format!("podAnnotations.upgraded=at-{}", steady::now())])
    }
}

/// Moves a process into a memory cgroup with a limit that it can't keep; gives the cgroup.
fn limited(process: Pid) -> Result<PathBuf> {
    let v2 = PathBuf::from("/sys/fs/cgroup/cgroup.controllers").exists();
    let (top, limit) = if v2 { ("/sys/fs/cgroup", "memory.max") } else { ("/sys/fs/cgroup/memory", "memory.limit_in_bytes") };
    let folder = PathBuf::from(top).join("rust-ingress-suite-fallback");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    fs::write(folder.join(limit), NO_MEMORY).context("the limit")?;
    fs::write(folder.join("cgroup.procs"), process.as_raw_nonzero().to_string()).context("moving the process")?;
    Ok(folder)
}
