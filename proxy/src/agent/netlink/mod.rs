//! Netlink to the kernel's netfilter: messages written and read as bytes, and one socket to send them on.
//!
//! `nft` and `conntrack` speak through it. Nothing is executed and no C library is linked: what we say is a small, fixed part of
//! nfnetlink (linux/netfilter/nfnetlink.h), and a transaction of 100,000 elements is one system call.

mod read;
mod socket;
mod write;

pub use read::{Attribute, Message, attributes, messages};
pub use socket::{Answer, Netlink};
pub use write::Messages;

/// Flags of a message (linux/netlink.h).
pub mod flags {
    /// A request; every message of ours.
    pub const REQUEST: u16 = 0x1;
    /// Answer also when all is well.
    pub const ACK: u16 = 0x4;
    /// All objects, not one.
    pub const DUMP: u16 = 0x300;
    /// Make it if it isn't there.
    pub const CREATE: u16 = 0x400;
    /// Put it in the place of what is there.
    pub const REPLACE: u16 = 0x100;
    /// Refuse if it is there already.
    pub const EXCLUSIVE: u16 = 0x200;
    /// Behind the others.
    pub const APPEND: u16 = 0x800;
}

/// An attribute that holds attributes.
const NESTED: u16 = 0x8000;
/// Bytes of a message's head, `nlmsghdr`.
const HEAD: usize = 16;
/// Bytes of netfilter's head behind it, `nfgenmsg`.
const NETFILTER_HEAD: usize = 4;
/// An answer to a request: an error number, or zero.
const ERROR: u16 = 2;
/// The end of a dump.
const DONE: u16 = 3;

/// Everything in netlink begins on a multiple of four bytes.
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}
