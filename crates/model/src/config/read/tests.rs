use proptest::prelude::*;

use super::*;
use crate::{
    check::Need,
    config::{Boxes, Found, Nextest, Preset, RustFrom},
};

/// The file of the documentation, with every key there is.
const WHOLE: &str = include_str!("testdata/whole.toml");
const WRONG: &str = include_str!("testdata/wrong.toml");

const PROVIDERS: [&str; 11] = [
    "local", "host", "aws", "azure", "equinix", "gcp", "hetzner", "latitude", "ovh", "vultr", "acme",
];

fn around() -> Around {
    Around {
        providers: PROVIDERS.map(|name| ProviderName::new(name).unwrap()).into(),
        name: "My Project".to_owned(),
    }
}

/// Writes mistakes one a line: place, message, help.
fn shown(text: &str, mistakes: &[Mistake]) -> String {
    let line = |mistake: &Mistake| {
        let (line, column) = mistake.place(text);
        let marked = &text[mistake.span.clone()];
        let marked = marked.lines().next().unwrap_or_default();
        let help = mistake.help.as_deref().map(|help| format!("\n    help: {help}"));
        format!(
            "{line}:{column} «{marked}» {}{}\n",
            mistake.message,
            help.unwrap_or_default()
        )
    };
    mistakes.iter().map(line).collect()
}

#[track_caller]
fn good(text: &str) -> Config {
    match read(text, &around()) {
        Ok(config) => config,
        Err(mistakes) => panic!("{}", shown(text, &mistakes)),
    }
}

/// Reads a file that is wrong in one way.
#[track_caller]
fn check(text: &str, message: &str) {
    let text = if text.contains("[lanes.") {
        text.to_owned()
    } else {
        format!("{text}\n[lanes.a]\nchecks = \"rust\"")
    };
    let mistakes = read(&text, &around()).expect_err("there is a mistake");
    let shown = shown(&text, &mistakes);
    assert_eq!(mistakes.len(), 1, "{shown}");
    assert!(shown.contains(message), "{shown}");
}

#[test]
fn every_key_is_read() {
    insta::assert_json_snapshot!(good(WHOLE));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let mistakes = read(WRONG, &around()).unwrap_err();
    insta::assert_snapshot!(shown(WRONG, &mistakes));
}

#[test]
fn a_file_that_cannot_be_parsed_is_one_mistake_with_its_place() {
    for (text, place) in [
        ("[lanes.a]\nchecks = rust\n", (2, 10)),
        ("[lanes.a\n", (1, 9)),
        ("a = 1\na = 2\n", (2, 1)),
        ("a = \"never closed\n", (1, 18)),
    ] {
        let mistakes = read(text, &around()).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{}", shown(text, &mistakes));
        assert_eq!(mistakes[0].place(text), place, "{}", shown(text, &mistakes));
    }
}

#[test]
fn a_lane_alone_is_enough() {
    let config = good("[lanes.a]\nchecks = \"rust\"");
    assert_eq!(config.project, "my-project");
    assert_eq!(
        config.sources,
        [SourceDir {
            name: "my-project".into(),
            path: ".".into()
        }]
    );
    assert_eq!(config.system, System::default());
    let lane = &config.lanes[0];
    assert_eq!(lane.ttl.as_secs(), 2 * 3600);
    assert_eq!(
        lane.boxes,
        Boxes::Listed(vec![BoxChoice::of(ProviderName::new("local").unwrap())])
    );
    let names: Vec<&str> = lane.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["fmt", "clippy", "test", "deny", "audit"]);
    assert!(lane.checks[4].needs.contains(&Need::AdvisoryDb));
}

#[test]
fn sources_and_lanes_keep_the_order_of_the_file() {
    let config = good(
        "[sources]\nzz = { path = \"z\" }\naa = { path = \"a\" }\n\
         [lanes.z]\nchecks = \"rust\"\n[lanes.a]\nchecks = [\"test\", \"fmt\"]\n",
    );
    let sources: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    let lanes: Vec<&str> = config.lanes.iter().map(|lane| lane.name.as_str()).collect();
    assert_eq!((sources, lanes), (vec!["zz", "aa"], vec!["z", "a"]));
}

#[test]
fn checks_with_like_names_get_slugs_of_their_own() {
    let config = good(
        "[lanes.a]\nchecks = [{ name = \"live kvm\", run = \"a\" }, { name = \"Live KVM!\", run = \"b\" }, { name = \"...\", run = \"c\" }]",
    );
    let slugs: Vec<&str> = config.lanes[0]
        .checks
        .iter()
        .map(|check| check.slug.as_str())
        .collect();
    assert_eq!(slugs, ["live-kvm", "live-kvm-2", "check"]);
}

#[test]
fn what_is_not_said_of_rust_is_stable_by_a_pinned_rustup() {
    let rust = |text: &str| {
        good(&format!("[system]\nrust = {text}\n[lanes.a]\nchecks = \"rust\""))
            .system
            .rust
            .unwrap()
    };
    let plain = rust("{}");
    assert_eq!(plain.toolchain, "stable");
    assert!(matches!(&plain.from, RustFrom::Rustup(pinned) if pinned.sha256.x86_64.is_some()));
    assert_eq!(rust("{ from = \"apt\" }").from, RustFrom::Apt);
    let own = rust(&format!(
        "{{ rustup = {{ version = \"9.9.9\", sha256 = {{ x86_64 = \"{}\" }} }} }}",
        "AB".repeat(32)
    ));
    assert!(
        matches!(&own.from, RustFrom::Rustup(pinned) if pinned.version == "9.9.9" && pinned.sha256.x86_64 == Some("ab".repeat(32)))
    );
}

#[test]
fn directories_belong_to_the_user_of_their_name() {
    let config = good(
        "[system]\nuser = \"mvm\"\nusers = [\"mvmd\"]\ndirectories = [\"/var/lib/mvm\", \"/etc/mvmd\", \"/srv/x\", { path = \"/srv/y\", owner = \"mvmd\", mode = \"700\" }]\n\
         [lanes.a]\nchecks = \"rust\"",
    );
    let shown: Vec<String> = config
        .system
        .directories
        .iter()
        .map(|directory| {
            format!(
                "{} {} {} {}",
                directory.mode, directory.owner, directory.group, directory.path
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "0750 mvm mvm /var/lib/mvm",
            "0750 root mvmd /etc/mvmd",
            "0755 root root /srv/x",
            "0700 mvmd root /srv/y"
        ]
    );
    assert_eq!(config.system.user, "mvm");
    assert_eq!(config.system.users, ["mvmd"]);
}

#[test]
fn what_is_downloaded_needs_a_checksum() {
    check(
        "[system]\nfirecracker = { version = \"v1.0.0\" }",
        "v1.0.0 has no checksum",
    );
    check(
        "[system]\nfirecracker = { version = \"v1.0.0\", sha256 = {} }",
        "holds no checksum",
    );
    check(
        "[system]\nnix = { version = \"1.0\", sha256 = { x86_64 = \"12\" } }",
        "64 hexadecimal digits",
    );
    check(
        "[system]\ncargo-tools = [{ name = \"x\", version = \"1.0.0\", url = \"https://a/b\" }]",
        "needs its checksum",
    );
    check(
        "[system]\ncargo-tools = [\"cargo-dney\"]",
        "did you mean `cargo-deny`?",
    );
}

#[test]
fn what_could_leave_its_place_is_refused() {
    let artifact =
        |path: &str| format!("[lanes.a]\nchecks = [{{ name = \"x\", run = \"y\", artifacts = [{path:?}] }}]");
    check(&artifact("/etc/shadow"), "is absolute");
    check(&artifact("target/../../x"), "leads out");
    check(&artifact("-rf"), "is not a path");
    check("[sources]\n\"a b\" = { path = \".\" }", "not a name of a source");
    check("[sources]\na = { path = \"/\" }", "is all of this machine");
    check("[sources]\na = { path = \"//./\" }", "is all of this machine");
    check("[sources]\n\"..\" = { path = \".\" }", "not a name of a source");
    check(
        "[system]\npackages = [\"-oDpkg::Pre-Invoke=x\"]",
        "not a distribution package",
    );
    check(
        "[system]\npackages = [\"$(reboot)\"]",
        "not a distribution package",
    );
    check(
        "[system]\nmirror = \"http://a/$(reboot)\"",
        "not an http or https address",
    );
    check("[system]\nusers = [\"root\"]", "not a name of a user");
    check(
        "[system]\ndirectories = [\"/var/../etc\"]",
        "not a path for a box",
    );
}

#[test]
fn a_machine_that_is_already_there_is_named_by_its_address() {
    let lane = |entry: &str| format!("[lanes.a]\nboxes = [{{ {entry} }}]\nchecks = \"rust\"");
    let config = good(&lane("provider = \"host\", address = \"eve@desk:2222\""));
    let Boxes::Listed(choices) = &config.lanes[0].boxes else {
        panic!("{:?}", config.lanes[0].boxes);
    };
    assert_eq!(choices[0].region.as_deref(), Some("eve@desk:2222"));
    check(
        &lane("provider = \"host\", address = \"-oProxyCommand=sh\""),
        "is not the address of a machine",
    );
    check(
        &lane("provider = \"aws\", address = \"desk\""),
        "any other `address` is for a machine that is already there",
    );
    check(
        &lane("provider = \"host\", address = \"desk\", as-user = true"),
        "which only root can give",
    );
}

#[test]
fn a_ttl_has_bounds_and_holds_its_checks() {
    check("[lanes.a]\nttl = \"59s\"\nchecks = \"rust\"", "from 1m to 48h");
    check("[lanes.a]\nttl = \"49h\"\nchecks = \"rust\"", "from 1m to 48h");
    check(
        "[lanes.a]\nttl = \"10m\"\nchecks = [{ name = \"x\", run = \"y\", timeout = \"11m\" }]",
        "longer than its box",
    );
}

#[test]
fn names_that_are_wrong_are_reported_with_the_nearest() {
    check(
        "[lanes.a]\nboxes = [\"hetzer\"]\nchecks = \"rust\"",
        "did you mean `hetzner`?",
    );
    check(
        "[lanes.a]\nboxes = [\"acm\"]\nchecks = \"rust\"",
        "did you mean `acme`?",
    );
    check(
        "[lanes.a]\nboxes = \"cheap\"\nchecks = \"rust\"",
        "cannot be `cheap`",
    );
    check("[lanes.a]\nchecks = [\"clipy\"]", "did you mean `clippy`?");
    check(
        "[endpoints]\nhetznr = \"http://127.0.0.1:1\"",
        "did you mean `hetzner`?",
    );
    check("[lanes.A]\nchecks = \"rust\"", "not a name of a lane");
}

#[test]
fn setup_is_what_every_other_check_comes_after() {
    let config = good(
        "[lanes.a]\nsetup = \"modprobe tun\"\nchecks = [{ name = \"setup\", run = \"a\" }, { name = \"logs\", run = \"b\", always = true }]",
    );
    let checks = &config.lanes[0].checks;
    let seen: Vec<_> = checks
        .iter()
        .map(|check| {
            (
                check.slug.as_str(),
                check.after.as_deref(),
                check.as_root,
                check.is_setup,
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            ("setup-2", None, true, true),
            ("setup", Some("setup of the lane"), false, false),
            ("logs", None, false, false)
        ]
    );
}

#[test]
fn preset_goes_on_after_a_check_that_failed() {
    let is_continued = |lane: &str| good(&format!("[lanes.a]\n{lane}")).lanes[0].is_continued;
    assert!(is_continued("checks = \"rust\""));
    assert!(!is_continued("checks = \"rust\"\ncontinue = false"));
    assert!(!is_continued("checks = [\"fmt\", \"test\"]"));
    assert!(is_continued("checks = [\"fmt\", \"test\"]\ncontinue = true"));
}

#[test]
fn check_can_come_only_after_one_before_it() {
    let lane = |checks: &str| format!("[lanes.a]\nchecks = [{checks}]");
    good(&lane("\"test\", { name = \"x\", run = \"y\", after = \"test\" }"));
    check(
        &lane("\"test\", { name = \"x\", run = \"y\", after = \"tets\" }"),
        "there is no check `tets` before this one\n    help: did you mean `test`?",
    );
    check(
        &lane("{ name = \"x\", run = \"y\", after = \"test\" }, \"test\""),
        "there is no check `test` before this one",
    );
}

#[test]
fn environment_of_a_check_holds_names_of_variables() {
    let with = |keys: &str| format!("[lanes.a]\nchecks = [{{ name = \"x\", run = \"y\", {keys} }}]");
    check(&with("env = { \"A B\" = \"1\" }"), "not a name of a variable");
    check(
        &with("env = { \"A;reboot\" = \"1\" }"),
        "not a name of a variable",
    );
    check(&with("env = { A = 1 }"), "must be a string");
    check(&with("env-from = [\"1A\"]"), "not a name of a variable");
    check(&with("user = \"mvmd\""), "cannot be `mvmd`");
    check(&with("expect = { min = 0 }"), "must lie between 1");
    check(&with("expect = 3"), "must be a list of names of tests");
}

#[test]
fn a_smoke_check_needs_a_script() {
    check(
        "[lanes.a]\nchecks = [{ name = \"smoke\", run = \"smoke\" }]",
        "no smoke script",
    );
    good("[deploy]\nsmoke = \"a.sh\"\n[lanes.a]\nchecks = [{ name = \"smoke\", run = \"smoke\" }]");
}

#[test]
fn the_sample_has_no_mistakes() {
    let config = good(include_str!("../../../../../samples/mvm/twolane.toml"));
    let needs: Vec<bool> = config.lanes.iter().map(|lane| lane.kvm.is_needed()).collect();
    assert_eq!(needs, [false, true]);
}

#[test]
fn presets_have_no_mistakes_and_say_the_same_every_time() {
    let rich = Found {
        name: "mvmd".to_owned(),
        members: vec!["mvmd".to_owned()],
        channel: Some("1.95.0".to_owned()),
        has_rustc: true,
        components: vec!["rust-src".to_owned()],
        targets: vec!["x86_64-unknown-linux-musl".to_owned()],
        packages: vec!["libssl-dev".to_owned()],
        needs_kvm: true,
        live: vec!["vmm".to_owned(), "hypervisor".to_owned()],
        nextest: Some(Nextest {
            profile: Some("ci".to_owned()),
            junit: Some("target/nextest/ci/junit.xml".to_owned()),
        }),
        selection: None,
        needs_root: true,
        gates: vec![("VMM_LIVE".to_owned(), "vmm/tests/live.rs".to_owned())],
        notes: vec!["The submodule x is not checked out.".to_owned()],
        has_mvmd: true,
    };
    let plain = Found {
        name: "9 Häuser".to_owned(),
        ..Found::default()
    };
    for (name, preset) in Preset::ALL {
        for (found_name, found) in [("plain", &plain), ("rich", &rich)] {
            let text = preset.text(found).unwrap();
            good(&text);
            insta::assert_snapshot!(format!("preset_{name}_{found_name}"), text);
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in ".*") {
        let _ = read(&text, &around());
    }

    #[test]
    fn every_mistake_lies_within_the_text(cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[\\PC\n]{0,6}"), 1..6)) {
        let mut text = WHOLE.to_owned();
        for (from, length, with) in cuts {
            let from = boundary(&text, from.index(text.len() + 1));
            let to = boundary(&text, (from + length.index(12)).min(text.len()));
            text.replace_range(from..to, &with);
        }
        if let Err(mistakes) = read(&text, &around()) {
            prop_assert!(!mistakes.is_empty());
            for mistake in mistakes {
                prop_assert!(text.get(mistake.span.clone()).is_some(), "{mistake:?}");
            }
        }
    }

    #[test]
    fn the_preset_fits_any_workspace(name in ".*", channel in prop::option::of("[a-z0-9.-]{1,20}"), has_rustc: bool, needs_root: bool, needs_kvm: bool, live in prop::collection::vec("[a-z][a-z0-9_-]{0,9}", 0..3)) {
        let channel = channel.filter(|channel| channel.starts_with(|c: char| c.is_ascii_alphanumeric()));
        let found = Found { name, channel, has_rustc, needs_root, needs_kvm, live, ..Found::default() };
        let config = super::super::without_file(&found);
        prop_assert!(config.is_ok(), "{config:?}");
    }
}

/// Returns the nearest place at or before `at` where a character begins.
fn boundary(text: &str, at: usize) -> usize {
    (0..=at)
        .rev()
        .find(|place| text.is_char_boundary(*place))
        .unwrap_or(0)
}
