//! The run as a person follows it: a line for each lane that is redrawn on a terminal, plain lines elsewhere.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use model::{
    event::{Event, EventRecord},
    report::Report,
    time::{Timestamp, between},
    world::Events,
};

use super::{
    clean::{Lines, plain},
    lines::{self, Weight},
    record::log_path,
    stream::Style,
};

/// How much of a failed check's output is shown.
const TAIL_LINES: usize = 40;
/// How much output may wait for a reader that does not read; more is left out for that reader.
const QUEUED_MAX: usize = 16 << 20;
/// Pause between two lines that tell progress of one lane.
const PROGRESS_PAUSE: Duration = Duration::from_secs(5);
/// How long the end of a run waits for a reader that does not read. One that does, however slowly, is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Events on their way to a thread of their own: whoever reports them never waits.
pub(crate) struct Mailbox {
    sender: Mutex<Option<Sender<EventRecord>>>,
    queued: Arc<AtomicUsize>,
    /// How many events have been taken out.
    taken: Arc<AtomicUsize>,
    done: Mutex<Receiver<()>>,
}

/// The other end of a mailbox; ends when the mailbox is finished.
pub(crate) struct Inbox {
    receiver: Receiver<EventRecord>,
    queued: Arc<AtomicUsize>,
    taken: Arc<AtomicUsize>,
}

impl Mailbox {
    /// Starts the thread that reads.
    pub(crate) fn start(name: &str, read: impl FnOnce(Inbox) + Send + 'static) -> Self {
        let (sender, receiver) = channel();
        let (emit_done, done) = channel();
        let [queued, taken] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
        let inbox = Inbox {
            receiver,
            queued: queued.clone(),
            taken: taken.clone(),
        };
        let started = thread::Builder::new().name(name.to_owned()).spawn(move || {
            read(inbox);
            let _ = emit_done.send(());
        });
        Self {
            // Without a thread nothing is shown, and the run goes on.
            sender: Mutex::new(started.is_ok().then_some(sender)),
            queued,
            taken,
            done: Mutex::new(done),
        }
    }

    /// Sends an event. What a check wrote is left out when too much of it waits already.
    pub(crate) fn send(&self, record: EventRecord) {
        let size = size(&record);
        if size > 0 && self.queued.fetch_add(size, Ordering::Relaxed) > QUEUED_MAX {
            self.queued.fetch_sub(size, Ordering::Relaxed);
            return;
        }
        if let Ok(sender) = self.sender.lock()
            && let Some(sender) = sender.as_ref()
        {
            let _ = sender.send(record);
        }
    }

    /// Waits until all has been read, but not for ever for a reader that does not read.
    pub(crate) fn finish(&self) {
        self.finish_with(PATIENCE);
    }

    fn finish_with(&self, patience: Duration) {
        if let Ok(mut sender) = self.sender.lock() {
            sender.take();
        }
        let Ok(done) = self.done.lock() else { return };
        loop {
            let before = self.taken.load(Ordering::Relaxed);
            let is_done = done.recv_timeout(patience) != Err(RecvTimeoutError::Timeout);
            if is_done || self.taken.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

impl Iterator for Inbox {
    type Item = EventRecord;

    fn next(&mut self) -> Option<EventRecord> {
        let record = self.receiver.recv().ok()?;
        self.queued.fetch_sub(size(&record), Ordering::Relaxed);
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(record)
    }
}

fn size(record: &EventRecord) -> usize {
    match &record.event {
        Event::CheckOutput { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

/// Shows a run while it goes on.
pub(crate) struct Terminal(Mailbox);

impl Terminal {
    /// Starts to show.
    pub(crate) fn start(style: Style, run_dir: &Utf8Path) -> Self {
        let run_dir = run_dir.to_owned();
        Self(Mailbox::start("terminal", move |inbox| {
            let mut view = View::new(style, run_dir);
            for record in inbox {
                view.take(&record);
            }
            view.clear();
        }))
    }

    /// Waits until all has been shown, and takes the redrawn lines away.
    pub(crate) fn finish(&self) {
        self.0.finish();
    }
}

impl Events for Terminal {
    fn emit(&self, record: EventRecord) {
        self.0.send(record);
    }
}

struct View {
    style: Style,
    run_dir: Utf8PathBuf,
    report: Report,
    output: BTreeMap<(String, String), Tail>,
    /// When progress of a lane was last reported in a line, and what it was.
    progress: BTreeMap<String, (Timestamp, String)>,
    bars: Option<Bars>,
}

/// The last lines of what a check wrote.
#[derive(Default)]
struct Tail {
    lines: Lines,
    last: VecDeque<String>,
}

struct Bars {
    all: MultiProgress,
    lanes: BTreeMap<String, ProgressBar>,
}

impl View {
    fn new(style: Style, run_dir: Utf8PathBuf) -> Self {
        let bars = style.can_redraw().then(|| Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            lanes: BTreeMap::new(),
        });
        Self {
            style,
            run_dir,
            report: Report::default(),
            output: BTreeMap::new(),
            progress: BTreeMap::new(),
            bars,
        }
    }

    fn take(&mut self, record: &EventRecord) {
        if let (Event::CheckOutput { check, bytes, .. }, Some(lane)) = (&record.event, &record.lane) {
            return self.take_output(lane, check, bytes);
        }
        if let (Event::CandidateRejected { .. }, Some(lane)) = (&record.event, &record.lane) {
            self.output.retain(|(of, _), _| of != lane);
        }
        self.report.take(record);
        if let Some(line) = lines::line(record, &self.report)
            && (self.is_reported(line.weight) || self.is_news(record))
        {
            self.print(&line.text);
        }
        if let (Event::CheckEnded { check, outcome, .. }, Some(lane)) = (&record.event, &record.lane) {
            self.end_output(lane, check, outcome.is_failure());
        }
        if let (Some(bars), Some(lane)) = (&mut self.bars, &record.lane) {
            bars.take(lane, record, &self.report);
        }
    }

    fn take_output(&mut self, lane: &str, check: &str, bytes: &[u8]) {
        let is_live = self.style.verbosity > 0;
        let tail = self
            .output
            .entry((lane.to_owned(), check.to_owned()))
            .or_default();
        let lines = tail.lines.take(bytes);
        if is_live {
            for line in lines {
                self.print(&format!("[{lane}] {check} | {line}"));
            }
            return;
        }
        tail.last.extend(lines);
        let surplus = tail.last.len().saturating_sub(TAIL_LINES);
        tail.last.drain(..surplus);
    }

    fn end_output(&mut self, lane: &str, check: &str, is_failure: bool) {
        let Some(mut tail) = self.output.remove(&(lane.to_owned(), check.to_owned())) else {
            return;
        };
        let rest = tail.lines.finish();
        if self.style.verbosity > 0 {
            if let Some(line) = rest {
                self.print(&format!("[{lane}] {check} | {line}"));
            }
            return;
        }
        if !is_failure {
            return;
        }
        tail.last.extend(rest);
        let mut text: Vec<String> = tail.last.iter().map(|line| format!("    | {line}")).collect();
        text.push(format!("    all of it: {}", log_path(&self.run_dir, lane, check)));
        self.print(&text.join("\n"));
    }

    fn is_reported(&self, weight: Weight) -> bool {
        match weight {
            Weight::Problem => true,
            Weight::Usual => !self.style.is_quiet,
            Weight::Detail => self.style.verbosity > 0,
        }
    }

    /// Returns whether progress is to be reported in a line, where no line is redrawn: when it is new, and now and then.
    fn is_news(&mut self, record: &EventRecord) -> bool {
        let Event::StepProgress { message, .. } = &record.event else {
            return false;
        };
        if self.bars.is_some() || self.style.is_quiet {
            return false;
        }
        let lane = record.lane.clone().unwrap_or_default();
        let is_news = self
            .progress
            .get(&lane)
            .is_none_or(|(at, last)| last != message && between(*at, record.at) >= PROGRESS_PAUSE);
        if is_news {
            self.progress.insert(lane, (record.at, message.clone()));
        }
        is_news
    }

    fn print(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.all.suspend(|| self.style.message(text)),
            None => self.style.message(text),
        }
    }

    fn clear(&mut self) {
        if let Some(bars) = &self.bars {
            let _ = bars.all.clear();
        }
    }
}

impl Bars {
    fn take(&mut self, lane: &str, record: &EventRecord, report: &Report) {
        if let Event::LaneEnded { .. } = record.event {
            if let Some(bar) = self.lanes.remove(lane) {
                bar.finish_and_clear();
                self.all.remove(&bar);
            }
            return;
        }
        let Some(text) = report
            .lanes
            .get(lane)
            .and_then(|lane| lines::progress(&record.event, lane, record.at))
        else {
            return;
        };
        let bar = self
            .lanes
            .entry(lane.to_owned())
            .or_insert_with(|| new_bar(&self.all, lane));
        bar.set_message(plain(&text).replace('\n', " "));
    }
}

fn new_bar(all: &MultiProgress, lane: &str) -> ProgressBar {
    let bar = all.add(ProgressBar::new_spinner());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {elapsed:>4} {wide_msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(lane.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

#[cfg(test)]
mod tests {
    use anstream::ColorChoice;

    use super::*;

    fn piece(offset: u64) -> EventRecord {
        let event = Event::CheckOutput {
            check: "test".to_owned(),
            offset,
            bytes: b"a line of no meaning\n".repeat(50_000),
        };
        EventRecord::new("2026-01-02T03:04:05Z".parse().unwrap(), Some("fast"), event)
    }

    #[test]
    fn a_reader_that_does_not_read_is_kept_little_for() {
        let (go_on, wait) = channel::<()>();
        let (tell, reported) = channel();
        let mailbox = Mailbox::start("test", move |inbox| {
            let _ = wait.recv();
            let _ = tell.send(inbox.map(|record| size(&record)).sum::<usize>());
        });
        (0..100).for_each(|number| mailbox.send(piece(number)));
        drop(go_on);
        mailbox.finish();
        let most = QUEUED_MAX + size(&piece(0));
        let kept = reported.recv().unwrap();
        assert!((QUEUED_MAX..=most).contains(&kept), "{kept}");
    }

    #[test]
    fn a_reader_that_is_slow_is_given_all() {
        let (tell, reported) = channel();
        let mailbox = Mailbox::start("test", move |inbox| {
            let slowly = |_| thread::sleep(Duration::from_millis(150));
            let _ = tell.send(inbox.map(slowly).count());
        });
        (0..12).for_each(|number| mailbox.send(piece(number)));
        mailbox.finish_with(Duration::from_secs(1));
        assert_eq!(reported.try_recv(), Ok(12));
    }

    #[test]
    fn of_what_a_check_wrote_the_last_lines_are_kept() {
        let style = Style {
            is_json: false,
            verbosity: 0,
            is_quiet: true,
            color: ColorChoice::Never,
        };
        let mut view = View::new(style, "run".into());
        (0..20).for_each(|number| view.take(&piece(number)));
        view.take_output("fast", "test", b"the end\nof it");
        let tail = &view.output[&("fast".to_owned(), "test".to_owned())];
        assert_eq!(tail.last.len(), TAIL_LINES);
        assert_eq!(tail.last.back().map(String::as_str), Some("the end"));
    }
}
