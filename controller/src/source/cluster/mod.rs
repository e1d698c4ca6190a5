//! The cluster source: what the API server says, as changes of the World.
//!
//! A watch for each kind (and namespace, where only some are served) fills the World; when all have listed, the driver says
//! which Secrets are wanted, and when each of these has been answered as well, the first snapshot may go live. Runs on a
//! thread of its own, started by `cli/run`; a failing watch is tried again for as long as the program runs.

mod connect;
mod door;
mod door_gateway;
mod follow;
mod known;
mod secrets;
mod seen;
mod trouble;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;

use k8s_openapi::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Config, Resource};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;

use crate::driver::{Message, Wanted};
use door::{
    AtDoor, DoorAddressPool, DoorClass, DoorGatewayParameters, DoorIngress, DoorNode, DoorService, DoorServiceCidr, DoorSlice,
};
use door_gateway::{
    DoorBackendTlsPolicy, DoorGateway, DoorGatewayClass, DoorGrpcRoute, DoorHttpRoute, DoorListenerSet, DoorNamespace,
    DoorReferenceGrant,
};
use follow::{Context, Follow, Heard};
use secrets::Secrets;
use trouble::Subject;

pub(crate) use connect::client;
pub use connect::{Access, AccessError};
pub use seen::{Involved, Seen, SeenIngress, SeenService};

/// What is watched.
pub struct Scope {
    /// Only these namespaces; none: all.
    pub namespaces: Vec<String>,
    /// The class that is ours where IngressClasses, which have no namespace, may not be read.
    pub ingress_class: String,
    /// The node that an agent runs on. `None`: there is none, and neither nodes nor the ranges of ClusterIPs are watched.
    pub node: Option<String>,
    /// Whether Ingresses are served; else neither they nor their classes are watched.
    pub l7: bool,
}

/// Begins to watch. `Message::Listed` comes once, then `Message::Answered` each time that all wanted Secrets are known.
///
/// # Errors
/// No thread or no runtime.
pub fn start(
    config: Config,
    scope: Scope,
    driver: Sender<Message>,
    wanted: watch::Receiver<Wanted>,
    seen: Seen,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let client = {
        let _guard = runtime.enter();
        client(config).map_err(io::Error::other)?
    };
    let context = Context { driver, seen, reach: Arc::default(), l4: scope.node.is_some() };
    let run = move || {
        runtime.block_on(async move {
            watch_all(&client, &scope, &context);
            Secrets::new(client, context).run(wanted).await;
        });
    };
    std::thread::Builder::new().name("source".into()).spawn(run)?;
    Ok(())
}

fn watch_all(client: &Client, scope: &Scope, context: &Context) {
    let lists = Arc::new(Lists { pending: AtomicUsize::new(1), driver: context.driver.clone() });
    let all = watcher::Config::default;
    let class = json!({
        "metadata": {"name": scope.ingress_class},
        "spec": {"controller": "rust-ingress.dev/ingress-controller"}
    });
    // Where the classes may not be read, ours is known by its name.
    let fallback = serde_json::from_value::<DoorClass>(class).ok();
    if scope.l7 {
        watch_one(Api::all(client.clone()), None, all(), fallback, &lists, context);
        watch_kind::<DoorIngress>(client, scope, &lists, context);
        watch_gateways(client, scope, &lists, context);
    }
    if let Some(node) = &scope.node {
        let ours = all().fields(&format!("metadata.name={node}"));
        watch_one(Api::<DoorNode>::all(client.clone()), None, ours, None, &lists, context);
        watch_one(Api::<DoorAddressPool>::all(client.clone()), None, all(), None, &lists, context);
        watch_one(Api::<DoorServiceCidr>::all(client.clone()), None, all(), None, &lists, context);
    }
    watch_kind::<DoorService>(client, scope, &lists, context);
    watch_kind::<DoorSlice>(client, scope, &lists, context);
    lists.done();
}

/// The Gateway API's kinds. Where its CRDs aren't installed there is nothing to serve, until they are.
fn watch_gateways(client: &Client, scope: &Scope, lists: &Arc<Lists>, context: &Context) {
    let class = json!({
        "metadata": {"name": scope.ingress_class},
        "spec": {"controllerName": "rust-ingress.dev/gateway-controller"}
    });
    let fallback = serde_json::from_value::<DoorGatewayClass>(class).ok();
    watch_one(Api::all(client.clone()), None, watcher::Config::default(), fallback, lists, context);
    if scope.namespaces.is_empty() {
        watch_one(Api::<DoorNamespace>::all(client.clone()), None, watcher::Config::default(), None, lists, context);
    }
    watch_kind::<DoorGateway>(client, scope, lists, context);
    watch_kind::<DoorGatewayParameters>(client, scope, lists, context);
    watch_kind::<DoorHttpRoute>(client, scope, lists, context);
    watch_kind::<DoorGrpcRoute>(client, scope, lists, context);
    watch_kind::<DoorReferenceGrant>(client, scope, lists, context);
    watch_kind::<DoorBackendTlsPolicy>(client, scope, lists, context);
    watch_kind::<DoorListenerSet>(client, scope, lists, context);
}

fn watch_kind<K>(client: &Client, scope: &Scope, lists: &Arc<Lists>, context: &Context)
where
    K: AtDoor + DeserializeOwned + Resource<Scope = NamespaceResourceScope>,
{
    if scope.namespaces.is_empty() {
        watch_one(Api::<K>::all(client.clone()), None, watcher::Config::default(), None, lists, context);
    }
    for namespace in &scope.namespaces {
        let api = Api::<K>::namespaced(client.clone(), namespace);
        watch_one(api, Some(namespace), watcher::Config::default(), None, lists, context);
    }
}

fn watch_one<K>(
    api: Api<K>,
    namespace: Option<&String>,
    config: watcher::Config,
    fallback: Option<K>,
    lists: &Arc<Lists>,
    context: &Context,
) where
    K: AtDoor + DeserializeOwned,
{
    lists.pending.fetch_add(1, Ordering::Relaxed);
    let (lists, mut listed) = (lists.clone(), false);
    let follow = Follow {
        api,
        subject: Subject {
            resource: K::plural(&()).into_owned(),
            group: K::group(&()).into_owned(),
            namespace: namespace.cloned(),
        },
        config,
        only: None,
        fallback,
        says: true,
        heard: Box::new(move |heard| {
            if matches!(heard, Heard::Listed(_)) && !std::mem::replace(&mut listed, true) {
                lists.done();
            }
        }),
    };
    tokio::spawn(follow.run(context.clone()));
}

/// Counts the first lists that are still to come.
struct Lists {
    pending: AtomicUsize,
    driver: Sender<Message>,
}

impl Lists {
    fn done(&self) {
        if self.pending.fetch_sub(1, Ordering::Relaxed) == 1 {
            // When the driver is gone, the program ends.
            drop(self.driver.send(Message::Listed));
        }
    }
}
