//! `run` without a folder: from a cluster.
//!
//! Order at start: where the API server is, default certificate, the proxy's process (not ready), the last good state, and only
//! then clients of the API server: reading the system's authorities for them takes longer than all the rest. The driver
//! publishes when the source has said all there is.

use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::Context as _;
use rust_ingress_proxy::agent::Alive;
use rust_ingress_proxy::options::Options;
use rust_ingress_proxy::server::sockets::Sharing;

use super::{RunArgs, agent, settings};
use crate::child::{Child, ChildOptions, this_program};
use crate::cli::signals;
use crate::driver::{Driver, Message};
use crate::last_good::Keeper;
use crate::placement::{Placement, PlacementOptions};
use crate::source::cluster::{self, Seen};
use crate::status::Writer;

/// How long giving the Lease back may take.
const RELEASE: Duration = Duration::from_secs(3);

pub(super) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    args.log.start()?;
    let config = {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let access = args.cluster.access();
        runtime.block_on(access.config())?
    };
    tracing::info!(server = %config.cluster_url, "watching the cluster");
    let settings = settings(&args)?;
    let (sender, messages) = channel();
    let stop = sender.clone();
    signals::on_stop(move || drop(stop.send(Message::Stop))).context("can't catch signals")?;

    let health = args.health();
    let mut driver = Driver::new(settings.clone());
    if let Some(secret) = args.cluster.default_certificate_secret.clone() {
        driver.default_from(secret);
    }
    let ties = agent::start(&args.l4, &mut driver)?;
    let (addresses, alive) = ties.map(|ties| (ties.addresses, ties.alive)).unzip();
    let proxied = alive.as_ref().map(Alive::watch);
    let child = Child::start(ChildOptions {
        program: this_program(),
        flags: args.log.flags(),
        // The Pod that follows opens the ports while this one drains.
        proxy: Options { sharing: Sharing::WithOurselves, ..args.proxy.options(args.admin, health) },
        alive,
    })?;
    let keeper = args.state.serve(&child, &settings)?;
    if let Some(keeper) = &keeper {
        driver.subscribe(keeper.subscriber());
    }
    let seen = Seen::default();
    let l7 = !args.l4.l4_only;
    let mut status = args.status.options(&config, seen.clone(), l7);
    status.node = args.l4.node()?.zip(proxied);
    let (namespace, lease, pod) = (status.namespace.clone(), status.lease.clone(), status.pod.clone());
    let (writer, subscriber) = Writer::start(status).context("can't start the status writer")?;
    driver.subscribe(subscriber);
    let placement = addresses.zip(args.l4.node()?).map(|(addresses, node)| {
        Placement::start(PlacementOptions { config: config.clone(), namespace, lease, node, pod, addresses })
    });
    let placement = placement.transpose().context("can't start the placement of addresses")?;
    let scope = args.cluster.scope(args.l4.node()?, l7);
    cluster::start(config, scope, sender, driver.say_wanted(), seen).context("can't start the cluster source")?;
    driver.run(&messages, &child, false);
    // Before the drain: who stops us may not wait for its end.
    keeper.into_iter().for_each(Keeper::stop);
    placement.into_iter().for_each(|placement| placement.stop(RELEASE));
    writer.stop(RELEASE);
    child.stop();
    Ok(ExitCode::SUCCESS)
}
