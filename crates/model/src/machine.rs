//! A box that exists, and what a provider lists.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{
    host::Address,
    name::{Label, ProviderName},
    tags::Tags,
};

/// A box that its provider says exists and has an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name.
    pub label: Label,
    /// Its provider.
    pub provider: ProviderName,
    /// The provider's own id.
    pub id: String,
    /// Where it is.
    pub region: String,
    /// Its size.
    pub instance_type: String,
    /// Where its SSH server answers.
    pub address: IpAddr,
    /// The port of its SSH server.
    pub port: u16,
    /// The machine through which that address is reached; none where it is reached directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<Address>,
    /// Its SSH host key in `known_hosts` form (`ssh-ed25519 AAAA…`) where the provider reports it;
    /// else the one that was sent in the user-data counts.
    pub host_key: Option<String>,
    /// What people should know about it, such as how a local box is accelerated, and why.
    pub note: Option<String>,
}

/// One thing that a provider lists as ours: a box, or something that was made for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// The kind of thing.
    pub kind: ResourceKind,
    /// The provider's own id.
    pub id: String,
    /// Where it is.
    pub region: String,
    /// Its tags, as they were read. None when they are damaged: it is ours, but not to be decided about by deadline.
    pub tags: Option<Tags>,
    /// What the provider says of its state, in the provider's word.
    pub state: String,
    /// Where its SSH server answers, when known.
    pub address: Option<IpAddr>,
    /// Its size, for a box.
    pub instance_type: Option<String>,
}

/// What a provider says of one of its boxes, whether that answers or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// This provider cannot say.
    Unknown,
    /// It runs. What that looks like from outside, such as the last line of its console.
    Running(String),
    /// It is listed, and will not answer again. Why, in the provider's word.
    Dead(String),
    /// It is not listed, or not yet.
    Missing,
}

/// A kind of thing that costs money or gives access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// The box itself.
    Machine,
    /// A disk or a disk image.
    Disk,
    /// An IP address.
    Address,
    /// A network interface.
    Interface,
    /// A login key.
    Key,
    /// A firewall, a security group, or one of its rules.
    Firewall,
    /// What groups other resources, such as Azure's resource group.
    Group,
    /// User-data that is kept as a thing of its own.
    UserData,
    /// What ends a box at its deadline, kept as a thing of its own.
    Schedule,
    /// A directory on this machine.
    Directory,
}

impl std::fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Machine => "box",
            Self::Disk => "disk",
            Self::Address => "address",
            Self::Interface => "interface",
            Self::Key => "key",
            Self::Firewall => "firewall",
            Self::Group => "group",
            Self::UserData => "user-data",
            Self::Schedule => "schedule",
            Self::Directory => "directory",
        })
    }
}

/// One thing that existed and that the provider no longer lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gone {
    /// The kind of thing.
    pub kind: ResourceKind,
    /// The provider's own id.
    pub id: String,
}
