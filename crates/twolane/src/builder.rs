//! Compiles tests on this machine with cargo-nextest, for boxes that only run them. cargo's own directory is used, so that
//! the second time compiles nothing.

mod cargo;
mod workspace;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    fs::{self, File},
};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    build::{
        Archive, ArchiveOrder, BuildOrder, Built, Compiler, Glibc, NEXTEST, Program, glibc_of, is_of_build,
        is_own_mistake, read_doc_tests,
    },
    world::{Builder, Progress, Silent},
};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::Mutex;

use self::{
    cargo::Cargo,
    workspace::{Workspace, cargo_home, foreign_flags},
};
use crate::{prebuilt, toolchain::is_pinned};

/// Compiles into directories of its own, which go with it.
pub(crate) struct CargoBuilder {
    /// Where those are, and the tools that were fetched.
    cache: Utf8PathBuf,
    /// The last one for each name. What is packed is what was just compiled: one build at a time.
    kept: Mutex<BTreeMap<String, Kept>>,
}

/// A directory that is deleted when it is dropped.
struct Kept {
    dir: TempDir,
    _lock: File,
}

impl CargoBuilder {
    /// Makes a builder that keeps what it compiled in `cache`, until it compiles for the same box again.
    pub(crate) fn new(cache: Utf8PathBuf) -> Self {
        Self {
            cache,
            kept: Mutex::default(),
        }
    }

    /// Makes an empty directory, which is in use as long as this process lives: what is not goes with the next prune.
    fn make_dir(&self) -> std::io::Result<Kept> {
        let parent = self.cache.join("build");
        fs::create_dir_all(&parent)?;
        let dir = tempfile::Builder::new().prefix("build-").tempdir_in(parent)?;
        let lock = File::open(&dir)?;
        lock.lock()?;
        Ok(Kept { dir, _lock: lock })
    }
}

#[async_trait]
impl Builder for CargoBuilder {
    async fn build(&self, order: &BuildOrder, progress: &dyn Progress) -> Result<Built, String> {
        let mut kept = self.kept.lock().await;
        let nextest = nextest(&self.cache).ok_or(
            "cargo-nextest is not installed on this machine (cargo install --locked cargo-nextest gets it)",
        )?;
        let source = &order.source.path;
        let cargo = Cargo {
            dir: source.clone(),
            sysroot: order
                .sysroot
                .clone()
                .filter(|sysroot| sysroot.join("bin/cargo").is_file()),
            channel: order.channel.clone().filter(|channel| is_pinned(channel)),
            nextest: nextest.clone(),
        };
        let version = cargo.run("rustc", &["-vV"], progress).await?.stdout()?;
        let compiler = Compiler::read(&version).ok_or_else(|| format!("rustc calls itself {version}"))?;
        if let Some(why) = order.facts.refuse(&compiler).or_else(|| foreign_flags(source)) {
            return Err(why);
        }
        let workspace = Workspace::read(&cargo, progress).await?;
        let made = self
            .make_dir()
            .map_err(|error| format!("could not write to {}/build: {error}", self.cache))?;
        let dir = Utf8PathBuf::from_path_buf(made.dir.path().to_owned());
        kept.insert(order.name.clone(), made);
        let work = Work {
            dir: dir.map_err(|dir| format!("{} is not UTF-8", dir.display()))?,
            there: there(source),
            cargo,
            workspace,
            progress,
        };
        work.begin(order.has_nextest.then_some(&*nextest))?;
        let mut archives = Vec::new();
        for (number, order) in order.archives.iter().enumerate() {
            archives.push(work.archive(number, order).await?);
        }
        let sent = work.dir.join("target");
        let (architecture, glibc) = tokio::task::spawn_blocking(move || needs(&sent))
            .await
            .map_err(|error| error.to_string())??;
        Ok(Built {
            dir: work.dir,
            there: work.there,
            architecture,
            glibc,
            archives,
        })
    }
}

/// Returns where cargo-nextest is: cargo finds it in its own directory too.
fn nextest(cache: &Utf8Path) -> Option<Utf8PathBuf> {
    let own = || Some(cargo_home()?.join("bin").join(NEXTEST)).filter(|path| path.is_file());
    prebuilt::find(NEXTEST, cache).or_else(own)
}

/// Returns the directory that is compiled into: cargo's usual one in the workspace. Who sets variables that change what is
/// compiled has other things there than a box without those variables would make.
fn there(source: &Utf8Path) -> Utf8PathBuf {
    let is_other = env::vars_os().any(|(name, _)| is_of_build(&name.to_string_lossy()));
    source.join(if is_other {
        "target/twolane/target"
    } else {
        "target"
    })
}

/// What is done for one order.
struct Work<'a> {
    dir: Utf8PathBuf,
    there: Utf8PathBuf,
    cargo: Cargo,
    workspace: Workspace,
    progress: &'a dyn Progress,
}

impl Work<'_> {
    /// Makes the directory, empty but for cargo-nextest where that is wanted.
    fn begin(&self, nextest: Option<&Utf8Path>) -> Result<(), String> {
        let dir = &self.dir;
        fs::create_dir(dir.join("target"))
            .map_err(|error| format!("could not make {dir}/target: {error}"))?;
        if let Some(nextest) = nextest {
            // The program itself: a link means nothing in a box.
            fs::copy(nextest, dir.join(NEXTEST))
                .map_err(|error| format!("could not copy {nextest}: {error}"))?;
        }
        Ok(())
    }

    /// Compiles, packs and unpacks. An archive holds all that its tests can ask for beside themselves: programs, libraries,
    /// the outputs of build scripts, and what `archive.include` of nextest's own configuration names.
    async fn archive(&self, number: usize, order: &ArchiveOrder) -> Result<Result<Archive, String>, String> {
        let file = self.dir.join(format!("{number}.tar.zst"));
        let mut arguments = vec![
            "nextest",
            "archive",
            "--color",
            "never",
            "--zstd-level",
            "1",
            "--target-dir",
        ];
        arguments.extend([self.there.as_str(), "--archive-file", file.as_str()]);
        arguments.extend(order.arguments.iter().map(String::as_str));
        let ended = self.cargo.run("cargo", &arguments, self.progress).await?;
        if !ended.is_success() && is_own_mistake(&ended.stderr, &self.workspace.members) {
            return Ok(Err(ended.stderr));
        }
        ended.stdout()?;
        self.progress.report("packing tests", None);
        let list = [
            "nextest",
            "list",
            "--archive-file",
            file.as_str(),
            "--extract-to",
            self.dir.as_str(),
            "--extract-overwrite",
            "--list-type",
            "binaries-only",
            "--message-format",
            "json",
        ];
        let listed = self.cargo.run("cargo", &list, &Silent).await;
        let _ = fs::remove_file(&file);
        let listed: Listed = serde_json::from_str(&listed?.stdout()?)
            .map_err(|error| format!("could not read cargo-nextest's list: {error}"))?;
        for (from, to) in [("binaries-metadata", "binaries"), ("cargo-metadata", "cargo")] {
            let from = self.dir.join(format!("target/nextest/{from}.json"));
            fs::rename(&from, self.dir.join(format!("{number}.{to}.json")))
                .map_err(|error| format!("{from}: {error}"))?;
        }
        let doc_tests = match &order.doc {
            Some(doc) if self.workspace.may_have_doc_tests => self.doc_tests(doc).await?,
            _ => Vec::new(),
        };
        Ok(Ok(Archive {
            programs: self.programs(&listed),
            library_path: self.library_path(&listed.meta),
            doc_tests,
        }))
    }

    /// Lists the doc-tests. None runs here.
    async fn doc_tests(&self, doc: &[String]) -> Result<Vec<model::build::DocTests>, String> {
        // The names are on standard output, the libraries that they are of on standard error.
        let mut arguments = vec![
            "-c",
            "exec \"$@\" 2>&1",
            "sh",
            "cargo",
            "test",
            "--doc",
            "--color",
            "never",
        ];
        arguments.extend(["--target-dir", self.there.as_str()]);
        arguments.extend(doc.iter().map(String::as_str));
        arguments.extend(["--", "--list"]);
        let ended = self.cargo.run("sh", &arguments, self.progress).await?;
        // A package may have no library; that a doc-test does not compile is its own run's matter.
        Ok(read_doc_tests(&String::from_utf8_lossy(&ended.stdout)))
    }

    fn programs(&self, listed: &Listed) -> Vec<Program> {
        let mut programs: Vec<_> = listed
            .binaries
            .values()
            .filter_map(|binary| {
                let target = self
                    .workspace
                    .target(&binary.package, &binary.kind, &binary.name)?;
                let path = binary.path.strip_prefix(&listed.meta.target_directory).ok()?;
                let shown = self
                    .there
                    .strip_prefix(&self.workspace.root)
                    .unwrap_or(&self.there);
                let unit = if matches!(binary.kind.as_str(), "lib" | "bin" | "proc-macro") {
                    "unittests "
                } else {
                    ""
                };
                let mut environment = target.package.environment.clone();
                if let Some(out) = listed.meta.out_dirs.get(&binary.package) {
                    environment.push(("OUT_DIR".to_owned(), self.there.join(out).into_string()));
                }
                let program = Program {
                    title: format!("{unit}{} ({})", target.source, shown.join(path)),
                    path: path.to_owned(),
                    directory: target.package.directory.clone(),
                    environment,
                };
                Some((
                    (target.package.name.clone(), rank(&binary.kind), &binary.name),
                    program,
                ))
            })
            .collect();
        programs.sort_by(|(one, _), (other, _)| one.cmp(other));
        programs.into_iter().map(|(_, program)| program).collect()
    }

    /// Returns where programs find their libraries, as cargo would say it.
    fn library_path(&self, meta: &Meta) -> Vec<Utf8PathBuf> {
        let mut path: Vec<Utf8PathBuf> = meta.linked_paths.iter().map(|dir| self.there.join(dir)).collect();
        for dir in &meta.base_output_directories {
            path.extend([self.there.join(dir).join("deps"), self.there.join(dir)]);
        }
        path.push(self.there.join("nextest/libdirs/host"));
        path
    }
}

/// The order in which cargo runs the programs of a package.
fn rank(kind: &str) -> u8 {
    match kind {
        "lib" | "proc-macro" => 0,
        "bin" => 1,
        "test" => 2,
        "bench" => 3,
        _ => 4,
    }
}

/// What cargo-nextest lists.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Listed {
    #[serde(rename = "rust-build-meta")]
    meta: Meta,
    #[serde(rename = "rust-binaries")]
    binaries: BTreeMap<String, Binary>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Meta {
    target_directory: Utf8PathBuf,
    base_output_directories: BTreeSet<Utf8PathBuf>,
    #[serde(rename = "build-script-out-dirs", default)]
    out_dirs: BTreeMap<String, Utf8PathBuf>,
    #[serde(default)]
    linked_paths: BTreeSet<Utf8PathBuf>,
}

#[derive(Deserialize)]
struct Binary {
    #[serde(rename = "binary-name")]
    name: String,
    #[serde(rename = "package-id")]
    package: String,
    kind: String,
    #[serde(rename = "binary-path")]
    path: Utf8PathBuf,
}

/// Returns for which processors all programs and libraries below a directory are, and the highest glibc that one of them asks
/// for.
fn needs(dir: &Utf8Path) -> Result<(String, Option<Glibc>), String> {
    let (mut architectures, mut highest) = (BTreeSet::new(), None);
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let failed = |error: std::io::Error| format!("could not read {dir}: {error}");
        for entry in dir.read_dir_utf8().map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                dirs.push(entry.into_path());
            } else if kind.is_file() {
                let program = fs::read(entry.path()).map_err(failed)?;
                if program.starts_with(b"\x7fELF") {
                    architectures.insert(architecture(&program));
                    highest = highest.max(glibc_of(&program));
                }
            }
        }
    }
    Ok((
        architectures.into_iter().collect::<Vec<_>>().join(" and "),
        highest,
    ))
}

fn architecture(program: &[u8]) -> String {
    match program.get(18..20) {
        Some([0x3e, 0]) => "x86_64".to_owned(),
        Some([0xb7, 0]) => "aarch64".to_owned(),
        other => format!("another processor ({other:?})"),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use model::{
        build::{BoxFacts, Suite},
        check::Check,
        source::Source,
    };

    use super::*;

    /// A workspace of one package with all that a test can ask for.
    fn workspace(dir: &Utf8Path) {
        for (path, text) in [
            (
                "Cargo.toml",
                "[package]\nname = \"own\"\nversion = \"1.2.3\"\nedition = \"2021\"\n\n[workspace]\n\n\
                 [[test]]\nname = \"plain\"\nharness = false\n",
            ),
            (
                "src/lib.rs",
                "//! ```\n//! assert!(own::is_own());\n//! ```\npub fn is_own() -> bool {\n    true\n}\n",
            ),
            ("src/main.rs", "fn main() {\n    print!(\"it runs\");\n}\n"),
            (
                "build.rs",
                "fn main() {\n    let out = std::env::var(\"OUT_DIR\").unwrap();\n    \
                 std::fs::write(out + \"/made.txt\", \"made\").unwrap();\n}\n",
            ),
            (
                "tests/whole.rs",
                r#"
#[test]
fn finds_all() {
    let printed = std::process::Command::new(env!("CARGO_BIN_EXE_own")).output().unwrap().stdout;
    assert_eq!(printed, b"it runs");
    assert_eq!(std::fs::read_to_string(concat!(env!("OUT_DIR"), "/made.txt")).unwrap(), "made");
    assert_eq!(std::fs::read_to_string(std::env::var("OUT_DIR").unwrap() + "/made.txt").unwrap(), "made");
    assert_eq!(std::env::var("CARGO_PKG_VERSION_PATCH").unwrap(), "3");
    assert!(std::path::Path::new("tests/whole.rs").is_file());
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/evidence"), "").unwrap();
}
"#,
            ),
            (
                "tests/plain.rs",
                "fn main() {\n    println!(\"plain {:?}\", std::env::args().nth(1));\n}\n",
            ),
        ] {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    }

    fn order(dir: &Utf8Path, suite: &Suite) -> BuildOrder {
        BuildOrder {
            name: "box".to_owned(),
            source: Source {
                name: "own".to_owned(),
                user: "dev".to_owned(),
                path: dir.join("own"),
            },
            archives: vec![suite.archive.clone()],
            has_nextest: suite.has_nextest(),
            sysroot: None,
            channel: None,
            facts: BoxFacts::read(&format!("architecture={}\nglibc=99.0\n", env::consts::ARCH)),
        }
    }

    /// Compiles the tests of a command, and runs them on this machine as if it were a box. Returns what they print.
    async fn run(dir: &Utf8Path, command: &str) -> String {
        let check = Check::new("test", command);
        let suite = Suite::of(&check).unwrap().unwrap();
        let order = order(dir, &suite);
        let builder = CargoBuilder::new(dir.join("cache"));
        let built = builder.build(&order, &Silent).await.unwrap();
        assert_eq!(order.facts.refuse_built(&built), None);
        // What was sent there is what stands where it was compiled.
        fs::remove_dir_all(&built.there).unwrap();
        fs::rename(built.dir.join("target"), &built.there).unwrap();
        let script = suite.check(&check, 0, &order.source, &built, &order.facts).run;
        let script = script.replace(model::build::BUILD_PATH, built.dir.as_str());
        let output = Command::new("bash")
            .args(["-c", &format!("exec 2>&1\n{script}")])
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{printed}");
        printed
    }

    #[tokio::test]
    async fn tests_that_are_compiled_here_run_as_under_cargo() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path())
            .unwrap()
            .canonicalize_utf8()
            .unwrap();
        workspace(&dir.join("own"));
        let printed = run(&dir, "cargo test -- --nocapture").await;
        for wanted in [
            "     Running unittests src/lib.rs (target/debug/deps/own-",
            "     Running tests/whole.rs (target/debug/deps/whole-",
            "test finds_all ... ok",
            "plain Some(\"--nocapture\")",
            "test src/lib.rs - (line 1) ... ignored, the box has no compiler",
        ] {
            assert!(printed.contains(wanted), "{wanted}\n{printed}");
        }
        assert!(dir.join("own/target/tmp/evidence").is_file());
        assert!(
            dir.join("own/target/debug/own").is_file(),
            "a program that is no test comes along"
        );
        let printed = run(&dir, "cargo nextest run --test whole --no-fail-fast -- finds").await;
        assert!(printed.contains("1 test run: 1 passed"), "{printed}");
    }

    #[tokio::test]
    async fn mistakes_of_the_project_are_an_answer_and_other_failures_a_refusal() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path())
            .unwrap()
            .canonicalize_utf8()
            .unwrap();
        let source = dir.join("own");
        workspace(&source);
        fs::write(source.join("src/lib.rs"), "pub fn is_own() -> bool {\n    1\n}\n").unwrap();
        let suite = Suite::of(&Check::new("test", "cargo test --lib"))
            .unwrap()
            .unwrap();
        let builder = CargoBuilder::new(dir.join("cache"));
        let built = builder.build(&order(&dir, &suite), &Silent).await.unwrap();
        let printed = built.archives[0].as_ref().unwrap_err();
        assert!(printed.contains("error[E0308]: mismatched types"), "{printed}");

        fs::write(
            source.join("build.rs"),
            "fn main() {\n    std::process::exit(1);\n}\n",
        )
        .unwrap();
        let why = builder.build(&order(&dir, &suite), &Silent).await.unwrap_err();
        assert!(why.contains("failed to run custom build command"), "{why}");
    }

    #[test]
    fn all_programs_that_go_along_count_and_nothing_else() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir_all(dir.join("debug/deps")).unwrap();
        let elf = |version: &str| {
            [
                &b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0"[..],
                version.as_bytes(),
                b"\0",
            ]
            .concat()
        };
        fs::write(dir.join("debug/deps/a-1"), elf("GLIBC_2.17")).unwrap();
        fs::write(dir.join("debug/deps/libb.so"), elf("GLIBC_2.38")).unwrap();
        fs::write(dir.join("notes"), "GLIBC_2.99\0").unwrap();
        assert_eq!(needs(dir).unwrap(), ("x86_64".to_owned(), Some((2, 38))));
    }
}
