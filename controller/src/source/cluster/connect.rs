//! How the API server is reached: the Pod's own service account, or a kubeconfig. Called by `cli/run` once at start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// A connection that isn't there by then is tried again: a node whose network comes back shall not wait for an old attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Which API server, as whom.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// A kubeconfig; else the Pod's service account, else what kubectl would take.
    pub kubeconfig: Option<PathBuf>,
    /// A context of it; else its current one.
    pub context: Option<String>,
    /// Another address of the same API server: `https://192.0.2.1:6443`.
    pub server: Option<String>,
}

/// Why it isn't known how to reach an API server.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// A kubeconfig was named, and can't be used.
    #[error("can't use the kubeconfig {path}: {}; check --kubeconfig and --context", chain(error))]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        error: KubeconfigError,
    },
    /// In a Pod, without a usable service account.
    #[error("can't use the Pod's service account: {}; check that its token is mounted, or give --kubeconfig FILE", chain(.0))]
    InCluster(InClusterError),
    /// Not in a Pod, and nothing that kubectl would take either.
    #[error(
        "there is no cluster to serve: KUBERNETES_SERVICE_HOST isn't set, and the default kubeconfig can't be used ({}); give --kubeconfig FILE, or a folder: --manifests DIR",
        chain(.0)
    )]
    Nowhere(KubeconfigError),
    /// `--apiserver` isn't a URL.
    #[error("--apiserver {0:?} isn't a URL such as https://192.0.2.1:6443")]
    Server(String),
    /// The client can't be made of it: a bad certificate, key or token.
    #[error("can't make a client for the API server: {}; check the certificates and keys that the kubeconfig names", chain(.0))]
    Client(kube::Error),
}

impl Access {
    /// Reads what it names.
    ///
    /// # Errors
    /// Files that aren't there or make no sense.
    pub async fn config(&self) -> Result<Config, AccessError> {
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        let mut config = match &self.kubeconfig {
            Some(path) => {
                let bad = |error| AccessError::Kubeconfig { path: path.clone(), error };
                let file = Kubeconfig::read_from(path).map_err(bad)?;
                Config::from_custom_kubeconfig(file, &options).await.map_err(bad)?
            }
            None if in_a_pod() && self.context.is_none() => Config::incluster().map_err(AccessError::InCluster)?,
            None => Config::from_kubeconfig(&options).await.map_err(AccessError::Nowhere)?,
        };
        if let Some(server) = &self.server {
            let url: Option<hyper::Uri> = server.parse().ok();
            let url = url.filter(|url| url.host().is_some() && matches!(url.scheme_str(), Some("https" | "http")));
            config.cluster_url = url.ok_or_else(|| AccessError::Server(server.clone()))?;
        }
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        // Watches have a backoff of their own, which doesn't grow to minutes.
        config.default_retry = false;
        Ok(config)
    }
}

/// A client; needs a tokio runtime around it.
///
/// # Errors
/// Certificates or keys that can't be used.
pub(crate) fn client(config: Config) -> Result<Client, AccessError> {
    Client::try_from(config).map_err(AccessError::Client)
}

fn in_a_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token").exists()
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        next = cause.source();
    }
    text
}
