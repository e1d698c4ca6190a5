//! The route stage: which rule takes the request. Called by `lifecycle`; the index itself is the model's.

use rust_ingress_model::precedence::Found;
use rust_ingress_model::{PathMatch, RequestHead};

use crate::exchange::Connection;
use crate::fault::{Kind, RequestFault};
use crate::table::ListenerEntry;

/// The rule for an admitted request.
///
/// # Errors
/// 404: no host, or no path of its host, takes it. 421: the connection was made for another host of a Gateway.
pub fn find<'t>(entry: &'t ListenerEntry, connection: &Connection, head: &impl RequestHead) -> Result<Found<'t>, RequestFault> {
    let server_name = connection.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
    entry.find(head, server_name)?.ok_or_else(|| {
        let message = "no route takes this host and path; check the host and path of the Ingress or route";
        RequestFault::new(Kind::RouteNotFound, message)
    })
}

/// The prefix that a rule was matched by.
pub fn prefix<'t>(found: &Found<'t>) -> Option<&'t str> {
    match &found.matched.path {
        PathMatch::Prefix(prefix) => Some(prefix),
        PathMatch::Exact(_) | PathMatch::Regex(_) | PathMatch::LastElement(_) => None,
    }
}
