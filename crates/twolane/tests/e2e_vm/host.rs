//! A machine that is already there, end to end: a real VM that is no box of twolane any more, with users, files and
//! packages of its own. Afterwards it is what it was.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{Bench, SYSTEM, is};

/// Makes an ordinary machine of a box: nothing of twolane, a user `dev` with a home of its own, and a repository with two
/// packages that are not installed.
const MAKE_ORDINARY: &str = r##"set -eu
systemctl disable --now twolane-deadline.service twolane-toolchain.service 2>/dev/null
systemctl stop twolane-ttl.timer 2>/dev/null || true
rm -f /etc/systemd/system/twolane-deadline.service /etc/systemd/system/twolane-toolchain.service
! mountpoint -q /opt/twolane/toolchain || umount /opt/twolane/toolchain
rm -rf /etc/twolane /var/lib/twolane /usr/local/lib/twolane /opt/twolane
find /usr/local/bin -type l -delete
systemctl daemon-reload
gpasswd -d dev kvm >/dev/null
rm -rf /home/dev/e2e
echo "its own" >/home/dev/theirs
mkdir -p /home/dev/e2e
echo "another checkout" >/home/dev/e2e/hello.txt
chown -R dev: /home/dev
printf "%s" "$KEY" >>/root/.ssh/authorized_keys
mkdir -p /srv/repo/probe/DEBIAN /srv/repo/probe/usr/bin /srv/repo/needed/DEBIAN
cd /srv/repo
printf "Package: twolane-e2e-needed\nVersion: 1\nArchitecture: all\nMaintainer: e2e\nDescription: x\n" >needed/DEBIAN/control
printf "Package: twolane-e2e-probe\nVersion: 1\nArchitecture: all\nMaintainer: e2e\nDepends: twolane-e2e-needed\nDescription: x\n" >probe/DEBIAN/control
printf "#!/bin/sh\necho probed\n" >probe/usr/bin/twolane-e2e-probe
chmod 755 probe/usr/bin/twolane-e2e-probe
for package in probe needed; do dpkg-deb --root-owner-group -b "$package" "$package.deb" >/dev/null; done
dpkg-scanpackages . >Packages 2>/dev/null
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
echo "deb [trusted=yes] file:/srv/repo ./" >/etc/apt/sources.list.d/e2e.list
"##;

/// Reports everything that has to be as it was: each file with owner and mode, what the files of `/etc` and of the homes hold,
/// users, groups, packages, units, mounts and what `/dev/kvm` lets in.
const EVERYTHING: &str = r#"set -eu
find / -xdev \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /var/log -o -path /var/cache \) -prune \
    -o -printf "%p %y %m %U:%G %l\n" | sort
find /etc /root /home /srv /opt /usr/local -xdev -type f ! -path "/etc/*-" ! -path /etc/ld.so.cache -exec sha256sum {} + | sort -k 2
getent passwd; getent group; getent shadow
dpkg-query -W -f "\${binary:Package} \${Version} \${db:Status-Status}\n"
apt-mark showmanual
systemctl list-unit-files --no-legend --plain | grep -v " transient "
systemctl list-units --no-legend --plain --type=service,timer,mount --state=active | cut -d" " -f1 | grep -v "^user\|^run-\|^session"
stat -c "%n %a %U:%G" /dev/kvm
"#;

/// The operator's key and what their ssh knows of the machine.
struct Operator {
    dir: tempfile::TempDir,
}

impl Operator {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let status = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f"])
            .arg(dir.path().join("key"))
            .status()
            .unwrap();
        assert!(status.success());
        Self { dir }
    }

    fn public(&self) -> String {
        fs::read_to_string(self.dir.path().join("key.pub"))
            .unwrap()
            .trim()
            .to_owned()
    }

    /// Writes what their ssh is to know; returns its configuration.
    fn know(&self, port: u64, host_key: &str) -> PathBuf {
        let dir = self.dir.path().display();
        fs::write(
            self.dir.path().join("known_hosts"),
            format!("[127.0.0.1]:{port} {host_key}\n"),
        )
        .unwrap();
        let config = self.dir.path().join("config");
        let text = format!(
            "Host *\n  UserKnownHostsFile {dir}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  IdentityFile {dir}/key\n  \
             IdentitiesOnly yes\n  IdentityAgent none\n"
        );
        fs::write(&config, text).unwrap();
        config
    }
}

/// Runs a script on the box that serves as the machine.
#[track_caller]
fn there(bench: &Bench, script: &str) -> String {
    let (code, text) = bench.output(&["ssh", "--user", "root", "e2e-desk", script]);
    assert_eq!(code, 0, "{text}");
    text
}

fn differences(before: &str, after: &str) -> Vec<String> {
    let missing = |one: &str, other: &str, sign: &str| -> Vec<String> {
        let other: std::collections::BTreeSet<&str> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect()
    };
    [missing(before, after, "-"), missing(after, before, "+")].concat()
}

fn run(bench: &Bench, config: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = bench
        .twolane(arguments)
        .env("TWOLANE_SSH_CONFIG", config)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn a_machine_that_was_there_is_what_it_was_when_a_run_is_over() {
    let desk = Bench::with_system(
        SYSTEM,
        "[lanes.only]\nkvm = \"required\"\nboxes = [\"local\"]\nttl = \"60m\"\nchecks = [{ name = \"a\", run = \"true\" }]\n",
    );
    let (status, events) = desk.start(&["up", "--label", "e2e-desk"]).finish();
    assert_eq!(status.code(), Some(0), "{:?}", events.last());
    let up = events.iter().find(|event| is(event, "machine-up")).unwrap();
    let port = up["machine"]["port"].as_u64().unwrap();
    let operator = Operator::new();
    there(&desk, &format!("KEY='{}'\n{MAKE_ORDINARY}", operator.public()));
    let host_key = there(&desk, "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub");
    let config = operator.know(port, host_key.trim());

    let system = "[system]\npackages = [\"build-essential\", \"twolane-e2e-probe\"]\nusers = [\"mvm\", \"mvmd\"]\n\
                  directories = [\"/var/lib/mvm\", \"/srv\"]\n";
    let address = format!("root@127.0.0.1:{port}");
    let lanes = format!(
        "[lanes.only]\nkvm = \"required\"\nboxes = [{{ provider = \"host\", address = \"{address}\" }}]\nttl = \"50m\"\nchecks = [\n\
         {{ name = \"one\", run = \"id -un && cat hello.txt && twolane-e2e-probe && test -w /dev/kvm && test ! -e ~/theirs && touch ~/mine\" }},\n]\n"
    );
    let bench = Bench::with_system(system, &lanes);
    let before = there(&desk, EVERYTHING);

    let (code, text) = run(&bench, &config, &["doctor", "--provider", "host"]);
    assert!(
        text.contains(&format!("{address} lock: nobody has it")),
        "{code:?} {text}"
    );
    let (code, text) = run(&bench, &config, &["--json", "run", "--provider", "host"]);
    assert_eq!(code, Some(0), "{text}");
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let gate = events
        .iter()
        .find(|event| is(event, "gate"))
        .expect("a gate's answer");
    assert_eq!(gate["answer"]["works"], true, "{gate}");
    let log = fs::read_to_string(&bench.files_ending("checks/one.log")[0]).unwrap();
    assert_eq!(log, "dev\nhello from here\nprobed\n");
    assert!(events.iter().any(|event| is(event, "machine-gone")), "{text}");
    let after = there(&desk, EVERYTHING);
    assert_eq!(differences(&before, &after), Vec::<String>::new());
    bench.assert_nothing_left();

    // A client that dies in the middle: `down` finds what it began, and takes it away.
    let mut killed = bench
        .twolane(&["run", "--provider", "host"])
        .env("TWOLANE_SSH_CONFIG", &config)
        .spawn()
        .unwrap();
    crate::support::wait_until("stage 1 has begun", || {
        let (code, _) = desk.output(&[
            "ssh",
            "--user",
            "root",
            "e2e-desk",
            "test -s /var/lib/twolane/stage1.status",
        ]);
        code == 0
    });
    killed.kill().unwrap();
    killed.wait().unwrap();
    let (code, text) = run(&bench, &config, &["down", "--all"]);
    assert_eq!(code, Some(0), "{text}");
    let after = there(&desk, EVERYTHING);
    assert_eq!(differences(&before, &after), Vec::<String>::new());

    let (code, text) = desk.output(&["down", "e2e-desk"]);
    assert_eq!(code, 0, "{text}");
    desk.assert_nothing_left();
}
