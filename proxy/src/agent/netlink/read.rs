//! Messages as they come from the kernel.

use super::{HEAD, NESTED, NETFILTER_HEAD, aligned};

/// One message.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What it is: subsystem in the upper byte, message in the lower one.
    pub kind: u16,
    /// Of the request that it answers.
    pub sequence: u32,
    /// The port of who caused it; 0: the kernel.
    pub port: u32,
    /// All behind `nlmsghdr`.
    pub body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The address family in netfilter's head.
    pub fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or_default()
    }

    /// The bytes of the attributes, behind netfilter's head.
    pub fn attributes(&self) -> &'a [u8] {
        self.body.get(NETFILTER_HEAD..).unwrap_or_default()
    }
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attribute<'a> {
    /// Which one, without flags.
    pub kind: u16,
    /// Its value.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// The value as a big-endian number of 32 bits.
    pub fn number(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_be_bytes)
    }

    /// The value as text, without the zero at its end.
    pub fn text(&self) -> Option<&'a str> {
        std::str::from_utf8(self.value.strip_suffix(&[0]).unwrap_or(self.value)).ok()
    }
}

/// The messages in what was received; ends at one that is cut off.
pub fn messages(bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (length, head) = (u32::from_ne_bytes(array(rest, 0)?), rest.get(..HEAD)?);
        let length = usize::try_from(length).ok()?;
        let body = rest.get(HEAD..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        Some(Message {
            kind: u16::from_ne_bytes(array(head, 4)?),
            sequence: u32::from_ne_bytes(array(head, 8)?),
            port: u32::from_ne_bytes(array(head, 12)?),
            body,
        })
    })
}

/// The attributes in these bytes; ends at one that is cut off.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = Attribute<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(array(rest, 0)?));
        let kind = u16::from_ne_bytes(array(rest, 2)?);
        let value = rest.get(4..length)?;
        rest = rest.get(aligned(length)..).unwrap_or_default();
        // The second highest bit says that a value is big endian, which netfilter's always are.
        Some(Attribute { kind: kind & !(NESTED | 0x4000), value })
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_off_is_left_out() {
        let whole = [8, 0, 1, 0, 1, 2, 3, 4];
        assert_eq!(attributes(&whole).count(), 1);
        assert_eq!(attributes(&whole[..7]).count(), 0);
        // A length that is shorter than its own head must not be read for ever.
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
        assert_eq!(messages(&[0; 15]).count(), 0);
        assert_eq!(messages(&[0; 32]).count(), 0);
    }
}
