//! What is known of Azure's sizes: no field of the API says which can nest.

use model::lane::KvmNeed;

/// The size of an order that names none.
pub(super) const DEFAULT: &str = "Standard_D4s_v5";

/// A size's name in its parts: `Standard_D4ads_v5` is of family D, with `ads`, version 5.
#[derive(Debug, PartialEq, Eq)]
struct Size<'a> {
    family: &'a str,
    features: &'a str,
    /// `cc` and the like, between the features and the version.
    rest: &'a str,
    version: u32,
}

impl<'a> Size<'a> {
    fn parse(name: &'a str) -> Option<Self> {
        let name = name.strip_prefix("Standard_")?;
        let (head, tail) = name.split_once('_').unwrap_or((name, ""));
        let at_number = head.find(|c: char| c.is_ascii_digit())?;
        let (family, rest) = head.split_at(at_number);
        let features = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-');
        let (rest, version) = match tail.rsplit_once('v') {
            Some((rest, version)) => (rest.trim_end_matches('_'), version.parse().ok()?),
            None => (tail, 1),
        };
        Some(Self {
            family,
            features,
            rest,
            version,
        })
    }

    fn is_arm(&self) -> bool {
        self.features.contains('p')
    }

    fn is_amd(&self) -> bool {
        self.features.contains('a')
    }

    /// Returns whether nested virtualisation was seen on every size of the family that was measured.
    fn can_nest(&self) -> bool {
        if self.is_arm() || !matches!(self.rest, "" | "cc") {
            return false;
        }
        match (self.family, self.is_amd()) {
            ("D" | "E", false) => self.version >= 3,
            ("D" | "E", true) => self.version >= 5,
            // The others of these families hide it from the guest.
            ("DC" | "EC", _) => self.rest == "cc" && self.version == 5,
            ("F", false) => self.version == 2,
            ("F", true) => self.version >= 6,
            ("FX", _) => self.version == 2,
            ("L", _) => self.version >= 3,
            ("M", _) => self.version == 1 && !self.features.contains('b'),
            _ => false,
        }
    }
}

/// Returns the image of an order that names none: the size says which architecture it must have.
pub(super) fn image(size: &str) -> &'static str {
    match Size::parse(size) {
        Some(size) if size.is_arm() => "Canonical:ubuntu-24_04-lts:server-arm64:latest",
        _ => "Canonical:ubuntu-24_04-lts:server:latest",
    }
}

/// Says why a size cannot serve a lane, and what can. None: it can.
pub(super) fn why_not(size: &str, need: KvmNeed) -> Option<(String, String)> {
    let nested = || format!("use a size such as {DEFAULT}, Standard_D4as_v5 or Standard_E4s_v5");
    match need {
        KvmNeed::None => None,
        KvmNeed::Metal => Some((
            format!(
                "Azure sells no bare metal by the hour, and the lane asks for it; {size} is a virtual machine"
            ),
            "use a bare-metal type of `aws`, `vultr` or `latitude` for that lane".to_owned(),
        )),
        KvmNeed::Required | KvmNeed::Nested if Size::parse(size).is_some_and(|size| size.can_nest()) => None,
        KvmNeed::Required | KvmNeed::Nested => Some((
            format!(
                "{size} is not known to give KVM: A, B, Arm, confidential, GPU and old sizes have no nested virtualisation"
            ),
            nested(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sizes: &str, can_nest: bool) {
        for size in sizes.split_whitespace() {
            assert_eq!(why_not(size, KvmNeed::Required).is_none(), can_nest, "{size}");
            assert_eq!(why_not(size, KvmNeed::Nested).is_none(), can_nest, "{size}");
            assert!(why_not(size, KvmNeed::None).is_none() && why_not(size, KvmNeed::Metal).is_some());
        }
    }

    #[test]
    fn intel_sizes_nest_from_their_third_version_on() {
        check(
            "Standard_D4_v3 Standard_D4s_v3 Standard_D4ds_v5 Standard_D4lds_v6 Standard_E4s_v5",
            true,
        );
        check(
            "Standard_E8bds_v5 Standard_E104is_v5 Standard_E4-2s_v5 Standard_F4s_v2 Standard_L8s_v3",
            true,
        );
        check("Standard_FX4mds_v2 Standard_M64s", true);
        check(
            "Standard_D4_v2 Standard_DS3_v2 Standard_A4_v2 Standard_B4ms Standard_F4s Standard_G2",
            false,
        );
        check(
            "Standard_L8s_v2 Standard_M208s_v2 Standard_M16bs_v3 Standard_HC44rs",
            false,
        );
    }

    #[test]
    fn amd_sizes_nest_from_their_fifth_version_on() {
        check(
            "Standard_D4as_v5 Standard_D4ads_v6 Standard_E4as_v7 Standard_F4as_v6 Standard_L8as_v3",
            true,
        );
        check("Standard_D4as_v4 Standard_E4as_v4 Standard_B4as_v2", false);
    }

    #[test]
    fn arm_confidential_and_gpu_sizes_never_nest() {
        check("Standard_D4ps_v5 Standard_D4plds_v6 Standard_B2pts_v2", false);
        check(
            "Standard_DC4s_v2 Standard_DC4as_v5 Standard_NC24ads_A100_v4 Standard_ND96isr_H100_v5",
            false,
        );
        check("Standard_DC4as_cc_v5 Standard_EC4as_cc_v5", true);
        check("Basic_A1 D4s_v5 Standard_ huge", false);
    }

    #[test]
    fn an_arm_size_gets_an_arm_image() {
        assert!(image("Standard_D4ps_v5").contains("arm64"));
        assert!(!image(DEFAULT).contains("arm64"));
    }
}
