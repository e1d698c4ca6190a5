//! Request faults: what went wrong with one request, who is to blame, and how it is answered.
//!
//! Every stage returns `Result<_, RequestFault>`; `respond` is the one place that turns a fault into a response. The kind
//! is the `flag` of the access log and a metric label.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;

/// Who has to mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The client sent something that can't be served.
    Client,
    /// The endpoint, or the lack of one.
    Upstream,
    /// The proxy or its configuration.
    Us,
}

impl Blame {
    /// The metric label and access log value.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Us => "us",
        }
    }
}

/// Whether the same request may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No.
    Never,
    /// Nothing of it was sent: any request may.
    Unsent,
    /// It may have been seen: idempotent requests may.
    Idempotent,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident => $label:literal, $blame:ident, $status:ident;)*) => {
        /// What went wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// All kinds, for metrics.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// The metric label and access log flag.
            pub fn label(self) -> &'static str {
                match self { $(Self::$kind => $label,)* }
            }

            /// Who has to mend it.
            pub fn blame(self) -> Blame {
                match self { $(Self::$kind => Blame::$blame,)* }
            }

            /// The status that answers it, unless the fault names another.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)* }
            }
        }
    };
}

kinds! {
    /// The gate refused the request's form.
    BadRequest => "bad_request", Client, BAD_REQUEST;
    /// The head is larger than the limit.
    HeadTooLarge => "head_too_large", Client, REQUEST_HEADER_FIELDS_TOO_LARGE;
    /// An HTTP version that isn't spoken.
    BadVersion => "bad_version", Client, HTTP_VERSION_NOT_SUPPORTED;
    /// CONNECT, or a method that the route doesn't take.
    MethodNotAllowed => "method_not_allowed", Client, METHOD_NOT_ALLOWED;
    /// The body is larger than the limit.
    BodyTooLarge => "body_too_large", Client, PAYLOAD_TOO_LARGE;
    /// The client's body ended early or broke its framing.
    ClientBody => "client_body", Client, BAD_REQUEST;
    /// The client was too slow.
    ClientTimeout => "client_timeout", Client, REQUEST_TIMEOUT;
    /// The authority isn't one that this connection's certificate covers.
    Misdirected => "misdirected", Client, MISDIRECTED_REQUEST;
    /// No rule takes the request.
    RouteNotFound => "route_not_found", Client, NOT_FOUND;
    /// A guard of the route can't be built.
    GuardUnavailable => "guard_unavailable", Us, SERVICE_UNAVAILABLE;
    /// A filter of the route can't be built.
    FilterInvalid => "filter_invalid", Us, INTERNAL_SERVER_ERROR;
    /// The rule's backend reference can't be followed.
    BackendInvalid => "backend_invalid", Us, SERVICE_UNAVAILABLE;
    /// The backend has no endpoint.
    NoEndpoints => "no_endpoints", Upstream, SERVICE_UNAVAILABLE;
    /// A limit on connections or requests was reached.
    Overloaded => "overloaded", Us, SERVICE_UNAVAILABLE;
    /// No connection to an endpoint.
    ConnectFailed => "connect_failed", Upstream, BAD_GATEWAY;
    /// No connection to an endpoint in time.
    ConnectTimeout => "connect_timeout", Upstream, GATEWAY_TIMEOUT;
    /// TLS with an endpoint failed.
    UpstreamTls => "upstream_tls", Upstream, BAD_GATEWAY;
    /// The endpoint closed or reset before its response's head.
    UpstreamReset => "upstream_reset", Upstream, BAD_GATEWAY;
    /// The endpoint's response isn't HTTP.
    UpstreamProtocol => "upstream_protocol", Upstream, BAD_GATEWAY;
    /// The endpoint's response head didn't come in time.
    ResponseTimeout => "response_timeout", Upstream, GATEWAY_TIMEOUT;
    /// The whole request didn't end in time.
    RequestTimeout => "request_timeout", Upstream, GATEWAY_TIMEOUT;
    /// The name of an ExternalName Service doesn't resolve, or to a forbidden address.
    ResolveFailed => "resolve_failed", Upstream, SERVICE_UNAVAILABLE;
    /// A response or an upgraded stream broke after its head.
    StreamBroken => "stream_broken", Upstream, BAD_GATEWAY;
    /// A defect of ours.
    Internal => "internal", Us, INTERNAL_SERVER_ERROR;
}

/// What went wrong with one request.
#[derive(Debug)]
pub struct RequestFault {
    /// What.
    pub kind: Kind,
    /// The status that answers it.
    pub status: StatusCode,
    /// Whether the request may be sent again.
    pub retry: Retry,
    /// What happened, to which object, and what to check. Shown to the client for `Blame::Client` and for missing
    /// backends; always in the access log.
    pub message: Cow<'static, str>,
    /// What lies below.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl RequestFault {
    /// A fault with the status of its kind, not to be retried.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, status: kind.status(), retry: Retry::Never, message: message.into(), source: None }
    }

    /// With another status.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// With leave to send again.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// With what lies below.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for RequestFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.label(), self.message)
    }
}

impl std::error::Error for RequestFault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
