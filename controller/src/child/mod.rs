//! The proxy in a process of its own: started here, given sockets, keys and snapshots, and started again when it dies
//! (DESIGN.md, decision 7). To the driver it is a [`Plane`] as the proxy in this process is.
//!
//! `run` in a cluster calls [`Child::start`] where `run --manifests` calls `Proxy::start`, publishes the last good state with
//! [`Child::publish_last_good`] where there is one, gives the child to the driver, and ends with [`Child::stop`].

pub mod confine;
mod held;
mod ports;
mod state;
mod supervise;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use rust_ingress_model::{KeyStore, ListenerName, Snapshot};
use rust_ingress_proxy::agent::Alive;
use rust_ingress_proxy::feed::Orders;
use rust_ingress_proxy::observe::Ports;
use rust_ingress_proxy::options::{Drain, Options};
use rust_ingress_proxy::server::sockets::Sharing;
use rust_ingress_proxy::{PublishFault, StartError};

use crate::plane::Plane;
use state::{Shared, State};

/// How long a snapshot may take to be live. Far beyond what one takes; a child that is silent for longer is stuck.
const LIVE_WAIT: Duration = Duration::from_secs(30);
/// How long a child may take to start.
const START_WAIT: Duration = Duration::from_secs(30);
/// What a child gets to end, beyond the drain timeout.
const END_WAIT: Duration = Duration::from_secs(5);

/// How the proxy's process is started.
#[derive(Debug, Clone)]
pub struct ChildOptions {
    /// The program: this one, by [`this_program`].
    pub program: PathBuf,
    /// Flags of its subcommand `proxy`: those of the log.
    pub flags: Vec<String>,
    /// The proxy's options. The parent binds the health and admin ports too.
    pub proxy: Options,
    /// Who tells the kernel of this node that the proxy is alive, where an agent programs it.
    pub alive: Option<Alive>,
}

/// The program that runs, even where its file was replaced since.
pub fn this_program() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}

/// The proxy's process.
pub struct Child {
    shared: Arc<Shared>,
    drain: Drain,
    supervisor: Option<JoinHandle<()>>,
}

impl Child {
    /// Binds the health and admin ports and starts the process. Returns when its proxy runs; nothing is served yet.
    ///
    /// # Errors
    /// A port that can't be bound; a process that can't be started, or that ends at its start: it has said why on standard
    /// error.
    pub fn start(mut options: ChildOptions) -> anyhow::Result<Self> {
        confine::close_to_others().context("can't close this process to others of its user")?;
        // The delay is waited for here, while a child that dies is still started again.
        let drain = options.proxy.drain.clone();
        options.proxy.drain.delay = Duration::ZERO;
        let ports = ports::bind(&options.proxy).map_err(StartError::Observe)?;
        let shared = Shared::new(options, ports);
        let first = supervise::launch(&shared)?;
        let minding = shared.clone();
        let supervisor = std::thread::Builder::new().name("child".into());
        let supervisor = supervisor.spawn(move || supervise::supervise(&minding, first)).context("no thread for the child")?;
        let child = Self { shared: shared.clone(), drain, supervisor: Some(supervisor) };
        ports::follow_predecessor(&shared).context("no thread for the health port")?;
        shared.wait(START_WAIT, |state| state.started || state.standing.restarts > 0);
        if !shared.lock().started {
            bail!("the proxy's process ended at its start, or said nothing; its reason stands above");
        }
        Ok(child)
    }

    /// Makes what an earlier run wrote live, for as long as nothing newer is published, and says so in `/readyz` and metrics.
    pub fn publish_last_good(&self, snapshot: Arc<Snapshot>, keys: &KeyStore, written: SystemTime) -> Vec<PublishFault> {
        let written = written.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.make_live(snapshot, keys, Some(written))
    }

    fn make_live(&self, snapshot: Arc<Snapshot>, keys: &KeyStore, last_good: Option<u64>) -> Vec<PublishFault> {
        let (sequence, mut faults) = self.shared.change(|state| {
            let faults = state.held.follow(&snapshot);
            let sequence = state.set(snapshot, keys);
            let sent = state.send();
            state.check(sent);
            if state.standing.last_good != last_good {
                state.standing.last_good = last_good;
                state.tell_standing();
            }
            (sequence, faults)
        });
        if !self.shared.wait(LIVE_WAIT, |state| state.answered >= sequence || state.stopping) {
            tracing::error!("the proxy's process doesn't answer; ending it, to start it again");
            self.shared.change(State::kill);
        }
        for unavailable in &self.shared.lock().unavailable {
            if faults.iter().all(|fault| fault.listener != unavailable.listener) {
                let (listener, address) = (unavailable.listener.clone(), unavailable.address);
                faults.push(PublishFault { listener, address, error: io::Error::other(unavailable.error.clone()) });
            }
        }
        faults
    }

    /// Where the health port is, for port 0; `None` when it isn't served.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.shared.lock().ports.health.as_ref().and_then(address)
    }

    /// Where the admin port is, for port 0; `None` when it isn't served.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.shared.lock().ports.admin.as_ref().and_then(address)
    }

    /// The process that runs now; `None` between two.
    pub fn process(&self) -> Option<u32> {
        self.shared.lock().process.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok())
    }

    /// Stops as [`rust_ingress_proxy::Proxy::stop`] does: not ready; goes on for the drain delay; then the child takes what
    /// waits in the queues, which are its own alone by then, and ends requests in flight. Returns when it has ended.
    pub fn stop(mut self) {
        let sharing = self.shared.options.proxy.sharing;
        self.shared.change(|state| {
            state.standing.draining = true;
            state.tell_standing();
            // New connections to Services don't come this way any more.
            self.shared.going();
            if sharing == Sharing::WithOurselves {
                state.ports.health = None;
            }
        });
        std::thread::sleep(self.drain.delay);
        self.shared.change(|state| {
            state.stopping = true;
            state.held.close();
            state.ports = Ports::default();
            let sent = state.orders.as_mut().map_or(Ok(()), Orders::stop);
            state.check(sent);
        });
        if !self.shared.wait(self.drain.timeout + END_WAIT, |state| state.ended) {
            tracing::error!("the proxy's process doesn't end; ending it");
            self.shared.change(State::kill);
        }
        if self.supervisor.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that minds the proxy's process ended by a panic");
        }
    }
}

impl Drop for Child {
    /// Without [`Self::stop`] the child hears the end of its stream, drains, and ends by itself.
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.stopping = true;
            state.orders = None;
            state.held.close();
        });
    }
}

impl Plane for Child {
    fn publish(&self, snapshot: Arc<Snapshot>, keys: &KeyStore) -> Vec<PublishFault> {
        self.make_live(snapshot, keys, None)
    }

    fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        self.shared.lock().held.bound()
    }
}

fn address(socket: &TcpListener) -> Option<SocketAddr> {
    socket.local_addr().ok()
}
