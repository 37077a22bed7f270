//! Brings back what a box has to show: artifacts, JUnit files, cloud-init's and stage 1's logs, the serial console.
//! On failure too; within a time budget; and it never holds up a destroy.

use std::time::Duration;

use model::{
    check::Check,
    error::RemoteError,
    event::{Event, Step},
    render::{GATE_ANSWER_PATH, STAGE1_LOG_PATH},
};

use crate::{alive::while_alive, lane::Lane, link::Link, time::within};

/// How long bringing back may take.
pub const COLLECT_MAX: Duration = Duration::from_secs(90);

/// How long the console may take, which some providers take minutes to give.
const CONSOLE_MAX: Duration = Duration::from_secs(15);

/// What every box has to show, as far as it got.
const LOGS: [&str; 4] = [
    "/var/log/cloud-init.log",
    "/var/log/cloud-init-output.log",
    STAGE1_LOG_PATH,
    GATE_ANSWER_PATH,
];

/// Brings back what the lane's box has to show into the run's directory.
pub async fn collect(lane: &Lane<'_>, link: &Link) {
    collect_of(lane, link, &lane.lane.checks).await;
}

/// Brings back what comes while the lane's box is destroyed: one that is gone first has lost its connection.
pub(crate) async fn collect_before_it_is_gone(lane: &Lane<'_>, link: &Link) {
    bring_back(lane, link, &lane.lane.checks, true).await;
}

/// Brings back what these checks have to show, and the box.
pub(crate) async fn collect_of(lane: &Lane<'_>, link: &Link, checks: &[Check]) {
    bring_back(lane, link, checks, false).await;
}

async fn bring_back(lane: &Lane<'_>, link: &Link, checks: &[Check], is_being_destroyed: bool) {
    lane.emit(Event::StepBegan { step: Step::Collect });
    let mut files = Vec::new();
    let mut missing = Vec::new();
    match within(lane.world, CONSOLE_MAX, console(lane)).await {
        Some(Ok(found)) => files.extend(found),
        Some(Err(why)) => missing.push(format!("console: {why}")),
        None => missing.push(format!("console: not there after {} s", CONSOLE_MAX.as_secs())),
    }
    let fetching = while_alive(lane, link, async {
        Ok(fetch(lane, link, checks, is_being_destroyed).await)
    });
    match within(lane.world, COLLECT_MAX, fetching).await {
        Some(Ok((found, why))) => {
            files.extend(found);
            missing.extend(why);
        }
        Some(Err(refusal)) => missing.push(refusal.why),
        None => missing.push(format!(
            "files from the box: not there after {} s",
            COLLECT_MAX.as_secs()
        )),
    }
    let failure = (!missing.is_empty()).then(|| missing.join("; "));
    lane.emit(Event::Collected { files, missing });
    lane.emit(Event::StepEnded {
        step: Step::Collect,
        failure,
    });
}

async fn console(lane: &Lane<'_>) -> Result<Option<String>, String> {
    let tried = lane
        .lane
        .candidates
        .iter()
        .filter_map(|candidate| lane.world.providers.get(&candidate.provider));
    for provider in tried {
        let Some(console) = provider.console() else {
            continue;
        };
        // A candidate that was rejected has no such box any more; the next one may.
        let Ok(bytes) = console.console(&lane.lane.label).await else {
            continue;
        };
        let path = lane.dir().join("console.log");
        lane.world.files.write(&path, &bytes).await?;
        return Ok(Some(format!("{}/console.log", lane.lane.name)));
    }
    Ok(None)
}

/// Brings back logs and what the checks name. Nothing is fetched over a connection that was never there.
async fn fetch(
    lane: &Lane<'_>,
    link: &Link,
    checks: &[Check],
    is_being_destroyed: bool,
) -> (Vec<String>, Vec<String>) {
    let Some(session) = link.session() else {
        return (Vec::new(), Vec::new());
    };
    let mut files = Vec::new();
    let mut missing = Vec::new();
    let logs = LOGS.iter().map(|&path| path.to_owned()).collect();
    // What is needed to judge comes first: the rest may be more than may come.
    let (results, others) = wanted(lane, checks);
    for (dir, paths) in [("logs", logs), ("artifacts", results), ("artifacts", others)] {
        if paths.is_empty() {
            continue;
        }
        match session
            .fetch(&paths, &lane.dir().join(dir), (&lane.plan.limits, lane.budget))
            .await
        {
            Ok(fetched) => {
                missing.extend(fetched.cut.map(|why| format!("{dir}: {why}")));
                let names = fetched.paths.iter().map(|path| below(path));
                files.extend(names.map(|name| format!("{}/{dir}/{name}", lane.lane.name)));
            }
            Err(RemoteError::Lost(_) | RemoteError::Unreachable(_)) if is_being_destroyed => {
                missing.push("files from the box: it was destroyed first".to_owned());
                break;
            }
            Err(error) => missing.push(format!("{dir}: {error}")),
        }
    }
    (files, missing)
}

/// Returns the name under which a path was brought back.
fn below(path: &str) -> &str {
    path.split_once("/./")
        .map_or(path.trim_start_matches('/'), |(_, name)| name)
}

/// Returns what the checks name: their results, and what else they leave.
fn wanted(lane: &Lane<'_>, checks: &[Check]) -> (Vec<String>, Vec<String>) {
    let Some(source) = lane.plan.sources.first() else {
        return (Vec::new(), Vec::new());
    };
    let there = |path: String| format!("{}/./{path}", source.remote_dir());
    let results = checks
        .iter()
        .flat_map(|check| check.junit.iter().cloned().chain(check.record()));
    let others = checks.iter().flat_map(|check| check.artifacts.iter().cloned());
    (results.map(there).collect(), others.map(there).collect())
}
