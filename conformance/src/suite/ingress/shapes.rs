//! The chart's two shapes as they run: what a Pod of the deployment shape is and may do, and the daemonset shape rolled under load.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{NAMESPACE, Rig};
use crate::chart::RELEASE;
use crate::chart::install::Install;
use crate::cluster::{Cluster, Place};
use crate::load::{Arguments, Load};
use crate::suite::Report;

const GROUP: &str = "chart";

/// With the daemonset shape installed and `rules.yaml` applied.
pub fn rolled(rig: &Rig<'_>, install: &Install<'_>, report: &mut Report) {
    let mut note = String::new();
    report.case(GROUP, "the DaemonSet is rolled under load: no request fails", || {
        let to = rig.nodes.iter().filter(|address| address.is_ipv4()).map(|address| SocketAddr::new(*address, 80)).collect();
        let arguments =
            Arguments { to, host: "exact-path-rules".into(), path: "/foo".into(), kept: 4, fresh: 4, pause: 10, limit: 120 };
        let load = Load::start(Command::new(std::env::current_exe()?), &arguments)?;
        let rolled = rig.cluster.kubectl(&["-n", RELEASE, "rollout", "restart", "daemonset/rust-ingress"]);
        let ready = rolled.and_then(|_| install.ready());
        // The last old Pod drains after the rollout is called complete.
        std::thread::sleep(Duration::from_secs(8));
        let outcome = load.stop()?;
        ready?;
        note = format!("DaemonSet rolled once under load: {} requests answered, {} failed", outcome.answers, outcome.failed);
        ensure!(outcome.failed == 0, "{} of {} requests failed: {outcome:?}", outcome.failed, outcome.answers + outcome.failed);
        Ok(())
    });
    report.notes.push(note);
}

/// Installs the deployment shape in the place of the other one.
pub fn deployment(cluster: &Cluster, install: &Install<'_>, report: &mut Report) -> Result<()> {
    let values = ["autoscaling.enabled=false", "replicaCount=1", "service.type=ClusterIP"];
    report.case(GROUP, "the deployment shape is ready: user 65532, no capability, read-only root", || {
        install.chart("l7-only.yaml", &values)
    });
    report.case(GROUP, "a Pod of it answers on port 80", || {
        let pods = ["-n", RELEASE, "get", "pods", "-l", "app.kubernetes.io/name=rust-ingress", "-o", "json"];
        let pods: Value = serde_json::from_str(&cluster.kubectl(&pods)?)?;
        let running = pods["items"].as_array().into_iter().flatten().find(|pod| pod["status"]["phase"] == "Running");
        let pod = running.context("no Pod runs")?;
        let container = &pod["spec"]["containers"][0]["securityContext"];
        ensure!(pod["spec"]["securityContext"]["runAsUser"] == 65532, "{}", pod["spec"]["securityContext"]);
        ensure!(container["capabilities"]["drop"][0] == "ALL" && container["readOnlyRootFilesystem"] == true, "{container}");
        ensure!(container["capabilities"]["add"].is_null(), "{container}");
        let address = pod["status"]["podIP"].as_str().context("the Pod has no address")?;
        let line = ["curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", &format!("http://{address}/")];
        // Pods are not reached from outside; a node reaches them. Nothing is routed here by now, and it says so.
        let status = cluster.run(Place::Network(1), &line)?;
        ensure!(status.trim() == "404", "status {status}");
        Ok(())
    });
    ensure!(cluster.kubectl(&["get", "namespace", NAMESPACE, "--ignore-not-found"])?.is_empty(), "{NAMESPACE} is still there");
    Ok(())
}
