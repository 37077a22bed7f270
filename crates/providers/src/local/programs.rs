//! The programs of this machine that a local box needs, and the packages that they come in.

use std::env;

use camino::Utf8PathBuf;
use rustix::process::geteuid;

use super::error::LocalError;

/// The programs that a box is run with. A bare name is looked for in PATH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// The emulator.
    pub qemu: String,
    /// Its tool for disk images.
    pub qemu_img: String,
    /// What runs the watchdog and the probe of `/dev/kvm`.
    pub python3: String,
}

impl Default for Programs {
    fn default() -> Self {
        // The distribution's own starts at once; a version manager's stand-in takes a moment.
        let python3 = ["/usr/bin/python3"]
            .into_iter()
            .find(|path| Utf8PathBuf::from(path).is_file());
        Self {
            qemu: "qemu-system-x86_64".to_owned(),
            qemu_img: "qemu-img".to_owned(),
            python3: python3.unwrap_or("python3").to_owned(),
        }
    }
}

impl Programs {
    /// Refuses when one is missing.
    pub(crate) fn check(&self) -> Result<(), LocalError> {
        need(&self.qemu, "qemu-system-x86")?;
        need(&self.qemu_img, "qemu-utils")?;
        need(&self.python3, "python3")
    }
}

/// Refuses when a program is missing, with the package that it comes in.
pub(crate) fn need(program: &str, package: &str) -> Result<(), LocalError> {
    if path_of(program).is_some() {
        return Ok(());
    }
    Err(LocalError::invalid(format!("`{program}` is not installed")).with_help(help(package)))
}

/// Returns the command that installs a package. Root needs no sudo, which a container seldom has.
pub(crate) fn help(package: &str) -> String {
    let sudo = if geteuid().is_root() { "" } else { "sudo " };
    format!("{sudo}apt-get install --no-install-recommends {package}")
}

/// Returns where a program is; administration directories count, although an ordinary user's PATH lacks them.
pub(crate) fn path_of(program: &str) -> Option<Utf8PathBuf> {
    if program.contains('/') {
        return Some(Utf8PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = env::var("PATH").unwrap_or_default();
    path.split(':')
        .chain(["/usr/sbin", "/sbin"])
        .map(|directory| Utf8PathBuf::from(directory).join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let refusal = need("no-such-program-here", "no-such-package").unwrap_err();
        assert_eq!(refusal.cause, "`no-such-program-here` is not installed");
        assert!(
            refusal
                .help
                .unwrap()
                .ends_with("apt-get install --no-install-recommends no-such-package")
        );
        assert_eq!(need("sh", "dash"), Ok(()));
    }
}
