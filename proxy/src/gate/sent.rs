//! What was sent where a head is refused on the wire: as much of it as can be read, for the access log alone.
//!
//! `server::io` reads it before the head's bytes are dropped; nothing is routed or answered by it.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri, Version};

use crate::gate::class::{TARGET, TOKEN, class_of};

/// Bytes of a target that are kept, and of a method.
const TARGET_MAX: usize = 1024;
const METHOD_MAX: usize = 32;
/// Bytes of a head that are looked at.
const HEAD_MAX: usize = 8 << 10;
/// What the method is where none can be read; no registered method has this name.
const NO_METHOD: &[u8] = b"-";

/// What can be read of a refused head.
#[derive(Debug)]
pub struct Sent {
    /// The method; `-` where none can be read.
    pub method: Method,
    /// 1.1 unless the request line says 1.0.
    pub version: Version,
    /// The target, cut off after 1 KiB; bytes that may not stand in it are percent-encoded.
    pub uri: Option<Uri>,
    /// Header fields that are well-formed.
    pub headers: HeaderMap,
}

impl Sent {
    /// Reads the bytes of a head, whole or not.
    pub fn read(bytes: &[u8]) -> Self {
        let bytes = bytes.get(..HEAD_MAX).unwrap_or(bytes).trim_ascii_start();
        let mut lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let line = lines.next().unwrap_or_default();
        let (method, rest) = cut(line, b' ').unwrap_or((line, b""));
        let target = match rest.iter().rposition(|byte| *byte == b' ') {
            Some(at) if rest.get(at..).is_some_and(|end| end.starts_with(b" HTTP/")) => rest.get(..at).unwrap_or_default(),
            _ => rest,
        };
        let readable = !method.is_empty() && method.len() <= METHOD_MAX && method.iter().all(|byte| class_of(*byte) & TOKEN != 0);
        let method = if readable { method } else { NO_METHOD };
        Self {
            method: Method::from_bytes(method).unwrap_or_default(),
            version: if line.ends_with(b" HTTP/1.0") { Version::HTTP_10 } else { Version::HTTP_11 },
            uri: uri(target),
            headers: lines.take_while(|line| !line.is_empty()).filter_map(field).collect(),
        }
    }
}

/// A path or an absolute URI; anything else would be read as a host.
fn uri(target: &[u8]) -> Option<Uri> {
    let target = target.get(..TARGET_MAX).unwrap_or(target);
    let mut text = String::with_capacity(target.len());
    for byte in target {
        match class_of(*byte) & TARGET {
            0 => text.push_str(&format!("%{byte:02X}")),
            _ => text.push(char::from(*byte)),
        }
    }
    let uri: Uri = text.parse().ok()?;
    (text.starts_with('/') || text == "*" || uri.scheme().is_some()).then_some(uri)
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = cut(line, b':')?;
    Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value.trim_ascii()).ok()?))
}

/// What stands before and after the first such byte.
fn cut(bytes: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|byte| *byte == at)?;
    Some((bytes.get(..at)?, bytes.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> (String, Option<String>) {
        let sent = Sent::read(head.as_bytes());
        (sent.method.to_string(), sent.uri.map(|uri| uri.to_string()))
    }

    fn some(method: &str, uri: &str) -> (String, Option<String>) {
        (method.into(), Some(uri.into()))
    }

    #[test]
    fn what_can_be_read_is_what_was_sent() {
        assert_eq!(read("POST /a?b=1 HTTP/1.1\r\nHost : a\r\n\r\n"), some("POST", "/a?b=1"));
        assert_eq!(read("PUT /bad path HTTP/1.1\r\n\r\n"), some("PUT", "/bad%20path"));
        assert_eq!(read("PUT /a\x01\"\x7f HTTP/1.1\r\n\r\n"), some("PUT", "/a%01%22%7F"));
        assert_eq!(read("\r\nGET http://h/x HTTP/9.9\r\n"), some("GET", "http://h/x"));
        assert_eq!(read("DELETE /un"), some("DELETE", "/un"));
        assert_eq!(read("CONNECT h:443 HTTP/1.1\r\n\r\n"), ("CONNECT".into(), None));
    }

    #[test]
    fn what_cannot_be_read_is_no_get() {
        for head in ["", "\r\n", "\x16\x03\x01\x02", "G@T", &"A".repeat(40)] {
            assert_eq!(read(head), ("-".into(), None), "{head:?}");
        }
    }

    #[test]
    fn a_long_target_is_cut_off() {
        let sent = Sent::read(format!("GET /{} HTTP/1.1\r\n", "é".repeat(5000)).as_bytes());
        assert!(sent.uri.is_some_and(|uri| uri.path().len() <= 3 * TARGET_MAX && uri.path().starts_with("/%C3%A9")));
    }

    #[test]
    fn headers_that_are_well_formed_are_kept() {
        let sent = Sent::read(b"GET / HTTP/1.0\nHost: a.test\nX : b\nUser-Agent: u\r\n\r\nBody: no\r\n");
        assert_eq!(sent.version, Version::HTTP_10);
        assert_eq!(sent.headers.len(), 2);
        assert!(sent.headers.get("host").is_some_and(|host| host == "a.test"));
    }
}
