//! Where the plan of a node is made from: a folder of manifests, or a cluster as it is now. Called by `render` and `explain`.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use rust_ingress_model::Snapshot;
use rust_ingress_model::l4::{NodeFacts, Plan};
use rust_ingress_translate::{Origin, Settings, World, translate};
use tokio::sync::watch;

use super::holders::Holders;
use crate::cli::flags::cluster::{AccessArgs, dns_name};
use crate::cli::flags::l4::CarryArgs;
use crate::cli::log::LogArgs;
use crate::cli::read_folder;
use crate::driver::{Message, Wanted};
use crate::source::cluster::{self, Scope, Seen};

/// How long a cluster may take to say what there is.
const WITHIN: Duration = Duration::from_secs(30);

#[derive(Args)]
pub(super) struct SourceArgs {
    /// Plan for a folder of manifests, in place of a cluster
    #[arg(long, value_name = "DIR")]
    manifests: Option<PathBuf>,
    /// The node, as its Node object is called
    #[arg(long, value_name = "NAME", value_parser = dns_name)]
    node: String,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    carry: CarryArgs,
    #[command(flatten)]
    log: LogArgs,
}

impl SourceArgs {
    /// The plan, and who answers for addresses of pools. What is left out of it is said on standard error.
    pub(super) fn plan(&self) -> anyhow::Result<(Plan, Holders)> {
        self.log.start()?;
        let settings = self.carry.settings()?;
        let origin = if self.manifests.is_some() { Origin::Files } else { Origin::Cluster };
        let translation = Settings { origin, l4: true, ..Settings::default() };
        let mut world = World::new(&translation);
        match &self.manifests {
            Some(root) => read_folder(root, &mut world)?,
            None => self.read_cluster(&mut world)?,
        }
        let dirty = world.take_dirty();
        let (snapshot, _) = translate(&world, &translation, &Snapshot::default(), &dirty);
        let facts = match world.node(&self.node) {
            Some(facts) => NodeFacts::clone(facts),
            None => bail!("there is no Node {:?} {}; check --node", self.node, self.place()),
        };
        let (plan, _) = Plan::empty(settings).next(&snapshot, &facts);
        for fault in snapshot.faults().chain(plan.faults()).filter(|fault| &*fault.object.kind == "Service") {
            eprintln!("rust-ingress: {fault}");
        }
        let holders = match self.manifests {
            Some(_) => Holders::alone(&snapshot, &self.node),
            None if snapshot.pools.is_empty() => Holders::default(),
            None => Holders::in_cluster(&snapshot, self.config()?)?,
        };
        Ok((plan, holders))
    }

    fn config(&self) -> anyhow::Result<kube::Config> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(runtime.block_on(self.access.access().config())?)
    }

    fn place(&self) -> String {
        match &self.manifests {
            Some(root) => format!("in {}", root.display()),
            None => "in the cluster".into(),
        }
    }

    /// Watches until all has been listed once.
    fn read_cluster(&self, world: &mut World) -> anyhow::Result<()> {
        let config = self.config()?;
        let server = config.cluster_url.clone();
        let scope = Scope { namespaces: Vec::new(), ingress_class: String::new(), node: Some(self.node.clone()), l7: false };
        let (sender, messages) = channel();
        // No Secret is wanted: the source stands when it has listed the rest.
        let (_wanted, receiver) = watch::channel(Wanted::default());
        cluster::start(config, scope, sender, receiver, Seen::default()).context("can't ask the API server")?;
        if !listed(&messages, world) {
            bail!("{server} hasn't said within {} s which Services, endpoints and nodes there are", WITHIN.as_secs());
        }
        Ok(())
    }
}

/// Takes in what a source says until it has listed all; whether it did in time.
fn listed(messages: &Receiver<Message>, world: &mut World) -> bool {
    let end = Instant::now() + WITHIN;
    loop {
        match messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(Message::Changes(changes)) => changes.into_iter().for_each(|change| world.apply(change)),
            Ok(Message::Listed) => return true,
            Ok(Message::Answered(_)) => {}
            Ok(Message::Stop) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
        }
    }
}
