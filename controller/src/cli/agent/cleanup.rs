//! `rust-ingress agent cleanup`: takes away all that an agent ever made in this network namespace, and nothing else.

use std::process::ExitCode;

use anyhow::Context as _;
use rust_ingress_proxy::agent::Agent;

pub(super) fn cleanup() -> anyhow::Result<ExitCode> {
    Agent::cleanup().context("can't take away the tables rust-ingress; run as root or with CAP_NET_ADMIN")?;
    println!(
        "the tables rust-ingress are gone from nftables, both families; connections that they translated go on until they end"
    );
    Ok(ExitCode::SUCCESS)
}
