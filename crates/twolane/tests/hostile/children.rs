//! What the programs get that a run starts.

use std::{collections::BTreeSet, env, fs, os::unix::fs::PermissionsExt};

use crate::place::Place;

/// What a run starts on this machine. git is left out: it looks at the operator's own checkout, with all of their environment.
const PROGRAMS: [&str; 8] = [
    "curl",
    "python3",
    "qemu-img",
    "qemu-system-x86_64",
    "rsync",
    "sh",
    "ssh",
    "ssh-keygen",
];

const TOKENS: [&str; 8] = [
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "CARGO_REGISTRY_TOKEN",
    "GITHUB_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HCLOUD_TOKEN",
    "VULTR_API_KEY",
];

/// What is made for a child, and what the shells and pythons between set by themselves.
const MADE: [&str; 11] = [
    "HOME", "LANG", "LC_ALL", "LC_CTYPE", "LC_TIME", "PATH", "TZ", "OLDPWD", "PWD", "SHLVL", "_",
];

/// What only those get that fetch something.
const FETCHING: [&str; 1] = ["https_proxy"];

/// Puts a stand-in before a program that records its environment, then becomes the program.
fn record(place: &Place, program: &str) {
    let bin = place.path("bin");
    let path = env::split_paths(&env::var_os("PATH").unwrap()).collect::<Vec<_>>();
    let mut dirs = [place.path("own")].into_iter().chain(path);
    let real = dirs.find(|dir| dir.join(program).exists());
    let real = real
        .unwrap_or_else(|| panic!("there is no {program} here"))
        .join(program);
    let text = format!(
        "#!/bin/sh\n/usr/bin/env -0 >{}/{program}.$$\nexec {} \"$@\"\n",
        place.path("seen").display(),
        real.display()
    );
    fs::write(bin.join(program), text).unwrap();
    fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn no_program_that_a_run_starts_gets_a_token() {
    let Some(place) = Place::new("[lanes.fast]\n") else {
        return;
    };
    fs::rename(place.path("bin"), place.path("own")).unwrap();
    for dir in ["bin", "seen"] {
        fs::create_dir(place.path(dir)).unwrap();
    }
    PROGRAMS.iter().for_each(|program| record(&place, program));
    let mut command = place.command();
    command
        .envs(TOKENS.map(|name| (name, "a-secret-of-the-operator")))
        .envs([
            ("LC_TIME", "C"),
            ("TZ", "UTC"),
            ("https_proxy", "http://127.0.0.1:9"),
        ]);
    let ended = place.run_by(command);
    assert!(ended.status.success(), "{}", ended.story());
    let mut started = BTreeSet::new();
    for file in fs::read_dir(place.path("seen")).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let program = name.rsplit_once('.').unwrap().0;
        let environment = fs::read_to_string(file.path()).unwrap();
        assert!(!environment.contains("a-secret"), "{program}: {environment}");
        for variable in environment.split_terminator('\0') {
            let name = variable.split_once('=').unwrap().0;
            let is_made = MADE.contains(&name) || (program == "curl" && FETCHING.contains(&name));
            assert!(is_made, "{program} got {variable}");
        }
        started.insert(program.to_owned());
    }
    // Nothing else was tried if one was found in another way.
    assert_eq!(started, PROGRAMS.map(str::to_owned).into());
}
