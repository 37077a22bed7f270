//! `world::Remote` on the system's OpenSSH: one shared connection for each box.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    error::RemoteError,
    name::Label,
    world::{Command, Keys, Remote, Session, Target},
};

use crate::{
    blocking::blocking,
    control, failure,
    jump::Jump,
    keys::KeyDir,
    layout::Layout,
    master::{self, NoMaster},
    probe,
    session::{Link, SshSession},
};

/// Age after which a socket's directory where nobody listens is not one that is just being made.
const LEFT_OVER: Duration = Duration::from_secs(600);

/// How long ssh may take once the server has greeted: an emulated box that is busy needs half a minute for the ciphers.
const HANDSHAKE: Duration = Duration::from_secs(60);

/// The way to all boxes of one state directory.
#[derive(Debug, Clone)]
pub struct Ssh {
    state_dir: Utf8PathBuf,
    layout: Layout,
    /// Takes the place of the operator's own configuration on the way to a machine that a box is reached through.
    jump_config: Option<Utf8PathBuf>,
}

impl Ssh {
    /// Keeps keys under `state_dir`; makes nothing yet.
    pub fn new(state_dir: Utf8PathBuf) -> Self {
        let state_dir = camino::absolute_utf8(&state_dir).unwrap_or(state_dir);
        Self {
            state_dir,
            layout: Layout::default(),
            jump_config: None,
        }
    }

    /// Puts things elsewhere on the box.
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Has another file take the place of the operator's own configuration on the way to a machine that boxes are reached through.
    pub fn with_jump_config(mut self, config: Utf8PathBuf) -> Self {
        self.jump_config = Some(config);
        self
    }

    /// Returns the program and arguments that take a person to the box, or run `command` there as ssh does.
    pub fn interactive(&self, target: &Target, command: &[String]) -> Result<Vec<String>, RemoteError> {
        let keys = KeyDir::new(&self.state_dir, &target.label);
        keys.make()?;
        let mut argv = self.options(&keys.config(), target);
        argv.extend([target.label.to_string()]);
        argv.extend_from_slice(command);
        Ok(argv)
    }

    fn key_dir(&self, label: &Label) -> KeyDir {
        KeyDir::new(&self.state_dir, label)
    }

    /// Returns `ssh` with what leads to the target, which is then called by its label.
    fn options(&self, config: &Utf8Path, target: &Target) -> Vec<String> {
        let address = format!("HostName={}", target.address);
        let port = target.port.to_string();
        let direct = [
            "ssh",
            "-F",
            config.as_str(),
            "-p",
            &port,
            "-l",
            &target.user,
            "-o",
            &address,
        ];
        let mut argv = direct.map(str::to_owned).to_vec();
        if let Some(jump) = self.jump(target) {
            argv.extend(["-o".to_owned(), format!("ProxyCommand={}", jump.proxy_command())]);
        }
        argv
    }

    fn jump<'a>(&'a self, target: &'a Target) -> Option<Jump<'a>> {
        Some(Jump {
            through: target.jump.as_ref()?,
            to: SocketAddr::new(target.address, target.port),
            config: self.jump_config.as_deref(),
        })
    }

    /// Connects by `ssh`, with all its options and the name of the box at `address`.
    async fn shared(
        &self,
        ssh: &[String],
        address: IpAddr,
    ) -> Result<openssh::Session, Result<RemoteError, NoSharing>> {
        let state_dir = self.state_dir.clone();
        let control = blocking(move || {
            let dir = control::directory(&state_dir)?;
            control::sweep(&dir, LEFT_OVER);
            Ok(dir)
        })
        .await
        .map_err(|_| Err(NoSharing))?;
        match tokio::time::timeout(HANDSHAKE, master::launch(ssh, &control)).await {
            Ok(Ok(dir)) => Ok(openssh::Session::new_native_mux(dir)),
            Ok(Err(error)) => Err(failure_of_master(error)),
            Err(_) => Err(Ok(RemoteError::Mute {
                greeted: true,
                why: format!(
                    "{address} greeted and then did not go on for {} s",
                    HANDSHAKE.as_secs()
                ),
            })),
        }
    }
}

/// A connection cannot be shared here.
struct NoSharing;

fn failure_of_master(error: NoMaster) -> Result<RemoteError, NoSharing> {
    match error {
        NoMaster::NoProgram(cause) if cause.kind() == io::ErrorKind::NotFound => {
            Ok(failure::of_start("ssh", &cause))
        }
        NoMaster::NoPlace => Err(NoSharing),
        NoMaster::Failed(words) if failure::is_of_multiplexing(&words) => Err(NoSharing),
        NoMaster::Failed(words) => Ok(failure::of_connect(&words)),
        NoMaster::NoProgram(cause) => Ok(failure::of_connect(&cause.to_string())),
    }
}

#[async_trait]
impl Remote for Ssh {
    async fn keys(&self, label: &Label) -> Result<Keys, RemoteError> {
        let keys = self.key_dir(label);
        blocking(move || keys.keys()).await
    }

    async fn connect(&self, target: &Target) -> Result<Arc<dyn Session>, RemoteError> {
        match self.jump(target) {
            Some(jump) => jump.greeting().await?,
            None => probe::greeting(SocketAddr::new(target.address, target.port)).await?,
        }
        let keys = self.key_dir(&target.label);
        let config = keys.config();
        blocking(move || keys.make()).await?;
        let mut ssh = self.options(&config, target);
        let host = target.label.to_string();
        let layout = self.layout.clone();
        let to_host = [&ssh[..], std::slice::from_ref(&host)].concat();
        let shared = self.shared(&to_host, target.address).await;
        ssh.extend(["-o", "BatchMode=yes", "-o", "ControlMaster=no", "-S"].map(str::to_owned));
        match shared {
            Ok(shared) => {
                ssh.push(shared.control_socket().to_string_lossy().into_owned());
                Ok(Arc::new(SshSession {
                    link: Link::Shared(shared),
                    ssh,
                    host,
                    layout,
                }))
            }
            Err(Ok(error)) => Err(error),
            Err(Err(NoSharing)) => {
                ssh.push("none".to_owned());
                let session = SshSession {
                    link: Link::Plain,
                    ssh,
                    host,
                    layout,
                };
                match session.run_plain(&Command::new(["true"])).await {
                    Ok(_) => Ok(Arc::new(session)),
                    Err(RemoteError::Lost(words)) => Err(failure::of_connect(&words)),
                    Err(error) => Err(error),
                }
            }
        }
    }

    async fn pin(&self, label: &Label, host_keys: &[String]) -> Result<(), RemoteError> {
        let (keys, host_keys) = (self.key_dir(label), host_keys.to_vec());
        blocking(move || keys.pin(&host_keys)).await
    }

    async fn forget(&self, label: &Label) -> Result<(), RemoteError> {
        let keys = self.key_dir(label);
        blocking(move || keys.forget()).await
    }
}
