//! Reads what `cargo fmt --check` prints: where each file differs, and how.

use super::{
    CheckResults, Finding, Place, Severity,
    text::{place, push_detail, short},
};

/// The difference that is being read.
#[derive(Debug, Default)]
pub(super) struct Fmt {
    open: Option<Finding>,
}

impl Fmt {
    /// Takes a line; says whether it was for this reader.
    pub(super) fn take(&mut self, line: &str, results: &mut CheckResults) -> bool {
        if let Some(place) = begin(line) {
            self.finish(results);
            self.open = Some(Finding {
                severity: Severity::Error,
                code: Some("rustfmt".to_owned()),
                message: "is not formatted".to_owned(),
                place: Some(place),
                detail: String::new(),
            });
            return true;
        }
        match &mut self.open {
            Some(finding) if line.is_empty() || line.starts_with([' ', '+', '-']) => {
                push_detail(&mut finding.detail, line);
                true
            }
            _ => {
                self.finish(results);
                false
            }
        }
    }

    /// Ends the difference that is being read.
    pub(super) fn finish(&mut self, results: &mut CheckResults) {
        if let Some(finding) = self.open.take() {
            results.add_finding(finding);
        }
    }
}

/// Reads `Diff in FILE:LINE:`, and `Diff in FILE at line LINE:` of older versions.
fn begin(line: &str) -> Option<Place> {
    let rest = line.strip_prefix("Diff in ")?.strip_suffix(':')?;
    match rest.rsplit_once(" at line ") {
        Some((file, number)) => Some(Place {
            file: short(file),
            line: number.parse().ok()?,
            column: None,
        }),
        None => place(rest),
    }
}
