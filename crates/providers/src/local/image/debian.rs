//! Makes an image of a release with mmdebstrap, as root or as an ordinary user.

use std::process::Stdio;

use camino::Utf8Path;
use model::{text::last_lines, world::Progress};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::{
    Release,
    cache::{self, Found, Held, Making},
};
use crate::child;
use crate::local::{LocalSettings, error::LocalError, programs, space};

const RECIPE: &str = include_str!("../debian.sh");

/// What every image holds: a system that boots, and what stage 1, sync and checks stand on.
const PACKAGES: &[&str] = &[
    "busybox",
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    "e2fsprogs",
    "initramfs-tools",
    "iproute2",
    "kmod",
    "libpam-systemd",
    "linux-image-cloud-amd64",
    "locales",
    "netbase",
    "openssh-server",
    "procps",
    "rsync",
    "strace",
    "sudo",
    "systemd-sysv",
    "udev",
    "xz-utils",
];

/// How many lines of mmdebstrap's output are kept for an error.
const LOG_LINES: usize = 60;

/// Returns the key of the image of a release with these packages beside the usual ones.
pub(crate) fn key(settings: &LocalSettings, release: Release, packages: &[String]) -> String {
    let mirror = settings.mirror.as_deref().unwrap_or("");
    cache::key(
        release.word(),
        &[RECIPE, release.suite(), mirror, &list(packages)],
    )
}

/// Returns the directory with `rootfs.ext4`, `vmlinuz` and `initrd.img`.
pub(crate) async fn ensure(
    cache_dir: &Utf8Path,
    settings: &LocalSettings,
    release: Release,
    packages: &[String],
    progress: &dyn Progress,
) -> Result<Held, LocalError> {
    let key = key(settings, release, packages);
    match cache::find(cache_dir, &key, progress).await? {
        Found::There(directory) => Ok(directory),
        Found::ToBeMade(making) => {
            let wanted = Wanted {
                settings,
                release,
                packages,
            };
            make(making, &wanted, progress).await
        }
    }
}

/// Returns QEMU's arguments to boot it.
pub(crate) fn arguments(system: &Utf8Path, toolchain: Option<&Utf8Path>, kernel: &str) -> Vec<String> {
    let mut append =
        format!("root=/dev/vda rw console=ttyS0 random.trust_cpu=on systemd.show_status=no audit=0{kernel}");
    let mut arguments = Vec::new();
    if let Some(toolchain) = toolchain {
        let disk = toolchain.join("toolchain.ext4").into_string().replace(',', ",,");
        arguments.extend([
            "-drive".to_owned(),
            format!("file={disk},if=virtio,format=raw,readonly=on"),
        ]);
        append.push_str(" twolane.toolchain");
    }
    arguments.extend([
        "-kernel".to_owned(),
        system.join("vmlinuz").into_string(),
        "-initrd".to_owned(),
        system.join("initrd.img").into_string(),
        "-append".to_owned(),
        append,
    ]);
    arguments
}

/// Returns all packages, sorted, each once.
fn list(packages: &[String]) -> String {
    let mut all: Vec<_> = PACKAGES
        .iter()
        .copied()
        .chain(packages.iter().map(String::as_str))
        .collect();
    all.sort_unstable();
    all.dedup();
    all.join(",")
}

/// What an image is made of.
struct Wanted<'a> {
    settings: &'a LocalSettings,
    release: Release,
    packages: &'a [String],
}

async fn make(making: Making, wanted: &Wanted<'_>, progress: &dyn Progress) -> Result<Held, LocalError> {
    programs::need("mmdebstrap", "mmdebstrap")?;
    programs::need("mke2fs", "e2fsprogs")?;
    space::check_disk(
        &making.part,
        space::IMAGE_BYTES,
        space::disk_free(&making.part)?,
        "making a base image",
    )?;
    progress.report(
        &format!(
            "making the base image ({}), once: takes a minute or more",
            wanted.release.name()
        ),
        None,
    );
    let mut child = command(&making, wanted)?
        .spawn()
        .map_err(|e| LocalError::system("run sh", e))?;
    let log = follow(child.stderr.take(), progress).await;
    let status = child
        .wait()
        .await
        .map_err(|e| LocalError::system("wait for mmdebstrap", e))?;
    if status.success() {
        return making.finish();
    }
    Err(LocalError::invalid(format!(
        "mmdebstrap could not make the base image:\n{}",
        last_lines(&log, 12).join("\n")
    ))
    .with_help(help(&log)))
}

fn command(making: &Making, wanted: &Wanted<'_>) -> Result<Command, LocalError> {
    let recipe = making.part.join("debian.sh");
    std::fs::write(&recipe, RECIPE).map_err(|e| LocalError::system(format!("write {recipe}"), e))?;
    let mut command = Command::new("sh");
    child::fetching(command.as_std_mut());
    command
        .arg(recipe)
        .arg(wanted.release.suite())
        .arg(list(wanted.packages))
        .args(&wanted.settings.mirror)
        .current_dir(&making.part)
        // The recipe ends its process group when its input ends, so with us; what it holds as output is the lock.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(making.share()?)
        .stderr(Stdio::piped());
    if rustix::process::geteuid().is_root() {
        command.env("TMPDIR", &making.part);
    }
    Ok(command)
}

/// Reads the output to its end, reports each step of it, and returns the last lines.
async fn follow(output: Option<tokio::process::ChildStderr>, progress: &dyn Progress) -> String {
    let mut kept = std::collections::VecDeque::with_capacity(LOG_LINES);
    let Some(output) = output else {
        return String::new();
    };
    let mut lines = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Some(step) = line.strip_prefix("I: ") {
            progress.report(&format!("base image: {step}"), None);
        }
        if kept.len() == LOG_LINES {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    Vec::from(kept).join("\n")
}

/// Returns what helps against the usual failures.
fn help(log: &str) -> &'static str {
    let has = |words: &str| log.contains(words);
    if has("Unable to locate package")
        || has("Couldn't find any package")
        || has("has no installation candidate")
    {
        "a package of `[system] packages` does not exist in this release: correct its name"
    } else if has("Temporary failure resolving") || has("Could not connect") || has("Could not resolve") {
        "the Debian mirror cannot be reached: check the network, or set a mirror that can"
    } else if has("No space left on device") {
        "free disk space, in the cache directory and in /tmp"
    } else if has("cannot change root filesystem propagation") {
        "this root directory is no mount point: enter the chroot after `mount --bind DIRECTORY DIRECTORY`"
    } else if has("NO_PUBKEY") {
        "the machine's keyring is older than the release: install debian-archive-keyring"
    } else if has("newuidmap") || has("subuid") || has("unshare") {
        "an ordinary user needs user namespaces: install the package uidmap, and a range in /etc/subuid and /etc/subgid"
    } else {
        "run it again; if it fails again, mmdebstrap's last lines above say why"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_depends_on_what_goes_in_but_not_on_order() {
        let settings = LocalSettings::default();
        let elsewhere = LocalSettings {
            mirror: Some("http://127.0.0.1/debian".to_owned()),
            ..LocalSettings::default()
        };
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let key_of = |packages: &[&str]| key(&settings, Release::default(), &names(packages));
        let usual = key_of(&[]);
        assert_eq!(usual, key_of(&["curl"]));
        assert_ne!(usual, key_of(&["gcc"]));
        assert_ne!(usual, key(&elsewhere, Release::default(), &[]));
        assert_ne!(usual, key(&settings, Release::Debian12, &[]));
        assert_eq!(key_of(&["gcc", "make"]), key_of(&["make", "gcc", "gcc"]));
    }

    #[test]
    fn usual_failures_have_a_mend() {
        assert!(help("E: Unable to locate package gccc").contains("packages"));
        assert!(
            help("unshare: cannot change root filesystem propagation: Invalid argument").contains("--bind")
        );
        assert!(help("E: newuidmap is not there").contains("uidmap"));
        assert!(help("Temporary failure resolving 'deb.debian.org'").contains("mirror"));
        assert!(help("cp: No space left on device").contains("disk space"));
    }

    #[test]
    fn a_toolchain_comes_as_a_third_disk() {
        let arguments = arguments(
            Utf8Path::new("/c/k"),
            Some(Utf8Path::new("/c/a,b")),
            " tsc=reliable",
        );
        assert!(
            arguments.contains(&"file=/c/a,,b/toolchain.ext4,if=virtio,format=raw,readonly=on".to_owned())
        );
        assert!(
            arguments
                .last()
                .unwrap()
                .ends_with(" tsc=reliable twolane.toolchain")
        );
    }
}
