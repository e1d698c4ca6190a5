//! Path 5 through a pool: the Service gets its addresses from an AddressPool, one node answers for each on the bridge, and when that
//! node is cut off another does.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::Rig;
use super::ends::{like, outside};
use super::packet::{Packet, Sender};
use super::seen::{BOTH, compare};
use crate::chart::RELEASE;
use crate::cluster::{Node, Place};

const POOL: &str = r#"{"apiVersion": "rust-ingress.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": "path-5"},
    "spec": {"addresses": ["192.0.2.200-192.0.2.230", "2001:db8::c8-2001:db8::e6"], "default": true}}"#;
/// How long the other node may take, from the last moment at which the first one could have been reached.
const FAILOVER: Duration = Duration::from_secs(3);

/// The case.
pub fn pool(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    apply(rig, POOL)?;
    let done = through(rig, said);
    rig.cluster.kubectl(&["delete", "addresspool", "path-5"])?;
    done
}

fn apply(rig: &Rig<'_>, object: &str) -> Result<()> {
    let file = rig.cluster.folder().join("path-5.json");
    std::fs::write(&file, object)?;
    rig.cluster.kubectl(&["apply", "-f", &file.display().to_string()]).map(drop)
}

/// A question asked until it is answered, or for 40 s: an earlier installation's Lease may have to run out.
fn until<T>(what: &str, ask: impl Fn() -> Result<Option<T>>) -> Result<T> {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        ensure!(begin.elapsed() < Duration::from_secs(40), "not within 40 s: {what}");
        sleep(Duration::from_millis(100));
    }
}

fn given(rig: &Rig<'_>) -> Result<Vec<IpAddr>> {
    let each = "jsonpath={.status.loadBalancer.ingress[*].ip}";
    let text = rig.cluster.kubectl(&["-n", "path-5", "get", "service", "server", "-o", each])?;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// The node whose Lease says that it holds an address.
fn holder(rig: &Rig<'_>, address: IpAddr) -> Result<Option<Node>> {
    let text = rig.cluster.kubectl(&["-n", RELEASE, "get", "leases", "-l", "rust-ingress.dev/announces", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text)?;
    for lease in list["items"].as_array().context("a list")? {
        let annotation = |name: &str| lease["metadata"]["annotations"][name].as_str().unwrap_or_default();
        let holds = annotation("rust-ingress.dev/holds").split(',').any(|held| held == address.to_string());
        if holds && lease["spec"]["holderIdentity"].is_string() {
            return Ok(rig.cluster.nodes().find(|node| node.name() == annotation("rust-ingress.dev/node")));
        }
    }
    Ok(None)
}

fn through(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    rig.rolled("path-5", "deployment/server")?;
    let addresses =
        until("two addresses in the Service's status", || Ok(Some(given(rig)?).filter(|addresses| addresses.len() == 2)))?;
    let own = outside()?;
    for address in &addresses {
        let node = until("a node that holds it", || holder(rig, *address))?;
        sleep(Duration::from_millis(500));
        for transport in BOTH {
            let packet = Packet::new(&Sender::Outside, transport, like(&own, *address)?, SocketAddr::new(*address, 80), node);
            said.push(compare(rig, &packet, true)?);
        }
        at_node(rig, *address, node)?;
        said.push(format!("{address}: {} answers for it", node.name()));
    }
    cut_off(rig, said)?;
    released(rig)
}

/// The outside finds an address at this node, and there is no route to it nor is it on an interface.
fn at_node(rig: &Rig<'_>, address: IpAddr, node: Node) -> Result<()> {
    let shown = rig.cluster.run(Place::Wan, &["ip", "neigh", "show", &address.to_string()])?;
    let link = rig.cluster.run(Place::Network(node.0), &["ip", "-br", "link", "show", "eth0"])?;
    let mac = link.split_whitespace().nth(2).context("a hardware address")?;
    ensure!(shown.contains(mac), "{address} is at {shown:?}, not at {mac} of {}", node.name());
    for node in rig.cluster.nodes() {
        ensure!(!rig.addresses(node)?.contains(&address), "{address} is on an interface of {}", node.name());
    }
    Ok(())
}

/// An address that the second node holds, whose cable is then pulled: the API server is on the first.
fn cut_off(rig: &Rig<'_>, said: &mut Vec<String>) -> Result<()> {
    let ask = |address: &str| {
        let annotations = json!({"metadata": {"annotations": {"rust-ingress.dev/addresses": address}}}).to_string();
        rig.cluster.kubectl(&["-n", "path-5", "patch", "service", "server", "--type=merge", "-p", &annotations])
    };
    let mut found = None;
    for last in 210..220 {
        let address: IpAddr = format!("192.0.2.{last}").parse()?;
        ask(&address.to_string())?;
        until("the address that was asked for", || Ok(given(rig)?.contains(&address).then_some(())))?;
        if until("a node that holds it", || holder(rig, address))? == Node(2) {
            found = Some(address);
            break;
        }
    }
    let to = SocketAddr::new(found.context("node2 holds none of ten addresses")?, 80);
    let reached = || TcpStream::connect_timeout(&to, Duration::from_millis(100)).is_ok();
    until("the address is reached", || Ok(reached().then_some(())))?;
    // A Pod on the node that is gone can't answer: those on the other one do.
    let elsewhere = r#"{"spec": {"template": {"spec": {"nodeName": "node1"}}}}"#;
    rig.cluster.kubectl(&["-n", "path-5", "patch", "deployment", "server", "-p", elsewhere])?;
    rig.rolled("path-5", "deployment/server")?;
    until("the address is reached with the Pod on node1", || Ok(reached().then_some(())))?;
    rig.cluster.run(Place::Wan, &["ip", "link", "set", "node2", "down"])?;
    let begin = Instant::now();
    while !reached() && begin.elapsed() < Duration::from_secs(10) {
        sleep(Duration::from_millis(20));
    }
    let took = begin.elapsed();
    rig.cluster.run(Place::Wan, &["ip", "link", "set", "node2", "up"])?;
    said.push(format!("{}: node2 cut off, node1 answers after {:.2} s", to.ip(), took.as_secs_f64()));
    ensure!(took <= FAILOVER, "node1 took {took:?}, longer than {FAILOVER:?}");
    // Who comes back takes nothing.
    sleep(Duration::from_secs(6));
    ensure!(holder(rig, to.ip())? == Some(Node(1)), "node2 has taken the address back");
    ensure!(reached(), "{to} isn't reached after node2 came back");
    at_node(rig, to.ip(), Node(1))
}

/// A Service that goes is not kept, and gives its addresses back.
fn released(rig: &Rig<'_>) -> Result<()> {
    let text = rig.cluster.kubectl(&["-n", "path-5", "get", "service", "server", "-o", "jsonpath={.metadata.finalizers}"])?;
    ensure!(text.contains("service.kubernetes.io/load-balancer-cleanup"), "the Service's finalizers are {text}");
    rig.cluster.kubectl(&["-n", "path-5", "delete", "service", "server", "--timeout=20s"]).map(drop)
}
