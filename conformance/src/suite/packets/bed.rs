//! A node with the agent on it, and Services as translation would give them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use rust_ingress_model::l4::{L4Endpoint, L4Port, L4Service, L4Settings, NodeFacts, Pool, Transport};
use rust_ingress_model::{Listener, ObjectRef, Part, Snapshot};
use rust_ingress_proxy::agent::{Agent, Options};

use super::namespace::Namespace;
use super::rig::{Family, Rig, at};
use super::talk::{self, Answer};

/// Protocols that this machine can send.
pub const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Udp];
/// The port of every Service here.
pub const PORT: u16 = 80;
/// Its node port.
pub const NODE_PORT: u16 = 30_080;

/// What runs a case for each family and protocol.
pub struct Bed<'r> {
    /// The namespaces.
    pub rig: &'r Rig,
    /// The agent on the node.
    pub agent: Agent,
    /// How often Services were published, so that they get new names.
    published: AtomicU32,
}

/// This node, as its object has it.
pub fn node() -> NodeFacts {
    NodeFacts {
        name: "node1".into(),
        zone: Some("zone1".into()),
        addresses: Family::BOTH.map(at::node).to_vec(),
        pod_cidrs: ["10.244.1.0/24", "fd00:244:1::/64"].iter().filter_map(|cidr| cidr.parse().ok()).collect(),
        ..NodeFacts::default()
    }
}

/// A Pod of the rig as an endpoint: by name, `pod1`, `pod2` (on this node) or `remote`.
pub fn endpoint(pod: &str, family: Family) -> L4Endpoint {
    let (address, node) = match pod {
        "pod1" => (at::pod1(family), "node1"),
        "pod2" => (at::pod2(family), "node1"),
        _ => (at::remote(family), "node2"),
    };
    L4Endpoint {
        address: SocketAddr::new(address, talk::PORT),
        ready: true,
        serving: true,
        terminating: false,
        node: Some(node.into()),
        for_zones: Vec::new(),
        for_nodes: Vec::new(),
    }
}

/// A pool with the addresses that end in 240.
pub fn pool() -> Pool {
    let ranges = Family::BOTH.map(|family| at::pooled(family).to_string()).iter().filter_map(|text| text.parse().ok()).collect();
    Pool { ranges, node_selector: BTreeMap::new(), max_nodes: 16 }
}

/// A Service of both families and protocols with these Pods; a ClusterIP and a node port.
pub fn service(pods: &[&str]) -> L4Service {
    let endpoints = || Family::BOTH.into_iter().flat_map(|family| pods.iter().map(move |pod| endpoint(pod, family))).collect();
    let port = |transport: Transport| L4Port {
        name: transport.name().into(),
        transport,
        port: PORT,
        http: None,
        node_port: Some(NODE_PORT),
        without: Vec::new(),
        endpoints: endpoints(),
    };
    L4Service {
        cluster_ips: Family::BOTH.map(at::cluster_ip).to_vec(),
        ports: TRANSPORTS.map(port).to_vec(),
        ..L4Service::default()
    }
}

impl<'r> Bed<'r> {
    /// Starts an agent on the node of a rig.
    pub fn start(rig: &'r Rig, settings: L4Settings) -> Result<Self> {
        let options = Options { settings, ..Options::default() };
        let agent = rig.node.inside(|| Agent::start(options).context("the agent"))?;
        Ok(Self { rig, agent, published: AtomicU32::new(0) })
    }

    /// Publishes these Services and nothing else; they are others than those before.
    pub fn publish(&self, services: &[L4Service]) -> Result<()> {
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        self.publish_as(&format!("s{number}"), services)
    }

    /// Publishes these Services under names that begin so: a change of those that had the same names.
    pub fn publish_as(&self, prefix: &str, services: &[L4Service]) -> Result<()> {
        self.publish_beside(prefix, services, &[])
    }

    /// Publishes these Services beside listeners of the proxy.
    pub fn publish_beside(&self, prefix: &str, services: &[L4Service], listeners: &[Listener]) -> Result<()> {
        let mut snapshot = Snapshot {
            service_cidrs: ["10.96.0.0/16", "fd00:96::/112"].iter().filter_map(|cidr| cidr.parse().ok()).collect(),
            pools: [("pool".into(), pool())].into(),
            ..Snapshot::default()
        };
        for (place, service) in services.iter().enumerate() {
            let name = ObjectRef::new("Service", "default", &format!("{prefix}-{place}"));
            snapshot.services.insert(name, Part::new(service.clone()));
        }
        for listener in listeners {
            let name = format!("{:?}/{}", listener.protocol, listener.port);
            snapshot.listeners.insert(name.into(), Part::new(listener.clone()));
        }
        let faults = self.agent.publish(&snapshot, &node());
        ensure!(faults.is_empty(), "faults: {faults:?}");
        ensure!(self.agent.is_written(), "the kernel refused; the agent's log says what");
        Ok(())
    }

    /// Ends the agent and removes its tables: what is seen after this is the kernel without us.
    pub fn clean(self) -> Result<()> {
        self.agent.stop();
        self.rig.node.inside(|| Agent::cleanup().context("clean-up"))
    }
}

/// Runs a check for each family and protocol; says which failed.
pub fn each(check: impl Fn(Family, Transport) -> Result<()>) -> Result<()> {
    for family in Family::BOTH {
        for transport in TRANSPORTS {
            check(family, transport).with_context(|| format!("{family:?}, {transport}"))?;
        }
    }
    Ok(())
}

/// Asks, and wants an answer of one of these servers; what was answered.
pub fn reached(from: &Namespace, transport: Transport, to: IpAddr, port: u16, by: &[&str]) -> Result<Answer> {
    let answer = talk::ask(from, transport, SocketAddr::new(to, port))?;
    ensure!(answer.name().is_some_and(|name| by.contains(&name)), "{to} port {port}: {answer:?}, not an answer of {by:?}");
    Ok(answer)
}

/// Asks, and wants an answer of this server that saw this source.
pub fn seen(from: &Namespace, transport: Transport, (to, port): (IpAddr, u16), by: &str, source: IpAddr) -> Result<()> {
    let answer = reached(from, transport, to, port, &[by])?;
    ensure!(answer.seen() == Some(source), "{to} port {port}: {by} saw {:?}, not {source}", answer.seen());
    Ok(())
}

/// Asks, and wants this to become of it.
pub fn becomes(from: &Namespace, transport: Transport, to: IpAddr, port: u16, expected: &Answer) -> Result<()> {
    let answer = talk::ask(from, transport, SocketAddr::new(to, port))?;
    ensure!(answer == *expected, "{to} port {port}: {answer:?}, not {expected:?}");
    Ok(())
}
