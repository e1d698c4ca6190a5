//! `bench routes`: what one lookup in the route index costs.
//!
//! Random hits over every host and path, one rule in ten with a header match. CPU time of this thread, the least of many
//! batches: other load on the machine only adds.

use std::hint::black_box;

use anyhow::{Result, ensure};
use rust_ingress_model::head::PlainHead;
use rust_ingress_model::route::{TextMatch, ValueMatch};
use rust_ingress_model::{
    HostPattern, ObjectRef, PathMatch, RouteIndex, RouteMatch, RouteSet, Rule, Timeouts, VirtualHost, digest::Part,
};
use rustix::time::{ClockId, clock_gettime};

use super::{Figure, Report};

const BATCH: usize = 4096;
const BATCHES: usize = 1000;

/// Routes, hosts that they stand on, and the most nanoseconds that a lookup may take.
const SIZES: [(usize, usize, f64); 4] =
    [(10_000, 1_000, 200.0), (10_000, 1, 200.0), (100_000, 10_000, 350.0), (100_000, 1, 350.0)];

/// Measures every size.
pub fn run() -> Result<Report> {
    let figures = SIZES.iter().map(|(routes, hosts, limit)| measure(*routes, *hosts, *limit)).collect::<Result<_>>()?;
    Ok(Report {
        name: "routes",
        columns: vec!["build ms".into()],
        value: "ns per lookup",
        figures,
        notes: vec![format!(
            "Thread CPU time per lookup, host → path → header, random hits; the least of {BATCHES} batches of {BATCH}."
        )],
    })
}

fn measure(routes: usize, hosts: usize, limit: f64) -> Result<Figure> {
    let per_host = routes / hosts;
    let start = thread_cpu();
    let set = RouteSet { hosts: (0..hosts).map(|host| virtual_host(host, per_host)).collect() };
    let index = RouteIndex::new(&set, None);
    let built = thread_cpu() - start;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let asked: Vec<(String, String)> = (0..BATCH)
        .map(|_| {
            let route = random.below(per_host);
            (host_name(random.below(hosts)), format!("{}/item/{}", path(route), random.below(100)))
        })
        .collect();
    let heads: Vec<PlainHead<'_>> = asked.iter().map(|(host, path)| head(host, path)).collect();
    ensure!(heads.iter().all(|head| index.find(head).is_some()), "a route that was put in is not found");
    let mut least = f64::MAX;
    for _ in 0..BATCHES {
        let start = thread_cpu();
        for head in &heads {
            black_box(index.find(black_box(head)));
        }
        least = least.min((thread_cpu() - start) / BATCH as f64);
    }
    let what = format!("{routes} routes on {hosts} {}", if hosts == 1 { "host" } else { "hosts" });
    Ok(Figure { what, columns: vec![format!("{:.1}", built / 1e6)], value: least, limit: Some(limit) })
}

fn host_name(host: usize) -> String {
    format!("host-{host}.example.com")
}

fn path(route: usize) -> String {
    format!("/api/v1/service-{route}")
}

fn head<'a>(host: &'a str, path: &'a str) -> PlainHead<'a> {
    PlainHead { method: "GET", host, path, query: None, port: 443, headers: vec![("accept", "*/*"), ("x-tenant", "blue")] }
}

fn virtual_host(host: usize, routes: usize) -> (HostPattern, Part<VirtualHost>) {
    let pattern = HostPattern::Exact(host_name(host).into());
    let rules = (0..routes).map(rule).collect();
    (pattern.clone(), Part::new(VirtualHost { host: pattern, rules }))
}

fn rule(route: usize) -> Rule {
    let mut matched = RouteMatch::path(PathMatch::Prefix(path(route).into()));
    if route.is_multiple_of(10) {
        matched.headers.push(ValueMatch { name: "x-tenant".into(), value: TextMatch::Exact("blue".into()) });
    }
    Rule {
        source: ObjectRef::new("Ingress", "bench", "routes"),
        field: "spec.rules[0].http.paths[0]".into(),
        matches: vec![matched],
        filters: Vec::new(),
        guards: Vec::new(),
        backends: Vec::new(),
        timeouts: Timeouts::default(),
        retry: None,
        persistence: None,
        max_body: None,
    }
}

/// CPU time of this thread, in nanoseconds.
pub(super) fn thread_cpu() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// xorshift64*: the same sequence in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound.max(1)
    }
}
