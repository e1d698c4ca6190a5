//! The proxy as its program sees it: start, publish snapshots, stop.
//!
//! The controller's driver owns a [`Proxy`]. Publishing builds a table beside the live one, opens the sockets of new
//! listeners, swaps, and only then closes the old listeners.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rust_ingress_model::{KeyStore, ListenerName, Snapshot};
use tokio::sync::mpsc::UnboundedSender;

use crate::observe::{Observer, Ports, Unavailable};
use crate::options::Options;
use crate::server::core::Shared;
use crate::server::sockets::{Own, Sockets};
use crate::server::worker::{Command, Worker};
use crate::table::{ListenerEntry, Table, not_served};

/// How long publish waits for a worker to open a listener: workers answer in microseconds unless they are stuck.
const OPEN_WAIT: Duration = Duration::from_secs(5);
/// How often the reaper looks whether a table is free.
const REAP: Duration = Duration::from_millis(50);

/// The data plane, running.
pub struct Proxy {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    open: Mutex<BTreeMap<ListenerName, Open>>,
    sockets: Box<dyn Sockets>,
    reaper: Sender<Arc<Table>>,
}

/// An open listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    /// What the snapshot asks for.
    asked: SocketAddr,
    /// What the kernel gave.
    bound: SocketAddr,
}

/// Why the proxy didn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port, a file, or the like.
    #[error("{0}")]
    Observe(io::Error),
    /// No threads or file descriptors.
    #[error("a worker thread can't be started: {0}; check the limits on processes and open files, or lower --workers")]
    Worker(io::Error),
}

/// A listener that could not be opened. All else of the snapshot is live.
#[derive(Debug, thiserror::Error)]
#[error("listener {listener} can't be opened on {address}: {error}; {}", self.advice())]
pub struct PublishFault {
    /// Its name.
    pub listener: ListenerName,
    /// The address that was asked for.
    pub address: SocketAddr,
    /// What the system said.
    pub error: io::Error,
}

impl PublishFault {
    /// What to check.
    pub fn advice(&self) -> &'static str {
        match self.error.kind() {
            io::ErrorKind::AddrInUse => "another program has the port (see ss -ltnp); stop it, or choose another",
            io::ErrorKind::PermissionDenied => "ports below 1024 need CAP_NET_BIND_SERVICE; add it, or choose another",
            io::ErrorKind::AddrNotAvailable => "the address isn't on this machine; check it, or choose another",
            io::ErrorKind::Unsupported => "check the listener's protocol and that its TLS set is there, or choose another",
            _ => "check the address and the port, or choose another",
        }
    }
}

impl Proxy {
    /// Starts the workers and the observation servers. Not ready before the first publish.
    ///
    /// # Errors
    /// A port or file of observation, or a thread, that can't be had.
    pub fn start(options: Options) -> Result<Self, StartError> {
        let ports = Ports::bind(options.health, options.admin, options.sharing).map_err(StartError::Observe)?;
        let own = Own(options.sharing);
        Self::start_on(options, ports, Box::new(own))
    }

    /// Starts with the observation ports bound, and with listening sockets from elsewhere.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_on(options: Options, ports: Ports, sockets: Box<dyn Sockets>) -> Result<Self, StartError> {
        let observer = Observer::on(&options, ports).map_err(StartError::Observe)?;
        let options = Arc::new(options);
        let shared = Arc::new(Shared::new(options.clone(), observer));
        let workers = (0..options.workers.max(1)).map(|index| Worker::start(index, shared.clone()));
        let workers = workers.collect::<io::Result<Vec<_>>>().map_err(StartError::Worker)?;
        let (reaper, tables) = channel();
        std::thread::Builder::new().name("proxy-reaper".into()).spawn(move || reap(&tables)).map_err(StartError::Worker)?;
        Ok(Self { shared, workers, open: Mutex::default(), sockets, reaper })
    }

    /// Metrics, access log, readiness and what is live.
    pub fn observer(&self) -> &Arc<Observer> {
        &self.shared.observer
    }

    /// Makes a snapshot live; it is when this returns, except for the listeners returned.
    pub fn publish(&self, snapshot: Arc<Snapshot>, keys: &KeyStore) -> Vec<PublishFault> {
        let start = Instant::now();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let previous = self.shared.table.load_full();
        let table = Arc::new(Table::new(snapshot, keys, &previous));
        let (fresh, faults) = self.open_sockets(&table, &open);
        for host in table.tls.values() {
            host.activate();
        }
        self.shared.table.store(table.clone());
        let _ = self.reaper.send(previous);
        let gone: Vec<ListenerName> = open.keys().filter(|name| !table.wants(name, &open)).cloned().collect();
        for name in gone {
            open.remove(&name);
            self.tell(|| Command::Close { name: name.clone() });
        }
        self.hand_out(fresh, &mut open);
        self.tell(|| Command::Refresh);
        let unavailable = faults.iter().map(|fault| Unavailable {
            listener: fault.listener.clone(),
            address: fault.address,
            error: fault.error.to_string(),
        });
        let unavailable = unavailable.collect();
        self.shared.observer.published(table.snapshot.clone(), table.digest, unavailable, start.elapsed());
        faults
    }

    /// The listeners that are open, with their real addresses (for port 0).
    pub fn bound(&self) -> Vec<(ListenerName, SocketAddr)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.iter().map(|(name, open)| (name.clone(), open.bound)).collect()
    }

    /// Stops: not ready; goes on accepting for the drain delay; then tells clients to leave, takes what waits in the
    /// accept queues, closes, and lets requests in flight end within the drain timeout. Returns when done.
    pub fn stop(self) {
        let drain = &self.shared.options.drain;
        self.shared.observer.draining();
        std::thread::sleep(drain.delay);
        self.tell(|| Command::Drain(drain.timeout));
        let Self { shared, workers, .. } = self;
        workers.into_iter().for_each(Worker::join);
        shared.observer.stop();
    }

    /// Asks the workers whether they still work.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.workers.iter().map(Worker::commands).collect())
    }

    fn tell(&self, command: impl Fn() -> Command) {
        self.workers.iter().for_each(|worker| worker.tell(command()));
    }

    /// Opens the sockets of listeners that aren't open yet, or whose address changed.
    fn open_sockets(&self, table: &Table, open: &BTreeMap<ListenerName, Open>) -> (Vec<Fresh>, Vec<PublishFault>) {
        let (mut fresh, mut faults) = (Vec::new(), Vec::new());
        for (name, entry) in table.listeners.iter().filter(|(_, entry)| entry.listener.has_socket()) {
            let asked = entry.listener.socket_addr();
            if open.get(name).is_some_and(|open| open.asked == asked && entry.address().is_some()) {
                continue;
            }
            let opened = match entry.address() {
                Some(address) => self.sockets.open(name, address, self.workers.len()),
                None => Err(not_served()),
            };
            match opened {
                Ok((bound, sockets)) => fresh.push(Fresh { name: name.clone(), open: Open { asked, bound }, sockets }),
                Err(error) => faults.push(PublishFault { listener: name.clone(), address: asked, error }),
            }
        }
        (fresh, faults)
    }

    /// Gives each worker its sockets, and waits until all accept.
    fn hand_out(&self, fresh: Vec<Fresh>, open: &mut BTreeMap<ListenerName, Open>) {
        for Fresh { name, open: place, sockets } in fresh {
            let (done, all) = channel::<()>();
            for (worker, socket) in self.workers.iter().zip(sockets) {
                worker.tell(Command::Open { name: name.clone(), address: place.bound, socket, done: done.clone() });
            }
            drop(done);
            if all.recv_timeout(OPEN_WAIT) == Err(RecvTimeoutError::Timeout) {
                tracing::warn!(listener = %name, "a worker is slow to open the listener; its core is overloaded");
            }
            open.insert(name, place);
        }
    }
}

/// Asks the workers whether they still work. May outlive the proxy: then they don't.
#[derive(Debug, Clone)]
pub struct Pulse(Vec<UnboundedSender<Command>>);

impl Pulse {
    /// Whether all of them come to answer within this time.
    pub fn beats(&self, within: Duration) -> bool {
        let (done, all) = channel::<()>();
        let told = self.0.iter().all(|worker| worker.send(Command::Pulse(done.clone())).is_ok());
        drop(done);
        told && all.recv_timeout(within) == Err(RecvTimeoutError::Disconnected)
    }
}

/// A listener whose sockets are open and not yet handed out.
struct Fresh {
    name: ListenerName,
    open: Open,
    sockets: Vec<std::net::TcpListener>,
}

impl Table {
    /// Whether an open listener is still asked for as it is.
    fn wants(&self, name: &ListenerName, open: &BTreeMap<ListenerName, Open>) -> bool {
        let asked = self.listeners.get(name).and_then(ListenerEntry::address);
        asked.is_some() && asked == open.get(name).map(|open| open.asked)
    }
}

/// Drops tables once nobody else holds them: freeing 10,000 routes takes a millisecond, which no core shall lose.
fn reap(tables: &Receiver<Arc<Table>>) {
    let mut held: Vec<Arc<Table>> = Vec::new();
    loop {
        let received =
            if held.is_empty() { tables.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { tables.recv_timeout(REAP) };
        match received {
            Ok(table) => held.push(table),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        held.retain(|table| Arc::strong_count(table) > 1);
    }
}
