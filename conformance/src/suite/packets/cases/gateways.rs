//! The Service of a Gateway leads to the proxy of the node: at the Gateway's address, and not at the proxy's own port.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use rust_ingress_model::l4::{L4Endpoint, L4Port, L4Service, L4Settings, TrafficPolicy, Transport};
use rust_ingress_model::{Listener, ListenerAddress, ObjectRef, Parent, Protocol};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, PORT, becomes, each, endpoint, reached, seen, service};
use crate::suite::packets::rig::{Family, Rig, at};
use crate::suite::packets::talk::{self, Answer};

const GROUP: &str = "Gateways";
/// Where the proxy listens for the Gateway, and another program beside it.
const PROXY: u16 = 20_080;
const OTHER: u16 = 20_081;

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) -> Result<()> {
    for (name, port) in [("proxy", PROXY), ("other", OTHER)] {
        talk::serve(&rig.node, name, &Family::BOTH.map(|family| SocketAddr::new(at::node(family), port)))?;
    }
    let listeners = [Protocol::Http, Protocol::Udp].map(|protocol| Listener {
        protocol,
        parent: Parent::Gateway { object: ObjectRef::new("Gateway", "default", "g") },
        public_port: Some(PORT),
        ..Listener::http(ListenerAddress::Any, PROXY, "g".into())
    });
    report.case(GROUP, "control: without our rules everybody reaches the proxy's port", || {
        each(|family, transport| reached(&rig.client, transport, at::node(family), PROXY, &["proxy"]).map(drop))
    });
    let bed = Bed::start(rig, L4Settings::default())?;
    bed.publish_beside("g", &[of_gateway()], &listeners)?;
    report.case(GROUP, "from outside: the proxy of the node, which sees the client's address", || {
        each(|family, transport| seen(&rig.client, transport, (at::load_balancer(family), PORT), "proxy", at::client(family)))
    });
    report.case(GROUP, "from Pods and the node: the proxy of their node, at the Gateway's address and at the ClusterIP", || {
        each(|family, transport| {
            seen(&rig.pod1, transport, (at::load_balancer(family), PORT), "proxy", at::pod1(family))?;
            seen(&rig.pod1, transport, (at::cluster_ip(family), PORT), "proxy", at::pod1(family))?;
            reached(&rig.node, transport, at::load_balancer(family), PORT, &["proxy"]).map(drop)
        })
    });
    report.case(GROUP, "the proxy's own port is refused to everybody; its neighbour is not ours", || {
        each(|family, transport| {
            for from in [&rig.client, &rig.pod1, &rig.remote] {
                becomes(from, transport, at::node(family), PROXY, &Answer::Refused).with_context(|| from.name().to_owned())?;
            }
            // To a datagram of the node itself no ICMP message comes back out of a rule of output.
            let own = if transport == Transport::Tcp { Answer::Refused } else { Answer::Silence };
            becomes(&rig.node, transport, at::node(family), PROXY, &own)?;
            reached(&rig.client, transport, at::node(family), OTHER, &["other"]).map(drop)
        })
    });
    report.case(GROUP, "a Gateway that goes takes its refusal with it", || {
        bed.publish_beside("g", &[], &[])?;
        each(|family, transport| reached(&rig.client, transport, at::node(family), PROXY, &["proxy"]).map(drop))
    });
    bed.clean()
}

/// As the controller writes it: each node's clients to the proxy of that node.
fn of_gateway() -> L4Service {
    let endpoint = |node: &str, family: Family| {
        let pod = if node == "node1" { "pod1" } else { "remote" };
        let address = if node == "node1" { at::node(family) } else { at::remote(family) };
        L4Endpoint { address: SocketAddr::new(address, PROXY), for_nodes: vec![node.into()], ..endpoint(pod, family) }
    };
    let service = service(&[]);
    let ports = service.ports.into_iter().map(|port: L4Port| L4Port {
        node_port: None,
        endpoints: Family::BOTH.into_iter().flat_map(|family| ["node1", "node2"].map(|node| endpoint(node, family))).collect(),
        ..port
    });
    let ports = ports.collect();
    L4Service {
        load_balancer_ips: Family::BOTH.map(at::load_balancer).to_vec(),
        external: TrafficPolicy::Local,
        ports,
        ..service
    }
}
