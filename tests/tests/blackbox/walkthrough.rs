//! docs/production.md, line by line: its commands are typed into one shell
//! with the real programs, and what they print is compared with the page.

use std::time::Duration;

use funk_tests::blackbox::shell::Shell;
use funk_tests::blackbox::{Tested, program, scratch};
use funk_tests::pages::{blocks, read, steps_for};

const PAGE: &str = "docs/production.md";
const TEST: &str = "blackbox::walkthrough::the_production_walk_works_line_by_line";
/// Set to write what is printed into the page.
const REWRITE: &str = "FUNK_REWRITE";
/// Time for one line on a busy machine; a line that waits for a node is the longest.
const LINE_MAX: Duration = Duration::from_secs(90);

#[test]
fn the_production_walk_works_line_by_line() -> Tested {
    let bin = program("demo")?;
    let dir = scratch("walkthrough")?;
    std::os::unix::fs::symlink(bin.parent().ok_or("a program is in a directory")?, dir.join("bin"))?;
    let mut shell = Shell::start(&dir)?;
    let steps = steps_for(PAGE, TEST);
    let marked = blocks(PAGE).iter().filter(|block| block.is_shell()).count();
    assert!(
        marked > 5 && steps.len() > 30,
        "{marked} blocks with {} lines: the page is not read as a whole",
        steps.len()
    );
    let mut printed = Vec::new();
    for step in &steps {
        let typed = shell.run(&step.command, LINE_MAX).map_err(|why| format!("{why}\n{}", logs(&dir)))?;
        assert_eq!(typed.code, 0, "`{}` printed {:#?}\n{}", step.command, typed.output, logs(&dir));
        printed.push(typed.output);
    }
    // What the page compares with is a time, not a line without one.
    let before = std::fs::read_to_string(dir.join("prod/before"))?;
    let created = before.trim_end().strip_prefix("\"created_ns\": ").and_then(|digits| digits.parse::<u64>().ok());
    assert!(created.is_some_and(|created| created > 1_000_000_000_000_000_000), "prod/before holds {before:?}");
    if std::env::var_os(REWRITE).is_some() {
        return rewrite(&printed);
    }
    for (step, output) in steps.iter().zip(&printed) {
        assert_eq!(
            &step.output, output,
            "`{}`: {PAGE} shows what was printed once; {REWRITE}=1 writes it anew",
            step.command
        );
    }
    Ok(())
}

/// What the nodes and the shell said.
fn logs(dir: &std::path::Path) -> String {
    let names = ["shell.log", "prod/node-1.log", "prod/node-2.log", "prod/node-3.log"];
    let tail = |name: &str| {
        let text = std::fs::read_to_string(dir.join(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        format!("--- {name}\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
    };
    names.map(tail).concat()
}

/// Puts what was printed below each command of the page.
fn rewrite(printed: &[Vec<String>]) -> Tested {
    let path = funk_tests::blackbox::workspace().join(PAGE);
    let (mut fresh, mut fenced, mut outputs) = (Vec::new(), false, printed.iter());
    let mut pending: Option<&Vec<String>> = None;
    for line in read(&path).lines() {
        let command = fenced && (line.starts_with("$ ") || line.starts_with("> "));
        if (!command || line.starts_with("$ "))
            && let Some(output) = pending.take()
        {
            fresh.extend(output.iter().cloned());
        }
        if line.starts_with("```") {
            fenced = !fenced;
        }
        if fenced && line.starts_with("$ ") {
            pending = Some(outputs.next().ok_or("more commands than were typed")?);
        }
        if !fenced || command || line.starts_with("```") {
            fresh.push(line.to_owned());
        }
    }
    std::fs::write(path, fresh.join("\n") + "\n")?;
    Ok(())
}
