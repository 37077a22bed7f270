//! AWS's own configuration file (`~/.aws/config`), as far as the calls to EC2 depend on it. Credentials are not read here.

use std::{collections::BTreeMap, fs, path::PathBuf};

use crate::environment::Environment;

/// The chosen profile, and the services that it names.
#[derive(Default)]
pub(super) struct ConfigFile {
    profile: Keys,
    services: Keys,
}

/// A nested key stands behind its outer one, as in `ec2.endpoint_url`.
type Keys = BTreeMap<String, String>;

impl ConfigFile {
    /// Reads the file that the environment names, or that of the user.
    pub(super) fn read(environment: &Environment<'_>) -> Self {
        let named = environment.get("AWS_CONFIG_FILE").map(PathBuf::from);
        let file = named.or_else(|| environment.home_file(".aws/config"));
        let text = file.and_then(|file| fs::read_to_string(file).ok());
        let profile = environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
        Self::parse(&text.unwrap_or_default(), profile.as_deref().unwrap_or("default"))
    }

    fn parse(text: &str, profile: &str) -> Self {
        let mut sections = sections(text);
        // `[default]` needs no `profile`, and counts less where both are there.
        let bare = sections.remove("default").filter(|_| profile == "default");
        let profile = sections.remove(&format!("profile {profile}")).or(bare);
        let profile = profile.unwrap_or_default();
        let services = profile.get("services").map(|name| format!("services {name}"));
        let services = services.and_then(|name| sections.remove(&name));
        Self {
            profile,
            services: services.unwrap_or_default(),
        }
    }

    /// Returns a value of the chosen profile.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.profile.get(key).cloned()
    }

    /// Returns where EC2 answers, if that is said.
    pub(super) fn endpoint(&self) -> Option<String> {
        let own = self.services.get("ec2.endpoint_url").cloned();
        own.or_else(|| self.get("endpoint_url"))
    }
}

fn sections(text: &str) -> BTreeMap<String, Keys> {
    let mut sections: BTreeMap<String, Keys> = BTreeMap::new();
    let (mut section, mut outer) = (String::new(), String::new());
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    for line in lines.filter(|line| !line.trim_start().starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.split(']').next()) {
            section = name.split_whitespace().collect::<Vec<_>>().join(" ");
        } else if let Some((key, value)) = line.split_once('=') {
            let (is_nested, key) = (key.starts_with([' ', '\t']), key.trim());
            let value = value.split(" #").next().unwrap_or_default().trim();
            let key = match is_nested {
                true => format!("{outer}.{key}"),
                false => key.to_owned(),
            };
            if !is_nested {
                outer.clone_from(&key);
            }
            let keys = sections.entry(section.clone()).or_default();
            keys.insert(key, value.to_owned());
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[default]
region = eu-west-1
s3 =
    max_concurrent_requests = 20
    region = x
# region = y
[profile ci]
output = json
region=us-west-2  # the cheap one
services = inside
endpoint_url = https://all.example.com
ca_bundle = /etc/ssl/inside.pem
[sso-session ci]
region = x
[services inside]
s3 =
  endpoint_url = https://s3.example.com
ec2 =
  endpoint_url = https://ec2.example.com
";

    #[test]
    fn values_come_from_the_chosen_profile() {
        let value = |profile, key| ConfigFile::parse(TEXT, profile).get(key);
        assert_eq!(value("default", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(value("ci", "region").as_deref(), Some("us-west-2"));
        assert_eq!(value("ci", "ca_bundle").as_deref(), Some("/etc/ssl/inside.pem"));
        assert_eq!(value("default", "ca_bundle"), None);
        assert_eq!(value("other", "region"), None);
    }

    #[test]
    fn endpoint_of_the_service_comes_before_that_of_all() {
        let endpoint = |text: &str| ConfigFile::parse(text, "ci").endpoint();
        assert_eq!(endpoint(TEXT).as_deref(), Some("https://ec2.example.com"));
        let without = TEXT.replace("services = inside", "");
        assert_eq!(endpoint(&without).as_deref(), Some("https://all.example.com"));
        assert_eq!(ConfigFile::parse(TEXT, "default").endpoint(), None);
    }
}
