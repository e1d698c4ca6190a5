//! Which requests the relay takes: those that need no more than their head rewritten. All others, and all that the gate
//! refuses, are hyper's: nothing of them has been used up when that is decided.

use std::rc::Rc;

use http::HeaderValue;
use rust_ingress_model::filter::NativeFilter;
use rust_ingress_model::{BackendRef, Filter, Name, Rule};

use super::head::{Head, View, split};
use crate::fault::RequestFault;
use crate::gate::head::parse_authority;
use crate::gate::path;
use crate::gate::request::Framing;
use crate::headers::Kind;
use crate::options::Limits;
use crate::server::client::Client;
use crate::table::Table;
use crate::upstream::Upstreams;

/// A plain request.
pub(super) struct Plain<'t> {
    /// The host it is for.
    pub(super) host: Name,
    /// The rule that takes it, or why none does.
    pub(super) rule: Result<&'t Rule, RequestFault>,
    /// Whether the client wants the connection closed afterwards.
    pub(super) close: bool,
    /// Bytes of its body.
    pub(super) body: u64,
}

/// Looks at a head. `None`: it isn't plain.
pub(super) fn plain<'t>(head: Head<'_>, framing: &Framing, client: &Rc<Client>, table: &'t Table) -> Option<Plain<'t>> {
    let close = fields(head)?;
    if !head.http_11() || framing.chunked || framing.upgrade || head.method() == b"TRACE" {
        return None;
    }
    let target = head.target();
    // Absolute form and `*` are rare; so is a path that isn't in its normal form.
    if !target.starts_with('/') || !matches!(path::normalise(split(target).0), Ok(None)) {
        return None;
    }
    let host = host(head, client)?;
    let entry = table.listeners.get(&client.facts.listener)?;
    let tls = client.facts.tls.is_some();
    if !passes(&entry.listener.filters, tls) {
        return None;
    }
    let view = View { head, host: &host, port: client.facts.local.port() };
    let rule = crate::route::find(entry, &client.facts, &view).map(|found| found.rule);
    let body = framing.length.unwrap_or(0);
    match &rule {
        Ok(rule) if !simple(rule, tls, &table.upstreams) || too_long(rule, body, &client.core.shared.options.limits) => None,
        // The answer to a fault would have to read the body away.
        Err(_) if body > 0 => None,
        _ => Some(Plain { host, rule, close, body }),
    }
}

/// Whether all fields are plain, and then whether the client wants the connection closed.
fn fields(head: Head<'_>) -> Option<bool> {
    let (mut close, mut cookies) = (false, 0);
    for (kind, _, value) in head.fields() {
        match kind {
            Kind::Expect | Kind::Te | Kind::Upgrade | Kind::TransferEncoding | Kind::MaxForwards => return None,
            Kind::Connection if value.eq_ignore_ascii_case(b"close") => close = true,
            Kind::Connection if value.eq_ignore_ascii_case(b"keep-alive") => {}
            Kind::Connection => return None,
            Kind::Cookie => cookies += 1,
            _ => {}
        }
    }
    (cookies <= 1).then_some(close)
}

/// The host of the one `Host`.
fn host(head: Head<'_>, client: &Rc<Client>) -> Option<Name> {
    let mut all = head.values(Kind::Host);
    let field = all.next().filter(|_| all.next().is_none())?;
    let mut known = client.authority.borrow_mut();
    if let Some(known) = &*known
        && known.field.as_bytes() == field
    {
        return Some(known.host.clone());
    }
    let authority = parse_authority(&HeaderValue::from_bytes(field).ok()?).ok()?;
    Some(known.insert(authority).host.clone())
}

/// Whether a rule needs nothing but a head rewritten.
fn simple(rule: &Rule, tls: bool, upstreams: &Upstreams) -> bool {
    let filters = passes(&rule.filters, tls) && rule.backends.iter().all(|one| one.filters.is_empty());
    filters
        && rule.guards.is_empty()
        && rule.retry.is_none()
        && rule.persistence.is_none()
        && rule.backends.iter().all(|one| match &one.backend {
            BackendRef::Service(key) => upstreams.get(key).is_some_and(|upstream| !upstream.speaks_h2()),
            BackendRef::Fail { .. } => true,
        })
}

/// Whether filters leave the request as it is.
fn passes(filters: &[Filter], tls: bool) -> bool {
    let idle = |filter: &Filter| matches!(filter, Filter::Native(NativeFilter::Redirect(redirect)) if redirect.only_plain && tls);
    filters.iter().all(idle)
}

fn too_long(rule: &Rule, body: u64, limits: &Limits) -> bool {
    let limit = rule.max_body.unwrap_or(limits.body_bytes);
    limit > 0 && body > limit
}
