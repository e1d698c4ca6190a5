//! One packet of a path: who sends it, to where, and which node does something to it.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Rig;
use crate::cluster::{Node, Place};

/// Source ports, one for each packet: conntrack knows a flow again by it.
static PORTS: AtomicU16 = AtomicU16::new(40_000);

/// How long a change may take from the API server to a node, on a slow machine.
pub const SOON: Duration = Duration::from_secs(10);

/// Who sends.
pub enum Sender {
    /// A Pod, by namespace and `kubectl exec`'s name for it.
    Pod { namespace: &'static str, pod: String },
    /// The outside world.
    Outside,
}

/// Its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// A packet.
pub struct Packet<'a> {
    pub sender: &'a Sender,
    pub transport: Transport,
    pub from: SocketAddr,
    pub to: SocketAddr,
    /// The node that translates it, if any does.
    pub node: Node,
}

impl<'a> Packet<'a> {
    pub fn new(sender: &'a Sender, transport: Transport, from: IpAddr, to: SocketAddr, node: Node) -> Self {
        let port = PORTS.fetch_add(1, Ordering::Relaxed);
        Self { sender, transport, from: SocketAddr::new(from, port), to, node }
    }

    /// In the form that `agent explain` reads.
    pub fn text(&self) -> String {
        format!("{} {} -> {}", self.transport.name(), self.from, self.to)
    }

    /// Sends it until it is answered, as endpoints that have just become ready are on their way to the node; what the far end
    /// says its source was.
    pub fn send(&self, rig: &Rig<'_>) -> Result<SocketAddr> {
        let begin = Instant::now();
        loop {
            match self.send_once(rig) {
                Err(_) if begin.elapsed() < SOON => std::thread::sleep(Duration::from_millis(100)),
                said => return said,
            }
        }
    }

    /// Sends it once.
    pub fn send_once(&self, rig: &Rig<'_>) -> Result<SocketAddr> {
        let port = self.from.port();
        let line = match self.transport {
            Transport::Tcp => format!("curl -sS -m 5 --local-port {port} http://{}/clientip", self.to),
            Transport::Udp => {
                format!(
                    "printf clientip | nc -u -w 2 -s {} -p {port} {} {} | head -c 64",
                    self.from.ip(),
                    self.to.ip(),
                    self.to.port()
                )
            }
        };
        let said = match self.sender {
            Sender::Pod { namespace, pod } => rig.cluster.kubectl(&["-n", namespace, "exec", pod, "--", "sh", "-c", &line]),
            Sender::Outside => rig.cluster.run(Place::Wan, &["sh", "-c", &line]),
        }?;
        ensure!(!said.trim().is_empty(), "no answer");
        said.trim().parse().with_context(|| format!("the far end answered {said:?}"))
    }
}
