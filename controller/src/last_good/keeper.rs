//! Writes the last good state: on a thread of its own, at most every few seconds, and at the end.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rust_ingress_model::{KeyStore, Snapshot};

use super::store::Store;
use crate::driver::{Published, Subscriber};

/// Least time between two writes: disks wear out, and of a rollout's snapshots only the last matters.
const PAUSE: Duration = Duration::from_secs(5);

/// The thread that writes.
pub struct Keeper {
    desk: Arc<Desk>,
    thread: JoinHandle<()>,
}

/// Where what is to be written waits.
#[derive(Default)]
struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Option<(Arc<Snapshot>, KeyStore)>,
    stop: bool,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start(store: Store) -> io::Result<Self> {
        let desk = Arc::<Desk>::default();
        let writing = desk.clone();
        let thread = std::thread::Builder::new().name("last-good".into()).spawn(move || writing.write(&store))?;
        Ok(Self { desk, thread })
    }

    /// Tells the keeper of each snapshot that is live; for [`crate::driver::Driver::subscribe`].
    pub fn subscriber(&self) -> Subscriber {
        let desk = self.desk.clone();
        let mut last: Option<Arc<Snapshot>> = None;
        Box::new(move |published: &Published<'_>| {
            if last.as_ref().is_none_or(|last| !Arc::ptr_eq(last, published.snapshot)) {
                last = Some(published.snapshot.clone());
                desk.change(|state| state.waiting = Some((published.snapshot.clone(), published.keys.clone())));
            }
        })
    }

    /// Writes what waits, and ends.
    pub fn stop(self) {
        self.desk.change(|state| state.stop = true);
        if self.thread.join().is_err() {
            tracing::error!("the thread that writes the last good state ended by a panic");
        }
    }
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn write(&self, store: &Store) {
        let mut not_before = Instant::now();
        while let Some((snapshot, keys)) = self.next(not_before) {
            if let Err(error) = store.save(&snapshot, &keys) {
                let folder = store.folder().display();
                tracing::error!(%folder, %error, "the last good state can't be written; check the disk and the folder's owner");
            }
            not_before = Instant::now() + PAUSE;
        }
    }

    /// What is to be written, once it is time; `None` at the end.
    fn next(&self, not_before: Instant) -> Option<(Arc<Snapshot>, KeyStore)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let early = not_before.checked_duration_since(Instant::now()).filter(|early| !early.is_zero());
            if state.stop || (state.waiting.is_some() && early.is_none()) {
                return state.waiting.take();
            }
            let most = if state.waiting.is_some() { early } else { None }.unwrap_or(Duration::MAX);
            state = self.changed.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
