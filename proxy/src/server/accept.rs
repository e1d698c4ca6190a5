//! The accept stage: one loop per worker and listener. A connection is counted, or turned away, and then runs by itself.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rust_ingress_model::ListenerName;
use tokio::net::{TcpListener, TcpStream};

use crate::observe::ListenerMetrics;
use crate::server::connection;
use crate::server::core::Core;
use crate::server::signal::Signal;

/// How long accepting pauses when the system refuses it (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// A listener on one core.
pub struct Door {
    /// The listener's name: its entry is looked up in the table for every connection and request.
    pub name: ListenerName,
    /// Where it listens.
    pub address: SocketAddr,
    /// The core.
    pub core: Rc<Core>,
    /// This core's counters for the listener.
    pub metrics: Arc<ListenerMetrics>,
    /// Raised: no more connections.
    pub closed: Rc<Signal>,
    /// Raised: its connections end when their requests have.
    pub ending: Rc<Signal>,
}

impl Door {
    /// A listener on this core.
    pub fn new(name: ListenerName, address: SocketAddr, core: Rc<Core>) -> Rc<Self> {
        let metrics = core.shared.observer.metrics.listener(&name);
        Rc::new(Self { name, address, core, metrics, closed: Rc::default(), ending: Rc::default() })
    }

    /// Accepts until closed; then takes what waits in the kernel's queue, because closing the socket would reset it.
    pub async fn accept(self: Rc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.closed.raised() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.enter(stream, peer),
                Err(error) if connection_died(&error) => {}
                Err(error) => {
                    tracing::warn!(listener = %self.name, %error, "can't accept; check the limit on open files (ulimit -n)");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        let Ok(listener) = listener.into_std() else { return };
        while let Ok((stream, peer)) = listener.accept() {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                self.enter(stream, peer);
            }
        }
    }

    fn enter(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr) {
        match self.core.admit(peer.ip().to_canonical(), &self.metrics) {
            Ok(permit) => drop(tokio::task::spawn_local(connection::run(self.clone(), stream, peer, permit))),
            Err(why) => self.metrics.rejected(why),
        }
    }
}

/// Errors of a connection that went away before it was accepted (accept(2)).
fn connection_died(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
