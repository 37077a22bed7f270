//! The recording of a run: its events, and what its checks wrote, in the run's directory.
//! A full disk warns once and stops nothing.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    event::{Event, EventRecord},
    name::RunId,
    plan::Plan,
    report::{LaneReport, PastReport, Report},
    world::Events,
};
use parking_lot::Mutex;

use super::stream::Style;
use crate::paths::Paths;

/// The file of a run's plan.
pub(crate) const PLAN: &str = "plan.json";
/// The file of a run's events, one a line.
pub(crate) const EVENTS: &str = "events.jsonl";

/// The file of a run's report, for programs.
pub(super) const REPORT: &str = "report.json";
/// Earlier runs that a report knows.
const PAST_RUNS_MAX: usize = 10;
/// Earlier runs that are looked at: those of other projects lie between.
const PAST_RUNS_LOOKED_AT: usize = 60;
/// In bytes.
const PAST_REPORT_MAX: u64 = 16 << 20;

/// Records a run. Every event is in its file when `emit` returns, so that a killed client loses none.
pub(crate) struct Record {
    dir: Utf8PathBuf,
    style: Style,
    open: Mutex<Open>,
}

struct Open {
    events: File,
    logs: BTreeMap<(String, String), File>,
    is_broken: bool,
}

impl Record {
    /// Makes the run's directory and goes on with what is there of its events.
    pub(crate) fn open(dir: &Utf8Path, style: Style) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut events = private().read(true).append(true).open(dir.join(EVENTS))?;
        // A line that was cut when the last client was killed must not swallow the next one.
        let length = events.metadata()?.len();
        let mut last = [b'\n'];
        if length > 0 {
            events.read_exact_at(&mut last, length - 1)?;
        }
        if last != [b'\n'] {
            events.write_all(b"\n")?;
        }
        Ok(Self {
            dir: dir.to_owned(),
            style,
            open: Mutex::new(Open {
                events,
                logs: BTreeMap::new(),
                is_broken: false,
            }),
        })
    }

    fn write(&self, record: &EventRecord) -> io::Result<()> {
        let mut open = self.open.lock();
        match (&record.event, &record.lane) {
            (Event::CheckOutput { check, offset, bytes }, Some(lane)) => {
                let key = (lane.clone(), check.clone());
                if !open.logs.contains_key(&key) {
                    let path = log_path(&self.dir, lane, check);
                    fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
                    open.logs.insert(key.clone(), private().write(true).open(path)?);
                }
                open.logs[&key].write_all_at(bytes, *offset)
            }
            // What it says is in the check's output.
            (Event::CheckOutput { .. }, None) | (Event::CheckProgress { .. }, _) => Ok(()),
            (event, lane) => {
                if let (Event::CandidateRejected { .. }, Some(lane)) = (event, lane) {
                    // On its box checks may have begun that begin anew on another.
                    open.logs.retain(|(of, _), _| of != lane);
                    gone_or(fs::remove_dir_all(logs_dir(&self.dir, lane)))?;
                }
                if let (Event::CheckTakenOver { check }, Some(lane)) = (event, lane) {
                    // A process that died may have taken over what its box left of the same check.
                    open.logs.remove(&(lane.clone(), check.slug.clone()));
                    gone_or(fs::remove_file(log_path(&self.dir, lane, &check.slug)))?;
                }
                let mut line = serde_json::to_vec(record)?;
                line.push(b'\n');
                open.events.write_all(&line)
            }
        }
    }
}

impl Events for Record {
    fn emit(&self, record: EventRecord) {
        let Err(error) = self.write(&record) else {
            return;
        };
        let mut open = self.open.lock();
        if !std::mem::replace(&mut open.is_broken, true) {
            self.style.message(&format!(
                "warning: could not record all of the run in {}\n  because: {error}\n  help: the run goes on; \
                 its report will not be complete",
                self.dir
            ));
        }
    }
}

fn gone_or(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn logs_dir(run_dir: &Utf8Path, lane: &str) -> Utf8PathBuf {
    run_dir.join(lane).join("checks")
}

/// Returns the file of what a check wrote.
pub(crate) fn log_path(run_dir: &Utf8Path, lane: &str, slug: &str) -> Utf8PathBuf {
    logs_dir(run_dir, lane).join(format!("{slug}.log"))
}

/// Finds a file that was brought back, by its path in the source's directory.
pub(super) fn find(run_dir: &Utf8Path, lane: &LaneReport, wanted: &str) -> Result<Utf8PathBuf, String> {
    let wanted = Utf8Path::new(wanted);
    lane.files
        .iter()
        .map(|file| run_dir.join(file))
        .find(|path| path.ends_with(wanted))
        .ok_or_else(|| "it was not collected".to_owned())
}

/// Writes the plan into the run's directory, whole or not at all.
pub(crate) fn write_plan(run_dir: &Utf8Path, plan: &Plan) -> io::Result<()> {
    write_whole(&run_dir.join(PLAN), &serde_json::to_vec_pretty(plan)?)
}

/// Reads the plan of a run.
pub(crate) fn read_plan(run_dir: &Utf8Path) -> io::Result<Plan> {
    Ok(serde_json::from_slice(&fs::read(run_dir.join(PLAN))?)?)
}

/// Reads the report of a run from its events. A line that was cut off, or is of a newer version, is left out.
pub(crate) fn read_report(run_dir: &Utf8Path) -> io::Result<Report> {
    let mut report = Report::default();
    for record in read_event_records(run_dir)? {
        report.take(&record);
    }
    Ok(report)
}

/// Returns the runs that are kept, oldest first.
pub(crate) fn runs(paths: &Paths) -> Vec<RunId> {
    runs_in(&paths.runs())
}

fn runs_in(dir: &Utf8Path) -> Vec<RunId> {
    let Ok(entries) = dir.read_dir_utf8() else {
        return Vec::new();
    };
    let mut runs: Vec<RunId> = entries
        .filter_map(|entry| RunId::new(entry.ok()?.file_name()).ok())
        .filter(|run| dir.join(run.as_str()).join(EVENTS).exists())
        .collect();
    runs.sort();
    runs
}

/// Returns the reports of the project's runs before this one, the latest first.
pub(super) fn past_reports(run_dir: &Utf8Path, project: &str) -> Vec<PastReport> {
    let Some((runs_dir, this)) = run_dir.parent().zip(run_dir.file_name()) else {
        return Vec::new();
    };
    let earlier = runs_in(runs_dir).into_iter().rev();
    earlier
        .filter(|run| run.as_str() < this)
        .take(PAST_RUNS_LOOKED_AT)
        .filter_map(|run| read_past(&runs_dir.join(run.as_str()).join(REPORT)))
        .filter(|past| past.is_of(project))
        .take(PAST_RUNS_MAX)
        .collect()
}

/// A report that is too big to be read beside others counts as unknown.
fn read_past(path: &Utf8Path) -> Option<PastReport> {
    let is_small = fs::metadata(path).ok()?.len() <= PAST_REPORT_MAX;
    serde_json::from_slice(&is_small.then(|| fs::read(path).ok())??).ok()
}

/// Reads the events of a run, in the same way.
pub(crate) fn read_event_records(run_dir: &Utf8Path) -> io::Result<Vec<EventRecord>> {
    let events = fs::read(run_dir.join(EVENTS))?;
    let lines = events.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

/// Writes a file so that it is there whole or not at all. Only this user can read it.
pub(crate) fn write_whole(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    write_with_mode(path, bytes, 0o600)
}

/// Writes a file of the project, which everyone may read: whole or not at all.
pub(crate) fn write_shared(path: &Utf8Path, bytes: &[u8]) -> io::Result<()> {
    write_with_mode(path, bytes, 0o644)
}

fn write_with_mode(path: &Utf8Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Utf8Path::new("."));
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.create(true).truncate(false).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use anstream::ColorChoice;
    use model::{candidate::Candidate, check::Check, name::ProviderName, verdict::Verdict};

    use super::*;

    const STYLE: Style = Style {
        is_json: false,
        verbosity: 0,
        is_quiet: false,
        color: ColorChoice::Never,
    };

    fn event_record(lane: Option<&str>, event: Event) -> EventRecord {
        EventRecord::new("2026-01-02T03:04:05Z".parse().unwrap(), lane, event)
    }

    fn output(offset: u64, bytes: &[u8]) -> EventRecord {
        event_record(
            Some("no-kvm"),
            Event::CheckOutput {
                check: "test".into(),
                offset,
                bytes: bytes.to_vec(),
            },
        )
    }

    #[test]
    fn output_stands_at_its_offset_however_often_it_comes() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let record = Record::open(dir, STYLE).unwrap();
        record.emit(output(0, b"one "));
        record.emit(output(4, b"two"));
        let again = Record::open(dir, STYLE).unwrap();
        again.emit(output(0, b"one two \xff"));
        assert_eq!(
            fs::read(log_path(dir, "no-kvm", "test")).unwrap(),
            b"one two \xff"
        );
    }

    #[test]
    fn output_of_a_box_that_was_rejected_is_not_mixed_with_the_next_ones() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let record = Record::open(dir, STYLE).unwrap();
        record.emit(output(0, b"a long line"));
        let candidate = Candidate {
            provider: ProviderName::new("aws").unwrap(),
            region: "us-east-1".into(),
            instance_type: "c8i.xlarge".into(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        };
        let why = "taken back".to_owned();
        record.emit(event_record(
            Some("no-kvm"),
            Event::CandidateRejected { candidate, why },
        ));
        record.emit(output(0, b"short"));
        assert_eq!(fs::read(log_path(dir, "no-kvm", "test")).unwrap(), b"short");
    }

    #[test]
    fn what_is_taken_over_again_has_a_log_of_its_own() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        let record = Record::open(dir, STYLE).unwrap();
        let taken_over = || {
            let check = Check::new("test", "cargo test");
            event_record(Some("no-kvm"), Event::CheckTakenOver { check })
        };
        record.emit(taken_over());
        record.emit(output(0, b"a long line"));
        record.emit(taken_over());
        record.emit(output(0, b"short"));
        assert_eq!(fs::read(log_path(dir, "no-kvm", "test")).unwrap(), b"short");
    }

    #[test]
    fn a_line_that_was_cut_off_costs_only_itself() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::write(dir.join(EVENTS), "{\"v\":1,\"at\":\"2026-01").unwrap();
        let record = Record::open(dir, STYLE).unwrap();
        record.emit(event_record(
            None,
            Event::RunEnded {
                verdict: Verdict::Passed,
            },
        ));
        assert_eq!(read_report(dir).unwrap().verdict, Some(Verdict::Passed));
    }
}
