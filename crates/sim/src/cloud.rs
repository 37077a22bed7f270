//! A simulated provider: the single calls of its API, answered as unreliably as the faults say, and the boxes behind it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use model::{
    error::ErrorKind,
    machine::ResourceKind,
    name::{Label, ProviderName, RunId},
    tags::{self, Tags},
};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    boxes::{SimBox, SimCheck},
    clock::{Elapsed, SimClock},
    faults::{BoxEnd, Faults},
    record::{Observation, Record, TagPairs},
};

/// How long a box takes from its creation until it has an address.
const BOOT: Duration = Duration::from_secs(20);

/// How long a thing that is being deleted is still listed.
const DELETING: Duration = Duration::from_secs(8);

/// How long a box runs at most that ends by itself, as its provider shows.
const BOX_END_MAX: Duration = Duration::from_secs(20 * 60);

/// The address of the first box.
const FIRST_ADDRESS: u32 = 0x0a00_0000;

/// How long an answer is waited for.
pub(crate) const TIME_OUT: Duration = Duration::from_secs(60);

/// Longest time after which a box turns up whose create call was answered with a timeout.
const LATE_MAX: Duration = Duration::from_secs(20 * 60);

/// One thing that a provider has, had, or is going to have.
#[derive(Debug, Clone)]
pub struct Thing {
    /// The provider's own id.
    pub id: Arc<str>,
    /// The kind of thing.
    pub kind: ResourceKind,
    /// The name that people see.
    pub name: Arc<str>,
    /// Its tags.
    pub tags: Arc<TagPairs>,
    /// What they say, where they can be read.
    pub(crate) parsed: Option<Arc<Tags>>,
    /// Whether somebody else made it.
    pub is_foreign: bool,
    /// When it comes to be.
    pub from: Elapsed,
    /// When it is listed first.
    pub listed_from: Elapsed,
    /// When it ceases to be.
    pub until: Option<Elapsed>,
    /// When it ends by itself, and how.
    pub(crate) end: Option<(Elapsed, BoxEnd)>,
    address: IpAddr,
}

impl Thing {
    /// Returns whether it carries our tag and that label, and that run where one is asked for.
    pub(crate) fn is_of(&self, label: &Label, run: Option<&RunId>) -> bool {
        if let Some(tags) = &self.parsed {
            return tags.label == *label && run.is_none_or(|run| tags.run == *run);
        }
        let says = |key: &str, value: &str| self.tags.get(key).is_some_and(|it| it == value);
        tags::is_ours(&self.tags)
            && says("mvm-label", label.as_str())
            && run.is_none_or(|run| says("mvm-run", run.as_str()))
    }

    fn is_there(&self, now: Elapsed) -> bool {
        self.from <= now && self.remains(now)
    }

    /// Returns how it has ended by itself, if it has, and for how long.
    pub(crate) fn ended(&self, now: Elapsed) -> Option<(Duration, BoxEnd)> {
        let (at, how) = self.end?;
        (at <= now).then(|| (now - at, how))
    }

    /// Returns whether a list names it.
    pub(crate) fn is_listed(&self, now: Elapsed) -> bool {
        self.is_there(now) && self.listed_from <= now
    }

    /// Returns whether it exists or is going to.
    pub fn remains(&self, now: Elapsed) -> bool {
        let is_gone = matches!(self.ended(now), Some((_, BoxEnd::Gone)));
        !is_gone && self.until.is_none_or(|until| now < until)
    }

    /// Returns whether it is between its first two states.
    pub(crate) fn is_young(&self, now: Elapsed) -> bool {
        now >= self.from + BOOT / 2 && now < self.from + BOOT
    }

    /// Returns where its SSH server answers, once it has an address.
    pub fn address(&self, now: Elapsed) -> Option<IpAddr> {
        (now >= self.from + BOOT).then_some(self.address)
    }
}

/// What a create call is to make.
#[derive(Debug, Clone)]
pub struct New {
    /// The kind of thing.
    pub kind: ResourceKind,
    /// The name that people see.
    pub name: String,
    /// Its tags.
    pub tags: TagPairs,
    /// The host key that its user-data brings, for a box.
    pub host_key: Option<String>,
}

/// A simulated provider. All copies are the same one.
#[derive(Clone)]
pub struct SimCloud {
    /// Its name.
    pub name: ProviderName,
    pub(crate) clock: SimClock,
    pub(crate) record: Record,
    faults: Arc<Mutex<Arc<Faults>>>,
    things: Arc<Mutex<Vec<Thing>>>,
    /// What goes on in each box, by its address.
    insides: Arc<Mutex<BTreeMap<IpAddr, SimBox>>>,
    /// How all boxes end at the moment that the clock has marked.
    box_end: Option<BoxEnd>,
    /// Whether a create call with a token that was used before is answered with what it made then.
    pub(crate) has_tokens: bool,
}

impl SimCloud {
    /// Makes a provider that has nothing.
    pub fn new(
        name: ProviderName,
        has_tokens: bool,
        box_end: Option<BoxEnd>,
        faults: Arc<Mutex<Arc<Faults>>>,
        record: Record,
    ) -> Self {
        Self {
            name,
            clock: record.clock.clone(),
            record,
            faults,
            box_end,
            things: Arc::default(),
            insides: Arc::default(),
            has_tokens,
        }
    }

    /// One create call.
    pub async fn create(&self, new: New) -> Result<Thing, ErrorKind> {
        self.begin().await?;
        let faults = self.faults();
        let is_box = new.kind == ResourceKind::Machine;
        if is_box && self.clock.happens(faults.no_capacity) {
            return Err(ErrorKind::NoCapacity);
        }
        if faults.create_refused > 0 && self.clock.happens(faults.create_refused) {
            return Err(ErrorKind::Invalid);
        }
        let is_late = is_box && self.clock.happens(faults.create_late);
        let is_unanswered = is_late || self.clock.happens(faults.create_unanswered);
        self.record.record(Observation::CreateAsked {
            provider: self.name.clone(),
            kind: new.kind,
            tags: Arc::new(new.tags.clone()),
            is_unanswered,
        });
        let late = if is_late {
            self.clock.length(Duration::from_secs(1), LATE_MAX)
        } else {
            Duration::ZERO
        };
        let thing = self.make(new.clone(), late, &faults);
        if self.clock.happens(faults.create_repeated) {
            self.make(new, late, &faults);
        }
        self.clock.call().await;
        if is_unanswered {
            self.clock.pass(TIME_OUT).await;
            return Err(ErrorKind::Unanswered);
        }
        Ok(thing)
    }

    fn make(&self, new: New, late: Duration, faults: &Faults) -> Thing {
        let now = self.clock.elapsed();
        if let Some(first) = self.made_with_token(&new) {
            return first;
        }
        let from = now + late;
        let listed_from = from + self.clock.length(Duration::ZERO, faults.listing_lag);
        let is_box = new.host_key.is_some();
        let end = if is_box && self.clock.happens(faults.born_dead) {
            Some((from, BoxEnd::Terminated))
        } else {
            (is_box && self.clock.happens(faults.box_ends)).then(|| {
                let how = BoxEnd::ALL[self.clock.below(3) as usize];
                (from + BOOT + self.clock.length(Duration::ZERO, BOX_END_MAX), how)
            })
        };
        // Where the provider shows no host keys, an image leaves alone the one that the user-data brings.
        let agent_renews = if self.has_tokens { 0 } else { faults.agent_renews };
        let faults = Faults {
            agent_renews,
            ..faults.clone()
        };
        let inside = new
            .host_key
            .map(|host_key| SimBox::new(&self.clock, &faults, from + BOOT, host_key));
        let mut things = self.things();
        // No two providers give the same address.
        let number = things.len() * 2 + usize::from(self.has_tokens);
        let address = IpAddr::V4(Ipv4Addr::from_bits(FIRST_ADDRESS + number as u32));
        self.insides().extend(inside.map(|inside| (address, inside)));
        let thing = Thing {
            id: format!("{}-{number}", self.name).into(),
            kind: new.kind,
            name: new.name.into(),
            parsed: Tags::parse(&new.tags).map(Arc::new),
            tags: Arc::new(new.tags),
            is_foreign: false,
            from,
            listed_from,
            until: None,
            end,
            address,
        };
        things.push(thing.clone());
        thing
    }

    fn made_with_token(&self, new: &New) -> Option<Thing> {
        let token = new.tags.get("mvm-token").filter(|_| self.has_tokens)?;
        let now = self.clock.elapsed();
        self.things()
            .iter()
            .find(|thing| {
                thing.kind == new.kind && thing.tags.get("mvm-token") == Some(token) && thing.remains(now)
            })
            .cloned()
    }

    /// One call that lists everything, page after page; returns those that are meant.
    pub async fn list(&self, is_meant: impl Fn(&Thing) -> bool) -> Result<Vec<Thing>, ErrorKind> {
        self.begin().await?;
        let now = self.clock.elapsed();
        let listed = self
            .things()
            .iter()
            .filter(|thing| thing.is_listed(now) && is_meant(thing))
            .cloned()
            .collect();
        self.clock.call().await;
        Ok(listed)
    }

    /// One call that looks at a box. No call at which a process can be killed: it changes nothing.
    pub async fn look(&self, id: &str) -> Result<Option<Thing>, ErrorKind> {
        self.front_door().await?;
        let now = self.clock.elapsed();
        let is_it = |thing: &&Thing| &*thing.id == id && thing.is_listed(now);
        Ok(self.things().iter().find(is_it).cloned())
    }

    /// One delete call.
    pub async fn delete(&self, process: u32, id: &str) -> Result<(), ErrorKind> {
        self.begin().await?;
        let faults = self.faults();
        if self.clock.elapsed() < faults.deletes_fail_for {
            return Err(ErrorKind::Unavailable);
        }
        let now = self.clock.elapsed();
        let is_ignored = self.clock.happens(faults.delete_ignored);
        let deleting = DELETING + self.clock.length(Duration::ZERO, faults.deletes_take);
        let (tags, parsed) = {
            let mut things = self.things();
            let thing = things
                .iter_mut()
                .find(|thing| &*thing.id == id && thing.is_there(now))
                .ok_or(ErrorKind::NotFound)?;
            if !is_ignored && thing.until.is_none() {
                thing.until = Some(now + deleting);
            }
            (thing.tags.clone(), thing.parsed.clone())
        };
        self.record.record(Observation::DestroyAsked {
            process,
            id: id.to_owned(),
            tags,
            parsed,
        });
        self.clock.call().await;
        self.maybe_time_out().await?;
        match !is_ignored && self.clock.happens(faults.delete_belied) {
            true => Err(ErrorKind::Invalid),
            false => Ok(()),
        }
    }

    /// One call that adds tags. No good adapter makes it.
    pub async fn tag(&self, id: &str, tags: TagPairs) -> Result<(), ErrorKind> {
        self.begin().await?;
        let now = self.clock.true_now();
        if let Some(thing) = self.things().iter_mut().find(|thing| &*thing.id == id) {
            Arc::make_mut(&mut thing.tags).extend(tags);
            let new = Tags::parse(&thing.tags).map(Arc::new);
            let old = std::mem::replace(&mut thing.parsed, new);
            if let Some(tags) = old.filter(|tags| tags.deadline.is_over(now)) {
                self.record.record(Observation::Revived { tags });
            }
        }
        self.clock.call().await;
        self.maybe_time_out().await
    }

    /// What every call begins with: the way there, and what the provider's front door may answer.
    async fn begin(&self) -> Result<(), ErrorKind> {
        self.clock.call().await;
        self.front_door().await
    }

    async fn front_door(&self) -> Result<(), ErrorKind> {
        self.clock
            .pass(
                self.clock
                    .length(Duration::from_millis(20), Duration::from_millis(900)),
            )
            .await;
        let faults = self.faults();
        if self.clock.happens(faults.rate_limited) {
            return Err(ErrorKind::RateLimited { retry_after: None });
        }
        if self.clock.elapsed() < faults.is_down_for || self.clock.happens(faults.unavailable) {
            return Err(ErrorKind::Unavailable);
        }
        self.maybe_time_out().await
    }

    /// Lets an answer not come. Adapters call that unavailable, of what may be retried and of what never left.
    async fn maybe_time_out(&self) -> Result<(), ErrorKind> {
        if self.clock.happens(self.faults().times_out) {
            self.clock.pass(TIME_OUT).await;
            return Err(ErrorKind::Unavailable);
        }
        Ok(())
    }

    /// Puts a thing there that nobody here made.
    pub fn put(&self, name: &str, kind: ResourceKind, tags: TagPairs) {
        let new = New {
            kind,
            name: name.to_owned(),
            tags,
            host_key: None,
        };
        self.make(new, Duration::ZERO, &Faults::default());
        self.things()
            .iter_mut()
            .rev()
            .take(1)
            .for_each(|thing| thing.is_foreign = true);
    }

    /// Returns everything that it has, had, or is going to have.
    pub fn everything(&self) -> Vec<Thing> {
        self.things().clone()
    }

    /// Returns the ids of what exists or is going to, made for this label in this run.
    pub fn remains(&self, label: &Label, run: Option<&RunId>) -> Vec<String> {
        let now = self.clock.elapsed();
        let is_meant = |thing: &&Thing| thing.remains(now) && thing.is_of(label, run);
        self.things()
            .iter()
            .filter(is_meant)
            .map(|thing| format!("{} {}", thing.kind, thing.id))
            .collect()
    }

    /// Does something with the inside of the box at an address; none when no box is there.
    pub fn inside<T>(&self, address: IpAddr, work: impl FnOnce(&mut SimBox) -> T) -> Option<T> {
        let now = self.clock.elapsed();
        let IpAddr::V4(bits) = address else { return None };
        // As `make` gave them out.
        let index = bits.to_bits().checked_sub(FIRST_ADDRESS)? / 2;
        let is_it = |thing: &Thing| {
            thing.is_there(now) && thing.ended(now).is_none() && thing.address(now) == Some(address)
        };
        if !self.things().get(index as usize).is_some_and(is_it) {
            return None;
        }
        let mut insides = self.insides();
        let inside = insides.get_mut(&address).filter(|inside| inside.is_alive(now))?;
        Some(work(inside))
    }

    /// Returns for how long the box at an address has been dead, if its provider shows that and nobody destroys it.
    pub(crate) fn dead_for(&self, address: IpAddr) -> Option<Duration> {
        let now = self.clock.elapsed();
        let things = self.things();
        let mut there = things
            .iter()
            .filter(|thing| thing.address == address && thing.until.is_none());
        there.find_map(|thing| Some(thing.ended(now)?.0))
    }

    /// Returns what became of every check that was started on any box.
    pub fn checks(&self) -> Vec<(RunId, String, SimCheck)> {
        let insides = self.insides();
        let checks = insides.values().flat_map(SimBox::checks);
        checks
            .map(|(run, slug, check)| (run.clone(), slug.to_owned(), check.clone()))
            .collect()
    }

    fn insides(&self) -> MutexGuard<'_, BTreeMap<IpAddr, SimBox>> {
        self.insides.lock()
    }

    pub(crate) fn faults(&self) -> Arc<Faults> {
        self.faults.lock().clone()
    }

    fn things(&self) -> MutexGuard<'_, Vec<Thing>> {
        let mut things = self.things.lock();
        if let Some((at, how)) = self.clock.marked().zip(self.box_end) {
            let is_box = |thing: &&mut Thing| thing.kind == ResourceKind::Machine && !thing.is_foreign;
            let there = things.iter_mut().filter(is_box).filter(|thing| thing.from <= at);
            there.for_each(|thing| thing.end = thing.end.or(Some((at, how))));
        }
        things
    }
}

/// The providers of one simulation, by name.
pub type Clouds = BTreeMap<ProviderName, SimCloud>;
