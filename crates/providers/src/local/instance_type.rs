//! The size of a box, `2x4g`: two vCPUs and four GiB of memory.

use std::fmt;

use super::error::LocalError;

/// The size of an order that names none.
pub(crate) const DEFAULT: &str = "2x4g";

/// vCPUs and memory of a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InstanceType {
    pub(crate) cpus: u32,
    pub(crate) memory_gb: u32,
}

impl InstanceType {
    /// Reads `2x4g`.
    pub(crate) fn parse(text: &str) -> Result<Self, LocalError> {
        let refuse = |why: &str| {
            LocalError::invalid(format!("`{text}` is not an instance type of `local`: {why}"))
                .with_help("write vCPUs x GiB of memory, such as `2x4g`")
        };
        let (cpus, memory) = text
            .strip_suffix('g')
            .and_then(|text| text.split_once('x'))
            .ok_or_else(|| refuse("it is not of the form `2x4g`"))?;
        let number = |text: &str, most: u32| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits)?;
            (1..=most).contains(&number).then_some(number)
        };
        Ok(Self {
            cpus: number(cpus, 64).ok_or_else(|| refuse("it needs 1 to 64 vCPUs"))?,
            memory_gb: number(memory, 1024).ok_or_else(|| refuse("it needs 1 to 1024 GiB of memory"))?,
        })
    }
}

impl fmt::Display for InstanceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}g", self.cpus, self.memory_gb)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(u32, u32)>) {
        let parsed = InstanceType::parse(text).ok();
        assert_eq!(
            parsed.map(|size| (size.cpus, size.memory_gb)),
            expected,
            "{text:?}"
        );
        if let Some(size) = parsed {
            assert_eq!(InstanceType::parse(&size.to_string()), Ok(size));
        }
    }

    #[test]
    fn sizes_are_read_or_refused() {
        check(DEFAULT, Some((2, 4)));
        check("16x64g", Some((16, 64)));
        check("0x4g", None);
        check("2x0g", None);
        check("65x4g", None);
        check("2x4", None);
        check("2x4G", None);
        check("+2x4g", None);
        check("-2x4g", None);
        check("2x4x8g", None);
        check("2x99999999999g", None);
        check("x4g", None);
        check("cx43", None);
        check("", None);
    }

    #[test]
    fn a_refusal_names_the_form() {
        let refusal = InstanceType::parse("cx43").unwrap_err();
        assert!(refusal.cause.contains("`cx43`"), "{refusal:?}");
        assert!(refusal.help.unwrap().contains("2x4g"));
    }
}
