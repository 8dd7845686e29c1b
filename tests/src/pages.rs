//! The documents as data: their links and headings, and the commands in their
//! fenced blocks with the mark that says who runs them.
//!
//! A mark is a comment on the line above a block, which readers don't see:
//!
//! | mark | the commands are run by |
//! |---|---|
//! | `<!-- run: blackbox::quickstart::a_claim -->` | this test of `tests/tests/blackbox/quickstart.rs` |
//! | `<!-- run: tests/check -->` | this script |
//! | `<!-- file: hello/src/lib.rs -->` | nobody: a script of the page makes this file of the block |
//! | `<!-- provider -->` | nobody here: they are somebody else's programs, see [`PROVIDERS`] |

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::blackbox::workspace;

/// Programs of others, which a test cannot run without their accounts and servers.
pub const PROVIDERS: [&str; 5] = ["docker", "kubectl", "aws", "gcloud", "az"];

/// How a line of a block without a language begins if it is a command.
const COMMAND_STARTS: [&str; 14] = [
    "$ ", "bin/", "make", "cargo ", "curl ", "kill ", "export ", "FUNK_", "docker ", "kubectl ", "aws ", "gcloud ",
    "az ", "sudo ",
];

/// A fenced block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Where it stands, from the root of the workspace: `docs/demo.md`.
    pub page: String,
    /// The number of its first line, the fence.
    pub line: usize,
    /// The word after the fence.
    pub language: String,
    /// What the comment above it says.
    pub mark: Option<String>,
    /// The lines between the fences.
    pub text: String,
}

/// A command of a block, and what is printed below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The command, with its further lines.
    pub command: String,
    /// What it is said to print; only blocks in `console` say that.
    pub output: Vec<String>,
}

impl Block {
    /// Whether people are to type what stands in it.
    pub fn is_shell(&self) -> bool {
        let starts = |line: &str| COMMAND_STARTS.iter().any(|start| line.trim_start().starts_with(start));
        match self.language.as_str() {
            "sh" | "bash" | "shell" | "console" => true,
            "" | "text" => self.text.lines().any(starts),
            _ => false,
        }
    }

    /// The commands in their order. In `console` they stand behind `$`, their further lines behind `>`;
    /// elsewhere every line is one, but for those after a backslash, comments and empty lines.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let console = self.language == "console";
        let mut goes_on = false;
        for line in self.text.lines() {
            let further = if console { line.strip_prefix("> ") } else { goes_on.then_some(line) };
            let first = if console { line.strip_prefix("$ ") } else { Some(line) };
            match (further, first, steps.last_mut()) {
                (Some(further), _, Some(step)) => step.command = format!("{}\n{further}", step.command),
                (None, Some(first), _) if console || !(first.trim().is_empty() || first.starts_with('#')) => {
                    steps.push(Step { command: first.to_owned(), output: Vec::new() });
                }
                (None, None, Some(step)) => step.output.push(line.to_owned()),
                _ => {}
            }
            goes_on = line.ends_with('\\');
        }
        if !console {
            // What stands behind a command explains it.
            for step in &mut steps {
                let bare = step.command.split(" #").next().unwrap_or_default().trim_end().to_owned();
                step.command = bare;
            }
        }
        steps
    }

    /// `docs/demo.md:8`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.page, self.line)
    }
}

/// The fenced blocks of a page.
pub fn blocks(page: &str) -> Vec<Block> {
    let text = read(&workspace().join(page));
    let mut found = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (number, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => found.push(block),
            (Some(language), None) => {
                let mark = before.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
                open = Some(Block {
                    page: page.to_owned(),
                    line: number + 1,
                    language: language.trim().to_owned(),
                    mark: mark.map(str::to_owned),
                    text: String::new(),
                });
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => before = line,
        }
    }
    assert!(open.is_none(), "{page}: a block is not closed");
    found
}

/// The commands that `test` is to run, in the order of the page.
pub fn steps_for(page: &str, test: &str) -> Vec<Step> {
    let mark = format!("run: {test}");
    let mine = blocks(page).into_iter().filter(|block| block.mark.as_deref() == Some(&mark));
    let steps: Vec<_> = mine.flat_map(|block| block.steps()).collect();
    assert!(!steps.is_empty(), "{page} has no block with the mark `{mark}`");
    steps
}

/// Files below a directory, build outputs and hidden ones left out.
pub fn files(below: &Path, keep: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(below).unwrap_or_else(|error| panic!("{}: {error}", below.display()));
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, keep, found);
        } else if path.is_file() && keep(&path) {
            found.push(path);
        }
    }
}

/// Whether a file's name ends in one of these.
pub fn has_extension(path: &Path, wanted: &[&str]) -> bool {
    path.extension().is_some_and(|extension| wanted.iter().any(|wanted| extension == *wanted))
}

/// The text of a file that must be there.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every page for readers, from the root of the workspace: those of the root itself, and all in `docs`.
pub fn documents() -> Vec<String> {
    let root = workspace();
    let mut found: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"]
            .map(|name| root.join(name))
            .into();
    files(&root.join("docs"), &|path| has_extension(path, &["md"]), &mut found);
    let mut names: Vec<_> = found.iter().map(|path| from_root(path)).collect();
    names.sort();
    names
}

/// A path from the root of the workspace.
pub fn from_root(path: &Path) -> String {
    path.strip_prefix(workspace()).unwrap_or(path).to_string_lossy().into_owned()
}

/// The text outside of fenced blocks.
fn prose(text: &str) -> String {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    });
    outside.collect::<Vec<_>>().join("\n")
}

/// What stands in backticks outside of fenced blocks.
pub fn inline_code(text: &str) -> Vec<String> {
    let prose = prose(text);
    let paragraphs = prose.split("\n\n");
    paragraphs.flat_map(|text| text.split('`').skip(1).step_by(2)).map(|code| code.replace('\n', " ")).collect()
}

/// What `](..)` points to on the same host.
pub fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let ends = prose.split("](").skip(1).filter_map(|rest| Some(rest.split_once(')')?.0.to_owned()));
    ends.filter(|link| !link.contains("://") && !link.starts_with("mailto:")).collect()
}

/// The anchors of a page's headings, as pages are shown on the web.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text);
    let headings = headings.lines().filter_map(|line| line.strip_prefix('#'));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[cfg(test)]
mod tests {
    use super::{Block, Step};

    fn steps(language: &str, text: &str) -> Vec<(String, Vec<String>)> {
        let block =
            Block { page: "page".into(), line: 1, language: language.into(), mark: None, text: text.to_owned() };
        block.steps().into_iter().map(|Step { command, output }| (command, output)).collect()
    }

    #[test]
    fn a_shell_block_is_its_lines_without_what_explains_them() {
        let read = steps("sh", "# first\nmake\n\nbin/demo --join a \\\n  --join b   # joins\n");
        assert_eq!(read, [("make".into(), vec![]), ("bin/demo --join a \\\n  --join b".into(), vec![])]);
    }

    #[test]
    fn a_console_block_is_commands_and_what_they_print() {
        let read = steps("console", "$ f() {\n>   true # kept\n> }\n$ f\none\n\ntwo\n");
        assert_eq!(
            read,
            [("f() {\n  true # kept\n}".into(), vec![]), ("f".into(), vec!["one".into(), String::new(), "two".into()])]
        );
    }
}
