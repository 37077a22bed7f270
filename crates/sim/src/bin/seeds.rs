//! Reports many scenarios, or one with all that was seen in it: `seeds FIRST COUNT`, `seeds SEED`;
//! with `runner` before them those of a runner. `seeds bugs` says which
//! checker catches each bug that is put in on purpose; `seeds crashes` kills one run at each call of the world.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use sim::{Bug, Outcome, RunnerScenario, Scenario, record::Observation};

fn main() -> io::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let mut out = io::stdout().lock();
    let play = match words.first().map(String::as_str) {
        Some("runner") => play_runner,
        _ => play,
    };
    match (words.first().map(String::as_str), &numbers[..]) {
        (Some("bugs"), _) => bugs(&mut out),
        (Some("crashes"), _) => crashes(&mut out),
        (_, &[seed]) => one(play, seed, &mut out),
        (_, &[first, count]) => many(play, first, count, &mut out),
        _ => {
            writeln!(
                out,
                "usage: seeds [runner] SEED | seeds [runner] FIRST COUNT | seeds bugs | seeds crashes"
            )?;
            Ok(ExitCode::from(2))
        }
    }
}

fn play_runner(seed: u64) -> Outcome {
    RunnerScenario {
        seed,
        ..RunnerScenario::default()
    }
    .outcome()
}

fn play(seed: u64) -> Outcome {
    Scenario {
        seed,
        ..Scenario::default()
    }
    .outcome()
}

/// Shows all that was seen.
fn one(play: fn(u64) -> Outcome, seed: u64, out: &mut impl Write) -> io::Result<ExitCode> {
    let outcome = play(seed);
    for line in outcome.lines() {
        writeln!(out, "{line}")?;
    }
    report(seed, &outcome, out)?;
    Ok(ended(outcome.wrong.is_empty()))
}

/// Shows only what is wrong.
fn many(play: fn(u64) -> Outcome, first: u64, count: u64, out: &mut impl Write) -> io::Result<ExitCode> {
    let began = std::time::Instant::now();
    let (mut failed, mut seen, mut processes) = (0, 0, 0);
    for seed in first..first.saturating_add(count) {
        let outcome = play(seed);
        seen += outcome.seen.len();
        processes += processes_in(&outcome);
        failed += u64::from(!outcome.wrong.is_empty());
        report(seed, &outcome, out)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    writeln!(
        out,
        "{count} seeds from {first} on, {failed} failed; {processes} processes, {seen} things seen; \
         {:.0} seeds and {:.0} processes a second",
        count as f64 / seconds,
        processes as f64 / seconds
    )?;
    Ok(ended(failed == 0))
}

fn processes_in(outcome: &Outcome) -> usize {
    let is_process = |(_, seen): &&(_, Observation)| matches!(seen, Observation::Began { .. });
    outcome.seen.iter().filter(is_process).count()
}

/// Says for each bug which checkers catch it, in how many of 1,000 seeds.
fn bugs(out: &mut impl Write) -> io::Result<ExitCode> {
    let mut are_caught = true;
    for bug in Bug::ALL {
        let (mut caught, mut by) = (0, BTreeSet::new());
        for seed in 0..1000 {
            let bug = Some(bug);
            let wrong = match bug.filter(|bug| bug.is_of_runner()) {
                None => Scenario {
                    seed,
                    bug,
                    ..Scenario::default()
                }
                .outcome(),
                Some(_) => RunnerScenario {
                    seed,
                    // Where much goes wrong, few boxes get as far as to wait.
                    is_calm: seed % 2 == 0,
                    bug,
                    ..RunnerScenario::default()
                }
                .outcome(),
            }
            .wrong;
            caught += u32::from(!wrong.is_empty());
            by.extend(
                wrong
                    .iter()
                    .filter_map(|wrong| Some(wrong.split_once(": ")?.0.to_owned())),
            );
        }
        are_caught &= caught > 0;
        let by = Vec::from_iter(by).join(", ");
        writeln!(out, "{bug:?}: in {caught} of 1000 seeds, by: {by}")?;
    }
    Ok(ended(are_caught))
}

/// Kills one run at each call of the world in turn.
fn crashes(out: &mut impl Write) -> io::Result<ExitCode> {
    let calm = |seed, kill_at| {
        Scenario {
            seed,
            is_calm: true,
            kill_at,
            ..Scenario::default()
        }
        .outcome()
    };
    let (mut points, mut failed) = (0, 0);
    for seed in 0..10 {
        for kill_at in 1..=calm(seed, None).calls {
            points += 1;
            let wrong = calm(seed, Some(kill_at)).wrong;
            failed += u32::from(!wrong.is_empty());
            for wrong in wrong {
                writeln!(out, "seed {seed}, killed at call {kill_at}: {wrong}")?;
            }
        }
    }
    writeln!(out, "{points} crash points in 10 runs, {failed} failed")?;
    Ok(ended(failed == 0))
}

fn report(seed: u64, outcome: &Outcome, out: &mut impl Write) -> io::Result<()> {
    for wrong in &outcome.wrong {
        writeln!(out, "seed {seed}: {wrong}")?;
    }
    if !outcome.wrong.is_empty() {
        writeln!(out, "    again: cargo run -p sim --bin seeds -- {seed}")?;
    }
    Ok(())
}

fn ended(is_good: bool) -> ExitCode {
    if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
