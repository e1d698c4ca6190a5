//! The status writer: what users see on their objects. `kubectl get ingress` shows where it can be reached, `kubectl describe`
//! what is wrong with it.
//!
//! `cli/run` starts one per program; of all of them only the holder of the Lease writes (`lease`, `elect`). `publish` finds the
//! addresses, `desk` decides which object gets them, `journal` which Events are due, `write` does it, `run` is the loop of all.
//! It is told after each turn of the driver, when what it says of an object is live on this node.

mod address;
mod balancer;
mod bucket;
mod desk;
mod elect;
mod gateway;
mod gateway_service;
mod journal;
mod lease;
mod metrics;
mod node;
mod peers;
mod publish;
mod run;
mod said;
mod write;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use kube::Config;
use tokio::sync::{mpsc, watch};

pub use crate::status::address::{Address, BadAddress};
pub use crate::status::metrics::StatusMetrics;
pub use crate::status::publish::Publish;

use crate::driver::{Published, Subscriber};
use crate::source::cluster::{Seen, client};
use crate::status::elect::Elector;
use crate::status::run::{Context, Turn};

/// What the writer is started with.
pub struct WriterOptions {
    /// How the API server is reached.
    pub config: Config,
    /// What the cluster source has seen.
    pub seen: Seen,
    /// Which addresses to publish.
    pub publish: Publish,
    /// The Lease, in our own namespace.
    pub lease: String,
    /// `POD_NAMESPACE`
    pub namespace: String,
    /// `POD_NAME`; out of a cluster, the host's name.
    pub pod: String,
    /// With the agent: this node's name, and whether what should go through the L7 proxy of this node does.
    pub node: Option<(String, watch::Receiver<Option<bool>>)>,
}

/// A running writer.
pub struct Writer {
    stop: watch::Sender<bool>,
    ended: Receiver<()>,
    metrics: Arc<StatusMetrics>,
}

impl Writer {
    /// Starts standing for election, on a thread of its own. The subscriber is for [`crate::driver::Driver::subscribe`],
    /// before its first turn.
    ///
    /// # Errors
    /// No thread, no runtime, or certificates that can't be used.
    pub fn start(options: WriterOptions) -> io::Result<(Self, Subscriber)> {
        let WriterOptions { config, seen, publish, lease, namespace, pod, node } = options;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let client = {
            let _guard = runtime.enter();
            client(config).map_err(io::Error::other)?
        };
        let metrics = Arc::<StatusMetrics>::default();
        let (stop, stopped) = watch::channel(false);
        let (term, terms) = watch::channel(None);
        let (turns, taken) = mpsc::unbounded_channel();
        let (end, ended) = channel();
        let elector = Elector::new(client.clone(), &namespace, &lease, &pod, term);
        if let Some((name, proxied)) = node {
            runtime.spawn(node::run(client.clone(), name, pod.clone(), proxied));
        }
        let context = Context { client, seen, publish, namespace, pod, metrics: metrics.clone() };
        let work = async move {
            // Only when nothing is written any more may another begin.
            let (written, release) = watch::channel(false);
            let writing = async {
                run::run(context, taken, terms, stopped).await;
                written.send_replace(true);
            };
            tokio::join!(writing, elector.run(release));
        };
        let run = move || {
            runtime.block_on(work);
            if end.send(()).is_err() {
                tracing::debug!("the status writer has ended; nobody waited for it");
            }
        };
        std::thread::Builder::new().name("status".into()).spawn(run)?;
        let subscriber = move |published: &Published<'_>| {
            let Published { status, came, went, .. } = published;
            // A writer that has been stopped takes no more.
            let _stopped = turns.send(Turn { status: (*status).clone(), came: came.to_vec(), went: went.to_vec() });
        };
        Ok((Self { stop, ended, metrics }, Box::new(subscriber)))
    }

    /// What it has counted.
    pub fn metrics(&self) -> Arc<StatusMetrics> {
        self.metrics.clone()
    }

    /// Stops writing, then releases the Lease, so that another takes over at once. Waits for that, at most `limit`.
    pub fn stop(self, limit: Duration) {
        self.stop.send_replace(true);
        if self.ended.recv_timeout(limit).is_err() {
            tracing::warn!("the status writer did not end in time; its Lease runs out by itself");
        }
    }
}
