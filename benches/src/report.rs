//! How the tools tell what they saw.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::flow::Ended;

/// How many of the requests that were lost are told in words.
const TOLD_MAX: usize = 3;

/// In milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// The middle of some numbers, the mean of the middle two for an even count; not a number if there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// What was lost, in words; nothing if every request was answered.
pub fn losses(requests: &[Ended]) -> Option<String> {
    let lost: Vec<_> = requests.iter().filter_map(|request| Some((request.shard.0, request.lost.as_ref()?))).collect();
    let some: Vec<_> =
        lost.iter().take(TOLD_MAX).map(|(shard, why)| format!("  a request for shard {shard}: {why}")).collect();
    (!lost.is_empty()).then(|| format!("{} of {} requests were lost:\n{}", lost.len(), requests.len(), some.join("\n")))
}

/// Writes `figures` to `path`, whose folder is made if missing.
///
/// # Errors
/// When it cannot be written.
pub fn write(path: &Path, figures: &Value) -> Result<(), String> {
    let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    let written = folder.and_then(|()| std::fs::write(path, format!("{figures:#}\n")));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use funk_proto::id::ShardId;

    use super::*;

    #[test]
    fn whatever_was_lost_is_told() {
        let ended = |shard, lost: Option<&str>| Ended {
            shard: ShardId(shard),
            began: Instant::now(),
            took: Duration::ZERO,
            tries: 1,
            lost: lost.map(Into::into),
        };
        let mut requests = vec![ended(1, None), ended(2, None)];
        assert_eq!(losses(&requests), None);
        requests.extend([7, 8, 9, 10].map(|shard| ended(shard, Some("no answer"))));
        let told = losses(&requests).unwrap();
        assert!(told.starts_with("4 of 6 requests were lost:\n  a request for shard 7: no answer"), "{told}");
        assert_eq!(told.lines().count(), 1 + TOLD_MAX);
    }

    #[test]
    fn the_median_is_the_middle_of_any_order() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0]) - 2.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }
}
