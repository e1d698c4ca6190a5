//! Real packets: servers that say who they are and whom they see, and a client that says what became of a question.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rust_ingress_model::l4::Transport;

use super::namespace::Namespace;

/// Where every server of the rig listens.
pub const PORT: u16 = 8080;
/// How long a packet that is dropped is waited for. A kernel answers in well under 1 ms; the first retry of TCP comes after 1 s.
const PATIENCE: Duration = Duration::from_millis(700);

/// What became of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A server answered: its name, and the source that it saw.
    By(String, SocketAddr),
    /// Refused: a TCP reset, or "port unreachable".
    Refused,
    /// No answer at all.
    Silence,
}

impl Answer {
    /// Who answered.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::By(name, _) => Some(name),
            _ => None,
        }
    }

    /// The source address that the server saw.
    pub fn seen(&self) -> Option<IpAddr> {
        match self {
            Self::By(_, seen) => Some(seen.ip()),
            _ => None,
        }
    }
}

/// Starts the server of a namespace, TCP and UDP at these addresses; it ends with this process.
pub fn serve(namespace: &Namespace, name: &'static str, addresses: &[SocketAddr]) -> Result<()> {
    for address in addresses {
        namespace.inside(move || serve_at(name, *address).with_context(|| format!("a server at {address}")))?;
    }
    Ok(())
}

fn serve_at(name: &'static str, address: SocketAddr) -> Result<()> {
    let tcp = TcpListener::bind(address)?;
    let udp = UdpSocket::bind(address)?;
    thread::spawn(move || {
        for stream in tcp.incoming() {
            let Ok(mut stream) = stream else { return };
            let Ok(peer) = stream.peer_addr() else { continue };
            let _ = stream.write_all(said(name, peer).as_bytes());
            // Kept open until the client goes: a test may look at the connection.
            thread::spawn(move || stream.read(&mut [0]));
        }
    });
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(said(name, peer).as_bytes(), peer);
        }
    });
    Ok(())
}

fn said(name: &str, peer: SocketAddr) -> String {
    format!("{name} {}\n", peer)
}

/// Asks an address from a namespace, over a connection of its own.
pub fn ask(from: &Namespace, transport: Transport, to: SocketAddr) -> Result<Answer> {
    from.inside(move || match transport {
        Transport::Tcp => over_tcp(to),
        Transport::Udp => {
            let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
            over_udp(&UdpSocket::bind(any)?, to)
        }
        Transport::Sctp => bail!("this machine's kernel has no SCTP sockets"),
    })
}

fn over_tcp(to: SocketAddr) -> Result<Answer> {
    let mut text = String::new();
    let asked = TcpStream::connect_timeout(&to, PATIENCE).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut letter = [0];
        while !text.ends_with('\n') && stream.read(&mut letter)? == 1 {
            text.push(char::from(letter[0]));
        }
        Ok(())
    });
    answer(asked, &text)
}

/// Asks over this socket, whose flow conntrack may know already.
pub fn over_udp(socket: &UdpSocket, to: SocketAddr) -> Result<Answer> {
    let mut buffer = [0; 128];
    let mut length = 0;
    let asked = socket.connect(to).and_then(|()| {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.send(b"?")?;
        length = socket.recv(&mut buffer)?;
        Ok(())
    });
    answer(asked, &String::from_utf8_lossy(&buffer[..length]))
}

fn answer(asked: std::io::Result<()>, text: &str) -> Result<Answer> {
    match asked {
        Ok(()) => {
            let (name, seen) = text.trim_end().split_once(' ').with_context(|| format!("a server said {text:?}"))?;
            Ok(Answer::By(name.to_owned(), seen.parse()?))
        }
        // The kernel tells the sender of a datagram on the same host of its refusal, or its drop, at once with EPERM.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => Ok(Answer::Refused),
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => Ok(Answer::Silence),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(Answer::Silence),
        Err(error) => Err(error).context("neither an answer nor a refusal"),
    }
}
