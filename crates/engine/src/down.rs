//! Destroys boxes, and confirms that they are gone. Only here are boxes destroyed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use model::{
    error::{ErrorKind, ProviderError},
    event::{Event, Step},
    journal::{Fact, Held},
    machine::{Gone, ResourceKind},
    name::{Label, ProviderName, RunId},
    reap::ReapTarget,
    scope::{Destroyed, Gap, Lists, Scope},
    selector::Selector,
    time::{Deadline, Timestamp},
    world::{Progress, Provider, World},
};

use crate::{
    lane::Lane,
    retry::{Patience, retry},
    time::Limit,
};

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
    Down::new(label, selector, known, lane, world).run().await
}

/// Destroys what was made for the lane, whatever the journal says or cannot say; never anything of another run.
pub async fn down_own(lane: &Lane<'_>) -> DestroyOutcome {
    let name = Some(lane.lane.name.as_str());
    down_of_run(&lane.lane.label, &lane.plan.run, name, lane.world).await
}

/// Destroys the box of that label that was made for that run, on whichever machine; never anything of another run.
pub async fn down_of_run(label: &Label, run: &RunId, lane: Option<&str>, world: &World) -> DestroyOutcome {
    of_run(label, run, lane, world).await.run().await
}

/// How targets are destroyed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// Whether they were picked for their deadlines.
    pub(crate) is_overdue: bool,
    /// Whose lists show what is left.
    pub(crate) lists: Lists,
}

/// Destroys what was picked. Of what the journal does not know only those providers and regions are asked that list it, as
/// all of them were asked just now; and where it was picked for its deadline, what has a later one stays: another process, or
/// another machine, may be at work on the run once more.
pub(crate) async fn down_target(target: &ReapTarget, terms: Terms, world: &World) -> DestroyOutcome {
    let mut down = of_run(&target.label, &target.run, None, world).await;
    down.lists = terms.lists;
    let things = || target.things.iter();
    if !down.is_ours().await {
        let deadlines = things().filter_map(|(_, listed)| Some(listed.tags.as_ref()?.deadline));
        down.until = deadlines.max().filter(|_| terms.is_overdue);
    }
    if matches!(down.known, JournalView::Nothing) && !target.things.is_empty() {
        down.listed_at.clear();
        for (name, listed) in things() {
            let regions = down.listed_at.entry(name.clone()).or_default();
            regions.insert(listed.region.clone());
        }
        down.is_elsewhere = false;
    }
    down.run().await
}

async fn of_run<'a>(label: &'a Label, run: &RunId, lane: Option<&'a str>, world: &'a World) -> Down<'a> {
    let known = known_of_run(label, run, lane, world).await;
    let selector = Selector::OfRun(label.clone(), run.clone());
    Down::new(label, selector, known, lane, world)
}

/// One destroy.
struct Down<'a> {
    label: &'a Label,
    selector: Selector,
    /// What has a later deadline stays.
    until: Option<Deadline>,
    known: JournalView,
    /// Who is asked, and where it is looked for first.
    listed_at: BTreeMap<ProviderName, BTreeSet<String>>,
    /// Whether it may be anywhere else.
    is_elsewhere: bool,
    lists: Lists,
    lane: Option<&'a str>,
    world: &'a World,
}

impl Progress for Down<'_> {
    fn report(&self, message: &str, amount: Option<(u64, u64)>) {
        self.emit(Event::StepProgress {
            step: Step::Down,
            message: message.to_owned(),
            amount,
        });
    }
}

impl<'a> Down<'a> {
    /// Goes to where the journal says that the box may be. Of a box that it does not know, or of which an attempt is not
    /// answered, every provider and every region is asked.
    fn new(
        label: &'a Label,
        selector: Selector,
        known: JournalView,
        lane: Option<&'a str>,
        world: &'a World,
    ) -> Self {
        let held = known.held();
        let listed_at = match held {
            Some(held) => {
                let names = held.providers().into_iter();
                names.map(|name| (name.clone(), held.regions_at(name))).collect()
            }
            None => world
                .providers
                .keys()
                .map(|name| (name.clone(), BTreeSet::new()))
                .collect(),
        };
        Self {
            is_elsewhere: held.is_none_or(|held| !held.is_answered()),
            label,
            selector,
            until: None,
            known,
            listed_at,
            lists: Lists::Own,
            lane,
            world,
        }
    }

    fn emit(&self, event: Event) {
        self.world.emit(self.lane, event);
    }

    fn notice(&self, text: String) {
        self.emit(Event::Notice { text });
    }

    /// Returns whether no other process can carry out its run meanwhile, on this machine.
    async fn is_ours(&self) -> bool {
        match self.known.held() {
            Some(held) => self.world.journal.hold(&held.run).await.unwrap_or(false),
            None => false,
        }
    }

    /// Destroys it, and says so.
    async fn run(&self) -> DestroyOutcome {
        self.emit(Event::StepBegan { step: Step::Down });
        // What the journal does not know, nobody else records.
        let is_ours = self.known.held().is_none() || self.is_ours().await;
        let label = self.label.clone();
        self.record(Fact::DownBegan { label }).await;
        let (gone, mut failures) = self.destroy_everywhere().await;
        if matches!(self.known, JournalView::Unreadable) && self.can_any_turn_up_late() {
            let why = "the journal cannot be read, so that nobody knows whether a create call was left without an answer";
            failures.push(why.to_owned());
        }
        let outcome = match failures.is_empty() {
            true => self.confirm(is_ours, gone).await,
            false => self.leave(failures.join("; ")).await,
        };
        let failure = match &outcome {
            DestroyOutcome::Gone(_) => None,
            DestroyOutcome::Left { why } => Some(why.clone()),
        };
        self.emit(Event::StepEnded {
            step: Step::Down,
            failure,
        });
        outcome
    }

    /// Asks one provider after the other. Returns what is gone, and why something may be left.
    async fn destroy_everywhere(&self) -> (Vec<Gone>, Vec<String>) {
        let mut all_gone = Vec::new();
        let mut failures = Vec::new();
        for name in self.listed_at.keys() {
            match self.destroy_at(name).await {
                Ok(Destroyed { gone, gaps }) => {
                    all_gone.extend(gone);
                    let (hiding, harmless): (Vec<_>, Vec<_>) =
                        gaps.into_iter().partition(|gap| self.may_hide(gap));
                    failures.extend(hiding.iter().map(Gap::to_string));
                    harmless.iter().for_each(|gap| self.notice(gap.to_string()));
                }
                Err(error) => failures.push(error.to_string()),
            }
        }
        (all_gone, failures)
    }

    /// Returns whether something of the box may be where nobody could look. Whoever is denied a region for good has made
    /// nothing there; and what the journal knows was made nowhere else than it says.
    fn may_hide(&self, gap: &Gap) -> bool {
        match self.known.held() {
            Some(held) => held
                .regions_at(&gap.error.provider)
                .iter()
                .any(|place| place.starts_with(&gap.region)),
            None => !gap.is_denied(),
        }
    }

    /// Asks one provider to destroy what it has of that label, and once more when what was just made may not have been
    /// listed the first time. What an unanswered call made was made at a moment that nobody knows, and perhaps twice: after
    /// each of it that is found, the provider is looked at once more.
    async fn destroy_at(&self, name: &ProviderName) -> Result<Destroyed, ProviderError> {
        let clock = &*self.world.clock;
        let provider = self
            .world
            .providers
            .get(name)
            .ok_or_else(|| unknown_provider(name))?;
        let mut all_listed = Limit::after(clock, self.known.unlisted_for(&**provider, &self.selector));
        let is_unanswered = self.known.held().is_some_and(|held| !held.is_answered());
        let mut gone = Vec::new();
        loop {
            // Not the moment at which the answer is read: this machine may sleep on it.
            let mut is_last = all_listed.is_over(clock);
            let found = self.destroy_once(&**provider).await?;
            if is_unanswered && found.gone.iter().any(|gone| gone.kind == ResourceKind::Machine) {
                all_listed = Limit::after(clock, provider.profile().listing_lag);
                is_last = false;
            }
            gone.extend(found.gone);
            if is_last {
                let gaps = found.gaps;
                return Ok(Destroyed { gone, gaps });
            }
            self.report(
                &format!("looking once more when {name} lists all that is new"),
                None,
            );
            clock.sleep(all_listed.left(clock)).await;
        }
    }

    /// Asks one provider to destroy what it has of that label, again and again where the failure may pass.
    async fn destroy_once(&self, provider: &dyn Provider) -> Result<Destroyed, ProviderError> {
        let first = self.listed_at.get(&provider.profile().name);
        let scope = Scope {
            selector: self.selector.clone(),
            until: self.until,
            first: first.cloned().unwrap_or_default(),
            is_everywhere: self.is_elsewhere,
            lists: self.lists,
        };
        // Asking again is how an unanswered destroy is looked for: it is done when nothing is listed any more.
        let patience = Patience {
            max: DESTROY_MAX,
            repeats_unanswered: true,
        };
        retry(&*self.world.clock, patience, self, |_| {
            provider.destroy(&scope, self)
        })
        .await
    }

    /// Says what is gone. The box of a run that another process carries out is not written off: that may be asking for it
    /// once more, and says itself when it is through.
    async fn confirm(&self, is_ours: bool, gone: Vec<Gone>) -> DestroyOutcome {
        let held = self.known.held();
        let is_box = |gone: &&Gone| gone.kind == ResourceKind::Machine;
        let found = gone.iter().filter(is_box).count();
        let is_final = held.is_none_or(|held| {
            held.is_final(
                found,
                can_turn_up_late(held, self.world),
                now_at(held, self.world),
            )
        });
        if is_ours {
            self.record(Fact::Gone {
                label: self.label.clone(),
                resources: gone.clone(),
                is_final,
                attempts: held.map(Held::tokens).unwrap_or_default(),
            })
            .await;
        }
        if !is_final && let Some(held) = held {
            let why = format!(
                "a create call was not answered; its box may still turn up, and is looked for until {}",
                held.looked_until()
            );
            self.emit_left(held, &why);
            return DestroyOutcome::Left { why };
        }
        if is_ours && let Err(error) = self.world.remote.forget(self.label).await {
            self.notice(format!("could not delete the keys of {}: {error}", self.label));
        }
        self.emit(Event::MachineGone {
            label: self.label.clone(),
            resources: gone.clone(),
        });
        DestroyOutcome::Gone(gone)
    }

    async fn leave(&self, why: String) -> DestroyOutcome {
        self.record(Fact::Left {
            label: self.label.clone(),
            why: why.clone(),
        })
        .await;
        match self.known.held() {
            Some(held) => self.emit_left(held, &why),
            None => self.notice(format!("box {} may still be there: {why}", self.label)),
        }
        DestroyOutcome::Left { why }
    }

    fn emit_left(&self, held: &Held, why: &str) {
        self.emit(Event::MachineLeft {
            label: self.label.clone(),
            provider: held.candidate.provider.clone(),
            id: held.machine.as_ref().map(|machine| machine.id.clone()),
            why: why.to_owned(),
        });
    }

    /// Writes a fact about the destroy. A journal that cannot be written never holds up a destroy.
    async fn record(&self, fact: Fact) {
        let Some(held) = self.known.held() else { return };
        if let Err(error) = self.world.journal.append(&held.run, fact).await {
            self.notice(error.to_string());
        }
    }

    fn can_any_turn_up_late(&self) -> bool {
        let mut providers = self.world.providers.values();
        providers.any(|provider| provider.profile().can_turn_up_late)
    }
}

fn unknown_provider(name: &ProviderName) -> ProviderError {
    let cause = "this twolane does not know the provider, or has no credentials for it";
    name.error(ErrorKind::Invalid, "destroy the box", cause)
        .with_help("run `twolane doctor`, then `twolane down` again")
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
