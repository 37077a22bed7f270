//! The single calls of a cloud's API. The engine makes a `Provider` of them: what waits, retries and confirms
//! is written once, there.

use std::{future::Future, pin::Pin};

use async_trait::async_trait;

use crate::{
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Health, Listed, Machine, ResourceKind},
    name::ProviderName,
    order::Order,
    profile::Profile,
    selector::Selector,
    tags::Tags,
    time::Timestamp,
    world::{Console, Preflight, Prices},
};

/// One cloud, as its API shows it. No method waits for anything but the answer, and none repeats a request: a failure
/// goes to the engine with its kind.
#[async_trait]
pub trait CloudApi: Send + Sync {
    /// Returns its facts.
    fn profile(&self) -> &Profile;

    /// Makes an error of this cloud, without help.
    fn error(&self, kind: ErrorKind, operation: &str, cause: impl Into<String>) -> ProviderError
    where
        Self: Sized,
    {
        self.profile().name.error(kind, operation, cause)
    }

    /// Refuses, with the reason, an order that can never succeed. Makes no call.
    fn refuse(&self, _instance_type: &str, _need: KvmNeed) -> Option<ProviderError> {
        None
    }

    /// Makes what the box needs beside it (key, firewall), tagged like the box, or finds what an earlier try made.
    /// Returns the create calls to try in turn, at least one: one for each zone of the order's region, or for the region.
    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError>;

    /// Looks at a box again. None: it is not there, or not yet.
    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError>;

    /// Looks for the box of the order's label, whoever made it.
    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError>;

    /// Returns the parts of the cloud that list what is theirs apart from each other. One without a name: one list has all.
    async fn regions(&self) -> Result<Vec<String>, ProviderError> {
        Ok(vec![String::new()])
    }

    /// Returns the part of the cloud that an order's region, or a zone, is in.
    fn region_of(&self, _place: &str) -> String {
        String::new()
    }

    /// Lists what is ours in one part of the cloud: every kind of thing, all pages.
    async fn list(&self, region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError>;

    /// Returns the moment by the provider's own clock, where its last answer reported it.
    fn now(&self) -> Option<Timestamp> {
        None
    }

    /// Returns when the credentials expire, where that is known and nothing renews them.
    fn expiry(&self) -> Option<Timestamp> {
        None
    }

    /// Asks for one thing to be destroyed. What is gone already is `NotFound`, which the caller takes for success; what is
    /// still in use, or locked for a moment, is `Unavailable`.
    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError>;

    /// Says why the provider ended a box that is dead or gone, where it keeps that apart from the box.
    async fn why_ended(&self, _machine: &Machine) -> Option<String> {
        None
    }

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

/// One create call that is ready to be sent: where the box is to be, and all that was prepared for it.
pub struct Launch<'a> {
    /// Where the box is to be, in the provider's word: a zone, or a region.
    pub place: String,
    send: Box<dyn Fn() -> Answer<'a> + Send + Sync + 'a>,
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<ObservedInstance, ProviderError>> + Send + 'a>>;

impl<'a> Launch<'a> {
    /// Makes a create call of what was prepared for it, in the cloud's own type.
    pub fn new<P, F>(place: impl Into<String>, prepared: P, send: impl Fn(P) -> F + Send + Sync + 'a) -> Self
    where
        P: Clone + Send + Sync + 'a,
        F: Future<Output = Result<ObservedInstance, ProviderError>> + Send + 'a,
    {
        Self {
            place: place.into(),
            send: Box::new(move || Box::pin(send(prepared.clone()))),
        }
    }

    /// Asks for the box. All its tags are in the request.
    pub async fn send(&self) -> Result<ObservedInstance, ProviderError> {
        (self.send)().await
    }
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
    /// It is there and off: a young box may pass through this, an older one stays so.
    Stopped,
    /// It is being destroyed.
    Terminating,
    /// It was destroyed, and is listed for a while.
    Terminated,
    /// In a state that this twolane does not know. It is there.
    Unknown,
    /// It will never run.
    Failed {
        /// What that means for us.
        kind: ErrorKind,
        /// Why, in the provider's words.
        why: String,
    },
}

impl ObservedInstance {
    /// Returns a box as it was when it came up.
    pub fn of(machine: &Machine) -> Self {
        Self {
            listed: Listed {
                kind: ResourceKind::Machine,
                id: machine.id.clone(),
                region: machine.region.clone(),
                tags: None,
                state: "up".to_owned(),
                address: Some(machine.address),
                instance_type: Some(machine.instance_type.clone()),
            },
            state: InstanceState::Running,
            host_key: machine.host_key.clone(),
            operation: None,
        }
    }

    /// Says how a box is that was up before.
    pub fn health(self) -> Health {
        let standing = format!("box {} is {}", self.listed.id, self.listed.state);
        match self.state {
            InstanceState::Pending | InstanceState::Running | InstanceState::Unknown => {
                Health::Running(standing)
            }
            InstanceState::Stopped | InstanceState::Terminating | InstanceState::Terminated => {
                Health::Dead(standing)
            }
            InstanceState::Failed { why, .. } => Health::Dead(format!("{standing}: {why}")),
        }
    }

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
            jump: None,
            host_key: self.host_key.clone(),
            note: None,
        })
    }
}
