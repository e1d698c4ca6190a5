//! One node: the place it lives in, its containerd and kubelet, the images in it, and kube-proxy where asked for.
//!
//! Every node has its own /run, /var/lib and /var/log, in a mount namespace that one process (the anchor) holds: containerd, CNI
//! and kubelet stand at their usual places there, and all that they mount ends with their processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::layout::Node;
use super::pki::Pki;
use super::process::{Place, Processes, anchor, output};
use super::programs::Programs;
use super::{KubeProxy, Options, images, net, texts};

/// How long an anchor or a containerd may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The mounts of a node. Shared within: a Pod may ask to see the volumes that come later.
const ANCHOR: &str = "mount --make-rshared / && for at in run var/lib var/log; do mount --bind \"$0/$at\" \"/$at\" || exit 1; done && \
                      ln -s /run \"$0/ready\" && exec sleep infinity";

/// A node's folder in the cluster's state.
fn folder(state: &Path, node: Node) -> PathBuf {
    state.join(node.name())
}

/// Makes a node's place and starts its containerd.
pub fn prepare(state: &Path, processes: &Processes, options: &Options, node: Node) -> Result<()> {
    let folder = folder(state, node);
    for name in ["run", "var/lib/cni/net.d", "var/lib/kubelet", "var/log"] {
        fs::create_dir_all(folder.join(name))?;
    }
    let mtu = net::pod_mtu(options.pod_network);
    fs::write(folder.join("var/lib/cni/net.d/10-pods.conflist"), texts::cni(node, mtu))?;
    fs::write(folder.join("containerd.toml"), texts::containerd(images::PAUSE))?;
    let place = ["unshare", "--mount", "--", "/bin/sh", "-c", ANCHOR];
    let mut line: Vec<String> = place.iter().map(ToString::to_string).collect();
    line.push(folder.display().to_string());
    processes.start(&anchor(node.0), Place::Network(node.0), &line)?;
    until(processes, &anchor(node.0), || folder.join("ready").symlink_metadata().is_ok())?;
    let toml = folder.join("containerd.toml").display().to_string();
    processes.start(
        &format!("containerd{}", node.0),
        Place::Inside(node.0),
        &["containerd".to_owned(), "-c".to_owned(), toml],
    )?;
    until(processes, &format!("containerd{}", node.0), || ctr(processes, node, &["version"]).is_ok())
}

/// Starts a node's kubelet, and kube-proxy where asked for.
pub fn start(state: &Path, processes: &Processes, options: &Options, node: Node, programs: &Programs) -> Result<()> {
    let (folder, pki) = (folder(state, node), Pki::at(state));
    let (configuration, kubeconfig) = (folder.join("kubelet.yaml"), folder.join("kubeconfig"));
    fs::write(&configuration, texts::kubelet(node, &pki))?;
    fs::write(&kubeconfig, texts::kubeconfig(&pki, &node.name()))?;
    let line = vec![
        programs.path("kubelet")?.display().to_string(),
        format!("--config={}", configuration.display()),
        format!("--kubeconfig={}", kubeconfig.display()),
        format!("--hostname-override={}", node.name()),
        format!("--node-ip={},{}", node.v4(), node.v6()),
        format!("--node-labels=topology.kubernetes.io/zone={}", node.zone()),
    ];
    processes.start(&format!("kubelet{}", node.0), Place::Inside(node.0), &line)?;
    if options.kube_proxy != KubeProxy::None {
        let configuration = folder.join("kube-proxy.yaml");
        fs::write(&configuration, texts::kube_proxy(node, options.kube_proxy, &state.join("admin.kubeconfig")))?;
        let line = vec![programs.path("kube-proxy")?.display().to_string(), format!("--config={}", configuration.display())];
        processes.start(&format!("kube-proxy{}", node.0), Place::Inside(node.0), &line)?;
    }
    Ok(())
}

/// Loads image archives into every node, the nodes side by side.
pub fn load_images(processes: &Processes, options: &Options, archives: &[PathBuf]) -> Result<()> {
    std::thread::scope(|scope| {
        let loads: Vec<_> = Node::all(options.nodes).map(|node| scope.spawn(move || load(processes, node, archives))).collect();
        loads.into_iter().try_for_each(|load| load.join().unwrap_or_else(|_| anyhow::bail!("a load ended early")))
    })
}

/// Loads image archives into one node.
pub fn load(processes: &Processes, node: Node, archives: &[PathBuf]) -> Result<()> {
    for archive in archives {
        let archive = archive.canonicalize().map_err(|error| anyhow::anyhow!("{}: {error}", archive.display()))?;
        ctr(processes, node, &["images", "import", &archive.display().to_string()])?;
    }
    Ok(())
}

fn ctr(processes: &Processes, node: Node, arguments: &[&str]) -> Result<String> {
    let line = [&["ctr", "--address", "/run/containerd/containerd.sock", "--namespace", "k8s.io"], arguments].concat();
    let line: Vec<String> = line.iter().map(ToString::to_string).collect();
    output(&mut processes.enter(Place::Inside(node.0), &line)?)
}

fn until(processes: &Processes, name: &str, done: impl Fn() -> bool) -> Result<()> {
    let begin = Instant::now();
    while !done() {
        let runs = processes.find(name)?.is_some() || begin.elapsed() < Duration::from_secs(1);
        ensure!(runs && begin.elapsed() < PATIENCE, "{name} is not ready; it printed:\n{}", processes.last_words(name));
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
