//! The links of this network namespace: their addresses, and sockets that hear questions on all of them.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::time::Duration;

use ipnet::IpNet;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::{LinkAddr, MsgFlags, SockaddrStorage, recvfrom, sendto};
use rust_ingress_model::l4::Family;
use socket2::{Domain, Protocol, SockFilter, SockRef, Socket, Type};

use super::wire::Mac;

/// AF_PACKET (linux/socket.h).
const PACKET: i32 = 17;
/// ETH_P_ARP and ETH_P_IPV6 (linux/if_ether.h).
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
/// The longest question: a solicitation with options is under 200 bytes.
const FRAME: usize = 1514;

/// One interface.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mac: Mac,
    /// Where a frame to it is sent.
    at: LinkAddr,
    /// Its addresses, with their networks.
    pub(super) nets: Vec<IpNet>,
}

impl Link {
    /// Its own IPv6 address on the link.
    pub(super) fn link_local(&self) -> Option<Ipv6Addr> {
        self.nets.iter().find_map(|net| match net.addr() {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
            _ => None,
        })
    }
}

/// The interfaces that are up and have a hardware address, loopback aside.
///
/// # Errors
/// The kernel's.
pub(super) fn links() -> io::Result<Vec<Link>> {
    let (mut links, mut nets) = (Vec::new(), BTreeMap::<String, Vec<IpNet>>::new());
    for entry in getifaddrs()? {
        let up = entry.flags.contains(InterfaceFlags::IFF_UP) && !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK);
        let Some(address) = entry.address.filter(|_| up) else { continue };
        if let Some(at) = address.as_link_addr() {
            if let (Some(mac), Ok(index)) = (at.addr(), u32::try_from(at.ifindex())) {
                links.push(Link { index, name: entry.interface_name, mac, at: *at, nets: Vec::new() });
            }
        } else if let Some(net) = net(&address, entry.netmask.as_ref()) {
            nets.entry(entry.interface_name).or_default().push(net);
        }
    }
    for link in &mut links {
        link.nets = nets.remove(&link.name).unwrap_or_default();
    }
    Ok(links)
}

fn net(address: &SockaddrStorage, mask: Option<&SockaddrStorage>) -> Option<IpNet> {
    let ip = |storage: &SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    };
    IpNet::with_netmask(ip(address)?, ip(mask?)?).ok()
}

/// A socket that hears the questions of one family on all links.
#[derive(Debug)]
pub(super) struct Ear {
    socket: Socket,
}

impl Ear {
    /// Opens it in the network namespace of this thread. Other packets are dropped by the kernel before they are queued.
    ///
    /// # Errors
    /// The kernel's: `EPERM` without CAP_NET_RAW.
    pub(super) fn open(family: Family, patience: Duration) -> io::Result<Self> {
        // Classic BPF over the frame. ARP: the operation, bytes 20 and 21, is 1. IPv6: the next header, byte 20, is ICMPv6, and
        // its type, byte 54, a solicitation or an advertisement.
        let (load_half, load_byte, equal, give) = (0x28, 0x30, 0x15, 0x06);
        let ends = [SockFilter::new(give, 0, 0, u32::MAX), SockFilter::new(give, 0, 0, 0)];
        let (kind, checks) = match family {
            Family::Ipv4 => (ARP, vec![SockFilter::new(load_half, 0, 0, 20), SockFilter::new(equal, 0, 1, 1)]),
            Family::Ipv6 => (
                IPV6,
                vec![
                    SockFilter::new(load_byte, 0, 0, 20),
                    SockFilter::new(equal, 0, 4, 58),
                    SockFilter::new(load_byte, 0, 0, 54),
                    SockFilter::new(equal, 1, 0, 135),
                    SockFilter::new(equal, 0, 1, 136),
                ],
            ),
        };
        // The protocol is in network order here, and all links are heard of as nothing is bound.
        let socket = Socket::new(Domain::from(PACKET), Type::RAW, Some(Protocol::from(i32::from(kind.to_be()))))?;
        SockRef::from(&socket).attach_filter(&checks.into_iter().chain(ends).collect::<Vec<_>>())?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Self { socket })
    }

    /// Waits for a frame: on which interface it came in, and what it is. `None`: nothing came in time.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn hear<'b>(&self, buffer: &'b mut Vec<u8>) -> io::Result<Option<(u32, &'b [u8])>> {
        buffer.resize(FRAME, 0);
        match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), buffer) {
            Ok((length, from)) => {
                let index = from.and_then(|from| u32::try_from(from.ifindex()).ok()).unwrap_or_default();
                Ok(Some((index, buffer.get(..length).unwrap_or_default())))
            }
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a frame on a link.
    ///
    /// # Errors
    /// The socket's.
    pub(super) fn say(&self, link: &Link, frame: &[u8]) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), frame, &link.at, MsgFlags::empty())?;
        Ok(())
    }
}

/// Membership of the group that is asked for an address: without it the interface doesn't take the questions.
#[derive(Debug)]
pub(super) struct Membership {
    _socket: Socket,
}

impl Membership {
    /// Joins on an interface.
    ///
    /// # Errors
    /// The kernel's: no IPv6 there.
    pub(super) fn join(group: Ipv6Addr, index: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.join_multicast_v6(&group, index)?;
        Ok(Self { _socket: socket })
    }
}
