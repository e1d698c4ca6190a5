//! The accept stage: one loop per worker and listener. A connection is counted, or turned away, and then runs by itself.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::server::connection;
use crate::server::door::Door;

/// How long accepting pauses when the system refuses it (no file descriptors left).
const PAUSE: Duration = Duration::from_millis(50);

/// How long a handshake under way may take when its listener closes: a round trip to the other side of the world.
const HANDSHAKES: Duration = Duration::from_millis(250);

/// Accepts until closed; then takes what waits in the kernel's queue, because closing the socket would reset it.
pub async fn accept(door: Rc<Door>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = door.closed.raised() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => enter(&door, stream, peer),
            Err(error) if connection_died(&error) => {}
            Err(error) => {
                tracing::warn!(listener = %door.name, %error, "can't accept; check the limit on open files (ulimit -n)");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    if door.succeeded.get() {
        finish_handshakes(&door, &listener).await;
    }
    let Ok(listener) = listener.into_std() else { return };
    while let Ok((stream, peer)) = listener.accept() {
        if stream.set_nonblocking(true).is_ok()
            && let Ok(stream) = TcpStream::from_std(stream)
        {
            enter(&door, stream, peer);
        }
    }
}

/// Accepts those whose handshake has begun. Nobody begins another one here, those reach the successor: the process that opened
/// the socket sees to that with [`crate::server::sockets::refuse_new`].
async fn finish_handshakes(door: &Rc<Door>, listener: &TcpListener) {
    let accepting = async {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => enter(door, stream, peer),
                Err(error) if connection_died(&error) => {}
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    let _ = tokio::time::timeout(HANDSHAKES, accepting).await;
}

/// Counts a connection in and lets it run, or turns it away.
fn enter(door: &Rc<Door>, stream: TcpStream, peer: SocketAddr) {
    match door.core.admit(peer.ip().to_canonical(), &door.metrics) {
        Ok(permit) => drop(tokio::task::spawn_local(connection::run(door.clone(), stream, peer, permit))),
        Err(why) => door.metrics.rejected(why),
    }
}

/// Errors of a connection that went away before it was accepted (accept(2)).
fn connection_died(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
