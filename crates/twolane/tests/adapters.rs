//! Shell adapters as the user of the binary sees them. The "cloud" is a directory; no box ever answers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

const LANE: &str = "[lanes.only]\nboxes = [\"acme\"]\nchecks = [{ name = \"a\", run = \"true\" }]\n";

/// A project with an adapter, and a home of its own.
struct Project(TempDir);

impl Project {
    /// `functions` are `provider_up` and `provider_down`.
    fn new(functions: &str) -> Self {
        let project = Self(tempfile::tempdir().unwrap());
        for dir in ["work/providers", "home", "cloud", "elsewhere"] {
            fs::create_dir_all(project.path(dir)).unwrap();
        }
        let config = format!("[project]\nname = \"demo\"\n\n[sources]\ndemo = {{ path = \".\" }}\n\n{LANE}");
        fs::write(project.path("work/twolane.toml"), config).unwrap();
        project.write(functions);
        project
    }

    fn write(&self, functions: &str) {
        let cloud = self.path("cloud");
        let text = format!(
            "_CLOUD='{}'\nprovider_default_instance_type() {{ echo small; }}\n\
             provider_default_region() {{ echo \"${{ACME_REGION:-here}}\"; }}\n{functions}",
            cloud.display()
        );
        fs::write(self.path("work/providers/acme.sh"), text).unwrap();
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn command(&self, dir: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_twolane"));
        command
            .args(arguments)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("TWOLANE_STATE_DIR", self.path("state"))
            .env("TWOLANE_ALLOW_CIDR", "203.0.113.7/32")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(&self.path("work"), arguments).output().unwrap()
    }

    /// Returns what the adapter wrote down.
    fn seen(&self, file: &str) -> String {
        fs::read_to_string(self.path("cloud").join(file)).unwrap_or_default()
    }
}

#[track_caller]
fn assert_says(output: &Output, code: i32, wanted: &[&str]) {
    let text = String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    for wanted in wanted {
        assert!(text.contains(wanted), "{wanted:?} is not in\n{text}");
    }
}

const UP_WITHOUT_ADDRESS: &str =
    "provider_up() { : >\"$_CLOUD/box\"; echo up \"$REGION\" >>\"$_CLOUD/calls\"; echo hello; }\n";

const DOWN: &str = "provider_down() { rm -f \"$_CLOUD/box\"; echo down >>\"$_CLOUD/calls\"; }\n";

const DOWN_FAILS: &str = "provider_down() { no-such-program-here; }\n";

#[test]
fn an_adapter_is_a_provider_of_its_name() {
    let project = Project::new(&format!("{UP_WITHOUT_ADDRESS}{DOWN}"));
    assert_says(
        &project.run(&["plan"]),
        0,
        &["acme small in here", "only by its own timer"],
    );
    let mut command = project.command(&project.path("work"), &["plan"]);
    command
        .env("TWOLANE_PROVIDER", "acme")
        .env("ACME_REGION", "there");
    assert_says(&command.output().unwrap(), 0, &["acme small in there"]);
    assert_says(&project.run(&["providers"]), 0, &["acme", "small"]);
    assert_says(
        &project.run(&["doctor", "--provider", "acme", "--json"]),
        project
            .run(&["doctor", "--provider", "acme"])
            .status
            .code()
            .unwrap(),
        &["acme.sh keeps to the contract"],
    );
    assert_eq!(project.seen("calls"), "", "none of that calls the adapter");
}

#[test]
fn a_broken_adapter_stops_what_would_use_it_before_anything_is_made() {
    let project = Project::new(UP_WITHOUT_ADDRESS);
    for command in ["plan", "run", "up"] {
        let output = project.run(&[command]);
        assert_says(
            &output,
            2,
            &[
                "acme.sh",
                "there is no function `provider_down`",
                "providers check",
            ],
        );
    }
    // Others are not held up by it.
    assert_says(&project.run(&["plan", "--provider", "local"]), 0, &["local"]);
    assert_says(&project.run(&["ls"]), 0, &["no box"]);
    assert_eq!(project.seen("calls"), "");
}

#[test]
fn the_name_of_a_built_in_provider_is_not_taken() {
    let project = Project::new(&format!("{UP_WITHOUT_ADDRESS}{DOWN}"));
    fs::copy(
        project.path("work/providers/acme.sh"),
        project.path("work/providers/hetzner.sh"),
    )
    .unwrap();
    let output = project.run(&["plan", "--provider", "hetzner"]);
    assert_says(&output, 2, &["`hetzner` is a provider that is built in"]);
}

#[test]
fn the_check_reports_all_at_once() {
    let project = Project::new(&format!("{UP_WITHOUT_ADDRESS}{DOWN}"));
    let good = project.run(&["providers", "check", "providers/acme.sh"]);
    assert_says(
        &good,
        0,
        &["keeps to the contract: provider acme, small in here by default"],
    );
    project.write(&format!("{UP_WITHOUT_ADDRESS}\necho hello\nhelper() {{ :; }}\n"));
    let check = ["providers", "check", "providers/acme.sh"];
    let wanted = [
        "has 3 mistakes",
        "it writes `hello` to standard output when it is read",
        "there is no function `provider_down`",
        "line 7: `helper` is not a function of the contract: call it `_helper`",
    ];
    assert_says(&project.run(&check), 2, &wanted);
    let output = project.run(&[&check[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["is_good"], false);
    assert_eq!(document["mistakes"].as_array().unwrap().len(), 3);
    assert_eq!(document["mistakes"][2]["line"], 7);
}

#[test]
fn a_run_whose_adapter_gives_no_address_destroys_what_it_made() {
    let project = Project::new(&format!("{UP_WITHOUT_ADDRESS}{DOWN}"));
    let output = project.run(&["run"]);
    assert_says(&output, 3, &["the last line that it printed is `hello`"]);
    assert!(!project.path("cloud/box").exists());
    assert!(
        project.seen("calls").starts_with("up here\ndown\n"),
        "{}",
        project.seen("calls")
    );
    assert_says(&project.run(&["ls"]), 0, &["no box"]);
}

#[test]
fn a_box_that_cannot_be_destroyed_is_the_last_thing_that_is_said_and_goes_from_anywhere_later() {
    let project = Project::new(&format!("{UP_WITHOUT_ADDRESS}{DOWN_FAILS}"));
    let output = project.run(&["run"]);
    assert_says(&output, 4, &["no-such-program-here", "twolane down demo-only-"]);
    assert!(project.path("cloud/box").exists());
    project.write(&format!("{UP_WITHOUT_ADDRESS}{DOWN}"));
    let output = project
        .command(&project.path("elsewhere"), &["down", "--all"])
        .output()
        .unwrap();
    assert_says(&output, 0, &["is gone"]);
    assert!(!project.path("cloud/box").exists());
    assert_says(&project.run(&["ls"]), 0, &["no box"]);
}
