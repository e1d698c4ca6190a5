//! A successor on the same port, as the next Pod of a DaemonSet on the host network is: it opens the port while the one before
//! still serves; then that one drains.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rust_ingress::child::{Child, ChildOptions};
use rust_ingress::plane::Plane as _;
use rust_ingress_model::{KeyStore, Part, Snapshot};
use rust_ingress_proxy::options::Options;
use rust_ingress_proxy::server::sockets::Sharing;

use crate::support::{Got, endpoint, get, listener, options, snapshot, until};

fn sharing() -> ChildOptions {
    let options = options();
    ChildOptions { proxy: Options { sharing: Sharing::WithOurselves, ..options.proxy.clone() }, ..options }
}

fn on(port: u16, draft: &Snapshot) -> Arc<Snapshot> {
    let mut draft = draft.clone();
    draft.listeners.insert("http".into(), Part::new(listener(port)));
    Arc::new(draft)
}

#[test]
fn rolled_10_times_under_load_nobody_is_refused_or_reset() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let snapshot = on(free.port(), &snapshot(endpoint("here")));
    let begin = || {
        let child = Child::start(sharing()).unwrap();
        assert!(child.publish(snapshot.clone(), &KeyStore::default()).is_empty());
        child
    };
    let (good, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let ask = |address: SocketAddr| {
        let mut bad = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            match get(address, "/") {
                Got::Body(_) => drop(good.fetch_add(1, Ordering::Relaxed)),
                other => bad.push(other),
            }
        }
        bad
    };
    let mut serving = begin();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| ask(free))).collect();
        for _ in 0..10 {
            let next = begin();
            // Both serve for a while, however slow the machine is. Where nobody is served, that shows below.
            let (before, since) = (good.load(Ordering::Relaxed), Instant::now());
            while good.load(Ordering::Relaxed) < before + 20 && since.elapsed() < Duration::from_secs(30) {
                std::thread::sleep(Duration::from_millis(1));
            }
            std::mem::replace(&mut serving, next).stop();
        }
        stop.store(true, Ordering::Relaxed);
        let bad: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        assert!(bad.is_empty(), "{bad:?}");
    });
    serving.stop();
}

#[test]
fn alone_a_second_copy_is_told_that_the_port_is_in_use() {
    let (one, two) = (Child::start(options()).unwrap(), Child::start(options()).unwrap());
    let draft = snapshot(endpoint("here"));
    one.publish(on(0, &draft), &KeyStore::default());
    let port = one.bound()[0].1.port();
    assert_eq!(two.publish(on(port, &draft), &KeyStore::default()).len(), 1);
    one.stop();
    two.stop();
}

/// What the health port says; `None` where nobody has it.
fn ready(address: SocketAddr) -> Option<bool> {
    match get(address, "/readyz") {
        Got::Body(_) => Some(true),
        Got::Answer(_) => Some(false),
        _ => None,
    }
}

#[test]
fn the_health_port_speaks_for_whoever_serves() {
    let draft = snapshot(endpoint("here"));
    let health = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let with_health = || {
        let options = sharing();
        let proxy = Options { health: Some(health), ..options.proxy.clone() };
        Child::start(ChildOptions { proxy, ..options }).unwrap()
    };
    let one = with_health();
    assert_eq!(ready(health), Some(false), "alone, it says that it isn't ready");
    one.publish(on(0, &draft), &KeyStore::default());
    let port = one.bound()[0].1.port();
    let two = with_health();
    assert!((0..50).all(|_| ready(health) == Some(true)), "the successor doesn't speak yet");
    two.publish(on(port, &draft), &KeyStore::default());
    until("the successor has the port too", || two.health_addr().is_some());
    assert!((0..50).all(|_| ready(health) == Some(true)));
    std::thread::scope(|scope| {
        let stopped = scope.spawn(move || one.stop());
        let mut not_ready = 0;
        while !stopped.is_finished() {
            not_ready += usize::from(ready(health) == Some(false));
        }
        // One that was asked in the moment of its closing may still answer.
        assert!(not_ready <= 1, "the one that drains still speaks: {not_ready} times");
    });
    assert_eq!(ready(health), Some(true));
    // Whoever comes before the other serves gets the port when that one is gone.
    two.stop();
    let three = with_health();
    assert_eq!(ready(health), Some(false));
    three.stop();
}
