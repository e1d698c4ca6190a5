//! Which UDP flows are stale after a change of plan: pure, from the Services before and after.
//!
//! An endpoint that terminates but still serves keeps its flows, as kube-proxy has it; one that is gone, or no longer serves, does
//! not. Nor does a frontend that is new, or had nobody before: what was sent there went unrewritten.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use rust_ingress_model::l4::plan::Plan;
use rust_ingress_model::l4::{L4Port, L4Service, NodeFacts, Transport};

use super::conntrack::{Stale, Via};

/// Who serves what: UDP frontends, each with its endpoints.
type Serving = BTreeMap<SocketAddr, BTreeSet<SocketAddr>>;

/// What may be stale when nothing is known of before: every flow of a frontend that isn't to one of its endpoints.
pub(super) fn all(plan: &Plan) -> Vec<Stale> {
    let mut serving = Serving::new();
    plan.services().values().for_each(|service| add(&mut serving, service, plan.node()));
    stale(&Serving::new(), &serving)
}

/// What is stale after a change.
pub(super) fn between(old: &Plan, new: &Plan) -> Vec<Stale> {
    let (mut before, mut after) = (Serving::new(), Serving::new());
    let addresses = |plan: &Plan| (plan.node().addresses.clone(), plan.node().interface_addresses.clone());
    if addresses(old) == addresses(new) {
        for (_, service) in old.services().near_changes(new.services()) {
            add(&mut before, service, old.node());
        }
        for (_, service) in new.services().near_changes(old.services()) {
            add(&mut after, service, new.node());
        }
    } else {
        old.services().values().for_each(|service| add(&mut before, service, old.node()));
        new.services().values().for_each(|service| add(&mut after, service, new.node()));
    }
    stale(&before, &after)
}

fn stale(before: &Serving, after: &Serving) -> Vec<Stale> {
    let mut stale = Vec::new();
    for (to, now) in after {
        match before.get(to).filter(|then| !then.is_empty()) {
            Some(then) => stale.extend(then.difference(now).map(|gone| Stale { to: *to, via: Via::Endpoint(*gone) })),
            None => stale.push(Stale { to: *to, via: Via::AnyBut(now.iter().copied().collect()) }),
        }
    }
    let gone = before.keys().filter(|to| !after.contains_key(to));
    stale.extend(gone.map(|to| Stale { to: *to, via: Via::AnyBut(Vec::new()) }));
    stale
}

fn add(serving: &mut Serving, service: &L4Service, node: &NodeFacts) {
    for port in service.ports.iter().filter(|port| port.transport == Transport::Udp) {
        let addresses = [&service.cluster_ips, &service.external_ips, &service.load_balancer_ips].into_iter().flatten();
        for address in addresses {
            add_frontend(serving, SocketAddr::new(*address, port.port), port);
        }
        for address in node.addresses.iter().chain(&node.interface_addresses) {
            if let Some(node_port) = port.node_port {
                add_frontend(serving, SocketAddr::new(*address, node_port), port);
            }
        }
    }
}

fn add_frontend(serving: &mut Serving, to: SocketAddr, port: &L4Port) {
    let same_family = |address: IpAddr| address.is_ipv4() == to.is_ipv4();
    let endpoints = port.endpoints.iter().filter(|endpoint| endpoint.ready || endpoint.serving);
    serving.entry(to).or_default().extend(endpoints.map(|endpoint| endpoint.address).filter(|address| same_family(address.ip())));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use super::*;

    fn serving(to: &str, endpoints: &[&str]) -> Serving {
        let address = |text: &&str| text.parse().expect("an address");
        Serving::from([(address(&to), endpoints.iter().map(address).collect())])
    }

    fn via(before: &Serving, after: &Serving) -> Vec<Via> {
        stale(before, after).into_iter().map(|stale| stale.via).collect()
    }

    #[test]
    fn only_flows_to_endpoints_that_are_gone_are_stale() {
        let before = serving("10.96.0.10:53", &["10.244.1.1:53", "10.244.1.2:53"]);
        let after = serving("10.96.0.10:53", &["10.244.1.2:53", "10.244.1.3:53"]);
        assert_eq!(via(&before, &after), [Via::Endpoint("10.244.1.1:53".parse().expect("an address"))]);
        assert_eq!(via(&after, &after), []);
    }

    #[test]
    fn when_the_last_endpoint_goes_its_flows_are_stale_too() {
        let before = serving("10.96.0.10:53", &["10.244.1.1:53"]);
        let nobody = serving("10.96.0.10:53", &[]);
        assert_eq!(via(&before, &nobody), [Via::Endpoint("10.244.1.1:53".parse().expect("an address"))]);
        assert_eq!(via(&before, &Serving::new()), [Via::AnyBut(Vec::new())]);
    }

    #[test]
    fn a_frontend_that_had_nobody_keeps_only_flows_to_its_endpoints() {
        let endpoint = vec!["10.244.1.1:53".parse().expect("an address")];
        let after = serving("10.96.0.10:53", &["10.244.1.1:53"]);
        assert_eq!(via(&serving("10.96.0.10:53", &[]), &after), [Via::AnyBut(endpoint.clone())]);
        assert_eq!(via(&Serving::new(), &after), [Via::AnyBut(endpoint)]);
    }
}
