//! What a lane may ask of a candidate beside its size and place, and which of it a provider takes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::Address;

/// What a candidate is asked for beside its size and place. All of it is left away in most plans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Whether the box is bought at the price of what nobody else wants now: the provider takes it back when it likes.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub spot: bool,
    /// Tags of the user's own, for what is made with the create call.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The network that is there already, in the provider's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// The subnet that is there already, in the provider's word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// The firewall that is there already: none is made, and whom it lets in is its owner's matter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security_group: Option<String>,
    /// The group that is there already: only what is made in it is destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_group: Option<String>,
    /// Whether the box gets no public address, and is reached at its private one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The machine through which the box is reached; none where it is reached directly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jump: Option<Address>,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKey {
    /// `spot`.
    Spot,
    /// `tags`.
    Tags,
    /// `network`.
    Network,
    /// `subnet`.
    Subnet,
    /// `security-group`.
    SecurityGroup,
    /// `resource-group`.
    ResourceGroup,
    /// `address = "private"`.
    Address,
    /// `jump`.
    Jump,
}

impl OptionKey {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Spot,
        Self::Tags,
        Self::Network,
        Self::Subnet,
        Self::SecurityGroup,
        Self::ResourceGroup,
        Self::Address,
        Self::Jump,
    ];

    /// Returns its name in `twolane.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::Tags => "tags",
            Self::Network => "network",
            Self::Subnet => "subnet",
            Self::SecurityGroup => "security-group",
            Self::ResourceGroup => "resource-group",
            Self::Address => "address",
            Self::Jump => "jump",
        }
    }
}

/// What a provider takes of the options.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Takes {
    /// The keys.
    pub keys: &'static [OptionKey],
    /// Whether a box that names no subnet is alone in a network of its own, which nothing private leads to.
    pub is_alone: bool,
    /// What tags of the user's own must look like.
    pub tags: TagRules,
}

/// What a provider's tags must look like. Keys begin with a letter everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TagRules {
    /// How many a box may have beside ours.
    pub count_max: usize,
    /// Longest key and longest value, in characters.
    pub lengths: (usize, usize),
    /// Characters that keys and values may have beside letters and digits.
    pub marks: &'static str,
    /// Whether letters are lower case.
    pub is_lower: bool,
    /// What the provider's own keys begin with.
    pub reserved: &'static [&'static str],
}

/// What our own keys begin with.
const OURS: &str = "mvm-";

impl TagRules {
    /// Says what is wrong with a tag, if anything is.
    pub fn why_not(&self, key: &str, value: &str) -> Option<String> {
        let begins = |start: &str| {
            let head = key.get(..start.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(start))
        };
        if begins(OURS) {
            return Some(format!("keys that begin with `{OURS}` are twolane's own"));
        }
        if let Some(start) = self.reserved.iter().find(|start| begins(start)) {
            return Some(format!("keys that begin with `{start}` are the provider's own"));
        }
        let is_letter = |c: char| c.is_ascii_lowercase() || (c.is_ascii_uppercase() && !self.is_lower);
        let fits = |text: &str, longest: usize| {
            let is_right = |c: char| is_letter(c) || c.is_ascii_digit() || self.marks.contains(c);
            text.len() <= longest && text.chars().all(is_right)
        };
        let (key_max, value_max) = self.lengths;
        let letters = if self.is_lower {
            "lower-case letters"
        } else {
            "letters"
        };
        let marks = self.marks;
        if !key.starts_with(is_letter) || !fits(key, key_max) {
            return Some(format!(
                "a key begins with a letter and has {letters}, digits and `{marks}`, at most {key_max} characters"
            ));
        }
        // Kubernetes' rule, which some have: nothing else ends a value.
        let is_edged = value.starts_with(['-', '_', '.']) || value.ends_with(['-', '_', '.']);
        if !fits(value, value_max) || (self.is_lower && is_edged) {
            return Some(format!(
                "a value has {letters}, digits and, in between, `{marks}`, at most {value_max} characters"
            ));
        }
        None
    }
}

impl Options {
    /// Returns whether nothing is asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Returns which are asked for.
    fn asked(&self) -> impl Iterator<Item = OptionKey> {
        let is_asked = |key: &OptionKey| match key {
            OptionKey::Spot => self.spot,
            OptionKey::Tags => !self.tags.is_empty(),
            OptionKey::Network => self.network.is_some(),
            OptionKey::Subnet => self.subnet.is_some(),
            OptionKey::SecurityGroup => self.security_group.is_some(),
            OptionKey::ResourceGroup => self.resource_group.is_some(),
            OptionKey::Address => self.private,
            OptionKey::Jump => self.jump.is_some(),
        };
        OptionKey::ALL.into_iter().filter(is_asked)
    }

    /// Says what of this a provider does not take for a box in a region: why, and what to write instead where that is not
    /// to leave it away.
    pub fn wrong_for(&self, takes: &Takes, region: &str) -> Vec<(String, Option<String>)> {
        let untaken = self.asked().filter(|key| !takes.keys.contains(key));
        let mut wrong: Vec<_> = untaken
            .map(|key| {
                let why = match key {
                    OptionKey::Spot => "it sells no boxes that it may take back",
                    OptionKey::Tags => "its boxes carry no tags but twolane's",
                    OptionKey::Network
                    | OptionKey::Subnet
                    | OptionKey::SecurityGroup
                    | OptionKey::ResourceGroup => {
                        "twolane puts its boxes there into nothing that is there already"
                    }
                    OptionKey::Address | OptionKey::Jump => {
                        "twolane reaches its boxes there at their public addresses alone"
                    }
                };
                (format!("it does not take `{}`: {why}", key.word()), None)
            })
            .collect();
        if takes.keys.contains(&OptionKey::Tags) {
            let judged = |(key, value): (&String, &String)| {
                let why = takes.tags.why_not(key, value)?;
                let help = "write the tag as the provider takes it".to_owned();
                Some((format!("tag `{key}` = `{value}`: {why}"), Some(help)))
            };
            wrong.extend(self.tags.iter().filter_map(judged));
            let (count, most) = (self.tags.len(), takes.tags.count_max);
            if count > most {
                let why = format!("{count} tags, and a box may have {most} beside twolane's");
                wrong.push((why, Some("take some of them away".to_owned())));
            }
        }
        if self.resource_group.is_some() && self.subnet.is_none() {
            let why = "`resource-group` needs the `subnet` that its boxes are to be in".to_owned();
            wrong.push((why, Some("add `subnet` with the whole id of one".to_owned())));
        }
        wrong.extend(self.wrong_way(takes));
        let of_subnet = self.subnet.as_deref().and_then(region_in);
        if let Some(other) = of_subnet.filter(|other| !is_in(region, other)) {
            let why = format!(
                "its `subnet` is in {other} and the box in {region}, and a subnet serves its own region"
            );
            let help = format!("write `region = \"{other}\"`, or name a subnet of {region}");
            wrong.push((why, Some(help)));
        }
        wrong
    }

    /// Says what of the way to the box does not go together.
    fn wrong_way(&self, takes: &Takes) -> Option<(String, Option<String>)> {
        if self.jump.is_some() && !self.private {
            let why = "`jump` leads to a private address, and the box gets a public one".to_owned();
            return Some((
                why,
                Some("add `address = \"private\"`, or leave `jump` away".to_owned()),
            ));
        }
        (self.private && takes.is_alone && self.subnet.is_none()).then(|| {
            let why = "`address = \"private\"` needs a `subnet`: without one the box is alone in a network of its own, which \
                       nothing leads to";
            (why.to_owned(), Some("add `subnet` with one that the way in leads to".to_owned()))
        })
    }
}

/// Returns the region that a path names.
fn region_in(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("regions/")?;
    rest.split('/').next()
}

/// Returns whether a place is a region, or a zone of it.
fn is_in(place: &str, region: &str) -> bool {
    place == region
        || place
            .strip_prefix(region)
            .is_some_and(|zone| zone.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: TagRules = TagRules {
        count_max: 2,
        lengths: (8, 8),
        marks: "_-",
        is_lower: true,
        reserved: &["goog"],
    };

    #[track_caller]
    fn check(key: &str, value: &str, expected: Option<&str>) {
        let why = LABELS.why_not(key, value);
        match (&why, expected) {
            (Some(why), Some(expected)) => assert!(why.contains(expected), "{key}={value}: {why}"),
            (why, expected) => assert_eq!(why.as_deref(), expected, "{key}={value}"),
        }
    }

    #[test]
    fn tags_keep_to_the_providers_rules_and_off_our_own() {
        check("team", "ci", None);
        check("team", "", None);
        check("mvm-run", "r1", Some("twolane's own"));
        check("MVM-RUN", "r1", Some("twolane's own"));
        check("goog-x", "1", Some("provider's own"));
        check("Team", "ci", Some("a key begins with"));
        check("1team", "ci", Some("a key begins with"));
        check("toolongkey", "ci", Some("at most 8"));
        check("team", "C I", Some("a value has"));
        check("team", "-ci", Some("a value has"));
        check("ключ", "ci", Some("a key begins with"));
    }

    #[test]
    fn what_a_provider_does_not_take_is_named_with_the_reason() {
        let options = Options {
            spot: true,
            tags: BTreeMap::from([("team".to_owned(), "ci".to_owned())]),
            ..Options::default()
        };
        let none = options.wrong_for(&Takes::default(), "r");
        assert_eq!(none.len(), 2, "{none:?}");
        assert!(none[0].0.contains("`spot`") && none[1].0.contains("`tags`"));
        let takes = Takes {
            keys: &[OptionKey::Spot, OptionKey::Tags],
            tags: LABELS,
            ..Takes::default()
        };
        assert_eq!(options.wrong_for(&takes, "r"), []);
        assert!(Options::default().wrong_for(&Takes::default(), "r").is_empty());
    }

    #[test]
    fn way_to_a_private_address_needs_all_its_parts() {
        let takes = |is_alone| Takes {
            keys: &OptionKey::ALL,
            is_alone,
            ..Takes::default()
        };
        let jump = Some("eve@bastion".parse().unwrap());
        let of = |private, jump: &Option<Address>, subnet: Option<&str>, is_alone| {
            let options = Options {
                private,
                jump: jump.clone(),
                subnet: subnet.map(str::to_owned),
                ..Options::default()
            };
            let wrong = options.wrong_for(&takes(is_alone), "r").pop();
            wrong.map(|(why, _)| why).unwrap_or_default()
        };
        assert_eq!(of(true, &jump, None, false), "");
        assert_eq!(of(true, &None, Some("s"), true), "");
        assert!(of(false, &jump, None, false).contains("the box gets a public one"));
        assert!(of(true, &jump, None, true).contains("needs a `subnet`"));
        let untaken = Options {
            private: true,
            jump,
            ..Options::default()
        };
        let wrong = untaken.wrong_for(&Takes::default(), "r");
        assert!(wrong[0].0.contains("does not take `address`"), "{wrong:?}");
        assert!(wrong[1].0.contains("does not take `jump`"), "{wrong:?}");
    }

    #[test]
    fn a_subnet_of_another_region_is_named() {
        let subnet = "projects/host/regions/us-east1/subnetworks/ci";
        let options = Options {
            subnet: Some(subnet.to_owned()),
            ..Options::default()
        };
        let takes = Takes {
            keys: &OptionKey::ALL,
            tags: LABELS,
            ..Takes::default()
        };
        let wrong = |region: &str| options.wrong_for(&takes, region);
        assert_eq!((wrong("us-east1").len(), wrong("us-east1-b").len()), (0, 0));
        assert!(
            wrong("us-east10")[0]
                .0
                .contains("is in us-east1 and the box in us-east10")
        );
    }
}
