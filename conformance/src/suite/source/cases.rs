//! The cases of `suite source`, in order; each names what should be so.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};

use super::objects::{account, class, ingress, list, may_read, may_read_one, namespace, secret, service, slice};
use super::rig::Program;
use crate::control_plane::ControlPlane;
use crate::suite::Report;

/// More than are watched one by one in a namespace.
const MANY: usize = 210;

/// Runs all.
pub(super) fn all(plane: &mut ControlPlane, report: &mut Report) {
    if !report.case("start", "the cluster has objects", || prepare(plane)) {
        return;
    }
    report.case("start", "an API server that is away is waited for, and named", || away_at_start(plane));
    report.case("changes", "what comes, changes and goes is live without a restart", || changes(plane));
    report
        .case("faults", "an API server that restarts takes nothing away, and what changed meanwhile arrives", || restart(plane));
    report.case("faults", "a watch that has expired (410) lists again, and what was deleted goes", || expired(plane));
    report
        .case("rights", "a kind that may not be read is named with what to grant, and read once it may be", || forbidden(plane));
    report.case("rights", "without the right to read IngressClasses our class is known by its name", || no_classes(plane));
    report.case("rights", "with Roles in one namespace only that one is served", || one_namespace(plane));
    report.case("secrets", "one Secret is read where only that one may be", || one_secret(plane));
    report
        .case("secrets", "a Secret that may not be read is a fault of its Ingress and stops nothing else", || no_secrets(plane));
    report.case("secrets", "a certificate comes, changes and goes with its Secret", || life_of_a_secret(plane));
    report.case(
        "secrets",
        "an Ingress that is pointed at another Secret is served with the old or the new, never without",
        || other_secret(plane),
    );
    report.case("secrets", "the default certificate comes from a Secret, changes with it, and is made where it is gone", || {
        default_secret(plane)
    });
    report.case("secrets", &format!("{MANY} Secrets of a namespace are read, and unread when nobody names them"), || many(plane));
}

fn prepare(plane: &ControlPlane) -> Result<()> {
    plane.apply(&list(&[namespace("team-a"), namespace("team-b"), class()]))?;
    plane.apply(&list(&[service("team-a", "web"), slice("team-a", "web", "192.0.2.10"), service("team-b", "web")]))?;
    plane.apply(&list(&[ingress("team-a", "web", "a.example", None), ingress("team-b", "web", "b.example", None)]))?;
    Ok(())
}

fn away_at_start(plane: &mut ControlPlane) -> Result<()> {
    plane.stop_apiserver();
    let program = Program::start(plane, "away", &[])?;
    program.says("the API server can't be read")?;
    ensure!(!program.is_ready()?, "it is ready without having read anything");
    plane.start_apiserver()?;
    program.ready()?;
    program.says("the API server answers")?;
    ensure!(program.process.printed().matches("the API server can't be read").count() == 1, "it says so more than once a minute");
    program.serves(&["a.example", "b.example"])
}

fn changes(plane: &ControlPlane) -> Result<()> {
    let program = Program::start(plane, "changes", &[])?;
    program.ready()?;
    ensure!(program.status("c.example")? == 404, "a host that no Ingress has isn't answered 404");
    plane.apply(&list(&[ingress("team-b", "more", "c.example", None)]))?;
    program.serves(&["a.example", "b.example", "c.example"])?;
    // 503: the route is there, its Service has no endpoint. One that had would send this request out of the machine.
    let status = program.status("c.example")?;
    ensure!(status != 404, "a route of the snapshot is answered {status}");
    plane.apply(&list(&[slice("team-a", "web", "192.0.2.11")]))?;
    program.reaches("team-a/web:80", "192.0.2.11:8080")?;
    plane.apply(&list(&[slice("team-a", "web", "192.0.2.10")]))?;
    plane.kubectl(&["-n", "team-b", "delete", "ingress", "more"])?;
    program.serves(&["a.example", "b.example"])
}

fn restart(plane: &mut ControlPlane) -> Result<()> {
    let program = Program::start(plane, "restart", &[])?;
    program.ready()?;
    plane.stop_apiserver();
    program.says("the API server can't be read")?;
    ensure!(program.is_ready()? && program.status("b.example")? == 503, "what was served isn't any more");
    plane.stop_etcd();
    plane.start_etcd()?;
    plane.start_apiserver()?;
    plane.apply(&list(&[ingress("team-a", "more", "c.example", None)]))?;
    program.serves(&["a.example", "b.example", "c.example"])?;
    plane.kubectl(&["-n", "team-a", "delete", "ingress", "more"])?;
    program.serves(&["a.example", "b.example"])
}

/// The program sleeps while objects change, and wakes to an API server whose memory begins after that.
fn expired(plane: &mut ControlPlane) -> Result<()> {
    plane.apply(&list(&[ingress("team-a", "more", "c.example", None)]))?;
    let program = Program::start(plane, "expired", &[])?;
    program.ready()?;
    program.serves(&["a.example", "b.example", "c.example"])?;
    program.process.pause()?;
    plane.kubectl(&["-n", "team-a", "delete", "ingress", "more"])?;
    plane.apply(&list(&[ingress("team-b", "more", "d.example", None)]))?;
    plane.stop_apiserver();
    compact(plane)?;
    plane.start_apiserver()?;
    program.process.go_on()?;
    program.serves(&["a.example", "b.example", "d.example"])?;
    program.says("listing again")?;
    plane.kubectl(&["-n", "team-b", "delete", "ingress", "more"]).map(drop)
}

/// etcd forgets all revisions but the last.
fn compact(plane: &ControlPlane) -> Result<()> {
    let head = plane.etcd("/v3/kv/range", &serde_json::json!({"key": "AA=="}))?;
    let revision = head.pointer("/header/revision").and_then(serde_json::Value::as_str).context("etcd says no revision")?;
    plane.etcd("/v3/kv/compaction", &serde_json::json!({"revision": revision, "physical": true})).map(drop)
}

/// All that is read but Ingresses.
fn all_but_ingresses() -> Vec<serde_json::Value> {
    vec![
        may_read("", &["services", "secrets"]),
        may_read("discovery.k8s.io", &["endpointslices"]),
        may_read("networking.k8s.io", &["ingressclasses"]),
    ]
}

fn forbidden(plane: &ControlPlane) -> Result<()> {
    plane.apply(&list(&account("no-ingresses", None, &all_but_ingresses())))?;
    let program = Program::start_as(plane, "forbidden", "no-ingresses", &[])?;
    program.says("grant the verbs list and watch on resource ingresses in API group \"networking.k8s.io\"")?;
    ensure!(!program.is_ready()?, "it is ready without a single Ingress");
    let mut rules = all_but_ingresses();
    rules.push(may_read("networking.k8s.io", &["ingresses"]));
    plane.apply(&list(&account("no-ingresses", None, &rules)))?;
    program.ready()?;
    program.serves(&["a.example", "b.example"])
}

fn no_classes(plane: &ControlPlane) -> Result<()> {
    let rules = [
        may_read("", &["services", "secrets"]),
        may_read("discovery.k8s.io", &["endpointslices"]),
        may_read("networking.k8s.io", &["ingresses"]),
    ];
    plane.apply(&list(&account("no-classes", None, &rules)))?;
    let program = Program::start_as(plane, "classes", "no-classes", &[])?;
    program.ready()?;
    program.says("may not read ingressclasses")?;
    program.serves(&["a.example", "b.example"])
}

fn one_namespace(plane: &ControlPlane) -> Result<()> {
    let rules = [
        may_read("", &["services", "secrets"]),
        may_read("discovery.k8s.io", &["endpointslices"]),
        may_read("networking.k8s.io", &["ingresses"]),
    ];
    plane.apply(&list(&account("team-a-only", Some("team-a"), &rules)))?;
    let program = Program::start_as(plane, "namespace", "team-a-only", &["--watch-namespace", "team-a"])?;
    program.ready()?;
    program.serves(&["a.example"])?;
    program.reaches("team-a/web:80", "192.0.2.10:8080")
}

fn reads_no_secrets() -> Vec<serde_json::Value> {
    vec![
        may_read("", &["services"]),
        may_read("discovery.k8s.io", &["endpointslices"]),
        may_read("networking.k8s.io", &["ingresses", "ingressclasses"]),
    ]
}

fn one_secret(plane: &ControlPlane) -> Result<()> {
    let mut rules = reads_no_secrets();
    rules.push(may_read_one("secrets", "one"));
    plane.apply(&list(&account("one-secret", None, &rules)))?;
    plane.apply(&list(&[secret("team-a", "one", "a.example")?, ingress("team-a", "web", "a.example", Some("one"))]))?;
    let program = Program::start_as(plane, "one", "one-secret", &[])?;
    program.ready()?;
    program.certifies(1)
}

fn no_secrets(plane: &ControlPlane) -> Result<()> {
    plane.apply(&list(&account("no-secrets", None, &reads_no_secrets())))?;
    let program = Program::start_as(plane, "none", "no-secrets", &[])?;
    program.ready()?;
    program.faulted("Secret team-a/one may not be read")?;
    program.serves(&["a.example", "b.example"])?;
    ensure!(program.certified()? == 0, "a certificate without the right to read it");
    Ok(())
}

fn life_of_a_secret(plane: &ControlPlane) -> Result<()> {
    let program = Program::start(plane, "life", &[])?;
    program.ready()?;
    // The first snapshot has it already: no moment with the default certificate.
    let first = program.fingerprint("a.example")?.context("ready without the certificate")?;
    plane.apply(&list(&[secret("team-a", "one", "a.example")?]))?;
    program.soon("the new certificate isn't used", || {
        Ok((program.fingerprint("a.example")? != Some(first.clone())).then_some(()))
    })?;
    plane.kubectl(&["-n", "team-a", "delete", "secret", "one"])?;
    program.certifies(0)?;
    program.faulted("Secret team-a/one isn't there")?;
    plane.apply(&list(&[secret("team-a", "one", "a.example")?]))?;
    program.certifies(1)?;
    plane.apply(&list(&[ingress("team-a", "web", "a.example", None)]))?;
    program.certifies(0)
}

fn other_secret(plane: &ControlPlane) -> Result<()> {
    let pointed_at = |name| ingress("team-a", "web", "a.example", Some(name));
    plane.apply(&list(&[secret("team-a", "one", "a.example")?, secret("team-a", "two", "a.example")?, pointed_at("one")]))?;
    let program = Program::start(plane, "other", &[])?;
    program.ready()?;
    let mut presented = BTreeSet::new();
    for name in ["two", "one", "two", "one", "two"] {
        let before = program.fingerprint("a.example")?;
        plane.apply(&list(&[pointed_at(name)]))?;
        program.soon("the other certificate isn't used", || {
            let now = program.fingerprint("a.example")?;
            ensure!(now.is_some(), "a moment without a certificate");
            Ok((now != before).then_some(()))
        })?;
        presented.insert(program.fingerprint("a.example")?);
    }
    ensure!(presented.len() == 2, "{} certificates were presented", presented.len());
    let log = program.process.printed();
    ensure!(!log.contains("isn't there"), "a Secret was missing for a moment:\n{log}");
    plane.apply(&list(&[ingress("team-a", "web", "a.example", None)])).map(drop)
}

fn default_secret(plane: &ControlPlane) -> Result<()> {
    plane.apply(&list(&[secret("team-b", "default-tls", "default.example")?]))?;
    let program = Program::start(plane, "default", &["--default-certificate-secret", "team-b/default-tls"])?;
    program.ready()?;
    let first = program.default_fingerprint()?;
    ensure!(first.bytes().any(|digit| digit != b'0'), "the certificate made at start is presented");
    plane.apply(&list(&[secret("team-b", "default-tls", "default.example")?]))?;
    program.soon("the new one isn't used", || Ok((program.default_fingerprint()? != first).then_some(())))?;
    plane.kubectl(&["-n", "team-b", "delete", "secret", "default-tls"])?;
    program.faulted("the Secret of the default certificate isn't there")?;
    let made = program.default_fingerprint()?;
    ensure!(made.bytes().all(|digit| digit == b'0'), "{made} is presented although its Secret is gone");
    Ok(())
}

fn many(plane: &ControlPlane) -> Result<()> {
    let mut objects = vec![namespace("many"), service("many", "web")];
    for number in 0..MANY {
        let (name, host) = (format!("tls-{number}"), format!("h{number}.many.example"));
        objects.push(secret("many", &name, &host)?);
        objects.push(ingress("many", &name, &host, Some(&name)));
    }
    plane.apply(&list(&objects))?;
    let program = Program::start(plane, "many", &[])?;
    program.ready()?;
    ensure!(program.certified()? == MANY, "ready with {} of {MANY} certificates", program.certified()?);
    // A Secret that comes later, and one that changes.
    plane.apply(&list(&[
        secret("many", "later", "later.many.example")?,
        ingress("many", "later", "later.many.example", Some("later")),
    ]))?;
    program.certifies(MANY + 1)?;
    let first = program.fingerprint("h7.many.example")?;
    plane.apply(&list(&[secret("many", "tls-7", "h7.many.example")?]))?;
    program.soon("the new certificate isn't used", || Ok((program.fingerprint("h7.many.example")? != first).then_some(())))?;
    plane.kubectl(&["-n", "many", "delete", "ingress", "--all"])?;
    program.certifies(0)?;
    plane.kubectl(&["delete", "namespace", "many", "--wait=false"]).map(drop)
}
