//! The route stage: which rule takes the request. Called by `lifecycle`; the index itself is the model's.

use rust_ingress_model::precedence::Found;
use rust_ingress_model::{PathMatch, RequestHead, RouteIndex};

use crate::fault::{Kind, RequestFault};

/// The rule for an admitted request.
///
/// # Errors
/// 404: no host, or no path of its host, takes it.
pub fn find<'t>(routes: &'t RouteIndex, head: &impl RequestHead) -> Result<Found<'t>, RequestFault> {
    routes.find(head).ok_or_else(|| {
        RequestFault::new(Kind::RouteNotFound, "no route takes this host and path; check the host and path of the Ingress")
    })
}

/// The prefix that a rule was matched by.
pub fn prefix<'t>(found: &Found<'t>) -> Option<&'t str> {
    match &found.matched.path {
        PathMatch::Prefix(prefix) => Some(prefix),
        PathMatch::Exact(_) | PathMatch::Regex(_) => None,
    }
}
