//! Derives the owner of a run's boxes from the environment.

use std::collections::BTreeMap;

use crate::tags::Owner;

/// Reads the owner out of the environment: of GitHub Actions, of GitLab CI, or of a person's shell.
pub fn owner(environment: &BTreeMap<String, String>) -> Owner {
    let first = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| environment.get(*name))
            .find(|value| !value.trim().is_empty())
            .map(|value| value.trim().to_owned())
    };
    Owner {
        repository: first(&["GITHUB_REPOSITORY", "CI_PROJECT_PATH"]),
        reference: pull_request(&first)
            .or_else(|| first(&["GITHUB_HEAD_REF", "GITHUB_REF_NAME"]))
            .or_else(|| first(&["GITHUB_REF"]).map(|name| short(&name).to_owned()))
            .or_else(|| first(&["CI_COMMIT_REF_NAME"])),
        user: first(&[
            "GITHUB_ACTOR",
            "GITLAB_USER_LOGIN",
            "SUDO_USER",
            "USER",
            "LOGNAME",
        ]),
        host: first(&["RUNNER_NAME", "CI_RUNNER_DESCRIPTION", "HOSTNAME"]),
    }
}

/// A pull request keeps its number when its branch is renamed, and has one name for all of its runs.
fn pull_request(first: &impl Fn(&[&str]) -> Option<String>) -> Option<String> {
    let github = first(&["GITHUB_REF"]).and_then(|name| {
        let number = name.strip_prefix("refs/pull/")?.split('/').next()?;
        Some(format!("pr-{number}"))
    });
    github.or_else(|| first(&["CI_MERGE_REQUEST_IID"]).map(|number| format!("mr-{number}")))
}

fn short(reference: &str) -> &str {
    reference
        .strip_prefix("refs/heads/")
        .or_else(|| reference.strip_prefix("refs/tags/"))
        .unwrap_or(reference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(environment: &str, expected: &str) {
        let environment = environment
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        let owner = owner(&environment);
        let parts = [owner.repository, owner.reference, owner.user, owner.host];
        let shown = parts.map(|part| part.unwrap_or("-".to_owned())).join(" ");
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_pull_request_is_known_by_its_number() {
        check(
            "GITHUB_REPOSITORY=acme/mvm GITHUB_REF=refs/pull/17/merge GITHUB_HEAD_REF=fix GITHUB_ACTOR=eve USER=runner HOSTNAME=h",
            "acme/mvm pr-17 eve h",
        );
        check(
            "CI_PROJECT_PATH=acme/mvm CI_MERGE_REQUEST_IID=4 CI_COMMIT_REF_NAME=fix GITLAB_USER_LOGIN=eve",
            "acme/mvm mr-4 eve -",
        );
    }

    #[test]
    fn a_branch_is_known_by_its_name() {
        check(
            "GITHUB_REPOSITORY=acme/mvm GITHUB_REF=refs/heads/main",
            "acme/mvm main - -",
        );
        check(
            "CI_PROJECT_PATH=acme/mvm CI_COMMIT_REF_NAME=main",
            "acme/mvm main - -",
        );
    }

    #[test]
    fn a_shell_reports_user_and_host() {
        check("USER=eve HOSTNAME=laptop", "- - eve laptop");
        check("SUDO_USER=eve USER=root", "- - eve -");
        check("", "- - - -");
    }
}
