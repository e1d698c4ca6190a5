//! `run --manifests DIR`: from a folder. One process; with `--l4` two, as in a cluster, so that Services go on without the proxy.
//!
//! Order at start: folder, default certificate, builtin backends, proxy, first publish, banner, watch.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use anyhow::Context as _;
use rust_ingress_proxy::Proxy;

use super::agent::Ties;
use super::{RunArgs, agent, cannot_listen, settings};
use crate::builtin::Builtin;
use crate::builtin::echo::Echo;
use crate::child::{Child, ChildOptions, this_program};
use crate::cli::banner::Banner;
use crate::cli::{require_folder, signals};
use crate::driver::{Driver, Message};
use crate::plane::Plane;
use crate::sandbox::Sandbox;
use crate::source::files::{Folder, Watch};

pub(super) fn run(args: RunArgs, root: &Path, sandbox: Option<&Sandbox>) -> anyhow::Result<ExitCode> {
    args.log.start()?;
    require_folder(root)?;
    let settings = settings(&args)?;
    let echo = Echo::start().context("can't start the builtin echo backend on loopback")?;
    let folder = Folder::new(root, Builtin { echo: echo.address() });
    let (watch, changes) = Watch::start(folder)?;
    let (sender, messages) = channel();
    let stop = sender.clone();
    signals::on_stop(move || drop(stop.send(Message::Stop))).context("can't catch signals")?;

    let health = args.health();
    let options = args.proxy.options(args.admin, health);
    let mut driver = Driver::new(settings);
    let serving = match agent::start(&args.l4, &mut driver)? {
        None => Serving::Here(Proxy::start(options)?),
        Some(Ties { alive, .. }) => {
            let (program, flags) = (this_program(), args.log.flags());
            let child = ChildOptions { program, flags, proxy: options, alive: Some(alive) };
            Serving::InChild(Child::start(child)?)
        }
    };
    driver.apply(changes);
    if let Some(fault) = driver.turn(serving.plane()).into_iter().next() {
        let error = cannot_listen(&fault);
        serving.stop();
        return Err(error);
    }
    let (admin, health) = serving.observed();
    let (folder, bound) = (watch.folder(), serving.plane().bound());
    Banner { root, folder, bound, admin, health, snapshot: driver.snapshot(), sandbox }.print();
    watch_on_thread(watch, sender)?;
    driver.run(&messages, serving.plane(), true);
    serving.stop();
    Ok(ExitCode::SUCCESS)
}

/// Where the proxy runs.
enum Serving {
    /// In this process.
    Here(Proxy),
    /// In one of its own.
    InChild(Child),
}

impl Serving {
    fn plane(&self) -> &dyn Plane {
        match self {
            Self::Here(proxy) => proxy,
            Self::InChild(child) => child,
        }
    }

    /// The admin and health ports.
    fn observed(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        match self {
            Self::Here(proxy) => (proxy.observer().admin_addr(), proxy.observer().health_addr()),
            Self::InChild(child) => (child.admin_addr(), child.health_addr()),
        }
    }

    fn stop(self) {
        match self {
            Self::Here(proxy) => proxy.stop(),
            Self::InChild(child) => child.stop(),
        }
    }
}

fn watch_on_thread(watch: Watch, sender: Sender<Message>) -> anyhow::Result<()> {
    let run = move || watch.run(|changes| sender.send(Message::Changes(changes)).is_ok());
    std::thread::Builder::new().name("watch".into()).spawn(run).context("can't start the thread that watches files")?;
    Ok(())
}
