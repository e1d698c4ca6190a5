//! Clients over UDP: each address is asked from a socket that is kept, and from a new one each time.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long an answer may take; and the pause between two questions.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);

/// What they saw.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Datagrams {
    /// Questions that were answered.
    pub answered: u64,
    /// Questions that weren't.
    pub lost: u64,
}

impl fmt::Display for Datagrams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} datagrams answered, {} not", self.answered, self.lost)
    }
}

/// Clients that ask until they are stopped.
pub(super) struct Clients {
    over: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    threads: Vec<JoinHandle<()>>,
}

/// Starts two for each address.
pub(super) fn start(to: &[SocketAddr]) -> Clients {
    let (over, counts) = (Arc::new(AtomicBool::new(false)), Arc::new([AtomicU64::new(0), AtomicU64::new(0)]));
    let clients = to.iter().flat_map(|to| [(*to, false), (*to, true)]);
    let threads = clients.map(|(to, fresh)| {
        let (over, counts) = (over.clone(), counts.clone());
        thread::spawn(move || {
            let mut kept = None;
            while !over.load(Ordering::Relaxed) {
                let answered = ask(to, &mut kept, fresh);
                let [yes, no] = &*counts;
                if answered { yes } else { no }.fetch_add(1, Ordering::Relaxed);
                thread::sleep(PAUSE);
            }
        })
    });
    let threads = threads.collect();
    Clients { over, counts, threads }
}

impl Clients {
    /// Ends them, and gives what they saw.
    pub(super) fn stop(self) -> Datagrams {
        self.over.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        let [answered, lost] = &*self.counts;
        Datagrams { answered: answered.load(Ordering::Relaxed), lost: lost.load(Ordering::Relaxed) }
    }
}

/// Asks agnhost for an echo.
fn ask(to: SocketAddr, kept: &mut Option<UdpSocket>, fresh: bool) -> bool {
    let any: SocketAddr = if to.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = match kept.take().filter(|_| !fresh) {
        Some(socket) => Ok(socket),
        None => UdpSocket::bind(any),
    };
    let Ok(socket) = socket else { return false };
    let mut answer = [0; 16];
    let asked =
        socket.set_read_timeout(Some(PATIENCE)).and_then(|()| socket.connect(to)).and_then(|()| socket.send(b"echo here"));
    let answered = asked.and_then(|_| socket.recv(&mut answer)).is_ok_and(|length| answer.get(..length) == Some(&b"here"[..]));
    *kept = Some(socket);
    answered
}
