//! `rust-ingress run`: serve a cluster, or a folder of manifests, until a signal.
//!
//! Whatever stands in the way of serving as asked, and can't mend itself, ends the program with status 2 before it serves half
//! of it.

mod agent;
mod cluster;
mod folder;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use rust_ingress_proxy::PublishFault;
use rust_ingress_translate::{Origin, Settings};

use crate::certificate;
use crate::cli::flags::cluster::ClusterArgs;
use crate::cli::flags::l4::L4Args;
use crate::cli::flags::state::StateArgs;
use crate::cli::flags::status::StatusArgs;
use crate::cli::flags::{Place, ProxyArgs, address, loopback_place, place};
use crate::cli::log::LogArgs;
use crate::cli::sandbox;

#[derive(Args)]
pub(super) struct RunArgs {
    /// Serve a folder of manifests, Kubernetes YAML or JSON, read recursively and watched, in place of a cluster
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Where HTTP is served; may be repeated [default: [::]:80, from a folder 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    http: Vec<SocketAddr>,
    /// Where HTTPS is served; may be repeated [default: [::]:443, from a folder 127.0.0.1:8443]
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    https: Vec<SocketAddr>,
    /// Where /snapshot is served, loopback only, or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = loopback_place)]
    admin: Place,
    /// Where /livez, /readyz, /metrics and /generation are served, or off [default: [::]:9902, from a folder 127.0.0.1:9902]
    #[arg(long, value_name = "ADDRESS", value_parser = place)]
    health: Option<Place>,
    /// A PROXY protocol header (v1 or v2) opens every connection
    #[arg(long)]
    proxy_protocol: bool,
    /// Serve Services of type ExternalName
    #[arg(long)]
    allow_external_name: bool,
    /// What is presented for names that no Secret covers: two PEM files [default: self-signed, made at start]
    #[arg(long, value_name = "CERT.pem,KEY.pem", value_delimiter = ',', num_args = 1)]
    default_certificate: Vec<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    state: StateArgs,
    #[command(flatten)]
    status: StatusArgs,
    #[command(flatten)]
    l4: L4Args,
    #[command(flatten)]
    proxy: ProxyArgs,
}

impl RunArgs {
    /// An address where this mode serves by default: all of the node for a cluster, this machine alone for a folder.
    fn default_address(&self, cluster: u16, folder: u16) -> SocketAddr {
        match self.manifests {
            Some(_) => SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), folder),
            None => SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), cluster),
        }
    }

    fn health(&self) -> Place {
        self.health.unwrap_or(Place(Some(self.default_address(9902, 9902))))
    }
}

/// Serves until a signal.
pub(super) fn run(mut args: RunArgs) -> anyhow::Result<ExitCode> {
    match args.manifests.clone() {
        Some(root) if args.l4.sandbox => {
            if !args.l4.on() {
                bail!("--sandbox is for Services in the kernel; give --l4 or --l4-only with it");
            }
            // Before there is a thread: all of this program is to be in it.
            let sandbox = sandbox::make(&root, &mut args.l4)?;
            folder::run(args, &root, Some(&sandbox))
        }
        Some(root) => folder::run(args, &root, None),
        None => cluster::run(args),
    }
}

fn settings(args: &RunArgs) -> anyhow::Result<Settings> {
    let default_certificate = match args.default_certificate.as_slice() {
        [] => certificate::make()?,
        [chain, key] => certificate::read(chain, key)?,
        _ => bail!("--default-certificate takes two files with a comma between them: CERT.pem,KEY.pem"),
    };
    let or = |given: &Vec<SocketAddr>, cluster, folder| match given.as_slice() {
        [] if args.l4.l4_only => Vec::new(),
        [] => vec![args.default_address(cluster, folder)],
        _ => given.clone(),
    };
    Ok(Settings {
        origin: if args.manifests.is_some() { Origin::Files } else { Origin::Cluster },
        ingress_class: args.cluster.ingress_class.clone(),
        http: or(&args.http, 80, 8080),
        https: or(&args.https, 443, 8443),
        proxy_protocol: args.proxy_protocol,
        default_certificate: Some(default_certificate),
        allow_external_name: args.allow_external_name,
        l4: args.l4.on(),
        ..Settings::default()
    })
}

/// What to say where a listener that was asked for can't be opened.
fn cannot_listen(fault: &PublishFault) -> anyhow::Error {
    let flag = if fault.listener.starts_with("https") { "--https" } else { "--http" };
    let PublishFault { address, error, .. } = fault;
    anyhow::anyhow!("can't listen on {address}: {error}; {} with {flag} ADDRESS", fault.advice())
}
