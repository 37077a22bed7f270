//! A provider over any cloud's single calls: making, waiting, retrying, destroying and confirming, written once.
//! Keeps out: what any one cloud is like.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use futures::future::join_all;
use model::{
    cloud::{CloudApi, InstanceState, Launch, ObservedInstance},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Gone, Health, Listed, Machine},
    money::Money,
    name::{Label, RunId},
    order::Order,
    price::{Billed, Quote},
    profile::{Profile, Ranges},
    retry::{Next, after, pause},
    scope::{Destroyed, Gap, Inventory, Lists, Scope},
    selector::Selector,
    tags::Tags,
    time::{Deadline, Timestamp},
    world::{Clock, Console, Listing, OwnDeadline, Preflight, Prices, Progress, Provider, Silent},
};
use parking_lot::{Mutex, MutexGuard};

mod lists;
mod teardown;

use self::{lists::Shared, teardown::Teardown};
use crate::{
    retry::{Patience, retry, sleep},
    time::Limit,
};

/// How long an answer that does not come is asked for again, where asking changes nothing.
const ASK_MAX: Duration = Duration::from_secs(3 * 60);

/// How long a create that was not answered is looked for, beyond the time in which lists may lag.
const LOST_MAX: Duration = Duration::from_secs(20);

/// How long a box that was made or found just now may be off before that counts as its lasting state.
const YOUNG_MAX: Duration = Duration::from_secs(3 * 60);

/// How often a create is sent, at most.
const CREATES_MAX: u32 = 4;

/// How many destroys are on their way at once.
const TOGETHER: usize = 8;

/// How many boxes that are going are looked at one by one.
const WATCHED_MAX: usize = 3;

/// Shortest pause between two looks at a box that is going.
const WATCH: Duration = Duration::from_secs(1);

/// A provider over a cloud's single calls.
pub struct Cloud<A: ?Sized> {
    api: Arc<A>,
    clock: Arc<dyn Clock>,
    made: Mutex<CreationTimes>,
    /// Of which labels and runs there is no box, by the provider's last answer.
    absent: Mutex<BTreeSet<(Label, RunId)>>,
    /// What the provider reported of its prices.
    quotes: Mutex<Vec<Quote>>,
    shared: Shared,
}

/// When this process was last through with making something of a label and run, by the monotonic clock; none: it
/// is at it, or was cut off.
type CreationTimes = BTreeMap<(Label, RunId), Option<Duration>>;

impl<A: CloudApi + ?Sized> Cloud<A> {
    /// Makes a provider of a cloud.
    pub fn new(api: Arc<A>, clock: Arc<dyn Clock>) -> Self {
        Self {
            api,
            clock,
            made: Mutex::default(),
            absent: Mutex::default(),
            quotes: Mutex::default(),
            shared: Shared::default(),
        }
    }

    fn error(&self, kind: ErrorKind, operation: &str, cause: impl Into<String>) -> ProviderError {
        self.api.profile().name.error(kind, operation, cause)
    }

    fn record_creation(&self, order: &Order, ended: Option<Duration>) {
        self.made().insert(of(order), ended);
    }

    fn made(&self) -> MutexGuard<'_, CreationTimes> {
        self.made.lock()
    }

    /// Asks until there is an answer or the failure is one that will not pass. Only for what may be asked twice.
    async fn ask<T, F>(&self, progress: &dyn Progress, call: impl Fn() -> F) -> Result<T, ProviderError>
    where
        F: Future<Output = Result<T, ProviderError>>,
    {
        let patience = Patience {
            max: ASK_MAX,
            repeats_unanswered: true,
        };
        retry(&*self.clock, patience, progress, |_| call()).await
    }

    async fn sleep(&self, wait: Duration) {
        sleep(&*self.clock, wait).await;
    }

    /// Looks for the order's box. What is found is of this run, or an error.
    async fn find(
        &self,
        order: &Order,
        progress: &dyn Progress,
    ) -> Result<Option<ObservedInstance>, ProviderError> {
        match self.ask(progress, || self.api.find(order)).await? {
            Some(found) => self.adopt(order, found).map(Some),
            None => Ok(None),
        }
    }

    fn adopt(&self, order: &Order, found: ObservedInstance) -> Result<ObservedInstance, ProviderError> {
        let is_same_run = found
            .listed
            .tags
            .as_ref()
            .is_some_and(|tags| tags.run == order.tags.run);
        if is_same_run {
            return Ok(found);
        }
        let whose = match &found.listed.tags {
            Some(tags) => format!("it was made for run {}", tags.run),
            None => "it does not carry our tags".to_owned(),
        };
        let cause = format!(
            "{} {} has that name already, and {whose}",
            found.listed.kind, found.listed.id
        );
        let help = "choose another label, or destroy that box first".to_owned();
        Err(self
            .error(ErrorKind::Taken, "create a box", cause)
            .with_help(help))
    }

    async fn adopt_or_make(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, ProviderError> {
        let is_absent = self.absent.lock().remove(&of(order));
        if !is_absent && let Some(found) = self.find(order, progress).await? {
            progress.report(&format!("box {} exists already", found.listed.id), None);
            return self.wait(order, found, progress).await;
        }
        let launches = self.ask(progress, || self.api.prepare(order)).await?;
        self.make(order, &launches, progress).await
    }

    /// Makes the box in the first place that has one free, and returns it when it has its address.
    async fn make(
        &self,
        order: &Order,
        launches: &[Launch<'_>],
        progress: &dyn Progress,
    ) -> Result<Machine, ProviderError> {
        let mut last = None;
        for launch in launches {
            if let Some(error) = last.take() {
                progress.report(&format!("{error}; trying {}", launch.place), None);
            }
            match self.make_at(launch, order, progress).await {
                Err(error) if error.kind == ErrorKind::NoCapacity => last = Some(error),
                outcome => return outcome,
            }
        }
        let none = || {
            self.error(
                ErrorKind::Invalid,
                "create a box",
                "the region has no place to try",
            )
        };
        Err(last.unwrap_or_else(none))
    }

    async fn make_at(
        &self,
        launch: &Launch<'_>,
        order: &Order,
        progress: &dyn Progress,
    ) -> Result<Machine, ProviderError> {
        let observed = self.create(launch, order, progress).await?;
        let outcome = self.wait(order, observed.clone(), progress).await;
        if outcome
            .as_ref()
            .is_err_and(|error| error.kind == ErrorKind::NoCapacity)
        {
            // The next place uses the same name; what is left here is found by label when the box is destroyed.
            let _ = self.api.delete(&observed.listed).await;
        }
        outcome
    }

    /// Sends the create call. When it is not answered, looks for the box before anything is retried.
    async fn create(
        &self,
        launch: &Launch<'_>,
        order: &Order,
        progress: &dyn Progress,
    ) -> Result<ObservedInstance, ProviderError> {
        let end = Limit::after(&*self.clock, ASK_MAX);
        let mut attempt = 0;
        let mut unanswered = None;
        loop {
            attempt += 1;
            let created = match self.is_overdue(order) {
                true => Err(self.overdue(order)),
                false => launch.send().await,
            };
            let error = match created {
                Ok(observed) => return Ok(observed),
                Err(error) => error,
            };
            if error.kind == ErrorKind::Unanswered {
                unanswered = Some(error.clone());
            }
            let may_exist = matches!(error.kind, ErrorKind::Unanswered | ErrorKind::Taken);
            let why = unanswered.as_ref().unwrap_or(&error);
            if may_exist && let Some(found) = self.look_for(order, why, progress).await? {
                return Ok(found);
            }
            let left = end.left(&*self.clock);
            let may_repeat =
                self.profile().is_create_repeatable && attempt < CREATES_MAX && pause(attempt) < left;
            let wait = match after(&error.kind, attempt, left) {
                Next::Wait(wait) => wait.max(pause(attempt)),
                Next::FindByLabel if may_repeat => pause(attempt),
                // A refusal now does not tell what became of an earlier call that was not answered.
                Next::FindByLabel | Next::OtherCandidate | Next::GiveUp => {
                    return Err(unanswered.unwrap_or(error));
                }
            };
            progress.report(&format!("{error}; retrying"), None);
            self.sleep(wait).await;
        }
    }

    /// Looks for a box whose create call was not answered, or whose name is taken, for as long as lists may lag and a
    /// little more.
    async fn look_for(
        &self,
        order: &Order,
        why: &ProviderError,
        progress: &dyn Progress,
    ) -> Result<Option<ObservedInstance>, ProviderError> {
        progress.report(&format!("{why}; looking for the box"), None);
        let end = Limit::after(&*self.clock, self.profile().listing_lag + LOST_MAX);
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.find(order, progress).await {
                Ok(Some(found)) if answers(&found, order, why) => return Ok(Some(found)),
                Ok(_) => {}
                // Whether the box was made is still not known, whatever this failure says.
                Err(error) => {
                    let cause = format!("{}; then {}", why.cause, error.cause);
                    return Err(ProviderError {
                        cause,
                        help: error.help,
                        ..why.clone()
                    });
                }
            }
            if end.left(&*self.clock) < pause(attempt) {
                return Ok(None);
            }
            self.sleep(pause(attempt)).await;
        }
    }

    /// Waits until a box runs and has its address.
    async fn wait(
        &self,
        order: &Order,
        mut observed: ObservedInstance,
        progress: &dyn Progress,
    ) -> Result<Machine, ProviderError> {
        let end = Limit::after(
            &*self.clock,
            (self.profile().up_max)(&order.candidate.instance_type),
        );
        let young_end = Limit::after(&*self.clock, YOUNG_MAX);
        let unseen_end = Limit::after(&*self.clock, self.profile().listing_lag + LOST_MAX);
        let mut attempt = 0;
        loop {
            attempt += 1;
            if let Some(machine) = self.ready(order, &observed, !young_end.is_over(&*self.clock))? {
                return Ok(machine);
            }
            if end.is_over(&*self.clock) {
                return Err(self.too_slow(order, &observed));
            }
            progress.report(
                &format!("box {} is {}", observed.listed.id, observed.listed.state),
                None,
            );
            self.sleep(pause(attempt).min(self.profile().look_max)).await;
            match self.ask(progress, || self.api.look(&observed)).await? {
                Some(seen) => observed = seen,
                None if unseen_end.is_over(&*self.clock) => {
                    return Err(self.vanished(&observed));
                }
                None => {}
            }
        }
    }

    /// Lists what is meant, in some parts of the cloud or in all. A part that nobody may look at is a gap, unless no other
    /// answers.
    async fn inventory_of(
        &self,
        selector: &Selector,
        within: Option<&BTreeSet<String>>,
        lists: Lists,
        progress: &dyn Progress,
    ) -> Result<Inventory, ProviderError> {
        let regions: Vec<String> = match within {
            Some(within) => within.iter().cloned().collect(),
            None => self.ask(progress, || self.api.regions()).await?,
        };
        let lists = regions.iter().map(|region| async move {
            match lists {
                Lists::Own => self.ask(progress, || self.api.list(region, selector)).await,
                Lists::Shared => {
                    let ask = || self.ask(progress, || self.api.list(region, &Selector::AllOurs));
                    let look_max = self.profile().look_max;
                    self.shared
                        .list((region, selector), look_max, &*self.clock, ask)
                        .await
                }
            }
        });
        let mut inventory = Inventory::default();
        for (region, answer) in regions.iter().zip(join_all(lists).await) {
            match answer {
                Ok(listed) => inventory.things.extend(listed),
                Err(error) => inventory.gaps.push(Gap {
                    region: region.clone(),
                    error,
                }),
            }
        }
        if inventory.gaps.len() == regions.len()
            && let Some(gap) = inventory.gaps.pop()
        {
            return Err(gap.error);
        }
        Ok(inventory)
    }

    /// Destroys what is meant, first where it is known to be, and returns when none of it is listed any more.
    async fn destroy_all(&self, scope: &Scope, progress: &dyn Progress) -> Result<Destroyed, ProviderError> {
        let end = Limit::after(&*self.clock, self.profile().gone_max);
        let known = scope.first.iter().map(|place| self.api.region_of(place));
        let mut within = Some(known.collect::<BTreeSet<_>>()).filter(|known| !known.is_empty());
        let mut teardown = Teardown::new(self.profile());
        let mut attempt = 0;
        loop {
            attempt += 1;
            // What has been destroyed so far nobody else knows: who begins anew could not name it.
            let patience = Patience {
                max: match teardown.is_empty() {
                    true => Duration::ZERO,
                    false => end.left(&*self.clock),
                },
                repeats_unanswered: true,
            };
            let mut inventory = retry(&*self.clock, patience, progress, |_| {
                self.inventory_of(&scope.selector, within.as_ref(), scope.lists, progress)
            })
            .await?;
            let is_later = |tags: &Tags| scope.until.is_some_and(|until| tags.deadline > until);
            inventory
                .things
                .retain(|listed| !listed.tags.as_ref().is_some_and(is_later));
            let gaps = inventory.gaps;
            teardown.see(inventory.things, &gaps);
            if teardown.is_over() {
                if within.is_some() && scope.is_everywhere {
                    within = None;
                    continue;
                }
                let gone = teardown.gone();
                return Ok(Destroyed { gone, gaps });
            }
            let mut rest = self.destroy_due(&mut teardown, scope.lists, progress).await;
            if scope.lists == Lists::Own && self.watch(&mut teardown, end).await {
                rest = rest.max(self.destroy_due(&mut teardown, scope.lists, progress).await);
            }
            if teardown.is_stuck(self.clock.monotonic()) || end.is_over(&*self.clock) {
                let (kind, left) = teardown.remaining();
                return Err(self.error(kind, "destroy", left));
            }
            // What was just made may be missing from the first list: a second look comes after the lag.
            let wait = match teardown.has_machine() {
                true => pause(attempt).min(self.profile().look_max),
                false => self.profile().listing_lag.max(pause(attempt)),
            };
            self.sleep(wait.max(rest)).await;
        }
    }

    /// Looks at the boxes that are going, as that takes fewer calls than a list of everything. Returns whether all are gone
    /// as far as that shows; only a list is the end of it.
    async fn watch(&self, teardown: &mut Teardown, end: Limit) -> bool {
        let mut attempt = 0;
        loop {
            let going = teardown.going();
            let is_quiet = teardown.due(self.clock.monotonic()).is_empty();
            if going.is_empty() || going.len() > WATCHED_MAX || !is_quiet || end.is_over(&*self.clock) {
                return attempt > 0 && going.is_empty();
            }
            attempt += 1;
            // No box goes within a second.
            self.sleep(pause(attempt).max(WATCH).min(self.profile().look_max))
                .await;
            for listed in going {
                let seen = ObservedInstance {
                    listed: listed.clone(),
                    state: InstanceState::Terminating,
                    host_key: None,
                    operation: None,
                };
                match self.api.look(&seen).await.map(|seen| seen.map(|seen| seen.state)) {
                    Ok(None | Some(InstanceState::Terminated)) => teardown.miss(&listed),
                    Ok(Some(_)) => {}
                    Err(_) => return false,
                }
            }
        }
    }

    /// Asks for everything that is due to be destroyed. Returns how long the provider wants to be left alone.
    async fn destroy_due(&self, teardown: &mut Teardown, lists: Lists, progress: &dyn Progress) -> Duration {
        let mut rest = Duration::ZERO;
        for batch in teardown.due(self.clock.monotonic()).chunks(TOGETHER) {
            let names: Vec<_> = batch
                .iter()
                .map(|listed| format!("{} {}", listed.kind, listed.id))
                .collect();
            progress.report(&format!("destroying {}", names.join(", ")), None);
            let answers = join_all(batch.iter().map(|listed| async move {
                match lists {
                    Lists::Own => self.api.delete(listed).await,
                    Lists::Shared => {
                        self.shared.take_turn(&*self.clock).await;
                        let answer = self.api.delete(listed).await;
                        self.shared.took_turn(&answer, &*self.clock);
                        answer
                    }
                }
            }))
            .await;
            for (listed, answer) in batch.iter().zip(answers) {
                let wanted = teardown.answered(listed, self.clock.monotonic(), answer);
                rest = rest.max(wanted.unwrap_or_default());
            }
        }
        rest
    }

    /// Refuses an order that is beyond the cloud's limits.
    fn exceeds(&self, order: &Order) -> Option<ProviderError> {
        let (profile, length) = (self.profile(), order.user_data.len());
        let is_usable = |range: &String| profile.ranges == Ranges::Any || !range.contains(':');
        let (cause, help) = if length > profile.user_data_max {
            (
                format!(
                    "the user-data is {length} bytes, and {} takes {}",
                    profile.name, profile.user_data_max
                ),
                "shorten [system] in twolane.toml: packages, certificates, tools",
            )
        } else if profile.ranges != Ranges::None
            && order.candidate.options.security_group.is_none()
            && !order.allow.iter().any(is_usable)
        {
            let family = if profile.ranges == Ranges::Ipv4 {
                "IPv4 "
            } else {
                ""
            };
            (
                format!("no {family}address is named that may reach SSH"),
                "name one with --allow-cidr",
            )
        } else {
            return None;
        };
        Some(
            self.error(ErrorKind::Invalid, "create a box", cause)
                .with_help(help),
        )
    }

    /// Refuses to make what nobody could destroy with these credentials.
    fn is_locked_out(&self) -> Option<ProviderError> {
        let expiry = self.api.expiry().filter(|expiry| *expiry <= self.clock.now())?;
        let cause = format!("the credentials expired at {expiry}");
        let help = "log in again, or look whether this machine's clock is right";
        let error = self.error(ErrorKind::Unauthorized, "create a box", cause);
        Some(error.with_help(help))
    }

    /// Returns the machine when it is there. A young one passes through being off.
    fn ready(
        &self,
        order: &Order,
        observed: &ObservedInstance,
        is_young: bool,
    ) -> Result<Option<Machine>, ProviderError> {
        match &observed.state {
            InstanceState::Pending | InstanceState::Running | InstanceState::Unknown => {}
            InstanceState::Stopped if is_young => {}
            InstanceState::Stopped => {
                let cause = format!("a box of that label exists and is {}", observed.listed.state);
                return Err(self.error(ErrorKind::Invalid, "create a box", cause));
            }
            InstanceState::Terminating | InstanceState::Terminated => {
                let cause = format!("box {} of that label is being destroyed", observed.listed.id);
                return Err(self.error(ErrorKind::Unavailable, "create a box", cause));
            }
            InstanceState::Failed { kind, why } => return Err(self.error(kind.clone(), "create a box", why)),
        }
        let is_key_missing = self.profile().reports_host_key && observed.host_key.is_none();
        Ok(observed
            .machine(&self.profile().name, &order.tags)
            .filter(|_| !is_key_missing)
            .map(|machine| Machine {
                jump: order.candidate.options.jump.clone(),
                ..machine
            }))
    }

    /// Refuses an order that cannot succeed.
    fn refuses(&self, order: &Order) -> Option<ProviderError> {
        self.api
            .refuse(&order.candidate.instance_type, order.need)
            .or_else(|| self.exceeds(order))
            .or_else(|| self.is_locked_out())
    }

    /// Returns whether a box that is made now must be gone already, by the provider's clock.
    fn is_overdue(&self, order: &Order) -> bool {
        self.api.now().is_some_and(|now| order.tags.deadline.is_over(now))
    }

    fn overdue(&self, order: &Order) -> ProviderError {
        let deadline = order.tags.deadline.moment();
        let cause = format!("its deadline, {deadline}, is over by the provider's clock");
        let help =
            "look whether this machine's clock is right, or did it sleep? Then run it again".to_owned();
        self.error(ErrorKind::Invalid, "create a box", cause)
            .with_help(help)
    }

    fn too_slow(&self, order: &Order, observed: &ObservedInstance) -> ProviderError {
        let cause = format!(
            "box {} was still {} after {} minutes",
            observed.listed.id,
            observed.listed.state,
            (self.profile().up_max)(&order.candidate.instance_type).as_secs() / 60
        );
        self.error(ErrorKind::NoCapacity, "bring a box up", cause)
    }

    fn vanished(&self, observed: &ObservedInstance) -> ProviderError {
        let cause = format!(
            "the create call was answered with box {}, and no such box is listed",
            observed.listed.id
        );
        self.error(ErrorKind::Unanswered, "create a box", cause)
    }
}

#[async_trait]
impl<A: CloudApi + ?Sized> Provider for Cloud<A> {
    fn profile(&self) -> &Profile {
        self.api.profile()
    }

    async fn answers(&self, order: &Order, progress: &dyn Progress) -> Result<(), ProviderError> {
        if let Some(refusal) = self.refuses(order) {
            return Err(refusal);
        }
        if self.find(order, progress).await?.is_none() {
            self.absent.lock().insert(of(order));
        }
        Ok(())
    }

    async fn up(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, ProviderError> {
        if let Some(refusal) = self.refuses(order) {
            return Err(refusal);
        }
        self.record_creation(order, None);
        let outcome = self.adopt_or_make(order, progress).await;
        self.record_creation(order, Some(self.clock.monotonic()));
        outcome
    }

    async fn down(&self, selector: &Selector, progress: &dyn Progress) -> Result<Vec<Gone>, ProviderError> {
        let scope = Scope::from(selector.clone());
        let destroyed = self.destroy_all(&scope, progress).await?;
        match destroyed.gaps.into_iter().next() {
            Some(gap) => Err(gap.error),
            None => Ok(destroyed.gone),
        }
    }

    async fn destroy(&self, scope: &Scope, progress: &dyn Progress) -> Result<Destroyed, ProviderError> {
        self.destroy_all(scope, progress).await
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        self.api.refuse(instance_type, need)
    }

    async fn health(&self, machine: &Machine) -> Result<Health, ProviderError> {
        let seen = self.api.look(&ObservedInstance::of(machine)).await?;
        let health = seen.map_or(Health::Missing, ObservedInstance::health);
        if matches!(health, Health::Running(_) | Health::Unknown) {
            return Ok(health);
        }
        Ok(match (self.api.why_ended(machine).await, health) {
            (Some(why), Health::Dead(standing)) => Health::Dead(format!("{standing}: {why}")),
            (Some(why), _) => Health::Dead(why),
            (None, health) => health,
        })
    }

    async fn host_key(&self, machine: &Machine) -> Result<Option<String>, ProviderError> {
        let seen = self.api.look(&ObservedInstance::of(machine)).await?;
        Ok(seen.and_then(|seen| seen.host_key))
    }

    fn expiry(&self) -> Option<Timestamp> {
        self.api.expiry()
    }

    fn unlisted_for(&self, selector: &Selector) -> Duration {
        let lag = self.profile().listing_lag;
        let Selector::OfRun(label, run) = selector else {
            return lag;
        };
        match self.made().get(&(label.clone(), run.clone())) {
            Some(Some(ended)) => ended.saturating_add(lag).saturating_sub(self.clock.monotonic()),
            Some(None) | None => lag,
        }
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn preflight(&self) -> Option<&dyn Preflight> {
        self.api.preflight()
    }

    fn prices(&self) -> Option<&dyn Prices> {
        self.api.prices().map(|_| self as &dyn Prices)
    }

    fn console(&self) -> Option<&dyn Console> {
        self.api.console()
    }

    fn own_deadline(&self) -> Option<&dyn OwnDeadline> {
        self.api.retag().map(|_| self as &dyn OwnDeadline)
    }
}

#[async_trait]
impl<A: CloudApi + ?Sized> Listing for Cloud<A> {
    async fn list(&self) -> Result<Vec<Listed>, ProviderError> {
        let inventory = self.inventory().await?;
        match inventory.gaps.into_iter().next() {
            Some(gap) => Err(gap.error),
            None => Ok(inventory.things),
        }
    }

    async fn inventory(&self) -> Result<Inventory, ProviderError> {
        self.inventory_of(&Selector::AllOurs, None, Lists::Own, &Silent)
            .await
    }

    fn now(&self) -> Option<Timestamp> {
        self.api.now()
    }
}

#[async_trait]
impl<A: CloudApi + ?Sized> OwnDeadline for Cloud<A> {
    async fn move_deadline(&self, label: &Label, deadline: Deadline) -> Result<(), ProviderError> {
        let Some(retag) = self.api.retag() else {
            return Err(self.error(ErrorKind::Invalid, "move a deadline", "it cannot change tags"));
        };
        let selector = Selector::Label(label.clone());
        for listed in self
            .inventory_of(&selector, None, Lists::Own, &Silent)
            .await?
            .things
        {
            let Some(tags) = listed.tags.clone() else { continue };
            let tags = Tags { deadline, ..tags };
            self.ask(&Silent, || retag.retag(&listed, &tags)).await?;
        }
        Ok(())
    }
}

/// What was reported lately counts more than the table.
#[async_trait]
impl<A: CloudApi + ?Sized> Prices for Cloud<A> {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        let quotes = self.quotes.lock();
        let mut quotes = quotes.iter();
        let quote = quotes.find(|quote| quote.instance_type == instance_type && quote.region == region);
        let reported = quote.and_then(|quote| Some((quote.hourly.clone()?, quote.day())));
        reported.or_else(|| self.api.prices()?.hourly(instance_type, region))
    }

    fn reports(&self) -> bool {
        self.api.prices().is_some_and(Prices::reports)
    }

    async fn ask(&self, instance_type: &str, region: &str) -> Result<Option<Money>, ProviderError> {
        match self.api.prices() {
            Some(prices) => prices.ask(instance_type, region).await,
            None => Ok(None),
        }
    }

    fn take(&self, quotes: Vec<Quote>) {
        *self.quotes.lock() = quotes;
    }

    fn billed(&self) -> Billed {
        self.api.prices().map_or_else(Billed::default, Prices::billed)
    }
}

/// Returns whose box an order asks for.
fn of(order: &Order) -> (Label, RunId) {
    (order.tags.label.clone(), order.tags.run.clone())
}

/// Returns whether a box tells what became of an order. One that an earlier attempt made does where it lives and has the name
/// that was refused; of a call that was not answered it says nothing.
fn answers(found: &ObservedInstance, order: &Order, why: &ProviderError) -> bool {
    let is_over = match found.state {
        InstanceState::Terminating | InstanceState::Terminated | InstanceState::Failed { .. } => true,
        InstanceState::Pending | InstanceState::Running | InstanceState::Stopped | InstanceState::Unknown => {
            false
        }
    };
    let tags = found.listed.tags.as_ref();
    let is_this_attempts = tags.is_none_or(|tags| tags.token == order.tags.token);
    is_this_attempts || (!is_over && why.kind == ErrorKind::Taken)
}
