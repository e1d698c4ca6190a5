//! `bench http`: CPU time of the proxy process per request, interleaved with nginx and HAProxy of Debian.
//!
//! Like for like: the same backend, access log off, forwarded headers set and keep-alive upstream on all three, the same
//! certificate. Rounds are interleaved (every proxy in turn, then the next round), so that the machine's other load meets all.

mod load;
mod peers;
mod upstream;

use anyhow::{Context, Result, ensure};

use super::{Arguments, Figure, Report, median, report};
use load::{Kind, Load};
use peers::Peer;

/// What is measured: a name, the load, workers of each proxy, and the most that ours may cost, relative to nginx.
struct Scenario {
    what: &'static str,
    kind: Kind,
    workers: usize,
    limit: Option<f64>,
}

const SCENARIOS: [Scenario; 6] = [
    Scenario { what: "HTTP/1.1 keep-alive 1 KiB, 1 worker", kind: Kind::Http1, workers: 1, limit: Some(1.20) },
    Scenario { what: "HTTP/1.1 keep-alive 1 KiB, 2 workers", kind: Kind::Http1, workers: 2, limit: Some(1.05) },
    Scenario { what: "TLS HTTP/1.1 keep-alive 1 KiB, 1 worker", kind: Kind::Tls, workers: 1, limit: Some(0.75) },
    Scenario { what: "TLS 1.3 full handshake and a request, 1 worker", kind: Kind::Handshake, workers: 1, limit: Some(0.50) },
    Scenario { what: "TLS HTTP/2 1 KiB, 16 × 16 streams, 1 worker", kind: Kind::Http2, workers: 1, limit: None },
    Scenario { what: "TLS HTTP/2 1 KiB, 16 × 16 streams, 2 workers", kind: Kind::Http2, workers: 2, limit: None },
];

/// Requests per handshake measured: a handshake costs some twenty requests.
const PER_HANDSHAKE: usize = 20;

/// Runs every scenario.
pub fn run(arguments: &Arguments) -> Result<Report> {
    ensure!(arguments.rounds > 0 && arguments.requests >= 1000, "bench http needs --rounds ≥ 1 and --requests ≥ 1000");
    peers::installed()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let backend = runtime.block_on(upstream::start())?;
    let certificate = peers::Certificate::make()?;
    let mut figures = Vec::new();
    for scenario in &SCENARIOS {
        let peers = peers::start(scenario.workers, backend, &certificate).context("starting the proxies")?;
        figures.push(measure(scenario, &peers, &certificate, arguments, &runtime)?);
    }
    Ok(Report {
        name: "http",
        columns: ["nginx µs", "HAProxy µs", "rust-ingress µs", "HAProxy ÷ nginx"].map(str::to_owned).to_vec(),
        value: "rust-ingress ÷ nginx",
        figures,
        notes: vec![
            format!(
                "CPU time (user and system) of all threads and processes of the proxy per request; median of {} interleaved \
                 rounds of {} requests ({} handshakes).",
                arguments.rounds,
                arguments.requests,
                arguments.requests / PER_HANDSHAKE
            ),
            "64 connections (HTTP/2: 16 with 16 streams each; handshakes: 8 at a time); access log off; Host kept, X-Forwarded-For, -Proto, -Host, -Port \
             and X-Request-Id set; upstream keep-alive; P-256 certificate, no session resumed."
                .to_owned(),
            format!("{}; {}.", report::first_line("nginx", &["-v"]), report::first_line("haproxy", &["-v"])),
        ],
    })
}

fn measure(
    scenario: &Scenario,
    peers: &[Peer],
    certificate: &peers::Certificate,
    arguments: &Arguments,
    runtime: &tokio::runtime::Runtime,
) -> Result<Figure> {
    let requests = if scenario.kind == Kind::Handshake { arguments.requests / PER_HANDSHAKE } else { arguments.requests };
    let load = Load::new(scenario.kind, certificate)?;
    for peer in peers {
        let warm = runtime.block_on(load.run(peer.address(scenario.kind.tls()), requests / 10));
        warm.with_context(|| format!("{}, {}", scenario.what, peer.name))?;
    }
    let mut costs = vec![Vec::new(); peers.len()];
    for _ in 0..arguments.rounds {
        for (peer, costs) in peers.iter().zip(&mut costs) {
            let before = peer.cpu()?;
            let run = runtime.block_on(load.run(peer.address(scenario.kind.tls()), requests));
            run.with_context(|| format!("{}, {}", scenario.what, peer.name))?;
            costs.push((peer.cpu()? - before) / requests as f64 / 1e3);
        }
    }
    let medians: Vec<f64> = costs.into_iter().map(median).collect();
    let [nginx, haproxy, ours] = medians.as_slice() else { anyhow::bail!("three proxies were to be measured") };
    let columns = vec![format!("{nginx:.1}"), format!("{haproxy:.1}"), format!("{ours:.1}"), format!("{:.2}", haproxy / nginx)];
    Ok(Figure { what: scenario.what.to_owned(), columns, value: ours / nginx, limit: scenario.limit })
}
