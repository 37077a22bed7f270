//! `twolane providers --kvm`: the cheapest boxes whose `/dev/kvm` works, over all providers.

use ::providers::kvm::Entry;
use model::money::{Money, cheapest_first};
use serde::Serialize;

use crate::{
    args::ProvidersArgs,
    context::Context,
    exit::Exit,
    known::Providers,
    offers::{self, place},
    problem::{Problem, Result},
    show::table::fitted,
};

/// An entry, and whether its provider can be used from here.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    entry: Entry,
    usable: bool,
}

/// Prints the table.
pub(crate) fn run(context: &Context, args: &ProvidersArgs, providers: &Providers) -> Result {
    let limit = args.max_price.as_deref().map(Limit::read).transpose()?;
    let mut entries = offers::entries(&context.paths()?, providers);
    entries.retain(|entry| entry.kvm.is_good());
    entries.retain(|entry| args.arch.as_ref().is_none_or(|arch| *arch == entry.arch));
    entries.retain(|entry| {
        limit
            .as_ref()
            .is_none_or(|limit| limit.holds(entry.hourly.as_ref()))
    });
    let (priced, unpriced): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.hourly.is_some());
    let is_usable = |entry: &Entry| {
        let known = providers.iter().find(|(name, _)| name.as_str() == entry.provider);
        known.is_some_and(|(_, known)| known.missing.is_none())
    };
    let line = |entry: Entry| Line {
        usable: is_usable(&entry),
        entry,
    };
    let priced: Vec<Line> = cheapest_first(priced, |entry: &Entry| entry.hourly.clone())
        .into_iter()
        .map(line)
        .collect();
    if context.style.is_json {
        let all: Vec<Line> = priced.into_iter().chain(unpriced.into_iter().map(line)).collect();
        context.style.document(&all);
        return Ok(Exit::Passed);
    }
    print(context, &priced, unpriced.len());
    Ok(Exit::Passed)
}

fn print(context: &Context, priced: &[Line], unpriced: usize) {
    let head = [
        "provider",
        "type",
        "where",
        "arch",
        "cpus",
        "gib",
        "kvm",
        "known",
        "an hour",
        "as of",
        "usable here",
    ];
    context.style.result(&fitted(&head, priced.iter().map(cells)));
    if unpriced > 0 {
        context.style.result(&format!(
            "\n{unpriced} more have KVM, and their price is not known here: --json shows them"
        ));
    }
    context.style.result(
        "\nlist prices without VAT, disk and address; amounts of two currencies are not compared. The KVM gate decides.\n\
         \"observed\" is by Spare Cores (sc-inspector-data, CC BY-SA 4.0) where --json names it",
    );
}

fn cells(line: &Line) -> Vec<String> {
    let entry = &line.entry;
    let number = |number: Option<u32>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let known = match &entry.kvm_day {
        Some(day) => format!("{} {day}", entry.kvm.word()),
        None => entry.kvm.word().to_owned(),
    };
    let price = match &entry.hourly {
        Some(price) if price.micros == 0 => "free".to_owned(),
        Some(price) => price.to_string(),
        None => "unknown".to_owned(),
    };
    vec![
        entry.provider.clone(),
        entry.instance_type.clone(),
        place(entry),
        entry.arch.clone(),
        number(entry.vcpus),
        number(entry.memory_gb),
        entry.kind.word().to_owned(),
        known,
        price,
        entry.price_day.clone().unwrap_or_else(|| "-".to_owned()),
        if line.usable { "yes" } else { "-" }.to_owned(),
    ]
}

/// The most that an hour may cost: in one currency, or the number in whatever a price is in.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    micros: i64,
    currency: Option<String>,
}

impl Limit {
    fn read(text: &str) -> Result<Self> {
        let text = text.trim();
        let of = |money: Money, currency| Self {
            micros: money.micros,
            currency,
        };
        let alone = || Money::parse(&format!("{text} XXX")).map(|money| of(money, None));
        let with = || {
            let money = Money::parse(text)?;
            let currency = Some(money.currency.clone());
            Some(of(money, currency))
        };
        alone().or_else(with).ok_or_else(|| {
            Problem::usage(format!("could not read the price `{text}`"))
                .because("it is not an amount")
                .help("write `--max-price 0.20`, or with a currency: `--max-price \"0.20 EUR\"`")
        })
    }

    /// Returns whether a price is known and not above. What is free has no currency.
    fn holds(&self, price: Option<&Money>) -> bool {
        price.is_some_and(|price| {
            let is_same = self
                .currency
                .as_ref()
                .is_none_or(|currency| *currency == price.currency);
            price.micros == 0 || (is_same && price.micros <= self.micros)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(limit: &str, price: &str, holds: bool) {
        let limit = Limit::read(limit).unwrap();
        assert_eq!(
            limit.holds(Money::parse(price).as_ref()),
            holds,
            "{limit:?} {price}"
        );
    }

    #[test]
    fn a_limit_without_a_currency_is_of_every_one() {
        check("0.20", "0.19 EUR", true);
        check("0.20", "0.20 USD", true);
        check("0.20", "0.21 USD", false);
        check("0.20 EUR", "0.19 EUR", true);
        check("0.20 EUR", "0.19 USD", false);
        check("0.20 EUR", "0 USD", true);
        assert!(
            !Limit::read("1").unwrap().holds(None),
            "what is not known could be dearer"
        );
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for wrong in ["", "cheap", "-1", "0.2 eur", "1 2 EUR"] {
            assert!(Limit::read(wrong).is_err(), "{wrong}");
        }
    }
}
