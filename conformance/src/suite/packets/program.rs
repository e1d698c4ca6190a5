//! The program itself on the rig's node, from a folder of manifests: parent and child, as they run on a node of a cluster.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::rig::{Family, Rig, at};

/// Longer than a start takes on a machine under load.
const PATIENCE: Duration = Duration::from_secs(30);

/// The program, running.
pub struct Program {
    parent: Child,
    folder: TempDir,
}

impl Program {
    /// Starts it on the node with these objects, and the Node itself.
    pub fn start(rig: &Rig, program: &Path, objects: &[Value]) -> Result<Self> {
        let folder = TempDir::new()?;
        write(folder.path(), objects)?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", rig.node.name()]).arg(program);
        command.args(["run", "--l4", "--node-name", "node1", "--log-level", "warn", "--manifests"]).arg(folder.path());
        let parent = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("the program can't be started")?;
        Ok(Self { parent, folder })
    }

    /// Other objects from now on.
    pub fn change(&self, objects: &[Value]) -> Result<()> {
        write(self.folder.path(), objects)
    }

    /// Sends its child, the proxy, a signal.
    pub fn signal_child(&self, signal: Signal) -> Result<()> {
        Ok(kill_process(self.child()?, signal)?)
    }

    /// Kills both processes at once.
    pub fn kill_both(mut self) -> Result<()> {
        let child = self.child()?;
        kill_process(Pid::from_child(&self.parent), Signal::KILL)?;
        // It hears of its parent's end, and may be gone already.
        let _ = kill_process(child, Signal::KILL);
        self.parent.wait()?;
        Ok(())
    }

    /// Ends it as a kubelet does.
    pub fn stop(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.parent), Signal::TERM)?;
        let begin = Instant::now();
        while self.parent.try_wait()?.is_none() {
            ensure!(begin.elapsed() < PATIENCE, "the program doesn't end");
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The proxy's process; waits for one where another is about to be started.
    fn child(&self) -> Result<Pid> {
        let parent = self.parent.id();
        let begin = Instant::now();
        loop {
            let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
            let tasks = fs::read_dir(format!("/proc/{parent}/task"))?.flatten();
            let all = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
            let found = format!("{children} {all}").split_whitespace().find_map(|pid| Pid::from_raw(pid.parse().ok()?));
            if let Some(found) = found {
                return Ok(found);
            }
            ensure!(begin.elapsed() < PATIENCE, "the program has no child");
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.parent.try_wait().is_ok_and(|ended| ended.is_none()) {
            // The child hears of it, and ends.
            let _ = kill_process(Pid::from_child(&self.parent), Signal::KILL);
            let _ = self.parent.wait();
        }
    }
}

fn write(folder: &Path, objects: &[Value]) -> Result<()> {
    let node = json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node1"},
        "spec": {"podCIDRs": ["10.244.1.0/24", "fd00:244:1::/64"]},
        "status": {"addresses": Family::BOTH.map(|family| json!({"type": "InternalIP", "address": at::node(family)}))},
    });
    let text: Vec<String> = [&node].into_iter().chain(objects).map(Value::to_string).collect();
    // At once, as an editor does it: half a file would be a fault.
    let next = folder.join(".next");
    fs::write(&next, text.join("\n---\n"))?;
    fs::rename(next, folder.join("objects.yaml"))?;
    Ok(())
}

/// A Service of both families, with a port for HTTP and one for bytes, and slices with these endpoints.
pub fn objects(l7: Option<&str>, endpoints: fn(Family) -> Vec<(IpAddr, &'static str)>) -> Vec<Value> {
    let annotations = l7.map(|l7| json!({"rust-ingress.dev/l7": l7}));
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default", "annotations": annotations},
        "spec": {
            "type": "NodePort",
            "clusterIP": at::cluster_ip(Family::V4),
            "clusterIPs": Family::BOTH.map(at::cluster_ip),
            "externalIPs": Family::BOTH.map(at::external),
            "ports": [
                {"name": "web", "port": 80, "nodePort": 30080, "targetPort": 8081, "appProtocol": "http"},
                {"name": "bytes", "port": 81, "nodePort": 30081, "targetPort": 8080},
            ],
        },
    });
    let slice = |family: Family| {
        let kind = if family == Family::V4 { "IPv4" } else { "IPv6" };
        let endpoint =
            |(address, node): &(IpAddr, &str)| json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true}});
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"name": format!("web-{}", kind.to_lowercase()), "namespace": "default", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": kind,
            "ports": [{"name": "web", "port": 8081, "protocol": "TCP"}, {"name": "bytes", "port": 8080, "protocol": "TCP"}],
            "endpoints": endpoints(family).iter().map(endpoint).collect::<Vec<_>>(),
        })
    };
    [service].into_iter().chain(Family::BOTH.map(slice)).collect()
}
