//! The verification matrix: what one full cycle on a provider showed, and what may be said of a provider that no cycle
//! was run on. Keeps out: running it, and where the records are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    check::Outcome,
    event::Step,
    gate::GateFacts,
    lane::KvmNeed,
    name::{ProviderName, RunId},
    plan::LanePlan,
    report::{LaneReport, Report, Spent},
    time::Timestamp,
    verdict::Verdict,
};

/// All records that were made, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// The records.
    pub records: Vec<Record>,
}

/// One full cycle on one provider, with its evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Who provisioned the box, or was asked last for one.
    pub provider: ProviderName,
    /// Its size.
    pub instance_type: String,
    /// Where it was.
    pub region: String,
    /// The run that the evidence comes from.
    pub run: RunId,
    /// When the run began.
    pub began: Timestamp,
    /// How long the lane took, from the first step to the confirmed end, in seconds.
    pub seconds: f64,
    /// How the lane ended; none when its end was not seen.
    pub verdict: Option<Verdict>,
    /// What had to be shown, and whether it was.
    pub stages: Vec<Stage>,
    /// What the KVM gate found on the box.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub gate: Option<GateFacts>,
    /// What the boxes cost at list price.
    #[serde(skip_serializing_if = "Spent::is_nothing", default)]
    pub cost: Spent,
    /// Where the provider's API answered, when that was not the vendor's own address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stand_in: Option<String>,
    /// The commit of the first source, with `-dirty` where files had changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// The version of twolane.
    pub twolane: String,
}

/// One thing that a full cycle has to show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Its name, such as `cloud-init`, or the name of a check.
    pub name: String,
    /// Whether it was shown.
    #[serde(flatten)]
    pub proof: Proof,
    /// How long it took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seconds: Option<f64>,
}

/// Whether something was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "proof", rename_all = "kebab-case")]
pub enum Proof {
    /// It was.
    Shown,
    /// The lane does not ask for it.
    NotAsked,
    /// It was tried and failed, or was never reached.
    Missing {
        /// Why.
        why: String,
    },
}

/// What may be said of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "kebab-case")]
pub enum Status {
    /// Every stage was shown, against the vendor's own API.
    Verified,
    /// What the lane asked for was shown; this it did not ask for.
    InPart {
        /// The stages.
        without: Vec<String>,
    },
    /// The cycle was whole, but somebody else answered for the vendor.
    StandIn,
    /// A stage was not shown.
    Failed {
        /// Which, and why.
        why: String,
    },
    /// No cycle was ever run.
    NeverRun {
        /// How it was checked instead.
        instead: String,
    },
}

impl Status {
    /// Returns the status in words. Nobody but [`Status::Verified`] is called verified without an addition.
    pub fn words(&self) -> String {
        match self {
            Self::Verified => "verified".to_owned(),
            Self::InPart { without } => format!("verified in part: without {}", without.join(", ")),
            Self::StandIn => "checked against a stand-in of its API".to_owned(),
            Self::Failed { why } => format!("failed: {why}"),
            Self::NeverRun { instead } => instead.clone(),
        }
    }
}

/// What a record needs that the report does not tell.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Where the provider's API answered, when that was not the vendor's own address.
    pub stand_in: Option<String>,
    /// The commit of the first source.
    pub commit: Option<String>,
}

impl Record {
    /// Makes the record of a lane of a run. None: no candidate was ever tried, so that there is nothing to record.
    pub fn of(report: &Report, plan: &LanePlan, around: Around) -> Option<Self> {
        let lane = report.lanes.get(&plan.name)?;
        let (provider, instance_type, region) = match (&lane.machine, lane.rejected.last()) {
            (Some(machine), _) => (&machine.provider, &machine.instance_type, &machine.region),
            (None, Some((candidate, _))) => {
                (&candidate.provider, &candidate.instance_type, &candidate.region)
            }
            (None, None) => return None,
        };
        Some(Self {
            provider: provider.clone(),
            instance_type: instance_type.clone(),
            region: region.clone(),
            run: report.run.clone()?,
            began: report.began?,
            seconds: lane.seconds(),
            verdict: lane.verdict,
            stages: stages(lane, plan),
            gate: lane.gate.as_ref().map(|answer| answer.facts.clone()),
            cost: lane.spent(report.last?),
            stand_in: around.stand_in,
            commit: around.commit,
            twolane: report.version.clone(),
        })
    }

    /// Returns what may be said of the provider after this cycle.
    pub fn status(&self) -> Status {
        let missing = self.stages.iter().find_map(|stage| match &stage.proof {
            Proof::Missing { why } => Some(format!("{}: {why}", stage.name)),
            Proof::Shown | Proof::NotAsked => None,
        });
        if let Some(why) = missing {
            return Status::Failed { why };
        }
        if self.verdict != Some(Verdict::Passed) {
            let words = self.verdict.map_or("its end was not seen", Verdict::words);
            return Status::Failed {
                why: words.to_owned(),
            };
        }
        if self.stand_in.is_some() {
            return Status::StandIn;
        }
        let not_asked = |stage: &&Stage| stage.proof == Proof::NotAsked;
        let without: Vec<String> = self
            .stages
            .iter()
            .filter(not_asked)
            .map(|stage| stage.name.clone())
            .collect();
        if without.is_empty() {
            Status::Verified
        } else {
            Status::InPart { without }
        }
    }
}

impl LaneReport {
    /// Returns how long the lane took, from the begin of its first step to the end of its last, in seconds.
    fn seconds(&self) -> f64 {
        let Some(first) = self.steps.first() else {
            return 0.0;
        };
        let end = |step: &crate::report::StepReport| {
            crate::time::between(first.began, step.began).as_secs_f64() + step.seconds.unwrap_or_default()
        };
        self.steps.iter().map(end).fold(0.0, f64::max)
    }

    /// Returns whether a step was seen to end well, and how long it took.
    fn shown(&self, step: Step) -> (Proof, Option<f64>) {
        let Some(report) = self.steps.iter().rfind(|report| report.step == step) else {
            let why = self
                .failure
                .clone()
                .unwrap_or_else(|| "it was never reached".to_owned());
            return (
                Proof::Missing {
                    why: first_line(&why),
                },
                None,
            );
        };
        let proof = match (&report.failure, report.seconds) {
            (Some(why), _) => Proof::Missing { why: first_line(why) },
            (None, None) => Proof::Missing {
                why: "its end was not seen".to_owned(),
            },
            (None, Some(_)) => Proof::Shown,
        };
        (proof, report.seconds)
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Returns what a full cycle has to show, in order.
fn stages(lane: &LaneReport, plan: &LanePlan) -> Vec<Stage> {
    let step = |name: &str, step| {
        let (proof, seconds) = lane.shown(step);
        let name = name.to_owned();
        Stage { name, proof, seconds }
    };
    let asked = |is_asked: bool, stage: Stage| match is_asked {
        true => stage,
        false => Stage {
            proof: Proof::NotAsked,
            seconds: None,
            ..stage
        },
    };
    let mut stages = vec![
        step("provision", Step::Up),
        step("cloud-init", Step::Stage1),
        gate(lane, plan.need),
        step("sync", Step::Sync),
        asked(
            plan.has_deploy,
            step("build, and all daemons active", Step::Deploy),
        ),
    ];
    stages.extend(lane.checks.iter().map(|check| {
        let proof = match &check.outcome {
            Outcome::Passed => Proof::Shown,
            Outcome::Skipped { .. } => Proof::NotAsked,
            other => Proof::Missing {
                why: other.reason().unwrap_or_else(|| other.word()).to_owned(),
            },
        };
        Stage {
            name: check.name.clone(),
            proof,
            seconds: check.seconds,
        }
    }));
    let mut down = step("down, confirmed", Step::Down);
    // Only the provider's own word counts.
    if down.proof == Proof::Shown && lane.gone.is_none() {
        down.proof = Proof::Missing {
            why: lane
                .left
                .clone()
                .unwrap_or_else(|| "the provider did not confirm it".to_owned()),
        };
    }
    stages.push(down);
    stages
}

fn gate(lane: &LaneReport, need: KvmNeed) -> Stage {
    let proof = match &lane.gate {
        _ if !need.is_needed() => Proof::NotAsked,
        Some(answer) if answer.works => Proof::Shown,
        Some(answer) => Proof::Missing {
            why: answer.sentence.clone(),
        },
        None => Proof::Missing {
            why: "the gate did not answer".to_owned(),
        },
    };
    let seconds = lane
        .stage1
        .iter()
        .find(|step| step.step == "gate")
        .and_then(|step| step.seconds);
    Stage {
        name: "KVM gate".to_owned(),
        proof,
        seconds,
    }
}

/// One row of the matrix: a provider and an instance type, and the last cycle on it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row<'a> {
    /// The provider.
    pub provider: &'a str,
    /// The last record, if there is one.
    pub record: Option<&'a Record>,
    /// What may be said.
    #[serde(flatten)]
    pub status: Status,
}

impl Matrix {
    /// Returns a row for each provider and instance type that a cycle was run on, with the last one, and one for each
    /// of `known` without any: its name, and how it was checked instead.
    pub fn rows<'a>(&'a self, known: &'a [(String, String)]) -> Vec<Row<'a>> {
        let mut last: BTreeMap<(&str, &str), &Record> = BTreeMap::new();
        for record in &self.records {
            let place = (record.provider.as_str(), record.instance_type.as_str());
            let newest = last.entry(place).or_insert(record);
            if record.began >= newest.began {
                *newest = record;
            }
        }
        let never = known
            .iter()
            .filter(|(name, _)| !last.keys().any(|(provider, _)| provider == name))
            .map(|(name, instead)| Row {
                provider: name,
                record: None,
                status: Status::NeverRun {
                    instead: instead.clone(),
                },
            });
        let ran = last.values().map(|record| Row {
            provider: record.provider.as_str(),
            record: Some(record),
            status: record.status(),
        });
        ran.chain(never).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(provider: &str, began: i64, proofs: &[(&str, Proof)]) -> Record {
        Record {
            provider: ProviderName::new(provider).unwrap(),
            instance_type: "2x4g".to_owned(),
            region: "here".to_owned(),
            run: RunId::new("20261123-120000-abcd").unwrap(),
            began: Timestamp::from_second(began).unwrap(),
            seconds: 60.0,
            verdict: Some(Verdict::Passed),
            stages: proofs
                .iter()
                .map(|(name, proof)| Stage {
                    name: (*name).to_owned(),
                    proof: proof.clone(),
                    seconds: None,
                })
                .collect(),
            gate: None,
            cost: Spent::default(),
            stand_in: None,
            commit: None,
            twolane: "0.1.0".to_owned(),
        }
    }

    fn missing(why: &str) -> Proof {
        Proof::Missing { why: why.to_owned() }
    }

    #[test]
    fn only_a_whole_cycle_on_the_real_api_is_verified() {
        let whole = record("aws", 1, &[("provision", Proof::Shown), ("smoke", Proof::Shown)]);
        assert_eq!(whole.status().words(), "verified");

        let part = record(
            "aws",
            1,
            &[("provision", Proof::Shown), ("smoke", Proof::NotAsked)],
        );
        assert_eq!(part.status().words(), "verified in part: without smoke");

        let fake = Record {
            stand_in: Some("http://127.0.0.1:1".to_owned()),
            ..whole.clone()
        };
        assert_eq!(fake.status().words(), "checked against a stand-in of its API");

        let unfinished = Record {
            verdict: None,
            ..whole.clone()
        };
        assert_eq!(unfinished.status().words(), "failed: its end was not seen");

        // A stand-in does not hide a failure, and a passed lane not a stage that nobody saw.
        let failed = Record {
            stages: vec![Stage {
                name: "down, confirmed".to_owned(),
                proof: missing("the provider did not confirm it"),
                seconds: None,
            }],
            ..fake
        };
        assert_eq!(
            failed.status().words(),
            "failed: down, confirmed: the provider did not confirm it"
        );
    }

    #[test]
    fn the_last_cycle_counts_and_who_never_ran_says_so() {
        let matrix = Matrix {
            records: vec![
                record("local", 5, &[("provision", Proof::Shown)]),
                record("local", 3, &[("provision", missing("no"))]),
            ],
        };
        let known = ["aws", "local"].map(|name| (name.to_owned(), "checked against its fake".to_owned()));
        let rows: Vec<(String, String)> = matrix
            .rows(&known)
            .iter()
            .map(|row| (row.provider.to_owned(), row.status.words()))
            .collect();
        let expected = [("local", "verified"), ("aws", "checked against its fake")];
        assert_eq!(
            rows,
            expected.map(|(name, words)| (name.to_owned(), words.to_owned()))
        );
    }

    #[test]
    fn records_outlive_a_trip_through_json() {
        let matrix = Matrix {
            records: vec![record(
                "local",
                5,
                &[("a", Proof::Shown), ("b", Proof::NotAsked), ("c", missing("why"))],
            )],
        };
        let text = serde_json::to_string(&matrix).unwrap();
        assert_eq!(serde_json::from_str::<Matrix>(&text).unwrap(), matrix);
    }
}
