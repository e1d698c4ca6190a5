//! The driver: keeps the World, translates what changed, publishes it, tells who wants to know, and logs what is wrong.
//!
//! Runs on the main thread of `run`. Changes that arrive while it works join its next turn; none waits for a timer.

mod default;
mod node;
#[cfg(test)]
mod tests;
mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use rust_ingress_model::l4::L4Settings;
use rust_ingress_model::{Fault, KeyStore, Name, ObjectRef, Part, PartMap, Report, ReportKey, Severity, Snapshot, StatusPlan};
use rust_ingress_proxy::PublishFault;
use rust_ingress_translate::{Change, Dirty, Settings, World, translate};
use tokio::sync::watch;

use crate::plane::{Kernel, Plane};
use default::DefaultSecret;
use node::{Node, Programming};

pub(crate) use trigger::LAST_CHANGE;

type Reports = PartMap<ReportKey, Report>;

/// What translation calls the listener of the first address for HTTPS.
const FIRST_HTTPS: &str = "https";

/// How long changes wait for Secrets that they name and that the source hasn't answered for. Without it an Ingress that is
/// pointed at another Secret would present the default certificate until that is read; with more of it, an API server that
/// doesn't answer would hold up all else.
const SECRETS_WITHIN: Duration = Duration::from_secs(1);

/// What the driver is told.
pub enum Message {
    /// A source has changes.
    Changes(Vec<Change>),
    /// The source has listed all there was but Secrets: what is wanted of those is complete now.
    Listed,
    /// The source has answered for all Secrets of this [`Wanted::turn`] and those before. The first one says that the source
    /// has said all that there was when it started. Nothing is published before: half a World would answer 404 for the other
    /// half.
    Answered(u64),
    /// The program is to stop.
    Stop,
}

/// What the driver needs of a source that doesn't hand on everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Each Secret, and each object with authorities, that something of ours names.
    pub objects: BTreeSet<ObjectRef>,
    /// Whether all objects that may name one were known.
    pub complete: bool,
    /// Counts how often the others became different.
    pub turn: u64,
}

/// What a turn of the driver made live.
pub struct Published<'a> {
    /// What is served.
    pub snapshot: &'a Arc<Snapshot>,
    /// The keys of its certificates.
    pub keys: &'a KeyStore,
    /// What to write on the objects of this turn.
    pub status: &'a StatusPlan,
    /// Faults that weren't there before.
    pub came: &'a [Fault],
    /// Faults that are no more.
    pub went: &'a [Fault],
}

/// Told after each turn that had something to do, once the snapshot is live. Runs on the driver's thread, so it hands over
/// and returns.
pub type Subscriber = Box<dyn FnMut(&Published<'_>)>;

/// Keeps the World and what was published of it.
pub struct Driver {
    world: World,
    settings: Settings,
    snapshot: Arc<Snapshot>,
    /// What the proxy was given of it last.
    given: Option<Arc<Snapshot>>,
    keys: KeyStore,
    subscribers: Vec<Subscriber>,
    /// Who is told which Secrets are wanted, and the World's count of references when it last was.
    wanted: Option<(watch::Sender<Wanted>, u64)>,
    default: Option<DefaultSecret>,
    /// This node's kernel, where an agent programs it.
    node: Option<Node>,
    /// When it began; and since when changes that aren't programmed yet wait to be.
    start: SystemTime,
    triggered: Vec<SystemTime>,
    secrets_within: Duration,
    /// The first turn publishes even an empty World: its listeners answer.
    began: bool,
}

impl Driver {
    /// A driver with an empty World, nothing published.
    pub fn new(settings: Settings) -> Self {
        let (world, snapshot, keys) = (World::new(&settings), Arc::default(), KeyStore::default());
        let (subscribers, secrets_within) = (Vec::new(), SECRETS_WITHIN);
        let (given, wanted, default, node) = (None, None, None, None);
        let (start, triggered) = (SystemTime::now(), Vec::new());
        let began = false;
        Self {
            world,
            settings,
            snapshot,
            given,
            keys,
            subscribers,
            wanted,
            default,
            node,
            start,
            triggered,
            secrets_within,
            began,
        }
    }

    /// Says from now on which Secrets are wanted.
    pub fn say_wanted(&mut self) -> watch::Receiver<Wanted> {
        let (sender, receiver) = watch::channel(Wanted::default());
        self.wanted = Some((sender, u64::MAX));
        receiver
    }

    /// Takes the default certificate from a Secret; while that can't be used, it stays the one of the settings.
    pub fn default_from(&mut self, secret: (Name, Name)) {
        self.default = Some(DefaultSecret::new(secret, self.settings.default_certificate.clone()));
    }

    /// Programs the kernel of the node of this name from now on, each time before the proxy is told: who learns of a Service
    /// from what the proxy answers finds it in the kernel.
    pub fn program(&mut self, name: Name, settings: L4Settings, kernel: Box<dyn Kernel>) {
        self.node = Some(Node::new(name, settings, kernel));
    }

    /// Tells `subscriber` of each turn from now on.
    pub fn subscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.push(subscriber);
    }

    /// What was published last.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// The World, for sources that follow what it refers to.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Takes changes into the World; [`Self::turn`] makes them live.
    pub fn apply(&mut self, mut changes: Vec<Change>) {
        if self.node.is_some() {
            self.triggered.extend(trigger::take(&mut changes, self.start));
        }
        for change in changes {
            self.world.apply(change);
        }
    }

    /// Translates and publishes. Nothing is published where nothing is different. Gives listeners that couldn't be opened.
    pub fn turn(&mut self, plane: &dyn Plane) -> Vec<PublishFault> {
        let other_default = self.default.as_mut().is_some_and(|default| default.look(&mut self.world, &mut self.settings));
        let mut dirty = self.world.take_dirty();
        if !std::mem::replace(&mut self.began, true) || other_default {
            dirty = Dirty::all();
        }
        let failed = self.publish(plane, &dirty);
        if failed.is_empty() && self.learn_https_port(plane) {
            return self.publish(plane, &Dirty::all());
        }
        failed
    }

    fn publish(&mut self, plane: &dyn Plane, dirty: &Dirty) -> Vec<PublishFault> {
        if dirty.is_empty() {
            let snapshot = self.snapshot.clone();
            return self.serve(plane, &snapshot, false);
        }
        let (snapshot, status) = translate(&self.world, &self.settings, &self.snapshot, dirty);
        let changes = FaultChanges::between(&self.snapshot.reports, &snapshot.reports);
        changes.log();
        let other = snapshot != *self.snapshot;
        let snapshot = if other { Arc::new(snapshot) } else { self.snapshot.clone() };
        if other && (snapshot.certificates != self.snapshot.certificates || dirty.has_certificates()) {
            self.keys = self.world.key_store(&snapshot, &self.settings);
        }
        let failed = self.serve(plane, &snapshot, other && dirty.has_certificates());
        self.snapshot = snapshot;
        let FaultChanges { came, went } = &changes;
        let published = Published { snapshot: &self.snapshot, keys: &self.keys, status: &status, came, went };
        self.subscribers.iter_mut().for_each(|subscriber| subscriber(&published));
        failed
    }

    /// Gives a snapshot to the kernel, to the proxy, and, once the proxy knows them, the Services that go through it to the kernel.
    fn serve(&mut self, plane: &dyn Plane, snapshot: &Arc<Snapshot>, again: bool) -> Vec<PublishFault> {
        let programming = match &mut self.node {
            Some(node) => node.program(&self.world, snapshot, &std::mem::take(&mut self.triggered)),
            None => Programming::Nothing,
        };
        let mut failed = Vec::new();
        if programming != Programming::Nothing || again || !Arc::ptr_eq(snapshot, &self.snapshot) {
            let given = self.for_proxy(snapshot);
            if self.given.as_ref() != Some(&given) || again {
                failed = plane.publish(given.clone(), &self.keys);
                self.given = Some(given);
                self.node.iter_mut().for_each(|node| node.opened(&failed));
            }
        }
        if programming == Programming::Waits {
            self.node.iter_mut().for_each(|node| node.finish(snapshot));
        }
        failed
    }

    /// Services that the kernel carries are nothing to the proxy, but for those that go through it: in a cluster of many it would be
    /// told of every endpoint of theirs, and hold them a second time.
    fn for_proxy(&self, snapshot: &Arc<Snapshot>) -> Arc<Snapshot> {
        let Some(node) = &self.node else { return snapshot.clone() };
        let (services, service_cidrs, pools) = (PartMap::new(), Vec::new(), BTreeMap::new());
        let mut given = Snapshot { services, service_cidrs, pools, ..Snapshot::clone(snapshot) };
        node.redirect(&mut given);
        Arc::new(given)
    }

    /// Where HTTPS was asked for on port 0, only the kernel knows what redirects have to name. Whether that became known now.
    fn learn_https_port(&mut self, plane: &dyn Plane) -> bool {
        let unknown = self.settings.https_port_given.is_none();
        if !unknown || self.settings.https.first().is_none_or(|address| address.port() != 0) {
            return false;
        }
        let bound = plane.bound();
        let given = bound.iter().find(|(name, _)| &**name == FIRST_HTTPS).map(|(_, address)| address.port());
        self.settings.https_port_given = given;
        given.is_some()
    }

    /// Says which Secrets are wanted, where that may have changed.
    fn tell_wanted(&mut self, complete: bool) {
        let Some((sender, said)) = &mut self.wanted else { return };
        let references = self.world.references();
        if *said == references && sender.borrow().complete == complete {
            return;
        }
        *said = references;
        let mut objects = self.world.wanted_objects(&self.settings);
        let default = self.default.as_ref().map(|default| &default.secret);
        objects.extend(default.map(|(namespace, name)| ObjectRef::new("Secret", namespace, name)));
        sender.send_if_modified(|before| {
            let modified = before.objects != objects || before.complete != complete;
            *before = Wanted { objects, complete, turn: before.turn + u64::from(modified) };
            modified
        });
    }

    /// The turn of the Secrets that are wanted now.
    fn wanted_turn(&self) -> u64 {
        self.wanted.as_ref().map_or(0, |(sender, _)| sender.borrow().turn)
    }

    /// Makes changes live as they come, until it is told to stop or nobody can tell it any more. `synced`: whether the
    /// source has said all that there was already.
    pub fn run(&mut self, messages: &Receiver<Message>, plane: &dyn Plane, synced: bool) {
        let mut heard = Heard { listed: synced, answered: synced.then_some(0) };
        let (within, mut held_since) = (self.secrets_within, None);
        let left = |since: Instant| within.saturating_sub(since.elapsed());
        while let Some(first) = next(messages, held_since.map(left)) {
            for message in first.into_iter().chain(messages.try_iter()) {
                match message {
                    Message::Changes(changes) => self.apply(changes),
                    Message::Listed => heard.listed = true,
                    Message::Answered(turn) => {
                        if heard.answered.is_none() {
                            tracing::info!("the cluster is read");
                        }
                        heard.answered = heard.answered.max(Some(turn));
                    }
                    Message::Stop => return,
                }
            }
            self.tell_wanted(heard.listed);
            let Some(answered) = &mut heard.answered else { continue };
            let wanted = self.wanted_turn();
            if *answered < wanted && !left(*held_since.get_or_insert_with(Instant::now)).is_zero() {
                continue;
            }
            // What didn't come in time is waited for once only.
            *answered = wanted.max(*answered);
            held_since = None;
            for fault in self.turn(plane) {
                tracing::error!(listener = %fault.listener, address = %fault.address, error = %fault.error, "a listener can't be opened; all else is live");
            }
        }
    }
}

/// What the source has said so far.
struct Heard {
    listed: bool,
    answered: Option<u64>,
}

/// Waits for a message, and not longer than `within`: then `Some(None)`. `None`: there is no source any more.
fn next(messages: &Receiver<Message>, within: Option<Duration>) -> Option<Option<Message>> {
    let Some(within) = within else { return messages.recv().ok().map(Some) };
    match messages.recv_timeout(within) {
        Ok(message) => Some(Some(message)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

/// What is wrong now and wasn't, and the other way round.
struct FaultChanges {
    came: Vec<Fault>,
    went: Vec<Fault>,
}

impl FaultChanges {
    /// Looks at pointers first: most reports are shared with the snapshot before.
    fn between(old: &Reports, new: &Reports) -> Self {
        let differing = |one: &Reports, other: &Reports| -> BTreeSet<Fault> {
            let differs = |key: &ReportKey, report: &Part<Report>| other.get(key).is_none_or(|other| !other.same(report));
            let reports = one.near_changes(other).filter(|(key, report)| differs(key, report));
            reports.flat_map(|(_, report)| report.faults.iter().cloned()).collect()
        };
        Self::of(&differing(old, new), &differing(new, old))
    }

    fn of(before: &BTreeSet<Fault>, after: &BTreeSet<Fault>) -> Self {
        Self { came: after.difference(before).cloned().collect(), went: before.difference(after).cloned().collect() }
    }

    /// Logs each fault once when it comes and once when it goes.
    fn log(&self) {
        for Fault { object, field, reason, message, advice, severity } in &self.came {
            match severity {
                Severity::Error => tracing::error!(%object, field, %reason, "{message}; {advice}"),
                Severity::Warning => tracing::warn!(%object, field, %reason, "{message}; {advice}"),
            }
        }
        for Fault { object, field, reason, .. } in &self.went {
            tracing::info!(%object, field, %reason, "resolved");
        }
    }
}
