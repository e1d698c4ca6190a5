//! Mirrors: copies of a request to other backends, whose responses nobody sees and whose failures nobody feels.
//!
//! Called by `forward` for rules that have them. A body is copied where it fits the replay buffer; a longer one, or one whose
//! length isn't known, goes its way alone, and the request isn't copied.

use std::sync::Arc;

use http::Request;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use rust_ingress_model::filter::Mirror;
use rust_ingress_model::route::Timeouts;
use rust_ingress_model::{Filter, NativeFilter, PathMatch, RouteMatch, Rule, WeightedBackend};

use super::Forwarder;
use crate::body::Body;
use crate::exchange::{Exchange, Protocol};
use crate::fault::RequestFault;
use crate::upstream::Upstreams;

impl Forwarder {
    /// Sends the copies; gives back the body, which may have been read for them.
    ///
    /// # Errors
    /// The client's body broke while it was read.
    pub(super) async fn mirror(
        &self,
        upstreams: &Arc<Upstreams>,
        mirrors: Vec<&Mirror>,
        exchange: &Exchange,
        parts: &Parts,
        body: Body,
    ) -> Result<Body, RequestFault> {
        let length = body.size_hint().exact();
        if length.is_none_or(|length| length > self.0.options.limits.replay_bytes as u64) {
            tracing::debug!(route = ?exchange.route, "a request isn't mirrored: its body doesn't fit the replay buffer");
            return Ok(body);
        }
        let bytes = match body.is_end_stream() {
            true => None,
            false => Some(body.collect().await?.to_bytes()),
        };
        let again = || bytes.clone().map_or_else(Body::empty, Body::full);
        for mirror in mirrors {
            self.send_copy(upstreams, mirror, exchange, parts, again());
        }
        Ok(again())
    }

    fn send_copy(&self, upstreams: &Arc<Upstreams>, mirror: &Mirror, exchange: &Exchange, parts: &Parts, body: Body) {
        let (source, field) = match &exchange.route {
            Some((source, field)) => (source.clone(), field.clone()),
            None => return,
        };
        let backend = WeightedBackend { backend: mirror.backend.clone(), weight: 1, filters: Vec::new() };
        let rule = Rule {
            source,
            field,
            matches: vec![RouteMatch::path(PathMatch::Prefix("/".into()))],
            filters: Vec::new(),
            guards: Vec::new(),
            backends: vec![backend],
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
            max_body: None,
        };
        let mut copy =
            Exchange::new(exchange.connection.clone(), parts.method.clone(), Protocol::of(parts.version, &parts.headers));
        let mut head = parts.clone();
        head.extensions.clear();
        let (forwarder, upstreams) = (self.clone(), upstreams.clone());
        // Boxed: it is the future that it is started from.
        let sending: std::pin::Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            match forwarder.forward(&upstreams, &rule, &mut copy, Request::from_parts(head, body)).await {
                Ok(response) => drop(response.into_body().collect().await),
                Err(fault) => tracing::debug!(message = %fault.message, "a mirrored request failed"),
            }
        });
        tokio::task::spawn_local(sending);
    }
}

/// The mirrors that take a copy of this request.
pub(super) fn drawn<'f>(of_rule: &'f [Filter], of_backend: &'f [Filter]) -> Vec<&'f Mirror> {
    let mirrors = of_rule.iter().chain(of_backend).filter_map(|filter| match filter {
        Filter::Native(NativeFilter::Mirror(mirror)) => Some(mirror),
        _ => None,
    });
    mirrors.filter(|mirror| hits(mirror)).collect()
}

fn hits(mirror: &Mirror) -> bool {
    mirror.of > 0 && fastrand::u32(..mirror.of) < mirror.share
}
