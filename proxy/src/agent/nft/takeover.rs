//! `rust-ingress agent takeover`: kube-proxy's rules go once ours are there.
//!
//! Ours come first, so its rules only cost time and mislead who reads them; but an agent that is gone must not leave a node without
//! any. In nftables mode they are tables of their own. In iptables mode they are chains among those of others, as iptables-nft
//! keeps them; the kubelet's (`KUBE-FIREWALL`, hints, canaries) and network policies' (`KUBE-NWPLCY-…`) stay. All of it is one
//! transaction. What it has translated so far goes on: connections live in conntrack.

use std::collections::BTreeSet;
use std::io;

use rust_ingress_model::l4::Family;
use rust_ingress_model::l4::ruleset::TABLE;
use thiserror::Error;

use super::batch::{self, Batch, CommitError};
use super::kind::{Kind, number};
use super::owner;
use crate::agent::netlink::{Messages, Netlink, attributes, flags};
use crate::agent::survey::chains::{self, Chain};

/// kube-proxy's own tables.
const KUBE_PROXY: &str = "kube-proxy";
/// Its chains in iptables' tables, and what the names of others of them begin with (pkg/proxy/iptables/proxier.go).
const CHAINS: [&str; 8] = [
    "KUBE-SERVICES",
    "KUBE-EXTERNAL-SERVICES",
    "KUBE-NODEPORTS",
    "KUBE-FORWARD",
    "KUBE-PROXY-FIREWALL",
    "KUBE-PROXY-CANARY",
    "KUBE-POSTROUTING",
    "KUBE-MARK-MASQ",
];
const BEGINNINGS: [&str; 6] = ["KUBE-SVC-", "KUBE-SEP-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-"];
/// Tables that iptables-nft makes.
const IPTABLES: [&str; 5] = ["nat", "filter", "mangle", "raw", "security"];
/// How often it is tried when others change their rules at the same time.
const TRIES: usize = 5;

/// Attributes of a rule, of the expressions in it, and of what an `immediate` holds (linux/netfilter/nf_tables.h).
mod attribute {
    pub const TABLE: u16 = 1;
    pub const CHAIN: u16 = 2;
    pub const HANDLE: u16 = 3;
    pub const EXPRESSIONS: u16 = 4;
    pub const EXPRESSION_DATA: u16 = 2;
    pub const IMMEDIATE_DATA: u16 = 2;
    pub const VERDICT: u16 = 2;
    pub const VERDICT_CHAIN: u16 = 2;
}

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taken {
    /// kube-proxy's tables, `ip kube-proxy`.
    pub tables: Vec<String>,
    /// Chains in the tables of iptables.
    pub chains: usize,
    /// Rules of others' chains that led into them.
    pub jumps: usize,
}

/// Why nothing was taken away.
#[derive(Debug, Error)]
pub enum TakeoverError {
    /// Nobody would carry Services.
    #[error(
        "no agent of ours carries this node's Services, so kube-proxy's rules are left: start `rust-ingress run --l4` here, in this \
         network namespace, and try again"
    )]
    NotOurs,
    /// The kernel doesn't list what it has.
    #[error("nf_tables can't be listed: {0}; run as root or with CAP_NET_ADMIN")]
    List(#[from] io::Error),
    /// The kernel refuses.
    #[error(transparent)]
    Refused(#[from] CommitError),
}

/// A rule of others that leads into a chain of kube-proxy's.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Jump {
    family: u8,
    table: String,
    chain: String,
    handle: Vec<u8>,
}

/// Takes them away; what there was.
pub(in crate::agent) fn take_over(netlink: &mut Netlink) -> Result<Taken, TakeoverError> {
    let mut tries = 0;
    loop {
        let found = chains::dump()?;
        let ours = |family| found.iter().any(|chain| chain.table == TABLE && chain.family == number(family));
        let own = netlink.port();
        // A socket of ours may have got the number of an agent's that has ended.
        let lives = owner::of_table(netlink).is_some_and(|port| port != own && owner::lives(port));
        if !Family::BOTH.into_iter().all(ours) || !lives {
            return Err(TakeoverError::NotOurs);
        }
        let chains: Vec<Chain> = found.iter().filter(|chain| is_kube_proxys(chain)).cloned().collect();
        let jumps = jumps(netlink, &chains)?;
        let (batch, taken) = removal(&found, &chains, &jumps);
        if taken == Taken::default() {
            return Ok(taken);
        }
        tries += 1;
        match batch.finish().commit(netlink) {
            Ok(()) => return Ok(taken),
            Err(error) if error.is_drift() && tries < TRIES => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_kube_proxys(chain: &Chain) -> bool {
    let name = chain.name.as_str();
    IPTABLES.contains(&chain.table.as_str())
        && (CHAINS.contains(&name) || BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)))
}

/// What to do, in one transaction: rules that lead in, then what is in the chains, then the chains, which nothing leads to any more.
fn removal(found: &[Chain], chains: &[Chain], jumps: &[Jump]) -> (Batch, Taken) {
    let mut batch = Batch::new();
    let own: BTreeSet<Family> = Family::BOTH
        .into_iter()
        .filter(|family| found.iter().any(|c| c.table == KUBE_PROXY && c.family == number(*family)))
        .collect();
    for family in &own {
        batch::delete_table(&mut batch, number(*family), KUBE_PROXY);
    }
    for Jump { family, table, chain, handle } in jumps {
        batch.add(Kind::DeleteRule, 0, *family, format!("a rule of {table} {chain}"), |m| {
            m.text(attribute::TABLE, table);
            m.text(attribute::CHAIN, chain);
            m.bytes(attribute::HANDLE, handle);
        });
    }
    for Chain { family, table, name, .. } in chains {
        batch.add(Kind::DeleteRule, 0, *family, format!("the rules of {table} {name}"), |m| {
            m.text(attribute::TABLE, table);
            m.text(attribute::CHAIN, name);
        });
    }
    for Chain { family, table, name, .. } in chains {
        batch.add(Kind::DeleteChain, 0, *family, format!("chain {table} {name}"), |m| {
            m.text(attribute::TABLE, table);
            // NFTA_CHAIN_NAME.
            m.text(3, name);
        });
    }
    let tables = own.iter().map(|family| format!("{} {KUBE_PROXY}", family.name())).collect();
    (batch, Taken { tables, chains: chains.len(), jumps: jumps.len() })
}

/// Rules in chains of others that lead into these.
fn jumps(netlink: &mut Netlink, chains: &[Chain]) -> io::Result<Vec<Jump>> {
    let known: BTreeSet<(u8, &str, &str)> =
        chains.iter().map(|chain| (chain.family, chain.table.as_str(), chain.name.as_str())).collect();
    let tables: BTreeSet<(u8, &str)> = known.iter().map(|(family, table, _)| (*family, *table)).collect();
    let mut jumps = Vec::new();
    for (family, table) in tables {
        let mut request = Messages::new();
        let sequence = netlink.number();
        request.message(Kind::GetRule.number(), flags::DUMP, sequence, (family, 0), |m| m.text(attribute::TABLE, table));
        netlink.dump(&request, |message| {
            let (mut chain, mut handle, mut to) = (None, None, None);
            for attribute in attributes(message.attributes()) {
                match attribute.kind {
                    attribute::CHAIN => chain = attribute.text(),
                    attribute::HANDLE => handle = Some(attribute.value),
                    attribute::EXPRESSIONS => to = target(attribute.value),
                    _ => {}
                }
            }
            let (Some(chain), Some(handle), Some(to)) = (chain, handle, to) else { return };
            if known.contains(&(family, table, to)) && !known.contains(&(family, table, chain)) {
                jumps.push(Jump { family, table: table.to_owned(), chain: chain.to_owned(), handle: handle.to_owned() });
            }
        })?;
    }
    Ok(jumps)
}

/// The chain that a rule leads to.
fn target(expressions: &[u8]) -> Option<&str> {
    let within = |bytes, kind| attributes(bytes).find(move |inner| inner.kind == kind).map(|inner| inner.value);
    attributes(expressions).find_map(|expression| {
        let data = within(expression.value, attribute::EXPRESSION_DATA)?;
        let verdict = within(within(data, attribute::IMMEDIATE_DATA)?, attribute::VERDICT)?;
        attributes(verdict).find(|inner| inner.kind == attribute::VERDICT_CHAIN)?.text()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(table: &str, name: &str) -> Chain {
        Chain { family: 2, table: table.into(), name: name.into(), drops_forwarded: false }
    }

    #[test]
    fn only_kube_proxys_chains_are_its() {
        for name in ["KUBE-SERVICES", "KUBE-SVC-ABC", "KUBE-SEP-X", "KUBE-POSTROUTING"] {
            assert!(is_kube_proxys(&chain("nat", name)), "{name}");
        }
        for (table, name) in [
            ("nat", "PREROUTING"),
            ("filter", "KUBE-FIREWALL"),
            ("mangle", "KUBE-KUBELET-CANARY"),
            ("mangle", "KUBE-IPTABLES-HINT"),
            ("filter", "KUBE-NWPLCY-ABC"),
            ("mine", "KUBE-SERVICES"),
        ] {
            assert!(!is_kube_proxys(&chain(table, name)), "{table} {name}");
        }
    }
}
