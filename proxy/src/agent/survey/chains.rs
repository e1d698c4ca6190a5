//! Chains of others in nf_tables, by dump.

use std::io;

use crate::agent::netlink::{Messages, Netlink, attributes, flags};

/// NFT_MSG_GETCHAIN, and attributes of a chain (linux/netfilter/nf_tables.h).
const GET_CHAIN: u16 = 10 << 8 | 4;
const TABLE: u16 = 1;
const NAME: u16 = 3;
const HOOK: u16 = 4;
const POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
/// NF_INET_FORWARD and NF_DROP.
const FORWARD: u32 = 2;
const DROP: u32 = 0;

/// One chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// The family of its table, as netlink has it: 2 is IPv4, 10 IPv6.
    pub family: u8,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// Whether it drops what is forwarded and no rule of it takes.
    pub drops_forwarded: bool,
}

/// All chains of all families.
///
/// # Errors
/// The kernel's.
pub(in crate::agent) fn dump() -> io::Result<Vec<Chain>> {
    let mut netlink = Netlink::open(0)?;
    let mut request = Messages::new();
    let number = netlink.number();
    request.message(GET_CHAIN, flags::DUMP, number, (0, 0), |_| {});
    let mut chains = Vec::new();
    netlink.dump(&request, |message| {
        let mut chain = Chain { family: message.family(), ..Chain::default() };
        let (mut hook, mut policy) = (None, None);
        for attribute in attributes(message.attributes()) {
            match attribute.kind {
                TABLE => chain.table = attribute.text().unwrap_or_default().to_owned(),
                NAME => chain.name = attribute.text().unwrap_or_default().to_owned(),
                HOOK => {
                    let mut inner = attributes(attribute.value);
                    hook = inner.find(|inner| inner.kind == HOOK_NUMBER).and_then(|inner| inner.number());
                }
                POLICY => policy = attribute.number(),
                _ => {}
            }
        }
        chain.drops_forwarded = hook == Some(FORWARD) && policy == Some(DROP);
        chains.push(chain);
    })?;
    Ok(chains)
}
