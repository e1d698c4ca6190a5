//! The child's side: starts the proxy, makes each update live, and answers. Called by the program's subcommand `proxy`.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rust_ingress_model::{KeyStore, Snapshot};

use super::FeedError;
use super::handed::Handed;
use super::message::{Answer, AnswerSender, Order, OrderReader, Start, Update};
use crate::observe::{Ports, Standing, Unavailable};
use crate::proxy::{Proxy, PublishFault};

/// Serves what comes over the stream until the parent says stop, or is gone; then drains. Returns when that is done.
///
/// # Errors
/// The first order isn't to start, the proxy can't be started, or the stream is broken.
pub fn follow(stream: UnixStream) -> Result<(), FeedError> {
    let mut orders = OrderReader::new(stream.try_clone()?);
    let (start, ports) = match orders.receive()? {
        Some(Order::Start(start, ports)) => (start, ports),
        // The parent died before it said anything.
        None => return Ok(()),
        Some(_) => return Err(FeedError::Message("the first order must be to start".into())),
    };
    let mut follower = Follower::start(*start, ports, AnswerSender::new(stream))?;
    let followed = follower.answers.send(&Answer::Started).and_then(|()| follower.follow(&mut orders));
    let observer = follower.proxy.observer();
    observer.set_standing(Standing { draining: true, ..Standing::clone(&observer.standing()) });
    follower.proxy.stop();
    followed
}

struct Follower {
    proxy: Proxy,
    handed: Handed,
    answers: AnswerSender,
    snapshot: Arc<Snapshot>,
    keys: KeyStore,
}

impl Follower {
    fn start(start: Start, ports: Ports, answers: AnswerSender) -> Result<Self, FeedError> {
        let handed = Handed::default();
        let proxy = Proxy::start_on(start.options, ports, Box::new(handed.clone()))?;
        Ok(Self { proxy, handed, answers, snapshot: Arc::default(), keys: KeyStore::default() })
    }

    fn follow(&mut self, orders: &mut OrderReader) -> Result<(), FeedError> {
        while let Some(order) = orders.receive()? {
            match order {
                Order::Standing(standing) => self.proxy.observer().set_standing(standing),
                Order::Sockets(handover, sockets) => self.handed.put(handover, sockets),
                Order::Keys(pairs) => {
                    pairs.into_iter().for_each(|(fingerprint, pair)| self.keys.insert_as(fingerprint, pair));
                }
                Order::Update(update) => {
                    let answer = self.update(*update);
                    self.answers.send(&answer)?;
                }
                Order::Health(socket) => self.proxy.observer().serve_health(socket),
                Order::Stop => return Ok(()),
                Order::Start(..) => return Err(FeedError::Message("a second order to start".into())),
            }
        }
        tracing::warn!("the parent process is gone; draining, and ending: the next one opens sockets of its own");
        Ok(())
    }

    fn update(&mut self, update: Update) -> Answer {
        let Update { sequence, digest: expected, whole, difference } = update;
        let mut snapshot = if whole { Snapshot::default() } else { Snapshot::clone(&self.snapshot) };
        difference.apply(&mut snapshot);
        let digest = snapshot.digest().to_string();
        if digest != expected {
            return Answer::Refused { sequence, digest, whole };
        }
        let snapshot = Arc::new(snapshot);
        self.handed.retain(&snapshot);
        // Keys that nothing names any more are zeroed now, but for those that the table before still holds.
        let mut keys = KeyStore::default();
        for fingerprint in snapshot.certificates.keys() {
            if let Some(pair) = self.keys.get(fingerprint) {
                keys.insert_as(*fingerprint, pair.clone());
            }
        }
        self.keys = keys;
        self.snapshot = snapshot.clone();
        let faults = self.proxy.publish(snapshot, &self.keys);
        let unavailable = faults.into_iter().map(|PublishFault { listener, address, error }| Unavailable {
            listener,
            address,
            error: error.to_string(),
        });
        Answer::Live { sequence, unavailable: unavailable.collect() }
    }
}
