//! The lanes side by side: each one's box, how it was got, what its gate said, and how it ended.

use maud::{Markup, html as markup};
use model::{
    gate::GateAnswer,
    report::{LaneReport, Report},
    time::Timestamp,
};

use super::words::{line, outcome, text, verdict};
use crate::show::text::{copied, cost_and_plan, show_seconds};

/// Shows all lanes.
pub(super) fn lanes(report: &Report) -> Markup {
    markup! {
        section aria-labelledby="lanes" {
            h2 id="lanes" { "Lanes" }
            div.lanes { @for (name, lane) in &report.lanes { (one(name, lane, report.last)) } }
        }
    }
}

fn one(name: &str, lane: &LaneReport, last: Option<Timestamp>) -> Markup {
    markup! {
        article.lane aria-label={ "lane " (line(name)) } {
            h3 { (line(name)) ": " (verdict(lane.verdict)) }
            ul {
                @for check in &lane.checks {
                    li {
                        (line(&check.name)) ": " (outcome(&check.outcome))
                        @if let Some(seconds) = check.seconds { span.dim { ", " (show_seconds(seconds)) } }
                        @if let Some(words) = check.results.words() { span.dim { "; " (words) } }
                    }
                }
            }
            dl {
                (machine(lane))
                @if let Some(cost) = last.and_then(|last| cost_and_plan(lane, last)) { dt { "cost" } dd { (cost) } }
                @if let Some(gate) = &lane.gate { dt { "KVM gate" } dd { (gate_answer(gate)) } }
                @for (source, synced) in &lane.synced { dt { "source " (line(source)) } dd { (copied(synced)) } }
                @if !lane.missing.is_empty() {
                    dt { "not collected" }
                    dd { ul { @for missing in &lane.missing { li { (text(missing)) } } } }
                }
                (end(lane))
            }
        }
    }
}

fn machine(lane: &LaneReport) -> Markup {
    markup! {
        @if !lane.rejected.is_empty() {
            dt { "tried before" }
            dd { ul { @for (candidate, why) in &lane.rejected { li { (line(&candidate.to_string())) ": " (text(why)) } } } }
        }
        @if let Some(machine) = &lane.machine {
            dt { "box" }
            dd {
                code { (machine.label) } ", " (machine.provider) " " (line(&machine.instance_type)) " in " (line(&machine.region))
                @if let Some(note) = &machine.note { br; span.dim { (text(note)) } }
            }
        }
    }
}

fn gate_answer(gate: &GateAnswer) -> Markup {
    let facts = &gate.facts;
    let reported = [
        ("CPU", &facts.cpu_model),
        ("vendor", &facts.cpu_vendor),
        ("extension", &facts.virtualization),
        ("machine", &facts.machine),
        ("hypervisor", &facts.hypervisor),
        ("nested paging", &facts.nested_paging),
        ("speed", &facts.speed),
        ("kernel", &facts.kernel),
        ("architecture", &facts.arch),
        ("user", &facts.user),
    ];
    markup! {
        span class=(if gate.works { "good" } else { "bad" }) { (line(&gate.sentence)) }
        details {
            summary { "what it tried, and what it read" }
            ul {
                @for step in &gate.steps {
                    li {
                        (line(&step.name)) ": "
                        @match step.ok { Some(true) => "worked", Some(false) => { span.bad { "failed" } }, None => "not tried" }
                        ", " (line(&step.detail))
                    }
                }
            }
            dl {
                @for (name, value) in reported {
                    @if let Some(value) = value { dt { (name) } dd { (line(value)) } }
                }
                @for (module, parameters) in &facts.modules {
                    dt { "module " (line(module)) }
                    dd { @for (name, value) in parameters { (line(name)) "=" (line(value)) " " } }
                }
            }
        }
    }
}

/// How the box ended, or ends.
fn end(lane: &LaneReport) -> Markup {
    markup! {
        @match (&lane.left, &lane.gone) {
            (Some(why), _) => { dt { "end" } dd.bad { "still there: " (text(why)) } }
            (None, Some(gone)) => {
                dt { "end" }
                dd {
                    "gone, as its provider confirmed"
                    @if !gone.is_empty() { ul { @for thing in gone { li { (thing.kind) " " code { (line(&thing.id)) } } } } }
                }
            }
            (None, None) => {}
        }
        @if let Some((deadline, dead_mans_switch)) = &lane.dead_mans_switch {
            dt { "otherwise" }
            dd { "by " (deadline.moment()) " at the latest: " (text(dead_mans_switch)) }
        }
    }
}
