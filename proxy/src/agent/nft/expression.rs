//! The expressions of nf_tables that our rules are made of (linux/netfilter/nf_tables.h), a function each.
//!
//! A concatenated key is nothing but registers of 32 bits side by side: an address of IPv6 takes four, everything else one. What
//! is shorter than a register stands at its beginning, and the kernel zeroes the rest.

use rust_ingress_model::l4::{ChainName, SetName};

use crate::agent::netlink::Messages;

/// A register of 32 bits; 16 of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register(pub u8);

impl Register {
    /// The register that many further.
    pub fn plus(self, registers: u8) -> Self {
        Self(self.0.saturating_add(registers))
    }

    /// NFT_REG32_00 and on.
    fn number(self) -> u32 {
        8 + u32::from(self.0)
    }
}

/// Which header `payload` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Network = 1,
    Transport = 2,
}

/// What `meta` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    IncomingInterfaceName = 6,
    Protocol = 16,
}

/// What `ct` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conntrack {
    Status = 2,
    DestinationPort = 12,
    Destination4 = 20,
    Destination6 = 22,
}

/// One expression in a rule's list.
fn expression(m: &mut Messages, name: &str, body: impl FnOnce(&mut Messages)) {
    m.nest(1, |m| {
        m.text(1, name);
        m.nest(2, body);
    });
}

/// Bytes as NFTA_DATA_VALUE.
pub(super) fn value(m: &mut Messages, kind: u16, bytes: &[u8]) {
    m.nest(kind, |m| m.bytes(1, bytes));
}

/// Bytes of a header into registers.
pub(super) fn payload(m: &mut Messages, into: Register, header: Header, offset: u32, length: u32) {
    expression(m, "payload", |m| {
        m.number(1, into.number());
        m.number(2, header as u32);
        m.number(3, offset);
        m.number(4, length);
    });
}

/// A fact of the packet into registers.
pub(super) fn meta(m: &mut Messages, into: Register, what: Meta) {
    expression(m, "meta", |m| {
        m.number(2, what as u32);
        m.number(1, into.number());
    });
}

/// A fact of the connection into registers; `original`: of the packet that opened it, before any rewriting.
pub(super) fn conntrack(m: &mut Messages, into: Register, what: Conntrack, original: bool) {
    expression(m, "ct", |m| {
        m.number(2, what as u32);
        m.number(1, into.number());
        if original {
            m.bytes(3, &[0]);
        }
    });
}

/// The type of the source address (`RTN_LOCAL` and so on, host byte order) into a register.
pub(super) fn source_type(m: &mut Messages, into: Register) {
    const SOURCE: u32 = 1;
    const ADDRESS_TYPE: u32 = 3;
    expression(m, "fib", |m| {
        m.number(3, SOURCE);
        m.number(2, ADDRESS_TYPE);
        m.number(1, into.number());
    });
}

/// Goes on only if registers are, or aren't, these bytes.
pub(super) fn compare(m: &mut Messages, register: Register, equal: bool, bytes: &[u8]) {
    expression(m, "cmp", |m| {
        m.number(1, register.number());
        m.number(2, u32::from(!equal));
        value(m, 3, bytes);
    });
}

/// Keeps these bits of registers.
pub(super) fn mask(m: &mut Messages, register: Register, bits: &[u8]) {
    expression(m, "bitwise", |m| {
        m.number(1, register.number());
        m.number(2, register.number());
        m.number(3, u32::try_from(bits.len()).unwrap_or_default());
        m.number(6, 0);
        value(m, 4, bits);
        value(m, 5, &vec![0; bits.len()]);
    });
}

/// Goes on only if a key is, or isn't, in a set.
pub(super) fn in_set(m: &mut Messages, set: SetName, key: Register, negated: bool) {
    expression(m, "lookup", |m| {
        m.text(1, set);
        m.number(2, key.number());
        if negated {
            m.number(5, 1);
        }
    });
}

/// What a map has for a key into registers; ends the rule when it has nothing.
pub(super) fn map(m: &mut Messages, map: SetName, key: Register, into: Register) {
    expression(m, "lookup", |m| {
        m.text(1, map);
        m.number(2, key.number());
        m.number(3, into.number());
    });
}

/// The verdict that a map has for a key.
pub(super) fn verdict_map(m: &mut Messages, map: SetName, key: Register) {
    expression(m, "lookup", |m| {
        m.text(1, map);
        m.number(2, key.number());
        m.number(3, 0);
    });
}

/// A verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Go on in a chain and don't come back.
    Goto(ChainName),
    /// Go through a chain and come back.
    Jump(ChainName),
    /// Leave the chain.
    Return,
    /// Drop the packet.
    Drop,
}

/// Ends the rule with a verdict.
pub(super) fn verdict(m: &mut Messages, verdict: Verdict) {
    expression(m, "immediate", |m| {
        m.number(1, 0);
        verdict_data(m, 2, verdict);
    });
}

/// A verdict as the data of an expression or element.
pub(super) fn verdict_data(m: &mut Messages, kind: u16, verdict: Verdict) {
    let (code, chain): (i32, Option<ChainName>) = match verdict {
        Verdict::Drop => (0, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    m.nest(kind, |m| {
        m.nest(2, |m| {
            m.bytes(1, &code.to_be_bytes());
            if let Some(chain) = chain {
                m.text(2, chain);
            }
        });
    });
}

/// A random number below `modulus`, plus `offset`, in host byte order.
pub(super) fn random(m: &mut Messages, into: Register, modulus: u32, offset: u32) {
    expression(m, "numgen", |m| {
        m.number(1, into.number());
        m.number(2, modulus);
        m.number(3, 1);
        m.number(4, offset);
    });
}

/// Bytes into registers.
pub(super) fn immediate(m: &mut Messages, into: Register, bytes: &[u8]) {
    expression(m, "immediate", |m| {
        m.number(1, into.number());
        value(m, 2, bytes);
    });
}

/// Rewrites the destination to the address and port in registers.
pub(super) fn dnat(m: &mut Messages, family: u8, address: Register, port: Register) {
    expression(m, "nat", |m| {
        m.number(1, 1);
        m.number(2, u32::from(family));
        m.number(3, address.number());
        m.number(5, port.number());
    });
}

/// Rewrites the source to the address at the same place of the range in registers, first and last of it.
pub(super) fn snat_range(m: &mut Messages, family: u8, first: Register, last: Register) {
    // NF_NAT_RANGE_MAP_IPS and _NETMAP (linux/netfilter/nf_nat.h).
    const SAME_PLACE: u32 = 1 << 0 | 1 << 6;
    expression(m, "nat", |m| {
        m.number(1, 0);
        m.number(2, u32::from(family));
        m.number(3, first.number());
        m.number(4, last.number());
        m.number(7, SAME_PLACE);
    });
}

/// Rewrites the destination to this host and the port in a register; flags of nf_nat.h.
pub(super) fn redirect(m: &mut Messages, port: Register, flags: u32) {
    expression(m, "redir", |m| {
        m.number(1, port.number());
        m.number(3, flags);
    });
}

/// Rewrites the source to the address that the packet leaves with; flags of nf_nat.h, ports (first, last) in registers.
pub(super) fn masquerade(m: &mut Messages, flags: u32, ports: Option<(Register, Register)>) {
    expression(m, "masq", |m| {
        if flags != 0 {
            m.number(1, flags);
        }
        if let Some((first, last)) = ports {
            m.number(2, first.number());
            m.number(3, last.number());
        }
    });
}

/// Answers with a refusal: a TCP reset, or an ICMP code of the family.
pub(super) fn reject(m: &mut Messages, with: Refusal) {
    expression(m, "reject", |m| match with {
        Refusal::TcpReset => m.number(1, 1),
        Refusal::Unreachable(code) => {
            m.number(1, 0);
            m.bytes(2, &[code]);
        }
    });
}

/// How a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    TcpReset,
    Unreachable(u8),
}

/// Puts a key and its data into a map with a timeout, or makes the timeout begin again.
pub(super) fn update(m: &mut Messages, map: SetName, key: Register, data: Register, timeout_ms: u64) {
    expression(m, "dynset", |m| {
        m.number(5, data.number());
        m.number(4, key.number());
        m.number(3, 1);
        m.bytes(6, &timeout_ms.to_be_bytes());
        m.text(1, map);
    });
}
