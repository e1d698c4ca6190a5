//! NodePort: on which addresses, and what the Pod sees.

use anyhow::Result;
use rust_ingress_model::l4::L4Settings;

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, becomes, each, reached, seen, service};
use crate::suite::packets::rig::{Rig, at};
use crate::suite::packets::talk::Answer;

const GROUP: &str = "NodePort";

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    report.case(GROUP, "from outside, a Pod of another node answers and sees the node's address", || {
        bed.publish(&[service(&["remote"])])?;
        each(|family, transport| seen(&rig.client, transport, (at::node(family), NODE_PORT), "remote", at::node_inner(family)))
    });
    report.case(GROUP, "a Pod and the node itself reach it", || {
        bed.publish(&[service(&["pod2"])])?;
        each(|family, transport| {
            seen(&rig.pod1, transport, (at::node(family), NODE_PORT), "pod2", at::pod1(family))?;
            reached(&rig.node, transport, at::node(family), NODE_PORT, &["pod2"]).map(drop)
        })
    });
    report.case(GROUP, "a Pod reaches itself through it", || {
        bed.publish(&[service(&["pod1"])])?;
        each(|family, transport| seen(&rig.pod1, transport, (at::node(family), NODE_PORT), "pod1", at::gateway(family)))
    });
    report.case(GROUP, "addresses of the node that aren't primary don't serve it", || {
        bed.publish(&[service(&["pod1"])])?;
        each(|family, transport| becomes(&rig.pod2, transport, at::node_inner(family), NODE_PORT, &Answer::Refused))
    });
    bed.clean()?;
    report.case(GROUP, "control: without our rules, refused", || {
        each(|family, transport| becomes(&rig.client, transport, at::node(family), NODE_PORT, &Answer::Refused))
    });
    Ok(())
}
