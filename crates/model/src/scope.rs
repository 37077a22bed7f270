//! Where a destroy looks, what it finds, and where nobody can look.

use std::{collections::BTreeSet, fmt};

use crate::{
    error::{ErrorKind, ProviderError},
    machine::{Gone, Listed},
    selector::Selector,
    time::Deadline,
};

/// What a destroy is after, and where it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Which boxes.
    pub selector: Selector,
    /// What has a later deadline stays, as far as the provider can tell.
    pub until: Option<Deadline>,
    /// Where they are, as far as is known: they are looked for there first. Regions, or zones of them.
    pub first: BTreeSet<String>,
    /// Whether they may be elsewhere too.
    pub is_everywhere: bool,
    /// Whose lists show what is left.
    pub lists: Lists,
}

/// Whose lists show a destroy what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// Its own, of what it is after.
    Own,
    /// Lists of everything, each of which serves all destroys that wait for one: there are many at once.
    Shared,
}

impl From<Selector> for Scope {
    fn from(selector: Selector) -> Self {
        Self {
            selector,
            until: None,
            first: BTreeSet::new(),
            is_everywhere: true,
            lists: Lists::Own,
        }
    }
}

/// What is listed, and where nobody could look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// What is listed.
    pub things: Vec<Listed>,
    /// Where nobody could look.
    pub gaps: Vec<Gap>,
}

/// What was destroyed, and where nobody could look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destroyed {
    /// What is no longer listed.
    pub gone: Vec<Gone>,
    /// Where nobody could look.
    pub gaps: Vec<Gap>,
}

/// A part of a provider in which nobody could look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its name.
    pub region: String,
    /// Why.
    pub error: ProviderError,
}

impl Gap {
    /// Returns whether the provider denies it for good: who may not look there may not make anything there either.
    pub fn is_denied(&self) -> bool {
        self.error.kind == ErrorKind::Unauthorized
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, error } = self;
        let how = if self.is_denied() { "denied: " } else { "" };
        write!(
            f,
            "could not look in {region} of {}: {how}{}",
            error.provider, error.cause
        )
    }
}
