//! Swaps under load: snapshots published one after another while every kind of client is in the middle of something.
//!
//! Not one request may fail and not one connection may be closed, of HTTP/1.1, HTTP/2, TLS, WebSockets and gRPC streams.
//! `tests/swap.rs` runs it small, `bench swap` whole. Between any two swaps every single client gets an answer, so that the
//! count of swaps, not the clock, decides what has been tried.

mod probe;
mod requests;
mod score;
mod snapshots;
mod streams;
mod upstreams;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rust_ingress_proxy::Proxy;
use rust_ingress_proxy::options::{Drain, Options};
use tokio::task::JoinSet;

pub use score::{Kind, Outcome};

use probe::Probe;
use requests::Target;
use score::Score;
use snapshots::Snapshots;
use upstreams::Upstreams;

/// How long any client may go without an answer before the run is given up.
const STUCK: Duration = Duration::from_secs(60);

/// How large a run is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Snapshots published.
    pub swaps: usize,
    /// Least time from one publish to the next.
    pub pace: Duration,
    /// What a client waits between an answer and its next request, so that latencies tell of the swap and not of a full machine.
    pub pause: Duration,
    /// Load without swaps before the first, to compare latencies with.
    pub quiet: Duration,
    /// The proxy's workers.
    pub workers: usize,
    /// Connections of each of [`Kind::REQUESTS`].
    pub connections: usize,
    /// Streams at once on each HTTP/2 connection.
    pub streams: usize,
    /// WebSockets, and as many gRPC streams.
    pub long_lived: usize,
}

impl Plan {
    /// For `cargo test`: some seconds.
    pub fn short() -> Self {
        let zero = Duration::ZERO;
        Self { swaps: 100, pace: zero, pause: zero, quiet: zero, workers: 2, connections: 2, streams: 3, long_lived: 5 }
    }

    /// What the issue asks for: 1,000 swaps in 60 s, 50 WebSockets, 50 gRPC streams.
    pub fn full() -> Self {
        let (pace, pause, quiet) = (Duration::from_millis(60), Duration::from_millis(30), Duration::from_secs(10));
        Self { swaps: 1000, pace, pause, quiet, workers: 2, connections: 8, streams: 8, long_lived: 50 }
    }
}

/// Runs a plan on a runtime of its own, with a proxy of its own.
///
/// # Errors
/// What keeps the run from being made; failed requests and closed connections are counted in the outcome instead.
pub fn run(plan: Plan) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let upstreams = runtime.block_on(Upstreams::start())?;
    let mut snapshots = Snapshots::new(&upstreams)?;
    let drain = Drain { delay: Duration::ZERO, timeout: Duration::from_secs(5) };
    let proxy = Proxy::start(Options { workers: plan.workers, drain, ..Options::default() }).context("the proxy can't start")?;
    publish(&proxy, &snapshots)?;
    let outcome = runtime.block_on(load(plan, &proxy, &mut snapshots));
    proxy.stop();
    outcome
}

/// Publishes the current snapshot; returns how long that took.
fn publish(proxy: &Proxy, snapshots: &Snapshots) -> Result<Duration> {
    let (snapshot, keys) = snapshots.current();
    let start = Instant::now();
    let faults = proxy.publish(Arc::new(snapshot), &keys);
    let took = start.elapsed();
    match faults.first() {
        None => Ok(took),
        Some(fault) => bail!("publish: {fault}"),
    }
}

async fn load(plan: Plan, proxy: &Proxy, snapshots: &mut Snapshots) -> Result<Outcome> {
    let score = Arc::new(Score::new(plan.pause));
    let target = Target::of(&proxy.bound(), snapshots)?;
    let mut probe = Probe::new(target.clone()).await?;
    probe.check(snapshots).await.context("before the first swap")?;
    let mut clients = start(plan, &target, &score);
    turn(&score).await?;
    turn(&score).await?;
    tokio::time::sleep(plan.quiet).await;
    score.swapping();
    let mut publishes = Vec::with_capacity(plan.swaps);
    let begin = Instant::now();
    for swap in 1..=plan.swaps {
        snapshots.next();
        publishes.push(tokio::task::block_in_place(|| publish(proxy, snapshots))?);
        probe.check(snapshots).await.with_context(|| format!("after swap {swap}"))?;
        turn(&score).await.with_context(|| format!("after swap {swap}"))?;
        let next = begin + plan.pace * u32::try_from(swap)?;
        tokio::time::sleep_until(next.into()).await;
    }
    let took = begin.elapsed();
    score.stop();
    while let Some(ended) = clients.join_next().await {
        ended?;
    }
    let score = Arc::into_inner(score).context("a client is still running")?;
    Ok(score.outcome(publishes, took))
}

/// Starts every client; each runs until the score says stop or it fails.
fn start(plan: Plan, target: &Target, score: &Arc<Score>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for kind in Kind::REQUESTS {
        for _ in 0..plan.connections {
            let streams = if kind.multiplexed() { plan.streams } else { 1 };
            let turns = (0..streams).map(|_| score.client(kind)).collect();
            clients.spawn(requests::connection(kind, target.clone(), turns));
        }
    }
    for _ in 0..plan.long_lived {
        clients.spawn(streams::websocket(target.clone(), score.client(Kind::WebSocket)));
        clients.spawn(streams::grpc(target.clone(), score.client(Kind::Grpc)));
    }
    clients
}

/// Waits until every client has got one more answer; a client that failed doesn't hold the others up.
async fn turn(score: &Score) -> Result<()> {
    let before = score.answers();
    let deadline = Instant::now() + STUCK;
    loop {
        let waiting = score.behind(&before);
        if waiting.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no answer for {STUCK:?}: {}", waiting.join(", "));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
