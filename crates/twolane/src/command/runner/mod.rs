//! `twolane runner`: boxes of a lane as runners of a CI service, for as long as the process lives.

mod boxes;
mod credentials;
mod status;

use std::{sync::Arc, time::Duration};

use engine::runner::{CannotServe, Runner, caps::Caps, pool::Terms, serve};
use model::{
    jobs::{RunnerProgram, runner_plan},
    money::Money,
    name::Label,
    plan::{Plan, why_dear},
    price::Price,
    report::Report,
    world::World,
};

use self::boxes::BoxRuns;
use super::run::planned;
use crate::{
    args::{GithubArgs, PoolArgs, RunnerArgs, RunnerCommand},
    context::Context,
    exit::Exit,
    known::Providers,
    planning,
    problem::{Problem, Result},
    project::{self, Project},
    scale_set::{self, Registration, ScaleSet},
    show::Fan,
    world::{Watched, block_on, providers},
};

/// Longest name: what else a label and a lock need fits behind it.
const NAME_MAX: usize = 30;

/// Names of variables that no box and no check ever gets.
const SECRETS: &str = "TWOLANE_GITHUB_";

/// The time over which the cost of an hour is judged.
const HOUR: Duration = Duration::from_secs(3600);

/// Serves jobs.
pub(crate) fn run(context: &Context, args: &RunnerArgs) -> Result {
    match &args.command {
        RunnerCommand::Github(args) => github(context, args),
        RunnerCommand::Status => status::run(context),
    }
}

fn github(context: &Context, args: &GithubArgs) -> Result {
    check_name(&args.name)?;
    let program = match &args.service.runner_archive {
        None => RunnerProgram::OnBox,
        Some(given) => RunnerProgram::parse(given).ok_or_else(|| {
            Problem::usage(format!("could not use the runner program `{given}`"))
                .because("it is not an address with its checksum")
                .help("write it like --runner-archive https://HOST/PATH.tar.gz:sha256:CHECKSUM")
        })?,
    };
    let client = scale_set::client(&args.url, credentials::find(&args.service)?)?;
    let mut project = project::find(&context.dir)?;
    project.config.local.is_cold |= args.boxes.cold;
    let (plan, terms) = plan_of(context, &project, args)?;
    let plan = runner_plan(plan, &args.name, &program);
    block_on(async {
        let registration = Registration {
            url: &args.url,
            name: &args.name,
            group: args.service.group.as_deref(),
            labels: &args.service.labels,
        };
        let owner = plan.owner.host.clone().unwrap_or_else(|| "twolane".to_owned());
        let jobs = ScaleSet::register(client, &registration, owner).await?;
        context.style.message(&format!(
            "runner {} serves {}: up to {} boxes of lane {}",
            args.name, args.url, terms.max, args.lane
        ));
        let exit = serve_jobs(context, &project, (&args.name, &plan, &terms), &jobs).await;
        jobs.close().await;
        exit
    })
}

async fn serve_jobs(
    context: &Context,
    project: &Project,
    (name, plan, terms): (&str, &Plan, &Terms),
    jobs: &ScaleSet,
) -> Result {
    let paths = context.paths()?;
    let watched = Watched::open(context, &paths, &project.config.local, None, Report::default())?;
    let runs = BoxRuns::new(context.style, &paths, name, &watched);
    let mut environment = watched.world.environment.clone();
    environment.retain(|name, _| !name.starts_with(SECRETS));
    let world = World {
        // Not the terminal's redrawn lines: they keep something of every box for ever.
        events: Arc::new(Fan(runs.readers())),
        environment,
        ..watched.world.clone()
    };
    let runner = Runner {
        name,
        plan,
        terms,
        jobs,
        runs: &runs,
    };
    let outcome = serve(runner, &world).await;
    watched.finish();
    let verdict = outcome.map_err(cannot_serve)?;
    if let Some(left) = watched.standing.left() {
        context.style.message(&left);
    }
    Ok(Exit::from(verdict))
}

fn cannot_serve(error: CannotServe) -> Problem {
    match error {
        CannotServe::Journal(error) => error.into(),
        CannotServe::Held(name) => Problem::usage(format!("could not be runner {name}"))
            .because("another twolane is, on this machine and with this state directory")
            .help("stop that one first, or choose another --name"),
        CannotServe::Name(error) => Problem::usage("could not use the name of the runner").because(error),
    }
}

/// The name becomes part of labels and of a lock's name.
fn check_name(name: &str) -> Result<()> {
    let why = match Label::new(name) {
        Err(error) => error.why,
        Ok(_) if name.len() > NAME_MAX => "it is longer than 30 characters",
        Ok(_) => return Ok(()),
    };
    Err(
        Problem::usage(format!("could not use the name `{name}` for a runner"))
            .because(why)
            .help("choose one like kvm or kvm-arm64"),
    )
}

/// Plans the boxes, and what they may cost.
fn plan_of(context: &Context, project: &Project, args: &GithubArgs) -> Result<(Plan, Terms)> {
    if args.boxes.label.is_some() {
        return Err(
            Problem::usage("could not use --label, or TWOLANE_LABEL, for a runner")
                .because("it has many boxes, and every one needs a name of its own")
                .help("leave it out: the boxes are named after the runner and its lane"),
        );
    }
    let mut asked = planning::asked_of_boxes(&args.boxes)?;
    asked.lanes = vec![args.lane.clone()];
    let mut plan = planned(context, project, &asked)?;
    let providers = providers(&context.paths()?, &project.config.local)?;
    let caps = caps(context, &mut plan, &args.pool, &providers)?;
    let ttl = plan.lanes.first().map(|lane| lane.ttl).unwrap_or_default();
    let PoolArgs {
        max,
        warm,
        idle,
        grace,
        ..
    } = args.pool;
    let terms = Terms {
        max: max.into(),
        warm: warm.into(),
        idle,
        ttl,
        grace,
        caps,
    };
    Ok((plan, terms))
}

/// Reads the caps, and takes out of the plan who cannot be held to them.
fn caps(context: &Context, plan: &mut Plan, args: &PoolArgs, providers: &Providers) -> Result<Caps> {
    let per_hour = amounts("--max-cost-per-hour", args.max_cost_per_hour.as_deref())?;
    let per_day = amounts("--max-cost-per-day", args.max_cost_per_day.as_deref())?;
    let mut prices = Vec::new();
    for lane in &mut plan.lanes {
        let mut refused = Vec::new();
        for candidate in std::mem::take(&mut lane.candidates) {
            let price = planning::price(&candidate, providers);
            let dear = why_dear(&price, HOUR, &per_hour).or_else(|| why_dear(&price, lane.ttl, &per_day));
            match dear {
                Some(why) => refused.push(format!("{candidate}: {why}")),
                None => {
                    prices.push(price);
                    lane.candidates.push(candidate);
                }
            }
        }
        if lane.candidates.is_empty() {
            let problem = Problem::usage(format!(
                "no candidate of lane {} keeps to the costs of the runner",
                lane.name
            ));
            return Err(refused
                .into_iter()
                .fold(problem, Problem::because)
                .help("raise --max-cost-per-hour or --max-cost-per-day, or name cheaper `boxes`"));
        }
        for refused in refused {
            context
                .style
                .message(&format!("note: {} is rejected: {refused}", lane.name));
        }
    }
    prices.retain(|price| *price != Price::Free);
    Ok(Caps {
        prices,
        per_hour,
        per_day,
    })
}

fn amounts(option: &str, given: Option<&str>) -> Result<Vec<Money>> {
    let Some(given) = given else { return Ok(Vec::new()) };
    Money::parse_limits(given).ok_or_else(|| {
        Problem::usage(format!("could not read {option}"))
            .because(format!("`{given}` is not an amount of money"))
            .help(format!("write it like {option} '5 USD', or '5 USD, 5 EUR'"))
    })
}
