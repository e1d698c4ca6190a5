//! Placement of pool addresses on the nodes of a cluster: this node's Lease, and what it holds.
//!
//! A thread of its own, so that nothing else delays a renewal. `board` decides; here Leases are watched and written, and the
//! node agent is told. No Lease is kept and none watched while no pool is for this node. While the API server is away nothing is
//! renewed and nobody takes over; whoever is cut off alone hears on the link of who does (`rust_ingress_proxy::agent::address`).

mod board;

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Config, Error};
use rust_ingress_model::Name;
use rust_ingress_proxy::agent::address::Addresses;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use crate::source::cluster::client;
use board::{Board, DURATION, HOLDS, NODE, POOLS, Part};

pub(crate) use board::{LABEL, held};

/// How often a Lease is renewed.
const RENEW: Duration = Duration::from_millis(500);
/// How long a renewal may take.
const REQUEST: Duration = Duration::from_secs(1);
/// How long after a renewal was sent nobody else may have the addresses: less than [`DURATION`].
const DEADLINE: Duration = Duration::from_millis(1800);

/// What it is started with.
pub struct PlacementOptions {
    /// How the API server is reached.
    pub config: Config,
    /// Where the Leases are.
    pub namespace: String,
    /// The Lease of the installation, with whose name those of nodes begin.
    pub lease: String,
    /// This node.
    pub node: String,
    /// This Pod.
    pub pod: String,
    /// The node agent's.
    pub addresses: Addresses,
}

/// Placement that runs.
pub struct Placement {
    stop: watch::Sender<bool>,
    ended: Receiver<()>,
}

impl Placement {
    /// Starts it. Nothing is held until a Lease is written.
    ///
    /// # Errors
    /// No thread, no runtime, or certificates that can't be used.
    pub fn start(options: PlacementOptions) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let PlacementOptions { config, namespace, lease, node, pod, addresses } = options;
        let client = {
            let _guard = runtime.enter();
            client(config).map_err(io::Error::other)?
        };
        addresses.place();
        let (stop, mut stopped) = watch::channel(false);
        let (end, ended) = channel();
        let begun = MicroTime(Timestamp::now());
        let work = Work {
            leases: Api::namespaced(client, &namespace),
            name: format!("{lease}-{node}"),
            board: Board::new(Name::from(node.as_str()), pod.clone(), begun.clone()),
            node,
            pod,
            begun,
            addresses,
            renewed: None,
            written: false,
            failure: None,
        };
        let run = move || {
            runtime.block_on(work.run(&mut stopped));
            // Nobody may wait for it.
            let _ = end.send(());
        };
        std::thread::Builder::new().name("placement".into()).spawn(run)?;
        Ok(Self { stop, ended })
    }

    /// Holds nothing any more and gives the Lease back, so that others take over at once. Waits for that, at most `limit`.
    pub fn stop(self, limit: Duration) {
        self.stop.send_replace(true);
        if self.ended.recv_timeout(limit).is_err() {
            tracing::warn!("this node's addresses could not be given back in time; others take them when its Lease has run out");
        }
    }
}

type Events = Pin<Box<dyn Stream<Item = Result<Event<Lease>, watcher::Error>> + Send>>;

struct Work {
    leases: Api<Lease>,
    name: String,
    node: String,
    pod: String,
    begun: MicroTime,
    addresses: Addresses,
    board: Board,
    /// When the last renewal that succeeded was sent.
    renewed: Option<Instant>,
    /// Whether there is a Lease of ours.
    written: bool,
    failure: Option<String>,
}

impl Work {
    async fn run(mut self, stopped: &mut watch::Receiver<bool>) {
        let mut events: Option<Events> = None;
        // Whether the list is complete, and since when one is asked for because nothing could be renewed.
        let (mut listed, mut again, mut fresh) = (false, None::<Instant>, Vec::new());
        let mut at = Instant::now();
        loop {
            tokio::select! {
                () = sleep_until(at.into()) => {
                    if self.takes_part() {
                        events.get_or_insert_with(|| self.watch());
                    } else {
                        (events, listed) = (None, false);
                        self.leave().await;
                    }
                    // A connection that died with the API server may take minutes to say so: each list has as long as a Lease.
                    if self.has_lapsed() && again.is_none_or(|since| since.elapsed() >= DURATION) {
                        (events, listed, again) = (Some(self.watch()), false, Some(Instant::now()));
                    }
                    if listed {
                        self.turn().await;
                    }
                    let now = Instant::now();
                    at = self.board.next_end(now).unwrap_or(now + RENEW).min(now + RENEW);
                }
                Some(event) = next(&mut events) => match event {
                    Event::Init => fresh.clear(),
                    Event::InitApply(lease) => fresh.push(lease),
                    Event::InitDone => {
                        let now = Instant::now();
                        self.board.only(&fresh, now);
                        if again.take().is_some() {
                            self.resume(now);
                        }
                        if !std::mem::replace(&mut listed, true) {
                            at = now;
                        }
                    }
                    Event::Apply(lease) => self.board.see(&lease, Instant::now()),
                    Event::Delete(lease) => self.board.gone(&lease),
                },
                _ = stopped.wait_for(|stop| *stop) => break,
            }
        }
        self.leave().await;
    }

    fn watch(&self) -> Events {
        let config = watcher::Config::default().labels(LABEL);
        Box::pin(watcher(self.leases.clone(), config))
    }

    /// Whether others may believe that this node is gone.
    fn has_lapsed(&self) -> bool {
        self.renewed.is_some_and(|renewed| renewed.elapsed() >= DURATION)
    }

    /// The API server answers again: what others have taken over meanwhile is theirs. Who couldn't renew either has time to.
    fn resume(&mut self, now: Instant) {
        self.board.forgive(now);
        let held = self.addresses.held();
        let stays: BTreeSet<_> = held.into_iter().filter(|address| !self.board.is_held_by_another(*address)).collect();
        self.addresses.hold(stays, now);
        self.renewed = Some(now);
    }

    /// Whether a pool is for this node, as far as its labels tell.
    fn takes_part(&self) -> bool {
        let (_, announcements, node) = self.addresses.announced();
        let labelled = |(label, value): (&Name, &Name)| node.labels.get(label) == Some(value);
        announcements.pools().values().any(|pool| pool.node_selector.iter().all(labelled))
    }

    /// Renews the Lease with what this node is to hold; then it is held.
    async fn turn(&mut self) {
        let now = Instant::now();
        if self.board.is_succeeded(now) {
            // The same node answers, with the same hardware address: nobody notices.
            self.written = false;
            return self.addresses.hold(BTreeSet::new(), now);
        }
        let (announced, announcements, node) = self.addresses.announced();
        let held = self.addresses.held();
        let part = self.board.part(&announced, announcements.pools(), &node, &held, now);
        if part.pools.is_empty() {
            return self.leave().await;
        }
        // What goes is let go before the Lease says so; what comes is answered for after it does.
        let stays: BTreeSet<_> = held.intersection(&part.holds).copied().collect();
        if stays != held {
            self.addresses.hold(stays, self.renewed.unwrap_or(now) + DEADLINE);
        }
        match timeout(REQUEST, self.renew(&part)).await {
            // Sent before others could believe that this node is gone, and arrived after: what they have taken over is theirs.
            Ok(Ok(())) if self.has_lapsed() => {}
            Ok(Ok(())) => {
                self.addresses.hold(part.holds, now + DEADLINE);
                (self.renewed, self.written) = (Some(now), true);
                if self.failure.take().is_some() {
                    tracing::info!(lease = self.name, "this node's Lease is renewed again");
                }
            }
            Ok(Err(error)) => self.failed(error.to_string(), is_refusal(&error), now),
            Err(_) => self.failed("no answer in time".into(), false, now),
        }
    }

    /// Who is refused has no right to the addresses once its time has run out; who can't ask keeps them as long as nobody takes them.
    fn failed(&mut self, error: String, refused: bool, now: Instant) {
        if refused && self.renewed.is_none_or(|renewed| now >= renewed + RENEW) {
            self.addresses.hold(BTreeSet::new(), now);
        }
        if self.failure.as_ref() != Some(&error) {
            tracing::warn!(
                lease = self.name,
                error,
                "this node's Lease can't be renewed; addresses of pools stay where they are"
            );
            self.failure = Some(error);
        }
    }

    async fn renew(&self, part: &Part) -> Result<(), Error> {
        let now = MicroTime(Timestamp::now());
        let pools: Vec<&str> = part.pools.iter().map(|name| &**name).collect();
        let holds: Vec<String> = part.holds.iter().map(ToString::to_string).collect();
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": self.name, "labels": {LABEL: "addresses"},
                "annotations": {NODE: self.node, POOLS: pools.join(","), HOLDS: holds.join(",")}},
            "spec": {"holderIdentity": self.pod, "leaseDurationSeconds": DURATION.as_secs(), "acquireTime": self.begun, "renewTime": now},
        });
        match self.leases.patch(&self.name, &PatchParams::default(), &Patch::Merge(&body)).await {
            Err(Error::Api(status)) if status.code == 404 => {
                let lease: Lease = serde_json::from_value(body).map_err(Error::SerdeError)?;
                self.leases.create(&PostParams::default(), &lease).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    /// Holds nothing, and takes the Lease away, unless another Pod of this node has it.
    async fn leave(&mut self) {
        self.addresses.hold(BTreeSet::new(), Instant::now());
        self.renewed = None;
        if !std::mem::take(&mut self.written) || self.board.is_succeeded(Instant::now()) {
            return;
        }
        let done = timeout(REQUEST, async {
            let lease = self.leases.get(&self.name).await?;
            let ours = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(&self.pod);
            let preconditions = Preconditions { resource_version: lease.metadata.resource_version, uid: None };
            let only_this = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
            if ours { self.leases.delete(&self.name, &only_this).await.map(drop) } else { Ok(()) }
        });
        match done.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(lease = self.name, %error, "this node's Lease could not be taken away"),
            Err(_) => tracing::debug!(lease = self.name, "this node's Lease could not be taken away in time"),
        }
    }
}

/// The next event of a watch, which is tried again for as long as it fails.
async fn next(events: &mut Option<Events>) -> Option<Event<Lease>> {
    let Some(events) = events else { return std::future::pending().await };
    loop {
        match events.next().await? {
            Ok(event) => return Some(event),
            Err(error) => {
                tracing::debug!(%error, "the Leases of nodes can't be watched");
                sleep(RENEW).await;
            }
        }
    }
}

/// Whether the API server is there and says no.
fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code < 500 && status.code != 429)
}
