//! Inputs that are not what their readers expect, made of ones that are: for the tests of what reads answers of boxes, APIs and
//! adapters, and files. Every input comes from a seed, and `TWOLANE_FUZZ_SECONDS` makes a test a long run.

use std::{
    thread,
    time::{Duration, Instant},
};

pub use fastrand::Rng;
use serde_json::{Value, json};

/// How long a reader may take for one input. None of them is longer than some 100 kB.
const READ_MAX: Duration = Duration::from_secs(5);

/// How often an input is changed, at most.
const CHANGES_MAX: usize = 4;

/// What reads something: its name, inputs as they should be, and the reader. It panics where something is wrong.
pub type Target<'a> = (&'a str, &'a [&'a [u8]], &'a (dyn Fn(&[u8]) + Sync));

/// Returns the seeds of a test: so many, or those of as many seconds as the environment asks for.
pub fn seeds(rounds: u64) -> impl Iterator<Item = u64> {
    let seconds = std::env::var("TWOLANE_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok());
    let length = seconds.map(Duration::from_secs);
    let began = Instant::now();
    (0..).take_while(move |round| match length {
        Some(length) if began.elapsed() < length => true,
        Some(length) => {
            report(*round, length);
            false
        }
        None => *round < rounds,
    })
}

/// Says how much a long run has tried, to who waited for it.
#[expect(
    clippy::print_stderr,
    reason = "a test has no other way to report what it did when it passes"
)]
fn report(count: u64, length: Duration) {
    eprintln!("{count} inputs in {} s", length.as_secs());
}

/// Has each target read so many changed inputs.
///
/// # Panics
/// When a reader panics or takes too long, with what it read.
pub fn check(targets: &[Target<'_>], rounds: u64) {
    for (name, corpus, read) in targets {
        for seed in seeds(rounds) {
            let input = input(corpus, &mut Rng::with_seed(seed));
            let began = Instant::now();
            // What ends the whole process, as a stack that is full, names its thread.
            let thread = thread::Builder::new().name(format!("{name}, seed {seed}"));
            let outcome = thread::scope(|scope| {
                let reader = thread.spawn_scoped(scope, || read(&input));
                reader.expect("there are threads").join()
            });
            let is_quick = began.elapsed() < READ_MAX;
            assert!(
                outcome.is_ok() && is_quick,
                "{name}, seed {seed}, {:?}: \"{}\"",
                began.elapsed(),
                input.escape_ascii()
            );
        }
    }
}

/// Returns one of the inputs, changed.
pub fn input(corpus: &[&[u8]], random: &mut Rng) -> Vec<u8> {
    let pick = |random: &mut Rng| corpus[random.usize(..corpus.len())].to_vec();
    let mut input = pick(random);
    for _ in 0..random.usize(1..=CHANGES_MAX) {
        if input.is_empty() {
            return input;
        }
        input = match random.u8(..8) {
            0 | 1 => damaged(input, random),
            2 => mutate(input, random, Reach::Everything),
            3 => {
                let other = pick(random);
                let part = &other[random.usize(..=other.len())..];
                put(input, part, random)
            }
            4 => {
                let word = word(random);
                put(input, word.as_bytes(), random)
            }
            5 => repeated(input, random),
            6 => without(input, random),
            _ => renumbered(&input, random),
        };
    }
    input
}

/// What a mutation may touch.
#[derive(Clone, Copy)]
pub enum Reach<'a> {
    /// The values of all fields of JSON objects but these, and of all XML elements whose name is not one of those.
    Values(&'a [&'a str], &'a dyn Fn(&str) -> bool),
    /// Anything, the form included.
    Everything,
}

impl Reach<'_> {
    fn is_everything(self) -> bool {
        matches!(self, Self::Everything)
    }

    fn has_field(self, name: &str) -> bool {
        match self {
            Self::Values(kept, _) => !kept.contains(&name),
            Self::Everything => true,
        }
    }

    fn has_element(self, name: &str) -> bool {
        match self {
            Self::Values(_, is_kept) => !is_kept(name),
            Self::Everything => true,
        }
    }
}

/// Changes one value of a JSON or XML document, or a byte of it.
pub fn mutate(body: Vec<u8>, random: &mut Rng, reach: Reach<'_>) -> Vec<u8> {
    let is_bytes = reach.is_everything() && random.u8(..4) == 0;
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
fn mutate_text(text: &str, random: &mut Rng, reach: Reach<'_>) -> String {
    let ends = text.match_indices("</").filter_map(|(end, _)| {
        let begin = text[..end].rfind('>')? + 1;
        let name = text[end + 2..].split('>').next()?;
        (reach.has_element(name) && text[..begin].ends_with(&format!("<{name}>"))).then_some(begin..end)
    });
    let leaves: Vec<_> = ends.collect();
    let Some(leaf) = random.choice(&leaves) else {
        return text.to_owned();
    };
    format!("{}{}{}", &text[..leaf.start], word(random), &text[leaf.end..])
}

/// Visits what may be mutated, and counts it.
fn leaves(value: &mut Value, reach: Reach<'_>, visit: &mut dyn FnMut(&mut Value)) -> usize {
    let mut count = 0;
    let is_leaf = !value.is_object() && !value.is_array();
    if is_leaf || reach.is_everything() {
        visit(value);
        count += 1;
    }
    match value {
        Value::Array(items) => items.iter_mut().for_each(|it| count += leaves(it, reach, visit)),
        Value::Object(fields) => {
            for (key, field) in fields {
                if reach.has_field(key) {
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

fn word(random: &mut Rng) -> String {
    match odd(random) {
        Value::String(text) => text,
        value => value.to_string(),
    }
}

/// Cuts an input short, or changes one byte of it.
fn damaged(mut body: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    let at = random.usize(..body.len());
    match random.bool() {
        true => body.truncate(at),
        false => body[at] = random.u8(..),
    }
    body
}

fn put(mut body: Vec<u8>, part: &[u8], random: &mut Rng) -> Vec<u8> {
    let at = random.usize(..=body.len());
    body.splice(at..at, part.iter().copied());
    body
}

/// Says a part several times.
fn repeated(body: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    let begin = random.usize(..body.len());
    let end = random.usize(begin..=body.len()).min(begin + 200);
    let times = [2, 3, 300][random.usize(..3)];
    let part = body[begin..end].repeat(times);
    put(body, &part, random)
}

fn without(mut body: Vec<u8>, random: &mut Rng) -> Vec<u8> {
    let begin = random.usize(..body.len());
    let end = random.usize(begin..=body.len());
    body.drain(begin..end);
    body
}

/// Has another number, if there is one at all.
fn renumbered(body: &[u8], random: &mut Rng) -> Vec<u8> {
    let digit = |at: &usize| body[*at].is_ascii_digit();
    let starts: Vec<usize> = (0..body.len())
        .filter(|at| digit(at) && (*at == 0 || !digit(&(at - 1))))
        .collect();
    let Some(&begin) = random.choice(&starts) else {
        return body.to_vec();
    };
    let end = (begin..body.len()).find(|at| !digit(at)).unwrap_or(body.len());
    let numbers = [
        "0",
        "-1",
        "18446744073709551615",
        "9223372036854775808",
        "1e308",
        "4294967296",
        "",
    ];
    let number = numbers[random.usize(..numbers.len())];
    [&body[..begin], number.as_bytes(), &body[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reader_that_panics_is_named_with_what_it_read() {
        let fails = std::panic::catch_unwind(|| {
            let corpus: &[&[u8]] = &[b"offset=1 bytes=2"];
            check(
                &[("numbers", corpus, &|input| assert!(!input.ends_with(b"551615")))],
                10_000,
            );
        });
        let said = *fails.unwrap_err().downcast::<String>().unwrap();
        assert!(
            said.starts_with("numbers, seed ") && said.ends_with("551615\""),
            "{said}"
        );
    }

    #[test]
    fn what_is_kept_is_kept() {
        let body = br#"{"id": "a", "state": "on"}"#.to_vec();
        for seed in 0..200 {
            let reach = Reach::Values(&["id"], &|_| true);
            let mutated = mutate(body.clone(), &mut Rng::with_seed(seed), reach);
            let value: Value = serde_json::from_slice(&mutated).unwrap();
            assert_eq!(value["id"], "a", "seed {seed}");
        }
    }
}
