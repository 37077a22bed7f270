//! The directories of a tree that hold what is copied of it, or may come to: for who follows its changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use model::error::RemoteError;

use crate::{
    git::ignored_themselves,
    manifest::{Why, left_behind},
};

/// Returns all directories of the tree at `root` but those that are not copied, the root among them. One that is new and empty
/// counts: who looks at it sees the first file come.
pub(crate) fn directories(root: &Path) -> Result<BTreeSet<PathBuf>, RemoteError> {
    let left = left_behind(root)?.into_iter();
    let left: BTreeMap<PathBuf, Why> = left.map(|left| (left.path, left.why)).collect();
    let mut found = BTreeSet::new();
    let mut level = vec![root.to_owned()];
    while !level.is_empty() {
        let mut below = Vec::new();
        for dir in &level {
            match subdirectories(dir) {
                Ok(dirs) => below.extend(dirs),
                // It may go at any time.
                Err(error) if dir != root && is_gone(&error) => {}
                Err(error) => {
                    let dir = dir.display();
                    return Err(RemoteError::Here(format!("could not list {dir}: {error}")));
                }
            }
        }
        found.extend(level);
        level = those_sent(root, &left, below)?;
    }
    Ok(found)
}

fn subdirectories(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let is_wanted = |entry: &fs::DirEntry| {
        entry.file_name() != ".git" && entry.file_type().is_ok_and(|kind| kind.is_dir())
    };
    let entries = fs::read_dir(dir)?.flatten().filter(is_wanted);
    Ok(entries.map(|entry| entry.path()).collect())
}

/// Returns the directories without those that stay here. git names a directory also where it ignores all files that are there
/// now; what comes there may be another one.
fn those_sent(
    root: &Path,
    left: &BTreeMap<PathBuf, Why>,
    dirs: Vec<PathBuf>,
) -> Result<Vec<PathBuf>, RemoteError> {
    let (mut sent, mut doubtful) = (Vec::new(), Vec::new());
    for dir in dirs {
        let below = dir.strip_prefix(root).unwrap_or(&dir);
        match below.ancestors().find_map(|above| left.get(above)) {
            None => sent.push(dir),
            Some(Why::Ignored) => doubtful.push(below.to_owned()),
            Some(_) => {}
        }
    }
    if !doubtful.is_empty() {
        let ignored = ignored_themselves(root, doubtful.clone())?;
        let free = doubtful.iter().filter(|dir| !ignored.contains(dir));
        sent.extend(free.map(|dir| root.join(dir)));
    }
    Ok(sent)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[track_caller]
    fn check(script: &str, expected: &[&str]) {
        let temp = tempfile::tempdir().unwrap();
        let status = Command::new("sh")
            .args(["-euc", script])
            .current_dir(temp.path())
            .status();
        assert!(status.unwrap().success());
        let found = directories(temp.path()).unwrap();
        let below = found.iter().map(|dir| dir.strip_prefix(temp.path()).unwrap());
        assert_eq!(
            below.collect::<Vec<_>>(),
            expected.iter().map(Path::new).collect::<Vec<_>>()
        );
    }

    #[test]
    fn in_a_checkout_all_but_what_git_ignores_and_its_own() {
        check(
            "git init -q; printf 'target/\\n*.o\\n' > .gitignore; mkdir -p target/debug src/bin new/inner objects/more/target; \
             touch target/a src/bin/a.rs objects/more/a.o; git init -q other; touch other/a; ln -s src link",
            &[
                "",
                "new",
                "new/inner",
                "objects",
                "objects/more",
                "src",
                "src/bin",
            ],
        );
    }

    #[test]
    fn without_git_all_but_a_list() {
        check(
            "mkdir -p src target/debug node_modules/x; touch Cargo.toml src/a target/debug/a node_modules/x/a",
            &["", "src"],
        );
    }
}
