//! The jobs that run twolane in a CI system: one that runs the lanes, one that reaps on a schedule. Files of the project.

/// A CI system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ci {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
    /// Buildkite.
    Buildkite,
}

/// One file, by its path in the repository.
pub type File = (&'static str, &'static str);

impl Ci {
    /// Returns the files: the job that runs the lanes, and the one that reaps.
    pub fn files(self) -> [File; 2] {
        match self {
            Self::Github => [
                (".github/workflows/twolane.yml", include_str!("ci/github-run.yml")),
                (
                    ".github/workflows/twolane-reap.yml",
                    include_str!("ci/github-reap.yml"),
                ),
            ],
            Self::Gitlab => [
                (".gitlab/twolane.yml", include_str!("ci/gitlab-run.yml")),
                (".gitlab/twolane-reap.yml", include_str!("ci/gitlab-reap.yml")),
            ],
            Self::Buildkite => [
                (".buildkite/twolane.yml", include_str!("ci/buildkite-run.yml")),
                (
                    ".buildkite/twolane-reap.yml",
                    include_str!("ci/buildkite-reap.yml"),
                ),
            ],
        }
    }

    /// Returns what the user has to do for them to run.
    pub fn next(self) -> &'static str {
        match self {
            Self::Github => "keep the login of your providers, and set the variables that its step names",
            Self::Gitlab => {
                "include both from .gitlab-ci.yml, and make the schedule that the second describes"
            }
            Self::Buildkite => "upload the first from your pipeline, and make a schedule for the second",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ALL: [Ci; 3] = [Ci::Github, Ci::Gitlab, Ci::Buildkite];

    fn parsed(ci: Ci) -> [Value; 2] {
        ci.files().map(|(_, text)| serde_saphyr::from_str(text).unwrap())
    }

    #[test]
    fn every_system_runs_prebuilt_and_reaps() {
        for ci in ALL {
            let [run, reap] = ci.files().map(|(_, text)| text);
            assert!(run.contains("--max-cost") || run.contains("max-cost:"), "{run}");
            assert!(run.contains("junit"), "{run}");
            assert!(reap.contains("twolane reap"), "{reap}");
            for text in [run, reap] {
                assert!(!text.contains("cargo install"), "{text}");
            }
            parsed(ci);
        }
    }

    #[test]
    fn github_logs_in_without_long_lived_keys() {
        let [run, _] = parsed(Ci::Github);
        assert_eq!(run["permissions"]["id-token"], "write");
        let steps = run["jobs"]["lanes"]["steps"].as_array().unwrap();
        let uses = |name: &str| {
            steps
                .iter()
                .any(|step| step["uses"].as_str().unwrap_or_default().starts_with(name))
        };
        for action in [
            "aws-actions/",
            "google-github-actions/",
            "azure/login",
            "twolane/twolane/action",
        ] {
            assert!(uses(action), "{action}");
        }
    }

    #[test]
    fn github_reaps_on_a_schedule() {
        let [_, job] = parsed(Ci::Github);
        let schedule = job["on"]["schedule"][0]["cron"].as_str().unwrap();
        assert_eq!(schedule.split(' ').count(), 5);
        assert_eq!(job["concurrency"]["cancel-in-progress"], Value::Bool(false));
        let steps = job["jobs"]["reap"]["steps"].as_array().unwrap();
        assert_eq!(steps.last().unwrap()["run"], "twolane reap");
        // Whatever a run can log in to, a reap can.
        let [run, _] = parsed(Ci::Github);
        let run = run["jobs"]["lanes"]["steps"].as_array().unwrap();
        let logins = |steps: &[Value]| -> Vec<Value> {
            let is_login = |step: &&Value| {
                step["name"]
                    .as_str()
                    .is_some_and(|name| name.starts_with("Log in"))
            };
            steps.iter().filter(is_login).cloned().collect()
        };
        assert_eq!(logins(steps).len(), 3);
        assert_eq!(logins(steps), logins(run));
        let run = run.iter().find(|step| step["id"] == "twolane").unwrap();
        assert_eq!(steps.last().unwrap()["env"], run["env"]);
    }

    #[test]
    fn gitlab_destroys_what_a_cancelled_job_left() {
        let [run, _] = parsed(Ci::Gitlab);
        let job = &run["twolane"];
        assert_eq!(
            job["after_script"].as_array().unwrap().last().unwrap(),
            "twolane down --all"
        );
        assert_eq!(job["artifacts"]["reports"]["junit"], "junit.xml");
    }

    #[test]
    fn gitlab_reaps_on_a_schedule() {
        let [_, reap] = parsed(Ci::Gitlab);
        let job = &reap["twolane reap"];
        assert!(job["rules"][0]["if"].as_str().unwrap().contains("schedule"));
        assert_eq!(job["script"].as_array().unwrap().last().unwrap(), "twolane reap");
        assert_eq!(job["interruptible"], Value::Bool(false));
    }
}
