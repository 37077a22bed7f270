//! The runs of a runner's boxes: each has a directory, a report and a receipt of its own, as every run. Of a box that is
//! gone nothing stays in memory.

use std::{collections::BTreeMap, sync::Arc};

use engine::runner::{Runs, pool::Standing};
use model::{
    event::{Event, EventRecord},
    name::{Label, RunId},
    plan::Plan,
    report::Report,
    verdict::Verdict,
    world::Events,
};
use parking_lot::Mutex;

use super::status;
use crate::{
    paths::Paths,
    show::{
        Fan,
        lines::{self, Weight},
        record::{self, Record},
        results,
        stream::Style,
        written,
    },
    world::{Kept, Watched},
};

/// The runs of the boxes that there are.
pub(super) struct BoxRuns {
    style: Style,
    paths: Paths,
    /// The runner's name.
    name: String,
    /// Which boxes may exist.
    standing: Arc<dyn Events>,
    /// Who reads the events of all boxes.
    readers: Vec<Arc<dyn Events>>,
    reports: Mutex<BTreeMap<RunId, Arc<Kept>>>,
    shown: Mutex<Option<Standing>>,
}

impl BoxRuns {
    /// Makes it without a run.
    pub(super) fn new(style: Style, paths: &Paths, name: &str, watched: &Watched) -> Self {
        let mut readers: Vec<Arc<dyn Events>> = vec![watched.standing.clone()];
        match watched.json() {
            Some(json) => readers.push(json),
            None => readers.push(Arc::new(Lines { style })),
        }
        Self {
            style,
            paths: paths.clone(),
            name: name.to_owned(),
            standing: watched.standing.clone(),
            readers,
            reports: Mutex::default(),
            shown: Mutex::default(),
        }
    }

    /// Returns who reads what is of no box.
    pub(super) fn readers(&self) -> Vec<Arc<dyn Events>> {
        self.readers.clone()
    }
}

impl Runs for BoxRuns {
    fn plan(&self, run: &RunId) -> Option<Plan> {
        record::read_plan(&self.paths.run(run)).ok()
    }

    fn open(&self, plan: &Plan) -> Result<Arc<dyn Events>, String> {
        let dir = self.paths.run(&plan.run);
        let cannot = |error: std::io::Error| format!("could not write to {dir}: {error}");
        if self.plan(&plan.run).is_none() {
            record::write_plan(&dir, plan).map_err(cannot)?;
        }
        // What an earlier process did of it.
        let before = record::read_event_records(&dir).unwrap_or_default();
        let record = Record::open(&dir, self.style).map_err(cannot)?;
        let mut report = Report::default();
        before.iter().for_each(|event| report.take(event));
        let report = Watched::kept(report);
        self.reports.lock().insert(plan.run.clone(), report.clone());
        let mut readers: Vec<Arc<dyn Events>> = vec![Arc::new(record), report];
        if let Some(lane) = plan.lanes.first() {
            let of_box = |readers| OfBox {
                label: lane.label.clone(),
                readers,
            };
            let standing = of_box(vec![self.standing.clone()]);
            before.into_iter().for_each(|event| standing.emit(event));
            readers.push(Arc::new(of_box(self.readers.clone())));
        }
        Ok(Arc::new(Fan(readers)))
    }

    fn ended(&self, plan: &Plan, verdict: Verdict) {
        let Some(kept) = self.reports.lock().remove(&plan.run) else {
            return;
        };
        let dir = self.paths.run(&plan.run);
        let mut report: Report = kept.report();
        report.verdict = Some(verdict);
        results::fill(&mut report, &dir);
        if let Err(error) = written::write(&report, &dir) {
            self.style.message(&format!(
                "warning: could not write the report into {dir}: {error}"
            ));
        }
    }

    fn standing(&self, standing: Standing) {
        let before = self.shown.lock().replace(standing);
        if before == Some(standing) {
            return;
        }
        // Whoever asks for it sees what was so before.
        drop(status::write(&self.paths, &self.name, standing));
        if self.style.is_quiet || self.style.is_json {
            return;
        }
        let Standing {
            assigned,
            starting,
            idle,
            busy,
            ending,
            left,
        } = standing;
        let left = if left > 0 {
            format!(", {left} not destroyed yet")
        } else {
            String::new()
        };
        self.style.message(&format!(
            "{assigned} jobs; boxes: {busy} with a job, {idle} waiting, {starting} starting, {ending} ending{left}"
        ));
    }
}

/// Hands the events of a box to who reads those of all: under the box's name, as all are of one lane.
struct OfBox {
    label: Label,
    readers: Vec<Arc<dyn Events>>,
}

impl Events for OfBox {
    fn emit(&self, mut record: EventRecord) {
        record.lane = Some(self.label.to_string());
        for reader in &self.readers {
            reader.emit(record.clone());
        }
    }
}

/// Prints a line for what people should see at once. Of the jobs' own output nothing is: it is in each box's report.
struct Lines {
    style: Style,
}

impl Events for Lines {
    fn emit(&self, record: EventRecord) {
        if matches!(record.event, Event::CheckOutput { .. } | Event::RunEnded { .. }) {
            return;
        }
        let is_seen = |weight| match weight {
            Weight::Problem => true,
            Weight::Usual => !self.style.is_quiet,
            Weight::Detail => self.style.verbosity > 0,
        };
        let mut report = Report::default();
        report.take(&record);
        if let Some(line) = lines::line(&record, &report).filter(|line| is_seen(line.weight)) {
            self.style.message(&line.text);
        }
    }
}
