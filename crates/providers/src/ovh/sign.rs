//! The signature that every request to OVHcloud carries, and the time that goes into it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use reqwest::header::{HeaderName, HeaderValue};
use sha1::{Digest, Sha1};

use crate::http::Authorize;

/// How far this machine's clock may be stepped before the API is asked for the time again.
const STEP_MAX: Duration = Duration::from_secs(5);

/// The three parts of what proves who asks.
pub(super) struct Signer {
    /// Who the program is.
    pub(super) application_key: String,
    /// What the program knows.
    pub(super) application_secret: String,
    /// Who the program works for.
    pub(super) consumer_key: String,
    /// The time at the API.
    pub(super) clock: Arc<ServerClock>,
}

#[async_trait]
impl Authorize for Signer {
    async fn authorize(&self, request: &mut reqwest::Request) -> Result<(), String> {
        let now = self.clock.now().ok_or("the time at the API is not known")?;
        let now = now.to_string();
        let body = request
            .body()
            .and_then(|body| body.as_bytes())
            .unwrap_or_default();
        let url = request.url().as_str();
        let signature = self.signature(request.method().as_str(), url, body, &now);
        for (name, value, is_secret) in [
            ("x-ovh-application", &self.application_key, false),
            ("x-ovh-consumer", &self.consumer_key, true),
            ("x-ovh-timestamp", &now, false),
            ("x-ovh-signature", &signature, true),
        ] {
            let value = HeaderValue::from_str(value);
            let mut value = value.map_err(|_| "a key holds characters that no key has".to_owned())?;
            value.set_sensitive(is_secret);
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.application_secret.clone(), self.consumer_key.clone()]
    }
}

impl Signer {
    /// Returns the signature of a request: the URL as it is sent, with its query.
    fn signature(&self, method: &str, url: &str, body: &[u8], now: &str) -> String {
        let mut text = [&self.application_secret, &self.consumer_key, method, url, ""]
            .join("+")
            .into_bytes();
        text.extend_from_slice(body);
        text.extend_from_slice(format!("+{now}").as_bytes());
        format!("$1${}", hex::encode(Sha1::digest(&text)))
    }
}

/// The time at the API, which signatures are made for: this machine's clock may be wrong.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Mutex<Option<Reading>>);

#[derive(Debug, Clone, Copy)]
struct Reading {
    /// The API's time, in seconds.
    server: i64,
    /// This machine's time then.
    here: SystemTime,
    /// The same moment by a clock that nobody sets.
    monotonic: Instant,
}

impl ServerClock {
    /// Returns the time at the API in whole seconds, if it is known.
    pub(super) fn now(&self) -> Option<i64> {
        let reading = self.reading()?;
        Some(reading.server + unix(SystemTime::now()) - unix(reading.here))
    }

    /// Returns whether the API has to be asked: never before, or this machine's clock was set or slept since.
    pub(super) fn is_stale(&self) -> bool {
        let Some(reading) = self.reading() else {
            return true;
        };
        let passed = SystemTime::now().duration_since(reading.here);
        passed.map_or(true, |passed| {
            passed.abs_diff(reading.monotonic.elapsed()) > STEP_MAX
        })
    }

    /// Takes the time that the API reported now.
    pub(super) fn set(&self, server: i64) {
        *self.0.lock() = Some(Reading {
            server,
            here: SystemTime::now(),
            monotonic: Instant::now(),
        });
    }

    fn reading(&self) -> Option<Reading> {
        *self.0.lock()
    }
}

fn unix(moment: SystemTime) -> i64 {
    let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer {
            application_key: "EXAMPLE-APPKEY".to_owned(),
            application_secret: "EXAMPLE-APPSECRET-0000000000000000".to_owned(),
            consumer_key: "EXAMPLE-CONSUMER-0000000000000000".to_owned(),
            clock: Arc::default(),
        }
    }

    #[track_caller]
    fn check(method: &str, path: &str, body: &str, expected: &str) {
        let url = format!("https://eu.api.ovh.com/1.0/cloud/project/0123456789abcdef0123456789abcdef/{path}");
        let signature = signer().signature(method, &url, body.as_bytes(), "1764000000");
        assert_eq!(signature, format!("$1${expected}"));
    }

    #[test]
    fn signatures_are_those_of_the_vendors_libraries() {
        check(
            "GET",
            "instance?region=GRA11",
            "",
            "7677640eb5134023004bdeb5dcaf128e5bf04117",
        );
        check(
            "POST",
            "sshkey",
            r#"{"name":"k1","publicKey":"ssh-ed25519 AAAA t"}"#,
            "d2652ccba98756e170eabb5ff9b2ef71da26ce73",
        );
        check(
            "DELETE",
            "instance/9f2d",
            "",
            "d6ebce8fff29f92b4b1d88d7cc36b82621610bbe",
        );
    }

    #[test]
    fn the_time_is_the_apis() {
        let clock = ServerClock::default();
        assert!(clock.is_stale() && clock.now().is_none());
        clock.set(1_764_000_000);
        assert!(!clock.is_stale());
        let now = clock.now().unwrap();
        assert!((1_764_000_000..1_764_000_060).contains(&now), "{now}");
    }

    #[tokio::test]
    async fn nothing_is_signed_before_the_time_is_known() {
        let url = "https://eu.api.ovh.com/1.0/me".parse().unwrap();
        let mut request = reqwest::Request::new(reqwest::Method::GET, url);
        assert!(signer().authorize(&mut request).await.is_err());
        assert!(request.headers().is_empty());
    }
}
