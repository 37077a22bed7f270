//! Reads the checks of a lane.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Reader, rules,
    walk::{Table, Value},
};
use crate::{
    check::{Check, Expect, TIMEOUT_DEFAULT},
    config::{mistake::suggest, preset},
};

/// The name of what prepares a lane's box.
const SETUP: &str = "setup";
/// Fewest tests that a check may expect, and most.
const EXPECT_BOUNDS: std::ops::RangeInclusive<u32> = 1..=1_000_000;

impl Reader<'_> {
    /// Reads the checks of a lane, after what prepares its box for them.
    pub(super) fn checks(
        &self,
        value: &Value<'_>,
        setup: Option<&Value<'_>>,
        ttl: Duration,
    ) -> Option<Vec<Check>> {
        let mut checks = self.own_checks(value, ttl)?;
        let setup = setup.and_then(|setup| {
            let run = setup.read(&rules::COMMAND)?;
            let mut setup = Check {
                as_root: true,
                is_setup: true,
                ..Check::new(SETUP, run)
            };
            setup.slug = unique(SETUP, &checks);
            if setup.slug != SETUP {
                setup.name = format!("{SETUP} of the lane");
            }
            Some(setup)
        });
        if let Some(setup) = setup {
            let unbound = checks
                .iter_mut()
                .filter(|check| check.after.is_none() && !check.always);
            unbound.for_each(|check| check.after = Some(setup.name.clone()));
            checks.insert(0, setup);
        }
        Some(checks)
    }

    fn own_checks(&self, value: &Value<'_>, ttl: Duration) -> Option<Vec<Check>> {
        if value.is_text() {
            value.word(&[("rust", ())])?;
            return Some(preset::check_names().filter_map(preset::check).collect());
        }
        let entries = value.list("checks")?;
        if entries.is_empty() {
            value.refuse(
                "`checks` is empty: the lane would show nothing",
                "write `checks = \"rust\"`".to_owned(),
            );
        }
        let mut checks: Vec<Check> = Vec::new();
        for entry in &entries {
            for mut check in self.check(entry, ttl) {
                if checks.iter().any(|other| other.name == check.name) {
                    entry.refuse(
                        format!("there are two checks called `{}`", check.name),
                        "give each a name of its own".to_owned(),
                    );
                }
                if let Some(after) = &check.after
                    && !checks.iter().any(|other| other.name == *after)
                {
                    let names = checks.iter().map(|other| other.name.as_str());
                    entry.refuse(
                        format!("there is no check `{after}` before this one"),
                        suggest(after, names),
                    );
                }
                check.slug = unique(&check.slug, &checks);
                checks.push(check);
            }
        }
        Some(checks)
    }

    /// Reads one entry of `checks`: a check, the name of a preset's check, or the name of a preset.
    fn check(&self, entry: &Value<'_>, ttl: Duration) -> Vec<Check> {
        if !entry.is_text() {
            let table = entry.table();
            return table
                .and_then(|table| self.own_check(table, ttl))
                .into_iter()
                .collect();
        }
        let words: Vec<(&str, &str)> = std::iter::once("rust")
            .chain(preset::check_names())
            .map(|name| (name, name))
            .collect();
        match entry.word(&words) {
            Some("rust") => preset::check_names().filter_map(preset::check).collect(),
            Some(name) => preset::check(name).into_iter().collect(),
            None => Vec::new(),
        }
    }

    fn own_check(&self, mut table: Table<'_>, ttl: Duration) -> Option<Check> {
        let name = table
            .need("name", "\"unit tests\"")
            .and_then(|value| value.read(&rules::CHECK_NAME));
        let run = table.need("run", "\"cargo test\"");
        let command = run.as_ref().and_then(|value| value.read(&rules::COMMAND));
        if let (Some(run), Some("smoke"), false) = (&run, command.as_deref(), self.has_smoke) {
            run.refuse(
                "there is no smoke script to run",
                "add `smoke = \"PATH\"` to [deploy]".to_owned(),
            );
        }
        let timeout = table.take("timeout").and_then(|value| {
            let timeout = value.read(&rules::LENGTH)?;
            if timeout > ttl {
                value.refuse(
                    "the check may run longer than its box may live",
                    "make `timeout` shorter, or the lane's `ttl` longer".to_owned(),
                );
            }
            Some(timeout)
        });
        let junit = table
            .take("junit")
            .and_then(|value| value.read(&rules::INNER_PATH));
        let mut artifacts = Vec::new();
        if let Some(value) = table.take("artifacts") {
            artifacts = value.list_of("paths", &rules::INNER_PATH);
        }
        let mut needs = Vec::new();
        if let Some(value) = table.take("needs") {
            needs = value.list_of("needs", &rules::NEED);
        }
        let mut flag = |key| table.take(key).and_then(|value| value.flag()).unwrap_or(false);
        let (reboot, always) = (flag("reboot"), flag("always"));
        let as_root = table
            .take("user")
            .and_then(|value| value.word(&[("root", true)]))
            .unwrap_or(false);
        let after = table
            .take("after")
            .and_then(|value| value.read(&rules::CHECK_NAME));
        let env = table
            .take("env")
            .map(|value| environment(&value))
            .unwrap_or_default();
        let mut env_from = Vec::new();
        if let Some(value) = table.take("env-from") {
            env_from = value.list_of("names of variables", &rules::VARIABLE);
        }
        let expect = table.take("expect").and_then(|value| expect(&value));
        table.finish();
        Some(Check {
            timeout: timeout.unwrap_or(TIMEOUT_DEFAULT),
            needs,
            junit,
            artifacts,
            reboot,
            as_root,
            env,
            env_from,
            expect,
            after,
            always,
            ..Check::new(name?, command?)
        })
    }
}

/// Reads variables with their values.
fn environment(value: &Value<'_>) -> BTreeMap<String, String> {
    let Some(table) = value.table() else {
        return BTreeMap::new();
    };
    let named = table.named(&rules::VARIABLE).into_iter();
    named
        .filter_map(|(name, _, value)| Some((name, value.read(&rules::VARIABLE_VALUE)?)))
        .collect()
}

/// Reads `["test::name"]` or `{ min = 12 }`.
fn expect(value: &Value<'_>) -> Option<Expect> {
    if !value.is_table() {
        let names = value.list_of("names of tests", &rules::TEST_NAME);
        return (!names.is_empty()).then_some(Expect::Tests(names));
    }
    let mut table = value.table()?;
    let min = table.need("min", "1").and_then(|min| min.number(EXPECT_BOUNDS));
    table.finish();
    min.map(|min| Expect::Min(min.into()))
}

/// Returns `slug`, with a number behind it when another check has it.
fn unique(slug: &str, checks: &[Check]) -> String {
    let taken: BTreeSet<&str> = checks.iter().map(|check| check.slug.as_str()).collect();
    std::iter::once(slug.to_owned())
        .chain((2..).map(|number| format!("{slug}-{number}")))
        .find(|slug| !taken.contains(slug.as_str()))
        // An endless sequence of different names meets a finite set of taken ones.
        .unwrap()
}
