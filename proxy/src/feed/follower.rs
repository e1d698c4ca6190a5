//! The child's side: starts the proxy, makes each update live, and answers. Called by the program's subcommand `proxy`.

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use rust_ingress_model::{KeyStore, Snapshot};

use super::FeedError;
use super::handed::Handed;
use super::message::{Answer, AnswerSender, Order, OrderReader, Start, Update};
use super::pulse::Heart;
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
    let followed = follower.answer(&Answer::Started).and_then(|()| follower.follow(&mut orders));
    follower.heart.serves(false);
    let observer = follower.proxy.observer();
    observer.set_standing(Standing { draining: true, ..Standing::clone(&observer.standing()) });
    // It goes on beating for as long as requests end.
    follower.proxy.stop();
    follower.heart.stop();
    followed
}

struct Follower {
    proxy: Proxy,
    handed: Handed,
    answers: Arc<Mutex<AnswerSender>>,
    heart: Heart,
    snapshot: Arc<Snapshot>,
    keys: KeyStore,
}

impl Follower {
    fn start(start: Start, ports: Ports, answers: AnswerSender) -> Result<Self, FeedError> {
        let handed = Handed::default();
        let proxy = Proxy::start_on(start.options, ports, Box::new(handed.clone()))?;
        let answers = Arc::new(Mutex::new(answers));
        let heart = Heart::start(proxy.pulse(), answers.clone())?;
        Ok(Self { proxy, handed, answers, heart, snapshot: Arc::default(), keys: KeyStore::default() })
    }

    fn answer(&self, answer: &Answer) -> Result<(), FeedError> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).send(answer)
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
                    if matches!(answer, Answer::Live { .. }) {
                        self.heart.serves(true);
                    }
                    self.answer(&answer)?;
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
