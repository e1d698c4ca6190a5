//! Brings a cluster up: first the record of what is going to be made, then network, control plane and nodes side by side.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::layout::{self, Node, SERVICE_RANGES};
use super::pki::Pki;
use super::process::{Place, Processes};
use super::programs::{self, Programs};
use super::record::Record;
use super::{Cluster, KubeProxy, Options, Stock, down, images, needs, net, nodes, texts};

/// How long the apiserver, or the nodes after it, may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Brings up a cluster with these options; one that is up with the same options is left as it is.
pub fn up(options: &Options) -> Result<()> {
    let state = layout::state()?;
    if let Some(record) = Record::read(&state)? {
        if record.complete && record.options == *options && runs(&state, &record)? {
            eprintln!("up already: {}", record.describe());
            return Ok(());
        }
        ensure!(!record.complete, "a cluster is up or was: {}. Take it away first: cluster down", record.describe());
        eprintln!("taking away what an earlier start left");
        down::down(&state)?;
    }
    needs::check(options)?;
    let programs = Programs::cached()?;
    let mut names = programs::CLUSTER.to_vec();
    if options.kube_proxy != KubeProxy::None {
        names.push("kube-proxy");
    }
    programs.need_all(&names)?;
    let archives = images::make(&[Stock::Pause, Stock::Coredns])?;

    let begin = Instant::now();
    let say = |what: &str| eprintln!("{:5.1} s  {what}", begin.elapsed().as_secs_f64());
    let mut record = Record::plan(options.clone())?;
    let taken = record.taken();
    ensure!(
        taken.is_empty(),
        "{} exist and no record in {} says that they are ours: another user's cluster? Take it away with the XDG_CACHE_HOME it was started with",
        taken.join(", "),
        state.display()
    );
    record.write(&state)?;
    make(&state, &record, &programs, &archives, &say)?;
    record.complete = true;
    record.write(&state)?;
    say(&format!("up: {}", record.describe()));
    Ok(())
}

fn runs(state: &Path, record: &Record) -> Result<bool> {
    let processes = Processes::of(state, record)?;
    let names = processes.names();
    for name in &names {
        if processes.find(name)?.is_none() {
            return Ok(false);
        }
    }
    Ok(!names.is_empty())
}

fn make(
    state: &Path,
    record: &Record,
    programs: &Programs,
    archives: &[std::path::PathBuf],
    say: &(dyn Fn(&str) + Sync),
) -> Result<()> {
    let options = &record.options;
    for cgroup in &record.cgroups {
        for name in std::iter::once("control".to_owned()).chain(Node::all(options.nodes).map(Node::name)) {
            let folder = cgroup.join(name);
            fs::create_dir_all(&folder).with_context(|| format!("{}: can't be made", folder.display()))?;
        }
    }
    fs::create_dir_all(state.join("tmp"))?;
    let pki = Pki::at(state);
    pki.make(options.nodes)?;
    fs::write(state.join("admin.kubeconfig"), texts::kubeconfig(&pki, "admin"))?;
    net::make(options, record)?;
    net::join_overlay(options)?;
    say("network and certificates");
    let processes = Processes::of(state, record)?;
    control_plane(state, &processes, programs)?;
    std::thread::scope(|scope| -> Result<()> {
        let prepared: Vec<_> = Node::all(options.nodes)
            .map(|node| {
                let processes = &processes;
                scope.spawn(move || {
                    nodes::prepare(state, processes, options, node)?;
                    nodes::load(processes, node, archives)
                })
            })
            .collect();
        let cluster = Cluster::of(state.to_owned(), record.clone())?;
        answers(&cluster)?;
        say("apiserver ready");
        controllers(state, &processes, programs)?;
        for node in prepared {
            node.join().unwrap_or_else(|_| bail!("a node's start ended early"))?;
        }
        say("containerd ready");
        Node::all(options.nodes).try_for_each(|node| nodes::start(state, &processes, options, node, programs))?;
        cluster.apply(include_str!("dns.yaml"))?;
        ready(&cluster, options)?;
        Node::all(options.nodes).try_for_each(|node| has_pods(&cluster, node))?;
        say("nodes ready");
        cluster.wait(&["-n", "kube-system", "--for=condition=Available", "deployment/coredns"], PATIENCE)
    })
}

fn control_plane(state: &Path, processes: &Processes, programs: &Programs) -> Result<()> {
    let pki = Pki::at(state);
    let at = Place::Network(1);
    let etcd = vec![
        programs.path("etcd")?.display().to_string(),
        format!("--data-dir={}", state.join("etcd").display()),
        "--listen-client-urls=http://127.0.0.1:2379".to_owned(),
        "--advertise-client-urls=http://127.0.0.1:2379".to_owned(),
        "--listen-peer-urls=http://127.0.0.1:2380".to_owned(),
        // A test cluster's data need not survive the machine, and a start is seconds faster.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    processes.start("etcd", at, &etcd)?;
    let apiserver = vec![
        programs.path("kube-apiserver")?.display().to_string(),
        "--etcd-servers=http://127.0.0.1:2379".to_owned(),
        format!("--bind-address={}", Node(1).v4()),
        format!("--advertise-address={}", Node(1).v4()),
        format!("--secure-port={}", layout::API_PORT),
        format!("--service-cluster-ip-range={SERVICE_RANGES}"),
        format!("--client-ca-file={}", pki.certificate("ca")),
        format!("--tls-cert-file={}", pki.certificate("apiserver")),
        format!("--tls-private-key-file={}", pki.key("apiserver")),
        format!("--kubelet-client-certificate={}", pki.certificate("admin")),
        format!("--kubelet-client-key={}", pki.key("admin")),
        // Node names don't resolve: without this, logs and exec fail.
        "--kubelet-preferred-address-types=InternalIP".to_owned(),
        format!("--service-account-key-file={}", pki.token_public_key()),
        format!("--service-account-signing-key-file={}", pki.key("tokens")),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--authorization-mode=Node,RBAC".to_owned(),
        "--allow-privileged=true".to_owned(),
    ];
    processes.start("apiserver", at, &apiserver)
}

fn controllers(state: &Path, processes: &Processes, programs: &Programs) -> Result<()> {
    let pki = Pki::at(state);
    let kubeconfig = format!("--kubeconfig={}", state.join("admin.kubeconfig").display());
    let manager = vec![
        programs.path("kube-controller-manager")?.display().to_string(),
        kubeconfig.clone(),
        format!("--service-account-private-key-file={}", pki.key("tokens")),
        format!("--root-ca-file={}", pki.certificate("ca")),
        "--leader-elect=false".to_owned(),
        "--use-service-account-credentials=true".to_owned(),
        // Pod ranges are the CNI plugin's here; all other controllers are the real ones.
        "--allocate-node-cidrs=false".to_owned(),
    ];
    processes.start("controller-manager", Place::Network(1), &manager)?;
    let scheduler = vec![programs.path("kube-scheduler")?.display().to_string(), kubeconfig, "--leader-elect=false".to_owned()];
    processes.start("scheduler", Place::Network(1), &scheduler)
}

/// Waits until the apiserver is ready.
fn answers(cluster: &Cluster) -> Result<()> {
    let begin = Instant::now();
    while cluster.kubectl(&["get", "--raw=/readyz"]).is_err() {
        for name in ["etcd", "apiserver"] {
            let runs = cluster.processes.find(name)?.is_some() && begin.elapsed() < PATIENCE;
            ensure!(runs, "{name} is not ready; it printed:\n{}", cluster.processes.last_words(name));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// Waits until every node is Ready.
/// Writes a node's Pod ranges where a cluster's node IPAM writes them.
fn has_pods(cluster: &Cluster, node: Node) -> Result<()> {
    let (v4, v6) = (node.pods_v4(), node.pods_v6());
    let ranges = format!(r#"{{"spec":{{"podCIDR":"{v4}","podCIDRs":["{v4}","{v6}"]}}}}"#);
    cluster.kubectl(&["patch", "node", &node.name(), "-p", &ranges]).map(drop)
}

fn ready(cluster: &Cluster, options: &Options) -> Result<()> {
    let begin = Instant::now();
    loop {
        let listed = cluster.kubectl(&["get", "nodes", "--no-headers"]).unwrap_or_default();
        if listed.lines().filter(|line| line.contains(" Ready ")).count() == usize::from(options.nodes) {
            return Ok(());
        }
        for node in Node::all(options.nodes) {
            let name = format!("kubelet{}", node.0);
            let runs = cluster.processes.find(&name)?.is_some() && begin.elapsed() < PATIENCE;
            ensure!(runs, "{} is not Ready; its kubelet printed:\n{}", node.name(), cluster.processes.last_words(&name));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
