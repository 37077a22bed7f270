//! The binary as a user meets it.

use std::process::{Command, Output};

fn mvm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mvm"))
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn a_size_that_holds_is_printed() {
    let output = mvm(&["check", "web-1", "2x128m"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stdout, b"web-1 2x128m\n");
}

#[test]
fn a_mistake_exits_with_2_and_prints_nothing_to_stdout() {
    let output = mvm(&["check", "Web", "2x128m"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("Web"));
}
