//! NodePorts at 127.0.0.1 and ::1, for programs of the node itself (KEP-6032): TCP, carried by a process.
//!
//! In the kernel it would take `route_localnet`, which lets neighbours on the network reach what listens on loopback only
//! (CVE-2020-8558). So the rules redirect connections from loopback to a NodePort to a port of ours there, and what comes in is carried to the
//! same NodePort at the node's own address: endpoints, policies and affinity are chosen by the rules for it. The endpoint sees
//! the node's address.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rust_ingress_model::l4::{Family, LoopbackPorts};
use socket2::SockRef;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

/// How many connections are carried at a time.
const MOST: usize = 4096;
/// How long connecting to the node's own address may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long is waited after a connection that couldn't be accepted.
const AGAIN: Duration = Duration::from_millis(100);

/// The running relay. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Localhost {
    ports: LoopbackPorts,
    /// The node's addresses that NodePorts are served on.
    to: Arc<Mutex<Vec<IpAddr>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Localhost {
    /// Opens these ports at 127.0.0.1 and, where there is IPv6, at ::1; others where a predecessor that ends has them still.
    ///
    /// # Errors
    /// No port, no thread.
    pub fn start(wanted: LoopbackPorts) -> io::Result<Self> {
        let v4 = bind(Ipv4Addr::LOCALHOST.into(), wanted.v4)?;
        let v6 = wanted.v6.and_then(|port| bind(Ipv6Addr::LOCALHOST.into(), port).ok());
        let port = |listener: &TcpListener| Ok::<_, io::Error>(listener.local_addr()?.port());
        let ports = LoopbackPorts { v4: port(&v4)?, v6: v6.as_ref().map(port).transpose()? };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let to = Arc::<Mutex<Vec<IpAddr>>>::default();
        let (stop, stopped) = oneshot::channel();
        let (listeners, known) = ([Some(v4), v6], to.clone());
        let run = move || {
            runtime.block_on(async {
                let room = Arc::new(Semaphore::new(MOST));
                for listener in listeners.into_iter().flatten() {
                    tokio::spawn(accept(listener, known.clone(), room.clone()));
                }
                // Ends also when who would send is gone.
                let _ = stopped.await;
            });
        };
        let thread = thread::Builder::new().name("l4-localhost".into()).spawn(run)?;
        Ok(Self { ports, to, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the rules are to send connections.
    pub fn ports(&self) -> LoopbackPorts {
        self.ports
    }

    /// NodePorts are served at these addresses from now on.
    pub fn carry_to(&self, addresses: Vec<IpAddr>) {
        *self.to.lock().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

impl Drop for Localhost {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that carries NodePorts from loopback died");
        }
    }
}

fn bind(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let listener = TcpListener::bind((address, port)).or_else(|_| TcpListener::bind((address, 0)))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: TcpListener, to: Arc<Mutex<Vec<IpAddr>>>, room: Arc<Semaphore>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "NodePorts aren't carried from loopback"),
    };
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((client, _)) => {
                let addresses = to.lock().unwrap_or_else(PoisonError::into_inner).clone();
                tokio::spawn(async move {
                    if let Err(error) = carry(client, &addresses).await {
                        tracing::debug!(%error, "a connection from loopback to a NodePort ended");
                    }
                    drop(place);
                });
            }
            // No more files, mostly: those that are open end some time.
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Carries a connection until both sides have closed. One that can't be is reset: an end without an answer would look like one.
async fn carry(mut client: TcpStream, addresses: &[IpAddr]) -> io::Result<()> {
    let mut node = match connect(&client, addresses).await {
        Ok(node) => node,
        Err(error) => {
            SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
            return Err(error);
        }
    };
    client.set_nodelay(true)?;
    node.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut node).await.map(drop)
}

/// To the same NodePort at the node's own address.
async fn connect(client: &TcpStream, addresses: &[IpAddr]) -> io::Result<TcpStream> {
    let own = client.local_addr()?;
    let asked = asked(client, own)?;
    let address = addresses.iter().find(|address| Family::of(**address) == Family::of(own.ip()));
    let address = address.ok_or_else(|| io::Error::other("no NodePorts are served in this family"))?;
    let connect = TcpStream::connect(SocketAddr::new(*address, asked.port()));
    tokio::time::timeout(PATIENCE, connect).await.map_err(io::Error::from).flatten()
}

/// Where the client connected to before the redirect. Who asks the port itself gets nothing: it would be carried to itself.
fn asked(client: &TcpStream, own: SocketAddr) -> io::Result<SocketAddr> {
    let socket = SockRef::from(client);
    let asked = if own.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
    let asked = asked?.as_socket().filter(|asked| asked.port() != own.port());
    asked.ok_or_else(|| io::Error::other("it wasn't redirected"))
}
