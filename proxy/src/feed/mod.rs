//! The feed: how a parent process gives a proxy in a child process what it serves (DESIGN.md, decision 7).
//!
//! One Unix stream socket, the child's standard input. The parent opens the listening sockets, keeps them, and sends copies;
//! it sends keys as bytes and snapshots as differences. The child answers when a snapshot is live, by its digest.
//!
//! ```text
//! parent ── Start, Standing, Sockets (SCM_RIGHTS), Keys, Update, Stop ──► child
//!        ◄── Started, Live, Refused, Alive ─────────────────────────────
//! ```
//!
//! The end of the stream is the parent's death: the child drains and ends, because the next parent opens sockets of its own.
//! [`follow`] is the child's side; the parent's is in the controller (`child`), over [`Orders`] and [`Answers`].

mod difference;
mod follower;
mod frame;
mod handed;
pub mod keys;
mod message;
mod pulse;

pub use difference::{Changes, Difference};
pub use follower::follow;
pub use message::{Answer, AnswerSender, Answers, Handover, Order, OrderReader, Orders, Start, Update};

/// What went wrong on the feed.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The socket.
    #[error("the feed between parent and proxy: {0}")]
    Io(#[from] std::io::Error),
    /// A message that can't be read: parent and child are of different versions, or one has a bug.
    #[error("the feed between parent and proxy: {0}; are both of one version?")]
    Message(String),
    /// The proxy didn't start.
    #[error(transparent)]
    Start(#[from] crate::StartError),
}

impl From<serde_json::Error> for FeedError {
    fn from(error: serde_json::Error) -> Self {
        Self::Message(error.to_string())
    }
}
