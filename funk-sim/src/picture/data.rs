//! What the page's script reads: one JSON object of arrays of numbers, and the story's words.

use std::fmt::Write as _;

use funk_proto::Timestamp;

use super::{Mark, Picture, Show};
use crate::story::{Line, Topic};

/// Bytes of the story in one page: with the picture, a page stays below 3 MB.
const STORY_BYTES_MAX: usize = 2 << 20;
/// Topics of which a page tells first, when not everything fits.
const FIRST_TOPICS: [Topic; 6] =
    [Topic::Check, Topic::Fault, Topic::Process, Topic::State, Topic::Event, Topic::Client];

impl Show {
    /// Its number in the page.
    fn code(self) -> (u32, u32) {
        match self {
            Self::Down => (0, 0),
            Self::Joins => (1, 0),
            Self::Waits => (2, 0),
            Self::Serves(shards) => (3, shards),
            Self::Leaderless => (4, 0),
            Self::Lapsed => (5, 0),
            Self::Stands => (6, 0),
            Self::Gone => (7, 0),
        }
    }
}

impl Mark {
    fn code(self) -> u32 {
        match self {
            Self::Started => 0,
            Self::Killed => 1,
            Self::Ended => 2,
            Self::Refused => 3,
        }
    }
}

/// Microseconds: fine enough for the eye, and short.
fn micros(at: Timestamp) -> u64 {
    at.as_nanos() / 1_000
}

/// A string as JSON that may stand in a script of an HTML page.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => put(&mut out, format_args!("\\u{:04x}", u32::from(letter))),
            letter if letter < ' ' => put(&mut out, format_args!("\\u{:04x}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out.push('"');
    out
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("a string takes all");
}

fn array(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

fn numbers<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    array(items.into_iter().map(|item| item.to_string()))
}

/// The picture as JSON.
pub(super) fn picture(picture: &Picture) -> String {
    let lanes = picture.lanes.iter().map(|lane| {
        let spans = lane.spans.iter().filter(|span| span.to > span.from).flat_map(|span| {
            let (code, shards) = span.show.code();
            [micros(span.from), micros(span.to), code.into(), shards.into()]
        });
        let leads = lane.leads.iter().flat_map(|lead| [micros(lead.from), micros(lead.to), lead.term]);
        let marks = lane.marks.iter().flat_map(|(at, mark)| [micros(*at), mark.code().into()]);
        let (spans, leads, marks) = (numbers(spans), numbers(leads), numbers(marks));
        format!("{{\"name\":{},\"spans\":{spans},\"leads\":{leads},\"marks\":{marks}}}", text(&lane.name))
    });
    let moves = picture
        .moves
        .iter()
        .flat_map(|(of, count)| [micros(of.left), micros(of.came), of.from as u64, of.to as u64, u64::from(*count)]);
    let troubles = picture.troubles.iter().map(|trouble| {
        let (from, to) = (micros(trouble.from), micros(trouble.to.unwrap_or(picture.end)));
        let lanes = numbers(&trouble.lanes);
        format!("[{from},{to},{},{lanes},{}]", text(trouble.kind), trouble.amount)
    });
    let healed =
        picture.healed.as_ref().map_or("null".into(), |(at, core)| format!("[{},{}]", micros(*at), numbers(core)));
    format!(
        "{{\"end\":{},\"lanes\":{},\"moves\":{},\"troubles\":{},\"healed\":{healed}}}",
        micros(picture.end),
        array(lanes),
        numbers(moves),
        array(troubles),
    )
}

/// The story as JSON, and how many of its lines found no room.
pub(super) fn story(lines: &[Line]) -> (String, usize) {
    let mut left = STORY_BYTES_MAX;
    let mut told: Vec<Option<String>> = vec![None; lines.len()];
    for first in [true, false] {
        for (line, told) in lines.iter().zip(&mut told) {
            if FIRST_TOPICS.contains(&line.topic) != first {
                continue;
            }
            let topic = Topic::ALL.iter().position(|(topic, _)| *topic == line.topic).unwrap_or_default();
            let node = line.node.as_deref().map_or("0".into(), text);
            let entry = format!("[{},{node},{topic},{}]", micros(line.at), text(&line.text));
            if entry.len() < left {
                left -= entry.len() + 1;
                *told = Some(entry);
            } else {
                left = 0;
            }
        }
    }
    let missing = told.iter().filter(|told| told.is_none()).count();
    (array(told.into_iter().flatten()), missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_end_the_script_that_they_stand_in() {
        assert_eq!(text("a \"b\" \\ </script>\n"), r#""a \"b\" \\ \u003c/script\u003e\u000a""#);
    }

    #[test]
    fn what_matters_most_is_told_though_the_story_is_too_long() {
        let line = |topic, text: String| Line { at: Timestamp::ZERO, node: None, topic, text };
        let mut lines: Vec<Line> = (0..30_000).map(|_| line(Topic::Stream, "x".repeat(100))).collect();
        lines.push(line(Topic::Check, "broken".into()));
        let (json, missing) = story(&lines);
        assert!(json.len() < STORY_BYTES_MAX + 2 && json.contains("broken"), "{} bytes", json.len());
        assert!(missing > 0 && missing < 30_000, "{missing} lines are left out");
    }
}
