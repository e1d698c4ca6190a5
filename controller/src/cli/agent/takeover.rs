//! `rust-ingress agent takeover`: takes kube-proxy's rules out of this network namespace, where an agent of ours carries Services.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use rust_ingress_proxy::agent::Agent;
use rust_ingress_proxy::agent::nft::Taken;
use rust_ingress_proxy::agent::survey::Facts;

pub(super) fn takeover() -> anyhow::Result<ExitCode> {
    let facts = Facts::gather().context("can't list the chains of nf_tables; run as root or with CAP_NET_ADMIN")?;
    if facts.ipvs {
        bail!(
            "kube-proxy has IPVS servers here, and their addresses on an interface: nothing is taken away. Stop it and run \
             `kube-proxy --cleanup` on this node before the agent starts"
        );
    }
    let taken = Agent::take_over()?;
    println!("{}", said(&taken));
    if facts.programs.contains("kube-proxy") {
        eprintln!("kube-proxy still runs on this node: it writes its rules again unless it is stopped");
    }
    if facts.legacy_tables.contains("nat") {
        eprintln!(
            "iptables-legacy has a nat table on this node, which isn't looked into: if `iptables-legacy-save` shows KUBE-SVC-… chains, \
             `kube-proxy --cleanup` takes them away"
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn said(taken: &Taken) -> String {
    let Taken { tables, chains, jumps } = taken;
    match (tables.is_empty(), *chains) {
        (true, 0) => "kube-proxy has no rules here".to_owned(),
        (false, 0) => format!("kube-proxy's tables are gone: {}", tables.join(", ")),
        (true, chains) => format!("kube-proxy's chains are gone from iptables: {chains}, and {jumps} rules that led to them"),
        (false, chains) => format!(
            "kube-proxy's tables are gone: {}; and its chains from iptables: {chains}, and {jumps} rules that led to them",
            tables.join(", ")
        ),
    }
}
