//! The servers of all those ports, on a thread and a runtime of their own, in the agent's network namespace.
//!
//! A port in use (kube-proxy is still there) is tried again every second, with one warning; it never stops the agent.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tower::{BoxError, service_fn};

use super::answers::{Port, answer};
use super::{Health, Ports};
use crate::observe::serve;

/// How long a port that can't be bound is left alone.
const AGAIN: Duration = Duration::from_secs(1);

/// What is served where.
type Places = BTreeMap<SocketAddr, Port>;

/// The running servers.
#[derive(Debug)]
pub(in crate::agent) struct Server {
    fixed: Places,
    places: Option<watch::Sender<Places>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts them on the fixed ports.
    pub fn start(ports: &Ports, health: Arc<Health>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let fixed: Places = [(ports.health, Port::Health), (ports.status, Port::Status)]
            .into_iter()
            .filter_map(|(address, port)| Some((address?, port)))
            .collect();
        let (places, wanted) = watch::channel(fixed.clone());
        let run = move || runtime.block_on(follow(wanted, health));
        let thread = thread::Builder::new().name("l4-health".into()).spawn(run)?;
        Ok(Self { fixed, places: Some(places), thread: Some(thread) })
    }

    /// Serves healthCheckNodePorts at these addresses from now on, and at no others.
    pub fn check_at(&self, addresses: &[SocketAddr]) {
        let mut wanted = self.fixed.clone();
        wanted.extend(addresses.iter().map(|address| (*address, Port::Check(address.port()))));
        if let Some(places) = &self.places {
            places.send_if_modified(|places| {
                let differ = *places != wanted;
                *places = wanted;
                differ
            });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.places.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of the node agent's health ports died");
        }
    }
}

/// Opens and closes ports as they are wanted, until nobody wants any.
async fn follow(mut wanted: watch::Receiver<Places>, health: Arc<Health>) {
    let mut open: BTreeMap<SocketAddr, AbortHandle> = BTreeMap::new();
    loop {
        let places = wanted.borrow_and_update().clone();
        open.retain(|address, server| {
            let stays = places.contains_key(address);
            if !stays {
                server.abort();
            }
            stays
        });
        for (address, port) in places {
            open.entry(address).or_insert_with(|| tokio::spawn(one(address, port, health.clone())).abort_handle());
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// One port, as soon as it can be bound.
async fn one(address: SocketAddr, port: Port, health: Arc<Health>) {
    let mut warned = false;
    let listener = loop {
        match bind(address) {
            Ok(listener) => break listener,
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    tracing::warn!(
                        "{address}: {error}; what the node agent would serve there isn't, and is tried again every second. Is kube-proxy still running?"
                    );
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let answers = service_fn(move |request: Request<Incoming>| {
        ready(Ok::<_, Infallible>(answer(&health, port, request.uri().path())).map_err(BoxError::from))
    });
    serve("node agent's health", listener, answers).await;
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).or_else(|error| match address.ip() {
        // A node without IPv6 still has all of its IPv4 addresses.
        IpAddr::V6(ip) if ip.is_unspecified() && error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
        }
        _ => Err(error),
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
