//! Drift: the kernel tells everybody who listens of each change to nf_tables. One that is in our tables and not ours is repaired.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rust_ingress_model::l4::ruleset::TABLE;
use rustix::io::Errno;

use super::netlink::{Message, Netlink, attributes, messages};
use super::state::State;
use super::{AGAIN, StartError, lock};

/// NFNLGRP_NFTABLES, as a bit.
const GROUP: u32 = 1 << (7 - 1);
/// The subsystem of nf_tables in a message's kind.
const NF_TABLES: u16 = 10;
/// NFT_MSG_NEWGEN: the end of a transaction, and nothing of a table.
const NEW_GENERATION: u16 = 15;
/// How often the thread looks whether it shall end.
const TICK: Duration = Duration::from_millis(100);
/// A flush is thousands of messages; they are repaired together.
const CALM: Duration = Duration::from_millis(20);

/// The thread that listens.
#[derive(Debug)]
pub(super) struct Watch {
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts it in the network namespace of this thread; the ports are ours, of which nothing is heard.
    pub fn start(state: Arc<Mutex<State>>, ports: [u32; 2]) -> Result<Self, StartError> {
        let netlink = Netlink::open(GROUP).map_err(StartError::Netlink)?;
        netlink.ignore(ports).map_err(StartError::Netlink)?;
        netlink.give_up_after(TICK).map_err(StartError::Netlink)?;
        let end = Arc::new(AtomicBool::new(false));
        let watched = end.clone();
        let run = move || listen(&netlink, &state, &watched);
        let thread = thread::Builder::new().name("l4-drift".into()).spawn(run).map_err(StartError::Thread)?;
        Ok(Self { end, thread: Some(thread) })
    }

    /// Ends it.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches the kernel's tables died");
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

fn listen(netlink: &Netlink, state: &Mutex<State>, end: &AtomicBool) {
    let mut buffer = Vec::new();
    let mut drifted = false;
    let mut tried = Instant::now();
    while !end.load(Ordering::Relaxed) {
        match netlink.hear(&mut buffer) {
            Ok(bytes) => {
                drifted |= messages(bytes).any(|message| is_ours(&message));
                if !drifted {
                    continue;
                }
                // The rest of the same transaction is here at once.
                thread::sleep(CALM);
                while netlink.hear_at_once(&mut buffer).is_ok() {}
            }
            // Some of it was lost: it may have been of our tables.
            Err(Errno::NOBUFS) => drifted = true,
            Err(Errno::AGAIN) => {}
            Err(error) => {
                tracing::warn!(error = %io::Error::from(error), "changes to the kernel's tables can't be heard of");
                thread::sleep(AGAIN);
            }
        }
        if std::mem::take(&mut drifted) {
            lock(state).drifted();
            tried = Instant::now();
        } else if tried.elapsed() >= AGAIN {
            let mut state = lock(state);
            state.settle();
            state.look_at_addresses();
            tried = Instant::now();
        }
    }
}

/// Whether a message tells of a change to our tables.
fn is_ours(message: &Message<'_>) -> bool {
    if message.kind >> 8 != NF_TABLES || message.kind & 0xff == NEW_GENERATION {
        return false;
    }
    // The first attribute of every such message is the table's name.
    attributes(message.attributes()).any(|attribute| attribute.kind == 1 && attribute.text() == Some(TABLE))
}
