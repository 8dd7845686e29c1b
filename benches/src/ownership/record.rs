//! The times in which processes held guards, and whether two held one at a time.

use std::collections::BTreeMap;
use std::path::Path;

/// A time in which a process held the guard of a shard for certain:
/// from a moment after it was given until one before it was last found valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The shard.
    pub shard: u32,
    /// Under which epoch.
    pub epoch: u64,
    /// From, in nanoseconds of [`super::boot_time`].
    pub from: u64,
    /// Until, likewise.
    pub until: u64,
}

impl Held {
    /// A line of a process's record.
    pub fn line(&self) -> String {
        format!("{} {} {} {}\n", self.shard, self.epoch, self.from, self.until)
    }

    fn read(line: &str) -> Option<Self> {
        let words: Vec<u64> = line.split(' ').map(|word| word.parse().ok()).collect::<Option<_>>()?;
        let [shard, epoch, from, until] = words[..] else { return None };
        Some(Self { shard: u32::try_from(shard).ok()?, epoch, from, until })
    }
}

/// The records (`*.held`) in a directory, by process.
///
/// # Errors
/// When one cannot be read, or a whole line of one is no record.
pub fn read(dir: &Path) -> Result<BTreeMap<String, Vec<Held>>, String> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.ends_with(".held") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).map_err(|error| format!("{name}: {error}"))?;
        // A killed process may leave a torn line at the end.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut held = Vec::new();
        for line in whole.lines() {
            held.push(Held::read(line).ok_or_else(|| format!("{name}: `{line}`"))?);
        }
        all.insert(name, held);
    }
    Ok(all)
}

/// Pairs of times in which two processes held the guard of one shard.
pub fn overlaps(records: &BTreeMap<String, Vec<Held>>) -> Vec<String> {
    let mut shards: BTreeMap<u32, Vec<(Held, &str)>> = BTreeMap::new();
    for (process, held) in records {
        for &one in held {
            shards.entry(one.shard).or_default().push((one, process));
        }
    }
    let mut found = Vec::new();
    for all in shards.values_mut() {
        all.sort_by_key(|(held, _)| held.from);
        // The last end of each process so far; one that reaches past a later start of another overlaps it.
        let mut ends: BTreeMap<&str, Held> = BTreeMap::new();
        for (held, process) in all.iter() {
            let others = ends.iter().filter(|(other, _)| *other != process);
            for (other, before) in others.filter(|(_, before)| before.until > held.from) {
                found.push(format!("{other} {before:?} and {process} {held:?}"));
            }
            let end = ends.entry(process).or_insert(*held);
            if held.until > end.until {
                *end = *held;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(shard: u32, from: u64, until: u64) -> Held {
        Held { shard, epoch: 1, from, until }
    }

    #[test]
    fn only_times_of_two_processes_on_one_shard_overlap() {
        let records = |second: Held| {
            BTreeMap::from([
                ("a".to_owned(), vec![held(1, 10, 20), held(1, 12, 14), held(2, 30, 40)]),
                ("b".to_owned(), vec![second]),
            ])
        };
        assert_eq!(overlaps(&records(held(1, 20, 30))).len(), 0);
        assert_eq!(overlaps(&records(held(1, 30, 40))).len(), 0);
        assert_eq!(overlaps(&records(held(1, 15, 30))).len(), 1);
        assert_eq!(overlaps(&records(held(2, 10, 31))).len(), 1);
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let one = held(3, 5, 8);
        assert_eq!(Held::read(one.line().trim_end()), Some(one));
        assert_eq!(Held::read("1 2 3"), None);
    }
}
