//! Reads strace's lines: which device a call asked for, and whether it got it.

use std::fmt;

use serde::Serialize;

/// The longest path and reason that are kept, in bytes.
const WORD_MAX: usize = 100;

/// A device that a test asked for, and the best that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Device {
    /// Its path.
    pub path: String,
    /// What came of it.
    #[serde(flatten)]
    pub attempt: Attempt,
}

impl Device {
    /// Returns whether it was there for the test.
    pub fn is_got(&self) -> bool {
        !matches!(self.attempt, Attempt::Refused { .. })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.attempt {
            Attempt::Refused { how } => write!(f, "{path}: {how}"),
            Attempt::Seen => write!(f, "{path}: is there"),
            Attempt::Opened => write!(f, "{path}: opened"),
            Attempt::Driven { request } => write!(f, "{path}: {request}"),
        }
    }
}

/// What came of asking for a device, worst first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "attempt", rename_all = "kebab-case")]
pub enum Attempt {
    /// It was not to be had.
    Refused {
        /// The call and the error, such as `open: ENOENT`.
        how: String,
    },
    /// It is there; nobody opened it.
    Seen,
    /// It was opened.
    Opened,
    /// It was opened, and reported what to do.
    Driven {
        /// Such as `KVM_CREATE_VM`.
        request: String,
    },
}

/// Reads one line. None where it is about no such device.
pub fn attempt(line: &str) -> Option<Device> {
    let (call, rest) = line.split_once('(')?;
    // What a call returned stands after the last equals sign; the words in front are blank-padded.
    let (arguments, returned) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().trim_end_matches(')');
    if call == "ioctl" {
        let (path, request) = descriptor(arguments)?;
        let request = request.trim_start_matches([',', ' ']).split(',').next()?;
        return Some(Device {
            path: device(path)?,
            attempt: Attempt::Driven {
                request: short(request.trim()),
            },
        });
    }
    // A symbolic link has another name than what it leads to.
    let path = path(arguments)
        .and_then(|path| device(&path))
        .or_else(|| device(descriptor(returned)?.0))?;
    let error = returned.strip_prefix("-1 ").map(|error| {
        let word = error.split(' ').next().unwrap_or_default();
        format!("{}: {}", verb(call), short(word))
    });
    let attempt = match error {
        Some(how) => Attempt::Refused { how },
        None if returned.starts_with('?') => Attempt::Refused {
            how: format!("{}: never returned", verb(call)),
        },
        None if is_open(call) => Attempt::Opened,
        None => Attempt::Seen,
    };
    Some(Device { path, attempt })
}

fn is_open(call: &str) -> bool {
    call.starts_with("open") || call == "creat"
}

/// Returns what people call a system call that has variants.
fn verb(call: &str) -> &'static str {
    match call {
        _ if is_open(call) => "open",
        _ if call.contains("access") => "access",
        _ if call.starts_with("readlink") => "readlink",
        _ => "stat",
    }
}

/// Splits `3</dev/kvm>, REST` into the path and the rest.
fn descriptor(text: &str) -> Option<(&str, &str)> {
    let (_, rest) = text.split_once('<')?;
    rest.split_once('>')
}

/// Returns the first path among the arguments, absolute where strace prints its directory.
fn path(arguments: &str) -> Option<String> {
    let (before, rest) = arguments.split_once('"')?;
    let (name, _) = rest.split_once('"')?;
    if name.starts_with('/') {
        return Some(name.to_owned());
    }
    let (dir, _) = descriptor(before)?;
    Some(format!("{dir}/{name}"))
}

/// Returns the plain form of a path that names a device which matters.
fn device(path: &str) -> Option<String> {
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    let is_one = match parts.as_slice() {
        ["dev", "kvm"] | ["dev", "net", "tun"] => true,
        ["dev", name] => name.strip_prefix("vhost-").is_some_and(|rest| !rest.is_empty()),
        ["dev", "vfio", _, ..] => true,
        _ => false,
    };
    (path.starts_with('/') && is_one).then(|| short(&format!("/{}", parts.join("/"))))
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(WORD_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let reported = attempt(line).map_or("nothing".to_owned(), |device| device.to_string());
        assert_eq!(reported, expected, "{line}");
    }

    #[test]
    fn what_strace_writes_is_read() {
        check(
            r#"openat(AT_FDCWD</tmp/x>, "/dev/kvm", O_RDWR|O_CLOEXEC) = 3</dev/kvm>"#,
            "/dev/kvm: opened",
        );
        check(
            r#"open("/dev/kvm", O_RDWR)    = -1 EACCES (Permission denied)"#,
            "/dev/kvm: open: EACCES",
        );
        check(
            r#"access("/dev/vhost-net", R_OK)    = -1 ENOENT (No such file or directory)"#,
            "/dev/vhost-net: access: ENOENT",
        );
        check(
            r#"openat2(AT_FDCWD</>, "/dev//net/./tun", {flags=O_RDONLY, resolve=0}, 24) = 4</dev/net/tun>"#,
            "/dev/net/tun: opened",
        );
        check(
            r#"newfstatat(AT_FDCWD</a>, "/dev/vfio/vfio", 0x7ffdb6c2bb60, 0) = -1 ENOENT (No such file or directory)"#,
            "/dev/vfio/vfio: stat: ENOENT",
        );
        check(
            r#"statx(AT_FDCWD</a>, "/dev/kvm", AT_STATX_SYNC_AS_STAT, STATX_ALL, {stx_mask=STATX_ALL, stx_mode=S_IFCHR|0600, stx_size=0, ...}) = 0"#,
            "/dev/kvm: is there",
        );
        check(
            "ioctl(6</dev/kvm>, KVM_CREATE_VM, 0) = 7<anon_inode:kvm-vm>",
            "/dev/kvm: KVM_CREATE_VM",
        );
        check(
            "ioctl(6</dev/kvm>, KVM_GET_API_VERSION) = -1 EINTR (x)",
            "/dev/kvm: KVM_GET_API_VERSION",
        );
    }

    #[test]
    fn a_device_is_known_by_its_directory_and_behind_a_link() {
        check(
            r#"openat(4</dev>, "kvm", O_RDWR|O_CLOEXEC) = 5</dev/kvm>"#,
            "/dev/kvm: opened",
        );
        check(
            r#"openat(4</dev>, "kvm", O_RDWR) = -1 ENOENT (x)"#,
            "/dev/kvm: open: ENOENT",
        );
        check(
            r#"openat(AT_FDCWD</a>, "link", O_RDWR) = 5</dev/kvm>"#,
            "/dev/kvm: opened",
        );
        check(
            r#"openat(AT_FDCWD</a>, "/dev/kvm", O_RDWR) = ?"#,
            "/dev/kvm: open: never returned",
        );
    }

    #[test]
    fn what_is_about_something_else_is_nothing() {
        for line in [
            r#"openat(AT_FDCWD</a>, "/dev", O_RDONLY|O_DIRECTORY) = 4</dev>"#,
            r#"openat(AT_FDCWD</a>, "/tmp/dev/kvm", O_RDONLY) = -1 ENOENT (x)"#,
            r#"openat(AT_FDCWD</a>, "/dev/kvm-not", O_RDONLY) = 3</dev/kvm-not>"#,
            r#"openat(AT_FDCWD</a>, "/dev/vhost-", O_RDONLY) = -1 ENOENT (x)"#,
            r#"openat(AT_FDCWD</a>, "dev/kvm", O_RDONLY) = -1 ENOENT (x)"#,
            "ioctl(1</dev/null>, TCGETS, 0x7ffd) = -1 ENOTTY (Inappropriate ioctl for device)",
            "ioctl(3, KVM_RUN, 0) = 0",
            "+++ exited with 0 +++",
            "",
            "(((",
            " = ",
            "open(\" = \"",
        ] {
            check(line, "nothing");
        }
    }
}
