//! The flags of `run` that are about a cluster; with `--manifests` each of them is refused.

use std::path::PathBuf;

use clap::Args;
use rust_ingress_model::Name;

use crate::source::cluster::{Access, Scope};
use crate::source::kinds;

/// A cluster, and what we are in it.
#[derive(Args)]
#[command(next_help_heading = "Cluster")]
pub(in crate::cli) struct ClusterArgs {
    #[command(flatten)]
    access: AccessArgs,
    /// Serve this namespace only; may be repeated [default: all]
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "manifests", value_delimiter = ',', value_parser = dns_name)]
    watch_namespace: Vec<String>,
    /// The class that is ours by the older annotation, and where IngressClasses may not be read
    #[arg(long, value_name = "NAME", default_value = "rust-ingress", conflicts_with = "manifests", value_parser = dns_name)]
    pub(in crate::cli) ingress_class: String,
    /// What is presented for names that no Secret covers: a TLS Secret
    #[arg(long, value_name = "NAMESPACE/NAME", conflicts_with_all = ["manifests", "default_certificate"], value_parser = secret)]
    pub(in crate::cli) default_certificate_secret: Option<(Name, Name)>,
}

/// How a cluster is reached.
#[derive(Args)]
#[command(next_help_heading = "Cluster")]
pub(in crate::cli) struct AccessArgs {
    /// How the API server is reached [default: the Pod's service account, else what kubectl takes]
    #[arg(long, value_name = "FILE", conflicts_with = "manifests")]
    kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig [default: its current one]
    #[arg(long, value_name = "NAME", conflicts_with = "manifests")]
    context: Option<String>,
    /// Another address of the API server, such as https://192.0.2.1:6443
    #[arg(long, value_name = "URL", conflicts_with = "manifests")]
    apiserver: Option<String>,
}

impl AccessArgs {
    /// How the API server is reached.
    pub(in crate::cli) fn access(&self) -> Access {
        let Self { kubeconfig, context, apiserver } = self;
        Access { kubeconfig: kubeconfig.clone(), context: context.clone(), server: apiserver.clone() }
    }
}

impl ClusterArgs {
    /// How the API server is reached.
    pub(in crate::cli) fn access(&self) -> Access {
        self.access.access()
    }

    /// What is watched; `node`: where an agent runs; `l7`: whether Ingresses are served.
    pub(in crate::cli) fn scope(&self, node: Option<String>, l7: bool) -> Scope {
        let mut namespaces = self.watch_namespace.clone();
        namespaces.sort();
        namespaces.dedup();
        Scope { namespaces, ingress_class: self.ingress_class.clone(), node, l7 }
    }
}

/// The API server would take a name that isn't one for another request.
pub(in crate::cli) fn dns_name(text: &str) -> Result<String, String> {
    match kinds::is_dns_name(text) {
        true => Ok(text.to_owned()),
        false => Err("expected a name of lower-case letters, digits, '-' and '.'".into()),
    }
}

fn secret(text: &str) -> Result<(Name, Name), String> {
    let (namespace, name) = object(text)?;
    Ok((namespace.into(), name.into()))
}

pub(super) fn object(text: &str) -> Result<(String, String), String> {
    let (namespace, name) = text.split_once('/').ok_or("expected NAMESPACE/NAME")?;
    Ok((dns_name(namespace)?, dns_name(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_names() {
        assert_eq!(secret("ns/tls"), Ok(("ns".into(), "tls".into())));
        for bad in ["tls", "ns/", "/tls", "a/b/c", "ns/T", "../x"] {
            assert!(secret(bad).is_err(), "{bad}");
        }
    }
}
