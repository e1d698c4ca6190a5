//! The driver: keeps the World, translates what changed, publishes it, and logs what is wrong.
//!
//! Runs on the main thread of `run`. Changes that arrive while it works join its next turn; none waits for a timer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rust_ingress_model::{Fault, Severity, Snapshot};
use rust_ingress_proxy::{Proxy, PublishFault};
use rust_ingress_translate::{Change, Dirty, Settings, World, translate};

/// What translation calls the listener of the first address for HTTPS.
const FIRST_HTTPS: &str = "https";

/// What the driver is told.
pub enum Message {
    /// A source has changes.
    Changes(Vec<Change>),
    /// The program is to stop.
    Stop,
}

/// Keeps the World and what was published of it.
pub struct Driver {
    world: World,
    settings: Settings,
    snapshot: Arc<Snapshot>,
    known: BTreeSet<Fault>,
}

impl Driver {
    /// A driver with an empty World, nothing published.
    pub fn new(settings: Settings) -> Self {
        Self { world: World::default(), settings, snapshot: Arc::default(), known: BTreeSet::new() }
    }

    /// What was published last.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Takes changes into the World; [`Self::turn`] makes them live.
    pub fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            self.world.apply(change);
        }
    }

    /// Translates and publishes. Nothing is published where nothing is different. Gives listeners that couldn't be opened.
    pub fn turn(&mut self, proxy: &Proxy) -> Vec<PublishFault> {
        let dirty = self.world.take_dirty();
        let failed = self.publish(proxy, &dirty);
        if failed.is_empty() && self.learn_https_port(proxy) {
            return self.publish(proxy, &Dirty::all());
        }
        failed
    }

    fn publish(&mut self, proxy: &Proxy, dirty: &Dirty) -> Vec<PublishFault> {
        let (snapshot, _status) = translate(&self.world, &self.settings, &self.snapshot, dirty);
        self.log_faults(&snapshot);
        if snapshot == *self.snapshot {
            return Vec::new();
        }
        let snapshot = Arc::new(snapshot);
        let keys = self.world.key_store(&snapshot, &self.settings);
        let failed = proxy.publish(snapshot.clone(), &keys);
        self.snapshot = snapshot;
        failed
    }

    /// Where HTTPS was asked for on port 0, only the kernel knows what redirects have to name. Whether that became known now.
    fn learn_https_port(&mut self, proxy: &Proxy) -> bool {
        let unknown = self.settings.https_port_given.is_none();
        if !unknown || self.settings.https.first().is_none_or(|address| address.port() != 0) {
            return false;
        }
        let bound = proxy.bound();
        let given = bound.iter().find(|(name, _)| &**name == FIRST_HTTPS).map(|(_, address)| address.port());
        self.settings.https_port_given = given;
        given.is_some()
    }

    /// Makes changes live as they come, until it is told to stop or nobody can tell it any more.
    pub fn run(&mut self, messages: &Receiver<Message>, proxy: &Proxy) {
        while let Ok(message) = messages.recv() {
            for message in std::iter::once(message).chain(messages.try_iter()) {
                match message {
                    Message::Changes(changes) => self.apply(changes),
                    Message::Stop => return,
                }
            }
            for fault in self.turn(proxy) {
                tracing::error!(listener = %fault.listener, address = %fault.address, error = %fault.error, "a listener can't be opened; all else is live");
            }
        }
    }

    /// Logs each fault once when it comes and once when it goes.
    fn log_faults(&mut self, snapshot: &Snapshot) {
        let now: BTreeSet<Fault> = snapshot.faults().cloned().collect();
        for fault in now.difference(&self.known) {
            let Fault { object, field, reason, message, advice, severity } = fault;
            match severity {
                Severity::Error => tracing::error!(%object, field, %reason, "{message}; {advice}"),
                Severity::Warning => tracing::warn!(%object, field, %reason, "{message}; {advice}"),
            }
        }
        for Fault { object, field, reason, .. } in self.known.difference(&now) {
            tracing::info!(%object, field, %reason, "resolved");
        }
        self.known = now;
    }
}
