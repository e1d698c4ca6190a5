//! YAML: the one file that knows the parser. Text to documents, documents to plain values, field paths to lines.
//!
//! A document becomes a `serde_json::Value` first, as `kubectl` does it: what is a number there is a number here, so an
//! annotation without quotes that isn't a string is refused here as the API server refuses it. Depth, aliases and nodes are
//! bounded by the parser's budget. Called by the file source and, for lines, by `check`.

use serde_json::Value;
use serde_saphyr::granit_parser::{Event, Parser};

/// Why a document can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Line in the file, from 1.
    pub line: u32,
    /// Column, from 1; 0 where it isn't known.
    pub column: u32,
    /// What is wrong with it.
    pub message: String,
}

/// The documents of a file, each with the line that it begins on.
///
/// `---` and `...` at the start of a line end a document wherever they stand, even in block scalars (YAML 1.2 §9.1.2), so
/// that a broken document doesn't hide where the next one begins.
pub fn documents(text: &str) -> Vec<(u32, &str)> {
    let mut found = Vec::new();
    let (mut start, mut start_line, mut offset) = (0, 1, 0);
    for (line, content) in (1u32..).zip(text.split_inclusive('\n')) {
        let word = content.trim_end();
        let end = word == "..." || word.starts_with("... ");
        if word == "---" || word.starts_with("--- ") || end {
            found.push((start_line, text.get(start..offset).unwrap_or_default()));
            (start, start_line) = if end { (offset + content.len(), line + 1) } else { (offset, line) };
        }
        offset += content.len();
    }
    found.push((start_line, text.get(start..).unwrap_or_default()));
    found.retain(|(_, text)| text.lines().any(|line| !matches!(line.trim(), "" | "---") && !line.trim_start().starts_with('#')));
    found
}

/// How many parser events aliases may repeat in one document. Manifests hardly use aliases; bombs are made of them.
const MOST_ALIASED: usize = 50_000;

/// One document as a plain value; `Null` where there is nothing in it.
pub fn parse(first_line: u32, text: &str) -> Result<Value, Broken> {
    let options = serde_saphyr::options! {
        with_snippet: false,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MOST_ALIASED },
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let location = error.location();
        let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        Broken {
            line: location.map_or(first_line, |at| first_line.saturating_add(number(at.line()).saturating_sub(1))),
            column: location.map_or(0, |at| number(at.column())),
            message: for_users(&error.without_snippet().to_string()).to_owned(),
        }
    })
}

/// The parser's message without the position that it begins or ends with (ours counts in the file, not in the document), and
/// without what it says to programmers.
fn for_users(message: &str) -> &str {
    let head = message.split(" at line ").next().unwrap_or(message);
    let head = head.split(", set DuplicateKeyPolicy").next().unwrap_or(head);
    head.split_once(": ").filter(|(front, _)| front.starts_with("line ")).map_or(head, |(_, rest)| rest)
}

/// Where each field of a document stands.
#[derive(Debug)]
pub struct Lines {
    root: Node,
}

#[derive(Debug)]
struct Node {
    line: u32,
    children: Children,
}

#[derive(Debug)]
enum Children {
    None,
    Fields(Vec<(String, Node)>),
    Items(Vec<Node>),
}

impl Lines {
    /// Reads the positions of a document that [`parse`] takes. Of one that it doesn't, as far as the parser comes.
    pub fn new(first_line: u32, text: &str) -> Self {
        let mut reader = Reader { parser: Parser::new_from_str(text), first_line };
        Self { root: reader.next_node().unwrap_or(Node { line: first_line, children: Children::None }) }
    }

    /// The line of a field, or of the nearest field above it that is there.
    ///
    /// Paths are written as faults write them: `spec.rules[0].http`, `metadata.annotations["a.b/c"]`.
    pub fn of(&self, field: &str) -> u32 {
        let (mut node, mut line) = (&self.root, self.root.line);
        for step in steps(field) {
            let child = match (&node.children, step) {
                (Children::Fields(fields), Step::Field(name)) => {
                    fields.iter().find(|(key, _)| key == name).map(|(_, child)| child)
                }
                (Children::Items(items), Step::Item(index)) => items.get(index),
                _ => None,
            };
            let Some(child) = child else { break };
            (node, line) = (child, child.line);
        }
        line
    }
}

/// One step of a field path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// `.name` or `["name"]`.
    Field(&'a str),
    /// `[0]`.
    Item(usize),
}

/// The steps of a field path; ends early where it isn't one.
pub fn steps(field: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = field;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if rest.is_empty() {
            return None;
        }
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (inner, after) = bracketed.split_once(']')?;
            rest = after;
            let unquoted = inner.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
            return Some(match unquoted {
                Some(name) => Step::Field(name),
                None => inner.parse().map_or(Step::Field(inner), Step::Item),
            });
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        Some(Step::Field(name))
    })
}

/// Events to nodes. Depth is bounded by the parser and by [`parse`], which has read the document before.
struct Reader<'a> {
    parser: Parser<'a, serde_saphyr::granit_parser::StrInput<'a>>,
    first_line: u32,
}

/// An event that matters for positions.
enum Mark {
    Leaf(String),
    Map,
    List,
    End,
}

impl Reader<'_> {
    fn next_mark(&mut self) -> Option<(Mark, u32)> {
        loop {
            let (event, span) = self.parser.next_event()?.ok()?;
            let line = u32::try_from(span.start.line()).unwrap_or(u32::MAX).max(1) - 1;
            let mark = match event {
                Event::Scalar(text, ..) => Mark::Leaf(text.into_owned()),
                Event::Alias(_) => Mark::Leaf(String::new()),
                Event::MappingStart(..) => Mark::Map,
                Event::SequenceStart(..) => Mark::List,
                Event::MappingEnd | Event::SequenceEnd | Event::StreamEnd => Mark::End,
                _ => continue,
            };
            return Some((mark, self.first_line.saturating_add(line)));
        }
    }

    fn next_node(&mut self) -> Option<Node> {
        let (mark, line) = self.next_mark()?;
        self.node(&mark, line)
    }

    /// The node that an event begins; `None` for an end.
    fn node(&mut self, mark: &Mark, line: u32) -> Option<Node> {
        let children = match mark {
            Mark::Leaf(_) => Children::None,
            Mark::List => Children::Items(std::iter::from_fn(|| self.next_node()).collect()),
            Mark::Map => Children::Fields(std::iter::from_fn(|| self.field()).collect()),
            Mark::End => return None,
        };
        Some(Node { line, children })
    }

    /// A key and its value; the line is the key's.
    fn field(&mut self) -> Option<(String, Node)> {
        let (mark, line) = self.next_mark()?;
        let key = match mark {
            Mark::Leaf(text) => text,
            Mark::End => return None,
            other => {
                self.node(&other, line)?;
                String::new()
            }
        };
        let value = self.next_node()?;
        Some((key, Node { line, children: value.children }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_begin_where_their_marker_stands() {
        let text = "# head\n---\na: 1\n--- # two\nb: |\n  x\n...\nc: 3\n";
        let found: Vec<u32> = documents(text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(found, [2, 4, 8]);
    }

    #[test]
    fn lines_of_fields_and_of_the_nearest_parent() {
        let text = "---\nmetadata:\n  annotations:\n    a.b/c: x\nspec:\n  rules:\n  - host: a\n  - host: b\n    http: {paths: [\n      {path: /}]}\n";
        let lines = Lines::new(11, text);
        assert_eq!(lines.of("metadata.annotations[\"a.b/c\"]"), 14);
        assert_eq!(lines.of("spec.rules[1].host"), 18);
        assert_eq!(lines.of("spec.rules[1].http.paths[0].path"), 20);
        assert_eq!(lines.of("spec.rules[0].http.paths[4]"), 17);
        assert_eq!(lines.of("spec.tls"), 15);
        assert_eq!(lines.of(""), 12);
    }

    #[test]
    fn a_broken_document_names_its_line_in_the_file() {
        let Err(broken) = parse(5, "a: 1\nb: [1, 2\nc: 3\n") else { panic!("an open bracket was taken") };
        assert!((6..=8).contains(&broken.line), "{broken:?}");
        assert!(!broken.message.contains("line"), "{broken:?}");
    }

    #[test]
    fn a_key_that_stands_twice_is_named() {
        let Err(broken) = parse(1, "kind: a\nkind: b\n") else { panic!("a key that stands twice was taken") };
        assert!(broken.message.contains("kind") && !broken.message.contains("Policy"), "{broken:?}");
    }

    #[test]
    fn aliases_that_multiply_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let refs = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{refs}]\n"));
        }
        assert!(parse(1, &bomb).is_err());
    }
}
