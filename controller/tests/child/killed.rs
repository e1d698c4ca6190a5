//! The child is killed, again and again: nobody is refused, only what was in flight fails, and the next child has it all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rust_ingress::child::Child;
use rust_ingress::plane::Plane as _;
use rust_ingress_model::KeyStore;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Got, endpoint, get, snapshot, start, until, with_endpoint};

const CLIENTS: usize = 4;

pub fn kill(child: &Child) -> u32 {
    until("a process runs", || child.process().is_some());
    let process = child.process().unwrap();
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    process
}

/// How requests went, over all clients.
#[derive(Default)]
struct Tally {
    good: AtomicUsize,
    broken: AtomicUsize,
    refused: AtomicUsize,
    stop: AtomicBool,
}

impl Tally {
    fn ask(&self, address: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let count = match get(address, "/") {
                Got::Body(_) => &self.good,
                Got::Broken | Got::Answer(_) => &self.broken,
                Got::NoConnection(_) => &self.refused,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
fn killed_20_times_under_load_nobody_is_refused() {
    let child = start();
    child.publish(Arc::new(snapshot(endpoint("here"))), &KeyStore::default());
    let http = child.bound()[0].1;
    let tally = Tally::default();
    let mut times = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| tally.ask(http));
        }
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(50));
            let old = kill(&child);
            let at = Instant::now();
            until("another process runs", || child.process().is_some_and(|new| new != old));
            // In flight when the process died, this one too may fail; what comes after must not.
            assert_eq!(get(http, "/"), Got::Body("here".into()));
            times.push(at.elapsed());
        }
        tally.stop.store(true, Ordering::Relaxed);
    });
    let count = |what: &AtomicUsize| what.load(Ordering::Relaxed);
    times.sort();
    println!(
        "good {}, broken {}, refused {}; serving again after {:?} (median), {:?} (most)",
        count(&tally.good),
        count(&tally.broken),
        count(&tally.refused),
        times[10],
        times[19]
    );
    assert_eq!(count(&tally.refused), 0);
    assert!(count(&tally.broken) <= 20 * CLIENTS, "more failed than were in flight: {}", count(&tally.broken));
    assert!(count(&tally.good) > 20);
    child.stop();
}

#[test]
fn killed_while_snapshots_are_on_their_way_the_last_one_is_live() {
    let child = start();
    let (one, two) = (endpoint("one"), endpoint("two"));
    let first = Arc::new(snapshot(one));
    child.publish(first.clone(), &KeyStore::default());
    let http = child.bound()[0].1;
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..5 {
                std::thread::sleep(Duration::from_millis(30));
                kill(&child);
            }
            stop.store(true, Ordering::Relaxed);
        });
        let mut round = 0;
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            let (to, name) = if round % 2 == 0 { (one, "one") } else { (two, "two") };
            assert!(child.publish(with_endpoint(&first, to), &KeyStore::default()).is_empty());
            match get(http, "/") {
                Got::Body(body) => assert_eq!(body, name),
                Got::Broken => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(child.publish(with_endpoint(&first, two), &KeyStore::default()).is_empty());
    until("the last snapshot is live", || get(http, "/") == Got::Body("two".into()));
    child.stop();
}
