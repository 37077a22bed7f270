//! What to do after a failure.

use std::time::Duration;

use crate::error::ErrorKind;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask again after this time.
    Wait(Duration),
    /// Look whether it happened after all, before anything is retried.
    FindByLabel,
    /// Leave this candidate for the next.
    OtherCandidate,
    /// Say so and stop.
    GiveUp,
}

/// Longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often what was made a moment ago is waited for: about a minute in all.
const NOT_YET_MAX: u32 = 8;

/// Says what to do about a failed request, on its `attempt`-th try (from 1), with so much time `left`.
pub fn after(kind: &ErrorKind, attempt: u32, left: Duration) -> Next {
    match kind {
        ErrorKind::NoCapacity | ErrorKind::QuotaReached | ErrorKind::NoKvm => Next::OtherCandidate,
        ErrorKind::Unanswered => Next::FindByLabel,
        ErrorKind::RateLimited { retry_after } => wait_within(left, retry_after.unwrap_or(pause(attempt))),
        ErrorKind::NotYet if attempt <= NOT_YET_MAX => wait_within(left, pause(attempt)),
        ErrorKind::NotYet => Next::GiveUp,
        ErrorKind::Unavailable => wait_within(left, pause(attempt)),
        ErrorKind::Unauthorized | ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Taken => Next::GiveUp,
    }
}

/// Returns the pause before the try after the `attempt`-th: 0.2 s, doubled each time, 30 s at most.
pub fn pause(attempt: u32) -> Duration {
    Duration::from_millis(200)
        .saturating_mul(1 << attempt.saturating_sub(1).min(16))
        .min(PAUSE_MAX)
}

fn wait_within(left: Duration, wanted: Duration) -> Next {
    if wanted < left {
        Next::Wait(wanted)
    } else {
        Next::GiveUp
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unanswered_is_looked_for_before_anything_else() {
        for attempt in 1..40 {
            assert_eq!(
                after(&ErrorKind::Unanswered, attempt, Duration::MAX),
                Next::FindByLabel
            );
        }
    }

    #[test]
    fn what_was_just_made_is_waited_for_a_minute() {
        let mut waited = Duration::ZERO;
        let mut attempt = 1;
        while let Next::Wait(pause) = after(&ErrorKind::NotYet, attempt, Duration::MAX) {
            waited += pause;
            attempt += 1;
        }
        assert!((45..75).contains(&waited.as_secs()), "{waited:?}");
    }

    #[test]
    fn pauses_grow_to_a_bound() {
        assert_eq!(pause(1), Duration::from_millis(200));
        assert_eq!(pause(2), Duration::from_millis(400));
        assert_eq!(pause(60), PAUSE_MAX);
    }

    #[test]
    fn a_wait_longer_than_what_is_left_is_not_begun() {
        let kind = ErrorKind::RateLimited {
            retry_after: Some(Duration::from_secs(60)),
        };
        assert_eq!(after(&kind, 1, Duration::from_secs(59)), Next::GiveUp);
        assert_eq!(
            after(&kind, 1, Duration::from_secs(61)),
            Next::Wait(Duration::from_secs(60))
        );
    }
}
