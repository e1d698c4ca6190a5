//! Virtual hosts, rules and what they match.

use serde::{Deserialize, Serialize};

use crate::backend::BackendRef;
use crate::filter::{Filter, Guard};
use crate::names::{HostPattern, Name, ObjectRef};

/// All rules for one host pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VirtualHost {
    /// Which hosts.
    pub host: HostPattern,
    /// Oldest object first, then as written: of two rules that match equally well the earlier wins.
    pub rules: Vec<Rule>,
}

/// One rule: what it matches, what it does, where it sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The object that it was written in.
    pub source: ObjectRef,
    /// Where in the object: `spec.rules[0].http.paths[1]`. Shown in the access log.
    pub field: Name,
    /// Any of these; at least one.
    pub matches: Vec<RouteMatch>,
    /// In order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// All of these, before any filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guards: Vec<Guard>,
    /// One is drawn by weight. Empty, or all of weight 0: 500 for Gateway API says so by a `Fail` backend.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<WeightedBackend>,
    /// Limits in time.
    #[serde(default, skip_serializing_if = "Timeouts::is_unset")]
    pub timeouts: Timeouts,
    /// What is tried again beyond connect failures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Stickiness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<Persistence>,
    /// Largest request body, in bytes; over it 413. `None`: the proxy's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
}

/// One of a rule's backends, with its share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WeightedBackend {
    /// Where to.
    pub backend: BackendRef,
    /// Its share, relative to the sum over the rule; 0 gets nothing.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub weight: u32,
    /// Filters for requests to this backend alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
}

fn one() -> u32 {
    1
}

fn is_one(weight: &u32) -> bool {
    *weight == 1
}

/// What a request must be for a rule to take it: all of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// The path.
    pub path: PathMatch,
    /// The method, upper case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<Name>,
    /// Headers, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<ValueMatch>,
    /// Query parameters, all of them; the first of a name counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub query: Vec<ValueMatch>,
    /// The destination port of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl RouteMatch {
    /// Matches by path alone, as Ingress does.
    pub fn path(path: PathMatch) -> Self {
        Self { path, method: None, headers: Vec::new(), query: Vec::new(), port: None }
    }
}

/// A path, after the gate has normalised it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathMatch {
    /// Byte for byte.
    Exact(Name),
    /// Element by element; a trailing `/` makes no difference to what matches.
    Prefix(Name),
    /// The whole path, as a regular expression of the `regex` crate (linear time). Write `.*` to leave an end open.
    Regex(Name),
    /// What stands after the last `/`, whatever stands before it: a gRPC method of any service.
    LastElement(Name),
}

/// A header or query parameter and its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ValueMatch {
    /// Header names in lower case; query names as they are.
    pub name: Name,
    /// The value.
    pub value: TextMatch,
}

/// A text, or a regular expression for all of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TextMatch {
    /// Byte for byte.
    Exact(Name),
    /// A regular expression of the `regex` crate, over the whole text.
    Regex(Name),
}

/// Limits in time, in milliseconds. `None`: the proxy's default. 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Timeouts {
    /// From the request's head to the end of the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_ms: Option<u32>,
    /// To a TCP or TLS connection with an endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u32>,
    /// From the request's head (or, with a body, its end) to the response's head, per attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_headers_ms: Option<u32>,
    /// Without a byte in either direction, once the response has begun; also for upgraded connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
}

impl Timeouts {
    /// Whether all are left to the proxy.
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// Retries beyond the two that need no asking (a connect failure; a reused connection that closes before an answer).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Further attempts.
    pub attempts: u8,
    /// Response codes that count as failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<u16>,
    /// Least time between attempts, in milliseconds.
    #[serde(default)]
    pub backoff_ms: u32,
}

/// Session persistence: the same client reaches the same endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Persistence {
    /// By a cookie that we set.
    Cookie {
        /// Its name.
        name: Name,
        /// Its life in seconds; `None`: the browser session.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max_age_s: Option<u32>,
    },
    /// By a header.
    Header {
        /// Its name, lower case.
        name: Name,
    },
}
