//! The verification matrix, for a terminal, for a README and as a page.

use maud::{DOCTYPE, PreEscaped, html as markup};
use model::matrix::{Proof, Row, Status};

use super::{
    html::{POLICY, words::line},
    markdown::escape,
    table::table,
    text::show_seconds,
};

const HEAD: [&str; 7] = ["provider", "type", "region", "status", "cycle", "spend", "date"];

/// Returns the cells of a row, in the order of [`HEAD`].
fn cells(row: &Row<'_>) -> [String; 7] {
    let of = |read: fn(&model::matrix::Record) -> String| row.record.map_or(String::new(), read);
    [
        row.provider.to_owned(),
        of(|record| record.instance_type.clone()),
        of(|record| record.region.clone()),
        row.status.words(),
        of(|record| show_seconds(record.seconds)),
        of(|record| record.cost.to_string()),
        of(|record| record.began.strftime("%Y-%m-%d").to_string()),
    ]
}

/// Returns the matrix as a table of a terminal.
pub(crate) fn text(rows: &[Row<'_>]) -> String {
    table(&HEAD, rows.iter().map(|row| cells(row).to_vec()))
}

/// Returns the matrix as a table of Markdown.
pub(crate) fn markdown(rows: &[Row<'_>]) -> String {
    let head = format!("| {} |\n|{}", HEAD.join(" | "), " --- |".repeat(HEAD.len()));
    let body = rows.iter().map(|row| {
        let cells = cells(row).map(|cell| escape(&cell));
        format!("| {} |", cells.join(" | "))
    });
    std::iter::once(head).chain(body).collect::<Vec<_>>().join("\n")
}

/// Returns the matrix as a page that needs nothing beside it, with the evidence of each cycle.
pub(crate) fn html(rows: &[Row<'_>]) -> String {
    markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="color-scheme" content="light dark";
                link rel="icon" href="data:,";
                title { "Verification matrix" }
                style { (PreEscaped(include_str!("html/page.css"))) }
            }
            body {
                header { h1 { "Verification matrix" } }
                main {
                    @for row in rows {
                        section {
                            h2 {
                                (line(row.provider))
                                @if let Some(record) = row.record { " " (line(&record.instance_type)) }
                            }
                            p class=(class(&row.status)) { (line(&row.status.words())) }
                            @if let Some(record) = row.record {
                                dl {
                                    dt { "run" } dd { code { (record.run.as_str()) } ", " (format!("{:.0}", record.began)) }
                                    dt { "region" } dd { (line(&record.region)) }
                                    dt { "cycle" } dd { (show_seconds(record.seconds)) }
                                    dt { "spend" } dd { (record.cost) }
                                    @if let Some(commit) = &record.commit { dt { "commit" } dd { code { (line(commit)) } } }
                                    dt { "twolane" } dd { (line(&record.twolane)) }
                                }
                                ul {
                                    @for stage in &record.stages {
                                        li { (line(&stage.name)) ": " (proof(&stage.proof))
                                            @if let Some(seconds) = stage.seconds { ", " (show_seconds(seconds)) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}

fn proof(proof: &Proof) -> String {
    match proof {
        Proof::Shown => "shown".to_owned(),
        Proof::NotAsked => "not asked for".to_owned(),
        Proof::Missing { why } => line(why),
    }
}

fn class(status: &Status) -> &'static str {
    match status {
        Status::Verified => "good",
        Status::Failed { .. } => "bad",
        Status::InPart { .. } | Status::StandIn | Status::NeverRun { .. } => "odd",
    }
}
