//! The statements of docs/fencing.md, in a real database.

use std::path::Path;
use std::process::Command;

use funk_tests::blackbox::namespaces::skip;
use funk_tests::blackbox::{Tested, scratch, workspace};

/// The statements of the page, in its order: tables, fence, write.
fn statements() -> Result<[String; 3], String> {
    let page = std::fs::read_to_string(workspace().join("docs/fencing.md")).map_err(|error| error.to_string())?;
    let blocks = page.split("```sql\n").skip(1).filter_map(|rest| rest.split("```").next());
    let blocks: Vec<String> = blocks.map(str::to_owned).collect();
    blocks.try_into().map_err(|blocks: Vec<String>| format!("{} statements, not three", blocks.len()))
}

/// Runs statements, and gives what the last of them prints.
fn sqlite(database: &Path, sql: &str) -> Result<String, String> {
    let output = Command::new("sqlite3").arg("-bail").arg(database).arg(sql).output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{sql}: {}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_database_refuses_the_late_write_of_a_former_owner() -> Tested {
    if Command::new("sqlite3").arg("--version").output().is_err() {
        return skip("docs fencing", "the program sqlite3 is missing");
    }
    let [tables, fence, write] = statements()?;
    let database = scratch("fencing")?.join("accounts.db");
    let filled = |sql: &str, epoch: u64, amount: u64| {
        sql.replace(":shard", "7").replace(":epoch", &epoch.to_string()).replace(":amount", &amount.to_string())
    };
    let raise = |epoch| sqlite(&database, &filled(&fence, epoch, 0));
    let add = |epoch, amount| sqlite(&database, &format!("{}SELECT changes();", filled(&write, epoch, amount)));
    let balance = || sqlite(&database, "SELECT balance FROM accounts WHERE id = 'ada';");
    sqlite(&database, &tables)?;

    assert_eq!(add(41, 1)?, "0", "without a fence nobody writes");
    raise(41)?;
    assert_eq!((add(41, 5)?, balance()?), ("1".into(), "105".into()));
    raise(58)?;
    assert_eq!((add(58, 10)?, balance()?), ("1".into(), "115".into()));
    assert_eq!((add(41, 1000)?, balance()?), ("0".into(), "115".into()), "the late write");
    raise(41)?;
    assert_eq!(sqlite(&database, "SELECT epoch FROM fences;")?, "58");
    assert_eq!(add(41, 1000)?, "0", "the fence does not come down");
    Ok(())
}
