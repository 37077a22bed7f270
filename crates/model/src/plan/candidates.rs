//! Picks who may serve a lane.

use std::collections::BTreeSet;

use super::{
    asked::{Defaults, Offer},
    make::{Overrides, Planner},
};
use crate::{
    candidate::{Candidate, Fallback},
    config::{BoxChoice, Boxes, Lane},
    lane::KvmNeed,
    money::cheapest_first,
    name::ProviderName,
    options::Options,
};

/// How many of the cheapest a lane tries.
const CHEAPEST_MAX: usize = 12;

impl Planner<'_> {
    /// Returns who may serve a lane, in order; provider, size and place as asked, else as listed, else the provider's own.
    pub(super) fn candidates(&mut self, lane: &Lane, overrides: &Overrides) -> Vec<Candidate> {
        let choices = match (&lane.boxes, &overrides.provider) {
            (Boxes::Cheapest, None) => return self.cheapest(lane, overrides),
            (Boxes::Cheapest, Some(provider)) => vec![BoxChoice::of(provider.clone())],
            (Boxes::Listed(choices), None) => choices.clone(),
            (Boxes::Listed(choices), Some(provider)) => of_provider(choices, provider),
        };
        self.need_one_provider(lane, &choices, overrides);
        let wanted_by = format!("lane {}: ", lane.name);
        let mut candidates: Vec<Candidate> = Vec::new();
        for choice in &choices {
            let Some(provider) = self.provider(&wanted_by, choice.provider.as_str()) else {
                continue;
            };
            let options = self.options(lane, choice, overrides);
            for fallback in self.fallbacks(&provider, choice, overrides) {
                let candidate = Candidate {
                    region: fallback.region,
                    instance_type: fallback.instance_type,
                    image: choice.image.clone(),
                    disk_gb: overrides.disk_gb.or(choice.disk_gb),
                    options: Box::new(options.clone()),
                    provider: provider.clone(),
                };
                if candidate.region.is_empty() {
                    self.refuse(
                        format!("lane {}: it is not said which machine `{provider}` is to use", lane.name),
                        "name it: `{ provider = \"host\", address = \"user@machine\" }` in `boxes`, or `--host user@machine`",
                    );
                }
                if !candidates.iter().any(|other| is_same_place(other, &candidate)) {
                    candidates.push(candidate);
                }
            }
        }
        candidates
    }

    /// Returns what else is asked of a choice, with the lane's tags. What its provider does not take is a mistake.
    fn options(&mut self, lane: &Lane, choice: &BoxChoice, overrides: &Overrides) -> Options {
        let facts = self.facts;
        let Defaults {
            takes,
            is_cloud,
            region,
            ..
        } = &facts.providers[&choice.provider];
        let region = overrides
            .region
            .as_ref()
            .or(choice.region.as_ref())
            .unwrap_or(region);
        let mut options = choice.options.clone();
        if *is_cloud {
            let of_lane = lane
                .tags
                .iter()
                .filter(|(key, _)| !choice.options.tags.contains_key(*key));
            options
                .tags
                .extend(of_lane.map(|(key, value)| (key.clone(), value.clone())));
        }
        for (wrong, help) in options.wrong_for(takes, region) {
            let is_taker = |known: &Defaults| options.wrong_for(&known.takes, &known.region).is_empty();
            let takers = facts.providers.iter().filter(|(_, known)| is_taker(known));
            let takers: Vec<&str> = takers.map(|(name, _)| name.as_str()).collect();
            let help = help.unwrap_or_else(|| match takers.as_slice() {
                [] => "leave it away".to_owned(),
                takers => format!(
                    "leave it away, or use a provider that takes it: {}",
                    takers.join(", ")
                ),
            });
            self.refuse(format!("lane {}: {}: {wrong}", lane.name, choice.provider), help);
        }
        options
    }

    /// Returns the sizes and places to try at a provider, in order: one, or its whole fallbacks where neither is named.
    fn fallbacks(&self, provider: &ProviderName, choice: &BoxChoice, overrides: &Overrides) -> Vec<Fallback> {
        let defaults = &self.facts.providers[provider];
        let region = overrides.region.as_ref().or(choice.region.as_ref());
        let instance_type = overrides.instance_type.as_ref().or(choice.instance_type.as_ref());
        // The others may be in regions that the subnet does not serve.
        let is_free = region.is_none() && instance_type.is_none() && choice.options.subnet.is_none();
        let first = Fallback {
            region: region.unwrap_or(&defaults.region).clone(),
            instance_type: instance_type.unwrap_or(&defaults.instance_type).clone(),
        };
        let others = defaults.fallbacks.iter().filter(|_| is_free).cloned();
        std::iter::once(first).chain(others).collect()
    }

    /// Sizes and places are a provider's own words: for two providers they cannot both be right.
    fn need_one_provider(&mut self, lane: &Lane, choices: &[BoxChoice], overrides: &Overrides) {
        let providers: BTreeSet<&str> = choices.iter().map(|choice| choice.provider.as_str()).collect();
        let is_given = overrides.region.is_some() || overrides.instance_type.is_some();
        if is_given && providers.len() > 1 {
            let names = Vec::from_iter(providers).join(", ");
            self.refuse(
                format!(
                    "lane {} may use {names}, and a region or instance type is one provider's own word",
                    lane.name
                ),
                "say which with `--provider`",
            );
        }
    }

    /// Returns the offers that do for a lane, cheapest first. Only amounts of one currency can be put in order, so that
    /// of each currency its offers stay together, the currency with most offers first.
    fn cheapest(&mut self, lane: &Lane, overrides: &Overrides) -> Vec<Candidate> {
        let does = |offer: &&Offer| match lane.kvm {
            KvmNeed::None => true,
            KvmNeed::Required => offer.kvm.is_needed(),
            KvmNeed::Nested | KvmNeed::Metal => offer.kvm == lane.kvm,
        };
        let is_usable = |offer: &&Offer| self.facts.providers.contains_key(&offer.candidate.provider);
        let offers: Vec<&Offer> = self.facts.offers.iter().filter(does).filter(is_usable).collect();
        let offers = cheapest_first(offers, |offer| Some(offer.hourly.clone()));
        if offers.is_empty() {
            self.refuse(
                format!("lane {}: of no box that would do is the price known", lane.name),
                format!("list providers in `boxes` of [lanes.{}]", lane.name),
            );
        }
        let candidate = |offer: &Offer| Candidate {
            disk_gb: overrides.disk_gb.or(offer.candidate.disk_gb),
            options: Box::new(self.options(
                lane,
                &BoxChoice::of(offer.candidate.provider.clone()),
                overrides,
            )),
            ..offer.candidate.clone()
        };
        offers.into_iter().take(CHEAPEST_MAX).map(candidate).collect()
    }
}

/// Returns whether asking `b` after `a` refused would be asking the same again.
fn is_same_place(a: &Candidate, b: &Candidate) -> bool {
    (&a.provider, &a.region, &a.instance_type, &a.image, &a.options)
        == (&b.provider, &b.region, &b.instance_type, &b.image, &b.options)
}

/// Returns the lane's choices of that provider, or its own choice of everything.
fn of_provider(choices: &[BoxChoice], provider: &ProviderName) -> Vec<BoxChoice> {
    let listed: Vec<BoxChoice> = choices
        .iter()
        .filter(|choice| choice.provider == *provider)
        .cloned()
        .collect();
    if listed.is_empty() {
        vec![BoxChoice::of(provider.clone())]
    } else {
        listed
    }
}
