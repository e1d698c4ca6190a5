//! What a connection and a request cost in memory: sizes of their futures, and how soon 10,000 routes are live.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use rust_ingress_model::{HostPattern, PathMatch};
use rust_ingress_proxy::Proxy;

use crate::support::{Draft, Echo, options, rule};

fn of_two<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
    size_of::<F>()
}

fn of_four<A, B, C, D, F>(_: impl Fn(A, B, C, D) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn futures_stay_small() {
    let request = of_two(rust_ingress_proxy::lifecycle::serve);
    let connection = of_four(rust_ingress_proxy::server::connection::run);
    let relay = of_four(rust_ingress_proxy::relay::run);
    // Kept once per connection by hyper, idle or not, and moved for every request.
    assert!(request <= 5440, "a request's future is {request} bytes");
    assert!(connection <= 2688, "a connection's future is {connection} bytes");
    // Kept once per connection while it serves plain requests, idle or not.
    assert!(relay <= 3584, "the relay's future is {relay} bytes");
}

#[test]
fn a_change_among_many_routes_costs_the_change() {
    let echo = Echo::new();
    let mut draft = Draft::to(echo.address);
    for host in 0..1000 {
        let rules = (0..10).map(|path| rule(PathMatch::Prefix(format!("/p{path}").into()))).collect();
        draft = draft.host(HostPattern::Exact(format!("h{host}.example").into()), rules);
    }
    let proxy = Proxy::start(options()).unwrap();
    let live = |draft: &Draft| {
        let snapshot = Arc::new(draft.snapshot.clone());
        let start = std::time::Instant::now();
        assert!(proxy.publish(snapshot, &draft.keys).is_empty());
        start.elapsed()
    };
    let first = live(&draft);
    let changed = (0..20).map(|round| {
        let rules = vec![rule(PathMatch::Prefix(format!("/new{round}").into()))];
        live(&draft.clone().host(HostPattern::Exact("h7.example".into()), rules))
    });
    let changed = changed.min().unwrap_or(Duration::MAX);
    println!("10,000 routes: first {first:?}, one host changed {changed:?}");
    assert!(changed < Duration::from_secs(1), "{changed:?}");
}
