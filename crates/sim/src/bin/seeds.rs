//! Tells many stories, or one with all that was seen in it: `seeds FIRST COUNT`, `seeds SEED`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use sim::{Story, Told};

fn main() -> io::Result<ExitCode> {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .filter_map(|word| word.parse().ok())
        .collect();
    let mut out = io::stdout().lock();
    match numbers[..] {
        [seed] => one(seed, &mut out),
        [first, count] => many(first, count, &mut out),
        _ => {
            writeln!(out, "usage: seeds SEED | seeds FIRST COUNT")?;
            Ok(ExitCode::from(2))
        }
    }
}

fn tell(seed: u64) -> Told {
    Story {
        seed,
        ..Story::default()
    }
    .tell()
}

/// Shows all that was seen.
fn one(seed: u64, out: &mut impl Write) -> io::Result<ExitCode> {
    let told = tell(seed);
    for line in told.lines() {
        writeln!(out, "{line}")?;
    }
    report(seed, &told, out)?;
    Ok(ended(told.wrong.is_empty()))
}

/// Shows only what is wrong.
fn many(first: u64, count: u64, out: &mut impl Write) -> io::Result<ExitCode> {
    let began = std::time::Instant::now();
    let (mut failed, mut seen) = (0, 0);
    for seed in first..first.saturating_add(count) {
        let told = tell(seed);
        seen += told.seen.len();
        failed += u64::from(!told.wrong.is_empty());
        report(seed, &told, out)?;
    }
    let each = count as f64 / began.elapsed().as_secs_f64();
    writeln!(
        out,
        "{count} seeds from {first} on, {failed} failed; {seen} things seen; {each:.0} a second"
    )?;
    Ok(ended(failed == 0))
}

fn report(seed: u64, told: &Told, out: &mut impl Write) -> io::Result<()> {
    for wrong in &told.wrong {
        writeln!(out, "seed {seed}: {wrong}")?;
    }
    if !told.wrong.is_empty() {
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
