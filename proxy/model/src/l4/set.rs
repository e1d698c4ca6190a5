//! The sets and maps of our nftables tables: their names, keys, data. The same in `ip rust-ingress` and `ip6 rust-ingress`.
//!
//! Keys are concatenations; in the kernel each field starts at a multiple of 4 bytes. Addresses, ports and protocols are in
//! network byte order, an index in the machine's own, because that is what `numgen` makes.

use std::fmt;
use std::net::IpAddr;

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `ip`.
    Ipv4,
    /// `ip6`.
    Ipv6,
}

impl Family {
    /// Both, in order.
    pub const BOTH: [Self; 2] = [Self::Ipv4, Self::Ipv6];

    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// As nft writes it: `ip` or `ip6`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ipv4 => "ip",
            Self::Ipv6 => "ip6",
        }
    }
}

/// A set or map. `BTreeMap`s in this order give the order of declaration.
///
/// A *frontend* is `daddr . protocol . dport` of a packet before DNAT; a *node port* is `protocol . dport` where daddr is in
/// `node-addresses`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetName {
    /// Addresses that NodePorts are served on.
    NodeAddresses,
    /// Loopback addresses, where NodePorts are taken there.
    Loopback,
    /// Sources of this node's Pods.
    LocalPods,
    /// ClusterIPs: a port of theirs that is in no map is rejected.
    ClusterIps,
    /// Ranges of ClusterIPs: an address of theirs that no Service has is dropped.
    ServiceCidrs,
    /// Frontend → verdict.
    Services,
    /// Frontend → verdict for what comes from outside, where that differs: externalTrafficPolicy Local.
    ServicesOutside,
    /// Frontend . index → endpoint. From [`super::element::OUTSIDE`] on: endpoints for what comes from outside.
    Endpoints,
    /// As `Services`, for node ports.
    NodePorts,
    /// As `ServicesOutside`, for node ports.
    NodePortsOutside,
    /// As `Endpoints`, for node ports.
    NodePortEndpoints,
    /// Frontends that only `SourceRanges` may use.
    Firewalled,
    /// Frontend . source.
    SourceRanges,
    /// Frontends whose connections get the node's address, unless a Pod of this node makes them.
    Masqueraded,
    /// As `Masqueraded`, for node ports.
    MasqueradedNodePorts,
    /// Frontends that keep the source, unless it is the node itself: externalTrafficPolicy Local.
    SourceKept,
    /// As `SourceKept`, for node ports.
    SourceKeptNodePorts,
    /// This node's endpoints, each with itself: a Pod that reaches itself through a Service.
    Hairpin,
    /// Frontend → chain that records which endpoint a client got: session affinity.
    Sticky,
    /// As `Sticky`, for node ports.
    StickyNodePorts,
    /// Source . frontend → endpoint. Written by the kernel.
    Affinity,
    /// Source . node port → endpoint. Written by the kernel.
    NodePortAffinity,
    /// Destinations that see the Pod's address.
    NonMasquerade,
    /// TCP, for as long as the L7 proxy of this node is alive: who programs the node refreshes it, and it ends by itself.
    L7Alive,
    /// Where the proxy's own connections to endpoints come from ([`super::l7`]).
    L7Own,
    /// Frontend → the proxy of this node.
    L7Services,
    /// As `L7Services`, for node ports.
    L7NodePorts,
    /// Frontends that are refused while the proxy isn't alive.
    L7Only,
    /// As `L7Only`, for node ports.
    L7OnlyNodePorts,
    /// Range of the proxy's sources → range of the clients that they stand for.
    L7Sources,
    /// As node ports: where the proxy of this node listens for Gateways, each at an address of its own. Nobody asks for them as such.
    GatewayPorts,
}

/// One field of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// An address of the table's family: 4 or 16 bytes.
    Address,
    /// A protocol number: 1 byte.
    Protocol,
    /// A port: 2 bytes.
    Port,
    /// A random number's kind: 4 bytes.
    Index,
}

/// What a set gives for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// Nothing: it is a set.
    None,
    /// Where to go on.
    Verdict,
    /// Address . port.
    Endpoint,
    /// A range of addresses.
    Range,
}

/// A declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: SetName,
    /// The fields of its key.
    pub key: &'static [FieldType],
    /// What it gives.
    pub data: DataType,
    /// A field of the key is a range.
    pub interval: bool,
    /// What is in it ends by itself.
    pub expires: bool,
    /// Rules add to it; what they add ends by itself.
    pub dynamic: bool,
    /// How many elements fit.
    pub size: u32,
}

const PROTOCOL: &[FieldType] = &[FieldType::Protocol];
const ADDRESS: &[FieldType] = &[FieldType::Address];
const PAIR: &[FieldType] = &[FieldType::Address, FieldType::Address];
const FRONTEND: &[FieldType] = &[FieldType::Address, FieldType::Protocol, FieldType::Port];
const FRONTEND_INDEX: &[FieldType] = &[FieldType::Address, FieldType::Protocol, FieldType::Port, FieldType::Index];
const FRONTEND_SOURCE: &[FieldType] = &[FieldType::Address, FieldType::Protocol, FieldType::Port, FieldType::Address];
const SOURCE_FRONTEND: &[FieldType] = &[FieldType::Address, FieldType::Address, FieldType::Protocol, FieldType::Port];
const NODE_PORT: &[FieldType] = &[FieldType::Protocol, FieldType::Port];
const NODE_PORT_INDEX: &[FieldType] = &[FieldType::Protocol, FieldType::Port, FieldType::Index];
const SOURCE_NODE_PORT: &[FieldType] = &[FieldType::Address, FieldType::Protocol, FieldType::Port];

impl SetName {
    /// All, in order of declaration.
    pub const ALL: [Self; 31] = [
        Self::NodeAddresses,
        Self::Loopback,
        Self::LocalPods,
        Self::ClusterIps,
        Self::ServiceCidrs,
        Self::Services,
        Self::ServicesOutside,
        Self::Endpoints,
        Self::NodePorts,
        Self::NodePortsOutside,
        Self::NodePortEndpoints,
        Self::Firewalled,
        Self::SourceRanges,
        Self::Masqueraded,
        Self::MasqueradedNodePorts,
        Self::SourceKept,
        Self::SourceKeptNodePorts,
        Self::Hairpin,
        Self::Sticky,
        Self::StickyNodePorts,
        Self::Affinity,
        Self::NodePortAffinity,
        Self::NonMasquerade,
        Self::L7Alive,
        Self::L7Own,
        Self::L7Services,
        Self::L7NodePorts,
        Self::L7Only,
        Self::L7OnlyNodePorts,
        Self::L7Sources,
        Self::GatewayPorts,
    ];

    /// Its name in the kernel. No keyword of nft's, which can't be names there.
    pub fn name(self) -> &'static str {
        match self {
            Self::NodeAddresses => "node-addresses",
            Self::Loopback => "loopback",
            Self::LocalPods => "local-pods",
            Self::ClusterIps => "cluster-ips",
            Self::ServiceCidrs => "service-cidrs",
            Self::Services => "services",
            Self::ServicesOutside => "services-outside",
            Self::Endpoints => "endpoints",
            Self::NodePorts => "node-ports",
            Self::NodePortsOutside => "node-ports-outside",
            Self::NodePortEndpoints => "node-port-endpoints",
            Self::Firewalled => "firewalled",
            Self::SourceRanges => "source-ranges",
            Self::Masqueraded => "masqueraded",
            Self::MasqueradedNodePorts => "masqueraded-node-ports",
            Self::SourceKept => "source-kept",
            Self::SourceKeptNodePorts => "source-kept-node-ports",
            Self::Hairpin => "hairpin",
            Self::Sticky => "sticky",
            Self::StickyNodePorts => "sticky-node-ports",
            Self::Affinity => "affinity",
            Self::NodePortAffinity => "node-port-affinity",
            Self::NonMasquerade => "non-masquerade",
            Self::L7Alive => "l7-alive",
            Self::L7Own => "l7-own",
            Self::L7Services => "l7-services",
            Self::L7NodePorts => "l7-node-ports",
            Self::L7Only => "l7-only",
            Self::L7OnlyNodePorts => "l7-only-node-ports",
            Self::L7Sources => "l7-sources",
            Self::GatewayPorts => "gateway-ports",
        }
    }

    /// What its keys are.
    fn key(self) -> &'static [FieldType] {
        match self {
            Self::NodeAddresses | Self::LocalPods | Self::ClusterIps | Self::ServiceCidrs | Self::NonMasquerade => ADDRESS,
            Self::Loopback | Self::L7Own | Self::L7Sources => ADDRESS,
            Self::L7Alive => PROTOCOL,
            Self::L7Services | Self::L7Only => FRONTEND,
            Self::L7NodePorts | Self::L7OnlyNodePorts | Self::GatewayPorts => NODE_PORT,
            Self::Services | Self::ServicesOutside | Self::Firewalled => FRONTEND,
            Self::Masqueraded | Self::SourceKept | Self::Sticky => FRONTEND,
            Self::Endpoints => FRONTEND_INDEX,
            Self::NodePorts | Self::NodePortsOutside => NODE_PORT,
            Self::MasqueradedNodePorts | Self::SourceKeptNodePorts | Self::StickyNodePorts => NODE_PORT,
            Self::NodePortEndpoints => NODE_PORT_INDEX,
            Self::SourceRanges => FRONTEND_SOURCE,
            Self::Hairpin => PAIR,
            Self::Affinity => SOURCE_FRONTEND,
            Self::NodePortAffinity => SOURCE_NODE_PORT,
        }
    }

    fn data(self) -> DataType {
        match self {
            Self::Services | Self::ServicesOutside | Self::NodePorts | Self::NodePortsOutside => DataType::Verdict,
            Self::Sticky | Self::StickyNodePorts => DataType::Verdict,
            Self::Endpoints | Self::NodePortEndpoints | Self::Affinity | Self::NodePortAffinity => DataType::Endpoint,
            Self::L7Services | Self::L7NodePorts => DataType::Endpoint,
            Self::L7Sources => DataType::Range,
            _ => DataType::None,
        }
    }

    /// The declaration, with room for so many elements.
    pub fn declaration(self, size: u32) -> Set {
        Set {
            name: self,
            key: self.key(),
            data: self.data(),
            interval: matches!(self, Self::LocalPods | Self::ServiceCidrs | Self::SourceRanges | Self::NonMasquerade)
                || matches!(self, Self::Loopback | Self::L7Own | Self::L7Sources),
            expires: self == Self::L7Alive,
            dynamic: matches!(self, Self::Affinity | Self::NodePortAffinity),
            size,
        }
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
