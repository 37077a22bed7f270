//! The exact list of what is copied of a source tree: what git would carry; where there is no git, everything
//! but a short list.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fmt,
    fs::{self, Metadata},
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use model::error::RemoteError;
use sha2::{Digest, Sha256};

use crate::git;

/// Directories that stay behind where git does not say what to carry. `target` only beside a `Cargo.toml`.
pub const LEFT_OUT: [&str; 12] = [
    ".cache",
    ".direnv",
    ".git",
    ".hg",
    ".jj",
    ".mypy_cache",
    ".pytest_cache",
    ".svn",
    ".venv",
    "__pycache__",
    "node_modules",
    "target",
];

/// Something that is not copied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// Relative to the source.
    pub path: PathBuf,
    /// The reason.
    pub why: Why,
}

/// Why something is not copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Git ignores it.
    Ignored,
    /// It is a repository of its own, and not a submodule.
    OwnRepository,
    /// It is one of `LEFT_OUT`.
    LeftOut,
    /// It is neither a file, a directory nor a link.
    Special,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ignored => "git ignores it",
            Self::OwnRepository => "it is a git repository of its own, and no submodule",
            Self::LeftOut => "it can be made anew, and there is no git that says otherwise",
            Self::Special => "it is neither a file, a directory nor a link",
        })
    }
}

/// Returns what is not copied of the tree at `path`, sorted; a directory stands for all that is in it.
pub fn left_behind(path: &Path) -> Result<Vec<Left>, RemoteError> {
    let mut survey = Survey {
        wants_ignored: true,
        ..Survey::default()
    };
    survey.tree(path)?;
    survey.left.sort();
    Ok(survey.left)
}

/// What is copied: files and links, and directories that are empty, sorted by their bytes.
/// Directories end with a slash.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    entries: Vec<Vec<u8>>,
}

impl Manifest {
    /// Lists the tree at `path`.
    pub(crate) fn of(path: &Path) -> Result<Self, RemoteError> {
        let mut survey = Survey::default();
        survey.tree(path)?;
        let mut entries = survey.entries;
        entries.sort_unstable();
        entries.dedup();
        Ok(Self { entries })
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Returns whether this is in it, by its path below the tree.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_bytes();
        self.entries.binary_search_by(|entry| (**entry).cmp(path)).is_ok()
    }

    /// Returns the paths below the tree. Those of directories end with a slash.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries
            .iter()
            .map(|entry| Path::new(OsStr::from_bytes(entry)))
    }

    /// Returns it as it is kept on the box: sorted, with a zero byte after each.
    pub(crate) fn kept(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.iter().map(|entry| entry.len() + 1).sum());
        for entry in &self.entries {
            bytes.extend_from_slice(entry);
            bytes.push(0);
        }
        bytes
    }

    /// Returns it for `rsync --files-from --from0`. A name could begin as a comment does, and a directory with
    /// a slash would bring its content.
    pub(crate) fn for_rsync(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.entries.iter().map(|entry| entry.len() + 3).sum());
        for entry in &self.entries {
            bytes.extend_from_slice(b"./");
            bytes.extend_from_slice(entry.strip_suffix(b"/").unwrap_or(entry));
            bytes.push(0);
        }
        bytes
    }

    /// Returns what distinguishes it from every other list, and from the same list for another directory.
    pub(crate) fn hash(&self, directory: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(b"1\0");
        hash.update(directory);
        hash.update([0]);
        hash.update(self.kept());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns its entries.
    pub(crate) fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }
}

/// Goes through a tree.
#[derive(Default)]
struct Survey {
    entries: Vec<Vec<u8>>,
    left: Vec<Left>,
    wants_ignored: bool,
}

impl Survey {
    fn tree(&mut self, root: &Path) -> Result<(), RemoteError> {
        if !root.is_dir() {
            return Err(RemoteError::Here(format!(
                "{} is not a directory",
                root.display()
            )));
        }
        match git::list(root)? {
            Some(listing) => self.checkout(root, Path::new(""), listing),
            None => self.plain(root, Path::new("")).map(drop),
        }
    }

    fn checkout(&mut self, root: &Path, below: &Path, listing: git::Listing) -> Result<(), RemoteError> {
        let here = root.join(below);
        let mut directories = Directories::new(&here);
        for tracked in listing.tracked {
            let path = below.join(&tracked.path);
            match directories.look(&tracked.path) {
                Some(found) if found.is_dir() && tracked.is_submodule => self.submodule(root, &path)?,
                Some(found) if is_carried(&found) => self.take(&path),
                _ => {}
            }
        }
        for other in listing.others {
            let path = below.join(&other);
            if other.as_os_str().as_bytes().ends_with(b"/") {
                self.left.push(Left {
                    path,
                    why: Why::OwnRepository,
                });
            } else {
                self.take(&path);
            }
        }
        if self.wants_ignored {
            let ignored = git::ignored(&here)?.into_iter();
            self.left.extend(ignored.map(|path| Left {
                path: below.join(path),
                why: Why::Ignored,
            }));
        }
        Ok(())
    }

    fn submodule(&mut self, root: &Path, path: &Path) -> Result<(), RemoteError> {
        let here = root.join(path);
        // A submodule that was never fetched is an empty directory, as in a fresh clone.
        let listing = if here.join(".git").exists() {
            git::list(&here)?
        } else {
            None
        };
        let before = self.entries.len();
        if let Some(listing) = listing {
            self.checkout(root, path, listing)?;
        }
        if self.entries.len() == before {
            self.take_empty(path);
        }
        Ok(())
    }

    /// Returns whether anything of the directory was taken.
    fn plain(&mut self, root: &Path, below: &Path) -> Result<bool, RemoteError> {
        let here = root.join(below);
        let cannot =
            |error: io::Error| RemoteError::Here(format!("could not list {}: {error}", here.display()));
        let is_package = here.join("Cargo.toml").exists();
        let before = self.entries.len();
        for entry in fs::read_dir(&here).map_err(cannot)? {
            let entry = entry.map_err(cannot)?;
            let kind = entry.file_type().map_err(cannot)?;
            let name = entry.file_name();
            let path = below.join(&name);
            if kind.is_dir() && is_left_out(&name.to_string_lossy(), is_package) {
                self.left.push(Left {
                    path,
                    why: Why::LeftOut,
                });
            } else if kind.is_dir() {
                if !self.plain(root, &path)? {
                    self.take_empty(&path);
                }
            } else if kind.is_file() || kind.is_symlink() {
                self.take(&path);
            } else {
                self.left.push(Left {
                    path,
                    why: Why::Special,
                });
            }
        }
        Ok(self.entries.len() > before)
    }

    fn take(&mut self, path: &Path) {
        self.entries.push(path.as_os_str().as_bytes().to_vec());
    }

    fn take_empty(&mut self, path: &Path) {
        let mut entry = path.as_os_str().as_bytes().to_vec();
        entry.push(b'/');
        self.entries.push(entry);
    }
}

fn is_left_out(name: &str, is_package: bool) -> bool {
    LEFT_OUT.contains(&name) && (name != "target" || is_package)
}

fn is_carried(found: &Metadata) -> bool {
    found.is_file() || found.is_symlink()
}

/// Looks at tracked files. What lies behind a link is not there, as git sees it.
struct Directories<'a> {
    root: &'a Path,
    is_real: HashMap<PathBuf, bool>,
}

impl<'a> Directories<'a> {
    fn new(root: &'a Path) -> Self {
        Self {
            root,
            is_real: HashMap::new(),
        }
    }

    fn look(&mut self, path: &Path) -> Option<Metadata> {
        if !self.is_real(path.parent()?) {
            return None;
        }
        fs::symlink_metadata(self.root.join(path)).ok()
    }

    fn is_real(&mut self, dir: &Path) -> bool {
        let Some(parent) = dir.parent() else { return true };
        if let Some(known) = self.is_real.get(dir) {
            return *known;
        }
        let is_real = self.is_real(parent)
            && fs::symlink_metadata(self.root.join(dir)).is_ok_and(|found| found.is_dir());
        self.is_real.insert(dir.to_owned(), is_real);
        is_real
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(script: &str) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        let status = std::process::Command::new("sh")
            .args(["-euc", script])
            .current_dir(temp.path())
            .status();
        assert!(status.unwrap().success());
        temp
    }

    #[track_caller]
    fn check(script: &str, below: &str, carried: &[&str], left: &[(&str, Why)]) {
        let temp = tree(script);
        let root = temp.path().join(below);
        let manifest = Manifest::of(&root).unwrap();
        let entries: Vec<_> = manifest
            .entries()
            .iter()
            .map(|entry| String::from_utf8_lossy(entry))
            .collect();
        assert_eq!(entries, carried);
        let expected = left.iter().map(|(path, why)| Left {
            path: path.into(),
            why: *why,
        });
        assert_eq!(left_behind(&root).unwrap(), expected.collect::<Vec<_>>());
    }

    #[test]
    fn without_git_all_but_a_list_is_carried() {
        check(
            "mkdir -p src/target target/debug node_modules/x empty/inner; touch Cargo.toml src/target/mod.rs target/debug/a \
             node_modules/x/y; ln -s nowhere link; mkfifo pipe",
            "",
            &["Cargo.toml", "empty/inner/", "link", "src/target/mod.rs"],
            &[
                ("node_modules", Why::LeftOut),
                ("pipe", Why::Special),
                ("target", Why::LeftOut),
            ],
        );
    }

    #[test]
    fn in_a_checkout_git_decides() {
        check(
            "git init -q; echo target/ > .gitignore; mkdir target other; touch target/a b; git init -q other; touch other/c",
            "",
            &[".gitignore", "b"],
            &[("other/", Why::OwnRepository), ("target/", Why::Ignored)],
        );
    }

    #[test]
    fn part_of_a_checkout_keeps_its_rules() {
        check(
            "git init -q; echo '*.o' > .gitignore; mkdir part; touch part/a.o part/b top",
            "part",
            &["b"],
            &[("a.o", Why::Ignored)],
        );
    }

    #[test]
    fn directory_that_a_checkout_ignores_is_a_tree_of_its_own() {
        check(
            "git init -q; echo out > .gitignore; mkdir -p out/tree; touch out/tree/a",
            "out/tree",
            &["a"],
            &[],
        );
    }

    #[test]
    fn missing_directory_is_said() {
        let error = Manifest::of(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent is not a directory");
    }
}
