//! How rsync gets the list of files. It reads a list of files byte by byte and looks at each path from the top,
//! which takes four times as long as walking a tree by itself; so it walks, and gets what to pass by.

use std::{collections::HashSet, fs, io, os::unix::ffi::OsStrExt, path::Path};

use crate::manifest::Manifest;

/// rsync compares each file with each name to pass by: more comparisons than these take longer than the list.
pub(crate) const COMPARISONS_MAX: u64 = 20_000_000;

/// The file list that rsync reads.
pub(crate) struct Selection {
    pub(crate) args: &'static [&'static str],
    pub(crate) stdin: Vec<u8>,
}

impl Selection {
    /// Selects exactly what is in the manifest of the tree at `root`.
    pub(crate) fn new(root: &Path, manifest: &Manifest, comparisons_max: u64) -> io::Result<Self> {
        let mut walk = Walk {
            root,
            files: HashSet::new(),
            directories: HashSet::new(),
            passed_by: Vec::new(),
        };
        for entry in manifest.entries() {
            walk.want(entry);
        }
        walk.directory(b"")?;
        if walk.passed_by.len() as u64 * manifest.len() > comparisons_max {
            return Ok(Self {
                args: &["--ignore-missing-args", "--from0", "--files-from=-"],
                stdin: manifest.for_rsync(),
            });
        }
        let patterns = walk.passed_by.iter().flat_map(|path| pattern(path)).collect();
        Ok(Self {
            args: &["--recursive", "--from0", "--exclude-from=-"],
            stdin: patterns,
        })
    }
}

/// Looks for what is in the tree and not in the manifest.
struct Walk<'a> {
    root: &'a Path,
    files: HashSet<&'a [u8]>,
    directories: HashSet<&'a [u8]>,
    passed_by: Vec<Vec<u8>>,
}

impl<'a> Walk<'a> {
    fn want(&mut self, entry: &'a [u8]) {
        let mut path = entry;
        match entry.strip_suffix(b"/") {
            Some(directory) => {
                self.directories.insert(directory);
                path = directory;
            }
            None => {
                self.files.insert(entry);
            }
        }
        while let Some(slash) = path.iter().rposition(|byte| *byte == b'/') {
            path = &path[..slash];
            if !self.directories.insert(path) {
                break;
            }
        }
    }

    fn directory(&mut self, below: &[u8]) -> io::Result<()> {
        for entry in fs::read_dir(self.root.join(std::ffi::OsStr::from_bytes(below)))? {
            let entry = entry?;
            let mut path = below.to_vec();
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(entry.file_name().as_bytes());
            let is_directory = entry.file_type()?.is_dir();
            if is_directory && self.directories.contains(&path[..]) {
                self.directory(&path)?;
            } else if is_directory || !self.files.contains(&path[..]) {
                self.passed_by.push(path);
            }
        }
        Ok(())
    }
}

/// Returns the pattern that matches this path and nothing else. A backslash means itself where nothing in the
/// pattern could stand for something else.
fn pattern(path: &[u8]) -> Vec<u8> {
    let is_special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    let has_special = path.iter().any(is_special);
    let mut pattern = vec![b'/'];
    for byte in path {
        if has_special && (is_special(byte) || *byte == b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(0);
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_themselves_only() {
        assert_eq!(pattern(b"a b"), b"/a b\0");
        assert_eq!(pattern(b"a\\b"), b"/a\\b\0");
        assert_eq!(pattern(b"a*\\[b]?"), b"/a\\*\\\\\\[b]\\?\0");
    }
}
