//! `bench agent`: what the node agent costs with 10,000 and 20,000 Services of five endpoints, in a network namespace of its own.
//!
//! Wall-clock time of publishing: the plan, the bytes, and the kernel's commit with its answer. Connections are made over loopback,
//! to an endpoint and to a ClusterIP in turns, with the source of a Pod.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rust_ingress_model::l4::{L4Endpoint, L4Port, L4Service, NodeFacts, Transport};
use rust_ingress_model::{ObjectRef, Part, Snapshot};
use rust_ingress_proxy::agent::{Agent, Options};
use rustix::net::sockopt::set_socket_linger;
use rustix::time::{ClockId, clock_gettime};

use super::process::process_resident;
use super::{Figure, Report};
use crate::suite::packets::namespace::Namespace;

/// Services, and the most milliseconds that a cold start with them may take. The most come first: memory that was freed is
/// used again before more is asked for.
const SIZES: [(u16, f64); 2] = [(20_000, 1000.0), (10_000, 500.0)];
const ENDPOINTS: u8 = 5;
/// Cold starts of a size.
const STARTS: usize = 5;
/// Changes of a kind.
const CHANGES: u16 = 1000;
/// Connections of a kind.
const CONNECTIONS: usize = 3000;
/// Most that the agent may keep and need, in MiB.
const MEMORY: f64 = 150.0;
/// The most microseconds that a ClusterIP may add to a connection.
const ADDED: f64 = 5.0;
/// Where the endpoint listens that connections are made to.
const ENDPOINT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 1, 0, 1)), 8080);

/// Measures both sizes.
pub fn run() -> Result<Report> {
    ensure!(rustix::process::geteuid().is_root(), "bench agent makes network namespaces; run it as root");
    let mut figures = Vec::new();
    for (services, limit) in SIZES {
        figures.extend(cold_starts(services, limit)?);
        figures.extend(namespace()?.inside(|| measure(services))?);
    }
    let build = if cfg!(debug_assertions) { "A debug build." } else { "A release build." };
    let notes = vec![
        format!(
            "Cold starts: {STARTS}, in a network namespace of their own each; the middle and the slowest. In a virtual machine that gives free memory back the first one may take seconds, in which the host finds the pages."
        ),
        format!("Publishing: plan, bytes, the kernel's commit and answer. {CHANGES} changes of each kind, one after the other."),
        format!("Connections: {CONNECTIONS} of each kind, in turns; the p01 of one less that of the other."),
        build.into(),
    ];
    let columns = ["p50", "p99"].map(str::to_owned).to_vec();
    Ok(Report { name: "agent", columns, value: "ms; cores; MiB; µs", figures, notes })
}

fn namespace() -> Result<Namespace> {
    let namespace = Namespace::make("bench")?;
    namespace.ip("link set lo up\naddress add 10.1.0.1/32 dev lo\nroute add default dev lo")?;
    Ok(namespace)
}

/// What is published first, and the node.
fn first(services: u16) -> Result<(Snapshot, NodeFacts)> {
    let mut snapshot = Snapshot::default();
    snapshot.services.extend((0..services).map(|number| (name(number), service(number, ENDPOINTS, 1))));
    Ok((snapshot, NodeFacts { name: "node1".into(), pod_cidrs: vec!["10.1.0.0/24".parse()?], ..NodeFacts::default() }))
}

fn start() -> Result<Agent> {
    Ok(Agent::start(Options { sysctls: Vec::new(), ..Options::default() })?)
}

/// Each in a network namespace that knows nothing yet.
fn cold_starts(services: u16, limit: f64) -> Result<Vec<Figure>> {
    let (snapshot, node) = first(services)?;
    let (mut whole, mut kernel) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        namespace()?.inside(|| {
            let agent = start()?;
            whole.push(millis(publish(&agent, &snapshot, &node)?));
            kernel.push(millis(agent.counters().last));
            agent.stop();
            Ok(())
        })?;
    }
    let figure = |what: String, mut all: Vec<f64>, limit| {
        let (middle, worst) = (percentile(&mut all, 50), percentile(&mut all, 100));
        Figure { what, columns: vec![format!("{middle:.0}"), format!("{worst:.0}")], value: middle, limit }
    };
    Ok(vec![
        figure(format!("cold start with {services} Services, p50 ms"), whole, Some(limit)),
        figure("  of that in the kernel, p50 ms".into(), kernel, None),
    ])
}

fn measure(services: u16) -> Result<Vec<Figure>> {
    let (mut snapshot, node) = first(services)?;
    let agent = start()?;
    let before = process_resident(std::process::id())?;
    publish(&agent, &snapshot, &node)?;
    let mut figures = Vec::new();
    let mut changes = |what: &str, limit, one: &dyn Fn(u16) -> Part<L4Service>, other: &dyn Fn(u16) -> Part<L4Service>| {
        let (mut took, began) = (Vec::new(), cpu());
        for change in 0..CHANGES {
            let number = change.wrapping_mul(7919) % services;
            snapshot.services.insert(name(number), one(number));
            publish(&agent, &snapshot, &node)?;
            snapshot.services.insert(name(number), other(number));
            took.push(millis(publish(&agent, &snapshot, &node)?));
        }
        let cores = (cpu() - began) / f64::from(2 * CHANGES) * 1000.0;
        let (p50, p99) = (percentile(&mut took, 50), percentile(&mut took, 99));
        let columns = vec![format!("{p50:.3}"), format!("{p99:.3}")];
        figures.push(Figure { what: format!("{what}, p99 ms"), columns, value: p99, limit });
        figures.push(plain("  1,000 of them a second, cores".into(), cores, limit.map(|_| 1.0)));
        anyhow::Ok(())
    };
    changes("an endpoint has another address", Some(1.0), &|n| service(n, ENDPOINTS, 2), &|n| service(n, ENDPOINTS, 3))?;
    changes("endpoints come", Some(1.0), &|n| service(n, ENDPOINTS, 1), &|n| service(n, ENDPOINTS + 2, 1))?;
    changes("the last endpoint goes", Some(1.0), &|n| service(n, 1, 1), &|n| service(n, 0, 1))?;
    changes("across a power of two", None, &|n| service(n, 4, 1), &|n| service(n, 5, 1))?;
    let kept = process_resident(std::process::id())?.saturating_sub(before);
    if services == SIZES[0].0 {
        figures.push(plain("resident memory of the agent, MiB".into(), kept as f64 / f64::from(1 << 20), Some(MEMORY)));
    }
    snapshot.services.insert(name(services - 1), reachable(services - 1));
    publish(&agent, &snapshot, &node)?;
    figures.push(plain("a connection to a ClusterIP, over one to its endpoint, µs".into(), added(services - 1)?, Some(ADDED)));
    agent.stop();
    Ok(figures)
}

fn publish(agent: &Agent, snapshot: &Snapshot, node: &NodeFacts) -> Result<Duration> {
    let began = Instant::now();
    let faults = agent.publish(snapshot, node);
    let took = began.elapsed();
    ensure!(agent.is_written() && faults.is_empty(), "the agent couldn't program what was published: {faults:?}");
    Ok(took)
}

/// What a ClusterIP adds to a connection, in microseconds.
fn added(number: u16) -> Result<f64> {
    let listener = TcpListener::bind(ENDPOINT).context("the endpoint can't listen")?;
    // It ends with the bench.
    thread::spawn(move || listener.incoming().for_each(drop));
    let (mut direct, mut through) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        direct.push(connect(ENDPOINT)?);
        through.push(connect(SocketAddr::new(cluster_ip(number), 80))?);
    }
    Ok(percentile(&mut through, 1) - percentile(&mut direct, 1))
}

/// Connects, and resets: no port waits for the end of a connection.
fn connect(to: SocketAddr) -> Result<f64> {
    let began = Instant::now();
    let stream = TcpStream::connect_timeout(&to, Duration::from_secs(2)).with_context(|| format!("no connection to {to}"))?;
    let took = began.elapsed();
    set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(took.as_secs_f64() * 1e6)
}

fn name(number: u16) -> ObjectRef {
    ObjectRef::new("Service", "bench", &format!("service-{number}"))
}

fn cluster_ip(number: u16) -> IpAddr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 96, high, low).into()
}

/// A Service with endpoints on other nodes; `last` is a part of their addresses.
fn service(number: u16, endpoints: u8, last: u8) -> Part<L4Service> {
    let [high, low] = number.to_be_bytes();
    // Only the first endpoint differs.
    let address = |place: u8| Ipv4Addr::new(100 + place, if place == 0 { last } else { 1 }, high, low);
    of(number, (0..endpoints).map(|place| SocketAddr::new(address(place).into(), 8080)))
}

/// A Service whose endpoints all are the one that listens.
fn reachable(number: u16) -> Part<L4Service> {
    of(number, (0..ENDPOINTS).map(|_| ENDPOINT))
}

fn of(number: u16, endpoints: impl Iterator<Item = SocketAddr>) -> Part<L4Service> {
    let endpoint = |address| L4Endpoint {
        address,
        ready: true,
        serving: true,
        terminating: false,
        node: Some("node2".into()),
        for_zones: Vec::new(),
        for_nodes: Vec::new(),
    };
    let (name, endpoints) = ("http".into(), endpoints.map(endpoint).collect());
    let port = L4Port { name, transport: Transport::Tcp, port: 80, http: None, node_port: None, without: Vec::new(), endpoints };
    Part::new(L4Service { cluster_ips: vec![cluster_ip(number)], ports: vec![port], ..L4Service::default() })
}

fn plain(what: String, value: f64, limit: Option<f64>) -> Figure {
    Figure { what, columns: vec![String::new(); 2], value, limit }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// CPU time of this process, in seconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn percentile(figures: &mut [f64], share: usize) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get((figures.len() * share / 100).min(figures.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
