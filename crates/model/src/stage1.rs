//! Stage 1 as the box reports it: its status lines, and cloud-init's own word at the end.
//! Keeps out: asking the box, and what the steps do (`ops/ephemeral/stage1.sh`).

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::event::Event;

/// One line of the status file.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusLine {
    /// When, by the box's clock, in seconds.
    pub box_time: f64,
    /// What happened.
    pub said: Said,
}

/// What a status line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A step began.
    Begin(String),
    /// A step ended well, with what it has to say.
    Ok(String, String),
    /// A step had nothing to do, for this reason.
    Skipped(String, String),
    /// A step failed, with this message.
    Failed(String, String),
    /// Every step ended.
    Done,
    /// Stage 1 ended because this step failed, with this message.
    GaveUp(String, String),
}

impl StatusLine {
    /// Reads a line; none when it is none of ours, such as one that is cut.
    pub fn parse(line: &str) -> Option<Self> {
        let (time, rest) = line.trim_end().split_once(' ')?;
        let box_time = time.parse::<f64>().ok().filter(|it| it.is_finite())?;
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let (step, message) = rest.split_once(' ').unwrap_or((rest, ""));
        let (step, message) = (step.to_owned(), message.to_owned());
        if step.is_empty() != (word == "done") {
            return None;
        }
        let said = match word {
            "begin" => Said::Begin(step),
            "skip" => Said::Skipped(step, message),
            "end" => match message.split_once(' ').unwrap_or((&message, "")) {
                ("ok", said) => Said::Ok(step, said.to_owned()),
                ("failed", said) => Said::Failed(step, said.to_owned()),
                _ => return None,
            },
            "done" => Said::Done,
            "failed" => Said::GaveUp(step, message),
            _ => return None,
        };
        Some(Self { box_time, said })
    }

    /// Returns this line's event; `None` for the line that ends stage 1.
    pub fn event(&self) -> Option<Event> {
        let (step, what, message) = match &self.said {
            Said::Begin(step) => (step, "begin", None),
            Said::Ok(step, said) => (step, "ok", Some(said).filter(|said| !said.is_empty())),
            Said::Skipped(step, reason) => (step, "skipped", Some(reason)),
            Said::Failed(step, message) => (step, "failed", Some(message)),
            Said::Done | Said::GaveUp(..) => return None,
        };
        let (step, what, message) = (step.clone(), what.to_owned(), message.cloned());
        Some(Event::Stage1 {
            step,
            box_time: self.box_time,
            what,
            message,
        })
    }
}

/// One answer of `twolane-box wait-stage1`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The status lines in it, without those that cannot be read.
    pub lines: Vec<StatusLine>,
    /// How many lines there were, for the next question.
    pub line_count: usize,
    /// cloud-init's word, when it has ended.
    pub cloud_init: Option<CloudInit>,
}

impl Answer {
    /// Reads an answer.
    pub fn parse(text: &str) -> Self {
        let mut answer = Self::default();
        for line in text.lines() {
            if let Some(json) = line.strip_prefix("cloud-init ") {
                answer.cloud_init = Some(CloudInit::parse(json));
            } else {
                answer.line_count += 1;
                answer.lines.extend(StatusLine::parse(line));
            }
        }
        answer
    }
}

/// cloud-init's word on the boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudInit {
    /// The boot that it speaks of.
    pub boot_id: String,
    /// How it ended.
    pub end: CloudInitEnd,
}

/// How cloud-init ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloudInitEnd {
    /// Everything was done.
    Done,
    /// Everything was done, with errors that it could live with.
    Degraded(Vec<String>),
    /// It failed.
    Error(Vec<String>),
    /// It still runs.
    Running,
    /// It did not run, or says nothing that can be read.
    Silent(String),
}

/// What `twolane-box` makes of `cloud-init status --format json`.
#[derive(Deserialize)]
struct Wrapped {
    boot_id: String,
    exit: i32,
    status: Option<Status>,
}

/// The part of `cloud-init status --format json` that 22.4 has, and what later versions add.
#[derive(Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    extended_status: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    errors: Vec<Value>,
    #[serde(default)]
    recoverable_errors: Value,
}

impl CloudInit {
    fn parse(json: &str) -> Self {
        match serde_json::from_str::<Wrapped>(json) {
            Ok(Wrapped {
                boot_id,
                exit,
                status,
            }) => Self {
                boot_id,
                end: end(exit, status),
            },
            Err(error) => Self {
                boot_id: String::new(),
                end: CloudInitEnd::Silent(format!("cloud-init's status cannot be read: {error}")),
            },
        }
    }
}

fn end(exit: i32, status: Option<Status>) -> CloudInitEnd {
    let Some(status) = status else {
        return CloudInitEnd::Silent("cloud-init gives no status".to_owned());
    };
    let recoverable = recoverable(&status.recoverable_errors);
    match status.status.as_str() {
        "error" => CloudInitEnd::Error(errors(&status)),
        // 23.4 and later keep the word `done`, and tell by their exit status and `extended_status`.
        "done" | "degraded" if exit == 2 || status.extended_status.contains("degraded") => {
            CloudInitEnd::Degraded(recoverable)
        }
        "degraded" => CloudInitEnd::Degraded(recoverable),
        "done" if !recoverable.is_empty() => CloudInitEnd::Degraded(recoverable),
        "done" => CloudInitEnd::Done,
        "running" => CloudInitEnd::Running,
        other => CloudInitEnd::Silent(format!("cloud-init is `{other}`: {}", status.detail)),
    }
}

fn errors(status: &Status) -> Vec<String> {
    let listed: Vec<_> = status.errors.iter().map(plain).collect();
    let detail = status.detail.trim();
    if listed.is_empty() && !detail.is_empty() {
        vec![detail.to_owned()]
    } else {
        listed
    }
}

/// `{"WARNING": ["…"], "ERROR": ["…"]}`, worst kinds as the box gives them.
fn recoverable(errors: &Value) -> Vec<String> {
    let kinds = errors.as_object().into_iter().flatten();
    kinds
        .flat_map(|(kind, texts)| {
            texts
                .as_array()
                .into_iter()
                .flatten()
                .map(move |text| (kind, text))
        })
        .map(|(kind, text)| format!("{kind}: {}", plain(text)))
        .collect()
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Where stage 1 is, from all that the box has said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It runs; this step, if one has begun.
    Running(Option<String>),
    /// The system is ready; cloud-init could live with these errors.
    Ready(Vec<String>),
    /// It failed.
    Failed(Failure),
}

/// Why stage 1 failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The step of stage 1, or `cloud-init`.
    pub step: String,
    /// What is known of the reason.
    pub reason: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stage 1 failed at {}: {}", self.step, self.reason)
    }
}

/// Decides where stage 1 is. A step's own message is better than what cloud-init makes of it.
pub fn standing(lines: &[StatusLine], cloud_init: Option<&CloudInit>) -> Standing {
    let failed = |step: &str, reason: String| {
        Standing::Failed(Failure {
            step: step.to_owned(),
            reason,
        })
    };
    let said = || lines.iter().rev().map(|line| &line.said);
    if let Some((step, message)) = said().find_map(|it| match it {
        Said::GaveUp(step, message) => Some((step, message)),
        _ => None,
    }) {
        return failed(step, message.clone());
    }
    let current = said().find_map(|it| match it {
        Said::Begin(step) => Some(step.clone()),
        _ => None,
    });
    let is_done = said().any(|it| *it == Said::Done);
    let unfinished = |errors: String| match &current {
        Some(step) => failed(step, format!("it was cut off{errors}")),
        None => failed("cloud-init", format!("stage 1 did not begin{errors}")),
    };
    match cloud_init.map(|it| &it.end) {
        None | Some(CloudInitEnd::Running) => Standing::Running(current),
        Some(CloudInitEnd::Silent(why)) => failed("cloud-init", why.clone()),
        Some(CloudInitEnd::Error(errors)) if is_done => failed("cloud-init", errors.join("; ")),
        Some(CloudInitEnd::Error(errors)) => unfinished(format!("; cloud-init says: {}", errors.join("; "))),
        Some(CloudInitEnd::Done) if is_done => Standing::Ready(Vec::new()),
        Some(CloudInitEnd::Degraded(errors)) if is_done => Standing::Ready(errors.clone()),
        Some(CloudInitEnd::Degraded(errors)) => {
            unfinished(format!("; cloud-init says: {}", errors.join("; ")))
        }
        Some(CloudInitEnd::Done) => unfinished(", and cloud-init does not know why".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE_22: &str = r#"{"boot_status_code": "enabled-by-generator", "datasource": "nocloud", "detail": "DataSourceNoCloud [seed=/dev/vdb]", "errors": [], "last_update": "Mon, 23 Nov 2026 14:00:00 +0000", "status": "done"}"#;
    const ERROR_22: &str = r#"{"boot_status_code": "enabled-by-generator", "datasource": "nocloud", "detail": "('scripts_user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))", "errors": ["('scripts_user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))"], "last_update": "", "status": "error"}"#;
    const DEGRADED_24: &str = r#"{"boot_status_code": "enabled-by-generator", "datasource": "nocloud", "detail": "DataSourceNoCloud", "errors": [], "extended_status": "degraded done", "init": {"errors": [], "recoverable_errors": {}}, "last_update": "", "recoverable_errors": {"WARNING": ["Failed at merging in cloud config part from part-001"]}, "status": "done"}"#;

    fn wrapped(exit: i32, status: &str) -> String {
        format!(r#"cloud-init {{"boot_id":"b1","exit":{exit},"status":{status}}}"#)
    }

    #[track_caller]
    fn check(lines: &[&str], standing_is: &str) {
        let answer = Answer::parse(&lines.join("\n"));
        let said = match standing(&answer.lines, answer.cloud_init.as_ref()) {
            Standing::Running(step) => format!("running {}", step.unwrap_or_default()),
            Standing::Ready(errors) => format!("ready {}", errors.join("; ")),
            Standing::Failed(failure) => failure.to_string(),
        };
        assert_eq!(said.trim(), standing_is);
    }

    #[test]
    fn status_lines_are_read() {
        let said = |line: &str| StatusLine::parse(line).map(|it| it.said);
        assert_eq!(
            said("1732370000.123 begin packages"),
            Some(Said::Begin("packages".into()))
        );
        assert_eq!(
            said("1.5 end packages ok"),
            Some(Said::Ok("packages".into(), String::new()))
        );
        assert_eq!(
            said("1.5 end vmm ok Linux 6.1 booted"),
            Some(Said::Ok("vmm".into(), "Linux 6.1 booted".into()))
        );
        assert_eq!(said("1.5 end vmm okay"), None);
        assert_eq!(
            said("1.5 end nix failed no route"),
            Some(Said::Failed("nix".into(), "no route".into()))
        );
        assert_eq!(
            said("1.5 skip nix none configured"),
            Some(Said::Skipped("nix".into(), "none configured".into()))
        );
        assert_eq!(said("1.5 done"), Some(Said::Done));
        assert_eq!(
            said("1.5 failed gate no kvm"),
            Some(Said::GaveUp("gate".into(), "no kvm".into()))
        );
    }

    #[test]
    fn other_lines_are_no_status() {
        for line in [
            "",
            "x",
            "1.5",
            "1.5 begin",
            "NaN begin x",
            "1.5 end x",
            "1.5 end x maybe",
            "1.5 done x",
            "1.5 dance x",
        ] {
            assert_eq!(StatusLine::parse(line), None, "{line}");
        }
    }

    #[test]
    fn unread_lines_count_for_the_next_question() {
        assert_eq!(Answer::parse("garbage\n1.5 begin nix\n").line_count, 2);
    }

    #[test]
    fn running_stage_names_its_step() {
        check(&[], "running");
        check(
            &["1 begin users", "2 end users ok", "2 begin packages"],
            "running packages",
        );
    }

    #[test]
    fn stage_is_ready_when_both_say_so() {
        check(
            &["1 begin users", "2 end users ok", "3 done", &wrapped(0, DONE_22)],
            "ready",
        );
    }

    #[test]
    fn recoverable_errors_are_shown() {
        check(
            &["3 done", &wrapped(2, DEGRADED_24)],
            "ready WARNING: Failed at merging in cloud config part from part-001",
        );
        check(&["3 done", &wrapped(2, DONE_22)], "ready");
    }

    #[test]
    fn failed_step_is_named_with_its_message() {
        check(
            &[
                "1 begin gate",
                "2 end gate failed /dev/kvm is not there",
                "2 failed gate /dev/kvm is not there",
                &wrapped(1, ERROR_22),
            ],
            "stage 1 failed at gate: /dev/kvm is not there",
        );
    }

    #[test]
    fn error_elsewhere_is_cloud_inits() {
        check(
            &["3 done", &wrapped(1, ERROR_22)],
            "stage 1 failed at cloud-init: ('scripts_user', RuntimeError('Runparts: 1 failures (runcmd) in 1 attempted commands'))",
        );
    }

    #[test]
    fn end_of_cloud_init_without_end_of_the_steps_is_a_failure() {
        check(
            &[&wrapped(0, DONE_22)],
            "stage 1 failed at cloud-init: stage 1 did not begin, and cloud-init does not know why",
        );
        check(
            &["1 begin nix", &wrapped(0, DONE_22)],
            "stage 1 failed at nix: it was cut off, and cloud-init does not know why",
        );
        check(
            &["3 done", &wrapped(1, "null")],
            "stage 1 failed at cloud-init: cloud-init gives no status",
        );
        check(
            &[
                "3 done",
                &wrapped(
                    0,
                    r#"{"status": "disabled", "detail": "Cloud-init disabled by cloud-init-generator"}"#,
                ),
            ],
            "stage 1 failed at cloud-init: cloud-init is `disabled`: Cloud-init disabled by cloud-init-generator",
        );
    }
}
