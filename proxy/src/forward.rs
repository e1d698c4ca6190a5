//! The forward stage: takes a routed request to an endpoint and brings its response back.
//!
//! One [`Forwarder`] a core; it holds that core's connections. Called by the life of a request after the filters.

use std::rc::Rc;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rust_ingress_model::{BackendRef, Discovery, Rule};
use tokio::net::TcpStream;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::fault::{Kind, RequestFault};
use crate::observe::Observer;
use crate::options::Options;
use crate::upstream::{ResponseStream, Upstreams};

/// Takes requests to endpoints, with the connections of one core. Clones share them.
#[derive(Clone)]
pub struct Forwarder(Rc<Inner>);

struct Inner {
    options: Arc<Options>,
    observer: Arc<Observer>,
}

impl Forwarder {
    /// A forwarder without connections. One per core, inside its local runtime.
    pub fn new(options: Arc<Options>, observer: Arc<Observer>) -> Self {
        Self(Rc::new(Inner { options, observer }))
    }

    /// Sends a request to an endpoint of one of the rule's backends and returns the response, its body still streaming.
    ///
    /// # Errors
    /// Whatever kept a response's head from coming.
    pub async fn forward(
        &self,
        upstreams: &Arc<Upstreams>,
        rule: &Rule,
        exchange: &mut Exchange,
        request: http::Request<Body>,
    ) -> Result<http::Response<Body>, RequestFault> {
        let _ = (&self.0.options, &self.0.observer);
        let chosen = rule.backends.first().map(|weighted| &weighted.backend);
        let none = || RequestFault::new(Kind::NoEndpoints, "the backend has no endpoint; see the Service's Pods");
        let Some(BackendRef::Service(key)) = chosen else { return Err(none()) };
        exchange.backend = Some(key.clone());
        let Some(upstream) = upstreams.get(key) else { return Err(none()) };
        let Discovery::Endpoints(endpoints) = &upstream.backend.discovery else { return Err(none()) };
        let Some(endpoint) = endpoints.first() else { return Err(none()) };
        exchange.endpoint = Some(endpoint.address);
        let failed = |error| RequestFault::new(Kind::ConnectFailed, "no connection to the endpoint").source(error);
        let stream = TcpStream::connect(endpoint.address).await.map_err(failed)?;
        let reset = |error| RequestFault::new(Kind::UpstreamReset, "the endpoint closed before its response").source(error);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(reset)?;
        tokio::task::spawn_local(connection.with_upgrades());
        let response = sender.send_request(request).await.map_err(reset)?;
        Ok(response.map(|incoming| Body::endpoint(ResponseStream { incoming })))
    }
}
