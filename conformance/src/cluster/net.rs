//! The cluster's network: a bridge in the outside world, one leg of it per node, and routes or an overlay between Pod ranges.
//!
//! The outside has no route to Pods or Services: what reaches them from there came through a node's address.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::layout::{Node, WAN, WAN_V4, WAN_V6};
use super::process::output;
use super::record::{Record, namespace_path};
use super::{Options, PodNetwork};

/// The overlay's number, and the port that vxlan has (RFC 7348).
const OVERLAY: &str = "id 42 dstport 4789";
/// What an overlay packet costs of the bridge's 1500 bytes: 50 for IPv4 outside.
const OVERLAY_MTU: u16 = 1450;

/// The MTU of Pods.
pub fn pod_mtu(network: PodNetwork) -> u16 {
    match network {
        PodNetwork::Routes => 1500,
        PodNetwork::Vxlan => OVERLAY_MTU,
    }
}

/// Makes the namespaces, links, addresses and routes.
pub fn make(options: &Options, record: &Record) -> Result<()> {
    for name in &record.namespaces {
        output(Command::new("ip").args(["netns", "add", name]))?;
        output(enter(name).args(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]))?;
    }
    batch(WAN, &outside(options.nodes))?;
    for node in Node::all(options.nodes) {
        batch(&node.namespace(), &inside(node, options))?;
    }
    Ok(())
}

/// Removes them, with all that lives in them.
pub fn remove(record: &Record) -> Result<()> {
    for name in &record.namespaces {
        if namespace_path(name).exists() {
            output(Command::new("ip").args(["netns", "del", name]))?;
        }
    }
    Ok(())
}

fn enter(namespace: &str) -> Command {
    let mut enter = Command::new("nsenter");
    enter.arg(format!("--net={}", namespace_path(namespace).display()));
    enter
}

/// The outside: the bridge, and both ends of each node's cable, the other one put into the node's namespace.
fn outside(nodes: u8) -> String {
    let mut lines = format!(
        "link set lo up\nlink add br0 type bridge\naddr add {WAN_V4}/24 dev br0\naddr add {WAN_V6}/64 dev br0 nodad\nlink set br0 up\n"
    );
    for node in Node::all(nodes) {
        let (leg, namespace) = (node.name(), node.namespace());
        let _ = writeln!(lines, "link add {leg} type veth peer name eth0 netns {namespace}\nlink set {leg} master br0 up");
    }
    lines
}

/// One node: its address, the way out, and the way to the other nodes' Pods.
fn inside(node: Node, options: &Options) -> String {
    let (v4, v6) = (node.v4(), node.v6());
    let mut lines = format!(
        "link set lo up\naddr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\nlink set eth0 up\n\
         route add default via {WAN_V4}\nroute add ::/0 via {WAN_V6}\n"
    );
    let others = Node::all(options.nodes).filter(|other| *other != node);
    match options.pod_network {
        PodNetwork::Routes => {
            for other in others {
                let _ = writeln!(lines, "route add {} via {}", other.pods_v4(), other.v4());
                let _ = writeln!(lines, "route add {} via {}", other.pods_v6(), other.v6());
            }
        }
        PodNetwork::Vxlan => {
            let (tunnel_v4, tunnel_v6) = (node.tunnel_v4(), node.tunnel_v6());
            let _ = writeln!(lines, "link add vxlan0 mtu {OVERLAY_MTU} type vxlan {OVERLAY} local {v4} dev eth0");
            let _ = writeln!(
                lines,
                "addr add {tunnel_v4}/24 dev vxlan0\naddr add {tunnel_v6}/64 dev vxlan0 nodad\nlink set vxlan0 up"
            );
            for other in others {
                let _ = writeln!(lines, "route add {} via {}", other.pods_v4(), other.tunnel_v4());
                let _ = writeln!(lines, "route add {} via {}", other.pods_v6(), other.tunnel_v6());
            }
        }
    }
    lines
}

/// Runs lines of `ip` in a namespace, and for an overlay tells the device where its peers are.
fn batch(namespace: &str, lines: &str) -> Result<()> {
    let mut ip =
        Command::new("ip").args(["-n", namespace, "-batch", "-"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    ip.stdin.take().context("a pipe to ip")?.write_all(lines.as_bytes())?;
    let said = ip.wait_with_output()?;
    ensure!(said.status.success(), "ip in {namespace}: {}\n{lines}", String::from_utf8_lossy(&said.stderr).trim());
    Ok(())
}

/// Tells each node's overlay device where its peers are: who has an unknown address is asked of all.
pub fn join_overlay(options: &Options) -> Result<()> {
    if options.pod_network == PodNetwork::Routes {
        return Ok(());
    }
    for node in Node::all(options.nodes) {
        for other in Node::all(options.nodes).filter(|other| *other != node) {
            let namespace = node.namespace();
            let entry = ["fdb", "append", "00:00:00:00:00:00", "dev", "vxlan0", "dst", &other.v4()];
            output(Command::new("bridge").args(["-n", &namespace]).args(entry))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn options(pod_network: PodNetwork) -> Options {
        Options { nodes: 2, pod_network, ..Options::default() }
    }

    #[test]
    fn with_an_overlay_pods_are_reached_through_nothing_else() {
        let lines = inside(Node(1), &options(PodNetwork::Vxlan));
        assert!(lines.contains("route add 10.244.2.0/24 via 10.245.0.2\n"), "{lines}");
        assert!(lines.contains("route add fd00:244:2::/64 via fd00:245::2\n"), "{lines}");
        assert!(!lines.contains("10.244.2.0/24 via 192.0.2"), "{lines}");
        assert!(lines.contains("mtu 1450"), "{lines}");
    }

    #[test]
    fn the_outside_has_no_route_to_pods() {
        assert!(!outside(2).contains("10.244"));
        assert!(inside(Node(2), &options(PodNetwork::Routes)).contains("route add 10.244.1.0/24 via 192.0.2.11\n"));
    }
}
