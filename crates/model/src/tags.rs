//! The tags that mark a box, and all that was made for it, at its provider.

use std::{collections::BTreeMap, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    name::{Label, RunId, Token},
    selector::Selector,
    time::Deadline,
};

/// The tag that everything of ours carries, with the value `true`. What lacks it is never touched.
pub const OURS: &str = "mvm-ephemeral";

/// Longest value of a tag, in characters (GCP's and Hetzner's limit for labels).
const VALUE_MAX: usize = 63;

/// Who a box belongs to. Each part is only known sometimes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The repository, such as `acme/mvm`.
    pub repository: Option<String>,
    /// The branch or pull request, such as `pr-17`.
    pub reference: Option<String>,
    /// The user who started the run.
    pub user: Option<String>,
    /// The host that the run was started on.
    pub host: Option<String>,
}

impl Owner {
    /// Returns whether both are of the same repository and of the same branch or pull request, both known.
    pub fn is_same_change(&self, other: &Self) -> bool {
        let is_same = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => tag_value(one) == tag_value(other),
            _ => false,
        };
        is_same(&self.repository, &other.repository) && is_same(&self.reference, &other.reference)
    }
}

/// One thing that is known of an owner, such as `user=eve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerIs {
    part: OwnerPart,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnerPart {
    Repository,
    Reference,
    User,
    Host,
}

impl OwnerIs {
    /// Returns whether it is so of an owner.
    pub fn is_of(&self, owner: &Owner) -> bool {
        let value = match self.part {
            OwnerPart::Repository => &owner.repository,
            OwnerPart::Reference => &owner.reference,
            OwnerPart::User => &owner.user,
            OwnerPart::Host => &owner.host,
        };
        value
            .as_ref()
            .is_some_and(|value| tag_value(value) == tag_value(&self.value))
    }
}

impl FromStr for OwnerIs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let help = "write repository=, ref=, user= or host= and a value";
        let (key, value) = text.split_once('=').ok_or(help)?;
        let part = match key {
            "repository" => OwnerPart::Repository,
            "ref" => OwnerPart::Reference,
            "user" => OwnerPart::User,
            "host" => OwnerPart::Host,
            _ => return Err(help.to_owned()),
        };
        if tag_value(value).is_empty() {
            return Err(help.to_owned());
        }
        Ok(Self {
            part,
            value: value.to_owned(),
        })
    }
}

/// The tags of one box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// The box's name.
    pub label: Label,
    /// The run that it was made for.
    pub run: RunId,
    /// The attempt that made it.
    pub token: Token,
    /// When it must be gone.
    pub deadline: Deadline,
    /// Who it belongs to, as it fits into tags.
    pub owner: Owner,
}

impl Tags {
    /// Returns the tags as they go into a create call. Keys and values use only `[a-z0-9_-]`, which every provider takes.
    pub fn pairs(&self) -> BTreeMap<String, String> {
        let mut pairs = BTreeMap::from([
            (OURS.to_owned(), "true".to_owned()),
            ("mvm-label".to_owned(), self.label.to_string()),
            ("mvm-run".to_owned(), self.run.to_string()),
            ("mvm-token".to_owned(), self.token.to_string()),
            ("mvm-deadline".to_owned(), self.deadline.unix().to_string()),
        ]);
        let owner = [
            ("mvm-repository", &self.owner.repository),
            ("mvm-ref", &self.owner.reference),
            ("mvm-user", &self.owner.user),
            ("mvm-host", &self.owner.host),
        ];
        for (key, value) in owner {
            if let Some(value) = value {
                pairs.insert(key.to_owned(), tag_value(value));
            }
        }
        pairs
    }

    /// Reads the tags of a listed resource. Returns none unless it is ours and every needed tag is right:
    /// with a foreign or damaged set of tags nothing may be decided.
    pub fn parse(pairs: &BTreeMap<String, String>) -> Option<Self> {
        let value = |key: &str| pairs.get(key).cloned();
        if value(OURS)? != "true" {
            return None;
        }
        Some(Self {
            label: Label::new(value("mvm-label")?).ok()?,
            run: RunId::new(value("mvm-run")?).ok()?,
            token: Token::new(value("mvm-token")?).ok()?,
            deadline: Deadline::at_unix(value("mvm-deadline")?.parse().ok()?),
            owner: Owner {
                repository: value("mvm-repository"),
                reference: value("mvm-ref"),
                user: value("mvm-user"),
                host: value("mvm-host"),
            },
        })
    }
}

/// Returns whether a resource with these tags is ours, even when the other tags are damaged.
pub fn is_ours(pairs: &BTreeMap<String, String>) -> bool {
    pairs.get(OURS).is_some_and(|value| value == "true")
}

/// Returns whether what carries these tags is meant. What lacks our tag never is.
pub fn is_meant(pairs: &BTreeMap<String, String>, selector: &Selector) -> bool {
    let is = |key: &str, value: &str| pairs.get(key).is_some_and(|found| found == value);
    is_ours(pairs)
        && match selector {
            Selector::AllOurs => true,
            Selector::Label(label) => is("mvm-label", label.as_str()),
            Selector::OfRun(label, run) => is("mvm-label", label.as_str()) && is("mvm-run", run.as_str()),
        }
}

/// Writes any text as the value of a tag: lower case, `[a-z0-9_-]`, at most 63 characters.
pub fn tag_value(text: &str) -> String {
    text.chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .take(VALUE_MAX)
        .collect::<String>()
        .trim_matches(|c| c == '-' || c == '_')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Tags {
        Tags {
            label: Label::new("mvm-live-7f3a").unwrap(),
            run: RunId::new("20260102-030405-7f3a").unwrap(),
            token: Token::new("t-1").unwrap(),
            deadline: Deadline::at_unix(1_800_000_000),
            owner: Owner {
                repository: Some("acme/Mvm".into()),
                ..Owner::default()
            },
        }
    }

    #[test]
    fn tags_come_back_as_written() {
        let mut expected = tags();
        expected.owner.repository = Some("acme-mvm".into());
        assert_eq!(Tags::parse(&tags().pairs()), Some(expected));
    }

    #[test]
    fn an_owner_is_known_by_what_its_tags_can_hold() {
        let owner = Tags::parse(&tags().pairs()).unwrap().owner;
        let is_of = |text: &str| text.parse::<OwnerIs>().map(|is| is.is_of(&owner));
        assert_eq!(is_of("repository=acme/Mvm"), Ok(true));
        assert_eq!(is_of("repository=acme/mvmd"), Ok(false));
        assert_eq!(is_of("user=eve"), Ok(false));
        assert!(is_of("colour=red").is_err() && is_of("user=").is_err() && is_of("eve").is_err());
    }

    #[test]
    fn what_lacks_the_tag_is_not_ours() {
        let mut pairs = tags().pairs();
        pairs.insert(OURS.into(), "false".into());
        assert_eq!(Tags::parse(&pairs), None);
        assert!(!is_ours(&pairs));
        pairs.remove(OURS);
        assert_eq!(Tags::parse(&pairs), None);
        assert!(!is_ours(&pairs));
    }

    #[test]
    fn a_damaged_deadline_decides_nothing() {
        let mut pairs = tags().pairs();
        pairs.insert("mvm-deadline".into(), "tomorrow".into());
        assert_eq!(Tags::parse(&pairs), None);
        assert!(is_ours(&pairs));
    }

    #[test]
    fn values_fit_every_provider() {
        assert_eq!(tag_value("feature/Größe=1"), "feature-gr--e-1");
        assert_eq!(tag_value(&"x".repeat(99)).len(), 63);
        assert_eq!(tag_value("--"), "");
    }
}
