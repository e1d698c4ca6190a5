//! One request's head on the bytes: its request line and its header lines, strictly, in one pass.
//!
//! [`crate::gate::wire`] calls it for its framing alone; the relay also takes where each part stands, so that a head is
//! read once.

use std::ops::Range;

use http::StatusCode;

use crate::fault::{Kind, RequestFault};
use crate::gate::class::{TARGET, TOKEN, VALUE, class_of};

/// hyper answers a longer target by itself (414), outside the access log.
const TARGET_MAX: usize = 65_534;
/// Longer than every registered method.
const METHOD_MAX: usize = 32;
/// Empty lines that may stand before a request line (RFC 9112 §2.2: some clients send one after a body).
const EMPTY_LINES_MAX: usize = 2;

/// What a head says of its body, and of the connection.
#[derive(Debug, Default)]
pub struct Framing {
    /// `Content-Length`.
    pub length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub chunked: bool,
    /// `Upgrade`, in HTTP/1.1.
    pub upgrade: bool,
}

/// Where a header line stands in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: Range<usize>,
    /// Its value, with the white space around it.
    pub value: Range<usize>,
}

/// Takes where the parts of a head stand. What it was told of a head that isn't whole, or is refused, is void.
pub trait Sink {
    /// A head begins: its method, its target, and whether it is HTTP/1.1, else it is 1.0.
    fn line(&mut self, method: Range<usize>, target: Range<usize>, http_11: bool);
    /// A header line; `name` is the bytes of its name.
    fn field(&mut self, name: &[u8], place: Place);
}

/// Whoever wants the framing alone.
impl Sink for () {
    fn line(&mut self, _method: Range<usize>, _target: Range<usize>, _http_11: bool) {}
    fn field(&mut self, _name: &[u8], _place: Place) {}
}

fn bad(message: &'static str) -> RequestFault {
    RequestFault::new(Kind::BadRequest, message)
}

/// Parses a head of so many bytes and fields at most. `Ok(None)`: it isn't complete, and valid so far.
///
/// # Errors
/// What is wrong with it, with the status that answers it.
pub fn parse(
    bytes: &[u8],
    most_bytes: usize,
    most_headers: usize,
    sink: &mut impl Sink,
) -> Result<Option<(usize, Framing)>, RequestFault> {
    let window = bytes.get(..most_bytes).unwrap_or(bytes);
    let partial = || match bytes.len() > most_bytes {
        true => Err(RequestFault::new(
            Kind::HeadTooLarge,
            "the request's head is larger than the limit; send fewer or shorter header fields",
        )),
        false => Ok(None),
    };
    let mut at = Cursor { bytes: window, position: 0 };
    let Some(http_11) = request_line(&mut at, sink)? else { return partial() };
    let mut framing = Framing::default();
    for _ in 0..=most_headers {
        match field(&mut at, &mut framing, http_11, sink)? {
            Field::Partial => return partial(),
            Field::Value => {}
            Field::End => {
                if framing.chunked && framing.length.is_some() {
                    return Err(bad("the request has both Content-Length and Transfer-Encoding"));
                }
                return Ok(Some((at.position, framing)));
            }
        }
    }
    Err(RequestFault::new(Kind::HeadTooLarge, "the request has more header fields than the limit"))
}

/// A place in the bytes of a head.
struct Cursor<'b> {
    bytes: &'b [u8],
    position: usize,
}

impl<'b> Cursor<'b> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    /// The bytes of a class from here on; `None` when they run out before another byte stands.
    fn run(&mut self, class: u8) -> Option<&'b [u8]> {
        let rest = self.bytes.get(self.position..)?;
        let length = rest.iter().position(|byte| class_of(*byte) & class == 0)?;
        self.position += length;
        rest.get(..length)
    }

    /// Takes CRLF. `None`: not enough bytes. `Some(false)`: something else stands here.
    fn line_end(&mut self) -> Option<bool> {
        match self.bytes.get(self.position..)? {
            [b'\r', b'\n', ..] => {
                self.position += 2;
                Some(true)
            }
            [] | [b'\r'] => None,
            _ => Some(false),
        }
    }
}

/// The request line. `Ok(None)`: not complete. Otherwise whether the version is 1.1, else it is 1.0.
fn request_line(at: &mut Cursor<'_>, sink: &mut impl Sink) -> Result<Option<bool>, RequestFault> {
    for _ in 0..EMPTY_LINES_MAX {
        match at.peek() {
            Some(b'\r') => match at.line_end() {
                Some(true) => {}
                Some(false) => return Err(bad("a carriage return stands alone before the request line")),
                None => return Ok(None),
            },
            _ => break,
        }
    }
    let start = at.position;
    let Some(method) = at.run(TOKEN) else {
        return if at.bytes.len() - start > METHOD_MAX { Err(bad("the method is too long")) } else { Ok(None) };
    };
    if method.is_empty() || method.len() > METHOD_MAX || at.peek() != Some(b' ') {
        return Err(bad("the request line doesn't begin with a method and one space"));
    }
    let method_at = start..at.position;
    at.position += 1;
    let target_from = at.position;
    let Some(target) = at.run(TARGET) else {
        return if at.bytes.len() > TARGET_MAX { Err(too_long()) } else { Ok(None) };
    };
    check_target(method, target)?;
    let target_at = target_from..at.position;
    match at.peek() {
        Some(b' ') => at.position += 1,
        Some(b'\r' | b'\n') => return Err(bad("the request line has no HTTP version")),
        _ => return Err(bad("the request target has a character that isn't allowed in it")),
    }
    let http_11 = version(at)?;
    if let Some(http_11) = http_11 {
        sink.line(method_at, target_at, http_11);
    }
    Ok(http_11)
}

fn too_long() -> RequestFault {
    RequestFault::new(Kind::HeadTooLarge, "the request target is too long").status(StatusCode::URI_TOO_LONG)
}

/// The four forms of RFC 9112 §3.2; authority form is for CONNECT alone.
fn check_target(method: &[u8], target: &[u8]) -> Result<(), RequestFault> {
    if method == b"CONNECT" {
        return Err(RequestFault::new(Kind::MethodNotAllowed, "CONNECT isn't served here"));
    }
    if target.len() > TARGET_MAX {
        return Err(too_long());
    }
    match target {
        [b'/', ..] => Ok(()),
        b"*" if method == b"OPTIONS" => Ok(()),
        b"*" => Err(bad("the target * is for OPTIONS alone")),
        _ => match http::Uri::try_from(target) {
            Ok(uri) if uri.scheme().is_some() && uri.authority().is_some() => Ok(()),
            _ => Err(bad("the request target is neither a path nor an absolute URI")),
        },
    }
}

fn version(at: &mut Cursor<'_>) -> Result<Option<bool>, RequestFault> {
    let rest = at.bytes.get(at.position..).unwrap_or_default();
    let http_11 = match rest.get(..10) {
        Some(b"HTTP/1.1\r\n") => true,
        Some(b"HTTP/1.0\r\n") => false,
        Some(other) => return Err(bad_version(other)),
        // Another version is refused only when all of it is here: what it is decides how.
        None if rest.iter().zip(b"HTTP/0.0\r\n").all(|(byte, form)| byte == form || (*form == b'0' && byte.is_ascii_digit())) => {
            return Ok(None);
        }
        None => return Err(bad_version(rest)),
    };
    at.position += 10;
    Ok(Some(http_11))
}

fn bad_version(text: &[u8]) -> RequestFault {
    match text {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0' | b'1', b'\n', ..] => bad("a line ends in a bare line feed"),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor, b'\r', ..] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            RequestFault::new(Kind::BadVersion, "only HTTP/1.0, HTTP/1.1 and HTTP/2 are spoken here")
        }
        _ => bad("the request line doesn't end in an HTTP version"),
    }
}

enum Field {
    Partial,
    Value,
    End,
}

/// One header line, or the empty one that ends the head.
fn field(at: &mut Cursor<'_>, framing: &mut Framing, http_11: bool, sink: &mut impl Sink) -> Result<Field, RequestFault> {
    match at.peek() {
        None => return Ok(Field::Partial),
        Some(b'\r') => {
            return match at.line_end() {
                Some(true) => Ok(Field::End),
                Some(false) => Err(bad("a carriage return stands alone in the request's head")),
                None => Ok(Field::Partial),
            };
        }
        Some(b' ' | b'\t') => return Err(bad("a header line is folded (RFC 9112 §5.2)")),
        Some(b'\n') => return Err(bad("a line ends in a bare line feed")),
        Some(_) => {}
    }
    let from = at.position;
    let Some(name) = at.run(TOKEN) else { return Ok(Field::Partial) };
    let name_at = from..at.position;
    match at.peek() {
        Some(b':') if !name.is_empty() => at.position += 1,
        Some(b' ' | b'\t') => return Err(bad("a space stands between a header's name and its colon")),
        _ => return Err(bad("a header's name is empty or has a character that isn't allowed in it")),
    }
    let from = at.position;
    let Some(value) = at.run(VALUE) else { return Ok(Field::Partial) };
    let value_at = from..at.position;
    match at.line_end() {
        None => return Ok(Field::Partial),
        Some(true) => {}
        Some(false) if at.peek() == Some(b'\n') => return Err(bad("a line ends in a bare line feed")),
        Some(false) => return Err(bad("a header's value has a control character")),
    }
    match name.len() {
        14 if name.eq_ignore_ascii_case(b"content-length") => content_length(value, framing)?,
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => transfer_encoding(value, framing, http_11)?,
        7 if name.eq_ignore_ascii_case(b"upgrade") => framing.upgrade = http_11,
        _ => {}
    }
    sink.field(name, Place { name: name_at, value: value_at });
    Ok(Field::Value)
}

fn content_length(value: &[u8], framing: &mut Framing) -> Result<(), RequestFault> {
    let digits = value.trim_ascii();
    if framing.length.is_some() {
        return Err(bad("the request has more than one Content-Length"));
    }
    // 18 digits fit in 64 bits with room to add.
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(bad("Content-Length isn't one number"));
    }
    framing.length = Some(digits.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')));
    Ok(())
}

fn transfer_encoding(value: &[u8], framing: &mut Framing, http_11: bool) -> Result<(), RequestFault> {
    if !http_11 {
        return Err(bad("Transfer-Encoding in an HTTP/1.0 request"));
    }
    if framing.chunked {
        return Err(bad("the request has more than one Transfer-Encoding"));
    }
    let value = value.trim_ascii();
    if value.eq_ignore_ascii_case(b"chunked") {
        framing.chunked = true;
        return Ok(());
    }
    let last = value.rsplit(|byte| *byte == b',').next().unwrap_or_default().trim_ascii();
    let twice =
        value.split(|byte| *byte == b',').filter(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked")).count() > 1;
    if last.eq_ignore_ascii_case(b"chunked") && !twice {
        return Err(bad("the only transfer coding understood here is chunked").status(StatusCode::NOT_IMPLEMENTED));
    }
    Err(bad("the last transfer coding isn't chunked, or it is named twice"))
}
