//! One rule of an HTTPRoute: what it matches, what it does, and the Services that it refers to, not yet looked up.

use rust_ingress_model::matcher::compile_regex;
use rust_ingress_model::route::{Retry, TextMatch, Timeouts, ValueMatch};
use rust_ingress_model::{
    AppProtocol, BackendKey, BackendRef, Filter, Name, ObjectRef, PathMatch, PortRef, Reason, RouteMatch, Rule, WeightedBackend,
};

use super::filter::{self, Step};
use super::grant::SERVICE;
use super::layout::Why;
use super::types::httproute::{
    HttpRouteRules, HttpRouteRulesBackendRefs, HttpRouteRulesFilters, HttpRouteRulesMatches, HttpRouteRulesMatchesHeaders,
    HttpRouteRulesMatchesHeadersType as HeaderType, HttpRouteRulesMatchesPathType as PathType,
    HttpRouteRulesMatchesQueryParamsType as QueryType,
};
use super::{GROUP, route::Route};
use crate::backend;
use crate::faults::Faults;
use crate::ingress::validate;
use crate::world::World;

/// One rule, parsed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RouteRule {
    /// All that depends on the route alone.
    rule: Rule,
    filters: Vec<Step>,
    backends: Vec<Weighted>,
}

/// One of its backends.
#[derive(Debug, Clone, PartialEq)]
struct Weighted {
    target: Target,
    weight: u32,
    filters: Vec<Step>,
}

/// What a reference to a Service says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    pub(crate) field: Name,
    pub(crate) key: Result<BackendKey, Why>,
}

impl RouteRule {
    /// A rule with these matches, filters and backends.
    pub(super) fn new(
        source: &ObjectRef,
        field: &str,
        matches: Vec<RouteMatch>,
        (filters, backends): (&[HttpRouteRulesFilters], &[HttpRouteRulesBackendRefs]),
        faults: &mut Faults,
    ) -> Self {
        let namespace = &source.namespace;
        let backends = backends.iter().enumerate();
        let backends = backends.map(|(index, one)| weighted(namespace, format!("{field}.backendRefs[{index}]"), one, faults));
        let backends = backends.collect();
        let filters = filter::parse_all(namespace, field, filters, faults);
        let rule = Rule {
            source: source.clone(),
            field: field.into(),
            matches,
            filters: Vec::new(),
            guards: Vec::new(),
            backends: Vec::new(),
            timeouts: Timeouts::default(),
            retry: None,
            persistence: None,
            max_body: None,
        };
        Self { rule, filters, backends }
    }

    /// The same, with all its Services spoken to in this protocol.
    pub(super) fn over(mut self, protocol: AppProtocol) -> Self {
        let of_backends = self.backends.iter_mut().flat_map(|one| {
            let steps = one.filters.iter_mut().filter_map(Step::target_mut);
            std::iter::once(&mut one.target).chain(steps)
        });
        for target in of_backends.chain(self.filters.iter_mut().filter_map(Step::target_mut)) {
            if let Ok(key) = &mut target.key {
                key.protocol = Some(protocol);
            }
        }
        self
    }

    /// All Services that it refers to.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Target> {
        let backends = self.backends.iter().map(|backend| &backend.target);
        backends
            .chain(self.filters.iter().filter_map(Step::target))
            .chain(self.backends.iter().flat_map(|backend| backend.filters.iter().filter_map(Step::target)))
    }
}

/// Parses one rule.
pub(super) fn parse(source: &ObjectRef, field: &str, rule: &HttpRouteRules, faults: &mut Faults) -> RouteRule {
    let matches = rule.matches.as_deref().unwrap_or_default().iter().enumerate();
    let mut all: Vec<RouteMatch> =
        matches.filter_map(|(index, one)| route_match(&format!("{field}.matches[{index}]"), one, faults)).collect();
    if rule.matches.as_ref().is_none_or(Vec::is_empty) {
        all.push(RouteMatch::path(PathMatch::Prefix("/".into())));
    }
    let timeouts = rule.timeouts.as_ref();
    let mut limit = |name: &str, text: Option<&String>| {
        let field = format!("{field}.timeouts.{name}");
        text.and_then(|text| duration(text, &field, faults))
    };
    let request_ms = limit("request", timeouts.and_then(|timeouts| timeouts.request.as_ref()));
    let response_headers_ms = limit("backendRequest", timeouts.and_then(|timeouts| timeouts.backend_request.as_ref()));
    let retry = rule.retry.as_ref().map(|retry| Retry {
        attempts: retry.attempts.map_or(1, |attempts| u8::try_from(attempts).unwrap_or(u8::MAX)),
        codes: retry.codes.iter().flatten().filter_map(|code| u16::try_from(*code).ok()).collect(),
        backoff_ms: retry
            .backoff
            .as_ref()
            .and_then(|text| duration(text, &format!("{field}.retry.backoff"), faults))
            .unwrap_or(0),
    });
    if rule.session_persistence.is_some() {
        no_persistence(field, faults);
    }
    let (filters, backends) = (rule.filters.as_deref().unwrap_or_default(), rule.backend_refs.as_deref().unwrap_or_default());
    let mut parsed = RouteRule::new(source, field, all, (filters, backends), faults);
    parsed.rule.timeouts = Timeouts { request_ms, response_headers_ms, ..Timeouts::default() };
    parsed.rule.retry = retry;
    parsed
}

/// Says that session persistence isn't served.
pub(super) fn no_persistence(field: &str, faults: &mut Faults) {
    let message = "session persistence isn't served yet: requests go to any endpoint";
    faults.warning(format!("{field}.sessionPersistence"), Reason::InvalidValue, message, "remove it");
}

/// A match; `None` for one that can't be read, which is then left out.
fn route_match(field: &str, one: &HttpRouteRulesMatches, faults: &mut Faults) -> Option<RouteMatch> {
    let path = one.path.as_ref();
    let text: Name = path.and_then(|path| path.value.as_deref()).unwrap_or("/").into();
    let path = match path.and_then(|path| path.r#type.as_ref()) {
        Some(PathType::Exact) => PathMatch::Exact(text.clone()),
        None | Some(PathType::PathPrefix) => PathMatch::Prefix(text.clone()),
        Some(PathType::RegularExpression) => PathMatch::Regex(text.clone()),
    };
    let mut bad = |part: &str, text: &str, why: &str| {
        let message = format!("{text:?} {why}: the match isn't served");
        faults.error(format!("{field}.{part}"), Reason::InvalidValue, message, "correct it");
        None
    };
    match &path {
        PathMatch::Regex(pattern) if compile_regex(pattern).is_err() => {
            return bad("path.value", &text, "isn't a regular expression");
        }
        PathMatch::Exact(path) | PathMatch::Prefix(path) => {
            if let Err(why) = validate::path(path) {
                return bad("path.value", &text, why);
            }
        }
        PathMatch::Regex(_) | PathMatch::LastElement(_) => {}
    }
    let Some(headers) = headers(one.headers.iter().flatten()) else {
        return bad("headers", "a value", "isn't a regular expression");
    };
    let query = one.query_params.iter().flatten();
    let query = query.map(|one| (one.name.clone(), &*one.value, one.r#type == Some(QueryType::RegularExpression)));
    let Some(query) = values(query) else { return bad("queryParams", "a value", "isn't a regular expression") };
    let method = one.method.as_ref().map(|method| format!("{method:?}").to_ascii_uppercase().into());
    Some(RouteMatch { path, method, headers, query, port: None })
}

/// What headers must be. `None`: a value isn't a regular expression.
pub(super) fn headers<'v>(all: impl Iterator<Item = &'v HttpRouteRulesMatchesHeaders>) -> Option<Vec<ValueMatch>> {
    values(all.map(|one| (one.name.to_ascii_lowercase(), &*one.value, one.r#type == Some(HeaderType::RegularExpression))))
}

/// Names with their values, each a regular expression or not; of several with the same name the first counts.
/// `None`: one isn't a regular expression.
fn values<'v>(all: impl Iterator<Item = (String, &'v str, bool)>) -> Option<Vec<ValueMatch>> {
    let mut values: Vec<ValueMatch> = Vec::new();
    for (name, text, regex) in all {
        let value = match regex {
            false => TextMatch::Exact(text.into()),
            true if compile_regex(text).is_ok() => TextMatch::Regex(text.into()),
            true => return None,
        };
        if values.iter().all(|other| *other.name != *name) {
            values.push(ValueMatch { name: name.into(), value });
        }
    }
    Some(values)
}

fn weighted(namespace: &Name, field: String, one: &HttpRouteRulesBackendRefs, faults: &mut Faults) -> Weighted {
    let filters = filter::parse_all(namespace, &field, one.filters.as_deref().unwrap_or_default(), faults);
    let target = Target::parse(
        namespace,
        field,
        (one.group.as_deref(), one.kind.as_deref()),
        (one.namespace.as_deref(), &one.name),
        one.port,
    );
    Weighted { target, weight: one.weight.map_or(1, |weight| u32::try_from(weight).unwrap_or(0)), filters }
}

impl Target {
    /// Reads a reference.
    pub(super) fn parse(
        from: &Name,
        field: String,
        (group, kind): (Option<&str>, Option<&str>),
        (namespace, name): (Option<&str>, &str),
        port: Option<i32>,
    ) -> Self {
        let namespace = namespace.filter(|text| !text.is_empty()).map_or_else(|| from.clone(), Name::from);
        let (group, kind) = (group.unwrap_or_default(), kind.unwrap_or("Service"));
        let key = match port.and_then(validate::port_number) {
            _ if (group, kind) != SERVICE => Err((
                "InvalidKind",
                format!("{field}: a backend of kind {kind} of group {group:?} can't be served; name a Service"),
            )),
            None => {
                Err(("UnsupportedValue", format!("{field}: the reference to Service {namespace}/{name} has no port; write one")))
            }
            Some(port) => {
                Ok(BackendKey { namespace, service: name.into(), port: PortRef::Number(port), protocol: None, gateway: None })
            }
        };
        Self { field: field.into(), key }
    }

    /// The Service, or what is answered in its place.
    pub(super) fn resolve(&self, world: &World, route: &ObjectRef, wrong: &mut Option<Why>) -> BackendRef {
        let looked_up = self.key.clone().and_then(|key| {
            if !world.granted(((GROUP, &route.kind), &route.namespace), SERVICE, (&key.namespace, &key.service)) {
                let message = format!(
                    "{}: no ReferenceGrant in namespace {} lets {}s of {} refer to Service {}",
                    self.field, key.namespace, route.kind, route.namespace, key.service
                );
                return Err(("RefNotPermitted", message));
            }
            match backend::missing(world, &key) {
                Some(missing) => Err(("BackendNotFound", format!("{}: {missing}", self.field))),
                None => Ok(key),
            }
        });
        match looked_up {
            Ok(key) => BackendRef::Service(key),
            Err(why) => {
                let reason = why.1.clone();
                wrong.get_or_insert(why);
                BackendRef::Fail { status: failed(route), reason }
            }
        }
    }
}

/// What is answered where there is no Service (Gateway API): 500; gRPC's UNAVAILABLE, which 503 becomes.
fn failed(route: &ObjectRef) -> u16 {
    if &*route.kind == "GRPCRoute" { 503 } else { 500 }
}

impl Route {
    /// Its rules as the proxy has them, and what is wrong with its references.
    pub(crate) fn resolve(&self, world: &World) -> (Vec<Rule>, Option<Why>) {
        let mut wrong = None;
        let mut steps = |steps: &[Step]| -> Vec<Filter> {
            steps.iter().map(|step| step.resolve(world, &self.reference, &mut wrong)).collect()
        };
        let mut filters: Vec<(Vec<Filter>, Vec<Vec<Filter>>)> = Vec::new();
        for rule in &self.rules {
            filters.push((steps(&rule.filters), rule.backends.iter().map(|backend| steps(&backend.filters)).collect()));
        }
        let rules = self.rules.iter().zip(filters).map(|(rule, (filters, of_backends))| {
            let mut backends: Vec<WeightedBackend> = (rule.backends.iter().zip(of_backends))
                .map(|(one, filters)| {
                    let backend = one.target.resolve(world, &self.reference, &mut wrong);
                    WeightedBackend { backend, weight: one.weight, filters }
                })
                .collect();
            if backends.is_empty() {
                let reason = format!("{} {} has no backendRefs; name a Service", self.reference, rule.rule.field);
                backends.push(WeightedBackend {
                    backend: BackendRef::Fail { status: failed(&self.reference), reason },
                    weight: 1,
                    filters: Vec::new(),
                });
            }
            Rule { filters, backends, ..rule.rule.clone() }
        });
        (rules.collect(), wrong)
    }
}

/// A duration of Gateway API (GEP-2257): up to four parts of h, m, s and ms. In milliseconds.
pub(super) fn duration(text: &str, field: &str, faults: &mut Faults) -> Option<u32> {
    let (mut rest, mut total) = (text, Some(0_u64));
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = rest.split_at_checked(digits).unwrap_or_default();
        let (factor, left) = match unit.strip_prefix("ms") {
            Some(left) => (1, left),
            None => match (unit.strip_prefix('h'), unit.strip_prefix('m'), unit.strip_prefix('s')) {
                (Some(left), _, _) => (3_600_000, left),
                (_, Some(left), _) => (60_000, left),
                (_, _, Some(left)) => (1000, left),
                _ => (0, ""),
            },
        };
        let part = number.parse::<u64>().ok().filter(|_| factor > 0);
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part.checked_mul(factor)?));
        rest = left;
    }
    let milliseconds = total.filter(|_| !text.is_empty()).and_then(|total| u32::try_from(total).ok());
    if milliseconds.is_none() {
        let message = format!("{text:?} isn't a duration: it counts for nothing");
        faults.error(field, Reason::InvalidValue, message, "write one such as 500ms, 10s or 1h30m");
    }
    milliseconds
}
