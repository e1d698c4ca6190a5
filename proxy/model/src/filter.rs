//! Filters and guards: what happens to a request between routing and forwarding.
//!
//! One ordered list holds native, Wasm and invalid filters. An invalid filter answers for itself; it is never skipped.

use serde::{Deserialize, Serialize};

use crate::backend::BackendRef;
use crate::names::Name;

/// One step of a filter list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Filter {
    /// Built in.
    Native(NativeFilter),
    /// A proxy-wasm module. Until a host serves it, its routes answer 503.
    Wasm {
        /// The plugin: `namespace/name`.
        plugin: Name,
    },
    /// A filter that can't be built: requests are answered so.
    Invalid {
        /// HTTP status: 500 for Gateway API, 503 where a guard is meant.
        status: u16,
        /// The body, and the reason in the access log.
        reason: String,
    },
}

/// A filter that the proxy has built in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NativeFilter {
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Changes headers of the request.
    RequestHeaders(HeaderChange),
    /// Changes headers of the response.
    ResponseHeaders(HeaderChange),
    /// Changes host or path of the request as forwarded.
    Rewrite(Rewrite),
    /// Lets scripts of other origins use the route.
    Cors(Cors),
    /// Sends a copy of the request elsewhere, whose response nobody sees.
    Mirror(Mirror),
}

/// Which scripts of other origins may use a route (Fetch standard, CORS protocol; Gateway API HTTPCORSFilter).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cors {
    /// `*`, an origin, or one whose host begins with `*.`, which stands for any labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<Name>,
    /// Methods; `*`: the one that is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<Name>,
    /// Request headers; `*`: those that are asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Name>,
    /// Response headers that scripts may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Name>,
    /// Whether requests may carry cookies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub credentials: bool,
    /// How long a browser may keep the answer to a preflight, in seconds.
    pub max_age_s: u32,
}

/// A copy of requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mirror {
    /// Where it goes.
    pub backend: BackendRef,
    /// Of so many requests …
    pub of: u32,
    /// … so many are copied.
    pub share: u32,
}

/// A redirect; what is `None` stays as in the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Redirect {
    /// `http` or `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Name>,
    /// Host name, without port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
    /// Port; left out of `Location` where it is the scheme's own. With a scheme and no port: the scheme's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The new path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathChange>,
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Only for requests that came without TLS (redirect to HTTPS on a route served by both listeners).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_plain: bool,
}

/// A change of host or path towards the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rewrite {
    /// The new `Host`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Name>,
    /// The new path; the query stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathChange>,
}

/// How a path is replaced (Gateway API HTTPPathModifier).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PathChange {
    /// The whole path.
    Full(Name),
    /// The matched prefix.
    Prefix(Name),
}

/// Header changes, in this order: set, add, remove. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderChange {
    /// Replaces all values of a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set: Vec<(Name, Name)>,
    /// Adds a value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<(Name, Name)>,
    /// Removes all values of a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<Name>,
}

/// What must hold before a request goes on. Guards fail closed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Guard {
    /// A guard that is asked for and can't be built or isn't understood: the route answers 503.
    Unavailable {
        /// The annotation or policy that asks for it; the flag in the access log.
        flag: Name,
        /// The body of the answer.
        reason: String,
    },
}
