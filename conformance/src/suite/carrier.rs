//! Who carries the Services that are tested: where the cluster has no kube-proxy, we do, through the installed chart.
//!
//! A test that passes proves nothing if something else carried it, so every node is asked before the run and after it.

use std::fs;
use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail, ensure};

use crate::built;
use crate::chart::install::Install;
use crate::cluster::programs::Programs;
use crate::cluster::{Cluster, KubeProxy, Node, Place, layout};

/// Where the API server is for Pods: the first address of the Services' range.
const API_CLUSTER_IP: &str = "10.96.0.1";
/// The chart's values for it.
const PRESET: &str = "replace-kube-proxy.yaml";

/// Installs the chart in place of kube-proxy, with further values, and waits until a Pod reaches the API server through its ClusterIP: CoreDNS is
/// ready only then. Nothing is done where the cluster has kube-proxy.
pub(super) fn install(cluster: &Cluster, program: Option<&PathBuf>, values: &[&str]) -> Result<()> {
    if cluster.options().kube_proxy != KubeProxy::None {
        return Ok(());
    }
    let program = match program {
        Some(program) => program.clone(),
        None => built::release()?,
    };
    let kubectl = Programs::cached()?.need("kubectl")?.display().to_string();
    // The control: without us nothing carries the API server's ClusterIP. Rules of an earlier run stay, and say nothing of it.
    if !has_table(cluster, Node(1))? && asked(cluster, &kubectl).is_ok() {
        bail!("the API server answers at {API_CLUSTER_IP} before anything of ours is there: what passes may be another's doing");
    }
    let install = Install::on(cluster)?;
    install.image(&program).context("the image can't be made")?;
    // The image's name is the same for every build: on a cluster that is up, another program must still roll the Pods.
    let built = fs::metadata(&program)?.modified()?.duration_since(UNIX_EPOCH)?.as_secs();
    with(cluster, &[&[format!("podAnnotations.built=at-{built}").as_str()], values].concat())?;
    // The cluster starts CoreDNS with the API server's own address, because nothing carries Services yet. Now something does.
    let own = ["KUBERNETES_SERVICE_HOST-", "KUBERNETES_SERVICE_PORT-"];
    cluster.kubectl(&[&["-n", "kube-system", "set", "env", "deployment/coredns"], own.as_slice()].concat())?;
    let dns = ["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"];
    cluster.kubectl(&dns).map_err(|error| error.context("CoreDNS doesn't reach the API server through its ClusterIP"))?;
    asked(cluster, &kubectl).map_err(|error| error.context("a node doesn't reach the API server through its ClusterIP"))?;
    alone(cluster)
}

/// Upgrades what [`install`] installed to the preset with further values.
pub(super) fn with(cluster: &Cluster, values: &[&str]) -> Result<()> {
    let pods = format!("l4.clusterCIDR={{{}}}", layout::POD_RANGES);
    Install::on(cluster)?.chart(PRESET, &[&[pods.as_str()], values].concat())
}

/// Asks the API server by its ClusterIP, from a node.
fn asked(cluster: &Cluster, kubectl: &str) -> Result<()> {
    let kubeconfig = format!("--kubeconfig={}", cluster.kubeconfig().display());
    let server = format!("--server=https://{API_CLUSTER_IP}");
    let line = [kubectl, &kubeconfig, &server, "--request-timeout=3s", "get", "--raw", "/livez"];
    cluster.run(Place::Network(1), &line).map(drop)
}

fn has_table(cluster: &Cluster, node: Node) -> Result<bool> {
    Ok(cluster.run(Place::Network(node.0), &["nft", "list", "tables"])?.contains("table ip rust-ingress"))
}

/// Fails where another program than the one that is meant carries Services on a node.
pub(super) fn alone(cluster: &Cluster) -> Result<()> {
    let ours = cluster.options().kube_proxy == KubeProxy::None;
    for node in cluster.nodes() {
        let (name, place) = (node.name(), Place::Network(node.0));
        let tables = cluster.run(place, &["nft", "list", "tables"])?;
        let has = |table: &str| tables.lines().any(|line| line.split_whitespace().last() == Some(table));
        // Where these programs aren't installed, kube-proxy couldn't have made such chains.
        let chains = cluster.run(place, &["iptables-legacy-save"]).unwrap_or_default()
            + &cluster.run(place, &["iptables-nft-save"]).unwrap_or_default();
        let theirs =
            has("kube-proxy") || chains.lines().any(|line| line.starts_with(":KUBE-SVC") || line.starts_with(":KUBE-SERVICES"));
        match (ours, theirs, has("rust-ingress")) {
            (true, true, _) => bail!("{name}: kube-proxy's rules are there: what passes may be its doing"),
            (true, false, false) => bail!("{name}: there is no table rust-ingress: nothing carries Services"),
            (false, _, true) => bail!("{name}: our table is there: what passes may be our doing"),
            (true, false, true) | (false, ..) => {}
        }
        let both = ["ip", "ip6"].iter().all(|family| tables.contains(&format!("table {family} rust-ingress")));
        ensure!(!ours || both, "{name}: one family has no table rust-ingress:\n{tables}");
    }
    Ok(())
}
