//! Tables for people: columns, no lines.

use std::io::{self, IsTerminal as _};

use comfy_table::{Cell, ContentArrangement, Table, presets};

/// Below this no column could hold a word.
const WIDTH_MIN: u16 = 40;

/// Returns rows under a head, in columns that are two blanks apart, each row on one line.
pub(crate) fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    wrapped(head, rows, None)
}

/// Returns the same for standard output: on a terminal cells wrap at its width, in a pipe each row is one line for
/// `grep`.
pub(crate) fn fitted(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    wrapped(head, rows, width())
}

fn wrapped(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(width.max(WIDTH_MIN));
    }
    table.set_header(head.iter().map(|title| Cell::new(title.to_uppercase())));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Returns the columns of the terminal that standard output is; `COLUMNS` counts more.
fn width() -> Option<u16> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    let set = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok());
    let asked = || Some(rustix::termios::tcgetwinsize(&out).ok()?.ws_col);
    set.or_else(asked).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_wrap_at_the_width_and_stay_whole_without_one() {
        let row = vec![
            "deny".to_owned(),
            "skipped".to_owned(),
            "cargo-deny is not installed on the box ".repeat(3),
        ];
        let narrow = wrapped(&["check", "outcome", "why"], [row.clone()], Some(58));
        assert!(narrow.lines().all(|line| line.chars().count() <= 58), "{narrow}");
        assert!(narrow.lines().count() > 2, "{narrow}");
        let whole = wrapped(&["check", "outcome", "why"], [row], None);
        assert_eq!(whole.lines().count(), 2, "{whole}");
    }
}
