//! Messages as they go to the kernel, one behind the other in one buffer.

use std::fmt;
use std::io::Write as _;

use super::flags::REQUEST;
use super::{HEAD, NESTED, aligned};

/// Messages that are being written.
///
/// Lengths in netlink are 16 bits for an attribute and 32 for a message. What doesn't fit makes the whole buffer unfit to send
/// ([`Messages::complete`]), so that no caller has to check each attribute.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    overflow: bool,
}

impl Messages {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes; `None` when something was longer than its length can say.
    pub fn complete(&self) -> Option<&[u8]> {
        (!self.overflow).then_some(&self.bytes)
    }

    /// Adds a message: `nlmsghdr`, `nfgenmsg` (address family; resource, big endian), and what `body` writes.
    pub fn message(&mut self, kind: u16, flags: u16, sequence: u32, head: (u8, u16), body: impl FnOnce(&mut Self)) {
        let (family, resource) = head;
        let [high, low] = resource.to_be_bytes();
        self.message_of(kind, flags, sequence, &[family, 0, high, low], body);
    }

    /// Adds a message of another subsystem than netfilter, with the head that stands there before the attributes.
    pub fn message_of(&mut self, kind: u16, flags: u16, sequence: u32, head: &[u8], body: impl FnOnce(&mut Self)) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        debug_assert_eq!(self.bytes.len(), begin + HEAD);
        self.bytes.extend_from_slice(head);
        body(self);
        match u32::try_from(self.bytes.len() - begin) {
            Ok(length) => self.patch(begin, &length.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
    }

    /// An attribute of bytes as they are.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        let begin = self.attribute(kind);
        self.bytes.extend_from_slice(value);
        self.close(begin);
    }

    /// An attribute of 32 bits, big endian as nf_tables wants numbers.
    pub fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute of text, with the zero at its end.
    pub fn text(&mut self, kind: u16, value: impl fmt::Display) {
        let begin = self.attribute(kind);
        // Writing into memory can't fail.
        let _ = write!(self.bytes, "{value}");
        self.bytes.push(0);
        self.close(begin);
    }

    /// An attribute of attributes.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let begin = self.attribute(kind | NESTED);
        body(self);
        self.close(begin);
    }

    fn attribute(&mut self, kind: u16) -> usize {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        begin
    }

    fn close(&mut self, begin: usize) {
        match u16::try_from(self.bytes.len() - begin) {
            Ok(length) => self.patch(begin, &length.to_ne_bytes()),
            Err(_) => self.overflow = true,
        }
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, reason = "tests")]

    use super::super::{attributes, messages};
    use super::*;

    #[test]
    fn what_was_written_is_read_back() {
        let mut written = Messages::new();
        written.message(7, 0x400, 9, (2, 10), |m| {
            m.text(1, "abc");
            m.nest(2, |m| m.number(3, 0x0102_0304));
            m.bytes(4, &[1, 2, 3, 4, 5]);
        });
        written.message(8, 0, 10, (10, 0), |_| {});
        let bytes = written.complete().expect("fits");
        assert_eq!(bytes.len() % 4, 0);
        let read: Vec<_> = messages(bytes).collect();
        assert_eq!(read.iter().map(|m| (m.kind, m.sequence)).collect::<Vec<_>>(), [(7, 9), (8, 10)]);
        let body: Vec<_> = attributes(read[0].attributes()).collect();
        assert_eq!(body[0].text(), Some("abc"));
        assert_eq!(attributes(body[1].value).next().and_then(|inner| inner.number()), Some(0x0102_0304));
        assert_eq!((body[2].kind, body[2].value), (4, &[1, 2, 3, 4, 5][..]));
        assert_eq!(attributes(read[1].attributes()).count(), 0);
    }

    #[test]
    fn an_attribute_of_over_65535_bytes_makes_the_buffer_unfit() {
        let mut written = Messages::new();
        written.message(7, 0, 1, (2, 0), |m| m.bytes(1, &vec![0; 65_532]));
        assert!(written.complete().is_none());
        let mut written = Messages::new();
        written.message(7, 0, 1, (2, 0), |m| m.bytes(1, &vec![0; 65_531]));
        assert!(written.complete().is_some());
    }
}
