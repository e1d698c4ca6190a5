//! Guards and filters through the whole life of a request; what fails, fails closed and says so.

use rust_ingress_model::filter::{HeaderChange, Redirect};
use rust_ingress_model::{BackendRef, Filter, Guard, HostPattern, NativeFilter, PathMatch, Rule, WeightedBackend};

use crate::support::{Draft, Echo, Served, header, options, rule, status};

fn one(draft: &Draft) -> String {
    Served::new(options(), draft).raw("GET /x?q HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
}

#[test]
fn a_redirect_is_answered_here() {
    let echo = Echo::new();
    let redirect = Redirect { scheme: Some("https".into()), host: None, port: None, path: None, status: 308, only_plain: true };
    let answer = one(&Draft::to(echo.address).filtered(vec![Filter::Native(NativeFilter::Redirect(redirect))]));
    assert_eq!(status(&answer), 308, "{answer}");
    assert_eq!(header(&answer, "location"), Some("https://a.example/x?q"));
    assert_eq!(header(&answer, "server"), Some("rust-ingress"));
    assert_eq!(echo.count(), 0);
}

#[test]
fn headers_change_both_ways() {
    let echo = Echo::new();
    let change = |name: &str| HeaderChange { set: vec![(name.into(), "1".into())], ..HeaderChange::default() };
    let filters = vec![
        Filter::Native(NativeFilter::RequestHeaders(change("x-in"))),
        Filter::Native(NativeFilter::ResponseHeaders(change("x-out"))),
    ];
    let answer = one(&Draft::to(echo.address).filtered(filters));
    assert_eq!(header(&answer, "x-out"), Some("1"), "{answer}");
    assert!(answer.contains("x-in: 1"), "{answer}");
}

#[test]
fn what_cannot_be_built_fails_closed() {
    let echo = Echo::new();
    let base = || rule(PathMatch::Prefix("/".into()));
    let guard = Guard::Unavailable { flag: "auth-url".into(), reason: "auth-url isn't supported".into() };
    let fail = BackendRef::Fail { status: 500, reason: "Service default/gone isn't there".into() };
    for (rule, expected, text) in [
        (Rule { guards: vec![guard], ..base() }, 503, "auth-url isn't supported"),
        (Rule { filters: vec![Filter::Wasm { plugin: "default/p".into() }], ..base() }, 503, "default/p"),
        (Rule { filters: vec![Filter::Invalid { status: 500, reason: "bad filter".into() }], ..base() }, 500, "bad filter"),
        (
            Rule { backends: vec![WeightedBackend { backend: fail, weight: 1, filters: Vec::new() }], ..base() },
            500,
            "default/gone",
        ),
    ] {
        let answer = one(&Draft::to(echo.address).host(HostPattern::Any, vec![rule]));
        assert!(status(&answer) == expected && answer.contains(text), "{answer}");
    }
    assert_eq!(echo.count(), 0);
}
