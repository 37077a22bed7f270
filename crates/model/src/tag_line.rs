//! The tags of a box as one word, for providers whose things have a name or a description and no tags.
//! Keeps out: what a provider calls that, and how long it may be there.

use std::collections::BTreeMap;

use crate::tags::{OURS, Tags};

/// The longest line: OpenStack's limit for names.
const LINE_MAX: usize = 255;

/// The letter of each tag, in the order in which they are written. Those of the owner come last: they are cut when
/// there is no room.
const LETTERS: [(char, &str); 8] = [
    ('l', "mvm-label"),
    ('r', "mvm-run"),
    ('d', "mvm-deadline"),
    ('t', "mvm-token"),
    ('o', "mvm-repository"),
    ('f', "mvm-ref"),
    ('u', "mvm-user"),
    ('h', "mvm-host"),
];

/// Writes tags as one word of `[a-z0-9_-]`, at most 255 characters: `mvm-ephemeral_lLABEL_rRUN_dDEADLINE_tTOKEN…`.
/// Every name that begins so is ours.
pub fn write(tags: &Tags) -> String {
    let pairs = tags.pairs();
    let mut line = OURS.to_owned();
    for (letter, key) in LETTERS {
        let Some(value) = pairs.get(key) else { continue };
        let escaped = value.replace('_', "__");
        let room = LINE_MAX.saturating_sub(line.len() + 2);
        let value = escaped[..escaped.len().min(room)].trim_end_matches('_');
        if !value.is_empty() {
            line.push('_');
            line.push(letter);
            line.push_str(value);
        }
    }
    line
}

/// Reads a name as tags. None: it is not ours. What is ours and damaged has fewer of them.
pub fn read(name: &str) -> Option<BTreeMap<String, String>> {
    let rest = name.strip_prefix(OURS)?;
    if !rest.is_empty() && !rest.starts_with('_') {
        return None;
    }
    let mut pairs = BTreeMap::from([(OURS.to_owned(), "true".to_owned())]);
    // An underscore of a value was doubled; what a value cannot hold stands for it meanwhile.
    for field in rest.replace("__", "\0").split('_').skip(1) {
        let mut chars = field.chars();
        let letter = chars.next();
        let known = LETTERS.iter().find(|(known, _)| Some(*known) == letter);
        if let Some((_, key)) = known {
            pairs.insert((*key).to_owned(), chars.as_str().replace('\0', "_"));
        }
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        name::{Label, RunId, Token},
        selector::Selector,
        tags::{Owner, is_meant},
        time::Deadline,
    };

    fn tags(owner: Owner) -> Tags {
        Tags {
            label: Label::new("mvm-live-7f3a").unwrap(),
            run: RunId::new("20260102-030405-7f3a").unwrap(),
            token: Token::new("mvm-live-7f3a-0123456789abcdef").unwrap(),
            deadline: Deadline::at_unix(1_800_000_000),
            owner,
        }
    }

    #[test]
    fn a_line_looks_like_this() {
        let owner = Owner {
            repository: Some("acme/my_mvm".into()),
            reference: Some("pr-17".into()),
            ..Owner::default()
        };
        assert_eq!(
            write(&tags(owner)),
            "mvm-ephemeral_lmvm-live-7f3a_r20260102-030405-7f3a_d1800000000_tmvm-live-7f3a-0123456789abcdef_oacme-my__mvm_fpr-17"
        );
    }

    #[test]
    fn what_begins_otherwise_is_not_ours() {
        for foreign in [
            "web-1",
            "mvm-ephemeral-web",
            "mvm-ephemera",
            "",
            "MVM-EPHEMERAL_lweb",
        ] {
            assert_eq!(read(foreign), None, "{foreign}");
        }
        let damaged = read("mvm-ephemeral_lweb").unwrap();
        assert_eq!(Tags::parse(&damaged), None);
        assert!(is_meant(&damaged, &Selector::Label(Label::new("web").unwrap())));
        assert!(!is_meant(&damaged, &Selector::Label(Label::new("web2").unwrap())));
        assert!(crate::tags::is_ours(&read("mvm-ephemeral").unwrap()));
    }

    proptest! {
        #[test]
        fn tags_come_back_as_written(parts in prop::collection::vec("[a-z0-9_./-]{0,70}", 4)) {
            let given = tags(Owner {
                repository: Some(parts[0].clone()),
                reference: Some(parts[1].clone()),
                user: Some(parts[2].clone()),
                host: Some(parts[3].clone()),
            });
            let line = write(&given);
            prop_assert!(line.len() <= LINE_MAX);
            let read = Tags::parse(&read(&line).unwrap()).unwrap();
            prop_assert_eq!(
                (&read.label, &read.run, &read.token, read.deadline),
                (&given.label, &given.run, &given.token, given.deadline)
            );
            let known: usize = parts.iter().map(String::len).sum();
            if known < 60 {
                let pairs = given.pairs();
                let kept = |key: &str| pairs.get(key).cloned().filter(|value| !value.is_empty());
                prop_assert_eq!(read.owner.repository, kept("mvm-repository"));
                prop_assert_eq!(read.owner.host, kept("mvm-host"));
            }
        }
    }
}
