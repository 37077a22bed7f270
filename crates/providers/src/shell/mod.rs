//! Shell adapters: a file `NAME.sh` with four functions is a provider of that name.
//!
//! Such a provider can list nothing, so that a record of each box is kept here: for which run it was asked for, and
//! whether `provider_up` came to its end. `docs/shell-adapters.md` has the contract as its users see it.

mod address;
mod call;
mod check;
mod confine;
mod dry;
mod processes;
mod record;
mod settings;

use std::{io::Write, net::IpAddr, os::unix::fs::OpenOptionsExt, sync::OnceLock};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    candidate::Fallback,
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Gone, Machine, ResourceKind},
    name::{Label, ProviderName, RunId},
    order::Order,
    profile::Profile,
    selector::Selector,
    world::{Finding, Preflight, Progress, Provider},
};

pub use check::{Checked, FUNCTIONS, Mistake, check, name_of};
pub use record::recorded;
pub use settings::ShellSettings;

use self::record::{Record, State};
use crate::local::{BoxDir, LocalError, Lock};

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "only by its own timer, which powers it off at its deadline; twolane cannot list what an \
     adapter makes, and whether a box that is off still costs something is its provider's word";

/// Gives boxes by way of an adapter. The file is not read before something is asked of it.
#[derive(Debug)]
pub struct Shell {
    profile: Profile,
    file: Utf8PathBuf,
    state_dir: Utf8PathBuf,
    settings: ShellSettings,
    checked: OnceLock<Result<Checked, Vec<Mistake>>>,
}

/// An adapter that keeps to the contract, and the bash that runs it.
struct Ready {
    bash: Utf8PathBuf,
    file: Utf8PathBuf,
}

impl Shell {
    /// Makes a provider of a file, or says what is wrong with the file's name. Records are kept in `state_dir`.
    pub fn new(file: &Utf8Path, state_dir: &Utf8Path, settings: ShellSettings) -> Result<Self, Mistake> {
        let absolute = |path: &Utf8Path| camino::absolute_utf8(path).unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            profile: Profile {
                // What a failed `provider_up` asked for may turn up after the first `provider_down`: then the second
                // takes it.
                listing_lag: settings.settling,
                ..Profile::new(name_of(file)?.as_str(), &[], DEAD_MANS_SWITCH)
            },
            file: absolute(file),
            state_dir: absolute(state_dir),
            settings,
            checked: OnceLock::new(),
        })
    }

    /// Returns the name of the provider.
    pub fn name(&self) -> &ProviderName {
        &self.profile.name
    }

    /// Holds the file to the contract, once.
    fn checked(&self) -> Result<&Checked, &Vec<Mistake>> {
        self.checked
            .get_or_init(|| check(&self.file, &self.settings))
            .as_ref()
    }

    /// Sees that a file keeps to the contract as it is now.
    async fn ready(&self, file: &Utf8Path) -> Result<Ready, LocalError> {
        let known = self.checked.get().and_then(|checked| checked.as_ref().ok());
        let is_known = known.is_some_and(|known| {
            *file == self.file && std::fs::read(file).is_ok_and(|bytes| bytes == known.text.as_bytes())
        });
        let (of, settings) = (file.to_owned(), self.settings.clone());
        let bash = tokio::task::spawn_blocking(move || {
            if !is_known {
                check(&of, &settings)?;
            }
            check::bash(&settings).map_err(|mistake| vec![mistake])
        })
        .await
        .map_err(|error| LocalError::system("check the adapter", error))?
        .map_err(|mistakes| broken(file, &mistakes))?;
        Ok(Ready {
            bash,
            file: file.to_owned(),
        })
    }

    fn directory_of(&self, label: &Label) -> BoxDir {
        BoxDir::named(&self.state_dir, label, &record::directory(self.name()))
    }

    async fn make(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, LocalError> {
        let ready = self.ready(&self.file).await?;
        let label = &order.tags.label;
        let lock = self.directory_of(label).make_and_lock().await?;
        if let Some(record) = Record::of(lock.directory())? {
            if record.run != order.tags.run {
                return Err(taken(label, &record.run));
            }
            if let State::Up { address } = record.state {
                return Ok(self.machine(&record, address));
            }
            // An earlier attempt of this run was cut off. One box of a label at a time.
            let theirs = self.ready(&record.file).await?;
            self.destroy(&theirs, label.as_str(), Some(&record), progress)
                .await?;
        }
        let mut record = Record::new(&self.file, order);
        lock.write(&record)?;
        write_private(&lock.directory().file(USER_DATA), &order.user_data)?;
        let made = self.create(&ready, order, lock.directory(), progress).await;
        let _ = std::fs::remove_file(lock.directory().file(USER_DATA));
        match made {
            Ok(address) => {
                record.state = State::Up { address };
                lock.write(&record)?;
                Ok(self.machine(&record, address))
            }
            Err(error) => Err(self.clean_up(&ready, lock, record, error, progress).await),
        }
    }

    /// Has `provider_up` make a box, and returns its address.
    async fn create(
        &self,
        ready: &Ready,
        order: &Order,
        directory: &BoxDir,
        progress: &dyn Progress,
    ) -> Result<IpAddr, LocalError> {
        let user_data = directory.file(USER_DATA).into_string();
        let call = call::Call {
            bash: &ready.bash,
            file: &ready.file,
            function: check::UP,
            arguments: vec![order.tags.label.to_string(), user_data],
            environment: vec![
                ("REGION", order.candidate.region.clone()),
                ("INSTANCE_TYPE", order.candidate.instance_type.clone()),
                (
                    "BOOT_DISK_SIZE",
                    order
                        .candidate
                        .disk_gb
                        .map_or(String::new(), |gib| gib.to_string()),
                ),
                ("SSH_PUBKEY", order.login_key.clone()),
                ("TWOLANE_DEADLINE", order.tags.deadline.unix().to_string()),
                ("TWOLANE_ALLOW_CIDR", order.allow.join(",")),
            ],
            time_max: self.settings.up_max,
            may_leave_daemons: true,
        };
        let ended = call
            .run(progress)
            .await
            .map_err(|e| LocalError::system(format!("run {}", ready.bash), e))?;
        match ended.status {
            None => Err(LocalError::new(
                ErrorKind::Unanswered,
                format!("{} {}", check::UP, ended.how(call.time_max)),
            )),
            Some(status) if !status.success() => Err(LocalError::invalid(format!(
                "{} {}",
                check::UP,
                ended.how(call.time_max)
            ))),
            Some(_) if ended.stdout_bytes > call::STDOUT_MAX => Err(LocalError::invalid(format!(
                "{} wrote {} bytes to standard output, where its box's address is looked for",
                check::UP,
                ended.stdout_bytes
            ))
            .with_help("what it has to say otherwise belongs to standard error: `… >&2`")),
            Some(_) => address::address(&ended.stdout, self.settings.has_route)
                .map_err(|why| LocalError::invalid(format!("{}: {why}", check::UP)).with_help(LAST_LINE)),
        }
    }

    /// Destroys what a failed `provider_up` may have made, and adds to the failure what came of that.
    async fn clean_up(
        &self,
        ready: &Ready,
        lock: Lock,
        record: Record,
        error: LocalError,
        progress: &dyn Progress,
    ) -> LocalError {
        let label = &record.label;
        let cleaned = match self.destroy(ready, label.as_str(), Some(&record), progress).await {
            Ok(()) => self.settle(lock, record),
            Err(failed) => Err(failed),
        };
        match cleaned {
            Ok(_) => error,
            Err(failed) => LocalError {
                cause: format!(
                    "{}\nand what it made may still stand: {}",
                    error.cause, failed.cause
                ),
                ..error
            },
        }
    }

    /// Has `provider_down` destroy the box of a label, or with an empty one every box.
    async fn destroy(
        &self,
        ready: &Ready,
        label: &str,
        record: Option<&Record>,
        progress: &dyn Progress,
    ) -> Result<(), LocalError> {
        let environment = record.map_or(Vec::new(), |record| {
            vec![
                ("REGION", record.region.clone()),
                ("INSTANCE_TYPE", record.instance_type.clone()),
            ]
        });
        let call = call::Call {
            bash: &ready.bash,
            file: &ready.file,
            function: check::DOWN,
            arguments: vec![label.to_owned()],
            environment,
            time_max: self.settings.down_max,
            may_leave_daemons: false,
        };
        let ended = call
            .run(progress)
            .await
            .map_err(|e| LocalError::system(format!("run {}", ready.bash), e))?;
        let kind = match ended.status {
            Some(status) if status.success() => return Ok(()),
            // A program is missing, or cannot be run: trying again does not bring it.
            Some(status) if matches!(status.code(), Some(126 | 127)) => ErrorKind::Invalid,
            Some(_) => ErrorKind::Unavailable,
            None => ErrorKind::Unanswered,
        };
        Err(LocalError::new(
            kind,
            format!("{} {}", check::DOWN, ended.how(call.time_max)),
        ))
    }

    /// Takes down in the record that `provider_down` has succeeded. Where `provider_up` gave no address, what it asked for
    /// may turn up, or be listed, only now: the record stays until `provider_down` has succeeded a while later too.
    fn settle(&self, lock: Lock, mut record: Record) -> Result<Vec<Gone>, LocalError> {
        let now = record::now();
        match record.state {
            State::Asked => {
                record.state = State::Cleared { since: now };
                lock.write(&record)?;
                Ok(Vec::new())
            }
            State::Cleared { since } if now < since.saturating_add(self.settings.settling.as_secs()) => {
                Ok(Vec::new())
            }
            State::Up { .. } | State::Cleared { .. } => {
                lock.delete()?;
                Ok(vec![Gone {
                    kind: ResourceKind::Machine,
                    id: record.label.to_string(),
                }])
            }
        }
    }

    /// Destroys the box of that label; with `run` only if it was made for that run.
    async fn end(
        &self,
        label: &Label,
        run: Option<&RunId>,
        progress: &dyn Progress,
    ) -> Result<Vec<Gone>, LocalError> {
        let lock = self.directory_of(label).lock().await?;
        let record = match &lock {
            Some(lock) => Record::of(lock.directory())?,
            None => None,
        };
        match (lock, record) {
            (_, Some(record)) if run.is_some_and(|run| *run != record.run) => Ok(Vec::new()),
            (Some(lock), Some(record)) => {
                // The adapter that made it: another project may have one of the same name.
                let ready = self.ready(&record.file).await?;
                self.destroy(&ready, label.as_str(), Some(&record), progress)
                    .await?;
                let _ = std::fs::remove_file(lock.directory().file(USER_DATA));
                self.settle(lock, record)
            }
            (lock, _) => {
                // The record is written before `provider_up` begins: this machine has asked for no such box. Another
                // one may have, for a run of its own.
                if run.is_none() {
                    let ready = self.ready(&self.file).await?;
                    self.destroy(&ready, label.as_str(), None, progress).await?;
                }
                lock.map_or(Ok(()), Lock::delete)?;
                Ok(Vec::new())
            }
        }
    }

    async fn end_all(&self, progress: &dyn Progress) -> Result<Vec<Gone>, LocalError> {
        let ready = self.ready(&self.file).await?;
        let mut known = Vec::new();
        for label in record::labels(&self.state_dir, self.name())? {
            if let Some(lock) = self.directory_of(&label).lock().await? {
                let record = Record::of(lock.directory())?;
                if record.as_ref().is_none_or(|record| record.file == self.file) {
                    known.push((lock, record));
                }
            }
        }
        self.destroy(&ready, "", None, progress).await?;
        let mut gone = Vec::new();
        for (lock, record) in known {
            match record {
                Some(record) => gone.extend(self.settle(lock, record)?),
                None => lock.delete()?,
            }
        }
        Ok(gone)
    }

    fn machine(&self, record: &Record, address: IpAddr) -> Machine {
        let label = &record.label;
        Machine {
            label: label.clone(),
            provider: self.profile.name.clone(),
            id: label.to_string(),
            region: record.region.clone(),
            instance_type: record.instance_type.clone(),
            address,
            port: SSH_PORT,
            jump: None,
            host_key: None,
            note: Some(format!("made by {}", self.file)),
        }
    }

    fn during(&self, error: LocalError, operation: &str) -> ProviderError {
        ProviderError {
            kind: error.kind,
            provider: self.profile.name.clone(),
            operation: operation.to_owned(),
            cause: error.cause,
            help: error.help,
        }
    }
}

/// The file that an adapter is given, in the box's directory.
const USER_DATA: &str = "user-data";

const SSH_PORT: u16 = 22;

const LAST_LINE: &str = "the last line on standard output is the address and nothing else; all other output goes to standard error: `… >&2`";

#[async_trait]
impl Provider for Shell {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn choices(&self) -> &[Fallback] {
        self.checked()
            .map_or(&[], |checked| std::slice::from_ref(&checked.default))
    }

    async fn up(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, ProviderError> {
        self.make(order, progress)
            .await
            .map_err(|error| self.during(error, "create a box"))
    }

    async fn down(&self, selector: &Selector, progress: &dyn Progress) -> Result<Vec<Gone>, ProviderError> {
        let gone = match selector {
            Selector::Label(label) => self.end(label, None, progress).await,
            Selector::OfRun(label, run) => self.end(label, Some(run), progress).await,
            Selector::AllOurs => self.end_all(progress).await,
        };
        gone.map_err(|error| self.during(error, "destroy a box"))
    }

    /// What an adapter's boxes can do is unknown: the KVM gate finds out on the box.
    fn refuse(&self, _instance_type: &str, _need: KvmNeed) -> Option<ProviderError> {
        let mistakes = self.checked().err()?;
        Some(self.during(broken(&self.file, mistakes), "be used"))
    }

    fn preflight(&self) -> Option<&dyn Preflight> {
        Some(self)
    }
}

#[async_trait]
impl Preflight for Shell {
    /// Looks at the file only: what it needs of its cloud it alone knows.
    async fn preflight(&self, _instance_type: &str, _region: &str, _need: KvmNeed) -> Vec<Finding> {
        let error = self.ready(&self.file).await.err();
        vec![Finding {
            what: format!("adapter {}", self.name()),
            is_good: error.is_none(),
            found: error.as_ref().map_or_else(
                || format!("{} keeps to the contract", self.file),
                |error| error.cause.clone(),
            ),
            help: error.and_then(|error| error.help),
        }]
    }
}

fn broken(file: &Utf8Path, mistakes: &[Mistake]) -> LocalError {
    let all: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    let all = all.join("\n");
    LocalError::invalid(format!(
        "{file} does not keep to the contract of shell adapters\n{all}"
    ))
    .with_help(format!("see with: twolane providers check {file}"))
}

fn taken(label: &Label, run: &RunId) -> LocalError {
    LocalError::new(
        ErrorKind::Taken,
        format!("the label {label} belongs to run {run}"),
    )
    .with_help(format!(
        "choose another label, or destroy that box: twolane down {label}"
    ))
}

/// Writes the user-data, which holds the box's private host key.
fn write_private(path: &Utf8Path, text: &str) -> Result<(), LocalError> {
    std::fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| LocalError::system(format!("write {path}"), e))
}
