//! Takes the candidates out of a plan that cannot serve their lane, or are too dear for it.

use serde::Serialize;

use super::{LanePlan, Plan, PlanMistake, cost::worst, why_dear};
use crate::{candidate::Candidate, error::ProviderError, lane::KvmNeed, money::Money, price::Price};

/// One candidate that was rejected, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// The lane that it was to serve.
    pub lane: String,
    /// Which.
    pub candidate: Candidate,
    /// Why.
    pub why: String,
    /// What the user can do about it.
    pub help: Option<String>,
}

/// What is known of candidates without a call.
pub struct Judge<'a> {
    /// Returns why a candidate can give no such box: its provider has no credentials here, or its type has no KVM.
    pub unable: &'a dyn Fn(&Candidate, KvmNeed) -> Option<ProviderError>,
    /// Returns what a candidate costs.
    pub price: &'a dyn Fn(&Candidate) -> Price,
}

/// Takes the candidates out of a plan that cannot serve their lane, or could cost more than its `max_cost`. Returns them,
/// and what is wrong: a lane that would lose all of them keeps them, to be shown, and is not to be carried out.
pub fn refuse(plan: &mut Plan, judge: &Judge<'_>) -> (Vec<Refused>, Vec<PlanMistake>) {
    let mut fallen = Vec::new();
    let mut mistakes = Vec::new();
    for lane in &mut plan.lanes {
        let refused: Vec<Refused> = lane
            .candidates
            .iter()
            .filter_map(|candidate| judge.refuse(lane, candidate))
            .collect();
        if refused.len() == lane.candidates.len() {
            mistakes.extend(none_left(lane, &refused));
            continue;
        }
        let is_left = |candidate: &Candidate| refused.iter().all(|refused| refused.candidate != *candidate);
        lane.candidates.retain(is_left);
        fallen.extend(refused);
    }
    for limit in &plan.max_cost {
        if !mistakes.is_empty() {
            break;
        }
        match within(&mut plan.lanes, limit, &plan.max_cost, judge) {
            Ok(refused) => fallen.extend(refused),
            Err(mistake) => mistakes.push(mistake),
        }
    }
    (fallen, mistakes)
}

/// Takes candidates out until all lanes together cannot cost more than `limit`, one of the limits, whoever serves them: the
/// dearest one first, of a lane that keeps another. What costs another currency counts nothing here. The lanes stay as they
/// are when that cannot be.
fn within(
    lanes: &mut [LanePlan],
    limit: &Money,
    limits: &[Money],
    judge: &Judge<'_>,
) -> Result<Vec<Refused>, PlanMistake> {
    let help = "raise `--max-cost`, shorten `ttl`, or run fewer lanes at once";
    let none = |because: Vec<String>| PlanMistake {
        message: format!("the run could cost more than {limit}"),
        because,
        help: Some(help.to_owned()),
    };
    let mut left: Vec<Vec<(Candidate, i64)>> = Vec::new();
    let mut refused = Vec::new();
    let mut refuse = |lane: &LanePlan, candidate: &Candidate, why: String| {
        refused.push(Refused {
            lane: lane.name.clone(),
            candidate: candidate.clone(),
            why,
            help: Some(help.to_owned()),
        });
    };
    for lane in lanes.iter() {
        let mut priced = Vec::new();
        let mut reasons = Vec::new();
        for candidate in &lane.candidates {
            match worst(&(judge.price)(candidate), lane.ttl, limits) {
                Ok(cost) => {
                    let counts = cost.filter(|cost| cost.currency == limit.currency);
                    priced.push((candidate.clone(), counts.map_or(0, |cost| cost.micros)));
                }
                Err(why) => {
                    reasons.push(format!("{}: {candidate}: {why}", lane.name));
                    refuse(lane, candidate, why);
                }
            }
        }
        if priced.is_empty() && !lane.candidates.is_empty() {
            return Err(none(reasons));
        }
        left.push(priced);
    }
    let dearest =
        |priced: &Vec<(Candidate, i64)>| priced.iter().map(|(_, micros)| *micros).max().unwrap_or(0);
    while left.iter().map(dearest).sum::<i64>() > limit.micros {
        let droppable = left.iter().enumerate().filter(|(_, priced)| {
            let cheapest = priced.iter().map(|(_, micros)| *micros).min();
            cheapest < Some(dearest(priced))
        });
        let Some(index) = droppable
            .max_by_key(|(_, priced)| dearest(priced))
            .map(|(index, _)| index)
        else {
            let lines = lanes.iter().zip(&left).map(|(lane, priced)| {
                let worst = Money {
                    micros: dearest(priced),
                    currency: limit.currency.clone(),
                };
                format!(
                    "lane {} could cost {worst} until its deadline, at least",
                    lane.name
                )
            });
            return Err(none(lines.collect()));
        };
        let most = dearest(&left[index]);
        let (gone, stays) = std::mem::take(&mut left[index])
            .into_iter()
            .partition(|(_, micros)| *micros == most);
        left[index] = stays;
        for (candidate, _) in gone {
            let why = format!("with it the run could cost more than {limit}");
            refuse(&lanes[index], &candidate, why);
        }
    }
    for (lane, priced) in lanes.iter_mut().zip(left) {
        lane.candidates = priced.into_iter().map(|(candidate, _)| candidate).collect();
    }
    Ok(refused)
}

impl Judge<'_> {
    fn refuse(&self, lane: &LanePlan, candidate: &Candidate) -> Option<Refused> {
        let (why, help) = match (self.unable)(candidate, lane.need) {
            Some(error) => (error.cause, error.help),
            None => (self.dear(lane, candidate)?, Some(dear_help(lane))),
        };
        Some(Refused {
            lane: lane.name.clone(),
            candidate: candidate.clone(),
            why,
            help,
        })
    }

    fn dear(&self, lane: &LanePlan, candidate: &Candidate) -> Option<String> {
        why_dear(&(self.price)(candidate), lane.ttl, &lane.max_cost)
    }
}

fn dear_help(lane: &LanePlan) -> String {
    format!("raise `max-cost` or shorten `ttl` of [lanes.{}]", lane.name)
}

/// A plan that is wrong elsewhere may have a lane without a candidate: another mistake says so already.
fn none_left(lane: &LanePlan, refused: &[Refused]) -> Option<PlanMistake> {
    let mut helps: Vec<&str> = refused
        .iter()
        .filter_map(|refused| refused.help.as_deref())
        .collect();
    helps.dedup();
    let is_same = |a: &Refused, b: &Refused| a.candidate.provider == b.candidate.provider && a.why == b.why;
    let because = refused.chunk_by(is_same).map(|same| match same {
        [one] => format!("{}: {}", one.candidate, one.why),
        several => format!("{}: {}", several[0].candidate.provider, several[0].why),
    });
    (!refused.is_empty()).then(|| PlanMistake {
        message: format!("no box for lane {}", lane.name),
        because: because.collect(),
        help: (!helps.is_empty()).then(|| helps.join("\n")),
    })
}
