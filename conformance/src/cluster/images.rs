//! The images that the cluster and the suites start Pods from, made from built programs and a few of this machine's, once per version.
//!
//! Nothing is pulled. The suites' images share one small root file system: tools that tests run inside Pods, with their libraries.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::KUBERNETES;
use super::golang::{Go, lock};
use super::process::output;
use super::programs::Programs;
use crate::image::libraries;
use crate::image::oci::{Image, Layer, LayerBuilder, write};

/// The image that holds each Pod's namespaces.
pub const PAUSE: &str = "localhost/pause:1";
/// The image of the echo server that suites put behind routes.
pub const ECHO: &str = "registry.k8s.io/gateway-api/conformance/echo-basic:v0.2.0";
/// Kubernetes' test server, with the tag that `examples/traffic-paths` has.
const AGNHOST: &str = "registry.k8s.io/e2e-test-images/agnhost:2.66.1";

/// Images that can be made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Stock {
    /// What every node needs.
    Pause,
    /// The cluster's name server.
    Coredns,
    /// The Gateway API suite's echo server: HTTP, h2c, HTTPS, gRPC, TCP, UDP, WebSocket.
    Echo,
    /// Kubernetes' test server alone, with a shell and network tools: what `examples/traffic-paths` names.
    Agnhost,
    /// All of Kubernetes' e2e suite: agnhost, busybox and others, under the names that the suite asks for.
    E2e,
    /// Istio's echo server, for the mesh profiles of the Gateway API suite.
    Mesh,
}

/// Programs of this machine for the root file system, and the Debian package that has each.
const TOOLS: [(&str, &str); 15] = [
    ("busybox", "busybox-static"),
    ("bash", "bash"),
    ("curl", "curl"),
    ("nc", "netcat-openbsd"),
    ("ip", "iproute2"),
    ("dig", "dnsutils"),
    ("nslookup", "dnsutils"),
    ("host", "dnsutils"),
    ("socat", "socat"),
    ("iperf", "iperf"),
    ("wget", "wget"),
    ("getent", "libc-bin"),
    ("conntrack", "conntrack"),
    ("iptables", "iptables"),
    ("nft", "nftables"),
];
/// Applets that are not taken from the static busybox: its name look-ups crash, and its shell prefers its own applets.
const NOT_BUSYBOX: [&str; 8] = ["busybox", "sh", "ash", "bash", "nc", "ip", "wget", "nslookup"];

/// Makes what the cache doesn't have; the archives' paths.
pub fn make(stock: &[Stock]) -> Result<Vec<PathBuf>> {
    let programs = Programs::cached()?;
    let folder = programs.images();
    let _lock = lock(&folder)?;
    let mut archives = Vec::new();
    for one in stock {
        let name = one.to_possible_value().context("every image has a name")?.get_name().to_owned();
        let archive = folder.join(format!("{name}.tar"));
        if !archive.exists() {
            write(&archive, &images(*one, &programs)?).with_context(|| format!("image {name} can't be made"))?;
        }
        archives.push(archive);
    }
    Ok(archives)
}

fn images(stock: Stock, programs: &Programs) -> Result<Vec<Image>> {
    Ok(match stock {
        Stock::Pause => vec![single(&[PAUSE], &programs.need("pause")?, "/pause")?],
        Stock::Coredns => vec![single(&["localhost/coredns:1"], &programs.need("coredns")?, "/coredns")?],
        Stock::Echo => {
            let old = "registry.k8s.io/gateway-api/conformance/echo-basic:v0.1.0";
            vec![single(&[ECHO, old], &programs.need("echo-basic")?, "/echo-basic")?]
        }
        Stock::Agnhost => {
            let mut layer = LayerBuilder::default();
            layer.copy(&programs.need("agnhost")?, "/agnhost")?;
            let (names, entrypoint) = (vec![AGNHOST.to_owned()], vec!["/agnhost".to_owned()]);
            vec![Image { names, layers: vec![root()?, layer.finish()?], entrypoint, ..Image::default() }]
        }
        Stock::E2e => e2e(programs)?,
        Stock::Mesh => vec![mesh(programs)?],
    })
}

/// An image of one static program.
fn single(names: &[&str], program: &Path, entrypoint: &str) -> Result<Image> {
    let mut layer = LayerBuilder::default();
    layer.folder("tmp", 0o1777)?;
    layer.folder("etc", 0o755)?;
    layer.copy(program, entrypoint)?;
    let names = names.iter().map(ToString::to_string).collect();
    Ok(Image { names, layers: vec![layer.finish()?], entrypoint: vec![entrypoint.to_owned()], ..Image::default() })
}

/// The images of the e2e suite, under the names and tags that the suite itself lists.
fn e2e(programs: &Programs) -> Result<Vec<Image>> {
    let listed = output(Command::new(programs.need("e2e.test")?).arg("--list-images"))?;
    let named = |parts: &[&str]| -> Result<Vec<String>> {
        let names = listed.lines().map(str::trim).filter(|name| parts.iter().any(|part| name.contains(part)));
        let names: Vec<String> = names.map(str::to_owned).collect();
        ensure!(!names.is_empty(), "e2e.test --list-images names no image with {parts:?}");
        Ok(names)
    };
    let root = root()?;
    let mut agnhost = LayerBuilder::default();
    agnhost.copy(&programs.need("agnhost")?, "/agnhost")?;
    agnhost.link("/agnhost-2", "agnhost")?;
    agnhost.copy(&programs.need("coredns")?, "/coredns")?;
    let porter = Go::find(26)?.source(&format!("k8s.io/kubernetes@v{KUBERNETES}"))?.join("test/images/agnhost/porter");
    for file in ["localhost.crt", "localhost.key"] {
        agnhost.copy(&porter.join(file), file)?;
    }
    let mut boom = LayerBuilder::default();
    boom.copy(&programs.need("regression-issue-74839")?, "/regression-issue-74839")?;
    let image = |names, layers, entrypoint: &[&str], command: &[&str]| Image {
        names,
        layers,
        entrypoint: entrypoint.iter().map(ToString::to_string).collect(),
        command: command.iter().map(ToString::to_string).collect(),
        ..Image::default()
    };
    let mut pause = single(&[PAUSE], &programs.need("pause")?, "/pause")?;
    pause.names = named(&["/pause:"])?;
    Ok(vec![
        pause,
        image(named(&["e2e-test-images/agnhost"])?, vec![root.clone(), agnhost.finish()?], &["/agnhost"], &["pause"]),
        image(named(&["e2e-test-images/busybox", "distroless-iptables"])?, vec![root.clone()], &[], &["/bin/sh"]),
        image(named(&["glibc-dns-testing"])?, vec![root.clone()], &["/bin/sleep", "100000"], &[]),
        image(named(&["regression-issue"])?, vec![root, boom.finish()?], &["/regression-issue-74839"], &[]),
    ])
}

/// Istio's echo, as the suite's image has it: server and client on the PATH, and a certificate for names that nobody checks.
fn mesh(programs: &Programs) -> Result<Image> {
    let mut layer = LayerBuilder::default();
    layer.folder("tmp", 0o1777)?;
    layer.copy(&programs.need("mesh-server")?, "/usr/local/bin/server")?;
    layer.copy(&programs.need("mesh-client")?, "/usr/local/bin/client")?;
    let made = rcgen::generate_simple_self_signed(vec!["echo".to_owned()])?;
    layer.file("/cert.crt", 0o644, made.cert.pem().as_bytes())?;
    layer.file("/cert.key", 0o644, made.signing_key.serialize_pem().as_bytes())?;
    let names = ["v0.1.0", "v0.2.0"].map(|tag| format!("registry.k8s.io/gateway-api/conformance/echo-advanced:{tag}"));
    Ok(Image {
        names: names.to_vec(),
        layers: vec![layer.finish()?],
        entrypoint: vec!["/usr/local/bin/server".to_owned()],
        ..Image::default()
    })
}

/// The small root file system.
fn root() -> Result<Layer> {
    let mut packages: Vec<&str> = TOOLS.iter().filter(|(tool, _)| find(tool).is_none()).map(|(_, package)| *package).collect();
    packages.dedup();
    ensure!(
        packages.is_empty(),
        "missing for test images: {0}. Install with: apt-get install --no-install-recommends {0}",
        packages.join(" ")
    );
    let mut layer = LayerBuilder::default();
    layer.folder("tmp", 0o1777)?;
    for folder in ["etc", "uploads", "var", "root", "proc", "sys", "dev"] {
        layer.folder(folder, 0o755)?;
    }
    let mut copied = BTreeSet::new();
    for (tool, _) in TOOLS {
        let program = find(tool).with_context(|| format!("{tool} was there a moment ago"))?;
        layer.copy(&program, &if tool == "busybox" { "bin/busybox".to_owned() } else { format!("usr/bin/{tool}") })?;
        for library in libraries(&program)? {
            if copied.insert(library.clone()) {
                layer.copy(Path::new(&library), &library)?;
            }
        }
    }
    let applets = output(Command::new("busybox").arg("--list"))?;
    for applet in applets.lines().filter(|applet| !NOT_BUSYBOX.contains(applet)) {
        layer.link(&format!("bin/{applet}"), "busybox")?;
    }
    layer.link("bin/bash", "../usr/bin/bash")?;
    layer.link("bin/sh", "../usr/bin/bash")?;
    layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n")?;
    layer.file("etc/group", 0o644, b"root:x:0:\n")?;
    layer.file("etc/nsswitch.conf", 0o644, b"hosts: files dns\n")?;
    layer.finish()
}

fn find(tool: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file())?;
    fs::canonicalize(found).ok()
}
