//! One table of all that `make bench` measured, and the same as JSON.
//!
//! Reads what criterion left in `target/criterion` and the fail-over trials'
//! `target/bench/failover.json`; writes `target/bench/summary.json`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

/// One line of the table.
#[derive(Debug)]
struct Figure {
    name: String,
    /// Median, nanoseconds for one call.
    median_ns: f64,
    /// Elements in one call: keys looked up, entries committed.
    elements: Option<u64>,
}

fn main() -> ExitCode {
    let target = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("target"), PathBuf::from);
    match summarise(&target) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("summary: {error}");
            ExitCode::FAILURE
        }
    }
}

fn summarise(target: &Path) -> Result<(), String> {
    let mut figures = Vec::new();
    let criterion = target.join("criterion");
    collect(&criterion, &mut figures)?;
    if figures.is_empty() {
        return Err(format!("{} holds no results: run `cargo bench -p funk-benches` first", criterion.display()));
    }
    figures.sort_by(|a, b| a.name.cmp(&b.name));
    println!("{:<58} {:>12} {:>14}", "bench", "median", "per element");
    for figure in &figures {
        let each = each(figure).map_or_else(String::new, time);
        println!("{:<58} {:>12} {each:>14}", figure.name, time(figure.median_ns));
    }
    let failover = failover(&target.join("bench/failover.json"))?;
    let benches: Map<String, Value> = figures
        .iter()
        .map(|figure| (figure.name.clone(), json!({"median_ns": figure.median_ns, "per_element_ns": each(figure)})))
        .collect();
    let out = target.join("bench/summary.json");
    let write = |path: &Path| {
        std::fs::create_dir_all(path.parent().expect("it has a folder"))?;
        std::fs::write(path, format!("{:#}\n", json!({"benches": benches, "failover": failover})))
    };
    write(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    println!("\nas JSON: {}", out.display());
    Ok(())
}

/// Walks down to each bench's last estimates.
fn collect(folder: &Path, figures: &mut Vec<Figure>) -> Result<(), String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let path = entry.path();
        if entry.file_name() != "new" {
            collect(&path, figures)?;
            continue;
        }
        let (bench, estimates) = (read(&path.join("benchmark.json"))?, read(&path.join("estimates.json"))?);
        let name = bench["full_id"].as_str().ok_or_else(|| format!("{}: no full_id", path.display()))?;
        let median = &estimates["median"]["point_estimate"];
        figures.push(Figure {
            name: name.into(),
            median_ns: median.as_f64().ok_or_else(|| format!("{}: no median", path.display()))?,
            elements: bench["throughput"]["Elements"].as_u64(),
        });
    }
    Ok(())
}

/// Prints the fail-over medians, if trials were run.
fn failover(path: &Path) -> Result<Value, String> {
    if !path.exists() {
        println!("\nno fail-over trials: {} is missing", path.display());
        return Ok(Value::Null);
    }
    let cells = read(path)?;
    println!("\n{:<36} {:>6} {:>10} {:>10}", "fail-over, ms until all serve again", "trials", "median", "max");
    for cell in cells.as_array().into_iter().flatten() {
        let name = cell["cell"].as_str().unwrap_or("?");
        let number = |key: &str| cell["serve_ms"][key].as_f64().unwrap_or(f64::NAN);
        println!("{name:<36} {:>6} {:>10.1} {:>10.1}", cell["trials"], number("median"), number("max"));
    }
    Ok(cells)
}

fn read(path: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn each(figure: &Figure) -> Option<f64> {
    let elements = u32::try_from(figure.elements?).ok()?;
    Some(figure.median_ns / f64::from(elements))
}

fn time(ns: f64) -> String {
    match ns {
        ..1e3 => format!("{ns:.2} ns"),
        ..1e6 => format!("{:.2} us", ns / 1e3),
        ..1e9 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}
