//! `rust-ingress proxy`: the data plane as a process of its own. Started by `run`, never by hand: what it serves, and the
//! sockets that it serves on, come over the socket that is its standard input.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;
use rust_ingress_proxy::feed;
use rustix::net::{AddressFamily, sockopt};

use crate::child::confine;
use crate::cli::log::LogArgs;

#[derive(Args)]
pub(super) struct ProxyArgs {
    #[command(flatten)]
    log: LogArgs,
}

/// Serves until the parent says stop, or is gone.
pub(super) fn proxy(args: &ProxyArgs) -> anyhow::Result<ExitCode> {
    let stdin = std::io::stdin();
    if sockopt::socket_domain(&stdin) != Ok(AddressFamily::UNIX) {
        bail!("`rust-ingress proxy` is started by `rust-ingress run`, over a socket as its standard input; use `run`");
    }
    args.log.start()?;
    confine::give_up_privileges().context("the proxy's process can't give up its capabilities")?;
    let socket = stdin.as_fd().try_clone_to_owned().context("can't take over the socket to the parent process")?;
    feed::follow(UnixStream::from(socket))?;
    Ok(ExitCode::SUCCESS)
}
