//! Who may serve a lane.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{name::ProviderName, options::Options};

/// One place that may give a lane its box. A lane tries its candidates in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who provisions the box.
    pub provider: ProviderName,
    /// The provider's word for where; its default when the lane names none.
    pub region: String,
    /// The provider's word for the size; its default when the lane names none.
    pub instance_type: String,
    /// The provider's word for the operating system; its default when the lane names none.
    pub image: Option<String>,
    /// Size of the root disk, in GiB; the provider's default when the lane names none.
    pub disk_gb: Option<u32>,
    /// What else it is asked for.
    #[serde(default, skip_serializing_if = "is_plain")]
    pub options: Box<Options>,
}

#[expect(clippy::borrowed_box, reason = "serde hands it out so")]
fn is_plain(options: &Box<Options>) -> bool {
    options.is_none()
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} in {}", self.provider, self.instance_type, self.region)?;
        f.write_str(if self.options.spot { ", spot" } else { "" })?;
        match (&self.options.jump, self.options.private) {
            (Some(jump), _) => write!(f, ", through {jump}"),
            (None, true) => f.write_str(", private"),
            (None, false) => Ok(()),
        }
    }
}

/// One size and place of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// The provider's word for the size.
    pub instance_type: String,
    /// The provider's word for where.
    pub region: String,
}
