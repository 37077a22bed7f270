//! A machine that is already there: what `host.sh` puts and takes away, in a directory; and the provider against it,
//! over a real sshd on loopback. Keeps out: what needs systemd and a package manager; that runs in a real VM.

mod machine;
mod provider;

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use machine::Machine;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Writes the order of a box into a directory of the machine, and returns that.
fn order(machine: &Machine, label: &str, run: &str, deadline: u64, more: &str) -> String {
    let dir = format!("ssh/order-{label}");
    let tags = format!(
        "mvm-deadline={deadline}\nmvm-ephemeral=true\nmvm-label={label}\nmvm-run={run}\nmvm-token=t1\nmvm-user=eve\nmvm-host=desk"
    );
    let text = format!(
        "TAGS='{tags}'\nKEYS='ssh-ed25519 AAAAlogin {label}\nssh-ed25519 AAAAoperator eve@desk'\nGATE_REQUIRED=\nWORK_USER=mvm\n\
         CLIENT='192.0.2.9 1 192.0.2.1 22'\n{more}"
    );
    machine.write(&format!("{dir}/order"), &text);
    machine.write(
        &format!("{dir}/stage1.env"),
        "PACKAGES='build-essential'\nWORK_USER='mvm'\n",
    );
    machine.write(&format!("{dir}/lib/stage1.sh"), "#!/bin/bash\n");
    machine.write(
        &format!("{dir}/lib/kvm-gate.py"),
        include_str!("../../../../ops/ephemeral/kvm-gate.py"),
    );
    let host = include_str!("../../../../ops/ephemeral/host.sh");
    machine.write(&format!("{dir}/host.sh"), host);
    machine.path(&dir).display().to_string()
}

#[track_caller]
fn up(machine: &Machine, label: &str, run: &str) -> String {
    let (answer, errors) = machine.call(&["up", &order(machine, label, run, now() + 3600, "")]);
    assert!(answer.ends_with("ok\n"), "{answer}{errors}");
    answer
}

#[track_caller]
fn down(machine: &Machine, label: &str, run: &str) -> String {
    let (answer, errors) = machine.call(&["down", label, run]);
    assert!(answer.ends_with("ok\n"), "{answer}{errors}");
    answer
}

/// A machine on which nobody has ever heard of us.
fn bare() -> Machine {
    Machine::new()
}

/// A machine with a user of the same name as ours, at home, and with keys of its own.
fn lived_in() -> Machine {
    let machine = Machine::new();
    machine.write("fake/passwd/mvm", "/home/mvm\n");
    machine.write("fake/group/mvm", "");
    machine.write("home/mvm/mvm/README", "its own checkout\n");
    machine.write(
        "root/.ssh/authorized_keys",
        "ssh-rsa BBBB admin\n# no newline at the end",
    );
    machine
}

#[test]
fn what_was_there_is_there_again_and_nothing_else() {
    for make in [bare, lived_in] {
        let machine = make();
        let before = machine.everything();
        let answer = up(&machine, "m1", "r1");
        assert!(answer.contains("host-key ssh-ed25519 AAAAhost\n"), "{answer}");
        let keys = machine.read("root/.ssh/authorized_keys");
        assert!(keys.contains("ssh-ed25519 AAAAlogin twolane:m1\n"), "{keys}");
        assert!(machine.read("orders").contains("--unit=twolane-stage1"));
        let gone = down(&machine, "m1", "r1");
        assert!(
            gone.contains("gone machine m1\n") && gone.contains("gone key "),
            "{gone}"
        );
        assert_eq!(machine.everything(), before);
        assert_eq!(down(&machine, "m1", "r1"), "ok\n", "it may be repeated");
    }
}

#[test]
fn a_home_that_was_there_is_hidden_and_not_changed() {
    let machine = lived_in();
    up(&machine, "m1", "r1");
    assert!(!machine.has("home/mvm/.profile") && !machine.has("home/mvm/.cargo"));
    assert!(machine.has("var/lib/twolane/home/.cargo/bin"));
    let unit = machine.read("etc/systemd/system/home-mvm.mount");
    assert!(
        unit.contains(&format!("Where={}/home/mvm\n", machine.root())),
        "{unit}"
    );
    assert!(!machine.read("orders").contains("useradd"));
    down(&machine, "m1", "r1");
    let orders = machine.read("orders");
    assert!(
        !orders.contains("userdel") && orders.contains("systemctl disable --now home-mvm.mount"),
        "{orders}"
    );
    assert_eq!(machine.read("home/mvm/mvm/README"), "its own checkout\n");
}

#[test]
fn whoever_is_killed_at_whatever_order_leaves_nothing_that_down_does_not_take() {
    for make in [bare, lived_in] {
        let whole = make();
        up(&whole, "m1", "r1");
        let orders = whole.read("orders");
        assert!(orders.lines().count() >= 4, "{orders}");
        for order in orders.lines() {
            let machine = make();
            let before = machine.everything();
            // Paths differ from one machine to the next.
            let order = order.replace(whole.root().as_str(), machine.root().as_str());
            machine.write("die-at", &order);
            let dir = self::order(&machine, "m1", "r1", now() + 3600, "");
            let (answer, _) = machine.call(&["up", &dir]);
            assert!(!machine.has("die-at"), "nobody came to {order}");
            assert!(!answer.contains("ok\n"), "{answer}");
            down(&machine, "m1", "r1");
            assert_eq!(machine.everything(), before, "killed at {order}");
        }
    }
}

#[test]
fn a_removal_that_was_killed_is_ended_by_the_next() {
    let whole = lived_in();
    up(&whole, "m1", "r1");
    fs::write(whole.path("orders"), "").unwrap();
    down(&whole, "m1", "r1");
    for order in whole.read("orders").lines() {
        let machine = lived_in();
        let before = machine.everything();
        up(&machine, "m1", "r1");
        machine.write("die-at", order);
        machine.call(&["down", "m1", "r1"]);
        assert!(!machine.has("die-at"), "nobody came to {order}");
        down(&machine, "m1", "r1");
        assert_eq!(machine.everything(), before, "killed at {order}");
    }
}

#[test]
fn the_second_is_reported_who_has_it_and_until_when() {
    let machine = bare();
    let (answer, _) = machine.call(&["up", &order(&machine, "m1", "r1", 4_102_444_800, "")]);
    assert!(answer.ends_with("ok\n"), "{answer}");
    let standing = machine.everything();
    let (answer, _) = machine.call(&["up", &order(&machine, "m2", "r2", now() + 3600, "")]);
    let reported =
        "fail busy|it is taken by box m1 of run r1 (user eve, host desk), until 2100-01-01T00:00:00Z|";
    assert!(answer.starts_with(reported), "{answer}");
    let (answer, _) = machine.call(&["up", &order(&machine, "m1", "r2", now() + 3600, "")]);
    assert!(answer.starts_with("fail taken|"), "{answer}");
    down(&machine, "m1", "r2");
    down(&machine, "m2", "-");
    assert_eq!(machine.everything(), standing, "neither of them changed anything");
    let (answer, _) = machine.call(&["status"]);
    assert!(
        answer.contains("tag mvm-label=m1\n") && answer.ends_with("state locked\nok\n"),
        "{answer}"
    );
}

#[test]
fn at_its_deadline_it_goes_by_itself_and_not_before() {
    let machine = lived_in();
    let before = machine.everything();
    up(&machine, "m1", "r1");
    let standing = machine.everything();
    assert_eq!(machine.call(&["expire"]).0, "ok\n");
    assert_eq!(machine.everything(), standing);
    let (answer, errors) = machine.call(&["retag", "m1", &(now() - 1).to_string()]);
    assert_eq!(answer, "ok\n", "{errors}");
    assert!(machine.call(&["status"]).0.contains("state overdue\n"));
    machine.call(&["expire"]);
    assert_eq!(machine.everything(), before);
}

#[test]
fn a_lock_that_is_overdue_holds_up_nobody() {
    let machine = bare();
    up(&machine, "m1", "r1");
    machine.call(&["retag", "m1", &(now() - 1).to_string()]);
    up(&machine, "m2", "r2");
    assert!(!machine.read("root/.ssh/authorized_keys").contains("twolane:m1"));
}

#[test]
fn what_somebody_else_has_there_is_not_replaced() {
    let machine = bare();
    machine.write("usr/local/bin/firecracker", "theirs");
    let before = machine.everything();
    up(&machine, "m1", "r1");
    let path = |name: &str| machine.path("usr/local/bin").join(name).display().to_string();
    let (_, errors) = machine.call(&["claim", "file", &path("firecracker")]);
    assert!(errors.contains("is not twolane's: it stays as it is"), "{errors}");
    machine.call(&["claim", "file", &path("jailer")]);
    machine.write("usr/local/bin/jailer", "ours");
    // What is ours already may be replaced.
    assert_eq!(machine.call(&["claim", "file", &path("jailer")]).1, "");
    machine.call(&[
        "claim",
        "directory",
        &machine.path("srv/a/b").display().to_string(),
    ]);
    machine.write("srv/a/b/c", "ours");
    down(&machine, "m1", "r1");
    assert_eq!(machine.everything(), before);
}

#[test]
fn packages_go_but_for_those_that_somebody_needs_now() {
    let machine = bare();
    machine.write("fake/package/theirs", "");
    let before = machine.everything();
    up(&machine, "m1", "r1");
    machine.call(&["claim", "package", "one", "two"]);
    machine.write("fake/package/one", "");
    machine.write("fake/package/two", "");
    down(&machine, "m1", "r1");
    assert_eq!(machine.everything(), before);

    up(&machine, "m1", "r1");
    machine.call(&["claim", "package", "one", "two"]);
    machine.write("fake/package/one", "");
    machine.write("fake/package/two", "");
    machine.write("needed/one", "");
    let answer = down(&machine, "m1", "r1");
    assert!(answer.contains("note package one stays"), "{answer}");
    assert!(machine.has("fake/package/one") && !machine.has("fake/package/two"));
}

#[test]
fn a_machine_that_will_not_do_says_why_and_stays_as_it_is() {
    let check = |prepare: fn(&Machine), more: &str, kind: &str, words: &str| {
        let machine = lived_in();
        prepare(&machine);
        let before = machine.everything();
        let dir = order(&machine, "m1", "r1", now() + 3600, more);
        let (answer, errors) = machine.call(&["up", &dir]);
        assert!(
            answer.starts_with(&format!("fail {kind}|")) && answer.contains(words),
            "{answer}{errors}"
        );
        let help = answer.trim().rsplit('|').next().unwrap();
        assert!(!help.is_empty(), "{answer} has no help");
        assert_eq!(machine.everything(), before);
    };
    check(
        |_| {},
        "GATE_REQUIRED=1\n",
        "no-kvm",
        "/dev/no-such-kvm is not there",
    );
    check(
        |m| m.write("sshd", "permitrootlogin no\n"),
        "",
        "invalid",
        "PermitRootLogin no",
    );
    check(
        |m| m.write("sshd", "permitrootlogin yes\nallowusers eve\n"),
        "",
        "invalid",
        "AllowUsers",
    );
    check(
        |m| m.write("fake/passwd/mvm", "/srv/mvm\n"),
        "",
        "invalid",
        "its user mvm lives in /srv/mvm",
    );
    check(
        |m| m.write("etc/twolane/deadline", ""),
        "",
        "invalid",
        "exists already",
    );
    check(
        |m| fs::remove_dir_all(m.path("run/systemd")).unwrap(),
        "",
        "invalid",
        "systemd",
    );
}
