//! An adapter of the simulated cloud: what a good one does, and the bugs that one can have.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use model::{
    error::{ErrorKind, ProviderError},
    machine::{Gone, Listed, Machine, ResourceKind, Which},
    name::Label,
    order::Order,
    tags::{Tags, is_ours},
    time::Timestamp,
    world::{Listing, Progress, Provider},
};

use crate::{
    cloud::{New, SimCloud, Thing},
    faults::Bug,
    keys::KeyStore,
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a box may take until it has an address.
const ADDRESS_MAX: Duration = Duration::from_secs(30 * 60);

/// How long one `down` goes on.
const DOWN_MAX: Duration = Duration::from_secs(5 * 60);

/// The adapter, as one process has it.
pub struct SimProvider {
    cloud: SimCloud,
    keys: KeyStore,
    process: u32,
    bug: Option<Bug>,
}

impl SimProvider {
    /// Makes the adapter of a process.
    pub fn new(cloud: SimCloud, keys: KeyStore, process: u32, bug: Option<Bug>) -> Self {
        Self {
            cloud,
            keys,
            process,
            bug,
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn error(&self, kind: ErrorKind, operation: &str) -> ProviderError {
        let cause = format!("{kind:?}");
        ProviderError {
            kind,
            provider: self.cloud.name.clone(),
            operation: operation.to_owned(),
            cause,
            help: None,
        }
    }

    async fn make(&self, order: &Order, kind: ResourceKind) -> Result<Thing, ProviderError> {
        let is_box = kind == ResourceKind::Machine;
        let mut tags = order.tags.pairs();
        if self.has(Bug::ForgetsTheDeadline) {
            tags.remove("mvm-deadline");
        }
        let later = self.has(Bug::TagsAfterwards).then(|| std::mem::take(&mut tags));
        let new = New {
            kind,
            name: order.tags.label.to_string(),
            tags,
            host_key: is_box.then(|| self.keys.first_host_key(&order.tags.label)),
        };
        let made = self.cloud.create(new).await;
        let made = made.map_err(|kind| match kind {
            ErrorKind::Unanswered if self.has(Bug::TakesSilenceForNo) => ErrorKind::NoCapacity,
            kind => kind,
        });
        let thing = made.map_err(|kind| self.error(kind, "create a box"))?;
        if let Some(tags) = later {
            self.cloud
                .tag(&thing.id, tags)
                .await
                .map_err(|kind| self.error(kind, "tag a box"))?;
        }
        Ok(thing)
    }

    async fn list(&self) -> Result<Vec<Thing>, ProviderError> {
        self.cloud
            .list()
            .await
            .map_err(|kind| self.error(kind, "list boxes"))
    }

    async fn wait_for_address(&self, order: &Order, thing: &Thing) -> Result<Machine, ProviderError> {
        let end = self.cloud.clock.elapsed() + ADDRESS_MAX;
        while self.cloud.clock.elapsed() < end {
            let listed = self.list().await?;
            let now = self.cloud.clock.elapsed();
            if let Some(address) = listed
                .iter()
                .find(|it| it.id == thing.id)
                .and_then(|it| it.address(now))
            {
                return Ok(Machine {
                    label: order.tags.label.clone(),
                    provider: self.cloud.name.clone(),
                    id: thing.id.clone(),
                    region: order.candidate.region.clone(),
                    instance_type: order.candidate.instance_type.clone(),
                    address,
                    port: 22,
                    host_key: None,
                    note: None,
                });
            }
            self.cloud.clock.pass(PAUSE).await;
        }
        Err(self.error(ErrorKind::Unavailable, "give the box an address"))
    }

    fn is_meant(&self, thing: &Thing, which: &Which) -> bool {
        match which {
            Which::AllOurs => is_ours(&thing.tags),
            Which::Label(label) if self.has(Bug::GoesByName) => thing.name.starts_with(label.as_str()),
            Which::Label(label) if self.has(Bug::DestroysById) => {
                self.keys.made(label).is_some_and(|id| id == thing.id)
            }
            Which::Label(label) => is_ours(&thing.tags) && is_of(thing, label),
        }
    }

    async fn destroy(&self, thing: &Thing) -> Result<(), ProviderError> {
        match self.cloud.delete(self.process, &thing.id).await {
            Ok(()) | Err(ErrorKind::NotFound) => Ok(()),
            Err(kind) => Err(self.error(kind, "destroy a box")),
        }
    }
}

fn is_of(thing: &Thing, label: &Label) -> bool {
    thing.tags.get("mvm-label").is_some_and(|it| it == label.as_str())
}

#[async_trait]
impl Provider for SimProvider {
    fn default_instance_type(&self) -> &str {
        "2x4g"
    }

    fn default_region(&self) -> &str {
        "here"
    }

    async fn up(&self, order: &Order, _: &dyn Progress) -> Result<Machine, ProviderError> {
        let label = &order.tags.label;
        let listed = if self.has(Bug::DoesNotLook) {
            Vec::new()
        } else {
            self.list().await?
        };
        let mine = listed
            .iter()
            .filter(|thing| is_ours(&thing.tags) && is_of(thing, label));
        let (mine, theirs): (Vec<_>, Vec<_>) = mine.partition(|thing| {
            thing
                .tags
                .get("mvm-run")
                .is_some_and(|run| run == order.tags.run.as_str())
        });
        if !theirs.is_empty() {
            return Err(self.error(ErrorKind::Taken, "create a box"));
        }
        if !mine.iter().any(|thing| thing.kind == ResourceKind::Disk) {
            self.make(order, ResourceKind::Disk).await?;
        }
        let machine = match mine.into_iter().find(|thing| thing.kind == ResourceKind::Machine) {
            Some(machine) => machine.clone(),
            None => self.make(order, ResourceKind::Machine).await?,
        };
        self.keys.note_made(label, &machine.id);
        self.wait_for_address(order, &machine).await
    }

    async fn down(&self, which: &Which, _: &dyn Progress) -> Result<Vec<Gone>, ProviderError> {
        let end = self.cloud.clock.elapsed() + DOWN_MAX;
        let mut found = BTreeSet::new();
        loop {
            let listed = self.list().await?;
            let mut doomed: Vec<&Thing> = listed
                .iter()
                .filter(|thing| self.is_meant(thing, which))
                .collect();
            if self.has(Bug::LeavesTheDisk) {
                doomed.retain(|thing| thing.kind == ResourceKind::Machine);
            }
            found.extend(doomed.iter().map(|thing| (thing.kind, thing.id.clone())));
            for &thing in &doomed {
                self.destroy(thing).await?;
            }
            if doomed.is_empty() || self.has(Bug::TrustsTheFirstOk) {
                return Ok(found.into_iter().map(|(kind, id)| Gone { kind, id }).collect());
            }
            if self.cloud.clock.elapsed() >= end {
                return Err(self.error(ErrorKind::Unavailable, "destroy a box: it is still listed"));
            }
            self.cloud.clock.pass(PAUSE).await;
        }
    }

    fn dead_man(&self) -> String {
        "a timer in the simulation".to_owned()
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }
}

#[async_trait]
impl Listing for SimProvider {
    async fn list(&self) -> Result<Vec<Listed>, ProviderError> {
        let listed = SimProvider::list(self).await?;
        let now = self.cloud.clock.elapsed();
        Ok(listed
            .iter()
            .filter(|thing| is_ours(&thing.tags))
            .map(|thing| listed_of(thing, now))
            .collect())
    }
}

fn listed_of(thing: &Thing, now: Duration) -> Listed {
    Listed {
        kind: thing.kind,
        id: thing.id.clone(),
        region: "here".to_owned(),
        tags: Tags::parse(&thing.tags),
        state: "running".to_owned(),
        address: thing.address(now),
        instance_type: None,
    }
}

/// Returns the moment by the provider's clock.
pub fn provider_now(cloud: &SimCloud) -> Timestamp {
    cloud.clock.true_now()
}
