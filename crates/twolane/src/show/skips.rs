//! What the tests of a run asked for, read from the records that came back; and in words, with what no lane really ran.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Read},
};

use anstyle::{AnsiColor, Style};
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    plan::Plan,
    report::{CheckReport, LaneReport, Report},
    skips::{
        Baseline, Half, Judged, LaneRecords, Proposal, Record, Split, TestSplit, judge, judge_results,
        suite_arguments,
    },
};

use super::{clean::one_line, record::find, table::table};

/// The run's own copy of the baseline.
const BASELINE: &str = "baseline.txt";
/// A record that is bigger is read no further, and so is cut off.
const RECORD_MAX: u64 = 512 << 20;
/// A line of it that is longer is read in pieces, of which none can be understood.
const LINE_MAX: u64 = 8 << 20;
/// Tests that are listed of each kind.
const TESTS_MAX: usize = 200;

const BOLD: Style = Style::new().bold();
const BAD: Style = AnsiColor::Red.on_default();
const ODD: Style = AnsiColor::Yellow.on_default();

/// Keeps the baseline as it is when the run begins.
pub(crate) fn keep_baseline(run_dir: &Utf8Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(run_dir)?;
    fs::write(run_dir.join(BASELINE), text)
}

/// Gives one run the baseline of another.
pub(crate) fn copy_baseline(from: &Utf8Path, to: &Utf8Path) -> io::Result<()> {
    match fs::read_to_string(from.join(BASELINE)) {
        Ok(text) => keep_baseline(to, &text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Fills in what the tests asked for, where any ran under the tracer. That can fail the run.
pub(super) fn fill(report: &mut Report, run_dir: &Utf8Path, plan: Option<&Plan>) {
    let is_traced = |lane: &LaneReport| lane.checks.iter().any(|check| check.record.is_some());
    let lanes: Vec<LaneRecords> = report
        .lanes
        .iter_mut()
        .filter(|(_, lane)| is_traced(lane))
        .map(|(name, lane)| {
            let records = records(run_dir, name, lane, plan);
            // The tests' binaries have one spelling, that of the record.
            let spelling = records.spelling();
            for check in &mut lane.checks {
                check.results.respell(|suite, test| spelling.of(suite, test));
            }
            records
        })
        .collect();
    if lanes.is_empty() {
        let split = judge_results(&*report);
        if !split.skipped.is_empty() {
            report.take_split(split, &[]);
        }
        return;
    }
    let baseline = fs::read_to_string(run_dir.join(BASELINE)).unwrap_or_default();
    let split = judge(&lanes, &Baseline::read(&baseline));
    let is_strict = |lane: &&LaneRecords| lane.fails_on_skip || split.has_failed_in(lane);
    let strict: Vec<String> = lanes
        .iter()
        .filter(is_strict)
        .map(|lane| lane.name.clone())
        .collect();
    report.take_split(split, &strict);
}

fn records(run_dir: &Utf8Path, name: &str, lane: &LaneReport, plan: Option<&Plan>) -> LaneRecords {
    let planned = plan.and_then(|plan| plan.lanes.iter().find(|planned| planned.name == name));
    let mut records = LaneRecords {
        name: name.to_owned(),
        need: planned.map(|lane| lane.need).unwrap_or_default(),
        fails_on_skip: planned.is_some_and(|lane| lane.fail_on_skip),
        is_suite: lane
            .checks
            .iter()
            .any(|check| suite_arguments(&check.run).is_some()),
        ..LaneRecords::default()
    };
    // Files come back only at the end.
    if lane.verdict.is_none() {
        return records;
    }
    for check in lane.checks.iter().filter(|check| check.has_begun) {
        let Some(path) = &check.record else { continue };
        let record = find(run_dir, lane, path).and_then(|path| read(&path));
        match record {
            Ok(record) => {
                records.missing.extend(unseen(check, &record));
                records.records.push(record);
            }
            Err(why) => records
                .missing
                .push(format!("the record of {}: {why}", check.name)),
        }
    }
    records
}

/// Says so where tests ran and none of them under the tracer.
fn unseen(check: &CheckReport, record: &Record) -> Option<String> {
    // Doc-tests never do.
    let is_doc = |suite: &str| suite.ends_with(" (doc)");
    let seen = check
        .results
        .tests
        .iter()
        .filter(|test| !is_doc(&test.suite))
        .count();
    (seen > 0 && record.tests.is_empty() && record.untraced.is_none())
        .then(|| format!("{seen} tests of {} did not run under the tracer", check.name))
}

fn read(path: &Utf8PathBuf) -> Result<Record, String> {
    let cannot = |error: io::Error| format!("could not read {path}: {error}");
    let mut lines = BufReader::new(File::open(path).map_err(cannot)?.take(RECORD_MAX));
    let mut record = Record::default();
    let mut line = Vec::new();
    while lines
        .by_ref()
        .take(LINE_MAX)
        .read_until(b'\n', &mut line)
        .map_err(cannot)?
        > 0
    {
        record.take(String::from_utf8_lossy(&line).trim_end_matches('\n'));
        line.clear();
    }
    Ok(record)
}

/// Returns the skips section of a run's report.
pub(crate) fn text(split: &Split) -> String {
    let mut text = String::new();
    if split.lanes.values().any(|lane| !lane.counts.is_empty()) {
        text += &format!(
            "\n{BOLD}what the tests asked for{BOLD:#}\n{}",
            indented(&counts(split))
        );
    }
    for note in notes(split) {
        text += &format!("  note: {note}\n");
    }
    let new: Vec<String> = split
        .new_skips()
        .map(|skipped| {
            format!(
                "{}: {}",
                one_line(&skipped.id.to_string()),
                one_line(&skipped.why)
            )
        })
        .collect();
    if !new.is_empty() {
        text += &format!(
            "\n{BOLD}no lane really ran {}{BOLD:#}\n{}",
            tests(new.len()),
            listed(&new)
        );
    }
    for why in &split.why_failed {
        text += &format!("{BAD}error{BAD:#}: {}\n", one_line(why));
    }
    if split.why_failed.iter().any(|why| why.starts_with("fail-on-skip")) {
        text += "  help: run them in a lane whose box has what they ask for; or take them into the baseline: twolane split --write-baseline\n";
    }
    text
}

/// Returns sentences about how far the split is to be believed.
pub(super) fn notes(split: &Split) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, lane) in &split.lanes {
        let doubts = lane
            .doubts
            .iter()
            .map(|doubt| format!("{name}: {}", one_line(doubt)));
        notes.extend(doubts);
        if lane.has_kvm && !lane.need.is_needed() {
            notes.push(format!(
                "the box of {name} has a /dev/kvm: it can not show which tests skip themselves where there is none"
            ));
        }
    }
    let known = split.skipped.iter().filter(|skipped| skipped.is_known).count();
    if known > 0 {
        notes.push(format!(
            "no lane really ran {} more, which the baseline has",
            tests(known)
        ));
    }
    if !split.gone.is_empty() {
        let gone: Vec<String> = split.gone.iter().map(|line| one_line(line)).collect();
        notes.push(format!(
            "take out of the baseline what is no skip any more: {}",
            gone.join(", ")
        ));
    }
    notes
}

/// Returns how many tests of each lane ended how.
pub(super) fn rows(split: &Split) -> (Vec<&'static str>, Vec<Vec<String>>) {
    let is_seen = |judged: &Judged| split.lanes.values().any(|lane| lane.counts.contains_key(judged));
    let kinds: Vec<Judged> = Judged::ALL.into_iter().filter(is_seen).collect();
    let rows = split.lanes.iter().map(|(name, lane)| {
        let counts = kinds
            .iter()
            .map(|kind| lane.counts.get(kind).copied().unwrap_or_default());
        std::iter::once(name.clone())
            .chain(counts.map(|count| count.to_string()))
            .collect()
    });
    let head = std::iter::once("lane").chain(kinds.iter().map(|kind| kind.words()));
    (head.collect(), rows.collect())
}

fn counts(split: &Split) -> String {
    let (head, rows) = rows(split);
    table(&head, rows)
}

/// Returns the two halves, test by test, and what each lane should run.
pub(crate) fn halves(split: &Split, proposal: &Proposal) -> String {
    let mut text = String::new();
    for (half, title) in [
        (Half::Live, "tests that need a box for virtual machines"),
        (Half::Any, "other tests worth a look"),
    ] {
        let of_half: Vec<&TestSplit> = split.tests.iter().filter(|test| test.half == half).collect();
        if of_half.is_empty() {
            continue;
        }
        let lines: Vec<String> = of_half
            .iter()
            .map(|test| format!("{}: {}", one_line(&test.id.to_string()), one_line(&test.words())))
            .collect();
        text += &format!("\n{BOLD}{title}: {}{BOLD:#}\n{}", lines.len(), listed(&lines));
    }
    text += &format!("\n{BOLD}need nothing: {}{BOLD:#}\n", split.need_nothing.len());
    if split.tests.iter().any(|test| test.half == Half::Live) {
        text += &format!("\n{BOLD}proposal for twolane.toml{BOLD:#}\n{}", proposal.toml);
    }
    for hint in &proposal.hints {
        text += &format!("  hint: {}\n", one_line(hint));
    }
    text
}

fn tests(number: usize) -> String {
    match number {
        1 => "1 test".to_owned(),
        number => format!("{number} tests"),
    }
}

fn listed(lines: &[String]) -> String {
    let mut text: String = lines
        .iter()
        .take(TESTS_MAX)
        .map(|line| format!("  {ODD}-{ODD:#} {line}\n"))
        .collect();
    if lines.len() > TESTS_MAX {
        text += &format!(
            "  and {} more; report.json has them all\n",
            lines.len() - TESTS_MAX
        );
    }
    text
}

fn indented(table: &str) -> String {
    table.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_without_lines_is_no_answer_and_fills_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("a.jsonl")).unwrap();
        let file = File::create(&path).unwrap();
        file.set_len(4 * LINE_MAX).unwrap();
        let doubts = read(&path).unwrap().doubts();
        assert!(
            doubts.iter().any(|doubt| doubt.starts_with("4 lines")),
            "{doubts:?}"
        );
    }

    #[test]
    fn a_record_with_text_that_is_not_utf_8_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(dir.path().join("a.jsonl")).unwrap();
        let lines: &[u8] = b"{\"what\":\"begin\",\"v\":1,\"why\":\"\",\"kvm\":true}\n{\"what\":\"listed\",\"binary\":\"b\",\"test\":\"\xff\",\"ignored\":true}\n{\"what\":\"end\",\"code\":0}";
        fs::write(&path, lines).unwrap();
        let record = read(&path).unwrap();
        assert_eq!(record.doubts(), Vec::<String>::new());
        assert_eq!(
            record.tests.keys().next().unwrap().test.as_deref(),
            Some("\u{fffd}")
        );
    }
}
