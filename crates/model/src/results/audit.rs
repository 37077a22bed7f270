//! Reads what `cargo audit` prints: one paragraph of `Name: value` lines for each advisory.

use super::{
    CheckResults, Finding, Severity,
    text::{push_detail, short},
};

/// The advisory that is being read.
#[derive(Debug, Default)]
pub(super) struct Audit {
    open: Option<Advisory>,
}

#[derive(Debug, Default)]
struct Advisory {
    package: String,
    version: String,
    title: String,
    id: Option<String>,
    is_warning: bool,
    detail: String,
}

impl Audit {
    /// Takes a line; says whether it was for this reader.
    pub(super) fn take(&mut self, line: &str, results: &mut CheckResults) -> bool {
        if let Some(package) = line.strip_prefix("Crate:  ") {
            self.finish(results);
            self.open = Some(Advisory {
                package: short(package),
                detail: format!("{line}\n"),
                ..Advisory::default()
            });
            return true;
        }
        let Some(advisory) = &mut self.open else {
            return false;
        };
        if line.is_empty() {
            self.finish(results);
            return true;
        }
        push_detail(&mut advisory.detail, line);
        if let Some((name, value)) = line.split_once(':') {
            match name {
                "Version" => advisory.version = short(value),
                "Title" => advisory.title = short(value),
                "ID" => advisory.id = Some(short(value)),
                "Warning" => {
                    advisory.is_warning = true;
                    // A yanked version has no title.
                    advisory.title = short(value);
                }
                _ => {}
            }
        }
        true
    }

    /// Ends the advisory that is being read.
    pub(super) fn finish(&mut self, results: &mut CheckResults) {
        let Some(advisory) = self.open.take() else {
            return;
        };
        results.add_finding(Finding {
            severity: if advisory.is_warning {
                Severity::Warning
            } else {
                Severity::Error
            },
            code: advisory.id,
            message: short(&format!(
                "{} {}: {}",
                advisory.package, advisory.version, advisory.title
            )),
            place: None,
            detail: advisory.detail,
        });
    }
}
