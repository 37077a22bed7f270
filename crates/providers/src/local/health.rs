//! How a box is, as this machine sees it: whether its QEMU runs, what its console shows, and how it ended.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
};

use camino::Utf8Path;
use model::{machine::Health, name::Label};

use super::{process, qemu::LOG, store::BoxDir};

/// Where the watchdog writes how QEMU ended.
const ENDED: &str = "qemu.ended";

/// How much of a file's end is looked at.
const TAIL: u64 = 4096;

/// How long a line of the console may be that is shown.
const LINE_MAX: usize = 120;

/// Looks at the box of a directory.
pub(super) fn of(label: &Label, directory: &BoxDir) -> Health {
    if !directory.is_there() {
        return Health::Missing;
    }
    if process::find(directory.path()).is_empty() {
        let how = last_line(&directory.file(ENDED)).unwrap_or_else(|| "with its watchdog".to_owned());
        let said = last_line(&directory.file(LOG)).map_or(String::new(), |line| format!(": {line}"));
        return Health::Dead(format!("QEMU ended {how}{said}"));
    }
    let shown = last_line(&directory.file("console.log"));
    Health::Running(shown.unwrap_or_else(|| format!("box {label} runs, and its console shows nothing yet")))
}

/// Returns the last line of a file that says anything, without what only a terminal understands.
fn last_line(file: &Utf8Path) -> Option<String> {
    let mut file = File::open(file).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    text.lines().rev().find_map(|line| {
        let plain = without_sequences(line);
        let plain: String = plain.trim().chars().take(LINE_MAX).collect();
        (!plain.is_empty()).then_some(plain)
    })
}

/// Drops control characters, and the sequences that begin with an escape.
fn without_sequences(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // `ESC [ … letter`; anything else is two characters long.
            if characters.next() == Some('[') {
                characters
                    .by_ref()
                    .find(|character| character.is_ascii_alphabetic());
            }
        } else if !character.is_control() {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_line_is_plain_text() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("console.log");
        let file = Utf8Path::from_path(&file).unwrap();
        assert_eq!(last_line(file), None);
        std::fs::write(
            file,
            "one\r\n\u{1b}[0;32m[  OK  ]\u{1b}[0m Reached \u{7}target\r\n\u{1b}[2K\r\n",
        )
        .unwrap();
        assert_eq!(last_line(file).as_deref(), Some("[  OK  ] Reached target"));
        std::fs::write(file, "x".repeat(9000)).unwrap();
        assert_eq!(last_line(file).map(|line| line.len()), Some(LINE_MAX));
    }

    #[tokio::test]
    async fn box_whose_qemu_has_ended_is_dead_and_says_how() {
        let state = tempfile::tempdir().unwrap();
        let label = Label::new("b1").unwrap();
        let directory = BoxDir::of(Utf8Path::from_path(state.path()).unwrap(), &label);
        assert_eq!(of(&label, &directory), Health::Missing);
        let _lock = directory.make_and_lock().await.unwrap();
        std::fs::write(directory.file(ENDED), "by signal 9\n").unwrap();
        std::fs::write(directory.file(LOG), "qemu: out of memory\n").unwrap();
        let dead = "QEMU ended by signal 9: qemu: out of memory".to_owned();
        assert_eq!(of(&label, &directory), Health::Dead(dead));
    }
}
