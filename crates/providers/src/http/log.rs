//! Logs each request. Keeps out: headers and bodies, which hold secrets.

use std::{fmt, time::Duration};

use model::name::ProviderName;

/// One request and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Who was asked.
    pub provider: ProviderName,
    /// What for.
    pub operation: &'static str,
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// The answer's status; none when there was no answer.
    pub status: Option<u16>,
    /// How long the answer took.
    pub took: Duration,
    /// The provider's name for the request.
    pub request_id: Option<String>,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {} ", self.provider, self.method, self.path)?;
        match self.status {
            Some(status) => write!(f, "{status}")?,
            None => f.write_str("no answer")?,
        }
        write!(f, " in {} ms", self.took.as_millis())?;
        match &self.request_id {
            Some(id) => write!(f, " ({id})"),
            None => Ok(()),
        }
    }
}

/// Reported of each request.
pub trait RequestLog: Send + Sync {
    /// Takes one exchange.
    fn record(&self, exchange: &Exchange);
}
