//! How an API reports what went wrong, and what that means for us.

use std::time::Duration;

use model::error::ErrorKind;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// What a request may have done when no answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that sending it again would double.
    Repeatable,
    /// It may have made something.
    Creates,
}

/// What an API says of a failure.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiError {
    /// Its code, such as `resource_unavailable`; empty when there was none.
    pub code: String,
    /// Its words.
    pub message: String,
}

/// How an API reports what went wrong.
pub trait Dialect: Send + Sync {
    /// Reads the body of a failed response. `None`: it is not in the API's form.
    fn read_error(&self, body: &[u8]) -> Option<ApiError>;

    /// Says what a failure means: the one table from status and code to kind.
    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind;

    /// Says what the user can do about a failure, where that is known.
    fn help(&self, _kind: &ErrorKind, _error: &ApiError) -> Option<String> {
        None
    }

    /// Says where the credentials come from.
    fn credentials_help(&self) -> &str;

    /// Returns the header that names a request, for the provider's support.
    fn request_id_header(&self) -> &str {
        "x-request-id"
    }

    /// Reads how long to wait after too many requests.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        seconds(headers, RETRY_AFTER.as_str())
    }
}

/// Reads a header that holds a number of seconds.
pub fn seconds(headers: &HeaderMap, name: &str) -> Option<Duration> {
    let text = headers.get(name)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// Says what a status means that came without a code we know.
pub fn by_status(status: u16, effect: Effect) -> ErrorKind {
    match (status, effect) {
        (401 | 403, _) => ErrorKind::Unauthorized,
        (404 | 410, _) => ErrorKind::NotFound,
        (429, _) => ErrorKind::RateLimited { retry_after: None },
        (408 | 500.., Effect::Creates) => ErrorKind::Unanswered,
        (408 | 500.., Effect::Repeatable) => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    }
}
