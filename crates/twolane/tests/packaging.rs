//! What a stranger meets first: the book's links, install.sh, and the GitHub Action under node.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// Returns the Markdown files of the repository that people read: the root's and the book's.
fn pages() -> Vec<PathBuf> {
    [root(), root().join("docs"), root().join("docs/clouds")]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// Returns the targets of a page's links and pictures, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut is_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let plain: String = line.split('`').step_by(2).collect();
        let mut rest = if is_code { "" } else { plain.as_str() };
        while let Some((_, after)) = rest.split_once("](") {
            let (link, after) = after.split_once(')').unwrap_or((after, ""));
            links.push(link.to_owned());
            rest = after;
        }
    }
    links
}

/// Returns the anchors of a page's headings, as mdBook and GitHub make them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn no_link_of_the_book_is_broken() {
    let mut broken = Vec::new();
    for page in pages() {
        for link in links(&fs::read_to_string(&page).unwrap()) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let has_anchor = || {
                let text = fs::read_to_string(&target).unwrap_or_default();
                anchor.is_empty() || anchors(&text).iter().any(|known| known == anchor)
            };
            if !target.exists() || !has_anchor() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let listed = links(&summary);
    for page in &pages() {
        let Ok(name) = page.strip_prefix(root().join("docs")) else {
            continue;
        };
        let name = name.to_str().unwrap();
        assert!(
            name == "SUMMARY.md" || listed.iter().any(|link| link == name),
            "{name}"
        );
    }
}

#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// A release in a directory: one archive with the program of this build, and the list of checksums.
fn release(dir: &Path) {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let name = format!("twolane-{target}");
    fs::create_dir_all(dir.join(&name)).unwrap();
    // A link as good as the program itself would be packed as a link.
    fs::hard_link(env!("CARGO_BIN_EXE_twolane"), dir.join(&name).join("twolane"))
        .or_else(|_| fs::copy(env!("CARGO_BIN_EXE_twolane"), dir.join(&name).join("twolane")).map(|_| ()))
        .unwrap();
    let pack = format!("tar -cf - {name} | gzip -1 > {name}.tar.gz && sha256sum {name}.tar.gz > SHA256SUMS");
    let packed = Command::new("sh")
        .args(["-c", &pack])
        .current_dir(dir)
        .status()
        .unwrap();
    assert!(packed.success());
}

fn install(release: &Path, home: &Path) -> Output {
    Command::new("sh")
        .arg(root().join("install.sh"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", home)
        .env("TWOLANE_URL", format!("file://{}", release.display()))
        .output()
        .unwrap()
}

#[test]
fn install_script_installs_only_what_it_verified() {
    if Command::new("curl").arg("--version").output().is_err() {
        skipped("curl is missing, and install.sh needs it");
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let (dir, home) = (temp.path().join("release"), temp.path().join("home"));
    fs::create_dir_all(&home).unwrap();
    release(&dir);
    let sums = fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    for wrong in [
        sums.replacen(|c: char| c.is_ascii_hexdigit(), "x", 1),
        String::new(),
        sums.repeat(2),
    ] {
        fs::write(dir.join("SHA256SUMS"), wrong).unwrap();
        let refused = install(&dir, &home);
        assert!(!refused.status.success(), "{refused:?}");
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    }
    fs::write(dir.join("SHA256SUMS"), sums).unwrap();
    let installed = install(&dir, &home);
    assert!(installed.status.success(), "{installed:?}");
    for path in [
        "bin/twolane",
        "share/man/man1/twolane-run.1",
        "share/bash-completion/completions/twolane",
        "share/zsh/site-functions/_twolane",
        "share/fish/vendor_completions.d/twolane.fish",
    ] {
        assert!(home.join(".local").join(path).exists(), "{path}");
    }
}

/// A runner's view of the action, with a stand-in for twolane.
struct Runner {
    temp: tempfile::TempDir,
}

impl Runner {
    /// The stand-in records its arguments, makes a journal as `run` does, and ends with `code`; `wait` runs until a signal.
    fn new(code: i32, wait: bool) -> Self {
        let temp = tempfile::tempdir().unwrap();
        let wait = if wait {
            "echo running; sleep 600 & wait $!"
        } else {
            ""
        };
        let script = format!(
            "#!/bin/bash\ncd {dir}\necho \"$@\" >> calls\ntrap 'echo stopped >> calls; kill %1; exit 130' INT TERM\n\
             case \"$*\" in *down*) exit {code};; esac\nmkdir -p \"$TWOLANE_STATE_DIR/runs/20260102-030405-0001\"\n\
             touch \"$TWOLANE_STATE_DIR/journal.db\"\n{wait}\nexit {code}\n",
            dir = temp.path().display()
        );
        let program = temp.path().join("twolane");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self { temp }
    }

    fn step(&self, file: &str) -> Command {
        let dir = self.temp.path();
        let mut command = Command::new("node");
        command
            .arg(root().join("action").join(file))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("TWOLANE", dir.join("twolane"))
            .env("RUNNER_TEMP", dir)
            .env("GITHUB_OUTPUT", dir.join("output"))
            .env("GITHUB_STATE", dir.join("state"))
            .env("INPUT_LANES", "no-kvm live-kvm")
            .env("INPUT_MAX-COST", "5 USD")
            .stdin(Stdio::null());
        // The runner hands what one step saved to the next.
        for line in self.read("state").lines() {
            let (name, value) = line.split_once('=').unwrap();
            command.env(format!("STATE_{name}"), value);
        }
        command
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.temp.path().join(name)).unwrap_or_default()
    }
}

fn has_node() -> bool {
    let has = Command::new("node").arg("--version").output().is_ok();
    if !has {
        skipped("node is missing, and the action runs in it");
    }
    has
}

#[test]
fn action_runs_the_lanes_and_its_post_step_destroys() {
    if !has_node() {
        return;
    }
    let runner = Runner::new(0, false);
    let main = runner.step("main.js").output().unwrap();
    assert_eq!(main.status.code(), Some(0), "{main:?}");
    assert!(runner.read("output").contains("run=20260102-030405-0001\n"));
    assert_eq!(runner.step("post.js").status().unwrap().code(), Some(0));
    assert_eq!(
        runner.read("calls"),
        "-C . run --max-cost 5 USD no-kvm live-kvm\ndown --all\n"
    );
}

#[test]
fn action_says_when_a_box_may_be_left() {
    if !has_node() {
        return;
    }
    let runner = Runner::new(4, false);
    let main = runner.step("main.js").output().unwrap();
    assert_eq!(main.status.code(), Some(4));
    let text = String::from_utf8_lossy(&main.stdout).into_owned();
    assert!(
        text.contains("::error::twolane run: something could not be destroyed"),
        "{text}"
    );
    let post = runner.step("post.js").output().unwrap();
    assert_eq!(post.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&post.stdout).contains("a box may still be running"));
}

#[test]
fn cancelled_action_stops_twolane_and_destroys() {
    if !has_node() {
        return;
    }
    let runner = Runner::new(0, true);
    let mut main = runner.step("main.js").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(main.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "running");
    let pid = main.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(main.wait().unwrap().code(), Some(130));
    assert_eq!(runner.step("post.js").status().unwrap().code(), Some(0));
    assert!(
        runner.read("calls").ends_with("stopped\ndown --all\n"),
        "{}",
        runner.read("calls")
    );
}

#[test]
fn post_step_of_a_job_that_made_nothing_does_nothing() {
    if !has_node() {
        return;
    }
    let runner = Runner::new(0, false);
    assert_eq!(runner.step("post.js").status().unwrap().code(), Some(0));
    assert_eq!(runner.read("calls"), "");
}

/// Returns all files below a directory.
fn files_below(dir: PathBuf) -> Vec<PathBuf> {
    let (mut dirs, mut files) = (vec![dir], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut dirs } else { &mut files }.push(path);
        }
    }
    files
}

/// Returns the text of all programs of the product: without tests, and with Rust's broken lines joined.
fn sources() -> String {
    let mut files = files_below(root().join("ops/ephemeral"));
    for krate in fs::read_dir(root().join("crates")).unwrap() {
        files.extend(files_below(krate.unwrap().path().join("src")));
    }
    let mut text = String::new();
    for source in files.iter().flat_map(fs::read_to_string) {
        let code = source
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        for line in code.lines() {
            text.push_str(line.trim().trim_end_matches('\\'));
        }
    }
    text
}

/// Returns the tables from a cloud's code to its meaning, with their tests: a table may know a code by a part of it.
fn cloud_codes() -> String {
    let files = files_below(root().join("crates/providers/src"));
    let tables = files.iter().filter(|path| path.ends_with("convert.rs"));
    tables.flat_map(fs::read_to_string).collect()
}

#[test]
fn troubleshooting_quotes_errors_that_exist() {
    let page = fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let headings = page.lines().filter(|line| line.starts_with("## "));
    let quoted: Vec<String> = headings
        .map(|line| line.replace("``", "`").replace("LABEL", "…"))
        .flat_map(|line| {
            let in_backticks = line.split('`').skip(1).step_by(2);
            in_backticks.map(str::to_owned).collect::<Vec<_>>()
        })
        .flat_map(|text| {
            text.split('…')
                .map(|part| part.trim().to_owned())
                .collect::<Vec<_>>()
        })
        .filter(|part| part.len() > 3)
        .collect();
    assert!(quoted.len() > 12, "{quoted:?}");
    let (sources, codes) = (sources(), cloud_codes());
    let is_known = |part: &&String| sources.contains(part.as_str()) || codes.contains(&format!("\"{part}\""));
    let unknown: Vec<&String> = quoted.iter().filter(|part| !is_known(part)).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "no program says this");
}
