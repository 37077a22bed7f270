//! The single calls of a cloud's API. The engine makes a `Provider` of them: what waits, retries and confirms
//! is written once, there.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;

use crate::{
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, Machine},
    name::ProviderName,
    order::Order,
    selector::Selector,
    tags::Tags,
    time::Timestamp,
    world::{Console, Preflight, Prices},
};

/// One cloud, as its API shows it. No method waits for anything but the answer, and none repeats a request: a failure
/// goes to the engine with its kind.
#[async_trait]
pub trait CloudApi: Send + Sync {
    /// Returns the provider's name.
    fn name(&self) -> &ProviderName;

    /// Returns instance types with their regions, at least one, in the order in which they are tried when a lane names
    /// neither. The first is the default of an order that names only one of both.
    fn choices(&self) -> Vec<(&str, &str)>;

    /// Refuses, with the reason, an order that can never succeed. Makes no call.
    fn refuse(&self, _instance_type: &str, _need: KvmNeed) -> Option<ProviderError> {
        None
    }

    /// Says in one sentence how a box ends if this machine is lost now.
    fn dead_mans_switch(&self) -> String;

    /// Returns whether a create call may be sent again for the same attempt without making a second box: by an
    /// idempotency token, or by a name that the provider keeps unique.
    fn is_create_repeatable(&self) -> bool;

    /// Returns whether [`ObservedInstance::host_key`] is filled once the box is up, because the provider's own agent makes
    /// that key and ours does not count.
    fn reports_host_key(&self) -> bool {
        false
    }

    /// Returns how long a new thing may be missing from the provider's lists.
    fn listing_lag(&self) -> Duration;

    /// Returns how long a box of that type may take from its create call to its address.
    fn up_max(&self, _instance_type: &str) -> Duration {
        Duration::from_secs(10 * 60)
    }

    /// Returns the longest pause between two looks at a box that is coming or going: as often as its limit on requests
    /// allows.
    fn look_max(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Returns how long destroying may take until nothing is listed any more.
    fn gone_max(&self) -> Duration {
        Duration::from_secs(9 * 60)
    }

    /// Returns the places within the order's region to try in turn: its zones, or the region alone.
    async fn places(&self, order: &Order) -> Result<Vec<String>, ProviderError> {
        Ok(vec![order.candidate.region.clone()])
    }

    /// Makes what the box needs beside it (key, firewall), tagged like the box, or finds what an earlier try made.
    async fn prepare(&self, order: &Order) -> Result<Prepared, ProviderError>;

    /// Asks for the box. All its tags are in the request.
    async fn create(
        &self,
        order: &Order,
        place: &str,
        prepared: &Prepared,
    ) -> Result<ObservedInstance, ProviderError>;

    /// Looks at a box again. None: it is not there, or not yet.
    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError>;

    /// Looks for the box of the order's label, whoever made it.
    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError>;

    /// Lists what is ours: every kind of thing, in all regions, all pages.
    async fn list(&self, selector: &Selector) -> Result<Vec<Listed>, ProviderError>;

    /// Returns the moment by the provider's own clock, where its last answer reported it.
    fn now(&self) -> Option<Timestamp> {
        None
    }

    /// Asks for one thing to be destroyed. What is gone already is `NotFound`, which the caller takes for success; what is
    /// still in use, or locked for a moment, is `Unavailable`.
    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError>;

    /// Writes new tags.
    fn retag(&self) -> Option<&dyn Retag> {
        None
    }

    /// Says before a run whether it could work.
    fn preflight(&self) -> Option<&dyn Preflight> {
        None
    }

    /// Knows what an hour costs.
    fn prices(&self) -> Option<&dyn Prices> {
        None
    }

    /// Reads the serial console of a box.
    fn console(&self) -> Option<&dyn Console> {
        None
    }
}

/// Writes new tags.
#[async_trait]
pub trait Retag: Send + Sync {
    /// Gives a thing new tags, and moves the provider's own switch with them where it has one.
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError>;
}

/// What the create call has to name, in the provider's words, such as `firewall` and its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prepared {
    /// By what it is.
    pub ids: BTreeMap<&'static str, String>,
}

/// A box as its provider shows it at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedInstance {
    /// The box.
    pub listed: Listed,
    /// Where it stands.
    pub state: InstanceState,
    /// Its SSH host key, where the provider reports it.
    pub host_key: Option<String>,
    /// What to ask how the create call went, where the answer came before the box.
    pub operation: Option<String>,
}

/// Where a box stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstanceState {
    /// It is being made.
    Pending,
    /// It runs.
    Running,
    /// It is being destroyed, or just was.
    Terminating,
    /// It will never run.
    Failed {
        /// What that means for us.
        kind: ErrorKind,
        /// Why, in the provider's words.
        why: String,
    },
}

impl ObservedInstance {
    /// Returns the machine once it runs and has an address, with `tags` its own.
    pub fn machine(&self, provider: &ProviderName, tags: &Tags) -> Option<Machine> {
        if self.state != InstanceState::Running {
            return None;
        }
        Some(Machine {
            label: tags.label.clone(),
            provider: provider.clone(),
            id: self.listed.id.clone(),
            region: self.listed.region.clone(),
            instance_type: self.listed.instance_type.clone()?,
            address: self.listed.address?,
            port: 22,
            host_key: self.host_key.clone(),
            note: None,
        })
    }
}
