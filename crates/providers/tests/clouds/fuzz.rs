//! Each adapter against answers that are not what its API describes: the fake's own, mutated by a seed.
//! `TWOLANE_FUZZ_SECONDS` makes it a long run.

use std::time::{Duration, Instant};

use engine::cloud::Cloud;
use fastrand::Rng;
use model::{cloud::CloudApi, lane::KvmNeed, machine::ResourceKind, selector::Selector, world::Provider};
use providers::contract::Reports;
use serde_json::{Value, json};

use crate::{bench::Bench, fakes::server::Api, orders::label};

/// What says whose a thing is. Without it, nobody could know that it is there.
const IDENTITY: [&str; 11] = [
    "id",
    "name",
    "label",
    "labels",
    "tags",
    "hostname",
    "description",
    "metadata",
    "type",
    "nextLink",
    "nextPageToken",
];

/// The same in XML, where it is no `…Id`.
const XML_IDENTITY: [&str; 5] = ["key", "value", "groupName", "regionName", "nextToken"];

/// How many rounds an ordinary test takes: some seconds.
const ROUNDS: u64 = 6;

/// What a mutation may touch.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reach {
    /// All that does not say whose a thing is.
    Values,
    /// Anything, the form of the answer included.
    Everything,
}

/// Has adapter and engine meet mutated answers. Whatever they say, nothing panics, what they call gone is gone, and once the
/// answers are true again nothing is left.
pub(crate) async fn check<A: CloudApi, F: Api>(bench: Bench<A, F>) {
    let seconds = std::env::var("TWOLANE_FUZZ_SECONDS").ok();
    let length = seconds
        .and_then(|text| text.parse().ok())
        .map(Duration::from_secs);
    let began = Instant::now();
    let is_on = |round: u64| match length {
        Some(length) => began.elapsed() < length,
        None => round < ROUNDS,
    };
    for seed in (0..).take_while(|round| is_on(*round)) {
        let reach = match seed % 2 {
            0 => Reach::Values,
            _ => Reach::Everything,
        };
        round(&bench, seed, reach).await;
    }
}

async fn round<A: CloudApi, F: Api>(bench: &Bench<A, F>, seed: u64, reach: Reach) {
    let mutated = |part: u64| {
        let mut random = Rng::with_seed(seed * 4 + part);
        bench
            .fake
            .alter(Some(Box::new(move |body| mutate(body, &mut random, reach))));
    };
    mutated(0);
    let _ = bench.up("box-1").await;
    let preflight = bench.cloud.preflight().expect("every cloud has one");
    preflight
        .preflight(bench.place.1, bench.place.2, KvmNeed::None)
        .await;
    bench.fake.alter(None);
    // A create that was refused on the way is made good, so that there is something to be listed and destroyed.
    let _ = bench.up("box-1").await;
    let boxes = boxes(&bench.cloud).await.expect("its answers are true");
    mutated(1);
    if let (Ok(seen), Reach::Values) = (self::boxes(&bench.cloud).await, reach) {
        let is_lost = boxes.iter().any(|it| !seen.contains(it));
        assert!(
            !is_lost,
            "seed {seed}: a box counts as gone: {seen:?} of {boxes:?}"
        );
    }
    mutated(2);
    let selector = Selector::Label(label("box-1"));
    let outcome = bench.cloud.down(&selector, &Reports::default()).await;
    bench.fake.alter(None);
    if outcome.is_ok() && reach == Reach::Values {
        let left = self::boxes(&bench.cloud).await.expect("its answers are true");
        assert_eq!(left, Vec::<String>::new(), "seed {seed}: reported as gone");
    }
    bench.down_all().await;
    assert_eq!(bench.names(), Vec::<String>::new(), "seed {seed}");
}

async fn boxes<A: CloudApi>(cloud: &Cloud<A>) -> Result<Vec<String>, model::error::ProviderError> {
    let listed = cloud.listing().expect("every cloud lists").list().await?;
    let boxes = listed.into_iter().filter(|it| it.kind == ResourceKind::Machine);
    Ok(boxes.map(|it| it.id).collect())
}

/// Returns an answer in half of all cases as it is.
fn mutate(body: Vec<u8>, random: &mut Rng, reach: Reach) -> Vec<u8> {
    if random.bool() || body.is_empty() {
        return body;
    }
    let is_bytes = reach == Reach::Everything && random.u8(..4) == 0;
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut value) if !is_bytes => {
            let count = leaves(&mut value, reach, &mut |_| ());
            let chosen = random.usize(..count.max(1));
            let mut at = 0;
            leaves(&mut value, reach, &mut |leaf| {
                if at == chosen {
                    *leaf = odd(random);
                }
                at += 1;
            });
            value.to_string().into_bytes()
        }
        Err(_) if !is_bytes => match String::from_utf8(body) {
            Ok(text) => mutate_text(&text, random, reach).into_bytes(),
            Err(error) => error.into_bytes(),
        },
        Ok(_) | Err(_) => damaged(body, random),
    }
}

/// Changes what one element of an XML document holds.
fn mutate_text(text: &str, random: &mut Rng, reach: Reach) -> String {
    let is_identity = |name: &str| XML_IDENTITY.contains(&name) || name.ends_with("Id");
    let ends = text.match_indices("</").filter_map(|(end, _)| {
        let begin = text[..end].rfind('>')? + 1;
        let name = text[end + 2..].split('>').next()?;
        let may_change = reach == Reach::Everything || !is_identity(name);
        (may_change && text[..begin].ends_with(&format!("<{name}>"))).then_some(begin..end)
    });
    let leaves: Vec<_> = ends.collect();
    let Some(leaf) = random.choice(&leaves) else {
        return text.to_owned();
    };
    let odd = match odd(random) {
        Value::String(text) => text,
        value => value.to_string(),
    };
    format!("{}{odd}{}", &text[..leaf.start], &text[leaf.end..])
}

/// Visits what may be mutated, and counts it.
fn leaves(value: &mut Value, reach: Reach, visit: &mut dyn FnMut(&mut Value)) -> usize {
    let mut count = 0;
    let is_leaf = !value.is_object() && !value.is_array();
    if is_leaf || reach == Reach::Everything {
        visit(value);
        count += 1;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|it| count += leaves(it, reach, visit)),
        Value::Object(fields) => {
            for (key, field) in fields {
                if reach == Reach::Everything || !IDENTITY.contains(&key.as_str()) {
                    count += leaves(field, reach, visit);
                }
            }
        }
        _ => {}
    }
    count
}

fn odd(random: &mut Rng) -> Value {
    let odd = [
        Value::Null,
        json!(""),
        json!("of the future"),
        json!("\u{0}\u{202e}\u{1f600}"),
        json!(-1),
        json!(0),
        json!(u64::MAX),
        json!(1e300),
        json!(true),
        json!([]),
        json!({}),
        json!([[[{"a": null}]]]),
        json!("x".repeat(70_000)),
    ];
    odd[random.usize(..odd.len())].clone()
}

/// Cuts an answer short, or changes one byte of it.
fn damaged(mut body: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    let at = random.usize(..body.len());
    match random.bool() {
        true => body.truncate(at),
        false => body[at] = random.u8(..),
    }
    body
}
