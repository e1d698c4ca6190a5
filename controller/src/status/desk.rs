//! The desk: which object's status has to be written next, and with what. Never writes what stands there already.
//!
//! Pure: told of plans, addresses and outcomes, with the time as data; looks at what the API server last said through
//! [`Look`]. `run` does the writing. What has been said of objects of the Gateway API is in `said`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rust_ingress_model::status::ObjectStatus;
use rust_ingress_model::{ObjectRef, StatusPlan};

use crate::source::cluster::{Seen, SeenIngress, SeenService};
use crate::status::address::{self, Address};
use crate::status::balancer::{self, Balance};
use crate::status::bucket::Bucket;
use crate::status::gateway_service::Peer;
use crate::status::said::Said;

/// Writes a second, once [`BURST`] is used up: 10,000 Ingresses take a little over three minutes.
const EVERY: Duration = Duration::from_millis(20);
const BURST: u32 = 100;
/// How often everything is compared with what stands in the cluster: a hand that cleared a status is mended within it.
pub const SWEEP: Duration = Duration::from_secs(10);
/// Turns with at most so many objects go before all that waits: somebody has just made or changed them, and a first leader
/// may have minutes of others to write.
const URGENT: usize = 64;
/// How long we remember to clear an Ingress that isn't ours any more.
const LEAVING: Duration = Duration::from_mins(2);

/// What the API server last said.
pub trait Look {
    /// The Ingress of this name, unless it is gone.
    fn ingress(&self, object: &ObjectRef) -> Option<SeenIngress>;
    /// The Service of this name, where pools have to do with it.
    fn service(&self, object: &ObjectRef) -> Option<SeenService>;
    /// The version of an object of the Gateway API, unless it is gone.
    fn version(&self, object: &ObjectRef) -> Option<String>;
}

impl Look for Seen {
    fn ingress(&self, object: &ObjectRef) -> Option<SeenIngress> {
        Seen::ingress(self, object)
    }
    fn service(&self, object: &ObjectRef) -> Option<SeenService> {
        Seen::service(self, object)
    }
    fn version(&self, object: &ObjectRef) -> Option<String> {
        Seen::version(self, object)
    }
}

/// One write.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Put these addresses in `status.loadBalancer` of an Ingress of ours, if it still is this version.
    Publish {
        /// `metadata.resourceVersion` that it was decided on.
        version: String,
        /// What to put there.
        addresses: Arc<[Address]>,
    },
    /// Take ours from an Ingress that isn't ours any more, unless its new owner has written.
    Withdraw,
    /// Write what pools give a Service, if it still is the version that it was decided on.
    Balance(Box<Balance>),
    /// Take from a Service, of this version when it was decided, what pools gave it, if we did.
    Release(String),
    /// Say this of an object of the Gateway API; of a Gateway, lead its Service to these Pods.
    Say(Arc<ObjectStatus>, Arc<BTreeSet<Peer>>),
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is done; the object is now of this version. `None` where nothing had to be written.
    Done(Option<String>),
    /// The object is gone.
    Gone,
    /// Another write was ahead.
    Conflict,
    /// This object can't be written: forbidden, or refused by an admission rule.
    Refused,
    /// The API server doesn't answer, or has too much to do.
    Unavailable,
}

/// What to do now.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// This.
    Write(ObjectRef, Write),
    /// Nothing before this time, or before being told something.
    Wait(Option<Instant>),
}

/// What we wrote and haven't seen come back: while the watch still says `before`, this is what stands there.
struct Unseen {
    before: String,
    after: String,
    addresses: Arc<[Address]>,
}

/// What the leader knows and has to do.
pub struct Desk {
    known: BTreeMap<ObjectRef, ObjectStatus>,
    /// Objects that were ours, and since when they aren't.
    leaving: BTreeMap<ObjectRef, Instant>,
    /// `None` until they are known: nothing is written before.
    addresses: Option<Arc<[Address]>>,
    queue: VecDeque<ObjectRef>,
    queued: BTreeSet<ObjectRef>,
    retries: BTreeSet<(Instant, ObjectRef)>,
    /// The objects of `retries`.
    resting: BTreeSet<ObjectRef>,
    /// Failures in a row, by object.
    tries: BTreeMap<ObjectRef, u32>,
    /// On their way, and what was sent.
    flying: BTreeMap<ObjectRef, Write>,
    unseen: BTreeMap<ObjectRef, Unseen>,
    /// The version that a Service had when we wrote on it, or found that nothing is ours: nothing is to be done to that one.
    balanced: BTreeMap<ObjectRef, String>,
    said: Said,
    bucket: Bucket,
    /// All wait until then: the API server had trouble.
    pause: Option<Instant>,
    trouble: u32,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            leaving: BTreeMap::new(),
            addresses: None,
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            retries: BTreeSet::new(),
            resting: BTreeSet::new(),
            tries: BTreeMap::new(),
            flying: BTreeMap::new(),
            unseen: BTreeMap::new(),
            balanced: BTreeMap::new(),
            said: Said::default(),
            bucket: Bucket::new(BURST, EVERY),
            pause: None,
            trouble: 0,
        }
    }
}

impl Desk {
    /// A turn of the driver is live.
    pub fn plan(&mut self, plan: StatusPlan, now: Instant) {
        let dropped: Vec<ObjectRef> = match plan.whole {
            true => self.known.keys().filter(|object| !plan.objects.contains_key(*object)).cloned().collect(),
            false => Vec::new(),
        };
        for object in dropped {
            self.leave(object, now);
        }
        let objects: Vec<(ObjectRef, bool)> =
            plan.objects.iter().map(|(object, status)| (object.clone(), status.is_some())).collect();
        let urgent = objects.len() <= URGENT;
        for (object, ours) in objects {
            if ours {
                self.leaving.remove(&object);
                self.enqueue_at(object, urgent);
            } else if self.known.contains_key(&object) {
                self.leave(object, now);
            }
        }
        plan.apply(&mut self.known);
    }

    fn leave(&mut self, object: ObjectRef, now: Instant) {
        self.leaving.retain(|_, since| now < *since + LEAVING);
        self.leaving.insert(object.clone(), now);
        self.enqueue(object);
    }

    /// The addresses to publish have changed.
    pub fn publish(&mut self, addresses: Option<Arc<[Address]>>) {
        if self.addresses != addresses {
            self.addresses = addresses;
            self.sweep();
        }
    }

    /// The Pods that Services of Gateways lead to have changed.
    pub fn peers(&mut self, peers: Arc<BTreeSet<Peer>>) {
        if self.said.peers(peers) {
            self.sweep();
        }
    }

    /// Looks at everything again: a new leader, or time has passed.
    pub fn sweep(&mut self) {
        let all: Vec<ObjectRef> = self.known.keys().chain(self.leaving.keys()).cloned().collect();
        for object in all {
            if !self.resting.contains(&object) {
                self.enqueue(object);
            }
        }
    }

    /// Another leads from now on. What is known stays known, for the next time.
    pub fn stop(&mut self) {
        self.queue.clear();
        self.queued.clear();
        self.retries.clear();
        self.resting.clear();
        self.tries.clear();
        self.flying.clear();
        self.unseen.clear();
        self.balanced.clear();
        self.said.forget();
        (self.pause, self.trouble) = (None, 0);
    }

    /// How many objects wait.
    pub fn waiting(&self) -> usize {
        self.queue.len() + self.retries.len()
    }

    /// How many writes are on their way.
    pub fn flying(&self) -> usize {
        self.flying.len()
    }

    fn enqueue(&mut self, object: ObjectRef) {
        self.enqueue_at(object, false);
    }

    /// One that waits already and is now urgent is looked at again at its old place, where there is nothing left to do.
    fn enqueue_at(&mut self, object: ObjectRef, front: bool) {
        let fresh = self.queued.insert(object.clone());
        match front {
            true => self.queue.push_front(object),
            false if fresh => self.queue.push_back(object),
            false => {}
        }
    }

    /// The next write, if there is one.
    pub fn next(&mut self, seen: &impl Look, now: Instant) -> Next {
        while self.retries.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, object)) = self.retries.pop_first() else { break };
            self.resting.remove(&object);
            self.enqueue(object);
        }
        let retry = self.retries.first().map(|(at, _)| *at);
        if let Some(until) = self.pause.filter(|until| now < *until) {
            return Next::Wait(Some(until));
        }
        while let Some(object) = self.queue.pop_front() {
            self.queued.remove(&object);
            let Some(write) = self.decide(&object, seen) else { continue };
            if let Err(at) = self.bucket.take(now) {
                self.queued.insert(object.clone());
                self.queue.push_front(object);
                return Next::Wait(Some(at));
            }
            self.flying.insert(object.clone(), write.clone());
            return Next::Write(object, write);
        }
        Next::Wait(retry)
    }

    /// What has to be written on one object. One that is on its way is looked at again when it has arrived.
    fn decide(&mut self, object: &ObjectRef, seen: &impl Look) -> Option<Write> {
        if self.flying.contains_key(object) {
            return None;
        }
        if &*object.kind == "Service" {
            return self.balancing(object, seen);
        }
        if &*object.kind != "Ingress" {
            let version = seen.version(object);
            return self.said.decide(object, &version, self.known.get(object), self.leaving.contains_key(object));
        }
        let Some(ingress) = seen.ingress(object) else {
            self.leaving.remove(object);
            self.unseen.remove(object);
            return None;
        };
        if self.known.get(object).is_some_and(|status| status.addresses) {
            return self.publishing(object, &ingress);
        }
        // One that never was ours, or is now somebody else's: only ours is taken away, and only once.
        let withdraw = self.leaving.contains_key(object) && !ingress.addresses.is_empty();
        withdraw.then_some(Write::Withdraw)
    }

    fn balancing(&mut self, object: &ObjectRef, seen: &impl Look) -> Option<Write> {
        let Some(service) = seen.service(object) else {
            self.leaving.remove(object);
            self.balanced.remove(object);
            return None;
        };
        if self.balanced.get(object) == Some(&service.resource_version) {
            return None;
        }
        match self.known.get(object) {
            Some(status) => balancer::due(&service, status),
            None => self.leaving.contains_key(object).then_some(Write::Release(service.resource_version)),
        }
    }

    fn publishing(&mut self, object: &ObjectRef, ingress: &SeenIngress) -> Option<Write> {
        let addresses = self.addresses.clone()?;
        if self.unseen.get(object).is_some_and(|unseen| unseen.before != ingress.resource_version) {
            self.unseen.remove(object);
        }
        let (version, same) = match self.unseen.get(object) {
            Some(unseen) => (&unseen.after, unseen.addresses == addresses),
            None => (&ingress.resource_version, address::same(&ingress.addresses, &addresses)),
        };
        (!same).then(|| Write::Publish { version: version.clone(), addresses })
    }

    /// A write came to an end.
    pub fn done(&mut self, object: &ObjectRef, outcome: Outcome, seen: &impl Look, now: Instant) {
        let Some(write) = self.flying.remove(object) else { return };
        match outcome {
            Outcome::Done(version) => self.arrived(object, write, version, seen),
            Outcome::Gone => drop(self.tries.remove(object)),
            Outcome::Conflict => self.retry(object, now, Duration::from_millis(100), Duration::from_secs(10)),
            Outcome::Refused => self.retry(object, now, Duration::from_secs(2), Duration::from_mins(5)),
            Outcome::Unavailable => {
                self.pause = Some(now + backoff(self.trouble, Duration::from_millis(500), Duration::from_secs(30)));
                self.trouble += 1;
                self.enqueue(object.clone());
                return;
            }
        }
        self.trouble = 0;
    }

    fn arrived(&mut self, object: &ObjectRef, write: Write, version: Option<String>, seen: &impl Look) {
        self.tries.remove(object);
        match (write, version) {
            (Write::Publish { version: before, addresses }, Some(after)) => {
                // A second write before the watch has caught up starts from where the watch still is.
                let before = self.unseen.remove(object).map_or(before, |unseen| unseen.before);
                if seen.ingress(object).is_some_and(|ingress| ingress.resource_version == before) {
                    self.unseen.insert(object.clone(), Unseen { before, after, addresses });
                }
                // The plan or the addresses may have changed while it was on its way.
                self.enqueue(object.clone());
            }
            (Write::Publish { .. }, None) => {}
            (Write::Balance(balance), _) => drop(self.balanced.insert(object.clone(), balance.version)),
            (Write::Release(version), _) => {
                self.leaving.remove(object);
                self.balanced.insert(object.clone(), version);
            }
            (Write::Say(status, peers), version) => {
                self.leaving.remove(object);
                let again = self.known.get(object).is_some_and(|known| *known != *status);
                self.said.done(object, status, peers, version, seen.version(object));
                if again {
                    self.enqueue(object.clone());
                }
            }
            (Write::Withdraw, _) if self.known.contains_key(object) => self.enqueue(object.clone()),
            (Write::Withdraw, _) => drop(self.leaving.remove(object)),
        }
    }

    fn retry(&mut self, object: &ObjectRef, now: Instant, first: Duration, most: Duration) {
        let tries = self.tries.entry(object.clone()).or_default();
        let wait = backoff(*tries, first, most);
        *tries += 1;
        if self.resting.insert(object.clone()) {
            self.retries.insert((now + wait, object.clone()));
        }
    }
}

/// `first`, doubled for each failure before, at most `most`.
fn backoff(failures: u32, first: Duration, most: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(failures)).min(most)
}

#[cfg(test)]
mod tests;
