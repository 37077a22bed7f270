//! Each adapter against answers that are not what its API describes: the fake's own, mutated by a seed.
//! `TWOLANE_FUZZ_SECONDS` makes it a long run.

use engine::cloud::Cloud;
use fuzz::Rng;
use model::{cloud::CloudApi, lane::KvmNeed, machine::ResourceKind, selector::Selector, world::Provider};
use providers::contract::Reports;

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
    for seed in fuzz::seeds(ROUNDS) {
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
    let is_identity = |name: &str| XML_IDENTITY.contains(&name) || name.ends_with("Id");
    match reach {
        Reach::Values => fuzz::mutate(body, random, fuzz::Reach::Values(&IDENTITY, &is_identity)),
        Reach::Everything => fuzz::mutate(body, random, fuzz::Reach::Everything),
    }
}
