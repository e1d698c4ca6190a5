//! What source a receiver sees where no Service takes part: Pod to Pod, and Pod to outside.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use rust_ingress_model::l4::{EgressSnat, L4Settings, Transport};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, PORT, each, reached, seen, service};
use crate::suite::packets::namespace::Namespace;
use crate::suite::packets::rig::{Rig, at};
use crate::suite::packets::talk;

const POD_TO_POD: &str = "Pod to Pod";
const EGRESS: &str = "egress";

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let with_egress = |cidrs: &[&str]| {
        let non_masquerade = cidrs.iter().filter_map(|cidr| cidr.parse().ok()).collect();
        L4Settings { egress: Some(EgressSnat { non_masquerade, ..EgressSnat::default() }), ..L4Settings::default() }
    };
    let pods = ["10.244.0.0/16", "fd00:244::/32"];
    let bed = Bed::start(rig, with_egress(&pods))?;
    bed.publish(&[service(&["remote"])])?;
    report.case(POD_TO_POD, "the receiver sees the true source, and conntrack's reply mirrors the original", || untouched(rig));
    report.case(POD_TO_POD, "control: in conntrack, a connection to a Service is rewritten", || {
        each(|family, transport| {
            reached(&rig.pod1, transport, at::cluster_ip(family), PORT, &["remote"])?;
            ensure!(!mirrored(&rig.node, at::cluster_ip(family), transport)?, "its reply mirrors the original");
            Ok(())
        })
    });
    report.case(EGRESS, "on: outside sees the node", || {
        each(|family, transport| seen(&rig.pod1, transport, (at::client(family), talk::PORT), "client", at::node(family)))
    });
    bed.clean()?;
    report.case(EGRESS, "destinations that are named see the Pod", || {
        let bed = Bed::start(rig, with_egress(&["192.0.2.0/24", "2001:db8::/64"]))?;
        bed.publish(&[])?;
        each(|family, transport| seen(&rig.pod1, transport, (at::client(family), talk::PORT), "client", at::pod1(family)))?;
        bed.clean()
    });
    report.case(EGRESS, "with ports given, the node's source port is one of them", || {
        let egress = EgressSnat { random_fully: true, to_ports: Some((41_000, 41_999)), ..EgressSnat::default() };
        let bed = Bed::start(rig, L4Settings { egress: Some(egress), ..L4Settings::default() })?;
        bed.publish(&[])?;
        each(|family, transport| {
            let answer = talk::ask(&rig.pod1, transport, SocketAddr::new(at::client(family), talk::PORT))?;
            let talk::Answer::By(_, from) = &answer else { anyhow::bail!("{answer:?}") };
            ensure!((41_000..42_000).contains(&from.port()), "{from}");
            ensure!(from.ip() == at::node(family), "{from}");
            Ok(())
        })?;
        bed.clean()
    });
    report.case(EGRESS, "control, off: outside sees the Pod", || {
        let bed = Bed::start(rig, L4Settings::default())?;
        bed.publish(&[service(&["remote"])])?;
        each(|family, transport| seen(&rig.pod1, transport, (at::client(family), talk::PORT), "client", at::pod1(family)))?;
        bed.clean()
    });
    Ok(())
}

fn untouched(rig: &Rig) -> Result<()> {
    each(|family, transport| {
        for (name, to) in [("pod2", at::pod2(family)), ("remote", at::remote(family))] {
            seen(&rig.pod1, transport, (to, talk::PORT), name, at::pod1(family))?;
            ensure!(mirrored(&rig.node, to, transport)?, "{name}: the reply in conntrack isn't the original's mirror");
        }
        Ok(())
    })
}

/// Whether the replies of all connections that conntrack has to an address mirror the originals; there must be one.
fn mirrored(node: &Namespace, to: IpAddr, transport: Transport) -> Result<bool> {
    let family = if to.is_ipv4() { "ipv4" } else { "ipv6" };
    let listed = node.command("conntrack", &["-L", "-f", family, "-p", transport.name(), "-d", &to.to_string()])?;
    ensure!(!listed.trim().is_empty(), "conntrack knows of no connection to {to}");
    Ok(listed.lines().all(|line| {
        let fields =
            |name: &str| line.split(' ').filter_map(|word| word.strip_prefix(name)).map(str::to_owned).collect::<Vec<_>>();
        let swapped = |one: Vec<String>, other: Vec<String>| one.first() == other.last() && one.last() == other.first();
        swapped(fields("src="), fields("dst=")) && swapped(fields("sport="), fields("dport="))
    }))
}
