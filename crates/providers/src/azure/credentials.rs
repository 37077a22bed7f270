//! Azure's own chain of credentials: a service principal, a federated token, the machine's identity, the `az` program.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use async_trait::async_trait;
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_identity::{
    AzureCliCredential, ClientSecretCredential, ManagedIdentityCredential, ManagedIdentityCredentialOptions,
    UserAssignedId, WorkloadIdentityCredential, WorkloadIdentityCredentialOptions,
};
use reqwest::header::{AUTHORIZATION, HeaderValue};

use crate::http::Authorize;

const SCOPE: &str = "https://management.azure.com/.default";

/// A token is not used in its last minutes.
const SPARE: Duration = Duration::from_secs(5 * 60);

/// One way to a token.
#[derive(Clone)]
pub(super) enum Source {
    /// A service principal with a secret.
    Secret {
        tenant: String,
        client: String,
        secret: String,
    },
    /// A token of somebody Azure trusts, in a file that is kept fresh.
    Federated {
        tenant: String,
        client: String,
        file: PathBuf,
    },
    /// The identity of the machine that this runs on.
    Machine { client: Option<String> },
    /// Whoever is logged in with `az`.
    Program,
}

impl Source {
    fn word(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "the service principal of AZURE_CLIENT_SECRET",
            Self::Federated { .. } => "the token of AZURE_FEDERATED_TOKEN_FILE",
            Self::Machine { .. } => "this machine's identity",
            Self::Program => "`az`",
        }
    }

    fn credential(&self) -> CredentialResult {
        Ok(match self.clone() {
            Self::Secret {
                tenant,
                client,
                secret,
            } => ClientSecretCredential::new(&tenant, client, Secret::new(secret), None)?,
            Self::Federated { tenant, client, file } => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    client_id: Some(client),
                    tenant_id: Some(tenant),
                    token_file_path: Some(file),
                    ..WorkloadIdentityCredentialOptions::default()
                }))?
            }
            Self::Machine { client } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client.map(UserAssignedId::ClientId),
                    ..ManagedIdentityCredentialOptions::default()
                }))?
            }
            Self::Program => AzureCliCredential::new(None)?,
        })
    }
}

/// What a way is set up as, or why it cannot be.
type CredentialResult = azure_core::Result<Arc<dyn TokenCredential>>;

/// The first of several ways that gives a token.
pub(super) struct Chain {
    sources: Vec<(Source, OnceLock<CredentialResult>)>,
    /// What was sent last, until it expires: not every way keeps its token.
    token: Mutex<Option<AccessToken>>,
}

impl Chain {
    /// Sets nothing up: that is done when a token is needed first.
    pub(super) fn new(sources: Vec<Source>) -> Self {
        let sources = sources.into_iter().map(|source| (source, OnceLock::new()));
        Self {
            sources: sources.collect(),
            token: Mutex::new(None),
        }
    }

    fn kept(&self) -> Option<AccessToken> {
        let token = self.token.lock();
        token.clone().filter(is_fresh)
    }

    async fn token(&self) -> Result<AccessToken, String> {
        if let Some(kept) = self.kept() {
            return Ok(kept);
        }
        let mut failures = Vec::new();
        for (source, made) in &self.sources {
            let outcome = match made.get_or_init(|| source.credential()) {
                Ok(credential) => credential
                    .get_token(&[SCOPE], None)
                    .await
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match outcome {
                Ok(token) => {
                    *self.token.lock() = Some(token.clone());
                    return Ok(token);
                }
                Err(error) => failures.push(format!("{}: {error}", source.word())),
            }
        }
        Err(format!("Azure gave no token: {}", failures.join("; ")))
    }
}

fn is_fresh(token: &AccessToken) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + SPARE;
    u64::try_from(token.expires_on.unix_timestamp()).is_ok_and(|end| end > now.as_secs())
}

#[async_trait]
impl Authorize for Chain {
    async fn authorize(&self, request: &mut reqwest::Request) -> Result<(), String> {
        let token = self.token().await?;
        let value = HeaderValue::from_str(&format!("Bearer {}", token.token.secret()));
        let mut value = value.map_err(|_| "the token holds characters that no token has".to_owned())?;
        value.set_sensitive(true);
        request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        let token = self.token.lock();
        let sent = token.iter().map(|token| token.token.secret().to_owned());
        let own = self.sources.iter().filter_map(|(source, _)| match source {
            Source::Secret { secret, .. } => Some(secret.clone()),
            Source::Federated { .. } | Source::Machine { .. } | Source::Program => None,
        });
        sent.chain(own).collect()
    }
}

/// Proves nothing: for an address that holds its own permission.
pub(super) struct Nobody;

#[async_trait]
impl Authorize for Nobody {
    async fn authorize(&self, _request: &mut reqwest::Request) -> Result<(), String> {
        Ok(())
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_way_that_gives_no_token_is_named() {
        let chain = Chain::new(vec![Source::Federated {
            tenant: "t".to_owned(),
            client: "c".to_owned(),
            file: "/nonexistent/token".into(),
        }]);
        let why = chain.token().await.unwrap_err();
        assert!(why.contains("AZURE_FEDERATED_TOKEN_FILE"), "{why}");
        assert_eq!(chain.secrets(), Vec::<String>::new());
    }
}
