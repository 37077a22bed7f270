//! Stage 2 without a box: `post-deploy.sh` with a real cargo in a directory of its own, and a stateful stand-in for
//! systemd. Keeps out: what needs systemd itself; that runs in a real VM.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use tempfile::TempDir;

const UNITS: [&str; 2] = ["one.service", "two.service"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A box's directories, with a project of two packages, each with one program, one template and two units.
struct Sandbox {
    root: TempDir,
}

impl Sandbox {
    fn new() -> Self {
        let sandbox = Self {
            root: TempDir::new().unwrap(),
        };
        for dir in [
            "lib/deploy",
            "bin",
            "systemd",
            "home",
            "fakes",
            "fake/active",
            "fake/enabled",
            "fake/does",
        ] {
            fs::create_dir_all(sandbox.path(dir)).unwrap();
        }
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy_support/fake.sh");
        for name in ["systemctl", "journalctl", "df", "usermod", "useradd"] {
            symlink(&fake, sandbox.path("fakes").join(name)).unwrap();
        }
        sandbox.write(
            "src/Cargo.toml",
            "[workspace]\nmembers = [\"a\", \"b\"]\nresolver = \"2\"\n",
        );
        for (package, bin) in [("a", "one"), ("b", "two")] {
            let manifest = format!(
                "[package]\nname = \"package-{package}\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\
                 [[bin]]\nname = \"{bin}\"\npath = \"main.rs\"\n"
            );
            sandbox.write(&format!("src/{package}/Cargo.toml"), &manifest);
            sandbox.write(&format!("src/{package}/main.rs"), "fn main() {}\n");
        }
        sandbox.write("src/ops/one.toml.j2", "secret = \"{{ hmac_secret }}\"\n");
        let unit = |name: &str, arguments: &str| {
            let program = sandbox.path("bin").join(name);
            format!("[Service]\nExecStart={} {arguments}\n", program.display())
        };
        let config = sandbox.path("etc/one.toml");
        sandbox.write(
            "src/units/one.service",
            &unit("one", &config.display().to_string()),
        );
        sandbox.write("src/units/two.service", &unit("two", ""));
        sandbox.configure("package-a one\npackage-b two", "one\ntwo");
        sandbox
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn configure(&self, binaries: &str, units: &str) {
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let user = String::from_utf8(user).unwrap().trim().to_owned();
        let (root, home) = (self.root.path().display(), self.path("home"));
        let env = format!(
            "SOURCES='{root}/src'\nBINARIES='{binaries}'\nCONFIGS='ops/one.toml.j2'\nUNITS='{units}'\nUNITS_IN='units'\n\
             CONFIG_DIR='{root}/etc'\nSERVICE_USER='{user}'\nWORK_USER='{user}'\nWORK_HOME='{}'\n",
            home.display()
        );
        self.write("lib/deploy.env", &env);
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        let path = std::env::var("PATH").unwrap();
        command
            .arg(repository().join("ops/ephemeral/post-deploy.sh"))
            .args(arguments)
            .env("TWOLANE_LIB", self.path("lib"))
            .env("TWOLANE_STATE", self.path("state"))
            .env("TWOLANE_BIN", self.path("bin"))
            .env("TWOLANE_SYSTEMD", self.path("systemd"))
            .env("TWOLANE_DEPLOY_STATUS", self.path("status"))
            .env("FAKE", self.path("fake"))
            .env("PATH", format!("{}:{path}", self.path("fakes").display()))
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null());
        command
    }

    fn deploy_with(&self, arguments: &[&str]) -> (i32, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(arguments).output().unwrap();
        let text = String::from_utf8([stdout, stderr].concat()).unwrap();
        (status.code().unwrap_or(-1), text)
    }

    /// Deploys, and returns what units were restarted meanwhile.
    #[track_caller]
    fn deploy(&self) -> String {
        let _ = fs::remove_file(self.path("fake/orders"));
        let (code, text) = self.deploy_with(&[]);
        assert_eq!((code, self.status().as_str()), (0, "ready"), "{text}");
        self.restarted()
    }

    fn restarted(&self) -> String {
        let orders = fs::read_to_string(self.path("fake/orders")).unwrap_or_default();
        let restarts = orders.lines().filter_map(|order| order.strip_prefix("restart "));
        restarts.collect::<Vec<_>>().join("; ")
    }

    fn status(&self) -> String {
        self.read("status").trim().to_owned()
    }

    /// Deploys in vain; returns the error.
    #[track_caller]
    fn fails(&self, status: &str, wanted: &str) -> String {
        let (code, text) = self.deploy_with(&[]);
        assert_eq!((code, self.status().as_str()), (1, status), "{text}");
        assert!(text.contains(wanted), "{text}");
        text
    }
}

#[test]
fn the_first_deploy_does_all_and_the_second_nothing() {
    let sandbox = Sandbox::new();
    assert_eq!(sandbox.deploy(), UNITS.join(" "));
    let config = fs::metadata(sandbox.path("etc/one.toml")).unwrap();
    assert_eq!(config.permissions().mode() & 0o777, 0o640);
    let text = sandbox.read("etc/one.toml");
    let secret = text.split('"').nth(1).unwrap();
    assert!(
        secret.len() == 64 && secret.chars().all(|c| c.is_ascii_hexdigit()),
        "{text}"
    );
    assert!(Command::new(sandbox.path("bin/one")).status().unwrap().success());
    assert!(sandbox.path("fake/enabled/two.service").exists());

    assert_eq!(sandbox.deploy(), "", "nothing has changed");
    assert_eq!(sandbox.read("etc/one.toml"), text, "the secret is kept");
    for dir in ["bin", "systemd", "etc", "state/deploy"] {
        let left = fs::read_dir(sandbox.path(dir)).unwrap().flatten();
        let left: Vec<_> = left
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        assert!(
            !left
                .iter()
                .any(|name| name.ends_with(".new") || name.starts_with("work.")),
            "{left:?}"
        );
    }
}

#[test]
fn only_units_that_use_what_changed_are_restarted() {
    let sandbox = Sandbox::new();
    sandbox.deploy();
    sandbox.write("src/b/main.rs", "fn main() { println!(\"new\"); }\n");
    assert_eq!(sandbox.deploy(), "two.service", "a program");
    let unit = sandbox.read("src/units/one.service");
    sandbox.write("src/units/one.service", &format!("{unit}Restart=always\n"));
    assert_eq!(sandbox.deploy(), "one.service", "a unit file");
    sandbox.write("src/ops/one.toml.j2", "new = 1\nsecret = \"{{hmac_secret}}\"\n");
    assert_eq!(sandbox.deploy(), "one.service", "a configuration");
    fs::remove_file(sandbox.path("fake/active/two.service")).unwrap();
    assert_eq!(sandbox.deploy(), "two.service", "a unit that had stopped");

    let before = sandbox.read("etc/one.toml");
    let _ = fs::remove_file(sandbox.path("fake/orders"));
    let (code, text) = sandbox.deploy_with(&["--rotate-secret"]);
    assert_eq!((code, sandbox.restarted().as_str()), (0, "one.service"), "{text}");
    assert_ne!(sandbox.read("etc/one.toml"), before);
}

#[test]
fn a_unit_that_is_no_longer_named_ends() {
    let sandbox = Sandbox::new();
    sandbox.deploy();
    sandbox.configure("package-a one", "one");
    assert_eq!(sandbox.deploy(), "");
    assert!(sandbox.read("fake/orders").contains("disable two.service"));
    assert!(!sandbox.path("systemd/two.service").exists());
}

#[test]
fn a_build_that_fails_shows_the_compilers_message_and_leaves_all_as_it_was() {
    let sandbox = Sandbox::new();
    sandbox.deploy();
    let before = fs::read(sandbox.path("bin/two")).unwrap();
    sandbox.write("src/a/main.rs", "fn main() { println!(\"changed\"); }\n");
    sandbox.write("src/b/main.rs", "fn main() { let x: u8 = \"no number\"; }\n");
    let _ = fs::remove_file(sandbox.path("fake/orders"));
    let text = sandbox.fails("failed: build", "error[E0308]: mismatched types");
    assert!(
        text.contains("could not build two of package package-b"),
        "{text}"
    );
    assert_eq!(fs::read(sandbox.path("bin/two")).unwrap(), before);
    assert_eq!(sandbox.restarted(), "");

    sandbox.write("src/b/main.rs", "fn main() {}\n");
    assert_eq!(
        sandbox.deploy(),
        "one.service",
        "what was built before is installed now"
    );
}

#[test]
fn a_package_that_no_source_has_is_named_with_those_that_are_there() {
    let sandbox = Sandbox::new();
    sandbox.configure("package-c one", "one");
    sandbox.fails(
        "failed: build",
        "no source has a package `package-c`; there are: package-a package-b",
    );
}

#[test]
fn a_template_with_an_unknown_variable_replaces_nothing() {
    let sandbox = Sandbox::new();
    sandbox.deploy();
    let before = sandbox.read("etc/one.toml");
    sandbox.write(
        "src/ops/one.toml.j2",
        "a = \"{{ hmac_secert }}\"\nb = \"{{ colour }}\"\n{% if x %}\n",
    );
    let text = sandbox.fails(
        "failed: configs",
        "there is no variable `hmac_secert` (there are: hmac_secret, hostname)",
    );
    assert!(
        text.contains("`colour`") && text.contains("`{%` cannot be used"),
        "{text}"
    );
    assert!(
        !text.contains(before.split('"').nth(1).unwrap()),
        "the secret is not reported"
    );
    assert_eq!(sandbox.read("etc/one.toml"), before);
}

#[test]
fn a_unit_that_crash_loops_or_does_not_start_is_named_with_its_journal() {
    let sandbox = Sandbox::new();
    sandbox.write("fake/does/two.service", "loop");
    let text = sandbox.fails(
        "failed: watch",
        "two.service crash-loops: it was restarted 3 times",
    );
    assert!(text.contains("the last words of two.service"), "{text}");
    sandbox.write("fake/does/two.service", "fail");
    let text = sandbox.fails("failed: start", "two.service could not be started");
    assert!(!text.contains("the last words of one.service"), "{text}");
    sandbox.write("fake/does/two.service", "run");
    assert!(sandbox.deploy().contains("two.service"));
}

#[test]
fn a_full_disk_is_reported_before_anything_is_built() {
    let sandbox = Sandbox::new();
    sandbox.write("fake/free", "2048");
    sandbox.fails("failed: space", "has 2 MiB left, and a build needs 256");
    assert!(!sandbox.path("src/target").exists());
}

/// A deploy that stands still at the start of a unit, until it is killed with all that it started.
struct Standing(Child);

impl Standing {
    fn at_start(sandbox: &Sandbox) -> Self {
        use std::os::unix::process::CommandExt;
        sandbox.write("fake/does/one.service", "hang");
        let standing = Self(
            sandbox
                .command(&[])
                .process_group(0)
                .stdout(Stdio::null())
                .spawn()
                .unwrap(),
        );
        for _ in 0..3000 {
            let status = fs::read_to_string(sandbox.path("status")).unwrap_or_default();
            if status.trim() == "start" && !sandbox.restarted().is_empty() {
                return standing;
            }
            let _ = Command::new("sleep").arg("0.02").status();
        }
        panic!("the deploy never came to its units: {}", sandbox.status());
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_deploy_is_refused_while_one_runs_and_one_that_was_cut_is_made_good() {
    let sandbox = Sandbox::new();
    let standing = Standing::at_start(&sandbox);
    let (code, text) = sandbox.deploy_with(&[]);
    assert_eq!(code, 75, "{text}");
    assert!(
        text.contains("another deploy is running on this box, at step start"),
        "{text}"
    );
    assert_eq!(sandbox.status(), "start", "the one that runs is not disturbed");

    drop(standing);
    sandbox.write("fake/does/one.service", "run");
    assert_eq!(
        sandbox.deploy(),
        UNITS.join(" "),
        "programs were installed, and nothing had been started"
    );
}

#[test]
fn what_it_cannot_read_is_wrong_usage() {
    let sandbox = Sandbox::new();
    for arguments in [&["--rotate"][..], &["--rotate-secret", "x"]] {
        let (code, text) = sandbox.deploy_with(arguments);
        assert_eq!(code, 2, "{text}");
    }
    assert!(!sandbox.path("status").exists());
}

#[test]
fn units_do_not_get_less_hardened() {
    for (unit, exposure_max) in [
        ("mvm-hostd", 5.0),
        ("mvmd-agent", 0.6),
        ("mvmd-coordinator", 1.2),
        ("mvmd-gateway", 1.2),
    ] {
        let path = repository().join(format!("ops/ephemeral/units/{unit}.service"));
        let analysed = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager"])
            .arg(path.canonicalize().unwrap())
            .output();
        let Ok(analysed) = analysed else {
            writeln!(std::io::stderr(), "NOT TESTED: systemd-analyze is not installed").unwrap();
            return;
        };
        let text = String::from_utf8(analysed.stdout).unwrap();
        let exposure = text
            .rsplit_once("service: ")
            .and_then(|(_, rest)| rest.split(' ').next()?.parse::<f64>().ok());
        let exposure =
            exposure.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&analysed.stderr)));
        assert!(
            exposure <= exposure_max,
            "{unit} is exposed by {exposure}, not {exposure_max} at most:\n{text}"
        );
    }
}

#[test]
fn checks_can_be_repeated_on_the_box() {
    let dir = TempDir::new().unwrap();
    let checks = [
        ("good", "echo \"it's $PWD\"", "", "60"),
        ("bad", "exit 3", "", "60"),
        ("unmet", "true", "file:nothing", "60"),
        ("hangs", "sleep 1000", "", "1"),
    ];
    let mut env = format!("CHECKS_DIR='{}'\nCHECKS={}\n", dir.path().display(), checks.len());
    for (index, (name, run, needs, seconds)) in checks.iter().enumerate() {
        let number = index + 1;
        let run = run.replace('\'', r"'\''");
        env += &format!(
            "CHECK_{number}_NAME='{name}'\nCHECK_{number}_RUN='{run}'\nCHECK_{number}_NEEDS='{needs}'\nCHECK_{number}_SECONDS='{seconds}'\n"
        );
    }
    fs::write(dir.path().join("checks.env"), env).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("bash")
            .arg(repository().join("ops/ephemeral/run-tests.sh"))
            .args(arguments)
            .env("TWOLANE_LIB", dir.path())
            .output()
            .unwrap();
        (
            output.status.code().unwrap_or(-1),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = run(&["--continue"]);
    assert_eq!(code, 1, "{text}");
    for line in [
        "passed   good",
        "failed   bad",
        "skipped  unmet: there is no nothing",
        "timeout  hangs",
    ] {
        assert!(text.contains(&format!("\n{line}")), "{line} in\n{text}");
    }
    assert!(text.contains(&format!("it's {}", dir.path().display())), "{text}");
    let (code, text) = run(&[]);
    assert!(
        code == 1 && !text.contains("unmet"),
        "it stops at the first that fails:\n{text}"
    );
    assert_eq!(run(&["good"]).0, 0);
    assert_eq!(run(&["no such check"]).0, 2);
}

#[test]
fn fronts_call_twolane_and_print_how_to_go_on() {
    let dir = TempDir::new().unwrap();
    let fake = dir.path().join("twolane");
    let text = "#!/bin/bash\ncase \"$*\" in\n*'--json ls'*) echo '[{\"label\": \"a-1\", \"address\": \"127.0.0.1:4711\"}]' ;;\n*) echo \"called: $*\" ;;\nesac\n";
    fs::write(&fake, text).unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let front = |name: &str, variables: &[(&str, &str)]| {
        let output = Command::new("bash")
            .arg(repository().join("ops/ephemeral").join(name))
            .current_dir(dir.path())
            .env("TWOLANE", &fake)
            .env_remove("LABEL")
            .env_remove("SSH_PUBKEY")
            .env_remove("PROJECT")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let text = front(
        "up.sh",
        &[
            ("LABEL", "a-1"),
            ("SSH_PUBKEY", "ssh-ed25519 AAAA me"),
            ("PROVIDER", "gcp"),
            ("REGION", "z"),
            ("INSTANCE_TYPE", "n2"),
            ("BOOT_DISK_SIZE", "60"),
        ],
    );
    let call = "up live-kvm --label a-1 --provider gcp --region z --instance-type n2 --disk 60 --ssh-pubkey ssh-ed25519 AAAA me\n";
    assert!(text.contains(call), "{text}");
    assert!(
        text.contains("\n  ssh -p 4711 mvm@127.0.0.1 'bash ~/smoke-mvmd.sh'\n"),
        "{text}"
    );
    assert!(text.contains("'bash ~/run-tests.sh --continue'\n"), "{text}");
    let text = front("up.sh", &[("LABEL", "a-1"), ("LANE", "other")]);
    assert!(
        text.contains("up other --label a-1\n") && text.contains("twolane ssh a-1 'bash ~/smoke-mvmd.sh'\n"),
        "{text}"
    );
    assert_eq!(front("down.sh", &[("LABEL", "a-1")]), "called: down a-1\n");
    assert_eq!(front("down.sh", &[("LABEL", "")]), "called: down --all\n");
}
