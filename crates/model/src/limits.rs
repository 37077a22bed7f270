//! How much of what a box says is taken. Root on a box may have been anybody's code.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde::{Deserialize, Serialize};

/// How much of what a box says is taken. What is over is cut, and said with its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Bytes of one check's output, and of stage 2's.
    pub log_bytes: u64,
    /// Bytes of what one lane brings back.
    pub artifact_bytes: u64,
    /// Files and directories of what one lane brings back.
    pub artifact_files: u64,
    /// Bytes of all that one run takes from its boxes: output and what is brought back.
    pub run_bytes: u64,
    /// Bytes that stay free where results are put.
    pub free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log_bytes: 1 << 30,
            artifact_bytes: 4 << 30,
            artifact_files: 100_000,
            run_bytes: 16 << 30,
            free_bytes: 1 << 30,
        }
    }
}

/// What a run may still take from its boxes. All copies are the same.
#[derive(Debug, Clone)]
pub struct Budget {
    whole: u64,
    left: Arc<AtomicU64>,
}

impl Budget {
    /// Makes that of a run that begins.
    pub fn new(limits: &Limits) -> Self {
        Self {
            whole: limits.run_bytes,
            left: Arc::new(AtomicU64::new(limits.run_bytes)),
        }
    }

    /// Returns how many bytes are left.
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Takes so many bytes, or as many as are left. Returns how many.
    pub fn take(&self, bytes: u64) -> u64 {
        let less = |left: u64| Some(left.saturating_sub(bytes));
        let before = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        before.unwrap_or_default().min(bytes)
    }
}

impl std::fmt::Display for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = show_bytes(self.whole);
        write!(f, "the run has taken {whole} from its boxes, the limit of a run")
    }
}

/// Writes a number of bytes for people.
pub fn show_bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// Reads a size such as `500 MiB` or `4GiB`; it has to be more than nothing.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let unit: u64 = match unit.trim_start() {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    let number: u64 = number.parse().ok()?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_takes_no_more_than_its_limit() {
        let budget = Budget::new(&Limits {
            run_bytes: 10,
            ..Limits::default()
        });
        let other = budget.clone();
        assert_eq!((budget.take(7), other.take(7), budget.take(7)), (7, 3, 0));
        assert_eq!(budget.left(), 0);
    }

    #[test]
    fn sizes_are_read_or_refused() {
        assert_eq!(parse_bytes("500 MiB"), Some(500 << 20));
        assert_eq!(parse_bytes("4GiB"), Some(4 << 30));
        assert_eq!(parse_bytes("5GB"), Some(5_000_000_000));
        for wrong in ["", "4", "GiB", "-1 GiB", "4 Gb", "0 MiB", "99999999999 TiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }
}
