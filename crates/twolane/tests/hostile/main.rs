//! The whole program on a box whose root is somebody else. Whatever that does, the run ends in its time, in little memory,
//! and its box is destroyed. QEMU is a stand-in, in whose place OpenSSH lets twolane in with the genuine host key.

#[path = "../stand_ins/mod.rs"]
mod stand_ins;

mod children;
mod matrix;
mod place;
mod watching;

use std::fs;

use place::Place;

#[test]
fn log_over_its_limit_is_cut_and_said_with_the_figure() {
    let Some(place) = Place::new("[limits]\nlog = \"3 MiB\"\n[lanes.fast]\n") else {
        return;
    };
    let place = place.with_fault("follow", "long");
    let ended = place.run();
    let said =
        "the output of check a is longer than 3.1 MB, the limit of a log: what came after that is not kept";
    assert!(
        ended.status.success() && ended.events.contains(said),
        "{}",
        ended.story()
    );
    assert!(ended.is_gone(), "{}", ended.story());
    let log = place.results().join("fast/checks/a.log");
    let kept = fs::read(log).unwrap();
    assert_eq!(kept.len(), 3 << 20);
    assert!(kept.iter().all(|byte| *byte == b'z'));
    for format in ["text", "html", "json"] {
        let report = place
            .command()
            .args(["report", "--format", format])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&report.stdout).into_owned();
        assert!(text.contains(said), "{format}: {text}");
    }
}
