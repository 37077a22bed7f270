//! Moments and lengths of time, as text and as tags.

use std::time::Duration;

pub use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The moment after which a box must no longer exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Deadline(Timestamp);

impl Deadline {
    /// Returns the deadline of a box that may live for `ttl` from `now` on, in whole seconds.
    pub fn after(now: Timestamp, ttl: Duration) -> Self {
        Self::at_unix(after(now, ttl).as_second())
    }

    /// Returns the deadline at a Unix time in seconds; a time out of range becomes the nearest one in it.
    pub fn at_unix(seconds: i64) -> Self {
        let in_range = seconds.clamp(0, Timestamp::MAX.as_second());
        Self(Timestamp::from_second(in_range).unwrap_or(Timestamp::MAX))
    }

    /// Returns the Unix time in seconds, which is what tags carry.
    pub fn unix(self) -> i64 {
        self.0.as_second()
    }

    /// Returns the moment itself.
    pub fn moment(self) -> Timestamp {
        self.0
    }

    /// Returns the time that is left, none when it has passed.
    pub fn left(self, now: Timestamp) -> Duration {
        between(now, self.0)
    }

    /// Returns whether the deadline has passed.
    pub fn is_over(self, now: Timestamp) -> bool {
        now >= self.0
    }
}

/// Returns the moment `length` after `from`, or the last one there is.
pub fn after(from: Timestamp, length: Duration) -> Timestamp {
    from.checked_add(length).unwrap_or(Timestamp::MAX)
}

/// Returns the time from `start` to `end`, zero when `end` lies before `start`.
pub fn between(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or(Duration::ZERO)
}

/// Writes and reads a length of time as a number of seconds, for fields whose name ends in `_seconds`.
pub mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    /// Writes a whole number where the length is one.
    pub fn serialize<S: Serializer>(length: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        match length.subsec_nanos() {
            0 => length.as_secs().serialize(serializer),
            _ => length.as_secs_f64().serialize(serializer),
        }
    }

    /// Refuses a number that is negative, or too large.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Reads a length of time such as `90s`, `20m`, `1h30m`. Returns none for other text, zero and negative lengths.
pub fn parse_length(text: &str) -> Option<Duration> {
    let parsed: jiff::SignedDuration = text.trim().parse().ok()?;
    Duration::try_from(parsed).ok().filter(|length| !length.is_zero())
}

/// Writes a length of time for people: `0.4 s`, `12.3 s`, `4 m 05 s`, `2 h 10 m`.
pub fn show_length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", length.as_secs_f64()),
        60..3600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} m", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_json_are_seconds() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Limit {
            #[serde(with = "seconds")]
            limit: Duration,
        }
        for (millis, json) in [(90_000, r#"{"limit":90}"#), (1_500, r#"{"limit":1.5}"#)] {
            let limit = Limit {
                limit: Duration::from_millis(millis),
            };
            assert_eq!(serde_json::to_string(&limit).unwrap(), json);
            assert_eq!(serde_json::from_str::<Limit>(json).unwrap(), limit);
        }
        assert!(serde_json::from_str::<Limit>(r#"{"limit":-1}"#).is_err());
    }

    #[test]
    fn lengths_are_read_and_written() {
        assert_eq!(parse_length("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_length("1h 30m"), Some(Duration::from_secs(5400)));
        assert_eq!(parse_length("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_length("0s"), None);
        assert_eq!(parse_length("-1h"), None);
        assert_eq!(parse_length("soon"), None);
        assert_eq!(show_length(Duration::from_millis(420)), "0.4 s");
        assert_eq!(show_length(Duration::from_secs(245)), "4 m 05 s");
        assert_eq!(show_length(Duration::from_secs(7800)), "2 h 10 m");
    }

    #[test]
    fn a_deadline_survives_its_tag() {
        let now: Timestamp = "2026-01-02T03:04:05.6Z".parse().unwrap();
        let deadline = Deadline::after(now, Duration::from_secs(60));
        assert_eq!(Deadline::at_unix(deadline.unix()), deadline);
        assert!(!deadline.is_over(now));
        assert!(deadline.is_over(deadline.moment()));
        assert_eq!(deadline.left(deadline.moment()), Duration::ZERO);
        assert_eq!(
            Deadline::at_unix(i64::MAX).moment(),
            Deadline::at_unix(i64::MAX - 1).moment()
        );
    }
}
