//! Connection tracking: UDP flows that would go on to an endpoint that is gone.
//!
//! The kernel chooses an endpoint once per flow and remembers it for as long as packets come. A TCP peer that is gone answers with
//! a reset; a UDP client never learns, and sends for ever where nobody listens (kubernetes/kubernetes#139628: 13 hours). So when an
//! endpoint goes, and after the rules no longer choose it, its flows are forgotten; also those of a frontend that appears, which
//! the kernel may have let through unrewritten before. TCP flows are left to drain.
//!
//! Dumps are filtered in the kernel (5.8 and later) by frontend and endpoint: what is copied is what is deleted.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::io::Errno;

use super::netlink::{Message, Messages, Netlink, attributes, flags};

/// The subsystem of connection tracking in a message's kind.
const SUBSYSTEM: u16 = 1 << 8;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;
const UDP: u8 = 17;

/// Attributes (linux/netfilter/nfnetlink_conntrack.h).
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;

/// What of a tuple a filter compares (`CTA_FILTER_F_*` in the kernel's nf_internals.h). Not addresses of IPv6: for them the kernel
/// (up to 6.18 at least) leaves out what it is asked for.
const SOURCE: u32 = 1;
const DESTINATION: u32 = 1 << 1;
const PROTOCOL: u32 = 1 << 3;
const SOURCE_PORT: u32 = 1 << 4;
const DESTINATION_PORT: u32 = 1 << 5;

/// UDP flows to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stale {
    /// Where the client sent them.
    pub to: SocketAddr,
    /// The endpoints that they went to.
    pub via: Via,
}

/// Which flows of a frontend are stale.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// Those to this endpoint.
    Endpoint(SocketAddr),
    /// All but those to these endpoints.
    AnyBut(Vec<SocketAddr>),
}

impl Via {
    fn is(&self, endpoint: SocketAddr) -> bool {
        match self {
            Self::Endpoint(stale) => *stale == endpoint,
            Self::AnyBut(others) => !others.contains(&endpoint),
        }
    }
}

/// Up to so many frontends are asked for one by one: the kernel walks its table for each, and copies nothing else. For more (a
/// start, mostly) all UDP flows of a family are copied once.
const ONE_BY_ONE: usize = 32;

/// Forgets flows; how many there were.
///
/// # Errors
/// Netlink's, and the kernel's when it has no connection tracking over netlink.
pub fn forget(netlink: &mut Netlink, stale: &[Stale]) -> io::Result<usize> {
    let mut by_frontend: HashMap<SocketAddr, Vec<&Via>> = HashMap::new();
    for Stale { to, via } in stale {
        by_frontend.entry(*to).or_default().push(via);
    }
    let is_stale = |flow: &Flow| by_frontend.get(&flow.to).is_some_and(|vias| vias.iter().any(|via| via.is(flow.via)));
    let wanted: Vec<Wanted<'_>> = if stale.len() <= ONE_BY_ONE {
        stale.iter().map(Wanted::These).collect()
    } else {
        let families = [true, false].into_iter().filter(|v4| stale.iter().any(|stale| stale.to.is_ipv4() == *v4));
        families.map(|v4| Wanted::AllOf { v4 }).collect()
    };
    let mut count = 0;
    for wanted in wanted {
        count += forget_wanted(netlink, wanted, &is_stale)?;
    }
    Ok(count)
}

/// What the kernel shall list.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    These(&'a Stale),
    AllOf { v4: bool },
}

fn forget_wanted(netlink: &mut Netlink, wanted: Wanted<'_>, is_stale: &dyn Fn(&Flow) -> bool) -> io::Result<usize> {
    const TRIES: usize = 5;
    let mut deletions = Messages::new();
    let mut count = 0;
    for _ in 0..TRIES {
        let number = netlink.number();
        let request = request(wanted, number);
        (deletions, count) = (Messages::new(), 0);
        let dumped = netlink.dump(&request, |message| {
            if message.kind == SUBSYSTEM && flow(message.attributes()).is_some_and(|flow| is_stale(&flow)) {
                count += 1;
                deletion(&mut deletions, &message);
            }
        });
        match dumped {
            // Flows came or went while they were listed.
            Err(error) if error.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
            Err(error) => return Err(error),
            Ok(()) => break,
        }
    }
    if count == 0 {
        return Ok(0);
    }
    let answers = netlink.send(&deletions)?;
    // A flow that ended by itself meanwhile is as good.
    let refused = answers.iter().find_map(|answer| answer.error.filter(|error| *error != Errno::NOENT));
    refused.map_or(Ok(count), |error| Err(error.into()))
}

fn request(wanted: Wanted<'_>, number: u32) -> Messages {
    let v4 = match wanted {
        Wanted::These(stale) => stale.to.is_ipv4(),
        Wanted::AllOf { v4 } => v4,
    };
    let mut request = Messages::new();
    let family = if v4 { super::IPV4 } else { super::IPV6 };
    request.message(GET, flags::DUMP, number, (family, 0), |m| {
        let (mut compared, mut replies) = (PROTOCOL, 0);
        match wanted {
            Wanted::AllOf { .. } => m.nest(ORIGINAL, |m| m.nest(2, |m| m.bytes(1, &[UDP]))),
            Wanted::These(Stale { to, via }) => {
                compared |= DESTINATION_PORT | if v4 { DESTINATION } else { 0 };
                m.nest(ORIGINAL, |m| tuple(m, 2, (3, *to)));
                if let Via::Endpoint(endpoint) = via {
                    replies = PROTOCOL | SOURCE_PORT | if v4 { SOURCE } else { 0 };
                    m.nest(REPLY, |m| tuple(m, 1, (2, *endpoint)));
                }
            }
        }
        m.nest(FILTER, |m| {
            m.bytes(1, &compared.to_ne_bytes());
            if replies != 0 {
                m.bytes(2, &replies.to_ne_bytes());
            }
        });
    });
    request
}

/// Half a tuple: an address (1: source, 2: destination; 2 more for IPv6), UDP, a port (2: source, 3: destination).
fn tuple(m: &mut Messages, place: u16, (port, address): (u16, SocketAddr)) {
    m.nest(1, |m| match address.ip() {
        IpAddr::V4(address) => m.bytes(place, &address.octets()),
        IpAddr::V6(address) => m.bytes(place + 2, &address.octets()),
    });
    m.nest(2, |m| {
        m.bytes(1, &[UDP]);
        m.bytes(port, &address.port().to_be_bytes());
    });
}

/// What of a flow matters: where the client sent it, and whom the replies come from.
struct Flow {
    to: SocketAddr,
    via: SocketAddr,
}

fn flow(entry: &[u8]) -> Option<Flow> {
    let find = |kind: u16| attributes(entry).find(|attribute| attribute.kind == kind).map(|attribute| attribute.value);
    Some(Flow { to: half(find(ORIGINAL)?, 2, 3)?, via: half(find(REPLY)?, 1, 2)? })
}

/// Half a tuple, as [`tuple`] writes it.
fn half(tuple: &[u8], place: u16, port: u16) -> Option<SocketAddr> {
    let (mut ip, mut number) = (None, None);
    for part in attributes(tuple) {
        for field in attributes(part.value) {
            match part.kind {
                1 if field.kind == place => ip = <[u8; 4]>::try_from(field.value).ok().map(IpAddr::from),
                1 if field.kind == place + 2 => ip = <[u8; 16]>::try_from(field.value).ok().map(IpAddr::from),
                2 if field.kind == port => number = field.value.try_into().ok().map(u16::from_be_bytes),
                _ => {}
            }
        }
    }
    Some(SocketAddr::new(ip?, number?))
}

/// Deletes an entry: this very one, not another that began with the same addresses since.
fn deletion(messages: &mut Messages, entry: &Message<'_>) {
    messages.message(DELETE, 0, 0, (entry.family(), 0), |m| {
        for attribute in attributes(entry.attributes()) {
            match attribute.kind {
                ORIGINAL => m.nest(ORIGINAL, |m| again(m, attribute.value)),
                ID | ZONE => m.bytes(attribute.kind, attribute.value),
                _ => {}
            }
        }
    });
}

/// A tuple as it was dumped.
fn again(m: &mut Messages, tuple: &[u8]) {
    for part in attributes(tuple) {
        m.nest(part.kind, |m| {
            for field in attributes(part.value) {
                m.bytes(field.kind, field.value);
            }
        });
    }
}
