//! The route that makes the L7 proxy's own sources addresses of this node, one for each family, in the table `local`.
//!
//! Made when the first Service goes through the proxy, taken away by `agent cleanup`: `ip route show table local` shows it.

use std::io;
use std::net::IpAddr;

use rust_ingress_model::l4::{Family, l7};
use rustix::io::Errno;

use super::netlink::{Messages, Netlink, flags};
use super::{IPV4, IPV6};

/// RTM_NEWROUTE and RTM_DELROUTE (linux/rtnetlink.h).
const NEW: u16 = 24;
const DELETE: u16 = 25;
/// RT_TABLE_LOCAL, RTPROT_STATIC, RT_SCOPE_HOST, RTN_LOCAL.
const KIND: [u8; 4] = [255, 4, 254, 2];
/// RTA_DST, RTA_OIF.
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
/// `lo` has this number in every network namespace.
const LOOPBACK: u32 = 1;

/// Makes the routes, where they aren't there.
///
/// # Errors
/// What the kernel says.
pub(super) fn make(netlink: &mut Netlink) -> io::Result<()> {
    Family::BOTH.into_iter().try_for_each(|family| change(netlink, (NEW, flags::CREATE | flags::REPLACE), family))
}

/// Takes them away.
///
/// # Errors
/// What the kernel says; not that they aren't there.
pub(super) fn remove(netlink: &mut Netlink) -> io::Result<()> {
    for family in Family::BOTH {
        match change(netlink, (DELETE, 0), family) {
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => {}
            result => result?,
        }
    }
    Ok(())
}

fn change(netlink: &mut Netlink, (kind, flags): (u16, u16), family: Family) -> io::Result<()> {
    let own = l7::own(family);
    let family = if family == Family::Ipv4 { IPV4 } else { IPV6 };
    let mut request = Messages::new();
    let number = netlink.number();
    let [table, protocol, scope, local] = KIND;
    let head = [family, own.prefix_len(), 0, 0, table, protocol, scope, local, 0, 0, 0, 0];
    request.message_of(kind, flags | flags::ACK, number, &head, |m| {
        match own.addr() {
            IpAddr::V4(address) => m.bytes(DESTINATION, &address.octets()),
            IpAddr::V6(address) => m.bytes(DESTINATION, &address.octets()),
        }
        m.bytes(INTERFACE, &LOOPBACK.to_ne_bytes());
    });
    let answers = netlink.send(&request)?;
    answers.iter().find_map(|answer| answer.error).map_or(Ok(()), |error| Err(error.into()))
}
