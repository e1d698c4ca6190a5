//! Listening sockets: one per worker on the same port, among which the kernel spreads connections (SO_REUSEPORT).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;

use rust_ingress_model::ListenerName;
use socket2::{Domain, Protocol, SockAddr, SockFilter, SockRef, Socket, Type};

/// Connections that may wait to be accepted, per socket; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Where a listener's sockets come from.
pub trait Sockets: Send + Sync {
    /// One listening socket per worker, and their address (for port 0).
    ///
    /// # Errors
    /// Why there are none.
    fn open(&self, listener: &ListenerName, address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)>;
}

/// Opened by this process, for itself.
#[derive(Debug, Clone, Copy)]
pub struct Own(pub Sharing);

impl Sockets for Own {
    fn open(&self, _: &ListenerName, address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
        open(address, workers, self.0)
    }
}

/// Who else may listen on a port that we open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Sharing {
    /// Nobody: a second copy of this program is told that the port is in use.
    #[default]
    Alone,
    /// Another copy of this program, of the same user: the Pod that follows opens the port while this one still drains.
    WithOurselves,
}

/// Opens one listening socket per worker. Port 0 gives them all the same free port; the real address is returned.
///
/// # Errors
/// What the system says; a port that any other program listens on is in use, even when that program also shares ports.
pub fn open(address: SocketAddr, workers: usize, sharing: Sharing) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    use io::ErrorKind::{AddrInUse, PermissionDenied};
    match open_at(address, workers, sharing) {
        // A machine without IPv6 still has all its addresses.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && !matches!(error.kind(), AddrInUse | PermissionDenied) => {
            open_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), workers, sharing).map_err(|_| error)
        }
        opened => opened,
    }
}

fn open_at(address: SocketAddr, workers: usize, sharing: Sharing) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    let first = socket(address)?;
    // Bound without SO_REUSEPORT, the first socket finds a second copy of this program; else both would share unnoticed.
    first.set_reuse_port(sharing == Sharing::WithOurselves)?;
    first.bind(&SockAddr::from(address))?;
    first.set_reuse_port(true)?;
    first.listen(BACKLOG)?;
    let real = first.local_addr()?.as_socket().ok_or_else(|| io::Error::other("the socket has no IP address"))?;
    let mut sockets = vec![TcpListener::from(first)];
    for _ in 1..workers {
        let next = socket(address)?;
        next.set_reuse_port(true)?;
        next.bind(&SockAddr::from(real))?;
        next.listen(BACKLOG)?;
        sockets.push(TcpListener::from(next));
    }
    Ok((real, sockets))
}

/// Lets the kernel drop what asks for a new connection, and nothing else: handshakes under way come to their end. The client
/// asks again after a second, and reaches whoever has the port by then. Closing a socket resets what is in its handshakes.
///
/// # Errors
/// What the system says.
pub fn refuse_new(listener: impl AsFd) -> io::Result<()> {
    // Classic BPF over the TCP header: load the flags, byte 13; where SYN is set keep nothing of the packet, else all.
    let (load_byte, jump_if_set, give) = (0x30, 0x45, 0x06);
    let filter = [
        SockFilter::new(load_byte, 0, 0, 13),
        SockFilter::new(jump_if_set, 0, 1, 0x02),
        SockFilter::new(give, 0, 0, 0),
        SockFilter::new(give, 0, 0, u32::MAX),
    ];
    SockRef::from(&listener).attach_filter(&filter)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `[::]` takes both families; an address of its own only its own.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // A restart must not wait for old connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn new_connections_are_not_answered_and_those_that_wait_are_kept() {
        let (address, sockets) = open("127.0.0.1:0".parse().unwrap(), 1, Sharing::Alone).unwrap();
        let waits = TcpStream::connect(address).unwrap();
        refuse_new(&sockets[0]).unwrap();
        let error = TcpStream::connect_timeout(&address, Duration::from_millis(200)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "neither taken nor refused");
        assert_eq!(sockets[0].accept().unwrap().1, waits.local_addr().unwrap());
    }

    #[test]
    fn a_port_is_shared_only_where_that_is_asked_for() {
        let (address, _alone) = open("127.0.0.1:0".parse().unwrap(), 2, Sharing::Alone).unwrap();
        assert_eq!(open(address, 2, Sharing::Alone).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(open(address, 2, Sharing::WithOurselves).is_ok());
    }
}
