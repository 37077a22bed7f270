//! The single calls of a simulated cloud, as its adapter gives them to the engine; and the bugs that an adapter can have.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use model::{
    cloud::{CloudApi, InstanceState, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    machine::{Listed, ResourceKind},
    name::Label,
    order::Order,
    profile::Profile,
    selector::Selector,
    tags::{Tags, is_ours},
    time::{Timestamp, after},
};
use parking_lot::Mutex;

use crate::{
    boxes::SimBox,
    clock::Elapsed,
    cloud::{New, SimCloud, Thing},
    faults::{BoxEnd, Bug, LISTING_LAG_MAX},
    keys::KeyStore,
    record::Observation,
};

/// The region that a policy denies.
const DENIED: &str = "denied";

/// The adapter, as one process has it.
pub struct SimApi {
    profile: Profile,
    cloud: SimCloud,
    keys: KeyStore,
    /// When its credentials expire.
    expires: Option<Elapsed>,
    process: u32,
    bug: Option<Bug>,
    /// What a process with a bug believes to be destroyed.
    believed: Mutex<BTreeSet<String>>,
}

impl SimApi {
    /// Makes the adapter of a process.
    pub fn new(cloud: SimCloud, keys: KeyStore, process: u32, bug: Option<Bug>) -> Self {
        let profile = Profile {
            reports_host_key: !cloud.has_tokens,
            // A box and its disk go one after the other.
            gone_max: Duration::from_secs(45 * 60),
            is_create_repeatable: cloud.has_tokens || bug == Some(Bug::DoesNotLook),
            listing_lag: match bug {
                Some(Bug::DeniesTheLag) => Duration::ZERO,
                _ => LISTING_LAG_MAX,
            },
            ..Profile::new(
                cloud.name.as_str(),
                &[("2x4g", "here")],
                "a timer in the simulation",
            )
        };
        let last = cloud.faults().credentials_last;
        let expires = (!last.is_zero()).then(|| cloud.clock.elapsed() + last);
        Self {
            profile,
            cloud,
            keys,
            expires,
            process,
            bug,
            believed: Mutex::default(),
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn error(&self, kind: ErrorKind, operation: &str) -> ProviderError {
        let cause = format!("{kind:?}");
        self.cloud.name.error(kind, operation, cause)
    }

    /// Refuses what is asked with credentials that have expired.
    fn admit(&self, operation: &str) -> Result<(), ProviderError> {
        match self
            .expires
            .is_some_and(|expires| expires <= self.cloud.clock.elapsed())
        {
            true => Err(self.error(ErrorKind::Unauthorized, operation)),
            false => Ok(()),
        }
    }

    async fn make(&self, order: &Order, kind: ResourceKind) -> Result<Thing, ProviderError> {
        self.admit("create a box")?;
        let mut tags = order.tags.pairs();
        if self.has(Bug::ForgetsTheDeadline) {
            tags.remove("mvm-deadline");
        }
        let later = self.has(Bug::TagsAfterwards).then(|| std::mem::take(&mut tags));
        let is_box = kind == ResourceKind::Machine;
        let new = New {
            kind,
            name: order.tags.label.to_string(),
            tags,
            host_key: is_box.then(|| self.keys.first_host_key(&order.tags.label)),
        };
        let made = self.cloud.create(new).await.map_err(|kind| match kind {
            ErrorKind::Unanswered if self.has(Bug::TakesSilenceForNo) => ErrorKind::NoCapacity,
            kind => kind,
        });
        let thing = made.map_err(|kind| self.error(kind, "create a box"))?;
        if let Some(tags) = later {
            let tagged = self.cloud.tag(&thing.id, tags).await;
            tagged.map_err(|kind| self.error(kind, "tag a box"))?;
        }
        Ok(thing)
    }

    async fn create(&self, order: &Order) -> Result<ObservedInstance, ProviderError> {
        let thing = self.make(order, ResourceKind::Machine).await?;
        self.keys.record_creation(&order.tags.label, &thing.id);
        Ok(self.observed(&thing))
    }

    async fn listed(&self, is_meant: impl Fn(&Thing) -> bool) -> Result<Vec<Thing>, ProviderError> {
        self.admit("list boxes")?;
        let listed = self.cloud.list(is_meant).await;
        listed.map_err(|kind| self.error(kind, "list boxes"))
    }

    /// Lists in order to find out what there is of a label.
    async fn look_for(
        &self,
        label: Option<&Label>,
        kind: Option<ResourceKind>,
        is_meant: impl Fn(&Thing) -> bool,
    ) -> Result<Vec<Thing>, ProviderError> {
        let listed = self.listed(is_meant).await?;
        let (provider, label) = (self.cloud.name.clone(), label.cloned());
        self.cloud.record.record(Observation::Looked {
            provider,
            label,
            kind,
        });
        Ok(listed)
    }

    fn is_meant(&self, thing: &Thing, selector: &Selector) -> bool {
        if self.has(Bug::LeavesTheDisk) && thing.kind == ResourceKind::Disk {
            return false;
        }
        if self.believes_gone(&thing.id) {
            return false;
        }
        match selector {
            Selector::AllOurs => thing.parsed.is_some() || is_ours(&thing.tags),
            Selector::Label(label) | Selector::OfRun(label, _) if self.has(Bug::GoesByName) => {
                thing.name.starts_with(label.as_str())
            }
            Selector::Label(label) | Selector::OfRun(label, _) if self.has(Bug::DestroysById) => {
                self.keys.made(label, &thing.id)
            }
            Selector::Label(label) => thing.is_of(label, None),
            Selector::OfRun(label, run) => thing.is_of(label, Some(run)),
        }
    }

    fn believes_gone(&self, id: &str) -> bool {
        self.believed.lock().contains(id)
    }

    fn observed(&self, thing: &Thing) -> ObservedInstance {
        let now = self.cloud.clock.elapsed();
        let address = thing.address(now);
        let is_off = self.cloud.faults().is_off_while_young && thing.is_young(now);
        let ended = thing.ended(now).filter(|_| !self.has(Bug::SaysThatTheDeadRun));
        let state = match (thing.until, ended, address) {
            (Some(_), _, _) => InstanceState::Terminating,
            (None, Some((_, BoxEnd::Stopped)), _) => InstanceState::Stopped,
            (None, Some((_, BoxEnd::Terminated | BoxEnd::Gone)), _) => InstanceState::Terminated,
            (None, None, Some(_)) => InstanceState::Running,
            (None, None, None) if is_off => InstanceState::Stopped,
            (None, None, None) => InstanceState::Pending,
        };
        let address = address.filter(|_| self.profile.reports_host_key);
        let host_key = address.and_then(|address| {
            let reported = |inside: &mut SimBox| inside.reported_key(now).to_owned();
            self.cloud.inside(address, reported)
        });
        ObservedInstance {
            listed: self.listing(thing),
            state,
            host_key,
            operation: None,
        }
    }

    fn listing(&self, thing: &Thing) -> Listed {
        Listed {
            kind: thing.kind,
            id: thing.id.to_string(),
            region: "here".to_owned(),
            tags: thing.parsed.as_deref().cloned(),
            state: "there".to_owned(),
            address: thing.address(self.cloud.clock.elapsed()),
            instance_type: Some("2x4g".to_owned()),
        }
    }
}

#[async_trait]
impl CloudApi for SimApi {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let selector = Selector::OfRun(order.tags.label.clone(), order.tags.run.clone());
        let is_there = |thing: &Thing| {
            thing.kind == ResourceKind::Disk && thing.until.is_none() && self.is_meant(thing, &selector)
        };
        let (label, kind) = (&order.tags.label, ResourceKind::Disk);
        if self.look_for(Some(label), Some(kind), is_there).await?.is_empty() {
            self.make(order, ResourceKind::Disk).await?;
        }
        Ok(vec![Launch::new("here", (), |()| self.create(order))])
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        self.admit("look at a box")?;
        let seen = self.cloud.look(&observed.listed.id).await;
        let seen = seen.map_err(|kind| self.error(kind, "look at a box"))?;
        Ok(seen.map(|thing| self.observed(&thing)))
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        if self.has(Bug::DoesNotLook) {
            return Ok(None);
        }
        let (label, kind) = (&order.tags.label, ResourceKind::Machine);
        let now = self.cloud.clock.elapsed();
        // As EC2's adapter: what has ended is listed for a while, and no box.
        let is_over = |thing: &Thing| matches!(thing.ended(now), Some((_, BoxEnd::Terminated)));
        let is_it = |thing: &Thing| thing.kind == kind && thing.is_of(label, None) && !is_over(thing);
        let listed = self.look_for(Some(label), Some(kind), is_it).await?;
        Ok(listed.first().map(|thing| self.observed(thing)))
    }

    async fn regions(&self) -> Result<Vec<String>, ProviderError> {
        let denied = self.cloud.faults().is_region_denied.then_some(DENIED);
        Ok(["here"].into_iter().chain(denied).map(str::to_owned).collect())
    }

    fn region_of(&self, place: &str) -> String {
        place.to_owned()
    }

    async fn list(&self, region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        if region == DENIED {
            return Err(self.error(ErrorKind::Unauthorized, "list boxes"));
        }
        let label = match selector {
            Selector::Label(label) | Selector::OfRun(label, _) => Some(label),
            Selector::AllOurs => None,
        };
        let meant = self
            .look_for(label, None, |thing| self.is_meant(thing, selector))
            .await?;
        Ok(meant.iter().map(|thing| self.listing(thing)).collect())
    }

    fn now(&self) -> Option<Timestamp> {
        Some(self.cloud.clock.true_now())
    }

    fn expiry(&self) -> Option<Timestamp> {
        let left = self.expires?.saturating_sub(self.cloud.clock.elapsed());
        Some(after(self.cloud.clock.true_now(), left))
    }

    fn retag(&self) -> Option<&dyn Retag> {
        Some(self)
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        self.admit("destroy")?;
        match self.cloud.delete(self.process, &listed.id).await {
            Ok(()) if self.has(Bug::TrustsTheFirstOk) => {
                let mut believed = self.believed.lock();
                believed.insert(listed.id.clone());
                Ok(())
            }
            Ok(()) | Err(ErrorKind::NotFound) => Ok(()),
            Err(kind) => Err(self.error(kind, "destroy a box")),
        }
    }
}

#[async_trait]
impl Retag for SimApi {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        self.admit("move a deadline")?;
        let tagged = self.cloud.tag(&listed.id, tags.pairs()).await;
        tagged.map_err(|kind| self.error(kind, "move a deadline"))
    }
}
