//! The connection to one box, opened again when it is lost.

use std::{future::Future, sync::Arc, time::Duration};

use model::{
    error::RemoteError,
    machine::Machine,
    retry::pause,
    text::last_lines,
    world::{Clock, Command, Output, Session, Target, World},
};
use parking_lot::{Mutex, MutexGuard};

use crate::time::Limit;

/// How long a lost box is called before it counts as lost for good.
const LOST_MAX: Duration = Duration::from_secs(5 * 60);

/// How often the same piece of work is begun again.
const ATTEMPTS_MAX: u32 = 20;

/// Longest pause between two tries to connect: a box that boots is let in the moment it answers.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How long a server that answers may go on refusing us. A box that boots gets our key moments after its SSH server starts.
const STUBBORN_MAX: Duration = Duration::from_secs(3 * 60);

/// How long what accepts connections may go on saying nothing. systemd accepts them long before it starts the SSH server, which
/// cloud-init may hold up.
const MUTE_MAX: Duration = Duration::from_secs(5 * 60);

/// How much of what a command wrote an error repeats, in bytes.
const SHOWN_MAX: usize = 8 << 10;

/// Since when every answer was one that seldom becomes anything else.
#[derive(Default)]
struct Refusing(Option<Duration>);

impl Refusing {
    /// Returns whether it has gone on for too long. A box that is away in between may be booting; and where a port of this machine
    /// is forwarded, who accepts and says nothing is not the box.
    fn is_over(&mut self, error: &RemoteError, is_forwarded: bool, now: Duration) -> bool {
        let limit = match error {
            RemoteError::Refused(_) | RemoteError::NotSsh(_) | RemoteError::Mute { greeted: true, .. } => {
                Some(STUBBORN_MAX)
            }
            RemoteError::Mute { greeted: false, .. } if !is_forwarded => Some(MUTE_MAX),
            RemoteError::Mute { .. }
            | RemoteError::Impostor(_)
            | RemoteError::Unreachable(_)
            | RemoteError::Lost(_)
            | RemoteError::Command { .. }
            | RemoteError::Here(_) => None,
        };
        match limit {
            Some(limit) => now.saturating_sub(*self.0.get_or_insert(now)) >= limit,
            None => {
                self.0 = None;
                false
            }
        }
    }
}

/// The connection to one box. What goes over it must be repeatable: after a loss it is sent again.
#[derive(Default)]
pub struct Link {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    target: Option<Target>,
    /// The box, where its provider can be asked about it.
    machine: Option<Machine>,
    session: Option<Arc<dyn Session>>,
    /// When the box last answered, by the monotonic clock.
    answered: Option<Duration>,
}

impl Link {
    /// Makes a link to a box. It connects when it is first used.
    pub fn to(target: Target) -> Self {
        Self {
            state: Mutex::new(State {
                target: Some(target),
                ..State::default()
            }),
        }
    }

    /// Makes a link to a machine that exists. It connects when it is first used.
    pub fn at(machine: &Machine) -> Self {
        let link = Self::default();
        link.aim(machine);
        link
    }

    /// Turns the link to another box, or to another address of the same one.
    pub(crate) fn aim(&self, machine: &Machine) {
        *self.state() = State {
            target: Some(Target::root_of(machine)),
            machine: Some(machine.clone()),
            ..State::default()
        };
    }

    /// Lets it lead nowhere: the box is dead.
    pub(crate) fn cut(&self) {
        *self.state() = State::default();
    }

    /// Returns the box that it leads to.
    pub(crate) fn machine(&self) -> Option<Machine> {
        self.state().machine.clone()
    }

    /// Returns whether the box has answered that recently.
    pub(crate) fn has_answered_within(&self, clock: &dyn Clock, length: Duration) -> bool {
        let answered = self.state().answered;
        answered.is_some_and(|at| clock.monotonic().saturating_sub(at) < length)
    }

    /// Returns the present session, if there is one.
    pub fn session(&self) -> Option<Arc<dyn Session>> {
        self.state().session.clone()
    }

    /// Tries to connect until the box lets us in, for `limit` at most. A box that is not ours is given up at once.
    pub async fn connect(&self, world: &World, limit: Duration) -> Result<Arc<dyn Session>, RemoteError> {
        if let Some(session) = self.session() {
            return Ok(session);
        }
        let target = self.state().target.clone();
        let target = target.ok_or_else(|| RemoteError::Unreachable("there is no box yet".to_owned()))?;
        let end = Limit::after(&*world.clock, limit);
        let mut attempt = 0;
        let mut refusing = Refusing::default();
        loop {
            attempt += 1;
            let error = match world.remote.connect(&target).await {
                Ok(session) => {
                    self.state().session = Some(session.clone());
                    return Ok(session);
                }
                Err(error @ (RemoteError::Impostor(_) | RemoteError::Here(_))) => return Err(error),
                Err(error) => error,
            };
            let wait = (pause(attempt) / 4).min(PAUSE_MAX);
            let is_over = refusing.is_over(&error, target.address.is_loopback(), world.clock.monotonic());
            if is_over || end.left(&*world.clock) <= wait {
                return Err(error);
            }
            world.clock.sleep(wait).await;
        }
    }

    /// Runs a command, over a new connection when the old one is lost. A command that fails is an error.
    pub async fn run(&self, world: &World, command: &Command) -> Result<Vec<u8>, RemoteError> {
        let output = self.output(world, command).await?;
        if output.code == Some(0) {
            return Ok(output.stdout);
        }
        Err(failed(command, &output))
    }

    /// Runs a command, over a new connection when the old one is lost.
    pub async fn output(&self, world: &World, command: &Command) -> Result<Output, RemoteError> {
        self.over(world, |session| async move { session.run(command).await })
            .await
    }

    /// Does something repeatable over the connection, and again over a new one when it is lost.
    pub(crate) async fn over<T, F>(
        &self,
        world: &World,
        work: impl Fn(Arc<dyn Session>) -> F,
    ) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, RemoteError>>,
    {
        let mut attempt = 0;
        let mut end = Limit::after(&*world.clock, LOST_MAX);
        loop {
            attempt += 1;
            let session = self.connect(world, end.left(&*world.clock)).await?;
            match work(session).await {
                Err(
                    error @ (RemoteError::Lost(_) | RemoteError::Unreachable(_) | RemoteError::Mute { .. }),
                ) => {
                    self.state().session = None;
                    // Work that went on for long before the loss says that the box was there until now.
                    if attempt == 1 {
                        end = Limit::after(&*world.clock, LOST_MAX);
                    }
                    if end.is_over(&*world.clock) || attempt >= ATTEMPTS_MAX {
                        return Err(error);
                    }
                    world.clock.sleep(pause(attempt)).await;
                }
                outcome => {
                    self.state().answered = outcome.is_ok().then(|| world.clock.monotonic());
                    return outcome;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

/// Says that a command failed, with the end of what it wrote.
pub(crate) fn failed(command: &Command, output: &Output) -> RemoteError {
    let how = output
        .code
        .map_or("ended by a signal".to_owned(), |code| format!("exit code {code}"));
    let written = if output.stderr.is_empty() {
        &output.stdout
    } else {
        &output.stderr
    };
    let text = String::from_utf8_lossy(&written[written.len().saturating_sub(SHOWN_MAX)..]);
    let end = last_lines(&text, 5).join("\n");
    RemoteError::Command {
        command: command.argv.join(" "),
        how,
        output: end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_that_keeps_refusing_is_given_up_and_one_that_boots_is_not() {
        let refused = RemoteError::Refused("Permission denied".to_owned());
        let garbage = RemoteError::NotSsh("banner line too long".to_owned());
        let away = RemoteError::Unreachable("Connection refused".to_owned());
        let at = Duration::from_secs;
        let mute = |greeted| RemoteError::Mute {
            greeted,
            why: "it closes each connection".to_owned(),
        };
        let mut refusing = Refusing::default();
        let mut is_over = |error: &RemoteError, now| refusing.is_over(error, false, at(now));
        assert!(!is_over(&refused, 10) && !is_over(&garbage, 100) && !is_over(&mute(true), 189));
        assert!(is_over(&refused, 190) && is_over(&mute(true), 190));
        assert!(!is_over(&mute(false), 309) && is_over(&mute(false), 310));
        assert!(!is_over(&away, 320) && !is_over(&refused, 380));
        assert!(!is_over(&away, 1500));
    }

    #[test]
    fn way_to_a_box_of_this_machine_may_be_mute_while_it_boots() {
        let mute = |greeted| RemoteError::Mute {
            greeted,
            why: String::new(),
        };
        let mut refusing = Refusing::default();
        let mut is_over = |greeted, now| refusing.is_over(&mute(greeted), true, Duration::from_secs(now));
        assert!(!is_over(false, 0) && !is_over(false, 1400));
        assert!(!is_over(true, 1400) && is_over(true, 1580));
    }
}
