//! `suite faults`: what a user loses when something breaks or is replaced, under load, on the test cluster with the chart.
//!
//! A load of this tool ([`crate::load`]) asks both nodes from the outside world all the while; each case says what it may see.

mod cases;
pub(super) mod processes;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::Report;
use crate::built;
use crate::chart::install::Install;
use crate::cluster::{Cluster, Place};
use crate::load::{self, Load, Outcome};
use workload::{HOST, Workload};

/// How hard it is tried.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Fewer rounds, shorter outages: for CI
    #[arg(long)]
    short: bool,
    /// A program that is built already, in place of a release build
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Only cases whose names hold this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    focus: String,
}

/// How often, how long.
#[derive(Debug, Clone, Copy)]
struct Plan {
    pods: usize,
    rollouts: usize,
    outage: Duration,
    kills: usize,
    rolls: usize,
}

impl Plan {
    /// As the issue has it.
    const WHOLE: Self = Self { pods: 20, rollouts: 2, outage: Duration::from_secs(60), kills: 20, rolls: 10 };
    const SHORT: Self = Self { pods: 4, rollouts: 1, outage: Duration::from_secs(10), kills: 3, rolls: 1 };
}

/// What every case works with.
struct Scene<'a> {
    cluster: &'a Cluster,
    plan: Plan,
    workload: Workload,
}

impl Scene<'_> {
    /// Load on port 80 of every node while something happens.
    fn under_load(&self, happens: impl FnOnce() -> Result<()>) -> Result<Outcome> {
        let to = self.cluster.nodes().map(|node| Ok(format!("{}:80", node.v4()).parse()?)).collect::<Result<_>>()?;
        let arguments = load::Arguments { to, host: HOST.into(), path: "/".into(), kept: 8, fresh: 4, pause: 10, limit: 900 };
        let tool = std::env::current_exe()?.display().to_string();
        let load = Load::start(self.cluster.command(Place::Wan, &[&tool])?, &arguments)?;
        std::thread::sleep(Duration::from_secs(1));
        let happened = happens();
        std::thread::sleep(Duration::from_secs(1));
        let outcome = load.stop()?;
        happened.with_context(|| outcome.line())?;
        Ok(outcome)
    }
}

/// Runs the suite; from inside the cluster's outside world.
pub fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let plan = if arguments.short { Plan::SHORT } else { Plan::WHOLE };
    let install = Install::on(cluster)?;
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => built::release()?,
    };
    install.image(&program).context("the image can't be made")?;
    install.chart("kubeadm.yaml", &[])?;
    let scene = Scene { cluster, plan, workload: Workload::create(cluster, plan.pods)? };
    let mut report = Report::new("faults", cluster.describe());
    for (name, case) in cases::ALL {
        let name = name(plan);
        if !name.contains(&arguments.focus) {
            continue;
        }
        let mut said = String::new();
        report.case("under load", &name, || {
            said = case(&scene)?;
            Ok(())
        });
        if !said.is_empty() {
            println!("        {said}");
            report.notes.push(format!("{name}: {said}."));
        }
    }
    scene.workload.delete(cluster)?;
    install.remove()?;
    Ok(report)
}
