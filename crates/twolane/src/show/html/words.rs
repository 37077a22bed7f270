//! Words of the page: verdicts, outcomes, and what a box wrote, made harmless.

use maud::{Markup, html as markup};
use model::{check::Outcome, verdict::Verdict};

pub(crate) use crate::show::clean::one_line as line;

pub(super) fn more(number: usize, shown: usize, what: &str) -> Markup {
    markup! {
        @if number > shown { p.dim { "and " (number - shown) " more " (what) "; report.json has them all" } }
    }
}

pub(super) fn verdict(verdict: Option<Verdict>) -> Markup {
    let (class, sign, words) = match verdict {
        Some(Verdict::Passed) => ("good", "✓", Verdict::Passed.words()),
        Some(Verdict::Interrupted) => ("odd", "◼", Verdict::Interrupted.words()),
        Some(other) => ("bad", "✗", other.words()),
        None => ("odd", "…", "not ended"),
    };
    markup! { span.verdict class=(class) { span aria-hidden="true" { (sign) " " } (words) } }
}

pub(super) fn outcome(outcome: &Outcome) -> Markup {
    let (class, sign) = match outcome {
        Outcome::Passed => ("good", "✓"),
        Outcome::Failed { .. } | Outcome::TimedOut | Outcome::Unknown { .. } => ("bad", "✗"),
        Outcome::Skipped { .. } | Outcome::NotRun | Outcome::Interrupted => ("odd", "–"),
    };
    markup! {
        span class=(class) { span aria-hidden="true" { (sign) " " } (outcome.word()) }
        @if let Some(reason) = outcome.reason() { ": " (text(reason)) }
    }
}

/// Returns text of any length, its lines kept apart.
pub(super) fn text(text: &str) -> Markup {
    let mut lines = text.lines().map(line);
    markup! {
        (lines.next().unwrap_or_default())
        @for line in lines { br; (line) }
    }
}
