//! Elements that are the node's own, whatever Services there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::element::{Data, Element, Key, NodePort};
use super::l7;
use super::node::{EgressSnat, L4Settings, NodeFacts, NodePortAddresses};
use super::service::Transport;
use super::set::{Family, SetName};
use super::vet::unfit;
use crate::listener::{Listener, Parent, Protocol};
use crate::snapshot::Snapshot;

/// All of them, sorted.
pub fn node_elements(node: &NodeFacts, settings: &L4Settings, snapshot: &Snapshot) -> Vec<Element> {
    let service_cidrs = &snapshot.service_cidrs;
    let networks = |set: SetName, networks: &[IpNet]| {
        let element = move |net: IpNet| Element { family: Family::of(net.addr()), set, key: Key::Network(net), data: Data::None };
        // Ranges of a set must not overlap.
        IpNet::aggregate(&networks.to_vec()).into_iter().map(element)
    };
    let node_ports = node_port_addresses(node, settings).into_iter().map(|address| Element {
        family: Family::of(address),
        set: SetName::NodeAddresses,
        key: Key::Address(address),
        data: Data::None,
    });
    let local_pods = settings.pods_of(node);
    let keep = settings.egress.iter().flat_map(|egress| non_masquerade(egress, local_pods, service_cidrs)).collect::<Vec<_>>();
    let mut elements: Vec<Element> = node_ports
        .chain(networks(SetName::Loopback, &loopback(settings)))
        .chain(networks(SetName::LocalPods, local_pods))
        .chain(networks(SetName::ServiceCidrs, service_cidrs))
        .chain(networks(SetName::NonMasquerade, &keep))
        .chain(l7::node_elements(node, settings))
        .chain(gateway_ports(snapshot))
        .collect();
    elements.sort_unstable();
    elements.dedup();
    elements
}

/// Ports of the proxy that stand for those of Gateways at addresses of their own.
fn gateway_ports(snapshot: &Snapshot) -> impl Iterator<Item = Element> + '_ {
    let apart = |listener: &&Listener| listener.public_port.is_some() && matches!(listener.parent, Parent::Gateway { .. });
    let listeners = snapshot.listeners.values().map(|part| &**part).filter(apart);
    listeners.flat_map(|listener| {
        let transport = if listener.protocol == Protocol::Udp { Transport::Udp } else { Transport::Tcp };
        let key = Key::NodePort(NodePort { transport, port: listener.port });
        Family::BOTH.map(|family| Element { family, set: SetName::GatewayPorts, key, data: Data::None })
    })
}

/// Addresses of a host to itself, where NodePorts are taken there (KEP-6032).
fn loopback(settings: &L4Settings) -> Vec<IpNet> {
    let v4 = IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8));
    let v6 = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128));
    let ports = settings.loopback.iter();
    ports.flat_map(|ports| [Some(v4), ports.v6.map(|_| v6)]).flatten().collect()
}

/// Where NodePorts are served in the kernel. Not on loopback: see [`L4Settings::loopback`].
pub fn node_port_addresses(node: &NodeFacts, settings: &L4Settings) -> Vec<IpAddr> {
    let fit = |address: &IpAddr| unfit(*address).is_none();
    match &settings.node_port_addresses {
        NodePortAddresses::Primary => {
            let primary = |family| node.addresses.iter().copied().find(|address| Family::of(*address) == family);
            Family::BOTH.into_iter().filter_map(primary).filter(fit).collect()
        }
        NodePortAddresses::Cidrs(cidrs) => {
            let within = |address: &IpAddr| cidrs.iter().any(|cidr| cidr.contains(address));
            node.addresses.iter().chain(&node.interface_addresses).copied().filter(fit).filter(within).collect()
        }
    }
}

/// Pods among themselves keep their addresses, whatever the list says; and link-local destinations, unless asked.
fn non_masquerade(egress: &EgressSnat, local_pods: &[IpNet], service_cidrs: &[IpNet]) -> Vec<IpNet> {
    let v4 = Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16);
    let v6 = Ipv6Net::new_assert(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10);
    let link_local = [(!egress.link_local).then_some(IpNet::V4(v4)), (!egress.link_local_ipv6).then_some(IpNet::V6(v6))];
    [&egress.non_masquerade, local_pods, service_cidrs].concat().into_iter().chain(link_local.into_iter().flatten()).collect()
}
