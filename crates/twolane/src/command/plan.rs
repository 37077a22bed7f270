//! `twolane plan`: what would run where, and what it could cost. Works offline and makes nothing.

use std::collections::BTreeMap;

use model::{
    candidate::Candidate,
    name::ProviderName,
    plan::{LanePlan, Plan, Refused},
    price::{Cost, Price, USUAL},
    time::show_length,
};
use serde::Serialize;

use crate::{
    args::{BoxArgs, RunArgs},
    context::Context,
    exit::Exit,
    known::Providers,
    planning::{self, Planned},
    problem::{Problem, Result},
    project::{self, Project},
    reach,
    show::{stream::Style, table::fitted},
    workspace,
    world::providers,
};

/// Shows the plan.
pub(crate) fn run(context: &Context, args: &RunArgs) -> Result {
    let project = project::find(&context.dir)?;
    let paths = context.paths()?;
    let providers = providers(&paths, &project.config.local)?;
    let planned = planning::plan(
        &project,
        &planning::asked(args)?,
        &providers,
        &paths,
        planning::Look::Quick,
    )?;
    let mut shown = Shown::of(&planned, &providers);
    shown.overrides = overrides(context, &args.boxes);
    if context.style.verbosity > 0 {
        shown.left_behind = Some(left_behind(&planned.plan)?);
    }
    if context.style.is_json {
        context.style.document(&shown);
        return Ok(planned.problem.map_or(Exit::Passed, |problem| problem.exit));
    }
    print(context.style, &project, &planned.plan, &shown);
    for note in &planned.notes {
        context.style.message(&format!("note: {note}"));
    }
    for lacking in workspace::lacking(&planned.plan) {
        context.style.message(&format!("note: [deploy]: {lacking}"));
    }
    // What `run` would say to it comes last.
    planned.able().map(|_| Exit::Passed)
}

/// The plan with what its candidates cost.
#[derive(Serialize)]
struct Shown<'a> {
    plan: &'a Plan,
    candidates: Vec<Priced<'a>>,
    /// What counts in place of twolane.toml.
    overrides: Vec<Override>,
    refused: &'a [Refused],
    /// Who may reach the boxes, where their providers have networks of their own.
    let_in: Option<String>,
    /// Why `run` would not carry it out.
    #[serde(flatten)]
    problem: Option<&'a Problem>,
    /// With `-v` only: it takes a walk through the sources.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_behind: Option<Vec<LeftBehind<'a>>>,
}

/// A value that counts in place of twolane.toml's.
#[derive(Serialize)]
struct Override {
    option: &'static str,
    value: String,
    /// The option as it is typed, or the variable.
    source: String,
}

fn overrides(context: &Context, boxes: &BoxArgs) -> Vec<Override> {
    let given = [
        ("provider", boxes.provider.clone()),
        ("region", boxes.region.clone()),
        ("host", boxes.host.clone()),
        ("instance_type", boxes.instance_type.clone()),
        ("label", boxes.label.clone()),
        ("disk", boxes.disk.clone()),
        ("ssh_pubkey", boxes.ssh_pubkey.clone()),
        ("allow_cidr", Some(boxes.allow_cidr.join(", "))),
        ("ttl", boxes.ttl.clone()),
        ("max_cost", boxes.max_cost.clone()),
    ];
    let given = given
        .into_iter()
        .filter_map(|(option, value)| Some((option, value.filter(|value| !value.is_empty())?)));
    given
        .map(|(option, value)| Override {
            option,
            value,
            source: context.source(option),
        })
        .collect()
}

/// Something in a source's directory that is not copied.
#[derive(Serialize)]
struct LeftBehind<'a> {
    source: &'a str,
    path: String,
    why: String,
}

fn left_behind(plan: &Plan) -> Result<Vec<LeftBehind<'_>>> {
    let mut all = Vec::new();
    for source in &plan.sources {
        let left = remote::left_behind(source.path.as_std_path()).map_err(|error| {
            Problem::usage(format!("could not look through the source {}", source.path)).because(error)
        })?;
        all.extend(left.into_iter().map(|left| LeftBehind {
            source: &source.name,
            path: left.path.display().to_string(),
            why: left.why.to_string(),
        }));
    }
    Ok(all)
}

#[derive(Serialize)]
struct Priced<'a> {
    lane: &'a str,
    candidate: &'a Candidate,
    price: Price,
    cost: Option<Cost>,
    dead_mans_switch: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(planned: &'a Planned, providers: &Providers) -> Self {
        let plan = &planned.plan;
        let of_lane = |lane: &'a LanePlan| {
            lane.candidates.iter().map(|candidate| {
                let price = planning::price(candidate, providers);
                Priced {
                    lane: &lane.name,
                    candidate,
                    cost: price.cost(USUAL, lane.ttl),
                    price,
                    dead_mans_switch: providers
                        .get(&candidate.provider)
                        .map(|known| known.provider.profile().dead_mans_switch.clone()),
                }
            })
        };
        Self {
            plan,
            candidates: plan.lanes.iter().flat_map(of_lane).collect(),
            overrides: Vec::new(),
            refused: &planned.refused,
            let_in: let_in(plan, providers),
            problem: planned.problem.as_ref(),
            left_behind: None,
        }
    }
}

fn let_in(plan: &Plan, providers: &Providers) -> Option<String> {
    if !plan.allow.is_empty() {
        return Some(plan.allow.join(", "));
    }
    reach::is_asked_for(plan, providers).then(|| {
        format!(
            "this machine only, by its address that {} returns",
            reach::service()
        )
    })
}

fn print(style: Style, project: &Project, plan: &Plan, shown: &Shown<'_>) {
    let origin = match project.has_file {
        true => project.dir.join(project::FILE).to_string(),
        false => format!("{} (no {}: the rust preset)", project.dir, project::FILE),
    };
    style.result(&format!("project {} from {origin}", plan.project));
    for source in &plan.sources {
        style.result(&format!("source  {} from {}", source.name, source.path));
    }
    for left in shown.left_behind.iter().flatten() {
        style.result(&format!(
            "        stays here: {} of {}: {}",
            left.path, left.source, left.why
        ));
    }
    for Override {
        option,
        value,
        source,
    } in &shown.overrides
    {
        let option = option.replace('_', "-");
        style.result(&format!("override  {option} {value}, from {source}"));
    }
    let rows = shown.candidates.iter().map(|priced| {
        let (estimated, worst) = costs(priced);
        vec![
            priced.lane.to_owned(),
            priced.candidate.to_string(),
            hourly(&priced.price, priced.candidate.options.spot),
            estimated,
            worst,
        ]
    });
    style.result(&format!(
        "\n{}",
        fitted(&["lane", "box", "an hour", "estimated", "at worst"], rows)
    ));
    if let Some(who) = &shown.let_in {
        style.result(&format!("\nlet in over SSH: {who}"));
    }
    for lane in &plan.lanes {
        style.result(&format!("\n{}", lane_text(lane, shown)));
    }
    for (index, refused) in shown.refused.iter().enumerate() {
        let space = if index == 0 { "\n" } else { "" };
        style.result(&format!(
            "{space}{}: {} is rejected: {}",
            refused.lane, refused.candidate, refused.why
        ));
    }
}

/// The price of a spot box is not known, and never more than the list price.
fn hourly(price: &Price, is_spot: bool) -> String {
    match price {
        Price::Free => "free".to_owned(),
        Price::Hourly { amount, day, .. } if is_spot => format!("at most {amount} (not spot, on {day})"),
        Price::Hourly { amount, day, .. } => format!("{amount} (on {day})"),
        Price::Unknown => "unknown".to_owned(),
    }
}

fn costs(priced: &Priced<'_>) -> (String, String) {
    match (&priced.cost, &priced.price) {
        (Some(cost), _) => (cost.estimated.to_string(), cost.worst.to_string()),
        (None, Price::Free) => ("free".to_owned(), "free".to_owned()),
        (None, _) => ("unknown".to_owned(), "unknown".to_owned()),
    }
}

fn lane_text(lane: &LanePlan, shown: &Shown<'_>) -> String {
    let mut lines = vec![format!(
        "lane {}: kvm {}, box {} for {} at most",
        lane.name,
        lane.need,
        lane.label,
        show_length(lane.ttl)
    )];
    let candidates = shown.candidates.iter().filter(|priced| priced.lane == lane.name);
    let dead_men: BTreeMap<&ProviderName, &String> = candidates
        .filter_map(|priced| Some((&priced.candidate.provider, priced.dead_mans_switch.as_ref()?)))
        .collect();
    for (provider, dead_mans_switch) in dead_men {
        lines.push(format!(
            "  if this machine is lost, at {provider}: {dead_mans_switch}"
        ));
    }
    let rows = lane.checks.iter().map(|check| {
        vec![
            format!("  {}", check.name),
            show_length(check.timeout),
            check.run.replace('\n', " "),
        ]
    });
    lines.push(fitted(&["  check", "at most", "command"], rows));
    lines.join("\n")
}
