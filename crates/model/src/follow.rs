//! The answer of `twolane-box follow`: a header line, then a piece of a check's output.
//! Keeps out: retrying, and what the output means.

use std::{collections::BTreeMap, str::FromStr};

use crate::check::Outcome;

/// Where a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, or there is output left to fetch.
    Running,
    /// It ended, and this answer holds the last of its output.
    Ended,
    /// It was started, and is gone without a trace of how it ended.
    Lost,
}

/// The header line.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// Where the check is.
    pub state: State,
    /// Where in the output this piece begins.
    pub offset: u64,
    /// How many bytes follow the header.
    pub bytes: u64,
    /// How much output there is by now.
    pub size: u64,
    /// How the unit ended, once it has.
    pub end: Option<End>,
    /// When it began, by the box's clock, in seconds.
    pub began: f64,
    /// The boot in which it was started.
    pub boot: String,
    /// The boot in which this was answered.
    pub boot_now: String,
}

/// How a check's unit ended, in systemd's words.
#[derive(Debug, Clone, PartialEq)]
pub struct End {
    /// `$SERVICE_RESULT`, or `stopped` when somebody stopped it.
    pub result: String,
    /// `$EXIT_CODE`: `exited`, `killed` or `dumped`.
    pub code: String,
    /// `$EXIT_STATUS`: an exit code or the name of a signal.
    pub status: String,
    /// When, by the box's clock, in seconds.
    pub ended: f64,
}

/// The line is not the header of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not read the box's answer `{line}`: {why}")]
pub struct HeaderError {
    line: String,
    why: String,
}

/// The longest header that makes sense.
const HEADER_MAX: usize = 4096;

/// How much of a line an error repeats.
const SHOWN_MAX: usize = 200;

impl HeaderError {
    fn new(line: &str, why: String) -> Self {
        Self {
            line: line.chars().take(SHOWN_MAX).collect(),
            why,
        }
    }
}

impl Header {
    /// Splits the answer to a question for the output from `asked` on into its header and the output that follows it.
    pub fn split(answer: &[u8], asked: u64) -> Result<(Self, &[u8]), HeaderError> {
        let end = answer
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(answer.len());
        let line = String::from_utf8_lossy(&answer[..end.min(HEADER_MAX)]);
        let fail = |why: String| Err(HeaderError::new(&line, why));
        if end > HEADER_MAX {
            return fail(format!("a header has no {end} bytes"));
        }
        let header: Self = line.parse()?;
        let output = answer.get(end + 1..).unwrap_or_default();
        if output.len() as u64 != header.bytes {
            return fail(format!("{} bytes follow, not {}", output.len(), header.bytes));
        }
        if header.offset != asked {
            return fail(format!("asked for the output from byte {asked} on"));
        }
        if asked.checked_add(header.bytes).is_none() {
            return fail("no output is that long".to_owned());
        }
        Ok((header, output))
    }

    /// Returns the offset to ask for next.
    pub fn next_offset(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    /// Returns whether the box was rebooted since the check was started.
    pub fn is_rebooted(&self) -> bool {
        self.boot != self.boot_now
    }

    /// Returns how long the check ran, in seconds, once it has ended.
    pub fn seconds(&self) -> Option<f64> {
        self.end.as_ref().map(|end| (end.ended - self.began).max(0.0))
    }

    /// Decides how the check ended; none while it runs. Only a command that returned 0 by itself has passed.
    pub fn outcome(&self) -> Option<Outcome> {
        let unknown = |why: String| Some(Outcome::Unknown { why });
        match (self.state, &self.end) {
            (State::Running, _) => None,
            (State::Ended, Some(end)) => Some(end.outcome()),
            (State::Ended, None) => unknown("the box has no record of how it ended".to_owned()),
            (State::Lost, _) if self.is_rebooted() => unknown("the box was rebooted while it ran".to_owned()),
            (State::Lost, _) => {
                unknown("its unit is gone from the box, without a record of how it ended".to_owned())
            }
        }
    }
}

impl End {
    fn outcome(&self) -> Outcome {
        let failed = |how: String| Outcome::Failed { how };
        match (self.result.as_str(), self.code.as_str(), self.status.as_str()) {
            ("success", "exited", "0") => Outcome::Passed,
            ("exit-code", "exited", status) => failed(format!("exit code {status}")),
            ("signal" | "core-dump", _, signal) => failed(format!("signal {signal}")),
            ("oom-kill", ..) => failed("out of memory, killed by the kernel".to_owned()),
            ("timeout", ..) => Outcome::TimedOut,
            ("stopped", ..) => Outcome::Unknown {
                why: "it was stopped before its end".to_owned(),
            },
            (result, code, status) => Outcome::Unknown {
                why: format!("systemd says {result} ({code}, {status})"),
            },
        }
    }
}

impl FromStr for Header {
    type Err = HeaderError;

    fn from_str(line: &str) -> Result<Self, HeaderError> {
        let fail = |why: String| HeaderError::new(line, why);
        let fields: BTreeMap<&str, &str> = line
            .split_ascii_whitespace()
            .filter_map(|it| it.split_once('='))
            .collect();
        let field = |name: &str| {
            fields
                .get(name)
                .copied()
                .ok_or_else(|| fail(format!("there is no {name}")))
        };
        let whole = |name: &str| {
            field(name)?
                .parse::<u64>()
                .map_err(|_| fail(format!("{name} is not a number")))
        };
        let moment = |name: &str| {
            let seconds = field(name)?.parse::<f64>().ok().filter(|it| it.is_finite());
            seconds.ok_or_else(|| fail(format!("{name} is not a moment")))
        };
        let state = match field("state")? {
            "running" => State::Running,
            "ended" => State::Ended,
            "lost" => State::Lost,
            other => return Err(fail(format!("there is no state {other}"))),
        };
        let end = match field("result")? {
            "" => None,
            result => Some(End {
                result: result.to_owned(),
                code: field("code")?.to_owned(),
                status: field("status")?.to_owned(),
                ended: moment("ended")?,
            }),
        };
        Ok(Self {
            state,
            offset: whole("offset")?,
            bytes: whole("bytes")?,
            size: whole("size")?,
            end,
            began: moment("begun")?,
            boot: field("boot")?.to_owned(),
            boot_now: field("boot_now")?.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(state: &str, result: &str, boot_now: &str) -> String {
        let mut words = result.split(' ');
        let mut word = || words.next().unwrap_or_default();
        let (result, code, status) = (word(), word(), word());
        let ended = if result.is_empty() { "" } else { "12.500" };
        format!(
            "state={state} offset=0 bytes=0 size=0 result={result} code={code} status={status} begun=10.000 ended={ended} boot=a boot_now={boot_now}"
        )
    }

    #[track_caller]
    fn check(state: &str, result: &str, boot_now: &str, outcome: &str) {
        let header: Header = line(state, result, boot_now).parse().unwrap();
        let said = header.outcome().map_or("none".to_owned(), |it| {
            format!("{} {}", it.word(), it.reason().unwrap_or_default())
        });
        assert_eq!(said.trim(), outcome);
    }

    #[test]
    fn only_a_return_of_zero_passes() {
        check("ended", "success exited 0", "a", "passed");
        check("ended", "exit-code exited 101", "a", "failed exit code 101");
        check("ended", "signal killed SEGV", "a", "failed signal SEGV");
        check("ended", "core-dump dumped ABRT", "a", "failed signal ABRT");
        check("ended", "timeout killed TERM", "a", "timed out");
        check("ended", "timeout exited 0", "a", "timed out");
    }

    #[test]
    fn end_that_nobody_saw_is_unknown() {
        check(
            "ended",
            "stopped exited 0",
            "a",
            "unknown it was stopped before its end",
        );
        check(
            "ended",
            "success killed TERM",
            "a",
            "unknown systemd says success (killed, TERM)",
        );
        check("ended", "", "a", "unknown the box has no record of how it ended");
        check(
            "lost",
            "",
            "a",
            "unknown its unit is gone from the box, without a record of how it ended",
        );
        check("lost", "", "b", "unknown the box was rebooted while it ran");
    }

    #[test]
    fn running_check_has_no_outcome() {
        check("running", "", "a", "none");
        check("running", "success exited 0", "a", "none");
    }

    #[test]
    fn output_follows_the_header_byte_for_byte() {
        let mut answer = line("running", "", "a")
            .replace("bytes=0", "bytes=4")
            .into_bytes();
        answer.extend(b"\n\xff\n\0x");
        let (header, output) = Header::split(&answer, 0).unwrap();
        assert_eq!((header.next_offset(), output), (4, &b"\xff\n\0x"[..]));
    }

    #[test]
    fn cut_answer_is_refused() {
        let answer = line("running", "", "a").replace("bytes=0", "bytes=4") + "\nab";
        let error = Header::split(answer.as_bytes(), 0).unwrap_err();
        assert!(error.to_string().ends_with("2 bytes follow, not 4"), "{error}");
        assert!(Header::split(b"", 0).is_err());
        assert!(Header::split(b"Connection reset\n", 0).is_err());
    }

    #[test]
    fn offset_that_was_not_asked_for_is_refused() {
        let lie = |offset: &str| line("running", "", "a").replace("offset=0", &format!("offset={offset}"));
        for offset in ["18446744073709551615", "16492674416640", "1"] {
            let error = Header::split(lie(offset).as_bytes(), 0).unwrap_err();
            assert!(error.to_string().ends_with("from byte 0 on"), "{error}");
        }
        let last = lie("18446744073709551615").replace("bytes=0", "bytes=1") + "\nx";
        let error = Header::split(last.as_bytes(), u64::MAX).unwrap_err();
        assert!(error.to_string().ends_with("no output is that long"), "{error}");
    }

    #[test]
    fn header_without_end_is_not_repeated() {
        let error = Header::split(&vec![b'x'; 1 << 20], 0).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
        let error = Header::split(&[b'x'; 3000], 0).unwrap_err();
        assert!(error.to_string().len() < 400, "{error}");
    }

    #[test]
    fn length_is_by_the_boxs_clock() {
        let header: Header = line("ended", "success exited 0", "a").parse().unwrap();
        assert_eq!(header.seconds(), Some(2.5));
    }
}
