//! Names, addresses and folders of the test cluster: all that follows from the number of nodes alone. Pure.
//!
//! Documentation ranges stand for the outside (RFC 5737, RFC 3849), so that no address can belong to somebody.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The network namespace of the outside world: a bridge, and the address that a client on the Internet has.
pub const WAN: &str = "ri-wan";
/// The outside's address on the bridge, and the nodes' default gateway.
pub const WAN_V4: &str = "192.0.2.1";
/// The same in IPv6.
pub const WAN_V6: &str = "2001:db8::1";
/// Ranges of the Services' virtual IPs.
pub const SERVICE_RANGES: &str = "10.96.0.0/16,fd00:96::/112";
/// Where CoreDNS answers once Services work.
pub const DNS_V4: &str = "10.96.0.10";
/// The range that holds every node's Pod range.
pub const POD_RANGES: &str = "10.244.0.0/16,fd00:244::/32";
/// The port of the apiserver, on node1's address.
pub const API_PORT: u16 = 6443;
/// The cgroup that holds all of the cluster, in every hierarchy.
pub const CGROUP: &str = "rust-ingress";
/// More would not fit the last byte of the addresses (11 is node1), nor any machine this is for.
pub const MOST_NODES: u8 = 40;

/// One node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node(pub u8);

impl Node {
    /// All nodes of a cluster.
    pub fn all(count: u8) -> impl Iterator<Item = Self> + Clone {
        (1..=count).map(Self)
    }
    /// The node's name in Kubernetes.
    pub fn name(self) -> String {
        format!("node{}", self.0)
    }
    /// Its network namespace.
    pub fn namespace(self) -> String {
        format!("ri-node{}", self.0)
    }
    /// Its address on the bridge: 192.0.2.11 is node1.
    pub fn v4(self) -> String {
        format!("192.0.2.{}", 10 + self.0)
    }
    /// The same in IPv6: 2001:db8::11 is node1.
    pub fn v6(self) -> String {
        format!("2001:db8::{}", 10 + self.0)
    }
    /// Its Pods' range.
    pub fn pods_v4(self) -> String {
        format!("10.244.{}.0/24", self.0)
    }
    /// The same in IPv6.
    pub fn pods_v6(self) -> String {
        format!("fd00:244:{}::/64", self.0)
    }
    /// Its end of the overlay, with `--pod-network vxlan`.
    pub fn tunnel_v4(self) -> String {
        format!("10.245.0.{}", self.0)
    }
    /// The same in IPv6.
    pub fn tunnel_v6(self) -> String {
        format!("fd00:245::{}", self.0)
    }
    /// Three zones in turn, so that six nodes are three zones of two.
    pub fn zone(self) -> String {
        format!("zone-{}", ["a", "b", "c"][usize::from(self.0.saturating_sub(1)) % 3])
    }
    /// The cgroup of its Pods.
    pub fn cgroup(self) -> String {
        format!("{CGROUP}/{}", self.name())
    }
}

/// Where the apiserver listens.
pub fn api_server() -> String {
    format!("https://{}:{API_PORT}", Node(1).v4())
}

/// The cache folder of this project: `$XDG_CACHE_HOME/rust-ingress` or `~/.cache/rust-ingress`.
pub fn cache() -> Result<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let base = std::env::var_os("XDG_CACHE_HOME").filter(|folder| !folder.is_empty()).map(PathBuf::from).or_else(home);
    let base = base.context("neither XDG_CACHE_HOME nor HOME is set: set one of them to where build results may be kept")?;
    ensure!(base.is_absolute(), "XDG_CACHE_HOME is {}: it must be an absolute path", base.display());
    Ok(base.join("rust-ingress"))
}

/// Where the cluster's state is kept while it is up.
pub fn state() -> Result<PathBuf> {
    let folder = cache()?.join("cluster");
    let hidden = ["/run", "/var/run", "/var/lib", "/var/log"].iter().find(|hidden| folder.starts_with(hidden));
    ensure!(
        hidden.is_none(),
        "the cluster's folder would be {}: every node has its own {}, so set XDG_CACHE_HOME to a folder elsewhere",
        folder.display(),
        hidden.unwrap_or(&"")
    );
    Ok(folder)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn six_nodes_are_three_zones_of_two() {
        let zones: Vec<String> = Node::all(6).map(Node::zone).collect();
        assert_eq!(zones, ["zone-a", "zone-b", "zone-c", "zone-a", "zone-b", "zone-c"]);
    }

    #[test]
    fn nodes_do_not_share_addresses_with_each_other_or_the_outside() {
        let mut seen = std::collections::BTreeSet::from([WAN_V4.to_owned(), WAN_V6.to_owned()]);
        for node in Node::all(MOST_NODES) {
            for address in [node.v4(), node.v6(), node.pods_v4(), node.pods_v6(), node.tunnel_v4(), node.tunnel_v6()] {
                assert!(seen.insert(address.clone()), "{address} of {} is taken", node.name());
            }
            assert!(node.v6().parse::<std::net::Ipv6Addr>().is_ok());
        }
    }
}
