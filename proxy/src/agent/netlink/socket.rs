//! One netlink socket, in the network namespace of the thread that opens it.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, getsockname, recv, sendto, socket_with, sockopt,
};
use socket2::{SockFilter, SockRef};

use super::{DONE, ERROR, Message, Messages, messages};

/// Asked for when a socket is opened: answers to a batch of 100,000 elements that all fail must not be lost.
const RECEIVE_BUFFER: usize = 8 << 20;
/// One `recv`: more than the kernel puts into one datagram of a dump (32 KiB), or an error's echo of a message (64 KiB).
const DATAGRAM: usize = 128 << 10;

/// A netlink socket.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    port: u32,
    sequence: u32,
}

/// What the kernel said to a message of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The message's number.
    pub sequence: u32,
    /// Why not; `None`: done.
    pub error: Option<Errno>,
}

impl Netlink {
    /// Opens a socket that also hears what these groups (a bit each) are told.
    ///
    /// # Errors
    /// The kernel's, when it has no netfilter netlink.
    pub fn open(groups: u32) -> io::Result<Self> {
        Self::of(Some(NETFILTER), groups)
    }

    /// Opens a socket for addresses and routes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open_route() -> io::Result<Self> {
        // NETLINK_ROUTE is protocol 0.
        Self::of(None, 0)
    }

    fn of(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
        // Refused without CAP_NET_ADMIN; then the system's bound holds.
        if sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
            let _ = sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
        }
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        let port = SocketAddrNetlink::try_from(getsockname(&socket)?)?.pid();
        Ok(Self { socket, port, sequence: 0 })
    }

    /// The socket's port, which the kernel says of changes that it made.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// From now on doesn't hear what these ports changed. The kernel drops that before it is queued: the news of our own 100,000
    /// elements would push out those of others.
    ///
    /// # Errors
    /// The socket's.
    pub fn ignore<const N: usize>(&self, ports: [u32; N]) -> io::Result<()> {
        // Classic BPF over a datagram, all of whose messages are of one transaction: load the port of the first one's head,
        // bytes 12 to 15, in network order; where it is one of these keep nothing, else all.
        let (load_word, jump_if_equal, give) = (0x20, 0x15, 0x06);
        let mut filter = vec![SockFilter::new(load_word, 0, 0, 12)];
        for (port, left) in ports.iter().zip((1..=u8::try_from(N).unwrap_or(u8::MAX)).rev()) {
            filter.push(SockFilter::new(jump_if_equal, left, 0, u32::from_be_bytes(port.to_ne_bytes())));
        }
        filter.extend([SockFilter::new(give, 0, 0, u32::MAX), SockFilter::new(give, 0, 0, 0)]);
        SockRef::from(&self.socket).attach_filter(&filter)
    }

    /// A new number for a message.
    pub fn number(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Sends messages with one system call and reads the answers. nf_tables and conntrack work while they are sent: when this
    /// returns, they are done or refused. Without an acknowledgement of all or an error, all is well.
    ///
    /// # Errors
    /// The socket's; messages that are too long. Not what the kernel refuses.
    pub fn send(&mut self, messages: &Messages) -> io::Result<Vec<Answer>> {
        self.write(messages)?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; DATAGRAM];
        loop {
            match self.receive(&mut buffer, RecvFlags::DONTWAIT) {
                Ok(bytes) => answers.extend(super::messages(bytes).filter_map(answer)),
                Err(Errno::AGAIN) => return Ok(answers),
                // More errors than fit: those that came are enough to act on.
                Err(Errno::NOBUFS) => answers.push(Answer { sequence: 0, error: Some(Errno::NOBUFS) }),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Asks for all of something, or one of it with an acknowledgement, and hands over each message of the answer.
    ///
    /// # Errors
    /// The socket's, and what the kernel says in place of an answer. `EINTR`: what was listed changed meanwhile; ask again.
    pub fn dump(&mut self, request: &Messages, mut each: impl FnMut(Message<'_>)) -> io::Result<()> {
        self.write(request)?;
        let mut buffer = vec![0; DATAGRAM];
        loop {
            let bytes = self.receive(&mut buffer, RecvFlags::empty())?;
            for message in messages(bytes) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => return answer(message).and_then(|answer| answer.error).map_or(Ok(()), |error| Err(error.into())),
                    _ => each(message),
                }
            }
        }
    }

    /// How long [`Netlink::hear`] waits before it gives up with `EAGAIN`.
    ///
    /// # Errors
    /// The socket's.
    pub fn give_up_after(&self, patience: Duration) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(&self.socket, sockopt::Timeout::Recv, Some(patience))?)
    }

    /// Waits for what the groups are told.
    ///
    /// # Errors
    /// The socket's. `ENOBUFS`: some of it was lost.
    pub fn hear<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Errno> {
        buffer.resize(DATAGRAM, 0);
        self.receive(buffer, RecvFlags::empty())
    }

    /// As [`Netlink::hear`], but waits for nothing.
    ///
    /// # Errors
    /// As [`Netlink::hear`].
    pub fn hear_at_once<'b>(&self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Errno> {
        buffer.resize(DATAGRAM, 0);
        self.receive(buffer, RecvFlags::DONTWAIT)
    }

    fn write(&self, messages: &Messages) -> io::Result<()> {
        let bytes =
            messages.complete().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a netlink message is too long"))?;
        // A message is taken whole or not at all, so the buffer has to have room for it; the kernel doubles what is asked.
        let room = bytes.len().max(1 << 16) + (1 << 12);
        if sockopt::set_socket_send_buffer_size_force(&self.socket, room).is_err() {
            let _ = sockopt::set_socket_send_buffer_size(&self.socket, room);
        }
        loop {
            match sendto(&self.socket, bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0)) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(()),
            }
        }
    }

    fn receive<'b>(&self, buffer: &'b mut [u8], flags: RecvFlags) -> Result<&'b [u8], Errno> {
        loop {
            match recv(&self.socket, &mut *buffer, flags) {
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
                Ok((_, length)) => return Ok(buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

fn answer(message: Message<'_>) -> Option<Answer> {
    if message.kind != ERROR {
        return None;
    }
    let number = i32::from_ne_bytes(message.body.get(..4)?.try_into().ok()?);
    Some(Answer { sequence: message.sequence, error: (number != 0).then(|| Errno::from_raw_os_error(-number)) })
}
