//! The address of a machine that is already there.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Where such a machine answers over SSH, as its operator calls it: `user@machine:port`. User and port are ssh's own
/// choice where they are left out, and the machine may be a name of the operator's ssh configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// Who logs in.
    pub user: Option<String>,
    /// The machine: a name or an IP address.
    pub machine: String,
    /// The port of its SSH server.
    pub port: Option<u16>,
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("`{}` is not the address of a machine: {why}", text.escape_debug());
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, text),
        };
        let (machine, port) = match rest.strip_prefix('[') {
            Some(rest) => {
                let (machine, port) = rest.split_once(']').ok_or_else(|| wrong("`]` is missing"))?;
                (machine, port.strip_prefix(':').or(port.is_empty().then_some("")))
            }
            None => match rest.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(wrong("an IPv6 address goes between `[` and `]`"));
                }
                Some((machine, port)) => (machine, Some(port)),
                None => (rest, Some("")),
            },
        };
        let port = match port {
            Some("") if !rest.ends_with(':') => None,
            Some(port) => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port > 0)
                    .ok_or_else(|| wrong("its port is no number from 1 to 65535"))?,
            ),
            None => return Err(wrong("something stands behind `]`")),
        };
        if user.is_some_and(|user| !is_word(user, "._-")) {
            return Err(wrong(
                "its user has other characters than letters, digits and `._-`",
            ));
        }
        if !is_word(machine, "._:-") {
            return Err(wrong("the machine is no name and no IP address"));
        }
        Ok(Self {
            user: user.map(str::to_owned),
            machine: machine.to_owned(),
            port,
        })
    }
}

/// Returns whether a text can be an argument of ssh, whatever stands around it.
fn is_word(text: &str, more: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == ':' || c == '_')
        && text.len() <= 255
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.machine.contains(':') {
            true => write!(f, "[{}]", self.machine)?,
            false => f.write_str(&self.machine)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_it_was_read() {
        for text in [
            "desk",
            "eve@desk.example.org",
            "eve@192.0.2.7:2222",
            "[2001:db8::1]",
            "root@[::1]:22",
        ] {
            assert_eq!(
                text.parse::<Address>().map(|address| address.to_string()),
                Ok(text.to_owned())
            );
        }
    }

    #[test]
    fn what_could_be_an_option_or_a_command_is_no_address() {
        for text in [
            "",
            "-oProxyCommand=sh",
            "eve@-oProxyCommand=sh",
            "-eve@desk",
            "eve@",
            "@desk",
            "desk:",
            "desk:0",
            "desk:70000",
            "desk:ssh",
            "2001:db8::1",
            "[::1",
            "[::1]22",
            "desk;id",
            "a b",
            "$(id)",
            "eve@desk\n",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text:?}");
        }
    }
}
