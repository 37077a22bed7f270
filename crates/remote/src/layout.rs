//! Where things go on the box.

/// The directories on the box, and who owns the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The directory that holds the directory of each source.
    pub home: String,
    /// Who owns the sources, when that is not the user who logs in.
    pub user: Option<String>,
    /// The directory that holds the manifest of each source.
    pub manifests: String,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            home: "/home/mvm".to_owned(),
            user: Some("mvm".to_owned()),
            manifests: "/var/lib/twolane/manifest".to_owned(),
        }
    }
}
