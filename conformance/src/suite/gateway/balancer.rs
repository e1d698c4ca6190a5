//! What gives addresses to Services of type LoadBalancer while the suite runs, as a cloud does: the test cluster has none.
//!
//! Addresses come from one range, whose route leads to the first node; whoever asks for one inside of it gets it. Nothing but the
//! Service's status is written.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Node, Place};

/// Where the addresses come from.
const RANGE: &str = "203.0.113.0/24";
/// How often it looks.
const EVERY: Duration = Duration::from_millis(500);

/// Runs something with a load balancer beside it.
pub fn beside<T>(cluster: &Cluster, work: impl FnOnce() -> Result<T>) -> Result<T> {
    cluster.run(Place::Wan, &["ip", "route", "replace", RANGE, "via", &Node(1).v4()])?;
    let done = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Err(error) = give(cluster) {
                    eprintln!("the load balancer of the suite: {error:#}; tried again");
                }
                std::thread::sleep(EVERY);
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    });
    cluster.run(Place::Wan, &["ip", "route", "del", RANGE])?;
    result
}

/// Gives an address to each Service that has none.
fn give(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl(&["get", "services", "-A", "-o", "json"])?;
    let list: Value = serde_json::from_str(&text).context("kubectl's list of Services can't be read")?;
    let services = || list["items"].as_array().into_iter().flatten().filter(|service| service["spec"]["type"] == "LoadBalancer");
    let has = |service: &Value| service["status"]["loadBalancer"]["ingress"][0]["ip"].as_str().and_then(|ip| ip.parse().ok());
    let mut taken: BTreeSet<IpAddr> = services().filter_map(has).collect();
    for service in services().filter(|service| has(service).is_none()) {
        let asked = service["spec"]["loadBalancerIP"].as_str().and_then(|text| text.parse().ok());
        let free = || (1..200).map(|last| IpAddr::from(Ipv4Addr::new(203, 0, 113, last))).find(|ip| !taken.contains(ip));
        let given = match asked {
            Some(IpAddr::V4(ip)) => Some(IpAddr::V4(ip)).filter(|_| ip.octets().starts_with(&[203, 0, 113])),
            Some(IpAddr::V6(_)) => None,
            None => free(),
        };
        let Some(ip) = given.filter(|ip| !taken.contains(ip)) else { continue };
        taken.insert(ip);
        let name = |field: &str| service["metadata"][field].as_str().unwrap_or_default().to_owned();
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}}}).to_string();
        let (namespace, name) = (name("namespace"), name("name"));
        // Gone already, perhaps: the next look shows.
        drop(cluster.kubectl(&[
            "-n",
            &namespace,
            "patch",
            "service",
            &name,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ]));
    }
    Ok(())
}
