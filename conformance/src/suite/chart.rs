//! `suite chart`: Helm's lint, golden output of every value set, what the schema refuses, and the API server's word on each.

mod parameters;
mod pools;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::Report;
use crate::chart::{Helm, RELEASE, VERSION, ValueSet, folder, value_sets};
use crate::cluster::Cluster;

/// What to do beside comparing.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Write the golden files anew; read what changed before you commit it
    #[arg(long)]
    update: bool,
    /// Leave out the API server's dry run, which needs a test cluster
    #[arg(long)]
    offline: bool,
}

/// Values that must be refused, and what the message must name.
const REFUSED: [(&str, &str); 16] = [
    ("kidn=daemonset", "kidn"),
    ("kind=statefulset", "'/kind'"),
    ("config.htp=x", "htp"),
    ("config.http=80", "'/config/http'"),
    ("config.http[0]=80", "'/config/http/0'"),
    ("config.accessLog=false", "'/config/accessLog'"),
    ("config.admin=0.0.0.0:9901", "'/config/admin'"),
    ("config.drain.delay=5", "'/config/drain/delay'"),
    ("config.defaultCertificateSecret=name", "'/config/defaultCertificateSecret'"),
    ("apiserver.url=192.0.2.1", "'/apiserver/url'"),
    ("service.externalTrafficPolicy=local", "'/service/externalTrafficPolicy'"),
    ("replicaCount=-1", "'/replicaCount'"),
    ("readinessProbe.period=1", "period"),
    ("watchNamespaces[0]=Team_A", "'/watchNamespaces/0'"),
    ("l4.localPods=pods", "'/l4/localPods'"),
    ("l4.clusterCIDR=10.244.0.0/16", "'/l4/clusterCIDR'"),
];

/// Value sets that pass the schema and mean nothing.
const CONTRADICTORY: [(&str, &str); 6] = [
    ("publishStatus.service=a/b,publishStatus.addresses={192.0.2.1}", "publishStatus: name a service or addresses, not both"),
    ("config.http=null,config.https=null", "config.http and config.https: both are empty"),
    ("l4.enabled=true,kind=deployment", "kind must be daemonset"),
    ("l4.enabled=true,hostNetwork=false", "hostNetwork must not be false"),
    ("l4.enabled=true,watchNamespaces={a}", "watchNamespaces must be empty"),
    ("l4.enabled=true,l4.egressSNAT.enabled=true", "set l4.clusterCIDR"),
];

/// Namespaces that the value files name.
const NAMESPACES: [&str; 6] = [RELEASE, "team-a", "team-b", "edge", "shop", "monitoring"];

/// The two kinds of the Prometheus operator that the chart makes, with nothing checked in them.
const MONITORING: &str = include_str!("chart/monitoring.yaml");

/// The kinds that the value sets have objects of.
const KINDS: [&str; 4] = [
    "servicemonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
    "addresspools.rust-ingress.dev",
    "gatewayparameters.rust-ingress.dev",
];

/// Runs the suite.
pub fn run(arguments: &Arguments) -> Result<Report> {
    let helm = Helm::find()?;
    let cluster = match arguments.offline {
        true => None,
        false => Some(Cluster::open()?),
    };
    let on = cluster.as_ref().map_or("no cluster".to_owned(), Cluster::describe);
    let mut report = Report::new("chart", format!("{on}, Helm {VERSION}"));
    let chart = folder()?.display().to_string();
    let sets = value_sets()?;
    for set in &sets {
        report.case("lint", &set.name, || helm.run(&with_values(&["lint", "--strict", &chart], set)?).map(drop));
    }
    for set in &sets {
        report.case("golden", &set.name, || golden(&rendered(&helm, set)?, set, arguments.update));
    }
    for (values, names) in REFUSED {
        report.case("schema", &format!("refuses {values}"), || refused(&helm, values, names));
    }
    for (values, says) in CONTRADICTORY {
        report.case("template", &format!("refuses {values}"), || refused(&helm, values, says));
    }
    if let Some(cluster) = &cluster {
        let before = cluster.kubectl(&["get", "namespace", "-o", "name"])?;
        prepare(cluster)?;
        for set in &sets {
            report.case("dry run", &set.name, || dry_run(cluster, &rendered(&helm, set)?));
        }
        pools::all(&mut report, |object| dry_run_of(cluster, object).map(drop));
        parameters::all(&mut report, |object| dry_run_of(cluster, object).map(drop));
        clean(cluster, &before)?;
    }
    Ok(report)
}

/// A command line of Helm with a set's value file.
fn with_values(command: &[&str], set: &ValueSet) -> Result<Vec<String>> {
    let mut line: Vec<String> = command.iter().map(ToString::to_string).collect();
    if let Some(file) = &set.file {
        line.extend(["--values".to_owned(), folder()?.join(file).display().to_string()]);
    }
    Ok(line)
}

fn rendered(helm: &Helm, set: &ValueSet) -> Result<String> {
    let chart = folder()?.display().to_string();
    helm.run(&with_values(&["template", RELEASE, &chart, "--namespace", RELEASE], set)?)
}

fn golden(now: &str, set: &ValueSet, update: bool) -> Result<()> {
    let path = folder()?.join("tests/golden").join(format!("{}.yaml", set.name));
    if update {
        return Ok(fs::write(&path, now)?);
    }
    let golden = fs::read_to_string(&path).with_context(|| format!("{}: suite chart --update writes it", path.display()))?;
    let differs = golden.lines().zip(now.lines()).position(|(a, b)| a != b);
    let differs = differs.or_else(|| (golden != now).then(|| golden.lines().count().min(now.lines().count())));
    let Some(line) = differs else { return Ok(()) };
    let (was, is) = (golden.lines().nth(line).unwrap_or("(ends)"), now.lines().nth(line).unwrap_or("(ends)"));
    bail!("{}:{}: golden:   {was}\nrendered: {is}\nif that is meant: suite chart --update", path.display(), line + 1)
}

/// Rendering must fail and the message must hold some words.
fn refused(helm: &Helm, values: &str, words: &str) -> Result<()> {
    let chart = folder()?.display().to_string();
    let rendered = helm.run(&["template", RELEASE, &chart, "--set", values].map(str::to_owned));
    let Err(error) = rendered else { bail!("it was taken") };
    let error = error.to_string();
    ensure!(error.contains(words), "the message doesn't hold {words}: {error}");
    Ok(())
}

fn prepare(cluster: &Cluster) -> Result<()> {
    let pools = fs::read_to_string(folder()?.join("crds/addresspools.yaml"))?;
    let parameters = fs::read_to_string(folder()?.join("crds/gatewayparameters.yaml"))?;
    let mut objects = format!("{MONITORING}---\n{pools}---\n{parameters}");
    for namespace in NAMESPACES {
        objects.push_str(&format!("---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n"));
    }
    cluster.apply(&objects).context("namespaces and CRDs for the dry run can't be made")?;
    let kinds = KINDS.map(|kind| format!("crd/{kind}"));
    let line = [&["--for=condition=Established"], kinds.each_ref().map(String::as_str).as_slice()].concat();
    cluster.wait(&line, std::time::Duration::from_secs(20))
}

/// Takes away what was made here; `before`: the namespaces that were there, as `namespace/NAME` lines.
fn clean(cluster: &Cluster, before: &str) -> Result<()> {
    let ours = |name: &&&str| before.lines().all(|line| line.strip_prefix("namespace/") != Some(name));
    let mut line = vec!["delete", "--ignore-not-found", "--timeout=90s", "namespace"];
    line.extend(NAMESPACES.iter().filter(ours));
    if line.len() > 4 {
        cluster.kubectl(&line)?;
    }
    // Pools may be in use; their kind stays.
    cluster.kubectl(&["delete", "--ignore-not-found", "--wait=false", "crd", KINDS[0], KINDS[1]])?;
    Ok(())
}

/// The API server's validation and admission, and no warning from it; nothing is kept.
fn dry_run(cluster: &Cluster, objects: &str) -> Result<()> {
    let made = dry_run_of(cluster, objects)?;
    let wanted = objects.lines().filter(|line| line.starts_with("kind: ")).count();
    ensure!(made == wanted, "the API server took {made} of {wanted} objects");
    Ok(())
}

/// How many objects it took.
fn dry_run_of(cluster: &Cluster, objects: &str) -> Result<usize> {
    let mut kubectl = cluster.kubectl_command(&["apply", "--dry-run=server", "--warnings-as-errors", "-o", "name", "-f", "-"])?;
    let mut child = kubectl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(objects.as_bytes())?;
    }
    let done = child.wait_with_output()?;
    ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).lines().count())
}
