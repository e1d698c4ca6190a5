//! What a cluster's changes cost and how soon they serve: `bench cluster`, on the test cluster's real API server.
//!
//! The program runs as it does in a Pod, parent and child, in the nodes' network namespaces, started from the release build.
//! Endpoints are two servers of this tool in the outside world, so that no Pod has to be scheduled.

mod client;
mod objects;
mod program;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kube::Client;

use super::report::{Figure, Report};
use crate::cluster::Cluster;
use client::{Server, get};
use objects::{Namespace, at_once};
use program::Programs;

/// Ingresses that are there while others are created.
const PRESENT: usize = 1_000;
/// Ingresses created one by one.
const CREATED: usize = 200;
/// Ingresses, and Services of five endpoints, at the largest.
const MANY: usize = 10_000;
/// Slices changed, a tenth each second.
const CHANGED: usize = 1_000;
/// How long anything may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it; the tool is in the cluster's outside world already.
pub fn run(cluster: &Cluster) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut figures = Vec::new();
    runtime.block_on(measure(cluster, &mut figures))?;
    Ok(Report {
        name: "cluster",
        columns: vec!["unit".into(), "how".into()],
        value: "figure",
        figures,
        notes: vec![
            format!("On {}.", cluster.describe()),
            "Load generator, API server, etcd and the program share the machine's cores.".into(),
            "Memory and CPU: parent and child together, on one node.".into(),
        ],
    })
}

async fn measure(cluster: &Cluster, figures: &mut Vec<Figure>) -> Result<()> {
    let client = objects::client(cluster).await?;
    objects::class(&client).await?;
    let servers = [Server::start().await?, Server::start().await?];
    let small = Namespace::create(&client, "bench-small").await?;
    let programs = Programs::start(cluster, "small", cluster.nodes().count())?;
    reach(&client, &small, &servers, &programs, figures).await?;
    drop(programs);
    small.delete(&client).await?;
    let large = Namespace::create(&client, "bench-large").await?;
    scale(cluster, &client, &large, &servers, figures).await?;
    large.delete(&client).await?;
    objects::no_class(&client).await
}

/// Ingress created → 200 on every node.
async fn reach(
    client: &Client,
    space: &Namespace,
    servers: &[Server; 2],
    programs: &Programs,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let one = [servers[0].address];
    at_once(0..10, |number| space.service(client, number, &one)).await?;
    at_once(0..PRESENT, |number| space.ingress(client, number, number % 10)).await?;
    programs.wait_for(&space.host(PRESENT - 1), PATIENCE).await?;
    let mut took = Vec::with_capacity(CREATED);
    for number in PRESENT..PRESENT + CREATED {
        space.ingress(client, number, number % 10).await?;
        let created = Instant::now();
        programs.wait_for(&space.host(number), PATIENCE).await?;
        took.push(created.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    let at = |share: usize| took.get((took.len() * share / 100).min(took.len() - 1)).copied().unwrap_or(f64::NAN);
    for (share, limit) in [(50, 20.0), (99, 100.0)] {
        figures.push(Figure {
            what: format!("Ingress created → 200 on every node, p{share} of {CREATED}, {PRESENT} Ingresses present"),
            columns: vec!["ms".into(), "from the API server's answer to the last node's first 200, asked every ms".into()],
            value: at(share),
            limit: Some(limit),
        });
    }
    Ok(())
}

/// Start with very many objects, and slices that change fast.
async fn scale(
    cluster: &Cluster,
    client: &Client,
    space: &Namespace,
    servers: &[Server; 2],
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let [old, new] = [&servers[0], &servers[1]].map(|server| [server.address; 5]);
    at_once(0..MANY, |number| space.service(client, number, &old)).await?;
    at_once(0..MANY, |number| space.ingress(client, number, number)).await?;
    let start = Instant::now();
    let programs = Programs::start(cluster, "large", 1)?;
    programs.wait_for(&space.host(MANY - 1), PATIENCE).await?;
    let serving = start.elapsed().as_secs_f64();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let resident = programs.resident()?;
    figures.push(figure(
        "s",
        format!("{MANY} Ingresses, {MANY} Services × 5 endpoints: program started → serving"),
        serving,
        5.0,
    ));
    figures.push(figure("MiB", "resident memory with them".into(), resident as f64 / f64::from(1 << 20), 250.0));
    let (before, generations, begin) = (programs.cpu()?, programs.generations().await?, Instant::now());
    for second in 0..10 {
        let share = second * CHANGED / 10..(second + 1) * CHANGED / 10;
        at_once(share, |number| space.slice(client, number, &new)).await?;
        tokio::time::sleep_until((begin + Duration::from_secs(second as u64 + 1)).into()).await;
    }
    let window = begin.elapsed().as_secs_f64();
    let cores = (programs.cpu()? - before) / 1e9 / window;
    let snapshots = programs.generations().await? - generations;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut missed = 0;
    for number in 0..CHANGED {
        let (_, body) = get(programs.first()?, &space.host(number), "/").await?;
        missed += usize::from(body != servers[1].name());
    }
    figures.push(figure("cores", format!("{CHANGED} EndpointSlice changes in {window:.1} s: {snapshots} snapshots"), cores, 0.2));
    figures.push(figure("services", "… whose last state isn't served a second later".into(), missed as f64, 0.0));
    Ok(())
}

fn figure(unit: &str, what: String, value: f64, limit: f64) -> Figure {
    Figure { what, columns: vec![unit.to_owned(), String::new()], value, limit: Some(limit) }
}

/// What no program answers yet is asked again after this long.
const AGAIN: Duration = Duration::from_millis(1);

/// Asks until the answer is 200.
async fn until_served(address: SocketAddr, host: &str, patience: Duration) -> Result<()> {
    let begin = Instant::now();
    let mut last = String::new();
    while begin.elapsed() < patience {
        match get(address, host, "/").await {
            Ok((200, _)) => return Ok(()),
            Ok((status, body)) => last = format!("{status} {body}"),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
    Err(anyhow::anyhow!("{last}")).with_context(|| format!("http://{address}/ with Host {host} is not served after {patience:?}"))
}
