//! What becomes of a packet, and why: for `agent explain`, and for the suites that hold it against what was seen.
//!
//! The answer isn't computed a second way: the rules are walked with the plan's elements, as the kernel does ([`kernel`]).

pub mod kernel;

use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use self::kernel::{End, Kernel, Match, State, Walk, is_among};
use super::element::{Data, Element, Key};
use super::node::LocalPods;
use super::plan::Plan;
use super::rule::ChainName;
use super::service::Transport;
use super::set::{Family, SetName};
use crate::names::{Name, ObjectRef};

/// The first packet of a connection. Text form: `tcp 10.244.1.7:40000 -> 10.96.0.10:53`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Its protocol.
    pub transport: Transport,
    /// Source address and port.
    pub source: SocketAddr,
    /// Destination address and port.
    pub destination: SocketAddr,
}

/// A packet's text that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("packet {0:?}: expected \"tcp 10.244.1.7:40000 -> 10.96.0.10:53\", both addresses of one family; tcp, udp or sctp")]
pub struct BadPacket(String);

impl FromStr for Packet {
    type Err = BadPacket;
    fn from_str(text: &str) -> Result<Self, BadPacket> {
        let read = || {
            let (transport, rest) = text.trim().split_once(' ')?;
            let transport = [Transport::Tcp, Transport::Udp, Transport::Sctp].into_iter().find(|t| t.name() == transport)?;
            let (source, destination) = rest.split_once("->")?;
            let (source, destination): (SocketAddr, SocketAddr) = (source.trim().parse().ok()?, destination.trim().parse().ok()?);
            (source.is_ipv4() == destination.is_ipv4()).then_some(Self { transport, source, destination })
        };
        read().ok_or_else(|| BadPacket(text.into()))
    }
}

impl Display for Packet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.transport, self.source, self.destination)
    }
}

/// Where a packet enters this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A process on the node sends it.
    Node,
    /// A Pod of this node.
    Pod,
    /// From anywhere else.
    Outside,
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The packet.
    pub packet: Packet,
    /// The node's name.
    pub node: Name,
    /// Where it enters.
    pub origin: Origin,
    /// The Service and the name of its port; none has this destination.
    pub service: Option<(ObjectRef, Name)>,
    /// The L7 proxy of the node, which takes it while it is alive; the rest is what becomes of it otherwise.
    pub proxy: Option<SocketAddr>,
    /// Which elements matched on the way to the destination.
    pub matches: Vec<Match>,
    /// What is done.
    pub outcome: Outcome,
}

/// What is done with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No answer.
    Dropped,
    /// TCP reset or ICMP port unreachable.
    Refused,
    /// It goes on to one of these. One that is the packet's own destination: nothing is translated.
    Sent {
        /// Each as likely as the others.
        hops: Vec<Hop>,
        /// A client that has one of them keeps it for so many seconds.
        affinity_s: Option<u32>,
    },
}

/// Where a packet may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// Its destination.
    pub to: SocketAddr,
    /// Its source is the node's address.
    pub masqueraded: bool,
    /// Why, or why not.
    pub why: &'static str,
}

/// Explains a packet that enters the plan's node.
pub fn explain(plan: &Plan, packet: &Packet) -> Explanation {
    let origin = origin(plan, packet.source.ip());
    let family = Family::of(packet.destination.ip());
    let kernel = Kernel::new(plan.ruleset(family), plan.elements().into_iter());
    let state = State {
        transport: packet.transport,
        source: packet.source,
        destination: packet.destination,
        original: packet.destination,
        origin,
        source_is_local: origin == Origin::Node,
    };
    let base = if origin == Origin::Node { ChainName::Output } else { ChainName::Prerouting };
    let Walk { end, mut matches, sticky } = kernel.walk(base, &state);
    let proxy = proxy(plan, family, base, &state);
    let found = service(plan, packet);
    let affinity_s = found.as_ref().and_then(|(name, _)| plan.services().get(name)?.affinity_s).filter(|_| sticky);
    let outcome = match end {
        End::Dropped => Outcome::Dropped,
        End::Refused => Outcome::Refused,
        End::Translated(to) => Outcome::Sent {
            hops: to.into_iter().map(|to| hop(plan, &kernel, State { destination: to, ..state })).collect(),
            affinity_s,
        },
        End::Accepted | End::Masqueraded => match refused_by_input(plan, &kernel, &state) {
            Some(input) => {
                matches.extend(input);
                Outcome::Refused
            }
            None => Outcome::Sent { hops: vec![hop(plan, &kernel, state)], affinity_s: None },
        },
    };
    Explanation { packet: *packet, node: plan.node().name.clone(), origin, service: found, proxy, matches, outcome }
}

/// What matched where a packet is for this node and is refused there. What the node sends to itself passes no such chain.
fn refused_by_input(plan: &Plan, kernel: &Kernel, state: &State) -> Option<Vec<Match>> {
    let (to, node) = (state.destination.ip(), plan.node());
    let enters = is_among(to, &node.addresses) || is_among(to, &node.interface_addresses);
    let Walk { end, matches, .. } = kernel.walk(ChainName::Input, state);
    (enters && state.origin != Origin::Node && end == End::Refused).then_some(matches)
}

/// Where the packet goes while the L7 proxy is alive, if that makes a difference.
fn proxy(plan: &Plan, family: Family, base: ChainName, state: &State) -> Option<SocketAddr> {
    let key = Key::Protocol(Transport::Tcp);
    let alive = Element { family, set: SetName::L7Alive, key, data: Data::None };
    let kernel = Kernel::new(plan.ruleset(family), plan.elements().into_iter().chain([alive]));
    let Walk { end, matches, .. } = kernel.walk(base, state);
    let taken = matches.iter().any(|found| matches!(found.set, SetName::L7Services | SetName::L7NodePorts));
    match end {
        End::Translated(to) if taken => to.first().copied(),
        _ => None,
    }
}

fn origin(plan: &Plan, source: IpAddr) -> Origin {
    let node = plan.node();
    let pods = match &plan.settings().local_pods {
        // A cluster without ranges of nodes.
        LocalPods::Cidrs(cidrs) if node.pod_cidrs.is_empty() => cidrs,
        // Interfaces can't be seen from here; what comes from the node's own range comes in by one of theirs.
        _ => &node.pod_cidrs,
    };
    if source.is_loopback() || is_among(source, &node.addresses) || is_among(source, &node.interface_addresses) {
        Origin::Node
    } else if pods.iter().any(|cidr| cidr.contains(&source)) {
        Origin::Pod
    } else {
        Origin::Outside
    }
}

/// How a packet leaves, once its destination is known.
fn hop(plan: &Plan, kernel: &Kernel, state: State) -> Hop {
    let to = state.destination;
    if to.ip().is_loopback() && to != state.original {
        let why = "the agent takes it there, and carries it to this NodePort at the node's own address";
        return Hop { to, masqueraded: false, why };
    }
    let node = plan.node();
    if is_among(to.ip(), &node.addresses) || is_among(to.ip(), &node.interface_addresses) {
        return Hop { to, masqueraded: false, why: "it is this node itself, so nothing leaves" };
    }
    let Walk { end, matches, .. } = kernel.walk(ChainName::Postrouting, &state);
    let masqueraded = end == End::Masqueraded;
    let found = |set: SetName| matches.iter().any(|found| found.set == set);
    let translated = state.destination != state.original;
    let why = match masqueraded {
        true if !translated => "egress: a Pod of this node, and no destination that sees Pods' addresses",
        true if found(SetName::Hairpin) => "a Pod that reaches itself: replies must come back through the node",
        true if state.origin == Origin::Node => "sent by the node itself",
        true if found(SetName::SourceKept) || found(SetName::SourceKeptNodePorts) => {
            "from a Pod of the cluster, perhaps of another node: replies must come back through this one"
        }
        true if found(SetName::Masqueraded) || found(SetName::MasqueradedNodePorts) => "replies must come back through this node",
        true => "egress: a Pod of this node, and an endpoint that doesn't see Pods' addresses",
        false if !translated => "no Service, and no egress SNAT for it: nothing is translated",
        false if state.origin == Origin::Pod => "from a Pod of this node: replies come back through it",
        false if found(SetName::LocalPods) => "from a Pod of the cluster: replies come back through the node that it asked",
        false => "externalTrafficPolicy Local: the client's address is kept",
    };
    Hop { to, masqueraded, why }
}

/// The Service whose frontend or node port the destination is.
fn service(plan: &Plan, packet: &Packet) -> Option<(ObjectRef, Name)> {
    let (address, number) = (packet.destination.ip(), packet.destination.port());
    let taken = plan.settings().loopback.is_some_and(|ports| ports.of(Family::of(address)).is_some());
    let at_loopback = taken && address.is_loopback() && packet.transport == Transport::Tcp;
    let on_node = at_loopback || plan.node_port_addresses().contains(&address);
    plan.services().iter().find_map(|(name, service)| {
        let mut addresses = service.cluster_ips.iter().chain(&service.external_ips).chain(&service.load_balancer_ips);
        let mine = addresses.any(|other| *other == address);
        let mut ports = service.ports.iter().filter(|port| port.transport == packet.transport);
        let port = ports.find(|port| {
            (mine && port.port == number && !port.without.contains(&address)) || (on_node && port.node_port == Some(number))
        })?;
        Some((name.clone(), port.name.clone()))
    })
}

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let from = match self.origin {
            Origin::Node => "sent by the node itself",
            Origin::Pod => "from a Pod of this node",
            Origin::Outside => "from outside",
        };
        writeln!(f, "{}, on {}, {from}", self.packet, self.node)?;
        match &self.service {
            Some((name, port)) if port.is_empty() => writeln!(f, "for {name}")?,
            Some((name, port)) => writeln!(f, "for {name}, port {port}")?,
            None => writeln!(f, "for no Service's port")?,
        }
        if let Some(proxy) = self.proxy {
            writeln!(
                f,
                "while the L7 proxy of this node is alive: through it, at {proxy}, to one of the same endpoints with the same source; else:"
            )?;
        }
        for Match { chain, set, element } in &self.matches {
            writeln!(f, "  {chain}: {set} has {element}")?;
        }
        match &self.outcome {
            Outcome::Dropped => writeln!(f, "dropped: no answer"),
            Outcome::Refused => {
                let how = if self.packet.transport == Transport::Tcp { "a TCP reset" } else { "ICMP port unreachable" };
                let required = |found: &Match| matches!(found.set, SetName::L7Only | SetName::L7OnlyNodePorts);
                let why = if self.matches.iter().any(|found| found.set == SetName::GatewayPorts) {
                    "it is where the proxy listens for a Gateway, which has an address of its own"
                } else if self.matches.iter().any(required) {
                    "it may not go on without the L7 proxy"
                } else if self.service.is_some() {
                    "no endpoint could serve"
                } else {
                    "the ClusterIP has no such port"
                };
                writeln!(f, "refused with {how}: {why}")
            }
            Outcome::Sent { hops, affinity_s } => {
                if let Some(seconds) = affinity_s {
                    writeln!(f, "a client that has an endpoint keeps it for {seconds} s")?;
                }
                hops.iter().try_for_each(|hop| self.write_hop(f, hop))
            }
        }
    }
}

impl Explanation {
    fn write_hop(&self, f: &mut Formatter<'_>, hop: &Hop) -> fmt::Result {
        let source = if hop.masqueraded { "source becomes the node's address" } else { "source kept" };
        let action = if hop.to == self.packet.destination { "goes on to" } else { "DNAT to" };
        writeln!(f, "{action} {}, {source}: {}", hop.to, hop.why)
    }
}
