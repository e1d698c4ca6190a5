//! Which of several matching routes wins, as an `Ord`, and the linear search that defines it.
//!
//! Ingress v1 (KEP-1453) and Gateway API (HTTPRouteRule) agree where they overlap: exact path, then the longest prefix,
//! then method, number of headers, number of query parameters, then the older object, then the order as written.
//! Regular expressions stand between exact and prefix, longer ones first: nearest to what ingress-nginx's users wrote.

use std::cmp::Reverse;

use crate::head::RequestHead;
use crate::matcher::{self, prefix_stem};
use crate::names::HostPattern;
use crate::route::{PathMatch, RouteMatch, Rule, VirtualHost};
use crate::snapshot::RouteSet;

/// The precedence of one match; the smallest wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Precedence {
    kind: u8,
    length: Reverse<usize>,
    method: Reverse<bool>,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    port: Reverse<bool>,
    rule: usize,
    index: usize,
}

impl Precedence {
    /// The precedence of the match at `index` of the rule at `rule`: rules stand oldest first.
    pub fn of(route: &RouteMatch, rule: usize, index: usize) -> Self {
        let (kind, length) = match &route.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Regex(pattern) => (1, pattern.len()),
            PathMatch::Prefix(prefix) if !prefix_stem(prefix).is_empty() => (2, prefix.len()),
            // Of gRPC: a service goes before a method of any, which goes before no method at all.
            PathMatch::LastElement(name) => (3, name.len()),
            PathMatch::Prefix(prefix) => (4, prefix.len()),
        };
        Self {
            kind,
            length: Reverse(length),
            method: Reverse(route.method.is_some()),
            headers: Reverse(route.headers.len()),
            query: Reverse(route.query.len()),
            port: Reverse(route.port.is_some()),
            rule,
            index,
        }
    }
}

/// A route found: the rule, and the match of it that took the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Its match.
    pub matched: &'a RouteMatch,
}

/// All matches of a virtual host, in order of precedence.
pub fn in_order(host: &VirtualHost) -> Vec<(usize, usize)> {
    let all = host.rules.iter().enumerate().flat_map(|(r, rule)| (0..rule.matches.len()).map(move |m| (r, m)));
    let mut order: Vec<(Precedence, (usize, usize))> =
        all.filter_map(|(r, m)| Some((Precedence::of(host.rules.get(r)?.matches.get(m)?, r, m), (r, m)))).collect();
    order.sort_unstable_by_key(|(precedence, _)| *precedence);
    order.into_iter().map(|(_, place)| place).collect()
}

/// The virtual host for a request's host: the first pattern, in order of precedence, that matches.
/// A path that none of its rules takes does not fall to another host.
pub fn find_host<'a>(set: &'a RouteSet, host: &str) -> Option<(&'a HostPattern, &'a VirtualHost)> {
    set.hosts.iter().find(|(pattern, _)| pattern.matches(host)).map(|(pattern, host)| (pattern, &**host))
}

/// The linear search that [`crate::RouteIndex`] is tested against.
pub fn find<'a, H: RequestHead>(set: &'a RouteSet, head: &H) -> Option<Found<'a>> {
    let (_, host) = find_host(set, head.host())?;
    find_in(host, head)
}

/// The same where a virtual host that doesn't take the path leaves it to the next.
pub fn find_through<'a, H: RequestHead>(set: &'a RouteSet, head: &H) -> Option<Found<'a>> {
    set.hosts.iter().filter(|(pattern, _)| pattern.matches(head.host())).find_map(|(_, host)| find_in(host, head))
}

fn find_in<'a, H: RequestHead>(host: &'a VirtualHost, head: &H) -> Option<Found<'a>> {
    in_order(host).into_iter().find_map(|(r, m)| {
        let rule = host.rules.get(r)?;
        let matched = rule.matches.get(m)?;
        matcher::matches(matched, head).then_some(Found { rule, matched })
    })
}
