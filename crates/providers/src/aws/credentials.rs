//! AWS's own chain of credentials, and the signature that it puts on a request.

use std::{fs, path::PathBuf, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider},
};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode};
use model::time::Timestamp;
use parking_lot::Mutex;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::OnceCell;

use crate::http::Authorize;

/// Who asks: environment, profiles, SSO, web identity, container or instance role, in AWS's own order.
#[derive(Default)]
pub struct Identity {
    provider: OnceCell<SharedCredentialsProvider>,
    /// What was signed with last, so that it can be kept out of messages.
    used: Mutex<Vec<String>>,
    /// When the credentials expire that were exported to the environment.
    expiry: Option<Timestamp>,
    /// The only certificates that count.
    ca_bundle: Option<PathBuf>,
}

impl Identity {
    /// Returns an identity with one fixed key.
    pub fn fixed(key_id: &str, secret: &str) -> Self {
        let credentials = Credentials::new(key_id, secret, None, None, "fixed");
        let provider = OnceCell::new_with(Some(SharedCredentialsProvider::new(credentials)));
        Self {
            provider,
            ..Self::default()
        }
    }

    /// Says when nothing can be signed any more.
    pub fn expiring(self, expiry: Option<Timestamp>) -> Self {
        Self { expiry, ..self }
    }

    /// Says which certificates alone count where credentials are asked for.
    pub fn trusting(self, ca_bundle: Option<PathBuf>) -> Self {
        Self { ca_bundle, ..self }
    }

    /// Returns AWS's chain. It does not know of a bundle of certificates by itself.
    fn chain(&self) -> Result<ConfigLoader, String> {
        let chain = aws_config::defaults(BehaviorVersion::latest());
        let Some(file) = &self.ca_bundle else {
            return Ok(chain);
        };
        let pem = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let tls = TlsContext::builder()
            .with_trust_store(TrustStore::empty().with_pem_certificate(pem))
            .build()
            .map_err(|error| format!("{}: {error}", file.display()))?;
        let client = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc))
            .tls_context(tls);
        Ok(chain.http_client(client.build_https()))
    }

    async fn credentials(&self) -> Result<Credentials, String> {
        let load = || async {
            let config = self.chain()?.load().await;
            config
                .credentials_provider()
                .ok_or_else(|| "AWS's chain holds no credentials".to_owned())
        };
        let provider = self.provider.get_or_try_init(load).await?;
        let credentials = provider.provide_credentials().await.map_err(|error| {
            let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
            format!("{error}{}", source.unwrap_or_default())
        })?;
        let secrets = [Some(credentials.secret_access_key()), credentials.session_token()];
        *self.used.lock() = secrets.into_iter().flatten().map(str::to_owned).collect();
        Ok(credentials)
    }
}

/// Signs requests to one service in one region.
pub(super) struct Signer {
    pub(super) identity: Arc<Identity>,
    /// As signatures name it.
    pub(super) service: &'static str,
    pub(super) region: String,
}

#[async_trait]
impl Authorize for Signer {
    async fn authorize(&self, request: &mut reqwest::Request) -> Result<(), String> {
        let identity = self.identity.credentials().await?.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let headers = request
            .headers()
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = request
            .body()
            .and_then(reqwest::Body::as_bytes)
            .unwrap_or_default();
        let url = request.url().as_str();
        let signable =
            SignableRequest::new(request.method().as_str(), url, headers, SignableBody::Bytes(body))
                .map_err(|error| error.to_string())?;
        let (instructions, _) = sign(signable, &params)
            .map_err(|error| error.to_string())?
            .into_parts();
        let (signed, _) = instructions.into_parts();
        for header in signed {
            let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(header.value()).map_err(|error| error.to_string())?;
            value.set_sensitive(true);
            request.headers_mut().insert(name, value);
        }
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        self.identity.used.lock().clone()
    }

    fn expiry(&self) -> Option<Timestamp> {
        self.identity.expiry
    }
}
