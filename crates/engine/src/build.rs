//! Compiles a lane's tests on this machine, where that is wanted and can be, and takes them to the box. What stands in
//! the way of that is said, and the box compiles them.

use model::{
    build::{ArchiveOrder, BUILD_PATH, BoxFacts, Build, BuildOrder, Built, FACTS, PLACE, SAME_PATH, Suite},
    check::Check,
    event::Step,
    plan::{LanePlan, Plan},
    source::Source,
    world::Command,
};

use crate::{
    begun::have_begun,
    lane::Lane,
    link::{Link, failed},
    shards::Compiled,
    sync::sync_again,
};

/// How often what changes while it is compiled is compiled again.
const ROUNDS_MAX: u32 = 3;

/// A check, ready to run.
pub(crate) struct Prepared {
    /// The check, as the box runs it.
    pub(crate) check: Check,
    /// What cargo printed, where its tests do not compile: there is nothing to run then.
    pub(crate) mistakes: Option<String>,
}

impl Prepared {
    fn as_it_is(check: &Check) -> Self {
        Self {
            check: check.clone(),
            mistakes: None,
        }
    }
}

/// Returns the lane's checks as they are: the box compiles what it runs.
pub(crate) fn in_box(lane: &Lane<'_>) -> Vec<Prepared> {
    lane.lane.checks.iter().map(Prepared::as_it_is).collect()
}

/// Returns the lane's checks as the box runs them: those whose tests were compiled here run them from there.
pub(crate) async fn build(lane: &Lane<'_>, link: &Link) -> Vec<Prepared> {
    let mut prepared = in_box(lane);
    let suites = suites(lane);
    let (Some(source), false) = (lane.plan.sources.first(), suites.is_empty()) else {
        return prepared;
    };
    // What runs there was compiled from the sources of then.
    if have_begun(lane, link).await {
        return prepared;
    }
    let Some(facts) = facts(lane, link, source).await else {
        return prepared;
    };
    let order = order(lane, source, &suites, facts);
    let work = async { Ok(compiled(lane, link, &order).await) };
    match lane.step(Step::Build, work).await {
        Ok(Ok(built)) => {
            for (at, suite) in &suites {
                let number = order
                    .archives
                    .iter()
                    .position(|archive| *archive == suite.archive);
                let Some((number, archive)) = number.and_then(|at| Some((at, built.archives.get(at)?)))
                else {
                    continue;
                };
                let prepared = &mut prepared[*at];
                prepared.check = suite.check(&prepared.check, number, source, &built, &order.facts);
                prepared.mistakes = archive.clone().err();
            }
            lane.shards
                .compiled_for(&lane.lane.name, Compiled { built, order });
        }
        Ok(Err(why)) => lane.notice(format!("{}: the box compiles the tests: {why}", lane.lane.name)),
        Err(_) => {}
    }
    prepared
}

/// Returns a check that the lane took over as its box runs it: from what was compiled for the lane's own, as the sources there
/// are of then.
pub(crate) fn taken_over(lane: &Lane<'_>, check: &Check) -> Prepared {
    let compiled = lane.shards.compiled(&lane.lane.name);
    let from_there = compiled.and_then(|compiled| compiled.check(check));
    Prepared::as_it_is(from_there.as_ref().unwrap_or(check))
}

/// Returns the checks whose tests can be compiled apart, by their place among the lane's. Of others a lane hears that asks for it.
fn suites(lane: &Lane<'_>) -> Vec<(usize, Suite)> {
    let LanePlan {
        name, build, checks, ..
    } = lane.lane;
    if *build == Build::Box {
        return Vec::new();
    }
    let mut suites = Vec::new();
    for (at, check) in checks.iter().enumerate() {
        let why = match Suite::of(check) {
            // The sources are under their path of here until a reboot.
            Some(Ok(_)) if checks.iter().any(|check| check.reboot) => {
                "a check of the lane may reboot it".to_owned()
            }
            Some(Ok(suite)) => {
                suites.push((at, suite));
                continue;
            }
            Some(Err(why)) => why,
            None => continue,
        };
        if *build == Build::Here {
            lane.notice(format!(
                "{name}: the box compiles the tests of {}: {why}",
                check.name
            ));
        }
    }
    suites
}

/// Returns what the box is; none where it is to compile its tests itself, or does not answer: of that the checks have more to
/// say.
async fn facts(lane: &Lane<'_>, link: &Link, source: &Source) -> Option<BoxFacts> {
    let which = if lane.lane.build == Build::Auto {
        "emulated"
    } else {
        "any"
    };
    let words = [FACTS, &source.user, &source.remote_dir(), which];
    let facts = script(lane, link, &words).await.ok()?;
    (!facts.is_empty()).then(|| BoxFacts::read(&facts))
}

fn order(lane: &Lane<'_>, source: &Source, suites: &[(usize, Suite)], facts: BoxFacts) -> BuildOrder {
    let mut archives: Vec<ArchiveOrder> = Vec::new();
    for (_, suite) in suites {
        if !archives.contains(&suite.archive) {
            archives.push(suite.archive.clone());
        }
    }
    let Plan {
        system, toolchain, ..
    } = lane.plan;
    BuildOrder {
        name: lane.lane.label.to_string(),
        source: source.clone(),
        archives,
        has_nextest: suites.iter().any(|(_, suite)| suite.has_nextest()),
        sysroot: toolchain.as_ref().map(|toolchain| toolchain.sysroot.clone()),
        channel: system.rust.as_ref().map(|rust| rust.toolchain.clone()),
        facts,
    }
}

/// Compiles the tests, sees whether the box can run them, and only then takes them there.
async fn compiled(lane: &Lane<'_>, link: &Link, order: &BuildOrder) -> Result<Built, String> {
    let (source, progress) = (&order.source, &lane.progress(Step::Build));
    let built = of_what_is_there(lane, link, order).await?;
    if built.archives.iter().all(Result::is_err) {
        return Ok(built);
    }
    if let Some(why) = order.facts.refuse_built(&built) {
        return Err(why);
    }
    let (there, user) = (source.remote_dir(), source.user.as_str());
    let why = script(lane, link, &[SAME_PATH, &there, source.path.as_str(), user]).await?;
    if !why.is_empty() {
        return Err(why);
    }
    let dir = &built.dir;
    link.over(lane.world, |session| async move {
        session.send_dir(dir, BUILD_PATH, progress).await
    })
    .await
    .map_err(|error| format!("what was compiled could not be copied: {error}"))?;
    // No file has a second name across a mount: it goes by the sources' own path there.
    let below = built.there.strip_prefix(&source.path).unwrap_or(&built.there);
    let (from, to) = (format!("{BUILD_PATH}/target"), format!("{there}/{below}"));
    script(lane, link, &[PLACE, &from, &to, user]).await?;
    Ok(built)
}

/// Compiles until what was compiled is what the box has a copy of.
async fn of_what_is_there(lane: &Lane<'_>, link: &Link, order: &BuildOrder) -> Result<Built, String> {
    let progress = &lane.progress(Step::Build);
    for _ in 0..ROUNDS_MAX {
        let built = lane.world.builder.build(order, progress).await?;
        let has_changed = sync_again(lane, link, Step::Build).await;
        if !has_changed.map_err(|refusal| refusal.why)? {
            return Ok(built);
        }
    }
    Err("the sources changed again and again while they were compiled".to_owned())
}

/// Runs a script on the box, the first of the words, with the others as its arguments. Returns what it printed.
async fn script(lane: &Lane<'_>, link: &Link, words: &[&str]) -> Result<String, String> {
    let (script, arguments) = words.split_first().expect("it begins with the script");
    let command = Command::new([&["sh", "-c", script, "sh"], arguments].concat());
    let output = link
        .output(lane.world, &command)
        .await
        .map_err(|error| error.to_string())?;
    match output.code {
        Some(0) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        // The script itself is nothing to read.
        _ => Err(failed(&Command::new(["sh"]), &output).to_string()),
    }
}
