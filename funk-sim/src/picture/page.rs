//! The HTML file.

use super::{Picture, data};
use crate::story::{Story, Topic};

const HTML: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");
const PARTS: [&str; 4] = [
    include_str!("page/paint.js"),
    include_str!("page/view.js"),
    include_str!("page/story.js"),
    include_str!("page/main.js"),
];

/// What the run came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether every property held.
    pub holds: bool,
    /// In a sentence.
    pub words: String,
    /// When, in microseconds, and at which lane's step a property was broken.
    pub broken: Option<(u64, Option<usize>)>,
}

/// All that a page shows.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    /// Its heading, such as `seed 17`.
    pub title: &'a str,
    /// What the run came to.
    pub verdict: &'a Verdict,
    /// The command that shows the same again.
    pub command: &'a str,
    /// What was run, as text: a plan, or the names of files.
    pub plan: &'a str,
    /// The picture.
    pub picture: &'a Picture,
    /// The story.
    pub story: &'a Story,
}

impl Page<'_> {
    /// The whole file.
    pub fn html(&self) -> String {
        let (story, missing) = data::story(&self.story.lines);
        let topics: Vec<String> = Topic::ALL.iter().map(|(_, word)| data::text(word)).collect();
        let broken = self.verdict.broken.map_or("null".into(), |(at, lane)| {
            format!("[{at},{}]", lane.map_or("null".into(), |lane| lane.to_string()))
        });
        let data = format!(
            "{{\"title\":{},\"holds\":{},\"verdict\":{},\"broken\":{broken},\"command\":{},\"plan\":{},\"topics\":[{}],\
             \"missing\":{missing},\"picture\":{},\"story\":{story}}}",
            data::text(self.title),
            self.verdict.holds,
            data::text(&self.verdict.words),
            data::text(self.command),
            data::text(self.plan),
            topics.join(","),
            data::picture(self.picture),
        );
        let script = PARTS.concat();
        let title = self.title.replace(['<', '>', '&'], "?");
        // The data comes last: nothing in it is taken for a place to fill.
        let page = HTML.replace("{{title}}", &title).replace("{{style}}", STYLE).replace("{{script}}", &script);
        page.replacen("{{data}}", &data, 1)
    }
}
