//! The paths, in order. Each sends what its folder's README draws, and more of it: both transports, both families, every node.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::ends::{client, like, outside, pods};
use super::packet::{Packet, Sender};
use super::seen::{BOTH, compare};
use super::{Rig, egress, pool};
use crate::cluster::layout::WAN_V4;
use crate::cluster::{Node, Place};

/// A case: sends, compares, and says what was seen.
pub type Case = fn(&Rig<'_>, &mut Vec<String>) -> Result<()>;

/// All.
pub const ALL: [(&str, &str, Case); 8] = [
    ("1-container-to-container", "127.0.0.1 and a file, between two containers", container_to_container),
    ("2-pod-to-pod", "on one node and across: nothing is translated, and it would be seen", pod_to_pod),
    ("3-cluster-ip", "a ClusterIP becomes a Pod; the client's address is kept", cluster_ip),
    ("4-node-port", "on every node, wherever the Pod is", node_port),
    ("5-load-balancer", "an address that somebody else handed out", load_balancer),
    ("5-load-balancer", "an address of a pool: one node answers for it, another when that one is gone", pool::pool),
    ("6-ingress", "the proxy asks the Pod itself", ingress),
    ("7-egress", "out as the node, and not at all without", egress::egress),
];

fn container_to_container(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    rig.ready("path-1", "pod/both")?;
    let begin = Instant::now();
    loop {
        let log = rig.cluster.kubectl(&["-n", "path-1", "logs", "both", "-c", "sidecar"])?;
        let seen = log.lines().find(|line| line.starts_with("127.0.0.1:"));
        // The server logs each request; the sidecar reads that from the shared file.
        let logged = log.lines().find(|line| line.contains("/clientip") && !line.starts_with("127."));
        if let (Some(seen), Some(logged)) = (seen, logged) {
            said.push(format!("the server saw {seen}, and its log was read beside it: {}", logged.trim()));
            return Ok(());
        }
        ensure!(begin.elapsed() < Duration::from_secs(20), "the sidecar's log:\n{log}");
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn pod_to_pod(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    rig.rolled("path-2", "daemonset/pods")?;
    rig.rolled("path-2", "daemonset/clients")?;
    let (servers, clients) = (pods(rig, "path-2", "app=pods")?, pods(rig, "path-2", "app=clients")?);
    let from = clients.first().context("there is no client")?;
    let sender = Sender::Pod { namespace: "path-2", pod: from.name.clone() };
    for server in &servers {
        for address in &server.addresses {
            for transport in BOTH {
                let to = SocketAddr::new(*address, 8080);
                let packet = Packet::new(&sender, transport, like(&from.addresses, *address)?, to, from.node);
                said.push(compare(rig, &packet, true)?);
            }
        }
    }
    // The same must fail where somebody does translate, else it would prove nothing.
    let other = servers.iter().find(|server| server.node.0 != from.node.0).context("all Pods are on one node")?;
    let to = SocketAddr::new(*other.addresses.first().context("a Pod has an address")?, 8080);
    let rules = "add table ip control; add chain ip control out { type nat hook postrouting priority 90; }; \
                 add rule ip control out ip daddr 10.244.0.0/16 masquerade";
    let place = Place::Network(from.node.0);
    rig.cluster.run(place, &["nft", rules])?;
    let packet = Packet::new(&sender, BOTH[0], like(&from.addresses, to.ip())?, to, from.node);
    let seen = compare(rig, &packet, true);
    rig.cluster.run(place, &["nft", "delete table ip control"])?;
    match seen {
        Err(error) if error.to_string().contains("came from") => {
            said.push("with an SNAT added by hand the comparison fails, as it must".into());
            Ok(())
        }
        Err(error) => Err(error.context("the control failed otherwise")),
        Ok(line) => bail!("an SNAT between Pods isn't noticed: {line}"),
    }
}

/// The Service's virtual addresses.
fn cluster_ips(rig: &Rig<'_>, namespace: &str) -> Result<Vec<IpAddr>> {
    let text = rig.cluster.kubectl(&["-n", namespace, "get", "service", "server", "-o", "jsonpath={.spec.clusterIPs[*]}"])?;
    let addresses: Vec<IpAddr> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    ensure!(addresses.len() == 2, "the Service has {addresses:?}, not one address of each family");
    Ok(addresses)
}

fn cluster_ip(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    rig.rolled("path-3", "deployment/server")?;
    let (sender, node, own) = client(rig, "path-3")?;
    for address in cluster_ips(rig, "path-3")? {
        for transport in BOTH {
            let packet = Packet::new(&sender, transport, like(&own, address)?, SocketAddr::new(address, 80), node);
            said.push(compare(rig, &packet, true)?);
        }
    }
    Ok(())
}

fn node_port(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    rig.rolled("path-4", "deployment/server")?;
    let own = outside()?;
    for node in rig.cluster.nodes() {
        for address in [node.v4().parse()?, node.v6().parse()?] {
            for transport in BOTH {
                let to = SocketAddr::new(address, 30080);
                let packet = Packet::new(&Sender::Outside, transport, like(&own, address)?, to, node);
                said.push(compare(rig, &packet, true)?);
            }
        }
    }
    Ok(())
}

fn load_balancer(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    rig.rolled("path-5", "deployment/server")?;
    let (v4, v6) = ("203.0.113.5", "2001:db8:5::5");
    let status = format!(r#"{{"status":{{"loadBalancer":{{"ingress":[{{"ip":"{v4}"}},{{"ip":"{v6}"}}]}}}}}}"#);
    let patch = ["-n", "path-5", "patch", "service", "server", "--subresource=status", "--type=merge", "-p", &status];
    rig.cluster.kubectl(&patch)?;
    let node = Node(1);
    for (address, through) in [(v4, node.v4()), (v6, node.v6())] {
        rig.cluster.run(Place::Wan, &["ip", "route", "replace", address, "via", &through])?;
    }
    let sent = (|| -> Result<()> {
        let own = outside()?;
        for address in [v4.parse()?, v6.parse()?] {
            for transport in BOTH {
                let to = SocketAddr::new(address, 80);
                let packet = Packet::new(&Sender::Outside, transport, like(&own, address)?, to, node);
                said.push(compare(rig, &packet, true)?);
            }
        }
        Ok(())
    })();
    for address in [v4, v6] {
        rig.cluster.run(Place::Wan, &["ip", "route", "del", address])?;
    }
    sent
}

fn ingress(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    rig.rolled("path-6", "deployment/server")?;
    let ask = |node: Node, path: &str| {
        let url = format!("http://{}{path}", node.v4());
        rig.cluster.run(Place::Wan, &["curl", "-sS", "-m", "5", "-f", "-H", "Host: path-6.example.com", &url])
    };
    for node in rig.cluster.nodes() {
        let begin = Instant::now();
        while let Err(error) = ask(node, "/clientip") {
            ensure!(begin.elapsed() < Duration::from_secs(20), "{} doesn't serve the Ingress: {error:#}", node.name());
            std::thread::sleep(Duration::from_millis(200));
        }
        let source = ask(node, "/clientip")?;
        let source: SocketAddr = source.trim().parse().with_context(|| format!("the Pod answered {source:?}"))?;
        ensure!(rig.addresses(node)?.contains(&source.ip()), "the Pod saw {source}, not an address of {}", node.name());
        let forwarded = ask(node, "/header?key=X-Forwarded-For")?;
        ensure!(forwarded.trim() == WAN_V4, "X-Forwarded-For is {forwarded:?}, the client is {WAN_V4}");
        said.push(format!("{}: the Pod saw {source}, and {WAN_V4} in X-Forwarded-For", node.name()));
    }
    Ok(())
}
