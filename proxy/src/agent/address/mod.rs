//! Addresses of pools that this node holds: it answers for them on the link, and puts them nowhere.
//!
//! Which those are the agent says with each snapshot ([`Addresses::announce`]) and, in a cluster, whoever places them
//! ([`Addresses::hold`]); from a folder this node holds all. A thread for each family hears questions and answers them. A node whose
//! time has run out, because it can't reach the API server, goes on while nobody else says on the link that the address is there.
//!
//! Answered is on the links whose network has the address; if none has, on those with one of the node's own addresses.

mod link;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rust_ingress_model::Snapshot;
use rust_ingress_model::l4::placement::{Announced, Announcements};
use rust_ingress_model::l4::{Family, NodeFacts};

use super::health::Metrics;
use link::{Ear, Link, Membership};

/// How long a thread listens before it looks at what it holds again.
const TICK: Duration = Duration::from_millis(100);
/// When everybody is told of an address that is taken over: some may not hear the first time.
const TELL: [Duration; 3] = [Duration::ZERO, Duration::from_millis(300), Duration::from_secs(1)];
/// How often the interfaces are read anew while something is held.
const LOOK: Duration = Duration::from_secs(1);

/// What is announced and held. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Addresses(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<Kept>,
    changed: Condvar,
    end: AtomicBool,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Kept {
    announcements: Announcements,
    announced: Arc<BTreeMap<IpAddr, Announced>>,
    node: NodeFacts,
    /// Somebody else says what is held; else all that is announced.
    placed: bool,
    held: BTreeSet<IpAddr>,
    /// Until when nobody else may; then until somebody does. `None`: from a folder, where nobody may.
    until: Option<Instant>,
    /// Counts what listeners have to look at.
    turn: u64,
}

impl Addresses {
    /// None, counted here.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Shared { metrics, ..Shared::default() }))
    }

    /// From now on this node holds what [`Self::hold`] says, and nothing until then.
    pub fn place(&self) {
        self.change(|kept| {
            kept.placed = true;
            kept.held.clear();
        });
    }

    /// Takes in a snapshot: what of it is announced.
    pub fn announce(&self, snapshot: &Snapshot, node: &NodeFacts) {
        let mut kept = self.lock();
        if kept.announcements.update(snapshot) || kept.node != *node {
            kept.node = node.clone();
            kept.announced = Arc::new(kept.announcements.addresses());
            if !kept.placed {
                let all = kept.announced.keys().copied().collect();
                self.log(&kept.held, &all);
                kept.held = all;
            }
            kept.turn += 1;
            drop(kept);
            self.0.changed.notify_all();
        }
    }

    /// What is announced, for whoever places it, with the pools' nodes.
    pub fn announced(&self) -> (Arc<BTreeMap<IpAddr, Announced>>, Announcements, NodeFacts) {
        let kept = self.lock();
        (kept.announced.clone(), kept.announcements.clone(), kept.node.clone())
    }

    /// These are held until then, and longer while nobody else takes them.
    pub fn hold(&self, addresses: BTreeSet<IpAddr>, until: Instant) {
        let mut kept = self.lock();
        self.log(&kept.held, &addresses);
        kept.turn += u64::from(kept.held != addresses);
        (kept.held, kept.until) = (addresses, Some(until));
        drop(kept);
        self.0.changed.notify_all();
    }

    /// Another host on the link says that it has an address of ours. Whoever's time has run out believes it.
    fn contested(&self, address: IpAddr, by: wire::Mac) {
        let mut kept = self.lock();
        let over = kept.until.is_some_and(|until| until <= Instant::now());
        if over && kept.held.remove(&address) {
            kept.turn += 1;
            self.0.metrics.held.dec();
            tracing::warn!(%address, "another node has taken over the address, while this one couldn't renew its Lease");
        } else if kept.held.contains(&address) {
            let by = by.map(|byte| format!("{byte:02x}")).join(":");
            tracing::warn!(%address, by, "another host on the link says that it has this address of a pool; look for one that was given it by hand");
        }
    }

    /// What is held now.
    pub fn held(&self) -> BTreeSet<IpAddr> {
        self.lock().held.clone()
    }

    fn log(&self, before: &BTreeSet<IpAddr>, after: &BTreeSet<IpAddr>) {
        for address in after.difference(before) {
            self.0.metrics.takeovers.inc();
            tracing::info!(%address, "this node answers for the address from now on");
        }
        for address in before.difference(after) {
            tracing::info!(%address, "this node doesn't answer for the address any more");
        }
        self.0.metrics.held.set(i64::try_from(after.len()).unwrap_or(i64::MAX));
    }

    fn change(&self, change: impl FnOnce(&mut Kept)) {
        let mut kept = self.lock();
        change(&mut kept);
        kept.turn += 1;
        drop(kept);
        self.0.changed.notify_all();
    }

    /// A poisoned lock only means that a thread died between two steps; each of them leaves what can be used.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The threads that answer, one for each family.
#[derive(Debug)]
pub(super) struct Answering {
    addresses: Addresses,
    threads: Vec<JoinHandle<()>>,
}

impl Answering {
    /// Starts them in the network namespace of this thread. No socket is open while nothing is held.
    ///
    /// # Errors
    /// No thread.
    pub(super) fn start(addresses: &Addresses) -> std::io::Result<Self> {
        let start = |family: Family| {
            let addresses = addresses.clone();
            thread::Builder::new().name("l4-address".into()).spawn(move || Answerer::new(addresses, family).run())
        };
        let threads = Family::BOTH.into_iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { addresses: addresses.clone(), threads })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.addresses.0.end.store(true, Ordering::Relaxed);
        self.addresses.0.changed.notify_all();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that answers for addresses died");
            }
        }
    }
}

/// One family's thread.
struct Answerer {
    addresses: Addresses,
    family: Family,
    /// What was held at the last look, and by interface where it is answered for.
    held: BTreeSet<IpAddr>,
    places: BTreeMap<u32, (Link, BTreeSet<IpAddr>)>,
    memberships: BTreeMap<(IpAddr, u32), Membership>,
    /// Whom to tell of a takeover, and when.
    due: Vec<(Instant, IpAddr)>,
    turn: u64,
    looked: Option<Instant>,
    /// What failed last, so that it is said once.
    failure: Option<String>,
}

impl Answerer {
    fn new(addresses: Addresses, family: Family) -> Self {
        let (held, places, memberships) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        Self { addresses, family, held, places, memberships, due: Vec::new(), turn: 0, looked: None, failure: None }
    }

    fn run(mut self) {
        let mut ear = None;
        let mut buffer = Vec::new();
        while !self.addresses.0.end.load(Ordering::Relaxed) {
            self.look();
            if self.held.is_empty() {
                ear = None;
                self.rest();
                continue;
            }
            let open = match ear.take() {
                Some(open) => Ok(open),
                None => Ear::open(self.family, TICK),
            };
            match open.and_then(|open| self.serve(&open, &mut buffer).map(|()| open)) {
                Ok(open) => ear = Some(open),
                Err(error) => {
                    self.fail(format!("questions for addresses of pools can't be answered: {error}; CAP_NET_RAW is needed"));
                    self.rest();
                }
            }
        }
    }

    /// Waits until something changes, or a while.
    fn rest(&self) {
        let kept = self.addresses.lock();
        let same = |kept: &mut Kept| kept.turn == self.turn && !self.addresses.0.end.load(Ordering::Relaxed);
        drop(self.addresses.0.changed.wait_timeout_while(kept, LOOK, same));
    }

    /// Brings up to date what is held and where.
    fn look(&mut self) {
        let (held, turn, node) = {
            let kept = self.addresses.lock();
            (kept.held.clone(), kept.turn, kept.node.addresses.clone())
        };
        let held: BTreeSet<IpAddr> = held.into_iter().filter(|address| Family::of(*address) == self.family).collect();
        let now = Instant::now();
        let fresh = self.looked.is_some_and(|looked| now < looked + LOOK);
        if held == self.held && turn == self.turn && (fresh || held.is_empty()) {
            return;
        }
        for address in held.difference(&self.held) {
            self.due.extend(TELL.map(|after| (now + after, *address)));
        }
        (self.held, self.turn, self.looked) = (held, turn, Some(now));
        self.due.retain(|(_, address)| self.held.contains(address));
        match link::links() {
            Ok(links) => self.places = places(&links, &self.held, &node),
            Err(error) => self.fail(format!("the node's interfaces can't be read: {error}")),
        }
        self.join();
    }

    fn join(&mut self) {
        let places = self.places.iter().flat_map(|(index, (_, addresses))| addresses.iter().map(|address| (*address, *index)));
        let wanted: BTreeSet<(IpAddr, u32)> = places.filter(|(address, _)| address.is_ipv6()).collect();
        self.memberships.retain(|key, _| wanted.contains(key));
        for key in wanted {
            let IpAddr::V6(address) = key.0 else { continue };
            if self.memberships.contains_key(&key) {
                continue;
            }
            match Membership::join(wire::solicited_node(address), key.1) {
                Ok(membership) => drop(self.memberships.insert(key, membership)),
                Err(error) => self.fail(format!("questions for {address} aren't heard: {error}")),
            }
        }
    }

    /// Tells of takeovers that are due, and answers one question if there is one.
    fn serve(&mut self, ear: &Ear, buffer: &mut Vec<u8>) -> std::io::Result<()> {
        let now = Instant::now();
        let due: Vec<IpAddr> = self.due.extract_if(.., |(at, _)| *at <= now).map(|(_, address)| address).collect();
        for address in due {
            let places = self.places.values().filter(|(_, addresses)| addresses.contains(&address));
            for (link, _) in places {
                // An interface that has just gone is no reason to stop.
                if let Err(error) = ear.say(link, &wire::takeover(address, link.mac, link.link_local())) {
                    tracing::debug!(%address, interface = link.name, %error, "the link could not be told");
                }
            }
        }
        let Some((index, frame)) = ear.hear(buffer)? else { return Ok(()) };
        let Some((link, addresses)) = self.places.get(&index) else { return Ok(()) };
        if let Some((address, by)) = wire::said_takeover(frame)
            && addresses.contains(&address)
            && !self.places.values().any(|(link, _)| link.mac == by)
        {
            self.addresses.contested(address, by);
        }
        let Some(question) = wire::question(frame) else { return Ok(()) };
        // What is held is looked at again: time has passed while waiting.
        if addresses.contains(&question.target) && self.addresses.lock().held.contains(&question.target) {
            let answer = wire::answer(&question, link.mac, link.link_local());
            if let Some(Err(error)) = answer.map(|frame| ear.say(link, &frame)) {
                tracing::debug!(address = %question.target, interface = link.name, %error, "a question could not be answered");
            }
        }
        Ok(())
    }

    fn fail(&mut self, failure: String) {
        if self.failure.as_ref() != Some(&failure) {
            tracing::warn!("{failure}");
            self.failure = Some(failure);
        }
    }
}

/// Where each address is answered for.
fn places(links: &[Link], held: &BTreeSet<IpAddr>, node: &[IpAddr]) -> BTreeMap<u32, (Link, BTreeSet<IpAddr>)> {
    let on_link = |link: &Link, address: IpAddr| link.nets.iter().any(|net| net.contains(&address));
    let has_node = |link: &Link| link.nets.iter().any(|net| node.contains(&net.addr()));
    let mut places = BTreeMap::new();
    for link in links {
        let here = |address: &&IpAddr| {
            on_link(link, **address) || (has_node(link) && !links.iter().any(|other| on_link(other, **address)))
        };
        let addresses: BTreeSet<IpAddr> = held.iter().filter(here).copied().collect();
        if !addresses.is_empty() {
            places.insert(link.index, (link.clone(), addresses));
        }
    }
    places
}
