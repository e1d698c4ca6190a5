//! What the kernel has in our tables, as it says it: rules, sets and elements, made comparable.
//!
//! Handles, counts and what `nft` leaves in the kernel for its own listings differ between two makers of one ruleset; all else is
//! what decides packets.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::Result;
use rust_ingress_model::l4::{SetName, ruleset::TABLE};
use rust_ingress_proxy::agent::netlink::{Attribute, Messages, Netlink, attributes, flags};

use super::namespace::Namespace;

const GET_CHAIN: u16 = 10 << 8 | 4;
const GET_RULE: u16 = 10 << 8 | 7;
const GET_SET: u16 = 10 << 8 | 10;
const GET_ELEMENTS: u16 = 10 << 8 | 13;

/// A line per chain, rule, set and element of the table of a family; rules in their order.
pub fn table(namespace: &Namespace, family: u8) -> Result<Vec<String>> {
    namespace.inside(move || {
        let mut netlink = Netlink::open(0)?;
        let mut lines = Vec::new();
        // Which attributes are compared, by what they are of.
        lines.extend(sorted(dump(&mut netlink, (GET_CHAIN, "chain"), family, None, &[3, 4, 5, 7])?));
        // Within their chain, rules stand in the order in which they are tried.
        let mut rules = dump(&mut netlink, (GET_RULE, "rule"), family, None, &[2, 4])?;
        rules.sort_by_key(|rule| rule.split(' ').nth(1).unwrap_or_default().to_owned());
        lines.extend(rules);
        lines.extend(sorted(dump(&mut netlink, (GET_SET, "set"), family, None, &[2, 3, 5, 7, 9])?));
        for set in SetName::ALL {
            let elements = dump(&mut netlink, (GET_ELEMENTS, "elements"), family, Some(set), &[3])?;
            let elements = elements.iter().flat_map(|message| message.split(" 1{ 1{").skip(1).map(str::to_owned)).collect();
            lines.extend(sorted(elements).into_iter().map(|element| format!("{set}: {element}")));
        }
        Ok(lines)
    })
}

/// nft swaps the bytes of a protocol, of which there is one, before it looks for it in ranges.
const NO_SWAP: [&str; 2] = [
    " 1{ 1=byteorder 2{ 1=00000009 2=00000009 3=00000001 4=00000001 5=00000002}}",
    " 1{ 1=byteorder 2{ 1=00000002 2=00000002 3=00000001 4=00000001 5=00000002}}",
];

fn sorted(lines: Vec<String>) -> BTreeSet<String> {
    lines.into_iter().collect()
}

fn dump(netlink: &mut Netlink, what: (u16, &str), family: u8, set: Option<SetName>, compared: &[u16]) -> Result<Vec<String>> {
    let number = netlink.number();
    let mut request = Messages::new();
    request.message(what.0, flags::DUMP, number, (family, 0), |m| {
        m.text(1, TABLE);
        if let Some(set) = set {
            m.text(2, set);
        }
    });
    let mut lines = Vec::new();
    netlink.dump(&request, |message| {
        let ours = attributes(message.attributes()).any(|attribute| attribute.kind == 1 && attribute.text() == Some(TABLE));
        if ours {
            let mut line = what.1.to_owned();
            for attribute in attributes(message.attributes()) {
                if compared.contains(&attribute.kind) {
                    shown(&mut line, &attribute);
                }
            }
            lines.push(NO_SWAP.iter().fold(line, |line, no_swap| line.replace(no_swap, "")));
        }
    })?;
    Ok(lines)
}

/// An attribute as text: its number, and its value as text, attributes, or bytes.
fn shown(line: &mut String, attribute: &Attribute<'_>) {
    let value = attribute.value;
    let nested = value.len() >= 4
        && attributes(value).map(|inner| (inner.value.len() + 4).next_multiple_of(4)).sum::<usize>() == value.len();
    let _ = write!(line, " {}", attribute.kind);
    match attribute.text() {
        Some(text) if value.len() > 1 && value.ends_with(&[0]) && text.bytes().all(|byte| byte.is_ascii_graphic()) => {
            let _ = write!(line, "={text}");
        }
        _ if nested => {
            line.push('{');
            attributes(value).for_each(|inner| shown(line, &inner));
            line.push('}');
        }
        _ => value.iter().enumerate().for_each(|(at, byte)| {
            let _ = write!(line, "{}{byte:02x}", if at == 0 { "=" } else { "" });
        }),
    }
}
