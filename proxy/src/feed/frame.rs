//! Frames on the feed: a kind, a length, a body, and with some of them open files.
//!
//! Five bytes of head (kind, then the body's length, big endian). Open files travel with the first byte of their frame
//! (unix(7), SCM_RIGHTS).

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use zeroize::Zeroizing;

/// The largest body: a snapshot of 100,000 routes has about 80 MiB.
const MOST: usize = 256 << 20;
/// Open files in one frame; the kernel takes 253.
pub(super) const MOST_FILES: usize = 128;
const HEAD: usize = 5;

/// One frame. Its body is zeroed when dropped: it may be keys.
pub(super) struct Frame {
    pub kind: u8,
    pub body: Zeroizing<Vec<u8>>,
    pub files: Vec<OwnedFd>,
}

/// Writes a frame.
///
/// # Errors
/// The socket's; a body or a number of files over the bounds.
pub(super) fn write(stream: &mut UnixStream, kind: u8, body: &[u8], files: &[BorrowedFd<'_>]) -> io::Result<()> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text);
    if body.len() > MOST || files.len() > MOST_FILES {
        return Err(bad("a frame is too large"));
    }
    let length = u32::try_from(body.len()).map_err(|_| bad("a frame is too large"))?;
    let [a, b, c, d] = length.to_be_bytes();
    let head = [kind, a, b, c, d];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(bad("too many open files in a frame"));
    }
    let sent = loop {
        let parts = [IoSlice::new(&head), IoSlice::new(body)];
        match sendmsg(&*stream, &parts, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    // What didn't fit into the socket's buffer follows; the files are through.
    stream.write_all(head.get(sent..).unwrap_or_default())?;
    stream.write_all(body.get(sent.saturating_sub(HEAD)..).unwrap_or_default())
}

/// Reads a frame; `None` at the end of the stream.
///
/// # Errors
/// The socket's; a frame that is cut off, or over the bounds.
pub(super) fn read(stream: &mut UnixStream) -> io::Result<Option<Frame>> {
    let (mut head, mut have) = ([0; HEAD], 0);
    let mut files = VecDeque::new();
    while have < HEAD {
        let got = receive(stream, head.get_mut(have..).unwrap_or_default(), &mut files)?;
        match (got, have) {
            (0, 0) => return Ok(None),
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ => have += got,
        }
    }
    let [kind, length @ ..] = head;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MOST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a frame is too large"));
    }
    let mut body = Zeroizing::new(vec![0; length]);
    stream.read_exact(&mut body)?;
    Ok(Some(Frame { kind, body, files: files.into() }))
}

/// Reads some bytes and the open files that came with them.
fn receive(stream: &UnixStream, into: &mut [u8], files: &mut VecDeque<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_FILES))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let flags = RecvFlags::CMSG_CLOEXEC;
        match recvmsg(stream, &mut [IoSliceMut::new(into)], &mut ancillary, flags) {
            Err(rustix::io::Errno::INTR) => {}
            result => break result?,
        }
    };
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            files.extend(received);
        }
    }
    if received.flags.contains(rustix::net::ReturnFlags::CTRUNC) {
        return Err(io::Error::other("open files were lost on the way; raise the limit on open files (ulimit -n)"));
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use std::io::Write as _;
    use std::net::TcpListener;
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    use super::{read, write};

    #[test]
    fn a_large_body_and_files_arrive() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = body.clone();
        let writer = std::thread::spawn(move || {
            write(&mut here, 1, b"before", &[]).unwrap();
            write(&mut here, 7, &body, &[listener.as_fd(), listener.as_fd()]).unwrap();
            write(&mut here, 2, b"", &[]).unwrap();
        });
        let before = read(&mut there).unwrap().unwrap();
        assert_eq!((before.kind, before.files.len(), &before.body[..]), (1, 0, &b"before"[..]));
        let frame = read(&mut there).unwrap().unwrap();
        assert_eq!((frame.kind, &frame.body[..]), (7, &expected[..]));
        let got: Vec<_> = frame.files.into_iter().map(|file| TcpListener::from(file).local_addr().unwrap()).collect();
        assert_eq!(got, [address, address]);
        assert_eq!(read(&mut there).unwrap().unwrap().kind, 2);
        writer.join().unwrap();
        assert!(read(&mut there).unwrap().is_none());
    }

    #[test]
    fn what_is_cut_off_or_too_large_is_an_error() {
        for bytes in [&b"\x01\x00"[..], b"\x01\x00\x00\x00\x09body", b"\x01\xff\xff\xff\xff"] {
            let (mut here, mut there) = UnixStream::pair().unwrap();
            here.write_all(bytes).unwrap();
            drop(here);
            assert!(read(&mut there).is_err(), "{bytes:?}");
        }
    }
}
