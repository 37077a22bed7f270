//! `twolane providers`: the capability table, read off the providers themselves; and the contract check of an adapter.

use camino::Utf8Path;
use model::{
    config,
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
};
use serde::Serialize;

use ::providers::shell::{Checked, Mistake, ShellSettings, check};

use super::kvm;
use crate::{
    adapters::is_adapter,
    args::{ProvidersArgs, ProvidersCommand},
    context::Context,
    exit::Exit,
    known::KnownProvider,
    problem::{Problem, Result},
    show::table::fitted,
    world::providers,
};

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
    dead_mans_switch: String,
    missing: Option<&'a ProviderError>,
}

impl<'a> Row<'a> {
    fn of(name: &'a str, known: &'a KnownProvider) -> Self {
        let provider = &known.provider;
        Self {
            provider: name,
            default_instance_type: provider.default_choice().0.to_owned(),
            default_region: provider.default_choice().1.to_owned(),
            lists: provider.listing().is_some(),
            preflight: provider.preflight().is_some(),
            prices: provider.prices().is_some(),
            console: provider.console().is_some(),
            own_deadline: provider.own_deadline().is_some(),
            dead_mans_switch: provider.profile().dead_mans_switch.clone(),
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

/// Prints the table, or that of KVM, or checks an adapter.
pub(crate) fn run(context: &Context, args: &ProvidersArgs) -> Result {
    match &args.command {
        Some(ProvidersCommand::Check { file }) => run_check(context, &context.dir.join(file)),
        Some(ProvidersCommand::Permissions { cloud }) => print_permissions(context, cloud),
        None if args.kvm => {
            let providers = providers(&context.paths()?, &config::Local::default())?;
            kvm::run(context, args, &providers)
        }
        None => print_table(context),
    }
}

fn print_table(context: &Context) -> Result {
    let mut providers = providers(&context.paths()?, &config::Local::default())?;
    for (_, known) in providers.iter_mut().filter(|(name, _)| is_adapter(name)) {
        known.missing = known.provider.refuse("", KvmNeed::None);
    }
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
    context.style.result(&fitted(&head, rows.iter().map(Row::cells)));
    for row in &rows {
        if let Some(error) = row.missing {
            let help = error.help.as_deref().unwrap_or("twolane doctor says more");
            context.style.result(&format!("{error}; {help}"));
        }
        // One that cannot make a box here says why it cannot, and that is all.
        if row.missing.is_some_and(|error| error.kind == ErrorKind::Invalid) {
            continue;
        }
        context.style.result(&format!(
            "{}: how a box ends if this machine is lost: {}",
            row.provider, row.dead_mans_switch
        ));
    }
    Ok(Exit::Passed)
}

fn print_permissions(context: &Context, cloud: &str) -> Result {
    let Some(permissions) = ::providers::permissions(cloud) else {
        let problem = Problem::usage(format!("`{cloud}` is no cloud that needs permissions"));
        return Err(problem.help("twolane providers lists those that there are"));
    };
    if context.style.is_json {
        let found = serde_json::json!({ "provider": cloud, "permissions": permissions });
        context.style.document(&found);
    } else {
        context.style.result(permissions);
    }
    Ok(Exit::Passed)
}

/// What a check found, for programs.
#[derive(Serialize)]
struct Found<'a> {
    file: &'a Utf8Path,
    is_good: bool,
    #[serde(flatten)]
    checked: Option<&'a Checked>,
    mistakes: &'a [Mistake],
}

fn run_check(context: &Context, file: &Utf8Path) -> Result {
    let found = check(file, &ShellSettings::default());
    if context.style.is_json {
        context.style.document(&Found {
            file,
            is_good: found.is_ok(),
            checked: found.as_ref().ok(),
            mistakes: found.as_ref().err().map_or(&[], |mistakes| mistakes.as_slice()),
        });
        return Ok(if found.is_ok() { Exit::Passed } else { Exit::Usage });
    }
    match found {
        Ok(checked) => {
            context.style.result(&format!(
                "{file} keeps to the contract: provider {}, {} in {} by default",
                checked.provider, checked.default_instance_type, checked.default_region
            ));
            Ok(Exit::Passed)
        }
        Err(mistakes) => {
            let count = match mistakes.len() {
                1 => "a mistake".to_owned(),
                count => format!("{count} mistakes"),
            };
            let problem = Problem::usage(format!("{file} has {count}"));
            let problem = mistakes.iter().fold(problem, Problem::because);
            Err(problem.help("docs/shell-adapters.md has the contract, with an example"))
        }
    }
}
