//! Opens the way to a box that exists: connection, box-side tool, and a host key that only the box knows.

use std::time::Duration;

use model::{
    check::Check,
    error::RemoteError,
    machine::Machine,
    name::RunId,
    render::{TWOLANE_BOX, TWOLANE_BOX_PATH},
    world::{Command, World},
};

use crate::link::Link;

/// How long a call of the tool may take: it waits for 20 s at most, and an emulated box that is busy needs its time.
const TOOL_MAX: Duration = Duration::from_secs(3 * 60);

/// How much it may answer. What it says of itself is repeated in events and reports: a hostile box could fill those.
const ANSWER_MAX: usize = 512 << 10;

/// How much it may answer that sends output: 1 MiB at a time, and a line before it.
const PIECE_MAX: usize = (1 << 20) + (64 << 10);

/// Makes a call of the tool that twolane keeps on each box.
pub fn tool<I: AsRef<str>>(arguments: impl IntoIterator<Item = I>) -> Command {
    let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
    Command::new(std::iter::once(TWOLANE_BOX_PATH.to_owned()).chain(arguments))
        .within(TOOL_MAX)
        .answering(ANSWER_MAX)
}

/// Makes a call of the tool that answers with a piece of output.
pub fn piece<I: AsRef<str>>(arguments: impl IntoIterator<Item = I>) -> Command {
    tool(arguments).answering(PIECE_MAX)
}

/// Puts the tool of this version of twolane on the box, and ends there what other runs have left running: a process
/// that was killed cannot. Where `own` are all that this run may have begun there, ends and forgets what else it has.
pub(crate) async fn take_over(
    world: &World,
    link: &Link,
    run: &RunId,
    own: &[Check],
) -> Result<(), RemoteError> {
    // Of a client that is killed only a part may come.
    let script = "mkdir -p \"${1%/*}\" && cat >\"$1.new\" && [ \"$(wc -c <\"$1.new\")\" -eq \"$2\" ] && \
                  chmod 755 \"$1.new\" && mv \"$1.new\" \"$1\" && tool=$1 && shift 2 && exec \"$tool\" stop-others \"$@\"";
    let bytes = TWOLANE_BOX.len().to_string();
    let arguments = ["sh", "-c", script, "sh", TWOLANE_BOX_PATH, &bytes, run.as_str()];
    let own = own.iter().map(|check| check.slug.as_str());
    let arguments = arguments.into_iter().chain(own);
    let install = Command::new(arguments).with_stdin(TWOLANE_BOX);
    link.run(world, &install).await.map(drop)
}

/// Has the box make itself a new host key, as everybody on the box can read the first one in its user-data.
/// Both keys count until the new one is in use, so that a crash in between locks nobody out.
pub async fn renew_host_key(machine: &Machine, world: &World, link: &Link) -> Result<(), RemoteError> {
    let label = &machine.label;
    let sent = world.remote.keys(label).await?.host_public;
    let first = machine.host_key.clone().unwrap_or(sent);
    let made = link.run(world, &tool(["new-host-key"])).await?;
    let new = String::from_utf8_lossy(&made).trim().to_owned();
    if new == first {
        // Nobody else ever saw it: it is the box's own already.
        return Ok(());
    }
    world.remote.pin(label, &[first, new.clone()]).await?;
    link.run(world, &tool(["use-host-key"])).await?;
    world.remote.pin(label, &[new]).await
}
