//! Azure's own chain of credentials: a service principal, a federated token, a workflow's own assertions, the machine's
//! identity, the `az` program.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use azure_core::{
    cloud::CloudConfiguration,
    credentials::{AccessToken, Secret, TokenCredential},
    http::ClientOptions,
};
use azure_identity::{
    AzureCliCredential, AzureCliCredentialOptions, ClientAssertionCredential,
    ClientAssertionCredentialOptions, ClientSecretCredential, ClientSecretCredentialOptions,
    ManagedIdentityCredential, ManagedIdentityCredentialOptions, UserAssignedId, WorkloadIdentityCredential,
    WorkloadIdentityCredentialOptions,
};
use parking_lot::Mutex;
use reqwest::header::{AUTHORIZATION, HeaderValue};

use super::actions::Workflow;
use crate::http::Authorize;

/// A token is not used in its last minutes.
const SPARE: Duration = Duration::from_secs(5 * 60);

/// One of the clouds that Azure is: each has an API, a login and names of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Realm {
    #[default]
    Public,
    Government,
    China,
}

impl Realm {
    /// Reads a name as `az`, Terraform or Azure's libraries write it, or the host of a login.
    pub(super) fn named(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let is = |word: &str| name.contains(word);
        match () {
            () if is("government") || is("microsoftonline.us") => Some(Self::Government),
            () if is("china") || is("partner.microsoftonline.cn") => Some(Self::China),
            () if ["azurecloud", "public", "azurepubliccloud"].contains(&name.as_str()) => Some(Self::Public),
            () => None,
        }
    }

    /// Returns where its API answers.
    pub(super) fn endpoint(self) -> &'static str {
        match self {
            Self::Public => "https://management.azure.com",
            Self::Government => "https://management.usgovcloudapi.net",
            Self::China => "https://management.chinacloudapi.cn",
        }
    }

    /// Returns what a token is asked for.
    fn scope(self) -> String {
        format!("{}/.default", self.endpoint())
    }

    /// Returns whom an assertion of somebody else is made for.
    pub(super) fn audience(self) -> &'static str {
        match self {
            Self::Public => "api://AzureADTokenExchange",
            Self::Government => "api://AzureADTokenExchangeUSGov",
            Self::China => "api://AzureADTokenExchangeChina",
        }
    }

    fn options(self) -> ClientOptions {
        let cloud = match self {
            // Then AZURE_AUTHORITY_HOST counts.
            Self::Public => None,
            Self::Government => Some(Arc::new(CloudConfiguration::AzureGovernment)),
            Self::China => Some(Arc::new(CloudConfiguration::AzureChina)),
        };
        ClientOptions {
            cloud,
            ..ClientOptions::default()
        }
    }
}

/// One way to a token.
#[derive(Clone, PartialEq, Eq)]
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
    /// The workflow of GitHub Actions that this runs in: it makes a fresh assertion for each token.
    Workflow {
        tenant: String,
        client: String,
        workflow: Workflow,
    },
    /// The identity of the machine that this runs on.
    Machine { client: Option<String> },
    /// Whoever is logged in with `az`; for a subscription, in the tenant that this belongs to.
    Program { subscription: Option<String> },
}

impl Source {
    fn word(&self) -> &'static str {
        match self {
            Self::Secret { .. } => "the service principal of AZURE_CLIENT_SECRET",
            Self::Federated { .. } => "the token of AZURE_FEDERATED_TOKEN_FILE",
            Self::Workflow { .. } => "the workflow's own assertion",
            Self::Machine { .. } => "this machine's identity",
            Self::Program { .. } => "`az`",
        }
    }

    fn credential(&self, realm: Realm) -> CredentialResult {
        let assertion = || ClientAssertionCredentialOptions {
            client_options: realm.options(),
        };
        Ok(match self.clone() {
            Self::Secret {
                tenant,
                client,
                secret,
            } => {
                let client_options = realm.options();
                let options = Some(ClientSecretCredentialOptions { client_options });
                ClientSecretCredential::new(&tenant, client, Secret::new(secret), options)?
            }
            Self::Workflow {
                tenant,
                client,
                workflow,
            } => ClientAssertionCredential::new(tenant, client, workflow, Some(assertion()))?,
            Self::Federated { tenant, client, file } => {
                WorkloadIdentityCredential::new(Some(WorkloadIdentityCredentialOptions {
                    client_id: Some(client),
                    tenant_id: Some(tenant),
                    token_file_path: Some(file),
                    credential_options: assertion(),
                }))?
            }
            Self::Machine { client } => {
                ManagedIdentityCredential::new(Some(ManagedIdentityCredentialOptions {
                    user_assigned_id: client.map(UserAssignedId::ClientId),
                    ..ManagedIdentityCredentialOptions::default()
                }))?
            }
            Self::Program { subscription } => AzureCliCredential::new(Some(AzureCliCredentialOptions {
                subscription,
                ..AzureCliCredentialOptions::default()
            }))?,
        })
    }
}

/// What a way is set up as, or why it cannot be.
type CredentialResult = azure_core::Result<Arc<dyn TokenCredential>>;

/// The first of several ways that gives a token.
pub(super) struct Chain {
    realm: Realm,
    sources: Vec<(Source, OnceLock<CredentialResult>)>,
    /// What was sent last, until it expires: not every way keeps its token.
    token: Mutex<Option<AccessToken>>,
}

impl Chain {
    /// Sets nothing up: that is done when a token is needed first.
    pub(super) fn new(sources: Vec<Source>, realm: Realm) -> Self {
        let sources = sources.into_iter().map(|source| (source, OnceLock::new()));
        Self {
            realm,
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
            let outcome = match made.get_or_init(|| source.credential(self.realm)) {
                Ok(credential) => credential
                    .get_token(&[&self.realm.scope()], None)
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
            Source::Workflow { workflow, .. } => Some(workflow.token.clone()),
            Source::Federated { .. } | Source::Machine { .. } | Source::Program { .. } => None,
        });
        sent.chain(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_way_that_gives_no_token_is_named() {
        let source = Source::Federated {
            tenant: "t".to_owned(),
            client: "c".to_owned(),
            file: "/nonexistent/token".into(),
        };
        let chain = Chain::new(vec![source], Realm::Public);
        let why = chain.token().await.unwrap_err();
        assert!(why.contains("AZURE_FEDERATED_TOKEN_FILE"), "{why}");
        assert_eq!(chain.secrets(), Vec::<String>::new());
    }

    #[test]
    fn each_realm_has_an_api_and_a_login_of_its_own() {
        for (names, realm, scope) in [
            (
                ["AzureCloud", "public"],
                Realm::Public,
                "https://management.azure.com/.default",
            ),
            (
                ["AzureUSGovernment", "https://login.microsoftonline.us/"],
                Realm::Government,
                "https://management.usgovcloudapi.net/.default",
            ),
            (
                ["AzureChinaCloud", "china"],
                Realm::China,
                "https://management.chinacloudapi.cn/.default",
            ),
        ] {
            assert!(
                names.iter().all(|name| Realm::named(name) == Some(realm)),
                "{names:?}"
            );
            assert_eq!(realm.scope(), scope);
            assert_eq!(realm.options().cloud.is_some(), realm != Realm::Public);
        }
        assert_eq!(Realm::named("AzureStack"), None);
    }
}
