//! What parent and child say to each other, over frames.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rust_ingress_model::{Fingerprint, KeyPair, ListenerName};
use serde::{Deserialize, Serialize};

use super::difference::Difference;
use super::frame::{self, Frame, MOST_FILES};
use super::{FeedError, keys};
use crate::observe::{Ports, Standing, Unavailable};
use crate::options::Options;

const START: u8 = 1;
const STANDING: u8 = 2;
const SOCKETS: u8 = 3;
const KEYS: u8 = 4;
const UPDATE: u8 = 5;
const STOP: u8 = 6;
const HEALTH: u8 = 7;
const ANSWER: u8 = 128;

/// The first order: once. The observation ports' sockets come with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// Options of the proxy.
    pub options: Options,
    /// Whether the health port's socket comes with this.
    pub health: bool,
    /// Whether the admin port's socket comes with this, after it.
    pub admin: bool,
}

/// A listener's sockets, or why there are none. Its sockets come with it, one per worker; many come in several orders.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Handover {
    /// The listener.
    pub listener: ListenerName,
    /// The address that the snapshot asks for.
    pub asked: SocketAddr,
    /// The address that was bound, or why it couldn't be.
    pub bound: Result<SocketAddr, String>,
}

/// A snapshot, as a difference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Update {
    /// Counted up by the parent.
    pub sequence: u64,
    /// What the snapshot's digest must be.
    pub digest: String,
    /// Whether the difference is from nothing, not from the update before.
    pub whole: bool,
    /// What changes.
    pub difference: Difference,
}

/// What the parent says.
pub enum Order {
    /// Start serving.
    Start(Box<Start>, Ports),
    /// Facts for readiness and metrics.
    Standing(Standing),
    /// Sockets for a listener of updates to come.
    Sockets(Handover, Vec<TcpListener>),
    /// Keys for updates to come.
    Keys(Vec<(Fingerprint, Arc<KeyPair>)>),
    /// Serve this.
    Update(Box<Update>),
    /// Serve the health port here.
    Health(TcpListener),
    /// Drain, and end.
    Stop,
}

/// What the child says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// The proxy has started.
    Started,
    /// Its workers answer; said several times a second.
    Alive {
        /// Whether something is live, and it isn't about to end.
        serves: bool,
    },
    /// The update is live.
    Live {
        /// Which.
        sequence: u64,
        /// Listeners that aren't open.
        unavailable: Vec<Unavailable>,
    },
    /// What the update makes isn't what the parent has; what was live still is.
    Refused {
        /// Which.
        sequence: u64,
        /// The digest of what it makes.
        digest: String,
        /// Whether it was a whole one.
        whole: bool,
    },
}

/// The parent's end: gives orders.
pub struct Orders(UnixStream);

impl Orders {
    /// Over this socket.
    pub fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Starts the child.
    ///
    /// # Errors
    /// The socket's.
    pub fn start(&mut self, options: &Options, ports: &Ports) -> Result<(), FeedError> {
        let Ports { health, admin } = ports;
        let start = Start { options: options.clone(), health: health.is_some(), admin: admin.is_some() };
        let files: Vec<_> = health.iter().chain(admin).map(|socket| socket.as_fd()).collect();
        self.send(START, &serde_json::to_vec(&start)?, &files)
    }

    /// Tells facts for readiness and metrics.
    ///
    /// # Errors
    /// The socket's.
    pub fn standing(&mut self, standing: &Standing) -> Result<(), FeedError> {
        self.send(STANDING, &serde_json::to_vec(standing)?, &[])
    }

    /// Hands over a listener's sockets.
    ///
    /// # Errors
    /// The socket's.
    pub fn sockets(&mut self, handover: &Handover, sockets: &[TcpListener]) -> Result<(), FeedError> {
        let body = serde_json::to_vec(handover)?;
        if sockets.is_empty() {
            return self.send(SOCKETS, &body, &[]);
        }
        for some in sockets.chunks(MOST_FILES) {
            let files: Vec<_> = some.iter().map(|socket| socket.as_fd()).collect();
            self.send(SOCKETS, &body, &files)?;
        }
        Ok(())
    }

    /// Gives keys.
    ///
    /// # Errors
    /// The socket's.
    pub fn keys<'a, I>(&mut self, pairs: I) -> Result<(), FeedError>
    where
        I: IntoIterator<Item = (Fingerprint, &'a Arc<KeyPair>)> + Clone,
    {
        let body = keys::encode(pairs).map_err(|error| FeedError::Message(error.into()))?;
        self.send(KEYS, &body, &[])
    }

    /// Gives a snapshot.
    ///
    /// # Errors
    /// The socket's.
    pub fn update(&mut self, update: &Update) -> Result<(), FeedError> {
        self.send(UPDATE, &serde_json::to_vec(update)?, &[])
    }

    /// Hands over the health port's socket, where it didn't come with the start.
    ///
    /// # Errors
    /// The socket's.
    pub fn health(&mut self, socket: &TcpListener) -> Result<(), FeedError> {
        self.send(HEALTH, &[], &[socket.as_fd()])
    }

    /// Asks the child to drain and end.
    ///
    /// # Errors
    /// The socket's.
    pub fn stop(&mut self) -> Result<(), FeedError> {
        self.send(STOP, &[], &[])
    }

    fn send(&mut self, kind: u8, body: &[u8], files: &[BorrowedFd<'_>]) -> Result<(), FeedError> {
        Ok(frame::write(&mut self.0, kind, body, files)?)
    }
}

impl Drop for Orders {
    /// The child hears the end of the stream even while we still listen to it.
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Write);
    }
}

/// The child's end: takes orders.
pub struct OrderReader(UnixStream);

impl OrderReader {
    /// Over this socket.
    pub fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// The next order; `None` when the parent is gone.
    ///
    /// # Errors
    /// The socket's; an order that can't be read.
    pub fn receive(&mut self) -> Result<Option<Order>, FeedError> {
        let Some(Frame { kind, body, files }) = frame::read(&mut self.0)? else { return Ok(None) };
        let mut sockets = files.into_iter().map(TcpListener::from);
        Ok(Some(match kind {
            START => {
                let start: Box<Start> = serde_json::from_slice(&body)?;
                let health = if start.health { sockets.next() } else { None };
                let admin = if start.admin { sockets.next() } else { None };
                Order::Start(start, Ports { health, admin })
            }
            STANDING => Order::Standing(serde_json::from_slice(&body)?),
            SOCKETS => Order::Sockets(serde_json::from_slice(&body)?, sockets.collect()),
            KEYS => Order::Keys(keys::decode(&body).map_err(|error| FeedError::Message(error.into()))?),
            UPDATE => Order::Update(serde_json::from_slice(&body)?),
            HEALTH => Order::Health(sockets.next().ok_or_else(|| FeedError::Message("no socket for the health port".into()))?),
            STOP => Order::Stop,
            other => return Err(FeedError::Message(format!("an order of kind {other} isn't known"))),
        }))
    }
}

/// The child's end: gives answers.
pub struct AnswerSender(UnixStream);

impl AnswerSender {
    /// Over this socket.
    pub fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// Answers.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, answer: &Answer) -> Result<(), FeedError> {
        Ok(frame::write(&mut self.0, ANSWER, &serde_json::to_vec(answer)?, &[])?)
    }
}

/// The parent's end: takes answers.
pub struct Answers(UnixStream);

impl Answers {
    /// Over this socket.
    pub fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// How long [`Self::receive`] waits for the next answer.
    ///
    /// # Errors
    /// The socket's.
    pub fn give_up_after(&self, silence: Duration) -> io::Result<()> {
        self.0.set_read_timeout(Some(silence))
    }

    /// The next answer; `None` when the child is gone.
    ///
    /// # Errors
    /// The socket's; an answer that can't be read.
    pub fn receive(&mut self) -> Result<Option<Answer>, FeedError> {
        match frame::read(&mut self.0) {
            Ok(None) => Ok(None),
            Ok(Some(Frame { kind: ANSWER, body, .. })) => Ok(Some(serde_json::from_slice(&body)?)),
            Ok(Some(Frame { kind, .. })) => Err(FeedError::Message(format!("an answer of kind {kind} isn't known"))),
            // A killed child with orders unread resets its end.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
