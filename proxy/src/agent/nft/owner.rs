//! Whose the tables are: two agents on a node, as in an upgrade, would repair each other's work for ever.
//!
//! Who writes the tables leaves the port of its netlink socket in their comment, which takes the right to write them. The older
//! one finds another's port there, leaves the tables alone for as long as that socket is open, and goes on when it is closed.

use std::fs;

use rust_ingress_model::l4::Family;
use rust_ingress_model::l4::ruleset::TABLE;

use super::kind::{Kind, number};
use crate::agent::netlink::{Messages, Netlink, attributes, flags};

/// NFTA_TABLE_USERDATA; in it what `nft` shows as a table's comment: kind 0, a length, text with a zero.
pub(super) const USER_DATA: u16 = 6;
const COMMENT: u8 = 0;
/// What stands before the port.
const AGENT: &str = "agent ";
/// NETLINK_NETFILTER, as `/proc/net/netlink` lists it.
const NETFILTER: &str = "12";

/// The user data of a table of this port.
pub(super) fn comment(port: u32) -> Vec<u8> {
    let text = format!("{AGENT}{port}\0");
    // At most 17 bytes.
    let length = u8::try_from(text.len()).unwrap_or_default();
    [&[COMMENT, length], text.as_bytes()].concat()
}

/// The port in a table's user data.
fn port(user_data: &[u8]) -> Option<u32> {
    let [COMMENT, _, text @ ..] = user_data else { return None };
    std::str::from_utf8(text).ok()?.trim_end_matches('\0').strip_prefix(AGENT)?.parse().ok()
}

/// The port of who wrote the tables last; `None` where there is no table, or one that says nothing.
pub(super) fn of_table(netlink: &mut Netlink) -> Option<u32> {
    let mut request = Messages::new();
    let sequence = netlink.number();
    request.message(Kind::GetTable.number(), flags::ACK, sequence, (number(Family::Ipv4), 0), |m| m.text(1, TABLE));
    let mut found = None;
    let answered = netlink.dump(&request, |message| {
        let mut attributes = attributes(message.attributes());
        found = attributes.find(|attribute| attribute.kind == USER_DATA).and_then(|attribute| port(attribute.value));
    });
    answered.ok().and(found)
}

/// Whether a netfilter socket of this port is open in our network namespace.
pub(super) fn lives(port: u32) -> bool {
    let open = fs::read_to_string("/proc/thread-self/net/netlink").unwrap_or_default();
    is_listed(&open, port)
}

fn is_listed(open: &str, port: u32) -> bool {
    let port = port.to_string();
    open.lines().any(|line| line.split_whitespace().skip(1).take(2).eq([NETFILTER, port.as_str()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_back_and_nothing_else_is_one() {
        for given in [1, u32::MAX] {
            assert_eq!(port(&comment(given)), Some(given));
        }
        for other in [&[][..], b"\0", b"\0\x05mine\0", b"\x01\x09agent 12\0", b"\0\x09agent x2\0"] {
            assert_eq!(port(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_socket_is_known_by_its_family_and_port() {
        let open = "sk               Eth Pid        Groups\n0000 12  4294963197 00000040 0 0\n0000 0   77 00000000 0 0\n";
        assert!(is_listed(open, 4_294_963_197));
        assert!(!is_listed(open, 77), "another family");
        assert!(!is_listed(open, 42));
    }
}
