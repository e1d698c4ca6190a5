//! ClusterIP: from a Pod, from the node, from outside; refused, dropped, hairpin.

use anyhow::{Result, ensure};
use rust_ingress_model::l4::{L4Settings, Transport};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, PORT, becomes, each, reached, seen, service};
use crate::suite::packets::rig::{Rig, at};
use crate::suite::packets::talk::Answer;

const GROUP: &str = "ClusterIP";

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    report.case(GROUP, "a Pod reaches Pods of its node and of others, which see its address", || from_pod(&bed));
    report.case(GROUP, "all endpoints get connections", || spread(&bed));
    report.case(GROUP, "the node reaches it", || from_node(&bed));
    report.case(GROUP, "from outside, the Pod sees the node's address", || from_outside(&bed));
    report.case(GROUP, "without endpoints: refused", || nobody(&bed));
    report.case(GROUP, "a port that it hasn't: refused", || unknown_port(&bed));
    report.case(GROUP, "a ClusterIP that no Service has: dropped", || unallocated(&bed));
    report.case(GROUP, "a Pod reaches itself, and sees the node's address", || hairpin(&bed));
    bed.publish(&[service(&["pod1"])])?;
    bed.clean()?;
    report.case(GROUP, "with masquerade-all, the Pod sees the node's address", || masquerade_all(rig));
    report.case(GROUP, "control: without our rules nobody answers", || {
        each(|family, transport| becomes(&rig.pod1, transport, at::cluster_ip(family), PORT, &Answer::Silence))
    });
    Ok(())
}

fn from_pod(bed: &Bed) -> Result<()> {
    bed.publish(&[service(&["pod2"])])?;
    each(|family, transport| {
        seen(&bed.rig.pod1, transport, (at::cluster_ip(family), PORT), "pod2", at::pod1(family))?;
        Ok(())
    })?;
    bed.publish(&[service(&["remote"])])?;
    each(|family, transport| seen(&bed.rig.pod1, transport, (at::cluster_ip(family), PORT), "remote", at::pod1(family)))
}

fn spread(bed: &Bed) -> Result<()> {
    // That one of three gets none of 60 happens once in 10^10 times.
    const TRIES: usize = 60;
    let pods = ["pod1", "pod2", "remote"];
    bed.publish(&[service(&pods)])?;
    each(|family, transport| {
        let mut missing: Vec<&str> = pods.to_vec();
        for _ in 0..TRIES {
            let answer = reached(&bed.rig.client, transport, at::node(family), NODE_PORT, &pods)?;
            missing.retain(|pod| answer.name() != Some(pod));
        }
        ensure!(missing.is_empty(), "{missing:?} got none of {TRIES} connections");
        Ok(())
    })
}

fn from_node(bed: &Bed) -> Result<()> {
    bed.publish(&[service(&["pod1"])])?;
    each(|family, transport| reached(&bed.rig.node, transport, at::cluster_ip(family), PORT, &["pod1"]).map(drop))
}

fn from_outside(bed: &Bed) -> Result<()> {
    bed.publish(&[service(&["remote"])])?;
    each(|family, transport| seen(&bed.rig.client, transport, (at::cluster_ip(family), PORT), "remote", at::node_inner(family)))
}

fn nobody(bed: &Bed) -> Result<()> {
    bed.publish(&[service(&[])])?;
    each(|family, transport| {
        let clients = [(&bed.rig.pod1, at::cluster_ip(family), PORT), (&bed.rig.client, at::node(family), NODE_PORT)];
        for (from, to, port) in clients {
            becomes(from, transport, to, port, &Answer::Refused)?;
        }
        Ok(())
    })?;
    each(|family, _| becomes(&bed.rig.node, Transport::Tcp, at::cluster_ip(family), PORT, &Answer::Refused))
}

fn unknown_port(bed: &Bed) -> Result<()> {
    bed.publish(&[service(&["pod1"])])?;
    each(|family, transport| becomes(&bed.rig.pod1, transport, at::cluster_ip(family), PORT + 1, &Answer::Refused))?;
    each(|family, _| becomes(&bed.rig.node, Transport::Tcp, at::cluster_ip(family), PORT + 1, &Answer::Refused))
}

fn unallocated(bed: &Bed) -> Result<()> {
    bed.publish(&[service(&["pod1"])])?;
    // The client would refuse it at once, were it not dropped on the way: it is where the node's default route ends.
    bed.rig.client.ip("addr add 10.96.9.9/32 dev eth0\naddr add fd00:96::909/128 dev eth0 nodad\n")?;
    let checked = each(|family, transport| becomes(&bed.rig.pod1, transport, at::unallocated(family), PORT, &Answer::Silence));
    bed.rig.client.ip("addr del 10.96.9.9/32 dev eth0\naddr del fd00:96::909/128 dev eth0\n")?;
    checked
}

fn hairpin(bed: &Bed) -> Result<()> {
    bed.publish(&[service(&["pod1"])])?;
    each(|family, transport| seen(&bed.rig.pod1, transport, (at::cluster_ip(family), PORT), "pod1", at::gateway(family)))
}

fn masquerade_all(rig: &Rig) -> Result<()> {
    let bed = Bed::start(rig, L4Settings { masquerade_all: true, ..L4Settings::default() })?;
    bed.publish(&[service(&["remote"])])?;
    each(|family, transport| seen(&rig.pod1, transport, (at::cluster_ip(family), PORT), "remote", at::node_inner(family)))?;
    bed.clean()
}
