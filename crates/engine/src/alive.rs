//! Notices that a box has died while a lane waits for it. Its provider knows long before a connection gives up.

use std::{future::pending, pin::pin, time::Duration};

use futures::future::{Either, select};
use model::{
    event::Step,
    machine::{Health, Machine},
    text::last_lines,
    world::{Progress, Provider},
};

use crate::{
    lane::{Lane, Refusal},
    link::Link,
    time::within,
};

/// How often the provider is asked about a box that says nothing.
const PAUSE: Duration = Duration::from_secs(4);

/// How soon it is asked again when it says that the box is dead.
const CONFIRM: Duration = Duration::from_secs(2);

/// How often in a row it must say so: one answer of an API may be stale. A list may miss what is there for longer.
const DEAD_MIN: u32 = 2;
const MISSING_MIN: u32 = 3;

/// How long the console of a dead box may take.
const CONSOLE_MAX: Duration = Duration::from_secs(5);

/// How many lines of it are shown.
const CONSOLE_LINES: usize = 15;

/// Returns what `work` gives; or a refusal, as soon as the provider says that the box is dead. `work` is dropped then,
/// and the link leads nowhere.
pub(crate) async fn while_alive<T>(
    lane: &Lane<'_>,
    link: &Link,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    watched(lane, link, None, work).await
}

/// Does the same while the box boots, and reports how far it is as progress of `step`.
pub(crate) async fn while_booting<T>(
    lane: &Lane<'_>,
    link: &Link,
    step: Step,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    watched(lane, link, Some(step), work).await
}

async fn watched<T>(
    lane: &Lane<'_>,
    link: &Link,
    step: Option<Step>,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let Some(machine) = link.machine() else {
        return work.await;
    };
    let Some(provider) = lane.world.providers.get(&machine.provider) else {
        return work.await;
    };
    let death = pin!(death(lane, link, &**provider, &machine, step));
    match select(pin!(work), death).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((why, _)) => {
            link.cut();
            let console = console(lane, &**provider).await;
            let label = &machine.label;
            Err(Refusal::of_death(format!("box {label} has died: {why}{console}")))
        }
    }
}

/// Waits until the provider says again and again that the box is dead, and returns what it says. A provider that does
/// not answer has said nothing.
async fn death(
    lane: &Lane<'_>,
    link: &Link,
    provider: &dyn Provider,
    machine: &Machine,
    step: Option<Step>,
) -> String {
    let clock = &*lane.world.clock;
    let mut suspicions = 0;
    let mut reported = String::new();
    loop {
        clock.sleep(if suspicions > 0 { CONFIRM } else { PAUSE }).await;
        if link.has_answered_within(clock, PAUSE) {
            suspicions = 0;
            continue;
        }
        let (why, enough) = match provider.health(machine).await {
            Ok(Health::Unknown) => return pending().await,
            Ok(Health::Running(standing)) => {
                suspicions = 0;
                if let Some(step) = step.filter(|_| standing != reported) {
                    lane.progress(step).report(&standing, None);
                    reported = standing;
                }
                continue;
            }
            Ok(Health::Missing) => (format!("{} no longer lists it", machine.provider), MISSING_MIN),
            Ok(Health::Dead(why)) => (why, DEAD_MIN),
            Err(_) => continue,
        };
        suspicions += 1;
        if suspicions >= enough {
            return why;
        }
    }
}

/// Returns the end of what the box's console shows, as far as the provider gives it at once.
async fn console(lane: &Lane<'_>, provider: &dyn Provider) -> String {
    let Some(console) = provider.console() else {
        return String::new();
    };
    let bytes = match within(lane.world, CONSOLE_MAX, console.console(&lane.lane.label)).await {
        Some(Ok(bytes)) => bytes,
        Some(Err(_)) | None => return String::new(),
    };
    let text = String::from_utf8_lossy(&bytes);
    let end = last_lines(&text, CONSOLE_LINES).join("\n");
    match end.is_empty() {
        true => String::new(),
        false => format!("\nthe end of its console:\n{end}"),
    }
}
