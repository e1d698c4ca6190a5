//! The flags of the last good state. `run` in a cluster has them; a folder of manifests is its own last good state.

use std::path::PathBuf;

use clap::Args;
use rust_ingress_translate::Settings;

use crate::child::Child;
use crate::last_good::{Keeper, LastGood, Store};

#[derive(Args)]
#[command(next_help_heading = "After a restart without an API server")]
pub(in crate::cli) struct StateArgs {
    /// Where what is served is kept, keys included, to be served after a restart until the API server answers [default: nowhere]
    #[arg(long, value_name = "DIR", conflicts_with = "manifests")]
    state_dir: Option<PathBuf>,
    /// Keep no keys there: after a restart TLS hosts answer nothing until the API server does
    #[arg(long, requires = "state_dir")]
    no_persist_keys: bool,
}

impl StateArgs {
    /// Serves what an earlier run left, and keeps what is served from now on. `None` where no folder is given.
    pub(in crate::cli) fn serve(&self, child: &Child, settings: &Settings) -> anyhow::Result<Option<Keeper>> {
        let Some(folder) = &self.state_dir else { return Ok(None) };
        let store = Store::open(folder, !self.no_persist_keys)?;
        if let Some(LastGood { snapshot, mut keys, written }) = store.load() {
            if let Some(default) = &settings.default_certificate {
                keys.insert_as(default.fingerprint, default.pair.clone());
            }
            for fault in child.publish_last_good(snapshot, &keys, written) {
                tracing::error!("the last good state: {fault}");
            }
            tracing::warn!(folder = %folder.display(), "serving the last good state until the API server answers");
        }
        Ok(Some(Keeper::start(store)?))
    }
}
