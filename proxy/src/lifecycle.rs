//! The life of a request, stage by stage; the picture is in `LIFECYCLE.md`, with the same names.
//!
//! hyper calls [`serve`] for every request of a connection. A request loads the table once and keeps it.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;

use crate::body::{Body, Counter};
use crate::exchange::Protocol;
use crate::fault::{Kind, RequestFault};
use crate::filters::{self, Flow, Scene};
use crate::gate::head::{self, View};
use crate::life::Life;
use crate::respond::{self, Asked};
use crate::server::client::Client;
use crate::{cors, headers, local, route, upgrade};

/// Serves one request. Every fault has become a response.
///
/// # Errors
/// None.
pub async fn serve(client: Rc<Client>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (mut parts, incoming) = request.into_parts();
    let asked = Asked::of(&parts.method, parts.version, &parts.headers);
    let mut life = Life::begin(client, parts.method.clone(), Protocol::of(parts.version, &parts.headers));
    let mut body = Body::incoming(incoming);
    if !http_body::Body::is_end_stream(&body) {
        body = body.counted(life.received.insert(Counter::default()).clone());
    }
    let holds = upgrade::holds(&parts);
    let upgrade = upgrade::asked(&mut parts);
    let mut response = match stages(&mut life, parts, body, upgrade).await {
        Ok(response) => response,
        Err(fault) => {
            life.exchange.failed(&fault);
            respond::fault(&fault, asked)
        }
    };
    if holds && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        life.client.link.decide(false);
    }
    life.status.set(response.status().as_u16());
    if life.refused {
        response.headers_mut().insert(http::header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(upgrade::relay(response, life));
    }
    Ok(response.map(|body| body.on_end(move |ended| life.end(ended))))
}

/// gate → listener filters → route → guards → filters → forward → respond.
async fn stages(
    life: &mut Life,
    mut parts: Parts,
    body: Body,
    upgrade: Option<OnUpgrade>,
) -> Result<Response<Body>, RequestFault> {
    gate(life, &mut parts)?;
    let client = life.client.clone();
    let facts = &client.facts;
    let table = client.core.table();
    let Some(listener) = table.listeners.get(&facts.listener) else {
        if facts.source.is_some() {
            // The next connection isn't handed over any more, if the Service is served at all.
            life.refused = true;
            return Err(RequestFault::new(
                Kind::NoEndpoints,
                "the Service doesn't go through this proxy any more; connect again",
            ));
        }
        return Err(RequestFault::new(Kind::RouteNotFound, "the listener of this connection was removed; connect again"));
    };
    if let Some(answer) = local::answer(&mut parts)? {
        return Ok(answer);
    }
    let mut scene = Scene { tls: facts.tls.is_some(), port: facts.local.port(), prefix: None };
    if let Flow::Answer(answer) = filters::request(&listener.listener.filters, &mut parts, &scene)? {
        return Ok(respond::ours(answer));
    }
    let found = route::find(listener, facts, &View { parts: &parts, host: &life.host, port: scene.port })?;
    let rule = found.rule;
    life.exchange.route = Some((rule.source.clone(), rule.field.clone()));
    life.idle = rule.timeouts.idle_ms.map_or(life.idle, |ms| Duration::from_millis(ms.into()));
    filters::guards(&rule.guards, &mut life.exchange)?;
    scene.prefix = route::prefix(&found);
    if let Flow::Answer(mut answer) = filters::request(&rule.filters, &mut parts, &scene)? {
        filters::response(&rule.filters, answer.headers_mut())?;
        return Ok(respond::ours(answer));
    }
    let granted = cors::granted(&rule.filters, &parts.headers);
    headers::towards_upstream(&mut parts.headers, &life.exchange, &client.core.shared.options, upgrade.is_some());
    let request = Request::from_parts(parts, body);
    let mut response = client.core.forwarder.forward(&table.upstreams, rule, &mut life.exchange, request).await?;
    let status = response.status();
    respond::from_upstream(status, response.headers_mut());
    filters::response(&rule.filters, response.headers_mut())?;
    filters::response(&listener.listener.filters, response.headers_mut())?;
    if let Some(granted) = granted {
        response.headers_mut().append(http::header::VARY, http::HeaderValue::from_static("Origin"));
        // In the place of what the endpoint says of it.
        granted.into_iter().for_each(|(name, value)| drop(name.map(|name| response.headers_mut().insert(name, value))));
    }
    upgrade::keep(&mut response, upgrade)?;
    Ok(response)
}

/// The gate stage: what the wire refused, limits, and the head's form.
fn gate(life: &mut Life, parts: &mut Parts) -> Result<(), RequestFault> {
    let client = &life.client;
    let core = &client.core.shared;
    let peer = client.facts.peer.ip();
    life.exchange.client = headers::client_address(peer, headers::chain(&parts.headers), &core.options.trusted_proxies);
    let believed = headers::trusted(peer, &core.options.trusted_proxies);
    life.exchange.request_id = headers::request_id(headers::given_id(&parts.headers), believed);
    if let Some((fault, sent)) = client.link.refusal(life.ordinal).filter(|_| !client.h2) {
        life.refused = true;
        life.exchange.protocol = Protocol::of(sent.version, &sent.headers);
        life.exchange.line = sent.uri.and_then(|uri| core.observer.line(&uri, &sent.headers));
        life.exchange.method = sent.method;
        return Err(fault);
    }
    if !life.counted {
        return Err(RequestFault::new(Kind::Overloaded, "too many requests in flight; try again, or raise the limit"));
    }
    if client.h2 && parts.headers.len() > core.options.limits.headers {
        return Err(RequestFault::new(Kind::HeadTooLarge, "the request has more header fields than the limit"));
    }
    let mut known = client.authority.borrow_mut();
    let admitted = head::admit(parts, known.as_ref(), client.facts.local);
    life.exchange.line = core.observer.line(&parts.uri, &parts.headers);
    let authority = admitted?;
    life.host = authority.host.clone();
    *known = Some(authority);
    Ok(())
}
