//! `twolane reap`: destroys what is overdue or was left, on every provider, by tag. Made to be run by a scheduler:
//! its last line tells a monitoring system how it went.

use engine::{
    down::Departure,
    reap::{destroy, doom},
};
use model::{
    config,
    machine::{Gone, Listed},
    name::ProviderName,
    reap::{Doomed, Picked},
    report::Report,
};
use serde::Serialize;

use super::Context;
use crate::{
    args::ReapArgs,
    exit::Exit,
    paths::Paths,
    planning,
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
    spared: usize,
}

/// One box, or what was left of it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    doomed: Doomed,
    #[serde(flatten)]
    end: End,
}

/// What became of a box.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "end", rename_all = "kebab-case")]
enum End {
    /// It was only looked at.
    Doomed,
    /// It is gone.
    Gone { resources: Vec<Gone> },
    /// It may still be there.
    Left { left_because: String },
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
        let (picked, mut failures) = doom(&watched.world, args.dry_run).await?;
        let Picked {
            mut doomed,
            mut unreadable,
            spared,
        } = picked;
        doomed.retain(|doomed| args.owner.iter().all(|owner| owner.is_of(&doomed.owner)));
        if let Some(name) = &args.provider {
            let is_there = |doomed: &Doomed| doomed.things.iter().any(|(at, _)| at.as_str() == name);
            doomed.retain(is_there);
            unreadable.retain(|(at, _)| at.as_str() == name);
            failures.retain(|failure| failure.provider.as_str() == name);
        }
        let boxes = if args.dry_run {
            doomed
                .into_iter()
                .map(|doomed| Row {
                    doomed,
                    end: End::Doomed,
                })
                .collect()
        } else {
            let ended = destroy(doomed, &watched.world).await;
            ended
                .into_iter()
                .map(|(doomed, end)| Row {
                    doomed,
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
            spared,
        };
        show(context, &reaped);
        Ok(reaped.exit())
    })
}

/// Refuses the name of a provider that this twolane does not know, or cannot use.
fn need(paths: &Paths, name: &str) -> Result<()> {
    let providers = providers(paths, &config::Local::default())?;
    match planning::named(&providers, name)?.missing.clone() {
        Some(error) => Err(Problem {
            exit: Exit::Usage,
            ..error.into()
        }),
        None => Ok(()),
    }
}

impl From<Departure> for End {
    fn from(departure: Departure) -> Self {
        match departure {
            Departure::Gone(resources) => Self::Gone { resources },
            Departure::Left { why } => Self::Left { left_because: why },
        }
    }
}

impl Reaped {
    fn left(&self) -> usize {
        let is_left = |row: &&Row| matches!(row.end, End::Left { .. });
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
        let state = match self.exit() {
            Exit::Passed => "ok",
            _ => "failed",
        };
        let doomed = |row: &&Row| row.end == End::Doomed;
        let gone = |row: &&Row| matches!(row.end, End::Gone { .. });
        format!(
            "reap {state} doomed={} gone={} left={} unreadable={} spared={} unasked={}",
            self.boxes.iter().filter(doomed).count(),
            self.boxes.iter().filter(gone).count(),
            self.left(),
            self.unreadable.len(),
            self.spared,
            self.failures.len()
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
        let Doomed {
            label, why, things, ..
        } = &self.doomed;
        let what: Vec<String> = things
            .iter()
            .map(|(provider, listed)| format!("{} {} at {provider}", listed.kind, listed.id))
            .collect();
        let what = match what.is_empty() {
            true => "in the journal only".to_owned(),
            false => what.join(", "),
        };
        match &self.end {
            End::Doomed => format!("{label}: {why}; would destroy: {what}"),
            End::Gone { .. } => format!("{label}: {why}; gone: {what}"),
            End::Left { left_because } => format!(
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
            doomed: Doomed {
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
            spared: 2,
        };
        assert_eq!(reaped.exit(), exit);
        assert_eq!(reaped.text().lines().last(), Some(last));
    }

    #[test]
    fn the_last_line_is_for_a_monitoring_system() {
        let gone = || {
            row(End::Gone {
                resources: Vec::new(),
            })
        };
        let left = || {
            row(End::Left {
                left_because: "403".to_owned(),
            })
        };
        let line = "reap ok doomed=0 gone=0 left=0 unreadable=0 spared=2 unasked=0";
        check(vec![], &[], Exit::Passed, line);
        let line = "reap ok doomed=1 gone=1 left=0 unreadable=0 spared=2 unasked=0";
        check(vec![gone(), row(End::Doomed)], &[], Exit::Passed, line);
        let line = "reap failed doomed=0 gone=1 left=1 unreadable=0 spared=2 unasked=0";
        check(vec![gone(), left()], &[], Exit::Left, line);
        let line = "reap failed doomed=0 gone=0 left=0 unreadable=0 spared=2 unasked=1";
        check(vec![], &["aws could not list boxes"], Exit::Left, line);
    }
}
