//! One normal form for paths (RFC 3986 §6.2.2), so that what is matched is what the endpoint sees.
//!
//! Percent-encoded unreserved characters are decoded, dot segments removed, other encodings written in upper case.
//! Forms that servers read in two ways are refused: encoded slashes and backslashes, NUL and controls, paths that climb
//! above the root. Duplicate slashes are kept: they mean something to some endpoints. Called by [`crate::gate::head`].

use crate::fault::{Kind, RequestFault};

/// The normal form of a path that begins with `/`. `None`: it is in normal form.
///
/// # Errors
/// A 400 that says what is wrong with the path.
pub fn normalise(path: &str) -> Result<Option<String>, RequestFault> {
    let bytes = path.as_bytes();
    let mut dot = false;
    let mut percent = false;
    let mut before = 0;
    for byte in bytes {
        match byte {
            b'%' => percent = true,
            b'.' if before == b'/' => dot = true,
            b'\\' => return Err(bad("the path has a backslash")),
            0..=0x20 | 0x7f.. | b'#' => return Err(bad("the path has a character that isn't allowed in it")),
            _ => {}
        }
        before = *byte;
    }
    if !percent && !dot {
        return Ok(None);
    }
    let decoded = if percent { decode(bytes)? } else { path.to_owned() };
    let clean = if decoded.contains("/.") { remove_dot_segments(&decoded)? } else { decoded };
    Ok((clean != path).then_some(clean))
}

fn bad(message: &'static str) -> RequestFault {
    RequestFault::new(Kind::BadRequest, message)
}

/// Decodes unreserved characters, writes other encodings in upper case.
fn decode(bytes: &[u8]) -> Result<String, RequestFault> {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            text.push(char::from(byte));
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err(bad("the path has a % without two hexadecimal digits"));
        };
        let value = u8::try_from(high << 4 | low).unwrap_or(0);
        match value {
            b'/' | b'\\' => return Err(bad("the path has an encoded slash or backslash, which servers read differently")),
            0..=0x1f | 0x7f => return Err(bad("the path has an encoded control character")),
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => text.push(char::from(value)),
            _ => {
                text.push('%');
                let digits = [value >> 4, value & 15].map(|digit| char::from_digit(digit.into(), 16));
                text.extend(digits.into_iter().flatten().map(|digit| digit.to_ascii_uppercase()));
            }
        }
    }
    Ok(text)
}

/// RFC 3986 §5.2.4, but a path that climbs above the root is refused.
fn remove_dot_segments(path: &str) -> Result<String, RequestFault> {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." if kept.pop().is_some() => {}
            ".." => return Err(bad("the path climbs above its root")),
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    Ok(kept.iter().flat_map(|segment| ["/", segment]).collect())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::normalise;

    #[test]
    fn paths_get_one_normal_form() {
        for (path, normal) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a%2Db", "/a-b"),
            ("/%7euser", "/~user"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/.", "/a/"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("/.hidden/..x", "/.hidden/..x"),
            ("/a//b", "/a//b"),
            ("/a%3fb%c3%a9", "/a%3Fb%C3%A9"),
            ("/a%252fb", "/a%252fb"),
            ("/a;x=1/b", "/a;x=1/b"),
        ] {
            assert_eq!(normalise(path).unwrap().as_deref().unwrap_or(path), normal, "{path}");
        }
    }

    #[test]
    fn a_normal_form_is_its_own_normal_form() {
        for path in ["/a/%2e%2E/b", "/a%3fb", "/a/./b/", "/a%252e%252e/"] {
            let once = normalise(path).unwrap().unwrap_or_else(|| path.to_owned());
            assert_eq!(normalise(&once).unwrap(), None, "{path}");
        }
    }

    #[test]
    fn paths_that_servers_read_differently_are_refused() {
        for path in [
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/a%00",
            "/a%0a",
            "/a%",
            "/a%2",
            "/a%zz",
            "/..",
            "/a/../../b",
            "/%2e%2e/",
            "/a\u{e9}",
            "/a#b",
        ] {
            assert!(normalise(path).is_err(), "{path}");
        }
    }
}
