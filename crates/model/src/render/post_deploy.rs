//! What stage 2 brings to a box: `post-deploy.sh`, what it reads from `[deploy]`, and the files that a project need not
//! have itself. Keeps out: sending it, and the sources.

use minijinja::{Environment, UndefinedBehavior, context};
use sha2::{Digest, Sha256};

use super::quote;
use crate::{
    check::Check,
    config::Deploy,
    plan::{LanePlan, Plan},
    skips::{TRACE_TESTS, TRACE_TESTS_PATH},
    source::{Source, home_of},
};

/// Where the box keeps what stage 2 brings.
const LIB: &str = "/usr/local/lib/twolane";

/// Where unit files are looked for in a source.
pub const UNITS_IN: &str = "ops/ephemeral/units";

/// Where the box keeps which lane's `setup` it has had.
const SETUP_DONE: &str = "/var/lib/twolane/setup";

/// The command of a check that stands for the smoke script.
pub const SMOKE: &str = "smoke";

const POST_DEPLOY: &str = include_str!("../../../../ops/ephemeral/post-deploy.sh");
const RUN_TESTS: &str = include_str!("../../../../ops/ephemeral/run-tests.sh");

macro_rules! built_in {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../../ops/ephemeral/", $path)))),*]
    };
}

/// What the `mvm` preset names, for sources that do not have it. A file of the same path in a source counts before it.
const BUILT_IN: [(&str, &str); 7] = built_in![
    "configs/coordinator.toml.j2",
    "configs/gateway.toml.j2",
    "smoke-mvmd.sh",
    "units/mvm-hostd.service",
    "units/mvmd-agent.service",
    "units/mvmd-coordinator.service",
    "units/mvmd-gateway.service",
];

/// A file for the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where it lies there; absolute.
    pub path: String,
    /// Its mode, in octal.
    pub mode: &'static str,
    /// What it holds.
    pub text: String,
}

impl File {
    fn new(path: impl Into<String>, mode: &'static str, text: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            mode,
            text: text.into(),
        }
    }
}

/// Returns what a person who is logged in needs to repeat the lane's checks.
pub fn check_files(plan: &Plan, lane: &LanePlan) -> Vec<File> {
    vec![
        File::new(
            format!("{}/run-tests.sh", home_of(&plan.system.user)),
            "0755",
            RUN_TESTS,
        ),
        File::new(format!("{LIB}/checks.env"), "0644", checks_env(plan, lane)),
    ]
}

/// Returns what runs tests under the tracer.
pub fn trace_file() -> File {
    File::new(TRACE_TESTS_PATH, "0755", TRACE_TESTS)
}

/// Returns the files that `[deploy]` names, by their paths in a source.
pub fn named(deploy: &Deploy) -> impl Iterator<Item = String> {
    let unit = |unit: &String| format!("{UNITS_IN}/{unit}.service");
    let others = deploy.configs.iter().chain(&deploy.smoke).cloned();
    others.chain(deploy.units.iter().map(unit))
}

/// Returns all that stage 2 needs on the box, beside the sources.
pub fn deploy_files(plan: &Plan) -> Vec<File> {
    let file = |path: String| {
        let text = built_in(&path)?;
        Some(File::new(format!("{LIB}/deploy/{path}"), "0644", text))
    };
    let built_in = named(&plan.deploy).filter_map(file);
    [
        File::new(format!("{LIB}/post-deploy.sh"), "0755", POST_DEPLOY),
        File::new(format!("{LIB}/deploy.env"), "0644", deploy_env(plan)),
    ]
    .into_iter()
    .chain(built_in)
    .collect()
}

/// Returns a script that writes the files, each by rename. It is read by `bash` from its standard input.
pub fn bundle(files: &[File]) -> String {
    // As one command: a shell begins none of it before it has read all of it.
    let head = "{\nset -euo pipefail\n\
                put() { # MODE PATH\n    mkdir -p \"${2%/*}\"\n    rm -f \"$2.new\"\n    cat >\"$2.new\"\n    \
                chmod \"$1\" \"$2.new\"\n    mv -f \"$2.new\" \"$2\"\n}\n";
    let puts = files.iter().fold(head.to_owned(), |script, file| {
        let end = end_mark(&file.text);
        let path = quote(&file.path);
        let text = file.text.strip_suffix('\n').unwrap_or(&file.text);
        script + &format!("\nput {} {path} <<'{end}'\n{text}\n{end}\n", file.mode)
    });
    puts + "}\n"
}

/// Returns the configuration files as the box will have them, each with where it will lie. `read` returns the text of
/// a template by its path in a source; what no source has is looked for among the built-in ones, as on the box. The
/// secret and the host name, which only the box knows, are stand-ins.
pub fn configs(plan: &Plan, read: impl Fn(&str) -> Option<String>) -> Result<Vec<(String, String)>, String> {
    let deploy = &plan.deploy;
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let values = context! { hmac_secret => "MADE-ON-THE-BOX", hostname => "NAME-OF-THE-BOX" };
    let one = |path: &String| {
        let text = read(path)
            .or_else(|| built_in(path).map(str::to_owned))
            .ok_or_else(|| {
                format!("there is no {path}, neither in a source nor among twolane's own files")
            })?;
        // The box has no template engine, and knows variables alone.
        if let Some(mark) = ["{%", "{#"].into_iter().find(|mark| text.contains(mark)) {
            return Err(format!(
                "{path}: `{mark}` cannot be used here: a template knows `{{{{ name }}}}` alone"
            ));
        }
        let rendered = environment.render_str(&text, &values);
        let name = path.rsplit('/').next().unwrap_or(path);
        let name = name.strip_suffix(".j2").unwrap_or(name);
        match rendered {
            // The engine drops the newline at the end.
            Ok(text) => Ok((format!("{}/{name}", deploy.config_dir), text + "\n")),
            Err(error) => Err(format!("{path}: {error} (there are: hmac_secret, hostname)")),
        }
    };
    deploy.configs.iter().map(one).collect()
}

/// Returns what the binary holds under a path of `[deploy]`.
fn built_in(path: &str) -> Option<&'static str> {
    let within = path.strip_prefix("ops/ephemeral/")?;
    BUILT_IN
        .iter()
        .find(|(known, _)| *known == within)
        .map(|(_, text)| *text)
}

/// Returns whether the binary holds something under a path of `[deploy]`.
pub fn is_built_in(path: &str) -> bool {
    built_in(path).is_some()
}

/// Returns the command that carries stage 2 out.
pub fn command(has_new_secret: bool) -> String {
    let flag = if has_new_secret { " --rotate-secret" } else { "" };
    format!("exec bash {LIB}/post-deploy.sh{flag}")
}

/// Returns the command of a check: its own, or that of the smoke script.
pub fn check_command(check: &Check, deploy: &Deploy, user: &str) -> String {
    let script = smoke_command(deploy, user).filter(|_| check.run == SMOKE);
    let command = script.unwrap_or_else(|| check.run.clone());
    if check.is_setup { once(&command) } else { command }
}

/// Returns a command that carries another one out on a box that it has not succeeded on before.
fn once(command: &str) -> String {
    let done = format!("{SETUP_DONE}/{}", &hex::encode(Sha256::digest(command))[..16]);
    format!(
        "if [ -e {done} ]; then echo 'this was done on the box before' && exit; fi\n\
         bash -c {}\ncode=$?\n[ $code != 0 ] || {{ mkdir -p {SETUP_DONE} && : >{done}; }}\nexit $code",
        quote(command)
    )
}

/// Returns the command that runs the smoke script on the box, if there is one.
fn smoke_command(deploy: &Deploy, user: &str) -> Option<String> {
    let name = deploy.smoke.as_ref()?.rsplit('/').next()?;
    let path = format!("{}/{name}", home_of(user));
    Some(format!("exec bash {}", quote(&path)))
}

/// Returns a line that the text does not hold.
fn end_mark(text: &str) -> String {
    let mut mark = "END-OF-FILE".to_owned();
    while text.lines().any(|line| line == mark) {
        mark.push('-');
    }
    mark
}

/// Returns the shell variables that `post-deploy.sh` reads.
fn deploy_env(plan: &Plan) -> String {
    let Deploy {
        binaries,
        configs,
        units,
        smoke,
        config_dir,
        user,
    } = &plan.deploy;
    let programs = binaries
        .iter()
        .map(|binary| format!("{} {}", binary.package, binary.bin));
    variables([
        (
            "SOURCES".to_owned(),
            rows(plan.sources.iter().map(Source::remote_dir)),
        ),
        ("BINARIES".to_owned(), rows(programs)),
        ("CONFIGS".to_owned(), rows(configs.iter().cloned())),
        ("UNITS".to_owned(), rows(units.iter().cloned())),
        ("UNITS_IN".to_owned(), UNITS_IN.to_owned()),
        ("SMOKE".to_owned(), smoke.clone().unwrap_or_default()),
        ("CONFIG_DIR".to_owned(), config_dir.clone()),
        ("SERVICE_USER".to_owned(), user.clone()),
        ("WORK_USER".to_owned(), plan.system.user.clone()),
        ("WORK_HOME".to_owned(), home_of(&plan.system.user)),
    ])
}

/// Returns the shell variables that `run-tests.sh` reads.
fn checks_env(plan: &Plan, lane: &LanePlan) -> String {
    let dir = plan
        .sources
        .first()
        .map_or(home_of(&plan.system.user), Source::remote_dir);
    let head = [
        ("CHECKS_DIR".to_owned(), dir),
        ("CHECKS".to_owned(), lane.checks.len().to_string()),
    ];
    let checks = lane.checks.iter().enumerate().flat_map(|(index, check)| {
        let own = Check {
            env_from: Vec::new(),
            ..check.clone()
        };
        // What comes from the operator's environment is never kept on the box.
        let environment = own.environment(|_| None).unwrap_or_default();
        let needs = rows(check.needs.iter().map(ToString::to_string));
        [
            ("NAME", check.name.clone()),
            ("RUN", check_command(check, &plan.deploy, &plan.system.user)),
            ("SECONDS", check.timeout.as_secs().max(1).to_string()),
            ("NEEDS", needs),
            ("USER", if check.as_root { "root" } else { "" }.to_owned()),
            ("ENV", environment),
            ("FROM", check.env_from.join(" ")),
        ]
        .map(|(name, value)| (format!("CHECK_{}_{name}", index + 1), value))
    });
    variables(head.into_iter().chain(checks))
}

fn rows(rows: impl Iterator<Item = String>) -> String {
    rows.collect::<Vec<_>>().join("\n")
}

fn variables(variables: impl IntoIterator<Item = (String, String)>) -> String {
    variables.into_iter().fold(String::new(), |text, (name, value)| {
        text + &name + "=" + &quote(&value) + "\n"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, read};

    fn whole() -> Config {
        let text = include_str!("../config/read/testdata/whole.toml");
        read(text, &crate::config::Around::default()).unwrap()
    }

    fn smoke(run: &str) -> Check {
        let lane = &whole().lanes[1];
        Check {
            run: run.to_owned(),
            ..lane.checks[0].clone()
        }
    }

    #[test]
    fn smoke_stands_for_the_script_of_deploy() {
        let deploy = whole().deploy;
        let command = |run, deploy| check_command(&smoke(run), deploy, "acme");
        assert_eq!(command("smoke", &deploy), "exec bash '/home/acme/smoke-mvmd.sh'");
        assert_eq!(command("smoke --all", &deploy), "smoke --all");
        assert_eq!(command("smoke", &Deploy::default()), "smoke");
    }

    #[test]
    fn the_preset_names_only_what_is_built_in() {
        for path in named(&whole().deploy) {
            assert!(built_in(&path).is_some(), "{path}");
        }
    }

    #[test]
    fn no_text_ends_its_file_early() {
        let file = File::new("/a", "0644", "x\nEND-OF-FILE\ny\nEND-OF-FILE-\n");
        let script = bundle(&[file]);
        assert!(script.contains("<<'END-OF-FILE--'\nx\n"), "{script}");
        assert!(script.ends_with("\nEND-OF-FILE--\n}\n"), "{script}");
    }
}
