//! Holds `sync` to git itself: random trees, synced twice with changes in between, must arrive as the files that
//! `git add --all` would record.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt,
        fs::{PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process,
};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    error::RemoteError,
    source::Source,
    world::{Command, Output, Silent},
};
use proptest::prelude::*;

use crate::{layout::Layout, selection::COMPARISONS_MAX, shell::Shell, sync::sync_within};

/// Runs everything here, through a script that takes the place of ssh.
struct Here {
    rsh: Vec<String>,
}

impl Here {
    fn new(dir: &Utf8Path) -> Self {
        let rsh = dir.join("rsh");
        fs::write(&rsh, "#!/bin/sh\nshift\nexec sh -c \"$*\"\n").unwrap();
        fs::set_permissions(&rsh, fs::Permissions::from_mode(0o755)).unwrap();
        Self {
            rsh: vec![rsh.into_string()],
        }
    }
}

#[async_trait]
impl Shell for Here {
    async fn run(&self, command: &Command) -> Result<Output, RemoteError> {
        let mut stdin = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut stdin, &command.stdin).unwrap();
        std::io::Seek::rewind(&mut stdin).unwrap();
        let mut run = process::Command::new(&command.argv[0]);
        let output = run.args(&command.argv[1..]).stdin(stdin).output().unwrap();
        Ok(Output {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    }

    fn rsh(&self) -> &[String] {
        &self.rsh
    }

    fn host(&self) -> &str {
        "here"
    }
}

/// One thing that happens to a tree.
#[derive(Debug, Clone)]
enum Change {
    Write(PathBuf, u8, bool),
    Link(PathBuf, PathBuf),
    Delete(PathBuf),
    Ignore(PathBuf, Vec<&'static str>),
    Track(PathBuf),
    TrackAll,
    Repository { path: PathBuf, is_submodule: bool },
}

const NAMES: [&[u8]; 13] = [
    b"a",
    b"b c",
    b"-d",
    b"#e",
    b"new\nline",
    b"*g",
    b"[h]",
    b"back\\slash",
    b"back\\*",
    b"target",
    b"\xff\xfe",
    b" ",
    b".hidden",
];

const PATTERNS: [&str; 12] = [
    "a", "/a", "*c", "!a", "target/", "!*", "*", "\\#e", "b c/", "!b c/-d", ".hidden", "*\\\\*",
];

fn path() -> impl Strategy<Value = PathBuf> {
    let name = proptest::sample::select(&NAMES[..]);
    proptest::collection::vec(name, 1..4)
        .prop_map(|names| names.iter().map(|name| OsStr::from_bytes(name)).collect())
}

fn change() -> impl Strategy<Value = Change> {
    let patterns = proptest::collection::vec(proptest::sample::select(&PATTERNS[..]), 1..4);
    prop_oneof![
        8 => (path(), any::<u8>(), any::<bool>()).prop_map(|(path, content, is_program)| Change::Write(path, content, is_program)),
        2 => (path(), path()).prop_map(|(path, to)| Change::Link(path, to)),
        2 => path().prop_map(Change::Delete),
        3 => (path(), patterns).prop_map(|(dir, patterns)| Change::Ignore(dir, patterns)),
        2 => path().prop_map(Change::Track),
        1 => Just(Change::TrackAll),
        1 => (path(), any::<bool>()).prop_map(|(path, is_submodule)| Change::Repository { path, is_submodule }),
    ]
}

fn git(dir: &Path, args: &[&OsStr]) -> Vec<u8> {
    let identity = [
        "-c",
        "user.name=a",
        "-c",
        "user.email=a@b",
        "-c",
        "advice.addEmbeddedRepo=false",
    ];
    process::Command::new("git")
        .args(identity)
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap()
        .stdout
}

fn git_words(dir: &Path, args: &[&str]) -> Vec<u8> {
    git(dir, &args.iter().map(OsStr::new).collect::<Vec<_>>())
}

/// Makes room for `path`: what is in the way goes, and the directories above it are made.
fn make_room(root: &Path, path: &Path) -> PathBuf {
    let mut at = root.to_owned();
    for part in path.parent().unwrap_or(path) {
        at.push(part);
        if !fs::symlink_metadata(&at).is_ok_and(|found| found.is_dir()) {
            let _ = fs::remove_file(&at);
            fs::create_dir(&at).unwrap();
        }
    }
    let full = root.join(path);
    delete(&full);
    full
}

fn delete(path: &Path) {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn apply(root: &Path, change: &Change) {
    match change {
        Change::Write(path, content, is_program) => {
            let path = make_room(root, path);
            fs::write(&path, [*content]).unwrap();
            let mode = if *is_program { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        Change::Link(path, to) => symlink(to, make_room(root, path)).unwrap(),
        Change::Delete(path) => delete(&root.join(path)),
        Change::Ignore(dir, patterns) => {
            // One in three at the top.
            let dir = if dir.iter().count() == 3 {
                Path::new("")
            } else {
                dir
            };
            fs::write(make_room(root, &dir.join(".gitignore")), patterns.join("\n")).unwrap();
        }
        Change::Track(path) => {
            git(
                root,
                &["--literal-pathspecs", "add", "-f", "--"]
                    .map(OsStr::new)
                    .into_iter()
                    .chain([path.as_os_str()])
                    .collect::<Vec<_>>(),
            );
        }
        Change::TrackAll => {
            git_words(root, &["add", "--all"]);
        }
        Change::Repository { path, is_submodule } => {
            let dir = &make_room(root, path);
            fs::create_dir(dir).unwrap();
            fs::write(dir.join("in"), "in").unwrap();
            fs::write(dir.join(".gitignore"), "a\n!-d\n").unwrap();
            fs::write(dir.join("a"), "ignored").unwrap();
            git_words(dir, &["init", "-q"]);
            git_words(dir, &["add", "in"]);
            git_words(dir, &["commit", "-q", "-m", "x"]);
            if *is_submodule {
                apply(root, &Change::Track(path.clone()));
            }
        }
    }
}

/// Returns what git records of a checkout, from a copy in which everything has been added.
fn recorded(original: &Path, copy: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    let submodules: Vec<PathBuf> = index(&original.join(below), true);
    git_words(&copy.join(below), &["add", "--all"]);
    found.extend(
        index(&copy.join(below), false)
            .into_iter()
            .map(|path| below.join(path)),
    );
    for submodule in index(&copy.join(below), true) {
        if submodules.contains(&submodule) && original.join(below).join(&submodule).join(".git").exists() {
            recorded(original, copy, &below.join(submodule), found);
        }
    }
}

fn index(dir: &Path, wants_submodules: bool) -> Vec<PathBuf> {
    let listed = git_words(dir, &["ls-files", "-z", "--stage"]);
    let entries = listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
    entries
        .filter(|entry| entry.starts_with(b"160000") == wants_submodules)
        .map(|entry| {
            PathBuf::from(OsStr::from_bytes(
                entry.splitn(2, |byte| *byte == b'\t').nth(1).unwrap(),
            ))
        })
        .collect()
}

/// Returns what is to be seen of a file: its mode and what is in it, or where it leads.
fn look(path: &Path) -> (u32, Vec<u8>) {
    let found = fs::symlink_metadata(path).unwrap();
    if found.is_symlink() {
        (0, fs::read_link(path).unwrap().as_os_str().as_bytes().to_vec())
    } else {
        (found.permissions().mode(), fs::read(path).unwrap())
    }
}

fn files(root: &Path, below: &Path, found: &mut BTreeMap<PathBuf, (u32, Vec<u8>)>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            files(root, &path, found);
        } else {
            found.insert(path.clone(), look(&root.join(path)));
        }
    }
}

struct Test {
    _temp: tempfile::TempDir,
    dir: Utf8PathBuf,
    here: Here,
    layout: Layout,
    source: Source,
}

impl Test {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        let layout = Layout {
            root: dir.to_string(),
            has_users: false,
            manifests: dir.join("m").into_string(),
        };
        let source = Source {
            name: "x".to_owned(),
            user: "dev".to_owned(),
            path: dir.join("source"),
        };
        fs::create_dir_all(&source.path).unwrap();
        fs::create_dir_all(dir.join("home/dev")).unwrap();
        git_words(source.path.as_std_path(), &["init", "-q"]);
        Self {
            here: Here::new(&dir),
            _temp: temp,
            dir,
            layout,
            source,
        }
    }

    fn sync(&self, comparisons_max: u64) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let sync = sync_within(&self.here, &self.layout, &self.source, &Silent, comparisons_max);
        runtime.block_on(sync).unwrap();
    }

    fn expected(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let copy = self.dir.join("copy");
        delete(copy.as_std_path());
        let status = process::Command::new("cp")
            .args(["-a", self.source.path.as_str(), copy.as_str()])
            .status();
        assert!(status.unwrap().success());
        let mut paths = Vec::new();
        let root = self.source.path.as_std_path();
        recorded(root, copy.as_std_path(), Path::new(""), &mut paths);
        paths
            .into_iter()
            .map(|path| (path.clone(), look(&root.join(path))))
            .collect()
    }

    fn arrived(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        files(
            self.dir.join("home/dev/x").as_std_path(),
            Path::new(""),
            &mut found,
        );
        found
    }
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok())
        .unwrap_or(16);
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 500,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_arrives_is_what_git_would_record(
        first in proptest::collection::vec(change(), 1..25),
        second in proptest::collection::vec(change(), 1..12),
        comparisons_max in proptest::sample::select(&[0, COMPARISONS_MAX][..]),
    ) {
        let test = Test::new();
        for changes in [first, second] {
            for change in &changes {
                apply(test.source.path.as_std_path(), change);
            }
            test.sync(comparisons_max);
            prop_assert_eq!(test.arrived(), test.expected());
        }
    }
}
