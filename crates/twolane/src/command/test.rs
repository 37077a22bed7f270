//! `twolane test`: copies the source to a box that is up, and runs its lane's checks, or what of them is asked for; once, or
//! whenever something changes.

mod drive;
mod earlier;
mod once;
mod watch;

use std::collections::BTreeSet;

use engine::Link;
use model::watch::What;

use self::once::Wanted;
use super::boxes::label_and_rest;
use crate::{
    args::TestArgs,
    context::Context,
    exit::Exit,
    problem::Result,
    world::{block_on, journal},
};

/// Runs the checks. The box stays.
pub(crate) fn run(context: &Context, args: &TestArgs) -> Result {
    block_on(async {
        let paths = context.paths()?;
        let (label, names) = label_and_rest(&*journal(&paths)?, args.first.as_deref(), &args.checks).await?;
        let wanted = Wanted {
            context,
            args,
            label,
            names,
        };
        if args.is_watching {
            return watch::run(&wanted, &paths).await;
        }
        let Some(on) = wanted.plan(What::Asked, &mut BTreeSet::new()).await? else {
            context.style.result("everything passed last time");
            return Ok(Exit::Passed);
        };
        let watched = on.open(context)?;
        let verdict = wanted.carry_out(&on, &watched, &Link::at(&on.machine)).await?;
        wanted.show(&on, &watched, verdict)
    })
}
