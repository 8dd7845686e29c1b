//! Values of flags, and errors of one line.

use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgAction, Parser};

use crate::lines::{complain, flush};

/// Reads `20ms`, `1.5s`, `2m` and the like.
///
/// # Errors
/// Says what would be accepted.
pub fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a number and a unit of us, ms, s, m or h, such as 20ms".into()),
    };
    let value: f64 = number.parse().map_err(|_| "give a number and a unit, such as 20ms".to_owned())?;
    Duration::try_from_secs_f64(value * scale).map_err(|_| "out of range".into())
}

/// Reads `true` and `false`, and what files of the environment often have for them: `1` and `0`.
pub fn boolean() -> impl TypedValueParser<Value = bool> {
    let values = [PossibleValue::new("true").alias("1"), PossibleValue::new("false").alias("0")];
    PossibleValuesParser::new(values).map(|text| text == "true" || text == "1")
}

/// The first paragraph of clap's message, as one line.
pub fn usage_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    lines.join(" ")
}

/// Parses the process's arguments. Help and version end with 0, wrong usage
/// with 2 and one line on stderr. A list in the environment that is empty has nothing on it.
pub fn parse_or_exit<P: Parser>() -> P {
    let command = P::command().mut_args(|argument| {
        let empty = argument.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
        if empty && matches!(argument.get_action(), ArgAction::Append) { argument.env(None::<&str>) } else { argument }
    });
    let parsed = command.try_get_matches().and_then(|matches| P::from_arg_matches(&matches));
    match parsed {
        Ok(flags) => flags,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => error.exit(),
        Err(error) => {
            complain(&usage_line(&error));
            flush();
            std::process::exit(2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for bad in ["", "20", "ms", "-1s", "1d", "1.2.3s", "99999999999999999999h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
