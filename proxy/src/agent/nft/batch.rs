//! One transaction of nf_tables: all of it from one generation to the next, or nothing.

use std::fmt::{self, Write as _};
use std::io;

use rust_ingress_model::Digest;
use rustix::io::Errno;
use thiserror::Error;

use super::kind::{Kind, SUBSYSTEM};
use super::owner;
use crate::agent::netlink::{Messages, Netlink, flags, messages};

/// NFNL_MSG_BATCH_BEGIN and _END.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

/// Why a transaction was refused; nothing of it was done.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Netlink itself.
    #[error("netlink to the kernel's nf_tables: {0}")]
    Netlink(#[from] io::Error),
    /// What the kernel said, and to what.
    #[error("the kernel refuses {}", listed(.0))]
    Refused(Vec<Refusal>),
}

impl CommitError {
    /// Whether what was to be changed isn't as we left it: an element or a whole table is gone, or something is there already.
    pub fn is_drift(&self) -> bool {
        self.is_any(|error| matches!(error, Errno::NOENT | Errno::EXIST))
    }

    /// Whether a map has no room for more elements: it has to be made larger.
    pub fn is_full(&self) -> bool {
        self.is_any(|error| error == Errno::NFILE)
    }

    fn is_any(&self, is: impl Fn(Errno) -> bool) -> bool {
        matches!(self, Self::Refused(refusals) if refusals.iter().any(|refusal| is(refusal.error)))
    }
}

/// One message that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What it was to do.
    pub what: String,
    /// Why not.
    pub error: Errno,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.error {
            Errno::PERM | Errno::ACCESS => "; it needs CAP_NET_ADMIN in its network namespace",
            Errno::OPNOTSUPP | Errno::AFNOSUPPORT => "; the kernel lacks a part of nf_tables: see `rust-ingress agent check`",
            Errno::NFILE => "; the map is full",
            _ => "",
        };
        write!(f, "{}: {}{hint}", self.what, self.error)
    }
}

fn listed(refusals: &[Refusal]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<String> = refusals.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = refusals.len().saturating_sub(SHOWN);
    if more == 0 { shown.join("; ") } else { format!("{}; and {more} more", shown.join("; ")) }
}

/// A transaction that is being written.
#[derive(Debug)]
pub(super) struct Batch {
    messages: Messages,
    /// What each message is to do, for errors; its number is `first` and its place.
    what: Vec<String>,
}

impl Batch {
    /// An empty transaction. Messages are numbered from 1: a transaction is answered whole before the next one begins.
    pub fn new() -> Self {
        let mut messages = Messages::new();
        messages.message(BEGIN, 0, 0, (0, SUBSYSTEM), |_| {});
        Self { messages, what: Vec::new() }
    }

    /// Whether it does nothing.
    pub fn is_empty(&self) -> bool {
        self.what.is_empty()
    }

    /// Adds a message.
    pub fn add(&mut self, kind: Kind, flags: u16, family: u8, what: impl Into<String>, body: impl FnOnce(&mut Messages)) {
        let number = self.next_number();
        self.what.push(what.into());
        self.messages.message(kind.number(), flags, number, (family, 0), body);
    }

    /// The number of the next message, unlike any other in the transaction.
    pub fn next_number(&self) -> u32 {
        u32::try_from(self.what.len() + 1).unwrap_or(u32::MAX)
    }

    /// As they are sent to be looked at only: what comes without an end is undone, as `nft --check` does it.
    pub fn without_end(self) -> Finished {
        Finished { messages: self.messages, what: self.what }
    }

    /// The bytes, as they are sent.
    pub fn finish(mut self) -> Finished {
        let number = self.next_number();
        self.messages.message(END, 0, number, (0, SUBSYSTEM), |_| {});
        Finished { messages: self.messages, what: self.what }
    }
}

/// A transaction that can be sent.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) messages: Messages,
    what: Vec<String>,
}

impl Finished {
    /// A line for each message but the first and last: what it is to do, and a digest of its bytes.
    pub fn digests(&self) -> String {
        let bytes = self.messages.complete().unwrap_or_default();
        let messages = messages(bytes).skip(1).zip(&self.what);
        messages.fold(String::new(), |mut lines, (message, what)| {
            let digest = Digest::of(&(message.kind, message.body)).to_string();
            let _ = writeln!(lines, "{} {what}", digest.get(..16).unwrap_or(&digest));
            lines
        })
    }

    /// Sends it. Another program that changes its own tables at the same time makes no difference: ours has no condition on it.
    ///
    /// # Errors
    /// Netlink's, and what the kernel refused; then nothing was done.
    pub fn commit(&self, netlink: &mut Netlink) -> Result<(), CommitError> {
        let answers = netlink.send(&self.messages)?;
        let refusals: Vec<Refusal> = answers
            .iter()
            .filter_map(|answer| {
                let place = usize::try_from(answer.sequence).ok()?.checked_sub(1);
                let what = place.and_then(|place| self.what.get(place)).map_or("the transaction", String::as_str);
                Some(Refusal { what: what.to_owned(), error: answer.error? })
            })
            .collect();
        if refusals.is_empty() { Ok(()) } else { Err(CommitError::Refused(refusals)) }
    }
}

/// Makes a table that says whose it is, and an empty one of it: an old one goes, with all in it.
pub(super) fn replace_table(batch: &mut Batch, family: u8, table: &str, owner: u32) {
    new_table(batch, family, table);
    delete_table(batch, family, table);
    batch.add(Kind::NewTable, flags::CREATE, family, format!("table {table}"), |m| {
        m.text(1, table);
        m.number(2, 0);
        m.bytes(owner::USER_DATA, &owner::comment(owner));
    });
}

/// Deletes a table with all in it.
pub(super) fn delete_table(batch: &mut Batch, family: u8, table: &str) {
    batch.add(Kind::DeleteTable, 0, family, format!("table {table}"), |m| m.text(1, table));
}

/// Makes a table unless it is there.
pub(super) fn new_table(batch: &mut Batch, family: u8, table: &str) {
    batch.add(Kind::NewTable, flags::CREATE, family, format!("table {table}"), |m| {
        m.text(1, table);
        m.number(2, 0);
    });
}
