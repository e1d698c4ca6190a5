//! NodePort: on which addresses, and what the Pod sees.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rust_ingress_model::l4::{L4Settings, NodePortAddresses, Transport};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, becomes, each, reached, seen, service};
use crate::suite::packets::rig::{Rig, at};
use crate::suite::packets::talk::{self, Answer};

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
    report.case(GROUP, "with CIDRs, the node's addresses within them serve it, also one that comes later", || with_cidrs(rig));
    report.case(GROUP, "control: without our rules, refused", || {
        each(|family, transport| becomes(&rig.client, transport, at::node(family), NODE_PORT, &Answer::Refused))
    });
    Ok(())
}

fn with_cidrs(rig: &Rig) -> Result<()> {
    let cidrs = ["198.51.100.0/24", "2001:db8:1::/64"].iter().filter_map(|cidr| cidr.parse().ok()).collect();
    let settings = L4Settings { node_port_addresses: NodePortAddresses::Cidrs(cidrs), ..L4Settings::default() };
    let bed = Bed::start(rig, settings)?;
    bed.publish(&[service(&["pod1"])])?;
    each(|family, transport| {
        reached(&rig.remote, transport, at::node_inner(family), NODE_PORT, &["pod1"])?;
        becomes(&rig.client, transport, at::node(family), NODE_PORT, &Answer::Refused)
    })?;
    rig.node.ip("addr add 198.51.100.7/24 dev lan\n")?;
    let late = SocketAddr::new(IpAddr::from([198, 51, 100, 7]), NODE_PORT);
    let begin = Instant::now();
    while talk::ask(&rig.remote, Transport::Tcp, late)?.name() != Some("pod1") {
        ensure!(begin.elapsed() < Duration::from_secs(3), "{late} isn't served");
        sleep(Duration::from_millis(100));
    }
    rig.node.ip("addr del 198.51.100.7/24 dev lan\n")?;
    bed.clean()
}
