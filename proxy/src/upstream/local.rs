//! What one core keeps between requests: endpoints with their connections, and who is next.
//!
//! Endpoints are kept by address and transport, not by table, so that connections survive a swap and two backends with
//! the same Pods share them. What left the table is dropped when the next one is seen; a task that runs while there
//! are idle connections closes those that are dead, too old, or belong to nobody. Held by `forward`.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ahash::AHashMap;
use rust_ingress_model::backend::Balance;
use rust_ingress_model::{Digest, Discovery};

use super::resolve::Dns;
use super::{Endpoint, Upstream, Upstreams};
use crate::fault::{Kind, RequestFault};
use crate::observe::{Observer, UpstreamMetrics};
use crate::options::Options;

/// What tells endpoints apart: address, transport, and the address that connections come from.
type Place = (SocketAddr, Digest, Option<IpAddr>);

/// A core's endpoints.
pub(crate) struct Local {
    upstreams: RefCell<AHashMap<u64, Rc<LocalUpstream>>>,
    endpoints: RefCell<AHashMap<Place, Rc<Endpoint>>>,
    generation: Cell<u64>,
    sweeping: Cell<bool>,
    dns: Dns,
    idle_most: usize,
    idle_for: Duration,
}

/// A backend as one core sees it.
pub(crate) struct LocalUpstream {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    endpoints: RefCell<Rc<[Rc<Endpoint>]>>,
    /// For round robin.
    next: Cell<usize>,
}

impl Local {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            upstreams: RefCell::default(),
            endpoints: RefCell::default(),
            generation: Cell::new(0),
            sweeping: Cell::new(false),
            dns: Dns::default(),
            idle_most: options.limits.idle_per_endpoint,
            idle_for: options.timeouts.upstream_idle,
        }
    }

    /// Notes which table is in use. Backends that it no longer has are forgotten, and idle connections to endpoints that
    /// nobody names any more are closed. Backends that changed are looked at at once, so that their endpoints stay named.
    pub(crate) fn seen(&self, table: &Upstreams, observer: &Observer) {
        if table.generation <= self.generation.get() {
            return;
        }
        self.generation.set(table.generation);
        let mut old = Vec::new();
        self.upstreams.borrow_mut().retain(|id, local| {
            let same = table.get(&local.upstream.key).is_some_and(|now| now.id == *id);
            if !same {
                old.push(local.clone());
            }
            same
        });
        if old.is_empty() {
            return;
        }
        for now in old.iter().filter_map(|local| table.get(&local.upstream.key)) {
            self.upstream(now, observer);
        }
        drop(old);
        self.endpoints.borrow_mut().retain(|_, endpoint| Rc::strong_count(endpoint) > 1 || endpoint.is_from_source());
    }

    /// This core's view of a backend.
    pub(crate) fn upstream(&self, upstream: &Arc<Upstream>, observer: &Observer) -> Rc<LocalUpstream> {
        if let Some(known) = self.upstreams.borrow().get(&upstream.id) {
            return known.clone();
        }
        let addresses = match &upstream.backend.discovery {
            Discovery::Endpoints(endpoints) => endpoints.iter().map(|endpoint| endpoint.address).collect(),
            Discovery::Dns { .. } | Discovery::Absent(_) => Vec::new(),
        };
        let local = Rc::new(LocalUpstream {
            upstream: upstream.clone(),
            metrics: observer.metrics.upstream(&upstream.key),
            endpoints: RefCell::new(self.endpoints(upstream, &addresses)),
            next: Cell::new(0),
        });
        self.upstreams.borrow_mut().insert(upstream.id, local.clone());
        local
    }

    /// The endpoints of addresses, those known already with their connections.
    fn endpoints(&self, upstream: &Upstream, addresses: &[SocketAddr]) -> Rc<[Rc<Endpoint>]> {
        let mut all = self.endpoints.borrow_mut();
        let transport = &upstream.transport;
        let known = addresses.iter().map(|address| {
            all.entry((*address, transport.digest, None))
                .or_insert_with(|| Rc::new(Endpoint::new(*address, transport.clone(), self.idle_most)))
                .clone()
        });
        known.collect()
    }

    /// An endpoint with the connections to it that come from an address.
    pub(crate) fn of_source(&self, endpoint: &Rc<Endpoint>, source: IpAddr) -> Rc<Endpoint> {
        let place = (endpoint.address, endpoint.transport.digest, Some(source));
        let mut all = self.endpoints.borrow_mut();
        all.entry(place).or_insert_with(|| Rc::new(Endpoint::from_source(endpoint, source))).clone()
    }

    /// The endpoints of a backend now; asks DNS where it must.
    pub(crate) async fn candidates(&self, local: &LocalUpstream) -> Result<Rc<[Rc<Endpoint>]>, RequestFault> {
        match &local.upstream.backend.discovery {
            Discovery::Endpoints(_) => Ok(local.endpoints.borrow().clone()),
            Discovery::Absent(reason) => Err(RequestFault::new(Kind::NoEndpoints, reason.clone())),
            Discovery::Dns { name, port } => {
                let addresses = self.dns.addresses(name).await?;
                let sockets: Vec<_> = addresses.iter().map(|ip| SocketAddr::new(*ip, *port)).collect();
                let known = local.endpoints.borrow().clone();
                if known.len() == sockets.len() && known.iter().zip(&sockets).all(|(one, address)| one.address == *address) {
                    return Ok(known);
                }
                let fresh = self.endpoints(&local.upstream, &sockets);
                *local.endpoints.borrow_mut() = fresh.clone();
                Ok(fresh)
            }
        }
    }

    /// Runs the sweeper while there is anything to sweep. Called when a connection was made.
    pub(crate) fn sweep_later(this: &Rc<Self>) {
        if this.sweeping.replace(true) {
            return;
        }
        let local = Rc::downgrade(this);
        let limit = if this.idle_for.is_zero() { Duration::from_secs(60) } else { this.idle_for };
        let period = (limit / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
        tokio::task::spawn_local(sweeper(local, period));
    }

    /// Closes what is dead, too old or nobody's. Says whether there is anything left to sweep later.
    fn sweep(&self) -> bool {
        let since = if self.idle_for.is_zero() { None } else { Instant::now().checked_sub(self.idle_for) };
        let mut left = false;
        self.endpoints.borrow_mut().retain(|_, endpoint| {
            // Held by nothing else: no backend names it and no request uses it.
            let wanted = Rc::strong_count(endpoint) > 1;
            // Between its requests nobody holds one of a client's address, and its connections are still good.
            let idle = (wanted || endpoint.is_from_source()) && endpoint.sweep(since);
            left |= idle || endpoint.in_flight() > 0;
            wanted || idle
        });
        left
    }
}

async fn sweeper(local: Weak<Local>, period: Duration) {
    loop {
        tokio::time::sleep(period).await;
        let Some(local) = local.upgrade() else { return };
        if !local.sweep() {
            local.sweeping.set(false);
            return;
        }
    }
}

impl Local {
    /// Chooses an endpoint that wasn't tried yet: one that isn't ejected if there is one.
    pub(crate) fn choose(&self, local: &LocalUpstream, all: &[Rc<Endpoint>], tried: &[SocketAddr]) -> Option<Rc<Endpoint>> {
        if let [only] = all {
            return (!tried.contains(&only.address)).then(|| only.clone());
        }
        let count = all.len();
        if count == 0 {
            return None;
        }
        let good = |endpoint: &&Rc<Endpoint>| !tried.contains(&endpoint.address) && !endpoint.ejected();
        let start = match local.upstream.backend.balance {
            Balance::RoundRobin => {
                let next = local.next.get();
                local.next.set(next.wrapping_add(1));
                next % count
            }
            Balance::LeastRequest => {
                let first = fastrand::usize(..count);
                // Another one than the first, each as likely.
                let second = (first + 1 + fastrand::usize(..(count - 1).max(1))) % count;
                match (all.get(first).filter(good), all.get(second).filter(good)) {
                    (Some(one), Some(other)) if other.in_flight() < one.in_flight() => return Some(other.clone()),
                    (Some(one), _) | (None, Some(one)) => return Some(one.clone()),
                    (None, None) => first,
                }
            }
        };
        let from_start = || all.iter().cycle().skip(start).take(count);
        let any = || from_start().find(|endpoint| !tried.contains(&endpoint.address));
        from_start().find(good).or_else(any).cloned()
    }
}
