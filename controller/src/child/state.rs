//! What the parent knows of the child: what it has been sent, what it said is live. Changed under one lock by whoever
//! publishes and by the thread that minds the child.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rust_ingress_model::{Digest, Fingerprint, KeyStore, Snapshot};
use rust_ingress_proxy::agent::Alive;
use rust_ingress_proxy::feed::{Answer, Difference, FeedError, Orders, Update};
use rust_ingress_proxy::observe::{Ports, Standing, Unavailable};
use rustix::process::{Pid, Signal, kill_process};

use super::ChildOptions;
use super::held::Held;

/// The state, and who waits for it to change.
pub(super) struct Shared {
    pub options: ChildOptions,
    state: Mutex<State>,
    changed: Condvar,
}

pub(super) struct State {
    /// The child's process, for as long as nobody has waited for its end.
    pub process: Option<Pid>,
    /// The way to the child that runs.
    pub orders: Option<Orders>,
    /// The health and admin ports.
    pub ports: Ports,
    pub held: Held,
    pub standing: Standing,
    /// What shall be live.
    current: Option<Current>,
    /// What the child that runs was sent last.
    sent: Option<Arc<Snapshot>>,
    /// The keys that it has.
    sent_keys: BTreeSet<Fingerprint>,
    /// The last update that it answered.
    pub answered: u64,
    /// Listeners that it couldn't open.
    pub unavailable: Vec<Unavailable>,
    /// Whether a child has ever run.
    pub started: bool,
    /// Whether the child that runs, or ran last, came as far as to serve what there is.
    pub served: bool,
    pub stopping: bool,
    /// Whether the last child is gone for good.
    pub ended: bool,
}

struct Current {
    sequence: u64,
    digest: Digest,
    snapshot: Arc<Snapshot>,
    keys: KeyStore,
}

impl Shared {
    pub(super) fn new(options: ChildOptions, ports: Ports) -> Arc<Self> {
        let state = State {
            process: None,
            orders: None,
            ports,
            held: Held::new(options.proxy.workers.max(1), options.proxy.sharing),
            standing: Standing::default(),
            current: None,
            sent: None,
            sent_keys: BTreeSet::new(),
            answered: 0,
            unavailable: Vec::new(),
            started: false,
            served: false,
            stopping: false,
            ended: false,
        };
        Arc::new(Self { options, state: Mutex::new(state), changed: Condvar::new() })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes who waits for that.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = change(&mut state);
        self.changed.notify_all();
        result
    }

    /// The proxy's workers answer, and it serves: while it isn't about to end, the kernel is told.
    pub(super) fn alive(&self) {
        if let Some(alive) = &self.options.alive
            && !self.lock().standing.draining
        {
            alive.refresh();
        }
    }

    /// The proxy is about to go.
    pub(super) fn going(&self) {
        self.options.alive.iter().for_each(Alive::end);
    }

    /// The proxy is gone, or says nothing.
    pub(super) fn lost(&self) {
        self.options.alive.iter().for_each(Alive::lose);
    }

    /// Waits until something is so, for at most so long; whether it is.
    pub(super) fn wait(&self, most: Duration, is_so: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + most;
        let mut state = self.lock();
        while !is_so(&state) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl State {
    /// Notes what shall be live; gives its number.
    pub(super) fn set(&mut self, snapshot: Arc<Snapshot>, keys: &KeyStore) -> u64 {
        let sequence = self.current.as_ref().map_or(0, |current| current.sequence) + 1;
        self.current = Some(Current { sequence, digest: snapshot.digest(), snapshot, keys: keys.clone() });
        sequence
    }

    /// Takes on a child that was just started, and tells it all.
    pub(super) fn take_on(&mut self, process: Pid, mut orders: Orders, options: &ChildOptions) -> Result<(), FeedError> {
        self.process = Some(process);
        if self.stopping {
            // The end of its stream, when `orders` is dropped here, ends it.
            return Ok(());
        }
        self.forget_sent();
        self.held.forget_child();
        orders.start(&options.proxy, &self.ports)?;
        orders.standing(&self.standing)?;
        self.orders = Some(orders);
        self.send()
    }

    /// The next update is a whole one, with all keys.
    pub(super) fn forget_sent(&mut self) {
        self.sent = None;
        self.sent_keys.clear();
    }

    /// Sends what shall be live, as changes to what was sent before.
    pub(super) fn send(&mut self) -> Result<(), FeedError> {
        let (Some(orders), Some(current)) = (&mut self.orders, &self.current) else { return Ok(()) };
        let Current { sequence, digest, snapshot, keys } = current;
        self.held.hand_over(orders)?;
        self.sent_keys.retain(|fingerprint| snapshot.certificates.contains_key(fingerprint));
        let fresh = snapshot.certificates.keys().filter(|fingerprint| !self.sent_keys.contains(*fingerprint));
        let fresh: Vec<_> = fresh.filter_map(|fingerprint| Some((*fingerprint, keys.get(fingerprint)?))).collect();
        if !fresh.is_empty() {
            orders.keys(fresh.iter().copied())?;
            self.sent_keys.extend(fresh.iter().map(|(fingerprint, _)| *fingerprint));
        }
        let before = self.sent.replace(snapshot.clone());
        let whole = before.is_none();
        let difference = Difference::between(&before.unwrap_or_default(), snapshot);
        orders.update(&Update { sequence: *sequence, digest: digest.to_string(), whole, difference })
    }

    /// Tells the child what stands around it.
    pub(super) fn tell_standing(&mut self) {
        let sent = self.orders.as_mut().map_or(Ok(()), |orders| orders.standing(&self.standing));
        self.check(sent);
    }

    /// What the child says.
    pub(super) fn hear(&mut self, answer: Answer) {
        match answer {
            Answer::Alive { .. } => {}
            Answer::Started => {
                self.started = true;
                self.served = self.current.is_none();
            }
            Answer::Live { sequence, unavailable } => {
                self.served = true;
                self.answered = self.answered.max(sequence);
                self.unavailable = unavailable;
            }
            Answer::Refused { sequence, digest, whole: false } => {
                tracing::error!(sequence, digest, "the proxy's process has another snapshot than was sent; sending it whole");
                self.forget_sent();
                let sent = self.send();
                self.check(sent);
            }
            Answer::Refused { sequence, digest, whole: true } => {
                tracing::error!(
                    sequence,
                    digest,
                    "the proxy's process can't rebuild the snapshot, and goes on with the one before; this is a bug"
                );
                self.answered = self.answered.max(sequence);
            }
        }
    }

    /// Ends a child that takes no orders: it is dead, or dying, or stuck. The thread that minds it starts another one, which
    /// is told all.
    pub(super) fn check(&mut self, sent: Result<(), FeedError>) {
        if let Err(error) = sent {
            tracing::debug!(%error, "the proxy's process takes no orders");
            self.orders = None;
            self.kill();
        }
    }

    /// Ends a child that doesn't answer; it is started again.
    pub(super) fn kill(&mut self) {
        if let Some(process) = self.process {
            let _ = kill_process(process, Signal::KILL);
        }
    }
}
