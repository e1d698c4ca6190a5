//! Addresses to publish: where clients reach us, as it stands in the status of what we serve.
//!
//! Pure: the rules for a Service, for the nodes that our Pods run on, and what to show while they change. `publish` watches
//! and calls these; `desk` compares with what an object has.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::networking::v1::IngressLoadBalancerIngress;
use serde_json::{Value, json};

/// How long an address must be away before it is taken from status. A Pod that restarts would otherwise cost two writes
/// on every Ingress, and DNS records made from status would come and go.
pub const REMOVAL_DELAY: Duration = Duration::from_secs(10);

/// One address. In order: IPv4, IPv6, host names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name, as cloud load balancers have them.
    Host(String),
}

/// A text that is neither an IP address nor a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a DNS name in lower case")]
pub struct BadAddress(String);

impl FromStr for Address {
    type Err = BadAddress;
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        // A last label of digits alone is an IPv4 address gone wrong.
        let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
        let good = text.len() <= 253 && text.split('.').all(is_label) && !text.rsplit('.').next().is_some_and(numeric);
        if good { Ok(Self::Host(text.into())) } else { Err(BadAddress(text.into())) }
    }
}

/// RFC 1123, in lower case, as the API server wants `hostname`.
fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&label.len()) && label.bytes().all(allowed) && !label.starts_with('-') && !label.ends_with('-')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Host(host) => f.write_str(host),
        }
    }
}

impl Address {
    /// As an entry of `status.loadBalancer.ingress`.
    pub fn entry(&self) -> Value {
        match self {
            Self::Ip(ip) => json!({"ip": ip.to_string()}),
            Self::Host(host) => json!({"hostname": host}),
        }
    }
}

/// Whether an Ingress has exactly these addresses, in whatever order. Ports of entries are left out: nobody reads them.
pub fn same(current: &[IngressLoadBalancerIngress], wanted: &[Address]) -> bool {
    let mut rest: BTreeSet<String> = wanted.iter().map(Address::to_string).collect();
    current.len() == rest.len()
        && current.iter().all(|entry| {
            let text = entry.ip.as_deref().filter(|ip| !ip.is_empty()).or(entry.hostname.as_deref());
            text.is_some_and(|text| rest.remove(text))
        })
}

/// A Service's addresses, by its type, as ingress-nginx's `publish-service` takes them; of both families where it has both.
pub fn of_service(service: &Service) -> BTreeSet<Address> {
    let Some(spec) = &service.spec else { return BTreeSet::new() };
    let external = spec.external_ips.iter().flatten();
    let cluster = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip).filter(|ip| *ip != "None");
    let texts: Vec<&String> = match spec.type_.as_deref() {
        Some("LoadBalancer") => {
            let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
            let entries = status.and_then(|status| status.ingress.as_ref()).into_iter().flatten();
            entries.flat_map(|entry| entry.ip.iter().chain(&entry.hostname)).chain(external).collect()
        }
        Some("ExternalName") => spec.external_name.iter().collect(),
        Some("NodePort") if spec.external_ips.as_ref().is_some_and(|list| !list.is_empty()) => external.collect(),
        _ => cluster.collect(),
    };
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// A node's addresses: its external ones, else its internal ones.
pub fn of_node(node: &Node) -> BTreeSet<Address> {
    let list = node.status.as_ref().and_then(|status| status.addresses.as_deref()).unwrap_or_default();
    let of = |kind: &str| -> BTreeSet<Address> {
        list.iter().filter(|address| address.type_ == kind).filter_map(|address| address.address.parse().ok()).collect()
    };
    let external = of("ExternalIP");
    if external.is_empty() { of("InternalIP") } else { external }
}

/// What is shown while addresses come and go: what comes, at once; what goes, after [`REMOVAL_DELAY`].
#[derive(Default)]
pub struct Steady {
    /// By address, since when it is away.
    shown: BTreeMap<Address, Option<Instant>>,
}

impl Steady {
    /// Takes what there is now. Gives what to show and when to ask again, if something is on its way out.
    pub fn show(&mut self, there: &BTreeSet<Address>, now: Instant) -> (Vec<Address>, Option<Instant>) {
        self.shown.retain(|address, away| {
            *away = if there.contains(address) { None } else { Some(away.unwrap_or(now)) };
            away.is_none_or(|since| now < since + REMOVAL_DELAY)
        });
        for address in there {
            self.shown.entry(address.clone()).or_default();
        }
        let next = self.shown.values().flatten().min().map(|since| *since + REMOVAL_DELAY);
        (self.shown.keys().cloned().collect(), next)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn addresses(list: &[&str]) -> BTreeSet<Address> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn service(spec: &Value, status: &Value) -> BTreeSet<Address> {
        of_service(&serde_json::from_value(json!({"spec": spec, "status": status})).unwrap())
    }

    #[test]
    fn addresses_are_ips_or_dns_names() {
        for good in ["192.0.2.1", "2001:db8::1", "lb.example.com", "localhost"] {
            assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
        }
        for bad in ["", "192.0.2.256", "LB.example.com", "a_b", "-a", "a..b", "1.2.3", &"a".repeat(64)] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_service_gives_addresses_by_its_type() {
        let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "lb.example.com"}]}});
        let balanced = json!({"type": "LoadBalancer", "clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.7"]});
        assert_eq!(service(&balanced, &status), addresses(&["192.0.2.9", "lb.example.com", "192.0.2.7"]));
        assert_eq!(service(&balanced, &json!({})), addresses(&["192.0.2.7"]), "not yet given one");
        let cluster = json!({"type": "ClusterIP", "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1", "fd00:96::1"]});
        assert_eq!(service(&cluster, &status), addresses(&["10.96.0.1", "fd00:96::1"]));
        assert_eq!(service(&json!({"clusterIP": "None", "clusterIPs": ["None"]}), &json!({})), addresses(&[]));
        let node_port = json!({"type": "NodePort", "clusterIP": "10.96.0.1", "externalIPs": ["192.0.2.7"]});
        assert_eq!(service(&node_port, &json!({})), addresses(&["192.0.2.7"]));
        assert_eq!(
            service(&json!({"type": "ExternalName", "externalName": "a.example.com"}), &json!({})),
            addresses(&["a.example.com"])
        );
    }

    #[test]
    fn a_node_gives_its_external_addresses_else_its_internal_ones() {
        let node = |list: &Value| of_node(&serde_json::from_value(json!({"status": {"addresses": list}})).unwrap());
        let internal = json!({"type": "InternalIP", "address": "10.0.0.1"});
        let internal6 = json!({"type": "InternalIP", "address": "fd00::1"});
        let external = json!({"type": "ExternalIP", "address": "192.0.2.1"});
        let name = json!({"type": "Hostname", "address": "node1"});
        assert_eq!(node(&json!([internal, internal6, external, name])), addresses(&["192.0.2.1"]));
        assert_eq!(node(&json!([internal, internal6, name])), addresses(&["10.0.0.1", "fd00::1"]));
    }

    #[test]
    fn what_an_ingress_has_is_compared_without_order_and_ports() {
        let current: Vec<IngressLoadBalancerIngress> = serde_json::from_value(
            json!([{"hostname": "lb.example.com"}, {"ip": "192.0.2.1", "ports": [{"port": 80, "protocol": "TCP"}]}]),
        )
        .unwrap();
        let wanted: Vec<Address> = addresses(&["192.0.2.1", "lb.example.com"]).into_iter().collect();
        assert!(same(&current, &wanted));
        assert!(!same(&current[..1], &wanted));
        assert!(!same(&current, &wanted[..1]));
        assert!(same(&[], &[]));
    }

    #[test]
    fn an_address_comes_at_once_and_goes_after_a_while() {
        let (mut steady, start) = (Steady::default(), Instant::now());
        let shown = |list: Vec<Address>| list.iter().map(Address::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown(steady.show(&addresses(&["192.0.2.1"]), start).0), "192.0.2.1");
        let (list, next) = steady.show(&addresses(&["192.0.2.2"]), start);
        assert_eq!((shown(list).as_str(), next), ("192.0.2.1 192.0.2.2", Some(start + REMOVAL_DELAY)));
        // Back in time: as if nothing had been.
        let later = start + REMOVAL_DELAY / 2;
        assert_eq!(steady.show(&addresses(&["192.0.2.1", "192.0.2.2"]), later).1, None);
        steady.show(&addresses(&["192.0.2.2"]), later);
        let (list, next) = steady.show(&addresses(&["192.0.2.2"]), later + REMOVAL_DELAY);
        assert_eq!((shown(list).as_str(), next), ("192.0.2.2", None));
    }
}
