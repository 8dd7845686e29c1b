//! Text that fits a terminal.

/// Columns of the narrowest terminal that people still have.
const WIDTH: usize = 80;
/// Between two columns.
const GAP: usize = 2;

/// A table with a head. The widest column gives way until all fit the width; what is cut ends with `~`.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width_of = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].len()]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..head.len()).map(width_of).collect();
    let gaps = GAP * head.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > WIDTH {
        let widest = widths.iter_mut().max().expect("a table has columns");
        *widest -= 1;
    }
    let mut text = line(&widths, &head.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>());
    for row in rows {
        text.push_str(&line(&widths, row));
    }
    text
}

/// Names and values, one pair a line.
pub(super) fn pairs(pairs: &[(&str, String)]) -> String {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// One item of a list behind its `mark`, in lines that fit the width; a word that is longer stands alone.
pub(super) fn item(mark: &str, text: &str) -> String {
    let mut written = mark.to_owned();
    let mut column = mark.chars().count();
    for (number, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > WIDTH {
            let indent = mark.chars().count();
            written.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if number > 0 {
            written.push(' ');
            column += 1;
        }
        written.push_str(word);
        column += length;
    }
    written.push('\n');
    written
}

fn line(widths: &[usize], cells: &[String]) -> String {
    let fit = |(cell, &width): (&String, &usize)| {
        if cell.chars().count() <= width {
            return format!("{cell:<width$}");
        }
        let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
        format!("{kept}~")
    };
    let cells: Vec<_> = cells.iter().zip(widths).map(fit).collect();
    format!("{}\n", cells.join(&" ".repeat(GAP)).trim_end())
}

/// Unix nanoseconds as a date and a time of day, UTC.
pub(super) fn date(unix_ns: i64) -> String {
    let seconds = unix_ns.div_euclid(1_000_000_000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // Days are counted from 1 March of year 0, so that leap days end years, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let (date, month) = (of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02} {:02}:{:02}:{:02} UTC", second / 3_600, second / 60 % 60, second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_fit_the_width_and_say_what_they_cut() {
        let rows = vec![
            vec!["n".repeat(28), "ep.".to_owned() + &"x".repeat(61), "127.0.0.1:65535".into()],
            vec!["n1".into(), "ep.x".into(), "127.0.0.1:1".into()],
        ];
        let text = table(&["NODE", "NAME", "ADDRESS"], &rows);
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.contains("~  127.0.0.1:65535\n"), "{text}");
        let small = table(&["A", "LONG"], &[vec!["abc".into(), "d".into()]]);
        assert_eq!(small, "A    LONG\nabc  d\n");
        assert_eq!(pairs(&[("a", "b".into()), ("long", "c".into())]), "a     b\nlong  c\n");
    }

    #[test]
    fn items_are_broken_between_words() {
        assert_eq!(item("! ", "short"), "! short\n");
        let text = item("! ", &"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("  word")), "{text}");
        assert_eq!(text.matches("word").count(), 40);
        assert_eq!(item("- ", &format!("a {}", "x".repeat(90))), format!("- a\n  {}\n", "x".repeat(90)));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_735_689_599_999_999_999), "2024-12-31 23:59:59 UTC");
        assert_eq!(date(-1), "1969-12-31 23:59:59 UTC");
    }
}
