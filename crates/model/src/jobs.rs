//! A service that gives CI jobs to runners, as the engine sees it; and the program that runs a job on a box.

use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error;

use crate::{
    build::Build,
    check::Check,
    plan::{Keep, Plan},
    render::quote,
};

/// The variable that the runner program reads its configuration from.
pub const CONFIG_VARIABLE: &str = "ACTIONS_RUNNER_INPUT_JITCONFIG";

/// Where the runner program lies on a box.
pub const RUNNER_DIR: &str = "/opt/actions-runner";

/// The slug of the check that is the runner program.
pub const RUNNER: &str = "runner";

/// Gives jobs to runners: a runner scale set of GitHub's.
#[async_trait]
pub trait JobService: Send + Sync {
    /// Waits for news, for a minute at most, and returns how things stand. `capacity` is how many jobs can run at once.
    async fn news(&self, capacity: usize) -> Result<News, ServiceError>;

    /// Registers a runner of that name for one job, and returns what its program is started with: a secret. A name that
    /// is registered already is registered anew, unless a job runs there.
    async fn configure(&self, name: &str) -> Result<String, ServiceError>;

    /// Takes a runner's registration back, so that it is given no job any more.
    async fn remove(&self, name: &str) -> Result<Removal, ServiceError>;
}

/// How things stand at the service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// How many jobs want a runner, those that run included.
    pub assigned: usize,
    /// The runners that have been given a job since the last news, by name.
    pub started: Vec<String>,
    /// The runners whose job has ended since, or was cancelled.
    pub ended: Vec<String>,
}

/// What came of taking a registration back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// The runner is given no job any more.
    Removed,
    /// A job runs on it.
    Busy,
}

/// The service did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServiceError {
    /// It cannot be reached, or is not able to now.
    #[error("{0}")]
    Away(String),
    /// A runner of that name has a job.
    #[error("a job runs on a runner of that name")]
    Taken,
}

/// Where the runner program comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerProgram {
    /// It is on the box already: its image or the lane's `setup` put it there.
    OnBox,
    /// An archive, and its SHA-256 in hexadecimal digits.
    Archive {
        /// Its address.
        url: String,
        /// Its checksum.
        sha256: String,
    },
}

impl RunnerProgram {
    /// Reads `URL:sha256:CHECKSUM`.
    pub fn parse(text: &str) -> Option<Self> {
        let (url, sha256) = text.rsplit_once(":sha256:")?;
        let is_sum = sha256.len() == 64 && sha256.chars().all(|c| c.is_ascii_hexdigit());
        let is_url = (url.starts_with("https://") || url.starts_with("http://"))
            && !url.contains(|c: char| c.is_whitespace() || c.is_control());
        (is_sum && is_url).then(|| Self::Archive {
            url: url.to_owned(),
            sha256: sha256.to_ascii_lowercase(),
        })
    }

    /// Returns the check that brings the program to the box.
    fn bring(&self, user: &str) -> Check {
        let dir = RUNNER_DIR;
        let missing = format!(
            "echo 'there is no {dir}/run.sh on the box: put the runner program into its image or let `setup` of the lane \
             do so, or name a download: --runner-archive URL:sha256:CHECKSUM' >&2\nexit 1\n"
        );
        let download = match self {
            Self::OnBox => missing,
            Self::Archive { url, sha256 } => format!(
                "archive=$(mktemp)\ntrap 'rm -f \"$archive\"' EXIT\n\
                 curl --fail --silent --show-error --location --retry 3 --output \"$archive\" -- {}\n\
                 echo \"{sha256}  $archive\" | sha256sum --check --quiet -\n\
                 mkdir -p {dir}\ntar -xzf \"$archive\" -C {dir}\n[ -x {dir}/run.sh ]\n",
                quote(url)
            ),
        };
        let run = format!(
            "set -euo pipefail\nif [ ! -x {dir}/run.sh ]; then\n{download}fi\nchown -R {}: {dir}\n",
            quote(user)
        );
        Check {
            as_root: true,
            timeout: Duration::from_secs(15 * 60),
            ..Check::new("runner program", run)
        }
    }
}

/// Starts the program with its configuration alone. The file that held it is emptied first: the job is of the same user.
fn runner_check(ttl: Duration) -> Check {
    let run = format!(
        ": >\"/var/lib/twolane/checks/$TWOLANE_RUN/$TWOLANE_CHECK/environment\"\n\
         unset CI TERM TWOLANE_RUN TWOLANE_CHECK\ncd {RUNNER_DIR}\nexec ./run.sh\n"
    );
    Check {
        env_from: vec![CONFIG_VARIABLE.to_owned()],
        timeout: ttl,
        slug: RUNNER.to_owned(),
        ..Check::new(RUNNER, run)
    }
}

/// Makes the plan of a lane that of boxes that run jobs: they get no sources, and their checks are what prepares the box,
/// what brings the runner program, and that program. `name` is the runner's, and stands for the project.
pub fn runner_plan(mut plan: Plan, name: &str, program: &RunnerProgram) -> Plan {
    plan.project = project(name);
    plan.sources = Vec::new();
    plan.lanes.truncate(1);
    let user = plan.system.user.clone();
    for lane in &mut plan.lanes {
        lane.checks.retain(|check| check.is_setup);
        lane.checks.extend([program.bring(&user), runner_check(lane.ttl)]);
        (lane.has_deploy, lane.is_continued, lane.supersede) = (false, false, false);
        lane.build = Build::Box;
    }
    (plan.is_continued, plan.keep) = (false, Keep::Never);
    plan
}

/// Returns what stands for the project in the journal of a runner's boxes: by that they are found after a restart.
pub fn project(name: &str) -> String {
    format!("runner {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archive_has_an_address_and_a_checksum() {
        let sum = "ab".repeat(32);
        let read = RunnerProgram::parse(&format!("https://example.com/r.tar.gz:sha256:{sum}"));
        assert!(matches!(read, Some(RunnerProgram::Archive { sha256, .. }) if sha256 == sum));
        for wrong in [
            "https://example.com/r.tar.gz".to_owned(),
            "https://example.com/r.tar.gz:sha256:abc".to_owned(),
            format!("/r.tar.gz:sha256:{sum}"),
            format!("https://e/a b:sha256:{sum}"),
        ] {
            assert_eq!(RunnerProgram::parse(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn configuration_is_in_no_command_and_leaves_the_disk_first() {
        let check = runner_check(Duration::from_secs(60));
        let first = check.run.lines().next().unwrap();
        assert!(
            first.starts_with(": >") && first.ends_with("/environment\""),
            "{first}"
        );
        let environment = check.environment(|name| (name == CONFIG_VARIABLE).then(|| "s3cret".to_owned()));
        assert_eq!(
            environment.unwrap(),
            format!("export {CONFIG_VARIABLE}='s3cret'\n")
        );
        assert!(!check.run.contains(CONFIG_VARIABLE));
    }

    #[test]
    fn archive_that_is_another_one_is_not_unpacked() {
        let sum = "ab".repeat(32);
        let program = RunnerProgram::parse(&format!("https://example.com/r's.tgz:sha256:{sum}")).unwrap();
        let run = program.bring("dev").run;
        let (sums, unpacks) = (run.find("sha256sum").unwrap(), run.find("tar -xzf").unwrap());
        assert!(sums < unpacks && run.starts_with("set -euo pipefail"), "{run}");
        assert!(run.contains(r"'https://example.com/r'\''s.tgz'"), "{run}");
    }
}
