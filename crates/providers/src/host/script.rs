//! What is sent to a machine that is already there, as one shell script, and what it answers.

use model::{
    error::ErrorKind,
    lane::KvmNeed,
    order::Order,
    render::{KVM_GATE, quote},
    source::WORK_USER,
};
use serde::Deserialize;

use super::error::HostError;

/// What does everything there.
const HOST: &str = include_str!("../../../../ops/ephemeral/host.sh");

/// Where a box keeps what stage 1 runs.
const LIB: &str = "/usr/local/lib/twolane";

/// Files that go along, as lines of a shell that write them.
#[derive(Debug, Default)]
pub(crate) struct Files(String);

impl Files {
    fn add(&mut self, name: &str, content: &str, encoding: &str) {
        let decode = match encoding {
            "gz+b64" | "gzip+base64" => "base64 -d | gunzip",
            "b64" | "base64" => "base64 -d",
            _ => "cat",
        };
        self.0.push_str(&format!(
            "printf %s {} | {decode} >\"$d\"/{}\n",
            quote(content),
            quote(name)
        ));
    }
}

/// The part of the user-data that means something where a system exists already.
#[derive(Debug, Deserialize)]
struct UserData {
    ssh_authorized_keys: Vec<String>,
    write_files: Vec<WriteFile>,
}

#[derive(Debug, Deserialize)]
struct WriteFile {
    path: String,
    content: String,
    #[serde(default)]
    encoding: String,
}

/// Returns the script that calls `host.sh` with these words; a directory with the files is the last of them where
/// there are any.
pub(crate) fn call(words: &[&str], files: &Files) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    let dir = if files.0.is_empty() { "" } else { " \"$d\"" };
    let host = quote(HOST);
    // One command to the shell that reads it: what is cut on its way is never begun.
    format!(
        "main() {{\nset -eu\numask 077\nd=$(mktemp -d)\nmkdir \"$d/lib\"\ntrap 'rm -rf \"$d\"' EXIT\nprintf %s {host} >\"$d/host.sh\"\n{files}\
         printf 'CLIENT=%q\\n' \"${{1:-}}\" >>\"$d/order\"\nbash \"$d/host.sh\" {words}{dir} </dev/null || exit\n}}\nmain \"$@\"\n",
        files = files.0,
        words = words.join(" "),
    )
}

/// Returns the script that takes the lock and begins stage 1.
pub(crate) fn up(order: &Order) -> Result<String, HostError> {
    let data: UserData = serde_saphyr::from_str(&order.user_data)
        .map_err(|error| HostError::invalid(format!("the user-data cannot be read: {error}")))?;
    let mut files = Files::default();
    let mut work_user = None;
    for file in &data.write_files {
        let (dir, name) = file.path.rsplit_once('/').unwrap_or_default();
        match (dir, name) {
            (LIB, name) => files.add(&format!("lib/{name}"), &file.content, &file.encoding),
            (_, "stage1.env") => {
                let mut lines = file.content.lines();
                work_user = lines.find(|line| line.starts_with("WORK_USER="));
                files.add(name, &file.content, &file.encoding);
            }
            // The deadline comes with the tags.
            _ => {}
        }
    }
    let pairs = order.tags.pairs();
    let tags: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let keys: Vec<&str> = data.ssh_authorized_keys.iter().map(|key| key.trim()).collect();
    files.add(
        "order",
        &order_file(&tags.join("\n"), &keys.join("\n"), order.need, work_user),
        "",
    );
    Ok(call(&["up"], &files))
}

/// Returns the script that looks at everything a box would need.
pub(crate) fn doctor(need: KvmNeed) -> String {
    let mut files = Files::default();
    files.add("lib/kvm-gate.py", KVM_GATE, "");
    files.add("order", &order_file("", "", need, None), "");
    call(&["doctor"], &files)
}

/// `work_user` is the line of `stage1.env` that says who runs the checks.
fn order_file(tags: &str, keys: &str, need: KvmNeed, work_user: Option<&str>) -> String {
    let need = if need.is_needed() { "1" } else { "" };
    let usual = format!("WORK_USER={WORK_USER}");
    format!(
        "TAGS={}\nKEYS={}\nGATE_REQUIRED={need}\n{}\n",
        quote(tags),
        quote(keys),
        work_user.unwrap_or(&usual)
    )
}

/// What `host.sh` says, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    lines: Vec<(String, String)>,
}

impl Answer {
    pub(crate) fn parse(text: &str) -> Self {
        let split = |line: &str| {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            (word.to_owned(), rest.to_owned())
        };
        Self {
            lines: text.lines().map(split).collect(),
        }
    }

    /// Returns all that is said under that word.
    pub(crate) fn all<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines
            .iter()
            .filter(move |(of, _)| of == word)
            .map(|(_, text)| text.as_str())
    }

    /// Returns what is said first under that word.
    pub(crate) fn one(&self, word: &str) -> Option<&str> {
        self.lines
            .iter()
            .find(|(of, _)| of == word)
            .map(|(_, text)| text.as_str())
    }

    /// Returns whether it has an end.
    pub(crate) fn is_whole(&self) -> bool {
        self.lines
            .last()
            .is_some_and(|(word, _)| word == "ok" || word == "fail")
    }

    /// Returns it where it is a yes.
    pub(crate) fn kept(self) -> Result<Self, HostError> {
        let Some(text) = self.one("fail") else {
            return Ok(self);
        };
        let mut parts = text.splitn(3, '|');
        let mut part = || parts.next().unwrap_or_default().to_owned();
        let (kind, cause, help) = (part(), part(), part());
        let error = match kind.as_str() {
            "busy" => HostError::new(ErrorKind::NoCapacity, cause),
            "taken" => HostError::new(ErrorKind::Taken, cause),
            "no-kvm" => HostError::new(ErrorKind::NoKvm, cause),
            "not-found" => HostError::new(ErrorKind::NotFound, cause),
            "invalid" => HostError::new(ErrorKind::Invalid, cause),
            "unavailable" => HostError::new(ErrorKind::Unavailable, cause).unsure(),
            // Begun, and not ended.
            _ => HostError::new(ErrorKind::Invalid, cause).unsure(),
        };
        Err(if help.is_empty() {
            error
        } else {
            error.with_help(help)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_an_end_is_none() {
        assert!(!Answer::parse("").is_whole());
        assert!(!Answer::parse("host-key ssh-ed25519 AAAA\n").is_whole());
        assert!(Answer::parse("host-key ssh-ed25519 AAAA\nok\n").is_whole());
    }

    #[test]
    fn a_refusal_says_who_has_it_and_what_to_do() {
        let error = Answer::parse("fail busy|it is taken by box m1|wait\n")
            .kept()
            .unwrap_err();
        assert_eq!(error.kind, ErrorKind::NoCapacity);
        assert_eq!(
            (error.cause.as_str(), error.help.as_deref()),
            ("it is taken by box m1", Some("wait"))
        );
    }

    #[test]
    fn what_is_begun_there_may_have_left_something() {
        let class = |line: &str| Answer::parse(line).kept().unwrap_err().class;
        assert_eq!(class("fail invalid|a|b"), super::super::error::Class::Untouched);
        assert_eq!(class("fail half|a|b"), super::super::error::Class::Unsure);
    }

    #[test]
    fn a_word_of_the_call_cannot_break_out() {
        let script = call(&["down", "it's; id", "-"], &Files::default());
        assert!(
            script.contains(r"'down' 'it'\''s; id' '-'"),
            "no quotes around it"
        );
    }
}
