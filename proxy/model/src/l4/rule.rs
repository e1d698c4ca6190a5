//! Chains, rules and their steps, as values: the few things that our fixed rules consist of.
//!
//! Closed enums, so that whoever encodes them as bytes or writes them as text has to know every one.

use std::fmt;

use super::service::Transport;
use super::set::SetName;
use crate::names::Name;

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Its name.
    pub name: ChainName,
    /// Where the kernel enters it; none: only from other chains.
    pub base: Option<Base>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// A base chain's place; its type is `nat`, its policy `accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    /// The hook.
    pub hook: Hook,
    /// The priority.
    pub priority: i32,
}

/// A netfilter hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What comes in, before routing.
    Prerouting,
    /// What is for this host.
    Input,
    /// What this host sends.
    Output,
    /// What leaves.
    Postrouting,
}

/// A chain's name. Its text is the name in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChainName {
    /// Base: DNAT of what comes in.
    Prerouting,
    /// Base: DNAT of what this host sends.
    Output,
    /// Base: records affinity where an endpoint is this host.
    Input,
    /// Base: SNAT.
    Postrouting,
    /// Drops what loadBalancerSourceRanges don't allow.
    Firewall,
    /// To the L7 proxy of this node, while it is alive, what is for it; refuses what may not go on without it.
    ToL7,
    /// Whose address a connection of the proxy to an endpoint gets.
    L7Source,
    /// Frontends as seen from outside.
    Outside,
    /// Frontends.
    Services,
    /// Refuses a connection.
    Rejected,
    /// Whose address a connection to a Service gets.
    ServiceSource,
    /// Records which endpoint a client got.
    Remember,
    /// Picks one of the endpoints at random, and DNATs to it; refuses where there is none.
    Choose {
        /// By frontend, or by node port.
        by: By,
        /// Endpoints for what comes from outside.
        outside: bool,
        /// First the one that the client had.
        sticky: bool,
        /// Where they are: at indexes below this, a power of two ([`super::ruleset::slots`]).
        slots: u32,
    },
    /// Records the endpoint for so many seconds.
    Stick {
        /// By frontend, or by node port.
        by: By,
        /// ClientIP timeout.
        seconds: u32,
    },
}

impl ChainName {
    /// Whether it comes with the elements that go to it; the others are always there.
    pub fn is_on_demand(self) -> bool {
        matches!(self, Self::Choose { .. } | Self::Stick { .. })
    }
}

/// What a packet was matched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// Address, protocol and port.
    Frontend,
    /// Protocol and port, on any of the node's addresses.
    NodePort,
}

impl fmt::Display for ChainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prerouting => f.write_str("prerouting"),
            Self::Output => f.write_str("output"),
            Self::Input => f.write_str("input"),
            Self::Postrouting => f.write_str("postrouting"),
            Self::Firewall => f.write_str("firewall"),
            Self::ToL7 => f.write_str("to-l7"),
            Self::L7Source => f.write_str("l7-source"),
            Self::Outside => f.write_str("from-outside"),
            Self::Services => f.write_str("to-services"),
            Self::Rejected => f.write_str("rejected"),
            Self::ServiceSource => f.write_str("service-source"),
            Self::Remember => f.write_str("remember"),
            Self::Choose { by, outside, sticky, slots } => {
                let by = if *by == By::Frontend { "service" } else { "node-port" };
                let outside = if *outside { "-outside" } else { "" };
                let sticky = if *sticky { "-sticky" } else { "" };
                write!(f, "{by}{outside}{sticky}-{slots}")
            }
            Self::Stick { by: By::Frontend, seconds } => write!(f, "stick-{seconds}"),
            Self::Stick { by: By::NodePort, seconds } => write!(f, "stick-node-port-{seconds}"),
        }
    }
}

/// Steps in order; the rule ends at the first match that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule(pub Vec<Step>);

/// One step of a rule: a match or an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Goes on if the key is in the set, or, negated, if not.
    InSet {
        /// The key.
        key: Vec<Load>,
        /// The set.
        set: SetName,
        /// Not in it.
        negated: bool,
    },
    /// Does what the map says for the key; goes on if it says nothing.
    Vmap {
        /// The key.
        key: Vec<Load>,
        /// A map of verdicts.
        map: SetName,
    },
    /// DNATs to what the map says for the key; ends the rule if it says nothing.
    Dnat {
        /// The key.
        key: Vec<Load>,
        /// A map of endpoints.
        map: SetName,
    },
    /// SNATs to the address at the same place of the range that the map says for the source; ends the rule if it says nothing.
    SnatRange {
        /// A map of ranges.
        map: SetName,
    },
    /// DNATs to a port of this host, at loopback where the packet is sent by it; only after [`Step::Protocol`].
    Redirect(u16),
    /// Adds the key to a map, or, if it is there, begins its time anew.
    Update {
        /// A dynamic map of endpoints.
        map: SetName,
        /// The key.
        key: Vec<Load>,
        /// The endpoint.
        data: Vec<Load>,
        /// How long it stays.
        seconds: u32,
    },
    /// Goes on if the protocol is this.
    Protocol(Transport),
    /// Goes on if the packet's source is an address of this host (`fib saddr type local`), or, negated, if not.
    SourceIsLocal {
        /// Is not.
        negated: bool,
    },
    /// Goes on if the name of the interface that the packet came in from begins so, or, negated, if not.
    FromInterface {
        /// What its name begins with.
        prefix: Name,
        /// Does not.
        negated: bool,
    },
    /// Goes on if the connection's destination was translated (`ct status dnat`).
    Translated,
    /// SNATs to the address of the interface that the packet leaves by.
    Masquerade {
        /// Choose source ports at random (`fully-random`).
        fully_random: bool,
        /// First and last source port; only after [`Step::Protocol`].
        ports: Option<(u16, u16)>,
    },
    /// `reject with tcp reset`; only after [`Step::Protocol`] TCP.
    Reset,
    /// `reject with icmp port-unreachable`, or icmpv6.
    Unreachable,
    /// Drops.
    Drop,
    /// Goes through a chain.
    Jump(ChainName),
    /// Goes on in a chain.
    Goto(ChainName),
    /// Leaves the chain.
    Return,
}

/// A field of a key, from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// `ip saddr`: address.
    SourceAddress,
    /// `ip daddr`: address.
    DestinationAddress,
    /// `meta l4proto`: protocol.
    Protocol,
    /// `th dport`: port.
    DestinationPort,
    /// `ct original ip daddr`: the address before DNAT.
    OriginalAddress,
    /// `ct original proto-dst`: the port before DNAT.
    OriginalPort,
    /// `numgen random mod M offset O`: index.
    Random {
        /// How many.
        modulus: u32,
        /// From where.
        offset: u32,
    },
}
