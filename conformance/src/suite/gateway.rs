//! `suite gateway`: the Gateway API conformance suite, unchanged, against the test cluster or any other by `--kubeconfig`.
//!
//! It is judged by its exit status and by each test's own result; its report YAML is kept beside the JUnit file.

mod balancer;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::{Case, Outcome, Report, carrier};
use crate::built;
use crate::chart::install::Install;
use crate::cluster::golang::Go;
use crate::cluster::layout::cache;
use crate::cluster::programs::Programs;
use crate::cluster::{Cluster, GATEWAY_API, KubeProxy, Options, PodNetwork, Stock};

/// All profiles of the suite.
const PROFILES: &str = "GATEWAY-HTTP,GATEWAY-GRPC,GATEWAY-TLS,GATEWAY-TCP,GATEWAY-UDP,MESH-HTTP,MESH-GRPC";

/// Addresses of the bridge that nothing has.
const POOL: &str = r#"{"apiVersion": "rust-ingress.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": "gateways"},
    "spec": {"addresses": ["192.0.2.100-192.0.2.250", "2001:db8::100-2001:db8::250"], "default": true}}"#;

/// What to run.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A cluster with the chart and the suite's CRDs installed, in place of the test cluster; reached from where this runs.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,
    /// Profiles, with commas between them.
    #[arg(long, default_value = PROFILES)]
    pub profiles: String,
    /// Only this test, by its short name.
    #[arg(long)]
    pub test: Option<String>,
    /// Features to test in place of those that the GatewayClass' status lists, with commas between them; or `all`.
    #[arg(long)]
    pub features: Option<String>,
    /// The GatewayClass; on the test cluster the chart makes it.
    #[arg(long, default_value = "rust-ingress")]
    pub gateway_class: String,
    /// An address that a Gateway may ask for; on the test cluster one that is there to be given.
    #[arg(long)]
    pub usable_address: Option<String>,
    /// An address that no Gateway gets.
    #[arg(long, default_value = "198.51.100.1")]
    pub unusable_address: String,
    /// Waits of the suite, as it spells them: `NamespacesMustBeReady:60s;…`.
    #[arg(long)]
    pub timeouts: Option<String>,
    /// Minutes after which the run is ended.
    #[arg(long, default_value_t = 60)]
    pub minutes: u32,
    /// A program that is built already, in place of a release build.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// Who carries Services in the cluster, if none is up: the mesh profiles need somebody.
    #[arg(long, value_enum, default_value_t = KubeProxy::Nftables)]
    pub kube_proxy: KubeProxy,
}

impl Arguments {
    /// The cluster that is brought up if none is.
    pub fn cluster(&self) -> Options {
        Options { nodes: 2, pod_network: PodNetwork::Routes, kube_proxy: self.kube_proxy }
    }
}

/// Runs the suite on the test cluster, from its outside world.
pub fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let (binary, report) = files()?;
    prepare(cluster, arguments)?;
    let usable = if pools(cluster) { "192.0.2.250" } else { "203.0.113.200" };
    let mut command = command(arguments, usable, &binary, &report);
    command.env("KUBECONFIG", cluster.kubeconfig());
    let work = || finish(arguments, command, &cluster.describe(), &report);
    if pools(cluster) {
        let done = work()?;
        carrier::alone(cluster)?;
        return Ok(done);
    }
    balancer::beside(cluster, work)
}

/// Whether Gateways get their addresses from a pool of ours: where nobody else carries Services.
fn pools(cluster: &Cluster) -> bool {
    cluster.options().kube_proxy == KubeProxy::None
}

/// Runs the suite on any other cluster.
pub fn elsewhere(kubeconfig: &Path, arguments: &Arguments) -> Result<Report> {
    let (binary, report) = files()?;
    let kubeconfig = kubeconfig.canonicalize().with_context(|| format!("{}: can't be read", kubeconfig.display()))?;
    let mut command = command(arguments, "203.0.113.200", &binary, &report);
    command.env("KUBECONFIG", &kubeconfig);
    finish(arguments, command, &format!("the cluster of {}", kubeconfig.display()), &report)
}

/// The suite, and where it writes its own report.
fn files() -> Result<(PathBuf, PathBuf)> {
    let binary = Programs::cached()?.need("gateway.test")?;
    let folder = cache()?.join("suites");
    fs::create_dir_all(&folder)?;
    let report = folder.join("gateway-report.yaml");
    let _ = fs::remove_file(&report);
    Ok((binary, report))
}

fn command(arguments: &Arguments, usable: &str, binary: &Path, report: &Path) -> Command {
    let mut command = Command::new(binary);
    command.args(line(arguments, usable, report));
    command
}

/// What the suite wants to find: its CRDs, the chart with its GatewayClass, its images.
fn prepare(cluster: &Cluster, arguments: &Arguments) -> Result<()> {
    install_crds(cluster)?;
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => built::release()?,
    };
    let class = format!("gatewayClass.name={}", arguments.gateway_class);
    if pools(cluster) {
        carrier::install(cluster, Some(&program), &[&class])?;
        cluster.apply(POOL).context("the pool can't be made")?;
    } else {
        let install = Install::on(cluster)?;
        install.image(&program).context("the image can't be made")?;
        install.chart("kubeadm.yaml", &[&class])?;
    }
    let mesh = arguments.profiles.contains("MESH");
    cluster.load_stock(if mesh { &[Stock::Echo, Stock::Mesh] } else { &[Stock::Echo] })
}

/// Installs the CRDs of the suite's version, experimental channel, in which all features are.
pub fn install_crds(cluster: &Cluster) -> Result<()> {
    let source = Go::find(27)?.source(&format!("sigs.k8s.io/gateway-api@v{GATEWAY_API}"))?;
    let folder = source.join("config/crd/experimental");
    let mut yaml = String::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{}: can't be read", folder.display()))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name != "kustomization.yaml") {
            yaml += &format!("---\n{}\n", fs::read_to_string(&path)?);
        }
    }
    ensure!(!yaml.is_empty(), "{}: has no CRDs", folder.display());
    cluster.apply(&yaml).context("the Gateway API's CRDs can't be installed")?;
    cluster.wait(&["--for=condition=Established", "crd", "gatewayclasses.gateway.networking.k8s.io"], Duration::from_secs(30))
}

fn line(arguments: &Arguments, usable: &str, report: &Path) -> Vec<String> {
    let mut line = vec![
        "-test.run=TestConformance".to_owned(),
        "-test.v".to_owned(),
        "-test.parallel=4".to_owned(),
        format!("-test.timeout={}m", arguments.minutes),
        format!("--gateway-class={}", arguments.gateway_class),
        format!("--conformance-profiles={}", arguments.profiles),
        format!("--usable-address={}", arguments.usable_address.as_deref().unwrap_or(usable)),
        format!("--unusable-address={}", arguments.unusable_address),
        format!("--report-output={}", report.display()),
        "--organization=rust-ingress".to_owned(),
        "--project=rust-ingress".to_owned(),
        format!("--url={}", env!("CARGO_PKG_REPOSITORY")),
        format!("--version=v{}", env!("CARGO_PKG_VERSION")),
        format!("--contact={}/issues", env!("CARGO_PKG_REPOSITORY")),
    ];
    if arguments.profiles.contains("MESH") {
        line.push("--mesh-name=rust-ingress".to_owned());
    }
    let all = arguments.features.as_deref() == Some("all");
    if all {
        line.push("--all-features".to_owned());
    }
    let named = arguments.features.clone().filter(|_| !all);
    let optional =
        [("--run-test", &arguments.test), ("--supported-features", &named), ("--timeout-config-overrides", &arguments.timeouts)];
    line.extend(optional.into_iter().filter_map(|(flag, value)| Some(format!("{flag}={}", value.as_ref()?))));
    line
}

/// Runs the suite, keeps what it prints, and judges it.
fn finish(arguments: &Arguments, mut command: Command, cluster: &str, yaml: &Path) -> Result<Report> {
    let mut report = Report::new("gateway", cluster);
    let log = yaml.with_file_name("gateway.log");
    let output = fs::File::create(&log)?;
    eprintln!("running; what the suite prints goes to {}", log.display());
    let status = command.stdout(output.try_clone()?).stderr(output).status().context("the suite can't be run")?;
    let printed = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let mut cases = cases(&printed);
    if !status.success() && cases.iter().all(|case| !matches!(case.outcome, Outcome::Failed(_))) {
        // The suite gave up outside its tests: a GatewayClass that nobody accepts, for one.
        let outcome = Outcome::Failed(reason(&printed));
        cases.push(Case { group: "suite".to_owned(), name: "set-up".to_owned(), took: Duration::ZERO, outcome });
    }
    report.notes = vec![
        format!("Gateway API suite v{GATEWAY_API}; its {status}"),
        format!("profiles: {}", arguments.profiles),
        format!("features: {}", arguments.features.as_deref().unwrap_or("those of the GatewayClass' status")),
        format!(
            "its own report: {}",
            if yaml.exists() { "gateway-report.yaml beside the JUnit file" } else { "none, it gave up before" }
        ),
    ];
    cases.into_iter().for_each(|case| report.add(case));
    Ok(report)
}

/// The tests of `go test -v`'s output: those directly below the one that runs them all.
fn cases(printed: &str) -> Vec<Case> {
    let lines: Vec<&str> = printed.lines().collect();
    let mut cases = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        let Some((verdict, rest)) = line.trim_start().strip_prefix("--- ").and_then(|rest| rest.split_once(": ")) else {
            continue;
        };
        let Some((path, seconds)) = rest.rsplit_once(" (") else { continue };
        let Some(name) = path.strip_prefix("TestConformance/").filter(|name| !name.contains('/')) else { continue };
        let took = seconds.trim_end_matches("s)").parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // A test's own words stand indented below its verdict.
        let below =
            lines[number + 1..].iter().take_while(|line| !line.trim_start().starts_with("--- ") && line.starts_with("     "));
        let words =
            || below.clone().map(|line| line.trim()).filter(|line| line.contains("Error")).take(3).collect::<Vec<_>>().join("\n");
        let outcome = match verdict {
            "PASS" => Outcome::Passed,
            "SKIP" => Outcome::Skipped(below.clone().next().map(|line| line.trim().to_owned()).unwrap_or_default()),
            _ => Outcome::Failed(words()),
        };
        cases.push(Case { group: group(name).to_owned(), name: name.to_owned(), took: took.unwrap_or_default(), outcome });
    }
    cases
}

/// The kind that a test is about, which its name begins with.
fn group(name: &str) -> &'static str {
    let kinds = [
        "HTTPRoute",
        "GRPCRoute",
        "TLSRoute",
        "TCPRoute",
        "UDPRoute",
        "BackendTLSPolicy",
        "ListenerSet",
        "GatewayClass",
        "Gateway",
        "Mesh",
    ];
    kinds.into_iter().find(|kind| name.starts_with(kind)).unwrap_or("other")
}

/// Why a suite gave up: what stands under the first `Error:` of its test library, and what that says it was doing.
fn reason(printed: &str) -> String {
    let lines = || printed.lines().map(str::trim);
    let below = lines().skip_while(|line| !line.starts_with("Error:")).take_while(|line| !line.starts_with("Test:"));
    let mut words: Vec<&str> = lines().filter_map(|line| line.strip_prefix("Messages:")).take(1).collect();
    words.extend(below.map(|line| line.trim_start_matches("Error:")));
    words.extend(lines().filter(|line| line.starts_with("panic:")).take(1));
    if words.is_empty() {
        words.extend(lines().rev().find(|line| !line.is_empty()));
    }
    words.iter().map(|word| word.trim().trim_end_matches(':')).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suites_tests_are_read_and_their_parts_are_not() {
        let printed = "=== RUN   TestConformance\n--- FAIL: TestConformance (9.00s)\n    --- PASS: TestConformance/HTTPRouteSimple (0.50s)\n        \
                       --- PASS: TestConformance/HTTPRouteSimple/0_request (0.10s)\n    --- FAIL: TestConformance/GatewayBad (2.00s)\n        \
                       helpers.go:7: \n            \tError:      \tcondition is missing\n    --- SKIP: TestConformance/UDPRoute (0.00s)\n        \
                       suite.go:3: unsupported features\nFAIL\n";
        let read = cases(printed);
        let found: Vec<(&str, &str, f64)> =
            read.iter().map(|case| (case.group.as_str(), case.name.as_str(), case.took.as_secs_f64())).collect();
        assert_eq!(found, [("HTTPRoute", "HTTPRouteSimple", 0.5), ("Gateway", "GatewayBad", 2.0), ("UDPRoute", "UDPRoute", 0.0)]);
        assert_eq!(read[0].outcome, Outcome::Passed);
        assert_eq!(read[1].outcome, Outcome::Failed("Error:      \tcondition is missing".to_owned()));
        assert_eq!(read[2].outcome, Outcome::Skipped("suite.go:3: unsupported features".to_owned()));
    }

    #[test]
    fn a_suite_that_gives_up_says_why() {
        let printed = "=== RUN   TestConformance\n        \tError Trace:\tx.go:1\n        \tError:      \tReceived unexpected error:\n        \t   \
                       no such class\n        \tTest:       \tTestConformance\n        \tMessages:   \tsetting up\n--- FAIL: TestConformance (1.0s)\n";
        assert!(cases(printed).is_empty());
        assert_eq!(reason(printed), "setting up: Received unexpected error: no such class");
        assert_eq!(reason("no such flag\n\n"), "no such flag");
    }
}
