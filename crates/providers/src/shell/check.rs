//! The contract of a shell adapter: its name, its file, its four functions, and that reading it does nothing.

use std::{fs, io};

use camino::Utf8Path;
use model::{candidate::Fallback, name::ProviderName};
use serde::Serialize;

use super::{
    ShellSettings,
    address::shown,
    dry::{self, Dry},
};
use crate::local::path_of;

/// The functions that an adapter has, and no others but its own helpers.
pub const FUNCTIONS: [&str; 4] = [DEFAULT_TYPE, DEFAULT_REGION, UP, DOWN];

pub(crate) const DEFAULT_TYPE: &str = "provider_default_instance_type";
pub(crate) const DEFAULT_REGION: &str = "provider_default_region";
pub(crate) const UP: &str = "provider_up";
pub(crate) const DOWN: &str = "provider_down";

/// The longest adapter, in bytes.
const FILE_MAX: u64 = 256 * 1024;

/// The oldest bash that adapters are read with.
const BASH_MIN: (u32, u32) = (4, 4);

/// How many complaints of bash are listed at most.
const TOLD_MAX: usize = 20;

/// One thing that is wrong with an adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Where, in the file.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub help: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        write!(f, "{}: {}", self.what, self.help)
    }
}

/// An adapter that keeps to the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its name as a provider.
    pub provider: ProviderName,
    /// What it takes when nobody says which size.
    pub default_instance_type: String,
    /// What it takes when nobody says where.
    pub default_region: String,
    /// Both of these.
    #[serde(skip)]
    pub(crate) default: Fallback,
    /// What was checked.
    #[serde(skip)]
    pub(crate) text: String,
}

/// Reads an adapter in a shell that can do nothing but compute, and reports every mistake in it.
pub fn check(file: &Utf8Path, settings: &ShellSettings) -> Result<Checked, Vec<Mistake>> {
    let mut mistakes = Mistakes::default();
    let provider = mistakes.keep(name_of(file));
    let Some(text) = mistakes.keep(read(file)) else {
        return Err(mistakes.0);
    };
    let bash = mistakes.keep(bash(settings));
    let unix = text.replace("\r\n", "\n");
    if unix.len() < text.len() {
        let lines = text.matches("\r\n").count();
        mistakes.add(
            None,
            format!("{lines} of its lines end in CR LF, which bash takes for a part of the command"),
            format!("run: sed -i 's/\\r$//' \"{file}\""),
        );
    }
    let Some(bash) = bash else {
        return Err(mistakes.0);
    };
    let dry = Dry::new(&bash, &unix, settings.read_max);
    if mistakes.of_syntax(&dry) {
        mistakes.of_reading(&dry);
    }
    // What is wrong already may be why a default is not to be had.
    if !mistakes.0.is_empty() {
        return Err(mistakes.0);
    }
    let default_instance_type = mistakes.keep(default(&dry, DEFAULT_TYPE));
    // Then nothing is left for the other.
    if dry.is_over() && !mistakes.0.is_empty() {
        return Err(mistakes.0);
    }
    let default_region = mistakes.keep(default(&dry, DEFAULT_REGION));
    match (provider, default_instance_type, default_region) {
        (Some(provider), Some(default_instance_type), Some(default_region)) => Ok(Checked {
            default: Fallback {
                instance_type: default_instance_type.clone(),
                region: default_region.clone(),
            },
            provider,
            default_instance_type,
            default_region,
            text,
        }),
        _ => Err(mistakes.0),
    }
}

/// Returns the provider's name that a file gives.
pub fn name_of(file: &Utf8Path) -> Result<ProviderName, Mistake> {
    let name = file.file_name().unwrap_or_default();
    let refuse = |what: String| Mistake {
        line: None,
        what,
        help:
            "name it after the provider, such as `acme.sh`: a to z, 0 to 9 and `-`, beginning with a letter"
                .to_owned(),
    };
    let Some(stem) = name.strip_suffix(".sh") else {
        return Err(refuse(format!(
            "its name `{}` does not end in `.sh`",
            shown(name)
        )));
    };
    if crate::names().any(|name| name.as_str() == stem) {
        return Err(refuse(format!("`{stem}` is a provider that is built in")));
    }
    ProviderName::new(stem)
        .ok()
        .filter(|_| stem.starts_with(|c: char| c.is_ascii_lowercase()))
        .ok_or_else(|| refuse(format!("`{}` is not a provider's name", shown(stem))))
}

/// Everything that is wrong.
#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, line: Option<usize>, what: impl Into<String>, help: impl Into<String>) {
        self.0.push(Mistake {
            line,
            what: what.into(),
            help: help.into(),
        });
    }

    fn keep<T>(&mut self, found: Result<T, Mistake>) -> Option<T> {
        found.map_err(|mistake| self.0.push(mistake)).ok()
    }

    /// Returns whether bash understands the whole text.
    fn of_syntax(&mut self, dry: &Dry<'_>) -> bool {
        let complaints = match dry.syntax() {
            Ok(complaints) => complaints,
            Err(error) => {
                self.cannot_run(dry.bash, &error);
                return false;
            }
        };
        for complaint in &complaints {
            let (line, why) = numbered(complaint);
            // The line itself follows the complaint about it.
            if !why.starts_with('`') {
                self.add(line, shown(why), "correct it; `bash -n` shows the same");
            }
        }
        complaints.is_empty()
    }

    fn of_reading(&mut self, dry: &Dry<'_>) {
        let reading = match dry.read() {
            Ok(reading) => reading,
            Err(error) => return self.cannot_run(dry.bash, &error),
        };
        for complaint in reading.complaints.iter().take(TOLD_MAX) {
            let (line, why) = numbered(complaint);
            let what = format!("when the file is read: {}", shown(why));
            self.add(line, what, INTO_A_FUNCTION);
        }
        if let Some(line) = reading.printed.lines().next() {
            let what = format!("it writes `{}` to standard output when it is read", shown(line));
            self.add(None, what, INTO_A_FUNCTION);
        }
        match reading.functions {
            Some(functions) => self.of_functions(dry.text, &functions),
            None if reading.said.status.is_none() => self.add(
                None,
                format!("reading it {}", dry.too_long()),
                "take the loop, or what it waits for, into a function",
            ),
            None => self.add(
                None,
                "bash leaves before it has read the whole file",
                "let nothing stand outside of functions that ends the shell",
            ),
        }
    }

    fn of_functions(&mut self, text: &str, functions: &[String]) {
        for wanted in FUNCTIONS {
            if !functions.iter().any(|function| function == wanted) {
                self.add(
                    None,
                    format!("there is no function `{wanted}`"),
                    format!("define `{wanted}() {{ … }}`"),
                );
            }
        }
        let hidden = ["builtin", "declare", "printf"].map(str::to_owned);
        let hidden = hidden.iter().filter(|name| line_of(text, name).is_some());
        for function in functions.iter().chain(hidden) {
            if !FUNCTIONS.contains(&function.as_str()) && !function.starts_with('_') {
                let name = shown(function);
                self.add(
                    line_of(text, function),
                    format!("`{name}` is not a function of the contract"),
                    format!("call it `_{name}` if it is a helper of your own"),
                );
            }
        }
    }

    fn cannot_run(&mut self, bash: &Utf8Path, error: &io::Error) {
        self.add(
            None,
            format!("bash ({bash}) could not be run: {error}"),
            "see that it can",
        );
    }
}

const INTO_A_FUNCTION: &str = "only functions and settings may stand there, without programs, subshells and files; move it into a function";

/// Returns the text of an adapter.
fn read(file: &Utf8Path) -> Result<String, Mistake> {
    let refuse = |what: String, help: &str| Mistake {
        line: None,
        what,
        help: help.to_owned(),
    };
    let unreadable = |error: io::Error| refuse(format!("it cannot be read: {error}"), "make it readable");
    let metadata = match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(refuse("there is no such file".to_owned(), "correct the path"));
        }
        metadata => metadata.map_err(unreadable)?,
    };
    if metadata.is_dir() {
        return Err(refuse("it is a directory".to_owned(), "name a file in it"));
    }
    if !metadata.is_file() {
        return Err(refuse("it is not an ordinary file".to_owned(), "write it to one"));
    }
    if metadata.len() > FILE_MAX {
        let size = format!(
            "it has {} bytes, more than {} KiB",
            metadata.len(),
            FILE_MAX / 1024
        );
        return Err(refuse(size, "keep data in files of its own beside it"));
    }
    let text = String::from_utf8(fs::read(file).map_err(unreadable)?)
        .map_err(|_| refuse("it is not text in UTF-8".to_owned(), "save it as text"))?;
    if text.contains('\0') {
        return Err(refuse("it holds a zero byte".to_owned(), "save it as text"));
    }
    Ok(text)
}

/// Returns where bash is.
pub(crate) fn bash(settings: &ShellSettings) -> Result<camino::Utf8PathBuf, Mistake> {
    let refuse = |what: String| Mistake {
        line: None,
        what,
        help: format!(
            "install bash {}.{} or newer, or put it first in PATH",
            BASH_MIN.0, BASH_MIN.1
        ),
    };
    let path = path_of(&settings.bash).ok_or_else(|| {
        refuse(format!(
            "bash is needed for shell adapters, and `{}` is not there",
            settings.bash
        ))
    })?;
    let said = dry::version(&path, settings.read_max)
        .map_err(|error| refuse(format!("bash ({path}) could not be run: {error}")))?;
    match version(&said) {
        Some(version) if version >= BASH_MIN => Ok(path),
        Some((major, minor)) => Err(refuse(format!(
            "{path} is bash {major}.{minor}, which is too old"
        ))),
        None => Err(refuse(format!("{path} does not say which bash it is"))),
    }
}

/// Reads `GNU bash, version 5.2.15(1)-release`.
fn version(said: &str) -> Option<(u32, u32)> {
    let (_, version) = said.lines().next()?.split_once("version ")?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Splits `line 12: why`.
fn numbered(complaint: &str) -> (Option<usize>, &str) {
    let split = || {
        let (number, why) = complaint.strip_prefix("line ")?.split_once(": ")?;
        Some((number.parse().ok()?, why))
    };
    split().map_or((None, complaint), |(line, why)| (Some(line), why))
}

/// Returns the line that a function begins in.
fn line_of(text: &str, function: &str) -> Option<usize> {
    let begins = |line: &str| {
        let line = line.trim_start();
        let line = line.strip_prefix("function ").map_or(line, str::trim_start);
        line.strip_prefix(function)
            .is_some_and(|rest| rest.trim_start().starts_with(['(', '{']))
    };
    text.lines().position(begins).map(|index| index + 1)
}

/// Asks the adapter for one of its defaults.
fn default(dry: &Dry<'_>, function: &str) -> Result<String, Mistake> {
    let refuse = |what: String| Mistake {
        line: None,
        what: format!("{function}: {what}"),
        help: "let it echo one word, without programs, subshells and files".to_owned(),
    };
    let said = dry
        .call(function)
        .map_err(|error| refuse(format!("bash ({}) could not be run: {error}", dry.bash)))?;
    let Some(status) = said.status else {
        return Err(refuse(format!("it {}", dry.too_long())));
    };
    if let Some(complaint) = said.complaints().first() {
        return Err(refuse(format!("bash complains: {}", shown(complaint))));
    }
    if !status.success() {
        return Err(refuse(format!("it failed ({status})")));
    }
    let word = said.stdout.trim();
    model::config::provider_word(word)
        .map(|_| word.to_owned())
        .map_err(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_name(file: &str, is_good: bool) {
        assert_eq!(name_of(Utf8Path::new(file)).is_ok(), is_good, "{file:?}");
    }

    #[test]
    fn a_name_keeps_to_the_rule() {
        check_name("providers/acme.sh", true);
        check_name("a-1.sh", true);
        check_name("acme", false);
        check_name(".sh", false);
        check_name("a b.sh", false);
        check_name("...sh", false);
        check_name("a..b.sh", false);
        check_name("Acme.sh", false);
        check_name("1a.sh", false);
        check_name("-a.sh", false);
        check_name("a-.sh", false);
        check_name("a_b.sh", false);
        check_name("aws.sh", false);
        check_name("local.sh", false);
        check_name(&format!("{}.sh", "a".repeat(41)), false);
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(
            version("GNU bash, version 5.2.15(1)-release (x86_64)\n"),
            Some((5, 2))
        );
        assert_eq!(version("GNU bash, version 3.2.57(1)-release"), Some((3, 2)));
        assert_eq!(version("zsh 5.9"), None);
    }

    #[test]
    fn the_line_of_a_function_is_found() {
        let text = "a() {\n}\n  function  b {\n}\nb_c () { :; }\n";
        assert_eq!(line_of(text, "a"), Some(1));
        assert_eq!(line_of(text, "b"), Some(3));
        assert_eq!(line_of(text, "b_c"), Some(5));
        assert_eq!(line_of(text, "d"), None);
    }
}
