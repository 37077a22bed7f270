//! Shell adapters: what the contract check finds, what an adapter is given, and what is left of one that misbehaves.
//! The "cloud" is a directory: a file `LABEL.box` for each box, and a log of the calls.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    candidate::Candidate,
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Gone, Machine},
    name::{Label, ProviderName, RunId, Token},
    order::{Order, Preinstall},
    selector::Selector,
    tags::{Owner, Tags},
    time::Deadline,
    world::Provider,
};
use providers::{
    contract::{self, Hooks, Reports},
    shell::{FUNCTIONS, Mistake, Shell, ShellSettings, check, recorded},
};
use tempfile::TempDir;

/// A whole adapter, but for `provider_up` and `provider_down`.
const REST: &str = r#"
provider_default_instance_type() { echo small; }
provider_default_region() { echo here; }
_call() { printf '%s|' "$@" >>"$_CLOUD/calls"; echo >>"$_CLOUD/calls"; }
"#;

const UP: &str = r#"
provider_up() {
    _call up "$@"
    echo "making $1" >&2
    : >"$_CLOUD/$1.box"
    echo 203.0.113.9
}
"#;

const DOWN: &str = r#"
provider_down() {
    _call down "$@"
    if [ -n "$1" ]; then rm -f "$_CLOUD/$1.box"; else rm -f "$_CLOUD"/*.box; fi
}
"#;

/// A directory with an adapter, its cloud and a state directory. Its name would be more than one word to a shell.
struct Bench {
    _dir: TempDir,
    root: Utf8PathBuf,
    settings: ShellSettings,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("a 'b $(c").tempdir().unwrap();
        let root = Utf8PathBuf::try_from(dir.path().canonicalize().unwrap()).unwrap();
        fs::create_dir(root.join("cloud")).unwrap();
        Self {
            _dir: dir,
            root,
            settings: ShellSettings {
                settling: Duration::ZERO,
                ..ShellSettings::default()
            },
        }
    }

    fn write(&self, name: &str, text: &str) -> Utf8PathBuf {
        let file = self.root.join(name);
        fs::write(&file, text).unwrap();
        file
    }

    /// Returns the provider of an adapter that consists of these parts.
    fn shell(&self, parts: &[&str]) -> Shell {
        let cloud = self.root.join("cloud").into_string().replace('\'', r"'\''");
        let file = self.write("acme.sh", &format!("_CLOUD='{cloud}'\n{}", parts.concat()));
        Shell::new(&file, &self.state(), self.settings.clone()).unwrap()
    }

    fn state(&self) -> Utf8PathBuf {
        self.root.join("state")
    }

    fn has_box(&self, label: &str) -> bool {
        self.root.join("cloud").join(format!("{label}.box")).exists()
    }

    fn calls(&self) -> Vec<String> {
        let calls = fs::read_to_string(self.root.join("cloud/calls")).unwrap_or_default();
        calls.lines().map(str::to_owned).collect()
    }

    /// Asserts that neither a box nor a record nor user-data is left.
    #[track_caller]
    fn assert_nothing_left(&self) {
        assert!(!self.has_box("b1"), "the box is left");
        let left: Vec<_> = fs::read_dir(self.state().join("boxes"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Hooks for Bench {
    fn order(&self, label: &Label, run: &RunId) -> Order {
        order(label.as_str(), run.as_str())
    }

    fn plant_foreign(&self, label: &Label) {
        fs::write(self.root.join("cloud").join(format!("{label}.other")), "").unwrap();
    }

    fn has_foreign(&self, label: &Label) -> bool {
        self.root.join("cloud").join(format!("{label}.other")).exists()
    }

    fn has_remains(&self, label: &Label) -> bool {
        self.has_box(label.as_str()) || self.state().join("boxes").join(label.as_str()).exists()
    }
}

fn order(label: &str, run: &str) -> Order {
    Order {
        candidate: Candidate {
            provider: ProviderName::new("acme").unwrap(),
            region: "there".to_owned(),
            instance_type: "big".to_owned(),
            image: None,
            disk_gb: Some(30),
            options: Box::default(),
        },
        tags: Tags {
            label: Label::new(label).unwrap(),
            run: RunId::new(run).unwrap(),
            token: Token::new("t-1").unwrap(),
            deadline: Deadline::at_unix(1_900_000_000),
            owner: Owner::default(),
        },
        need: KvmNeed::None,
        user_data: "#cloud-config\n# the-private-key\n".to_owned(),
        login_key: "ssh-ed25519 AAAA me".to_owned(),
        allow: vec!["203.0.113.7/32".to_owned(), "198.51.100.0/24".to_owned()],
        parts: None,
        preinstall: Preinstall::default(),
    }
}

async fn up(shell: &Shell) -> Result<Machine, ProviderError> {
    shell.up(&order("b1", "r1"), &Reports::default()).await
}

async fn down(shell: &Shell) -> Result<Vec<Gone>, ProviderError> {
    let selector = Selector::OfRun(Label::new("b1").unwrap(), RunId::new("r1").unwrap());
    shell.down(&selector, &Reports::default()).await
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

/// Returns whether a process runs whose id an adapter has recorded.
fn is_alive(file: &Utf8Path) -> bool {
    let Ok(pid) = fs::read_to_string(file) else {
        return false;
    };
    // Who was killed before it wrote has recorded nothing. A zombie has ended.
    let stat = pid
        .trim()
        .parse::<u32>()
        .map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")));
    stat.is_ok_and(|stat| stat.is_ok_and(|stat| !stat.contains(") Z ")))
}

#[tokio::test]
async fn an_adapter_keeps_the_contract_of_providers() {
    let bench = Bench::new();
    let shell = bench.shell(&[REST, UP, DOWN]);
    contract::check_all(&shell, &bench).await;
    assert_eq!(shell.default_choice(), ("small", "here"));
    assert!(shell.listing().is_none() && shell.console().is_none() && shell.own_deadline().is_none());
    assert!(shell.profile().can_turn_up_late);
}

#[tokio::test]
async fn an_adapter_is_given_what_the_contract_says_and_nothing_stays() {
    let bench = Bench::new();
    let shell = bench.shell(&[
        REST,
        DOWN,
        r#"
provider_up() {
    _call "$#" "$1" "$REGION" "$INSTANCE_TYPE" "$BOOT_DISK_SIZE" "$SSH_PUBKEY" "$TWOLANE_DEADLINE" "$TWOLANE_ALLOW_CIDR"
    _call "$(stat -c %a "$2")" "$(tail -n 1 "$2")" "$(stat -c %a "$(dirname "$2")")" "$(basename "${BASH_SOURCE[0]}")"
    read -r line || echo "standard input is empty" >&2
    echo 127.0.54.1
}
"#,
    ]);
    let reports = Reports::default();
    let machine = shell.up(&order("b1", "r1"), &reports).await.unwrap();
    assert_eq!(
        bench.calls(),
        [
            "2|b1|there|big|30|ssh-ed25519 AAAA me|1900000000|203.0.113.7/32,198.51.100.0/24|",
            "600|# the-private-key|700|acme.sh|"
        ]
    );
    assert_eq!(reports.all(), ["standard input is empty"]);
    assert_eq!(machine.address.to_string(), "127.0.54.1");
    assert_eq!((machine.port, machine.id.as_str()), (22, "b1"));
    let kept = bench.state().join("boxes/b1/adapter-acme");
    let names: Vec<_> = fs::read_dir(&kept)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["box.json"], "the user-data is gone");
    assert_eq!(
        recorded(&bench.state()).into_values().collect::<Vec<_>>(),
        [bench.root.join("acme.sh")]
    );
    down(&shell).await.unwrap();
    bench.assert_nothing_left();
    assert!(recorded(&bench.state()).is_empty());
}

#[tokio::test]
async fn what_gives_no_address_is_reported_and_destroyed() {
    let cases = [
        (
            "echo making it; echo 203.0.113.9; echo Done.",
            "`Done.`, and not an IP address; 203.0.113.9 came before it",
        ),
        ("true", "printed no address"),
        ("echo box.example.org", "`box.example.org`, and not an IP address"),
        ("echo 0.0.0.0", "no address of a machine"),
        ("echo 169.254.1.1", "link-local"),
        ("echo fe80::1", "link-local"),
        ("echo 2001:db8::1", "no route"),
        ("echo 203.0.113.9:22", "not an IP address"),
        (
            "echo no capacity >&2; return 3",
            "failed with exit code 3: no capacity",
        ),
        ("kill -KILL $$", "killed by signal 9"),
        ("exit 1", "failed with exit code 1"),
        ("no-such-program-here", "exit code 127"),
        (
            "set -u; echo \"$NO_SUCH_VARIABLE\"",
            "NO_SUCH_VARIABLE: unbound variable",
        ),
        (
            "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo 203.0.113.9",
            "wrote 1000013 bytes to standard output",
        ),
    ];
    for (body, wanted) in cases {
        let mut bench = Bench::new();
        bench.settings.has_route = |_| false;
        let function = format!("provider_up() {{\n: >\"$_CLOUD/$1.box\"\n{body}\n}}\n");
        let shell = bench.shell(&[REST, DOWN, &function]);
        let error = up(&shell).await.unwrap_err();
        assert!(error.to_string().contains(wanted), "{body}: {error}");
        assert_eq!(error.kind, ErrorKind::Invalid, "{body}");
        assert_eq!(bench.calls(), ["down|b1|"], "{body}");
        assert!(!bench.has_box("b1"), "{body}");
        // What was made may be listed late: it is looked for once more.
        assert_eq!(down(&shell).await.unwrap().len(), 1, "{body}");
        assert_eq!(bench.calls().len(), 2, "{body}");
        bench.assert_nothing_left();
        assert_eq!(down(&shell).await.unwrap(), [], "{body}");
        assert_eq!(bench.calls().len(), 2, "{body}");
    }
}

#[tokio::test]
async fn an_ipv6_address_is_taken_where_there_is_a_route() {
    let mut bench = Bench::new();
    bench.settings.has_route = |_| true;
    let shell = bench.shell(&[REST, DOWN, "provider_up() { echo 2001:db8::1; }\n"]);
    assert_eq!(up(&shell).await.unwrap().address.to_string(), "2001:db8::1");
}

const HANGS: &str = r#"
provider_up() {
    : >"$_CLOUD/$1.box"
    sleep 1000 &
    echo $! >"$_CLOUD/pid"
    echo waiting >&2
    wait
}
"#;

#[tokio::test]
async fn one_that_hangs_is_killed_with_all_that_it_started() {
    let mut bench = Bench::new();
    bench.settings.up_max = Duration::from_secs(2);
    let shell = bench.shell(&[REST, DOWN, HANGS]);
    let error = up(&shell).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unanswered);
    assert!(
        error
            .to_string()
            .contains("did not end within 2 s and was killed"),
        "{error}"
    );
    let pid = bench.root.join("cloud/pid");
    until("all of it has ended", || !is_alive(&pid)).await;
    assert_eq!(bench.calls(), ["down|b1|"]);
    assert_eq!(down(&shell).await.unwrap().len(), 1);
    bench.assert_nothing_left();
}

#[tokio::test]
async fn one_that_nobody_waits_for_any_more_is_killed_and_its_box_is_looked_for_twice() {
    let mut bench = Bench::new();
    bench.settings.settling = Duration::from_secs(3600);
    let shell = Arc::new(bench.shell(&[REST, DOWN, HANGS]));
    let upping = tokio::spawn({
        let shell = shell.clone();
        async move { up(&shell).await }
    });
    let pid = bench.root.join("cloud/pid");
    until("it hangs", || is_alive(&pid)).await;
    upping.abort();
    assert!(upping.await.unwrap_err().is_cancelled());
    until("all of it has ended", || !is_alive(&pid)).await;
    // A box that was asked for may still turn up: it does not count as gone yet.
    assert_eq!(down(&shell).await.unwrap(), []);
    assert_eq!(down(&shell).await.unwrap(), []);
    assert!(!bench.has_box("b1"));
    assert!(!bench.state().join("boxes/b1/adapter-acme/user-data").exists());
    bench.settings.settling = Duration::ZERO;
    let later = bench.shell(&[REST, DOWN, HANGS]);
    assert_eq!(down(&later).await.unwrap().len(), 1);
    assert_eq!(bench.calls().len(), 3);
    bench.assert_nothing_left();
}

/// Starts what may outlive a call: in the background, in a session of its own, and one without an environment. Each has written
/// down its number when this ends.
const LEAVES: &str = r#"
_leave() {
    sleep 1000 &
    echo $! >"$_CLOUD/background"
    setsid sh -c 'echo $$ >"$1/daemon"; exec sleep 1000' sh "$_CLOUD" &
    env -i "$(command -v sleep)" 1000 &
    echo $! >"$_CLOUD/bare"
    until [ -s "$_CLOUD/daemon" ]; do :; done
}
"#;

const LEFT: [&str; 3] = ["background", "daemon", "bare"];

#[tokio::test]
async fn what_a_good_call_leaves_running_holds_nothing_up_and_only_a_daemon_of_up_lives() {
    let bench = Bench::new();
    let shell = bench.shell(&[
        REST,
        LEAVES,
        r#"
provider_up() { _leave; mv "$_CLOUD/daemon" "$_CLOUD/box"; echo 127.0.0.1; }
provider_down() { kill "$(cat "$_CLOUD/box")"; _leave; }
"#,
    ]);
    up(&shell).await.unwrap();
    let file = |name: &str| bench.root.join("cloud").join(name);
    assert!(is_alive(&file("box")));
    assert!(!is_alive(&file("background")) && !is_alive(&file("bare")));
    let (label, other) = (Label::new("b1").unwrap(), RunId::new("r2").unwrap());
    let selector = Selector::OfRun(label, other);
    assert_eq!(shell.down(&selector, &Reports::default()).await.unwrap(), []);
    assert!(is_alive(&file("box")), "the box of another run stays");
    assert_eq!(down(&shell).await.unwrap().len(), 1);
    for left in ["box", "background", "daemon", "bare"] {
        until(left, || !is_alive(&file(left))).await;
    }
}

#[tokio::test]
async fn nothing_that_a_failed_call_started_lives_when_its_box_is_destroyed() {
    for end in ["return 1", "wait"] {
        let mut bench = Bench::new();
        bench.settings.up_max = Duration::from_secs(2);
        let body = format!("provider_up() {{ _leave; {end}; }}\n");
        let looks = r#"provider_down() { for it in background daemon bare; do ps -o pid=,stat= "$(cat "$_CLOUD/$it")"; done >>"$_CLOUD/seen"; }"#;
        let shell = bench.shell(&[REST, LEAVES, &body, looks]);
        up(&shell).await.unwrap_err();
        for left in LEFT {
            until(left, || !is_alive(&bench.root.join("cloud").join(left))).await;
        }
        let seen = fs::read_to_string(bench.root.join("cloud/seen")).unwrap();
        let alive: Vec<_> = seen.lines().filter(|line| !line.contains('Z')).collect();
        assert!(alive.is_empty(), "{end}: provider_down found {alive:?}");
    }
}

#[tokio::test]
async fn a_failed_down_is_reported_and_may_be_repeated() {
    let bench = Bench::new();
    let fails = r#"
provider_down() {
    if [ -e "$_CLOUD/broken" ]; then echo "API is down" >&2; return "$(cat "$_CLOUD/broken")"; fi
    rm -f "$_CLOUD/$1.box"
}
"#;
    let shell = bench.shell(&[REST, fails, "provider_up() { : >\"$_CLOUD/$1.box\"; }\n"]);
    let flag = bench.root.join("cloud/broken");
    fs::write(&flag, "1").unwrap();
    let error = up(&shell).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("printed no address\nand what it made may still stand: provider_down failed with exit code 1: API is down"),
        "{error}"
    );
    let error = down(&shell).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "it may pass");
    fs::write(&flag, "127").unwrap();
    let error = down(&shell).await.unwrap_err();
    assert_eq!(
        error.kind,
        ErrorKind::Invalid,
        "a program that is missing does not come by itself"
    );
    assert!(bench.has_box("b1"));
    fs::remove_file(&flag).unwrap();
    assert_eq!(down(&shell).await.unwrap(), []);
    assert_eq!(down(&shell).await.unwrap().len(), 1);
    bench.assert_nothing_left();
}

#[tokio::test]
async fn much_on_standard_error_is_cut() {
    let bench = Bench::new();
    let shell = bench.shell(&[
        REST,
        DOWN,
        "provider_up() { for i in {1..3000}; do echo line $i; done >&2; head -c 100000 /dev/zero >&2; echo >&2; return 1; }\n",
    ]);
    let reports = Reports::default();
    let error = shell.up(&order("b1", "r1"), &reports).await.unwrap_err();
    assert_eq!(reports.all().len(), 1001);
    assert!(error.cause.contains("line 3000"), "{error}");
    assert!(error.cause.len() < 2000, "{}", error.cause.len());
}

#[tokio::test]
async fn a_file_that_was_broken_meanwhile_is_not_run() {
    let bench = Bench::new();
    let shell = bench.shell(&[REST, UP, DOWN]);
    up(&shell).await.unwrap();
    let good = fs::read_to_string(bench.root.join("acme.sh")).unwrap();
    fs::write(
        bench.root.join("acme.sh"),
        format!("{good}\ntouch \"$_CLOUD/ran\"\n"),
    )
    .unwrap();
    let error = down(&shell).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.cause.contains("`touch"), "{error}");
    assert!(!bench.root.join("cloud/ran").exists() && bench.has_box("b1"));
    fs::write(bench.root.join("acme.sh"), good).unwrap();
    down(&shell).await.unwrap();
    bench.assert_nothing_left();
}

#[tokio::test]
async fn a_broken_adapter_is_refused_before_anything_is_called() {
    let bench = Bench::new();
    let shell = bench.shell(&[REST, UP]);
    let refusal = shell.refuse("small", KvmNeed::None).unwrap();
    assert!(
        refusal.cause.contains("there is no function `provider_down`"),
        "{refusal}"
    );
    assert!(refusal.help.unwrap().contains("twolane providers check"));
    assert_eq!(up(&shell).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(bench.calls(), Vec::<String>::new());
    bench.assert_nothing_left();
}

/// Checks a file and returns what is wrong with it, one a line.
fn check_text(bench: &Bench, text: &str) -> Result<providers::shell::Checked, Vec<Mistake>> {
    check(&bench.write("acme.sh", text), &bench.settings)
}

fn mistakes(bench: &Bench, name: &str, text: &str) -> String {
    reported(check(&bench.write(name, text), &bench.settings).err())
}

fn reported(mistakes: Option<Vec<Mistake>>) -> String {
    let lines: Vec<String> = mistakes.iter().flatten().map(ToString::to_string).collect();
    lines.join("\n")
}

const WHOLE: &str = r#"#!/usr/bin/env bash
# Settings may stand outside of functions.
set -euo pipefail
_API="https://api.example/v1"
readonly _SIZES=(small big)
: "${ACME_PROJECT:=mine}"

provider_default_instance_type() { echo "${_SIZES[0]}"; }
provider_default_region() {
    local region=eu-1
    printf '%s\n' "$region"
}
provider_up() { curl "$_API"; }
function provider_down { /usr/bin/curl -X DELETE "$_API"; }
_helper() ( exit 1 )
"#;

#[test]
fn a_good_file_is_good() {
    let bench = Bench::new();
    let checked = check(&bench.write("acme.sh", WHOLE), &bench.settings).unwrap();
    assert_eq!(checked.provider.as_str(), "acme");
    assert_eq!(checked.default_instance_type, "small");
    assert_eq!(checked.default_region, "eu-1");
}

#[test]
fn all_that_is_wrong_is_reported_at_once() {
    let bench = Bench::new();
    let text = "provider_up() { :; }\r\nprovider_list() {\r\n :\r\n}\r\nhelper() { :; }\r\necho hello\r\n/bin/date\r\n";
    let reported = mistakes(&bench, "My Cloud.sh", text);
    for wanted in [
        "`My Cloud` is not a provider's name",
        "7 of its lines end in CR LF",
        "it writes `hello` to standard output when it is read",
        "line 7: when the file is read: /bin/date: restricted",
        "there is no function `provider_down`",
        "there is no function `provider_default_region`",
        "there is no function `provider_default_instance_type`",
        "line 2: `provider_list` is not a function of the contract",
        "line 5: `helper` is not a function of the contract: call it `_helper`",
    ] {
        assert!(reported.contains(wanted), "{wanted:?} is not in\n{reported}");
    }
    assert_eq!(reported.lines().count(), 9, "{reported}");
}

#[track_caller]
fn assert_reported(bench: &Bench, text: &str, wanted: &str) {
    let reported = mistakes(bench, "acme.sh", text);
    assert!(reported.contains(wanted), "{wanted:?} is not in\n{reported}");
}

#[test]
fn each_missing_function_is_reported() {
    let bench = Bench::new();
    for function in FUNCTIONS {
        let text = WHOLE.replace(function, "_other");
        assert_reported(&bench, &text, &format!("there is no function `{function}`"));
    }
    assert_reported(&bench, "", "there is no function `provider_up`");
}

#[test]
fn a_syntax_error_is_reported_with_its_line_and_nothing_false_beside_it() {
    let bench = Bench::new();
    let reported = mistakes(
        &bench,
        "acme.sh",
        "provider_up() { :; }\nif true; then\nfi\nprovider_down() { :; }\n",
    );
    assert!(
        reported.starts_with("line 3: syntax error near unexpected token `fi'"),
        "{reported}"
    );
    assert_eq!(reported.lines().count(), 1, "{reported}");
    assert_reported(&bench, "provider_up() {\n echo \"\n}\n", "unexpected EOF");
}

#[test]
fn what_cannot_be_an_adapter_is_reported() {
    let bench = Bench::new();
    let settings = &bench.settings;
    let reported_of = |name: &str| reported(check(&bench.root.join(name), settings).err());
    fs::create_dir(bench.root.join("dir.sh")).unwrap();
    assert!(reported_of("dir.sh").contains("it is a directory"));
    assert!(reported_of("none.sh").contains("there is no such file"));
    let status = std::process::Command::new("mkfifo")
        .arg(bench.root.join("pipe.sh"))
        .status()
        .unwrap();
    assert!(status.success());
    assert!(reported_of("pipe.sh").contains("not an ordinary file"));
    bench.write("big.sh", &"#\n".repeat(200_000));
    assert!(reported_of("big.sh").contains("400000 bytes"));
    fs::write(bench.root.join("bytes.sh"), [b'a', 0xff, b'\n']).unwrap();
    assert!(reported_of("bytes.sh").contains("not text in UTF-8"));
    assert_reported(&bench, "a\0b", "zero byte");
    assert!(mistakes(&bench, "a..b.sh", WHOLE).contains("`a..b` is not a provider's name"));
    assert!(mistakes(&bench, "gcp.sh", WHOLE).contains("built in"));
    assert!(mistakes(&bench, "acme", WHOLE).contains("does not end in `.sh`"));
    assert!(Shell::new(&bench.root.join("a..b.sh"), &bench.state(), settings.clone()).is_err());
    // Whoever may read everything, as root may, can not be refused.
    let locked = bench.write("locked.sh", WHOLE);
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&locked).is_err() {
        assert!(reported_of("locked.sh").contains("cannot be read"));
    }
}

#[test]
fn a_default_is_one_word_and_runs_no_program() {
    let bench = Bench::new();
    let with = |body: &str| WHOLE.replace("printf '%s\\n' \"$region\"", body);
    assert_reported(&bench, &with("true"), "provider_default_region: ");
    assert_reported(&bench, &with("echo eu-1; echo eu-2"), "provider_default_region: ");
    assert_reported(
        &bench,
        &with("echo 'eu 1; rm -rf /'"),
        "provider_default_region: ",
    );
    assert_reported(&bench, &with("return 7"), "it failed");
    assert_reported(&bench, &with("date"), "`date` would run something");
    assert_reported(&bench, &with("/bin/date"), "restricted");
    assert_reported(&bench, &with("echo a >/tmp/never"), "restricted");
}

#[test]
fn default_function_runs_no_program_and_sees_no_secret() {
    let bench = Bench::new();
    let marker = std::env::temp_dir().join(format!("twolane-default-{}", std::process::id()));
    let touch = marker.to_str().unwrap();
    let with = |body: &str| WHOLE.replace("printf '%s\\n' \"$region\"", body);
    for body in [
        "PATH=/usr/bin:/bin; touch MARKER; echo eu",
        "local PATH=/usr/bin:/bin; touch MARKER; echo eu",
        "PATH=/usr/bin:/bin touch MARKER; echo eu",
        "declare -i _x='_B[$(PATH=/usr/bin:/bin; touch MARKER)]'; echo eu",
        "echo $(( _B[$(PATH=/usr/bin:/bin; touch MARKER)] ))",
        "BASH_CMDS[t]=/usr/bin/touch; t MARKER; echo eu",
        "unset PATH; touch MARKER; echo eu",
        "shopt -u restricted_shell; set +r; /usr/bin/touch MARKER; echo eu",
    ] {
        mistakes(&bench, "acme.sh", &with(&body.replace("MARKER", touch)));
        assert!(!marker.exists(), "it ran: {body}");
    }
    // What nextest itself is started with stands for a token.
    let cargo = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    assert!(!cargo.is_empty());
    let checked = check_text(
        &bench,
        &with("echo \"${CARGO_MANIFEST_DIR:+leaked}${CARGO_MANIFEST_DIR:-kept}\""),
    );
    assert_eq!(checked.unwrap().default_region, "kept");
    let checked = check_text(
        &bench,
        &format!(
            "_WHERE=eu-9\nreadonly _MORE=x\n{}",
            with("echo \"$_WHERE$_MORE\"")
        ),
    );
    assert_eq!(checked.unwrap().default_region, "eu-9x");
}

#[test]
fn a_bash_that_is_missing_or_too_old_is_reported() {
    let mut bench = Bench::new();
    bench.settings.bash = "no-such-bash".to_owned();
    assert_reported(
        &bench,
        WHOLE,
        "`no-such-bash` is not there: install bash 4.4 or newer",
    );
    let old = bench.write(
        "old-bash",
        "#!/bin/sh\necho 'GNU bash, version 3.2.57(1)-release'\n",
    );
    fs::set_permissions(&old, fs::Permissions::from_mode(0o755)).unwrap();
    bench.settings.bash = old.into_string();
    assert_reported(&bench, WHOLE, "is bash 3.2, which is too old");
}

#[test]
fn a_file_that_does_not_end_is_given_up() {
    let mut bench = Bench::new();
    bench.settings.read_max = Duration::from_secs(3);
    for text in ["while [[ 1 ]]; do [[ 1 ]]; done\n", "while :; do :; done\n"] {
        let reported = mistakes(&bench, "acme.sh", &format!("{WHOLE}\n{text}"));
        assert!(
            reported.contains("has not ended within 3 s") || reported.contains("bash leaves before"),
            "{text}{reported}"
        );
    }
    let hangs = WHOLE.replace("local region=eu-1", "while [[ 1 ]]; do [[ 1 ]]; done");
    assert_reported(
        &bench,
        &hangs,
        "provider_default_region: it has not ended within 3 s",
    );
}

#[test]
fn all_that_a_check_asks_of_bash_has_one_time_limit() {
    let mut bench = Bench::new();
    bench.settings.read_max = Duration::from_secs(3);
    let slow = format!("{WHOLE}\nwhile (( SECONDS < 2 )); do :; done\n");
    assert_reported(
        &bench,
        &slow,
        "provider_default_instance_type: it has not ended within 3 s",
    );
}

/// Each of these would do something, were it run when the file is read. MARKER is a file that must not appear.
const TRICKS: [&str; 47] = [
    "PATH=/usr/bin:/bin; declare -i _x='_B[$(touch MARKER)]'",
    "touch MARKER",
    "/usr/bin/touch MARKER",
    "exec /usr/bin/touch MARKER",
    "command -p touch MARKER",
    "command touch MARKER",
    "builtin command -p touch MARKER",
    "enable -f /usr/lib/bash/sleep sleep",
    "enable exec; exec touch MARKER",
    "hash -p /usr/bin/touch t; t MARKER",
    "PATH=/usr/bin:/bin touch MARKER",
    "PATH=/usr/bin:/bin; touch MARKER",
    "export PATH=/usr/bin:/bin; touch MARKER",
    "BASH_CMDS[t]=/usr/bin/touch; t MARKER",
    "set +r; touch MARKER",
    "eval 'touch MARKER'",
    "source /dev/stdin <<<'/usr/bin/touch MARKER'",
    ". <(echo /usr/bin/touch MARKER)",
    "x=$(touch MARKER)",
    "x=`touch MARKER`",
    "x=$(</etc/passwd)",
    "echo hello",
    "echo hello >MARKER",
    ">MARKER",
    "{ :; } >MARKER",
    "exec 3>MARKER",
    "exec 3</dev/tcp/127.0.0.1/9",
    "{ :; } 3</dev/tcp/127.0.0.1/9",
    "touch MARKER &",
    "( touch MARKER )",
    "( touch MARKER ) &",
    "{ touch MARKER; } &",
    "coproc touch MARKER",
    "coproc C { touch MARKER; }",
    "true | touch MARKER",
    "trap 'touch MARKER' EXIT",
    "trap 'touch MARKER' DEBUG; :",
    "exit 0",
    "return 0; touch MARKER",
    "kill -KILL $$",
    "for x in $(touch MARKER); do :; done",
    "case $(touch MARKER) in *) ;; esac",
    "[[ -n $(touch MARKER) ]]",
    "(( x[$(touch MARKER)] ))",
    "_f() { touch MARKER; }; _f",
    "builtin() { /usr/bin/touch MARKER; }\nprintf() { /usr/bin/touch MARKER; }\ntouch MARKER",
    "cat <<E\n$(touch MARKER)\nE",
];

#[test]
fn reading_a_file_runs_no_program_and_reports_what_was_tried() {
    try_all_tricks(&TRICKS);
}

/// Only bash itself then keeps the text from becoming a program and from writing; nothing keeps it from reading.
#[test]
fn reading_a_file_runs_no_program_where_the_kernel_has_no_landlock() {
    let older = std::thread::spawn(|| {
        let filter = seccompiler::SeccompFilter::new(
            [(libc::SYS_landlock_create_ruleset, Vec::new())].into(),
            seccompiler::SeccompAction::Allow,
            seccompiler::SeccompAction::Errno(libc::ENOSYS.unsigned_abs()),
            std::env::consts::ARCH.try_into().unwrap(),
        );
        let program: seccompiler::BpfProgram = filter.unwrap().try_into().unwrap();
        seccompiler::apply_filter(&program).unwrap();
        a_good_file_is_good();
        let reads = |trick: &&str| *trick != "x=$(</etc/passwd)";
        try_all_tricks(&TRICKS.into_iter().filter(reads).collect::<Vec<_>>());
        default_function_runs_no_program_and_sees_no_secret();
    });
    older.join().unwrap();
}

fn try_all_tricks(tricks: &[&str]) {
    let bench = Bench::new();
    let marker = std::env::temp_dir().join(format!("twolane-marker-{}", std::process::id()));
    for trick in tricks {
        let trick = trick.replace("MARKER", marker.to_str().unwrap());
        let reported = mistakes(&bench, "acme.sh", &format!("{WHOLE}\n{trick}\n"));
        assert!(!marker.exists(), "it ran: {trick}");
        assert!(!reported.is_empty(), "nobody reported: {trick}");
        assert!(
            !reported.contains("tl_") && !reported.contains("there is no function"),
            "{trick}\n{reported}"
        );
    }
}

#[test]
fn functions_that_hide_others_are_found() {
    let bench = Bench::new();
    for name in [
        "builtin", "declare", "printf", "unset", "export", "eval", "trap", "echo",
    ] {
        let reported = mistakes(&bench, "acme.sh", &format!("{WHOLE}\n{name}() {{ :; }}\n"));
        assert!(
            reported.contains(&format!("`{name}` is not a function of the contract")),
            "{name}: {reported}"
        );
    }
}

/// Whatever a file holds, its check ends, and runs nothing.
#[test]
fn file_of_any_kind_is_checked_and_runs_nothing() {
    let mut bench = Bench::new();
    bench.settings.read_max = Duration::from_secs(2);
    let marker = std::env::temp_dir().join(format!("twolane-fuzz-{}", std::process::id()));
    let tricks =
        TRICKS.map(|trick| format!("{WHOLE}\n{trick}\n").replace("MARKER", marker.to_str().unwrap()));
    let corpus: Vec<&[u8]> = tricks.iter().map(String::as_bytes).collect();
    for seed in fuzz::seeds(40) {
        let input = fuzz::input(&corpus, &mut fuzz::Rng::with_seed(seed));
        let file = bench.root.join("acme.sh");
        fs::write(&file, &input).unwrap();
        let _ = check(&file, &bench.settings);
        assert!(!marker.exists(), "seed {seed}: it ran: {}", input.escape_ascii());
    }
}

/// What is kept of boxes may have been damaged in any way.
#[tokio::test]
async fn record_of_any_kind_is_read_or_an_error() {
    let bench = Bench::new();
    let shell = bench.shell(&[REST, UP, DOWN]);
    up(&shell).await.unwrap();
    let file = bench.state().join("boxes/b1/adapter-acme/box.json");
    let good = fs::read(&file).unwrap();
    for seed in fuzz::seeds(20) {
        let damaged = fuzz::input(&[&good], &mut fuzz::Rng::with_seed(seed));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, damaged).unwrap();
        let _ = recorded(&bench.state());
        let _ = down(&shell).await;
    }
}
