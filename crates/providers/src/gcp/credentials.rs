//! Google's own chain of credentials: a file, the user's login, workload identity, the metadata server.

use std::sync::OnceLock;

use async_trait::async_trait;
use google_cloud_auth::credentials::{Builder, CacheableResource, Credentials};
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use crate::http::Authorize;

const SCOPE: &str = "https://www.googleapis.com/auth/compute";

/// Application default credentials.
#[derive(Default)]
pub(crate) struct DefaultCredentials {
    found: OnceLock<Result<Credentials, String>>,
    /// What was sent last, so that it can be kept out of messages.
    sent: Mutex<Vec<String>>,
}

#[async_trait]
impl Authorize for DefaultCredentials {
    async fn authorize(&self, request: &mut reqwest::Request) -> Result<(), String> {
        let build = || {
            Builder::default()
                .with_scopes([SCOPE])
                .build()
                .map_err(|error| error.to_string())
        };
        let credentials = self.found.get_or_init(build).as_ref().map_err(Clone::clone)?;
        let headers = credentials
            .headers(Default::default())
            .await
            .map_err(|error| error.to_string())?;
        let CacheableResource::New { data, .. } = headers else {
            return Err("Google's credentials gave no token".to_owned());
        };
        for (name, value) in &data {
            let mut value: HeaderValue = value.clone();
            value.set_sensitive(true);
            if name == AUTHORIZATION {
                *self.sent.lock() = token_of(&value);
            }
            request.headers_mut().insert(name.clone(), value);
        }
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        self.sent.lock().clone()
    }
}

fn token_of(value: &HeaderValue) -> Vec<String> {
    let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
    token.map(str::to_owned).into_iter().collect()
}
