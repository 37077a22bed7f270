//! The one HTTP client of all clouds: a chain of small handlers, whose order is the body of [`Client::send`].
//! Nothing here repeats a request; that is the engine's.

mod authorize;
mod dialect;
mod lenient;
mod log;
mod redact;
mod request;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use model::{
    error::{ErrorKind, ProviderError},
    name::ProviderName,
    text::error_chain,
    time::Timestamp,
};
use parking_lot::Mutex;
use reqwest::{StatusCode, Url, header};
use serde::de::DeserializeOwned;

pub(crate) use self::lenient::{PAGES_MAX, endless, or_default, or_unknown, rows, unknown};
pub use self::{
    authorize::{Authorize, Bearer, Nobody},
    dialect::{ApiError, Dialect, Effect, by_status, seconds},
    log::{Exchange, RequestLog},
    redact::redact,
    request::{Body, Request},
};

/// How long one request may take, answer included.
const TIME_MAX: Duration = Duration::from_secs(60);

/// How long a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const ANSWER_MAX: usize = 64 << 20;

/// What of an answer that makes no sense is shown.
const SHOWN_MAX: usize = 300;

/// What a client has to know of its cloud.
#[derive(Clone)]
pub struct Settings {
    /// Whose API it is.
    pub provider: ProviderName,
    /// Where the API answers: scheme, host and the path that all requests share.
    pub endpoint: String,
    /// How a request proves who asks.
    pub authorize: Arc<dyn Authorize>,
    /// How the API reports what went wrong.
    pub dialect: &'static dyn Dialect,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take, answer included; none: a minute.
    pub time_max: Option<Duration>,
}

/// A client of one cloud's API.
pub struct Client {
    settings: Settings,
    endpoint: Url,
    shared: Arc<Shared>,
}

/// What the clients of all places of a cloud have in common.
#[derive(Default)]
struct Shared {
    /// The connections. They are set up when they are needed first, as that reads all certificates.
    http: OnceLock<Result<reqwest::Client, String>>,
    /// The only certificates that count.
    ca_bundle: Option<PathBuf>,
    /// What the last answer said of the time.
    now: Mutex<Option<Timestamp>>,
}

/// An answer that says that all went well.
#[derive(Debug)]
pub struct Answer {
    /// Its headers.
    pub headers: header::HeaderMap,
    /// Its body.
    pub body: Vec<u8>,
}

impl Client {
    /// Makes a client. Fails for an endpoint that is no URL.
    pub fn new(settings: Settings) -> Result<Self, ProviderError> {
        Self::sharing(Arc::default(), settings)
    }

    /// Takes no certificates but those of a file.
    pub fn trusting(self, ca_bundle: Option<PathBuf>) -> Self {
        let shared = Shared {
            ca_bundle,
            ..Shared::default()
        };
        Self {
            shared: Arc::new(shared),
            ..self
        }
    }

    /// Makes a client for another place of the same cloud, over the same connections.
    pub fn at(&self, endpoint: &str, authorize: Arc<dyn Authorize>) -> Result<Self, ProviderError> {
        let settings = Settings {
            endpoint: endpoint.to_owned(),
            authorize,
            ..self.settings.clone()
        };
        Self::sharing(self.shared.clone(), settings)
    }

    fn sharing(shared: Arc<Shared>, settings: Settings) -> Result<Self, ProviderError> {
        let endpoint = Url::parse(settings.endpoint.trim_end_matches('/'));
        let endpoint = endpoint
            .ok()
            .filter(|url| url.has_host())
            .ok_or_else(|| ProviderError {
                kind: ErrorKind::Invalid,
                provider: settings.provider.clone(),
                operation: "be used".to_owned(),
                cause: format!("its endpoint `{}` is not a URL", settings.endpoint),
                help: Some("write it like https://api.example.com/v1".to_owned()),
            })?;
        Ok(Self {
            settings,
            endpoint,
            shared,
        })
    }

    /// Returns the moment by the provider's own clock, as its last answer reported it.
    pub fn now(&self) -> Option<Timestamp> {
        *self.shared.now.lock()
    }

    /// Returns when the credentials expire, where that is known and nothing renews them.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.settings.authorize.expiry()
    }

    fn http(&self, request: &Request) -> Result<&reqwest::Client, ProviderError> {
        let connections = self.shared.http.get_or_init(|| {
            let mut builder = reqwest::Client::builder()
                .user_agent(concat!("twolane/", env!("CARGO_PKG_VERSION")))
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_MAX)
                .timeout(self.settings.time_max.unwrap_or(TIME_MAX));
            if is_here(&self.endpoint) {
                builder = builder.no_proxy();
            }
            if let Some(file) = &self.shared.ca_bundle {
                builder = builder.tls_certs_only(certificates(file)?);
            }
            builder.build().map_err(|error| error_chain(&error.without_url()))
        });
        connections.as_ref().map_err(|why| {
            self.error(
                request,
                ErrorKind::Invalid,
                format!("its client cannot be set up: {why}"),
            )
            .with_help(match &self.shared.ca_bundle {
                Some(_) => "name a file of certificates in PEM, or none",
                None => "install the package `ca-certificates`, or set SSL_CERT_FILE",
            })
        })
    }

    /// Sends a request and reads its answer as JSON.
    pub async fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ProviderError> {
        let answer = self.send(request).await?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            self.garbled(
                request,
                format!(
                    "the answer is not what its API describes ({error}): {}",
                    shown(&answer.body)
                ),
            )
        })
    }

    /// Sends a request. A failed response is an error, with its kind.
    pub async fn send(&self, request: &Request) -> Result<Answer, ProviderError> {
        let mut built = self.build(request)?;
        self.authorize(request, &mut built).await?;
        let began = Instant::now();
        let outcome = self.exchange(request, built).await;
        self.record(request, began, &outcome);
        let (status, answer) = outcome?;
        self.classify(request, status, answer)
    }

    fn build(&self, request: &Request) -> Result<reqwest::Request, ProviderError> {
        let mut url = self.endpoint.clone();
        url.set_path(&format!(
            "{}{}",
            self.endpoint.path().trim_end_matches('/'),
            request.path
        ));
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let builder = self
            .http(request)?
            .request(request.method.clone(), url)
            .header(header::ACCEPT, request.accept());
        let builder = match &request.body {
            Body::None => builder,
            Body::Json(value) => builder.json(value),
            Body::Form(pairs) => builder.form(pairs),
            Body::Target(target, value) => builder
                .header("x-amz-target", *target)
                .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
                .body(value.to_string()),
        };
        builder.build().map_err(|error| {
            self.error(
                request,
                ErrorKind::Invalid,
                format!("the request cannot be built: {}", error.without_url()),
            )
        })
    }

    async fn authorize(&self, request: &Request, built: &mut reqwest::Request) -> Result<(), ProviderError> {
        let outcome = self.settings.authorize.authorize(built).await;
        outcome.map_err(|why| {
            self.error(request, ErrorKind::Unauthorized, why)
                .with_help(self.settings.dialect.credentials_help())
        })
    }

    async fn exchange(
        &self,
        request: &Request,
        built: reqwest::Request,
    ) -> Result<(StatusCode, Answer), ProviderError> {
        let mut response = self
            .http(request)?
            .execute(built)
            .await
            .map_err(|error| self.cut(request, error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        self.read_clock(&headers);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.cut(request, error))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(self.garbled(request, "the answer has no end".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, Answer { headers, body }))
    }

    fn read_clock(&self, headers: &header::HeaderMap) {
        let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
        let reported = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        if let Some(reported) = reported {
            *self.shared.now.lock() = Some(reported.timestamp());
        }
    }

    fn record(
        &self,
        request: &Request,
        began: Instant,
        outcome: &Result<(StatusCode, Answer), ProviderError>,
    ) {
        let Some(log) = &self.settings.log else { return };
        let (status, headers) = match outcome {
            Ok((status, answer)) => (Some(status.as_u16()), Some(&answer.headers)),
            Err(_) => (None, None),
        };
        let id = headers.and_then(|headers| headers.get(self.settings.dialect.request_id_header()));
        log.record(&Exchange {
            provider: self.settings.provider.clone(),
            operation: request.operation,
            method: request.method.to_string(),
            path: request.path.clone(),
            status,
            took: began.elapsed(),
            request_id: id.and_then(|id| id.to_str().ok()).map(str::to_owned),
        });
    }

    fn classify(
        &self,
        request: &Request,
        status: StatusCode,
        answer: Answer,
    ) -> Result<Answer, ProviderError> {
        if status.is_success() {
            return Ok(answer);
        }
        let dialect = self.settings.dialect;
        let reported = dialect.read_error(&answer.body).unwrap_or_else(|| ApiError {
            code: String::new(),
            message: shown(&answer.body),
        });
        // What an API says is text of a stranger's: one line, and not a long one.
        let reported = ApiError {
            message: shown(reported.message.as_bytes()),
            code: match reported.code.is_empty() {
                true => String::new(),
                false => shown(reported.code.as_bytes()),
            },
        };
        let kind = match dialect.kind(status.as_u16(), &reported, request.effect) {
            ErrorKind::RateLimited { retry_after: None } => ErrorKind::RateLimited {
                retry_after: dialect.retry_after(&answer.headers),
            },
            kind => kind,
        };
        let code = if reported.code.is_empty() {
            String::new()
        } else {
            format!("{}, ", reported.code)
        };
        let help = dialect
            .help(&kind, &reported)
            .or_else(|| (kind == ErrorKind::Unauthorized).then(|| dialect.credentials_help().to_owned()));
        let cause = format!("{} ({code}HTTP {})", reported.message, status.as_u16());
        Err(ProviderError {
            help,
            ..self.error(request, kind, cause)
        })
    }

    /// The connection failed. Nothing was asked when it was never there.
    fn cut(&self, request: &Request, error: reqwest::Error) -> ProviderError {
        let kind = match request.effect {
            Effect::Creates if !error.is_connect() => ErrorKind::Unanswered,
            Effect::Creates | Effect::Repeatable => ErrorKind::Unavailable,
        };
        let what = if error.is_timeout() {
            "no answer in time"
        } else {
            "the connection failed"
        };
        self.error(
            request,
            kind,
            format!("{what}: {}", error_chain(&error.without_url())),
        )
    }

    /// An answer came and says nothing: what was asked may have happened.
    pub fn garbled(&self, request: &Request, cause: String) -> ProviderError {
        let kind = match request.effect {
            Effect::Creates => ErrorKind::Unanswered,
            Effect::Repeatable => ErrorKind::Unavailable,
        };
        self.error(request, kind, cause)
    }

    fn error(&self, request: &Request, kind: ErrorKind, cause: String) -> ProviderError {
        ProviderError {
            kind,
            provider: self.settings.provider.clone(),
            operation: request.operation.to_owned(),
            cause: redact(&cause, &self.settings.authorize.secrets()),
            help: None,
        }
    }
}

/// Reads certificates in PEM.
fn certificates(file: &Path) -> Result<Vec<reqwest::Certificate>, String> {
    let pem = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    match reqwest::Certificate::from_pem_bundle(&pem) {
        Ok(found) if found.is_empty() => Err(format!("{} holds no certificate", file.display())),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{}: {error}", file.display())),
    }
}

/// Returns whether the endpoint is on this machine, where no proxy is asked.
pub(crate) fn is_here(endpoint: &Url) -> bool {
    endpoint
        .host_str()
        .is_some_and(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]")
}

/// Returns the beginning of an answer, on one line.
fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_MAX)]);
    let line: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if line.trim().is_empty() {
        "an empty answer".to_owned()
    } else {
        line.trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_api_says_is_one_short_line() {
        let text = shown("\u{1b}[2Jno\n::error::such\r".repeat(1000).as_bytes());
        assert!(text.len() <= SHOWN_MAX, "{}", text.len());
        assert!(!text.contains(char::is_control), "{text:?}");
        assert_eq!(shown(b"\n \0"), "an empty answer");
    }
}
