//! Every annotation of ingress-nginx 1.15.1, with its group and what becomes of it here. Read by `nginx` and `own`.

use Treatment::{Guard, NoEffect, Set, Unsupported};

/// Prefix of ingress-nginx's annotations.
pub(super) const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// One annotation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Without the prefix.
    pub(super) name: &'static str,
    /// The group of ingress-nginx's sources that it belongs to.
    pub(super) group: &'static str,
    /// What becomes of it.
    pub(super) treatment: Treatment,
    /// The value with which it asks for nothing.
    pub(super) off: Option<&'static str>,
}

/// What becomes of an annotation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Treatment {
    /// A setting of ours means the same.
    Set(Setting),
    /// It has no effect here and needs none, for this reason.
    NoEffect(&'static str),
    /// Not supported, and what is lost guards nothing.
    Unsupported,
    /// Not supported, and it guards (or is a snippet that may): its routes answer 503.
    Guard,
}

/// A setting of ours that means the same.
#[derive(Debug, Clone, Copy)]
pub(super) enum Setting {
    BackendProtocol,
    BodySize,
    ConnectTimeout,
    ReadTimeout,
    SslRedirect,
    ForceSslRedirect,
    Canary,
}

const fn known(name: &'static str, group: &'static str, treatment: Treatment, off: Option<&'static str>) -> Known {
    Known { name, group, treatment, off }
}

/// The annotation of that name, without the prefix.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.name == name)
}

/// By group, then by name.
#[rustfmt::skip]
pub(super) const TABLE: &[Known] = &[
    known("server-alias", "Aliases", Unsupported, None),
    known("allowlist-source-range", "Allowlist", Guard, None),
    known("whitelist-source-range", "Allowlist", Guard, None),
    known("backend-protocol", "BackendProtocol", Set(Setting::BackendProtocol), None),
    known("auth-realm", "BasicDigestAuth", Guard, None),
    known("auth-secret", "BasicDigestAuth", Guard, None),
    known("auth-secret-type", "BasicDigestAuth", Guard, None),
    known("auth-type", "BasicDigestAuth", Guard, None),
    known("canary", "Canary", Set(Setting::Canary), Some("false")),
    known("canary-by-cookie", "Canary", Unsupported, None),
    known("canary-by-header", "Canary", Unsupported, None),
    known("canary-by-header-pattern", "Canary", Unsupported, None),
    known("canary-by-header-value", "Canary", Unsupported, None),
    known("canary-weight", "Canary", Unsupported, None),
    known("canary-weight-total", "Canary", Unsupported, None),
    known("auth-tls-error-page", "CertificateAuth", Guard, None),
    known("auth-tls-match-cn", "CertificateAuth", Guard, None),
    known("auth-tls-pass-certificate-to-upstream", "CertificateAuth", Guard, None),
    known("auth-tls-secret", "CertificateAuth", Guard, None),
    known("auth-tls-verify-client", "CertificateAuth", Guard, None),
    known("auth-tls-verify-depth", "CertificateAuth", Guard, None),
    known("client-body-buffer-size", "ClientBodyBufferSize", NoEffect("bodies are streamed, never collected"), None),
    known("configuration-snippet", "ConfigurationSnippet", Guard, None),
    known("connection-proxy-header", "Connection", Unsupported, None),
    known("cors-allow-credentials", "CorsConfig", Unsupported, None),
    known("cors-allow-headers", "CorsConfig", Unsupported, None),
    known("cors-allow-methods", "CorsConfig", Unsupported, None),
    known("cors-allow-origin", "CorsConfig", Unsupported, None),
    known("cors-expose-headers", "CorsConfig", Unsupported, None),
    known("cors-max-age", "CorsConfig", Unsupported, None),
    known("enable-cors", "CorsConfig", Unsupported, Some("false")),
    known("custom-http-errors", "CustomHTTPErrors", Unsupported, None),
    known("custom-headers", "CustomHeaders", Unsupported, None),
    known("default-backend", "DefaultBackend", Unsupported, None),
    known("denylist-source-range", "Denylist", Guard, None),
    known("disable-proxy-intercept-errors", "DisableProxyInterceptErrors", NoEffect("errors of backends are never intercepted"), None),
    known("enable-global-auth", "EnableGlobalAuth", Guard, Some("false")),
    known("auth-always-set-cookie", "ExternalAuth", Guard, None),
    known("auth-cache-duration", "ExternalAuth", Guard, None),
    known("auth-cache-key", "ExternalAuth", Guard, None),
    known("auth-keepalive", "ExternalAuth", Guard, None),
    known("auth-keepalive-requests", "ExternalAuth", Guard, None),
    known("auth-keepalive-share-vars", "ExternalAuth", Guard, None),
    known("auth-keepalive-timeout", "ExternalAuth", Guard, None),
    known("auth-method", "ExternalAuth", Guard, None),
    known("auth-proxy-set-headers", "ExternalAuth", Guard, None),
    known("auth-request-redirect", "ExternalAuth", Guard, None),
    known("auth-response-headers", "ExternalAuth", Guard, None),
    known("auth-signin", "ExternalAuth", Guard, None),
    known("auth-signin-redirect-param", "ExternalAuth", Guard, None),
    known("auth-snippet", "ExternalAuth", Guard, None),
    known("auth-url", "ExternalAuth", Guard, None),
    known("fastcgi-index", "FastCGI", Unsupported, None),
    known("fastcgi-params-configmap", "FastCGI", Unsupported, None),
    known("http2-push-preload", "HTTP2PushPreload", NoEffect("HTTP/2 push is obsolete"), None),
    known("load-balance", "LoadBalancing", NoEffect("of two endpoints drawn, the one with fewer requests takes the next"), None),
    known("enable-access-log", "Logs", Unsupported, Some("true")),
    known("enable-rewrite-log", "Logs", NoEffect("there is no rewrite module"), None),
    known("mirror-host", "Mirror", Unsupported, None),
    known("mirror-request-body", "Mirror", Unsupported, None),
    known("mirror-target", "Mirror", Unsupported, None),
    known("enable-modsecurity", "ModSecurity", Guard, Some("false")),
    known("enable-owasp-core-rules", "ModSecurity", Guard, Some("false")),
    known("modsecurity-snippet", "ModSecurity", Guard, None),
    known("modsecurity-transaction-id", "ModSecurity", Guard, None),
    known("enable-opentelemetry", "Opentelemetry", Unsupported, Some("false")),
    known("opentelemetry-operation-name", "Opentelemetry", Unsupported, None),
    known("opentelemetry-trust-incoming-span", "Opentelemetry", Unsupported, None),
    known("proxy-body-size", "Proxy", Set(Setting::BodySize), None),
    known("proxy-buffer-size", "Proxy", NoEffect("response heads up to 64 KiB are taken"), None),
    known("proxy-buffering", "Proxy", NoEffect("bodies are streamed, never collected"), None),
    known("proxy-buffers-number", "Proxy", NoEffect("bodies are streamed, never collected"), None),
    known("proxy-busy-buffers-size", "Proxy", NoEffect("bodies are streamed, never collected"), None),
    known("proxy-connect-timeout", "Proxy", Set(Setting::ConnectTimeout), None),
    known("proxy-cookie-domain", "Proxy", Unsupported, Some("off")),
    known("proxy-cookie-path", "Proxy", Unsupported, Some("off")),
    known("proxy-http-version", "Proxy", Unsupported, Some("1.1")),
    known("proxy-max-temp-file-size", "Proxy", NoEffect("nothing is written to files"), None),
    known("proxy-next-upstream", "Proxy", Unsupported, None),
    known("proxy-next-upstream-timeout", "Proxy", Unsupported, None),
    known("proxy-next-upstream-tries", "Proxy", Unsupported, None),
    known("proxy-read-timeout", "Proxy", Set(Setting::ReadTimeout), None),
    known("proxy-redirect-from", "Proxy", Unsupported, Some("off")),
    known("proxy-redirect-to", "Proxy", Unsupported, Some("off")),
    known("proxy-request-buffering", "Proxy", NoEffect("bodies are streamed, never collected"), None),
    known("proxy-send-timeout", "Proxy", NoEffect("a body that stalls is ended by the idle timeout (proxy-read-timeout sets it)"), None),
    known("proxy-ssl-ciphers", "ProxySSL", Unsupported, None),
    known("proxy-ssl-name", "ProxySSL", Unsupported, None),
    known("proxy-ssl-protocols", "ProxySSL", Unsupported, None),
    known("proxy-ssl-secret", "ProxySSL", Guard, None),
    known("proxy-ssl-server-name", "ProxySSL", Unsupported, Some("off")),
    known("proxy-ssl-verify", "ProxySSL", Guard, Some("off")),
    known("proxy-ssl-verify-depth", "ProxySSL", Unsupported, None),
    known("limit-allowlist", "RateLimit", Guard, None),
    known("limit-burst-multiplier", "RateLimit", Guard, None),
    known("limit-connections", "RateLimit", Guard, None),
    known("limit-rate", "RateLimit", Guard, None),
    known("limit-rate-after", "RateLimit", Guard, None),
    known("limit-rpm", "RateLimit", Guard, None),
    known("limit-rps", "RateLimit", Guard, None),
    known("limit-whitelist", "RateLimit", Guard, None),
    known("from-to-www-redirect", "Redirect", Unsupported, Some("false")),
    known("permanent-redirect", "Redirect", Unsupported, None),
    known("permanent-redirect-code", "Redirect", Unsupported, None),
    known("relative-redirects", "Redirect", Unsupported, Some("false")),
    known("temporal-redirect", "Redirect", Unsupported, None),
    known("temporal-redirect-code", "Redirect", Unsupported, None),
    known("app-root", "Rewrite", Unsupported, None),
    known("force-ssl-redirect", "Rewrite", Set(Setting::ForceSslRedirect), None),
    known("preserve-trailing-slash", "Rewrite", NoEffect("redirects keep the path as it is"), None),
    known("rewrite-target", "Rewrite", Unsupported, None),
    known("ssl-redirect", "Rewrite", Set(Setting::SslRedirect), None),
    known("use-regex", "Rewrite", Unsupported, Some("false")),
    known("ssl-ciphers", "SSLCipher", Unsupported, None),
    known("ssl-prefer-server-ciphers", "SSLCipher", NoEffect("every cipher suite offered is a strong one"), None),
    known("ssl-passthrough", "SSLPassthrough", Unsupported, Some("false")),
    known("satisfy", "Satisfy", Guard, None),
    known("server-snippet", "ServerSnippet", Guard, None),
    known("service-upstream", "ServiceUpstream", Unsupported, Some("false")),
    known("affinity", "SessionAffinity", Unsupported, None),
    known("affinity-canary-behavior", "SessionAffinity", Unsupported, None),
    known("affinity-mode", "SessionAffinity", Unsupported, None),
    known("session-cookie-change-on-failure", "SessionAffinity", Unsupported, Some("false")),
    known("session-cookie-conditional-samesite-none", "SessionAffinity", Unsupported, Some("false")),
    known("session-cookie-domain", "SessionAffinity", Unsupported, None),
    known("session-cookie-expires", "SessionAffinity", Unsupported, None),
    known("session-cookie-max-age", "SessionAffinity", Unsupported, None),
    known("session-cookie-name", "SessionAffinity", Unsupported, None),
    known("session-cookie-path", "SessionAffinity", Unsupported, None),
    known("session-cookie-samesite", "SessionAffinity", Unsupported, None),
    known("session-cookie-secure", "SessionAffinity", Unsupported, None),
    known("stream-snippet", "StreamSnippet", Unsupported, None),
    known("upstream-hash-by", "UpstreamHashBy", Unsupported, None),
    known("upstream-hash-by-subset", "UpstreamHashBy", Unsupported, Some("false")),
    known("upstream-hash-by-subset-size", "UpstreamHashBy", Unsupported, None),
    known("upstream-vhost", "UpstreamVhost", Unsupported, None),
    known("use-port-in-redirects", "UsePortInRedirects", Unsupported, Some("false")),
    known("x-forwarded-prefix", "XForwardedPrefix", Unsupported, None),
];
