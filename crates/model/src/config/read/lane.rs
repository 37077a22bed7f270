//! Reads `[lanes.*]`.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use super::{
    Reader, rules,
    walk::{Table, Value},
};
use crate::{
    build::Build,
    config::{BoxChoice, Boxes, Lane},
    lane::KvmNeed,
    money::Money,
    options::Options,
    part::BOXES_MAX,
};

/// How long a box may live when its lane does not say.
const TTL_DEFAULT: Duration = Duration::from_secs(2 * 3600);
/// Sizes of a root disk, in GiB.
const DISK_BOUNDS: std::ops::RangeInclusive<u32> = 4..=65_536;

impl Reader<'_> {
    pub(super) fn lane(&self, name: String, span: Range<usize>, value: &Value<'_>) -> Option<Lane> {
        let mut table = value.table()?.called(format!("[lanes.{name}]"), span);
        let needs = [KvmNeed::None, KvmNeed::Required, KvmNeed::Nested, KvmNeed::Metal];
        let words = needs.map(|need| (need.word(), need));
        let kvm = table.take("kvm").and_then(|value| value.word(&words));
        let boxes = match table.take("boxes") {
            Some(value) => self.boxes(&value),
            None => Some(Boxes::Listed(vec![self.local()])),
        };
        let at_once = table.take("boxes-at-once");
        let at_once = at_once.and_then(|value| value.number(1..=BOXES_MAX));
        let tags = table.take("tags").map(|value| tags(&value)).unwrap_or_default();
        let ttl = table.take("ttl").and_then(|value| value.read(&rules::TTL));
        let ttl = ttl.unwrap_or(TTL_DEFAULT);
        let max_cost = table
            .take("max-cost")
            .map(|value| limits(&value))
            .unwrap_or_default();
        let mut flag = |key| table.take(key).and_then(|value| value.flag()).unwrap_or(false);
        let (deploy, supersede) = (flag("deploy"), flag("supersede"));
        let fail_on_skip = table.take("fail-on-skip").and_then(|value| value.flag());
        let fail_on_skip = fail_on_skip.unwrap_or(self.fail_on_skip);
        let trace = table.take("trace").and_then(|value| {
            let trace = value.flag();
            if fail_on_skip && trace == Some(false) {
                value.refuse(
                    "`fail-on-skip` needs the tracer, which `trace = false` leaves out",
                    "leave `trace` away, or write `fail-on-skip = false`".to_owned(),
                );
            }
            trace
        });
        let places = [("box", Build::Box), ("here", Build::Here)];
        let build = table.take("build").and_then(|value| value.word(&places));
        let setup = table.take("setup");
        let checks = table.need("checks", "\"rust\"");
        let is_continued = table.take("continue").and_then(|value| value.flag());
        table.finish();
        let checks = checks?;
        Some(Lane {
            kvm: kvm.unwrap_or_default(),
            boxes: boxes?,
            boxes_at_once: at_once.unwrap_or(1),
            tags,
            ttl,
            max_cost,
            deploy,
            // Formatting says nothing of what a build or a test would say.
            is_continued: is_continued.unwrap_or(checks.is_text()),
            checks: self.checks(&checks, setup.as_ref(), ttl)?,
            build: build.unwrap_or_default(),
            fail_on_skip,
            trace,
            supersede,
            name,
        })
    }

    fn boxes(&self, value: &Value<'_>) -> Option<Boxes> {
        if value.is_text() {
            return value
                .word(
                    &[("cheapest", Boxes::Cheapest)]
                        .each_ref()
                        .map(|(name, boxes)| (*name, boxes)),
                )
                .cloned();
        }
        let entries = value.list("providers")?;
        if entries.is_empty() {
            value.refuse(
                "`boxes` is empty: the lane could never run",
                "write `boxes = [\"local\"]`".to_owned(),
            );
        }
        let boxes = entries.iter().filter_map(|entry| self.choice(entry)).collect();
        Some(Boxes::Listed(boxes))
    }

    fn choice(&self, entry: &Value<'_>) -> Option<BoxChoice> {
        if !entry.is_table() {
            return self.provider(entry).map(BoxChoice::of);
        }
        let mut table = entry.table()?;
        let provider = table.need("provider", "\"aws\"");
        let provider = provider.and_then(|value| self.provider(&value));
        let mut word = |key| {
            table
                .take(key)
                .and_then(|value| value.read(&rules::PROVIDER_WORD))
        };
        let (instance_type, region, image) = (word("type"), word("region"), word("image"));
        let disk_gb = table.take("disk").and_then(|value| value.number(DISK_BOUNDS));
        let is_host = provider.as_ref().is_some_and(|name| name.as_str() == "host");
        let (address, private) = address(&mut table, is_host);
        let options = Options {
            private,
            ..options(&mut table)
        };
        table.finish();
        Some(BoxChoice {
            instance_type,
            region: address.or(region),
            image,
            disk_gb,
            options,
            ..BoxChoice::of(provider?)
        })
    }

    /// Reads the name of a provider that exists.
    pub(super) fn provider(&self, value: &Value<'_>) -> Option<crate::name::ProviderName> {
        let words: Vec<_> = self.around.provider_names().map(|name| (name, name)).collect();
        let name = match words.is_empty() {
            true => value.read(&rules::PROVIDER_WORD)?,
            false => value.word(&words)?.to_owned(),
        };
        crate::name::ProviderName::new(name).ok()
    }
}

fn options(table: &mut Table<'_>) -> Options {
    let mut word = |key| table.take(key)?.read(&rules::PLACE_WORD);
    // Google calls it the other way.
    let subnet = word("subnet");
    let subnetwork = word("subnetwork");
    Options {
        network: word("network"),
        subnet: subnet.or(subnetwork),
        security_group: word("security-group"),
        resource_group: word("resource-group"),
        jump: table.take("jump").and_then(|value| value.read(&rules::JUMP)),
        private: false,
        spot: table.take("spot").and_then(|value| value.flag()).unwrap_or(false),
        tags: table.take("tags").map(|value| tags(&value)).unwrap_or_default(),
    }
}

/// Reads the most that something may cost: an amount, or one for each currency.
fn limits(value: &Value<'_>) -> Vec<Money> {
    if value.is_text() {
        return value.read(&rules::MONEY).into_iter().collect();
    }
    let limits = value.list_of("amounts", &rules::MONEY);
    let is_twice =
        |(index, limit): (usize, &Money)| limits[..index].iter().any(|it| it.currency == limit.currency);
    if limits.iter().enumerate().any(is_twice) {
        let help = "leave the higher one out".to_owned();
        value.refuse("`max-cost` has two amounts of one currency", help);
    }
    limits
}

fn tags(value: &Value<'_>) -> BTreeMap<String, String> {
    let named = value
        .table()
        .map(|table| table.named(&rules::TAG))
        .unwrap_or_default();
    let pair = |(key, _, value): (String, _, Value<'_>)| Some((key, value.read(&rules::TAG_VALUE)?));
    named.into_iter().filter_map(pair).collect()
}

/// Reads which machine is meant that is already there, or that a box is to have a private address only.
fn address(table: &mut Table<'_>, is_host: bool) -> (Option<String>, bool) {
    if let Some(value) = table.take("as-user")
        && value.flag() == Some(true)
    {
        value.refuse(
            "a machine is not used without root: each check has a user and a unit of its own, which only root can give",
            "leave `as-user` away, and name a login that is root or may use `sudo` without a password".to_owned(),
        );
    }
    let Some(value) = table.take("address") else {
        return (None, false);
    };
    if is_host {
        return (value.read(&rules::HOST_ADDRESS), false);
    }
    (None, value.read(&rules::PRIVATE).is_some())
}
