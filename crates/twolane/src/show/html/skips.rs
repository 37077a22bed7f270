//! The tests that no lane really ran, and what the others asked for.

use maud::{Markup, html as markup};
use model::{report::Report, skips::Split};

use super::{
    budget::{Budget, output},
    words::{line, more},
};
use crate::show::skips::{notes, rows};

/// Tests that are listed one by one.
const TESTS_MAX: usize = 500;

/// Shows what the tracer reported, if anything.
pub(super) fn skips(report: &Report, budget: &mut Budget) -> Markup {
    let Some(split) = &report.split else {
        return markup! {};
    };
    let (head, rows) = rows(split);
    markup! {
        section aria-labelledby="skips" {
            h2 id="skips" { "Tests that no lane really ran" }
            @for why in &split.why_failed { p.bad { (line(why)) } }
            (skipped(split))
            @for note in notes(split) { p.dim { (line(&note)) } }
            @if head.len() > 1 {
                ul {
                    @for row in &rows {
                        li {
                            b { (line(&row[0])) } ": "
                            @for (at, (kind, number)) in head.iter().zip(row).skip(1).enumerate() {
                                @if at > 0 { ", " } (number) " " (kind)
                            }
                        }
                    }
                }
            }
            (asked(split, budget))
        }
    }
}

fn skipped(split: &Split) -> Markup {
    let number = split.new_skips().count();
    markup! {
        @if number == 0 {
            p.good { span aria-hidden="true" { "✓ " } "None beside what the baseline may have." }
        } @else {
            ul {
                @for skipped in split.new_skips().take(TESTS_MAX) {
                    li { b { (line(&skipped.id.to_string())) } ": " span.odd { (line(&skipped.why)) } }
                }
            }
            (more(number, TESTS_MAX, "tests"))
        }
    }
}

fn asked(split: &Split, budget: &mut Budget) -> Markup {
    let lines: Vec<String> = split
        .tests
        .iter()
        .filter(|test| test.lanes.values().any(|lane| !lane.devices.is_empty()))
        .map(|test| line(&format!("{}: {}", test.id, test.words())))
        .collect();
    markup! {
        @if !lines.is_empty() {
            details {
                summary { "What asked for a device: " (lines.len()) }
                (output("tests that asked for a device", &lines.join("\n"), budget))
            }
        }
    }
}
