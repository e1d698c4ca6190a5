//! What is served during `suite faults`: a Deployment of echo servers, its Service, an Ingress.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::cluster::{Cluster, ECHO, Place, Stock};

/// The host that the load asks for.
pub(super) const HOST: &str = "faults.test";
const NAMESPACE: &str = "suite-faults";
/// How long Pods may take to come.
const PATIENCE: Duration = Duration::from_secs(180);

/// The objects, in a namespace of their own.
pub(super) struct Workload;

impl Workload {
    /// Creates them, and waits until they are served.
    pub(super) fn create(cluster: &Cluster, pods: usize) -> Result<Self> {
        cluster.load_stock(&[Stock::Echo])?;
        cluster.apply(&documents(pods))?;
        let workload = Self;
        workload.rolled_out(cluster)?;
        workload.served(cluster, HOST, PATIENCE)?;
        Ok(workload)
    }

    pub(super) fn delete(&self, cluster: &Cluster) -> Result<()> {
        cluster.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).map(drop)
    }

    /// Replaces every Pod, as a new image would.
    pub(super) fn roll(&self, cluster: &Cluster) -> Result<()> {
        cluster.kubectl(&["-n", NAMESPACE, "rollout", "restart", "deployment/echo"])?;
        self.rolled_out(cluster)
    }

    fn rolled_out(&self, cluster: &Cluster) -> Result<()> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        cluster.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/echo", &timeout]).map(drop)
    }

    /// Waits until the API server takes writes again.
    pub(super) fn api_is_back(&self, cluster: &Cluster, patience: Duration) -> Result<()> {
        let begin = Instant::now();
        while cluster.apply(&serde_json::to_string(&ingress(HOST))?).is_err() {
            ensure!(begin.elapsed() < patience, "the API server isn't back after {patience:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// One more host, as a user would add it.
    pub(super) fn add_host(&self, cluster: &Cluster, host: &str) -> Result<()> {
        cluster.apply(&serde_json::to_string(&ingress(host))?).map(drop)
    }

    /// Waits until every node serves a host.
    pub(super) fn served(&self, cluster: &Cluster, host: &str, patience: Duration) -> Result<()> {
        let begin = Instant::now();
        for node in cluster.nodes() {
            let url = format!("http://{}/", node.v4());
            loop {
                let header = format!("Host: {host}");
                let asked = ["curl", "-s", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", &header, &url];
                let status = cluster.run(Place::Wan, &asked).unwrap_or_else(|error| format!("{error:#}"));
                if status.trim() == "200" {
                    break;
                }
                ensure!(begin.elapsed() < patience, "{} answers {status} for {host} after {patience:?}", node.name());
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// The addresses in an Ingress' status.
    pub(super) fn status(&self, cluster: &Cluster, host: &str) -> Result<String> {
        let query = "jsonpath={.status.loadBalancer.ingress[*].ip}";
        cluster.kubectl(&["-n", NAMESPACE, "get", "ingress", &name(host), "-o", query]).context("the Ingress' status")
    }
}

fn name(host: &str) -> String {
    host.replace('.', "-")
}

fn ingress(host: &str) -> serde_json::Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name(host), "namespace": NAMESPACE},
        "spec": {"ingressClassName": "rust-ingress", "rules": [{"host": host, "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "echo", "port": {"name": "http"}}}}
        ]}}]}
    })
}

fn documents(pods: usize) -> String {
    let labels = json!({"app": "echo"});
    let container = json!({
        "name": "echo", "image": ECHO, "imagePullPolicy": "Never",
        "ports": [{"name": "http", "containerPort": 3000}],
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}
        ],
        "readinessProbe": {"tcpSocket": {"port": 3000}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 5}}}
    });
    let objects = [
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "echo", "namespace": NAMESPACE},
            "spec": {
                "replicas": pods, "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 10, "containers": [container]}}
            }
        }),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "echo", "namespace": NAMESPACE},
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}
        }),
        ingress(HOST),
    ];
    objects.map(|object| object.to_string()).join("\n---\n")
}
