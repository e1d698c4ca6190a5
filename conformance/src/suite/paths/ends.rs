//! Who sends and who answers: Pods, and the outside world.

use std::net::IpAddr;

use anyhow::{Context, Result};

use super::Rig;
use super::packet::Sender;
use crate::cluster::Node;
use crate::cluster::layout::{WAN_V4, WAN_V6};

/// A Pod: its name, node and addresses, IPv4 first.
pub struct Pod {
    pub name: String,
    pub node: Node,
    pub addresses: Vec<IpAddr>,
}

/// The Pods of a label.
pub fn pods(rig: &Rig<'_>, namespace: &str, label: &str) -> Result<Vec<Pod>> {
    let each = "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIPs[*].ip}{\"\\n\"}{end}";
    let text = rig.cluster.kubectl(&["-n", namespace, "get", "pods", "-l", label, "-o", each])?;
    let pods = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, node) = (words.next()?.to_owned(), words.next()?);
        let node = rig.cluster.nodes().find(|known| known.name() == node)?;
        Some(Pod { name, node, addresses: words.filter_map(|word| word.parse().ok()).collect() })
    });
    Ok(pods.collect())
}

/// The client Pod of a path.
pub fn client(rig: &Rig<'_>, namespace: &'static str) -> Result<(Sender, Node, Vec<IpAddr>)> {
    rig.ready(namespace, "pod/client")?;
    let each = "jsonpath={.spec.nodeName} {.status.podIPs[*].ip}";
    let text = rig.cluster.kubectl(&["-n", namespace, "get", "pod", "client", "-o", each])?;
    let mut words = text.split_whitespace();
    let node = words.next().unwrap_or_default();
    let node = rig.cluster.nodes().find(|known| known.name() == node).context("the client is on no node")?;
    Ok((Sender::Pod { namespace, pod: "client".into() }, node, words.filter_map(|word| word.parse().ok()).collect()))
}

/// The address of a list that is of the family of another.
pub fn like(addresses: &[IpAddr], other: IpAddr) -> Result<IpAddr> {
    let found = addresses.iter().find(|address| address.is_ipv4() == other.is_ipv4());
    found.copied().with_context(|| format!("there is no address of the family of {other}"))
}

/// The outside's own addresses.
pub fn outside() -> Result<Vec<IpAddr>> {
    Ok(vec![WAN_V4.parse()?, WAN_V6.parse()?])
}
