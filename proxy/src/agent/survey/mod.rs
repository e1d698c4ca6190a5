//! What of this node stands in the agent's way: for `rust-ingress agent check`, which changes nothing.
//!
//! [`Facts::gather`] looks at the kernel and its settings, at others' nftables chains, interfaces and processes; [`findings`] judges, and
//! is pure. What another program does already is said with the function of ours to leave out.

pub(super) mod chains;
mod gather;
mod judge;

use std::collections::{BTreeMap, BTreeSet};

pub use chains::Chain;
pub use judge::findings;

/// What a node says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The kernel's release, `6.18.44`.
    pub release: String,
    /// What is wrong with our ruleset, as the kernel says; `None`: it takes it.
    pub refused: Option<String>,
    /// Kernel settings by their name below `/proc/sys`; those that aren't there are missing.
    pub settings: BTreeMap<String, String>,
    /// Interfaces by name.
    pub interfaces: BTreeMap<String, Interface>,
    /// Chains of others in nf_tables; those of iptables-nft among them.
    pub chains: Vec<Chain>,
    /// The tables of the old iptables that are in use.
    pub legacy_tables: BTreeSet<String>,
    /// Names of programs that run.
    pub programs: BTreeSet<String>,
    /// Whether IPVS has virtual servers.
    pub ipvs: bool,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Bytes of a packet.
    pub mtu: u32,
    /// Strictness of the reverse path filter: 0, 1 (strict), 2.
    pub rp_filter: u8,
    /// What kind the kernel says it is: `bridge`, `vxlan`, `wireguard`; empty for most.
    pub kind: String,
}

/// What is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// What is so.
    pub what: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Something may not work as meant.
    Warning,
    /// Services won't work.
    Error,
}
