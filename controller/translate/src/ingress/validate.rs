//! What the API server would refuse: manifest folders reach us without it. Called by the parsers of this folder.
//!
//! Source: pkg/apis/networking/validation and k8s.io/apimachinery/pkg/util/validation of Kubernetes.

use std::net::IpAddr;

use rust_ingress_model::HostPattern;

/// Longest DNS subdomain, in bytes (RFC 1123).
const MAX_SUBDOMAIN: usize = 253;

/// A host of a rule or of `tls`: a DNS name in lower case, or `*.` and one.
pub(crate) fn host(text: &str) -> Result<HostPattern, &'static str> {
    if text.parse::<IpAddr>().is_ok() || text.starts_with('[') {
        return Err("is an IP address; Ingress hosts are DNS names");
    }
    if text.contains(':') {
        return Err("has a port; an Ingress host has none");
    }
    match text.strip_prefix("*.") {
        Some(suffix) if subdomain(suffix) => Ok(HostPattern::OneLabel(suffix.into())),
        None if subdomain(text) => Ok(HostPattern::Exact(text.into())),
        _ if text.contains('*') => Err("has a star elsewhere than as its whole first label"),
        _ if text.bytes().any(|byte| byte.is_ascii_uppercase()) => Err("has upper-case letters"),
        _ => Err("isn't a DNS name (RFC 1123)"),
    }
}

/// A path of type Exact or Prefix.
pub(crate) fn path(text: &str) -> Result<(), &'static str> {
    let lower = text.to_ascii_lowercase();
    match () {
        () if !text.starts_with('/') => Err("doesn't begin with /"),
        () if text.contains("//") => Err("contains //"),
        () if text.contains("/./") || text.ends_with("/.") => Err("contains the segment ."),
        () if text.contains("/../") || text.ends_with("/..") => Err("contains the segment .."),
        () if lower.contains("%2f") => Err("contains an encoded slash (%2f)"),
        () => Ok(()),
    }
}

/// Whether a text is a DNS subdomain: labels of lower-case letters, digits and inner hyphens.
pub(crate) fn subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(label)
}

/// The name of a Service (RFC 1035 label, at most 63 bytes).
pub(crate) fn service_name(text: &str) -> bool {
    text.len() <= 63 && label(text) && text.starts_with(|first: char| first.is_ascii_lowercase())
}

/// The name of a Service port (RFC 1123 label, at most 63 bytes).
pub(crate) fn port_name(text: &str) -> bool {
    text.len() <= 63 && label(text)
}

/// A port number as JSON has it.
pub(crate) fn port_number(number: i32) -> Option<u16> {
    u16::try_from(number).ok().filter(|port| *port != 0)
}

fn label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_as_the_api_server_has_them() {
        assert_eq!(host("foo.com"), Ok(HostPattern::Exact("foo.com".into())));
        assert_eq!(host("*.foo.com"), Ok(HostPattern::OneLabel("foo.com".into())));
        for bad in
            ["1.2.3.4", "::1", "[::1]", "foo.com:80", "*", "*foo.com", "a.*.com", "*.*.com", "Foo.com", "foo..com", "-a.com", ""]
        {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(host(&format!("{}.com", "a.".repeat(130))).is_err());
    }

    #[test]
    fn paths_as_the_api_server_has_them() {
        for good in ["/", "/foo", "/foo/", "/foo.bar/..baz"] {
            assert_eq!(path(good), Ok(()), "{good}");
        }
        for bad in ["", "foo", "//", "/a//b", "/./a", "/a/.", "/a/../b", "/a/..", "/a%2Fb", "/a%2fb"] {
            assert!(path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_and_ports() {
        assert!(service_name("web-1") && !service_name("1web") && !service_name("web.a") && !service_name(""));
        assert!(port_name("http") && port_name("8080-tcp") && !port_name("Http"));
        assert_eq!((port_number(0), port_number(65_536), port_number(-1), port_number(80)), (None, None, None, Some(80)));
    }
}
