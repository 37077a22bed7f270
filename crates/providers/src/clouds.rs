//! The clouds that there are, with what the environment holds for each.

use model::name::ProviderName;

use crate::{
    CLOUDS,
    environment::{CloudAccess, Environment, provider_name},
};

/// The providers that are no clouds.
const OTHERS: [&str; 3] = ["local", "host", "equinix"];

/// Returns the names of all providers that are built in.
pub fn names() -> impl Iterator<Item = ProviderName> {
    let clouds = CLOUDS.iter().map(|entry| entry.name);
    OTHERS.into_iter().chain(clouds).map(provider_name)
}

/// Returns every cloud, by name, each with what is missing to use it. Sends nothing.
pub fn from_environment(environment: &Environment<'_>) -> Vec<CloudAccess> {
    CLOUDS.iter().map(|entry| entry.known(environment)).collect()
}

/// Returns the address at which a cloud's API answers, where the environment names another than the vendor's own: that of a
/// proxy, or of a fake in a test.
pub fn endpoint(provider: &ProviderName, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let environment = Environment {
        variable,
        machine: None,
        log: None,
    };
    let entry = CLOUDS.iter().find(|entry| entry.name == provider.as_str())?;
    let named = match entry.configured {
        Some(configured) => configured(&environment),
        None => environment.first(entry.endpoint),
    };
    named.filter(|endpoint| endpoint.contains("://"))
}

/// The page of each cloud in the book.
const PAGES: [(&str, &str); 7] = [
    ("aws", include_str!("../../../docs/clouds/aws.md")),
    ("azure", include_str!("../../../docs/clouds/azure.md")),
    ("gcp", include_str!("../../../docs/clouds/gcp.md")),
    ("hetzner", include_str!("../../../docs/clouds/hetzner.md")),
    ("latitude", include_str!("../../../docs/clouds/latitude.md")),
    ("ovh", include_str!("../../../docs/clouds/ovh.md")),
    ("vultr", include_str!("../../../docs/clouds/vultr.md")),
];

/// Returns what the credentials of a cloud have to permit, as its page says: a policy to be pasted, where there is one.
pub fn permissions(provider: &str) -> Option<&'static str> {
    let (_, page) = PAGES.iter().find(|(name, _)| *name == provider)?;
    let mut sections = page.split("\n## ");
    let section = sections.find(|section| {
        section
            .lines()
            .next()
            .is_some_and(|head| head.contains("ermissions"))
    })?;
    let (_, text) = section.split_once('\n')?;
    let block = text
        .split_once("```")
        .and_then(|(_, rest)| rest.split_once('\n')?.1.split_once("```"));
    Some(block.map_or(text, |(block, _)| block).trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::with_variables;

    fn known(variables: &[(&str, &str)]) -> Vec<CloudAccess> {
        with_variables(variables, from_environment)
    }

    fn usable(variables: &[(&str, &str)]) -> Vec<String> {
        known(variables)
            .into_iter()
            .filter(|known| known.missing.is_none())
            .map(|known| known.name.to_string())
            .collect()
    }

    #[test]
    fn a_cloud_is_usable_with_its_credentials() {
        assert_eq!(usable(&[]), Vec::<String>::new());
        assert_eq!(usable(&[("HCLOUD_TOKEN", " ")]), Vec::<String>::new());
        assert_eq!(usable(&[("HCLOUD_TOKEN", "t")]), ["hetzner"]);
        assert_eq!(usable(&[("VULTR_API_KEY", "t")]), ["vultr"]);
        assert_eq!(
            usable(&[("HCLOUD_TOKEN", "t"), ("HCLOUD_ENDPOINT", "nowhere")]),
            Vec::<String>::new()
        );
        assert_eq!(
            usable(&[("GOOGLE_OAUTH_ACCESS_TOKEN", "t")]),
            Vec::<String>::new()
        );
        assert_eq!(
            usable(&[("GOOGLE_OAUTH_ACCESS_TOKEN", "t"), ("GOOGLE_CLOUD_PROJECT", "p")]),
            ["gcp"]
        );
        assert_eq!(usable(&[("AWS_PROFILE", "work")]), ["aws"]);
        assert_eq!(usable(&[("AWS_ACCESS_KEY_ID", "k")]), Vec::<String>::new());
        assert_eq!(
            usable(&[("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")]),
            ["aws"]
        );
    }

    #[test]
    fn every_cloud_says_what_it_needs() {
        for entry in CLOUDS {
            let needed = permissions(entry.name).unwrap_or_default();
            assert!(
                needed.len() > 40 && !needed.contains("```"),
                "{}: {needed}",
                entry.name
            );
        }
        let policy: serde_json::Value = serde_json::from_str(permissions("aws").unwrap()).unwrap();
        assert!(policy["Statement"][0]["Action"].as_array().unwrap().len() > 15);
        assert_eq!(permissions("local"), None);
    }

    #[test]
    fn an_address_that_is_not_the_vendors_is_reported() {
        let at = |provider: &str, name: &str, value: &str| {
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            endpoint(&ProviderName::new(provider).unwrap(), &variable)
        };
        let fake = "http://127.0.0.1:1";
        for entry in CLOUDS {
            for name in entry.endpoint {
                assert_eq!(at(entry.name, name, fake).as_deref(), Some(fake));
                assert_eq!(at(entry.name, name, " "), None);
            }
            assert_eq!(at(entry.name, "HOME", fake), None);
        }
        assert_eq!(at("ovh", "OVH_ENDPOINT", "ovh-eu"), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, format!("[default]\nendpoint_url = {fake}\n")).unwrap();
        let file = file.path().to_str().unwrap();
        assert_eq!(at("aws", "AWS_CONFIG_FILE", file).as_deref(), Some(fake));
        assert_eq!(at("local", "HCLOUD_ENDPOINT", fake), None);
    }

    #[test]
    fn the_project_stands_in_a_service_accounts_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"type": "service_account", "project_id": "acme-ci"}"#).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(usable(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]), ["gcp"]);
    }

    #[test]
    fn without_credentials_a_cloud_can_be_looked_at_and_says_what_is_missing() {
        for known in known(&[]) {
            assert_eq!(known.api.profile().name, known.name);
            assert_ne!(known.api.profile().choices, []);
            let error = known.missing.expect("nothing is set");
            let entry = CLOUDS.iter().find(|entry| entry.name == known.name.as_str());
            let text = format!("{} {}", error.cause, error.help.unwrap_or_default());
            assert!(
                entry
                    .unwrap()
                    .stand_ins
                    .iter()
                    .any(|(variable, _)| text.contains(variable)),
                "{text}"
            );
        }
    }
}
