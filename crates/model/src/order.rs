//! What a provider is given to make a box.

use std::{collections::BTreeMap, fmt};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::{candidate::Candidate, lane::KvmNeed, tags::Tags};

/// What `up` is given. An order has no id: the label in its tags is the box's name.
#[derive(Clone, PartialEq, Eq)]
pub struct Order {
    /// Who, where and how big.
    pub candidate: Candidate,
    /// What the box, and all that is made for it, carries from the create call on.
    pub tags: Tags,
    /// What the lane asks of `/dev/kvm`, so that a provider can refuse before any call, or switch it on.
    pub need: KvmNeed,
    /// The cloud-init user-data. Holds the box's private host key.
    pub user_data: String,
    /// The public login key, in OpenSSH's one-line form.
    pub login_key: String,
    /// The addresses that may reach SSH, in CIDR form. Empty only where a provider has no network of its own.
    pub allow: Vec<String>,
    /// The same user-data in two parts, for a provider that boots once and clones; none where nobody could use it.
    pub parts: Option<Parts>,
    /// What stage 1 is going to install. A provider that makes its images itself may put it in beforehand.
    pub preinstall: Preinstall,
}

impl Order {
    /// Returns what goes as tags into its create calls: the user's own, and ours.
    pub fn pairs(&self) -> BTreeMap<String, String> {
        let mut pairs = self.candidate.options.tags.clone();
        pairs.extend(self.tags.pairs());
        pairs
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order")
            .field("candidate", &self.candidate)
            .field("tags", &self.tags)
            .field("need", &self.need)
            .field("user_data", &format_args!("[{} bytes]", self.user_data.len()))
            .field("allow", &self.allow)
            .field("preinstall", &self.preinstall)
            .finish_non_exhaustive()
    }
}

/// User-data in two parts. A box that was prepared with the first becomes a certain one with the second.
#[derive(Clone, PartialEq, Eq)]
pub struct Parts {
    /// User-data without any identity: the same for all boxes of a configuration.
    pub template: String,
    /// Who a box is, as one line of JSON for `ops/ephemeral/identity.py`. Holds the box's private host key.
    pub identity: String,
}

/// What stage 1 finds already there when the image holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preinstall {
    /// Distribution packages.
    pub packages: Vec<String>,
    /// The operator's own Rust toolchain.
    pub toolchain: Option<OperatorToolchain>,
}

/// The operator's own Rust toolchain, to be copied to `/opt/twolane/toolchain/<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorToolchain {
    /// Changes whenever the toolchain does: compiler version and commit, components, extra programs.
    pub key: String,
    /// The toolchain's directory here: `rustc --print sysroot`.
    pub sysroot: Utf8PathBuf,
    /// Programs beside it that go into its `bin`: `cargo-nextest` and the like.
    pub programs: Vec<Utf8PathBuf>,
}
