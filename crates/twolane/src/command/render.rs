//! `twolane render`: exactly what would be sent to a box. Only the keys are stand-ins, as each box gets its own.

use std::fs;

use camino::Utf8PathBuf;
use model::{
    name::Token,
    plan::{LanePlan, Plan},
    render::{cloud_init, post_deploy},
    tags::Tags,
    time::{Deadline, Timestamp},
    world::Keys,
};
use serde::Serialize;

use crate::{
    args::{RenderArgs, Rendered},
    context::Context,
    exit::Exit,
    planning,
    problem::{Problem, Result},
    project,
    world::providers,
};

#[derive(Serialize)]
struct Document<'a> {
    what: &'a str,
    lane: &'a str,
    text: &'a str,
}

/// Prints it.
pub(crate) fn run(context: &Context, args: &RenderArgs) -> Result {
    let project = project::find(&context.dir)?;
    let paths = context.paths()?;
    let providers = providers(&paths, &project.config.local)?;
    let mut asked = planning::asked_of_boxes(&args.boxes)?;
    let first = project.config.lanes.first().map(|lane| lane.name.clone());
    asked.lanes = args.lane.clone().or(first).into_iter().collect();
    let plan = planning::plan(&project, &asked, &providers, &paths, planning::Look::Whole)?.plan;
    let Some(lane) = plan.lanes.first() else {
        return Err(Problem::usage("could not find a lane").because("the configuration has none"));
    };
    let (what, text) = match args.what {
        Rendered::CloudInit => ("cloud-init", user_data(&plan, lane)?),
        Rendered::PostDeploy => ("post-deploy", post_deploy::bundle(&stage2(&plan, lane))),
        Rendered::Configs => ("configs", configs(&plan)?),
    };
    if context.style.is_json {
        context.style.document(&Document {
            what,
            lane: &lane.name,
            text: &text,
        });
    } else {
        context.style.raw(text.as_bytes());
    }
    Ok(Exit::Passed)
}

fn stage2(plan: &Plan, lane: &LanePlan) -> Vec<post_deploy::File> {
    let mut files = post_deploy::deploy_files(plan);
    files.extend(post_deploy::check_files(plan, lane));
    files
}

/// Returns the configuration files one after the other, each under a line with its path.
fn configs(plan: &Plan) -> Result<String> {
    let read = |path: &str| {
        plan.sources
            .iter()
            .find_map(|source| fs::read_to_string(source.path.join(path)).ok())
    };
    let files = post_deploy::configs(plan, read).map_err(|why| {
        Problem::usage("could not render the configuration of [deploy]")
            .because(why)
            .help("correct the template, or `configs` of [deploy]")
    })?;
    if files.is_empty() {
        return Err(
            Problem::usage("there is no configuration to render").because("[deploy] names no `configs`")
        );
    }
    let texts: Vec<String> = files
        .iter()
        .map(|(path, text)| format!("# --- {path}\n{text}"))
        .collect();
    Ok(texts.join("\n"))
}

fn user_data(plan: &Plan, lane: &LanePlan) -> Result<String> {
    let tags = Tags {
        label: lane.label.clone(),
        run: plan.run.clone(),
        token: Token::generate(&lane.label, 0),
        deadline: Deadline::after(Timestamp::now(), lane.ttl),
        owner: plan.owner.clone(),
    };
    let keys = Keys {
        host_private:
            "-----BEGIN OPENSSH PRIVATE KEY-----\nmade for each box\n-----END OPENSSH PRIVATE KEY-----\n"
                .to_owned(),
        host_public: format!("ssh-ed25519 MADE-FOR-EACH-BOX {}", lane.label),
        login_public: format!("ssh-ed25519 MADE-FOR-EACH-BOX {}", lane.label),
        login_file: Utf8PathBuf::new(),
    };
    cloud_init::user_data(&plan.stage1(lane, &tags, &keys)).map_err(|error| {
        let problem = Problem::usage("could not render the user-data");
        error
            .mistakes
            .iter()
            .fold(problem, |problem, mistake| problem.because(mistake))
    })
}
