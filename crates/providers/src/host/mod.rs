//! Machines that are already there, over SSH: each serves one box at a time, and is left as it was found.
//! `ops/ephemeral/host.sh` does all that happens on such a machine.

mod error;
mod memory;
mod script;
mod ssh;

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use model::{
    error::{ErrorKind, ProviderError},
    host::Address,
    lane::KvmNeed,
    machine::{Gone, Listed, Machine, ResourceKind},
    money::Money,
    name::{Label, RunId},
    order::Order,
    profile::Profile,
    selector::Selector,
    tags::Tags,
    time::Deadline,
    world::{Finding, Listing, OwnDeadline, Preflight, Prices, Progress, Provider},
};

pub use error::NAME;

use error::{Class, HostError, name};
use memory::{Memory, Remembered};
use script::{Answer, Files};
use ssh::Way;

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "the machine itself takes away all that twolane put there, and gives its lock back, at the \
     deadline; after a reboot too, and never by powering off";

/// The only instance type there is.
const AS_IT_IS: &str = "as-it-is";

/// How long a machine may take to make itself ready: the KVM gate boots guests, emulated ones perhaps.
const UP_MAX: Duration = Duration::from_secs(6 * 60);

/// How long it may take to take everything away again: packages too.
const DOWN_MAX: Duration = Duration::from_secs(5 * 60);

/// How long a question may take.
const LOOK_MAX: Duration = Duration::from_secs(90);

/// What can be chosen about machines that are already there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostSettings {
    /// The machines that are asked beside those that a box was made on; the first is the default.
    pub addresses: Vec<Address>,
    /// The ssh configuration that takes the place of the operator's own.
    pub ssh_config: Option<Utf8PathBuf>,
}

impl HostSettings {
    /// Reads the machines in a variable, `user@machine:22,desk`.
    pub fn addresses(text: &str) -> Result<Vec<Address>, String> {
        text.split([',', ' '])
            .filter(|text| !text.is_empty())
            .map(str::parse)
            .collect()
    }
}

/// Borrows machines that are already there.
#[derive(Debug)]
pub struct Host {
    memory: Memory,
    settings: HostSettings,
    profile: Profile,
}

impl Host {
    /// Remembers in `state_dir` which box is on which machine. Touches nothing yet.
    pub fn new(state_dir: Utf8PathBuf, settings: HostSettings) -> Self {
        let region = settings.addresses.first().map(Address::to_string);
        let choice = (AS_IT_IS, region.as_deref().unwrap_or_default());
        Self {
            memory: Memory::new(state_dir),
            profile: Profile {
                // It was reachable before, and whoever guards its network goes on doing so.
                has_own_network: false,
                // What is begun there holds the machine's turn until it ends, and `down` waits for that.
                can_turn_up_late: false,
                ..Profile::new(NAME, &[choice], DEAD_MANS_SWITCH)
            },
            settings,
        }
    }

    fn way(&self, address: &Address) -> Way {
        Way {
            address: address.clone(),
            config: self.settings.ssh_config.clone(),
        }
    }

    async fn make(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, HostError> {
        if order.candidate.instance_type != AS_IT_IS {
            return Err(HostError::invalid(format!(
                "a machine that is already there is taken as it is, not as `{}`",
                order.candidate.instance_type
            ))
            .with_help("leave `type` and --instance-type out"));
        }
        let address: Address = order.candidate.region.parse().map_err(HostError::invalid)?;
        let script = script::up(order)?;
        let way = self.way(&address);
        let socket = way.resolve().await?;
        let label = &order.tags.label;
        let was_known = self.memory.get(label)?.is_some();
        // Before anything is sent: `down` asks where this says.
        self.memory
            .put(label, &Remembered::new(&address, &order.tags.run))?;
        progress.report(&format!("asking {address} whether it can serve"), None);
        let answer = match way.run(&script, UP_MAX).await {
            Ok(answer) => answer,
            Err(error) => {
                if error.class == Class::Untouched && !was_known {
                    self.memory.forget(label)?;
                }
                return Err(error);
            }
        };
        machine(order, &address, socket, &answer)
    }

    /// Takes away what is there of that label and run; any where none is named.
    async fn clear(
        &self,
        address: &Address,
        label: Option<&Label>,
        run: Option<&RunId>,
    ) -> Result<Vec<Gone>, HostError> {
        let words = [
            "down",
            label.map_or("-", Label::as_str),
            run.map_or("-", RunId::as_str),
        ];
        let answer = self
            .way(address)
            .run(&script::call(&words, &Files::default()), DOWN_MAX)
            .await?;
        Ok(answer
            .all("gone")
            .filter_map(|text| gone(address, text))
            .collect())
    }

    /// Returns the machines that are asked: those with a box first, each once.
    fn known(&self) -> Result<Vec<Address>, HostError> {
        let mut known: Vec<Address> = Vec::new();
        let remembered = self
            .memory
            .all()?
            .into_iter()
            .map(|(_, remembered)| remembered.address);
        for address in remembered.chain(self.settings.addresses.iter().cloned()) {
            if !known.contains(&address) {
                known.push(address);
            }
        }
        Ok(known)
    }

    async fn destroy(&self, selector: &Selector) -> Result<Vec<Gone>, HostError> {
        let (label, run) = match selector {
            Selector::Label(label) => (Some(label), None),
            Selector::OfRun(label, run) => (Some(label), Some(run)),
            Selector::AllOurs => (None, None),
        };
        let remembered = match label {
            Some(label) => self.memory.get(label)?,
            None => None,
        };
        let addresses = match remembered {
            Some(remembered) => vec![remembered.address],
            None => self.known()?,
        };
        let mut all = Vec::new();
        let mut failed = None;
        for address in &addresses {
            match self.clear(address, label, run).await {
                Ok(gone) => {
                    all.extend(gone);
                    self.memory.forget_if(|of, is| {
                        is.address == *address
                            && label.is_none_or(|label| label == of)
                            && run.is_none_or(|run| *run == is.run)
                    })?;
                }
                Err(error) => failed = Some(error.while_it_may_be_there()),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    async fn look(&self, address: &Address) -> Result<Option<Listed>, HostError> {
        let answer = self
            .way(address)
            .run(&script::call(&["status"], &Files::default()), LOOK_MAX)
            .await?;
        let Some(state) = answer.one("state") else {
            return Ok(None);
        };
        let pairs = answer.all("tag").filter_map(|line| line.split_once('='));
        let pairs = pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        Ok(Some(Listed {
            kind: ResourceKind::Machine,
            id: address.to_string(),
            region: address.to_string(),
            tags: Tags::parse(&pairs),
            state: state.to_owned(),
            address: self.way(address).resolve().await.ok().map(|socket| socket.ip()),
            instance_type: Some(AS_IT_IS.to_owned()),
        }))
    }

    async fn retag(&self, label: &Label, deadline: Deadline) -> Result<(), HostError> {
        let addresses = match self.memory.get(label)? {
            Some(remembered) => vec![remembered.address],
            None => self.known()?,
        };
        let deadline = deadline.unix().to_string();
        let mut last = HostError::new(ErrorKind::NotFound, format!("there is no box {label}"))
            .with_help("`twolane ls` lists them");
        for address in addresses {
            let words = ["retag", label.as_str(), &deadline];
            match self
                .way(&address)
                .run(&script::call(&words, &Files::default()), LOOK_MAX)
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn findings(&self, address: &Address, need: KvmNeed) -> Vec<Finding> {
        let reported = |what: &str, found: String, help: Option<String>| Finding {
            what: format!("{address} {what}"),
            is_good: help.is_none(),
            found,
            help,
        };
        let way = self.way(address);
        let asked = async {
            let socket = way.resolve().await?;
            Ok((socket, way.run(&script::doctor(need), LOOK_MAX).await?))
        };
        match asked.await {
            Ok((socket, answer)) => {
                let reached = reported("reachable", format!("at {socket}"), None);
                let seen = answer.all("finding").filter_map(|line| {
                    let [good, what, found, help] = *line.split('|').collect::<Vec<_>>() else {
                        return None;
                    };
                    Some(reported(
                        what,
                        found.to_owned(),
                        (good != "good").then(|| help.to_owned()),
                    ))
                });
                std::iter::once(reached).chain(seen).collect()
            }
            Err::<_, HostError>(error) => {
                let help = error
                    .help
                    .unwrap_or_else(|| format!("see what `ssh {address}` says"));
                vec![reported("reachable", error.cause, Some(help))]
            }
        }
    }
}

fn machine(
    order: &Order,
    address: &Address,
    socket: SocketAddr,
    answer: &Answer,
) -> Result<Machine, HostError> {
    let host_key = answer.one("host-key").filter(|key| key.contains(' '));
    let host_key = host_key.ok_or_else(|| {
        HostError::invalid(format!("{address} does not give its SSH host key"))
            .with_help("see that `sshd -T` there names a HostKey that can be read")
    })?;
    Ok(Machine {
        label: order.tags.label.clone(),
        provider: name(),
        id: address.to_string(),
        region: address.to_string(),
        instance_type: AS_IT_IS.to_owned(),
        address: socket.ip(),
        port: socket.port(),
        jump: None,
        host_key: Some(host_key.to_owned()),
        note: answer.one("note").map(str::to_owned),
    })
}

/// Reads what is said of one thing that was taken away. What is no resource of its own goes unreported.
fn gone(address: &Address, text: &str) -> Option<Gone> {
    let (kind, id) = text.split_once(' ')?;
    let (kind, id) = match kind {
        "machine" => (ResourceKind::Machine, address.to_string()),
        "directory" => (ResourceKind::Directory, format!("{address}:{id}")),
        // The key itself is nothing to look at.
        "key" => (ResourceKind::Key, format!("{address}:{}", id.rsplit(' ').next()?)),
        _ => return None,
    };
    Some(Gone { kind, id })
}

#[async_trait]
impl Provider for Host {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn up(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, ProviderError> {
        self.make(order, progress)
            .await
            .map_err(|error| error.during("create a box"))
    }

    async fn down(&self, selector: &Selector, _progress: &dyn Progress) -> Result<Vec<Gone>, ProviderError> {
        self.destroy(selector)
            .await
            .map_err(|error| error.during("destroy a box"))
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn preflight(&self) -> Option<&dyn Preflight> {
        Some(self)
    }

    fn prices(&self) -> Option<&dyn Prices> {
        Some(self)
    }

    fn own_deadline(&self) -> Option<&dyn OwnDeadline> {
        Some(self)
    }
}

#[async_trait]
impl Listing for Host {
    async fn list(&self) -> Result<Vec<Listed>, ProviderError> {
        let list = async {
            let known = self.known()?;
            let looks = futures::future::join_all(known.iter().map(|address| self.look(address))).await;
            let listed: Result<Vec<_>, HostError> = looks.into_iter().collect();
            Ok(listed?.into_iter().flatten().collect())
        };
        list.await.map_err(|error: HostError| error.during("list boxes"))
    }
}

#[async_trait]
impl Preflight for Host {
    async fn preflight(&self, _instance_type: &str, region: &str, need: KvmNeed) -> Vec<Finding> {
        let addresses = match region.parse::<Address>() {
            Ok(address) => vec![address],
            Err(_) => self.settings.addresses.clone(),
        };
        if addresses.is_empty() {
            let found = "none is named; `address` in `boxes`, --host or TWOLANE_HOST does";
            return vec![Finding {
                what: "machines that are already there".to_owned(),
                is_good: true,
                found: found.to_owned(),
                help: None,
            }];
        }
        let asked = addresses.iter().map(|address| self.findings(address, need));
        futures::future::join_all(asked).await.concat()
    }
}

impl Prices for Host {
    /// It is there anyway.
    fn hourly(&self, _instance_type: &str, _region: &str) -> Option<(Money, String)> {
        let nothing = Money {
            micros: 0,
            currency: "USD".to_owned(),
        };
        Some((nothing, "always".to_owned()))
    }
}

#[async_trait]
impl OwnDeadline for Host {
    async fn move_deadline(&self, label: &Label, deadline: Deadline) -> Result<(), ProviderError> {
        self.retag(label, deadline)
            .await
            .map_err(|error| error.during("move the deadline"))
    }
}
