//! The fixed rules of a family as messages: its table, sets, chains, and each rule's steps as expressions.

use rust_ingress_model::l4::ruleset::TABLE;
use rust_ingress_model::l4::{Chain, DataType, Family, FieldType, Hook, Load, Rule, Ruleset, Set, SetName, Step};

use super::batch::Batch;
use super::expression::{self as e, Conntrack, Header, Meta, Refusal, Register, Verdict};
use super::kind::{Kind, number};
use crate::agent::netlink::{Messages, flags};

/// Registers of a key begin here, and what a map gives is put here too: by then its key isn't needed.
const FIRST: Register = Register(0);
/// `RTN_LOCAL` (linux/rtnetlink.h): an address of this host.
const LOCAL: u32 = 2;
/// `IPS_DST_NAT` (linux/netfilter/nf_conntrack_common.h).
const TRANSLATED: u32 = 1 << 5;
/// `NF_NAT_RANGE_PROTO_SPECIFIED` and `_RANDOM_FULLY` (linux/netfilter/nf_nat.h).
const PORTS: u32 = 1 << 1;
const RANDOM_FULLY: u32 = 1 << 4;

/// Adds all of a table, which must be empty, but for its elements.
pub(super) fn add(batch: &mut Batch, ruleset: &Ruleset) {
    for set in &ruleset.sets {
        add_set(batch, ruleset.family, set);
    }
    // All chains, then all rules, so that the order of chains is of no matter.
    for chain in &ruleset.chains {
        add_chain(batch, ruleset.family, chain);
    }
    for chain in &ruleset.chains {
        add_rules(batch, ruleset.family, chain);
    }
}

/// Adds one chain, without its rules.
pub(super) fn add_chain(batch: &mut Batch, family: Family, chain: &Chain) {
    let what = format!("chain {} ({})", chain.name, family.name());
    batch.add(Kind::NewChain, flags::CREATE, number(family), what, |m| {
        m.text(1, TABLE);
        m.text(3, chain.name);
        if let Some(base) = chain.base {
            m.nest(4, |m| {
                m.number(1, hook(base.hook));
                m.bytes(2, &base.priority.to_be_bytes());
            });
            // Policy accept.
            m.number(5, 1);
            m.text(7, "nat");
        }
    });
}

/// Adds a chain's rules.
pub(super) fn add_rules(batch: &mut Batch, family: Family, chain: &Chain) {
    for (place, rule) in chain.rules.iter().enumerate() {
        let what = format!("rule {} of chain {} ({})", place + 1, chain.name, family.name());
        batch.add(Kind::NewRule, flags::CREATE | flags::APPEND, number(family), what, |m| {
            m.text(1, TABLE);
            m.text(2, chain.name);
            m.nest(4, |m| steps(m, family, rule));
        });
    }
}

fn hook(hook: Hook) -> u32 {
    match hook {
        Hook::Prerouting => 0,
        Hook::Input => 1,
        Hook::Output => 3,
        Hook::Postrouting => 4,
    }
}

/// Bytes of a field before they are padded.
pub(super) fn length(family: Family, field: FieldType) -> u8 {
    match field {
        FieldType::Address if family == Family::Ipv4 => 4,
        FieldType::Address => 16,
        FieldType::Protocol => 1,
        FieldType::Port => 2,
        FieldType::Index => 4,
    }
}

/// The number by which `nft list` knows how to show a field (nft's `enum datatypes`); the kernel keeps it and looks at lengths.
fn shown(family: Family, field: FieldType) -> u32 {
    match field {
        FieldType::Address if family == Family::Ipv4 => 7,
        FieldType::Address => 8,
        FieldType::Protocol => 12,
        FieldType::Port => 13,
        // A mark: 32 bits in the machine's byte order.
        FieldType::Index => 19,
    }
}

/// The type and the length of a concatenation; one field alone isn't padded.
fn concatenated(family: Family, fields: &[FieldType]) -> (u32, u32) {
    if let [only] = fields {
        return (shown(family, *only), length(family, *only).into());
    }
    fields.iter().fold((0, 0), |(kind, bytes), field| {
        (kind << 6 | shown(family, *field), bytes + u32::from(length(family, *field).next_multiple_of(4)))
    })
}

/// What a map of endpoints gives.
pub(super) const ENDPOINT: [FieldType; 2] = [FieldType::Address, FieldType::Port];

/// Adds a set or map without elements.
pub(super) fn add_set(batch: &mut Batch, family: Family, set: &Set) {
    const INTERVAL: u32 = 0x4;
    const MAP: u32 = 0x8;
    const EXPIRES: u32 = 0x10;
    const DYNAMIC: u32 = 0x20;
    const CONCATENATED: u32 = 0x80;
    // Only where a part of a key is a range does the kernel have to know the parts.
    let parts = set.interval && set.key.len() > 1;
    let bits = [
        (set.interval, INTERVAL),
        (set.data != DataType::None, MAP),
        (set.expires || set.dynamic, EXPIRES),
        (set.dynamic, DYNAMIC),
        (parts, CONCATENATED),
    ];
    let bits = bits.into_iter().filter(|(yes, _)| *yes).fold(0, |all, (_, bit)| all | bit);
    let (kind, bytes) = concatenated(family, set.key);
    let number_in_batch = batch.next_number();
    batch.add(Kind::NewSet, flags::CREATE, number(family), format!("set {} ({})", set.name, family.name()), |m| {
        m.text(1, TABLE);
        m.text(2, set.name);
        m.number(3, bits);
        m.number(4, kind);
        m.number(5, bytes);
        match set.data {
            DataType::None => {}
            DataType::Verdict => m.number(6, 0xffff_ff00),
            DataType::Endpoint => {
                let (kind, bytes) = concatenated(family, &ENDPOINT);
                m.number(6, kind);
                m.number(7, bytes);
            }
            DataType::Range => {
                m.number(6, shown(family, FieldType::Address));
                m.number(7, 2 * u32::from(length(family, FieldType::Address)));
            }
        }
        m.number(10, number_in_batch);
        m.nest(9, |m| {
            m.number(1, set.size);
            if parts {
                m.nest(2, |m| set.key.iter().for_each(|field| m.nest(1, |m| m.number(1, u32::from(length(family, *field))))));
            }
        });
    });
}

/// A rule's expressions.
fn steps(m: &mut Messages, family: Family, rule: &Rule) {
    for step in &rule.0 {
        match step {
            Step::InSet { key, set, negated } => {
                load(m, family, key, FIRST);
                e::in_set(m, *set, FIRST, *negated);
            }
            Step::Vmap { key, map } => {
                load(m, family, key, FIRST);
                e::verdict_map(m, *map, FIRST);
            }
            Step::Dnat { key, map } => {
                load(m, family, key, FIRST);
                e::map(m, *map, FIRST, FIRST);
                e::dnat(m, number(family), FIRST, FIRST.plus(registers(family, Load::DestinationAddress)));
            }
            Step::SnatRange { map } => {
                load(m, family, &[Load::SourceAddress], FIRST);
                e::map(m, *map, FIRST, FIRST);
                e::snat_range(m, number(family), FIRST, FIRST.plus(registers(family, Load::SourceAddress)));
            }
            Step::Update { map, key, data, seconds } => update(m, family, (*map, *seconds), key, data),
            Step::Redirect(port) => {
                e::immediate(m, FIRST, &port.to_be_bytes());
                e::redirect(m, FIRST, PORTS);
            }
            Step::Masquerade { fully_random, ports } => masquerade(m, *fully_random, *ports),
            Step::Reset => e::reject(m, Refusal::TcpReset),
            // Port unreachable is code 3 in ICMP and 4 in ICMPv6.
            Step::Unreachable => e::reject(m, Refusal::Unreachable(if family == Family::Ipv4 { 3 } else { 4 })),
            Step::Drop => e::verdict(m, Verdict::Drop),
            Step::Jump(chain) => e::verdict(m, Verdict::Jump(*chain)),
            Step::Goto(chain) => e::verdict(m, Verdict::Goto(*chain)),
            Step::Return => e::verdict(m, Verdict::Return),
            Step::Protocol(_) | Step::SourceIsLocal { .. } | Step::FromInterface { .. } | Step::Translated => matches(m, step),
        }
    }
}

/// The matches that need no set.
fn matches(m: &mut Messages, step: &Step) {
    match step {
        Step::Protocol(transport) => {
            e::meta(m, FIRST, Meta::Protocol);
            e::compare(m, FIRST, true, &[transport.number()]);
        }
        Step::SourceIsLocal { negated } => {
            e::source_type(m, FIRST);
            e::compare(m, FIRST, !negated, &LOCAL.to_ne_bytes());
        }
        Step::FromInterface { prefix, negated } => {
            e::meta(m, FIRST, Meta::IncomingInterfaceName);
            e::compare(m, FIRST, !negated, prefix.as_bytes());
        }
        Step::Translated => {
            e::conntrack(m, FIRST, Conntrack::Status, false);
            e::mask(m, FIRST, &TRANSLATED.to_ne_bytes());
            e::compare(m, FIRST, false, &0_u32.to_ne_bytes());
        }
        _ => {}
    }
}

fn update(m: &mut Messages, family: Family, (map, seconds): (SetName, u32), key: &[Load], data: &[Load]) {
    let behind = load(m, family, key, FIRST);
    // nft begins the data at a multiple of 16 bytes. So do we, to be comparable, where the 16 registers are enough for it.
    let length: u8 = data.iter().map(|field| registers(family, *field)).sum();
    let place = Some(Register(behind.0.next_multiple_of(4))).filter(|place| place.0 + length <= 16).unwrap_or(behind);
    load(m, family, data, place);
    e::update(m, map, FIRST, place, u64::from(seconds) * 1000);
}

fn masquerade(m: &mut Messages, fully_random: bool, ports: Option<(u16, u16)>) {
    let random = if fully_random { RANDOM_FULLY } else { 0 };
    let Some((first, last)) = ports else { return e::masquerade(m, random, None) };
    // As far on as nft puts it.
    let second = FIRST.plus(4);
    e::immediate(m, FIRST, &first.to_be_bytes());
    e::immediate(m, second, &last.to_be_bytes());
    e::masquerade(m, random | PORTS, Some((FIRST, second)));
}

/// Loads the fields of a key side by side; the register behind them.
fn load(m: &mut Messages, family: Family, key: &[Load], first: Register) -> Register {
    key.iter().fold(first, |register, field| {
        load_field(m, family, *field, register);
        register.plus(registers(family, *field))
    })
}

/// How many registers a field takes.
fn registers(family: Family, field: Load) -> u8 {
    match field {
        Load::SourceAddress | Load::DestinationAddress | Load::OriginalAddress => length(family, FieldType::Address) / 4,
        Load::Protocol | Load::DestinationPort | Load::OriginalPort | Load::Random { .. } => 1,
    }
}

fn load_field(m: &mut Messages, family: Family, field: Load, into: Register) {
    let v4 = family == Family::Ipv4;
    let bytes = u32::from(length(family, FieldType::Address));
    match field {
        // Offsets of RFC 791, 3.1 and RFC 8200, 3.
        Load::SourceAddress => e::payload(m, into, Header::Network, if v4 { 12 } else { 8 }, bytes),
        Load::DestinationAddress => e::payload(m, into, Header::Network, if v4 { 16 } else { 24 }, bytes),
        Load::Protocol => e::meta(m, into, Meta::Protocol),
        Load::DestinationPort => e::payload(m, into, Header::Transport, 2, 2),
        Load::OriginalAddress => e::conntrack(m, into, if v4 { Conntrack::Destination4 } else { Conntrack::Destination6 }, true),
        Load::OriginalPort => e::conntrack(m, into, Conntrack::DestinationPort, true),
        Load::Random { modulus, offset } => e::random(m, into, modulus, offset),
    }
}
