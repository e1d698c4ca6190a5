//! `bench restart`: from the last good state to the first answer with the API server away, at 1,000 and 10,000 routes; and the
//! proxy's process killed until the next one answers; and one change among 10,000 routes until the other process serves it.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rust_ingress::certificate;
use rust_ingress::child::{Child, ChildOptions};
use rust_ingress::driver::Published;
use rust_ingress::last_good::{Keeper, Store};
use rust_ingress::plane::Plane as _;
use rust_ingress_model::{HostPattern, KeyStore, Part, Protocol, Snapshot, StatusPlan, TlsSet};
use rust_ingress_proxy::options::Options;
use rust_ingress_translate::{Change, Dirty, Settings, World, translate};
use rustix::process::{Pid, Signal, kill_process};

use super::change::objects;
use super::process::{Process, free_addresses};
use super::{Figure, Report, median, program};

/// Starts, kills and so on; medians are over these.
const ROUNDS: usize = 7;
/// Changes that are measured.
const CHANGES: usize = 100;
/// Most milliseconds from a start to the first answer, at 1,000 routes and 100 certificates.
const START_MS: f64 = 50.0;
/// Most milliseconds from a kill to the next answer, at 1,000 routes.
const KILL_MS: f64 = 100.0;
/// Longer than any machine needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures all.
pub fn run() -> Result<Report> {
    let program = program()?;
    let small = State::new(100, 100)?;
    let large = State::new(objects::ROUTES.ingresses, 1000)?;
    let figures = vec![
        small.starts(&program, Some(START_MS))?,
        large.starts(&program, None)?,
        small.kills(&program, Some(KILL_MS))?,
        large.kills(&program, None)?,
        large.changes(&program)?,
    ];
    Ok(Report {
        name: "restart",
        columns: vec!["least".into(), "most".into()],
        value: "median, ms",
        figures,
        notes: vec![
            format!("Medians of {ROUNDS} rounds, wall-clock time; of one change, of {CHANGES}."),
            "A start: `rust-ingress run --state-dir` with a kubeconfig whose API server doesn't answer, from the start of the process to the first answer.".into(),
            "A kill: kill -9 of the proxy's process, to the answer to a request made right after it.".into(),
        ],
    })
}

/// Routes and certificates, and where they are served.
struct State {
    routes: usize,
    http: SocketAddr,
    snapshot: Arc<Snapshot>,
    keys: KeyStore,
    world: World,
    settings: Settings,
}

impl State {
    fn new(ingresses: usize, certificates: usize) -> Result<Self> {
        let [http, https] = free_addresses()?;
        let settings = Settings { http: vec![http], https: vec![https], ..Settings::default() };
        let mut world = World::default();
        objects::ROUTES.all().for_each(|object| world.apply(Change::Put(object)));
        for number in ingresses..objects::ROUTES.ingresses {
            world.apply(Change::Delete(objects::ROUTES.ingress(number, 0).reference()));
        }
        world.take_dirty();
        let (mut snapshot, _) = translate(&world, &settings, &Snapshot::default(), &Dirty::all());
        let (mut keys, mut set) = (KeyStore::default(), TlsSet::default());
        for number in 0..certificates {
            let made = certificate::make()?;
            let fingerprint = made.pair.fingerprint();
            snapshot.certificates.insert(fingerprint, Part::new(made.certificate));
            set.by_host.insert(HostPattern::Exact(format!("tls-{number}.example.com").into()), fingerprint);
            keys.insert_as(fingerprint, made.pair);
        }
        let secure = snapshot.listeners.values().find(|listener| listener.protocol == Protocol::Https);
        let name = secure.and_then(|listener| listener.tls.clone()).context("the HTTPS listener has a TLS set")?;
        snapshot.tls_sets.insert(name, Part::new(set));
        Ok(Self { routes: ingresses * objects::ROUTES.paths, http, snapshot: Arc::new(snapshot), keys, world, settings })
    }

    /// Starts of the whole program.
    fn starts(&self, program: &Path, limit: Option<f64>) -> Result<Figure> {
        let folder = tempfile::tempdir()?;
        let (state, kubeconfig) = (folder.path().join("state"), folder.path().join("kubeconfig"));
        let keeper = Keeper::start(Store::open(&state, true)?)?;
        let (snapshot, keys) = (&self.snapshot, &self.keys);
        keeper.subscriber()(&Published { snapshot, keys, status: &StatusPlan::default(), came: &[], went: &[] });
        keeper.stop();
        fs::write(
            &kubeconfig,
            "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}], \
             users: [{name: u, user: {}}], clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]}",
        )?;
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let mut command = Command::new(program);
            command.arg("run").arg("--kubeconfig").arg(&kubeconfig).arg("--state-dir").arg(&state);
            command.args(["--admin", "off", "--health", "off", "--workers", "2"]);
            let start = Instant::now();
            let process = Process::start(&mut command, &format!("run-{round}"), folder.path())?;
            let answered = self.answers(start);
            times.push(answered.with_context(|| format!("it printed:\n{}", process.printed()))?);
        }
        let what = format!("start, {} routes, {} certificates → answer", self.routes, self.snapshot.certificates.len());
        Ok(figure(what, times, limit))
    }

    fn child(&self, program: &Path) -> Result<Child> {
        let proxy = Options { workers: 2, ..Options::default() };
        let child = Child::start(ChildOptions {
            program: program.to_owned(),
            flags: vec!["--log-level=off".into()],
            proxy,
            alive: None,
        })?;
        let faults = child.publish(self.snapshot.clone(), &self.keys);
        ensure!(faults.is_empty(), "listeners could not be opened: {faults:?}");
        Ok(child)
    }

    fn kills(&self, program: &Path, limit: Option<f64>) -> Result<Figure> {
        let child = self.child(program)?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            self.answers(Instant::now())?;
            let pid = child.process().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)).context("the child runs")?;
            kill_process(pid, Signal::KILL)?;
            times.push(self.answers(Instant::now())?);
        }
        child.stop();
        Ok(figure(format!("proxy killed, {} routes → answer", self.routes), times, limit))
    }

    fn changes(mut self, program: &Path) -> Result<Figure> {
        let child = self.child(program)?;
        let mut times = Vec::new();
        for number in 0..CHANGES {
            self.world.apply(Change::Put(objects::ROUTES.slice(number % objects::ROUTES.services, number + 1)));
            let dirty = self.world.take_dirty();
            let (mut next, _) = translate(&self.world, &self.settings, &self.snapshot, &dirty);
            // Translation knows nothing of the certificates that were put in by hand.
            next.certificates.clone_from(&self.snapshot.certificates);
            next.tls_sets.clone_from(&self.snapshot.tls_sets);
            ensure!(next != *self.snapshot, "change {number} changed nothing");
            self.snapshot = Arc::new(next);
            let start = Instant::now();
            child.publish(self.snapshot.clone(), &self.keys);
            times.push(start.elapsed());
        }
        child.stop();
        Ok(figure(format!("one endpoint among {} routes → live in the child", self.routes), times, None))
    }

    /// How long until a request is answered by a route. Nothing listens at the endpoints: that is 502 or 503.
    fn answers(&self, since: Instant) -> Result<Duration> {
        while since.elapsed() < PATIENCE {
            if matches!(objects::ask(self.http, 7, &objects::path(0, 0)), Ok(502 | 503)) {
                return Ok(since.elapsed());
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        bail!("nothing on {} answers as the route should", self.http)
    }
}

fn figure(what: String, times: Vec<Duration>, limit: Option<f64>) -> Figure {
    let mut times: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let of = |time: Option<&f64>| time.map_or_else(String::new, |time| format!("{time:.1} ms"));
    let columns = vec![of(times.first()), of(times.last())];
    Figure { what, columns, value: median(times), limit }
}
