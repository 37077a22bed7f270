//! Destroys boxes, and confirms that they are gone. Only here are boxes destroyed.

use std::{collections::BTreeSet, time::Duration};

use model::{
    error::{ErrorKind, ProviderError},
    event::{Event, Step},
    journal::{Fact, Held},
    machine::{Gone, ResourceKind},
    name::{Label, ProviderName, RunId},
    reap::ReapTarget,
    retry::{Next, after, pause},
    selector::Selector,
    time::{Deadline, Timestamp},
    world::{Progress, Provider, World},
};

use crate::{lane::Lane, time::Limit};

/// How long destroying is tried before the box is reported as left.
const DESTROY_MAX: Duration = Duration::from_secs(10 * 60);

/// How a `down` ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestroyOutcome {
    /// No provider lists anything of it. Holds what there was.
    Gone(Vec<Gone>),
    /// It may still be there.
    Left {
        /// Why.
        why: String,
    },
}

/// What the journal says of a box.
enum JournalView {
    /// This.
    Held(Box<Held>),
    /// Nothing: no process of this machine has asked for such a box, or it is gone.
    Nothing,
    /// It cannot be read.
    Unreadable,
}

impl JournalView {
    fn held(&self) -> Option<&Held> {
        match self {
            Self::Held(held) => Some(held),
            Self::Nothing | Self::Unreadable => None,
        }
    }

    /// Returns for how long from now on a provider may not list all that was made: a look before that may miss
    /// something. Nobody knows when an unanswered attempt made something: it may have been just now.
    fn unlisted_for(&self, provider: &dyn Provider, selector: &Selector) -> Duration {
        match self {
            Self::Held(held) if held.is_answered() => provider.unlisted_for(selector),
            Self::Held(_) | Self::Unreadable => provider.profile().listing_lag,
            Self::Nothing => Duration::ZERO,
        }
    }
}

/// Destroys the box of that label wherever it may be, with everything that was made for it, and confirms its absence.
/// A box that the journal knows is destroyed only as far as it is that run's: another machine may have one of the same
/// label. One that it does not know is looked for everywhere, whosever it is.
pub async fn down(label: &Label, lane: Option<&str>, world: &World) -> DestroyOutcome {
    let known = known(label, lane, world).await;
    let selector = match known.held() {
        Some(held) => Selector::OfRun(label.clone(), held.run.clone()),
        None => Selector::Label(label.clone()),
    };
    destroy(
        label,
        known,
        &DestroyScope::everywhere(selector, world),
        lane,
        world,
    )
    .await
}

/// Destroys what was made for the lane, whatever the journal says or cannot say; never anything of another run.
pub async fn down_own(lane: &Lane<'_>) -> DestroyOutcome {
    let (label, run, name) = (&lane.lane.label, &lane.plan.run, Some(lane.lane.name.as_str()));
    let known = known_of_run(label, run, name, lane.world).await;
    let selector = Selector::OfRun(label.clone(), run.clone());
    let scope = DestroyScope::everywhere(selector, lane.world);
    destroy(label, known, &scope, name, lane.world).await
}

/// Destroys the box of that label that was made for that run, on whichever machine; never anything of another run.
pub async fn down_of_run(label: &Label, run: &RunId, lane: Option<&str>, world: &World) -> DestroyOutcome {
    let known = known_of_run(label, run, lane, world).await;
    let selector = Selector::OfRun(label.clone(), run.clone());
    destroy(
        label,
        known,
        &DestroyScope::everywhere(selector, world),
        lane,
        world,
    )
    .await
}

/// Destroys what was picked. Of what the journal does not know only those providers are asked that list it, as all of
/// them were asked just now; and where it was picked for its deadline, what has a later one stays: on another machine the
/// run may just be resumed.
pub(crate) async fn down_target(target: &ReapTarget, is_overdue: bool, world: &World) -> DestroyOutcome {
    let known = known_of_run(&target.label, &target.run, None, world).await;
    let mut scope =
        DestroyScope::everywhere(Selector::OfRun(target.label.clone(), target.run.clone()), world);
    if matches!(known, JournalView::Nothing) && !target.things.is_empty() {
        let names: BTreeSet<_> = target.things.iter().map(|(name, _)| name.clone()).collect();
        scope.unknown_at = names.into_iter().collect();
        let tags = target
            .things
            .iter()
            .filter_map(|(_, listed)| listed.tags.as_ref());
        scope.until = tags.map(|tags| tags.deadline).max().filter(|_| is_overdue);
    }
    destroy(&target.label, known, &scope, None, world).await
}

/// What is to be destroyed.
struct DestroyScope {
    selector: Selector,
    /// What has a later deadline stays.
    until: Option<Deadline>,
    /// Where it is looked for when the journal does not know.
    unknown_at: Vec<ProviderName>,
}

impl DestroyScope {
    fn everywhere(selector: Selector, world: &World) -> Self {
        Self {
            selector,
            until: None,
            unknown_at: world.providers.keys().cloned().collect(),
        }
    }
}

/// Destroys a box, and says so.
async fn destroy(
    label: &Label,
    known: JournalView,
    scope: &DestroyScope,
    lane: Option<&str>,
    world: &World,
) -> DestroyOutcome {
    world.emit(lane, Event::StepBegan { step: Step::Down });
    let held = known.held();
    let run = held.map(|held| &held.run);
    let is_ours = match run {
        Some(run) => world.journal.hold(run).await.unwrap_or(false),
        None => true,
    };
    record(run, Fact::DownBegan { label: label.clone() }, lane, world).await;
    let providers = match held {
        Some(held) => held.providers().into_iter().cloned().collect(),
        None => scope.unknown_at.clone(),
    };
    let mut gone = Vec::new();
    let mut failures = Vec::new();
    for name in providers {
        match destroy_all(&name, scope, &known, lane, world).await {
            Ok(found) => gone.extend(found),
            Err(error) => failures.push(error.to_string()),
        }
    }
    if matches!(known, JournalView::Unreadable)
        && world
            .providers
            .values()
            .any(|provider| provider.profile().can_turn_up_late)
    {
        let why = "the journal cannot be read, so an unanswered create call may go unnoticed";
        failures.push(why.to_owned());
    }
    let outcome = match failures.is_empty() {
        true => confirm(label, held, is_ours, gone, lane, world).await,
        false => leave(label, held, failures.join("; "), lane, world).await,
    };
    let failure = match &outcome {
        DestroyOutcome::Gone(_) => None,
        DestroyOutcome::Left { why } => Some(why.clone()),
    };
    world.emit(
        lane,
        Event::StepEnded {
            step: Step::Down,
            failure,
        },
    );
    outcome
}

/// Asks one provider to destroy what it has of that label, and once more when what was just made may not have been
/// listed the first time. What an unanswered call made was made at a moment that nobody knows, and perhaps twice: after
/// each of it that is found, the provider is looked at once more.
async fn destroy_all(
    name: &ProviderName,
    scope: &DestroyScope,
    known: &JournalView,
    lane: Option<&str>,
    world: &World,
) -> Result<Vec<Gone>, ProviderError> {
    let provider = world.providers.get(name).ok_or_else(|| unknown_provider(name))?;
    let clock = &*world.clock;
    let mut all_listed = Limit::after(clock, known.unlisted_for(&**provider, &scope.selector));
    let is_unanswered = known.held().is_some_and(|held| !held.is_answered());
    let mut gone = Vec::new();
    loop {
        // Not the moment at which the answer is read: this machine may sleep on it.
        let mut is_last = all_listed.is_over(clock);
        let found = destroy_at(&**provider, scope, lane, world).await?;
        if is_unanswered && found.iter().any(|gone| gone.kind == ResourceKind::Machine) {
            all_listed = Limit::after(clock, provider.profile().listing_lag);
            is_last = false;
        }
        gone.extend(found);
        if is_last {
            return Ok(gone);
        }
        let message = format!("looking once more when {name} lists all that is new");
        DownProgress { lane, world }.report(&message, None);
        clock.sleep(all_listed.left(clock)).await;
    }
}

/// Asks one provider to destroy what it has of that label, again and again where the failure may pass.
async fn destroy_at(
    provider: &dyn Provider,
    scope: &DestroyScope,
    lane: Option<&str>,
    world: &World,
) -> Result<Vec<Gone>, ProviderError> {
    let progress = DownProgress { lane, world };
    let end = Limit::after(&*world.clock, DESTROY_MAX);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let outcome = match scope.until {
            Some(until) => provider.down_until(&scope.selector, until, &progress).await,
            None => provider.down(&scope.selector, &progress).await,
        };
        let error = match outcome {
            Ok(gone) => return Ok(gone),
            Err(error) => error,
        };
        let left = end.left(&*world.clock);
        let wait = match after(&error.kind, attempt, left) {
            Next::Wait(wait) => wait,
            // Asking again is how an unanswered destroy is looked for: it is done when nothing is listed any more.
            Next::FindByLabel => pause(attempt),
            Next::OtherCandidate | Next::GiveUp => return Err(error),
        };
        if wait >= left {
            return Err(error);
        }
        progress.report(&format!("{error}; retrying"), None);
        world.clock.sleep(wait).await;
    }
}

fn unknown_provider(name: &ProviderName) -> ProviderError {
    let cause = "this twolane does not know the provider, or has no credentials for it";
    name.error(ErrorKind::Invalid, "destroy the box", cause)
        .with_help("run `twolane doctor`, then `twolane down` again")
}

/// Says what is gone. The box of a run that another process carries out is not written off: that may be asking for it
/// once more, and says itself when it is through.
async fn confirm(
    label: &Label,
    held: Option<&Held>,
    is_ours: bool,
    gone: Vec<Gone>,
    lane: Option<&str>,
    world: &World,
) -> DestroyOutcome {
    let found = gone
        .iter()
        .filter(|gone| gone.kind == ResourceKind::Machine)
        .count();
    let is_late_possible = held.is_some_and(|held| can_turn_up_late(held, world));
    let is_final = held.is_none_or(|held| held.is_final(found, is_late_possible, now_at(held, world)));
    let run = held.map(|held| &held.run).filter(|_| is_ours);
    record(
        run,
        Fact::Gone {
            label: label.clone(),
            resources: gone.clone(),
            is_final,
            attempts: held.map(Held::tokens).unwrap_or_default(),
        },
        lane,
        world,
    )
    .await;
    if !is_final && let Some(held) = held {
        let why = format!(
            "a create call was not answered; its box may still turn up, and is looked for until {}",
            held.looked_until()
        );
        emit_left(label, held, &why, lane, world);
        return DestroyOutcome::Left { why };
    }
    if is_ours && let Err(error) = world.remote.forget(label).await {
        world.emit(
            lane,
            Event::Notice {
                text: format!("could not delete the keys of {label}: {error}"),
            },
        );
    }
    world.emit(
        lane,
        Event::MachineGone {
            label: label.clone(),
            resources: gone.clone(),
        },
    );
    DestroyOutcome::Gone(gone)
}

/// Returns the earliest moment of those that the clocks of the box's providers show, or this machine's clock.
fn now_at(held: &Held, world: &World) -> Timestamp {
    let of = |name: &ProviderName| world.providers.get(name)?.listing()?.now();
    let clocks = held.providers().into_iter().filter_map(of);
    clocks.min().unwrap_or(world.clock.now())
}

fn can_turn_up_late(held: &Held, world: &World) -> bool {
    let is_late = |name: &&ProviderName| {
        world
            .providers
            .get(*name)
            .is_none_or(|provider| provider.profile().can_turn_up_late)
    };
    held.attempts
        .iter()
        .filter(|attempt| !attempt.is_answered)
        .map(|attempt| &attempt.provider)
        .any(|name| is_late(&name))
}

async fn leave(
    label: &Label,
    held: Option<&Held>,
    why: String,
    lane: Option<&str>,
    world: &World,
) -> DestroyOutcome {
    record(
        held.map(|held| &held.run),
        Fact::Left {
            label: label.clone(),
            why: why.clone(),
        },
        lane,
        world,
    )
    .await;
    match held {
        Some(held) => emit_left(label, held, &why, lane, world),
        None => {
            let text = format!("box {label} may still be there: {why}");
            world.emit(lane, Event::Notice { text });
        }
    }
    DestroyOutcome::Left { why }
}

fn emit_left(label: &Label, held: &Held, why: &str, lane: Option<&str>, world: &World) {
    let event = Event::MachineLeft {
        label: label.clone(),
        provider: held.candidate.provider.clone(),
        id: held.machine.as_ref().map(|machine| machine.id.clone()),
        why: why.to_owned(),
    };
    world.emit(lane, event);
}

/// Leaves the lane's box to its user for that long, and says how it ends. None when there is no box to look at, and when
/// that cannot be recorded: nobody would know that it is to stay.
pub(crate) async fn keep(lane: &Lane<'_>, length: Duration) -> Option<Deadline> {
    let label = &lane.lane.label;
    let known = known_of_run(label, &lane.plan.run, Some(&lane.lane.name), lane.world).await;
    let held = known
        .held()
        .filter(|held| held.machine.is_some() && held.may_stay())?;
    let deadline = Deadline::after(now_at(held, lane.world), length).min(held.tags.deadline);
    let fact = Fact::Kept { label: label.clone() };
    if let Err(error) = lane.world.journal.append(&held.run, fact).await {
        lane.notice(format!("{label} is not kept: {error}"));
        return None;
    }
    let known = known_of_run(label, &lane.plan.run, Some(&lane.lane.name), lane.world).await;
    let is_kept = match &known {
        JournalView::Held(held) => held.may_stay(),
        JournalView::Nothing => false,
        // It was recorded just now.
        JournalView::Unreadable => true,
    };
    if !is_kept {
        lane.notice(format!("{label} is not kept: another twolane destroys it"));
        return None;
    }
    let dead_mans_switch = match lane.world.providers.get(&held.candidate.provider) {
        Some(provider) => provider.profile().dead_mans_switch.clone(),
        None => "by `twolane down`".to_owned(),
    };
    lane.emit(Event::MachineKept {
        label: label.clone(),
        deadline,
        dead_mans_switch,
    });
    Some(deadline)
}

async fn known(label: &Label, lane: Option<&str>, world: &World) -> JournalView {
    match world.journal.holdings().await {
        Ok(mut holdings) => match holdings.boxes.remove(label) {
            Some(held) => JournalView::Held(Box::new(held)),
            None => JournalView::Nothing,
        },
        Err(error) => {
            world.emit(
                lane,
                Event::Notice {
                    text: format!("{error}; looking for {label} at every provider"),
                },
            );
            JournalView::Unreadable
        }
    }
}

async fn known_of_run(label: &Label, run: &RunId, lane: Option<&str>, world: &World) -> JournalView {
    match known(label, lane, world).await {
        JournalView::Held(held) if held.run != *run => JournalView::Nothing,
        known => known,
    }
}

/// Writes a fact about a destroy. A journal that cannot be written never holds up a destroy.
async fn record(run: Option<&RunId>, fact: Fact, lane: Option<&str>, world: &World) {
    let Some(run) = run else { return };
    if let Err(error) = world.journal.append(run, fact).await {
        world.emit(
            lane,
            Event::Notice {
                text: error.to_string(),
            },
        );
    }
}

struct DownProgress<'a> {
    lane: Option<&'a str>,
    world: &'a World,
}

impl Progress for DownProgress<'_> {
    fn report(&self, message: &str, amount: Option<(u64, u64)>) {
        let event = Event::StepProgress {
            step: Step::Down,
            message: message.to_owned(),
            amount,
        };
        self.world.emit(self.lane, event);
    }
}
