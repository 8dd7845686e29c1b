//! Text that fits where it is shown.

use super::screen::{Screen, Tone};

/// Between two columns.
const GAP: usize = 2;

/// What a command shows to people, part by part.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Line(Tone, String),
    Item(Tone, String),
    Pairs(Vec<(&'static str, String)>),
    Table(Table),
}

/// A table with a head.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    head: &'static str,
    right: bool,
}

impl Text {
    /// With one more line.
    pub(super) fn line(self, text: impl Into<String>) -> Self {
        self.toned(Tone::Plain, text)
    }

    /// With one more line in a colour; several words of it are broken into lines that fit.
    pub(super) fn toned(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push(Part::Line(tone, text.into()));
        self
    }

    /// With one more item of a list of what is wrong, broken into lines that fit.
    pub(super) fn item(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push(Part::Item(tone, text.into()));
        self
    }

    /// With names and values, one pair a line.
    pub(super) fn pairs(mut self, pairs: Vec<(&'static str, String)>) -> Self {
        self.0.push(Part::Pairs(pairs));
        self
    }

    /// With a table.
    pub(super) fn table(mut self, table: Table) -> Self {
        self.0.push(Part::Table(table));
        self
    }

    /// With all of another text.
    pub(super) fn then(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The text as it stands on `screen`, with line ends.
    pub(super) fn on(&self, screen: Screen) -> String {
        self.0.iter().map(|part| part.on(screen)).collect()
    }
}

impl Part {
    fn on(&self, screen: Screen) -> String {
        match self {
            Self::Line(tone, text) => lines("", text, *tone, screen),
            Self::Item(tone, text) => lines(if *tone == Tone::Warn { "- " } else { "! " }, text, *tone, screen),
            Self::Pairs(pairs) => {
                let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                pairs.iter().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
            }
            Self::Table(table) => table.on(screen),
        }
    }
}

impl Table {
    /// A table of these columns; numbers stand to the right in those whose head begins with `>`.
    pub(super) fn new(heads: &[&'static str]) -> Self {
        let column = |&head: &&'static str| match head.strip_prefix('>') {
            Some(head) => Column { head, right: true },
            None => Column { head, right: false },
        };
        Self { columns: heads.iter().map(column).collect(), rows: Vec::new() }
    }

    /// With these rows; one that is too short has empty cells at its end.
    pub(super) fn rows(mut self, rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        self.rows.extend(rows);
        self
    }

    /// The widest column gives way until all fit the width; what is cut ends with `~`.
    fn on(&self, screen: Screen) -> String {
        let width_of = |(at, column): (usize, &Column)| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.chain([column.head.len()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = self.columns.iter().enumerate().map(width_of).collect();
        let gaps = GAP * self.columns.len().saturating_sub(1);
        while screen.width.is_some_and(|width| widths.iter().sum::<usize>() + gaps > width) {
            let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > 1) else { break };
            *widest -= 1;
        }
        let heads: Vec<_> = self.columns.iter().map(|column| column.head.to_owned()).collect();
        let mut text = self.row(&heads, &widths, screen, Some(Tone::Head));
        for row in &self.rows {
            text.push_str(&self.row(row, &widths, screen, None));
        }
        text
    }

    fn row(&self, cells: &[String], widths: &[usize], screen: Screen, tone: Option<Tone>) -> String {
        let last = cells.iter().rposition(|cell| !cell.is_empty()).unwrap_or(0);
        let mut text = String::new();
        for (at, (cell, &width)) in cells.iter().zip(widths).enumerate().take(last + 1) {
            let (shown, right) = (fit(cell, width), self.columns[at].right);
            let pad = " ".repeat(width - shown.chars().count());
            let painted = screen.paint(tone.unwrap_or_else(|| Tone::of(cell)), &shown);
            let (before, after) = if right { (pad.as_str(), "") } else { ("", pad.as_str()) };
            text.push_str(before);
            text.push_str(&painted);
            if at < last {
                text.push_str(after);
                text.push_str(&" ".repeat(GAP));
            }
        }
        text.push('\n');
        text
    }
}

fn fit(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let kept: String = cell.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}~")
}

/// `text` behind its `mark`, in lines that fit the width; a word that is longer stands alone.
fn lines(mark: &str, text: &str, tone: Tone, screen: Screen) -> String {
    let width = screen.width.unwrap_or(usize::MAX);
    let indent = mark.chars().count();
    let mut all = vec![mark.to_owned()];
    let mut column = indent;
    for (number, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        let line = all.last_mut().expect("there is one from the beginning");
        if number > 0 && column + 1 + length > width {
            all.push(format!("{:indent$}{word}", ""));
            column = indent + length;
            continue;
        }
        if number > 0 {
            line.push(' ');
            column += 1;
        }
        line.push_str(word);
        column += length;
    }
    all.iter().map(|line| format!("{}\n", screen.paint(tone, line))).collect()
}

/// A number with a comma before each three digits.
pub(super) fn number(value: impl Into<i64>) -> String {
    let value: i64 = value.into();
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
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

    const NARROW: Screen = Screen { width: Some(80), colors: false };

    fn cells(row: &[&str]) -> Vec<String> {
        row.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn tables_fit_a_terminal_and_say_what_they_cut_and_are_whole_in_a_pipe() {
        let (name, endpoint) = ("n".repeat(28), "ep.".to_owned() + &"x".repeat(61));
        let rows = [cells(&[&name, &endpoint, "127.0.0.1:65535"]), cells(&["n1", "ep.x", "127.0.0.1:1"])];
        let text = Text::default().table(Table::new(&["NODE", "NAME", "ADDRESS"]).rows(rows));
        let narrow = text.on(NARROW);
        assert!(narrow.lines().all(|line| line.len() <= 80), "{narrow}");
        assert!(narrow.contains("~  127.0.0.1:65535\n"), "{narrow}");
        assert!(text.on(Screen::PLAIN).contains(&endpoint));
    }

    #[test]
    fn numbers_stand_to_the_right_and_rows_end_with_their_last_word() {
        let table = Table::new(&["A", ">LONG", "MARK"]).rows([cells(&["abc", "7", ""]), cells(&["d", "12,345", "x"])]);
        let text = Text::default().table(table).on(NARROW);
        assert_eq!(text, "A      LONG  MARK\nabc       7\nd    12,345  x\n");
        let pairs = Text::default().pairs(vec![("a", "b".into()), ("long", "c".into())]);
        assert_eq!(pairs.on(NARROW), "a     b\nlong  c\n");
    }

    #[test]
    fn colours_take_no_room() {
        let table =
            Table::new(&["NODE", "STATE", "X"]).rows([cells(&["a", "failed", "y"]), cells(&["b", "alive", "y"])]);
        let text = Text::default().table(table).on(Screen { colors: true, ..NARROW });
        let stripped: String =
            text.split('\u{1b}').map(|part| part.split_once('m').map_or(part, |(_, rest)| rest)).collect();
        assert_eq!(stripped, "NODE  STATE   X\na     failed  y\nb     alive   y\n");
        assert!(text.contains("\u{1b}[31mfailed\u{1b}[0m  y"), "{text:?}");
    }

    #[test]
    fn items_are_broken_between_words() {
        let item = |text: &str| Text::default().item(Tone::Bad, text).on(NARROW);
        assert_eq!(item("short"), "! short\n");
        let text = item(&"word ".repeat(40));
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("  word")), "{text}");
        assert_eq!(text.matches("word").count(), 40);
        assert_eq!(item(&format!("a {}", "x".repeat(90))), format!("! a\n  {}\n", "x".repeat(90)));
    }

    #[test]
    fn numbers_have_a_comma_before_three_digits() {
        for (value, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_048_576, "1,048,576"), (-12_345, "-12,345")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_782_400_000_000_000), "2000-02-29 00:00:00 UTC");
        assert_eq!(date(1_735_689_599_999_999_999), "2024-12-31 23:59:59 UTC");
        assert_eq!(date(-1), "1969-12-31 23:59:59 UTC");
    }
}
