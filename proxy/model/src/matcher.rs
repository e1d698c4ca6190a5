//! Matching one request against one match, with its regular expressions compiled.
//!
//! A regular expression that doesn't compile matches nothing; translation refuses it with a fault before it gets here.

use regex::{Regex, RegexBuilder, bytes};

use crate::head::RequestHead;
use crate::route::{PathMatch, RouteMatch, TextMatch, ValueMatch};

/// Largest compiled size of one regular expression, in bytes: bounds memory and compile time (linear matching anyway).
const REGEX_SIZE_LIMIT: usize = 256 << 10;

/// Compiles a regular expression over a whole text.
pub fn compile_regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(REGEX_SIZE_LIMIT).build()
}

fn compile_bytes(pattern: &str) -> Result<bytes::Regex, regex::Error> {
    bytes::RegexBuilder::new(&format!(r"\A(?:{pattern})\z")).size_limit(REGEX_SIZE_LIMIT).build()
}

/// The elements of a prefix: without its trailing slash; empty for `/`.
pub fn prefix_stem(prefix: &str) -> &str {
    prefix.strip_suffix('/').unwrap_or(prefix)
}

/// Whether a path lies under a prefix, element by element.
pub fn under_prefix(path: &str, prefix: &str) -> bool {
    let stem = prefix_stem(prefix);
    path.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What stands after the last `/` of a path.
pub(crate) fn last_element(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(_, last)| last)
}

/// A [`PathMatch`] ready to be asked.
#[derive(Debug)]
pub(crate) enum PathMatcher {
    Exact(crate::Name),
    Prefix(crate::Name),
    Regex(Regex),
    LastElement(crate::Name),
}

impl PathMatcher {
    pub(crate) fn new(path: &PathMatch) -> Option<Self> {
        Some(match path {
            PathMatch::Exact(path) => Self::Exact(path.clone()),
            PathMatch::Prefix(prefix) => Self::Prefix(prefix.clone()),
            PathMatch::Regex(pattern) => Self::Regex(compile_regex(pattern).ok()?),
            PathMatch::LastElement(name) => Self::LastElement(name.clone()),
        })
    }

    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *path,
            Self::Prefix(prefix) => under_prefix(path, prefix),
            Self::Regex(regex) => regex.is_match(path),
            Self::LastElement(name) => last_element(path) == Some(&**name),
        }
    }
}

/// What a match asks beyond the path.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    method: Option<crate::Name>,
    headers: Vec<(crate::Name, TextMatcher)>,
    query: Vec<(crate::Name, TextMatcher)>,
    port: Option<u16>,
}

impl Conditions {
    /// `None` where a regular expression doesn't compile; `Some(None)` where nothing is asked.
    pub(crate) fn new(route: &RouteMatch) -> Option<Option<Box<Self>>> {
        let values = |list: &[ValueMatch]| {
            list.iter().map(|v| Some((v.name.clone(), TextMatcher::new(&v.value)?))).collect::<Option<Vec<_>>>()
        };
        let conditions = Self {
            method: route.method.clone(),
            headers: values(&route.headers)?,
            query: values(&route.query)?,
            port: route.port,
        };
        let asks = route.method.is_some() || route.port.is_some() || !route.headers.is_empty() || !route.query.is_empty();
        Some(asks.then(|| Box::new(conditions)))
    }

    pub(crate) fn hold<H: RequestHead>(&self, head: &H) -> bool {
        self.method.as_deref().is_none_or(|method| method == head.method())
            && self.port.is_none_or(|port| port == head.port())
            && self.headers.iter().all(|(name, text)| head.header(name).is_some_and(|value| text.matches(&value)))
            && self.query.iter().all(|(name, text)| query_value(head.query(), name).is_some_and(|value| text.matches(value)))
    }
}

/// The first value of a query parameter, as sent (not percent-decoded).
fn query_value<'q>(query: Option<&'q str>, name: &str) -> Option<&'q [u8]> {
    let pairs = query?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_bytes())
}

#[derive(Debug)]
enum TextMatcher {
    Exact(crate::Name),
    Regex(bytes::Regex),
}

impl TextMatcher {
    fn new(text: &TextMatch) -> Option<Self> {
        Some(match text {
            TextMatch::Exact(text) => Self::Exact(text.clone()),
            TextMatch::Regex(pattern) => Self::Regex(compile_bytes(pattern).ok()?),
        })
    }

    fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => text.as_bytes() == value,
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// Whether a match takes a request. Compiles as it goes: the oracle for the index, not for the path of a request.
pub fn matches<H: RequestHead>(route: &RouteMatch, head: &H) -> bool {
    let path = PathMatcher::new(&route.path).is_some_and(|path| path.matches(head.path()));
    path && Conditions::new(route).is_some_and(|conditions| conditions.is_none_or(|c| c.hold(head)))
}
