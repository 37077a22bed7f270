//! The keys of each box, in a directory of its own: its host key, our login key, its `known_hosts`, and the
//! ssh configuration that makes ssh look at nothing else.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::PermissionsExt,
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{error::RemoteError, name::Label, text::last_words, world::Keys};

use crate::{environment, failure};

/// What the directory is called in which keys are made.
const HALF_MADE: &str = ".ssh-";

/// The directory of one box's keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyDir {
    label: Label,
    dir: Utf8PathBuf,
}

impl KeyDir {
    /// Names the directory of that box; makes nothing.
    pub(crate) fn new(state_dir: &Utf8Path, label: &Label) -> Self {
        Self {
            label: label.clone(),
            dir: state_dir.join("boxes").join(label.as_str()).join("ssh"),
        }
    }

    /// Returns the file for ssh's `-F`.
    pub(crate) fn config(&self) -> Utf8PathBuf {
        self.dir.join("config")
    }

    /// Makes the keys if there are none, and reads them.
    pub(crate) fn keys(&self) -> Result<Keys, RemoteError> {
        self.make()?;
        let read = |name: &str| {
            let path = self.dir.join(name);
            fs::read_to_string(&path).map_err(|error| here("read", &path, &error))
        };
        Ok(Keys {
            host_private: read("host_key")?,
            host_public: read("host_key.pub")?.trim().to_owned(),
            login_public: read("login_key.pub")?.trim().to_owned(),
            login_file: self.dir.join("login_key"),
        })
    }

    /// Makes the directory with all that is in it. It appears complete or not at all, and the first of two
    /// processes wins.
    pub(crate) fn make(&self) -> Result<(), RemoteError> {
        if self.dir.is_dir() {
            return Ok(());
        }
        let parent = self.dir.parent().unwrap_or(&self.dir);
        fs::create_dir_all(parent).map_err(|error| here("make", parent, &error))?;
        let temp = tempfile::Builder::new()
            .prefix(HALF_MADE)
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(parent)
            .map_err(|error| here("make a directory in", parent, &error))?;
        let temp_dir = Utf8Path::from_path(temp.path()).unwrap_or(parent);
        generate(&temp_dir.join("host_key"), &self.label)?;
        generate(&temp_dir.join("login_key"), &self.label)?;
        let public_file = temp_dir.join("host_key.pub");
        let public = fs::read_to_string(&public_file).map_err(|error| here("read", &public_file, &error))?;
        write_private(&temp_dir.join("known_hosts"), &known_line(&self.label, &public)?)?;
        write_private(&temp_dir.join("config"), &self.config_text()?)?;
        match fs::rename(temp.path(), &self.dir) {
            Ok(()) => Ok(()),
            Err(_) if self.dir.is_dir() => Ok(()),
            Err(error) => Err(here("make", &self.dir, &error)),
        }
    }

    /// Makes `host_keys` the only ones that count.
    pub(crate) fn pin(&self, host_keys: &[String]) -> Result<(), RemoteError> {
        let lines: Result<String, RemoteError> =
            host_keys.iter().map(|key| known_line(&self.label, key)).collect();
        let lines = lines?;
        if lines.is_empty() {
            return Err(not_a_key(&self.label));
        }
        self.make()?;
        write_private(&self.dir.join("known_hosts"), &lines)
    }

    /// Deletes the keys, and what a process that was killed while it made them left half-made.
    pub(crate) fn forget(&self) -> Result<(), RemoteError> {
        let parent = self.dir.parent().unwrap_or(&self.dir);
        let beside = parent.read_dir_utf8().into_iter().flatten().flatten();
        let half_made = beside.filter(|entry| entry.file_name().starts_with(HALF_MADE));
        for dir in half_made
            .map(|entry| entry.path().to_owned())
            .chain([self.dir.clone()])
        {
            match fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(here("delete", &dir, &error));
                }
                _ => {}
            }
        }
        // Kept when something else lies there.
        let _ = fs::remove_dir(parent);
        Ok(())
    }

    fn config_text(&self) -> Result<String, RemoteError> {
        let path = |name: &str| config_path(&self.dir.join(name));
        Ok(format!(
            "# Made by twolane for the box {label}; written once.\n\
             Host *\n\
             \x20 HostKeyAlias {label}\n\
             \x20 UserKnownHostsFile {known_hosts}\n\
             \x20 GlobalKnownHostsFile /dev/null\n\
             \x20 StrictHostKeyChecking yes\n\
             \x20 UpdateHostKeys no\n\
             \x20 CheckHostIP no\n\
             \x20 VerifyHostKeyDNS no\n\
             \x20 IdentityFile {login_key}\n\
             \x20 IdentitiesOnly yes\n\
             \x20 IdentityAgent none\n\
             \x20 PreferredAuthentications publickey\n\
             \x20 PasswordAuthentication no\n\
             \x20 KbdInteractiveAuthentication no\n\
             \x20 ForwardAgent no\n\
             \x20 ForwardX11 no\n\
             \x20 ServerAliveInterval 30\n\
             \x20 ServerAliveCountMax 3\n\
             \x20 ConnectTimeout 15\n\
             \x20 ConnectionAttempts 1\n",
            label = self.label,
            known_hosts = path("known_hosts")?,
            login_key = path("login_key")?,
        ))
    }
}

/// Writes a path as ssh's configuration reads it back.
fn config_path(path: &Utf8Path) -> Result<String, RemoteError> {
    let text = path.as_str();
    if text.contains(['"', '\\', '\n', '\r']) || text.contains("${") {
        return Err(RemoteError::Here(format!(
            "ssh cannot take the path {text:?}; choose a --state-dir without quotes, backslashes and `${{`"
        )));
    }
    Ok(format!("\"{}\"", text.replace('%', "%%")))
}

fn known_line(label: &Label, host_key: &str) -> Result<String, RemoteError> {
    let mut words = host_key.split_ascii_whitespace();
    let (Some(kind), Some(key)) = (words.next(), words.next()) else {
        return Err(not_a_key(label));
    };
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let is_kind = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '@');
    if !kind.chars().all(is_kind) || kind.starts_with('@') || !key.chars().all(is_base64) {
        return Err(not_a_key(label));
    }
    if host_key.trim().lines().count() != 1 {
        return Err(not_a_key(label));
    }
    Ok(format!("{label} {kind} {key}\n"))
}

fn not_a_key(label: &Label) -> RemoteError {
    RemoteError::Here(format!(
        "what was given as the host key of box {label} is not a public key"
    ))
}

fn generate(file: &Utf8Path, label: &Label) -> Result<(), RemoteError> {
    let output = environment::clean(&mut std::process::Command::new("ssh-keygen"))
        .args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            label.as_str(),
            "-f",
            file.as_str(),
        ])
        .stdin(std::process::Stdio::null())
        .output()
        .map_err(|error| failure::of_start("ssh-keygen", &error))?;
    if !output.status.success() {
        let said = last_words(&String::from_utf8_lossy(&output.stderr));
        return Err(RemoteError::Here(format!(
            "ssh-keygen could not make {file}: {said}"
        )));
    }
    let public = Utf8PathBuf::from(format!("{file}.pub"));
    fs::set_permissions(&public, fs::Permissions::from_mode(0o600))
        .map_err(|error| here("protect", &public, &error))
}

/// Replaces a file with mode 0600; whoever reads it sees the old or the new text.
fn write_private(path: &Utf8Path, text: &str) -> Result<(), RemoteError> {
    let write = || {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|error| here("write", path, &error))
}

fn here(verb: &str, path: &Utf8Path, error: &io::Error) -> RemoteError {
    RemoteError::Here(format!("could not {verb} {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_dir(temp: &tempfile::TempDir) -> KeyDir {
        KeyDir::new(
            Utf8Path::from_path(temp.path()).unwrap(),
            &Label::new("m1").unwrap(),
        )
    }

    fn mode(path: &Utf8Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_stay_and_only_we_can_read_them() {
        let temp = tempfile::tempdir().unwrap();
        let dir = key_dir(&temp);
        let keys = dir.keys().unwrap();
        assert_eq!(keys, dir.keys().unwrap());
        assert!(keys.host_public.starts_with("ssh-ed25519 ") && keys.host_public.ends_with(" m1"));
        assert_ne!(keys.host_public, keys.login_public);
        assert_eq!(mode(&dir.dir), 0o700);
        for entry in fs::read_dir(&dir.dir).unwrap() {
            let path = Utf8PathBuf::from_path_buf(entry.unwrap().path()).unwrap();
            assert_eq!(mode(&path), 0o600, "{path}");
        }
    }

    #[test]
    fn two_at_once_get_the_same_keys() {
        let temp = tempfile::tempdir().unwrap();
        let dir = key_dir(&temp);
        let all: Vec<Keys> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| dir.keys().unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
        let beside = fs::read_dir(dir.dir.parent().unwrap()).unwrap().count();
        assert_eq!(beside, 1, "no temporary directory is left");
    }

    #[test]
    fn pin_replaces_the_only_line() {
        let temp = tempfile::tempdir().unwrap();
        let dir = key_dir(&temp);
        let made = dir.keys().unwrap().host_public;
        let known = || fs::read_to_string(dir.dir.join("known_hosts")).unwrap();
        assert_eq!(known(), format!("m1 {}\n", made.trim_end_matches(" m1")));
        dir.pin(&["ssh-ed25519 AAAAnew root@box\n".to_owned()]).unwrap();
        assert_eq!(known(), "m1 ssh-ed25519 AAAAnew\n");
        for hostile in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA\n* ssh-rsa BBBB",
            "@revoked AAAA",
            "a, b",
        ] {
            assert!(dir.pin(&[hostile.to_owned()]).is_err(), "{hostile:?}");
        }
        assert!(dir.pin(&[]).is_err());
        assert_eq!(known(), "m1 ssh-ed25519 AAAAnew\n");
    }

    #[test]
    fn forget_deletes_and_may_be_repeated() {
        let temp = tempfile::tempdir().unwrap();
        let dir = key_dir(&temp);
        dir.keys().unwrap();
        fs::create_dir(temp.path().join("boxes/m1/.ssh-half")).unwrap();
        dir.forget().unwrap();
        dir.forget().unwrap();
        assert!(!temp.path().join("boxes/m1").exists());
    }

    #[test]
    fn paths_that_ssh_would_read_otherwise_are_escaped_or_refused() {
        assert_eq!(config_path("/a b/100%".into()).unwrap(), "\"/a b/100%%\"");
        assert!(config_path("/a\"b".into()).is_err());
        assert!(config_path("/a${HOME}".into()).is_err());
    }

    /// What a provider says to be a host key becomes one line of `known_hosts`, for its box alone, or none.
    #[test]
    fn host_key_of_any_kind_is_one_line_or_refused() {
        let corpus: &[&[u8]] = &[
            b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl root@web",
            b"ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY=\n",
            b"@cert-authority * ssh-ed25519 AAAAC3Nz\nother ssh-ed25519 AAAAC3Nz",
        ];
        let label = Label::new("web").unwrap();
        let read = |input: &[u8]| {
            if let Ok(line) = known_line(&label, &String::from_utf8_lossy(input)) {
                let words: Vec<&str> = line.split(' ').collect();
                assert_eq!((words.len(), words[0]), (3, "web"), "{line}");
                assert!(line.ends_with('\n') && line.lines().count() == 1, "{line}");
                assert!(line.chars().all(|c| c == '\n' || !c.is_control()), "{line:?}");
            }
        };
        fuzz::check(&[("host keys", corpus, &read)], 2_000);
    }
}
