//! Traffic policies, and which endpoints a node sends to.

use anyhow::Result;
use rust_ingress_model::l4::{L4Endpoint, L4Service, L4Settings, LocalPods, TrafficPolicy};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, PORT, becomes, each, reached, seen, service};
use crate::suite::packets::rig::{Family, Rig, at};
use crate::suite::packets::talk::Answer;

const GROUP: &str = "policies";

fn external_local(pods: &[&str]) -> L4Service {
    let load_balancer_ips = Family::BOTH.map(at::load_balancer).to_vec();
    L4Service { external: TrafficPolicy::Local, load_balancer_ips, ..service(pods) }
}

/// A Service whose endpoints are changed one by one.
fn changed(pods: &[&str], change: impl Fn(&mut L4Endpoint)) -> L4Service {
    let mut service = service(pods);
    service.ports.iter_mut().flat_map(|port| &mut port.endpoints).for_each(change);
    service
}

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    external(&bed, report);
    internal(&bed, report);
    choice(&bed, report);
    bed.clean()?;
    report.case(GROUP, "Pods told by interface: their connections aren't from outside", || {
        let local_pods = LocalPods::Interfaces(vec!["pod".into()]);
        let bed = Bed::start(rig, L4Settings { local_pods, ..L4Settings::default() })?;
        bed.publish(&[external_local(&["remote"])])?;
        each(|family, transport| {
            seen(&rig.pod1, transport, (at::load_balancer(family), PORT), "remote", at::pod1(family))?;
            becomes(&rig.client, transport, at::load_balancer(family), PORT, &Answer::Silence)
        })?;
        bed.clean()
    });
    Ok(())
}

fn external(bed: &Bed, report: &mut Report) {
    let rig = bed.rig;
    report.case(GROUP, "externalTrafficPolicy Local: the Pod of this node sees the client", || {
        bed.publish(&[external_local(&["pod1", "remote"])])?;
        each(|family, transport| {
            for (to, port) in [(at::node(family), NODE_PORT), (at::load_balancer(family), PORT)] {
                seen(&rig.client, transport, (to, port), "pod1", at::client(family))?;
            }
            Ok(())
        })
    });
    report.case(
        GROUP,
        "externalTrafficPolicy Local without a Pod here: dropped for outside, served to Pods and the node",
        || {
            bed.publish(&[external_local(&["remote"])])?;
            each(|family, transport| {
                for (to, port) in [(at::node(family), NODE_PORT), (at::load_balancer(family), PORT)] {
                    becomes(&rig.client, transport, to, port, &Answer::Silence)?;
                    seen(&rig.pod1, transport, (to, port), "remote", at::pod1(family))?;
                    reached(&rig.node, transport, to, port, &["remote"])?;
                }
                Ok(())
            })
        },
    );
    report.case(GROUP, "externalTrafficPolicy Local leaves the ClusterIP alone", || {
        bed.publish(&[external_local(&["remote"])])?;
        each(|family, transport| reached(&rig.pod1, transport, at::cluster_ip(family), PORT, &["remote"]).map(drop))
    });
}

fn internal(bed: &Bed, report: &mut Report) {
    let rig = bed.rig;
    report.case(GROUP, "internalTrafficPolicy Local: only Pods of this node", || {
        bed.publish(&[L4Service { internal: TrafficPolicy::Local, ..service(&["pod2", "remote"]) }])?;
        each(|family, transport| {
            (0..10).try_for_each(|_| reached(&rig.pod1, transport, at::cluster_ip(family), PORT, &["pod2"]).map(drop))
        })
    });
    report.case(GROUP, "internalTrafficPolicy Local without a Pod here: dropped", || {
        bed.publish(&[L4Service { internal: TrafficPolicy::Local, ..service(&["remote"]) }])?;
        each(|family, transport| becomes(&rig.pod1, transport, at::cluster_ip(family), PORT, &Answer::Silence))
    });
}

fn choice(bed: &Bed, report: &mut Report) {
    let rig = bed.rig;
    let only = |name: &'static str| {
        each(move |family, transport| {
            (0..10).try_for_each(|_| reached(&rig.pod1, transport, at::cluster_ip(family), PORT, &[name]).map(drop))
        })
    };
    report.case(GROUP, "Pods that aren't ready get nothing", || {
        bed.publish(&[changed(&["pod2", "remote"], |e| e.ready = e.node.as_deref() == Some("node2"))])?;
        only("remote")
    });
    report.case(GROUP, "terminating Pods that serve get connections where there are no others", || {
        let leave = |e: &mut L4Endpoint| (e.ready, e.terminating) = (false, true);
        bed.publish(&[changed(&["pod2"], leave)])?;
        only("pod2")
    });
    report.case(GROUP, "hints for this node's zone", || {
        let zone = |e: &L4Endpoint| if e.node.as_deref() == Some("node1") { "zone1" } else { "zone2" };
        bed.publish(&[changed(&["pod2", "remote"], |e| e.for_zones = vec![zone(e).into()])])?;
        only("pod2")
    });
    report.case(GROUP, "hints for this node", || {
        bed.publish(&[changed(&["pod2", "remote"], |e| e.for_nodes = e.node.iter().cloned().collect())])?;
        only("pod2")
    });
}
