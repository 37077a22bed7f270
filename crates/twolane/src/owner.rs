//! Who the boxes belong to: what the environment does not tell, git and this machine do.

use std::{env, process::Command};

use camino::Utf8Path;
use model::{plan, revision::Revision, tags::Owner};

/// Finds the owner out.
pub(crate) fn find(dir: &Utf8Path) -> Owner {
    let owner = of_environment();
    Owner {
        repository: owner.repository.or_else(|| repository(dir)),
        reference: owner.reference.or_else(|| branch(dir)),
        user: owner.user,
        host: owner.host.or_else(node_name),
    }
}

/// Returns what the environment reports of the owner.
pub(crate) fn of_environment() -> Owner {
    let environment = env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    plan::owner(&environment)
}

/// Returns this machine's name, as it is in the tags of its boxes.
pub(crate) fn this_host() -> Option<String> {
    of_environment().host.or_else(node_name)
}

fn node_name() -> Option<String> {
    rustix::system::uname()
        .nodename()
        .to_str()
        .ok()
        .map(str::to_owned)
}

fn repository(dir: &Utf8Path) -> Option<String> {
    repository_of(&git(dir, &["remote", "get-url", "origin"])?)
}

/// Returns `acme/mvm` for `git@host:acme/mvm.git` and `https://host/acme/mvm.git`; what may hold a password is left out.
fn repository_of(url: &str) -> Option<String> {
    let path = match url.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        None => url.split_once(':')?.1,
    };
    let path = path.trim_matches('/').trim_end_matches(".git");
    let parts: Vec<&str> = path.split('/').collect();
    let tail = parts[parts.len().saturating_sub(2)..].join("/");
    (!tail.is_empty()).then_some(tail)
}

fn branch(dir: &Utf8Path) -> Option<String> {
    git(dir, &["symbolic-ref", "--quiet", "--short", "HEAD"])
}

/// Returns what is checked out; none outside of a repository.
pub(crate) fn revision(dir: &Utf8Path) -> Option<Revision> {
    Some(Revision {
        commit: git(dir, &["rev-parse", "HEAD"])?,
        is_dirty: git(dir, &["status", "--porcelain", "--untracked-files=no"]).is_some(),
    })
}

/// Returns what git prints, without the line's end; none where it fails or has nothing to say.
pub(crate) fn git(dir: &Utf8Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, expected: Option<&str>) {
        assert_eq!(repository_of(url).as_deref(), expected, "{url}");
    }

    #[test]
    fn revision_says_whether_tracked_files_differ() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        assert_eq!(revision(dir), None);
        std::fs::write(dir.join("file"), "one").unwrap();
        for arguments in [
            &["init", "--quiet"][..],
            &["add", "file"],
            &[
                "-c",
                "user.name=a",
                "-c",
                "user.email=a@b",
                "-c",
                "commit.gpgsign=false",
                "commit",
                "-qm",
                "one",
            ],
        ] {
            git(dir, arguments);
        }
        let clean = revision(dir).unwrap();
        assert_eq!((clean.commit.len(), clean.is_dirty), (40, false));
        std::fs::write(dir.join("file"), "two").unwrap();
        std::fs::write(dir.join("untracked"), "").unwrap();
        assert_eq!(
            revision(dir).unwrap(),
            Revision {
                is_dirty: true,
                ..clean
            }
        );
    }

    #[test]
    fn a_repository_is_read_without_host_and_password() {
        check("git@example.org:acme/mvm.git", Some("acme/mvm"));
        check("https://user:secret@example.org/acme/mvm.git", Some("acme/mvm"));
        check("ssh://git@example.org:22/group/acme/mvm", Some("acme/mvm"));
        check("/srv/git/mvm", None);
    }
}
