//! The addresses of the node's interfaces, read from the kernel: NodePorts on CIDRs are served on those of them that are within.
//!
//! Read with each plan, and twice a second between plans, where such CIDRs are asked for: a DHCP lease brings a new one.

use std::io;
use std::net::IpAddr;

use super::netlink::{Attribute, Messages, Netlink, attributes, flags};

/// RTM_NEWADDR and RTM_GETADDR (linux/rtnetlink.h).
const NEW: u16 = 20;
const GET: u16 = 22;
/// Bytes of `ifaddrmsg`, which stands before the attributes.
const HEAD: usize = 8;
/// IFA_ADDRESS, IFA_LOCAL: on a point-to-point link the first is the other end's.
const ADDRESS: u16 = 1;
const LOCAL: u16 = 2;

/// All addresses of all interfaces of the socket's network namespace, sorted.
///
/// # Errors
/// The socket's.
pub(super) fn read(route: &mut Netlink) -> io::Result<Vec<IpAddr>> {
    let mut request = Messages::new();
    let number = route.number();
    request.message(GET, flags::DUMP, number, (0, 0), |_| {});
    let mut addresses = Vec::new();
    route.dump(&request, |message| {
        if message.kind == NEW {
            addresses.extend(own(message.body.get(HEAD..).unwrap_or_default()));
        }
    })?;
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
}

fn own(message: &[u8]) -> Option<IpAddr> {
    let find = |kind: u16| attributes(message).find(|attribute| attribute.kind == kind);
    address(&find(LOCAL).or_else(|| find(ADDRESS))?)
}

fn address(attribute: &Attribute<'_>) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(attribute.value).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(attribute.value).ok().map(IpAddr::from))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use super::*;

    #[test]
    fn loopback_is_among_them() {
        let addresses = read(&mut Netlink::open_route().expect("a socket")).expect("addresses");
        assert!(addresses.contains(&"127.0.0.1".parse().expect("an address")), "{addresses:?}");
    }
}
