//! The flags of `run` that are about what is written on objects, and the Pod that writes it.

use clap::Args;
use kube::Config;

use super::cluster::object;
use crate::source::cluster::Seen;
use crate::status::{Address, Publish, WriterOptions};

/// Status, Events and who writes them.
#[derive(Args)]
#[command(next_help_heading = "Status")]
pub(in crate::cli) struct StatusArgs {
    /// The Service whose addresses stand in the status of Ingresses [default: the nodes of our ready Pods]
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with_all = ["manifests", "publish_address"], value_parser = object)]
    publish_service: Option<(String, String)>,
    /// These addresses stand there instead: IP addresses or DNS names
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',', conflicts_with = "manifests")]
    publish_address: Vec<Address>,
    /// The Lease whose holder writes, in the namespace of our Pod
    #[arg(long, value_name = "NAME", default_value = "rust-ingress", conflicts_with = "manifests", value_parser = super::cluster::dns_name)]
    lease_name: String,
}

impl StatusArgs {
    /// What the writer is started with: these flags, and from the environment POD_NAME and POD_NAMESPACE.
    /// Without L7 no address is published: nothing is served at one.
    pub(in crate::cli) fn options(&self, config: &Config, seen: Seen, l7: bool) -> WriterOptions {
        let publish = match &self.publish_service {
            _ if !l7 => Publish::Fixed(Vec::new()),
            Some((namespace, name)) => Publish::Service { namespace: namespace.clone(), name: name.clone() },
            None if self.publish_address.is_empty() => Publish::Nodes,
            None => Publish::Fixed(self.publish_address.clone()),
        };
        let given = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        WriterOptions {
            config: config.clone(),
            seen,
            publish,
            lease: self.lease_name.clone(),
            namespace: given("POD_NAMESPACE").unwrap_or_else(|| config.default_namespace.clone()),
            pod: given("POD_NAME").unwrap_or_else(host),
            node: None,
        }
    }
}

/// This machine's name, which is a Pod's name too.
pub(super) fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "rust-ingress".into() } else { name.trim().into() }
}
