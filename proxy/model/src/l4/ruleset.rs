//! The fixed rules: chains of steps that look into sets and maps. Nothing in them names a Service or an endpoint.
//!
//! Only the first packet of a connection passes nat chains, so a verdict there is for the connection. `numgen`'s modulus is a
//! constant, so there is one small chain per *power of two of endpoints* in use, never per Service; they come with the elements
//! that first need them, in the same batch. It draws an index until it meets an endpoint. A chain per exact number would need
//! fewer draws, but each endpoint that comes or goes would change a verdict, after which the kernel validates every element of
//! every map of verdicts: measured 0.7 ms with 10,000 Services and 1.5 ms with 20,000, against 10 µs for an endpoint alone.
//! No packet marks: what postrouting must know of the original destination, conntrack says.

use std::collections::{BTreeMap, BTreeSet};

use super::element::OUTSIDE;
use super::node::{EgressSnat, L4Settings, LocalPods};
use super::rule::{Base, By, Chain, ChainName, Hook, Load, Rule, Step};
use super::service::Transport;
use super::set::{Family, Set, SetName};

/// Name of our table, in both families.
pub const TABLE: &str = "rust-ingress";

/// One before `dstnat` (-100) and `srcnat` (100): stale rules of others can't take connections from us.
const BEFORE_DSTNAT: i32 = -101;
const BEFORE_SRCNAT: i32 = 99;

/// A table of one family: all sets, and the chains in an order in which each names only those before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    /// The family.
    pub family: Family,
    /// Sets and maps.
    pub sets: Vec<Set>,
    /// Chains with their rules.
    pub chains: Vec<Chain>,
}

const FRONTEND: [Load; 3] = [Load::DestinationAddress, Load::Protocol, Load::DestinationPort];
const NODE_PORT: [Load; 2] = [Load::Protocol, Load::DestinationPort];
const ORIGINAL_FRONTEND: [Load; 3] = [Load::OriginalAddress, Load::Protocol, Load::OriginalPort];
const ORIGINAL_NODE_PORT: [Load; 2] = [Load::Protocol, Load::OriginalPort];

/// How often an index is drawn before the first endpoint is taken. More than half of the slots have one where there are more than
/// two, so that happens to one connection in 65,536.
const DRAWS: usize = 16;

/// How many elements a set has room for where nobody says more.
pub const DEFAULT_SIZE: u32 = 1024;

impl Ruleset {
    /// The rules for these settings.
    ///
    /// `chains` are those that elements go to beside the fixed ones; `sizes` says how many elements each set has to have room for.
    pub fn new(family: Family, settings: &L4Settings, chains: &BTreeSet<ChainName>, sizes: &BTreeMap<SetName, u32>) -> Self {
        let size = |name: SetName| sizes.get(&name).copied().unwrap_or(DEFAULT_SIZE).max(DEFAULT_SIZE);
        let sets = SetName::ALL.into_iter().map(|name| name.declaration(size(name))).collect();
        let on_demand = chains.iter().copied().filter_map(on_demand);
        Self { family, sets, chains: on_demand.chain(fixed(family, settings)).collect() }
    }
}

/// In how many slots so many endpoints are looked for. Up to four they have four, so that most rolling updates change no verdict.
pub fn slots(endpoints: usize) -> u32 {
    u32::try_from(endpoints.next_power_of_two()).unwrap_or(OUTSIDE).clamp(4, OUTSIDE)
}

/// A chain that elements go to: [`ChainName::Choose`] or [`ChainName::Stick`]. The fixed ones are always there: `None`.
pub fn on_demand(name: ChainName) -> Option<Chain> {
    let rules = match name {
        ChainName::Choose { by, outside, sticky, slots } => {
            let (frontend, endpoints, affinity) = match by {
                By::Frontend => (&FRONTEND[..], SetName::Endpoints, SetName::Affinity),
                By::NodePort => (&NODE_PORT[..], SetName::NodePortEndpoints, SetName::NodePortAffinity),
            };
            let offset = if outside { OUTSIDE } else { 0 };
            let draw =
                |modulus| rule([Step::Dnat { key: concat(frontend, &[Load::Random { modulus, offset }]), map: endpoints }]);
            let had = sticky.then(|| rule([Step::Dnat { key: concat(&[Load::SourceAddress], frontend), map: affinity }]));
            let draws = std::iter::repeat_n(slots, DRAWS).chain([1]).map(draw);
            had.into_iter().chain(draws).chain([rule([Step::Goto(ChainName::Rejected)])]).collect()
        }
        ChainName::Stick { by, seconds } => {
            let (original, map) = match by {
                By::Frontend => (&ORIGINAL_FRONTEND[..], SetName::Affinity),
                By::NodePort => (&ORIGINAL_NODE_PORT[..], SetName::NodePortAffinity),
            };
            let (key, data) = (concat(&[Load::SourceAddress], original), vec![Load::DestinationAddress, Load::DestinationPort]);
            for_protocols(&[Step::Update { map, key, data, seconds }])
        }
        _ => return None,
    };
    Some(Chain { name, base: None, rules })
}

fn fixed(family: Family, settings: &L4Settings) -> Vec<Chain> {
    let plain = |name, rules| Chain { name, base: None, rules };
    let base = |name, hook, priority, rules| Chain { name, base: Some(Base { hook, priority }), rules };
    vec![
        plain(ChainName::Rejected, vec![rule([Step::Protocol(Transport::Tcp), Step::Reset]), rule([Step::Unreachable])]),
        plain(ChainName::Firewall, firewall()),
        plain(ChainName::ToL7, to_l7()),
        plain(ChainName::L7Source, l7_source()),
        plain(ChainName::Outside, frontends(SetName::ServicesOutside, SetName::NodePortsOutside)),
        plain(ChainName::Services, services()),
        plain(ChainName::Remember, remember()),
        plain(ChainName::ServiceSource, service_source(settings)),
        base(ChainName::Prerouting, Hook::Prerouting, BEFORE_DSTNAT, prerouting(settings)),
        base(ChainName::Output, Hook::Output, BEFORE_DSTNAT, output(settings.loopback.and_then(|ports| ports.of(family)))),
        base(ChainName::Input, Hook::Input, BEFORE_SRCNAT, input()),
        base(ChainName::Postrouting, Hook::Postrouting, BEFORE_SRCNAT, postrouting(settings)),
    ]
}

/// loadBalancerSourceRanges, before anything is translated.
fn firewall() -> Vec<Rule> {
    let sources = concat(&FRONTEND, &[Load::SourceAddress]);
    vec![rule([
        in_set(&FRONTEND, SetName::Firewalled),
        Step::InSet { key: sources, set: SetName::SourceRanges, negated: true },
        Step::Drop,
    ])]
}

fn prerouting(settings: &L4Settings) -> Vec<Rule> {
    let mut outside = match &settings.local_pods {
        LocalPods::Interfaces(prefixes) => {
            prefixes.iter().map(|prefix| Step::FromInterface { prefix: prefix.clone(), negated: true }).collect()
        }
        LocalPods::NodeCidrs | LocalPods::Cidrs(_) => {
            vec![Step::InSet { key: vec![Load::SourceAddress], set: SetName::LocalPods, negated: true }]
        }
    };
    outside.extend([Step::SourceIsLocal { negated: true }, Step::Jump(ChainName::Outside)]);
    vec![
        // What stands for clients on this node comes in by no interface.
        rule([in_set(&[Load::SourceAddress], SetName::L7Own), Step::Drop]),
        rule([Step::Jump(ChainName::Firewall)]),
        rule([Step::Jump(ChainName::ToL7)]),
        Rule(outside),
        rule([Step::Jump(ChainName::Services)]),
    ]
}

/// `loopback`: where NodePorts at loopback addresses are taken. They aren't in `node-addresses`: translated in the kernel, the
/// answers would come to an address that nothing from outside may have.
fn output(loopback: Option<u16>) -> Vec<Rule> {
    let node_ports = [SetName::MasqueradedNodePorts, SetName::SourceKeptNodePorts];
    let carried = loopback.into_iter().flat_map(|port| {
        node_ports.map(|set| {
            let to_loopback = in_set(&[Load::DestinationAddress], SetName::Loopback);
            rule([to_loopback, Step::Protocol(Transport::Tcp), in_set(&NODE_PORT, set), Step::Redirect(port)])
        })
    });
    let others = [
        // What the node sends to itself passes no chain of input.
        rule([
            in_set(&[Load::DestinationAddress], SetName::NodeAddresses),
            in_set(&NODE_PORT, SetName::GatewayPorts),
            Step::Goto(ChainName::Rejected),
        ]),
        rule([Step::Jump(ChainName::Firewall)]),
        // What comes from the proxy isn't sent back to it.
        rule([not_in_set(&[Load::SourceAddress], SetName::L7Own), Step::Jump(ChainName::ToL7)]),
        rule([Step::Jump(ChainName::Services)]),
    ];
    carried.chain(others).collect()
}

/// What is for this node itself: a Gateway's proxy only if it was asked at the Gateway's address.
fn input() -> Vec<Rule> {
    vec![
        rule([Step::Translated, Step::Jump(ChainName::Remember)]),
        rule([Step::Translated, Step::Return]),
        rule([in_set(&NODE_PORT, SetName::GatewayPorts), Step::Goto(ChainName::Rejected)]),
    ]
}

/// The dead-man's switch: nobody has to close it.
fn to_l7() -> Vec<Rule> {
    let alive = || in_set(&[Load::Protocol], SetName::L7Alive);
    let node = || in_set(&[Load::DestinationAddress], SetName::NodeAddresses);
    let refused = Step::Goto(ChainName::Rejected);
    vec![
        rule([alive(), Step::Dnat { key: FRONTEND.to_vec(), map: SetName::L7Services }]),
        rule([alive(), node(), Step::Dnat { key: NODE_PORT.to_vec(), map: SetName::L7NodePorts }]),
        rule([in_set(&FRONTEND, SetName::L7Only), refused.clone()]),
        rule([node(), in_set(&NODE_PORT, SetName::L7OnlyNodePorts), refused]),
    ]
}

/// The client's address where the proxy asks for it by the source that it takes, else the node's.
fn l7_source() -> Vec<Rule> {
    let node = Step::Masquerade { fully_random: true, ports: None };
    vec![rule([Step::SnatRange { map: SetName::L7Sources }]), rule([node])]
}

fn frontends(services: SetName, node_ports: SetName) -> Vec<Rule> {
    vec![
        rule([Step::Vmap { key: FRONTEND.to_vec(), map: services }]),
        rule([
            in_set(&[Load::DestinationAddress], SetName::NodeAddresses),
            Step::Vmap { key: NODE_PORT.to_vec(), map: node_ports },
        ]),
    ]
}

fn services() -> Vec<Rule> {
    let mut rules = frontends(SetName::Services, SetName::NodePorts);
    rules.push(rule([in_set(&[Load::DestinationAddress], SetName::ClusterIps), Step::Goto(ChainName::Rejected)]));
    rules.push(rule([in_set(&[Load::DestinationAddress], SetName::ServiceCidrs), Step::Drop]));
    rules
}

/// Which endpoint was chosen is seen after DNAT, in the packet's destination: nft's language can't put the result of a map
/// into another.
fn remember() -> Vec<Rule> {
    let by_address = Step::Vmap { key: ORIGINAL_FRONTEND.to_vec(), map: SetName::Sticky };
    let by_port = Step::Vmap { key: ORIGINAL_NODE_PORT.to_vec(), map: SetName::StickyNodePorts };
    [for_protocols(&[by_address]), for_protocols(&[in_set(&[Load::OriginalAddress], SetName::NodeAddresses), by_port])].concat()
}

/// The rule for each protocol: nft's language knows `ct original proto-dst` only where it knows the protocol.
fn for_protocols(steps: &[Step]) -> Vec<Rule> {
    let protocols = [Transport::Tcp, Transport::Udp, Transport::Sctp];
    protocols.map(|transport| Rule([&[Step::Protocol(transport)], steps].concat())).into()
}

/// Connections to Services: the node's address where replies wouldn't come back otherwise.
fn service_source(settings: &L4Settings) -> Vec<Rule> {
    let masquerade = || Step::Masquerade { fully_random: true, ports: None };
    let node = || in_set(&[Load::OriginalAddress], SetName::NodeAddresses);
    let hairpin = rule([in_set(&[Load::SourceAddress, Load::DestinationAddress], SetName::Hairpin), masquerade()]);
    // A Pod asks its own node, and gets its answers through it, wherever it asks but at another node's NodePort. Sources of the
    // whole cluster's range don't tell a Pod of this node from one of another.
    let in_range = matches!(settings.local_pods, LocalPods::Cidrs(_));
    let own_way = in_range.then(|| not_in_set(&[Load::OriginalAddress], SetName::NodeAddresses));
    let keep =
        from_local_pods(settings).map(|from| Rule([from].into_iter().chain(own_way.clone()).chain([Step::Return]).collect()));
    let mut rules = vec![rule([Step::Jump(ChainName::Remember)]), hairpin];
    rules.extend(keep.filter(|_| !settings.masquerade_all));
    rules.extend(for_protocols(&[in_set(&ORIGINAL_FRONTEND, SetName::Masqueraded), masquerade()]));
    rules.extend(for_protocols(&[node(), in_set(&ORIGINAL_NODE_PORT, SetName::MasqueradedNodePorts), masquerade()]));
    // Who isn't of this node keeps its source; in the range of the whole cluster that can't be told of a Pod.
    let foreign = in_range.then(|| Step::InSet { key: vec![Load::SourceAddress], set: SetName::LocalPods, negated: true });
    rules.push(Rule([Step::SourceIsLocal { negated: true }].into_iter().chain(foreign).chain([Step::Return]).collect()));
    rules.extend(for_protocols(&[in_set(&ORIGINAL_FRONTEND, SetName::SourceKept), masquerade()]));
    rules.extend(for_protocols(&[node(), in_set(&ORIGINAL_NODE_PORT, SetName::SourceKeptNodePorts), masquerade()]));
    rules
}

fn postrouting(settings: &L4Settings) -> Vec<Rule> {
    let l7 = rule([in_set(&[Load::SourceAddress], SetName::L7Own), Step::Goto(ChainName::L7Source)]);
    let services = rule([Step::Translated, Step::Jump(ChainName::ServiceSource)]);
    let egress = settings.egress.iter().flat_map(|egress| from_local_pods(settings).flat_map(|from| egress_rules(&from, egress)));
    [l7, services].into_iter().chain(egress).collect()
}

/// Pod to outside. Ports can only be given for protocols that have some.
fn egress_rules(from: &Step, egress: &EgressSnat) -> Vec<Rule> {
    let outside = Step::InSet { key: vec![Load::DestinationAddress], set: SetName::NonMasquerade, negated: true };
    let masquerade = |ports| Step::Masquerade { fully_random: egress.random_fully, ports };
    let with_ports = egress.to_ports.into_iter().flat_map(|ports| {
        [Transport::Tcp, Transport::Udp]
            .map(|transport| rule([from.clone(), Step::Protocol(transport), outside.clone(), masquerade(Some(ports))]))
    });
    with_ports.chain([rule([from.clone(), outside.clone(), masquerade(None)])]).collect()
}

/// One step for each way in which a packet may come from a Pod of this node.
fn from_local_pods(settings: &L4Settings) -> impl Iterator<Item = Step> {
    let (source, prefixes) = match &settings.local_pods {
        LocalPods::Interfaces(prefixes) => (None, prefixes.as_slice()),
        LocalPods::NodeCidrs | LocalPods::Cidrs(_) => (Some(in_set(&[Load::SourceAddress], SetName::LocalPods)), &[][..]),
    };
    let interfaces = prefixes.iter().map(|prefix| Step::FromInterface { prefix: prefix.clone(), negated: false });
    source.into_iter().chain(interfaces)
}

fn rule<const N: usize>(steps: [Step; N]) -> Rule {
    Rule(steps.into())
}

fn in_set(key: &[Load], set: SetName) -> Step {
    Step::InSet { key: key.to_vec(), set, negated: false }
}

fn not_in_set(key: &[Load], set: SetName) -> Step {
    Step::InSet { key: key.to_vec(), set, negated: true }
}

fn concat(one: &[Load], other: &[Load]) -> Vec<Load> {
    [one, other].concat()
}
