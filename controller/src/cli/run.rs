//! `rust-ingress run`: serve a folder of manifests until a signal.
//!
//! Order at start: folder, default certificate, builtin backends, proxy, first publish, banner, watch. Whatever stands in the
//! way of serving as asked ends the program with status 2 before it serves half of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use anyhow::{Context as _, bail};
use clap::Args;
use rust_ingress_proxy::{Proxy, PublishFault};
use rust_ingress_translate::{Origin, Settings};

use crate::builtin::Builtin;
use crate::builtin::echo::Echo;
use crate::certificate;
use crate::cli::banner::Banner;
use crate::cli::flags::{Place, ProxyArgs, address, loopback_place, place};
use crate::cli::log::LogArgs;
use crate::cli::{require_folder, signals};
use crate::driver::{Driver, Message};
use crate::source::files::{Folder, Watch};

#[derive(Args)]
pub(super) struct RunArgs {
    /// The folder of manifests: Kubernetes YAML or JSON, read recursively and watched
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// Where HTTP is served; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = address)]
    http: Vec<SocketAddr>,
    /// Where HTTPS is served; may be repeated
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443", value_parser = address)]
    https: Vec<SocketAddr>,
    /// Where /snapshot is served, loopback only, or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9901", value_parser = loopback_place)]
    admin: Place,
    /// Where /livez, /readyz, /metrics and /generation are served, or off
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9902", value_parser = place)]
    health: Place,
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
    proxy: ProxyArgs,
}

/// Serves until a signal.
pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let Some(root) = args.manifests.clone() else {
        bail!(
            "there is no cluster source yet: it comes with the Helm chart. Give a folder of manifests: rust-ingress run --manifests DIR"
        );
    };
    args.log.start()?;
    require_folder(&root)?;
    let settings = settings(&args)?;
    let echo = Echo::start().context("can't start the builtin echo backend on loopback")?;
    let folder = Folder::new(&root, Builtin { echo: echo.address() });
    let (watch, changes) = Watch::start(folder)?;
    let (sender, messages) = channel();
    let stop = sender.clone();
    signals::on_stop(move || drop(stop.send(Message::Stop))).context("can't catch signals")?;

    let proxy = Proxy::start(args.proxy.options(args.admin, args.health))?;
    let mut driver = Driver::new(settings);
    driver.apply(changes);
    if let Some(fault) = driver.turn(&proxy).into_iter().next() {
        let error = cannot_listen(&fault);
        proxy.stop();
        return Err(error);
    }
    Banner { root: &root, folder: watch.folder(), proxy: &proxy, snapshot: driver.snapshot() }.print();
    watch_on_thread(watch, sender)?;
    driver.run(&messages, &proxy, true);
    proxy.stop();
    Ok(ExitCode::SUCCESS)
}

fn watch_on_thread(watch: Watch, sender: Sender<Message>) -> anyhow::Result<()> {
    let run = move || watch.run(|changes| sender.send(Message::Changes(changes)).is_ok());
    std::thread::Builder::new().name("watch".into()).spawn(run).context("can't start the thread that watches files")?;
    Ok(())
}

fn settings(args: &RunArgs) -> anyhow::Result<Settings> {
    let default_certificate = match args.default_certificate.as_slice() {
        [] => certificate::make()?,
        [chain, key] => certificate::read(chain, key)?,
        _ => bail!("--default-certificate takes two files with a comma between them: CERT.pem,KEY.pem"),
    };
    Ok(Settings {
        origin: Origin::Files,
        http: args.http.clone(),
        https: args.https.clone(),
        proxy_protocol: args.proxy_protocol,
        default_certificate: Some(default_certificate),
        allow_external_name: args.allow_external_name,
        ..Settings::default()
    })
}

/// What to say where a listener that was asked for can't be opened.
fn cannot_listen(fault: &PublishFault) -> anyhow::Error {
    let flag = if fault.listener.starts_with("https") { "--https" } else { "--http" };
    let PublishFault { address, error, .. } = fault;
    anyhow::anyhow!("can't listen on {address}: {error}; {} with {flag} ADDRESS", fault.advice())
}
