//! Elements as messages: many of one set in each, as many as the 16 bits of an attribute's length allow.

use std::net::{IpAddr, SocketAddr};

use rust_ingress_model::l4::ruleset::TABLE;
use rust_ingress_model::l4::{Data, Element, Field, Key, Verdict};

use super::batch::Batch;
use super::expression::{self as e, value};
use super::kind::{Kind, number};
use crate::agent::netlink::{Messages, flags};

/// Bytes of one message's elements, below 65,535 by more than the longest element.
const MOST: usize = 60_000;
/// The end of a range in a set whose only field is a range.
const RANGE_END: u32 = 1;

/// What is done with elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Add,
    Remove,
}

impl Change {
    fn kind(self) -> (Kind, u16) {
        match self {
            Self::Add => (Kind::NewElements, flags::CREATE | flags::EXCLUSIVE),
            Self::Remove => (Kind::DeleteElements, 0),
        }
    }
}

/// Adds or removes elements, in their order.
pub(super) fn change<'a>(batch: &mut Batch, change: Change, elements: impl IntoIterator<Item = &'a Element>) {
    let mut elements = elements.into_iter().peekable();
    while let Some(first) = elements.peek() {
        let (family, set) = (first.family, first.set);
        let (kind, flags) = change.kind();
        batch.add(kind, flags, number(family), format!("elements of {set} ({})", family.name()), |m| {
            m.text(1, TABLE);
            m.text(2, set);
            m.nest(3, |m| {
                let begin = m.len();
                while let Some(element) = elements.next_if(|e| e.family == family && e.set == set && m.len() - begin < MOST) {
                    encode(m, element, change);
                }
            });
        });
    }
}

/// One element of the list; two where the set holds ranges by their ends.
fn encode(m: &mut Messages, element: &Element, change: Change) {
    let fields: Vec<Field> = element.key.fields().collect();
    let (from, to) = (key(&fields, Bound::First), key(&fields, Bound::Last));
    let alone = matches!(fields.as_slice(), [Field::Network(_)]);
    m.nest(1, |m| {
        value(m, 1, &from);
        if !alone && from != to {
            value(m, 10, &to);
        }
        if change == Change::Add {
            data(m, &element.data);
        }
    });
    // A range by its ends: the second one is the first address behind it. The last range of all has none.
    if let Some(behind) = following(&to).filter(|_| alone) {
        m.nest(1, |m| {
            value(m, 1, &behind);
            m.number(3, RANGE_END);
        });
    }
}

/// Which end of a range stands in a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    First,
    Last,
}

/// The bytes of a key that has no range.
pub(super) fn key_bytes(whole: &Key) -> Vec<u8> {
    key(&whole.fields().collect::<Vec<_>>(), Bound::First)
}

/// The bytes of a key: each field padded to registers of four bytes.
fn key(fields: &[Field], bound: Bound) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    for field in fields {
        match field {
            Field::Address(ip) => address(&mut bytes, *ip),
            Field::Network(network) => {
                address(&mut bytes, if bound == Bound::First { network.network() } else { network.broadcast() });
            }
            Field::Protocol(transport) => bytes.push(transport.number()),
            Field::Port(port) => bytes.extend_from_slice(&port.to_be_bytes()),
            Field::Index(index) => bytes.extend_from_slice(&index.to_ne_bytes()),
        }
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

fn address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
}

/// The key behind this one; `None` behind the last.
fn following(key: &[u8]) -> Option<Vec<u8>> {
    let mut next = key.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carried) = byte.overflowing_add(1);
        *byte = sum;
        if !carried {
            return Some(next);
        }
    }
    None
}

fn data(m: &mut Messages, data: &Data) {
    match data {
        Data::None => {}
        Data::Verdict(verdict) => {
            let verdict = match verdict {
                Verdict::Goto(chain) => e::Verdict::Goto(*chain),
                Verdict::Jump(chain) => e::Verdict::Jump(*chain),
                Verdict::Drop => e::Verdict::Drop,
            };
            e::verdict_data(m, 2, verdict);
        }
        Data::Endpoint(endpoint) => value(m, 2, &self::endpoint(*endpoint)),
        Data::Network(network) => {
            let ends = [Bound::First, Bound::Last].map(|bound| key(&[Field::Network(*network)], bound));
            value(m, 2, &ends.concat());
        }
    }
}

/// An endpoint as a map has it: address, port, padded.
pub(super) fn endpoint(endpoint: SocketAddr) -> Vec<u8> {
    key(&[Field::Address(endpoint.ip()), Field::Port(endpoint.port())], Bound::First)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_behind_carries_and_ends() {
        assert_eq!(following(&[10, 0, 255, 255]), Some(vec![10, 1, 0, 0]));
        assert_eq!(following(&[255; 16]), None);
    }
}
