//! Whether somebody else answers for a provider: a proxy, or a fake in a test.

/// The variables that say where a provider's API answers.
const VARIABLES: [(&str, &[&str]); 5] = [
    ("hetzner", &["HCLOUD_ENDPOINT"]),
    ("gcp", &["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"]),
    ("aws", &["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"]),
    ("latitude", &["LATITUDESH_ENDPOINT"]),
    // A name such as `ovh-eu` is the vendor's own; an address may be anybody's.
    ("ovh", &["OVH_ENDPOINT"]),
];

/// Returns where a provider's API answers, when `variable` says that this is not the vendor's own address.
pub fn endpoint(provider: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let (_, names) = VARIABLES.iter().find(|(name, _)| *name == provider)?;
    names
        .iter()
        .find_map(|name| variable(name))
        .filter(|endpoint| !endpoint.trim().is_empty() && !endpoint.starts_with("ovh-"))
}
