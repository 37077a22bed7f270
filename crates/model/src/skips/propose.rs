//! A split → the filters that make each box run only its half, and the lines for `twolane.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Half, Judged, Split, TestId, TestSplit};
use crate::render::quote;

/// What each half's lanes should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proposal {
    /// cargo-nextest's filter for the tests that any box can run.
    pub any: String,
    /// Its filter for those that need more.
    pub live: String,
    /// The checks of each lane, as they stand in `twolane.toml`.
    pub toml: String,
    /// Guesses about tests that no lane ran.
    pub hints: Vec<String>,
}

impl Proposal {
    /// Adds what the source's text gives away: variables that may gate tests, each with the file that reads it.
    #[must_use]
    pub fn with_gates(mut self, gates: &[(String, String)]) -> Self {
        self.hints.extend(gates.iter().map(|(name, file)| {
            format!("{file} reads {name}, which may gate its tests: env = {{ {name} = \"1\" }} in a check runs them")
        }));
        self
    }
}

/// Proposes what each lane should run. `arguments` are what selected the suite.
pub fn propose(split: &Split, arguments: &[String]) -> Proposal {
    let live: BTreeSet<&TestId> = split
        .tests
        .iter()
        .filter(|test| test.half == Half::Live)
        .map(|test| &test.id)
        .collect();
    let others: BTreeSet<TestId> = split
        .tests
        .iter()
        .filter(|test| test.half == Half::Any)
        .map(|test| test.id.clone())
        .chain(split.need_nothing.iter().map(|name| TestId::read(name)))
        .collect();
    let live = filter(&live, &others);
    let any = match live.as_str() {
        "none()" => "all()".to_owned(),
        live => format!("not ({live})"),
    };
    let toml = toml(split, arguments, &any, &live);
    let is_ignored = |test: &&TestSplit| test.lanes.values().all(|lane| lane.judged == Judged::Ignored);
    let ignored = split.tests.iter().filter(is_ignored).count();
    let hints = (ignored > 0).then(|| {
        format!("tests marked #[ignore]: {ignored}; `--run-ignored all` (cargo-nextest) or `-- --include-ignored` (cargo test) runs them")
    });
    Proposal {
        any,
        live,
        toml,
        hints: hints.into_iter().collect(),
    }
}

/// Returns the filter that selects these tests and none of the others, in as few names as that takes.
pub fn filter(tests: &BTreeSet<&TestId>, others: &BTreeSet<TestId>) -> String {
    let mut binaries: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for id in tests {
        let names = binaries.entry(&id.binary).or_default();
        names.extend(id.test.as_deref());
    }
    if binaries.is_empty() {
        return "none()".to_owned();
    }
    let parts = binaries.into_iter().map(|(binary, names)| {
        let binary_id = format!("binary_id({})", equal(binary));
        let others: Vec<&TestId> = others.iter().filter(|other| other.binary == binary).collect();
        if names.is_empty() || others.is_empty() {
            return binary_id;
        }
        let other_names: Vec<&str> = others.iter().filter_map(|other| other.test.as_deref()).collect();
        if other_names.len() * 2 < names.len() && other_names.len() == others.len() {
            return format!("({binary_id} & not {})", one_of(&other_names));
        }
        format!("({binary_id} & {})", one_of(&names))
    });
    parts.collect::<Vec<_>>().join(" | ")
}

/// Returns the filter of tests of these names.
fn one_of(names: &[&str]) -> String {
    let tests: Vec<String> = names
        .iter()
        .map(|name| format!("test({})", equal(name)))
        .collect();
    match tests.as_slice() {
        [one] => one.clone(),
        tests => format!("({})", tests.join(" | ")),
    }
}

/// Returns a matcher for exactly this text.
fn equal(text: &str) -> String {
    let mut matcher = "=".to_owned();
    let last = text.chars().count().saturating_sub(1);
    for (at, c) in text.chars().enumerate() {
        match c {
            '\\' | ')' | ',' | '/' => matcher.extend(['\\', c]),
            // At either end they would be trimmed.
            c if c.is_whitespace() && (at == 0 || at == last) => {
                matcher += &format!("\\u{{{:x}}}", u32::from(c))
            }
            c if c.is_control() => matcher += &format!("\\u{{{:x}}}", u32::from(c)),
            c => matcher.push(c),
        }
    }
    matcher
}

fn toml(split: &Split, arguments: &[String], any: &str, live: &str) -> String {
    let arguments: Vec<String> = match arguments {
        [] => vec!["--workspace".to_owned()],
        given => given.iter().map(|argument| word(argument)).collect(),
    };
    let mut text = "# cargo-tools = [\"cargo-nextest\"] in [system] installs what these need\n".to_owned();
    if has_doc_tests(&arguments) {
        text += &format!(
            "# cargo-nextest runs no doc-tests: {{ name = \"doc-tests\", run = {} }} does, in the lane of your choice\n",
            toml::Value::from(format!("cargo test --doc {}", arguments.join(" ")))
        );
    }
    for (name, lane) in &split.lanes {
        let filter = if lane.need.is_needed() { live } else { any };
        // A lane without tests of its own has nothing to run, which is no failure.
        let run = format!(
            "cargo nextest run {} --no-tests=pass -E {}",
            arguments.join(" "),
            quote(filter)
        );
        text += &format!(
            "\n[lanes.{}]\nchecks = [\n  {{ name = \"test\", run = {} }},\n]\n",
            key(name),
            toml::Value::from(run)
        );
    }
    text
}

/// Returns whether cargo would run doc-tests of what the arguments select.
fn has_doc_tests(arguments: &[String]) -> bool {
    let kinds = [
        "--lib",
        "--bin",
        "--test",
        "--example",
        "--bench",
        "--all-targets",
    ];
    let is_kind = |argument: &String| kinds.iter().any(|kind| argument.starts_with(kind));
    !arguments.iter().any(is_kind)
}

/// Quotes what a shell would not take as it is.
fn word(argument: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@".contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_owned()
    } else {
        quote(argument)
    }
}

fn key(name: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(is_bare) {
        name.to_owned()
    } else {
        toml::Value::from(name).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lane::KvmNeed,
        skips::{InLane, LaneSplit},
    };

    fn id(binary: &str, test: Option<&str>) -> TestId {
        TestId {
            binary: binary.to_owned(),
            test: test.map(str::to_owned),
        }
    }

    #[track_caller]
    fn check(tests: &[(&str, Option<&str>)], shared: &[&str], expected: &str) {
        let ids: Vec<TestId> = tests.iter().map(|(binary, test)| id(binary, *test)).collect();
        let others = |binary: &&str| ["1", "2", "3"].map(|other| id(binary, Some(other)));
        let others = shared.iter().flat_map(others).collect();
        assert_eq!(filter(&ids.iter().collect(), &others), expected);
    }

    #[test]
    fn a_filter_names_what_is_left_out_where_that_is_shorter() {
        let live: Vec<TestId> = (0..66)
            .map(|number| id("a", Some(&format!("live{number}"))))
            .collect();
        let others = [id("a", Some("x")), id("a", Some("y")), id("b", Some("z"))].into();
        assert_eq!(
            filter(&live.iter().collect(), &others),
            "(binary_id(=a) & not (test(=x) | test(=y)))"
        );
    }

    #[test]
    fn what_no_tracer_sees_is_hinted_at() {
        let ignored = InLane {
            judged: Judged::Ignored,
            devices: vec![],
            seconds: None,
        };
        let split = Split {
            tests: vec![TestSplit {
                id: id("a", Some("x")),
                half: Half::Any,
                lanes: [("cheap".to_owned(), ignored)].into(),
            }],
            ..Split::default()
        };
        let gates = [("VMM_LIVE".to_owned(), "tests/live.rs".to_owned())];
        let hints = propose(&split, &[]).with_gates(&gates).hints;
        assert!(hints[0].starts_with("tests marked #[ignore]: 1"), "{hints:?}");
        assert!(hints[1].contains("tests/live.rs reads VMM_LIVE"), "{hints:?}");
    }

    #[test]
    fn the_proposal_says_what_becomes_of_doc_tests() {
        let toml = |arguments: &[&str]| {
            let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
            propose(&Split::default(), &arguments).toml
        };
        assert!(toml(&["-p", "a"]).contains("cargo test --doc -p a"));
        assert!(!toml(&["--lib"]).contains("--doc"));
    }

    #[test]
    fn a_filter_names_binaries_and_where_needed_their_tests() {
        check(&[], &[], "none()");
        check(&[("a", Some("x"))], &["a"], "(binary_id(=a) & test(=x))");
        check(
            &[("a", Some("x")), ("a", Some("y"))],
            &["a", "b"],
            "(binary_id(=a) & (test(=x) | test(=y)))",
        );
        check(
            &[("a::live", Some("x")), ("b::bin/c", None)],
            &["a"],
            "binary_id(=a::live) | binary_id(=b::bin\\/c)",
        );
    }

    #[test]
    fn no_name_gets_out_of_its_matcher() {
        check(
            &[("a", Some(") | all() \\ , (\n ü"))],
            &["a"],
            "(binary_id(=a) & test(=\\) | all(\\) \\\\ \\, (\\u{a} ü))",
        );
        check(
            &[("a", Some(" x "))],
            &["a"],
            "(binary_id(=a) & test(=\\u{20}x\\u{20}))",
        );
    }

    #[test]
    fn the_proposal_is_what_twolane_toml_takes() {
        let lane = |need| LaneSplit {
            need,
            ..LaneSplit::default()
        };
        let used = InLane {
            judged: Judged::Used,
            devices: vec![],
            seconds: None,
        };
        let split = Split {
            lanes: [
                ("cheap".to_owned(), lane(KvmNeed::None)),
                ("live".to_owned(), lane(KvmNeed::Required)),
            ]
            .into(),
            tests: vec![TestSplit {
                id: id("a", Some("it's \"x\"")),
                half: Half::Live,
                lanes: [("live".to_owned(), used)].into(),
            }],
            need_nothing: vec!["a y".to_owned()],
            ..Split::default()
        };
        let proposal = propose(&split, &[]);
        let config = crate::config::read(&proposal.toml, &crate::config::Around::default()).unwrap();
        let runs: Vec<&str> = config
            .lanes
            .iter()
            .map(|lane| lane.checks[0].run.as_str())
            .collect();
        assert_eq!(
            runs,
            [
                r#"cargo nextest run --workspace --no-tests=pass -E 'not ((binary_id(=a) & test(=it'\''s "x")))'"#,
                r#"cargo nextest run --workspace --no-tests=pass -E '(binary_id(=a) & test(=it'\''s "x"))'"#,
            ]
        );
        let proposal = propose(
            &Split {
                tests: vec![],
                ..split
            },
            &["-p".to_owned(), "a b".to_owned()],
        );
        assert_eq!(
            (proposal.any.as_str(), proposal.live.as_str()),
            ("all()", "none()")
        );
        assert!(
            proposal.toml.contains("run -p 'a b' --no-tests"),
            "{}",
            proposal.toml
        );
    }
}
