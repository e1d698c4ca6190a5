//! Which programs of others the cluster and its suites run, and how each is built from its Go module.
//!
//! A program stands in the cache below the name and version of its source, so that a new version is built beside the old one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::golang::{Go, Kind, Program, lock};
use super::layout::cache;
use super::{ETCD, GATEWAY_API, KUBERNETES};

/// The version of CoreDNS, which knows the API of this Kubernetes.
const COREDNS: &str = "1.14.6";
/// The runner of Kubernetes' e2e suite, in the version that the suite is written for.
const GINKGO: &str = "2.32.0";
/// Where the echo server of the Gateway API suite is published: 1.7.0 imports a module that the module proxy doesn't have.
const ECHO: &str = "1.6.3";
/// Istio, whose echo server the mesh profiles run in their Pods. The module proxy has its releases under such names only.
const ISTIO: &str = "0.0.0-20260827124520-eed52ebb66ad";

/// Programs that every cluster needs.
pub const CLUSTER: [&str; 7] =
    ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "coredns"];

/// A source, and what is built from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Kubernetes,
    Etcd,
    CoreDns,
    Ginkgo,
    Echo,
    Gateway,
    Mesh,
    Pause,
}

/// A file's name, its package, and how it becomes a file.
type Built = (&'static str, &'static str, Kind);

const SOURCES: [(Source, &[Built]); 8] = [
    (
        Source::Kubernetes,
        &[
            ("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", Kind::Command),
            ("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", Kind::Command),
            ("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", Kind::Command),
            ("kubelet", "k8s.io/kubernetes/cmd/kubelet", Kind::Command),
            ("kubectl", "k8s.io/kubernetes/cmd/kubectl", Kind::Command),
            ("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy", Kind::Command),
            ("agnhost", "k8s.io/kubernetes/test/images/agnhost", Kind::Command),
            ("regression-issue-74839", "k8s.io/kubernetes/test/images/regression-issue-74839", Kind::Command),
            ("e2e.test", "k8s.io/kubernetes/test/e2e", Kind::Test),
        ],
    ),
    (Source::Etcd, &[("etcd", "go.etcd.io/etcd/server/v3", Kind::Command)]),
    (Source::CoreDns, &[("coredns", "github.com/coredns/coredns", Kind::Command)]),
    (Source::Ginkgo, &[("ginkgo", "github.com/onsi/ginkgo/v2/ginkgo", Kind::Command)]),
    (Source::Echo, &[("echo-basic", "./echo-basic", Kind::Command)]),
    (Source::Gateway, &[("gateway.test", ".", Kind::Test)]),
    (
        Source::Mesh,
        &[
            ("mesh-server", "istio.io/istio/pkg/test/echo/cmd/server", Kind::Command),
            ("mesh-client", "istio.io/istio/pkg/test/echo/cmd/client", Kind::Command),
        ],
    ),
    (Source::Pause, &[("pause", ".", Kind::Command)]),
];

/// The programs in the cache.
pub struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Those of this user.
    pub fn cached() -> Result<Self> {
        Ok(Self { folder: cache()?.join("kubernetes") })
    }

    /// A program that is there, built first if it isn't.
    pub fn need(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name)?;
        if !path.exists() {
            let (source, _) = find(name)?;
            self.build(source, &[name])?;
        }
        Ok(path)
    }

    /// Builds what is missing of these. The biggest comes first and pays for the packages that others share.
    pub fn need_all(&self, names: &[&str]) -> Result<()> {
        names.iter().try_for_each(|name| find(name).map(drop))?;
        for (source, programs) in SOURCES {
            let missing = programs.iter().map(|(name, _, _)| *name).filter(|name| names.contains(name));
            let missing: Vec<&str> = missing.filter(|name| self.path(name).is_ok_and(|path| !path.exists())).collect();
            if !missing.is_empty() {
                self.build(source, &missing)?;
            }
        }
        Ok(())
    }

    /// Where a program stands once it is built.
    pub fn path(&self, name: &str) -> Result<PathBuf> {
        Ok(self.out(find(name)?.0).join(name))
    }

    /// Where images made from the programs stand.
    pub fn images(&self) -> PathBuf {
        self.folder.join(format!("images-{KUBERNETES}"))
    }

    fn out(&self, source: Source) -> PathBuf {
        self.folder.join(match source {
            Source::Kubernetes => KUBERNETES.to_owned(),
            Source::Etcd => format!("etcd-{ETCD}"),
            Source::CoreDns => format!("coredns-{COREDNS}"),
            Source::Ginkgo => format!("ginkgo-{GINKGO}"),
            Source::Echo => format!("echo-{ECHO}"),
            Source::Gateway => format!("gateway-api-{GATEWAY_API}"),
            Source::Mesh => format!("istio-{ISTIO}"),
            Source::Pause => "pause-1".to_owned(),
        })
    }

    fn build(&self, source: Source, names: &[&str]) -> Result<()> {
        let out = self.out(source);
        let _lock = lock(&out)?;
        let go = Go::find(if matches!(source, Source::Gateway | Source::CoreDns) { 27 } else { 26 })?;
        let folder = out.join("source");
        fs::create_dir_all(&folder)?;
        match source {
            Source::Kubernetes => kubernetes(&go, &folder),
            Source::Etcd => fetch(&go, &folder, &format!("go.etcd.io/etcd/server/v3@v{ETCD}")),
            Source::CoreDns => fetch(&go, &folder, &format!("github.com/coredns/coredns@v{COREDNS}")),
            Source::Ginkgo => fetch(&go, &folder, &format!("github.com/onsi/ginkgo/v2/ginkgo@v{GINKGO}")),
            Source::Echo => echo(&go, &folder),
            Source::Gateway => self.gateway(&go, &folder),
            Source::Mesh => fetch(&go, &folder, &format!("istio.io/istio@v{ISTIO}")),
            Source::Pause => {
                module(&folder, "").and_then(|()| Ok(fs::write(folder.join("pause.go"), include_str!("pause.go.txt"))?))
            }
        }
        .with_context(|| format!("the source of {} can't be laid out", names.join(", ")))?;
        for name in names {
            let (_, (name, package, kind)) = find(name)?;
            if !out.join(name).exists() {
                go.build(&Program { name, package, kind, linker: linker(source) }, &folder, &out)?;
            }
        }
        Ok(())
    }

    /// The Gateway API suite: its packages called from a test of our own, and the module that it imports in place.
    fn gateway(&self, go: &Go, folder: &Path) -> Result<()> {
        let echo_source = self.out(Source::Echo).join("source");
        if !echo_source.join("echo-basic").exists() {
            fs::create_dir_all(&echo_source)?;
            echo(go, &echo_source)?;
        }
        let requires = format!(
            "require (\n\tsigs.k8s.io/gateway-api v{GATEWAY_API}\n\tsigs.k8s.io/gateway-api/conformance v{GATEWAY_API}\n)\n\n\
             replace sigs.k8s.io/gateway-api-conformance-images => {}\n",
            echo_source.display()
        );
        fs::write(folder.join("go.mod"), format!("module example.test/gateway\n\ngo 1.27.0\n\n{requires}"))?;
        let test = "package gateway\n\nimport (\n\t\"testing\"\n\n\t\"sigs.k8s.io/gateway-api/conformance\"\n)\n\n\
                    func TestConformance(t *testing.T) { conformance.RunConformance(t) }\n";
        Ok(fs::write(folder.join("conformance_test.go"), test)?)
    }
}

/// The names of all programs.
pub fn all() -> Vec<&'static str> {
    SOURCES.iter().flat_map(|(_, programs)| programs.iter().map(|(name, _, _)| *name)).collect()
}

fn find(name: &str) -> Result<(Source, Built)> {
    let all = SOURCES.iter().flat_map(|(source, programs)| programs.iter().map(|program| (*source, *program)));
    let mut named = all.filter(|(_, (program, _, _))| *program == name);
    named.next().with_context(|| format!("{name}: no source is known for a program of this name"))
}

fn linker(source: Source) -> String {
    if source != Source::Kubernetes {
        return String::new();
    }
    let at = "k8s.io/component-base/version";
    let mut numbers = KUBERNETES.split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    format!("-X {at}.gitVersion=v{KUBERNETES} -X {at}.gitMajor={major} -X {at}.gitMinor={minor}")
}

/// An empty module of our own.
fn module(folder: &Path, lines: &str) -> Result<()> {
    let path = folder.join("go.mod");
    fs::write(&path, format!("module example.test/build\n\ngo 1.26.0\n\n{lines}"))
        .with_context(|| format!("{}: can't be written", path.display()))
}

fn fetch(go: &Go, folder: &Path, what: &str) -> Result<()> {
    module(folder, "")?;
    go.run(folder, &["get", what]).map(drop)
}

/// Kubernetes can't be required like other modules: it replaces its staging modules by folders. Their published versions are
/// those of the same release.
fn kubernetes(go: &Go, folder: &Path) -> Result<()> {
    let source = go.source(&format!("k8s.io/kubernetes@v{KUBERNETES}"))?;
    let own = fs::read_to_string(source.join("go.mod"))?;
    let (_, release) = KUBERNETES.split_once('.').context("a version has two dots")?;
    let mut lines = format!("require k8s.io/kubernetes v{KUBERNETES}\n\n");
    for line in own.lines().filter(|line| line.contains("=> ./staging")) {
        let name = line.trim().trim_start_matches("replace ").split(' ').next().unwrap_or_default();
        lines += &format!("replace {name} => {name} v0.{release}\n");
    }
    module(folder, &lines)?;
    let packages = SOURCES.iter().filter(|(source, _)| *source == Source::Kubernetes).flat_map(|(_, programs)| *programs);
    let packages: Vec<&str> = packages.map(|(_, package, _)| *package).collect();
    go.run(folder, &[&["get"], packages.as_slice()].concat()).map(drop)
}

/// The echo server, laid out under the module name that the suite imports. Import paths are rewritten in its own code but not
/// in generated code: there the path stands inside a descriptor whose length is written too.
fn echo(go: &Go, folder: &Path) -> Result<()> {
    let source = go.source(&format!("sigs.k8s.io/gateway-api/conformance@v{ECHO}"))?.join("echo-basic");
    fs::write(folder.join("go.mod"), "module sigs.k8s.io/gateway-api-conformance-images\n\ngo 1.26.0\n")?;
    lay_out(&source, &folder.join("echo-basic"))?;
    go.run(folder, &["mod", "tidy"]).map(drop)
}

fn lay_out(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (source, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if entry.file_type()?.is_dir() {
            lay_out(&source, &to.join(&name))?;
        } else if name.ends_with(".go") {
            let text = fs::read_to_string(&source)?;
            let own = !name.ends_with(".pb.go");
            let (old, new) = ("gateway-api/conformance/echo-basic", "gateway-api-conformance-images/echo-basic");
            fs::write(to.join(&name), if own { text.replace(old, new) } else { text })?;
        } else if !name.ends_with(".mod") && !name.ends_with(".sum") {
            fs::copy(&source, to.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_program_of_the_cluster_has_a_source() {
        let programs = Programs { folder: "/cache".into() };
        for name in CLUSTER {
            assert!(programs.path(name).unwrap().starts_with("/cache"), "{name}");
        }
        assert!(programs.path("kubectl").unwrap().to_string_lossy().contains(KUBERNETES));
        assert!(programs.path("nonsense").unwrap_err().to_string().contains("nonsense"));
    }

    #[test]
    fn the_version_is_linked_into_kubernetes_only() {
        assert!(linker(Source::Kubernetes).ends_with("gitMinor=37"));
        assert_eq!(linker(Source::Etcd), "");
    }
}
