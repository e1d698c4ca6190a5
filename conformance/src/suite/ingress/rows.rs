//! The rows of `suite ingress` that are one request and one answer: host rules and path rules of the Ingress v1 conformance
//! suite (kubernetes-sigs/ingress-controller-conformance, dormant since 2021), and more of the same kind.

/// What a row expects.
#[derive(Debug, Clone, Copy)]
pub enum Want {
    /// 200, answered by a Pod of this Service.
    Service(&'static str),
    /// Answered by the proxy itself.
    Status(u16),
}

/// One request over plain HTTP.
pub struct Row {
    /// The feature.
    pub group: &'static str,
    /// What should be so.
    pub name: &'static str,
    /// The Host.
    pub host: &'static str,
    /// The path.
    pub path: &'static str,
    /// The answer.
    pub want: Want,
}

const fn row(group: &'static str, name: &'static str, host: &'static str, path: &'static str, want: Want) -> Row {
    Row { group, name, host, path, want }
}

const fn to(service: &'static str) -> Want {
    Want::Service(service)
}

const NOT_FOUND: Want = Want::Status(404);
const UNAVAILABLE: Want = Want::Status(503);

const HOST: &str = "host rules";
const EXACT: &str = "exact-path-rules";
const PREFIX: &str = "prefix-path-rules";
const MIXED: &str = "mixed-path-rules";
const SLASH: &str = "trailing-slash-path-rules";
const PATH: &str = "path rules";
const MORE: &str = "beyond";

/// Host rules 3 to 6 (the first two are TLS's) and the 16 path rules, on `rules.yaml`.
pub const RULES: [Row; 20] = [
    row(HOST, "a host whose parent's rule is exact is not matched", "subdomain.bar.com", "/", NOT_FOUND),
    row(HOST, "a wildcard takes one label", "bar.foo.com", "/", to("wildcard-foo-com")),
    row(HOST, "a wildcard takes one label only", "baz.bar.foo.com", "/", NOT_FOUND),
    row(HOST, "a wildcard doesn't take its parent", "foo.com", "/", NOT_FOUND),
    row(PATH, "Exact /foo takes /foo", EXACT, "/foo", to("foo-exact")),
    row(PATH, "Exact /foo doesn't take /foo/", EXACT, "/foo/", NOT_FOUND),
    row(PATH, "Exact /foo doesn't take /FOO", EXACT, "/FOO", NOT_FOUND),
    row(PATH, "Exact /foo doesn't take /bar", EXACT, "/bar", NOT_FOUND),
    row(PATH, "Prefix /foo takes /foo", PREFIX, "/foo", to("foo-prefix")),
    row(PATH, "Prefix /foo takes /foo/", PREFIX, "/foo/", to("foo-prefix")),
    row(PATH, "Prefix /foo doesn't take /FOO", PREFIX, "/FOO", NOT_FOUND),
    row(PATH, "Prefix /aaa/bbb takes /aaa/bbb before /aaa does", PREFIX, "/aaa/bbb", to("aaa-bbb-prefix")),
    row(PATH, "Prefix /aaa/bbb takes /aaa/bbb/ccc", PREFIX, "/aaa/bbb/ccc", to("aaa-bbb-prefix")),
    row(PATH, "Prefix /aaa takes /aaa/ccc", PREFIX, "/aaa/ccc", to("aaa-prefix")),
    row(PATH, "Prefix /aaa doesn't take /aaaccc", PREFIX, "/aaaccc", NOT_FOUND),
    row(PATH, "Exact /foo comes before Prefix /foo", MIXED, "/foo", to("foo-exact")),
    row(PATH, "Prefix /aaa/bbb/ takes /aaa/bbb", SLASH, "/aaa/bbb", to("aaa-bbb-prefix")),
    row(PATH, "Prefix /aaa/bbb/ takes /aaa/bbb/", SLASH, "/aaa/bbb/", to("aaa-bbb-prefix")),
    row(PATH, "Exact /foo/ takes /foo/", SLASH, "/foo/", to("foo-exact")),
    row(PATH, "Exact /foo/ doesn't take /foo", SLASH, "/foo", NOT_FOUND),
];

/// More, on `beyond.yaml` beside it.
pub const BEYOND: [Row; 13] = [
    row(MORE, "Prefix /foo takes what Exact /foo leaves", MIXED, "/foo/bar", to("foo-prefix")),
    row(MORE, "Prefix compares elements: /aaa/bbbxyz goes to /aaa", PREFIX, "/aaa/bbbxyz", to("aaa-prefix")),
    row(MORE, "a query is no part of the path", EXACT, "/foo?a=/b", to("foo-exact")),
    row(MORE, "ImplementationSpecific is a prefix here", "implementation-specific", "/foo/bar", to("foo-prefix")),
    row(MORE, "of two equal rules the older one's wins", "own-default", "/foo", to("foo-prefix")),
    row(MORE, "rules of two Ingresses for a host are merged", "own-default", "/other", to("aaa-prefix")),
    row(MORE, "a default backend takes what its host's rules leave", "own-default", "/nothing", to("default")),
    row(MORE, "an exact host comes before a wildcard, and its rules alone count", "wide.foo.com", "/other", to("default")),
    row(MORE, "an Ingress without a class has the default class", "without-class", "/", to("default")),
    row(MORE, "a Service without endpoints is 503", "broken-backends", "/no-endpoints", UNAVAILABLE),
    row(MORE, "a Service that is not there is 503", "broken-backends", "/no-service", UNAVAILABLE),
    row(MORE, "a port that the Service doesn't have is 503", "broken-backends", "/no-port", UNAVAILABLE),
    row(MORE, "a rule beside broken ones is served", "broken-backends", "/fine", to("default")),
];
