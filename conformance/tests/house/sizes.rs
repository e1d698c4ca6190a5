//! Files of at most 400 lines, functions of at most 60, a `//!` head in every file, no unsafe code.
//!
//! Test files and `#[cfg(test)]` modules may hold longer functions, and test files more lines: a table of cases is long and
//! easy to read. A shipped file that is a table of uniform items may stand in [`TABLES`] with the reason.

use syn::visit::{self, Visit};

use crate::code::{attributes, only_tests, parse};
use crate::tree::{File, Tree};
use crate::{finds, none};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;

/// Shipped files that may be longer: path and reason.
const TABLES: [(&str, &str); 1] =
    [("controller/translate/src/gateway/types/httproute.rs", "generated from a CRD by `generate` beside it")];

/// Crate roots that may hold unsafe code: path and reason.
const UNSAFE: [(&str, &str); 0] = [];

fn sizes(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.rust().filter(|file| !file.is_test()) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES && !TABLES.iter().any(|(path, _)| *path == file.path) {
            breaches
                .push(format!("{}: {lines} lines, at most {FILE_LINES}; split where a second subject lives in it", file.path));
        }
        let mut scan = Functions { file, breaches: &mut breaches };
        scan.visit_file(&parse(file));
    }
    breaches
}

struct Functions<'a> {
    file: &'a File,
    breaches: &'a mut Vec<String>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let (first, last) = (signature.fn_token.span.start().line, body.brace_token.span.close().end().line);
        let lines = last + 1 - first;
        if lines > FUNCTION_LINES {
            let (path, name) = (&self.file.path, &signature.ident);
            self.breaches.push(format!("{path}:{first}: fn {name} has {lines} lines, at most {FUNCTION_LINES}"));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        if !only_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }
    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.measure(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }
    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.measure(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

fn heads(tree: &Tree) -> Vec<String> {
    let headless = tree.rust().filter(|file| !file.text.starts_with("//! "));
    headless.map(|file| format!("{}:1: begin with `//!`: what the file is, why, and who calls it", file.path)).collect()
}

fn forbid_unsafe(tree: &Tree) -> Vec<String> {
    let roots = tree.rust().filter(|file| file.path.ends_with("src/lib.rs") || file.path.ends_with("src/main.rs"));
    let exempt = |file: &File| UNSAFE.iter().any(|(path, _)| *path == file.path);
    let open = roots.filter(|file| !exempt(file) && !file.text.contains("#![forbid(unsafe_code)]"));
    open.map(|file| format!("{}: #![forbid(unsafe_code)] is missing", file.path)).collect()
}

#[test]
fn files_and_functions_are_short() {
    none("sizes", &sizes(&Tree::repository()));
}

#[test]
fn files_begin_with_what_they_are() {
    none("heads", &heads(&Tree::repository()));
}

#[test]
fn unsafe_code_is_forbidden() {
    none("unsafe", &forbid_unsafe(&Tree::repository()));
}

#[test]
fn exceptions_name_files_that_exist() {
    let tree = Tree::repository();
    for (path, reason) in TABLES.iter().chain(&UNSAFE) {
        assert!(tree.file(path).is_some(), "{path} is excepted ({reason}) and is gone");
    }
}

#[test]
fn long_files_and_functions_are_found() {
    let long = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(59));
    let table = "//! T.\n".repeat(401);
    let method = format!("struct S;\nimpl S {{\n{long}}}\n#[cfg(test)]\nmod tests {{\n{long}}}\n");
    let exact = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(58));
    let samples = [("proxy/src/a.rs", long.as_str()), ("proxy/src/b.rs", &table), ("proxy/src/c.rs", &method)];
    finds(&sizes(&Tree::sample(&samples)), 3);
    finds(&sizes(&Tree::sample(&[("proxy/src/a.rs", &exact), ("proxy/tests/b.rs", &long), ("proxy/src/x/tests.rs", &table)])), 0);
}

#[test]
fn missing_heads_and_open_crates_are_found() {
    let tree = Tree::sample(&[("a/src/lib.rs", "use x;\n//! late\n"), ("a/src/main.rs", "//! Head.\n#![forbid(unsafe_code)]\n")]);
    finds(&heads(&tree), 1);
    finds(&forbid_unsafe(&tree), 1);
}
