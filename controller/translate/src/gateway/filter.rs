//! Filters of rules and backends.
//!
//! A filter that isn't served fails its requests (500) and says so: it may be there to guard them.

use rust_ingress_model::filter::{Cors, HeaderChange, Mirror, PathChange, Redirect, Rewrite};
use rust_ingress_model::{Filter, Name, NativeFilter, ObjectRef, Reason};

use super::layout::Why;
use super::rule::Target;
use super::types::httproute::{
    HttpRouteRulesFilters, HttpRouteRulesFiltersCors, HttpRouteRulesFiltersRequestHeaderModifier as Modifier,
    HttpRouteRulesFiltersRequestMirror as RequestMirror, HttpRouteRulesFiltersRequestRedirect as RequestRedirect,
    HttpRouteRulesFiltersRequestRedirectPath as PathModifier, HttpRouteRulesFiltersRequestRedirectPathType as PathType,
    HttpRouteRulesFiltersRequestRedirectScheme as Scheme, HttpRouteRulesFiltersType as Type,
};
use crate::faults::Faults;
use crate::ingress::validate;
use crate::world::World;

/// One filter.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// It depends on nothing else.
    Ready(Filter),
    /// A mirror: of so many requests so many.
    Mirror { target: Target, of: u32, share: u32 },
}

impl Step {
    /// The Service that it refers to.
    pub(super) fn target(&self) -> Option<&Target> {
        match self {
            Self::Ready(_) => None,
            Self::Mirror { target, .. } => Some(target),
        }
    }

    /// The same, to be changed.
    pub(super) fn target_mut(&mut self) -> Option<&mut Target> {
        match self {
            Self::Ready(_) => None,
            Self::Mirror { target, .. } => Some(target),
        }
    }

    /// The filter, with its Service looked up.
    pub(super) fn resolve(&self, world: &World, route: &ObjectRef, wrong: &mut Option<Why>) -> Filter {
        match self {
            Self::Ready(filter) => filter.clone(),
            Self::Mirror { target, of, share } => {
                let backend = target.resolve(world, route, wrong);
                Filter::Native(NativeFilter::Mirror(Mirror { backend, of: *of, share: *share }))
            }
        }
    }
}

/// Parses a list of filters.
pub(super) fn parse_all(namespace: &Name, field: &str, filters: &[HttpRouteRulesFilters], faults: &mut Faults) -> Vec<Step> {
    let filters = filters.iter().enumerate();
    filters.map(|(index, filter)| parse(namespace, &format!("{field}.filters[{index}]"), filter, faults)).collect()
}

fn parse(namespace: &Name, field: &str, filter: &HttpRouteRulesFilters, faults: &mut Faults) -> Step {
    let native = match filter.r#type {
        Type::RequestHeaderModifier => filter.request_header_modifier.as_ref().map(headers).map(NativeFilter::RequestHeaders),
        Type::ResponseHeaderModifier => filter.response_header_modifier.as_ref().map(headers).map(NativeFilter::ResponseHeaders),
        Type::RequestRedirect => filter.request_redirect.as_ref().map(redirect).map(NativeFilter::Redirect),
        Type::UrlRewrite => filter.url_rewrite.as_ref().map(|rewrite| {
            let host = rewrite.hostname.as_deref().map(Into::into);
            NativeFilter::Rewrite(Rewrite { host, path: rewrite.path.as_ref().and_then(path) })
        }),
        Type::Cors => filter.cors.as_ref().map(cors).map(NativeFilter::Cors),
        Type::RequestMirror => match &filter.request_mirror {
            Some(mirror) => return mirrored(namespace, field, mirror),
            None => None,
        },
        Type::ExtensionRef | Type::ExternalAuth => {
            return unserved(field, &format!("a filter of type {:?} isn't served", filter.r#type), faults);
        }
    };
    match native {
        Some(native) => Step::Ready(Filter::Native(native)),
        None => unserved(field, &format!("a filter of type {:?} has no settings of that type", filter.r#type), faults),
    }
}

fn unserved(field: &str, what: &str, faults: &mut Faults) -> Step {
    faults.error(field, Reason::InvalidValue, format!("{what}: its requests answer 500"), "remove or correct the filter");
    Step::Ready(Filter::Invalid { status: 500, reason: format!("{field}: {what}") })
}

fn mirrored(namespace: &Name, field: &str, mirror: &RequestMirror) -> Step {
    let reference = &mirror.backend_ref;
    let target = Target::parse(
        namespace,
        format!("{field}.requestMirror.backendRef"),
        (reference.group.as_deref(), reference.kind.as_deref()),
        (reference.namespace.as_deref(), &reference.name),
        reference.port,
    );
    let positive = |number: i32| u32::try_from(number).unwrap_or(0);
    let (of, share) = match (&mirror.fraction, mirror.percent) {
        (Some(fraction), _) => (positive(fraction.denominator.unwrap_or(100)), positive(fraction.numerator)),
        (None, Some(percent)) => (100, positive(percent)),
        (None, None) => (1, 1),
    };
    Step::Mirror { target, of, share }
}

fn cors(cors: &HttpRouteRulesFiltersCors) -> Cors {
    let names = |list: &Option<Vec<String>>| list.iter().flatten().map(|name| name.as_str().into()).collect();
    Cors {
        origins: names(&cors.allow_origins),
        methods: names(&cors.allow_methods),
        headers: names(&cors.allow_headers),
        expose: names(&cors.expose_headers),
        credentials: cors.allow_credentials.unwrap_or(false),
        // The CRD's default.
        max_age_s: cors.max_age.and_then(|age| u32::try_from(age).ok()).unwrap_or(5),
    }
}

fn headers(modifier: &Modifier) -> HeaderChange {
    let name = |name: &str| Name::from(name.to_ascii_lowercase());
    HeaderChange {
        set: modifier.set.iter().flatten().map(|one| (name(&one.name), one.value.as_str().into())).collect(),
        add: modifier.add.iter().flatten().map(|one| (name(&one.name), one.value.as_str().into())).collect(),
        remove: modifier.remove.iter().flatten().map(|one| name(one)).collect(),
    }
}

fn redirect(redirect: &RequestRedirect) -> Redirect {
    Redirect {
        scheme: redirect.scheme.as_ref().map(|scheme| match scheme {
            Scheme::Http => "http".into(),
            Scheme::Https => "https".into(),
        }),
        host: redirect.hostname.as_deref().map(Into::into),
        port: redirect.port.and_then(validate::port_number),
        path: redirect.path.as_ref().and_then(path),
        status: redirect.status_code.and_then(|code| u16::try_from(code).ok()).unwrap_or(302),
        only_plain: false,
    }
}

fn path(modifier: &PathModifier) -> Option<PathChange> {
    match modifier.r#type {
        PathType::ReplaceFullPath => modifier.replace_full_path.as_deref().map(|path| PathChange::Full(path.into())),
        PathType::ReplacePrefixMatch => modifier.replace_prefix_match.as_deref().map(|path| PathChange::Prefix(path.into())),
    }
}
