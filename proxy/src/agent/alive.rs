//! Whether the L7 proxy of this node is alive, as the kernel is told: refreshed by whoever hears of the proxy.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::health::Metrics;
use super::nft::Switch;

/// Tells the kernel of the proxy. Clones are the same.
#[derive(Clone)]
pub struct Alive(Arc<Inner>);

struct Inner {
    switch: Mutex<Switch>,
    /// Whether the tables are ours, and have Services that go through the proxy.
    wanted: AtomicBool,
    /// Whether the kernel was told last that the proxy is alive.
    told: AtomicBool,
    /// The same for others, but for ends that were asked for; `None` at first.
    said: watch::Sender<Option<bool>>,
    metrics: Metrics,
}

impl Alive {
    pub(super) fn new(switch: Switch, metrics: Metrics) -> Self {
        let (wanted, told) = (AtomicBool::new(false), AtomicBool::new(false));
        Self(Arc::new(Inner { switch: Mutex::new(switch), wanted, told, said: watch::Sender::new(None), metrics }))
    }

    /// The proxy is ready, and its workers answer. To be said every 250 ms: after a second of silence the kernel takes new
    /// connections to the endpoints by itself.
    pub fn refresh(&self) {
        if !self.0.wanted.load(Relaxed) {
            return;
        }
        match self.switch().refresh() {
            Ok(()) => {
                if !self.0.told.swap(true, Relaxed) {
                    self.0.metrics.l7_alive(true);
                    self.0.said.send_replace(Some(true));
                    tracing::info!("Services with the annotation rust-ingress.dev/l7 go through the proxy of this node");
                }
            }
            // Tables that are being written anew, or another agent's: the next beat finds them.
            Err(error) => tracing::debug!(%error, "the kernel can't be told that the proxy is alive"),
        }
    }

    /// The proxy is gone, or says nothing, and nobody asked it to.
    pub fn lose(&self) {
        if self.is_alive() {
            self.0.metrics.l7_lost();
            self.0.said.send_replace(Some(false));
            tracing::warn!("the proxy of this node doesn't answer: Services that go through it are carried by the kernel alone");
            self.end();
        }
    }

    /// The proxy is about to go: new connections needn't wait for the second to pass.
    pub fn end(&self) {
        if !self.0.told.swap(false, Relaxed) {
            return;
        }
        self.0.metrics.l7_alive(false);
        if self.0.wanted.load(Relaxed)
            && let Err(error) = self.switch().end()
        {
            tracing::debug!(%error, "the kernel can't be told that the proxy is gone; it finds out within a second");
        }
    }

    /// Whether the kernel was told last that the proxy is alive.
    pub fn is_alive(&self) -> bool {
        self.0.told.load(Relaxed)
    }

    /// Whether Services go through the proxy, as soon as that changes; not said of a proxy that was asked to end. `None` until they do.
    pub fn watch(&self) -> watch::Receiver<Option<bool>> {
        self.0.said.subscribe()
    }

    /// So many frontends go through the proxy, as far as the tables are ours: without any, refreshing is of no use.
    pub(super) fn want(&self, frontends: usize) {
        self.0.wanted.store(frontends > 0, Relaxed);
        self.0.metrics.through_l7(frontends);
        if frontends == 0 && self.0.told.swap(false, Relaxed) {
            self.0.metrics.l7_alive(false);
        }
    }

    pub(super) fn port(&self) -> u32 {
        self.switch().port()
    }

    fn switch(&self) -> MutexGuard<'_, Switch> {
        self.0.switch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Alive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alive").field("told", &self.is_alive()).finish_non_exhaustive()
    }
}
