//! `rust-ingress agent sysctl`: makes the kernel settings that the agent wants. For an init container, which may be privileged
//! where the program itself, which runs for long, need not be.

use std::process::ExitCode;

use anyhow::Context as _;
use rust_ingress_proxy::agent::Sysctl;

pub(super) fn sysctl() -> anyhow::Result<ExitCode> {
    for sysctl in Sysctl::usual() {
        let Sysctl { name, value } = &sysctl;
        let name = name.replace('/', ".");
        sysctl.set().with_context(|| format!("can't set {name} to {value}; run as root, in a container that is privileged"))?;
        println!("{name} = {value}");
    }
    Ok(ExitCode::SUCCESS)
}
