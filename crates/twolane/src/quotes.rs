//! What providers report of their prices, kept for a day. The table that is compiled in is as old as this twolane.

use std::{collections::BTreeSet, fs, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use futures::future::join_all;
use model::{
    candidate::Candidate,
    name::ProviderName,
    price::Quote,
    time::{Timestamp, between},
    world::Prices,
};

use crate::{
    known::{KnownProvider, Providers},
    show::{record::write_whole, stream::Style},
};

/// How long a reported price counts as today's.
const FRESH: Duration = Duration::from_secs(24 * 3600);

/// How long one that nobody asked for again is kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long a provider may take to answer. All are asked at once.
const ASK_MAX: Duration = Duration::from_secs(10);

/// How long one that did not answer is left alone: who waits for it once need not wait again on the next run.
const SPARED: Duration = Duration::from_secs(15 * 60);

fn file(cache: &Utf8Path, provider: &ProviderName) -> Utf8PathBuf {
    cache.join(format!("prices/{provider}.json"))
}

/// Returns what is kept of a provider's prices. What cannot be read is not there.
fn kept(cache: &Utf8Path, provider: &ProviderName) -> Vec<Quote> {
    let text = fs::read(file(cache, provider)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Names the file that holds when a provider last failed to answer.
fn failed_file(cache: &Utf8Path, provider: &ProviderName) -> Utf8PathBuf {
    cache.join(format!("prices/{provider}.failed"))
}

/// Returns whether a provider is left alone, as it failed to answer a short while ago.
fn is_spared(cache: &Utf8Path, provider: &ProviderName, now: Timestamp) -> bool {
    let text = fs::read_to_string(failed_file(cache, provider)).unwrap_or_default();
    let failed: Option<Timestamp> = text.trim().parse().ok();
    // What lies ahead of a clock that was set back says nothing.
    failed.is_some_and(|failed| failed <= now && between(failed, now) < SPARED)
}

/// Lets each provider count with what it reported last.
pub(crate) fn take(providers: &Providers, cache: &Utf8Path) {
    for (name, known) in providers {
        if let Some(prices) = known.provider.prices().filter(|prices| prices.reports()) {
            prices.take(kept(cache, name));
        }
    }
}

/// Asks the providers of these candidates for the prices that are not known as of today. Without an answer the older price
/// counts, and its day is shown with it. Returns whether any was asked.
pub(crate) async fn refresh(
    style: Style,
    candidates: &[&Candidate],
    providers: &Providers,
    cache: &Utf8Path,
) -> bool {
    let now = Timestamp::now();
    let usable = providers.iter().filter(|(_, known)| known.missing.is_none());
    let orders: Vec<Order<'_>> = usable
        .filter_map(|(name, known)| Order::of(name, known, candidates, cache, now))
        .collect();
    if orders.is_empty() {
        return false;
    }
    let names: Vec<&str> = orders.iter().map(|order| order.name.as_str()).collect();
    style.message(&format!("asking for today's prices: {}", names.join(", ")));
    let answers = join_all(orders.iter().map(|order| order.ask_in_time(cache, now))).await;
    for why in answers.into_iter().filter_map(Result::err) {
        style.message(&format!(
            "note: an older price counts, and is not asked for again for 15 minutes: {why}"
        ));
    }
    take(providers, cache);
    true
}

/// What one provider is asked for.
struct Order<'a> {
    name: &'a ProviderName,
    prices: &'a dyn Prices,
    /// Type and region of each price that is not known as of today.
    wanted: BTreeSet<(&'a str, &'a str)>,
}

impl<'a> Order<'a> {
    fn of(
        name: &'a ProviderName,
        known: &'a KnownProvider,
        candidates: &[&'a Candidate],
        cache: &Utf8Path,
        now: Timestamp,
    ) -> Option<Self> {
        let prices = known.provider.prices().filter(|prices| prices.reports())?;
        if is_spared(cache, name, now) {
            return None;
        }
        let kept = kept(cache, name);
        let is_fresh = |&(instance_type, region): &(&str, &str)| {
            kept.iter().any(|quote| {
                quote.instance_type == instance_type
                    && quote.region == region
                    && between(quote.asked, now) < FRESH
            })
        };
        let own = candidates.iter().filter(|candidate| candidate.provider == *name);
        let wanted: BTreeSet<_> = own
            .map(|candidate| (candidate.instance_type.as_str(), candidate.region.as_str()))
            .filter(|wanted| !is_fresh(wanted))
            .collect();
        (!wanted.is_empty()).then_some(Self { name, prices, wanted })
    }

    /// Asks, and remembers when it was in vain.
    async fn ask_in_time(&self, cache: &Utf8Path, now: Timestamp) -> Result<(), String> {
        let name = self.name;
        let answer = tokio::time::timeout(ASK_MAX, self.ask(cache, now)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(format!("{name} did not answer within {} s", ASK_MAX.as_secs())));
        if answer.is_err() {
            let _ = write_whole(&failed_file(cache, name), Timestamp::now().to_string().as_bytes());
        }
        answer
    }

    /// Asks, and keeps what is answered.
    async fn ask(&self, cache: &Utf8Path, now: Timestamp) -> Result<(), String> {
        let mut quotes = kept(cache, self.name);
        for &(instance_type, region) in &self.wanted {
            let hourly = self
                .prices
                .ask(instance_type, region)
                .await
                .map_err(|error| error.to_string())?;
            quotes.retain(|quote| {
                (quote.instance_type.as_str(), quote.region.as_str()) != (instance_type, region)
                    && between(quote.asked, now) < KEPT
            });
            quotes.push(Quote {
                instance_type: instance_type.to_owned(),
                region: region.to_owned(),
                hourly,
                asked: now,
            });
        }
        let file = file(cache, self.name);
        let text = serde_json::to_vec_pretty(&quotes).map_err(|error| error.to_string())?;
        write_whole(&file, &text).map_err(|error| format!("{file}: {error}"))
    }
}
