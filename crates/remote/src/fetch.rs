//! Brings files back from the box. What a box sends is never a link or a device, so that nothing that it names
//! can lead out of the directory it is put into.

use std::collections::BTreeMap;

use camino::Utf8Path;
use model::{
    error::RemoteError,
    limits::{Budget, Limits},
    text::last_words,
    world::{Command, Fetched, Progress},
};

use crate::{
    bounds::{Bounds, SAID},
    copy::{self, Copied, Run},
    shell::{Shell, script},
};

/// Prints the directory it starts in and, of its arguments, those that exist; a zero byte after each.
const EXISTING: &str = r#"printf '%s\0' "$PWD"
for path do if [ -f "$path" ] || [ -d "$path" ]; then printf '%s\0' "$path"; fi; done"#;

/// What rsync exits with when it may have no more memory.
const OUT_OF_MEMORY: i32 = 22;

/// Copies what exists of `from` into the directory `to`, under the names by which it was asked for.
/// A path may hold `/./`: then its name is what comes after.
pub(crate) async fn fetch(
    shell: &dyn Shell,
    from: &[String],
    to: &Utf8Path,
    limits: (&Limits, &Budget),
) -> Result<Fetched, RemoteError> {
    if let Some(hostile) = from.iter().find(|path| !is_plain(path)) {
        return Err(RemoteError::Here(format!(
            "{hostile:?} is not a path that can be fetched"
        )));
    }
    std::fs::create_dir_all(to)
        .map_err(|error| RemoteError::Here(format!("could not make {to}: {error}")))?;
    let words: Vec<&str> = from.iter().map(String::as_str).collect();
    let output = shell.run(&Command::new(script(EXISTING, &words))).await?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((home, existing)) = listed.split_once('\0') else {
        return Err(RemoteError::Command {
            command: "list the files to fetch".to_owned(),
            how: output
                .code
                .map_or("a signal".to_owned(), |code| format!("exit code {code}")),
            output: last_words(&String::from_utf8_lossy(&output.stderr)),
        });
    };
    let wanted: Vec<String> = from
        .iter()
        .filter(|path| existing.split('\0').any(|e| e == *path))
        .cloned()
        .collect();
    let mut cut = None;
    for (base, names) in by_base(home, &wanted) {
        cut = fetch_below(shell, (&base, &names), to, limits).await?;
        if cut.is_some() {
            break;
        }
    }
    let came = |path: &String| to.join(split("", path).1).exists();
    Ok(Fetched {
        paths: wanted.into_iter().filter(came).collect(),
        cut,
    })
}

/// Returns what was left behind, as it was over the limits.
async fn fetch_below(
    shell: &dyn Shell,
    (base, names): (&str, &[&str]),
    to: &Utf8Path,
    (limits, budget): (&Limits, &Budget),
) -> Result<Option<String>, RemoteError> {
    let bounds = Bounds::new(*limits, budget.clone());
    if let Some(spent) = bounds.spent() {
        return Ok(Some(spent));
    }
    // What is not whole goes with it.
    let unfinished = tempfile::Builder::new()
        .prefix(".unfinished-")
        .tempdir_in(to)
        .map_err(|error| RemoteError::Here(format!("could not make a directory in {to}: {error}")))?;
    let unfinished = format!("--temp-dir={}", unfinished.path().display());
    let max_size = format!("--max-size={}", bounds.file_max());
    let list: String = names.iter().map(|name| format!("./{name}\0")).collect();
    let base = format!("{}:{}/", shell.host(), base.trim_end_matches('/'));
    let args = [
        "--recursive",
        // The number of files is known before the first is made; and with it, each directory takes memory of its own.
        "--no-inc-recursive",
        "--times",
        SAID,
        &unfinished,
        &max_size,
        "--no-links",
        "--no-devices",
        "--no-specials",
        "--chmod=D755,F644",
        "--ignore-missing-args",
        "--from0",
        "--files-from=-",
        &base,
        "./",
    ];
    let run = Run {
        args: &args,
        dir: to,
        stdin: list.as_bytes(),
        bounds: Some(bounds),
    };
    let copied = copy::rsync(shell, run, &Quiet).await?;
    // 23 and 24: something could not be read, or went away meanwhile; the rest came.
    match (copied.code, copied.cut) {
        (_, Some(cut)) => Ok(Some(cut)),
        (Some(OUT_OF_MEMORY), None) => Ok(Some(
            "the list of files has no end; they were not brought back".to_owned(),
        )),
        (Some(23 | 24), None) => Ok(None),
        (code, cut) => Copied { code, cut, ..copied }
            .done("fetching files")
            .map(|_| None),
    }
}

/// Groups the names by the directory that they are relative to.
fn by_base<'a>(home: &str, paths: &'a [String]) -> BTreeMap<String, Vec<&'a str>> {
    let mut groups: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for path in paths {
        let (base, name) = split(home, path);
        groups.entry(base).or_default().push(name);
    }
    groups
}

/// Splits a path into the directory that it is relative to, and its name below.
fn split<'a>(home: &str, path: &'a str) -> (String, &'a str) {
    let absolute = |base: &str| {
        if base.starts_with('/') {
            base.to_owned()
        } else {
            format!("{home}/{base}")
        }
    };
    if let Some((base, name)) = path.split_once("/./") {
        (absolute(if base.is_empty() { "/" } else { base }), name)
    } else if let Some(name) = path.strip_prefix('/') {
        ("/".to_owned(), name)
    } else {
        (home.to_owned(), path)
    }
}

fn is_plain(path: &str) -> bool {
    let has_name = !split("", path).1.trim_matches('/').is_empty();
    has_name && !path.contains('\0') && path.split('/').all(|part| part != "..")
}

/// Nobody watches a fetch.
struct Quiet;

impl Progress for Quiet {
    fn report(&self, _message: &str, _amount: Option<(u64, u64)>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, base: &str, name: &str) {
        assert_eq!(split("/root", path), (base.to_owned(), name));
    }

    #[test]
    fn names_are_kept_as_they_were_asked_for() {
        check("/var/log/cloud-init.log", "/", "var/log/cloud-init.log");
        check("target/x", "/root", "target/x");
        check("/home/mvm/mvm/./target/x", "/home/mvm/mvm", "target/x");
        check("mvm/./target/x", "/root/mvm", "target/x");
        check("/./x", "/", "x");
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["..", "a/../b", "/a/./../../b", "a\0b", "", "/", "/a/./"] {
            assert!(!is_plain(path), "{path:?}");
        }
        assert!(is_plain("a..b/..c"));
    }
}
