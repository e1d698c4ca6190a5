//! A worker: one thread, one current-thread runtime, one core's connections. `Proxy` tells it what to listen on.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;

use ahash::AHashMap;
use rust_ingress_model::ListenerName;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::server::accept::accept;
use crate::server::core::{Core, Shared};
use crate::server::door::Door;
use crate::server::sockets::Sharing;

/// What a worker is told. `done` is dropped when it is.
#[derive(Debug)]
pub enum Command {
    /// Accept on this socket.
    Open {
        /// The listener.
        name: ListenerName,
        /// Its address.
        address: SocketAddr,
        /// The worker's own socket.
        socket: TcpListener,
        /// Dropped when it accepts.
        done: Sender<()>,
    },
    /// Stop accepting; end the listener's connections when their requests have.
    Close {
        /// The listener.
        name: ListenerName,
    },
    /// Let go of the old table.
    Refresh,
    /// Say that it still works, by dropping this.
    Pulse(Sender<()>),
    /// Close all listeners, let requests end for so long, and return.
    Drain(Duration),
}

/// An accept loop.
type Loop = tokio::task::JoinHandle<()>;

/// A worker thread.
#[derive(Debug)]
pub struct Worker {
    commands: UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

impl Worker {
    /// Starts a worker.
    ///
    /// # Errors
    /// The system has no more threads or file descriptors.
    pub fn start(index: usize, shared: Arc<Shared>) -> io::Result<Self> {
        let (commands, receiver) = unbounded_channel();
        let (ready, started) = std::sync::mpsc::channel();
        let thread =
            std::thread::Builder::new().name(format!("proxy-{index}")).spawn(move || {
                match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => {
                        drop(ready);
                        runtime.block_on(work(shared, receiver));
                    }
                    Err(error) => drop(ready.send(error)),
                }
            })?;
        match started.recv() {
            Ok(error) => Err(error),
            Err(_) => Ok(Self { commands, thread }),
        }
    }

    /// Another way to tell it something.
    pub fn commands(&self) -> UnboundedSender<Command> {
        self.commands.clone()
    }

    /// Tells it something. A worker that has ended hears nothing.
    pub fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }

    /// Waits for its end, after [`Command::Drain`].
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("a worker thread ended by a panic");
        }
    }
}

async fn work(shared: Arc<Shared>, mut commands: UnboundedReceiver<Command>) {
    let core = Core::new(shared);
    let mut doors: AHashMap<ListenerName, (Rc<Door>, Loop)> = AHashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Open { name, address, socket, done } => {
                match tokio::net::TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let door = Door::new(name.clone(), address, core.clone());
                        let accepting = tokio::task::spawn_local(accept(door.clone(), socket));
                        doors.insert(name, (door, accepting));
                    }
                    Err(error) => tracing::error!(listener = %name, %error, "a listening socket can't be watched"),
                }
                drop(done);
            }
            Command::Close { name } => {
                if let Some((door, _)) = doors.remove(&name) {
                    door.closed.raise();
                    door.ending.raise();
                }
            }
            Command::Refresh => drop(core.table()),
            Command::Pulse(done) => drop(done),
            Command::Drain(timeout) => {
                drain(&core, doors, timeout).await;
                return;
            }
        }
    }
}

/// Ends connections politely, takes what waits to be accepted, and waits for requests in flight.
async fn drain(core: &Rc<Core>, doors: AHashMap<ListenerName, (Rc<Door>, Loop)>, timeout: Duration) {
    for (door, _) in doors.values() {
        door.succeeded.set(core.shared.options.sharing == Sharing::WithOurselves);
        door.ending.raise();
        door.closed.raise();
    }
    // Connections are counted once the accept loops have emptied their queues.
    for (_, accepting) in doors.into_values() {
        if accepting.await.is_err() {
            tracing::error!("an accept loop ended by a panic");
        }
    }
    if tokio::time::timeout(timeout, core.empty()).await.is_err() {
        let open = core.open_connections();
        tracing::warn!(connections = open, "closed with requests in flight; raise the drain timeout if they must end");
    }
}
