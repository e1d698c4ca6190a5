//! The child's pulse: says on the feed, several times a second, that every worker answers. Nothing is said for a worker that hangs.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::message::{Answer, AnswerSender};
use crate::proxy::Pulse;

/// How often it beats: four times within what the kernel takes for a sign of life (DESIGN.md, decision 8).
const BEAT: Duration = Duration::from_millis(250);
/// How long a worker may take to come to answer.
const WITHIN: Duration = Duration::from_millis(500);

/// The thread that says it.
pub(super) struct Heart {
    serves: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Heart {
    /// Starts it.
    pub(super) fn start(pulse: Pulse, answers: Arc<Mutex<AnswerSender>>) -> std::io::Result<Self> {
        let (serves, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (says, ends) = (serves.clone(), end.clone());
        let beat = move || {
            while !ends.load(Relaxed) {
                if pulse.beats(WITHIN) {
                    let said = answers
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .send(&Answer::Alive { serves: says.load(Relaxed) });
                    if said.is_err() {
                        return;
                    }
                }
                thread::sleep(BEAT);
            }
        };
        let thread = thread::Builder::new().name("pulse".into()).spawn(beat)?;
        Ok(Self { serves, end, thread })
    }

    /// Whether something is live, and not about to end.
    pub(super) fn serves(&self, serves: bool) {
        self.serves.store(serves, Relaxed);
    }

    /// Ends it.
    pub(super) fn stop(self) {
        self.end.store(true, Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the pulse died");
        }
    }
}
