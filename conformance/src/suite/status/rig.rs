//! What the status suite's cases stand on: a control plane, objects, copies of the program, and questions that are asked until
//! the answer is right.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::bench::process::Process;
use crate::control_plane::ControlPlane;

/// What the program publishes, unless a case says otherwise.
pub const OURS: &str = "203.0.113.7";
/// Where the program's Pods would be.
pub const NAMESPACE: &str = "rust-ingress";

/// A control plane and a program to run against it.
pub struct Rig {
    /// The API.
    pub plane: ControlPlane,
    program: PathBuf,
}

impl Rig {
    /// Starts the control plane with our class, another's, and our namespace.
    pub fn start(program: PathBuf) -> Result<Self> {
        let rig = Self { plane: ControlPlane::start()?, program };
        let class = |name: &str, controller: &str| json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": name}, "spec": {"controller": controller}});
        rig.apply(&class("rust-ingress", "rust-ingress.dev/ingress-controller"))?;
        rig.apply(&class("other", "example.com/other"))?;
        rig.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}))?;
        Ok(rig)
    }

    /// Starts a copy of the program as the Pod `pod`.
    pub fn run(&self, pod: &str, flags: &[&str]) -> Result<Process> {
        self.run_as(pod, &self.plane.kubeconfig(), flags)
    }

    /// The same with another kubeconfig.
    pub fn run_as(&self, pod: &str, kubeconfig: &std::path::Path, flags: &[&str]) -> Result<Process> {
        let mut command = Command::new(&self.program);
        command.arg("run").arg("--kubeconfig").arg(kubeconfig).args(["--http", "127.0.0.1:0", "--https", "127.0.0.1:0"]);
        command.args(["--admin", "off", "--health", "off", "--workers", "1"]).args(flags);
        command.env("POD_NAME", pod).env("POD_NAMESPACE", NAMESPACE);
        Process::start(&mut command, pod, self.plane.folder())
    }

    /// Applies one object.
    pub fn apply(&self, object: &Value) -> Result<()> {
        self.plane.apply(&object.to_string()).map(drop)
    }

    /// Makes an Ingress of this class, for a Service that isn't there.
    pub fn ingress(&self, name: &str, class: &str) -> Result<()> {
        self.apply(&ingress(name, class))
    }

    /// Writes an Ingress' addresses as another controller would.
    pub fn other_writes(&self, name: &str, ips: &[&str]) -> Result<()> {
        let list: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        self.patch_status("ingress", name, "default", &json!({"loadBalancer": {"ingress": list}}))
    }

    /// Sets an object's status, which apply can't.
    pub fn patch_status(&self, kind: &str, name: &str, namespace: &str, status: &Value) -> Result<()> {
        let patch = json!({"status": status}).to_string();
        let line =
            ["-n", namespace, "patch", kind, name, "--subresource=status", "--field-manager=other", "--type=merge", "-p", &patch];
        self.plane.kubectl(&line).map(drop)
    }

    /// An object as it is.
    pub fn get(&self, kind: &str, name: &str, namespace: &str) -> Result<Value> {
        Ok(serde_json::from_str(&self.plane.kubectl(&["-n", namespace, "get", kind, name, "-o", "json"])?)?)
    }

    /// An Ingress' addresses, with blanks between them, and its version.
    pub fn addresses(&self, name: &str) -> Result<(String, String)> {
        let object = self.get("ingress", name, "default")?;
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).context("no version")?;
        let list = object.pointer("/status/loadBalancer/ingress").and_then(Value::as_array).cloned().unwrap_or_default();
        let texts: Vec<&str> = list.iter().filter_map(|entry| entry.get("ip").or(entry.get("hostname"))?.as_str()).collect();
        Ok((texts.join(" "), version.to_owned()))
    }

    /// Waits until an Ingress has these addresses; how long that took.
    pub fn until_addresses(&self, name: &str, wanted: &str, patience: Duration) -> Result<Duration> {
        until(patience, || match self.addresses(name)? {
            (found, _) if found == wanted => Ok(()),
            (found, _) => bail!("Ingress {name}: addresses {found:?}, expected {wanted:?}"),
        })
    }

    /// Who holds the Lease; empty where nobody does.
    pub fn leader(&self) -> Result<String> {
        let lease = self.get("lease", "rust-ingress", NAMESPACE)?;
        let holder = lease.pointer("/spec/holderIdentity").and_then(Value::as_str).unwrap_or_default();
        Ok(holder.split('_').next().unwrap_or_default().to_owned())
    }

    /// Waits until this Pod holds the Lease; how long that took.
    pub fn until_leader(&self, pod: &str, patience: Duration) -> Result<Duration> {
        until(patience, || {
            let leader = self.leader()?;
            ensure!(leader == pod, "the Lease is held by {leader:?}, expected {pod:?}");
            Ok(())
        })
    }

    /// `kubectl events` on an Ingress: type, reason, count and message, a line each.
    pub fn events(&self, name: &str) -> Result<Vec<String>> {
        let fields = format!("regarding.kind=Ingress,regarding.name={name}");
        let listed = self.plane.kubectl(&["get", "events.v1.events.k8s.io", "--field-selector", &fields, "-o", "json"])?;
        let listed: Value = serde_json::from_str(&listed)?;
        let text =
            |event: &Value, path: &str| event.pointer(path).map_or(String::new(), |value| value.to_string().replace('"', ""));
        let line = |event: &Value| {
            ["/type", "/reason", "/series/count", "/note"].map(|path| text(event, path)).join(" ").replace("  ", " ")
        };
        Ok(listed.get("items").and_then(Value::as_array).into_iter().flatten().map(line).collect())
    }
}

impl Rig {
    /// The token of a user who may read everything and hold the Lease, and write no status.
    pub fn reader(&self) -> Result<String> {
        let account =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": NAMESPACE}});
        let rules = json!([
            {"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "update"]},
        ]);
        let meta = json!({"name": "reader"});
        let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": meta, "rules": rules});
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": NAMESPACE}]
        });
        for object in [account, role, binding] {
            self.apply(&object)?;
        }
        Ok(self.plane.kubectl(&["-n", NAMESPACE, "create", "token", "reader"])?.trim().to_owned())
    }
}

/// An Ingress of this class for the host `NAME.example.com` and the Service `NAME`.
pub fn ingress(name: &str, class: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name, "namespace": "default"},
        "spec": {"ingressClassName": class, "rules": [{"host": format!("{name}.example.com"), "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}]}}]}
    })
}

/// Asks until there is no error; how long that took, or the last error.
pub fn until(patience: Duration, mut ask: impl FnMut() -> Result<()>) -> Result<Duration> {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(()) => return Ok(start.elapsed()),
            Err(error) if start.elapsed() > patience => return Err(error.context(format!("not in {} s", patience.as_secs()))),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
