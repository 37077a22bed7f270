//! Assertions of the workflow of GitHub Actions that this runs in. Each lives for minutes; a new one is made for each token,
//! so that a run may last longer than the login that came before it.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use azure_core::{Error, error::ErrorKind, http::ClientMethodOptions};
use azure_identity::ClientAssertion;
use reqwest::Url;
use serde::Deserialize;

use crate::{environment::Environment, http::is_here};

/// How long GitHub may take.
const TIME_MAX: Duration = Duration::from_secs(30);

/// A workflow that may make assertions of itself.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Workflow {
    url: String,
    pub(super) token: String,
    audience: &'static str,
}

impl fmt::Debug for Workflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workflow").finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Assertion {
    value: String,
}

impl Workflow {
    /// Returns the workflow that this runs in, if it has `permissions: id-token: write`.
    pub(super) fn of(environment: &Environment<'_>, audience: &'static str) -> Option<Self> {
        Some(Self {
            url: environment.get("ACTIONS_ID_TOKEN_REQUEST_URL")?,
            token: environment.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")?,
            audience,
        })
    }

    async fn assertion(&self) -> Result<String, String> {
        let mut url = Url::parse(&self.url).map_err(|error| error.to_string())?;
        url.query_pairs_mut().append_pair("audience", self.audience);
        let mut client = reqwest::Client::builder().timeout(TIME_MAX);
        if is_here(&url) {
            client = client.no_proxy();
        }
        let ask = async {
            let request = client.build()?.get(url).bearer_auth(&self.token);
            let answer = request.send().await?.error_for_status()?;
            answer.bytes().await
        };
        let body = ask
            .await
            .map_err(|error: reqwest::Error| error.without_url().to_string())?;
        let assertion = serde_json::from_slice::<Assertion>(&body);
        let assertion = assertion.map_err(|_| "the answer holds no assertion".to_owned())?;
        Ok(assertion.value)
    }
}

#[async_trait]
impl ClientAssertion for Workflow {
    async fn secret(&self, _options: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let assertion = self.assertion().await;
        assertion.map_err(|why| {
            let cause = format!("GitHub gave no assertion of this workflow: {why}");
            Error::with_message(ErrorKind::Credential, cause)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use axum::{Json, Router, extract::Query, http::HeaderMap, routing::get};
    use serde_json::{Value, json};

    use super::*;

    type Parameters = Query<std::collections::BTreeMap<String, String>>;

    /// GitHub makes another assertion each time.
    async fn make(Query(query): Parameters, headers: HeaderMap) -> Json<Value> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let may = headers["authorization"] == "Bearer runtime-token" && query["api-version"] == "2.0";
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        Json(match may {
            true => json!({"value": format!("{}#{number}", query["audience"])}),
            false => json!({"message": "no"}),
        })
    }

    #[tokio::test]
    async fn each_token_is_asked_for_with_a_fresh_assertion() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token?api-version=2.0", listener.local_addr().unwrap());
        let router = Router::new().route("/token", get(make));
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let mut workflow = Workflow {
            url,
            token: "runtime-token".to_owned(),
            audience: "api://AzureADTokenExchange",
        };
        for number in 0..2 {
            let assertion = workflow.secret(None).await.unwrap();
            assert_eq!(assertion, format!("api://AzureADTokenExchange#{number}"));
        }
        workflow.token = "another-token".to_owned();
        let why = workflow.secret(None).await.unwrap_err().to_string();
        assert!(
            why.contains("holds no assertion") && !why.contains("another-token"),
            "{why}"
        );
        server.abort();
    }
}
