//! `suite services`: Kubernetes' own e2e suite, sig-network, unchanged, run by ginkgo from a node, beside what kube-proxy passes.
//!
//! `services-kube-proxy.txt` is that baseline: names of tests that the peer passes on this cluster. Where the cluster has no
//! kube-proxy, the chart is installed in its place first.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Case, Outcome, Report, carrier};
use crate::cluster::programs::Programs;
use crate::cluster::{Cluster, KubeProxy, Options, Place, PodNetwork, Stock};

/// Tests that kube-proxy passes.
const BASELINE: &str = include_str!("services-kube-proxy.txt");
/// The group of those tests, and of all others.
const PEER: &str = "passes with kube-proxy";
const BEYOND: &str = "not known to pass with kube-proxy";
/// Not for this cluster: the Internet, iperf, cloud providers, what the kernel or the CNI plugin lacks; and a registry whose images stand in
/// files of agnhost's image, which here is made of its program alone.
const NEVER: &str = r"Feature:Networking-|Internet connection|IPerf2|Provider:|Netpol|NetworkPolicy|Windows|PerformanceDNS|SCTPConnectivity|Feature:LoadBalancer|image from a registry exposed|Feature:Ingress\]|Feature:NEG|Feature:kubemci|Feature:GKE";
/// What kube-proxy doesn't do in nftables mode, and we do.
const BEYOND_KUBE_PROXY: &str = "Feature:LocalhostNodePorts";
/// Alone or not at all: they change what other tests need, or take very long.
const APART: &str = r"\[Serial\]|\[Slow\]|\[Disruptive\]";

/// What to run.
#[derive(Debug, Args)]
pub struct Arguments {
    /// A part of the suite.
    #[arg(long, value_enum, default_value_t = Part::Network)]
    pub part: Part,
    /// Only tests whose names match this regular expression, in place of the part's.
    #[arg(long)]
    pub focus: Option<String>,
    /// No tests whose names match this one, beside the part's.
    #[arg(long)]
    pub skip: Option<String>,
    /// The order of the tests; printed and written down, so that a run can be repeated.
    #[arg(long, default_value_t = 1)]
    pub seed: u32,
    /// Tests at once.
    #[arg(long, default_value_t = 10)]
    pub processes: u8,
    /// How often a test may be tried.
    #[arg(long, default_value_t = 1)]
    pub attempts: u8,
    /// Minutes after which the run is ended.
    #[arg(long, default_value_t = 55)]
    pub minutes: u32,
    /// Nodes of the cluster, if none is up.
    #[arg(long, default_value_t = 2)]
    pub nodes: u8,
    /// Who carries Services in the cluster, if none is up; `none`: we do, by the chart in place of kube-proxy.
    #[arg(long, value_enum, default_value_t = KubeProxy::Nftables)]
    pub kube_proxy: KubeProxy,
    /// A program that is built already, in place of a release build.
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
}

/// A part of the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// All of sig-network that can run side by side: about 150 tests, 16 minutes.
    Network,
    /// A choice for every change: one or two tests of each kind, 5 minutes at most.
    Ci,
    /// Those that must run alone.
    Serial,
    /// Services of type LoadBalancer, with addresses of a pool: for a cluster without kube-proxy.
    LoadBalancers,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Network => "sig-network",
            Self::Ci => "CI part",
            Self::Serial => "serial part",
            Self::LoadBalancers => "load balancers",
        }
    }

    fn focus(self) -> String {
        match self {
            Self::Network => r"\[sig-network\]".to_owned(),
            Self::Serial => r"\[sig-network\].*\[Serial\]".to_owned(),
            Self::LoadBalancers => r"\[sig-network\].*Feature:LoadBalancer".to_owned(),
            Self::Ci => {
                let tests = [
                    "Services should (serve a basic endpoint|serve multiport|be able to create a functioning NodePort|be rejected when no endpoints)",
                    "Services should (allow pods to hairpin|support named targetPorts|preserve source pod IP|work after the service has been recreated)",
                    "Services should (have session affinity work for service with type clusterIP|be updated after adding or deleting ports)",
                    "Services should (support externalTrafficPolicy=Local for type=NodePort|respect internalTrafficPolicy=Local Pod to Pod)",
                    "Services should (implement service.kubernetes.io/headless|implement service.kubernetes.io/service-proxy-name)",
                    "Conntrack should be able to preserve UDP traffic when initial unready endpoints get ready",
                    r"Granular Checks: Services should function for (node|pod|endpoint)-Service: (http|udp)",
                    r"Secondary IP Family.*should function for (node|pod)-Service: (http|udp)",
                    "DNS should provide DNS for (the cluster|services)",
                    "EndpointSlice should create Endpoints and EndpointSlices for Pods matching",
                    "NoSNAT|Topology Hints|Networking Granular Checks: Pods",
                ];
                format!(r"\[sig-network\].*({})", tests.join("|"))
            }
        }
    }

    fn skip(self) -> String {
        match self {
            Self::Serial => format!(r"{NEVER}|\[Slow\]|\[Disruptive\]"),
            Self::Network | Self::Ci => format!("{NEVER}|{APART}"),
            Self::LoadBalancers => r"Provider:|Windows|SCTPConnectivity|Feature:GKE|\[Disruptive\]".to_owned(),
        }
    }
}

impl Arguments {
    /// The cluster that is brought up, if none is.
    pub fn cluster(&self) -> Options {
        Options { nodes: self.nodes, pod_network: PodNetwork::Routes, kube_proxy: self.kube_proxy }
    }
}

/// Runs the suite; Helm needs to be in the cluster's outside world.
pub fn run(cluster: &Cluster, arguments: &Arguments) -> Result<Report> {
    let programs = Programs::cached()?;
    programs.need_all(&["e2e.test", "ginkgo"])?;
    cluster.load_stock(&[Stock::E2e])?;
    let name = if cluster.options().kube_proxy == KubeProxy::None { "services-agent" } else { "services" };
    let mut report = Report::new(name, cluster.describe());
    // Services alone: a Pod of a test wants port 80 of the node, which Ingresses would have.
    carrier::install(cluster, arguments.program.as_ref(), &["l4.only=true"])?;
    if arguments.part == Part::LoadBalancers {
        apply_pool(cluster)?;
    }
    let said = ginkgo(arguments, &programs, cluster)?;
    carrier::alone(cluster)?;
    read(&said, arguments, &mut report)?;
    Ok(report)
}

/// Addresses of the bridge that nothing has, also for Services that name no class, as those of the tests. The outside world asks them
/// from an address of another network than the nodes': tests tell by that whether a client's address was kept.
fn apply_pool(cluster: &Cluster) -> Result<()> {
    for line in ["addr replace 198.51.100.77/32 dev lo", "route replace 192.0.2.128/26 dev br0 src 198.51.100.77"] {
        cluster.run(Place::Wan, &["ip"].into_iter().chain(line.split(' ')).collect::<Vec<_>>())?;
    }
    let pool = serde_json::json!({"apiVersion": "rust-ingress.dev/v1alpha1", "kind": "AddressPool", "metadata": {"name": "e2e"},
        "spec": {"addresses": ["192.0.2.129-192.0.2.190", "2001:db8::100-2001:db8::199"], "default": true}});
    let file = cluster.folder().join("pool.json");
    fs::write(&file, pool.to_string())?;
    cluster.kubectl(&["apply", "-f", &file.display().to_string()]).map(drop)
}

/// Runs ginkgo on a node, for load balancers' addresses in the outside world, what it prints shown; its report.
fn ginkgo(arguments: &Arguments, programs: &Programs, cluster: &Cluster) -> Result<Value> {
    let folder = cluster.folder().join("services");
    fs::create_dir_all(&folder)?;
    let report = folder.join("report.json");
    let _ = fs::remove_file(&report);
    let theirs = (cluster.options().kube_proxy != KubeProxy::None).then(|| BEYOND_KUBE_PROXY.to_owned());
    let skip = arguments.skip.iter().chain(&theirs).fold(arguments.part.skip(), |skip, more| format!("{skip}|{more}"));
    let focus = arguments.focus.clone().unwrap_or_else(|| arguments.part.focus());
    let processes = if arguments.part == Part::Serial { 1 } else { arguments.processes };
    let mut line = vec![
        programs.need("ginkgo")?.display().to_string(),
        format!("--procs={processes}"),
        "--no-color".to_owned(),
        "--silence-skips".to_owned(),
        format!("--focus={focus}"),
        format!("--skip={skip}"),
        format!("--seed={}", arguments.seed),
        format!("--flake-attempts={}", arguments.attempts),
        format!("--timeout={}m", arguments.minutes),
        format!("--output-dir={}", folder.display()),
        "--json-report=report.json".to_owned(),
        programs.need("e2e.test")?.display().to_string(),
    ];
    let kubeconfig = cluster.kubeconfig().display().to_string();
    let nodes = cluster.nodes().count();
    line.extend([
        "--".to_owned(),
        format!("--kubeconfig={kubeconfig}"),
        "--provider=local".to_owned(),
        format!("--num-nodes={nodes}"),
    ]);
    line.extend(["--minStartupPods=0".to_owned(), "--dump-logs-on-failure=false".to_owned()]);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    let place = if arguments.part == Part::LoadBalancers { Place::Wan } else { Place::Network(1) };
    let status = cluster.long_command(place, &line)?.current_dir(&folder).status().context("ginkgo can't be run")?;
    let text = fs::read_to_string(&report);
    let text = text.with_context(|| format!("ginkgo ended with {status} and wrote no {}", report.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{}: is not a report", report.display()))
}

/// What ginkgo's report says, in ours.
fn read(said: &Value, arguments: &Arguments, report: &mut Report) -> Result<()> {
    let suite = said.get(0).context("ginkgo's report is empty")?;
    let cases = cases(suite);
    ensure!(!cases.is_empty(), "no test matches the focus, or the suite ended before its first test");
    let texts = |key: &str| -> String {
        let all = suite["SuiteConfig"][key].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|")
    };
    let known = cases.iter().filter(|case| case.group == PEER).count();
    report.notes = vec![
        format!("part: {}", arguments.part.name()),
        format!("focus: `{}`", texts("FocusStrings")),
        format!("skip: `{}`", texts("SkipStrings")),
        format!("seed: {}; {} processes; {} attempts", arguments.seed, arguments.processes, arguments.attempts),
        format!("of these tests, {known} are among the {} that kube-proxy passes (services-kube-proxy.txt)", baseline().len()),
    ];
    cases.into_iter().for_each(|case| report.add(case));
    Ok(())
}

/// The tests that ran. What isn't a test (set-up of the suite) counts when it failed.
fn cases(suite: &Value) -> Vec<Case> {
    let specs = suite["SpecReports"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (baseline, mut cases) = (baseline(), Vec::new());
    for spec in specs {
        let state = spec["State"].as_str().unwrap_or_default();
        let message = || spec["Failure"]["Message"].as_str().unwrap_or(state).to_owned();
        let skipped_within = state == "skipped" && spec["RunTime"].as_u64().is_some_and(|time| time > 0);
        let outcome = match state {
            "passed" => Outcome::Passed,
            "skipped" if skipped_within => Outcome::Skipped(message()),
            "skipped" | "pending" => continue,
            _ => Outcome::Failed(message()),
        };
        if spec["LeafNodeType"] != "It" && !matches!(outcome, Outcome::Failed(_)) {
            continue;
        }
        let (name, took) = (name(spec), Duration::from_nanos(spec["RunTime"].as_u64().unwrap_or_default()));
        let group = if baseline.contains(name.as_str()) { PEER } else { BEYOND };
        cases.push(Case { group: group.to_owned(), name, took, outcome });
    }
    cases.sort_by(|one, other| one.name.cmp(&other.name));
    cases
}

fn name(spec: &Value) -> String {
    let above = spec["ContainerHierarchyTexts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut words: Vec<&str> = above.iter().filter_map(Value::as_str).collect();
    words.push(
        spec["LeafNodeText"]
            .as_str()
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| spec["LeafNodeType"].as_str().unwrap_or_default()),
    );
    words.join(" ").trim_start_matches("[sig-network] ").to_owned()
}

fn baseline() -> BTreeSet<&'static str> {
    BASELINE.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde_json::json;

    fn spec(name: &str, kind: &str, state: &str) -> Value {
        json!({"ContainerHierarchyTexts": ["[sig-network] Services"], "LeafNodeText": name, "LeafNodeType": kind, "State": state,
               "RunTime": 2_000_000_000_u64, "Failure": {"Message": "why"}})
    }

    #[test]
    fn tests_that_ran_are_read_and_a_failed_set_up_counts() {
        let mut unselected = spec("b", "It", "skipped");
        unselected["RunTime"] = json!(0);
        let specs = [spec("a", "It", "passed"), unselected, spec("c", "It", "timedout"), spec("d", "It", "skipped")];
        let set_up = [spec("", "SynchronizedBeforeSuite", "failed"), spec("", "ReportBeforeSuite", "passed")];
        let read = {
            let all = [specs.to_vec(), set_up.to_vec()].concat();
            cases(&json!({"SpecReports": all}))
        };
        let found: Vec<(&str, &Outcome)> = read.iter().map(|case| (case.name.as_str(), &case.outcome)).collect();
        let why = || "why".to_owned();
        let wanted = [
            ("Services SynchronizedBeforeSuite", &Outcome::Failed(why())),
            ("Services a", &Outcome::Passed),
            ("Services c", &Outcome::Failed(why())),
            ("Services d", &Outcome::Skipped(why())),
        ];
        assert_eq!(found, wanted);
        assert_eq!(read[1].took, Duration::from_secs(2));
    }

    #[test]
    fn a_test_is_shown_with_what_kube_proxy_makes_of_it() {
        let known = baseline().into_iter().next().unwrap();
        let of = |name: &str| json!({"LeafNodeText": name, "LeafNodeType": "It", "State": "passed", "RunTime": 1});
        let read = cases(&json!({"SpecReports": [of(known), of("~ new")]}));
        assert_eq!([read[0].group.as_str(), read[1].group.as_str()], [PEER, BEYOND]);
    }

    #[test]
    fn a_run_without_a_test_is_an_error() {
        let mut report = Report::new("services", "nothing");
        let arguments = clap::Parser::parse_from(["x"]);
        let Sample { arguments } = arguments;
        assert!(read(&json!([{"SpecReports": []}]), &arguments, &mut report).is_err());
    }

    #[derive(clap::Parser)]
    struct Sample {
        #[command(flatten)]
        arguments: Arguments,
    }
}
