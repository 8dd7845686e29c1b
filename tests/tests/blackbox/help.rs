//! What the programs say of their flags is what docs/interfaces.md says, and
//! what other pages tell people to type is accepted by them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use funk_tests::blackbox::cluster::DemoCluster;
use funk_tests::blackbox::{Tested, program, workspace};
use funk_tests::pages::{blocks, documents, inline_code, read};

const PAGE: &str = "docs/interfaces.md";
const PROGRAMS: [&str; 5] = ["demo", "client", "seed", "ctrlc", "demo-cluster"];
/// Set to write the tables of the page anew.
const REWRITE: &str = "FUNK_REWRITE";

/// A flag as `--help` shows it.
#[derive(Clone, Debug, Default)]
struct Flag {
    name: String,
    short: Option<String>,
    value: String,
    text: String,
}

fn help(arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program(arguments[0])?);
    let output = command.args(&arguments[1..]).arg("--help").output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{arguments:?} --help: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The flags of a program; its own `--help` and `--version` left out.
fn flags(help: &str) -> Vec<Flag> {
    let options = help.split("Options:\n").nth(1).unwrap_or_default();
    let mut found: Vec<Flag> = Vec::new();
    for line in options.lines() {
        let indent = line.len() - line.trim_start().len();
        match (indent <= 6 && line.trim_start().starts_with('-'), found.last_mut()) {
            (true, _) => found.push(flag(line.trim_start())),
            (false, Some(flag)) => flag.text = format!("{} {}", flag.text, line.trim()),
            (false, None) => {}
        }
    }
    found.retain(|flag| flag.name != "--help" && flag.name != "--version");
    found
}

/// From `-e, --endpoint <HOST:PORT>  What it is`.
fn flag(line: &str) -> Flag {
    let (names, text) = line.split_once("  ").unwrap_or((line, ""));
    let (short, long) = match names.split_once(", ") {
        Some((short, long)) => (Some(short.to_owned()), long),
        None => (None, names),
    };
    let end = long.find([' ', '[']).unwrap_or(long.len());
    let value = long[end..].trim().replace(['<', '>'], "");
    Flag { name: long[..end].to_owned(), short, value, text: text.trim().to_owned() }
}

/// What stands in `[name: ..]`.
fn bracket(text: &str, name: &str) -> Option<String> {
    Some(text.split(&format!("[{name}: ")).nth(1)?.split(']').next()?.to_owned())
}

fn row(flag: &Flag) -> String {
    let short = flag.short.as_ref().map(|short| format!("`{short}`, ")).unwrap_or_default();
    let value = if flag.value.is_empty() { String::new() } else { format!(" {}", flag.value) };
    let what = flag.text.split(" [").next().unwrap_or_default().split("Possible values:").next().unwrap_or_default();
    let default = bracket(&flag.text, "default").filter(|text| text != "\"\"").unwrap_or_default();
    format!("| {short}`{}{value}` | {default} | {} |", flag.name, what.trim())
}

/// The section of the page for a program, as it has to be.
fn section(name: &str) -> Result<String, String> {
    let mut lines = vec!["| flag | default | |".to_owned(), "|---|---|---|".to_owned()];
    lines.extend(flags(&help(&[name])?).iter().map(row));
    Ok(lines.join("\n") + "\n")
}

#[test]
fn the_tables_of_flags_are_what_help_says() -> Tested {
    let file = workspace().join(PAGE);
    let mut page = read(&file);
    for name in ["demo", "client", "seed", "ctrlc"] {
        let fresh = section(name)?;
        let head = format!("<!-- flags of bin/{name}: FUNK_REWRITE=1 writes them -->\n");
        let (before, rest) = page.split_once(&head).ok_or_else(|| format!("{PAGE} has no line `{head}`"))?;
        let end: usize = rest.lines().take_while(|line| line.starts_with('|')).map(|line| line.len() + 1).sum();
        if std::env::var_os(REWRITE).is_none() {
            assert_eq!(&rest[..end], fresh, "{PAGE} lags behind `bin/{name} --help`: run this test with {REWRITE}=1");
        }
        page = format!("{before}{head}{fresh}{}", &rest[end..]);
    }
    std::fs::write(&file, page).map_err(|error| error.to_string())?;
    Ok(())
}

#[test]
fn the_page_tells_what_each_field_of_the_status_and_each_endpoint_is() -> Tested {
    let page = read(&workspace().join(PAGE));
    let mut cluster = DemoCluster::start("help-status", 1)?;
    let status: serde_json::Value = serde_json::from_str(&cluster.get(0, "/api/v1/status")?.text())?;
    let keys = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().into_iter().flat_map(|object| object.keys().cloned()).collect()
    };
    let member = &status["members"][0];
    let all = [keys(&status), keys(member), keys(&member["endpoints"])].concat();
    assert!(all.len() > 30, "{all:?}");
    let missing: Vec<_> = all.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "{PAGE} does not tell of {missing:?}");
    Ok(())
}

#[test]
fn every_flag_can_be_given_in_the_environment() -> Tested {
    for name in ["demo", "client", "seed", "ctrlc"] {
        for flag in flags(&help(&[name])?) {
            let wanted = format!("FUNK_{}", flag.name[2..].replace('-', "_").to_uppercase());
            let said = bracket(&flag.text.replace("=]", "]"), "env");
            assert_eq!(said, Some(wanted), "bin/{name} {}", flag.name);
        }
    }
    Ok(())
}

#[test]
fn the_table_of_times_has_the_defaults_of_the_flags() -> Tested {
    let page = read(&workspace().join("docs/operations.md"));
    let known = flags(&help(&["demo"])?);
    let mut seen = 0;
    for line in page.lines() {
        let Some((name, rest)) = line.strip_prefix("| `").and_then(|line| line.split_once("` | ")) else { continue };
        let Some(flag) = known.iter().find(|flag| flag.name == name) else { continue };
        let said = rest.split(" | ").next().unwrap_or_default().replace(' ', "");
        assert_eq!(Some(said), bracket(&flag.text, "default"), "docs/operations.md, {name}");
        seen += 1;
    }
    assert_eq!(seen, 5, "rows of the table");
    Ok(())
}

/// The commands in a help text; `help` itself left out.
fn commands_of(help: &str) -> BTreeSet<String> {
    let list = help.split("Commands:\n").nth(1).unwrap_or_default();
    let lines = list.lines().take_while(|line| !line.trim().is_empty());
    // A description may go on in further lines, which begin below its first word.
    let begins = |line: &&str| line.len() - line.trim_start().len() == 2;
    lines
        .filter(begins)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_on_ctrlc_has_its_commands_and_no_others() -> Tested {
    let mut real = commands_of(&help(&["ctrlc"])?);
    for group in ["node", "tls", "keys"] {
        assert!(real.remove(group), "it has commands of its own: {real:?}");
        real.extend(commands_of(&help(&["ctrlc", group])?).into_iter().map(|name| format!("{group} {name}")));
    }
    let page = read(&workspace().join("docs/ctrlc.md"));
    let table = page.split("## JSON").next().unwrap_or_default();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let names = rows.map(|row| {
        let words =
            row.split([' ', '`']).take_while(|word| word.starts_with(|letter: char| letter.is_ascii_lowercase()));
        words.collect::<Vec<_>>().join(" ")
    });
    assert_eq!(names.collect::<BTreeSet<_>>(), real);
    Ok(())
}

#[test]
fn commands_in_the_text_are_ones_that_the_programs_take() -> Tested {
    let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut seen = 0;
    for page in documents().into_iter().filter(|page| page != "CHANGELOG.md") {
        let text = read(&workspace().join(&page));
        let mut commands = inline_code(&text);
        commands.extend(
            blocks(&page)
                .iter()
                .filter(|block| block.is_shell())
                .flat_map(|block| block.steps().into_iter().map(|step| step.command.replace("\\\n", " "))),
        );
        for command in commands.iter().filter(|command| command.len() > "bin/".len() && command.starts_with("bin/")) {
            seen += 1;
            check(command, &mut known).map_err(|why| format!("{page}: `{command}`: {why}"))?;
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
    Ok(())
}

/// Whether a program has these flags, and for ctrlc the command.
fn check(command: &str, known: &mut BTreeMap<String, Vec<String>>) -> Result<(), String> {
    let mut words = command.split_whitespace();
    let name = words.next().unwrap_or_default().trim_start_matches("bin/");
    if !PROGRAMS.contains(&name) {
        return Err("no such program".into());
    }
    let mut path = vec![name];
    let mut typed = Vec::new();
    let mut value_of_flag = false;
    // What a shell does with it afterwards is not the program's.
    for word in words.by_ref().take_while(|word| !word.starts_with(['|', '>', '&', '2'])) {
        if word.starts_with('-') {
            typed.push(word.split('=').next().unwrap_or(word));
            value_of_flag = !word.contains('=');
        } else if !std::mem::take(&mut value_of_flag)
            && name == "ctrlc"
            && path.len() < 3
            && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        {
            path.push(word);
        }
    }
    if name == "demo-cluster" {
        return Ok(());
    }
    let key = path.join(" ");
    if !known.contains_key(&key) {
        let help = help(&path)?;
        let all = flags(&help).into_iter().flat_map(|flag| flag.short.into_iter().chain([flag.name])).collect();
        known.insert(key.clone(), all);
    }
    let unknown = typed.iter().find(|flag| ***flag != *"--help" && !known[&key].iter().any(|name| name == *flag));
    unknown.map_or(Ok(()), |flag| Err(format!("{key} has no {flag}")))
}
