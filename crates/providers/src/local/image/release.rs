//! The releases that images can be made of.

/// A release of Debian or Ubuntu.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// The default: its cloud-init is one process instead of four.
    #[default]
    Debian13,
    /// Debian's release before.
    Debian12,
    /// Ubuntu's of 2026.
    Ubuntu2604,
    /// Ubuntu's of 2024.
    Ubuntu2404,
}

impl Release {
    /// All of them, the default first.
    pub const ALL: [Self; 4] = [Self::Debian13, Self::Debian12, Self::Ubuntu2604, Self::Ubuntu2404];

    /// Returns its name in `twolane.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debian13 => "debian-13",
            Self::Debian12 => "debian-12",
            Self::Ubuntu2604 => "ubuntu-26.04",
            Self::Ubuntu2404 => "ubuntu-24.04",
        }
    }

    /// Returns its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debian13 => "Debian 13",
            Self::Debian12 => "Debian 12",
            Self::Ubuntu2604 => "Ubuntu 26.04",
            Self::Ubuntu2404 => "Ubuntu 24.04",
        }
    }

    /// Returns its name in a mirror.
    pub(crate) fn suite(self) -> &'static str {
        match self {
            Self::Debian13 => "trixie",
            Self::Debian12 => "bookworm",
            Self::Ubuntu2604 => "resolute",
            Self::Ubuntu2404 => "noble",
        }
    }

    fn is_ubuntu(self) -> bool {
        matches!(self, Self::Ubuntu2604 | Self::Ubuntu2404)
    }

    /// Returns the packages that go by another name in each distribution.
    pub(crate) fn own_packages(self) -> &'static [&'static str] {
        match self.is_ubuntu() {
            true => &["linux-image-virtual"],
            false => &["busybox", "linux-image-cloud-amd64"],
        }
    }

    /// Returns the apt sources for mmdebstrap; none where its own choice is right.
    pub(crate) fn sources(self, mirror: Option<&str>) -> Vec<String> {
        match (mirror, self.is_ubuntu()) {
            (None, false) => Vec::new(),
            (None, true) => self.ubuntu("http://archive.ubuntu.com/ubuntu"),
            (Some(url), true) if url.starts_with("http") => self.ubuntu(url),
            (Some(mirror), _) => vec![mirror.to_owned()],
        }
    }

    /// mmdebstrap knows releases of Ubuntu no more than the machine's own distribution does.
    fn ubuntu(self, url: &str) -> Vec<String> {
        let suite = self.suite();
        ["", "-updates", "-security"]
            .map(|part| format!("deb [signed-by={UBUNTU_KEYRING}] {url} {suite}{part} main universe"))
            .to_vec()
    }

    /// Returns the keyring that verifies its packages, and the package that it comes in.
    pub(crate) fn keyring(self) -> (&'static str, &'static str) {
        match self.is_ubuntu() {
            true => (UBUNTU_KEYRING, "ubuntu-keyring"),
            false => (
                "/usr/share/keyrings/debian-archive-keyring.gpg",
                "debian-archive-keyring",
            ),
        }
    }
}

const UBUNTU_KEYRING: &str = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_release_is_first_and_all_differ() {
        assert_eq!(Release::ALL[0], Release::default());
        let mut words = Release::ALL.map(|release| (release.word(), release.suite(), release.name()));
        words.sort_unstable();
        assert!(
            words
                .windows(2)
                .all(|pair| pair[0].0 != pair[1].0 && pair[0].1 != pair[1].1)
        );
    }

    #[test]
    fn ubuntu_comes_with_its_updates_from_the_mirror() {
        let sources = Release::Ubuntu2404.sources(Some("http://mirror.example/ubuntu"));
        let wanted = |suite: &str| {
            format!("deb [signed-by={UBUNTU_KEYRING}] http://mirror.example/ubuntu {suite} main universe")
        };
        assert_eq!(sources, ["noble", "noble-updates", "noble-security"].map(wanted));
        assert!(Release::Debian13.sources(None).is_empty());
        assert_eq!(Release::Debian12.sources(Some("http://m")), ["http://m"]);
    }
}
