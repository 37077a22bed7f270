//! What of the environment Azure takes, in the order of Azure's own tools.

use std::{path::PathBuf, sync::Arc};

use model::{cloud::CloudApi, error::ProviderError};

use super::{
    Access, Azure,
    actions::Workflow,
    convert::CREDENTIALS_HELP,
    credentials::{Chain, Realm, Source},
};
use crate::{
    environment::{Entry, Environment, missing},
    http::{Authorize, Bearer},
};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: "azure",
    stand_ins: &[("AZURE_ACCESS_TOKEN", "none"), ("AZURE_SUBSCRIPTION_ID", "none")],
    endpoint: &["AZURE_RESOURCE_MANAGER_ENDPOINT"],
    configured: None,
    make,
};

fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let named = environment.first(&["AZURE_SUBSCRIPTION_ID", "ARM_SUBSCRIPTION_ID"]);
    let login = Login::of(environment, named.as_deref());
    let realm = realm(environment, login.as_ref());
    let authorize: Arc<dyn Authorize> = match environment.get("AZURE_ACCESS_TOKEN") {
        Some(token) => Arc::new(Bearer::new(&token)),
        None => Arc::new(Chain::new(sources(environment, login.as_ref(), realm)?, realm)),
    };
    let subscription = named.or_else(|| login.map(|login| login.subscription));
    let Some(subscription) = subscription else {
        let help = "set AZURE_SUBSCRIPTION_ID to its id: `az account show --query id` reports the one that is chosen";
        return Err(missing("azure", "no subscription of Azure is named", help));
    };
    let is_id = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if !subscription.chars().all(is_id) {
        let cause = format!("`{subscription}` is not the id of a subscription");
        let help = "set AZURE_SUBSCRIPTION_ID to the id, not to the name: `az account list` reports both";
        return Err(missing("azure", &cause, help));
    }
    let access = Access {
        subscription,
        authorize,
        endpoint: environment
            .first(ENTRY.endpoint)
            .or_else(|| Some(realm.endpoint().to_owned())),
        prices: (realm == Realm::Public).then(|| PRICES.to_owned()),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Azure::new(access)?))
}

/// Where the retail prices of the public cloud are.
const PRICES: &str = "https://prices.azure.com";

/// Returns the ways to a token. What was set on purpose is the only one.
fn sources(
    environment: &Environment<'_>,
    login: Option<&Login>,
    realm: Realm,
) -> Result<Vec<Source>, ProviderError> {
    let get = |name: &str| environment.get(name);
    let (tenant, client) = (get("AZURE_TENANT_ID"), get("AZURE_CLIENT_ID"));
    let (secret, file) = (get("AZURE_CLIENT_SECRET"), get("AZURE_FEDERATED_TOKEN_FILE"));
    if secret.is_some() || file.is_some() {
        let (Some(tenant), Some(client)) = (&tenant, &client) else {
            let is_set = if secret.is_some() {
                "AZURE_CLIENT_SECRET"
            } else {
                "AZURE_FEDERATED_TOKEN_FILE"
            };
            let unset = [("AZURE_TENANT_ID", &tenant), ("AZURE_CLIENT_ID", &client)];
            let unset: Vec<_> = unset
                .iter()
                .filter(|(_, value)| value.is_none())
                .map(|(name, _)| *name)
                .collect();
            let verb = if unset.len() == 1 { "is" } else { "are" };
            let cause = format!("{is_set} is set, and {} {verb} not", unset.join(" and "));
            return Err(missing("azure", &cause, CREDENTIALS_HELP));
        };
        let (tenant, client) = (tenant.clone(), client.clone());
        return Ok(match (secret, file) {
            (Some(secret), _) => vec![Source::Secret {
                tenant,
                client,
                secret,
            }],
            (None, file) => vec![Source::Federated {
                tenant,
                client,
                file: file.unwrap_or_default().into(),
            }],
        });
    }
    // What `azure/login` was given is no variable, but `az` has kept it.
    let tenant = tenant.or_else(|| login?.tenant.clone());
    let principal = client.clone().or_else(|| login?.principal.clone());
    let workflow = Workflow::of(environment, realm.audience())
        .zip(tenant.zip(principal))
        .map(|(workflow, (tenant, client))| Source::Workflow {
            tenant,
            client,
            workflow,
        });
    // Elsewhere the address of the machine's identity answers nobody, and takes long to do so.
    let is_azure = |machine: &String| machine.starts_with("Microsoft Corporation Virtual Machine");
    let has_identity = environment.machine.as_ref().is_some_and(is_azure)
        || environment
            .first(&["IDENTITY_ENDPOINT", "MSI_ENDPOINT"])
            .is_some();
    let machine = has_identity.then_some(Source::Machine { client });
    let subscription = login.map(|login| login.subscription.clone());
    let program = login_file(environment).map(|_| Source::Program { subscription });
    let sources: Vec<_> = workflow.into_iter().chain(machine).chain(program).collect();
    if sources.is_empty() {
        let cause = "no credentials of Azure are here";
        return Err(missing("azure", cause, CREDENTIALS_HELP));
    }
    Ok(sources)
}

/// Returns the file in which `az login` keeps who is logged in.
fn login_file(environment: &Environment<'_>) -> Option<PathBuf> {
    match environment.get("AZURE_CONFIG_DIR") {
        Some(dir) => Some(PathBuf::from(dir).join("azureProfile.json")).filter(|path| path.is_file()),
        None => environment.home_file(".azure/azureProfile.json"),
    }
}

/// What `az` keeps of a subscription.
struct Login {
    subscription: String,
    tenant: Option<String>,
    /// The service principal that is logged in.
    principal: Option<String>,
    realm: Option<Realm>,
}

impl Login {
    /// Returns what `az` keeps of the subscription that is named, or else of the one that `az account set` has chosen.
    fn of(environment: &Environment<'_>, named: Option<&str>) -> Option<Self> {
        let text = std::fs::read_to_string(login_file(environment)?).ok()?;
        // `az` writes a byte order mark.
        let profile: serde_json::Value = serde_json::from_str(text.trim_start_matches('\u{feff}')).ok()?;
        let all = profile["subscriptions"].as_array()?;
        let found = all.iter().find(|subscription| match named {
            Some(named) => subscription["id"] == named,
            None => subscription["isDefault"] == true,
        })?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let is_principal = found["user"]["type"] == "servicePrincipal";
        Some(Self {
            subscription: text(&found["id"])?,
            tenant: text(&found["tenantId"]),
            principal: text(&found["user"]["name"]).filter(|_| is_principal),
            realm: found["environmentName"].as_str().and_then(Realm::named),
        })
    }
}

/// Returns which of Azure's clouds is meant.
fn realm(environment: &Environment<'_>, login: Option<&Login>) -> Realm {
    let variables = ["AZURE_ENVIRONMENT", "ARM_ENVIRONMENT", "AZURE_AUTHORITY_HOST"];
    let named = environment.first(&variables).and_then(|name| Realm::named(&name));
    named.or(login.and_then(|login| login.realm)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::with_variables;

    fn made(variables: &[(&str, &str)], machine: Option<&str>) -> Result<(), String> {
        with_variables(variables, |environment| {
            let environment = Environment {
                machine: machine.map(str::to_owned),
                log: None,
                ..*environment
            };
            make(&environment).map(|_| ()).map_err(|error| error.cause)
        })
    }

    const SUBSCRIPTION: (&str, &str) = ("AZURE_SUBSCRIPTION_ID", "0b1f6471-1bf0-4dda-aec3-cb9272f09590");

    #[test]
    fn what_is_half_set_is_named() {
        let secret = ("AZURE_CLIENT_SECRET", "s");
        assert_eq!(
            made(&[SUBSCRIPTION], None).unwrap_err(),
            "no credentials of Azure are here"
        );
        assert_eq!(
            made(&[SUBSCRIPTION, secret], None).unwrap_err(),
            "AZURE_CLIENT_SECRET is set, and AZURE_TENANT_ID and AZURE_CLIENT_ID are not"
        );
        let most = [
            SUBSCRIPTION,
            ("AZURE_FEDERATED_TOKEN_FILE", "/t"),
            ("AZURE_TENANT_ID", "t"),
        ];
        assert_eq!(
            made(&most, None).unwrap_err(),
            "AZURE_FEDERATED_TOKEN_FILE is set, and AZURE_CLIENT_ID is not"
        );
        let all = [secret, ("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c")];
        assert_eq!(made(&all, None).unwrap_err(), "no subscription of Azure is named");
        let named = [
            ("AZURE_ACCESS_TOKEN", "t"),
            ("AZURE_SUBSCRIPTION_ID", "Pay as you go"),
        ];
        assert!(made(&named, None).unwrap_err().contains("not the id"));
    }

    #[test]
    fn each_way_is_enough() {
        let principal = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), SUBSCRIPTION];
        for way in [("AZURE_CLIENT_SECRET", "s"), ("AZURE_FEDERATED_TOKEN_FILE", "/t")] {
            let variables: Vec<_> = principal.iter().copied().chain([way]).collect();
            assert_eq!(made(&variables, None), Ok(()));
        }
        assert_eq!(made(&[SUBSCRIPTION, ("AZURE_ACCESS_TOKEN", "t")], None), Ok(()));
        let here = Some("Microsoft Corporation Virtual Machine");
        assert_eq!(made(&[SUBSCRIPTION], here), Ok(()));
    }

    #[test]
    fn a_login_brings_its_subscription_with_tenant_and_cloud() {
        let dir = tempfile::tempdir().unwrap();
        let profile = r#"{"subscriptions": [
            {"id": "a", "isDefault": false, "tenantId": "t-a", "environmentName": "AzureUSGovernment",
             "user": {"name": "c-a", "type": "servicePrincipal"}},
            {"id": "b", "isDefault": true, "tenantId": "t-b", "environmentName": "AzureCloud", "user": {"name": "eve", "type": "user"}}]}"#;
        std::fs::write(dir.path().join("azureProfile.json"), format!("\u{feff}{profile}")).unwrap();
        let dir = ("AZURE_CONFIG_DIR", dir.path().to_str().unwrap());
        assert_eq!(made(&[dir], None), Ok(()));
        let workflow = [
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://example.com/token"),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "r"),
        ];
        let found = |variables: &[(&str, &str)], named: Option<&str>| {
            with_variables(variables, |environment| {
                let login = Login::of(environment, named);
                let realm = realm(environment, login.as_ref());
                (
                    sources(environment, login.as_ref(), realm).unwrap_or_default(),
                    realm,
                )
            })
        };
        let program = |subscription: &str| Source::Program {
            subscription: Some(subscription.to_owned()),
        };
        assert!(found(&[dir], None) == (vec![program("b")], Realm::Public));
        assert!(found(&[dir], Some("a")) == (vec![program("a")], Realm::Government));
        // In a workflow that logged in as a service principal, fresh assertions come first.
        let [url, token] = workflow;
        let (sources, _) = found(&[dir, url, token], Some("a"));
        let [Source::Workflow { tenant, client, .. }, last] = sources.as_slice() else {
            panic!("{} ways", sources.len())
        };
        assert_eq!((tenant.as_str(), client.as_str()), ("t-a", "c-a"));
        assert!(*last == program("a"));
        assert!(
            found(&[dir, url, token], None).0 == [program("b")],
            "a person makes no assertions"
        );
        let named = [("AZURE_TENANT_ID", "t"), ("AZURE_CLIENT_ID", "c"), url, token];
        assert!(matches!(
            found(&named, None).0.as_slice(),
            [Source::Workflow { .. }]
        ));
    }
}
