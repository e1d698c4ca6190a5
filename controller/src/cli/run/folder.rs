//! `run --manifests DIR`: one process, from a folder.
//!
//! Order at start: folder, default certificate, builtin backends, proxy, first publish, banner, watch.

use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Sender, channel};

use anyhow::Context as _;
use rust_ingress_proxy::Proxy;

use super::{RunArgs, agent, cannot_listen, settings};
use crate::builtin::Builtin;
use crate::builtin::echo::Echo;
use crate::cli::banner::Banner;
use crate::cli::{require_folder, signals};
use crate::driver::{Driver, Message};
use crate::source::files::{Folder, Watch};

pub(super) fn run(args: RunArgs, root: &Path) -> anyhow::Result<ExitCode> {
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
    let proxy = Proxy::start(args.proxy.options(args.admin, health))?;
    let mut driver = Driver::new(settings);
    agent::start(&args.l4, &mut driver)?;
    driver.apply(changes);
    if let Some(fault) = driver.turn(&proxy).into_iter().next() {
        let error = cannot_listen(&fault);
        proxy.stop();
        return Err(error);
    }
    Banner { root, folder: watch.folder(), proxy: &proxy, snapshot: driver.snapshot() }.print();
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
