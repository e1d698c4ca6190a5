//! Elements of sets and maps: all that changes in the kernel when Services, endpoints or the node do.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::rule::ChainName;
use super::service::Transport;
use super::set::{Family, SetName};

/// Indexes below are endpoints for traffic of this node and its Pods (and all, where outside is no different), from here on those
/// for traffic from outside. So a Service port has at most 65,536 endpoints.
pub const OUTSIDE: u32 = 65_536;

/// Where clients send packets to: an address, a protocol, a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// ClusterIP, external IP or load balancer IP.
    pub address: IpAddr,
    /// The protocol.
    pub transport: Transport,
    /// The Service's port.
    pub port: u16,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.transport.name(), SocketAddr::new(self.address, self.port))
    }
}

/// A port on the node's addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodePort {
    /// The protocol.
    pub transport: Transport,
    /// The port.
    pub port: u16,
}

/// A key, whose fields are as [`SetName::declaration`] of its set says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// `node-addresses`, `cluster-ips`.
    Address(IpAddr),
    /// `local-pods`, `service-cidrs`, `non-masquerade`, `l7-own`, `l7-sources`: none overlaps another of the set.
    Network(IpNet),
    /// `l7-alive`.
    Protocol(Transport),
    /// `hairpin`: twice the same.
    Itself(IpAddr),
    /// `services` and others.
    Frontend(Frontend),
    /// `endpoints`.
    Endpoint(Frontend, u32),
    /// `source-ranges`: none overlaps another of its frontend.
    Source(Frontend, IpNet),
    /// `node-ports` and others.
    NodePort(NodePort),
    /// `node-port-endpoints`.
    NodePortEndpoint(NodePort, u32),
}

/// One field of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// An address.
    Address(IpAddr),
    /// A range of addresses, from the network's to its broadcast address.
    Network(IpNet),
    /// A protocol.
    Protocol(Transport),
    /// A port.
    Port(u16),
    /// An index, in the machine's byte order.
    Index(u32),
}

impl Key {
    /// Its fields, in order.
    pub fn fields(&self) -> impl Iterator<Item = Field> {
        let frontend = |f: &Frontend| [Field::Address(f.address), Field::Protocol(f.transport), Field::Port(f.port)].map(Some);
        let node_port = |p: &NodePort| [Field::Protocol(p.transport), Field::Port(p.port)].map(Some);
        let fields = match self {
            Self::Address(address) => [Some(Field::Address(*address)), None, None, None],
            Self::Network(network) => [Some(Field::Network(*network)), None, None, None],
            Self::Protocol(transport) => [Some(Field::Protocol(*transport)), None, None, None],
            Self::Itself(address) => [Some(Field::Address(*address)), Some(Field::Address(*address)), None, None],
            Self::Frontend(key) | Self::Endpoint(key, _) | Self::Source(key, _) => {
                let [address, protocol, port] = frontend(key);
                let last = match self {
                    Self::Endpoint(_, index) => Some(Field::Index(*index)),
                    Self::Source(_, network) => Some(Field::Network(*network)),
                    _ => None,
                };
                [address, protocol, port, last]
            }
            Self::NodePort(key) | Self::NodePortEndpoint(key, _) => {
                let [protocol, port] = node_port(key);
                let last = match self {
                    Self::NodePortEndpoint(_, index) => Some(Field::Index(*index)),
                    _ => None,
                };
                [protocol, port, last, None]
            }
        };
        fields.into_iter().flatten()
    }
}

/// What a vmap says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verdict {
    /// Go on in a chain, and don't come back.
    Goto(ChainName),
    /// Go through a chain, and come back.
    Jump(ChainName),
    /// Drop the packet.
    Drop,
}

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    /// Being there is all.
    None,
    /// For a map of verdicts.
    Verdict(Verdict),
    /// For a map of endpoints.
    Endpoint(SocketAddr),
    /// For a map of ranges.
    Network(IpNet),
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Element {
    /// The table's family.
    pub family: Family,
    /// The set or map.
    pub set: SetName,
    /// The key; unique in its set.
    pub key: Key,
    /// The data.
    pub data: Data,
}
