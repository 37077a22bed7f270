//! Reads what `trace-tests.sh` wrote down of one check.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    TestId,
    device::{Attempt, Device, attempt},
};

/// Devices of one test that are kept.
const DEVICES_MAX: usize = 50;

/// What was recorded of one check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Record {
    /// The tests that it ran or could have run.
    pub tests: BTreeMap<TestId, TestRecord>,
    /// Why they did not run under the tracer, if so.
    pub untraced: Option<String>,
    /// Whether the box had a `/dev/kvm` when the check began, working or not.
    pub has_kvm: bool,
    has_begun: bool,
    has_ended: bool,
    unread: u64,
}

/// What was seen of one test.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TestRecord {
    /// Whether it is marked as ignored.
    pub is_ignored: bool,
    /// How it was run; none when it was not. Of several times the last.
    pub run: Option<Run>,
}

/// How a test was run.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    /// It began, and was ended together with the tracer.
    Begun,
    /// It came to its end.
    Ended {
        /// Its exit status.
        code: i32,
        /// How long it took.
        seconds: f64,
        /// What it asked for, by path; none when nobody watched.
        devices: Option<Vec<Device>>,
    },
}

#[derive(Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
enum Line {
    Begin {
        why: String,
        #[serde(default)]
        kvm: bool,
    },
    Listed {
        binary: String,
        test: String,
        ignored: bool,
    },
    Began {
        binary: String,
        test: Option<String>,
    },
    Ended {
        binary: String,
        test: Option<String>,
        code: i32,
        micros: u64,
        trace: Option<Vec<String>>,
    },
    End {},
}

impl Record {
    /// Reads a whole record.
    pub fn read(text: &str) -> Self {
        let mut record = Self::default();
        text.lines().for_each(|line| record.take(line));
        record
    }

    /// Takes one line.
    pub fn take(&mut self, line: &str) {
        let Ok(line) = serde_json::from_str(line) else {
            self.unread += 1;
            return;
        };
        match line {
            Line::Begin { why, kvm } => {
                self.has_begun = true;
                self.has_kvm = kvm;
                self.untraced = Some(why).filter(|why| !why.is_empty());
            }
            Line::Listed {
                binary,
                test,
                ignored,
            } => {
                let test = Some(test);
                self.seen(TestId { binary, test }).is_ignored |= ignored;
            }
            Line::Began { binary, test } => self.seen(TestId { binary, test }).run = Some(Run::Begun),
            Line::Ended {
                binary,
                test,
                code,
                micros,
                trace,
            } => {
                self.seen(TestId { binary, test }).run = Some(Run::Ended {
                    code,
                    seconds: micros as f64 / 1e6,
                    devices: trace.map(|trace| devices(&trace)),
                });
            }
            Line::End {} => self.has_ended = true,
        }
    }

    /// Returns why not all of the record is to be trusted.
    pub fn doubts(&self) -> Vec<String> {
        let mut doubts: Vec<String> = self.untraced.iter().cloned().collect();
        if !self.has_begun || !self.has_ended {
            doubts.push("its record is cut off".to_owned());
        }
        if self.unread > 0 {
            doubts.push(format!("{} lines of its record can not be read", self.unread));
        }
        doubts
    }

    fn seen(&mut self, id: TestId) -> &mut TestRecord {
        self.tests.entry(id).or_default()
    }
}

/// Returns the devices of a trace, each with the best that came of it.
fn devices(trace: &[String]) -> Vec<Device> {
    let mut best: BTreeMap<String, Attempt> = BTreeMap::new();
    for device in trace.iter().filter_map(|line| attempt(line)) {
        if let Some(known) = best.get_mut(&device.path) {
            if rank(&device.attempt) > rank(known) {
                *known = device.attempt;
            }
        } else if best.len() < DEVICES_MAX {
            best.insert(device.path, device.attempt);
        }
    }
    best.into_iter()
        .map(|(path, attempt)| Device { path, attempt })
        .collect()
}

/// A look that went well does not make good that the device could not be opened.
fn rank(attempt: &Attempt) -> u8 {
    match attempt {
        Attempt::Seen => 0,
        Attempt::Refused { how } if !how.starts_with("open") => 1,
        Attempt::Refused { .. } => 2,
        Attempt::Opened => 3,
        Attempt::Driven { request } if request == "KVM_CREATE_VM" => 5,
        Attempt::Driven { .. } => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trace: &[&str], expected: &str) {
        let trace: Vec<String> = trace.iter().map(|line| (*line).to_owned()).collect();
        let reported: Vec<String> = devices(&trace).iter().map(ToString::to_string).collect();
        assert_eq!(reported.join("; "), expected);
    }

    #[test]
    fn the_best_that_came_of_a_device_counts() {
        let seen = r#"stat("/dev/kvm", 0x1) = 0"#;
        let refused = r#"open("/dev/kvm", O_RDWR) = -1 EACCES (Permission denied)"#;
        let opened = r#"open("/dev/kvm", O_RDONLY) = 3</dev/kvm>"#;
        let version = "ioctl(3</dev/kvm>, KVM_GET_API_VERSION, 0) = 12";
        let made = "ioctl(3</dev/kvm>, KVM_CREATE_VM, 0) = 4<anon_inode:kvm-vm>";
        check(&[seen], "/dev/kvm: is there");
        check(&[seen, refused], "/dev/kvm: open: EACCES");
        check(&[refused, seen], "/dev/kvm: open: EACCES");
        check(&[refused, opened, refused], "/dev/kvm: opened");
        check(&[opened, made, version], "/dev/kvm: KVM_CREATE_VM");
        check(
            &[seen, r#"access("/dev/net/tun", 0) = -1 ENOENT (x)"#],
            "/dev/kvm: is there; /dev/net/tun: access: ENOENT",
        );
    }

    #[test]
    fn what_the_script_writes_is_read() {
        let record = Record::read(include_str!("recorded/nextest.jsonl"));
        assert_eq!(record.doubts(), Vec::<String>::new());
        let reported: Vec<String> = record
            .tests
            .iter()
            .map(|(id, seen)| {
                let how = match &seen.run {
                    None => "not run".to_owned(),
                    Some(Run::Begun) => "begun".to_owned(),
                    Some(Run::Ended { code, devices, .. }) => {
                        let devices: Vec<String> = devices.iter().flatten().map(Device::to_string).collect();
                        format!("{code} {}", devices.join(", "))
                    }
                };
                format!("{id} | {} | {how}", seen.is_ignored)
            })
            .collect();
        insta::assert_snapshot!(reported.join("\n"));
    }

    #[test]
    fn a_record_that_is_cut_off_or_wild_is_not_trusted() {
        let whole = include_str!("recorded/nextest.jsonl");
        for cut in [0, 10, whole.len() / 2, whole.len() - 3] {
            assert!(!Record::read(&whole[..cut]).doubts().is_empty(), "{cut}");
        }
        let wild = "{}\nnull\n\u{fffd}\n{\"what\":\"ended\"}\n{\"what\":\"new\"}\n";
        let record = Record::read(wild);
        assert_eq!(record.tests.len(), 0);
        assert!(
            record.doubts().iter().any(|doubt| doubt.starts_with("5 lines")),
            "{:?}",
            record.doubts()
        );
        let untraced = Record::read(
            "{\"what\":\"begin\",\"v\":1,\"tracer\":\"\",\"why\":\"no strace\",\"kvm\":false}\n{\"what\":\"end\",\"code\":0}",
        );
        assert_eq!(untraced.doubts(), ["no strace"]);
    }

    #[test]
    fn a_test_that_was_killed_with_its_tracer_has_only_begun() {
        let record = Record::read(r#"{"what":"began","binary":"b","test":"a \"b\" \u001b[31m"}"#);
        let (id, seen) = record.tests.iter().next().unwrap();
        assert_eq!(id.to_string(), "b a \"b\" \u{1b}[31m");
        assert_eq!(seen.run, Some(Run::Begun));
    }
}
