//! Services whose traffic goes through the L7 proxy of the node: where it is sent, and how the proxy keeps clients' addresses.
//!
//! The proxy reaches endpoints from addresses of [`own`], which stand on no interface and leave no node: a route makes them
//! the node's, and SNAT puts the client's address in their place, the one at the same place of the range (or the node's own).
//! Replies come back by conntrack, as those of every Service do, over a bridge too, where replies to a transparent socket would
//! go past the host. No socket needs a capability for it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::element::{Data, Element, Key};
use super::node::{L4Settings, LocalPods, NodeFacts};
use super::service::{L4Port, L4Service, L7, TrafficPolicy, Transport};
use super::set::{Family, SetName};
use super::vet::unfit;
use crate::fault::{Fault, Reason, Severity};
use crate::names::ObjectRef;

/// Addresses of the proxy's connections to endpoints of a family: the lower half stands for clients, the rest for the node.
///
/// Of IPv4 they are in what RFC 1112 reserves (240.0.0.0/4); of IPv6 they are unique local ones, drawn once.
pub fn own(family: Family) -> IpNet {
    match family {
        Family::Ipv4 => IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(247, 0, 0, 0), 8)),
        Family::Ipv6 => IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd52, 0x7553, 0x7448, 0, 0, 0, 0, 0), 47)),
    }
}

/// The source that stands for the node.
pub fn own_node(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(247, 128, 0, 1)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0xfd52, 0x7553, 0x7449, 0, 0, 0, 0, 1)),
    }
}

/// Clients whose address endpoints see, and the range of our own that stands for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stand {
    /// The clients.
    pub clients: IpNet,
    /// The same addresses, as the proxy takes them.
    pub own: IpNet,
}

impl Stand {
    /// The source that stands for a client.
    pub fn source(&self, client: IpAddr) -> Option<IpAddr> {
        if !self.clients.contains(&client) {
            return None;
        }
        match (self.own.network(), client, self.clients.hostmask()) {
            (IpAddr::V4(own), IpAddr::V4(client), IpAddr::V4(mask)) => {
                Some(IpAddr::V4(Ipv4Addr::from_bits(own.to_bits() | (client.to_bits() & mask.to_bits()))))
            }
            (IpAddr::V6(own), IpAddr::V6(client), IpAddr::V6(mask)) => {
                Some(IpAddr::V6(Ipv6Addr::from_bits(own.to_bits() | (client.to_bits() & mask.to_bits()))))
            }
            _ => None,
        }
    }
}

/// Whose addresses are kept in a family: those of the node's Pods, as without the proxy. `None`: nobody's.
///
/// # Errors
/// They can't be, and why.
pub fn stand(node: &NodeFacts, settings: &L4Settings, family: Family) -> Result<Option<Stand>, &'static str> {
    if settings.masquerade_all {
        return Ok(None);
    }
    if matches!(settings.local_pods, LocalPods::Interfaces(_)) {
        return Err("the node's Pods are told by their interfaces, which the proxy doesn't see");
    }
    let of_family = |range: &&IpNet| Family::of(range.addr()) == family;
    let wide: Vec<&IpNet> = settings.pods_of(node).iter().filter(of_family).collect();
    // Of the range of the whole cluster, what is this node's: others ask their own node.
    let within = |own: &&IpNet| wide.iter().any(|range| range.contains(*own));
    let narrow: Vec<&IpNet> = node.pod_cidrs.iter().filter(of_family).filter(within).collect();
    let mut ranges = if narrow.is_empty() { wide } else { narrow }.into_iter();
    let Some(clients) = ranges.next().map(IpNet::trunc) else { return Ok(None) };
    if ranges.next().is_some() {
        return Err("the node's Pods have more than one range of a family");
    }
    let own =
        IpNet::new(own(family).addr(), clients.prefix_len()).ok().filter(|half| half.prefix_len() > own(family).prefix_len());
    own.map(|own| Some(Stand { clients, own })).ok_or("the range of the node's Pods is too wide")
}

/// Why nothing of any Service goes through the proxy of this node; and what to do.
fn hindrance(node: &NodeFacts, settings: &L4Settings) -> Option<(&'static str, &'static str)> {
    if settings.l7_port.is_none() {
        return Some(("no L7 proxy runs beside the agent of this node", "run it without --l4-only"));
    }
    let stands = Family::BOTH.into_iter().find_map(|family| stand(node, settings, family).err());
    stands.map(|why| (why, "name the node's Pods by one range of at most /9 or /48: --local-pods"))
}

/// Where the proxy of this node takes a port's traffic of a family; `None`: it doesn't.
pub fn proxy(service: &L4Service, port: &L4Port, node: &NodeFacts, settings: &L4Settings, family: Family) -> Option<SocketAddr> {
    if service.l7.is_off() || port.transport != Transport::Tcp || service.affinity_s.is_some() {
        return None;
    }
    if hindrance(node, settings).is_some() {
        return None;
    }
    let mut addresses = node.addresses.iter().copied().filter(|address| Family::of(*address) == family);
    let address = addresses.find(|address| unfit(*address).is_none())?;
    Some(SocketAddr::new(address, settings.l7_port?))
}

/// What is said of a Service that doesn't go through the proxy as it asks, on any node.
pub fn service_faults(object: &ObjectRef, service: &L4Service) -> Vec<Fault> {
    let Some(without) = without(service.l7) else { return Vec::new() };
    let fault = |message: String, advice: &str| fault(object, service.l7, message, advice);
    if service.affinity_s.is_some() {
        let message = format!("the proxy doesn't keep session affinity: {without}");
        return vec![fault(message, "take sessionAffinity out, or the annotation")];
    }
    let mut faults = Vec::new();
    let outside = service.ports.iter().any(|port| port.node_port.is_some())
        || !service.external_ips.is_empty()
        || !service.load_balancer_ips.is_empty();
    if service.external == TrafficPolicy::Local && outside {
        let message = format!("with externalTrafficPolicy Local only its ClusterIPs go through the proxy; elsewhere {without}");
        faults.push(fault(message, "take externalTrafficPolicy Cluster, or take this as it is"));
    }
    if service.ports.iter().all(|port| port.transport != Transport::Tcp) {
        faults.push(fault("it has no TCP port: the kernel carries it".into(), "take the annotation out"));
    }
    faults
}

/// What is said of it on this node alone.
pub fn node_faults(object: &ObjectRef, service: &L4Service, node: &NodeFacts, settings: &L4Settings) -> Vec<Fault> {
    let said = without(service.l7).zip(hindrance(node, settings));
    said.map(|(without, (why, advice))| fault(object, service.l7, format!("{why}: {without}"), advice)).into_iter().collect()
}

fn without(l7: L7) -> Option<&'static str> {
    match l7 {
        L7::Off => None,
        L7::Enabled => Some("its traffic goes straight to the endpoints"),
        L7::Required => Some("its traffic is refused"),
    }
}

fn fault(object: &ObjectRef, l7: L7, message: String, advice: &str) -> Fault {
    Fault {
        object: object.clone(),
        field: r#"metadata.annotations["rust-ingress.dev/l7"]"#.to_owned(),
        severity: if l7 == L7::Required { Severity::Error } else { Severity::Warning },
        reason: Reason::UnsupportedService,
        message,
        advice: advice.to_owned(),
    }
}

/// Elements that the node has wherever a proxy runs on it.
pub(super) fn node_elements<'a>(node: &'a NodeFacts, settings: &'a L4Settings) -> impl Iterator<Item = Element> + 'a {
    let families = Family::BOTH.into_iter().filter(|_| settings.l7_port.is_some());
    families.flat_map(|family| {
        let own = Element { family, set: SetName::L7Own, key: Key::Network(own(family)), data: Data::None };
        let stand = stand(node, settings, family).ok().flatten();
        let sources = stand.map(|Stand { clients, own }| Element {
            family,
            set: SetName::L7Sources,
            key: Key::Network(own),
            data: Data::Network(clients),
        });
        [Some(own), sources].into_iter().flatten()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_client_s_source_is_at_the_same_place_of_its_range() {
        let node = NodeFacts {
            pod_cidrs: vec!["10.244.3.0/24".parse().unwrap(), "fd00:244:3::/64".parse().unwrap()],
            ..NodeFacts::default()
        };
        let source = |client: &str, family| {
            let stand = stand(&node, &L4Settings::default(), family).unwrap().unwrap();
            stand.source(client.parse().unwrap()).map(|source| source.to_string())
        };
        assert_eq!(source("10.244.3.17", Family::Ipv4).as_deref(), Some("247.0.0.17"));
        assert_eq!(source("10.244.4.17", Family::Ipv4), None);
        assert_eq!(source("fd00:244:3::a:17", Family::Ipv6).as_deref(), Some("fd52:7553:7448::a:17"));
        assert_eq!(source("fd00:244:3::17", Family::Ipv4), None);
    }

    #[test]
    fn our_own_ranges_hold_what_stands_for_the_node_and_nothing_of_the_clients_half() {
        for (family, widest) in [(Family::Ipv4, "10.0.0.0/9"), (Family::Ipv6, "fd00::/48")] {
            let node = NodeFacts { pod_cidrs: vec![widest.parse().unwrap()], ..NodeFacts::default() };
            let stand = stand(&node, &L4Settings::default(), family).unwrap().unwrap();
            assert!(own(family).contains(&stand.own), "{family:?}");
            assert!(own(family).contains(&own_node(family)) && !stand.own.contains(&own_node(family)), "{family:?}");
        }
        let node = NodeFacts { pod_cidrs: vec!["10.0.0.0/8".parse().unwrap()], ..NodeFacts::default() };
        assert!(stand(&node, &L4Settings::default(), Family::Ipv4).is_err(), "wider than half of ours");
    }

    #[test]
    fn of_the_cluster_s_range_this_node_s_part_stands_for_itself() {
        let node = NodeFacts { pod_cidrs: vec!["fd00:244:3::/64".parse().unwrap()], ..NodeFacts::default() };
        let cluster = vec!["fd00:244::/32".parse().unwrap()];
        let settings = L4Settings { local_pods: LocalPods::Cidrs(cluster), ..L4Settings::default() };
        let stand = stand(&node, &settings, Family::Ipv6).unwrap().unwrap();
        assert_eq!(stand.clients, node.pod_cidrs[0]);
        assert_eq!(super::stand(&node, &settings, Family::Ipv4), Ok(None), "of a family without any");
    }
}
