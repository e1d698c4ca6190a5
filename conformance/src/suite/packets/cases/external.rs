//! Addresses of load balancers and externalIPs; who may use them.

use std::net::IpAddr;

use anyhow::Result;
use rust_ingress_model::l4::{L4Service, L4Settings, LocalPods, TrafficPolicy};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, PORT, becomes, each, reached, seen, service};
use crate::suite::packets::rig::{Family, Rig, at};
use crate::suite::packets::talk::Answer;

const GROUP: &str = "external addresses";

fn with_addresses(pods: &[&str]) -> L4Service {
    L4Service {
        load_balancer_ips: Family::BOTH.map(at::load_balancer).to_vec(),
        external_ips: Family::BOTH.map(at::external).to_vec(),
        ..service(pods)
    }
}

fn for_sources(sources: &[&str]) -> L4Service {
    let source_ranges = sources.iter().filter_map(|range| range.parse().ok()).collect();
    L4Service { source_ranges, ..with_addresses(&["remote"]) }
}

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    let addresses: [fn(Family) -> IpAddr; 2] = [at::load_balancer, at::external];
    report.case(GROUP, "from outside: the Pod sees the node's address", || {
        bed.publish(&[with_addresses(&["remote"])])?;
        each(|family, transport| {
            addresses.iter().try_for_each(|to| seen(&rig.client, transport, (to(family), PORT), "remote", at::node_inner(family)))
        })
    });
    report.case(GROUP, "from Pods and the node: straight to a Pod", || {
        bed.publish(&[with_addresses(&["pod2"])])?;
        each(|family, transport| {
            addresses.iter().try_for_each(|to| {
                seen(&rig.pod1, transport, (to(family), PORT), "pod2", at::pod1(family))?;
                reached(&rig.node, transport, to(family), PORT, &["pod2"]).map(drop)
            })
        })
    });
    report.case(GROUP, "loadBalancerSourceRanges: who is in them is served", || {
        bed.publish(&[for_sources(&["192.0.2.0/24", "2001:db8::/64"])])?;
        each(|family, transport| reached(&rig.client, transport, at::load_balancer(family), PORT, &["remote"]).map(drop))
    });
    report.case(
        GROUP,
        "loadBalancerSourceRanges: others, Pods too, are dropped; NodePort and externalIP are not subject",
        || {
            bed.publish(&[for_sources(&["192.0.2.99/32", "2001:db8::99/128"])])?;
            each(|family, transport| {
                becomes(&rig.client, transport, at::load_balancer(family), PORT, &Answer::Silence)?;
                becomes(&rig.pod1, transport, at::load_balancer(family), PORT, &Answer::Silence)?;
                reached(&rig.client, transport, at::external(family), PORT, &["remote"])?;
                reached(&rig.client, transport, at::node(family), NODE_PORT, &["remote"]).map(drop)
            })
        },
    );
    bed.publish(&[with_addresses(&["remote"])])?;
    bed.clean()?;
    report.case(GROUP, "where Pods are told by the cluster's range: a Pod keeps its address, whatever the policy", || {
        in_range(rig)
    });
    report.case(GROUP, "control: without our rules nobody answers", || {
        each(|family, transport| becomes(&rig.pod1, transport, at::load_balancer(family), PORT, &Answer::Silence))
    });
    Ok(())
}

fn in_range(rig: &Rig) -> Result<()> {
    let range = ["10.244.0.0/16", "fd00:244::/32"].iter().filter_map(|cidr| cidr.parse().ok()).collect();
    let bed = Bed::start(rig, L4Settings { local_pods: LocalPods::Cidrs(range), ..L4Settings::default() })?;
    for external in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
        bed.publish(&[L4Service { external, ..with_addresses(&["pod2"]) }])?;
        each(|family, transport| {
            seen(&rig.pod1, transport, (at::load_balancer(family), PORT), "pod2", at::pod1(family))?;
            seen(&rig.pod1, transport, (at::external(family), PORT), "pod2", at::pod1(family))
        })?;
    }
    bed.clean()
}
