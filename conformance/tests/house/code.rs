//! What the rules share in reading Rust: parsing, and telling test code from shipped code.

use syn::{Attribute, Item, Meta};

use crate::tree::File;

/// A file's syntax tree.
pub fn parse(file: &File) -> syn::File {
    syn::parse_file(&file.text).unwrap_or_else(|error| {
        let at = error.span().start();
        panic!("{}:{}: can't be parsed: {error}", file.path, at.line)
    })
}

/// Whether attributes keep an item to tests: `#[cfg(test)]`, `#[test]`, `#[tokio::test]`.
pub fn only_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string().trim() == "test",
        meta => meta.path().segments.last().is_some_and(|segment| segment.ident == "test"),
    })
}

/// An item's attributes.
pub fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
