//! Makes one lane of a plan several: one for each box that shares its tests.

use super::LanePlan;
use crate::{
    build::Suite,
    check::Check,
    name::Label,
    part::{Past, Selection, Share},
    shards::distribute,
};

/// Shares a lane over so many boxes, or over fewer where there is not enough to run, and says what stands in the way.
/// `label` makes the name of each box.
pub fn share(
    lane: LanePlan,
    count: u32,
    past: &Past,
    mut label: impl FnMut(&str) -> Label,
) -> (Vec<LanePlan>, Vec<String>) {
    let mut notes = Vec::new();
    let boxes = checks_of_boxes(&lane, count as usize, past, &mut notes);
    let used: Vec<Vec<Check>> = boxes
        .into_iter()
        .filter(|checks| checks.iter().any(|check| !check.is_setup))
        .collect();
    if used.len() < count as usize {
        let (name, used) = (&lane.name, used.len());
        notes.push(format!(
            "{name}: there is enough to run for {used} of {count} boxes"
        ));
    }
    let count = used.len() as u32;
    if count <= 1 {
        return (vec![lane], notes);
    }
    let part = |(number, checks): (u32, Vec<Check>)| {
        let name = format!("{}.{number}", lane.name);
        LanePlan {
            label: label(&name),
            name,
            checks,
            share: Some(Share {
                of: lane.name.clone(),
                number,
                count,
            }),
            ..lane.clone()
        }
    };
    ((1..).zip(used).map(part).collect(), notes)
}

/// Returns the checks of each box. What prepares a box runs on every one, what cannot be shared on the first.
fn checks_of_boxes(lane: &LanePlan, count: usize, past: &Past, notes: &mut Vec<String>) -> Vec<Vec<Check>> {
    let past = |check: &Check| past.get(&(lane.name.clone(), check.name.clone()));
    let mut loads = vec![0.0; count];
    let shared =
        |check: &Check| !check.is_setup && !check.reboot && matches!(Suite::read(check), Some(Ok(_)));
    for check in lane.checks.iter().filter(|check| !shared(check)) {
        loads[0] += past(check).map_or(0.0, |past| past.seconds);
    }
    let mut boxes: Vec<Vec<Check>> = vec![Vec::new(); count];
    for check in &lane.checks {
        if check.is_setup {
            boxes.iter_mut().for_each(|checks| checks.push(check.clone()));
            continue;
        }
        let tests = past(check)
            .map(|past| &past.tests)
            .filter(|tests| !tests.is_empty());
        let parts = match tests {
            _ if !shared(check) => Err(None),
            Some(tests) => parts_of(check, distribute(tests, &mut loads)),
            None => parts_of(check, by_hash(count)),
        };
        match parts {
            Ok(parts) => {
                for (checks, part) in boxes.iter_mut().zip(parts) {
                    checks.extend(part);
                }
            }
            Err(why) => {
                boxes[0].push(check.clone());
                let why = why.map(|why| format!("{}: {} runs on one box: {why}", lane.name, check.name));
                notes.extend(why);
            }
        }
    }
    boxes
}

fn by_hash(count: usize) -> Vec<Option<Selection>> {
    let count = count as u32;
    (1..=count)
        .map(|number| Some(Selection::Hash { number, count }))
        .collect()
}

fn parts_of(check: &Check, selections: Vec<Option<Selection>>) -> Result<Vec<Option<Check>>, Option<String>> {
    let part = |selection: Option<Selection>| selection.map(|selection| check.part(&selection)).transpose();
    selections
        .into_iter()
        .map(part)
        .collect::<Result<_, _>>()
        .map_err(Some)
}
