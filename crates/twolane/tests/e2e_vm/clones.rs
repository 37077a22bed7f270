//! End to end on `local`: two clones of one template have nothing in common that boxes must not share.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    lan::{self, Lan},
    support::{Bench, is, wait_until},
};

const LANE: &str = r#"
[lanes.only]
boxes = ["local"]
ttl = "30m"
checks = [{ name = "check", run = "true" }]
"#;

/// What a box says of itself, one value a line.
const WHO: &str = "hostname; cat /etc/hostname /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; \
                   sha256sum </var/lib/systemd/random-seed; head -c 32 /dev/urandom | sha256sum; \
                   sha256sum </root/.ssh/authorized_keys; cut -d' ' -f1 /etc/twolane/deadline; cat /proc/sys/kernel/random/uuid";

fn on(bench: &Bench, label: &str, command: &str) -> String {
    let (code, text) = bench.output(&["ssh", "-u", "root", label, command]);
    assert_eq!(code, 0, "{label}: {command}: {text}");
    text.trim().to_owned()
}

/// Returns the ports at which this machine's loopback listens.
fn listening_ports() -> Vec<u16> {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let (_, port) = words[1].split_once(':').filter(|_| words[3] == "0A")?;
        u16::from_str_radix(port, 16).ok()
    };
    table.lines().skip(1).filter_map(port).collect()
}

/// Returns which of these a box's root can connect to, one a line. It sees this machine's loopback as 10.0.2.2.
fn found_open(bench: &Bench, label: &str, targets: &[SocketAddr]) -> String {
    let targets: Vec<String> = targets
        .iter()
        .map(|target| format!("(\"{}\", {})", target.ip(), target.port()))
        .collect();
    let program = format!(
        "import socket\nfor address in {}:\n is6 = \":\" in address[0]\n \
         s = socket.socket(socket.AF_INET6 if is6 else socket.AF_INET)\n s.settimeout(5 if is6 else 30)\n \
         if s.connect_ex(address) == 0: print(*address, sep=\":\")",
        targets.join(",") + ","
    );
    on(bench, label, &format!("python3 -c '{program}'"))
}

/// Returns all of this machine's own addresses and ports, as a box would try them, and those of a network that it is on.
fn targets_here(ports: &[u16], lan: Option<&Lan>) -> Vec<SocketAddr> {
    let all = Command::new("hostname").arg("-I").output().unwrap().stdout;
    let own = String::from_utf8(all).unwrap();
    let own = own
        .split_whitespace()
        .filter_map(|it| it.parse::<Ipv4Addr>().ok());
    own.chain([Ipv4Addr::new(10, 0, 2, 2)])
        .flat_map(|address| ports.iter().map(move |port| SocketAddr::from((address, *port))))
        .chain(lan.into_iter().flat_map(Lan::targets))
        .collect()
}

/// What a root does to have IPv6 behind QEMU's user network, which would be this machine's in all of it: an address, and a way
/// to the router at the place where that is when it is on.
const TAKE_IPV6: &str = "d=$(ip -o route show default | grep -o 'dev [^ ]*' | cut -d' ' -f2); \
    sysctl -qw net.ipv6.conf.$d.disable_ipv6=0; ip -6 addr add fec0::15/64 dev $d nodad; \
    for it in fe80::2 fec0::2; do ip -6 neigh replace $it lladdr 52:56:00:00:00:02 dev $d nud permanent; done; \
    ip -6 route replace default via fe80::2 dev $d; ip -6 route get 2001:db8:18::2";

/// This machine's loopback, where QEMU's user network has IPv6.
const LOOPBACK_6: Ipv6Addr = Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 2);

/// Asserts that a box's root reaches nothing by IPv6: neither this machine nor a network that it is on.
#[track_caller]
fn check_no_ipv6(bench: &Bench, label: &str, lan: Option<&Lan>) {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else {
        not_tried("IPv6, which this machine has none of");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let all = Command::new("hostname").arg("-I").output().unwrap().stdout;
    let own = String::from_utf8(all).unwrap();
    let own = own
        .split_whitespace()
        .filter_map(|it| it.parse::<Ipv6Addr>().ok());
    let own = own
        .chain([LOOPBACK_6])
        .map(|address| SocketAddr::from((address, port)));
    let targets: Vec<_> = own.chain(lan.into_iter().flat_map(Lan::targets_6)).collect();
    let route = on(bench, label, TAKE_IPV6);
    assert!(route.contains("via fe80::2"), "{route}");
    assert_eq!(found_open(bench, label, &targets), "", "of {targets:?}");
}

#[expect(clippy::print_stderr, reason = "what was not tried must be seen")]
fn not_tried(what: &str) {
    eprintln!("NOT TRIED: {what}");
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn reports(events: &[Value]) -> String {
    let progress = events.iter().filter(|event| is(event, "step-progress"));
    progress.map(|event| format!("{}\n", event["message"])).collect()
}

#[test]
fn two_clones_of_one_template_share_nothing_that_is_theirs() {
    let [closed, allowed] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let bench = Bench::new(&format!(
        "{LANE}\n[local]\nallow = [\"127.0.0.1:{}\", \"{}\"]\n",
        port(&allowed),
        lan::ALLOWED
    ));
    let lan = Lan::new();
    let labels = ["e2e-one", "e2e-two"];
    // The second waits while the first makes the template, should it not be there.
    let runs = labels.map(|label| bench.start(&["up", "--label", label]));
    for run in runs {
        let (status, events) = run.finish();
        assert_eq!(status.code(), Some(0), "{events:#?}");
        let said = reports(&events);
        assert!(!said.contains("boots by itself"), "it is no clone: {said}");
    }
    let template = template_of(&bench, labels[0]);
    assert_eq!(template, template_of(&bench, labels[1]));
    let before = stamps(&template);

    let who = labels.map(|label| on(&bench, label, WHO));
    for (line, (one, two)) in who[0].lines().zip(who[1].lines()).enumerate() {
        assert!(one != two || line == 7, "line {line} of both is {one}");
    }
    for (label, who) in labels.iter().zip(&who) {
        assert!(who.starts_with(&format!("{label}\n{label}\n")), "{who}");
        let (before, text, after) = (now(), on(&bench, label, "date +%s.%N"), now());
        let theirs: f64 = text.parse().unwrap();
        assert!(
            theirs > before - 1.0 && theirs < after + 1.0,
            "{label} has {theirs} between {before} and {after}"
        );
    }

    // Nothing of this machine and its networks is open to them but what was allowed: not even the other's SSH server.
    let ports = listening_ports();
    assert!(ports.contains(&port(&closed)) && ports.len() >= 4, "{ports:?}");
    let targets = targets_here(&ports, lan.as_ref());
    let mut wanted = format!("10.0.2.2:{}", port(&allowed));
    if lan.is_some() {
        wanted = format!("{wanted}\n{}", lan::ALLOWED);
    } else {
        not_tried("other hosts and the metadata service, as this user may not make a network");
    }
    assert_eq!(found_open(&bench, labels[0], &targets), wanted, "of {targets:?}");
    check_no_ipv6(&bench, labels[0], lan.as_ref());

    let mut machines = 0;
    for (pid, _) in bench
        .processes()
        .iter()
        .filter(|(_, text)| text.starts_with("qemu-system"))
    {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
        assert_eq!(String::from_utf8_lossy(&environment), "");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert!(
            status.contains("NoNewPrivs:\t1\n") && status.contains("Seccomp:\t2\n"),
            "{status}"
        );
        machines += 1;
    }
    assert_eq!(machines, 2);

    on(&bench, labels[0], "echo mine >/root/mine; sync");
    assert_eq!(on(&bench, labels[1], "ls /root"), "", "it sees the other's disk");

    // Restarted, it is itself.
    let boot = on(&bench, labels[0], "cat /proc/sys/kernel/random/boot_id");
    // It may be gone before it has answered.
    bench.output(&["ssh", "-u", "root", labels[0], "systemctl", "reboot"]);
    wait_until("the clone is back", || {
        let (code, text) = bench.output(&[
            "ssh",
            "-u",
            "root",
            labels[0],
            "cat",
            "/proc/sys/kernel/random/boot_id",
        ]);
        // A box that goes down says so to whoever logs in meanwhile.
        code == 0 && !text.contains(&boot)
    });
    let identity = |text: &str| text.lines().take(4).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(identity(&on(&bench, labels[0], WHO)), identity(&who[0]));
    assert_eq!(on(&bench, labels[0], "cat /root/mine"), "mine");
    assert_eq!(
        on(&bench, labels[0], "systemctl is-active twolane-deadline.service"),
        "active"
    );
    let (code, text) = bench.output(&["test", labels[0]]);
    assert_eq!(code, 0, "{text}");

    // A clone that is killed takes nothing along, and the template is as it was.
    let machines = bench
        .processes()
        .into_iter()
        .filter(|(_, text)| text.starts_with("qemu-system"));
    for (pid, _) in machines {
        assert!(
            Command::new("kill")
                .args(["-KILL", &pid.to_string()])
                .status()
                .unwrap()
                .success()
        );
    }
    let (code, text) = bench.output(&["down", "--all"]);
    assert_eq!(code, 0, "{text}");
    bench.assert_nothing_left();
    assert_eq!(stamps(&template), before);
}

fn template_of(bench: &Bench, label: &str) -> PathBuf {
    let link = bench.state().join("boxes").join(label).join("vm/template");
    fs::read_link(link).expect("it is a clone")
}

/// Returns the length and the last change of each of a template's files.
fn stamps(template: &PathBuf) -> Vec<(PathBuf, u64, SystemTime)> {
    let mut stamps: Vec<_> = fs::read_dir(template)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            (entry.path(), about.len(), about.modified().unwrap())
        })
        .collect();
    stamps.sort();
    stamps
}
