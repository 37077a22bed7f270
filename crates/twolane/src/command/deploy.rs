//! `twolane deploy`: copies the source to a box that is up, and builds, installs and starts what has changed.

use super::{boxes::RunOnBox, run::cannot_run};
use crate::{
    args::DeployArgs,
    context::Context,
    exit::Exit,
    problem::{Problem, Result},
    world::block_on,
};

/// Deploys. The box stays, whatever comes of it.
pub(crate) fn run(context: &Context, args: &DeployArgs) -> Result {
    block_on(async {
        let on = RunOnBox::plan(context, &args.label).await?;
        if on.plan.deploy.binaries.is_empty() && on.plan.deploy.units.is_empty() {
            return Err(
                Problem::usage(format!("could not deploy to box {}", args.label)).because(
                    "[deploy] of the twolane.toml that it was made with names nothing to build or to start",
                ),
            );
        }
        let watched = on.open(context)?;
        let world = &watched.world;
        let outcome = engine::run::deploy(&on.plan, &on.machine, args.rotate_secret, world).await;
        watched.finish();
        Ok(Exit::from(outcome.map_err(cannot_run)?))
    })
}
