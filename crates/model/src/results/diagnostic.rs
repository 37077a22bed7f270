//! Reads diagnostics as rustc, clippy and cargo-deny print them: `error[CODE]: message`, then where, until an empty line.

use super::{
    CheckResults, Finding, Severity,
    text::{place, push_detail, short},
};

/// What cargo says beside the findings themselves; it adds nothing to them.
const SUMMARIES: [&str; 12] = [
    "could not compile",
    "aborting due to",
    "build failed, waiting",
    "test failed, to rerun",
    "doctest failed, to rerun",
    "test run failed",
    "targets failed",
    "generated ",
    " emitted",
    "allowed warning",
    "denied warning",
    "vulnerabilities found",
];

/// The diagnostic that is being read.
#[derive(Debug, Default)]
pub(super) struct Diagnostics {
    open: Option<Finding>,
}

impl Diagnostics {
    /// Takes a line; says whether it was for this reader.
    pub(super) fn take(&mut self, line: &str, results: &mut CheckResults) -> bool {
        if let Some((severity, code, message)) = begin(line) {
            self.finish(results);
            if SUMMARIES.iter().any(|words| message.contains(words)) {
                return true;
            }
            self.open = Some(Finding {
                severity,
                code,
                message: short(message),
                place: None,
                detail: format!("{}\n", short(line)),
            });
            return true;
        }
        let Some(finding) = &mut self.open else {
            return false;
        };
        if line.is_empty() {
            self.finish(results);
            return true;
        }
        if finding.place.is_none() {
            let at = line.trim_start();
            finding.place = at
                .strip_prefix("--> ")
                .or_else(|| at.strip_prefix("┌─ "))
                .and_then(place);
        }
        if finding.code.is_none() {
            finding.code = lint(line);
        }
        if let Some(id) = line.trim_start().strip_prefix("├ ID: ") {
            finding.code = Some(short(id));
        }
        push_detail(&mut finding.detail, line);
        true
    }

    /// Ends the diagnostic that is being read.
    pub(super) fn finish(&mut self, results: &mut CheckResults) {
        if let Some(mut finding) = self.open.take() {
            finding.detail.truncate(finding.detail.trim_end().len());
            results.add_finding(finding);
        }
    }
}

/// Reads the first line of a diagnostic, or an error in the log of cargo-deny.
fn begin(line: &str) -> Option<(Severity, Option<String>, &str)> {
    if let Some((_, message)) = line.split_once(" [ERROR] ")
        && line.starts_with("20")
    {
        return Some((Severity::Error, None, message));
    }
    let (severity, rest) = match (line.strip_prefix("error"), line.strip_prefix("warning")) {
        (Some(rest), _) => (Severity::Error, rest),
        (_, Some(rest)) => (Severity::Warning, rest),
        _ => return None,
    };
    let (code, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (code, rest) = rest.split_once(']')?;
            (Some(short(code)), rest)
        }
        None => (None, rest),
    };
    Some((severity, code, rest.strip_prefix(": ")?))
}

/// Finds the name of the lint in the note that reports why it is on.
fn lint(line: &str) -> Option<String> {
    let name = match line.split_once("`-D ").or_else(|| line.split_once("`-W ")) {
        Some((_, rest)) => rest.split_once("` implied")?.0,
        None => {
            let (_, rest) = ["`#[warn(", "`#[deny(", "`#[forbid("]
                .iter()
                .find_map(|words| line.split_once(words))?;
            rest.split_once(")]`")?.0
        }
    };
    Some(short(&name.replace('-', "_")))
}
