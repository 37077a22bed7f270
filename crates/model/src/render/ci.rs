//! The scheduled job that runs `twolane reap` in a CI system, as a file of the project.

/// A CI system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ci {
    /// GitHub Actions.
    Github,
    /// GitLab CI.
    Gitlab,
}

impl Ci {
    /// Returns where the job is written, relative to the root of the repository.
    pub fn path(self) -> &'static str {
        match self {
            Self::Github => ".github/workflows/twolane-reap.yml",
            Self::Gitlab => ".gitlab/twolane-reap.yml",
        }
    }

    /// Returns the job.
    pub fn reap_job(self) -> &'static str {
        match self {
            Self::Github => include_str!("ci/github.yml"),
            Self::Gitlab => include_str!("ci/gitlab.yml"),
        }
    }

    /// Says what is still to be done for it to run.
    pub fn next(self) -> &'static str {
        match self {
            Self::Github => "set the variable TWOLANE_GIT and the providers' secrets in the repository",
            Self::Gitlab => "include it from .gitlab-ci.yml, and make the schedule that its head describes",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parsed(ci: Ci) -> Value {
        serde_saphyr::from_str(ci.reap_job()).unwrap()
    }

    #[test]
    fn github_runs_it_on_a_schedule() {
        let job = parsed(Ci::Github);
        let schedule = job["on"]["schedule"][0]["cron"].as_str().unwrap();
        assert_eq!(schedule.split(' ').count(), 5);
        assert_eq!(job["concurrency"]["cancel-in-progress"], Value::Bool(false));
        let steps = job["jobs"]["reap"]["steps"].as_array().unwrap();
        assert_eq!(steps.last().unwrap()["run"], "twolane reap");
    }

    #[test]
    fn gitlab_runs_it_on_a_schedule() {
        let job = &parsed(Ci::Gitlab)["twolane reap"];
        assert!(job["rules"][0]["if"].as_str().unwrap().contains("schedule"));
        assert_eq!(job["script"].as_array().unwrap().last().unwrap(), "twolane reap");
        assert_eq!(job["interruptible"], Value::Bool(false));
    }
}
