//! Rules and elements as nft text: for `agent render`, for golden files, and to hold our bytes against nft's.
//!
//! The text loads with `nft -f`. One rule needs more than nft 1.0.6, which aborts on an `update` of a map whose key is longer than
//! 16 bytes: that of session affinity with IPv6. The kernel takes it, and so does its netlink form.

use std::fmt::{self, Display, Formatter};

use super::element::{Data, Element, Field, Verdict};
use super::rule::{Chain, Hook, Load, Rule, Step};
use super::ruleset::{Ruleset, TABLE};
use super::service::Transport;
use super::set::{DataType, Family, FieldType, Set};

impl Display for Ruleset {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "table {} {TABLE} {{", self.family.name())?;
        for set in &self.sets {
            write_set(f, self.family, set)?;
        }
        for chain in &self.chains {
            write_chain(f, self.family, chain)?;
        }
        writeln!(f, "}}")
    }
}

fn write_set(f: &mut Formatter<'_>, family: Family, set: &Set) -> fmt::Result {
    let address = if family == Family::Ipv4 { "ipv4_addr" } else { "ipv6_addr" };
    // An index has no type by name: only what makes it.
    let typed = !set.key.contains(&FieldType::Index);
    let field = |field: &FieldType| match (field, typed) {
        (FieldType::Address, true) => address.to_owned(),
        (FieldType::Address, false) => format!("{} daddr", family.name()),
        (FieldType::Protocol, true) => "inet_proto".into(),
        (FieldType::Protocol, false) => "meta l4proto".into(),
        (FieldType::Port, true) => "inet_service".into(),
        (FieldType::Port, false) => "th dport".into(),
        (FieldType::Index, _) => "numgen random mod 65536".into(),
    };
    let data = match set.data {
        DataType::None => String::new(),
        DataType::Verdict => " : verdict".into(),
        DataType::Range => format!(" : interval {}", field(&FieldType::Address)),
        DataType::Endpoint => format!(" : {} . {}", field(&FieldType::Address), field(&FieldType::Port)),
    };
    let key: Vec<String> = set.key.iter().map(field).collect();
    writeln!(f, "\t{} {} {{", if set.data == DataType::None { "set" } else { "map" }, set.name)?;
    writeln!(f, "\t\t{} {}{data}", if typed { "type" } else { "typeof" }, key.join(" . "))?;
    writeln!(f, "\t\tsize {}", set.size)?;
    if set.interval {
        writeln!(f, "\t\tflags interval")?;
    }
    if set.expires {
        writeln!(f, "\t\tflags timeout")?;
    }
    if set.dynamic {
        writeln!(f, "\t\tflags dynamic,timeout")?;
    }
    writeln!(f, "\t}}")
}

fn write_chain(f: &mut Formatter<'_>, family: Family, chain: &Chain) -> fmt::Result {
    writeln!(f, "\tchain {} {{", chain.name)?;
    if let Some(base) = chain.base {
        let hook = match base.hook {
            Hook::Prerouting => "prerouting",
            Hook::Input => "input",
            Hook::Output => "output",
            Hook::Postrouting => "postrouting",
        };
        writeln!(f, "\t\ttype nat hook {hook} priority {}; policy accept;", base.priority)?;
    }
    for rule in &chain.rules {
        writeln!(f, "\t\t{}", RuleText(family, rule))?;
    }
    writeln!(f, "\t}}")
}

/// A rule of a family's table.
pub struct RuleText<'a>(pub Family, pub &'a Rule);

impl Display for RuleText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, step) in self.1.0.iter().enumerate() {
            let space = if place == 0 { "" } else { " " };
            f.write_str(space)?;
            write_step(f, self.0, step)?;
        }
        Ok(())
    }
}

fn write_step(f: &mut Formatter<'_>, family: Family, step: &Step) -> fmt::Result {
    let ip = family.name();
    let not = |negated: &bool| if *negated { "!= " } else { "" };
    match step {
        Step::InSet { key, set, negated } => write!(f, "{} {}@{set}", KeyText(ip, key), not(negated)),
        Step::Vmap { key, map } => write!(f, "{} vmap @{map}", KeyText(ip, key)),
        Step::Dnat { key, map } => write!(f, "dnat {ip} to {} map @{map}", KeyText(ip, key)),
        Step::SnatRange { map } => write!(f, "snat {ip} prefix to {ip} saddr map @{map}"),
        Step::Update { map, key, data, seconds } => {
            write!(f, "update @{map} {{ {} timeout {seconds}s : {} }}", KeyText(ip, key), KeyText(ip, data))
        }
        Step::Protocol(transport) => write!(f, "meta l4proto {}", transport.name()),
        Step::SourceIsLocal { negated } => write!(f, "fib saddr type {}local", not(negated)),
        Step::FromInterface { prefix, negated } => write!(f, "iifname {}\"{prefix}*\"", not(negated)),
        Step::Translated => f.write_str("ct status dnat"),
        Step::Masquerade { fully_random, ports } => {
            f.write_str("masquerade")?;
            if let Some((first, last)) = ports {
                write!(f, " to :{first}-{last}")?;
            }
            if *fully_random { f.write_str(" fully-random") } else { Ok(()) }
        }
        Step::Redirect(port) => write!(f, "redirect to :{port}"),
        Step::Reset => f.write_str("reject with tcp reset"),
        Step::Unreachable => {
            write!(f, "reject with {} port-unreachable", if family == Family::Ipv4 { "icmp" } else { "icmpv6" })
        }
        Step::Drop => f.write_str("drop"),
        Step::Jump(chain) => write!(f, "jump {chain}"),
        Step::Goto(chain) => write!(f, "goto {chain}"),
        Step::Return => f.write_str("return"),
    }
}

struct KeyText<'a>(&'static str, &'a [Load]);

impl Display for KeyText<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ip = self.0;
        for (place, load) in self.1.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " . " })?;
            match load {
                Load::SourceAddress => write!(f, "{ip} saddr"),
                Load::DestinationAddress => write!(f, "{ip} daddr"),
                Load::Protocol => f.write_str("meta l4proto"),
                Load::DestinationPort => f.write_str("th dport"),
                Load::OriginalAddress => write!(f, "ct original {ip} daddr"),
                Load::OriginalPort => f.write_str("ct original proto-dst"),
                Load::Random { modulus, offset: 0 } => write!(f, "numgen random mod {modulus}"),
                Load::Random { modulus, offset } => write!(f, "numgen random mod {modulus} offset {offset}"),
            }?;
        }
        Ok(())
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Goto(chain) => write!(f, "goto {chain}"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Drop => f.write_str("drop"),
        }
    }
}

impl Display for Field {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Network(network) if network.prefix_len() == network.max_prefix_len() => network.addr().fmt(f),
            Self::Network(network) => network.fmt(f),
            Self::Protocol(transport) => f.write_str(transport.name()),
            Self::Port(port) => port.fmt(f),
            Self::Index(index) => index.fmt(f),
        }
    }
}

impl Display for Element {
    /// As in the braces of `add element`.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (place, field) in self.key.fields().enumerate() {
            f.write_str(if place == 0 { "" } else { " . " })?;
            field.fmt(f)?;
        }
        match self.data {
            Data::None => Ok(()),
            Data::Verdict(verdict) => write!(f, " : {verdict}"),
            Data::Endpoint(endpoint) => write!(f, " : {} . {}", endpoint.ip(), endpoint.port()),
            Data::Network(network) => write!(f, " : {}", Field::Network(network)),
        }
    }
}

/// `add element` for each set, in the order of the elements: sorted ones come together.
pub struct AddElements<'a>(pub &'a [Element]);

impl Display for AddElements<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for set in self.0.chunk_by(|one, other| (one.family, one.set) == (other.family, other.set)) {
            let Some(first) = set.first() else { continue };
            writeln!(f, "add element {} {TABLE} {} {{", first.family.name(), first.set)?;
            for element in set {
                writeln!(f, "\t{element},")?;
            }
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}

impl Display for Transport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
