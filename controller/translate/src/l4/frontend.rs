//! Frontends: where a Service is reached, and whose it is when several claim the same one.
//!
//! Two Services on one address and port, or on one NodePort, can't both be served. The API server hands out ClusterIPs and
//! NodePorts once, but not external and load balancer addresses: a tenant could otherwise take another's ClusterIP.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Bound;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use rust_ingress_model::Name;
use rust_ingress_model::l4::Transport;

use crate::ingress::validate;
use crate::world::Key;

/// The label by which Gateway API finds what was made for a Gateway.
pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether a Service was made for a Gateway.
pub(crate) fn is_of_gateway(service: &Service) -> bool {
    service.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(GATEWAY_NAME))
}

/// Where a Service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Frontend {
    /// A ClusterIP, external or load balancer address, with a port.
    Address(IpAddr, Transport, u16),
    /// A port on the nodes.
    NodePort(Transport, u16),
}

/// Which Services claim which frontends. A pair for each: most frontends have one claim, and 20,000 Services 60,000 of them.
#[derive(Default)]
pub(crate) struct Claims(BTreeSet<(Frontend, Key)>);

impl Claims {
    /// Takes in another state of a Service; gives the others that have a claim in common with either.
    pub(super) fn set(&mut self, key: &Key, old: &BTreeSet<Frontend>, new: &BTreeSet<Frontend>) -> Vec<Key> {
        for gone in old.difference(new) {
            self.0.remove(&(*gone, key.clone()));
        }
        for come in new.difference(old) {
            self.0.insert((*come, key.clone()));
        }
        let others: BTreeSet<&Key> =
            old.union(new).flat_map(|frontend| self.of(*frontend)).filter(|other| *other != key).collect();
        others.into_iter().cloned().collect()
    }

    /// Who claims a frontend.
    pub(super) fn of(&self, frontend: Frontend) -> impl Iterator<Item = &Key> {
        let first = (frontend, (Name::default(), Name::default()));
        let all = self.0.range((Bound::Included(first), Bound::Unbounded));
        all.take_while(move |(other, _)| *other == frontend).map(|(_, key)| key)
    }
}

/// A Service's rank among those that claim a frontend; the lowest has it. Who got the address from the API server comes
/// first, then the oldest.
pub(super) fn rank<'a>(service: &'a Service, key: &'a Key, frontend: Frontend) -> (bool, bool, Option<&'a Time>, &'a Key) {
    let allocated = match frontend {
        Frontend::Address(ip, ..) => cluster_ips(service).any(|own| own == ip),
        Frontend::NodePort(..) => true,
    };
    let created = service.metadata.creation_timestamp.as_ref();
    (!allocated, created.is_none(), created, key)
}

/// All frontends of a Service, with these load balancer addresses.
pub(super) fn frontends(service: &Service, balancer: &[IpAddr]) -> BTreeSet<Frontend> {
    let balancer = balancer.iter().copied();
    let addresses: Vec<IpAddr> = cluster_ips(service).chain(external_ips(service)).chain(balancer).collect();
    let mut found = BTreeSet::new();
    for (_, port) in ports(service) {
        let Some(transport) = transport(port) else { continue };
        if let Some(number) = validate::port_number(port.port) {
            found.extend(addresses.iter().map(|ip| Frontend::Address(*ip, transport, number)));
        }
        found.extend(node_port(service, port).map(|number| Frontend::NodePort(transport, number)));
    }
    found
}

/// The ports of a Service, with their places.
pub(crate) fn ports(service: &Service) -> impl Iterator<Item = (usize, &ServicePort)> {
    spec(service).flat_map(|spec| spec.ports.iter().flatten()).enumerate()
}

/// The protocol of a port.
pub(crate) fn transport(port: &ServicePort) -> Option<Transport> {
    transport_named(port.protocol.as_deref())
}

/// The protocol of this name; none is TCP.
pub(super) fn transport_named(name: Option<&str>) -> Option<Transport> {
    match name {
        None | Some("" | "TCP") => Some(Transport::Tcp),
        Some("UDP") => Some(Transport::Udp),
        Some("SCTP") => Some(Transport::Sctp),
        Some(_) => None,
    }
}

/// The NodePort of a port, where the Service's type has such.
pub(super) fn node_port(service: &Service, port: &ServicePort) -> Option<u16> {
    let typed = spec(service).any(|spec| matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer")));
    port.node_port.filter(|_| typed).and_then(validate::port_number)
}

/// ClusterIPs, both families.
pub(crate) fn cluster_ips(service: &Service) -> impl Iterator<Item = IpAddr> {
    let texts = |spec: &ServiceSpec| match spec.cluster_ips.as_deref().unwrap_or_default() {
        [] => spec.cluster_ip.iter().cloned().collect(),
        all => all.to_vec(),
    };
    spec(service).flat_map(texts).filter_map(|text| text.parse().ok())
}

/// `externalIPs`.
pub(super) fn external_ips(service: &Service) -> impl Iterator<Item = IpAddr> {
    spec(service).flat_map(|spec| spec.external_ips.iter().flatten()).filter_map(|text| text.parse().ok())
}

/// Load balancer addresses of a Service's status that nodes take traffic for themselves: `ipMode: Proxy` is left to the load balancer (KEP-1860).
pub(super) fn load_balancer_ips(service: &Service) -> impl Iterator<Item = IpAddr> {
    let balanced = spec(service).any(|spec| spec.type_.as_deref() == Some("LoadBalancer"));
    let status = service.status.iter().filter(move |_| balanced).filter_map(|status| status.load_balancer.as_ref());
    let addresses = status.flat_map(|balancer| balancer.ingress.iter().flatten());
    addresses
        .filter(|address| address.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|address| address.ip.as_deref()?.parse().ok())
}

fn spec(service: &Service) -> impl Iterator<Item = &ServiceSpec> {
    service.spec.iter()
}
