//! What goes on in a simulated box: stage 1, the box's end of twolane, checks. Everything is a matter of what time it is.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use model::{jobs::RUNNER, name::RunId};

use crate::{
    clock::{Elapsed, SimClock},
    faults::{Bug, Faults},
};

/// The steps of stage 1, and the second after the first boot at which each ends.
const STEPS: [(&str, u64); 4] = [("users", 5), ("packages", 40), ("toolchain", 70), ("gate", 75)];

/// What stands before the number of an edit in the name of a program.
pub const COMPILED_FROM: &str = "compiled-from-edit-";

/// The tests that a suite has which is shared over several boxes.
pub const TESTS: [&str; 9] = [
    "t::zero", "t::one", "t::two", "t::three", "t::four", "t::five", "t::six", "t::seven", "t::eight",
];

/// Returns the tests that a command runs which names some of them, or some that it leaves out.
fn chosen_tests(command: &str) -> Vec<String> {
    let (mut named, mut skipped) = (Vec::new(), Vec::new());
    let mut words = command
        .split_whitespace()
        .map(|word| word.trim_matches(['\'', '"', ')', ';']));
    while let Some(word) = words.next() {
        match word {
            "--skip" => skipped.extend(words.next().map(str::to_owned)),
            _ if TESTS.contains(&word) => named.push(word.to_owned()),
            _ => {}
        }
    }
    if named.is_empty() && !skipped.is_empty() {
        named = TESTS.map(str::to_owned).to_vec();
    }
    named.retain(|test| !skipped.contains(test));
    named
}

/// The inside of a box.
#[derive(Debug, Clone)]
pub struct SimBox {
    booted: Elapsed,
    dies: Option<Elapsed>,
    has_kvm: bool,
    /// The step at which stage 1 fails, if it does.
    fails_at: Option<usize>,
    host_key: String,
    /// What its provider shows: the key that the box reported to it.
    reported_key: String,
    agent: Option<Agent>,
    next_host_key: Option<String>,
    /// Until when its SSH server closes each connection.
    mute_until: Elapsed,
    /// Whether the box's end of twolane is there.
    has_tool: bool,
    /// Which edit of the sources is there.
    sources: Option<u64>,
    /// Of which edit the programs are that were sent.
    sent_programs: Option<u64>,
    /// Of which those are that stand where they were compiled.
    programs: Option<u64>,
    /// Whether the sources are under their path of the operator's machine too.
    is_same_path: bool,
    checks: BTreeMap<(RunId, String), SimCheck>,
    /// Those that it has forgotten.
    forgotten: Vec<((RunId, String), SimCheck)>,
}

/// A program of the image's that makes a host key of its own, and reports it some time later.
#[derive(Debug, Clone)]
struct Agent {
    renews: Elapsed,
    reports: Elapsed,
    host_key: String,
}

/// One check on a box.
#[derive(Debug, Clone)]
pub struct SimCheck {
    began: Elapsed,
    ends: Elapsed,
    /// systemd's result, code and status.
    end: (&'static str, &'static str, &'static str),
    output: Vec<u8>,
}

impl SimCheck {
    /// Returns whether its command returned 0 by itself.
    pub fn has_passed(&self) -> bool {
        self.end == ("success", "exited", "0")
    }
}

/// What the box's tool answers.
pub enum Said {
    /// This.
    Answer(Vec<u8>),
    /// Nothing new until then.
    NotBefore(Elapsed),
    /// It fails with this.
    Fails(String),
}

impl SimBox {
    /// Makes the inside of a box that boots at a moment.
    pub fn new(clock: &SimClock, faults: &Faults, booted: Elapsed, host_key: String) -> Self {
        let hour = Duration::from_secs(3600);
        let agent = clock.happens(faults.agent_renews).then(|| {
            let renews = booted + clock.length(Duration::ZERO, Duration::from_secs(20));
            Agent {
                renews,
                reports: renews + clock.length(Duration::ZERO, Duration::from_secs(10)),
                host_key: format!("ssh-ed25519 agents{:016x}", clock.below(u64::MAX)),
            }
        });
        let mute = match (clock.happens(faults.mute), clock.below(2)) {
            (false, _) => Duration::ZERO,
            (true, 0) => clock.length(Duration::ZERO, Duration::from_secs(120)),
            (true, _) => 24 * hour,
        };
        Self {
            booted,
            mute_until: booted + mute,
            dies: clock
                .happens(faults.box_dies)
                .then(|| booted + clock.length(Duration::ZERO, hour)),
            has_kvm: !clock.happens(faults.no_kvm),
            fails_at: clock
                .happens(faults.stage1_fails)
                .then(|| clock.below(STEPS.len() as u64) as usize),
            reported_key: host_key.clone(),
            host_key,
            agent,
            next_host_key: None,
            has_tool: false,
            sources: None,
            sent_programs: None,
            programs: None,
            is_same_path: false,
            checks: BTreeMap::new(),
            forgotten: Vec::new(),
        }
    }

    /// Returns whether it runs.
    pub fn is_alive(&self, now: Elapsed) -> bool {
        self.booted <= now && self.dies.is_none_or(|dies| now < dies)
    }

    /// Returns whether its SSH server closes each connection.
    pub fn is_mute(&self, now: Elapsed) -> bool {
        now < self.mute_until
    }

    /// Returns its present host key.
    pub fn host_key(&self, now: Elapsed) -> &str {
        match &self.agent {
            Some(agent) if agent.renews <= now => &agent.host_key,
            _ => &self.host_key,
        }
    }

    /// Returns the host key that it has reported.
    pub fn reported_key(&self, now: Elapsed) -> &str {
        match &self.agent {
            Some(agent) if agent.reports <= now => &agent.host_key,
            _ => &self.reported_key,
        }
    }

    /// Takes the box's end of twolane, and ends what other runs than that have left running. Where its own checks are named, its
    /// others are forgotten.
    pub fn take_over(&mut self, run: &str, own: &[&str], now: Elapsed) {
        self.has_tool = true;
        let stage2 = format!("{run}-stage2");
        for ((of, slug), mut check) in std::mem::take(&mut self.checks) {
            let is_kept = of.as_str() == stage2
                || (of.as_str() == run && (own.is_empty() || own.contains(&slug.as_str())));
            if !is_kept {
                check.stop(now);
            }
            match of.as_str() == run && !is_kept {
                true => self.forgotten.push(((of, slug), check)),
                false => drop(self.checks.insert((of, slug), check)),
            }
        }
    }

    /// Takes the sources. Returns whether that changed anything, and what they change under.
    pub fn take_sources(&mut self, edit: u64, now: Elapsed) -> (bool, Option<String>) {
        let is_other = self.sources.replace(edit) != Some(edit);
        (is_other, self.changes_under(now))
    }

    /// Returns whether there are any sources.
    pub fn has_sources(&self) -> bool {
        self.sources.is_some()
    }

    /// Takes programs that were compiled elsewhere, of that edit of the sources. Returns what they change under.
    pub fn take_programs(&mut self, edit: u64, now: Elapsed) -> Option<String> {
        self.sent_programs = Some(edit);
        self.changes_under(now)
    }

    /// Puts the sources under their path of the operator's machine too.
    pub fn take_path(&mut self) {
        self.is_same_path = true;
    }

    /// Puts the programs that were sent where they were compiled.
    pub fn place_programs(&mut self) {
        self.programs = self.sent_programs;
    }

    /// Returns why a command that runs programs that were compiled elsewhere runs other ones than those of the sources.
    pub fn runs_stale(&self, arguments: &[String], command: &str) -> Option<String> {
        let [order, run, slug, ..] = arguments else {
            return None;
        };
        if !order.starts_with("start") || self.check(run, slug).is_some() {
            return None;
        }
        let (_, rest) = command.split_once(COMPILED_FROM)?;
        let wanted: Option<u64> = rest
            .split(|char: char| !char.is_ascii_digit())
            .next()?
            .parse()
            .ok();
        let is_right = self.is_same_path && self.programs == wanted && self.sources == wanted;
        (!is_right).then(|| {
            format!(
                "{slug} of {run} runs programs of edit {wanted:?}; there are {:?}, and sources of {:?}",
                self.programs, self.sources
            )
        })
    }

    fn changes_under(&self, now: Elapsed) -> Option<String> {
        let mut running = self.running(now);
        running
            .next()
            .map(|(run, slug)| format!("the sources change under {slug} of {run}"))
    }

    /// Returns what runs.
    fn running(&self, now: Elapsed) -> impl Iterator<Item = (&RunId, &str)> {
        let all = self.checks.iter();
        all.filter(move |(_, check)| check.began <= now && now < check.ends)
            .map(|((run, slug), _)| (run, slug.as_str()))
    }

    /// Returns what an order to start something begins beside.
    pub fn starts_beside(&mut self, arguments: &[String], now: Elapsed, bug: Option<Bug>) -> Option<String> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let ["start" | "start-as-root", run, slug, ..] = words[..] else {
            return None;
        };
        let is_repeated = |of: &RunId, check: &str| of.as_str() == run && check == slug;
        let is_again = bug == Some(Bug::StartsTwice);
        if !is_again && self.check(run, slug).is_some() {
            return None;
        }
        let mut running = self.running(now);
        let beside = running.find(|(of, check)| is_again || !is_repeated(of, check));
        let beside = beside.map(|(of, check)| format!("{slug} of {run} begins beside {check} of {of}"));
        drop(running);
        if is_again {
            self.checks.retain(|(of, check), _| !is_repeated(of, check));
        }
        beside
    }

    /// Returns whether KVM works there.
    pub fn has_kvm(&self) -> bool {
        self.has_kvm
    }

    /// Sets when the runner program ends; until that is known it runs on.
    pub fn set_runner_end(&mut self, ends: Option<Elapsed>) {
        let runners = self.checks.iter_mut().filter(|((_, slug), _)| slug == RUNNER);
        for (_, check) in runners.filter(|(_, check)| check.end.0 != "stopped") {
            check.ends = ends.unwrap_or(Elapsed::MAX);
        }
    }

    /// Returns what the KVM gate found.
    pub fn gate_answer(&self, bug: Option<Bug>) -> String {
        let works = self.has_kvm || bug == Some(Bug::PassesTheGate);
        let sentence = if works {
            "/dev/kvm works"
        } else {
            "there is no /dev/kvm"
        };
        format!(r#"{{"works": {works}, "sentence": "{sentence}"}}"#)
    }

    /// Returns what becomes of every check that was started.
    pub fn checks(&self) -> impl Iterator<Item = (&RunId, &str, &SimCheck)> {
        let forgotten = self.forgotten.iter().map(|(key, check)| (key, check));
        let all = self.checks.iter().chain(forgotten);
        all.map(|((run, slug), check)| (run, slug.as_str(), check))
    }

    /// Answers a call of the box's tool, as `ops/ephemeral/twolane-box.sh` does.
    pub fn tool(
        &mut self,
        (arguments, command): (&[String], &str),
        clock: &SimClock,
        faults: &Faults,
        bug: Option<Bug>,
    ) -> Said {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if !self.has_tool {
            return Said::Fails("there is no such program".to_owned());
        }
        match words[..] {
            ["wait-stage1", lines, _] => self.wait_stage1(lines.parse().unwrap_or(0), clock.elapsed()),
            ["start" | "start-as-root", run, check, seconds, _, dir, ..] => {
                // A home is there without any sources.
                if self.sources.is_none() && dir.matches('/').count() > 2 {
                    return Said::Fails(
                        "there is no such directory on the box: was the source copied?".to_owned(),
                    );
                }
                let mut tests = chosen_tests(command);
                if bug == Some(Bug::LosesATest) {
                    tests.pop();
                }
                self.start(run, check, (seconds, &tests), clock, faults)
            }
            ["follow", run, check, offset, _] => {
                self.follow(run, check, offset.parse().unwrap_or(0), clock.elapsed())
            }
            ["stop", run, check] => self.stop(run, check, clock.elapsed()),
            ["list", run] => self.list(run),
            ["new-host-key"] => {
                let key = format!("ssh-ed25519 renewed{:016x}", clock.below(u64::MAX));
                Said::Answer(self.next_host_key.insert(key).clone().into_bytes())
            }
            ["use-host-key"] => {
                if let Some(key) = self.next_host_key.take() {
                    self.reported_key = self.reported_key(clock.elapsed()).to_owned();
                    self.host_key = key;
                    self.agent = None;
                }
                Said::Answer(Vec::new())
            }
            ["set-deadline", unix] => Said::Answer(unix.as_bytes().to_vec()),
            ["link-toolchain", _] | ["boot-id"] | ["journal", ..] => Said::Answer(b"b1".to_vec()),
            _ => Said::Fails(format!("no such command: {}", words.join(" "))),
        }
    }

    fn wait_stage1(&self, reported: usize, now: Elapsed) -> Said {
        let scenario = self.stage1_story();
        let happened = scenario.iter().filter(|(at, _)| *at <= now);
        let lines: Vec<&str> = happened.map(|(_, line)| line.as_str()).collect();
        match scenario.get(lines.len()) {
            Some((at, _)) if lines.len() <= reported => Said::NotBefore(*at),
            _ => Said::Answer(lines.get(reported..).unwrap_or_default().join("\n").into_bytes()),
        }
    }

    /// Every line that stage 1 is going to write, and when. The last is cloud-init's.
    fn stage1_story(&self) -> Vec<(Elapsed, String)> {
        let at = |seconds: u64| self.booted + Duration::from_secs(seconds);
        let mut scenario = Vec::new();
        let mut begin = 0;
        for (index, (step, end)) in STEPS.into_iter().enumerate() {
            scenario.push((at(begin), format!("{begin} begin {step}")));
            if self.fails_at == Some(index) {
                scenario.push((at(end), format!("{end} end {step} failed it broke")));
                scenario.push((at(end), format!("{end} failed {step} it broke")));
                break;
            }
            scenario.push((at(end), format!("{end} end {step} ok")));
            begin = end;
        }
        let (exit, status, end) = match self.fails_at {
            Some(index) => (1, "error", STEPS[index].1),
            None => (0, "done", 76),
        };
        if self.fails_at.is_none() {
            scenario.push((at(end), format!("{end} done")));
        }
        let json = format!(r#"{{"boot_id":"b1","exit":{exit},"status":{{"status":"{status}"}}}}"#);
        scenario.push((at(end + 1), format!("cloud-init {json}")));
        scenario
    }

    fn start(
        &mut self,
        run: &str,
        check: &str,
        (seconds, tests): (&str, &[String]),
        clock: &SimClock,
        faults: &Faults,
    ) -> Said {
        let Ok(run) = RunId::new(run) else {
            return Said::Fails("not a run".to_owned());
        };
        let key = (run, check.to_owned());
        if self.checks.contains_key(&key) {
            return Said::Answer(b"already".to_vec());
        }
        let limit = Duration::from_secs(seconds.parse().unwrap_or(0));
        let length = clock.length(Duration::from_secs(1), Duration::from_secs(400));
        let is_hanging = clock.happens(faults.check_hangs);
        let (length, end) = if check == RUNNER {
            // The job service says when.
            (Elapsed::MAX - clock.elapsed(), ("success", "exited", "0"))
        } else if is_hanging || length >= limit {
            (limit, ("timeout", "killed", "TERM"))
        } else if clock.happens(faults.check_fails) {
            (length, ("exit-code", "exited", "101"))
        } else {
            (length, ("success", "exited", "0"))
        };
        let began = clock.elapsed();
        let mut output = format!("output of {check}\n");
        if !tests.is_empty() {
            let _ = writeln!(output, "running {} tests", tests.len());
        }
        let has_failed = end.0 == "exit-code";
        for (number, test) in tests.iter().enumerate() {
            // One fails; which one says how long the box needs to come to it.
            let is_bad = has_failed && number == tests.len() / 3;
            let _ = writeln!(output, "test {test} ... {}", if is_bad { "FAILED" } else { "ok" });
        }
        self.checks.insert(
            key,
            SimCheck {
                began,
                ends: began + length,
                end,
                output: output.into_bytes(),
            },
        );
        Said::Answer(b"started".to_vec())
    }

    fn follow(&self, run: &str, check: &str, offset: usize, now: Elapsed) -> Said {
        let Some(check) = self.check(run, check) else {
            return Said::Fails("it was never started".to_owned());
        };
        let has_ended = check.ends <= now;
        let written = if has_ended {
            &check.output[..]
        } else {
            &check.output[..check.output.len() / 2]
        };
        let piece = written.get(offset..).unwrap_or_default();
        if piece.is_empty() && !has_ended {
            return Said::NotBefore(check.ends);
        }
        let mut answer = check.header(has_ended, offset, piece.len());
        answer.push('\n');
        let mut answer = answer.into_bytes();
        answer.extend(piece);
        Said::Answer(answer)
    }

    fn stop(&mut self, run: &str, check: &str, now: Elapsed) -> Said {
        let key = RunId::new(run).ok().map(|run| (run, check.to_owned()));
        let Some(check) = key.and_then(|key| self.checks.get_mut(&key)) else {
            return Said::Fails("it was never started".to_owned());
        };
        check.stop(now);
        Said::Answer(b"stopped ended".to_vec())
    }

    fn list(&self, run: &str) -> Said {
        let mut lines = String::new();
        for ((of, slug), check) in &self.checks {
            if of.as_str() == run {
                let _ = writeln!(lines, "{slug} {}", check.header(false, check.output.len(), 0));
            }
        }
        Said::Answer(lines.into_bytes())
    }

    fn check(&self, run: &str, check: &str) -> Option<&SimCheck> {
        self.checks.get(&(RunId::new(run).ok()?, check.to_owned()))
    }
}

impl SimCheck {
    fn stop(&mut self, now: Elapsed) {
        if self.ends > now {
            self.ends = now;
            self.end = ("stopped", "killed", "TERM");
        }
    }

    fn header(&self, has_ended: bool, offset: usize, bytes: usize) -> String {
        let (state, (result, code, status)) = if has_ended {
            ("ended", self.end)
        } else {
            ("running", ("", "", ""))
        };
        let ended = if has_ended {
            format!("{:.3}", self.ends.as_secs_f64())
        } else {
            String::new()
        };
        format!(
            "state={state} offset={offset} bytes={bytes} size={} result={result} code={code} status={status} \
             begun={:.3} ended={ended} boot=b1 boot_now=b1",
            self.output.len(),
            self.began.as_secs_f64()
        )
    }
}
