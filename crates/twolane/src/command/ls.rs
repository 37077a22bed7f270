//! `twolane ls`: the boxes, as the journal and the providers know them.

use std::collections::BTreeMap;

use futures::future::join_all;
use model::{
    config,
    journal::{Held, HeldState},
    machine::{Listed, ResourceKind},
    name::Label,
    time::{Deadline, Timestamp, show_length},
};
use serde::Serialize;

use super::boxes;
use crate::{
    context::Context,
    exit::Exit,
    known::{Providers, usable},
    problem::Result,
    show::table::fitted,
    world::{block_on, journal, providers},
};

/// One box.
#[derive(Debug, Serialize)]
struct Row {
    label: Option<Label>,
    provider: String,
    /// What the journal says.
    state: String,
    /// What the provider says.
    listed: Option<String>,
    run: Option<String>,
    address: Option<String>,
    deadline: Option<Deadline>,
    is_kept: bool,
}

/// Lists them.
pub(crate) fn run(context: &Context) -> Result {
    let paths = context.paths()?;
    let providers = providers(&paths, &config::Local::default())?;
    let rows = block_on(async {
        let mut rows = Vec::new();
        if paths.has_journal()? {
            let journal = journal(&paths)?;
            boxes::notice_unfinished(context, &paths, &*journal).await?;
            let holdings = boxes::holdings(&*journal).await?;
            rows.extend(holdings.boxes.into_values().map(known));
        }
        add_listed(context, &mut rows, &providers).await;
        Ok(rows)
    })?;
    if context.style.is_json {
        context.style.document(&rows);
        return Ok(Exit::Passed);
    }
    if rows.is_empty() {
        context.style.result("no box");
        return Ok(Exit::Passed);
    }
    let now = Timestamp::now();
    let head = ["label", "provider", "state", "address", "time left", "run"];
    context
        .style
        .result(&fitted(&head, rows.iter().map(|row| cells(row, now))));
    Ok(Exit::Passed)
}

fn known(held: Held) -> Row {
    let state = match &held.state {
        HeldState::Intended => "asked for".to_owned(),
        HeldState::Unknown(why) => format!("unknown: {why}"),
        HeldState::Up => "up".to_owned(),
        HeldState::Leaving => "being destroyed".to_owned(),
        HeldState::Left(why) => format!("left: {why}"),
    };
    Row {
        provider: held.candidate.provider.to_string(),
        state,
        listed: None,
        run: Some(held.run.to_string()),
        address: held
            .machine
            .map(|machine| format!("{}:{}", machine.address, machine.port)),
        deadline: Some(held.tags.deadline),
        is_kept: held.is_kept,
        label: Some(held.tags.label),
    }
}

/// Adds what the providers say, and boxes that only they know of.
async fn add_listed(context: &Context, rows: &mut Vec<Row>, providers: &Providers) {
    let mut listed: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    let usable = usable(providers);
    let asked = usable
        .iter()
        .filter_map(|(name, provider)| Some((name, provider.listing()?)));
    let answers = join_all(asked.map(|(name, listing)| async move { (name, listing.list().await) })).await;
    for (name, answer) in answers {
        match answer {
            Ok(found) => {
                listed.insert(name.to_string(), found);
            }
            Err(error) => context.style.message(&format!("warning: {error}")),
        }
    }
    for (provider, found) in listed {
        for row in rows.iter_mut().filter(|row| row.provider == provider) {
            row.listed = Some("not listed".to_owned());
        }
        for machine in found
            .into_iter()
            .filter(|listed| listed.kind == ResourceKind::Machine)
        {
            add(rows, &provider, machine);
        }
    }
}

fn add(rows: &mut Vec<Row>, provider: &str, listed: Listed) {
    let label = listed.tags.as_ref().map(|tags| tags.label.clone());
    let is_same = |row: &&mut Row| row.provider == provider && label.is_some() && row.label == label;
    if let Some(row) = rows.iter_mut().find(is_same) {
        row.listed = Some(listed.state);
        return;
    }
    rows.push(Row {
        provider: provider.to_owned(),
        state: "not in this journal".to_owned(),
        run: listed.tags.as_ref().map(|tags| tags.run.to_string()),
        address: listed.address.map(|address| address.to_string()),
        deadline: listed.tags.as_ref().map(|tags| tags.deadline),
        listed: Some(listed.state),
        is_kept: false,
        label,
    });
}

fn cells(row: &Row, now: Timestamp) -> Vec<String> {
    let left = match row.deadline {
        Some(deadline) if deadline.is_over(now) => "overdue".to_owned(),
        Some(deadline) => show_length(deadline.left(now)),
        None => "unknown".to_owned(),
    };
    let kept = if row.is_kept { ", kept" } else { "" };
    let listed = match &row.listed {
        Some(listed) if *listed != row.state => format!(" ({listed})"),
        _ => String::new(),
    };
    vec![
        row.label.as_ref().map_or("?", Label::as_str).to_owned(),
        row.provider.clone(),
        format!("{}{kept}{listed}", row.state),
        row.address.clone().unwrap_or_default(),
        left,
        row.run.clone().unwrap_or_default(),
    ]
}
