//! A lane that is shared over several boxes: which box runs which tests, and who takes over what a lost box leaves.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    check::Check,
    part::{Part, Selection},
};

/// Tests that are named for a box at most, and the bytes of their names: one argument of a program has 128 KiB.
const NAMES_MAX: usize = 1_000;
const NAMES_BYTES_MAX: usize = 60_000;

/// Shares out tests: for each box which it runs; none where it has none. Every test has one box, and what is not known yet
/// has one too. `loads` are the seconds that the boxes have to do, and have to do then.
pub fn distribute(tests: &BTreeMap<String, Option<f64>>, loads: &mut [f64]) -> Vec<Option<Selection>> {
    let known: Vec<f64> = tests.values().flatten().copied().collect();
    let usual = match known.is_empty() {
        true => 1.0,
        false => known.iter().sum::<f64>() / known.len() as f64,
    };
    let mut by_length: Vec<(f64, &str)> = tests
        .iter()
        .map(|(name, seconds)| (seconds.unwrap_or(usual).max(0.0), name.as_str()))
        .collect();
    by_length.sort_by(|(one, a), (other, b)| other.total_cmp(one).then(a.cmp(b)));
    let mut bytes = 0;
    let (mut items, mut rest) = (Vec::new(), 0.0);
    for (seconds, name) in by_length {
        let is_named = is_plain(name) && items.len() < NAMES_MAX && bytes + name.len() <= NAMES_BYTES_MAX;
        if is_named {
            bytes += name.len();
            items.push((seconds, Some(name)));
        } else {
            rest += seconds;
        }
    }
    // What nobody names, known or not, is one piece.
    let at = items
        .iter()
        .position(|(seconds, _)| *seconds < rest)
        .unwrap_or(items.len());
    items.insert(at, (rest, None));
    let mut boxes: Vec<Vec<String>> = vec![Vec::new(); loads.len()];
    let mut has_rest = 0;
    for (seconds, name) in items {
        let lightest = (0..loads.len()).min_by(|a, b| loads[*a].total_cmp(&loads[*b]));
        let Some(lightest) = lightest else {
            return Vec::new();
        };
        loads[lightest] += seconds;
        match name {
            Some(name) => boxes[lightest].push(name.to_owned()),
            None => has_rest = lightest,
        }
    }
    let others = |own: usize| {
        let others = boxes.iter().enumerate().filter(move |(number, _)| *number != own);
        others.flat_map(|(_, names)| names.iter().cloned()).collect()
    };
    let of = |number: usize| match (number == has_rest, boxes[number].is_empty()) {
        (true, _) => Some(Selection::Except(others(number))),
        (false, true) => None,
        (false, false) => Some(Selection::Named(boxes[number].clone())),
    };
    (0..loads.len()).map(of).collect()
}

/// Returns whether a test's name means itself in a shell, in a filterset and in an argument.
fn is_plain(name: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.');
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') && name.chars().all(is_part)
}

impl Check {
    /// Returns the part of the check that has these of its tests; or why its command cannot be given in parts.
    pub fn part(&self, selection: &Selection) -> Result<Self, String> {
        let whole = match &self.part {
            Some(part) => &part.whole,
            None => &self.run,
        };
        Ok(Self {
            run: selection.of(whole)?,
            part: Some(Part {
                whole: whole.clone(),
                selection: selection.clone(),
            }),
            is_part: true,
            ..self.clone()
        })
    }

    /// Returns what is left of the check when these of its tests have ended; none where that is nothing. What a box of a
    /// shared lane leaves is run by the box of another.
    pub fn left(&self, ended: &BTreeSet<String>) -> Option<Self> {
        let Some(part) = &self.part else {
            return Some(self.clone());
        };
        let selection = match &part.selection {
            Selection::Named(names) => {
                let left: Vec<String> = names
                    .iter()
                    .filter(|name| !ended.contains(*name))
                    .cloned()
                    .collect();
                if left.is_empty() {
                    return None;
                }
                Selection::Named(left)
            }
            Selection::Except(names) => {
                let plain = ended
                    .iter()
                    .filter(|name| is_plain(name) && !names.contains(name));
                Selection::Except(names.iter().chain(plain).cloned().collect())
            }
            // What is left out would move the others.
            Selection::Hash { .. } | Selection::Matching(_) => return Some(self.clone()),
        };
        Some(self.part(&selection).unwrap_or_else(|_| self.clone()))
    }
}

/// How far a box of a shared lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxState {
    /// It has something to do, or is not there yet.
    Working,
    /// It is through, and waits.
    Waiting,
    /// It is through, or lost.
    Over,
}

/// What a box does that is through with its own part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Takes over what a lost box left.
    TakeOver,
    /// Waits, in case that one is lost.
    Wait,
    /// Ends.
    Leave,
}

/// Decides what a box does that is through: one waits for those that are not, so that what a lost box leaves finds a box that
/// is ready, and all others end, as they cost money.
pub fn next(is_left: bool, others: impl IntoIterator<Item = BoxState>) -> Next {
    if is_left {
        return Next::TakeOver;
    }
    let (mut is_working, mut is_waiting) = (false, false);
    for other in others {
        is_working |= other == BoxState::Working;
        is_waiting |= other == BoxState::Waiting;
    }
    match is_working && !is_waiting {
        true => Next::Wait,
        false => Next::Leave,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns which boxes run a test.
    fn homes(shares: &[Option<Selection>], test: &str) -> Vec<usize> {
        let runs = |selection: &Option<Selection>| match selection {
            Some(Selection::Named(names)) => names.iter().any(|name| name == test),
            Some(Selection::Except(names)) => !names.iter().any(|name| name == test),
            Some(Selection::Hash { .. } | Selection::Matching(_)) => panic!("{selection:?}"),
            None => false,
        };
        (0..shares.len())
            .filter(|number| runs(&shares[*number]))
            .collect()
    }

    /// Lengths like those of a suite of 1,000 tests: most take milliseconds, some seconds, a few a minute.
    fn suite(seed: u64) -> BTreeMap<String, Option<f64>> {
        let mut state = seed;
        let mut draw = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        let one = |number| {
            // Log-normal, as lengths of tests are: a median of 0.2 s, one in a hundred above 10 s.
            let normal: f64 = (0..12).map(|_| draw()).sum::<f64>() - 6.0;
            (
                format!("m::test_{number}"),
                Some((0.2 * (1.7 * normal).exp()).min(60.0)),
            )
        };
        (0..1_000).map(one).collect()
    }

    #[test]
    fn eight_boxes_are_nearly_eight_times_as_fast() {
        for seed in 0..200 {
            let tests = suite(seed);
            let mut loads = [0.0; 8];
            distribute(&tests, &mut loads);
            let all: f64 = tests.values().flatten().sum();
            let slowest = loads.iter().copied().fold(0.0, f64::max);
            assert!(all / slowest >= 6.4, "seed {seed}: {:.2} times", all / slowest);
            assert!(slowest <= 1.1 * all / 8.0, "seed {seed}: {loads:?}");
        }
    }

    proptest! {
        #[test]
        fn every_test_has_one_box(
            tests in prop::collection::btree_map("[a-c ']{1,4}", prop::option::of(0.0..100.0_f64), 0..60),
            boxes in 1..12_usize,
            other in "[a-z ]{1,5}",
        ) {
            let shares = distribute(&tests, &mut vec![0.0; boxes]);
            for test in tests.keys().chain([&other]) {
                prop_assert_eq!(homes(&shares, test).len(), 1, "{} of {:?}", test, shares);
            }
        }

        #[test]
        fn what_is_left_is_what_has_not_ended(
            tests in prop::collection::btree_set("[a-c]{1,3}", 1..30),
            ended in prop::collection::btree_set("[a-c]{1,3}", 0..30),
            boxes in 1..5_usize,
        ) {
            let past = tests.iter().map(|test| (test.clone(), Some(1.0))).collect();
            for share in distribute(&past, &mut vec![0.0; boxes]).into_iter().flatten() {
                let part = Check::new("tests", "cargo nextest run").part(&share).unwrap();
                let left = part.left(&ended).map(|check| check.part.unwrap().selection);
                for test in &tests {
                    let was_own = !homes(&[Some(share.clone())], test).is_empty();
                    let is_left = !homes(std::slice::from_ref(&left), test).is_empty();
                    prop_assert_eq!(is_left, was_own && !ended.contains(test), "{} of {:?}", test, left);
                }
            }
        }

        #[test]
        fn one_box_waits_while_another_works(states in prop::collection::vec(0..3_u8, 0..6)) {
            let state = |number: &u8| match number {
                0 => BoxState::Working,
                1 => BoxState::Waiting,
                _ => BoxState::Over,
            };
            let is_working = states.contains(&0);
            let is_waiting = states.contains(&1);
            let expected = if is_working && !is_waiting { Next::Wait } else { Next::Leave };
            prop_assert_eq!(next(false, states.iter().map(state)), expected);
            prop_assert_eq!(next(true, states.iter().map(state)), Next::TakeOver);
        }
    }

    #[test]
    fn long_names_and_those_of_macros_are_left_to_one_box() {
        let mut tests: BTreeMap<_, _> = (0..3_000)
            .map(|number| (format!("t{number}"), Some(1.0)))
            .collect();
        tests.insert("case (\"a b\")".to_owned(), Some(900.0));
        let shares = distribute(&tests, &mut [0.0; 4]);
        let named: Vec<&Selection> = shares.iter().flatten().collect();
        let rest = named.iter().find_map(|selection| match selection {
            Selection::Except(names) => Some(names),
            _ => None,
        });
        assert!(rest.unwrap().len() <= NAMES_MAX);
        assert_eq!(homes(&shares, "case (\"a b\")").len(), 1);
        assert_eq!(homes(&shares, "t2999").len(), 1);
    }
}
