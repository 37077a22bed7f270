//! `twolane reap`: destroys what is overdue or was left, on every provider, by tag. Made to be run by a scheduler:
//! its last line tells a monitoring system how it went.

use engine::{
    down::DestroyOutcome,
    reap::{destroy, plan_reap},
};
use model::{
    config,
    machine::{Gone, Listed},
    name::ProviderName,
    reap::{Picked, ReapTarget},
    report::Report,
};
use serde::Serialize;

use crate::{
    args::ReapArgs,
    context::Context,
    exit::Exit,
    known,
    paths::Paths,
    problem::{Problem, Result},
    world::{Watched, block_on, providers},
};

/// What was found, and what became of it.
#[derive(Debug, Serialize)]
struct Reaped {
    is_dry_run: bool,
    boxes: Vec<Row>,
    /// Ours by the tag, and nothing else of it can be read: a person has to look.
    unreadable: Vec<(ProviderName, Listed)>,
    /// Why a provider could not be asked.
    failures: Vec<String>,
    /// How many things are ours, and are left alone.
    kept: usize,
}

/// One box, or what was left of it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    target: ReapTarget,
    #[serde(flatten)]
    end: End,
}

/// What became of a box.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
enum End {
    /// It was only looked at.
    Expired,
    /// It is gone.
    Deleted { resources: Vec<Gone> },
    /// It may still be there.
    Failed { left_because: String },
}

/// Finds and destroys.
pub(crate) fn run(context: &Context, args: &ReapArgs) -> Result {
    let paths = context.paths()?;
    block_on(async {
        let watched = Watched::open(
            context,
            &paths,
            &config::Local::default(),
            None,
            Report::default(),
        )?;
        if let Some(name) = &args.provider {
            need(&paths, name)?;
        }
        let (picked, mut failures) = plan_reap(&watched.world, args.dry_run).await?;
        let Picked {
            mut targets,
            mut unreadable,
            kept,
        } = picked;
        targets.retain(|target| args.owner.iter().all(|owner| owner.is_of(&target.owner)));
        if let Some(name) = &args.provider {
            let is_there = |target: &ReapTarget| target.things.iter().any(|(at, _)| at.as_str() == name);
            targets.retain(is_there);
            unreadable.retain(|(at, _)| at.as_str() == name);
            failures.retain(|failure| failure.provider.as_str() == name);
        }
        let boxes = if args.dry_run {
            targets
                .into_iter()
                .map(|target| Row {
                    target,
                    end: End::Expired,
                })
                .collect()
        } else {
            let ended = destroy(targets, &watched.world).await;
            ended
                .into_iter()
                .map(|(target, end)| Row {
                    target,
                    end: end.into(),
                })
                .collect()
        };
        watched.finish();
        let reaped = Reaped {
            is_dry_run: args.dry_run,
            boxes,
            unreadable,
            failures: failures.iter().map(ToString::to_string).collect(),
            kept,
        };
        show(context, &reaped);
        Ok(reaped.exit())
    })
}

/// Refuses the name of a provider that this twolane does not know, or cannot use.
fn need(paths: &Paths, name: &str) -> Result<()> {
    let providers = providers(paths, &config::Local::default())?;
    match known::named(&providers, name)?.missing.clone() {
        Some(error) => Err(Problem {
            exit: Exit::Usage,
            ..error.into()
        }),
        None => Ok(()),
    }
}

impl From<DestroyOutcome> for End {
    fn from(outcome: DestroyOutcome) -> Self {
        match outcome {
            DestroyOutcome::Gone(resources) => Self::Deleted { resources },
            DestroyOutcome::Left { why } => Self::Failed { left_because: why },
        }
    }
}

impl Reaped {
    fn left(&self) -> usize {
        let is_left = |row: &&Row| matches!(row.end, End::Failed { .. });
        self.boxes.iter().filter(is_left).count()
    }

    /// A provider that could not be asked may have what should be gone.
    fn exit(&self) -> Exit {
        match self.left() + self.failures.len() {
            0 => Exit::Passed,
            _ => Exit::Left,
        }
    }

    /// The last line, for a monitoring system: `key=value` pairs that stay as they are.
    fn summary(&self) -> String {
        let expired = |row: &&Row| row.end == End::Expired;
        let gone = |row: &&Row| matches!(row.end, End::Deleted { .. });
        format!(
            "reap: expired={} deleted={} failed={} kept={} unreachable={} unreadable={}",
            self.boxes.iter().filter(expired).count(),
            self.boxes.iter().filter(gone).count(),
            self.left(),
            self.kept,
            self.failures.len(),
            self.unreadable.len()
        )
    }

    fn text(&self) -> String {
        let mut lines: Vec<String> = self.boxes.iter().map(Row::text).collect();
        for (provider, listed) in &self.unreadable {
            lines.push(format!(
                "{} {} at {provider} carries our tag, and the others cannot be read: look at it, and destroy it by hand",
                listed.kind, listed.id
            ));
        }
        lines.extend(self.failures.iter().map(|failure| format!("warning: {failure}")));
        lines.push(self.summary());
        lines.join("\n")
    }
}

impl Row {
    fn text(&self) -> String {
        let ReapTarget {
            label, why, things, ..
        } = &self.target;
        let what: Vec<String> = things
            .iter()
            .map(|(provider, listed)| format!("{} {} at {provider}", listed.kind, listed.id))
            .collect();
        let what = match what.is_empty() {
            true => "in the journal only".to_owned(),
            false => what.join(", "),
        };
        match &self.end {
            End::Expired => format!("{label}: {why}; would destroy: {what}"),
            End::Deleted { .. } => format!("{label}: {why}; gone: {what}"),
            End::Failed { left_because } => format!(
                "{label}: {why}; MAY STILL BE THERE: {what}\n  because: {left_because}\n  help: twolane reap again; \
                 its id is in the line above"
            ),
        }
    }
}

fn show(context: &Context, reaped: &Reaped) {
    match context.style.is_json {
        true => context.style.document(reaped),
        false => context.style.result(&reaped.text()),
    }
}

#[cfg(test)]
mod tests {
    use model::name::{Label, RunId};
    use model::tags::Owner;

    use super::*;

    fn row(end: End) -> Row {
        Row {
            target: ReapTarget {
                label: Label::new("m1").unwrap(),
                run: RunId::new("a").unwrap(),
                owner: Owner::default(),
                why: "its run a has ended".to_owned(),
                things: Vec::new(),
            },
            end,
        }
    }

    #[track_caller]
    fn check(boxes: Vec<Row>, failures: &[&str], exit: Exit, last: &str) {
        let reaped = Reaped {
            is_dry_run: false,
            boxes,
            unreadable: Vec::new(),
            failures: failures.iter().map(|&failure| failure.to_owned()).collect(),
            kept: 2,
        };
        assert_eq!(reaped.exit(), exit);
        assert_eq!(reaped.text().lines().last(), Some(last));
    }

    #[test]
    fn the_last_line_is_for_a_monitoring_system() {
        let gone = || {
            row(End::Deleted {
                resources: Vec::new(),
            })
        };
        let left = || {
            row(End::Failed {
                left_because: "403".to_owned(),
            })
        };
        let line = "reap: expired=0 deleted=0 failed=0 kept=2 unreachable=0 unreadable=0";
        check(vec![], &[], Exit::Passed, line);
        let line = "reap: expired=1 deleted=1 failed=0 kept=2 unreachable=0 unreadable=0";
        check(vec![gone(), row(End::Expired)], &[], Exit::Passed, line);
        let line = "reap: expired=0 deleted=1 failed=1 kept=2 unreachable=0 unreadable=0";
        check(vec![gone(), left()], &[], Exit::Left, line);
        let line = "reap: expired=0 deleted=0 failed=0 kept=2 unreachable=1 unreadable=0";
        check(vec![], &["aws could not list boxes"], Exit::Left, line);
    }
}
