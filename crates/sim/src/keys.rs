//! The operator's keys, as they lie in one state directory: they outlive a process.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{name::Label, world::Keys};
use parking_lot::{Mutex, MutexGuard};

/// The keys of all boxes of one operator. All copies are the same store.
#[derive(Clone, Default)]
pub struct KeyStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    made: u64,
    pinned: BTreeMap<Label, Pinned>,
    /// What an adapter with a bug remembers of its create calls.
    ids: BTreeSet<(Label, String)>,
}

struct Pinned {
    first: String,
    host_keys: Vec<String>,
}

impl KeyStore {
    /// Returns the keys of a box; makes them when there are none.
    pub fn keys(&self, label: &Label) -> Keys {
        Keys {
            host_private: "a private key".to_owned(),
            host_public: self.first_host_key(label),
            login_public: "ssh-ed25519 login".to_owned(),
            login_file: "/state/login".into(),
        }
    }

    /// Returns whether there are keys of a box.
    pub fn has(&self, label: &Label) -> bool {
        self.inner().pinned.contains_key(label)
    }

    /// Returns the host key that goes into the user-data of a box.
    pub fn first_host_key(&self, label: &Label) -> String {
        let mut inner = self.inner();
        if let Some(pinned) = inner.pinned.get(label) {
            return pinned.first.clone();
        }
        inner.made += 1;
        let first = format!("ssh-ed25519 first{}", inner.made);
        inner.pinned.insert(
            label.clone(),
            Pinned {
                first: first.clone(),
                host_keys: vec![first.clone()],
            },
        );
        first
    }

    /// Returns whether a host key counts for the box of that label.
    pub fn is_pinned(&self, label: &Label, host_key: &str) -> bool {
        self.first_host_key(label);
        self.inner()
            .pinned
            .get(label)
            .is_some_and(|pinned| pinned.host_keys.iter().any(|it| it == host_key))
    }

    /// From now on only these host keys count.
    pub fn pin(&self, label: &Label, host_keys: &[String]) {
        self.first_host_key(label);
        if let Some(pinned) = self.inner().pinned.get_mut(label) {
            pinned.host_keys = host_keys.to_vec();
        }
    }

    /// Deletes the keys of a box.
    pub fn forget(&self, label: &Label) {
        self.inner().pinned.remove(label);
    }

    /// Remembers the id of a box.
    pub fn record_creation(&self, label: &Label, id: &str) {
        self.inner().ids.insert((label.clone(), id.to_owned()));
    }

    /// Returns whether a create call for a label was answered with this id.
    pub fn made(&self, label: &Label, id: &str) -> bool {
        self.inner().ids.contains(&(label.clone(), id.to_owned()))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}
