//! Where text is shown: its width, and whether it has colours.

use std::io::IsTerminal;

use clap::ValueEnum;
use clap::builder::styling::{AnsiColor, Style};

/// The narrowest width that text is laid out for; people still have it.
const WIDTH_MIN: usize = 80;

/// Whether text has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What text is shown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Columns; `None`: a file or pipe, where nothing is cut.
    pub width: Option<usize>,
    /// Whether it has colours.
    pub colors: bool,
}

impl Screen {
    /// Without width and colours.
    pub const PLAIN: Self = Self { width: None, colors: false };

    /// What stdout is.
    pub fn stdout(choice: ColorChoice) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        // https://no-color.org
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colors = match choice {
            ColorChoice::Auto => is_terminal && !unwanted,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        let columns = || terminal_size::terminal_size().map_or(WIDTH_MIN, |(width, _)| usize::from(width.0));
        Self { width: is_terminal.then(|| columns().max(WIDTH_MIN)), colors }
    }

    /// `text` in the colour of `tone`.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        match tone.style() {
            Some(style) if self.colors && !text.is_empty() => format!("{style}{text}{style:#}"),
            _ => text.to_owned(),
        }
    }
}

/// How good something is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tone {
    /// Neither.
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// It works, and somebody should look.
    Warn,
    /// It does not work.
    Bad,
    /// A head.
    Head,
}

impl Tone {
    fn style(self) -> Option<Style> {
        match self {
            Self::Plain => None,
            Self::Good => Some(AnsiColor::Green.on_default()),
            Self::Warn => Some(AnsiColor::Yellow.on_default()),
            Self::Bad => Some(AnsiColor::Red.on_default().bold()),
            Self::Head => Some(Style::new().bold()),
        }
    }

    /// Of a state's or role's name.
    pub(super) fn of(state: &str) -> Self {
        match state {
            "alive" | "Operational" => Self::Good,
            "failed" | "Stopped" => Self::Bad,
            "leaving" | "left" | "Joining" | "Voting" | "Resharding" | "Draining" | "drained" => Self::Warn,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_screen_with_colours_has_them() {
        let colored = Screen { colors: true, ..Screen::PLAIN };
        assert_eq!(colored.paint(Tone::Bad, "x"), "\u{1b}[1m\u{1b}[31mx\u{1b}[0m");
        assert_eq!(colored.paint(Tone::Plain, "x"), "x");
        assert_eq!(Screen::PLAIN.paint(Tone::Bad, "x"), "x");
    }
}
