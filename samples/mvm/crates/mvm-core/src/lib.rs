//! Sizes and names of microVMs, as users write them and as the rest of the workspace needs them.

use std::fmt;
use std::str::FromStr;

/// The number of vCPUs that one microVM may have.
pub const VCPUS_MAX: u8 = 32;

/// The name of a microVM: lower-case letters, digits and inner hyphens, at most 32 of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VmName(String);

impl VmName {
    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VmName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 32 {
            return Err(Invalid::new("name", text, "1 to 32 characters"));
        }
        if !text.chars().all(is_allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(Invalid::new("name", text, "a-z, 0-9 and inner hyphens"));
        }
        Ok(VmName(text.to_owned()))
    }
}

/// vCPUs and memory of a microVM, written as in `2x128m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// At least one, at most [`VCPUS_MAX`].
    pub vcpus: u8,
    /// At least one.
    pub memory_mib: u32,
}

impl FromStr for Size {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let invalid = |expected| Invalid::new("size", text, expected);
        let (vcpus, memory) = text
            .split_once('x')
            .ok_or_else(|| invalid("vCPUs and memory, as in 2x128m"))?;
        let vcpus: u8 = vcpus.parse().map_err(|_| invalid("a number of vCPUs"))?;
        if vcpus == 0 || vcpus > VCPUS_MAX {
            return Err(invalid("1 to 32 vCPUs"));
        }
        let memory_mib = mebibytes(memory).ok_or_else(|| invalid("memory in m or g"))?;
        Ok(Size { vcpus, memory_mib })
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}m", self.vcpus, self.memory_mib)
    }
}

/// Returns the mebibytes that `128m` or `2g` stand for, unless there are none or too many.
fn mebibytes(text: &str) -> Option<u32> {
    let (number, factor) = match text.strip_suffix('g') {
        Some(number) => (number, 1024),
        None => (text.strip_suffix('m')?, 1),
    };
    let number: u32 = number.parse().ok()?;
    number.checked_mul(factor).filter(|mib| *mib > 0)
}

/// What was written, and what should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    what: &'static str,
    text: String,
    expected: &'static str,
}

impl Invalid {
    fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        let text = text.to_owned();
        Invalid { what, text, expected }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Invalid { what, text, expected } = self;
        write!(f, "{text:?} is not a {what}: expected {expected}")
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_mebibytes_and_gibibytes() {
        let size = |vcpus, memory_mib| Ok(Size { vcpus, memory_mib });
        assert_eq!("2x128m".parse(), size(2, 128));
        assert_eq!("1x2g".parse(), size(1, 2048));
        assert_eq!("32x1m".parse(), size(32, 1));
    }

    #[test]
    fn sizes_that_no_vm_can_have_are_refused() {
        for text in [
            "",
            "2",
            "x",
            "0x1g",
            "33x1g",
            "2x0m",
            "2x1t",
            "2x5000000g",
            "-1x1g",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_size_survives_printing_and_reading() {
        for vcpus in 1..=VCPUS_MAX {
            let size = Size {
                vcpus,
                memory_mib: 64 * u32::from(vcpus),
            };
            assert_eq!(size.to_string().parse(), Ok(size));
        }
    }

    #[test]
    fn names_are_checked() {
        assert_eq!("web-1".parse::<VmName>().unwrap().as_str(), "web-1");
        let long = "a".repeat(33);
        for text in ["", "-a", "a-", "A", "a b", "a/b", "../a", long.as_str()] {
            assert!(text.parse::<VmName>().is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn an_error_names_what_was_expected() {
        let error = "2x1t".parse::<Size>().unwrap_err();
        assert_eq!(
            error.to_string(),
            r#""2x1t" is not a size: expected memory in m or g"#
        );
    }
}
