//! Where things go on the box.

/// The directories on the box, and who owns the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// What comes before each source's directory.
    pub root: String,
    /// Whether the sources belong to their user, and not to whoever logs in.
    pub has_users: bool,
    /// The directory that holds the manifest of each source.
    pub manifests: String,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            root: String::new(),
            has_users: true,
            manifests: "/var/lib/twolane/manifest".to_owned(),
        }
    }
}
