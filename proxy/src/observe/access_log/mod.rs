//! The access log: a JSON line per exchange, written off the request's path.
//!
//! A worker appends its line to a buffer of its own when the response has ended; a thread takes the buffers, some twenty
//! times a second while there is something, and writes them. A buffer that is full drops lines and counts them: a slow
//! disk never slows a request down. [`crate::observe::Observer`] owns it.

mod line;
mod sink;

use std::cell::RefCell;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Finished, Metrics};
use crate::exchange::Exchange;
use crate::options::AccessLog as Destination;
use sink::Sink;

/// Bytes that wait in one worker's buffer before lines are dropped.
const MAX_WAITING: usize = 4 << 20;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(20);

/// How long the last lines may take to be written when the program stops.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Proxies that one thread logs for; more than one only in tests.
const MAX_LOCALS: usize = 8;

/// One thread's buffers, by log.
type Locals = Vec<(u64, Arc<Mutex<Buffer>>)>;

thread_local! {
    static LOCALS: RefCell<Locals> = const { RefCell::new(Vec::new()) };
}

/// Lines that wait.
#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    records: u64,
}

/// The access log.
#[derive(Debug)]
pub(super) struct AccessLog {
    shared: Arc<Shared>,
    /// Hangs up when the writer has ended.
    ended: Mutex<Receiver<()>>,
    /// The writer's thread, to wake it.
    wake: thread::Thread,
}

#[derive(Debug)]
struct Shared {
    /// Tells this log from another proxy's in the same process.
    id: u64,
    buffers: Mutex<Vec<Arc<Mutex<Buffer>>>>,
    /// Something waits, and the writer knows.
    waiting: AtomicBool,
    closed: AtomicBool,
    metrics: Metrics,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AccessLog {
    /// Opens the destination and starts the writer; `None` for [`Destination::Off`].
    ///
    /// # Errors
    /// The file can't be opened; the message names it.
    pub(super) fn open(destination: &Destination, metrics: &Metrics) -> io::Result<Option<Self>> {
        static IDS: AtomicU64 = AtomicU64::new(0);
        let Some(sink) = Sink::open(destination)? else { return Ok(None) };
        let shared = Arc::new(Shared {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            buffers: Mutex::default(),
            waiting: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            metrics: metrics.clone(),
        });
        let for_writer = shared.clone();
        let (running, ended) = mpsc::channel();
        let write = move || {
            for_writer.write(sink);
            drop(running);
        };
        let wake = thread::Builder::new().name("access-log".into()).spawn(write)?.thread().clone();
        Ok(Some(Self { shared, ended: Mutex::new(ended), wake }))
    }

    /// Appends an exchange's line to this thread's buffer.
    pub(super) fn append(&self, exchange: &Exchange, finished: &Finished, duration: Duration) {
        let on = |locals: &RefCell<Locals>| {
            let mut locals = locals.try_borrow_mut().ok()?;
            if locals.first().is_none_or(|(id, _)| *id != self.shared.id) {
                self.shared.to_front(&mut locals);
            }
            let (_, buffer) = locals.first()?;
            let mut buffer = lock(buffer);
            if buffer.bytes.len() >= MAX_WAITING {
                self.shared.metrics.log_dropped(1);
                return None;
            }
            line::write(&mut buffer.bytes, exchange, finished, duration);
            buffer.records += 1;
            Some(())
        };
        let appended = LOCALS.try_with(on).ok().flatten().is_some();
        if appended && !self.shared.waiting.swap(true, Ordering::AcqRel) {
            self.wake.unpark();
        }
    }

    /// Writes what waits and ends the writer. A reader of standard output that reads no more can't keep the program from
    /// stopping.
    pub(super) fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.wake.unpark();
        if lock(&self.ended).recv_timeout(LAST_WRITE) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the access log's last lines are lost: nobody takes them for {LAST_WRITE:?}");
        }
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.wake.unpark();
    }
}

impl Shared {
    /// Puts this log's buffer of the current thread at the front; makes it when there is none.
    fn to_front(&self, locals: &mut Locals) {
        let local = match locals.iter().position(|(id, _)| *id == self.id) {
            Some(at) => locals.remove(at),
            None => {
                let buffer = Arc::default();
                lock(&self.buffers).push(Arc::clone(&buffer));
                (self.id, buffer)
            }
        };
        locals.truncate(MAX_LOCALS - 1);
        locals.insert(0, local);
    }

    /// The writer: waits, gathers, writes, until the log is closed.
    fn write(&self, mut sink: Sink) {
        let mut spare = Vec::new();
        loop {
            let closed = self.closed.load(Ordering::Acquire);
            if !closed && !self.waiting.swap(false, Ordering::AcqRel) {
                thread::park();
                continue;
            }
            if !closed {
                thread::sleep(GATHER);
            }
            let buffers = lock(&self.buffers).clone();
            for buffer in buffers {
                let records = {
                    let mut buffer = lock(&buffer);
                    mem::swap(&mut buffer.bytes, &mut spare);
                    mem::take(&mut buffer.records)
                };
                if records > 0 {
                    match sink.write(&spare) {
                        Ok(()) => self.metrics.log_written(records),
                        Err(_) => self.metrics.log_dropped(records),
                    }
                }
                spare.clear();
            }
            if closed {
                return;
            }
        }
    }
}
