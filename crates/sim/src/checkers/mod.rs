//! What must never be seen: one file for each. A checker reads the whole record and says what is wrong.

mod answers_are_true;
mod case;
mod deadlines;
mod foreign_is_untouched;
mod gone_is_gone;
mod intent_first;
mod kept_stays;
mod label_is_one_runs;
mod live_is_untouched;
mod looked_for_first;
mod no_idle_box_stays;
mod no_job_without_gate;
mod no_more_than_max;
mod nobody_waits_for_the_dead;
mod nobody_waits_for_the_mute;
mod nobody_waits_late;
mod nothing_is_left;
mod nothing_made_nothing_waited_for;
mod older_goes_first;
mod programs_are_of_the_sources;
mod tagged_when_made;
mod tests_run_once;
mod up_stays;
mod work_stays_apart;

pub use self::case::Case;

type Checker = fn(&Case<'_>) -> Vec<String>;

/// All checkers, by name.
pub const ALL: [(&str, Checker); 22] = [
    ("answers are true", answers_are_true::check),
    ("foreign is untouched", foreign_is_untouched::check),
    ("gone is gone", gone_is_gone::check),
    ("intent first", intent_first::check),
    ("kept stays", kept_stays::check),
    ("a label is one run's", label_is_one_runs::check),
    ("live is untouched", live_is_untouched::check),
    ("looked for first", looked_for_first::check),
    ("no idle box stays", no_idle_box_stays::check),
    ("no job without gate", no_job_without_gate::check),
    ("no more than max", no_more_than_max::check),
    ("nobody waits for the dead", nobody_waits_for_the_dead::check),
    ("nobody waits for the mute", nobody_waits_for_the_mute::check),
    ("nobody waits late", nobody_waits_late::check),
    ("nothing is left", nothing_is_left::check),
    (
        "nothing made, nothing waited for",
        nothing_made_nothing_waited_for::check,
    ),
    ("older goes first", older_goes_first::check),
    ("programs are of the sources", programs_are_of_the_sources::check),
    ("tagged when made", tagged_when_made::check),
    ("tests run once", tests_run_once::check),
    ("up stays", up_stays::check),
    ("work stays apart", work_stays_apart::check),
];

/// Asks all checkers.
pub fn all(case: &Case<'_>) -> Vec<String> {
    let ask = |(name, check): &(&str, Checker)| {
        check(case)
            .into_iter()
            .map(|wrong| format!("{name}: {wrong}"))
            .collect::<Vec<_>>()
    };
    ALL.iter().flat_map(ask).collect()
}
