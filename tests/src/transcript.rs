//! Protocol stories as text: commands, and under each what it brought about.
//!
//! ```text
//! # Any line that begins so is for the reader.
//! kill n0
//! run 1s
//! ----
//! 84ms   n1 n2: n0 is no leader any more
//! ```
//!
//! A block of commands ends with `----`; what follows up to an empty line is
//! the expected output. The commands:
//!
//! | command | does |
//! |---|---|
//! | `world seed=7 shards=12` | begins; always the first |
//! | `start n0 [weight=2] [nonvoting] [observer]` | starts a node; the first begins the cluster, the others join it |
//! | `kill`, `pause`, `resume`, `restart`, `leave`, `stepdown` `n1` | does that to a node |
//! | `propose n1 words` | proposes these words |
//! | `cut n0 n1`, `heal` | no packet passes between the two; all pass again |
//! | `loss 20` | that share of the datagrams is lost |
//! | `run 500ms` | time passes |
//! | `until converged 5s`, `until left n1 5s`, `until voters 3 5s` | time passes until then |
//! | `until closing n1 5s` | time passes until the node is told to close gates |
//! | `pass 500ms`, `quiet` | time passes; what happened up to here is not told |
//! | `status`, `leases` | shows every node |
//! | `trace votes joins moves leases` | shows messages of these kinds from here on; `trace` alone: none |

mod say;

use std::fmt::Write;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::{Event, Output, Participation, Request};

use funk_sim::{Said, World};

use crate::world::{TestWorld, lease_left, name, voters};

/// The line between commands and what they brought about.
const RULER: &str = "----";

/// Runs a story; gives its text with the output that it really has.
///
/// # Panics
/// If a command cannot be read.
pub fn run(story: &str) -> String {
    let (mut teller, mut out, mut lines) = (Teller::default(), String::new(), story.lines());
    while let Some(line) = lines.next() {
        let _ = writeln!(out, "{line}");
        if line == RULER {
            out.push_str(&teller.told());
            // The old output is replaced.
            if lines.by_ref().any(str::is_empty) {
                out.push('\n');
            }
        } else if !line.is_empty() && !line.starts_with('#') {
            teller.command(line);
        }
    }
    out
}

#[derive(Debug, Default)]
struct Teller {
    world: Option<TestWorld>,
    shards: u32,
    out: String,
    traced: Vec<String>,
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

fn host(name: &str) -> usize {
    number(name.strip_prefix('n').unwrap_or_else(|| panic!("`{name}` is no node")))
}

fn length(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(number(millis)),
        None => Duration::from_secs(number(text.strip_suffix('s').unwrap_or(text))),
    }
}

impl Teller {
    fn world(&mut self) -> &mut TestWorld {
        self.world.as_mut().expect("a story begins with `world`")
    }

    /// What the commands since the last ruler brought about.
    fn told(&mut self) -> String {
        std::mem::take(&mut self.out)
    }

    fn command(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["world", ref settings @ ..] => self.begin(settings),
            ["start", node, ref settings @ ..] => self.start(node, settings),
            ["kill", node] => self.world().kill(host(node)),
            ["pause", node] => self.world().pause(host(node)),
            ["resume", node] => self.world().resume(host(node)),
            ["restart", node] => self.world().restart(host(node)),
            ["leave", node] => self.world().request(host(node), Request::Leave),
            ["stepdown", node] => self.world().request(host(node), Request::StepDown),
            ["propose", node, ref rest @ ..] => {
                let bytes = Bytes::from(rest.join(" "));
                self.world().propose(host(node), bytes);
            }
            ["cut", a, b] => {
                self.world().cut(host(a), host(b));
            }
            ["heal"] => self.world().mend_all(),
            ["loss", percent] => self.world().lose(number(percent)),
            ["run", time] => {
                self.world().run(length(time));
                self.tell(None);
            }
            ["pass", time] => self.world().run(length(time)),
            ["until", ref rest @ .., limit] => self.until(rest, length(limit)),
            ["quiet"] => drop(self.world().take_record()),
            ["status"] => self.status(),
            ["leases"] => self.leases(),
            ["trace", ref kinds @ ..] => self.traced = kinds.iter().map(|&kind| kind.to_owned()).collect(),
            _ => panic!("`{line}` is no command"),
        }
    }

    fn begin(&mut self, settings: &[&str]) {
        let mut seed = 1;
        for setting in settings {
            match setting.split_once('=') {
                Some(("seed", value)) => seed = number(value),
                Some(("shards", value)) => self.shards = number(value),
                _ => panic!("a world has no `{setting}`"),
            }
        }
        // So that a story does not change with every packet more or less.
        self.world = Some(World::new(seed).with_steady_conditions().with_record().into());
    }

    fn start(&mut self, node: &str, settings: &[&str]) {
        let shards = self.shards;
        let at = self.world().start_with(|config| {
            config.shards = shards;
            for setting in settings {
                match setting.split_once('=').unwrap_or((setting, "")) {
                    ("weight", value) => config.weight = number(value),
                    ("nonvoting", "") => config.participation = Participation::Learner,
                    ("observer", "") => config.participation = Participation::NonMember,
                    _ => panic!("a node has no `{setting}`"),
                }
            }
        });
        assert_eq!(name(at).as_str(), node, "nodes are started in the order of their numbers");
    }

    fn until(&mut self, goal: &[&str], limit: Duration) {
        let world = self.world();
        let took = match *goal {
            ["converged"] => world.run_until(limit, World::converged),
            ["left", node] => {
                let at = host(node);
                world.run_until(limit, |world| world.events(at).contains(&Event::Left))
            }
            ["closing", node] => {
                let at = host(node);
                let closes = |said: &Said| said.from == at && matches!(said.output, Output::Drain { .. });
                world.run_until(limit, |world| world.record().iter().any(closes))
            }
            ["voters", count] => {
                let count: usize = number(count);
                let counted = |world: &World| world.running().first().map_or(0, |&at| voters(world, at));
                world.run_until(limit, |world| counted(world) == count)
            }
            _ => panic!("there is no waiting for `{}`", goal.join(" ")),
        };
        self.tell(Some(took));
    }

    /// Writes what was said since the last time, and how long it was waited for.
    fn tell(&mut self, waited: Option<Option<Duration>>) {
        let traced = std::mem::take(&mut self.traced);
        let said = self.world().take_record();
        self.out.push_str(&say::all(&said, &traced));
        self.traced = traced;
        match waited {
            Some(Some(took)) => drop(writeln!(self.out, "after {}ms", took.as_millis())),
            Some(None) => self.out.push_str("in vain\n"),
            None => {}
        }
    }

    fn status(&mut self) {
        let mut rows = vec![["node", "state", "role", "term", "epoch", "shards", "members"].map(str::to_owned)];
        let world = self.world();
        for at in world.running() {
            let status = world.status(at);
            rows.push([
                name(at).to_string(),
                format!("{:?}", status.state),
                status.role.to_string(),
                status.term.to_string(),
                status.epoch.to_string(),
                status.shards_owned.to_string(),
                status.members.iter().filter(|member| member.boot.is_some()).count().to_string(),
            ]);
        }
        self.out.push_str(&table(&rows));
    }

    fn leases(&mut self) {
        let mut rows = vec![["node", "lease", "shards"].map(str::to_owned)];
        let world = self.world();
        for at in world.running() {
            let left = lease_left(world, at).map_or("none".to_owned(), |left| format!("{}ms", left.as_millis()));
            rows.push([name(at).to_string(), left, world.status(at).shards_owned.to_string()]);
        }
        self.out.push_str(&table(&rows));
    }
}

/// Rows of equal columns.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths: [usize; N] = std::array::from_fn(|n| rows.iter().map(|row| row[n].len()).max().unwrap_or(0));
    let mut out = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}
