//! Names that are checked when they are made: label, run id, provider name, attempt token.
//! What has one of these types can be put into a path, a tag or a command without another look.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest label, in characters. Two under the shortest limit of all providers' names.
pub const LABEL_MAX: usize = 40;

/// Says why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{given}` is not a {what}: {why}")]
pub struct NameError {
    /// What the name was to be, such as "label".
    pub what: &'static str,
    /// The name as it was given.
    pub given: String,
    /// The rule that it breaks.
    pub why: &'static str,
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `given` and takes it.
            pub fn new(given: impl Into<String>) -> Result<Self, NameError> {
                let given = given.into();
                let rule: fn(&str) -> Result<(), &'static str> = $rule;
                match rule(&given) {
                    Ok(()) => Ok(Self(given)),
                    Err(why) => Err(NameError { what: $what, given, why }),
                }
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(given: String) -> Result<Self, NameError> {
                Self::new(given)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(given: &str) -> Result<Self, NameError> {
                Self::new(given)
            }
        }
    };
}

checked_name!(
    /// A box's name, unique while it lives: `[a-z][a-z0-9-]{0,38}[a-z0-9]`.
    Label, "label", |given| {
        if given.len() > LABEL_MAX {
            return Err("it is longer than 40 characters");
        }
        if given.len() < 2 {
            return Err("it needs at least two characters");
        }
        if !given.starts_with(|c: char| c.is_ascii_lowercase()) {
            return Err("it must start with a letter from a to z");
        }
        if !is_slug(given) {
            return Err("only a to z, 0 to 9 and `-` are allowed, and no `-` at the end");
        }
        Ok(())
    }
);

checked_name!(
    /// The id of a run, such as `20261123-141502-7f3a`: sorts by time, and names the run's directory.
    RunId, "run id", |given| {
        if given.is_empty() || given.len() > LABEL_MAX || !is_slug(given) {
            return Err("it is not of the form that `twolane report` lists, such as 20261123-141502-7f3a");
        }
        Ok(())
    }
);

checked_name!(
    /// The name of a provider, such as `local` or `aws`, or of a shell adapter.
    ProviderName, "provider name", |given| {
        if given.is_empty() || given.len() > LABEL_MAX || !is_slug(given) {
            return Err("only a to z, 0 to 9 and `-` are allowed");
        }
        Ok(())
    }
);

checked_name!(
    /// The idempotency token of one attempt to create a box.
    Token, "token", |given| {
        if given.is_empty() || given.len() > 64 || !is_slug(given) {
            return Err("only a to z, 0 to 9 and `-` are allowed, at most 64");
        }
        Ok(())
    }
);

fn is_slug(given: &str) -> bool {
    given
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        && !given.ends_with('-')
}

/// Turns any text into lower-case words joined by `-`: for labels, file names and unit names.
/// Returns `fallback` where nothing is left.
pub fn slug(text: &str, fallback: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        fallback.to_owned()
    } else {
        slug.to_owned()
    }
}

impl Label {
    /// Makes a label out of project, lane and four hexadecimal digits of `random`.
    pub fn generate(project: &str, lane: &str, random: u64) -> Self {
        let tail = format!("-{:04x}", random & 0xffff);
        let mut head = format!("{}-{}", slug(project, "box"), slug(lane, "lane"));
        if !head.starts_with(|c: char| c.is_ascii_lowercase()) {
            head.insert_str(0, "b-");
        }
        head.truncate(LABEL_MAX - tail.len());
        Self(format!("{}{tail}", head.trim_end_matches('-')))
    }
}

impl RunId {
    /// Makes a run id out of the time and four hexadecimal digits of `random`.
    pub fn generate(now: crate::time::Timestamp, random: u64) -> Self {
        Self(format!(
            "{}-{:04x}",
            now.strftime("%Y%m%d-%H%M%S"),
            random & 0xffff
        ))
    }
}

impl Token {
    /// Makes a token out of the label it is for and 64 bits of `random`.
    pub fn generate(label: &Label, random: u64) -> Self {
        Self(format!(
            "{}-{random:016x}",
            label.as_str().get(..LABEL_MAX).unwrap_or(label.as_str())
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(given: &str, is_label: bool) {
        assert_eq!(Label::new(given).is_ok(), is_label, "{given:?}");
    }

    #[test]
    fn labels_keep_to_the_rule() {
        check("a1", true);
        check("mvm-live-7f3a", true);
        check(&"a".repeat(40), true);
        check(&"a".repeat(41), false);
        check("a", false);
        check("", false);
        check("1a", false);
        check("a-", false);
        check("-a", false);
        check("A1", false);
        check("a_b", false);
        check("a b", false);
        check("a/../b", false);
        check("ä1", false);
    }

    proptest! {
        #[test]
        fn generated_labels_are_labels(project in ".*", lane in ".*", random in any::<u64>()) {
            let label = Label::generate(&project, &lane, random);
            prop_assert_eq!(Label::new(label.as_str()), Ok(label.clone()));
            let token = Token::generate(&label, random);
            prop_assert_eq!(Token::new(token.as_str()), Ok(token.clone()));
        }
    }
}
