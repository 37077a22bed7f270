//! `twolane providers`: the capability table, read off the providers themselves.

use model::{config, error::ProviderError};
use serde::Serialize;

use super::Context;
use crate::{exit::Exit, planning::Known, problem::Result, show::table::table, world::providers};

#[derive(Serialize)]
struct Row<'a> {
    provider: &'a str,
    default_instance_type: String,
    default_region: String,
    lists: bool,
    preflight: bool,
    prices: bool,
    console: bool,
    own_deadline: bool,
    dead_man: String,
    missing: Option<&'a ProviderError>,
}

impl<'a> Row<'a> {
    fn of(name: &'a str, known: &'a Known) -> Self {
        let provider = &known.provider;
        Self {
            provider: name,
            default_instance_type: provider.default_instance_type().to_owned(),
            default_region: provider.default_region().to_owned(),
            lists: provider.listing().is_some(),
            preflight: provider.preflight().is_some(),
            prices: provider.prices().is_some(),
            console: provider.console().is_some(),
            own_deadline: provider.own_deadline().is_some(),
            dead_man: provider.dead_man(),
            missing: known.missing.as_ref(),
        }
    }

    fn cells(&self) -> Vec<String> {
        let mark = |is_able: bool| if is_able { "yes" } else { "-" }.to_owned();
        vec![
            self.provider.to_owned(),
            mark(self.missing.is_none()),
            self.default_instance_type.clone(),
            self.default_region.clone(),
            mark(self.lists),
            mark(self.preflight),
            mark(self.prices),
            mark(self.console),
            mark(self.own_deadline),
        ]
    }
}

/// Prints the table.
pub(crate) fn run(context: &Context) -> Result {
    let providers = providers(&context.paths()?, &config::Local::default())?;
    let rows: Vec<Row> = providers
        .iter()
        .map(|(name, known)| Row::of(name.as_str(), known))
        .collect();
    if context.style.is_json {
        context.style.document(&rows);
        return Ok(Exit::Passed);
    }
    let head = [
        "provider",
        "usable here",
        "default type",
        "default region",
        "lists",
        "preflight",
        "prices",
        "console",
        "own deadline",
    ];
    context.style.result(&table(&head, rows.iter().map(Row::cells)));
    for row in &rows {
        if let Some(error) = row.missing {
            let help = error.help.as_deref().unwrap_or("twolane doctor says more");
            context.style.result(&format!("{error}; {help}"));
        }
        context.style.result(&format!(
            "{}: how a box ends if this machine burns down: {}",
            row.provider, row.dead_man
        ));
    }
    Ok(Exit::Passed)
}
