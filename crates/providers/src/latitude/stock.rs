//! Picks plan and site of what is in stock. Keeps out: asking for the stock.

use std::collections::BTreeSet;

use model::money::Money;

use super::wire::{Plan, System};

/// What stands for the cheapest plan in stock.
pub(super) const CHEAPEST: &str = "cheapest";

/// What stands for every site.
pub(super) const ANY: &str = "any";

/// The most that an hour of the cheapest plan may cost, in millionths of a dollar: what is dearer has to be named.
pub(super) const HOURLY_MAX: i64 = 1_000_000;

/// How many places are tried.
const TRIED_MAX: usize = 8;

/// Sites that come first where the price is the same.
const SITES: [&str; 6] = ["NYC", "DAL", "CHI", "ASH", "FRA", "LON"];

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// A plan, or [`CHEAPEST`].
    pub(super) plan: &'a str,
    /// A site, or [`ANY`].
    pub(super) site: &'a str,
    /// The operating system.
    pub(super) image: &'a str,
}

/// One plan at one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) plan: String,
    pub(super) site: String,
    /// What an hour costs there.
    pub(super) hourly: Money,
}

/// Returns what is in stock of what is wanted, cheapest first; of the same price, what is installed already comes first.
pub(super) fn choices(plans: &[Plan], systems: &[System], wanted: Wanted<'_>) -> Vec<Choice> {
    let mut found = Vec::new();
    for plan in plans.iter().filter(|plan| is_fit(plan, systems, wanted)) {
        for region in &plan.regions {
            let hourly = region.pricing.usd.as_ref().and_then(|price| price.hour);
            let Some(hourly) = hourly.and_then(|hour| Money::of(hour, "USD")) else {
                continue;
            };
            let micros = hourly.micros;
            if wanted.plan == CHEAPEST && micros > HOURLY_MAX {
                continue;
            }
            let is_late = !region.deploys_instantly.iter().any(|slug| slug == wanted.image);
            let is_wanted = |site: &&String| wanted.site == ANY || site.eq_ignore_ascii_case(wanted.site);
            for site in region.locations.in_stock.iter().filter(is_wanted) {
                let rank = SITES
                    .iter()
                    .position(|known| known == site)
                    .unwrap_or(SITES.len());
                let choice = Choice {
                    plan: plan.slug.clone(),
                    site: site.clone(),
                    hourly: hourly.clone(),
                };
                found.push(((micros, is_late, rank, site), choice));
            }
        }
    }
    found.sort_by_key(|(order, _)| *order);
    found
        .into_iter()
        .map(|(_, choice)| choice)
        .take(TRIED_MAX)
        .collect()
}

/// Returns whether a plan can be what is wanted: it takes user-data and keys, and the operating system.
fn is_fit(plan: &Plan, systems: &[System], wanted: Wanted<'_>) -> bool {
    let is_named = match wanted.plan {
        CHEAPEST => is_plain(plan),
        named => plan.slug == named,
    };
    let has = |feature: &str| plan.features.is_empty() || plan.features.iter().any(|known| known == feature);
    let runs = systems
        .iter()
        .find(|system| system.slug == wanted.image)
        .is_none_or(|system| {
            system.provisionable_on.is_empty() || system.provisionable_on.contains(&plan.name)
        });
    is_named && has("user_data") && has("ssh") && runs
}

/// Returns whether a plan is what anybody would take: x86, and no GPU to be paid for.
fn is_plain(plan: &Plan) -> bool {
    let has_gpu = plan
        .specs
        .gpu
        .as_ref()
        .and_then(|gpu| gpu.count)
        .is_some_and(|count| count > 0.0);
    let is_arm = plan.slug.contains("arm") || plan.slug.contains("gh200");
    !has_gpu && !is_arm
}

/// Says why there is nothing of what is wanted, and what there is.
pub(super) fn why_none(plans: &[Plan], wanted: Wanted<'_>) -> (String, String) {
    let all = |pick: fn(&super::wire::PlanRegion) -> &Vec<String>, plan: Option<&str>| {
        let of_plan = plans
            .iter()
            .filter(|known| plan.is_none_or(|plan| known.slug == plan));
        let sites: BTreeSet<&str> = of_plan
            .flat_map(|plan| plan.regions.iter().flat_map(pick))
            .map(String::as_str)
            .collect();
        Vec::from_iter(sites).join(", ")
    };
    let named = (wanted.plan != CHEAPEST).then_some(wanted.plan);
    if named.is_some_and(|named| plans.iter().all(|plan| plan.slug != named)) {
        let slugs: BTreeSet<&str> = plans.iter().map(|plan| plan.slug.as_str()).collect();
        let help = format!("its plans are: {}", Vec::from_iter(slugs).join(", "));
        return (format!("Latitude.sh has no plan {}", wanted.plan), help);
    }
    let place = match wanted.site {
        ANY => "anywhere".to_owned(),
        site => format!("in {site}"),
    };
    let cause = match named {
        Some(plan) => format!("{plan} is not in stock {place} for {}", wanted.image),
        None => format!(
            "no plan of up to {} an hour is in stock {place} for {}",
            cap(),
            wanted.image
        ),
    };
    let in_stock = all(|region| &region.locations.in_stock, named);
    let sold = all(|region| &region.locations.available, named);
    let help = match (in_stock.is_empty(), sold.is_empty()) {
        (false, _) => format!("there is stock in {in_stock}"),
        (true, false) => {
            format!("it is sold in {sold}, and out of stock everywhere; name another plan or provider")
        }
        (true, true) => "name another plan or provider".to_owned(),
    };
    (cause, help)
}

/// Returns the most that an hour of the cheapest plan may cost.
pub(super) fn cap() -> Money {
    Money {
        micros: HOURLY_MAX,
        currency: "USD".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plans() -> Vec<Plan> {
        let plan = |slug: &str, name: &str, features: &[&str], gpu: u32, regions: serde_json::Value| json!({"slug": slug, "name": name, "features": features, "specs": {"gpu": {"count": gpu}}, "regions": regions});
        let region = |hour: Option<f64>, instant: &[&str], stock: &[&str]| {
            json!({"deploys_instantly": instant, "locations": {"available": ["NYC", "DAL", "SAO"], "in_stock": stock},
                "pricing": {"USD": {"hour": hour}}})
        };
        let all = ["ssh", "user_data"];
        let plans = json!([
            plan(
                "m4-metal-small",
                "m4.metal.small",
                &all,
                0,
                json!([region(Some(0.81), &["ubuntu"], &["SAO", "DAL"])])
            ),
            plan(
                "c2-small-x86",
                "c2.small.x86",
                &all,
                0,
                json!([
                    region(Some(0.21), &[], &["DAL", "NYC"]),
                    region(Some(0.29), &["ubuntu"], &["SAO"]),
                ])
            ),
            plan(
                "s2-small-x86",
                "s2.small.x86",
                &["raid"],
                0,
                json!([region(Some(0.1), &[], &["NYC"])])
            ),
            plan(
                "c2-large-arm",
                "c2.large.arm",
                &all,
                0,
                json!([region(Some(0.1), &[], &["NYC"])])
            ),
            plan(
                "g3-small-x86",
                "g3.small.x86",
                &all,
                1,
                json!([region(Some(0.1), &[], &["NYC"])])
            ),
            plan(
                "rs4-metal-xlarge",
                "rs4.metal.xlarge",
                &all,
                0,
                json!([region(Some(4.5), &[], &["NYC"])])
            ),
            plan(
                "c3-small-x86",
                "c3.small.x86",
                &all,
                0,
                json!([region(None, &[], &["NYC"])])
            ),
        ]);
        serde_json::from_value(plans).unwrap()
    }

    fn found(plan: &str, site: &str, image: &str) -> String {
        let systems = json!([{"slug": "debian", "provisionable_on": ["m4.metal.small"]}]);
        let systems: Vec<System> = serde_json::from_value(systems).unwrap();
        let wanted = Wanted { plan, site, image };
        let choices = choices(&plans(), &systems, wanted);
        let words: Vec<_> = choices
            .iter()
            .map(|choice| format!("{}/{} {}", choice.plan, choice.site, choice.hourly))
            .collect();
        words.join(", ")
    }

    #[test]
    fn the_cheapest_comes_first_and_nothing_odd_or_dear_is_taken() {
        assert_eq!(
            found(CHEAPEST, ANY, "ubuntu"),
            "c2-small-x86/NYC 0.21 USD, c2-small-x86/DAL 0.21 USD, c2-small-x86/SAO 0.29 USD, \
             m4-metal-small/DAL 0.81 USD, m4-metal-small/SAO 0.81 USD"
        );
        assert_eq!(
            found(CHEAPEST, "SAO", "ubuntu"),
            "c2-small-x86/SAO 0.29 USD, m4-metal-small/SAO 0.81 USD"
        );
    }

    #[test]
    fn a_plan_that_is_named_may_cost_more() {
        assert_eq!(
            found("rs4-metal-xlarge", ANY, "ubuntu"),
            "rs4-metal-xlarge/NYC 4.50 USD"
        );
        assert_eq!(
            found("c2-small-x86", "dal", "ubuntu"),
            "c2-small-x86/DAL 0.21 USD"
        );
    }

    #[test]
    fn the_operating_system_must_run_on_the_plan() {
        assert_eq!(
            found(CHEAPEST, ANY, "debian"),
            "m4-metal-small/DAL 0.81 USD, m4-metal-small/SAO 0.81 USD"
        );
    }

    #[test]
    fn what_is_not_there_is_named_with_what_is() {
        let why = |plan, site| {
            why_none(
                &plans(),
                Wanted {
                    plan,
                    site,
                    image: "ubuntu",
                },
            )
        };
        let (cause, help) = why("c2-small-x86", "LON");
        assert_eq!(cause, "c2-small-x86 is not in stock in LON for ubuntu");
        assert_eq!(help, "there is stock in DAL, NYC, SAO");
        let (cause, help) = why("c9", ANY);
        assert!(
            cause.contains("no plan c9") && help.contains("m4-metal-small"),
            "{cause} {help}"
        );
        assert!(
            why(CHEAPEST, "LON")
                .0
                .starts_with("no plan of up to 1.00 USD an hour")
        );
    }
}
