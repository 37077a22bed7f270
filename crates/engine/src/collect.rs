//! Brings back what a box has to show: artifacts, JUnit files, cloud-init's and stage 1's logs, the serial console.
//! On failure too; within a time budget; and it never holds up a destroy.

use std::time::Duration;

use model::{
    event::{Event, Step},
    render::{GATE_ANSWER_PATH, STAGE1_LOG_PATH},
};

use crate::{lane::Lane, link::Link, time::within};

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
    lane.emit(Event::StepBegan { step: Step::Collect });
    let mut files = Vec::new();
    let mut missing = Vec::new();
    match within(lane.world, CONSOLE_MAX, console(lane)).await {
        Some(Ok(found)) => files.extend(found),
        Some(Err(why)) => missing.push(format!("console: {why}")),
        None => missing.push(format!("console: not there after {} s", CONSOLE_MAX.as_secs())),
    }
    match within(lane.world, COLLECT_MAX, fetch(lane, link)).await {
        Some((found, why)) => {
            files.extend(found);
            missing.extend(why);
        }
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
async fn fetch(lane: &Lane<'_>, link: &Link) -> (Vec<String>, Vec<String>) {
    let Some(session) = link.session() else {
        return (Vec::new(), Vec::new());
    };
    let mut files = Vec::new();
    let mut missing = Vec::new();
    let logs = LOGS.iter().map(|&path| path.to_owned()).collect();
    for (dir, paths) in [("logs", logs), ("artifacts", wanted(lane))] {
        if paths.is_empty() {
            continue;
        }
        match session.fetch(&paths, &lane.dir().join(dir)).await {
            Ok(found) => files.extend(
                found
                    .into_iter()
                    .map(|path| format!("{}/{dir}/{}", lane.lane.name, below(&path))),
            ),
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

fn wanted(lane: &Lane<'_>) -> Vec<String> {
    let Some(source) = lane.plan.sources.first() else {
        return Vec::new();
    };
    let named = lane.lane.checks.iter().flat_map(|check| {
        check
            .junit
            .iter()
            .chain(&check.artifacts)
            .cloned()
            .chain(check.record())
    });
    named
        .map(|path| format!("{}/./{path}", source.remote_dir()))
        .collect()
}
