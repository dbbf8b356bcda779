//! A Rust file as the tidy rules see it: code without comments, texts apart, and the paths that it names.
//!
//! It reads the way our code is formatted, not every Rust program: unit tests come last in a file, and are left out.

/// A file, taken apart.
pub(super) struct Source {
    /// The path below the package's folder, with `/`.
    pub(super) path: String,
    /// The code: comments are gone, and of each literal only its quotes are left.
    pub(super) code: String,
    /// The string literals, as they are written, each with its line.
    pub(super) literals: Vec<(usize, String)>,
}

impl Source {
    pub(super) fn new(path: &str, text: &str) -> Self {
        let text = text.split_once("\n#[cfg(test)]\nmod tests").map_or(text, |(before, _)| before);
        let mut source = Self { path: path.to_owned(), code: String::new(), literals: Vec::new() };
        let (mut rest, mut line) = (text, 1);
        while let Some(first) = rest.chars().next() {
            let (token, length) = token(rest);
            match token {
                Token::Comment => source.code.push(' '),
                Token::Literal(content) => {
                    source.literals.push((line, content.to_owned()));
                    source.code.push_str("\"\"");
                }
                Token::Char => source.code.push_str("''"),
                Token::Code => source.code.push(first),
            }
            line += rest[..length].matches('\n').count();
            rest = &rest[length..];
        }
        source
    }

    /// The module's path: `src/queue/sqs.rs` is `queue::sqs`; the crate's own roots have none.
    pub(super) fn module(&self) -> Vec<&str> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        if matches!(inside, "lib" | "main") { Vec::new() } else { inside.split('/').collect() }
    }

    /// Every path into this crate, from its root, however it is spelled: `crate::…`, `super::…`, in groups or inline.
    pub(super) fn crate_paths(&self) -> Vec<Vec<String>> {
        let module: Vec<String> = self.module().into_iter().map(str::to_owned).collect();
        let mut paths = Vec::new();
        for root in ["crate::", "turnstile::"] {
            after_each(&self.code, root).for_each(|rest| expand(&[], rest, &mut paths));
        }
        for rest in after_each(&self.code, "super::") {
            let mut above = module.len().saturating_sub(1);
            let mut rest = rest;
            while let Some(further) = rest.strip_prefix("super::") {
                (above, rest) = (above.saturating_sub(1), further);
            }
            expand(&module[..above], rest, &mut paths);
        }
        paths
    }

    /// Every path that begins with this crate or library: `root` is its name.
    pub(super) fn paths_of(&self, root: &str) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        after_each(&self.code, &format!("{root}::")).for_each(|rest| expand(&[root.to_owned()], rest, &mut paths));
        paths
    }

    /// Whether the code holds this word, and not only as a part of another.
    pub(super) fn has_word(&self, word: &str) -> bool {
        holds_word(&self.code, word)
    }
}

/// Whether a text holds a word, and not only as a part of another.
pub(super) fn holds_word(text: &str, word: &str) -> bool {
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(is_of_a_name) && !text[at + word.len()..].starts_with(is_of_a_name))
}

enum Token<'t> {
    Comment,
    Literal(&'t str),
    Char,
    Code,
}

/// The token with which a text begins, and its length in bytes; code comes by single characters.
fn token(text: &str) -> (Token<'_>, usize) {
    if text.starts_with("//") {
        return (Token::Comment, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (Token::Comment, text.find("*/").map_or(text.len(), |end| end + 2));
    }
    if let Some(inside) = text.strip_prefix('"') {
        let length = end_of_literal(inside);
        return (Token::Literal(&inside[..length]), length + 2);
    }
    if let Some(hashes) = text.strip_prefix("r").map(|rest| rest.len() - rest.trim_start_matches('#').len()) {
        let open = format!("r{}\"", "#".repeat(hashes));
        let close = format!("\"{}", "#".repeat(hashes));
        if let Some(inside) = text.strip_prefix(&open) {
            let length = inside.find(&close).unwrap_or(inside.len());
            return (Token::Literal(&inside[..length]), open.len() + length + close.len());
        }
    }
    let mut chars = text.chars();
    if chars.next() == Some('\'') {
        let inside = chars.as_str();
        let skipped = if inside.starts_with('\\') { 2 } else { inside.chars().next().map_or(0, char::len_utf8) };
        // Otherwise it is a lifetime.
        if let Some(length) = inside[skipped..].find('\'').filter(|length| *length == 0 || inside.starts_with('\\')) {
            return (Token::Char, skipped + length + 2);
        }
    }
    (Token::Code, text.chars().next().map_or(0, char::len_utf8))
}

fn end_of_literal(inside: &str) -> usize {
    let mut escaped = false;
    for (at, char) in inside.char_indices() {
        match char {
            '"' if !escaped => return at,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    inside.len().saturating_sub(1)
}

/// What follows each place where a path begins with `root`.
fn after_each<'t>(text: &'t str, root: &'t str) -> impl Iterator<Item = &'t str> {
    text.match_indices(root)
        .filter(|(at, _)| !text[..*at].ends_with(|char| is_of_a_name(char) || char == ':'))
        .map(|(at, _)| &text[at + root.len()..])
}

/// Adds the paths that a use-tree or an inline path spells: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn expand(before: &[String], text: &str, paths: &mut Vec<Vec<String>>) {
    if let Some(group) = text.strip_prefix('{') {
        branches(group).into_iter().for_each(|branch| expand(before, branch.trim(), paths));
        return;
    }
    let name = &text[..text.find(|char| !is_of_a_name(char)).unwrap_or(text.len())];
    let mut path = before.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name.to_owned());
    }
    match text[name.len()..].strip_prefix("::") {
        Some(further) => expand(&path, further, paths),
        None => paths.push(path),
    }
}

/// The branches of a group, whose opening brace is gone, up to its closing one.
fn branches(group: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, char) in group.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if char == '}' && start == at + 1 {
            break;
        }
    }
    found.retain(|branch| !branch.trim().is_empty());
    found
}

fn is_of_a_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

#[test]
fn a_path_is_found_however_it_is_spelled() {
    for (code, expected) in [
        ("use crate::message::MessageId;", &["message::MessageId"] as &[_]),
        (
            "use crate::{load, table::{outbox::{self, Row}, dead_letters}};",
            &["load", "table::outbox", "table::outbox::Row", "table::dead_letters"],
        ),
        ("use super::Queue; use super::super::lane::Lane;", &["queue::Queue", "lane::Lane"]),
        ("fn f() -> Result<crate::load::Committed, ()> { crate::audit::run() }", &["load::Committed", "audit::run"]),
        ("pub(in crate::queue) fn f() {}", &["queue"]),
        (
            "/* crate::a::b */ // crate::c\nlet _ = \"crate::d\"; let q = '\"'; let s: &'static str = r#\"crate::e\"\"#;",
            &[],
        ),
        ("fn f() {}\n#[cfg(test)]\nmod tests { use crate::lane::Lane; }", &[]),
    ] {
        let found: Vec<_> =
            Source::new("src/queue/sqs.rs", code).crate_paths().iter().map(|path| path.join("::")).collect();
        assert_eq!(found, expected, "{code}");
    }
}

#[test]
fn a_literal_is_found_with_its_line_and_without_its_quotes() {
    let source = Source::new("src/a.rs", "let a = 'a';\nlet b = \"b\\\"c\";\nlet d = br#\"d\"e\"#; // \"f\"\n");
    assert_eq!(source.literals, [(2, "b\\\"c".to_owned()), (3, "d\"e".to_owned())]);
}
