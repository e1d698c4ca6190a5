//! `suite ingress`: Ingress v1 on a real cluster, through the installed chart and from outside: the 30 scenarios of the Ingress
//! conformance suite, what goes beyond them, and the README's commands for a cluster.

mod cases;
mod client;
mod fixtures;
mod migration;
mod objects;
mod readme;
mod rows;
mod shapes;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::Report;
use crate::built;
use crate::chart::install::{self, Install};
use crate::cluster::{Cluster, Node, Stock};
use client::{Answer, Ask, Client};
use fixtures::{Authority, NAMESPACE};
use rows::{Row, Want};

/// How long a change may take to be seen from outside, Pods and status included.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to run it on.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A program that is built already, in place of a release build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Leave the chart and the suite's objects on the cluster, and the README's commands out, which install it themselves
    #[arg(long)]
    keep: bool,
    /// Only cases whose group or name holds this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    focus: String,
}

/// What every case has at hand.
pub struct Rig<'a> {
    cluster: &'a Cluster,
    client: Client,
    authority: Authority,
    /// The nodes' addresses, IPv4 first.
    nodes: Vec<IpAddr>,
}

impl Rig<'_> {
    /// A request to the first node over plain HTTP.
    fn get(&self, host: &str, path: &str) -> Ask {
        Ask::get(self.nodes[0], host, path)
    }

    /// Sends one.
    fn ask(&self, ask: &Ask) -> Result<Answer> {
        self.client.ask(ask)
    }

    /// `kubectl -n suite-ingress ARGUMENTS`.
    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["-n", NAMESPACE], arguments].concat())
    }

    /// Applies objects of the suite's namespace.
    fn apply(&self, yaml: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), yaml)?;
        self.kubectl(&["apply", "-f", &file.path().display().to_string()]).map(drop)
    }

    /// Asks again until the answer is as it should be.
    fn until(&self, what: impl Fn() -> Result<()>) -> Result<()> {
        let begin = Instant::now();
        loop {
            match what() {
                Ok(()) => return Ok(()),
                Err(error) if begin.elapsed() > PATIENCE => return Err(error.context(format!("still so after {PATIENCE:?}"))),
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
}

/// Runs the suite; from inside the cluster's outside world.
pub fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("ingress", cluster.describe());
    let install = Install::on(cluster)?;
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => built::release()?,
    };
    report.case("chart", "every flag that it writes is one of the program's", || install::flags(&program));
    install.image(&program).context("the image can't be made")?;
    cluster.load_stock(&[Stock::Echo])?;
    install.chart("kubeadm.yaml", &[])?;
    // What a run that was ended, or kept its objects, has left.
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=90s"])?;
    cluster.apply(&fixtures::backends())?;
    let authority = Authority::new()?;
    let addresses = cluster.nodes().map(Node::v4).chain(cluster.nodes().map(Node::v6));
    let nodes = addresses.map(|address| address.parse().context("a node has an address")).collect::<Result<_>>()?;
    let rig = Rig { cluster, client: Client::new(authority.certificate())?, authority, nodes };
    rig.apply(&rig.authority.secret("foo-bar-com", &["foo.bar.com"])?)?;
    for service in fixtures::SERVICES {
        rig.kubectl(&["rollout", "status", &format!("deployment/{service}"), "--timeout=120s"])?;
    }
    everything(&rig, &mut report, arguments)?;
    if arguments.focus.is_empty() {
        rig.apply(include_str!("rules.yaml"))?;
        settled(&rig, "mixed-path-rules", "/foo", Want::Service("foo-exact"))?;
        shapes::rolled(&rig, &install, &mut report);
    }
    if arguments.keep {
        return Ok(report);
    }
    cluster.kubectl(&["delete", "namespace", NAMESPACE, "--timeout=90s"])?;
    install.remove()?;
    if arguments.focus.is_empty() {
        shapes::deployment(cluster, &install, &mut report)?;
        install.remove()?;
        readme::cases(cluster, &install, arguments.program.as_deref(), &mut report)?;
    }
    Ok(report)
}

fn everything(rig: &Rig<'_>, report: &mut Report, arguments: &Arguments) -> Result<()> {
    let wanted = |group: &str, name: &str| group.contains(&arguments.focus) || name.contains(&arguments.focus);
    rig.apply(include_str!("default-backend.yaml"))?;
    settled(rig, "any.example.com", "/", Want::Service("default"))?;
    named(rig, report, &cases::DEFAULT_BACKEND, &wanted);
    rig.kubectl(&["delete", "ingress", "default-backend"])?;
    settled(rig, "any.example.com", "/", Want::Status(404))?;
    rig.apply(include_str!("rules.yaml"))?;
    settled(rig, "mixed-path-rules", "/foo", Want::Service("foo-exact"))?;
    // That routes and certificates come together is shown by `suite source`; here a slow machine may be late.
    rig.until(|| cases::tls(rig))?;
    rows(rig, report, &rows::RULES, &wanted);
    named(rig, report, &cases::RULES, &wanted);
    rig.apply(include_str!("beyond.yaml"))?;
    settled(rig, "broken-backends", "/fine", Want::Service("default"))?;
    settled(rig, "without-class", "/", Want::Service("default"))?;
    // Not live before the API server has answered for its Secret.
    settled(rig, "no-secret.bar.com", "/", Want::Status(308))?;
    rows(rig, report, &rows::BEYOND, &wanted);
    named(rig, report, &cases::BEYOND, &wanted);
    named(rig, report, &objects::CASES, &wanted);
    if wanted("examples/from-ingress-nginx", "") {
        // A default backend of ours would take what nobody serves, and hide it.
        rig.kubectl(&["delete", "ingress", "--all"])?;
        migration::cases(rig, report)?;
    }
    Ok(())
}

/// Waits for what comes last, so that what follows need not wait.
fn settled(rig: &Rig<'_>, host: &str, path: &str, want: Want) -> Result<()> {
    rig.until(|| expect(&rig.ask(&rig.get(host, path))?, want)).with_context(|| format!("{host}{path} never settled"))
}

fn rows(rig: &Rig<'_>, report: &mut Report, rows: &[Row], wanted: &impl Fn(&str, &str) -> bool) {
    for row in rows.iter().filter(|row| wanted(row.group, row.name)) {
        report.case(row.group, row.name, || expect(&rig.ask(&rig.get(row.host, row.path))?, row.want));
    }
}

/// A case that is code.
pub type Named = (&'static str, &'static str, fn(&Rig<'_>) -> Result<()>);

fn named(rig: &Rig<'_>, report: &mut Report, cases: &[Named], wanted: &impl Fn(&str, &str) -> bool) {
    for (group, name, case) in cases.iter().filter(|(group, name, _)| wanted(group, name)) {
        report.case(group, name, || case(rig));
    }
}

/// An answer is what a row wants.
fn expect(answer: &Answer, want: Want) -> Result<()> {
    match want {
        Want::Service(service) => {
            let from = answer.service()?;
            ensure!(from == service, "answered by {from}, expected {service}");
        }
        Want::Status(status) if answer.status.as_u16() == status => {}
        Want::Status(status) => bail!("status {}, expected {status}: {}", answer.status, answer.body.trim()),
    }
    Ok(())
}
