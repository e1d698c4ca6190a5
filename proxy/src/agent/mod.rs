//! The node agent: the Services of a snapshot in the kernel of this node.
//!
//! The driver gives it each snapshot before the proxy gets it, so that rules are there before routes count on them. What a node
//! programs is planned in the model ([`rust_ingress_model::l4::plan`]); here the plan becomes netlink transactions ([`nft`]), stale
//! flows are forgotten ([`conntrack`]), and what others change in our tables is put right ([`drift`]).
//!
//! Everything happens in the network namespace of the thread that starts it. Rules stay when the program ends: a restart costs
//! no connection.

pub mod address;
mod addresses;
mod alive;
pub mod conntrack;
mod drift;
mod health;
mod localhost;
pub mod netlink;
pub mod nft;
mod route;
mod stale;
mod state;
pub mod survey;
mod sysctl;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rust_ingress_model::l4::{L4Settings, NodeFacts};
use rust_ingress_model::{Fault, Snapshot};
use thiserror::Error;

pub use alive::Alive;
pub use health::Ports;
pub use state::Counters;
pub use sysctl::Sysctl;

use address::{Addresses, Answering};
use drift::Watch;
use health::{Health, Server};
use localhost::Localhost;
use netlink::Netlink;
use nft::{CommitError, Switch, Tables, Taken, TakeoverError};
use state::{Beside, State};

/// Address families in netlink's heads (`AF_INET`, `AF_INET6`).
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// How the agent is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What the plan depends on.
    pub settings: L4Settings,
    /// Kernel settings to make at start; see [`sysctl`]. Empty: none.
    pub sysctls: Vec<Sysctl>,
    /// Where it says how it is.
    pub ports: Ports,
}

impl Default for Options {
    fn default() -> Self {
        Self { settings: L4Settings::default(), sysctls: Sysctl::usual(), ports: Ports::default() }
    }
}

/// Why the agent can't start.
#[derive(Debug, Error)]
pub enum StartError {
    /// No socket to the kernel's nf_tables.
    #[error("the node agent can't talk to the kernel's nf_tables: {0}; it needs a kernel with nf_tables (5.13 or later)")]
    Netlink(io::Error),
    /// No thread.
    #[error("the node agent's thread can't be started: {0}")]
    Thread(io::Error),
}

/// The running agent. Dropped, it ends and leaves the rules.
#[derive(Debug)]
pub struct Agent {
    state: Arc<Mutex<State>>,
    watch: Watch,
    addresses: Addresses,
    _answering: Answering,
    alive: Alive,
}

impl Agent {
    /// Starts it. Nothing in nf_tables is changed before the first [`Agent::publish`].
    ///
    /// # Errors
    /// No nf_tables, no thread.
    pub fn start(mut options: Options) -> Result<Self, StartError> {
        let tables = Tables::open().map_err(StartError::Netlink)?;
        sysctl::apply(&options.sysctls);
        let health = Arc::new(Health::default());
        let alive = Alive::new(Switch::open().map_err(StartError::Netlink)?, health.metrics.clone());
        let addresses = Addresses::new(health.metrics.clone());
        let ports = [tables.port(), alive.port()];
        let server = Server::start(&options.ports, health.clone()).map_err(StartError::Thread)?;
        let localhost = options.settings.loopback.map(|ports| Localhost::start(ports).map_err(StartError::Thread)).transpose()?;
        options.settings.loopback = localhost.as_ref().map(Localhost::ports);
        let beside = Beside { health, server, alive: alive.clone(), localhost };
        let state = Arc::new(Mutex::new(State::new(options.settings, tables, beside)?));
        let watch = Watch::start(state.clone(), ports)?;
        let answering = Answering::start(&addresses).map_err(StartError::Thread)?;
        Ok(Self { state, watch, addresses, _answering: answering, alive })
    }

    /// Makes the kernel carry a snapshot's Services as this node sees them, in one transaction; what of them is left out.
    ///
    /// Where the kernel refuses, it carries what it did before; that is logged, and the agent tries again by itself.
    pub fn publish(&self, snapshot: &Snapshot, node: &NodeFacts) -> Vec<Fault> {
        let faults = lock(&self.state).publish(snapshot, node);
        // Behind the rules: who is told where an address is finds them there.
        self.addresses.announce(snapshot, node);
        faults
    }

    /// The addresses of pools, for whoever places them on nodes.
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Whether the kernel has what was published last.
    pub fn is_written(&self) -> bool {
        lock(&self.state).is_written()
    }

    /// The kernel has what happened at these times; for the metric `kubeproxy_network_programming_duration_seconds`.
    pub fn programmed(&self, triggered: &[SystemTime]) {
        lock(&self.state).programmed(triggered);
    }

    /// The way to tell the kernel that the L7 proxy is alive.
    pub fn alive(&self) -> Alive {
        self.alive.clone()
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        lock(&self.state).counters()
    }

    /// Ends it; the rules stay.
    pub fn stop(self) {
        self.watch.stop();
    }

    /// Whether the kernel takes the rules, each kind of them; nothing is changed.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub fn check() -> Result<(), CommitError> {
        Tables::open()?.try_out(&nft::specimen())
    }

    /// Removes kube-proxy's rules from this network namespace, if an agent of ours carries its Services.
    ///
    /// # Errors
    /// None does; what the kernel refused.
    pub fn take_over() -> Result<Taken, TakeoverError> {
        Tables::open()?.take_over()
    }

    /// Removes all that an agent ever made in this network namespace, and nothing else.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn cleanup() -> Result<(), CommitError> {
        Tables::open()?.remove()?;
        Ok(route::remove(&mut Netlink::open_route()?)?)
    }
}

/// How long what went wrong is left alone before it is tried again, and how soon drift is put right.
const AGAIN: Duration = Duration::from_millis(500);

/// A poisoned lock only means that a thread died between two steps; the next full write puts all right.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    let poisoned = state.is_poisoned();
    let mut guard = state.lock().unwrap_or_else(PoisonError::into_inner);
    if poisoned {
        guard.distrust();
        state.clear_poison();
    }
    guard
}
