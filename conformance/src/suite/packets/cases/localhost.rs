//! NodePorts at 127.0.0.1 and ::1: carried by the agent's process, without `route_localnet`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::{Result, ensure};
use rust_ingress_model::l4::{L4Service, L4Settings, LoopbackPorts, TrafficPolicy, Transport};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, NODE_PORT, PORT, becomes, reached, seen, service};
use crate::suite::packets::rig::{Family, Rig, at};
use crate::suite::packets::talk::{self, Answer};

const GROUP: &str = "NodePort at loopback";
/// Where the agent takes connections.
const TAKEN: u16 = 9905;

fn loopback(family: Family) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::LOCALHOST.into(),
        Family::V6 => Ipv6Addr::LOCALHOST.into(),
    }
}

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    let settings = L4Settings { loopback: Some(LoopbackPorts { v4: TAKEN, v6: Some(TAKEN) }), ..L4Settings::default() };
    let bed = Bed::start(rig, settings)?;
    report.case(GROUP, "a program of the node reaches Pods here and elsewhere, which see the node", || {
        for family in Family::BOTH {
            bed.publish(&[service(&["pod1"])])?;
            seen(&rig.node, Transport::Tcp, (loopback(family), NODE_PORT), "pod1", at::gateway(family))?;
            bed.publish(&[service(&["remote"])])?;
            seen(&rig.node, Transport::Tcp, (loopback(family), NODE_PORT), "remote", at::node_inner(family))?;
        }
        Ok(())
    });
    report.case(GROUP, "externalTrafficPolicy Local doesn't hold for the node itself", || {
        bed.publish(&[L4Service { external: TrafficPolicy::Local, ..service(&["remote"]) }])?;
        Family::BOTH
            .into_iter()
            .try_for_each(|family| reached(&rig.node, Transport::Tcp, loopback(family), NODE_PORT, &["remote"]).map(drop))
    });
    report.case(GROUP, "without endpoints, at other ports, and where connections are taken: nobody answers", || {
        bed.publish(&[service(&[])])?;
        for family in Family::BOTH {
            for port in [NODE_PORT, TAKEN] {
                // Connected by the agent, then reset.
                let answer = talk::ask(&rig.node, Transport::Tcp, SocketAddr::new(loopback(family), port));
                ensure!(!answer.as_ref().is_ok_and(|answer| answer.name().is_some()), "port {port}: {answer:?}");
            }
            becomes(&rig.node, Transport::Tcp, loopback(family), PORT, &Answer::Refused)?;
        }
        Ok(())
    });
    report.case(GROUP, "sessionAffinity ClientIP holds, and without it all Pods get their part", || {
        for family in Family::BOTH {
            ensure!(names(&bed, family, Some(60))?.len() == 1, "{family:?}: a client moved");
            ensure!(names(&bed, family, None)?.len() == 3, "{family:?}: a Pod got nothing");
        }
        Ok(())
    });
    report.case(GROUP, "route_localnet stays off", || {
        let value =
            rig.node.command("sysctl", &["-n", "net.ipv4.conf.all.route_localnet", "net.ipv4.conf.wan.route_localnet"])?;
        ensure!(value.split_whitespace().all(|value| value == "0"), "{value}");
        Ok(())
    });
    bed.clean()?;
    let bed = Bed::start(rig, L4Settings::default())?;
    report.case(GROUP, "switched off, it is refused", || {
        bed.publish(&[service(&["pod1"])])?;
        Family::BOTH
            .into_iter()
            .try_for_each(|family| becomes(&rig.node, Transport::Tcp, loopback(family), NODE_PORT, &Answer::Refused))
    });
    bed.clean()
}

/// Who answers to thirty connections.
fn names(bed: &Bed<'_>, family: Family, affinity_s: Option<u32>) -> Result<BTreeSet<String>> {
    bed.publish(&[L4Service { affinity_s, ..service(&["pod1", "pod2", "remote"]) }])?;
    let pods = &["pod1", "pod2", "remote"];
    let ask = |_| {
        let answer = reached(&bed.rig.node, Transport::Tcp, loopback(family), NODE_PORT, pods)?;
        Ok(answer.name().unwrap_or_default().to_owned())
    };
    (0..30).map(ask).collect()
}
