//! A server outside the cluster that says whom it saw: HTTP and UDP, on addresses of the outside world.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use anyhow::Result;

/// Answers on these addresses until the suite ends; the port.
pub fn start(addresses: &[IpAddr]) -> Result<u16> {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(peer) = stream.peer_addr() else { continue };
            answer(stream, peer);
        }
    });
    // A socket of its own for each address, so that answers come from where was asked.
    for address in addresses {
        let socket = UdpSocket::bind((*address, port))?;
        std::thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                // A client that is gone hears nothing.
                drop(socket.send_to(peer.to_string().as_bytes(), peer));
            }
        });
    }
    Ok(port)
}

fn answer(mut stream: std::net::TcpStream, peer: SocketAddr) {
    let body = plain(peer).to_string();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    // A client that goes away early is its own loss.
    drop(stream.set_read_timeout(Some(Duration::from_secs(2))));
    drop(stream.read(&mut [0; 2048]));
    drop(stream.write_all((head + &body).as_bytes()));
}

/// An IPv4 client, as itself.
fn plain(peer: SocketAddr) -> SocketAddr {
    match peer.ip() {
        IpAddr::V6(address) => SocketAddr::new(address.to_canonical(), peer.port()),
        IpAddr::V4(_) => peer,
    }
}
