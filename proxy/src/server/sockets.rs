//! Listening sockets: one per worker on the same port, among which the kernel spreads connections (SO_REUSEPORT).

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that may wait to be accepted, per socket; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Opens one listening socket per worker. Port 0 gives them all the same free port; the real address is returned.
///
/// # Errors
/// What the system says; a port that any other program listens on is in use, even when that program also shares ports.
pub fn open(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    use io::ErrorKind::{AddrInUse, PermissionDenied};
    match open_at(address, workers) {
        // A machine without IPv6 still has all its addresses.
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && !matches!(error.kind(), AddrInUse | PermissionDenied) => {
            open_at(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), workers).map_err(|_| error)
        }
        opened => opened,
    }
}

fn open_at(address: SocketAddr, workers: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // The first socket is bound without SO_REUSEPORT: else a second copy of this program would share the port unnoticed.
    let first = socket(address)?;
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
