//! `bench change`: one change in the World until it is live, among 10,000 routes (1,000 Ingresses × 10 paths, 100 Services), and
//! in a large cluster (10,000 Ingresses, 10,000 Services × 5 endpoints), there also with what a node agent plans.
//!
//! In this process: World, `translate` and a running `Proxy`, as the program has them; every change is another Ingress' path or
//! another Service's endpoint, and is live when `Proxy::publish` returns, as its contract says; that the change is served then
//! is asked over a socket. The memory figure is of the real program, started on a folder that holds the same objects.

mod memory;
pub(super) mod objects;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rust_ingress_model::l4::plan::Plan;
use rust_ingress_model::l4::{L4Settings, NodeFacts};
use rust_ingress_model::{ListenerName, Snapshot};
use rust_ingress_proxy::Proxy;
use rust_ingress_proxy::options::Options;
use rust_ingress_translate::{Change, Dirty, Origin, Settings, World, translate};

use super::{Figure, Report, median};
use objects::Size;

/// Changes measured of each kind.
const CHANGES: usize = 200;

/// Most milliseconds from a change to live.
const LIVE_MS: f64 = 5.0;

/// Most milliseconds of the same in a large cluster: 100 changes a second may cost a fifth of a core.
const LIVE_CLUSTER_MS: f64 = 2.0;

/// Most resident memory, in MiB.
const MEMORY_MIB: f64 = 40.0;

/// Measures both.
pub fn run() -> Result<Report> {
    let (routes, from_nothing) = measure(objects::ROUTES, "", LIVE_MS)?;
    let (cluster, cluster_from_nothing) = measure(objects::CLUSTER, ", in a large cluster", LIVE_CLUSTER_MS)?;
    let (l4, l4_from_nothing) = measure(objects::CLUSTER_L4, ", in a large cluster with a node agent", LIVE_CLUSTER_MS)?;
    let memory = memory::measure()?;
    Ok(Report {
        name: "change",
        columns: vec!["median".into(), "p99".into()],
        value: "held to the limit",
        figures: routes.into_iter().chain(cluster).chain(l4).chain([memory]).collect(),
        notes: vec![
            format!(
                "{} routes: {} Ingresses of {} paths, {} Services; from nothing to live: {:.0} ms.",
                objects::ROUTES.ingresses * objects::ROUTES.paths,
                objects::ROUTES.ingresses,
                objects::ROUTES.paths,
                objects::ROUTES.services,
                from_nothing.as_secs_f64() * 1e3
            ),
            format!(
                "A large cluster: {} Ingresses, {} Services of {} endpoints; from nothing to live: {:.0} ms.",
                objects::CLUSTER.ingresses,
                objects::CLUSTER.services,
                objects::CLUSTER.endpoints,
                cluster_from_nothing.as_secs_f64() * 1e3
            ),
            format!(
                "With a node agent: the same, and the plan of a node with what differs from the one before, without the kernel; from nothing: {:.0} ms.",
                l4_from_nothing.as_secs_f64() * 1e3
            ),
            format!(
                "Change to live: {CHANGES} changes each, wall-clock time of apply, translate and publish; the median is held."
            ),
            "Memory: resident, of the whole `rust-ingress run` process on a folder with these objects, idle.".to_owned(),
        ],
    })
}

/// Both kinds of change at one size, and how long it took to make all of it live at the start.
fn measure(size: Size, place: &str, limit: f64) -> Result<(Vec<Figure>, Duration)> {
    let mut bed = Bed::start(size)?;
    let endpoint = |n: usize| vec![Change::Put(size.slice(n % size.services, n + 1))];
    let path = |n: usize| vec![Change::Put(size.ingress(n % size.ingresses, n + 1))];
    let figures = vec![
        bed.measure(&format!("one Service's endpoint{place}"), limit, endpoint)?,
        bed.measure(&format!("one Ingress' path{place}"), limit, path)?,
    ];
    // With a node agent the endpoints' addresses may be somebody's.
    if !size.l4 {
        bed.asked(CHANGES)?;
    }
    Ok((figures, bed.first))
}

/// World and proxy, with the objects in them.
struct Bed {
    size: Size,
    world: World,
    settings: Settings,
    snapshot: Arc<Snapshot>,
    plan: Plan,
    node: NodeFacts,
    proxy: Option<Proxy>,
    first: Duration,
}

impl Bed {
    fn start(size: Size) -> Result<Self> {
        let http = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        let settings = Settings { origin: Origin::Files, http, l4: size.l4, ..Settings::default() };
        let node = NodeFacts { name: "node".into(), ..NodeFacts::default() };
        let proxy = Proxy::start(Options { workers: 2, ..Options::default() })?;
        let start = Instant::now();
        let mut world = World::new(&settings);
        size.all().for_each(|object| world.apply(Change::Put(object)));
        world.take_dirty();
        let (snapshot, _) = translate(&world, &settings, &Snapshot::default(), &Dirty::all());
        let snapshot = Arc::new(snapshot);
        let (plan, _) = Plan::empty(L4Settings::default()).next(&snapshot, &node);
        ensure!(plan.faults().next().is_none(), "the bench's Services have faults: {:?}", plan.faults().next());
        ensure!(plan.elements().len() >= if size.l4 { size.services * size.endpoints } else { 0 }, "nothing is planned");
        let faults = proxy.publish(snapshot.clone(), &world.key_store(&snapshot, &settings));
        ensure!(faults.is_empty(), "listeners could not be opened: {faults:?}");
        ensure!(snapshot.faults().next().is_none(), "the bench's objects have faults: {:?}", snapshot.faults().next());
        Ok(Self { size, world, settings, snapshot, plan, node, proxy: Some(proxy), first: start.elapsed() })
    }

    /// Applies as many changes as [`CHANGES`], one at a time.
    fn measure(&mut self, what: &str, limit: f64, change: impl Fn(usize) -> Vec<Change>) -> Result<Figure> {
        let proxy = self.proxy.as_ref().context("it runs")?;
        let mut times = Vec::with_capacity(CHANGES);
        for number in 0..CHANGES {
            let changes = change(number);
            let start = Instant::now();
            changes.into_iter().for_each(|change| self.world.apply(change));
            let dirty = self.world.take_dirty();
            let (next, _) = translate(&self.world, &self.settings, &self.snapshot, &dirty);
            ensure!(next != *self.snapshot, "{what}: change {number} changed nothing");
            self.snapshot = Arc::new(next);
            if self.size.l4 {
                self.plan = self.plan.next(&self.snapshot, &self.node).0;
            }
            proxy.publish(self.snapshot.clone(), &self.world.key_store(&self.snapshot, &self.settings));
            times.push(start.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
        let middle = median(times);
        let columns = vec![format!("{middle:.2} ms"), format!("{p99:.2} ms")];
        Ok(Figure { what: format!("{what} → live, ms"), columns, value: middle, limit: Some(limit) })
    }

    /// Asks the proxy for the paths that the last change of [`Bed::measure`] wrote, and for one that is not there.
    fn asked(&self, last: usize) -> Result<()> {
        let proxy = self.proxy.as_ref().context("it runs")?;
        let listens: Vec<(ListenerName, SocketAddr)> = proxy.bound();
        let (_, address) = listens.first().context("the proxy listens")?;
        let ingress = (last - 1) % self.size.ingresses;
        let new = objects::ask(*address, ingress, &objects::path(0, last))?;
        // Nothing listens at the endpoint: a route that is live answers 502 or 503, one that isn't there 404.
        ensure!(new == 502 || new == 503, "the last change is not live: its path answers {new}");
        let old = objects::ask(*address, ingress, "/gone")?;
        ensure!(old == 404, "a path that no Ingress has answers {old}");
        Ok(())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(proxy) = self.proxy.take() {
            proxy.stop();
        }
    }
}
