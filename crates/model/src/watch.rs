//! `twolane test --watch`: when a run begins, when one that is out of date is stopped, and when all is over. Files, keys and
//! the clock are elsewhere.

use std::time::Duration;

/// How long nothing may change before it is looked what has changed: editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(50);

/// How long that is waited for. Where something is written all the time, it is looked at now and then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a run runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// What the command line asks for.
    Asked,
    /// That, whether it passed last time or not.
    All,
    /// What of it did not pass last time.
    Failed,
}

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The user pressed `q`.
    Quit,
    /// The user sent a signal.
    Interrupted,
    /// The deadline of the box came.
    Deadline,
    /// The box is no longer there.
    Gone,
}

/// What happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// Something below the sources was written, which may be of no concern.
    Touched,
    /// It was looked at; true where what is sent to the box has changed.
    Looked(bool),
    /// The user asks for a run.
    Wanted(What),
    /// A run ended, by itself or because it was stopped.
    Ended,
    /// It is to be over. A signal, a deadline and a lost box end a run that goes on by themselves.
    Over(Why),
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Look whether what is sent to the box has changed.
    Look,
    /// Begin a run.
    Start(What),
    /// Stop the run that goes on.
    Stop,
    /// Leave.
    Leave(Why),
}

/// A loop of runs, one at a time.
#[derive(Debug, Default)]
pub struct Watch {
    /// When something was written that was not looked at: first, and last.
    touched: Option<(Duration, Duration)>,
    is_looking: bool,
    /// The run that is next. There is never more than one.
    queued: Option<What>,
    running: Running,
    leaving: Option<Why>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Running {
    #[default]
    Nothing,
    Run,
    /// One that was asked to stop.
    Stopping,
}

impl Watch {
    /// Takes what happens, and says what is to be done.
    pub fn take(&mut self, input: Input, now: Duration) -> Option<Action> {
        match input {
            Input::Touched => {
                let first = self.touched.map_or(now, |(first, _)| first);
                self.touched = Some((first, now));
                None
            }
            Input::Looked(has_changed) => {
                self.is_looking = false;
                // What the user asked for since then is run with what changed.
                if has_changed {
                    self.queued = self.queued.or(Some(What::Asked));
                }
                self.next()
            }
            Input::Wanted(what) => {
                self.queued = Some(what);
                self.next()
            }
            Input::Ended => {
                self.running = Running::Nothing;
                self.next()
            }
            Input::Over(why) => {
                self.leaving = self.leaving.or(Some(why));
                self.next()
            }
        }
    }

    /// Says what is to be done because time has passed.
    pub fn tick(&mut self, now: Duration) -> Option<Action> {
        if self.wake().is_none_or(|at| now < at) {
            return None;
        }
        self.touched = None;
        self.is_looking = true;
        Some(Action::Look)
    }

    /// Returns when to call [`Self::tick`]; none while only something else can happen.
    pub fn wake(&self) -> Option<Duration> {
        let (first, last) = self.touched?;
        let is_free = !self.is_looking && self.leaving.is_none();
        is_free.then(|| (last + QUIET).min(first + PATIENCE))
    }

    /// Returns whether nothing is done, and nothing is about to be.
    pub fn is_idle(&self) -> bool {
        self.running == Running::Nothing
            && self.queued.is_none()
            && self.touched.is_none()
            && !self.is_looking
            && self.leaving.is_none()
    }

    fn next(&mut self) -> Option<Action> {
        match (self.running, self.leaving) {
            (Running::Nothing, Some(why)) => Some(Action::Leave(why)),
            (Running::Nothing, None) => {
                let what = self.queued.take()?;
                self.running = Running::Run;
                Some(Action::Start(what))
            }
            // Its result would be of sources that are no more, or of no interest to who asked for another.
            (Running::Run, None) if self.queued.is_some() => self.stop(),
            (Running::Run, Some(Why::Quit)) => self.stop(),
            (Running::Run | Running::Stopping, _) => None,
        }
    }

    fn stop(&mut self) -> Option<Action> {
        self.running = Running::Stopping;
        Some(Action::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a story, one step a line: `10 touched` is at 10 ms. Each step has what it led to behind `:`, and ticks happen when
    /// they are due.
    #[track_caller]
    fn check(story: &str) {
        let mut watch = Watch::default();
        let mut said = Vec::new();
        for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (step, _) = line.split_once(':').unwrap_or((line, ""));
            let (at, what) = step.trim().split_once(' ').unwrap();
            let now = Duration::from_millis(at.parse().unwrap());
            let action = match input(what) {
                Some(input) => {
                    assert!(
                        watch.wake().is_none_or(|at| at >= now),
                        "a tick was due before {line}"
                    );
                    watch.take(input, now)
                }
                None => {
                    assert_eq!(watch.wake(), Some(now), "{line}");
                    watch.tick(now)
                }
            };
            let led_to = action.map_or(String::new(), |action| format!(": {action:?}"));
            said.push(format!("{}{led_to}", step.trim()));
        }
        let lines = story.lines().map(str::trim).filter(|line| !line.is_empty());
        assert_eq!(said, lines.collect::<Vec<_>>());
    }

    fn input(word: &str) -> Option<Input> {
        Some(match word {
            "tick" => return None,
            "touched" => Input::Touched,
            "changed" => Input::Looked(true),
            "nothing" => Input::Looked(false),
            "begin" => Input::Wanted(What::Asked),
            "enter" => Input::Wanted(What::All),
            "f" => Input::Wanted(What::Failed),
            "q" => Input::Over(Why::Quit),
            "signal" => Input::Over(Why::Interrupted),
            "deadline" => Input::Over(Why::Deadline),
            "ended" => Input::Ended,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn change_is_looked_at_when_it_is_quiet_and_runs_once() {
        check(
            "0 begin: Start(Asked)
             10 ended
             100 touched
             120 touched
             170 tick: Look
             180 changed: Start(Asked)
             190 ended",
        );
    }

    #[test]
    fn what_is_not_sent_runs_nothing() {
        check(
            "0 begin: Start(Asked)
             100 touched
             150 tick: Look
             160 nothing
             170 ended",
        );
    }

    #[test]
    fn run_that_is_out_of_date_is_stopped_and_one_follows() {
        check(
            "0 begin: Start(Asked)
             100 touched
             150 tick: Look
             151 touched
             160 changed: Stop
             201 tick: Look
             210 changed
             220 touched
             270 tick: Look
             280 changed
             300 ended: Start(Asked)
             400 ended",
        );
    }

    #[test]
    fn what_is_written_all_the_time_is_looked_at_now_and_then() {
        let touches: String = (1..=24).map(|n| format!("{} touched\n", n * 40)).collect();
        check(&format!(
            "0 begin: Start(Asked)\n5 ended\n{touches}1000 touched\n1040 tick: Look\n1050 touched\n1060 nothing\n1100 tick: Look"
        ));
    }

    #[test]
    fn keys_run_what_they_say_and_the_last_one_counts() {
        check(
            "0 begin: Start(Asked)
             10 enter: Stop
             20 f
             30 ended: Start(Failed)
             40 touched
             90 tick: Look
             95 enter: Stop
             99 changed
             100 ended: Start(All)
             110 ended
             120 f: Start(Failed)",
        );
    }

    #[test]
    fn quit_stops_what_runs_and_starts_nothing() {
        check(
            "0 begin: Start(Asked)
             10 touched
             60 tick: Look
             70 q: Stop
             75 touched
             80 changed
             90 enter
             100 ended: Leave(Quit)",
        );
        check("0 q: Leave(Quit)");
    }

    #[test]
    fn signal_and_deadline_end_a_run_by_themselves() {
        check(
            "0 begin: Start(Asked)
             10 signal
             20 q
             30 ended: Leave(Interrupted)",
        );
        check("0 begin: Start(Asked)\n10 deadline\n30 ended: Leave(Deadline)");
        check("0 begin: Start(Asked)\n10 ended\n20 deadline: Leave(Deadline)");
    }

    #[test]
    fn loop_is_idle_between_runs_alone() {
        let mut watch = Watch::default();
        assert!(watch.is_idle());
        let at = Duration::from_millis;
        watch.take(Input::Wanted(What::Asked), at(0));
        assert!(!watch.is_idle());
        watch.take(Input::Ended, at(1));
        assert!(watch.is_idle());
        watch.take(Input::Touched, at(2));
        assert!(!watch.is_idle());
        watch.tick(at(52));
        assert!(!watch.is_idle());
        watch.take(Input::Looked(false), at(53));
        assert!(watch.is_idle());
    }
}
