//! Pools of addresses for Services of type LoadBalancer and Gateways, where no cloud hands them out. Written by translation; read
//! by who answers for an address on the link.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::set::Family;
use crate::names::Name;

/// Addresses from one to another, both included, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// A text that is no range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRange(&'static str);

impl AddressRange {
    /// The first address.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// Whether they have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.first) || other.contains(self.first)
    }

    /// Their family.
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }
}

/// The address behind this one; none behind the last of its family.
pub fn following(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(address) => u128::from(address).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}

/// The address before this one; none before the first of its family.
fn preceding(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => u32::from(address).checked_sub(1).map(|before| IpAddr::V4(before.into())),
        IpAddr::V6(address) => u128::from(address).checked_sub(1).map(|before| IpAddr::V6(before.into())),
    }
}

impl FromStr for AddressRange {
    type Err = BadRange;

    /// A CIDR without its network and broadcast address (IPv6: without the routers' anycast address, RFC 4291 §2.6.1), an
    /// address, or `first-last`.
    fn from_str(text: &str) -> Result<Self, BadRange> {
        const SHAPE: BadRange = BadRange("isn't a CIDR such as 192.0.2.0/24 or a range such as 192.0.2.10-192.0.2.20");
        let range = match text.split_once('-') {
            Some((first, last)) => {
                let (first, last) = (first.trim().parse().map_err(|_| SHAPE)?, last.trim().parse().map_err(|_| SHAPE)?);
                Self { first, last }
            }
            None => match text.trim().parse::<IpNet>() {
                Ok(net) => Self::of_net(&net),
                Err(_) => text.trim().parse().map(|first| Self { first, last: first }).map_err(|_| SHAPE)?,
            },
        };
        if range.first.is_ipv4() != range.last.is_ipv4() {
            return Err(BadRange("begins in one address family and ends in another"));
        }
        if range.first > range.last {
            return Err(BadRange("ends before it begins"));
        }
        let usable = |address: IpAddr| !(address.is_unspecified() || address.is_loopback() || address.is_multicast());
        // Each kind is one stretch of addresses, so that the ends and what they enclose tell of all.
        let kinds = ["0.0.0.0", "127.0.0.1", "224.0.0.1", "::", "::1", "ff02::1"].map(str::parse::<IpAddr>);
        if !usable(range.first) || !usable(range.last) || kinds.iter().flatten().any(|kind| range.contains(*kind)) {
            return Err(BadRange("has addresses that no host can have: unspecified, loopback or multicast"));
        }
        let link_local = |address: IpAddr| match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        if link_local(range.first) || link_local(range.last) {
            return Err(BadRange("has link-local addresses, which no router carries"));
        }
        Ok(range)
    }
}

impl AddressRange {
    fn of_net(net: &IpNet) -> Self {
        let (first, last) = (net.network(), net.broadcast());
        let hosts = net.max_prefix_len() - net.prefix_len();
        match net {
            _ if hosts < 2 => Self { first, last },
            IpNet::V4(_) => Self { first: following(first).unwrap_or(first), last: preceding(last).unwrap_or(last) },
            IpNet::V6(_) => Self { first: following(first).unwrap_or(first), last },
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

impl TryFrom<String> for AddressRange {
    type Error = BadRange;
    fn try_from(text: String) -> Result<Self, BadRange> {
        text.parse()
    }
}

impl From<AddressRange> for String {
    fn from(range: AddressRange) -> Self {
        range.to_string()
    }
}

/// One pool: what of it matters to nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pool {
    /// Its addresses; no two pools of a snapshot have one in common.
    pub ranges: Vec<AddressRange>,
    /// Labels that a node must have to answer for them; none: every node may.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<Name, Name>,
    /// How many nodes take part in answering, at most: each of them renews a Lease twice a second.
    pub max_nodes: u32,
}

impl Pool {
    /// Whether the address is one of its.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(text: &str) -> String {
        text.parse::<AddressRange>().map_or_else(|error| format!("{text} {error}"), |range| range.to_string())
    }

    #[test]
    fn cidrs_lose_what_hosts_cannot_have() {
        assert_eq!(read("192.0.2.0/24"), "192.0.2.1-192.0.2.254");
        assert_eq!(read("192.0.2.7/29"), "192.0.2.1-192.0.2.6");
        assert_eq!(read("192.0.2.4/31"), "192.0.2.4-192.0.2.5");
        assert_eq!(read("192.0.2.4/32"), "192.0.2.4");
        assert_eq!(read("2001:db8::/126"), "2001:db8::1-2001:db8::3");
        assert_eq!(read("2001:db8::7/128"), "2001:db8::7");
        assert_eq!(read("192.0.2.10 - 192.0.2.20"), "192.0.2.10-192.0.2.20");
        assert_eq!(read("192.0.2.10"), "192.0.2.10");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "x", "192.0.2.0/33", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "0.0.0.0/0", "127.0.0.0/8", "::/0"] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
        }
        for bad in ["126.0.0.0-128.0.0.0", "224.0.0.0/4", "ff02::/16", "169.254.0.0/16", "fe80::/64", "1.1.1.1-2.2.2.2-3.3.3.3"] {
            assert!(bad.parse::<AddressRange>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_know_what_they_have() {
        let range: AddressRange = "192.0.2.10-192.0.2.20".parse().unwrap();
        let other = |text: &str| text.parse::<AddressRange>().unwrap();
        assert!(range.contains("192.0.2.20".parse().unwrap()) && !range.contains("192.0.2.21".parse().unwrap()));
        assert!(range.overlaps(&other("192.0.2.20-192.0.2.30")) && range.overlaps(&other("192.0.2.0/24")));
        assert!(!range.overlaps(&other("192.0.2.21")) && !range.overlaps(&other("2001:db8::/64")));
    }
}
