//! A request's head as the relay sees it: slices of the bytes that came.

use std::borrow::Cow;
use std::ops::Range;

use http::Method;
use rust_ingress_model::RequestHead;

use crate::gate::request::{Place, Sink};
use crate::headers::Kind;

/// A header line.
#[derive(Debug)]
pub(super) struct Field {
    /// What it is to us.
    pub(super) kind: Kind,
    place: Place,
}

/// Where the parts of a head stand. Kept with the buffers, so that a head costs no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Fields {
    method: Range<usize>,
    target: Range<usize>,
    http_11: bool,
    all: Vec<Field>,
}

impl Sink for Fields {
    fn line(&mut self, method: Range<usize>, target: Range<usize>, http_11: bool) {
        (self.method, self.target, self.http_11) = (method, target, http_11);
        self.all.clear();
    }

    fn field(&mut self, name: &[u8], place: Place) {
        self.all.push(Field { kind: Kind::of(name), place });
    }
}

/// A head: its bytes, and where its parts stand in them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'k> {
    bytes: &'k [u8],
    fields: &'k Fields,
}

impl<'k> Head<'k> {
    /// The head at the beginning of the bytes.
    pub(super) fn new(bytes: &'k [u8], fields: &'k Fields) -> Self {
        Self { bytes, fields }
    }

    fn slice(&self, range: &Range<usize>) -> &'k [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// Whether it is HTTP/1.1.
    pub(super) fn http_11(&self) -> bool {
        self.fields.http_11
    }

    /// The method's bytes.
    pub(super) fn method(&self) -> &'k [u8] {
        self.slice(&self.fields.method)
    }

    /// The method. The wire lets through nothing but tokens.
    pub(super) fn http_method(&self) -> Method {
        Method::from_bytes(self.method()).unwrap_or_default()
    }

    /// The target as sent: path and query. The wire lets through nothing but ASCII.
    pub(super) fn target(&self) -> &'k str {
        std::str::from_utf8(self.slice(&self.fields.target)).unwrap_or_default()
    }

    /// All header lines: what they are to us, their name and their value.
    pub(super) fn fields(self) -> impl Iterator<Item = (Kind, &'k [u8], &'k [u8])> {
        self.fields
            .all
            .iter()
            .map(move |field| (field.kind, self.slice(&field.place.name), self.slice(&field.place.value).trim_ascii()))
    }

    /// The values of a kind of field.
    pub(super) fn values(self, kind: Kind) -> impl Iterator<Item = &'k [u8]> {
        self.fields
            .all
            .iter()
            .filter(move |field| field.kind == kind)
            .map(move |field| self.slice(&field.place.value).trim_ascii())
    }
}

/// A head that the gate has admitted, as the router sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    /// The head.
    pub(super) head: Head<'a>,
    /// The host.
    pub(super) host: &'a str,
    /// The port that the connection came in on.
    pub(super) port: u16,
}

impl RequestHead for View<'_> {
    fn method(&self) -> &str {
        std::str::from_utf8(self.head.method()).unwrap_or_default()
    }
    fn host(&self) -> &str {
        self.host
    }
    fn path(&self) -> &str {
        split(self.head.target()).0
    }
    fn query(&self) -> Option<&str> {
        split(self.head.target()).1
    }
    fn port(&self) -> u16 {
        self.port
    }
    fn header(&self, name: &str) -> Option<Cow<'_, [u8]>> {
        let named = |(_, found, _): &(Kind, &[u8], &[u8])| found.eq_ignore_ascii_case(name.as_bytes());
        let mut values = self.head.fields().filter(named).map(|(_, _, value)| value);
        let first = values.next()?;
        Some(match values.next() {
            None => Cow::Borrowed(first),
            Some(second) => Cow::Owned([first, second].into_iter().chain(values).collect::<Vec<_>>().join(&b","[..])),
        })
    }
}

/// Path and query.
pub(super) fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}
