//! nf_tables: a plan's rules and elements as netlink transactions.
//!
//! Both families go in one transaction, so that IPv4 and IPv6 change at the same moment. The bytes are the same ruleset as the
//! model's text, which `conformance suite packets` shows by asking the kernel for both.

mod affinity;
mod batch;
mod element;
mod expression;
mod kind;
mod owner;
mod ruleset;
mod switch;
mod takeover;

use std::collections::BTreeMap;
use std::io;

use rust_ingress_model::l4::ruleset::{TABLE, on_demand};
use rust_ingress_model::l4::{By, ChainName, EgressSnat, Element, Family, L4Settings, LoopbackPorts, Ruleset};

use super::netlink::Netlink;
use batch::Batch;
use element::Change;

pub use affinity::Pairs;
pub use batch::{CommitError, Refusal};
pub use switch::Switch;
pub use takeover::{Taken, TakeoverError};

/// Our tables in the kernel, in the network namespace of the thread that opened them.
#[derive(Debug)]
pub struct Tables {
    netlink: Netlink,
}

impl Tables {
    /// Opens a socket; nothing is changed.
    ///
    /// # Errors
    /// The kernel's, when it has no netfilter netlink.
    pub fn open() -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open(0)? })
    }

    /// The port by which the kernel names us to those who hear of changes.
    pub fn port(&self) -> u32 {
        self.netlink.port()
    }

    /// Makes both tables what these say, whatever they were, in one transaction. Which client has which endpoint is kept, where
    /// that is still one of the elements.
    ///
    /// # Errors
    /// What the kernel refused; then all is as it was.
    pub fn replace(&mut self, rulesets: &[Ruleset], elements: &[Element]) -> Result<(), CommitError> {
        let clients = affinity::dump(&mut self.netlink)?;
        let mut batch = tables(rulesets, self.port());
        element::change(&mut batch, Change::Add, elements);
        if !clients.is_empty() {
            affinity::restore(&mut batch, &clients, &elements.iter().filter_map(Pairs::of).collect());
        }
        batch.finish().commit(&mut self.netlink)
    }

    /// The port of another agent that lives and has the tables: the one known so far, whatever has become of the tables since,
    /// or the one that wrote them last.
    pub fn successor(&mut self, known: Option<u32>) -> Option<u32> {
        let own = self.port();
        let other = |port: &u32| *port != own && owner::lives(*port);
        known.filter(other).or_else(|| owner::of_table(&mut self.netlink).filter(other))
    }

    /// Has the kernel look at rules, and keeps nothing of them.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn try_out(&mut self, rulesets: &[Ruleset]) -> Result<(), CommitError> {
        tables(rulesets, self.port()).without_end().commit(&mut self.netlink)
    }

    /// Adds chains to both tables, takes elements out and puts others in, in one transaction.
    ///
    /// # Errors
    /// What the kernel refused; then all is as it was.
    pub fn change(&mut self, chains: &[ChainName], removed: &[Element], added: &[Element]) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        let chains: Vec<_> = chains.iter().copied().filter_map(on_demand).collect();
        for family in Family::BOTH {
            for chain in &chains {
                ruleset::add_chain(&mut batch, family, chain);
                ruleset::add_rules(&mut batch, family, chain);
            }
        }
        element::change(&mut batch, Change::Remove, removed);
        element::change(&mut batch, Change::Add, added);
        if batch.is_empty() { Ok(()) } else { batch.finish().commit(&mut self.netlink) }
    }

    /// Lets clients that had these endpoints choose anew; how many there were.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn forget_clients(&mut self, of: &Pairs) -> Result<usize, CommitError> {
        if of.is_empty() { Ok(0) } else { affinity::forget(&mut self.netlink, of) }
    }

    /// Removes kube-proxy's rules, if an agent of ours has this node's Services.
    ///
    /// # Errors
    /// No agent has them; what the kernel refused: then all is as it was.
    pub fn take_over(&mut self) -> Result<Taken, TakeoverError> {
        takeover::take_over(&mut self.netlink)
    }

    /// Removes our tables, and nothing else.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn remove(&mut self) -> Result<(), CommitError> {
        let mut batch = Batch::new();
        for family in Family::BOTH {
            // Made first, because to delete what isn't there is refused.
            batch::new_table(&mut batch, kind::number(family), TABLE);
            batch::delete_table(&mut batch, kind::number(family), TABLE);
        }
        batch.finish().commit(&mut self.netlink)
    }
}

/// A transaction that makes tables what these say, without elements.
fn tables(rulesets: &[Ruleset], owner: u32) -> Batch {
    let mut batch = Batch::new();
    for ruleset in rulesets {
        batch::replace_table(&mut batch, kind::number(ruleset.family), TABLE, owner);
        ruleset::add(&mut batch, ruleset);
    }
    batch
}

/// Rules that between them have every step: what `agent check` has the kernel look at, and what golden bytes are of.
pub fn specimen() -> [Ruleset; 2] {
    let egress = EgressSnat { random_fully: true, to_ports: Some((40_000, 50_000)), ..EgressSnat::default() };
    let loopback = Some(LoopbackPorts { v4: 9905, v6: Some(9905) });
    let settings = L4Settings { egress: Some(egress), loopback, ..L4Settings::default() };
    let chains = [By::Frontend, By::NodePort].into_iter().flat_map(|by| {
        let choose = ChainName::Choose { by, outside: true, sticky: true, slots: 4 };
        [choose, ChainName::Stick { by, seconds: 1 }]
    });
    let chains = chains.collect();
    Family::BOTH.map(|family| Ruleset::new(family, &settings, &chains, &BTreeMap::new()))
}

/// A line for each message that makes these tables: what it is, and a digest of its bytes.
pub fn digests(rulesets: &[Ruleset]) -> String {
    // Of no agent: a live one's number would be another each time.
    tables(rulesets, 0).finish().digests()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use std::net::{IpAddr, Ipv4Addr};

    use rust_ingress_model::l4::{Data, Key, SetName};

    use super::*;

    fn addresses(count: u32) -> Vec<Element> {
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n));
        let element =
            |n| Element { family: Family::Ipv4, set: SetName::ClusterIps, key: Key::Address(address(n)), data: Data::None };
        (0..count).map(element).collect()
    }

    #[test]
    fn many_elements_take_several_messages_and_none_is_too_long() {
        let elements = addresses(20_000);
        let mut batch = Batch::new();
        element::change(&mut batch, Change::Add, &elements);
        let finished = batch.finish();
        let bytes = finished.messages.complete().expect("every message fits");
        let lengths: Vec<usize> = crate::agent::netlink::messages(bytes).map(|message| message.body.len()).collect();
        // A beginning, messages of elements, an end.
        assert!(lengths.len() > 5, "{lengths:?}");
        assert!(lengths.iter().all(|length| *length < 65_536), "{lengths:?}");
    }
}
