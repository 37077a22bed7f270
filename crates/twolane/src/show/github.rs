//! What GitHub Actions shows by itself: annotations at file and line, and the summary of a step.

use std::{fs::OpenOptions, io::Write};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    report::{CheckReport, Report},
    results::{Place, Severity},
};

use super::{clean::plain_lines, markdown::markdown, stream::Style};

/// Annotations that are written; GitHub itself shows fewer.
const ANNOTATIONS_MAX: usize = 50;

/// What GitHub Actions says of the job that this is a part of.
#[derive(Debug, Default)]
pub(crate) struct Job {
    summary: Option<Utf8PathBuf>,
    workspace: Option<Utf8PathBuf>,
}

impl Job {
    /// Returns the job; none when this is no part of one.
    pub(crate) fn find() -> Option<Self> {
        let read = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        (read("GITHUB_ACTIONS")? == "true").then(|| Self {
            summary: read("GITHUB_STEP_SUMMARY").map(Utf8PathBuf::from),
            workspace: read("GITHUB_WORKSPACE").map(Utf8PathBuf::from),
        })
    }

    /// Writes the annotations and the summary. `source` is where the first source tree is on this machine.
    pub(crate) fn annotate(&self, style: Style, report: &Report, source: Option<&Utf8Path>) {
        let prefix = source
            .zip(self.workspace.as_deref())
            .and_then(|(source, workspace)| source.strip_prefix(workspace).ok());
        for annotation in annotations(report, prefix.unwrap_or(Utf8Path::new(""))) {
            style.command(&annotation);
        }
        let Some(path) = &self.summary else { return };
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(markdown(report).as_bytes()));
        if let Err(error) = written {
            style.message(&format!(
                "warning: could not write the step's summary {path}: {error}"
            ));
        }
    }
}

/// Returns the workflow commands that make the annotations.
fn annotations(report: &Report, prefix: &Utf8Path) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, lane) in &report.lanes {
        if let Some(why) = &lane.failure {
            lines.push(command(
                "error",
                None,
                prefix,
                &format!("lane {name} could not go on"),
                why,
            ));
        }
        for check in &lane.checks {
            of_check(&mut lines, &format!("{name}: {}", check.name), check, prefix);
        }
    }
    for why in report.split.iter().flat_map(|split| &split.why_failed) {
        lines.insert(
            0,
            command("error", None, prefix, "tests that no lane really ran", why),
        );
    }
    lines.truncate(ANNOTATIONS_MAX);
    lines
}

fn of_check(lines: &mut Vec<String>, title: &str, check: &CheckReport, prefix: &Utf8Path) {
    for test in check.results.bad_tests() {
        let message = test.message.as_deref().unwrap_or(test.outcome.word());
        let title = format!("{title}: {} {}", test.suite, test.name);
        lines.push(command("error", test.place.as_ref(), prefix, &title, message));
    }
    for finding in &check.results.findings {
        let kind = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        let code = finding
            .code
            .as_ref()
            .map_or(String::new(), |code| format!(" ({code})"));
        let message = format!("{}{code}", finding.message);
        lines.push(command(kind, finding.place.as_ref(), prefix, title, &message));
    }
    let results = &check.results;
    let is_explained = results.bad_tests().next().is_some() || results.count(Severity::Error) > 0;
    if check.outcome.is_failure() && !is_explained {
        let why = check.outcome.reason().unwrap_or(check.outcome.word());
        lines.push(command("error", None, prefix, title, why));
    }
}

/// Returns one workflow command; nothing in it can begin another.
fn command(kind: &str, place: Option<&Place>, prefix: &Utf8Path, title: &str, message: &str) -> String {
    let mut properties = String::new();
    if let Some(place) = place {
        let file = prefix.join(&place.file);
        properties.push_str(&format!("file={},line={},", property(file.as_str()), place.line));
        if let Some(column) = place.column {
            properties.push_str(&format!("col={column},"));
        }
    }
    format!(
        "::{kind} {properties}title={}::{}",
        property(title),
        data(message)
    )
}

fn data(text: &str) -> String {
    let text = plain_lines(text)
        .join("\n")
        .replace('%', "%25")
        .replace('\n', "%0A");
    text.replace("##[", "# #[")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_annotation_is_one_line_at_its_place() {
        let place = Place {
            file: "src/a,b.rs".to_owned(),
            line: 3,
            column: Some(9),
        };
        assert_eq!(
            command(
                "error",
                Some(&place),
                Utf8Path::new("sub"),
                "test: a::b",
                "100 %\n::set-env name=a::b"
            ),
            "::error file=sub/src/a%2Cb.rs,line=3,col=9,title=test%3A a%3A%3Ab::100 %25%0A::set-env name=a::b"
        );
        assert_eq!(
            command("warning", None, Utf8Path::new(""), "t", "m"),
            "::warning title=t::m"
        );
    }
}
