//! The operator's Rust toolchain as a disk, mounted at `/opt/twolane/toolchain`: sending it over SSH takes a minute.

use std::{fs, io, os::unix, process::Stdio};

use camino::Utf8Path;
use model::{order::OperatorToolchain, text::last_lines, world::Progress};
use tokio::process::Command;

use super::cache::{self, Found, Held, Making};
use crate::child;
use crate::local::{error::LocalError, programs, space};

/// What a toolchain needs of its directory; the rest is documentation.
const PARTS: &[&str] = &["bin", "lib", "libexec"];

/// Returns the directory with `toolchain.ext4`.
pub(crate) async fn ensure(
    cache_dir: &Utf8Path,
    toolchain: &OperatorToolchain,
    progress: &dyn Progress,
) -> Result<Held, LocalError> {
    let programs: Vec<_> = toolchain.programs.iter().map(|path| path.as_str()).collect();
    let key = cache::key("toolchain", &["1", &toolchain.key, &programs.join("\0")]);
    match cache::find(cache_dir, &key, progress).await? {
        Found::There(directory) => Ok(directory),
        Found::ToBeMade(making) => make(making, toolchain, progress).await,
    }
}

async fn make(
    making: Making,
    toolchain: &OperatorToolchain,
    progress: &dyn Progress,
) -> Result<Held, LocalError> {
    if !is_file_name(&toolchain.key) {
        return Err(LocalError::invalid(format!(
            "`{}` is not a toolchain's key",
            toolchain.key
        )));
    }
    programs::need("mke2fs", "e2fsprogs")?;
    progress.report("making a disk of the Rust toolchain, once", None);
    let tree = making.part.join("tree");
    let copied = {
        let (tree, toolchain) = (tree.clone(), toolchain.clone());
        tokio::task::spawn_blocking(move || copy(&toolchain, &tree)).await
    };
    let bytes = copied
        .map_err(|e| LocalError::system("copy the toolchain", e))?
        .map_err(|e| LocalError::system(format!("copy the toolchain {}", toolchain.sysroot), e))?;
    make_disk(&making, bytes).await?;
    fs::remove_dir_all(&tree).map_err(|e| LocalError::system(format!("delete {tree}"), e))?;
    making.finish()
}

fn is_file_name(key: &str) -> bool {
    !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(&b))
        && !key.starts_with('.')
}

async fn make_disk(making: &Making, bytes: u64) -> Result<(), LocalError> {
    space::check_disk(
        &making.part,
        bytes,
        space::disk_free(&making.part)?,
        "the toolchain's disk",
    )?;
    let mebibytes = (bytes >> 20) * 11 / 10 + 64;
    let mut command = Command::new(programs::path_of("mke2fs").unwrap_or_else(|| "mke2fs".into()));
    child::clean(command.as_std_mut());
    let output = command
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-E", "root_owner=0:0"])
        .args(["-O", "^has_journal,^metadata_csum,^64bit,^resize_inode"])
        .args(["-L", "toolchain", "-d", "tree", "toolchain.ext4"])
        .arg(format!("{mebibytes}M"))
        .current_dir(&making.part)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|e| LocalError::system("run mke2fs", e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = last_lines(&String::from_utf8_lossy(&output.stderr), 5).join("\n");
    Err(LocalError::invalid(format!(
        "mke2fs could not make the toolchain's disk: {said}"
    )))
}

/// Copies what is needed to `tree/<key>`, and returns the bytes that a disk of it takes.
fn copy(toolchain: &OperatorToolchain, tree: &Utf8Path) -> io::Result<u64> {
    let root = tree.join(&toolchain.key);
    fs::create_dir_all(&root)?;
    let mut bytes = 0;
    for part in PARTS {
        let from = toolchain.sysroot.join(part);
        if from.is_dir() {
            bytes += copy_dir(&from, &root.join(part))?;
        }
    }
    fs::create_dir_all(root.join("bin"))?;
    for program in &toolchain.programs {
        let name = program.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        bytes += copy_file(program, &root.join("bin").join(name))?;
    }
    Ok(bytes)
}

fn copy_dir(from: &Utf8Path, to: &Utf8Path) -> io::Result<u64> {
    fs::create_dir_all(to)?;
    let mut bytes = BLOCK;
    for entry in from.read_dir_utf8()? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += copy_dir(entry.path(), &target)?;
        } else if kind.is_symlink() {
            unix::fs::symlink(fs::read_link(entry.path())?, &target)?;
            bytes += BLOCK;
        } else {
            bytes += copy_file(entry.path(), &target)?;
        }
    }
    Ok(bytes)
}

/// Linked where that is possible: nothing writes to either.
fn copy_file(from: &Utf8Path, to: &Utf8Path) -> io::Result<u64> {
    let from = from.canonicalize_utf8()?;
    if fs::hard_link(&from, to).is_err() {
        fs::copy(&from, to)?;
    }
    Ok(fs::metadata(to)?.len().next_multiple_of(BLOCK))
}

const BLOCK: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documentation_stays_behind_and_programs_go_into_bin() {
        let dir = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(dir.path()).unwrap();
        let sysroot = dir.join("sysroot");
        for (name, content) in [
            ("bin/rustc", "r"),
            ("lib/libstd.so", "s"),
            ("share/doc/index.html", "d"),
        ] {
            let file = sysroot.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, content).unwrap();
        }
        unix::fs::symlink("libstd.so", sysroot.join("lib/link")).unwrap();
        fs::write(dir.join("cargo-nextest"), "n").unwrap();
        let toolchain = OperatorToolchain {
            key: "1.95.0-abc".to_owned(),
            sysroot,
            programs: vec![dir.join("cargo-nextest")],
        };
        let bytes = copy(&toolchain, &dir.join("tree")).unwrap();
        let root = dir.join("tree/1.95.0-abc");
        assert_eq!(fs::read_to_string(root.join("bin/rustc")).unwrap(), "r");
        assert_eq!(fs::read_to_string(root.join("bin/cargo-nextest")).unwrap(), "n");
        assert_eq!(
            fs::read_link(root.join("lib/link")).unwrap(),
            Utf8Path::new("libstd.so")
        );
        assert!(!root.join("share").exists());
        assert_eq!(bytes, 6 * BLOCK);
    }

    #[test]
    fn a_key_is_one_name() {
        assert!(is_file_name("1.95.0-stable_x86+abc"));
        assert!(!is_file_name("../x"));
        assert!(!is_file_name(".."));
        assert!(!is_file_name(""));
    }
}
