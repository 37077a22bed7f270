//! The traits through which everything outside of the decisions is seen. The engine awaits nothing else,
//! so that the simulator can stand in for the whole world, and can stop it at every await.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    build::{BuildOrder, Built},
    candidate::Fallback,
    error::{JournalError, ProviderError, RemoteError},
    event::{Event, EventRecord},
    host::Address,
    journal::{Entry, Fact, Holdings},
    lane::KvmNeed,
    limits::{Budget, Limits},
    machine::{Gone, Health, Listed, Machine},
    money::Money,
    name::{Label, ProviderName, RunId},
    order::Order,
    price::{Billed, Quote},
    profile::Profile,
    scope::{Destroyed, Inventory, Scope},
    selector::Selector,
    source::{Source, Synced},
    time::{Deadline, Timestamp, between},
};

/// All that the engine sees.
#[derive(Clone)]
pub struct World {
    /// The providers, by name.
    pub providers: BTreeMap<ProviderName, Arc<dyn Provider>>,
    /// The way to the boxes.
    pub remote: Arc<dyn Remote>,
    /// The record of what may exist.
    pub journal: Arc<dyn Journal>,
    /// Time and chance.
    pub clock: Arc<dyn Clock>,
    /// Where events go.
    pub events: Arc<dyn Events>,
    /// Whether the user wants to stop.
    pub stop: Arc<dyn Stop>,
    /// Where results are put.
    pub files: Arc<dyn Files>,
    /// What compiles tests here.
    pub builder: Arc<dyn Builder>,
    /// The directory of all runs' results; a path only, for [`Files`] and [`Session::fetch`].
    pub runs: Utf8PathBuf,
    /// The operator's environment, of which checks get what they name. Nothing of it is recorded.
    pub environment: BTreeMap<String, String>,
}

/// Where results are put.
#[async_trait]
pub trait Files: Send + Sync {
    /// Writes a file, and the directories above it.
    async fn write(&self, path: &Utf8Path, bytes: &[u8]) -> Result<(), String>;
}

/// Compiles tests on this machine.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Compiles the tests of a source and packs them; or says why that cannot be. May be repeated, and stopped at any time.
    async fn build(&self, order: &BuildOrder, progress: &dyn Progress) -> Result<Built, String>;
}

/// One place that provisions boxes. The four operations are the contract; what else it may be able to do
/// is a trait of its own, handed out as an `Option`.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Returns its facts.
    fn profile(&self) -> &Profile;

    /// Returns instance types with their regions, as the profile names them; or as a file does that has to be read first.
    /// Empty: that file is broken, and `refuse` says how.
    fn choices(&self) -> &[Fallback] {
        &self.profile().choices
    }

    /// Returns the instance type and the region of an order that names none.
    fn default_choice(&self) -> (&str, &str) {
        let first = self.choices().first();
        first.map_or(("", ""), |first| (&first.instance_type, &first.region))
    }

    /// Returns once the provider has answered whether there is a box of the order's label, and makes nothing: until then
    /// nothing has to be remembered of the order, nor be looked for. The order has neither user-data nor a key yet, and of its
    /// tags only label and run count. Where it answers that there is none, the next [`Provider::up`] of that label and run need
    /// not ask again.
    async fn answers(&self, _order: &Order, _progress: &dyn Progress) -> Result<(), ProviderError> {
        Ok(())
    }

    /// Makes the box, or adopts the one that exists with the same label and run.
    /// Returns when it has an address; whether SSH answers there is not its business.
    async fn up(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, ProviderError>;

    /// Destroys what is meant, and everything that was made with it. Returns what it found, once the provider
    /// no longer lists any of it. Destroying what is gone succeeds, with an empty list.
    async fn down(&self, selector: &Selector, progress: &dyn Progress) -> Result<Vec<Gone>, ProviderError>;

    /// Destroys what is meant as `down` does, in the scope's regions first, and says where it could not look.
    async fn destroy(&self, scope: &Scope, progress: &dyn Progress) -> Result<Destroyed, ProviderError> {
        let gone = self.down(&scope.selector, progress).await?;
        Ok(Destroyed {
            gone,
            gaps: Vec::new(),
        })
    }

    /// Refuses, with the reason, an order that can never succeed. Makes no call that costs anything.
    fn refuse(&self, _instance_type: &str, _need: KvmNeed) -> Option<ProviderError> {
        None
    }

    /// Looks once at a box that was up, and says how it is. Asks the provider and never the box.
    async fn health(&self, _machine: &Machine) -> Result<Health, ProviderError> {
        Ok(Health::Unknown)
    }

    /// Returns the host key that a box has reported to its provider by now. Asks the provider and never the box.
    async fn host_key(&self, _machine: &Machine) -> Result<Option<String>, ProviderError> {
        Ok(None)
    }

    /// Returns for how long from now on what was made of this may be missing from lists. Of what this process did not
    /// make itself nobody knows how old it is: clocks are set, and differ.
    fn unlisted_for(&self, _which: &Selector) -> Duration {
        self.profile().listing_lag
    }

    /// Returns when its credentials expire, where that is known and nothing renews them.
    fn expiry(&self) -> Option<Timestamp> {
        None
    }

    /// Lists what is ours, by tag.
    fn listing(&self) -> Option<&dyn Listing> {
        None
    }

    /// Says before a run whether it could work.
    fn preflight(&self) -> Option<&dyn Preflight> {
        None
    }

    /// Knows what an hour costs.
    fn prices(&self) -> Option<&dyn Prices> {
        None
    }

    /// Reads the serial console of a box.
    fn console(&self) -> Option<&dyn Console> {
        None
    }

    /// Destroys a box at its deadline by itself, and can move that deadline.
    fn own_deadline(&self) -> Option<&dyn OwnDeadline> {
        None
    }
}

/// Lists what is ours.
#[async_trait]
pub trait Listing: Send + Sync {
    /// Returns everything that carries our tag, of each kind, in all regions, all pages.
    async fn list(&self) -> Result<Vec<Listed>, ProviderError>;

    /// Returns the same, with the parts of the provider in which nobody could look.
    async fn inventory(&self) -> Result<Inventory, ProviderError> {
        Ok(Inventory {
            things: self.list().await?,
            gaps: Vec::new(),
        })
    }

    /// Returns the moment by the provider's own clock, where its last answer reported it: boxes are judged by that.
    fn now(&self) -> Option<Timestamp> {
        None
    }
}

/// Says before a run whether it could work.
#[async_trait]
pub trait Preflight: Send + Sync {
    /// Looks at tools, keys, credentials, quota and KVM; creates nothing.
    async fn preflight(&self, instance_type: &str, region: &str, need: KvmNeed) -> Vec<Finding>;
}

/// One line of `twolane doctor`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at, such as `qemu`.
    pub what: String,
    /// Whether it will do.
    pub is_good: bool,
    /// What was found.
    pub found: String,
    /// What to do about it, when it will not do.
    pub help: Option<String>,
}

/// Knows what an hour costs.
#[async_trait]
pub trait Prices: Send + Sync {
    /// Returns the price of an hour and the day it was true on (`2026-11-23`), from a table or from the provider.
    /// None: not known for this type.
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)>;

    /// Returns whether the provider can be asked for its prices with what it is used with.
    fn reports(&self) -> bool {
        false
    }

    /// Asks the provider what an hour of a type costs in a region. None: it names no price for it.
    async fn ask(&self, _instance_type: &str, _region: &str) -> Result<Option<Money>, ProviderError> {
        Ok(None)
    }

    /// From now on these prices count in place of the table's.
    fn take(&self, _quotes: Vec<Quote>) {}

    /// Returns what of a begun hour is on the bill: all of it, unless the provider says otherwise.
    fn billed(&self) -> Billed {
        Billed::default()
    }
}

/// Reads the serial console of a box.
#[async_trait]
pub trait Console: Send + Sync {
    /// Returns what the console has shown, the last part of it where the provider keeps no more.
    async fn console(&self, label: &Label) -> Result<Vec<u8>, ProviderError>;
}

/// Destroys a box at its deadline by itself.
#[async_trait]
pub trait OwnDeadline: Send + Sync {
    /// Moves the deadline of a box, in its tags and in the provider's own switch.
    async fn move_deadline(&self, label: &Label, deadline: Deadline) -> Result<(), ProviderError>;
}

/// Reported by whoever does something that takes longer than two seconds.
pub trait Progress: Send + Sync {
    /// Says what is being done, and how far it is (`done` of `total`) where that is known.
    fn report(&self, message: &str, amount: Option<(u64, u64)>);
}

/// For calls that nobody waits for.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _message: &str, _amount: Option<(u64, u64)>) {}
}

/// The way to the boxes.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Returns the keys of the box of that label; makes them when there are none.
    async fn keys(&self, label: &Label) -> Result<Keys, RemoteError>;

    /// Tries once to connect. The host key must be the pinned one.
    async fn connect(&self, target: &Target) -> Result<Arc<dyn Session>, RemoteError>;

    /// From now on only these host keys (public, `ssh-ed25519 AAAA…`) count for the box of that label.
    async fn pin(&self, label: &Label, host_keys: &[String]) -> Result<(), RemoteError>;

    /// Deletes the keys of a box that is gone.
    async fn forget(&self, label: &Label) -> Result<(), RemoteError>;
}

/// The keys of one box.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The host key that goes into the user-data, in OpenSSH's private form.
    pub host_private: String,
    /// The same, public: `ssh-ed25519 AAAA… label`.
    pub host_public: String,
    /// The login key, public.
    pub login_public: String,
    /// The file that holds the private login key, mode 0600.
    pub login_file: Utf8PathBuf,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys")
            .field("host_public", &self.host_public)
            .finish_non_exhaustive()
    }
}

/// Where a box answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whose keys and `known_hosts` count.
    pub label: Label,
    /// The address of its SSH server.
    pub address: IpAddr,
    /// The port of its SSH server.
    pub port: u16,
    /// The machine through which that address is reached; none where it is reached directly.
    pub jump: Option<Address>,
    /// The user to log in as.
    pub user: String,
}

impl Target {
    /// Returns the way into a machine as `root`.
    pub fn root_of(machine: &Machine) -> Self {
        Self {
            label: machine.label.clone(),
            address: machine.address,
            port: machine.port,
            jump: machine.jump.clone(),
            user: "root".to_owned(),
        }
    }
}

/// An open connection to a box. Dropping it closes the connection, and ends nothing on the box that has a unit of its own.
#[async_trait]
pub trait Session: Send + Sync {
    /// Runs a command to its end. A command that ends with a failure is an `Output`, not an error.
    async fn run(&self, command: &Command) -> Result<Output, RemoteError>;

    /// Makes the box's directory of that source equal to what git would carry of it here, owned by its user.
    async fn sync(&self, source: &Source, progress: &dyn Progress) -> Result<Synced, RemoteError>;

    /// Copies a directory with everything in it to the box, as root, and deletes there what is not here.
    async fn send_dir(
        &self,
        from: &Utf8Path,
        to: &str,
        progress: &dyn Progress,
    ) -> Result<Synced, RemoteError>;

    /// Copies files into a directory on the box, as root.
    async fn send_files(
        &self,
        from: &[Utf8PathBuf],
        to: &str,
        progress: &dyn Progress,
    ) -> Result<Synced, RemoteError>;

    /// Copies files or directories from the box into a directory here. What is not there is left out.
    /// What is over the limits, or more than the run may still take, is left there.
    async fn fetch(
        &self,
        from: &[String],
        to: &Utf8Path,
        limits: (&Limits, &Budget),
    ) -> Result<Fetched, RemoteError>;
}

/// What came from a box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The paths that came.
    pub paths: Vec<String>,
    /// What did not come as it was over a limit, with the figure.
    pub cut: Option<String>,
}

/// A command for a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// Program and arguments; never seen by a shell unquoted.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// How long it may take. One that takes longer counts as a connection that was lost.
    pub time_max: Duration,
    /// How many bytes it may answer. One that answers more is ended.
    pub answer_max: usize,
}

/// How long a command may take that says nothing else: an emulated box takes minutes to delete many files.
const COMMAND_MAX: Duration = Duration::from_secs(10 * 60);

/// How much a command may answer that says nothing else: lists of files are shorter.
const ANSWER_MAX: usize = 16 << 20;

impl Command {
    /// Makes a command without input.
    pub fn new<I: Into<String>>(argv: impl IntoIterator<Item = I>) -> Self {
        Self {
            argv: argv.into_iter().map(Into::into).collect(),
            stdin: Vec::new(),
            time_max: COMMAND_MAX,
            answer_max: ANSWER_MAX,
        }
    }

    /// Limits how many bytes it may answer.
    pub fn answering(mut self, answer_max: usize) -> Self {
        self.answer_max = answer_max;
        self
    }

    /// Limits how long it may take.
    pub fn within(mut self, time_max: Duration) -> Self {
        self.time_max = time_max;
        self
    }

    /// Gives it something to read.
    pub fn with_stdin(mut self, stdin: impl Into<Vec<u8>>) -> Self {
        self.stdin = stdin.into();
        self
    }
}

/// How a command on a box ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

/// The record of what may exist. Each write is on the disk when it returns.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends a fact. An `Intent` whose label belongs to a box that may be alive is refused as `Taken`,
    /// in the same transaction, so that two processes cannot both have it.
    async fn append(&self, run: &RunId, fact: Fact) -> Result<(), JournalError>;

    /// Returns all entries, oldest first.
    async fn entries(&self) -> Result<Vec<Entry>, JournalError>;

    /// Returns what may be owned: all entries, folded.
    async fn holdings(&self) -> Result<Holdings, JournalError> {
        Ok(Holdings::fold(&self.entries().await?))
    }

    /// Holds the run's lock as long as this process lives. Returns false when another process has it.
    async fn hold(&self, run: &RunId) -> Result<bool, JournalError>;

    /// Returns whether a live process holds the run's lock.
    async fn is_held(&self, run: &RunId) -> Result<bool, JournalError>;
}

/// Time and chance.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the moment, as people have it. It may be set at any time: no length is measured with it.
    fn now(&self) -> Timestamp;

    /// Returns the time since a moment that stays the same as long as this process lives. Nobody sets this clock; it may
    /// stand still while the machine sleeps. A clock whose `now` nobody sets either leaves it as it is here.
    fn monotonic(&self) -> Duration {
        between(Timestamp::UNIX_EPOCH, self.now())
    }

    /// Waits.
    async fn sleep(&self, length: Duration);

    /// Returns 64 random bits.
    fn random(&self) -> u64;
}

/// Takes every event. Never blocks and never fails.
pub trait Events: Send + Sync {
    /// Takes one thing that happened.
    fn emit(&self, record: EventRecord);
}

/// Whether the user wants to stop.
#[async_trait]
pub trait Stop: Send + Sync {
    /// Returns when the user has asked to stop; pending until then.
    async fn asked(&self);

    /// Returns whether the user has asked to stop.
    fn is_asked(&self) -> bool;
}

impl World {
    /// Reports that something happened in a lane, or in the run as a whole.
    pub fn emit(&self, lane: Option<&str>, event: Event) {
        self.events.emit(EventRecord::new(self.clock.now(), lane, event));
    }
}
