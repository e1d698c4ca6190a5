//! `suite status`: what the program writes on objects, and what it leaves alone, against a real API server without nodes.

mod rig;

use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::Report;
use crate::bench::process::Process;
use crate::built::release;
use crate::cluster::{ETCD, KUBERNETES};
use rig::{NAMESPACE, OURS, Rig, ingress, until};

/// What to run.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The program [default: a release build of this checkout]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// What ordinary writes may take, on a busy machine.
const SOON: Duration = Duration::from_secs(15);
/// What issue "Test cluster" promises of a dead holder of the Lease, and of status after it.
const REPLACED: Duration = Duration::from_secs(15);
const WRITTEN_AGAIN: Duration = Duration::from_secs(20);
/// Longer than the writer's sweep: what is to be written without a cause would have been.
const QUIET: Duration = Duration::from_secs(12);
/// Ingresses that are there before the first leader.
const MANY: usize = 400;

const FIXED: [&str; 2] = ["--publish-address", OURS];

/// Runs the suite.
pub fn run(arguments: &Arguments) -> Result<Report> {
    let program = arguments.program.clone().map_or_else(release, Ok)?;
    let mut rig = Rig::start(program)?;
    let mut report = Report::new("status", format!("Kubernetes {KUBERNETES}, etcd {ETCD}, no nodes"));
    let mut notes = Vec::new();
    let first = rig.run("first", &FIXED)?;
    ours(&mut report, &rig)?;
    moves(&mut report, &rig)?;
    events(&mut report, &rig)?;
    leaders(&mut report, &rig, first, &mut notes)?;
    addresses(&mut report, &rig);
    many(&mut report, &rig, &mut notes);
    trouble(&mut report, &mut rig);
    report.notes = notes;
    Ok(report)
}

/// What stands on Ingresses of ours, and of others.
fn ours(report: &mut Report, rig: &Rig) -> Result<()> {
    rig.ingress("theirs", "other")?;
    rig.other_writes("theirs", &["198.51.100.1"])?;
    let theirs = rig.addresses("theirs")?;
    report.case("addresses", "an Ingress of ours gets the published address", || {
        rig.ingress("web", "rust-ingress")?;
        rig.until_addresses("web", OURS, SOON).map(drop)
    });
    report.case("addresses", "what another hand writes on it is mended", || {
        rig.other_writes("web", &["198.51.100.9"])?;
        rig.until_addresses("web", OURS, SOON).map(drop)
    });
    report.case("addresses", "nothing is written while nothing changes", || {
        let before = rig.addresses("web")?;
        sleep(QUIET);
        let after = rig.addresses("web")?;
        ensure!(before == after, "version {} became {}", before.1, after.1);
        Ok(())
    });
    report.case("addresses", "an Ingress of another class is left alone", || {
        let now = rig.addresses("theirs")?;
        ensure!(theirs == now, "{theirs:?} became {now:?}");
        Ok(())
    });
    Ok(())
}

/// Ingresses that change their class.
fn moves(report: &mut Report, rig: &Rig) -> Result<()> {
    for name in ["moves", "shares"] {
        rig.ingress(name, "rust-ingress")?;
        rig.until_addresses(name, OURS, SOON)?;
    }
    report.case("class", "an Ingress that moves to another class loses our address", || {
        rig.ingress("moves", "other")?;
        rig.until_addresses("moves", "", SOON).map(drop)
    });
    report.case("class", "its new owner's address stays", || {
        rig.other_writes("moves", &["198.51.100.1"])?;
        sleep(QUIET);
        let (found, _) = rig.addresses("moves")?;
        ensure!(found == "198.51.100.1", "{found:?}");
        Ok(())
    });
    report.case("class", "it gets ours again when it comes back", || {
        rig.ingress("moves", "rust-ingress")?;
        rig.until_addresses("moves", OURS, SOON).map(drop)
    });
    report.case("class", "what its new owner writes with the move stays, even where both publish the same address", || {
        // In one write each, as quick as kubectl is: the other controller may be quicker than we are, or slower.
        rig.ingress("shares", "other")?;
        rig.other_writes("shares", &[OURS, "198.51.100.1"])?;
        rig.other_writes("shares", &[OURS])?;
        sleep(QUIET);
        let (found, _) = rig.addresses("shares")?;
        ensure!(found == OURS, "{found:?}");
        Ok(())
    });
    Ok(())
}

/// What `kubectl describe` says.
fn events(report: &mut Report, rig: &Rig) -> Result<()> {
    rig.ingress("broken", "rust-ingress")?;
    report.case("events", "a fault that lasts is told once, with what to do", || {
        until(SOON, || one(rig, "broken", "Warning ServiceNotFound ")).map(drop)?;
        let described = rig.plane.kubectl(&["describe", "ingress", "broken"])?;
        ensure!(described.contains("ServiceNotFound"), "kubectl describe says:\n{described}");
        sleep(QUIET);
        one(rig, "broken", "Warning ServiceNotFound ")
    });
    report.case("events", "when it is mended, that is told too", || {
        rig.apply(&service("broken"))?;
        until(SOON, || one(rig, "broken", "Normal Resolved ServiceNotFound")).map(drop)
    });
    report.case("events", "one that comes again adds to the series", || {
        rig.plane.kubectl(&["delete", "service", "broken"])?;
        until(SOON, || one(rig, "broken", "Warning ServiceNotFound 2 ")).map(drop)
    });
    report.case("events", "a Service that comes just after its Ingress makes no noise about not being there", || {
        rig.ingress("early", "rust-ingress")?;
        rig.apply(&service("early"))?;
        sleep(Duration::from_secs(4));
        let found = rig.events("early")?;
        ensure!(!found.iter().any(|line| line.contains("ServiceNotFound")), "{found:?}");
        Ok(())
    });
    report.case("events", "an annotation that guards and isn't supported is told", || {
        let mut guarded = ingress("guarded", "rust-ingress");
        guarded["metadata"]["annotations"] = json!({"nginx.ingress.kubernetes.io/auth-url": "https://auth.example.com"});
        rig.apply(&guarded)?;
        until(SOON, || one(rig, "guarded", "Warning UnsupportedGuard ")).map(drop)
    });
    Ok(())
}

/// Exactly one Event of an Ingress must begin like this.
fn one(rig: &Rig, name: &str, begins: &str) -> Result<()> {
    let found = rig.events(name)?;
    let count = found.iter().filter(|line| line.starts_with(begins)).count();
    ensure!(count == 1, "{count} Events begin with {begins:?}; there are {found:#?}");
    Ok(())
}

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": {"ports": [{"port": 80}]}})
}

/// Who writes, and who does when that one is gone.
fn leaders(report: &mut Report, rig: &Rig, mut first: Process, notes: &mut Vec<String>) -> Result<()> {
    let mut second = rig.run("second", &FIXED)?;
    let quiet = report.case("leader", "a second copy writes nothing", || {
        sleep(Duration::from_secs(5));
        ensure!(rig.leader()? == "first", "the Lease is held by {:?}", rig.leader()?);
        Ok(())
    });
    let begin = Instant::now();
    first.kill()?;
    rig.ingress("orphan", "rust-ingress")?;
    report.case("leader", "a holder that is killed is replaced in 15 s, status written again in 20 s", || {
        ensure!(quiet, "the first copy never led");
        rig.until_leader("second", REPLACED)?;
        let replaced = begin.elapsed();
        rig.until_addresses("orphan", OURS, WRITTEN_AGAIN.saturating_sub(replaced))?;
        let written = begin.elapsed().as_secs_f64();
        notes.push(format!("holder killed: replaced after {:.1} s, status written after {written:.1} s", replaced.as_secs_f64()));
        Ok(())
    });
    let third = rig.run("third", &FIXED)?;
    report.case("leader", "one that is stopped gives the Lease back: the next has it in 6 s", || {
        until(SOON, || {
            ensure!(third.printed().contains("another holds the Lease"), "it printed:\n{}", third.printed());
            Ok(())
        })?;
        second.terminate()?;
        let took = rig.until_leader("third", Duration::from_secs(6))?;
        notes.push(format!("holder stopped: replaced after {:.1} s", took.as_secs_f64()));
        Ok(())
    });
    Ok(())
}

/// Where addresses come from.
fn addresses(report: &mut Report, rig: &Rig) {
    report.case("publish", "a Service's addresses, as they change", || {
        let mut front = service("front");
        front["spec"]["type"] = json!("LoadBalancer");
        front["spec"]["externalIPs"] = json!(["203.0.113.20"]);
        rig.apply(&front)?;
        let _program = rig.run("service", &["--publish-service", "default/front"])?;
        rig.until_addresses("web", "203.0.113.20", WRITTEN_AGAIN)?;
        let balancer = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.21"}, {"hostname": "lb.example.com"}]}});
        rig.patch_status("service", "front", "default", &balancer)?;
        rig.until_addresses("web", "203.0.113.20 203.0.113.21 lb.example.com", SOON).map(drop)
    });
    report.case("publish", "the addresses of the nodes with a ready Pod of ours", || {
        node(rig, "n1", &[("InternalIP", "10.0.0.1"), ("InternalIP", "fd00::1"), ("ExternalIP", "203.0.113.31")])?;
        node(rig, "n2", &[("InternalIP", "10.0.0.2"), ("InternalIP", "fd00::2")])?;
        pod(rig, "nodes", "n1", true)?;
        pod(rig, "another", "n2", false)?;
        let _program = rig.run("nodes", &[])?;
        rig.until_addresses("web", "203.0.113.31", WRITTEN_AGAIN)?;
        pod(rig, "another", "n2", true)?;
        rig.until_addresses("web", "10.0.0.2 203.0.113.31 fd00::2", SOON)?;
        // It stays for a while, so that a restart costs no write.
        pod(rig, "another", "n2", false)?;
        let took = rig.until_addresses("web", "203.0.113.31", SOON * 2)?;
        ensure!(took > Duration::from_secs(8), "taken away after {took:?}");
        Ok(())
    });
}

fn node(rig: &Rig, name: &str, addresses: &[(&str, &str)]) -> Result<()> {
    rig.apply(&json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}))?;
    let list: Vec<Value> = addresses.iter().map(|(kind, address)| json!({"type": kind, "address": address})).collect();
    rig.patch_status("node", name, "", &json!({"addresses": list}))
}

fn pod(rig: &Rig, name: &str, node: &str, ready: bool) -> Result<()> {
    let labels = json!({"app.kubernetes.io/name": "rust-ingress", "app.kubernetes.io/instance": "suite"});
    rig.apply(&json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": {"nodeName": node, "containers": [{"name": "rust-ingress", "image": "rust-ingress"}]}
    }))?;
    let ready = if ready { "True" } else { "False" };
    rig.patch_status("pod", name, NAMESPACE, &json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}))
}

/// Many at once.
fn many(report: &mut Report, rig: &Rig, notes: &mut Vec<String>) {
    let names: Vec<String> = (0..MANY).map(|n| format!("many-{n}")).collect();
    let left = |rig: &Rig| -> Result<usize> {
        let listed: Value = serde_json::from_str(&rig.plane.kubectl(&["get", "ingress", "-o", "json"])?)?;
        let items = listed.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
        let ours = items.iter().filter(|item| item.pointer("/spec/ingressClassName") == Some(&json!("rust-ingress")));
        Ok(ours.filter(|item| item.pointer("/status/loadBalancer/ingress/0/ip") != Some(&json!(OURS))).count())
    };
    report.case("rate", "many Ingresses get theirs at no more than 50 a second after the first 100", || {
        let objects: Vec<String> = names.iter().map(|name| ingress(name, "rust-ingress").to_string()).collect();
        rig.plane.apply(&objects.join("\n---\n"))?;
        let _program = rig.run("many", &FIXED)?;
        rig.until_addresses("many-0", OURS, WRITTEN_AGAIN)?;
        let took = until(Duration::from_secs(60), || {
            let left = left(rig)?;
            ensure!(left == 0, "{left} are without");
            Ok(())
        })?;
        notes.push(format!("{MANY} Ingresses: all written {:.1} s after the first", took.as_secs_f64()));
        let least = Duration::from_millis((MANY as u64 - 100) * 20).saturating_sub(Duration::from_secs(2));
        ensure!(took > least, "all of {MANY} in {took:?}");
        Ok(())
    });
    report.case("rate", "the next leader writes none of them again", || {
        let before = rig.plane.kubectl(&["get", "ingress", "-o", "jsonpath={.items[*].metadata.resourceVersion}"])?;
        let program = rig.run("next", &FIXED)?;
        rig.until_leader("next", WRITTEN_AGAIN)?;
        sleep(QUIET);
        let after = rig.plane.kubectl(&["get", "ingress", "-o", "jsonpath={.items[*].metadata.resourceVersion}"])?;
        ensure!(before == after, "versions changed; it printed:\n{}", program.printed());
        Ok(())
    });
}

/// Bad surroundings.
fn trouble(report: &mut Report, rig: &mut Rig) {
    report.case("trouble", "without the right to write, the log names what to grant", || {
        let token = rig.reader()?;
        let kubeconfig = rig.plane.folder().join("reader.kubeconfig");
        std::fs::write(&kubeconfig, rig.plane.kubeconfig_of(&token))?;
        rig.ingress("forbidden", "rust-ingress")?;
        let program = rig.run_as("reader", &kubeconfig, &FIXED)?;
        until(WRITTEN_AGAIN, || {
            let printed = program.printed();
            ensure!(printed.contains("ingresses/status"), "it printed:\n{printed}");
            Ok(())
        })
        .map(drop)
    });
    report.case("trouble", "after the API server was away, writing goes on", || {
        let program = rig.run("patient", &FIXED)?;
        rig.until_leader("patient", WRITTEN_AGAIN)?;
        rig.plane.stop_apiserver();
        sleep(QUIET);
        rig.plane.start_apiserver()?;
        rig.ingress("after", "rust-ingress")?;
        rig.until_addresses("after", OURS, WRITTEN_AGAIN).map_err(|error| error.context(program.printed())).map(drop)
    });
}
