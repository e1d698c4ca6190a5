//! The writer's loop: one task that owns the desk and the journal, and does while we lead what they ask for.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use kube::Client;
use rust_ingress_model::{Fault, ObjectRef, StatusPlan};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep_until;

use crate::source::cluster::Seen;
use crate::status::desk::{self, Desk, Outcome, SWEEP};
use crate::status::elect::{Term, runs};
use crate::status::gateway_service::Peer;
use crate::status::journal::{self, Journal};
use crate::status::metrics::StatusMetrics;
use crate::status::peers;
use crate::status::publish::{Publish, Published, follow};
use crate::status::write::{self, Done};

/// Requests under way, at most.
const STATUSES: usize = 8;
const EVENTS: usize = 4;

/// A turn of the driver, as the writer gets it.
pub struct Turn {
    /// What to write on its objects.
    pub status: StatusPlan,
    /// Faults that came.
    pub came: Vec<Fault>,
    /// Faults that went.
    pub went: Vec<Fault>,
}

/// What the loop needs to know.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// What it last said.
    pub seen: Seen,
    /// Which addresses to publish.
    pub publish: Publish,
    /// Our own Pod.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// What is counted.
    pub metrics: Arc<StatusMetrics>,
}

/// The end of a request.
enum End {
    Status(ObjectRef, Done),
    Event(Result<(), String>),
}

/// The writer while it runs.
struct Work {
    context: Context,
    desk: Desk,
    journal: Journal,
    /// What is under way. Dropped, and so cancelled, when the term ends.
    requests: JoinSet<End>,
    events: usize,
    /// The address watch, while we lead.
    follower: Option<JoinHandle<()>>,
    addresses: watch::Sender<Published>,
    /// The Pods that Services of Gateways lead to: watched while we lead, once there is such a Service.
    peers: watch::Sender<Arc<BTreeSet<Peer>>>,
    wants_peers: bool,
    peers_follower: Option<JoinHandle<()>>,
    /// The failure that was logged last, so that 10,000 objects don't log it 10,000 times.
    failure: Option<String>,
    event_failure: Option<String>,
}

/// Runs until told to stop, or until the driver is gone.
pub async fn run(
    context: Context,
    mut turns: mpsc::UnboundedReceiver<Turn>,
    mut term: watch::Receiver<Term>,
    mut stop: watch::Receiver<bool>,
) {
    let (addresses, mut published) = watch::channel(None);
    let (peers, mut known_peers) = watch::channel(Arc::default());
    let mut work = Work::new(context, addresses, peers);
    let mut sweep = Instant::now() + SWEEP;
    loop {
        let wake = work.start_writes().map_or(sweep, |at| at.min(sweep));
        let end = term.borrow().filter(|until| Instant::now() < *until).unwrap_or(wake);
        tokio::select! {
            turn = turns.recv() => match turn {
                Some(turn) => work.turn(turn),
                None => break,
            },
            changed = term.changed() => if changed.is_err() { break },
            Ok(()) = published.changed() => work.desk.publish(published.borrow_and_update().clone()),
            Ok(()) = known_peers.changed() => work.desk.peers(known_peers.borrow_and_update().clone()),
            Some(Ok(end)) = work.requests.join_next() => work.end(end),
            () = sleep_until(wake.min(end).into()) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        if Instant::now() >= sweep {
            work.desk.sweep();
            sweep = Instant::now() + SWEEP;
        }
        work.lead(runs(*term.borrow()));
    }
    work.lead(false);
}

impl Work {
    fn new(context: Context, addresses: watch::Sender<Published>, peers: watch::Sender<Arc<BTreeSet<Peer>>>) -> Self {
        Self {
            context,
            desk: Desk::default(),
            journal: Journal::default(),
            requests: JoinSet::new(),
            events: 0,
            follower: None,
            addresses,
            peers,
            wants_peers: false,
            peers_follower: None,
            failure: None,
            event_failure: None,
        }
    }

    fn turn(&mut self, Turn { status, came, went }: Turn) {
        let now = Instant::now();
        let mut gateways = status.objects.values().flatten().filter_map(|status| status.gateway.as_ref());
        self.wants_peers |= gateways.any(|gateway| gateway.service.is_some());
        self.desk.plan(status, now);
        self.journal.turn(came, &went, now);
    }

    /// Begins or ends our term.
    fn lead(&mut self, leads: bool) {
        if leads && self.wants_peers && self.peers_follower.is_none() {
            let Context { client, namespace, pod, .. } = &self.context;
            let follow = peers::follow(client.clone(), namespace.clone(), pod.clone(), self.peers.clone());
            self.peers_follower = Some(tokio::spawn(follow));
        }
        if leads == self.follower.is_some() {
            return;
        }
        self.context.metrics.leads.store(leads, Relaxed);
        if leads {
            let Context { client, publish, namespace, pod, .. } = &self.context;
            let follow = follow(client.clone(), publish.clone(), namespace.clone(), pod.clone(), self.addresses.clone());
            self.follower = Some(tokio::spawn(follow));
            self.journal.begin(Instant::now());
            self.desk.sweep();
            return;
        }
        if let Some(follower) = self.follower.take() {
            follower.abort();
        }
        if let Some(follower) = self.peers_follower.take() {
            follower.abort();
        }
        self.addresses.send_replace(None);
        self.desk.publish(None);
        self.requests = JoinSet::new();
        self.events = 0;
        self.desk.stop();
    }

    /// Starts what may be started now; gives the time when there may be more.
    fn start_writes(&mut self) -> Option<Instant> {
        self.follower.as_ref()?;
        let (status, event) = (self.start_statuses(), self.start_events());
        let metrics = &self.context.metrics;
        metrics.waiting.store(self.desk.waiting() as u64, Relaxed);
        metrics.events_dropped.fetch_add(self.journal.take_dropped(), Relaxed);
        status.into_iter().chain(event).min()
    }

    fn start_statuses(&mut self) -> Option<Instant> {
        while self.desk.flying() < STATUSES {
            let (object, write) = match self.desk.next(&self.context.seen, Instant::now()) {
                desk::Next::Write(object, write) => (object, write),
                desk::Next::Wait(at) => return at,
            };
            let client = self.context.client.clone();
            self.requests.spawn(async move { End::Status(object.clone(), write::status(client, object, write).await) });
        }
        None
    }

    fn start_events(&mut self) -> Option<Instant> {
        while self.events < EVENTS {
            let entry = match self.journal.next(Instant::now()) {
                journal::Next::Tell(entry) => entry,
                journal::Next::Wait(at) => return at,
            };
            let object = &entry.fault.object;
            let involved = self.context.seen.involved(object);
            // An object that is gone has no more use for the news that it is in order.
            if entry.kind == journal::Kind::Resolved && involved.is_none() {
                continue;
            }
            self.events += 1;
            let (client, pod) = (self.context.client.clone(), self.context.pod.clone());
            self.requests.spawn(async move { End::Event(write::event(client, pod, entry, involved).await) });
        }
        None
    }

    /// A request came to its end.
    fn end(&mut self, end: End) {
        let metrics = &self.context.metrics;
        match end {
            End::Status(object, Done { outcome, error }) => {
                match &outcome {
                    Outcome::Done(Some(_)) => metrics.writes.fetch_add(1, Relaxed),
                    Outcome::Conflict => metrics.conflicts.fetch_add(1, Relaxed),
                    Outcome::Refused | Outcome::Unavailable => metrics.failures.fetch_add(1, Relaxed),
                    Outcome::Done(None) | Outcome::Gone => 0,
                };
                self.complain(&object, &outcome, error);
                self.desk.done(&object, outcome, &self.context.seen, Instant::now());
            }
            End::Event(told) => {
                self.events = self.events.saturating_sub(1);
                match told {
                    Ok(()) => drop(metrics.events.fetch_add(1, Relaxed)),
                    Err(error) if self.event_failure.as_ref() != Some(&error) => {
                        tracing::warn!(error, "an Event could not be written");
                        self.event_failure = Some(error);
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// Says why an object's status could not be written; the same reason for many objects once.
    fn complain(&mut self, object: &ObjectRef, outcome: &Outcome, error: Option<String>) {
        match (outcome, error) {
            (Outcome::Refused | Outcome::Unavailable, Some(error)) => {
                // The object's name is part of the API server's words.
                let kind = error.replace(&format!("\"{}\"", object.name), "it");
                if self.failure.as_ref() != Some(&kind) {
                    tracing::warn!(%object, error, "its status could not be written; tried again");
                    self.failure = Some(kind);
                }
            }
            (Outcome::Done(_), _) => self.failure = None,
            _ => {}
        }
    }
}
