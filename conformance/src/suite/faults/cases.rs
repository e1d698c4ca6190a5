//! The cases: each breaks or replaces something under load, and says what may and may not be seen. A case gives a line of figures.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::processes::{Part, find, kill_and_wait};
use super::workload::HOST;
use super::{Plan, Scene};
use crate::chart::RELEASE as NAMESPACE;
use crate::chart::install::NEXT;
use crate::image::NAME;
use crate::load::Outcome;

/// A case: its name, and what it does.
type Case = (fn(Plan) -> String, fn(&Scene<'_>) -> Result<String>);

/// In the order in which they run; the last ones leave the most behind: of nodes that the API server has just missed, a
/// DaemonSet that is rolled removes its Pods at once.
pub(super) const ALL: [Case; 6] = [
    (|plan| format!("a Deployment of {} Pods is rolled {} times: 0 failed", plan.pods, plan.rollouts), rollout),
    (|plan| format!("the proxy process is killed {} times: nothing refused, serving again", plan.kills), child_killed),
    (
        |plan| format!("the DaemonSet is rolled to another image {} times: nothing refused, nothing reset", plan.rolls),
        daemonset_rolled,
    ),
    (|_| "the Lease holder is killed: status is written again within 20 s".into(), lease_holder_killed),
    (|plan| format!("API server away for {:?}, etcd restarted: 0 failed, converged 2 s after", plan.outage), api_away),
    (|_| "a Pod's processes are killed while the API server is away: the last good state is served".into(), last_good_state),
];

fn none_failed(outcome: &Outcome) -> Result<()> {
    ensure!(outcome.failed == 0, "{}\n{}", outcome.line(), outcome.examples.join("\n"));
    Ok(())
}

fn rollout(scene: &Scene<'_>) -> Result<String> {
    let outcome = scene.under_load(|| (0..scene.plan.rollouts).try_for_each(|_| scene.workload.roll(scene.cluster)))?;
    none_failed(&outcome)?;
    Ok(outcome.line())
}

fn child_killed(scene: &Scene<'_>) -> Result<String> {
    let outcome = scene.under_load(|| {
        (0..scene.plan.kills).try_for_each(|_| {
            kill_and_wait(scene.cluster, 1, Part::Child, Duration::from_secs(10))?;
            std::thread::sleep(Duration::from_secs(1));
            Ok(())
        })
    })?;
    let refused = outcome.failures.get("refused").copied().unwrap_or_default();
    ensure!(refused == 0, "{}\n{}", outcome.line(), outcome.examples.join("\n"));
    // Of twelve clients half ask node1; each has at most one request in flight when its process dies.
    let most = (scene.plan.kills * 6) as u64;
    ensure!(outcome.failed <= most, "more than what was in flight failed: {}", outcome.line());
    Ok(outcome.line())
}

fn api_away(scene: &Scene<'_>) -> Result<String> {
    let cluster = scene.cluster;
    let mut converged = Duration::ZERO;
    let outcome = scene.under_load(|| {
        cluster.stop("apiserver", true)?;
        std::thread::sleep(scene.plan.outage);
        cluster.stop("etcd", true)?;
        cluster.start("etcd")?;
        cluster.start("apiserver")?;
        let host = "after-outage.test";
        let patience = Duration::from_secs(60);
        scene.workload.api_is_back(cluster, patience)?;
        scene.workload.add_host(cluster, host)?;
        let created = Instant::now();
        scene.workload.served(cluster, host, patience)?;
        converged = created.elapsed();
        Ok(())
    })?;
    none_failed(&outcome)?;
    ensure!(converged <= Duration::from_secs(2), "converged after {converged:?}");
    Ok(format!("converged {} ms after the first write that the API server took; {}", converged.as_millis(), outcome.line()))
}

fn lease_holder_killed(scene: &Scene<'_>) -> Result<String> {
    let cluster = scene.cluster;
    let lease = ["-n", NAMESPACE, "get", "lease", "rust-ingress", "-o", "jsonpath={.spec.holderIdentity}"];
    let holder = cluster.kubectl(&lease)?;
    let pod = holder.split('_').next().unwrap_or_default();
    let query = "jsonpath={.spec.nodeName}";
    let node = cluster.kubectl(&["-n", NAMESPACE, "get", "pod", pod, "-o", query])?;
    let number: u8 = node.trim().trim_start_matches("node").parse().with_context(|| format!("holder {holder} on {node}"))?;
    // Stopped, not ended: an ended one is started again by the kubelet at once and would take its own Lease back.
    let parent = find(cluster, number, Part::Parent)?;
    rustix::process::kill_process(parent, rustix::process::Signal::STOP)?;
    let begin = Instant::now();
    let host = "after-lease.test";
    let written = (|| -> Result<Duration> {
        scene.workload.add_host(cluster, host)?;
        loop {
            if !scene.workload.status(cluster, host)?.is_empty() {
                return Ok(begin.elapsed());
            }
            ensure!(begin.elapsed() < Duration::from_secs(40), "no status after {:?}", begin.elapsed());
            std::thread::sleep(Duration::from_millis(200));
        }
    })();
    rustix::process::kill_process(parent, rustix::process::Signal::CONT)?;
    let written = written?;
    ensure!(written <= Duration::from_secs(20), "written after {written:?}");
    Ok(format!("written {:.1} s after the holder was stopped", written.as_secs_f64()))
}

fn daemonset_rolled(scene: &Scene<'_>) -> Result<String> {
    let outcome = scene.under_load(|| {
        (0..scene.plan.rolls).try_for_each(|roll| {
            let image = format!("rust-ingress={}", if roll % 2 == 0 { NEXT } else { NAME });
            scene.cluster.kubectl(&["-n", NAMESPACE, "set", "image", "daemonset/rust-ingress", &image])?;
            let status = ["-n", NAMESPACE, "rollout", "status", "daemonset/rust-ingress", "--timeout=180s"];
            scene.cluster.kubectl(&status).map(drop)
        })
    })?;
    none_failed(&outcome)?;
    Ok(outcome.line())
}

fn last_good_state(scene: &Scene<'_>) -> Result<String> {
    let cluster = scene.cluster;
    // What is to be served must have been written down: at most every 5 s.
    std::thread::sleep(Duration::from_secs(6));
    cluster.stop("apiserver", true)?;
    let served = (|| -> Result<Duration> {
        kill_and_wait(cluster, 1, Part::Parent, Duration::from_secs(60))?;
        let begin = Instant::now();
        scene.workload.served(cluster, HOST, Duration::from_secs(30))?;
        Ok(begin.elapsed())
    })();
    cluster.start("apiserver")?;
    scene.workload.api_is_back(cluster, Duration::from_secs(60))?;
    let served = served?;
    Ok(format!("serving {} ms after the new process was seen", served.as_millis()))
}
