//! What the clients of a swap run have seen: answers, latencies, failures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Error;

/// Failures that are kept word for word.
const KEPT: usize = 20;

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// HTTP/1.1, kept alive.
    Http1,
    /// HTTP/2 with prior knowledge, many streams at once.
    Http2,
    /// HTTP/1.1 over TLS, kept alive.
    Tls,
    /// HTTP/2 over TLS, many streams at once.
    Http2Tls,
    /// A WebSocket, a message and its echo at a time.
    WebSocket,
    /// A gRPC stream in both directions, a message and its echo at a time.
    Grpc,
}

impl Kind {
    /// Those that send requests.
    pub const REQUESTS: [Self; 4] = [Self::Http1, Self::Http2, Self::Tls, Self::Http2Tls];

    /// Whether many streams share a connection.
    pub fn multiplexed(self) -> bool {
        matches!(self, Self::Http2 | Self::Http2Tls)
    }

    /// Whether it goes over TLS.
    pub fn tls(self) -> bool {
        matches!(self, Self::Tls | Self::Http2Tls)
    }

    /// For tables.
    pub fn label(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
            Self::Tls => "HTTP/1.1 over TLS",
            Self::Http2Tls => "HTTP/2 over TLS",
            Self::WebSocket => "WebSocket",
            Self::Grpc => "gRPC stream",
        }
    }
}

/// One kind's figures.
#[derive(Debug, Default, Clone)]
pub struct Figures {
    /// Clients: connections, or streams of them.
    pub clients: usize,
    /// Answers got.
    pub answers: u64,
    /// 99th percentile in microseconds before the first swap; 0 for a run without a quiet time.
    pub quiet_p99: u32,
    /// The same while swapping.
    pub p99: u32,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// By kind.
    pub figures: BTreeMap<Kind, Figures>,
    /// Failed requests and closed connections.
    pub failed: u64,
    /// The first of them.
    pub failures: Vec<String>,
    /// What each publish took, ascending.
    pub publishes: Vec<Duration>,
    /// From the first swap to the last.
    pub took: Duration,
}

/// All clients' counts.
#[derive(Debug, Default)]
pub(super) struct Score {
    pause: Duration,
    swapping: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    failed: Arc<Mutex<(u64, Vec<String>)>>,
    clients: Mutex<Vec<Arc<Counts>>>,
}

/// One client's counts.
#[derive(Debug)]
struct Counts {
    kind: Kind,
    answers: AtomicU64,
    ended: AtomicBool,
    /// Latencies in microseconds: before the first swap, and since.
    micros: Mutex<[Vec<u32>; 2]>,
}

/// One client's place in the score.
#[derive(Debug)]
pub(super) struct Turn {
    pause: Duration,
    counts: Arc<Counts>,
    swapping: Arc<AtomicBool>,
    stopping: Arc<AtomicBool>,
    failed: Arc<Mutex<(u64, Vec<String>)>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Score {
    /// Nothing yet; clients pause so long after each answer.
    pub(super) fn new(pause: Duration) -> Self {
        Self { pause, ..Self::default() }
    }

    /// A place for one more client.
    pub(super) fn client(&self, kind: Kind) -> Turn {
        let counts = Counts { kind, answers: AtomicU64::new(0), ended: AtomicBool::new(false), micros: Mutex::default() };
        let counts = Arc::new(counts);
        lock(&self.clients).push(counts.clone());
        let (swapping, stopping) = (self.swapping.clone(), self.stopping.clone());
        Turn { pause: self.pause, counts, swapping, stopping, failed: self.failed.clone() }
    }

    /// From now on latencies are those under swaps.
    pub(super) fn swapping(&self) {
        self.swapping.store(true, Ordering::Relaxed);
    }

    /// Asks the clients to end.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Every client's answers so far.
    pub(super) fn answers(&self) -> Vec<u64> {
        lock(&self.clients).iter().map(|counts| counts.answers.load(Ordering::Relaxed)).collect()
    }

    /// The clients that have got no answer since, and haven't ended.
    pub(super) fn behind(&self, before: &[u64]) -> Vec<&'static str> {
        let clients = lock(&self.clients);
        let behind = clients.iter().zip(before).filter(|(counts, before)| {
            counts.answers.load(Ordering::Relaxed) <= **before && !counts.ended.load(Ordering::Relaxed)
        });
        behind.map(|(counts, _)| counts.kind.label()).collect()
    }

    /// Adds it all up.
    pub(super) fn outcome(self, mut publishes: Vec<Duration>, took: Duration) -> Outcome {
        let mut figures = BTreeMap::<Kind, Figures>::new();
        let mut micros = BTreeMap::<Kind, [Vec<u32>; 2]>::new();
        for counts in lock(&self.clients).iter() {
            let kind = figures.entry(counts.kind).or_default();
            kind.clients += 1;
            kind.answers += counts.answers.load(Ordering::Relaxed);
            for (all, own) in micros.entry(counts.kind).or_default().iter_mut().zip(lock(&counts.micros).iter()) {
                all.extend_from_slice(own);
            }
        }
        for (kind, [quiet, swapping]) in micros {
            let kind = figures.entry(kind).or_default();
            (kind.quiet_p99, kind.p99) = (p99(quiet), p99(swapping));
        }
        publishes.sort_unstable();
        let (failed, failures) = lock(&self.failed).clone();
        Outcome { figures, failed, failures, publishes, took }
    }
}

impl Turn {
    /// An answer came after this long. Returns when the next request is due.
    pub(super) async fn answered(&self, after: Duration) {
        self.count(after);
        if !self.pause.is_zero() {
            tokio::time::sleep(self.pause).await;
        }
    }

    fn count(&self, after: Duration) {
        self.counts.answers.fetch_add(1, Ordering::Relaxed);
        let micros = u32::try_from(after.as_micros()).unwrap_or(u32::MAX);
        let [quiet, swapping] = &mut *lock(&self.counts.micros);
        if self.swapping.load(Ordering::Relaxed) { swapping.push(micros) } else { quiet.push(micros) }
    }

    /// Whether the run is over.
    pub(super) fn over(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// The client has ended, well or not.
    pub(super) fn ended(&self, result: anyhow::Result<()>) {
        self.counts.ended.store(true, Ordering::Relaxed);
        if let Err(error) = result {
            self.failed(&error);
        }
    }

    fn failed(&self, error: &Error) {
        let mut failed = lock(&self.failed);
        failed.0 += 1;
        if failed.1.len() < KEPT {
            let answers = self.counts.answers.load(Ordering::Relaxed);
            failed.1.push(format!("{}, after {answers} answers: {error:#}", self.counts.kind.label()));
        }
    }
}

fn p99(mut micros: Vec<u32>) -> u32 {
    micros.sort_unstable();
    micros.get(micros.len() * 99 / 100).copied().unwrap_or_default()
}
