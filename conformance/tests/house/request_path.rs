//! Nothing on the path of a request may panic: no `unwrap`, `expect`, `panic!` and the like, no indexing or slicing that can
//! be out of bounds, in the shipped code of `proxy` and `proxy/model`. One request must never end its core's others.
//!
//! Macro arguments are tokens, not expressions, to the parser; they are searched too (`tokio::select!` holds much code).

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::code::{attributes, only_tests, parse};
use crate::tree::{File, Tree};
use crate::{finds, none};

const PATHS: [&str; 2] = ["proxy/src/", "proxy/model/src/"];
const METHODS: [&str; 5] = ["unwrap", "expect", "unwrap_err", "expect_err", "unwrap_unchecked"];
const MACROS: [&str; 7] = ["panic", "unreachable", "todo", "unimplemented", "assert", "assert_eq", "assert_ne"];

/// Words before a bracket that begin a list or a pattern, not an index.
const KEYWORDS: [&str; 14] =
    ["let", "in", "return", "match", "if", "else", "mut", "ref", "for", "dyn", "as", "break", "where", "const"];

fn panics(tree: &Tree) -> Vec<String> {
    let shipped = tree.rust().filter(|file| PATHS.iter().any(|path| file.path.starts_with(path)) && !file.is_test());
    let mut breaches = Vec::new();
    for file in shipped {
        Panics { file, breaches: &mut breaches }.visit_file(&parse(file));
    }
    breaches
}

struct Panics<'a> {
    file: &'a File,
    breaches: &'a mut Vec<String>,
}

impl Panics<'_> {
    fn found(&mut self, line: usize, what: &str) {
        self.breaches.push(format!("{}:{line}: {what} can panic on the path of a request", self.file.path));
    }

    /// Searches a macro's arguments.
    fn tokens(&mut self, tokens: &TokenStream) {
        let trees: Vec<TokenTree> = tokens.clone().into_iter().collect();
        for (at, tree) in trees.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| trees.get(at));
            let lifetime = at.checked_sub(2).and_then(|at| trees.get(at)).is_some_and(|tree| is(tree, '\''));
            let after = trees.get(at + 1);
            match tree {
                TokenTree::Ident(ident) if before.is_some_and(|b| is(b, '.')) => {
                    let name = ident.to_string();
                    if METHODS.contains(&name.as_str()) && after.is_some_and(|a| matches!(a, TokenTree::Group(_))) {
                        self.found(ident.span().start().line, &format!(".{name}()"));
                    }
                }
                TokenTree::Ident(ident) if after.is_some_and(|a| is(a, '!')) => {
                    let name = ident.to_string();
                    if MACROS.contains(&name.as_str()) {
                        self.found(ident.span().start().line, &format!("{name}!"));
                    }
                }
                TokenTree::Group(group) => {
                    let full_range = group.stream().to_string() == "..";
                    let index = group.delimiter() == Delimiter::Bracket && !lifetime && !full_range;
                    if index && before.is_some_and(indexable) {
                        self.found(group.span_open().start().line, "indexing");
                    }
                    self.tokens(&group.stream());
                }
                _ => {}
            }
        }
    }
}

fn is(tree: &TokenTree, character: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == character)
}

/// Whether a bracket after this token is an index.
fn indexable(tree: &TokenTree) -> bool {
    match tree {
        TokenTree::Ident(ident) => !KEYWORDS.contains(&ident.to_string().as_str()),
        TokenTree::Group(group) => matches!(group.delimiter(), Delimiter::Parenthesis | Delimiter::Bracket),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Panics<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !only_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }
    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !only_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        if METHODS.contains(&name.as_str()) {
            self.found(call.method.span().start().line, &format!(".{name}()"));
        }
        visit::visit_expr_method_call(self, call);
    }
    fn visit_expr_index(&mut self, index: &'ast syn::ExprIndex) {
        let all = matches!(&*index.index, syn::Expr::Range(range) if range.start.is_none() && range.end.is_none());
        if !all {
            self.found(index.span().start().line, "indexing");
        }
        visit::visit_expr_index(self, index);
    }
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if MACROS.contains(&name.as_str()) {
            self.found(call.span().start().line, &format!("{name}!"));
        }
        self.tokens(&call.tokens);
    }
}

#[test]
fn nothing_panics_on_the_path_of_a_request() {
    none("request path", &panics(&Tree::repository()));
}

#[test]
fn what_can_panic_is_found() {
    let bad = "
        fn f(x: &[u8], m: M) -> u8 {
            m.get(1).unwrap();
            m.get(2).expect(\"two\");
            let _ = &x[1..];
            select! { a = m.unwrap() => x[0], }
            if x.is_empty() { unreachable!() }
            x[0]
        }";
    finds(&panics(&Tree::sample(&[("proxy/src/a.rs", bad)])), 7);
    finds(&panics(&Tree::sample(&[("controller/src/a.rs", bad), ("proxy/src/x/tests.rs", bad)])), 0);
}

#[test]
fn what_cannot_panic_is_let_be() {
    let good = "
        fn f<'a>(x: &'a [u8]) -> Option<&'a [u8]> {
            let [a, b] = [1_u8, 2];
            let _ = &x[..];
            let all = vec![a, b];
            debug!(list = ?[a], \"{}\", all.first().unwrap_or(&0));
            matches!(x, [1, ..]).then(|| x.get(1..))?
        }
        #[cfg(test)]
        mod tests { fn t() { None::<u8>.unwrap(); } }";
    finds(&panics(&Tree::sample(&[("proxy/model/src/a.rs", good)])), 0);
}
