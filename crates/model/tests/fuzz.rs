//! What reads answers of boxes, recordings and files, on inputs that are changed by a seed. None of it panics or takes long.

use std::collections::BTreeMap;

use model::{
    build::{self, BoxFacts, Compiler},
    config::{self, Around},
    event::EventRecord,
    follow::Header,
    gate,
    host::Address,
    journal::{Entry, Holdings},
    limits::parse_bytes,
    money::Money,
    name::{Label, ProviderName, RunId, Token},
    receipt::Receipt,
    report::Report,
    results::{CheckResults, Reader, read_junit},
    skips::{Baseline, Record, TestId, attempt, suite_arguments},
    stage1::{Answer, standing},
    tag_line,
    tags::Tags,
    time::parse_length,
};

/// How many inputs each reader gets in an ordinary test.
const ROUNDS: u64 = 700;

const HEADERS: &[&[u8]] = &[
    b"state=running offset=0 bytes=4 size=4 result= code= status= begun=10.000 ended= boot=a boot_now=a\nabcd",
    b"state=ended offset=0 bytes=0 size=9 result=exit-code code=exited status=101 begun=10 ended=12.5 boot=a boot_now=b\n",
    b"state=lost offset=0 bytes=0 size=0 result= code= status= begun=0 ended= boot=a boot_now=b\n",
];

const STAGE1: &[&[u8]] = &[
    b"1.0 begin packages\n2.5 end packages ok\n3.0 skip nix not wanted\n4.0 fail rust no network\n5.0 done\n",
    b"1.0 begin gate\ncloud-init {\"status\": \"done\", \"extended_status\": \"degraded done\", \"errors\": [\"a\"], \
      \"recoverable_errors\": {\"WARNING\": [\"b\"]}}\n",
    b"cloud-init {\"status\": \"error\", \"errors\": []}\n",
];

const GATES: &[&[u8]] = &[
    br#"{"probe": 1, "works": true, "sentence": "/dev/kvm works", "steps":
        [{"name": "open", "ok": true, "detail": "opened", "micros": 30},
         {"name": "loop", "ok": null, "detail": "not probed on aarch64", "micros": 0}],
        "facts": {"machine": "nested", "emulated_cpu": true, "modules": {"kvm_amd": {"npt": "Y"}}, "uid": 1000}}"#,
    br#"{"works": false, "sentence": "there is no /dev/kvm"}"#,
];

const OUTPUTS: &[&[u8]] = &[
    include_bytes!("../src/results/recorded/cargo-test.txt"),
    include_bytes!("../src/results/recorded/cargo-test-nocapture.txt"),
    include_bytes!("../src/results/recorded/cargo-test-quiet.txt"),
    include_bytes!("../src/results/recorded/nextest.txt"),
    include_bytes!("../src/results/recorded/fmt.txt"),
    include_bytes!("../src/results/recorded/clippy.txt"),
    include_bytes!("../src/results/recorded/does-not-compile.txt"),
    include_bytes!("../src/results/recorded/audit.txt"),
    include_bytes!("../src/results/recorded/deny.txt"),
];

const JUNIT: &[&[u8]] = &[include_bytes!("../src/results/recorded/nextest-junit.xml")];

const TRACES: &[&[u8]] = &[include_bytes!("../src/skips/recorded/nextest.jsonl")];

const CONFIGS: &[&[u8]] = &[
    include_bytes!("../src/config/read/testdata/whole.toml"),
    include_bytes!("../src/config/read/testdata/wrong.toml"),
];

const ENTRIES: &[&[u8]] = &[
    br#"{"at":"2026-01-02T03:04:05Z","run":"r1","fact":{"fact":"run-began","project":"mvm"}}
{"at":"2026-01-02T03:04:05Z","run":"r1","fact":{"fact":"unanswered","label":"b1","why":"silence"}}
{"at":"2026-01-02T03:04:06Z","run":"r1","fact":{"fact":"refused","label":"b1","token":"t1","why":"full"}}
{"at":"2026-01-02T03:04:06Z","run":"r1","fact":{"fact":"kept","label":"b1"}}
{"at":"2026-01-02T03:04:07Z","run":"r1","fact":{"fact":"down-began","label":"b1"}}
{"at":"2026-01-02T03:04:07Z","run":"r1","fact":{"fact":"gone","label":"b1","resources":[],"is_final":true}}
{"at":"2026-01-02T03:04:08Z","run":"r1","fact":{"fact":"run-ended","verdict":"passed"}}"#,
];

const EVENTS: &[&[u8]] = &[br#"{"v":1,"at":"2026-01-02T03:04:05Z","event":"run-began","run":"r1","project":"mvm","version":"0.1.0"}
{"v":1,"at":"2026-01-02T03:04:05Z","lane":"fast","event":"step-began","step":"up"}
{"v":1,"at":"2026-01-02T03:04:06Z","lane":"fast","event":"step-ended","step":"up","failure":null}
{"v":1,"at":"2026-01-02T03:04:07Z","lane":"fast","event":"check-began","check":"test"}
{"v":1,"at":"2026-01-02T03:04:08Z","lane":"fast","event":"check-ended","check":"test","outcome":{"outcome":"passed"},"seconds":1.5}
{"v":1,"at":"2026-01-02T03:04:08Z","lane":"fast","event":"notice","text":"a word"}
{"v":1,"at":"2026-01-02T03:04:09Z","event":"run-ended","verdict":"passed"}"#];

const WORDS: &[&[u8]] = &[
    b"user@machine.example:2222",
    b"[2001:db8::1]:22",
    b"500 MiB",
    b"1h30m",
    b"0.10 EUR",
    b"mvm-live-kvm-7f3a",
    b"crate::tests::a name",
    b"tl1 label=web run=r1 token=t1 deadline=1767330000",
    b"glibc 2.36\nGLIBC_2.34 GLIBC_2.17",
    b"rustc 1.95.0 (abc 2026-01-01)\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n",
    b"architecture=x86_64\nglibc=ldd (Debian GLIBC 2.36-9) 2.36\ncompiler=rustc 1.95.0\nhost=x86_64\nforeign\n",
    b"7 openat(AT_FDCWD, \"/dev/kvm\", O_RDWR|O_CLOEXEC) = -1 ENOENT (No such file or directory)",
    b"mvm-ephemeral=true\nmvm-label=web\nmvm-run=r1\nmvm-token=t1\nmvm-deadline=1767330000\nmvm-owner=a/b\n",
    b"cargo nextest run --workspace -E 'not test(slow)' -- --exact",
];

/// Whatever an answer says, its output is what follows, at the offset that was asked for.
fn header(input: &[u8]) {
    for asked in [0, u64::MAX] {
        if let Ok((header, output)) = Header::split(input, asked) {
            assert_eq!((header.offset, header.bytes), (asked, output.len() as u64));
            assert!(header.next_offset() >= asked);
            let _ = (header.outcome(), header.seconds());
        }
    }
}

fn stage1(input: &[u8]) {
    let answer = Answer::parse(&String::from_utf8_lossy(input));
    let _ = standing(&answer.lines, answer.cloud_init.as_ref());
    answer.lines.iter().for_each(|line| drop(line.event()));
}

fn gate(input: &[u8]) {
    let _ = gate::parse(&String::from_utf8_lossy(input));
}

fn output(input: &[u8]) {
    let mut reader = Reader::default();
    let text = String::from_utf8_lossy(input);
    text.lines().for_each(|line| reader.take(line));
    let _ = reader.finish(true).words();
}

fn junit(input: &[u8]) {
    let mut results = CheckResults::default();
    let _ = read_junit(&String::from_utf8_lossy(input), &mut results);
    results.make_relative("/home/mvm/mvm");
}

fn trace(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let _ = (Record::read(&text).doubts(), Baseline::read(&text));
}

fn configuration(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Err(mistakes) = config::read(&text, &Around::default()) {
        assert!(!mistakes.is_empty());
    }
}

fn lines<T: serde::de::DeserializeOwned>(input: &[u8]) -> Vec<T> {
    let lines = input.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect()
}

fn journal(input: &[u8]) {
    let entries: Vec<Entry> = lines(input);
    let _ = Holdings::fold(&entries);
    let _ = Receipt::of(&RunId::new("r1").unwrap(), &entries);
}

fn recording(input: &[u8]) {
    let records: Vec<EventRecord> = lines(input);
    let report = Report::of(&records);
    let _ = (report.seconds(), report.spent());
}

fn words(input: &[u8]) {
    let text = &*String::from_utf8_lossy(input);
    let _ = (text.parse::<Address>(), parse_bytes(text), parse_length(text));
    let _ = (Money::parse(text), Label::new(text), ProviderName::new(text));
    let _ = (Token::new(text), TestId::read(text), attempt(text));
    let _ = (
        build::glibc(text),
        build::glibc_of(input),
        build::read_doc_tests(text),
    );
    let _ = (Compiler::read(text), BoxFacts::read(text), suite_arguments(text));
    let _ = tag_line::read(text).as_ref().and_then(Tags::parse);
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let pairs: BTreeMap<String, String> = pairs.map(|(key, value)| (key.into(), value.into())).collect();
    if let Some(tags) = Tags::parse(&pairs) {
        assert!(Tags::parse(&tags.pairs()).is_some());
    }
}

/// What is changed has to be read as it is, so that what becomes of it comes far.
#[test]
fn inputs_that_are_not_changed_are_read() {
    let count = |texts: &[&[u8]]| {
        let lines = texts.iter().flat_map(|text| text.split(|byte| *byte == b'\n'));
        lines.count()
    };
    let entries = ENTRIES.iter().flat_map(|text| lines::<Entry>(text));
    assert_eq!(entries.count(), count(ENTRIES));
    let events = EVENTS.iter().flat_map(|text| lines::<EventRecord>(text));
    assert_eq!(events.count(), count(EVENTS));
    for text in GATES {
        gate::parse(&String::from_utf8_lossy(text)).unwrap();
    }
    for text in HEADERS {
        Header::split(text, 0).unwrap();
    }
}

/// One test for each reader, so that each can have a long run of its own.
macro_rules! of_any_kind {
    ($($test:ident: $name:literal, $corpus:expr, $read:expr;)*) => {
        $(
            #[test]
            fn $test() {
                fuzz::check(&[($name, $corpus, &$read)], ROUNDS);
            }
        )*
    };
}

of_any_kind! {
    check_header_of_any_kind_is_read: "a check's header", HEADERS, header;
    stage1_answer_of_any_kind_is_read: "stage 1", STAGE1, stage1;
    gate_report_of_any_kind_is_read: "the KVM gate", GATES, gate;
    check_output_of_any_kind_is_read: "a check's output", OUTPUTS, output;
    junit_file_of_any_kind_is_read: "JUnit", JUNIT, junit;
    trace_of_any_kind_is_read: "traces", TRACES, trace;
    configuration_of_any_kind_is_read: "twolane.toml", CONFIGS, configuration;
    journal_of_any_kind_is_read: "the journal", ENTRIES, journal;
    recording_of_any_kind_is_read: "a recording", EVENTS, recording;
    word_of_any_kind_is_read: "words", WORDS, words;
}
