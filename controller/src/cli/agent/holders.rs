//! Who answers on the link for which address of a pool: in a cluster its nodes' Leases say, from a folder the one node does.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Config;
use kube::api::{Api, ListParams};
use rust_ingress_model::Snapshot;
use rust_ingress_model::l4::placement::Announcements;

use crate::placement::{LABEL, held};
use crate::source::cluster::client;

/// The addresses that nodes answer for, with a sentence on each.
#[derive(Default)]
pub(super) struct Holders(BTreeMap<IpAddr, String>);

impl Holders {
    /// From a folder.
    pub(super) fn alone(snapshot: &Snapshot, node: &str) -> Self {
        Self::of(snapshot, |_| format!("{node} answers for it on the link"))
    }

    /// In a cluster, as its Leases say now.
    pub(super) fn in_cluster(snapshot: &Snapshot, config: Config) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listed = runtime.block_on(async {
            let leases: Api<Lease> = Api::all(client(config)?);
            leases.list(&ListParams::default().labels(LABEL)).await.map_err(anyhow::Error::from)
        });
        Ok(match listed {
            Ok(leases) => {
                let held: BTreeMap<IpAddr, String> = leases.iter().flat_map(held).collect();
                Self::of(snapshot, |ip| match held.get(&ip) {
                    Some(node) => format!("{node} answers for it on the link"),
                    None => format!("no node answers for it on the link (kubectl get leases -A -l {LABEL})"),
                })
            }
            Err(error) => Self::of(snapshot, |_| format!("who answers for it on the link can't be asked: {error}")),
        })
    }

    fn of(snapshot: &Snapshot, says: impl Fn(IpAddr) -> String) -> Self {
        let mut announcements = Announcements::default();
        announcements.update(snapshot);
        let all = announcements.addresses();
        Self(all.iter().map(|(ip, one)| (*ip, format!("{ip} is of AddressPool {}: {}", one.pool, says(*ip)))).collect())
    }

    /// The sentence on an address, if it is one of them.
    pub(super) fn of_address(&self, address: IpAddr) -> Option<&str> {
        self.0.get(&address).map(String::as_str)
    }

    /// All sentences.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}
