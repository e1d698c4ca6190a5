//! Numbers that every message of nf_tables bears: what it does, and to which family.

use rust_ingress_model::l4::Family;

/// The subsystem of nf_tables, the upper byte of a message's kind.
pub(super) const SUBSYSTEM: u16 = 10;
/// What a message does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    NewTable = 0,
    GetTable = 1,
    DeleteTable = 2,
    NewChain = 3,
    DeleteChain = 5,
    NewRule = 6,
    GetRule = 7,
    DeleteRule = 8,
    NewSet = 9,
    NewElements = 12,
    GetElements = 13,
    DeleteElements = 14,
}

impl Kind {
    /// As it stands in a message.
    pub fn number(self) -> u16 {
        SUBSYSTEM << 8 | self as u16
    }
}

/// A family's number in messages.
pub(super) fn number(family: Family) -> u8 {
    match family {
        Family::Ipv4 => crate::agent::IPV4,
        Family::Ipv6 => crate::agent::IPV6,
    }
}
