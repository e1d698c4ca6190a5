//! The objects of `bench cluster`, written through the API server, many at once.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace as CoreNamespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use crate::cluster::Cluster;

/// The IngressClass of the bench: a chart that is installed keeps its own.
const CLASS: &str = "bench-cluster";

/// Requests to the API server at once.
const AT_ONCE: usize = 32;

/// The administrator's client.
pub(super) async fn client(cluster: &Cluster) -> Result<Client> {
    let file = cluster.kubeconfig();
    let kubeconfig = Kubeconfig::read_from(Path::new(&file))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

/// Makes the class.
pub(super) async fn class(client: &Client) -> Result<()> {
    let spec = json!({"controller": "rust-ingress.dev/ingress-controller"});
    let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": CLASS}, "spec": spec});
    let how = PatchParams::apply("bench");
    Api::<IngressClass>::all(client.clone()).patch(CLASS, &how, &Patch::Apply(class)).await?;
    Ok(())
}

/// Takes the class away.
pub(super) async fn no_class(client: &Client) -> Result<()> {
    Api::<IngressClass>::all(client.clone()).delete(CLASS, &DeleteParams::default()).await?;
    Ok(())
}

/// Does something for each number, some at once, and ends at the first error.
pub(super) async fn at_once<F: Future<Output = Result<()>>>(
    numbers: impl IntoIterator<Item = usize>,
    each: impl Fn(usize) -> F,
) -> Result<()> {
    stream::iter(numbers).map(each).buffer_unordered(AT_ONCE).try_collect().await
}

/// A namespace of the bench.
pub(super) struct Namespace(&'static str);

impl Namespace {
    pub(super) async fn create(client: &Client, name: &'static str) -> Result<Self> {
        let object: CoreNamespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        let created = Api::all(client.clone()).create(&PostParams::default(), &object).await;
        created.with_context(|| {
            format!("Namespace {name}: left from a run that was cut off? cluster kubectl -- delete namespace {name}")
        })?;
        Ok(Self(name))
    }

    /// Asks for its end; the cluster takes its objects away in the background.
    pub(super) async fn delete(self, client: &Client) -> Result<()> {
        Api::<CoreNamespace>::all(client.clone()).delete(self.0, &DeleteParams::background()).await?;
        Ok(())
    }

    pub(super) fn host(&self, number: usize) -> String {
        format!("host-{number}.{}.test", self.0)
    }

    /// Service `service-NUMBER` and its slice.
    pub(super) async fn service(&self, client: &Client, number: usize, endpoints: &[SocketAddr]) -> Result<()> {
        let name = format!("service-{number}");
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80}]}
        }))?;
        Api::namespaced(client.clone(), self.0).create(&PostParams::default(), &service).await?;
        let slice: EndpointSlice = serde_json::from_value(self.slice_document(number, endpoints))?;
        Api::namespaced(client.clone(), self.0).create(&PostParams::default(), &slice).await?;
        Ok(())
    }

    /// Gives a Service other endpoints.
    pub(super) async fn slice(&self, client: &Client, number: usize, endpoints: &[SocketAddr]) -> Result<()> {
        let document = self.slice_document(number, endpoints);
        let api = Api::<EndpointSlice>::namespaced(client.clone(), self.0);
        api.patch(&format!("service-{number}-a"), &PatchParams::default(), &Patch::Merge(document)).await?;
        Ok(())
    }

    /// Ingress `ingress-NUMBER`, a host of its own.
    pub(super) async fn ingress(&self, client: &Client, number: usize, service: usize) -> Result<()> {
        let backend = json!({"service": {"name": format!("service-{service}"), "port": {"number": 80}}});
        let ingress: Ingress = serde_json::from_value(json!({
            "metadata": {"name": format!("ingress-{number}")},
            "spec": {"ingressClassName": CLASS, "rules": [
                {"host": self.host(number), "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
            ]}
        }))?;
        Api::namespaced(client.clone(), self.0).create(&PostParams::default(), &ingress).await?;
        Ok(())
    }

    fn slice_document(&self, number: usize, endpoints: &[SocketAddr]) -> serde_json::Value {
        let port = endpoints.first().map_or(0, SocketAddr::port);
        let endpoints: Vec<_> = endpoints.iter().map(|address| json!({"addresses": [address.ip().to_string()]})).collect();
        json!({
            "metadata": {
                "name": format!("service-{number}-a"),
                "labels": {"kubernetes.io/service-name": format!("service-{number}")}
            },
            "addressType": "IPv4", "endpoints": endpoints,
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}]
        })
    }
}
