//! What a value must look like. Whatever ends up in a script, a path or a name on a box passes one of these first.

use std::{net::Ipv4Addr, time::Duration};

use camino::Utf8PathBuf;

use crate::{check::Need, host::Address, limits::parse_bytes, money::Money, time::parse_length};

/// How a string is read, and what a right one looks like.
pub(super) struct Rule<T> {
    pub(super) example: &'static str,
    pub(super) read: fn(&str) -> Result<T, String>,
}

/// How long a box may live at most.
pub const TTL_MAX: Duration = Duration::from_secs(48 * 3600);

/// Shortest and longest state of a box.
const TTL_BOUNDS: (Duration, Duration) = (Duration::from_secs(60), TTL_MAX);
/// Longest name of a project or a lane: two of them and four digits make a label.
const NAME_MAX: usize = 20;

pub(super) const TTL: Rule<Duration> = Rule {
    example: "2h",
    read: ttl,
};
pub(super) const LENGTH: Rule<Duration> = Rule {
    example: "20m",
    read: |text| parse_length(text).ok_or_else(|| format!("`{text}` is not a length of time")),
};
pub(super) const SIZE: Rule<u64> = Rule {
    example: "4 GiB",
    read: |text| {
        parse_bytes(text).ok_or_else(|| format!("`{}` is not a size, as 500 MiB is", text.escape_debug()))
    },
};
pub(super) const MONEY: Rule<Money> = Rule {
    example: "5 USD",
    read: |text| Money::parse(text).ok_or_else(|| format!("`{text}` is not an amount of money")),
};
pub(super) const NEED: Rule<Need> = Rule {
    example: "program:cargo-nextest",
    read: |text| Need::try_from(text.to_owned()),
};
pub(super) const PROJECT: Rule<String> = Rule {
    example: "mvm",
    read: |text| name(text, "name of a project"),
};
pub(super) const LANE: Rule<String> = Rule {
    example: "live-kvm",
    read: |text| name(text, "name of a lane"),
};
pub(super) const SOURCE: Rule<String> = Rule {
    example: "mvm",
    read: |text| {
        Shape {
            what: "name of a source",
            allowed: "a to z, 0 to 9, `_` and `-`",
            fits: |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-',
            longest: 64,
            holds: |text| !text.starts_with('-'),
        }
        .keep(text)
    },
};
pub(super) const LOCAL_PATH: Rule<Utf8PathBuf> = Rule {
    example: "../mvm",
    read: |text| {
        if text.is_empty() || text.contains(['\0', '\n']) {
            return Err(format!("`{}` is not a path", text.escape_debug()));
        }
        Ok(text.into())
    },
};
/// Everything of this machine would go to the box.
pub(super) const SOURCE_PATH: Rule<Utf8PathBuf> = Rule {
    example: "../mvm",
    read: |text| match (LOCAL_PATH.read)(text)? {
        path if path.is_absolute() && path.file_name().is_none() => Err(format!(
            "`{path}` is all of this machine, not the directory of a source"
        )),
        path => Ok(path),
    },
};
pub(super) const INNER_PATH: Rule<String> = Rule {
    example: "target/nextest/live/junit.xml",
    read: inner_path,
};
pub(super) const ABSOLUTE_PATH: Rule<String> = Rule {
    example: "/var/lib/mvm",
    read: |text| {
        Shape {
            what: "path for a box",
            allowed: "letters, digits and `/._-`",
            fits: |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c),
            longest: 200,
            holds: |text| {
                text.starts_with('/') && text.len() > 1 && !text.split('/').any(|part| part == "..")
            },
        }
        .keep(text)
    },
};
pub(super) const URL: Rule<String> = Rule {
    example: "http://mirror.example/prefix",
    read: |text| {
        let host = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))
            .unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_graphic() && !"\"'\\`$<>".contains(c);
        if host.is_empty() || host.starts_with('/') || !host.chars().all(is_plain) {
            return Err(format!(
                "`{}` is not an http or https address",
                text.escape_debug()
            ));
        }
        Ok(text.to_owned())
    },
};
pub(super) const COMMAND: Rule<String> = Rule {
    example: "cargo test --workspace",
    read: |text| {
        if text.trim().is_empty() || text.contains('\0') {
            return Err("the command is empty".to_owned());
        }
        Ok(text.to_owned())
    },
};
pub(super) const CHECK_NAME: Rule<String> = Rule {
    example: "live kvm",
    read: |text| {
        if text.trim().is_empty() || text.chars().count() > 80 || text.chars().any(char::is_control) {
            return Err("the name of a check is one line of 1 to 80 characters".to_owned());
        }
        Ok(text.trim().to_owned())
    },
};
pub(super) const TEST_NAME: Rule<String> = Rule {
    example: "live::boots_a_guest",
    read: |text| {
        if text.trim().is_empty() || text.chars().count() > 300 || text.chars().any(char::is_control) {
            return Err("the name of a test is one line of 1 to 300 characters".to_owned());
        }
        Ok(text.trim().to_owned())
    },
};
pub(super) const VARIABLE: Rule<String> = Rule {
    example: "MVM_LIVE_KERNEL",
    read: |text| {
        Shape {
            what: "name of a variable",
            allowed: "letters, digits and `_`, not beginning with a digit",
            fits: |c: char| c.is_ascii_alphanumeric() || c == '_',
            longest: 100,
            holds: |text| !text.starts_with(|c: char| c.is_ascii_digit()),
        }
        .keep(text)
    },
};
pub(super) const VARIABLE_VALUE: Rule<String> = Rule {
    example: "1",
    read: |text| match text.contains('\0') {
        true => Err("the value of a variable has no NUL".to_owned()),
        false => Ok(text.to_owned()),
    },
};
pub(super) const PACKAGE: Rule<String> = Rule {
    example: "build-essential",
    read: |text| {
        Shape {
            what: "distribution package",
            allowed: "letters, digits and `+.:=~/_-`",
            fits: |c: char| c.is_ascii_alphanumeric() || "+.:=~/_-".contains(c),
            longest: 120,
            holds: starts_well,
        }
        .keep(text)
    },
};
pub(super) const WORD: Rule<String> = Rule {
    example: "stable",
    read: |text| word(text, "name"),
};
pub(super) const VERSION: Rule<String> = Rule {
    example: "1.2.3",
    read: |text| word(text, "version"),
};
pub(super) const UNIT: Rule<String> = Rule {
    example: "mvm-hostd",
    read: |text| {
        Shape {
            what: "systemd unit",
            allowed: "letters, digits and `@:._-`",
            fits: |c: char| c.is_ascii_alphanumeric() || "@:._-".contains(c),
            longest: 120,
            holds: starts_well,
        }
        .keep(text)
    },
};
pub(super) const USER: Rule<String> = Rule {
    example: "mvmd",
    read: |text| {
        Shape {
            what: "name of a user",
            allowed: "a to z, 0 to 9, `_` and `-`",
            fits: |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-',
            longest: 31,
            holds: |text| text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && text != "root",
        }
        .keep(text)
    },
};
/// Also a system account.
pub(super) const OWNER: Rule<String> = Rule {
    example: "mvm",
    read: |text| {
        if text == "root" {
            Ok(text.to_owned())
        } else {
            (USER.read)(text)
        }
    },
};
pub(super) const MODE: Rule<String> = Rule {
    example: "0750",
    read: |text| {
        if matches!(text.len(), 3 | 4) && text.chars().all(|c| c.is_digit(8)) {
            return Ok(format!("{text:0>4}"));
        }
        Err(format!("`{text}` is not a mode in octal"))
    },
};
pub(super) const SHA256: Rule<String> = Rule {
    example: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    read: |text| {
        if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
            return Ok(text.to_ascii_lowercase());
        }
        Err("a SHA-256 has 64 hexadecimal digits".to_owned())
    },
};
/// What a provider calls its sizes, places and images.
pub(super) const PROVIDER_WORD: Rule<String> = Rule {
    example: "us-east-1",
    read: |text| {
        Shape {
            what: "provider's name for that",
            allowed: "letters, digits and `._:/+-`",
            fits: |c: char| c.is_ascii_alphanumeric() || "._:/+-".contains(c),
            longest: 300,
            holds: starts_well,
        }
        .keep(text)
    },
};

/// What a provider calls what is there already: also a path.
pub(super) const PLACE_WORD: Rule<String> = Rule {
    example: "subnet-0123",
    read: |text| {
        Shape {
            what: "provider's name for that",
            allowed: "letters, digits and `._:/()-`",
            fits: |c: char| c.is_ascii_alphanumeric() || "._:/()-".contains(c),
            longest: 500,
            holds: |text| !text.contains("..") && !text.starts_with('-'),
        }
        .keep(text)
    },
};
/// What each provider takes of it is looked at when the candidates are known.
pub(super) const TAG: Rule<String> = Rule {
    example: "cost-centre",
    read: |text| {
        one_line(text, "key of a tag").and_then(|text| match text.is_empty() {
            true => Err("the key of a tag is empty".to_owned()),
            false => Ok(text),
        })
    },
};
pub(super) const TAG_VALUE: Rule<String> = Rule {
    example: "4711",
    read: |text| one_line(text, "value of a tag"),
};
pub(super) const HOST_ADDRESS: Rule<String> = Rule {
    example: "user@machine:22",
    read: |text| text.parse::<Address>().map(|address| address.to_string()),
};
/// The address of a box that its provider makes.
pub(super) const PRIVATE: Rule<()> = Rule {
    example: "private",
    read: |text| match text {
        "private" => Ok(()),
        _ => Err(
            "any other `address` is for a machine that is already there, of `provider = \"host\"`".to_owned(),
        ),
    },
};
/// The machine through which a box is reached.
pub(super) const JUMP: Rule<Address> = Rule {
    example: "user@bastion",
    read: |text| text.parse(),
};
pub(super) const PEER: Rule<String> = Rule {
    example: "127.0.0.1:3142",
    read: |text| {
        let (network, port) = match text.split_once(':') {
            Some((network, port)) => (network, Some(port)),
            None => (text, None),
        };
        let (address, bits) = match network.split_once('/') {
            Some((address, bits)) => (address, bits.parse().ok()),
            None => (network, Some(32)),
        };
        let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if address.parse::<Ipv4Addr>().is_ok() && bits.is_some_and(|bits: u8| bits <= 32) && is_port {
            return Ok(text.to_owned());
        }
        Err(format!(
            "`{}` is no IPv4 address, as 127.0.0.1:3142 or 10.1.0.0/16 is",
            text.escape_debug()
        ))
    },
};

/// Reads how long a box may live.
pub(crate) fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = (LENGTH.read)(text)?;
    if ttl < TTL_BOUNDS.0 || ttl > TTL_BOUNDS.1 {
        return Err(format!("a box may live from 1m to 48h, not {text}"));
    }
    Ok(ttl)
}

/// Reads a provider's word for a size, a place or an image.
pub fn provider_word(text: &str) -> Result<String, String> {
    (PROVIDER_WORD.read)(text)
}

fn name(text: &str, what: &'static str) -> Result<String, String> {
    Shape {
        what,
        allowed: "a to z, 0 to 9 and `-`, beginning with a letter",
        fits: |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-',
        longest: NAME_MAX,
        holds: |text| text.starts_with(|c: char| c.is_ascii_lowercase()) && !text.ends_with('-'),
    }
    .keep(text)
}

fn word(text: &str, what: &'static str) -> Result<String, String> {
    Shape {
        what,
        allowed: "letters, digits and `._+-`",
        fits: |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c),
        longest: 80,
        holds: starts_well,
    }
    .keep(text)
}

fn one_line(text: &str, what: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) || text.trim() != text {
        true => Err(format!("the {what} is one line without spaces around it")),
        false => Ok(text.to_owned()),
    }
}

fn starts_well(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

/// The shape of a name.
struct Shape {
    what: &'static str,
    /// The characters that it may have, in words.
    allowed: &'static str,
    fits: fn(char) -> bool,
    longest: usize,
    /// What else must hold.
    holds: fn(&str) -> bool,
}

impl Shape {
    fn keep(&self, text: &str) -> Result<String, String> {
        if !text.is_empty() && text.len() <= self.longest && text.chars().all(self.fits) && (self.holds)(text)
        {
            return Ok(text.to_owned());
        }
        Err(format!(
            "`{}` is not a {}: it may have {}, at most {} characters",
            text.escape_debug(),
            self.what,
            self.allowed,
            self.longest
        ))
    }
}

fn inner_path(text: &str) -> Result<String, String> {
    let shown = text.escape_debug();
    if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(format!("`{shown}` is not a path"));
    }
    if text.starts_with('/') {
        return Err(format!(
            "`{shown}` is absolute: it has to lie in the source's directory"
        ));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(format!("`{shown}` leads out of the source's directory"));
    }
    Ok(text.to_owned())
}
