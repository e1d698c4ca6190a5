//! A response's head: an endpoint's, read and written for the client in one pass, and our own answers.

use std::cell::RefCell;
use std::io::Write;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{SystemTime, UNIX_EPOCH};

use http::header::HeaderName;
use http::{Response, StatusCode, header};
use http_body::Body as _;
use httparse::{Header, ParserConfig, Status};

use super::download::Download;
use super::towards::line;
use crate::body::Body;
use crate::gate::chunked::Chunked;
use crate::headers::{self, Kind};
use crate::observe::http_date;

/// Fields of a response's head; hyper's client has the same limit.
const FIELDS: usize = 100;

/// What the form of a response depends on, beside the response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    /// The request is a HEAD.
    pub(super) head: bool,
    /// The client's connection ends with this response.
    pub(super) close: bool,
}

/// What a response's head says.
#[derive(Debug)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// Bytes of the head.
    pub(super) length: usize,
    /// The body, as it comes.
    pub(super) body: Download,
    /// Whether the endpoint's connection may carry another request afterwards.
    pub(super) keep: bool,
}

/// What there is at the beginning of what an endpoint sent.
#[derive(Debug)]
pub(super) enum Found {
    /// A part of a head.
    Partial,
    /// An interim response of so many bytes; nothing was written.
    Interim(usize),
    /// The endpoint switches protocols, which nobody asked for.
    Switch,
    /// A head. It was written as the client gets it.
    Head(Answer),
}

/// What a head says of the body.
#[derive(Default)]
struct Framing {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    date: bool,
    nominated: Vec<HeaderName>,
}

/// Reads an endpoint's head and writes it for the client.
///
/// # Errors
/// What isn't HTTP in it.
pub(super) fn read(bytes: &[u8], asked: Asked, out: &mut Vec<u8>) -> Result<Found, String> {
    let mut fields = [const { MaybeUninit::<Header<'_>>::uninit() }; FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    let length = match parsed.map_err(|error| error.to_string())? {
        Status::Complete(length) => length,
        Status::Partial => return Ok(Found::Partial),
    };
    let status = response.code.unwrap_or_default();
    match status {
        101 => return Ok(Found::Switch),
        100..=199 => return Ok(Found::Interim(length)),
        200.. => {}
        _ => return Err(format!("the status {status}")),
    }
    let framing = framing(response.headers)?;
    let empty = asked.head || matches!(status, 204 | 304);
    let body = match &framing {
        _ if empty => Download::None,
        Framing { chunked: true, .. } => Download::Chunked(Chunked::of_endpoint()),
        Framing { length: Some(length), .. } => Download::length(*length),
        _ => Download::Close,
    };
    let http_11 = response.version == Some(1);
    let keep = !matches!(body, Download::Close) && !framing.close && (http_11 || framing.keep_alive);
    out.clear();
    status_line(out, status, response.reason.unwrap_or_default().as_bytes());
    for field in response.headers.iter().filter(|field| passes(field, &framing)) {
        line(out, field.name.as_bytes(), field.value);
    }
    // A length beside chunked framing is the endpoint's mistake (RFC 9112 §6.3), and 204 has none.
    if let Some(length) = framing.length.filter(|_| !framing.chunked && status != 204) {
        number(out, b"content-length", length);
    }
    if matches!(body, Download::Chunked(_) | Download::Close) {
        line(out, b"transfer-encoding", b"chunked");
    }
    finish(out, framing.date, asked.close);
    Ok(Found::Head(Answer { status, length, body, keep }))
}

/// Looks at the fields that frame the body or belong to one hop.
fn framing(fields: &[Header<'_>]) -> Result<Framing, String> {
    let mut framing = Framing::default();
    let mut connection = false;
    for field in fields {
        match Kind::of(field.name.as_bytes()) {
            Kind::Length => {
                let length = length(field.value).ok_or("a Content-Length that isn't one number")?;
                if framing.length.replace(length).is_some_and(|other| other != length) {
                    return Err("two Content-Lengths that differ".into());
                }
            }
            Kind::TransferEncoding if field.value.trim_ascii().eq_ignore_ascii_case(b"chunked") && !framing.chunked => {
                framing.chunked = true;
            }
            Kind::TransferEncoding => return Err("a transfer coding other than chunked".into()),
            Kind::Connection => {
                connection = true;
                for word in field.value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                    framing.close |= word.eq_ignore_ascii_case(b"close");
                    framing.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            Kind::Date => framing.date = true,
            _ => {}
        }
    }
    if connection {
        let values = fields.iter().filter(|field| Kind::of(field.name.as_bytes()) == Kind::Connection);
        framing.nominated = headers::nominated(values.map(|field| field.value));
    }
    Ok(framing)
}

/// A length; a list of equal ones is one (RFC 9110 §8.6).
fn length(value: &[u8]) -> Option<u64> {
    let mut all = value.split(|byte| *byte == b',').map(|one| {
        let digits = one.trim_ascii();
        let holds = (1..=18).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
        holds.then(|| digits.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
    });
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

/// Whether a field of the endpoint's goes to the client as it is.
fn passes(field: &Header<'_>, framing: &Framing) -> bool {
    let kind = Kind::of(field.name.as_bytes());
    let named = |name: &HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
    !kind.one_hop() && kind != Kind::Length && !framing.nominated.iter().any(named)
}

fn status_line(out: &mut Vec<u8>, status: u16, reason: &[u8]) {
    // Writing to a Vec can't fail.
    let _ = write!(out, "HTTP/1.1 {status} ");
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
}

fn number(out: &mut Vec<u8>, name: &[u8], number: u64) {
    out.extend_from_slice(name);
    let _ = write!(out, ": {number}\r\n");
}

/// The end of a head: a date where there is none, and whether the connection ends.
fn finish(out: &mut Vec<u8>, date: bool, close: bool) {
    if !date {
        out.extend_from_slice(b"date: ");
        write_date(out);
        out.extend_from_slice(b"\r\n");
    }
    if close {
        line(out, b"connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
}

/// The date in HTTP's form, made once a second.
fn write_date(out: &mut Vec<u8>) {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now {
            (*second, *text) = (now, http_date(now));
        }
        out.extend_from_slice(text.as_bytes());
    });
}

/// Writes an answer of ours, whose body lies in it whole. How many bytes of body it has.
pub(super) fn ours(out: &mut Vec<u8>, response: Response<Body>, asked: Asked) -> u64 {
    let (parts, mut body) = response.into_parts();
    let mut bytes = Vec::new();
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
        bytes.extend_from_slice(frame.data_ref().map(|data| &**data).unwrap_or_default());
    }
    out.clear();
    status_line(out, parts.status.as_u16(), parts.status.canonical_reason().unwrap_or_default().as_bytes());
    for (name, value) in &parts.headers {
        line(out, name.as_str().as_bytes(), value.as_bytes());
    }
    if !parts.headers.contains_key(header::CONTENT_LENGTH) && parts.status != StatusCode::NO_CONTENT {
        number(out, b"content-length", bytes.len() as u64);
    }
    finish(out, parts.headers.contains_key(header::DATE), asked.close);
    if asked.head {
        return 0;
    }
    out.extend_from_slice(&bytes);
    bytes.len() as u64
}
