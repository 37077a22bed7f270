//! Some scenarios, each from its seed. `cargo run --profile simulation -p sim --bin seeds -- 0 20000` runs many.

use sim::Scenario;

#[test]
fn no_seed_leaks_a_box() {
    let count = std::env::var("TWOLANE_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(500);
    let wrong: Vec<String> = (0..count)
        .flat_map(|seed| {
            let wrong = Scenario {
                seed,
                ..Scenario::default()
            }
            .outcome()
            .wrong;
            wrong
                .into_iter()
                .map(move |wrong| format!("seed {seed}: {wrong} (cargo run -p sim --bin seeds -- {seed})"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
