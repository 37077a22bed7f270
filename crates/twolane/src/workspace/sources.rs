//! A look at a workspace's sources: which packages have tests that open `/dev/kvm`, and what else their text gives away.
//! A guess, that `twolane split` can measure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use camino::{Utf8Path, Utf8PathBuf};

/// Most source files that are looked through.
const FILES_MAX: usize = 10_000;

/// What opens `/dev/kvm` in the words of the crates that VMMs are built with.
const OPENS: [&str; 5] = [
    "Kvm::new(",
    "hypervisor::new(",
    "open(\"/dev/kvm",
    "open(c\"/dev/kvm",
    "Kvm::open",
];

/// Words in the name of a variable that gates tests.
const GATES: [&str; 5] = ["LIVE", "E2E", "SMOKE", "KVM", "INTEGRATION"];

/// What the sources give away.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// Whether anything in them is about `/dev/kvm`.
    pub(super) mentions_kvm: bool,
    /// The directories of the members with tests that open it.
    pub(super) live: BTreeSet<Utf8PathBuf>,
    /// The libraries that they link to by name.
    pub(super) links: BTreeSet<String>,
    /// Variables that may gate tests, each with the file that reads it.
    pub(super) gates: BTreeMap<String, String>,
}

/// Looks through the sources of the members of the workspace in `root`.
pub(super) fn look(root: &Utf8Path, members: &[Utf8PathBuf]) -> Sources {
    let mut sources = Sources::default();
    let mut left = FILES_MAX;
    for member in members {
        for part in ["src", "tests"] {
            walk(&member.join(part), &mut left, &mut |path, text| {
                sources.take(root, member, path, text);
            });
        }
    }
    sources
}

impl Sources {
    fn take(&mut self, root: &Utf8Path, member: &Utf8Path, path: &Utf8Path, text: &str) {
        let tests = tests_of(member, path, text);
        let opens = |text: &str| {
            let lines = text
                .lines()
                .map(str::trim_start)
                .filter(|line| !line.starts_with("//"));
            lines
                .into_iter()
                .any(|line| OPENS.iter().any(|word| line.contains(word)))
        };
        self.mentions_kvm |= text.contains("/dev/kvm") || opens(text);
        if tests.is_some_and(opens) && !is_of_another_machine(path) {
            self.live.insert(member.to_owned());
        }
        let links = text.split("#[link(name = \"").skip(1);
        self.links
            .extend(links.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        if tests.is_some() && text.contains("env::var") {
            let shown = path.strip_prefix(root).unwrap_or(path).to_string();
            self.gates
                .extend(gates(text).map(|name| (name.to_owned(), shown.clone())));
        }
    }
}

/// Returns the part of a file that is tests: all of one that only tests are built from.
fn tests_of<'a>(member: &Utf8Path, path: &Utf8Path, text: &'a str) -> Option<&'a str> {
    if path.starts_with(member.join("tests")) && text.contains("#[test]") {
        return Some(text);
    }
    let at = text.find("#[cfg(test)]").or_else(|| text.find("#[test]"))?;
    Some(&text[at..])
}

/// Returns whether the file is only built for a machine of another kind.
fn is_of_another_machine(path: &Utf8Path) -> bool {
    let kinds = ["aarch64", "x86_64", "riscv64"];
    let mut parts = path
        .components()
        .map(|part| part.as_str().trim_end_matches(".rs"));
    parts.any(|part| kinds.contains(&part) && part != std::env::consts::ARCH)
}

/// Returns the names of variables that a text holds and that may gate tests.
fn gates(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2).filter(|word| {
        let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        word.len() > 4
            && word.chars().all(is_name)
            && GATES.iter().any(|gate| word.split('_').any(|part| part == *gate))
    })
}

fn walk(dir: &Utf8Path, left: &mut usize, take: &mut impl FnMut(&Utf8Path, &str)) {
    for entry in dir.read_dir_utf8().into_iter().flatten().filter_map(Result::ok) {
        if *left == 0 {
            return;
        }
        *left -= 1;
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => walk(entry.path(), left, take),
            Ok(_) if entry.path().extension() == Some("rs") => {
                if let Ok(text) = fs::read(entry.path()) {
                    take(entry.path(), &String::from_utf8_lossy(&text));
                }
            }
            _ => {}
        }
    }
}
