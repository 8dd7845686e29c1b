//! Whether a query's filters let this node through.
//!
//! A tag's filter is a regular expression as Go's `regexp` has them (RE2). The
//! engine here is linear in time too, and its syntax nearly the same: what
//! differs is rewritten, or refused as Go would. A peer decides what is
//! compiled, so that is bounded: in length, in size, and in number a second.

use std::time::Duration;

use bytes::Bytes;
use regex::bytes::RegexBuilder;

use super::member::Member;
use crate::time::Timestamp;
use crate::wire::gossip::Filter;

/// Bytes of an expression: what fits a query of an agent.
const EXPRESSION_BYTES_MAX: usize = 1_024;
/// Bytes of a compiled expression: many times those of any that a person writes.
const COMPILED_BYTES_MAX: usize = 256 << 10;
/// Groups inside each other.
const NESTING_MAX: u32 = 64;
/// Expressions that are compiled a second: each takes up to some milliseconds.
const COMPILED_MAX: u32 = 16;
const REFILL: Duration = Duration::from_secs(1);

/// How many expressions may still be compiled.
#[derive(Debug)]
pub(super) struct Filters {
    left: u32,
    refilled: Timestamp,
}

impl Filters {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { left: COMPILED_MAX, refilled: now }
    }

    /// Whether all of them let the node of this name through; `None` if there were too many to tell.
    pub(super) fn let_through(
        &mut self,
        now: Timestamp,
        filters: &[Filter],
        name: &Bytes,
        node: &Member,
    ) -> Option<bool> {
        let cheap = |filter: &Filter| match filter {
            Filter::Nodes(names) => names.contains(name),
            Filter::Tag { .. } => true,
            Filter::Other(_) => false,
        };
        if !filters.iter().all(cheap) {
            return Some(false);
        }
        for filter in filters {
            let Filter::Tag { tag, expression } = filter else { continue };
            if now.since(self.refilled) >= REFILL {
                (self.left, self.refilled) = (COMPILED_MAX, now);
            }
            self.left = self.left.checked_sub(1)?;
            let value = std::str::from_utf8(tag).ok().and_then(|tag| node.tags.get(tag));
            if !matches(expression, value.map_or("", String::as_str)) {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// Whether the expression is found anywhere in the value. One that does not compile is in none.
fn matches(expression: &[u8], value: &str) -> bool {
    let expression = std::str::from_utf8(expression).ok().filter(|text| text.len() <= EXPRESSION_BYTES_MAX);
    let Some(pattern) = expression.and_then(translate) else { return false };
    let built = RegexBuilder::new(&pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .nest_limit(NESTING_MAX)
        .octal(true)
        .build();
    built.is_ok_and(|regex| regex.is_match(value.as_bytes()))
}

/// Letters behind a backslash that mean the same here as in Go.
const ESCAPES: &str = "AafnrtvxzpP";

/// The expression as the engine here reads it; `None` if Go would not compile it.
///
/// | in Go | here |
/// |---|---|
/// | `\d \s \w \b` and their opposites are about ASCII | written out |
/// | `\Q...\E` | each character escaped |
/// | in a class, `[`, `&&`, `--` and `~~` are characters | escaped |
/// | `(?x)`, `(?u)` and `(?R)` are none | refused |
fn translate(expression: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = expression;
    let mut class = false;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\\' => rest = escape(rest, class, &mut out)?,
            '[' if class && rest.starts_with(':') => {
                let end = rest.find(":]")? + 2;
                out.push('[');
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            '[' if !class => {
                class = true;
                out.push('[');
                // The first character of a class does not end it.
                for first in ['^', ']'] {
                    if let Some(behind) = rest.strip_prefix(first) {
                        out.push(first);
                        rest = behind;
                    }
                }
            }
            '[' | '&' | '~' if class => out.extend(['\\', next]),
            '-' if class && rest.starts_with('-') => out.push_str("\\-"),
            ']' if class => {
                class = false;
                out.push(']');
            }
            '(' if !class && rest.starts_with('?') => {
                let flags = rest[1..].find([':', ')', '<', '=', '!']).map_or("", |end| &rest[1..=end]);
                if flags.contains(['x', 'u', 'R']) {
                    return None;
                }
                out.push('(');
            }
            _ => out.push(next),
        }
    }
    Some(out)
}

/// What stands behind a backslash; gives what follows it.
fn escape<'a>(rest: &'a str, class: bool, out: &mut String) -> Option<&'a str> {
    let next = rest.chars().next()?;
    let behind = &rest[next.len_utf8()..];
    match next {
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'b' | 'B' if !class => out.extend(["(?-u:\\", if next == 'b' { "b" } else { "B" }, ")"]),
        'Q' if !class => {
            let (literal, behind) = behind.split_once("\\E").unwrap_or((behind, ""));
            out.push_str(&regex::escape(literal));
            return Some(behind);
        }
        _ if next.is_ascii_alphabetic() && !ESCAPES.contains(next) => return None,
        _ => out.extend(['\\', next]),
    }
    Some(behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_as_with_go() {
        for (expression, value, found) in [
            ("", "", true),
            ("web", "a web server", true),
            ("^web$", "web2", false),
            (r"^ip-(\d+-){3}\d+\.eu", "ip-10-0-12-34.eu-west-1", true),
            (r"^\d$", "\u{663}", false),
            (r"^\w+$", "sch\u{f6}n", false),
            ("^.$", "\u{f6}", true),
            ("(?i)^WEB$", "web", true),
            ("(?i)^\u{d6}$", "\u{f6}", true),
            (r"^\pL+$", "sch\u{f6}n", true),
            (r"\bweb\b", "a-web-b", true),
            (r"^\Q1.2.3\E$", "1.2.3", true),
            (r"^\Q1.2.3\E$", "1x2.3", false),
            ("^[[]x]$", "[x]", true),
            ("^[]a]+$", "]a", true),
            ("^[a&&b]+$", "a&b", true),
            (r"^[\d.]+$", "1.2", true),
            ("^[[:alpha:]_]+$", "web_server", true),
            ("^[^[:digit:]]+$", "web1", false),
            (r"\101", "A", true),
            ("a{2,3}", "aa", true),
            ("(?P<name>a)b", "ab", true),
        ] {
            assert_eq!(matches(expression.as_bytes(), value), found, "{expression} in {value:?}");
        }
    }

    #[test]
    fn what_go_does_not_compile_or_what_is_too_large_matches_nothing() {
        let deep = "(".repeat(100) + &")".repeat(100);
        let long = "a".repeat(EXPRESSION_BYTES_MAX + 1);
        for expression in [
            "(",
            "[a",
            "a**b(",
            r"\",
            r"\C",
            r"\y",
            "(?x) a",
            "(?u)a",
            "(?=a)",
            "(?<!a)",
            r"(\pL{1,900}){900}",
            &deep,
            &long,
        ] {
            assert!(!matches(expression.as_bytes(), "aaa"), "{expression}");
        }
        assert!(!matches(&[0xff], "\u{ff}"));
    }

    #[test]
    fn expressions_are_compiled_so_many_a_second_and_names_cost_nothing() {
        let (mut filters, name) = (Filters::new(Timestamp::ZERO), Bytes::from_static(b"n"));
        let node = crate::gossip::tests::member(&[("role", "web")]);
        let tag = |expression: &'static str| Filter::Tag { tag: "role".into(), expression: expression.into() };
        let nodes = |name: &'static str| Filter::Nodes(vec![name.into()]);
        let now = Timestamp::ZERO;
        for _ in 0..COMPILED_MAX * 2 {
            assert_eq!(filters.let_through(now, &[tag("w.b"), nodes("other")], &name, &node), Some(false));
            assert_eq!(filters.let_through(now, &[nodes("n")], &name, &node), Some(true));
        }
        for _ in 0..COMPILED_MAX / 2 {
            assert_eq!(filters.let_through(now, &[tag("^web$")], &name, &node), Some(true));
            assert_eq!(filters.let_through(now, &[nodes("n"), tag("^wob$")], &name, &node), Some(false));
        }
        assert_eq!(filters.let_through(now, &[tag("^web$")], &name, &node), None);
        assert_eq!(filters.let_through(now + REFILL, &[tag("^web$")], &name, &node), Some(true));
    }
}
