//! The plan of a box that exists, with what the configuration says now.

use super::Plan;

impl Plan {
    /// Takes the sources and the checks of a plan that was made just now of the same lane. Returns what has changed since
    /// this one was made, and what of it needs a new box.
    pub fn refresh(&mut self, now: Self) -> Vec<String> {
        let mut notes = Vec::new();
        let [lane, ..] = &mut self.lanes[..] else {
            return notes;
        };
        let Some(new) = now.lanes.into_iter().find(|new| new.name == lane.name) else {
            return notes;
        };
        let name = &lane.name;
        let find =
            |checks: &[crate::check::Check], name: &str| checks.iter().position(|check| check.name == name);
        for check in &new.checks {
            match find(&lane.checks, &check.name).map(|at| &lane.checks[at]) {
                None => notes.push(format!("[lanes.{name}]: check `{}` is new", check.name)),
                Some(old) if old != check => {
                    notes.push(format!("[lanes.{name}]: check `{}` has changed", check.name));
                }
                Some(_) => {}
            }
        }
        let gone = lane
            .checks
            .iter()
            .filter(|old| find(&new.checks, &old.name).is_none());
        notes.extend(gone.map(|old| format!("[lanes.{name}]: check `{}` is no longer there", old.name)));
        let mut stays: Vec<String> = Vec::new();
        // Where the toolchain comes from is decided when a box is made.
        let mut system = now.system;
        if let (Some(new), Some(old)) = (&mut system.rust, &self.system.rust) {
            new.from.clone_from(&old.from);
        }
        if self.system != system {
            stays.push("[system]".to_owned());
        }
        if (lane.need, lane.has_deploy) != (new.need, new.has_deploy) || self.deploy != now.deploy {
            stays.push(format!("what [lanes.{name}] or [deploy] ask of a box"));
        }
        if !stays.is_empty() {
            notes.push(format!(
                "{} changed after box {} was made, which stays as it is: `twolane up` makes a new one",
                stays.join(" and "),
                lane.label
            ));
        }
        (lane.checks, lane.is_continued, lane.fail_on_skip) =
            (new.checks, new.is_continued, new.fail_on_skip);
        (self.sources, self.limits) = (now.sources, now.limits);
        notes
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        check::Check,
        config::{Around, read},
        plan::{Asked, Plan, plan, tests::facts},
    };

    fn plan_of(lanes: &str) -> Plan {
        let text = format!("[project]\nname = \"mvm\"\n[sources]\nmvm = {{ path = \"../mvm\" }}\n{lanes}");
        plan(
            &read(&text, &Around::default()).unwrap(),
            &Asked::default(),
            &facts(),
        )
        .unwrap()
    }

    #[test]
    fn changed_lane_is_said_and_taken() {
        let text =
            "[lanes.a]\nchecks = [{ name = \"one\", run = \"true\" }, { name = \"two\", run = \"true\" }]\n";
        let mut plan = plan_of(text);
        assert!(
            plan.clone().refresh(plan_of(text)).is_empty(),
            "nothing has changed"
        );
        let now = plan_of(
            "[lanes.a]\nkvm = \"required\"\nchecks = [{ name = \"two\", run = \"false\" }, { name = \"three\", run = \"true\" }]\n",
        );
        let notes = plan.refresh(now).join("\n");
        for wanted in [
            "`two` has changed",
            "`three` is new",
            "`one` is no longer",
            "what [lanes.a]",
        ] {
            assert!(notes.contains(wanted), "{wanted}: {notes}");
        }
        assert_eq!(plan.lanes[0].checks[0], Check::new("two", "false"));
    }
}
