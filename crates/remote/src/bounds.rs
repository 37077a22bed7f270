//! What may come from a box by rsync: bytes, files, and how much space stays free here. All is counted on this machine, as a
//! box that is hostile says what it likes of its files.

use std::time::Duration;

use camino::Utf8Path;
use model::limits::{Budget, Limits, show_bytes};
use tokio::process::Command;

/// How often the free space is looked at: a fast disk takes some hundred MB in that time.
const LOOK: Duration = Duration::from_millis(200);

/// How much memory rsync may have, in KiB: a list of files may have no end.
const MEMORY_KIB: u64 = 1 << 20;

/// Runs a program whose files have at most so many blocks of 512 bytes, and that has so much memory.
const LIMITED: &str = r#"ulimit -f "$1"; ulimit -v "$2"; shift 2; exec "$@""#;

/// Has rsync say how many files it is about to bring, and which it passes by.
pub(crate) const SAID: &str = "--info=flist2,skip1";

/// What may come, and what has come.
#[derive(Debug, Clone)]
pub(crate) struct Bounds {
    limits: Limits,
    budget: Budget,
    /// Bytes that have come.
    came: u64,
    too_big: u64,
}

impl Bounds {
    /// Begins to count.
    pub(crate) fn new(limits: Limits, budget: Budget) -> Self {
        Self {
            limits,
            budget,
            came: 0,
            too_big: 0,
        }
    }

    /// Returns how big a file may be, in bytes.
    pub(crate) fn file_max(&self) -> u64 {
        self.limits.artifact_bytes.min(self.budget.left())
    }

    /// Says that nothing may come any more, if it is so.
    pub(crate) fn spent(&self) -> Option<String> {
        (self.budget.left() == 0).then(|| format!("{}; the rest was not brought back", self.budget))
    }

    /// Returns a program that can write no file that is bigger than all may be.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("sh");
        let blocks = self.file_max().div_ceil(512).to_string();
        command.args(["-c", LIMITED, "sh", &blocks, &MEMORY_KIB.to_string(), program]);
        command
    }

    /// Takes a line that rsync printed. Fails when more has come than may.
    pub(crate) fn take(&mut self, line: &str) -> Result<(), String> {
        if line.ends_with(" is over max-size") {
            self.too_big += 1;
        }
        let (most_bytes, most_files) = (self.limits.artifact_bytes, self.limits.artifact_files);
        if let Some(files) = listed(line)
            && files > most_files
        {
            return Err(format!(
                "{files} files and directories are more than {most_files}; they were not brought back"
            ));
        }
        if let Some(bytes) = bytes(line) {
            let new = bytes.saturating_sub(self.came);
            self.came += new;
            if bytes > most_bytes {
                return Err(format!(
                    "more than {}; the rest was not brought back",
                    show_bytes(most_bytes)
                ));
            }
            if self.budget.take(new) < new {
                return Err(format!("{}; the rest was not brought back", self.budget));
            }
        }
        Ok(())
    }

    /// Says what was passed by, as it is too big by itself.
    pub(crate) fn passed_by(&self) -> Option<String> {
        (self.too_big > 0).then(|| {
            format!(
                "{} files are bigger than {}, and were not brought back",
                self.too_big,
                show_bytes(self.file_max())
            )
        })
    }

    /// Returns once too little space is left where `dir` is.
    pub(crate) async fn watch(&self, dir: &Utf8Path) -> String {
        loop {
            if let Some(free) = free_space(dir)
                && free < self.limits.free_bytes
            {
                return format!(
                    "only {} are free here, of which {} are kept; the rest was not brought back",
                    show_bytes(free),
                    show_bytes(self.limits.free_bytes)
                );
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

fn free_space(dir: &Utf8Path) -> Option<u64> {
    let found = rustix::fs::statvfs(dir.as_std_path()).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Reads how many files there are from `5003 files to consider`, which comes before any of them is made.
fn listed(line: &str) -> Option<u64> {
    let number = line.strip_suffix(" files to consider")?;
    number.rsplit(' ').next()?.replace(',', "").parse().ok()
}

/// Reads how much has come from `1,234  45%  1.23MB/s  0:00:01`.
fn bytes(line: &str) -> Option<u64> {
    let mut words = line.split_whitespace();
    let (bytes, percent) = (words.next()?, words.next()?);
    percent
        .ends_with('%')
        .then(|| bytes.replace(',', "").parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        let limits = Limits {
            artifact_bytes: 1000,
            artifact_files: 2,
            run_bytes: 1500,
            ..Limits::default()
        };
        Bounds::new(limits, Budget::new(&limits))
    }

    #[test]
    fn one_file_more_than_may_come_is_refused() {
        let mut bounds = bounds();
        bounds
            .take("receiving file list ... 2 files to consider")
            .unwrap();
        let error = bounds.take("1,003 files to consider").unwrap_err();
        assert!(
            error.starts_with("1003 files and directories are more than 2"),
            "{error}"
        );
    }

    #[test]
    fn bytes_are_counted_as_they_come() {
        let mut bounds = bounds();
        bounds.take("  1,000  45%    1.23MB/s    0:00:01").unwrap();
        let error = bounds.take("  1,001  45%    1.23MB/s    0:00:01").unwrap_err();
        assert!(error.contains("more than 1.0 kB"), "{error}");
    }

    #[test]
    fn all_that_a_run_brings_back_is_counted_together() {
        let mut first = bounds();
        let mut second = Bounds::new(first.limits, first.budget.clone());
        first.take("    400  45%    1.23MB/s    0:00:01").unwrap();
        first.take("    900  90%    1.23MB/s    0:00:01").unwrap();
        assert_eq!((second.file_max(), second.spent()), (600, None));
        second.take("    600  45%    1.23MB/s    0:00:01").unwrap();
        assert!(first.spent().is_some());
        let error = second.take("    601  46%    1.23MB/s    0:00:01").unwrap_err();
        assert!(
            error.starts_with("the run has taken 1.5 kB from its boxes"),
            "{error}"
        );
    }

    #[test]
    fn file_that_is_too_big_is_passed_by_and_said() {
        let mut bounds = bounds();
        assert_eq!(bounds.passed_by(), None);
        bounds.take("core is over max-size").unwrap();
        assert!(bounds.passed_by().unwrap().starts_with("1 files are bigger"));
    }

    /// Whatever rsync seems to say, no more is counted as let through than may come.
    #[test]
    fn lines_of_any_kind_are_bounded() {
        let corpus: &[&[u8]] = &[
            b"receiving file list ... 2 files to consider",
            b"  1,000  45%    1.23MB/s    0:00:01 (xfr#12, to-chk=100/1000)",
            b"core is over max-size",
        ];
        let read = |input: &[u8]| {
            let mut bounds = bounds();
            let text = String::from_utf8_lossy(input);
            let is_let_through = text.split(['\r', '\n']).all(|line| bounds.take(line).is_ok());
            assert!(!is_let_through || bounds.came <= 1000, "{} bytes", bounds.came);
        };
        fuzz::check(&[("rsync's words", corpus, &read)], 2_000);
    }
}
