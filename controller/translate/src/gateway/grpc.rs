//! One rule of a GRPCRoute: a method is the path `/SERVICE/METHOD` of an HTTP/2 request (gRPC over HTTP/2, Request-Headers).

use rust_ingress_model::matcher::compile_regex;
use rust_ingress_model::{AppProtocol, ObjectRef, PathMatch, Reason, RouteMatch};

use super::rule::{self, RouteRule};
use super::types::httproute::{HttpRouteRulesFilters, HttpRouteRulesFiltersType as Filter};
use super::types::routes::{
    GrpcRouteRules, GrpcRouteRulesMatches, GrpcRouteRulesMatchesMethod as Method, GrpcRouteRulesMatchesMethodType as MethodType,
};
use crate::faults::Faults;

/// One name of a path, whichever.
const ANY: &str = "[^/]+";

/// Parses one rule.
pub(super) fn parse(source: &ObjectRef, field: &str, rule: &GrpcRouteRules, faults: &mut Faults) -> RouteRule {
    let matches = rule.matches.as_deref().unwrap_or_default().iter().enumerate();
    let mut all: Vec<RouteMatch> =
        matches.filter_map(|(index, one)| route_match(&format!("{field}.matches[{index}]"), one, faults)).collect();
    if rule.matches.as_ref().is_none_or(Vec::is_empty) {
        all.push(RouteMatch::path(PathMatch::Prefix("/".into())));
    }
    if rule.session_persistence.is_some() {
        rule::no_persistence(field, faults);
    }
    let filters = rule.filters.as_deref().unwrap_or_default();
    let backends = rule.backend_refs.as_deref().unwrap_or_default();
    let all_filters = filters.iter().chain(backends.iter().flat_map(|one| one.filters.iter().flatten()));
    for strange in all_filters.filter(|filter| !known(filter)) {
        let message = format!("a GRPCRoute has no filter of type {:?}", strange.r#type);
        faults.error(format!("{field}.filters"), Reason::InvalidValue, message, "remove it");
    }
    RouteRule::new(source, field, all, (filters, backends), faults).over(AppProtocol::H2c)
}

/// Whether a GRPCRoute's CRD has such a filter.
fn known(filter: &HttpRouteRulesFilters) -> bool {
    matches!(
        filter.r#type,
        Filter::RequestHeaderModifier | Filter::ResponseHeaderModifier | Filter::RequestMirror | Filter::ExtensionRef
    )
}

/// A match; `None` for one that can't be read, which is then left out.
fn route_match(field: &str, one: &GrpcRouteRulesMatches, faults: &mut Faults) -> Option<RouteMatch> {
    let mut bad = |part: &str, text: &str, why: &str| {
        let message = format!("{text:?} {why}: the match isn't served");
        faults.error(format!("{field}.{part}"), Reason::InvalidValue, message, "correct it");
        None
    };
    let path = one.method.as_ref().map_or(PathMatch::Prefix("/".into()), path);
    match &path {
        PathMatch::Regex(pattern) if compile_regex(pattern).is_err() => {
            return bad("method", pattern, "isn't a regular expression");
        }
        PathMatch::Exact(name) | PathMatch::Prefix(name) if name.chars().any(|one| one.is_whitespace() || one.is_control()) => {
            return bad("method", name, "isn't the name of a service and its method");
        }
        _ => {}
    }
    let Some(headers) = rule::headers(one.headers.iter().flatten()) else {
        return bad("headers", "a value", "isn't a regular expression");
    };
    Some(RouteMatch { headers, ..RouteMatch::path(path) })
}

fn path(method: &Method) -> PathMatch {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match (method.r#type, given(&method.service), given(&method.method)) {
        (_, None, None) => PathMatch::Prefix("/".into()),
        (Some(MethodType::RegularExpression), service, method) => {
            let part = |text: Option<String>| text.map_or_else(|| ANY.to_owned(), |text| format!("(?:{text})"));
            PathMatch::Regex(format!("/{}/{}", part(service), part(method)).into())
        }
        (_, Some(service), Some(method)) => PathMatch::Exact(format!("/{service}/{method}").into()),
        (_, Some(service), None) => PathMatch::Prefix(format!("/{service}").into()),
        (_, None, Some(method)) => PathMatch::LastElement(method.into()),
    }
}
