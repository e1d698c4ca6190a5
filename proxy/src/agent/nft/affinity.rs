//! What the kernel itself writes into our maps: which endpoint a client got (ClientIP affinity).
//!
//! Such an entry must go when its endpoint goes, or the client is sent there until it times out; and it must stay when the tables
//! are written anew, or clients change their endpoint because the agent was restarted.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;

use rust_ingress_model::l4::ruleset::TABLE;
use rust_ingress_model::l4::{Data, Element, Family, Key, SetName};
use rustix::io::Errno;

use super::batch::{Batch, CommitError};
use super::element::{endpoint, key_bytes};
use super::expression::value;
use super::kind::{Kind, number};
use crate::agent::netlink::{Attribute, Messages, Netlink, attributes, flags};

/// The maps that the kernel writes.
const MAPS: [SetName; 2] = [SetName::Affinity, SetName::NodePortAffinity];

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    family: Family,
    map: SetName,
    key: Vec<u8>,
    data: Vec<u8>,
    /// Milliseconds, as they were dumped.
    timeout: Vec<u8>,
    expires: Vec<u8>,
}

/// Frontends or node ports and endpoints that belong together, as bytes of the kernel's keys.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Pairs(HashSet<(Vec<u8>, Vec<u8>)>);

/// Where a client sends to, and the endpoint that it got.
pub type Pair = (Key, SocketAddr);

impl FromIterator<Pair> for Pairs {
    fn from_iter<I: IntoIterator<Item = Pair>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(to, via)| (key_bytes(&to), endpoint(via))).collect())
    }
}

impl Pairs {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The pair that an element of `endpoints` or `node-port-endpoints` says, whatever its index.
    pub fn of(element: &Element) -> Option<Pair> {
        match (element.key, element.data) {
            (Key::Endpoint(frontend, _), Data::Endpoint(endpoint)) => Some((Key::Frontend(frontend), endpoint)),
            (Key::NodePortEndpoint(port, _), Data::Endpoint(endpoint)) => Some((Key::NodePort(port), endpoint)),
            _ => None,
        }
    }

    /// Whether an entry is of a pair; its key is a source address and then the pair's.
    fn has(&self, entry: &Entry) -> bool {
        let source = if entry.family == Family::Ipv4 { 4 } else { 16 };
        entry.key.get(source..).is_some_and(|to| self.0.contains(&(to.to_vec(), entry.data.clone())))
    }
}

/// All entries.
///
/// # Errors
/// The socket's. No table, or none with such maps: no entries.
pub(super) fn dump(netlink: &mut Netlink) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for family in Family::BOTH {
        for map in MAPS {
            match dump_map(netlink, family, map, &mut entries) {
                Err(error) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
                result => result?,
            }
        }
    }
    Ok(entries)
}

fn dump_map(netlink: &mut Netlink, family: Family, map: SetName, entries: &mut Vec<Entry>) -> io::Result<()> {
    let sequence = netlink.number();
    let mut request = Messages::new();
    request.message(Kind::GetElements.number(), flags::DUMP, sequence, (number(family), 0), |m| {
        m.text(1, TABLE);
        m.text(2, map);
    });
    netlink.dump(&request, |message| {
        let lists = attributes(message.attributes()).filter(|attribute| attribute.kind == 3);
        entries.extend(lists.flat_map(|list| attributes(list.value)).filter_map(|element| entry(family, map, &element)));
    })
}

fn entry(family: Family, map: SetName, element: &Attribute<'_>) -> Option<Entry> {
    let find = |kind: u16| attributes(element.value).find(|attribute| attribute.kind == kind).map(|attribute| attribute.value);
    let bytes = |kind: u16| attributes(find(kind)?).find(|attribute| attribute.kind == 1).map(|value| value.value.to_vec());
    Some(Entry { family, map, key: bytes(1)?, data: bytes(2)?, timeout: find(4)?.to_vec(), expires: find(5)?.to_vec() })
}

/// Puts entries whose endpoint is still one of its frontend into a new table.
pub(super) fn restore(batch: &mut Batch, entries: &[Entry], valid: &Pairs) {
    for entry in entries.iter().filter(|entry| valid.has(entry)) {
        message(batch, Kind::NewElements, flags::CREATE, entry, |m| {
            value(m, 2, &entry.data);
            m.bytes(4, &entry.timeout);
            m.bytes(5, &entry.expires);
        });
    }
}

/// Removes entries of these pairs; how many there were.
///
/// # Errors
/// What the kernel refused.
pub(super) fn forget(netlink: &mut Netlink, stale: &Pairs) -> Result<usize, CommitError> {
    const TRIES: usize = 4;
    let mut left = TRIES;
    loop {
        let entries: Vec<Entry> = dump(netlink)?.into_iter().filter(|entry| stale.has(entry)).collect();
        let mut batch = Batch::new();
        for entry in &entries {
            message(&mut batch, Kind::DeleteElements, 0, entry, |_| {});
        }
        if batch.is_empty() {
            return Ok(0);
        }
        left -= 1;
        match batch.finish().commit(netlink) {
            // One of them ended by itself meanwhile, and with it the transaction.
            Err(error) if error.is_drift() && left > 0 => {}
            result => return result.map(|()| entries.len()),
        }
    }
}

fn message(batch: &mut Batch, kind: Kind, flags: u16, entry: &Entry, rest: impl FnOnce(&mut Messages)) {
    let what = format!("an element of {} ({})", entry.map, entry.family.name());
    batch.add(kind, flags, number(entry.family), what, |m| {
        m.text(1, TABLE);
        m.text(2, entry.map);
        m.nest(3, |m| {
            m.nest(1, |m| {
                value(m, 1, &entry.key);
                rest(m);
            });
        });
    });
}
