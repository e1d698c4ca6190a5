//! kube-proxy's health ports, asked over HTTP.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rust_ingress_model::l4::{L4Service, L4Settings, TrafficPolicy};

use crate::suite::Report;
use crate::suite::packets::bed::{Bed, service};
use crate::suite::packets::namespace::Namespace;
use crate::suite::packets::rig::{Family, Rig, at};

const GROUP: &str = "health";
const CHECK: u16 = 32_100;

/// Runs the group.
pub fn all(rig: &Rig, report: &mut Report) {
    report.case(GROUP, "/healthz and /livez, from outside; /proxyMode and /metrics, on loopback only", || ports(rig));
    report.case(GROUP, "healthCheckNodePort: endpoints of this node, in kube-proxy's JSON", || check(rig));
    report.case(GROUP, "a port in use is taken when it is free", || taken(rig));
}

/// Status and body of a GET.
fn get(from: &Namespace, at: SocketAddr, path: &str) -> Result<(u16, String)> {
    from.inside(|| {
        let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(1)).with_context(|| format!("{at}"))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, body.to_owned()))
    })
}

/// Asks until the status is this; the body.
fn until(from: &Namespace, at: SocketAddr, path: &str, expected: u16) -> Result<String> {
    let begin = Instant::now();
    loop {
        match get(from, at, path) {
            Ok((status, body)) if status == expected => return Ok(body),
            other => ensure!(begin.elapsed() < Duration::from_secs(3), "{at}{path}: {other:?}, not {expected}"),
        }
        sleep(Duration::from_millis(50));
    }
}

fn ports(rig: &Rig) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    let health = |family| SocketAddr::new(at::node(family), 10_256);
    let status = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10_249);
    until(&rig.client, health(Family::V4), "/healthz", 503)?;
    until(&rig.client, health(Family::V6), "/livez", 200)?;
    bed.publish(&[service(&["pod1"])])?;
    for family in Family::BOTH {
        let body = until(&rig.client, health(family), "/healthz", 200)?;
        ensure!(body.contains("\"nodeEligible\": true"), "{body}");
    }
    ensure!(until(&rig.node, status, "/proxyMode", 200)? == "nftables");
    let metrics = until(&rig.node, status, "/metrics", 200)?;
    ensure!(metrics.contains("kubeproxy_sync_proxy_rules_duration_seconds_count 1"), "{metrics}");
    ensure!(
        get(&rig.client, SocketAddr::new(at::node(Family::V4), 10_249), "/metrics").is_err(),
        "metrics can be asked from outside"
    );
    bed.clean()
}

fn check(rig: &Rig) -> Result<()> {
    let bed = Bed::start(rig, L4Settings::default())?;
    let local =
        |pods: &[&str]| L4Service { external: TrafficPolicy::Local, health_check_node_port: Some(CHECK), ..service(pods) };
    for family in Family::BOTH {
        let at = SocketAddr::new(at::node(family), CHECK);
        bed.publish_as("local", &[local(&["pod1", "pod2", "remote"])])?;
        let body: serde_json::Value = serde_json::from_str(&until(&rig.client, at, "/", 200)?)?;
        // Each Pod once, though it has two addresses.
        let expected = serde_json::json!({
            "service": { "namespace": "default", "name": "local-0" }, "localEndpoints": 2, "serviceProxyHealthy": true
        });
        ensure!(body == expected, "{body}");
        bed.publish_as("local", &[local(&["remote"])])?;
        until(&rig.client, at, "/", 503)?;
        bed.publish(&[])?;
        let begin = Instant::now();
        while get(&rig.client, at, "/").is_ok() {
            ensure!(begin.elapsed() < Duration::from_secs(3), "{at} is still served");
        }
    }
    bed.clean()
}

fn taken(rig: &Rig) -> Result<()> {
    let other = rig.node.inside(|| Ok(TcpListener::bind("[::]:10256")?))?;
    let bed = Bed::start(rig, L4Settings::default())?;
    bed.publish(&[])?;
    drop(other);
    until(&rig.client, SocketAddr::new(at::node(Family::V4), 10_256), "/healthz", 200)?;
    bed.clean()
}
