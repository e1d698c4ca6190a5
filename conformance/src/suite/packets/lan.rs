//! A link with a client and two nodes on it, each node with an agent of its own: who answers for an address of a pool.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rust_ingress_model::l4::L4Service;
use rust_ingress_model::{ObjectRef, Part, Snapshot};
use rust_ingress_proxy::agent::{Agent, Options, Ports};

use super::bed::{node, pool, service};
use super::namespace::Namespace;
use super::rig::{Family, at};

/// Counts answers that the client gets.
const COUNTERS: &str = "add table arp seen
add counter arp seen answers
add chain arp seen in { type filter hook input priority 0; }
add rule arp seen in arp operation reply counter name answers
add table ip6 seen
add counter ip6 seen answers
add chain ip6 seen in { type filter hook input priority 0; }
add rule ip6 seen in icmpv6 type nd-neighbor-advert counter name answers
";

/// The link.
pub struct Lan {
    /// Where questions come from.
    pub client: Namespace,
    /// The two nodes, with their agents.
    pub nodes: [(Namespace, Agent); 2],
    _switch: Namespace,
}

impl Lan {
    /// Makes it. The agents are told of a Service with addresses of the pool, and hold none of them.
    pub fn make() -> Result<Self> {
        let switch = Namespace::make("switch")?;
        switch.ip("link add name lan type bridge\nlink set lan up\n")?;
        let plug = |role: &str, port: &str, last: &str| -> Result<Namespace> {
            let namespace = Namespace::make(role)?;
            let there = namespace.name();
            switch.ip(&format!("link add {port} type veth peer name eth0 netns {there}\nlink set {port} master lan up\n"))?;
            namespace.ip(&format!(
                "link set lo up\naddr add 192.0.2.{last}/24 dev eth0\naddr add 2001:db8::{last}/64 dev eth0 nodad\nlink set eth0 up\n"
            ))?;
            Ok(namespace)
        };
        let client = plug("lan-client", "p0", "2")?;
        client.nft(COUNTERS)?;
        let with_agent = |namespace: Namespace| -> Result<(Namespace, Agent)> {
            let options = Options { ports: Ports::default(), ..Options::default() };
            let agent = namespace.inside(|| Agent::start(options).context("the agent"))?;
            agent.addresses().place();
            let faults = agent.publish(&snapshot(), &node());
            ensure!(faults.is_empty(), "faults: {faults:?}");
            Ok((namespace, agent))
        };
        let nodes = [with_agent(plug("lan-node1", "p1", "11")?)?, with_agent(plug("lan-node2", "p2", "12")?)?];
        Ok(Self { client, nodes, _switch: switch })
    }

    /// Lets a node hold the addresses of the pool for so long.
    pub fn hold(&self, node: usize, how_long: Duration) {
        let addresses = Family::BOTH.map(at::pooled).into();
        self.nodes[node].1.addresses().hold(addresses, Instant::now() + how_long);
    }

    /// Lets a node hold none.
    pub fn release(&self, node: usize) {
        self.nodes[node].1.addresses().hold([].into(), Instant::now() + Duration::from_mins(1));
    }

    /// The hardware address of a node.
    pub fn mac(&self, node: usize) -> Result<String> {
        let shown = self.nodes[node].0.command("ip", &["-br", "link", "show", "eth0"])?;
        shown.split_whitespace().nth(2).map(str::to_owned).context("a hardware address")
    }

    /// What the client knows of an address: where it is, if it knows, and the state of that knowledge.
    pub fn neighbour(&self, address: &str) -> Result<(Option<String>, String)> {
        let shown = self.client.command("ip", &["neigh", "show", address, "dev", "eth0"])?;
        let words: Vec<&str> = shown.split_whitespace().collect();
        let behind = words.iter().position(|word| *word == "lladdr").and_then(|place| words.get(place + 1));
        Ok((behind.map(|mac| (*mac).to_owned()), words.last().copied().unwrap_or("none").to_owned()))
    }

    /// Has the client ask for an address that it knows nothing of; how many answers came, and where it is.
    pub fn ask(&self, address: &str) -> Result<(u64, Option<String>)> {
        // An entry that isn't there can't be deleted, which is as well.
        drop(self.client.command("ip", &["neigh", "del", address, "dev", "eth0"]));
        let family = if address.contains(':') { "ip6" } else { "arp" };
        let count = || -> Result<u64> {
            let shown = self.client.command("nft", &["list", "counter", family, "seen", "answers"])?;
            let word = shown.split_whitespace().skip_while(|word| *word != "packets").nth(1);
            Ok(word.context("a counter")?.parse()?)
        };
        let before = count()?;
        // One packet, to a port that nobody has: what becomes of it is of no matter.
        self.client.inside(|| {
            let any = if family == "ip6" { "[::]:0" } else { "0.0.0.0:0" };
            let target = if family == "ip6" { format!("[{address}]:9") } else { format!("{address}:9") };
            std::net::UdpSocket::bind(any)?.send_to(b"?", target)?;
            Ok(())
        })?;
        sleep(Duration::from_millis(300));
        Ok((count()? - before, self.neighbour(address)?.0))
    }
}

fn snapshot() -> Snapshot {
    let mut snapshot = Snapshot { pools: [("pool".into(), pool())].into(), ..Snapshot::default() };
    let addresses = Family::BOTH.map(at::pooled).to_vec();
    let pooled = L4Service { load_balancer_ips: addresses, pooled: true, ..service(&["pod1"]) };
    snapshot.services.insert(ObjectRef::new("Service", "default", "pooled"), Part::new(pooled));
    snapshot
}
