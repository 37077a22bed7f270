#!/usr/bin/env bash
# Refuses words that the project has replaced by the field's own, and names each file and line.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Old word (as a whole word; `_` and `-` belong to a word), and what is written today.
words() {
    cat <<'TABLE'
Happening	EventRecord
told	emitted, or said
Told	Outcome
CandidateFell	CandidateRejected
fell away	was rejected
rung	fallback
rungs	fallbacks
ladder	fallbacks
Sighting	ObservedInstance
Departing	Teardown
Parting	TeardownItem
Departure	DestroyOutcome
doom	plan_reap
Doomed	ReapTarget
doomed	expired
spared	kept
unasked	unreachable
is_look	dry_run
dead_man	dead_mans_switch
steady	monotonic
mend	help in code, fix in prose
mends	fixes
mended	fixed
Trouble	LocalError, HostError, JournalError
take_up	resume
taken up again	resumed
asks nobody	offline
gives boxes	provisions boxes
give boxes	provision boxes
who gives the box	provider
burns down	is lost
burned down	is lost
gone at the end	disposable
TABLE
}

found=0
while IFS=$'\t' read -r old new; do
    if git grep -nIwP "(?<![-\w])\Q$old\E(?![-\w])" -- . ':!ops/check-words.sh' ':!samples' ':!*.lock'; then
        echo "check-words: \`$old\` is an old word; write: $new" >&2
        found=1
    fi
done < <(words)
exit "$found"
