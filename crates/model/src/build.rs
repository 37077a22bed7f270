//! Tests that are compiled on this machine and run in a box: which checks can be, what is compiled, and how the box runs it.

use std::fmt::Write;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::{
    check::{Check, Need},
    command_line::last_command,
    render::quote,
    source::Source,
};

/// Where what was compiled elsewhere is on a box: `target` with all programs, and for each archive what cargo-nextest reads.
pub const BUILD_PATH: &str = "/opt/twolane/build";

/// The program that packs tests, and that runs those of checks that ask for it.
pub const NEXTEST: &str = "cargo-nextest";

/// Where a lane's tests are compiled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Build {
    /// On this machine for a box whose processor is emulated, as far as they can be; else in the box.
    #[default]
    Auto,
    /// In the box.
    Box,
    /// On this machine, where they can be.
    Here,
}

/// The tests of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suite {
    /// What is compiled.
    pub archive: ArchiveOrder,
    runner: Runner,
}

/// What runs the tests.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Runner {
    /// Each program by itself, one after the other, as `cargo test` does it.
    Cargo {
        /// What each program is given.
        arguments: Vec<String>,
        /// Whether the next program runs after one that failed.
        is_continued: bool,
    },
    /// cargo-nextest, with these arguments.
    Nextest(Vec<String>),
}

/// What is to be compiled for one check or several.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArchiveOrder {
    /// What selects it, as arguments of `cargo nextest archive`.
    pub arguments: Vec<String>,
    /// What selects its doc-tests, as arguments of `cargo test --doc`; none where no check runs them.
    pub doc: Option<Vec<String>>,
}

/// Options of cargo that say what is compiled, without and with a value.
const BUILD_FLAGS: [&str; 15] = [
    "--workspace",
    "--all",
    "--lib",
    "--bins",
    "--tests",
    "--benches",
    "--examples",
    "--all-targets",
    "--all-features",
    "--no-default-features",
    "--release",
    "-r",
    "--locked",
    "--offline",
    "--frozen",
];
const BUILD_VALUES: [&str; 10] = [
    "--package",
    "-p",
    "--exclude",
    "--bin",
    "--test",
    "--bench",
    "--example",
    "--features",
    "-F",
    "--target",
];

/// Of these, those that select targets: with one of them `cargo test` runs no doc-tests.
const TARGETS: [&str; 10] = [
    "--lib",
    "--bins",
    "--tests",
    "--benches",
    "--examples",
    "--all-targets",
    "--bin",
    "--test",
    "--bench",
    "--example",
];

/// Options of `cargo nextest run` that say how tests are run, without and with a value.
const RUN_FLAGS: [&str; 6] = [
    "--no-fail-fast",
    "--nff",
    "--fail-fast",
    "--ff",
    "--no-capture",
    "--nocapture",
];
const RUN_VALUES: [&str; 16] = [
    "--profile",
    "-P",
    "--filterset",
    "--filter-expr",
    "-E",
    "--partition",
    "--retries",
    "--test-threads",
    "-j",
    "--jobs",
    "--run-ignored",
    "--no-tests",
    "--status-level",
    "--final-status-level",
    "--failure-output",
    "--success-output",
];

/// Returns whether a variable changes what cargo compiles.
pub fn is_of_build(variable: &str) -> bool {
    const TOOLS: [&str; 8] = [
        "CC",
        "CXX",
        "AR",
        "LD",
        "CFLAGS",
        "CXXFLAGS",
        "LDFLAGS",
        "PKG_CONFIG_PATH",
    ];
    let of_cargo = [
        "CARGO_BUILD_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CARGO_ENCODED_",
        "CARGO_INCREMENTAL",
    ];
    TOOLS.contains(&variable)
        || of_cargo.iter().any(|start| variable.starts_with(start))
        || variable.starts_with("RUSTC")
        || variable.starts_with("RUSTFLAGS")
        || variable.starts_with("RUSTDOC")
}

impl Suite {
    /// Reads a check's command. None: it runs no tests; an error: it cannot be taken apart.
    pub fn read(check: &Check) -> Option<Result<Self, String>> {
        let (words, _) = last_command(&check.run)?;
        let words: Vec<&str> = words.iter().map(|(_, word)| word.as_str()).collect();
        match &words[..] {
            ["cargo", "test" | "t", rest @ ..] => Some(Self::of_cargo(rest)),
            ["cargo", "nextest", "run" | "r", rest @ ..] => Some(Self::of_nextest(rest)),
            _ => None,
        }
    }

    /// Reads the command of a check whose tests are to be compiled here. An error: the box compiles them.
    pub fn of(check: &Check) -> Option<Result<Self, String>> {
        let suite = Self::read(check)?;
        let (_, is_alone) = last_command(&check.run)?;
        let mut variables = check.env.keys().chain(&check.env_from);
        // How cargo compiles and how it reports that changes nothing of what the tests do.
        let is_harmless = |name: &str| name == "CARGO_INCREMENTAL" || name.starts_with("CARGO_TERM_");
        let is_of_toolchain = |name: &&String| {
            let is_cargos = name.starts_with("CARGO") || name.starts_with("RUSTUP");
            (is_cargos || is_of_build(name)) && !is_harmless(name)
        };
        Some(match variables.find(is_of_toolchain) {
            _ if !is_alone || check.run.contains(['$', '*', '~']) => {
                Err("its command is more than one plain call of cargo".to_owned())
            }
            Some(name) => Err(format!("its variable {name} may change what is compiled")),
            None if check.trace => Err("it runs under the tracer".to_owned()),
            None => suite,
        })
    }

    fn of_cargo(words: &[&str]) -> Result<Self, String> {
        let (mut build, mut doc, mut arguments) = (Vec::new(), Vec::new(), Vec::new());
        let (mut has_doc, mut is_continued) = (true, false);
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let (name, inline) = split(word);
            let mut value = || value_of(name, inline.or_else(|| words.next()));
            has_doc &= !TARGETS.contains(&name);
            match name {
                "--" => break,
                _ if BUILD_FLAGS.contains(&name) => {
                    build.push(name.to_owned());
                    doc.push(name.to_owned());
                }
                _ if BUILD_VALUES.contains(&name) => {
                    let both = [name.to_owned(), value()?];
                    build.extend(both.clone());
                    doc.extend(both);
                }
                // cargo-nextest has profiles of its own.
                "--profile" => {
                    let profile = value()?;
                    build.extend(["--cargo-profile".to_owned(), profile.clone()]);
                    doc.extend(["--profile".to_owned(), profile]);
                }
                "--no-fail-fast" => is_continued = true,
                // How many compilers run at once is this machine's own matter.
                "-j" | "--jobs" => drop(value()?),
                "-q" | "--quiet" | "-v" | "--verbose" => {}
                _ if !word.starts_with('-') => arguments.push(word.to_owned()),
                _ => return Err(unknown(name)),
            }
        }
        arguments.extend(words.map(str::to_owned));
        Ok(Self {
            archive: ArchiveOrder {
                arguments: build,
                doc: has_doc.then_some(doc),
            },
            runner: Runner::Cargo {
                arguments,
                is_continued,
            },
        })
    }

    fn of_nextest(words: &[&str]) -> Result<Self, String> {
        let (mut build, mut run) = (Vec::new(), Vec::new());
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            let (name, inline) = split(word);
            let mut value = || value_of(name, inline.or_else(|| words.next()));
            match name {
                "--" => {
                    run.push(name.to_owned());
                    break;
                }
                _ if BUILD_FLAGS.contains(&name) => build.push(name.to_owned()),
                _ if BUILD_VALUES.contains(&name) || name == "--cargo-profile" => {
                    build.extend([name.to_owned(), value()?]);
                }
                "--build-jobs" => drop(value()?),
                "-v" | "--verbose" => {}
                _ if RUN_FLAGS.contains(&name) => run.push(name.to_owned()),
                _ if RUN_VALUES.contains(&name) => run.extend([name.to_owned(), value()?]),
                _ if !word.starts_with('-') => run.push(word.to_owned()),
                _ => return Err(unknown(name)),
            }
        }
        run.extend(words.map(str::to_owned));
        Ok(Self {
            archive: ArchiveOrder {
                arguments: build,
                doc: None,
            },
            runner: Runner::Nextest(run),
        })
    }

    /// Returns whether its arguments say which of its tests are run, other than by a filterset.
    pub fn has_filter(&self) -> bool {
        const PLAIN: [&str; 6] = [
            "--",
            "--ignored",
            "--include-ignored",
            "--nocapture",
            "--no-capture",
            "--show-output",
        ];
        let (arguments, values): (_, &[&str]) = match &self.runner {
            Runner::Cargo { arguments, .. } => (arguments, &["--test-threads"]),
            Runner::Nextest(arguments) => (arguments, &RUN_VALUES),
        };
        let mut arguments = arguments.iter().map(String::as_str);
        while let Some(argument) = arguments.next() {
            match argument {
                "--partition" | "--no-tests" => return true,
                _ if values.contains(&argument) => drop(arguments.next()),
                _ if PLAIN.contains(&argument) || RUN_FLAGS.contains(&argument) => {}
                _ if argument.starts_with("--test-threads=") => {}
                _ => return true,
            }
        }
        false
    }

    /// Returns whether the box needs cargo-nextest for it.
    pub fn has_nextest(&self) -> bool {
        matches!(self.runner, Runner::Nextest(_))
    }

    /// Returns the check as the box runs it: with the programs of archive number `number`, in the directory that they were
    /// compiled in.
    pub fn check(
        &self,
        check: &Check,
        number: usize,
        source: &Source,
        built: &Built,
        facts: &BoxFacts,
    ) -> Check {
        let script = match (&self.runner, built.archives.get(number)) {
            (Runner::Nextest(arguments), _) => nextest_command(arguments, number, source, built),
            (
                Runner::Cargo {
                    arguments,
                    is_continued,
                },
                Some(Ok(archive)),
            ) => {
                let mut script = cargo_script(arguments, *is_continued, archive, built);
                if let Some(doc) = &self.archive.doc {
                    script += &doc_tests(&archive.doc_tests, doc, arguments, facts);
                }
                script + "exit $code\n"
            }
            // Nobody runs what was not compiled.
            (Runner::Cargo { .. }, _) => "exit 101\n".to_owned(),
        };
        let at = quote(source.path.as_str());
        let is_needed =
            |need: &&Need| !matches!(need, Need::Program(name) if name == "cargo" || name == NEXTEST);
        Check {
            run: format!(
                "cd {at} && mkdir -p {} || exit\n{script}",
                quote(built.there.join("tmp").as_str())
            ),
            needs: check.needs.iter().filter(is_needed).cloned().collect(),
            ..check.clone()
        }
    }
}

fn split(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name, Some(value)),
        _ => (word, None),
    }
}

fn value_of(name: &str, value: Option<&str>) -> Result<String, String> {
    value.map(str::to_owned).ok_or(format!("{name} lacks its value"))
}

fn unknown(name: &str) -> String {
    format!("its option {name} is not one that twolane can take apart")
}

fn words(words: &[String]) -> String {
    words.iter().map(|word| format!(" {}", quote(word))).collect()
}

fn nextest_command(arguments: &[String], number: usize, source: &Source, built: &Built) -> String {
    let (at, target) = (quote(source.path.as_str()), quote(built.there.as_str()));
    format!(
        "exec {BUILD_PATH}/{NEXTEST} nextest run --binaries-metadata {BUILD_PATH}/{number}.binaries.json \
         --cargo-metadata {BUILD_PATH}/{number}.cargo.json --workspace-remap {at} --target-dir-remap {target}{}\n",
        words(arguments)
    )
}

/// Returns what runs each program as cargo does: in its package's directory, with the variables that cargo sets. What it
/// prints in between is in cargo's words, which the readers of results know.
fn cargo_script(arguments: &[String], is_continued: bool, archive: &Archive, built: &Built) -> String {
    let library_path: Vec<&str> = archive.library_path.iter().map(|dir| dir.as_str()).collect();
    let failed = match is_continued {
        true => "code=101",
        false => "exit 101",
    };
    let mut script = format!(
        "export LD_LIBRARY_PATH={}\nif cargo=$(command -v cargo); then export CARGO=$cargo; fi\ncode=0\n\
         program() {{\n    local ended=0 title=$1 directory=$2\n    shift 2\n    echo \"     Running $title\"\n    \
         (cd \"$directory\" && exec env \"$@\"{}) || ended=$?\n    [ $ended != 0 ] || return 0\n    \
         echo \"error: test failed, to rerun pass it alone: $title\"\n    \
         [ $ended = 101 ] || echo \"  process didn't exit successfully: exit status $ended\"\n    {failed}\n}}\n",
        quote(&library_path.join(":")),
        words(arguments),
    );
    for program in &archive.programs {
        let path = built.there.join(&program.path);
        let _ = write!(
            script,
            "program {} {}",
            quote(&program.title),
            quote(program.directory.as_str())
        );
        for (name, value) in &program.environment {
            let _ = write!(script, " {}", quote(&format!("{name}={value}")));
        }
        let _ = writeln!(script, " {}", quote(path.as_str()));
    }
    script
}

/// Returns what becomes of doc-tests, which only a compiler can run. Without one in the box they are reported as ignored,
/// which is what they are: one that no other lane runs has run nowhere.
fn doc_tests(all: &[DocTests], build: &[String], arguments: &[String], facts: &BoxFacts) -> String {
    let mut script = String::new();
    if all.iter().all(|of| of.names.is_empty()) {
        return script;
    }
    if facts.compiler.is_some() {
        let arguments = match arguments.is_empty() {
            true => String::new(),
            false => format!(" --{}", words(arguments)),
        };
        let _ = writeln!(script, "cargo test --doc{}{arguments} || code=101", words(build));
        return script;
    }
    for of in all {
        let count = of.names.len();
        let mut lines = vec![
            format!("   Doc-tests {}", of.library),
            String::new(),
            format!("running {count} tests"),
        ];
        let ignored = |name: &String| format!("test {name} ... ignored, the box has no compiler");
        lines.extend(of.names.iter().map(ignored));
        lines.push(format!(
            "\ntest result: ok. 0 passed; 0 failed; {count} ignored; 0 measured; 0 filtered out; finished in 0.00s"
        ));
        let _ = writeln!(script, "printf '%s\\n'{}", words(&lines));
    }
    script
}

/// A version of glibc.
pub type Glibc = (u32, u32);

/// Reads `2.36`.
pub fn glibc(text: &str) -> Option<Glibc> {
    let (major, minor) = text.trim().split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Returns the highest version of glibc that a program asks for.
pub fn glibc_of(program: &[u8]) -> Option<Glibc> {
    const MARK: &[u8] = b"GLIBC_";
    let versions = memchr::memmem::find_iter(program, MARK).filter_map(|at| {
        let rest = &program[at + MARK.len()..];
        let end = rest
            .iter()
            .take(12)
            .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        glibc(std::str::from_utf8(&rest[..end]).ok()?)
    });
    versions.max()
}

/// Returns whether what cargo printed says that the project's own code does not compile, `members` being its packages. What a
/// build script, the linker or the network lacks here the box may have.
pub fn is_own_mistake(output: &str, members: &[String]) -> bool {
    const NOT_ITS_OWN: [&str; 5] = [
        "error: linking with ",
        "error: linker ",
        "error: failed to run custom build command",
        "error[E0463]",
        "error: could not execute process",
    ];
    let failed = |line: &str| {
        let rest = line.strip_prefix("error: could not compile `")?;
        Some(rest.split_once('`')?.0.to_owned())
    };
    let failed: Vec<String> = output.lines().filter_map(failed).collect();
    let is_other = |line: &str| NOT_ITS_OWN.iter().any(|start| line.starts_with(start));
    !failed.is_empty() && failed.iter().all(|name| members.contains(name)) && !output.lines().any(is_other)
}

/// What was compiled on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// The directory that goes to [`BUILD_PATH`].
    pub dir: Utf8PathBuf,
    /// Where its part `target` belongs: the directory that was compiled into, as programs name it.
    pub there: Utf8PathBuf,
    /// For which processors it is, by its programs.
    pub architecture: String,
    /// The glibc that it needs; none where it needs none.
    pub glibc: Option<Glibc>,
    /// What came of each archive: or what cargo printed, where the project's own code does not compile.
    pub archives: Vec<Result<Archive, String>>,
}

/// What was compiled for a check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    /// The programs with tests, in cargo's order.
    pub programs: Vec<Program>,
    /// Where their libraries are.
    pub library_path: Vec<Utf8PathBuf>,
    /// Its doc-tests, which are compiled where they run.
    pub doc_tests: Vec<DocTests>,
}

/// A program with tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// How cargo calls it, such as `tests/live.rs (target/debug/deps/live-0123456789abcdef)`.
    pub title: String,
    /// Where it is below [`Built::there`].
    pub path: Utf8PathBuf,
    /// Where it runs.
    pub directory: Utf8PathBuf,
    /// The variables that cargo sets for it.
    pub environment: Vec<(String, String)>,
}

/// The doc-tests of a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocTests {
    /// Its name.
    pub library: String,
    /// Theirs.
    pub names: Vec<String>,
}

/// Reads what `cargo test --doc -- --list` prints.
pub fn read_doc_tests(printed: &str) -> Vec<DocTests> {
    let mut all: Vec<DocTests> = Vec::new();
    for line in printed.lines() {
        if let Some(library) = line.strip_prefix("   Doc-tests ") {
            all.push(DocTests {
                library: library.to_owned(),
                names: Vec::new(),
            });
        } else if let (Some(name), Some(last)) = (line.strip_suffix(": test"), all.last_mut()) {
            last.names.push(name.to_owned());
        }
    }
    all.retain(|of| !of.names.is_empty());
    all
}

/// What is asked to be compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOrder {
    /// The name of what asks, for a directory of its own.
    pub name: String,
    /// What is compiled.
    pub source: Source,
    /// What of it.
    pub archives: Vec<ArchiveOrder>,
    /// Whether cargo-nextest goes along.
    pub has_nextest: bool,
    /// The toolchain's directory on this machine, where the box has a copy of it.
    pub sysroot: Option<Utf8PathBuf>,
    /// The channel that the box's toolchain is of, where the project names one.
    pub channel: Option<String>,
    /// The box that it is for.
    pub facts: BoxFacts,
}

/// Prints what [`BoxFacts`] reads, of the box's user `$1` in the directory `$2` of the sources. With `emulated` as `$3`,
/// nothing where the processor is a real one.
pub const FACTS: &str = r#"[ "$3" != emulated ] || grep -q '^model name.*TCG' /proc/cpuinfo || exit 0
echo "architecture=$(uname -m)"
echo "glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2)"
[ ! -e /usr/local/lib/twolane/host.sh ] || echo foreign=yes
runuser -u "$1" -- bash -lc 'cd "$1" && PATH=$HOME/.cargo/bin:$PATH && export RUSTUP_AUTO_INSTALL=0 &&
command -v cargo >/dev/null && rustc -vV' bash "$2" 2>/dev/null | sed -n 's/^rustc /compiler=rustc /p; s/^host: /host=/p'
exit 0"#;

/// What a box is, as far as what was compiled elsewhere cares.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BoxFacts {
    architecture: String,
    glibc: Option<Glibc>,
    is_foreign: bool,
    /// The version of its compiler, and for what that compiles.
    compiler: Option<Compiler>,
}

/// A compiler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compiler {
    /// Such as `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub version: String,
    /// Such as `x86_64-unknown-linux-gnu`.
    pub host: String,
}

impl Compiler {
    /// Reads what `rustc -vV` prints.
    pub fn read(printed: &str) -> Option<Self> {
        let host = printed.lines().find_map(|line| line.strip_prefix("host: "))?;
        Some(Self {
            version: printed.lines().next()?.trim().to_owned(),
            host: host.trim().to_owned(),
        })
    }
}

impl BoxFacts {
    /// Reads what [`FACTS`] printed.
    pub fn read(text: &str) -> Self {
        let mut facts = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let value = value.trim();
            match name {
                "architecture" => value.clone_into(&mut facts.architecture),
                "glibc" => facts.glibc = glibc(value),
                "foreign" => facts.is_foreign = true,
                "compiler" => value.clone_into(&mut facts.compiler.get_or_insert_default().version),
                "host" => value.clone_into(&mut facts.compiler.get_or_insert_default().host),
                _ => {}
            }
        }
        facts
    }

    /// Returns why nothing that this compiler compiles is taken there.
    pub fn refuse(&self, here: &Compiler) -> Option<String> {
        if self.is_foreign {
            return Some("the machine is not twolane's own, and gets no directory of this one".to_owned());
        }
        if !here.host.starts_with(&format!("{}-", self.architecture)) {
            return Some(format!(
                "this machine compiles for {}, and the box is {}",
                here.host, self.architecture
            ));
        }
        // Without a compiler there, there is nothing to differ from.
        let there = self.compiler.as_ref().filter(|there| *there != here)?;
        Some(format!(
            "this machine has {} for {}, and the box {} for {}",
            here.version, here.host, there.version, there.host
        ))
    }

    /// Returns why the box cannot run what was compiled.
    pub fn refuse_built(&self, built: &Built) -> Option<String> {
        if built.architecture != self.architecture {
            return Some(format!(
                "it was compiled for {}, and the box is {}",
                built.architecture, self.architecture
            ));
        }
        let needed = built.glibc?;
        let there = match self.glibc {
            Some(there) if needed <= there => return None,
            Some((major, minor)) => format!("{major}.{minor}"),
            None => "an unknown one".to_owned(),
        };
        Some(format!(
            "it needs glibc {}.{}, and the box has {there}",
            needed.0, needed.1
        ))
    }
}

/// Makes the directory `$1` of the box its directory `$2` too, where the sources are here, for its user `$3`, who
/// may pass through what is above: a root's sources may lie below `/root`. Prints why that cannot be.
pub const SAME_PATH: &str = r#"set -eu
[ ! "$1" -ef "$2" ] || exit 0
if [ -e "$2" ] && [ -n "$(ls -A -- "$2")" ]; then echo "there is another $2 on the box"; exit 0; fi
mkdir -p -- "$2"
mount --bind -- "$1" "$2"
above=$2
while [ "$above" != / ]; do
    above=$(dirname -- "$above")
    runuser -u "$3" -- test -x "$above" || chmod o+x -- "$above"
done
runuser -u "$3" -- test -x "$2" || { umount -- "$2"; echo "user $3 cannot get to $2 on the box"; }"#;

/// Puts what was sent to the directory `$1` where it belongs, into the directory `$2`, as the box's user `$3`: beside what is
/// there, and as a second name of the same file where that can be.
pub const PLACE: &str = r#"set -eu
chown -hR "$3:" "$1"
runuser -u "$3" -- sh -euc 'mkdir -p -- "$2"
if [ "$(stat -c %d "$1")" = "$(stat -c %d "$2")" ]; then how=-alfT; else how=-aT; fi
cp $how --remove-destination "$1" "$2"' sh "$1" "$2""#;

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "architecture=x86_64\nglibc=2.36\ncompiler=rustc 1.95.0 (a 2026-04-14)\nhost=x86_64-unknown-linux-gnu\n";

    fn suite(command: &str) -> Result<Suite, String> {
        Suite::of(&Check::new("x", command)).expect("it runs tests")
    }

    fn archive() -> Archive {
        Archive {
            programs: vec![Program {
                title: "tests/live.rs (target/debug/deps/live-1)".to_owned(),
                path: "debug/deps/live-1".into(),
                directory: "/src/a".into(),
                environment: vec![("CARGO_PKG_NAME".to_owned(), "it's".to_owned())],
            }],
            library_path: vec!["/src/target/debug/deps".into()],
            doc_tests: vec![DocTests {
                library: "a".to_owned(),
                names: vec!["src/lib.rs - add (line 3)".to_owned()],
            }],
        }
    }

    fn built(architecture: &str, glibc: Option<Glibc>) -> Built {
        Built {
            dir: "/b".into(),
            there: "/src/target".into(),
            architecture: architecture.to_owned(),
            glibc,
            archives: vec![Ok(archive())],
        }
    }

    /// Returns the command of the check in a box.
    fn in_box(command: &str, facts: &str) -> String {
        let source = Source {
            name: "src".to_owned(),
            user: "dev".to_owned(),
            path: "/src".into(),
        };
        let check = Check::new("x", command);
        let built = built("x86_64", None);
        suite(command)
            .unwrap()
            .check(&check, 0, &source, &built, &BoxFacts::read(facts))
            .run
    }

    #[track_caller]
    fn check(command: &str, build: &str, doc: Option<&str>, runner: &str) {
        let suite = suite(command).unwrap();
        assert_eq!(suite.archive.arguments.join(" "), build);
        assert_eq!(suite.archive.doc.map(|doc| doc.join(" ")).as_deref(), doc);
        let arguments = match &suite.runner {
            Runner::Cargo {
                arguments,
                is_continued,
            } => format!("{} {is_continued}", arguments.join(" ")),
            Runner::Nextest(arguments) => arguments.join(" "),
        };
        assert_eq!(arguments, runner);
    }

    #[test]
    fn what_is_compiled_is_split_from_how_it_runs() {
        check(
            "cargo test --workspace --no-fail-fast -j 2",
            "--workspace",
            Some("--workspace"),
            " true",
        );
        check(
            "cargo test -p mvm-runtime --test live_kvm -- --nocapture boots",
            "-p mvm-runtime --test live_kvm",
            None,
            "--nocapture boots false",
        );
        check(
            "cargo nextest run --profile live --cargo-profile ci --features=a,b -E 'test(x) & !test(y)' --no-tests=pass -- 'it is'",
            "--cargo-profile ci --features a,b",
            None,
            "--profile live -E test(x) & !test(y) --no-tests pass -- it is",
        );
        check(
            "cargo test --profile ci filter -- --test-threads=1",
            "--cargo-profile ci",
            Some("--profile ci"),
            "filter --test-threads=1 false",
        );
    }

    #[test]
    fn command_that_cannot_be_taken_apart_is_left_to_the_box() {
        for (command, why) in [
            ("cargo test --manifest-path x/Cargo.toml", "--manifest-path"),
            ("cargo test --target-dir x", "--target-dir"),
            ("cargo test --doc", "--doc"),
            ("cd x && cargo test", "more than one"),
            ("A=b cargo test", "more than one"),
            ("cargo test -p $NAME", "more than one"),
            ("cargo test --features", "value"),
        ] {
            let error = suite(command).unwrap_err();
            assert!(error.contains(why), "{command}: {error}");
        }
        for command in ["cargo clippy", "true", "cargo test | tee log"] {
            assert!(Suite::of(&Check::new("x", command)).is_none(), "{command}");
        }
        let with_flags = Check {
            env: [("RUSTFLAGS".to_owned(), "-g".to_owned())].into(),
            ..Check::new("x", "cargo test")
        };
        assert!(Suite::of(&with_flags).unwrap().unwrap_err().contains("RUSTFLAGS"));
        let with_log = Check {
            env: [("RUST_LOG".to_owned(), "debug".to_owned())].into(),
            ..Check::new("x", "cargo test")
        };
        assert!(Suite::of(&with_log).unwrap().is_ok());
    }

    #[test]
    fn programs_run_as_cargo_runs_them() {
        insta::assert_snapshot!(in_box("cargo test -p a x -- --nocapture", OURS));
        insta::assert_snapshot!(in_box("cargo nextest run -p a -- x", OURS));
    }

    #[test]
    fn doc_tests_run_in_the_box_or_are_reported_as_ignored() {
        let with_compiler = in_box("cargo test --profile ci x", OURS);
        assert!(
            with_compiler.contains("\ncargo test --doc '--profile' 'ci' -- 'x' || code=101\n"),
            "{with_compiler}"
        );
        let without = in_box("cargo test", "architecture=x86_64\nglibc=2.36\n");
        let lines = without.split("printf '%s\\n'").nth(1).unwrap();
        assert!(
            lines.contains("'test src/lib.rs - add (line 3) ... ignored, the box has no compiler'"),
            "{lines}"
        );
        assert!(!in_box("cargo test --lib", OURS).contains("--doc"));
    }

    #[test]
    fn listed_doc_tests_are_read_by_library() {
        let printed = "   Doc-tests a\nsrc/lib.rs - add (line 3): test\n\n1 test, 0 benchmarks\n   Doc-tests b\n\n0 tests";
        assert_eq!(read_doc_tests(printed), archive().doc_tests);
    }

    #[test]
    fn only_errors_in_the_projects_own_code_are_its_own() {
        let members = ["own".to_owned()];
        let own = "error[E0308]: mismatched types\nerror: could not compile `own` (lib test) due to 1 previous error\n";
        assert!(is_own_mistake(own, &members));
        let linker = format!("error: linking with `cc` failed: exit status: 1\n{own}");
        for other in [
            "error: could not compile `dependency` (lib) due to 1 previous error",
            "error: failed to get `serde` as a dependency of package `own`",
            "error: failed to run custom build command for `openssl-sys`",
            &linker,
            "",
        ] {
            assert!(!is_own_mistake(other, &members), "{other}");
        }
    }

    #[test]
    fn other_compiler_and_machine_of_somebody_else_are_refused() {
        let here =
            Compiler::read("rustc 1.95.0 (a 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n")
                .unwrap();
        let refuse = |facts: &str| BoxFacts::read(facts).refuse(&here);
        assert_eq!(refuse(OURS), None);
        assert_eq!(refuse("architecture=x86_64\nglibc=2.36\n"), None);
        assert!(
            refuse(&format!("{OURS}foreign=yes"))
                .unwrap()
                .contains("not twolane's own")
        );
        assert!(refuse(&OURS.replace("1.95", "1.94")).unwrap().contains("1.94"));
        assert!(refuse(&OURS.replace("-gnu", "-musl")).unwrap().contains("musl"));
        assert!(
            refuse("architecture=aarch64\nglibc=2.36\n")
                .unwrap()
                .contains("aarch64")
        );
    }

    #[test]
    fn newer_glibc_or_other_processor_is_refused_with_both() {
        let facts = BoxFacts::read(OURS);
        assert_eq!(facts.refuse_built(&built("x86_64", Some((2, 36)))), None);
        assert_eq!(facts.refuse_built(&built("x86_64", None)), None);
        let why = facts.refuse_built(&built("x86_64", Some((2, 39)))).unwrap();
        assert_eq!(why, "it needs glibc 2.39, and the box has 2.36");
        assert!(
            facts
                .refuse_built(&built("aarch64", None))
                .unwrap()
                .contains("aarch64")
        );
        let unknown = BoxFacts::read("architecture=x86_64\nglibc=\n");
        assert!(unknown.refuse_built(&built("x86_64", Some((2, 2)))).is_some());
    }

    #[test]
    fn highest_symbol_of_a_program_counts() {
        let program = b"\x7fELF..GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0";
        assert_eq!(glibc_of(program), Some((2, 34)));
        assert_eq!(glibc_of(b"static"), None);
    }
}
