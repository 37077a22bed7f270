//! Makes the box's directory of a source equal to the source. One run of rsync when the list of files is the
//! one that the box has; when not, the box is first reported the new list and deletes what is no longer in it.

use model::{
    error::RemoteError,
    render::quote,
    source::{Source, Synced, home_of},
    text::last_words,
    world::{Command, Output, Progress},
};

use crate::{
    blocking::blocking,
    copy::{self, Copied, Run},
    layout::Layout,
    manifest::Manifest,
    selection::{COMPARISONS_MAX, Selection},
    shell::{Shell, script},
};

/// What the box says when its list is another one.
const OTHER_LIST: &str = "twolane: another list of files";

/// Becomes rsync on the box, if the list `$4` there has the hash `$2`.
const GUARD: &str = r#"test "$(cat "$1" 2>/dev/null)" = "$2" || { echo "$3" >&2; exit 97; }
exec 3< "$4"; shift 4; cd /; exec "$@""#;

/// Gives what rsync writes the time of the box.
const MTIMES: &str = include_str!("mtimes.py");

/// Takes the new list, deletes what was in the old one only, keeps the new one. The hash is written last, so
/// that whatever breaks off on the way is done again. Prints how many were deleted.
const SETTLE: &str = r#"set -eu
manifests=$1 name=$2 hash=$3 size=$4 base=$5 rm=$6 rmdir=$7; shift 7
umask 077
mkdir -p -- "$manifests/.hash" "$manifests/.new"
cd -- "$manifests"
rm -f -- ".hash/$name"
new=.new/$name.$$ gone=.new/$name.$$.gone
trap 'rm -f -- "$new" "$gone"' EXIT
cat > "$new"
[ "$(wc -c < "$new")" -eq "$size" ] || { echo 'the list of files did not come whole' >&2; exit 1; }
: > "$gone"
if [ -e "$name" ]; then LC_ALL=C comm -z -23 -- "$name" "$new" > "$gone"; fi
(umask 022; cd /; "$@" mkdir -p -- "$base")
if [ -s "$gone" ]; then
  (exec < "$gone"; cd /; "$@" sh -c "$rm" sh "$base")
  (exec < "$gone"; cd /; "$@" sh -c "$rmdir" sh "$base")
fi
tr -cd '\000' < "$gone" | wc -c
mv -f -- "$new" "$name"
printf %s "$hash" > ".hash/$name""#;

/// Deletes what is named on standard input. A directory that holds something else is not ours to delete.
const REMOVE: &str = r#"cd -- "$1"
said=$(LC_ALL=C xargs -0 -r rm -fd -- 2>&1 |
  grep -v -e 'Directory not empty$' -e 'Is a directory$' -e 'Not a directory$') || :
[ -z "$said" ] || { printf '%s\n' "$said" >&2; exit 1; }"#;

/// Deletes the directories that have become empty.
const REMOVE_EMPTY: &str = r#"cd -- "$1"; export LC_ALL=C
xargs -0 -r dirname -z -- | sort -zur | grep -azvx '\.' |
  xargs -0 -r rmdir -p --ignore-fail-on-non-empty -- 2>/dev/null || :"#;

/// Makes the box's directory of `source` equal to what git would carry of it.
pub(crate) async fn sync(
    shell: &dyn Shell,
    layout: &Layout,
    source: &Source,
    progress: &dyn Progress,
) -> Result<Synced, RemoteError> {
    sync_within(shell, layout, source, progress, COMPARISONS_MAX).await
}

/// Does the same with another bound on what rsync may compare.
pub(crate) async fn sync_within(
    shell: &dyn Shell,
    layout: &Layout,
    source: &Source,
    progress: &dyn Progress,
    comparisons_max: u64,
) -> Result<Synced, RemoteError> {
    let place = Place::new(layout, source)?;
    let path = source.path.clone();
    let (manifest, selection) = blocking(move || {
        let manifest = Manifest::of(path.as_std_path())?;
        let selection = Selection::new(path.as_std_path(), &manifest, comparisons_max)
            .map_err(|error| RemoteError::Here(format!("could not list {path}: {error}")))?;
        Ok((manifest, selection))
    })
    .await?;
    let hash = manifest.hash(&place.base);
    let first = place.copy(shell, &selection, &hash, progress).await?;
    let (copied, deleted) = if first.stderr.contains(OTHER_LIST) {
        let deleted = place.settle(shell, &manifest, &hash).await?;
        (place.copy(shell, &selection, &hash, progress).await?, deleted)
    } else {
        (first, 0)
    };
    let synced = copied.done(&format!("copying {}", source.path))?;
    Ok(Synced {
        files: manifest.len(),
        deleted,
        ..synced
    })
}

/// Where a source is, here and there.
struct Place<'a> {
    layout: &'a Layout,
    source: &'a Source,
    base: String,
}

impl<'a> Place<'a> {
    fn new(layout: &'a Layout, source: &'a Source) -> Result<Self, RemoteError> {
        let name = &source.name;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\0', '\n']) {
            return Err(RemoteError::Here(format!(
                "the source {name:?} cannot have a directory of that name on the box; rename it in [sources]"
            )));
        }
        Ok(Self {
            layout,
            source,
            base: format!("{}{}", layout.root, source.remote_dir()),
        })
    }

    /// Returns what a command on the box begins with so that it runs as the owner of the sources.
    fn as_owner(&self) -> Vec<&str> {
        match self.layout.has_users {
            true => vec!["runuser", "-u", &self.source.user, "--"],
            false => vec!["env"],
        }
    }

    async fn copy(
        &self,
        shell: &dyn Shell,
        selection: &Selection,
        hash: &str,
        progress: &dyn Progress,
    ) -> Result<Copied, RemoteError> {
        let Layout { root, manifests, .. } = self.layout;
        let home = home_of(&self.source.user);
        let name = &self.source.name;
        let (hash_file, list) = (format!("{manifests}/.hash/{name}"), format!("{manifests}/{name}"));
        let times = format!("{root}{home}/.twolane/{name}.mtimes");
        let owner = self.as_owner();
        let args = [
            &[hash_file.as_str(), hash, OTHER_LIST, &list],
            owner.as_slice(),
            &["python3", "-ISc", MTIMES, &self.base, &times, "rsync"],
        ]
        .concat();
        let guard = guarded(&args);
        let to = format!("{}:{}/", shell.host(), self.base);
        let rsync_path = format!("--rsync-path={guard}");
        // Two edits within a second may leave the size as it is.
        let to_the_nanosecond = "--modify-window=-1";
        let args = [
            "--links",
            "--perms",
            "--times",
            to_the_nanosecond,
            "--force",
            &rsync_path,
        ];
        let args = [&args, selection.args, &["./", &to]].concat();
        let run = Run {
            args: &args,
            dir: &self.source.path,
            stdin: &selection.stdin,
            bounds: None,
        };
        copy::rsync(shell, run, progress).await
    }

    /// Reports the box the new list. Returns how many files it deleted.
    async fn settle(&self, shell: &dyn Shell, manifest: &Manifest, hash: &str) -> Result<u64, RemoteError> {
        let Layout { manifests, .. } = self.layout;
        let list = manifest.kept();
        let size = list.len().to_string();
        let words = [
            manifests.as_str(),
            &self.source.name,
            hash,
            &size,
            &self.base,
            REMOVE,
            REMOVE_EMPTY,
        ];
        let args = [words.as_slice(), &self.as_owner()].concat();
        let command = Command::new(script(SETTLE, &args)).with_stdin(list);
        let output = shell.run(&command).await?;
        deleted(&output).ok_or_else(|| RemoteError::Command {
            command: format!("delete what is no longer in {}", self.source.path),
            how: output
                .code
                .map_or("a signal".to_owned(), |code| format!("exit code {code}")),
            output: last_words(&String::from_utf8_lossy(&output.stderr)),
        })
    }
}

/// Returns the guard as one command to which rsync adds its own arguments.
fn guarded(args: &[&str]) -> String {
    let words: Vec<String> = script(GUARD, args).iter().map(|word| quote(word)).collect();
    words.join(" ")
}

fn deleted(output: &Output) -> Option<u64> {
    let is_done = output.code == Some(0);
    is_done
        .then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok())
        .flatten()
}
