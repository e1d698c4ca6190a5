//! The program on the test cluster: its image loaded into every node, the chart installed or upgraded, and taken away again.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::chart::{Helm, RELEASE, folder, value_sets};
use crate::cluster::{Cluster, KubeProxy, layout};
use crate::image;

/// The same image as its next version.
pub const NEXT: &str = concat!("docker.io/library/rust-ingress:", env!("CARGO_PKG_VERSION"), "-next");

/// What to install.
pub struct Install<'a> {
    cluster: &'a Cluster,
    helm: Helm,
}

impl<'a> Install<'a> {
    /// On this cluster.
    pub fn on(cluster: &'a Cluster) -> Result<Self> {
        Ok(Self { cluster, helm: Helm::find()? })
    }

    /// Makes the image of a built program, under the name that the chart looks for and as [`NEXT`], and loads it into every
    /// node.
    pub fn image(&self, program: &Path) -> Result<()> {
        let archive = self.cluster.folder().join("rust-ingress.tar");
        image::build(program, &[image::NAME.to_owned(), NEXT.to_owned()], &archive)?;
        self.cluster.load_image(&archive)
    }

    /// `helm upgrade --install` with a value file of the chart and further values; waits until it is ready.
    pub fn chart(&self, file: &str, values: &[&str]) -> Result<()> {
        let chart = folder()?;
        let file = chart.join("examples").join(file);
        let mut line = vec!["upgrade", "--install", RELEASE];
        let (chart, file) = (chart.display().to_string(), file.display().to_string());
        line.extend([chart.as_str(), "--namespace", RELEASE, "--create-namespace", "--values", &file]);
        let surroundings = surroundings(self.cluster);
        for value in surroundings.iter().map(String::as_str).chain(values.iter().copied()) {
            line.extend(["--set", value]);
        }
        self.helm(&line)?;
        self.ready()
    }

    /// Waits until every Pod is.
    pub fn ready(&self) -> Result<()> {
        let shapes = self.cluster.kubectl(&["-n", RELEASE, "get", "daemonset,deployment", "-o", "name"])?;
        let status = |shape: &str| self.cluster.kubectl(&["-n", RELEASE, "rollout", "status", shape, "--timeout=90s"]);
        shapes.lines().try_for_each(|shape| status(shape).map(drop)).map_err(|error| {
            let pods = self.cluster.kubectl(&["-n", RELEASE, "describe", "pods"]).unwrap_or_default();
            let logs = self.logs().unwrap_or_default();
            let tail: Vec<&str> = pods.lines().rev().take(12).collect();
            let pods: Vec<&str> = tail.into_iter().rev().collect();
            error.context(format!("the Pods of the chart are not ready.\n{}\n{logs}", pods.join("\n")))
        })
    }

    /// The last lines of the Pods' logs.
    pub fn logs(&self) -> Result<String> {
        let select = "app.kubernetes.io/name=rust-ingress";
        self.cluster.kubectl(&["-n", RELEASE, "logs", "-l", select, "--tail=15", "--prefix"])
    }

    /// `helm uninstall`, and the namespace.
    pub fn remove(&self) -> Result<()> {
        self.helm(&["uninstall", RELEASE, "--namespace", RELEASE, "--ignore-not-found", "--wait"])?;
        self.cluster.kubectl(&["delete", "namespace", RELEASE, "--ignore-not-found", "--timeout=180s"]).map(drop)
    }

    /// Helm itself, for a PATH.
    pub fn helm_program(&self) -> &Helm {
        &self.helm
    }

    fn helm(&self, line: &[&str]) -> Result<()> {
        let kubeconfig = self.cluster.kubeconfig();
        let done = self.helm.command(line).env("KUBECONFIG", kubeconfig).output().context("helm can't be run")?;
        let said = String::from_utf8_lossy(&done.stderr);
        ensure!(done.status.success(), "helm {}: {}", line.join(" "), said.trim());
        Ok(())
    }
}

/// Every flag in the chart's golden files is one that the program has.
pub fn flags(program: &Path) -> Result<()> {
    let help = Command::new(program).args(["run", "--help"]).output().context("the program can't be run here")?;
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let known: BTreeSet<&str> = help.split_whitespace().filter(|word| word.starts_with("--")).collect();
    let mut unknown = BTreeSet::new();
    for set in value_sets()? {
        let golden = std::fs::read_to_string(folder()?.join("tests/golden").join(format!("{}.yaml", set.name)))?;
        let arguments = golden.lines().filter_map(|line| line.trim().strip_prefix("- --"));
        let flags = arguments.map(|argument| format!("--{}", argument.split('=').next().unwrap_or_default()));
        unknown.extend(flags.filter(|flag| !known.contains(flag.as_str())));
    }
    ensure!(unknown.is_empty(), "the program has no {unknown:?}");
    Ok(())
}

/// What must be said on a cluster without kube-proxy, and nothing on others: where the API server is.
pub fn surroundings(cluster: &Cluster) -> Vec<String> {
    match cluster.options().kube_proxy {
        KubeProxy::None => vec![format!("apiserver.url={}", layout::api_server())],
        KubeProxy::Nftables | KubeProxy::Iptables => Vec::new(),
    }
}
