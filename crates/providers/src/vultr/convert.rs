//! From Vultr's words to ours and back, and the one table from status and text to kind.

use std::{collections::BTreeMap, net::Ipv4Addr};

use model::{
    cloud::{InstanceState, ObservedInstance},
    error::ErrorKind,
    machine::{Listed, ResourceKind},
    tags::{OURS, Tags},
};

use super::wire::{Failure, Server};
use crate::http::{ApiError, Dialect, Effect, by_status};

/// The longest name of a key, or description of a firewall group, that is sent. Vultr documents no limit.
const TITLE_MAX: usize = 255;

/// Where its credentials come from.
pub(super) const CREDENTIALS_HELP: &str = "set VULTR_API_KEY to a key of the Vultr console (Account, API), switch API \
     access on there, and put this machine's address on its access control list: from elsewhere the key counts as wrong";

/// How Vultr reports what went wrong: a text, and no code.
pub(super) struct Words;

impl Dialect for Words {
    fn read_error(&self, body: &[u8]) -> Option<ApiError> {
        let failure: Failure = serde_json::from_slice(body).ok()?;
        Some(ApiError {
            code: String::new(),
            message: failure.error,
        })
    }

    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind {
        kind(status, &error.message).unwrap_or_else(|| by_status(status, effect))
    }

    fn help(&self, kind: &ErrorKind, error: &ApiError) -> Option<String> {
        let help = match kind {
            ErrorKind::QuotaReached => {
                "ask Vultr's support for a higher limit, or add another provider to `boxes`"
            }
            ErrorKind::NoCapacity => "add another plan or region to `boxes`",
            ErrorKind::Invalid if says(&error.message, &["invalid plan", "invalid region"]) => {
                "`twolane doctor --provider vultr` shows which plans and regions there are"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    fn credentials_help(&self) -> &str {
        CREDENTIALS_HELP
    }
}

fn says(message: &str, words: &[&str]) -> bool {
    let message = message.to_lowercase();
    words.iter().any(|word| message.contains(word))
}

/// Says what a text means. None: we do not know it, and its status decides.
fn kind(status: u16, message: &str) -> Option<ErrorKind> {
    let says = |words: &[&str]| says(message, words);
    if status == 429 {
        return Some(ErrorKind::RateLimited { retry_after: None });
    }
    if says(&["pending destruction"]) {
        return Some(ErrorKind::NotFound);
    }
    if says(&["currently locked"]) {
        return Some(ErrorKind::Unavailable);
    }
    if status >= 500 || status == 401 {
        return None;
    }
    if says(&[
        "not available in the selected region",
        "out of stock",
        "sold out",
        "no capacity",
    ]) {
        return Some(ErrorKind::NoCapacity);
    }
    let limits = [
        "maximum monthly fee",
        "maximum number of",
        "limit reached",
        "reached the limit",
        "exceeds your limit",
    ];
    if says(&limits) {
        return Some(ErrorKind::QuotaReached);
    }
    says(&["in use", "attached to"]).then_some(ErrorKind::Unavailable)
}

/// Writes tags as Vultr's plain ones. Vultr documents no character set; others use a colon.
pub(super) fn words(tags: &Tags) -> Vec<String> {
    let pairs = tags.pairs();
    pairs
        .iter()
        .map(|(key, value)| format!("{key}:{value}"))
        .collect()
}

/// Reads Vultr's plain tags.
pub(super) fn pairs<'a>(words: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let pairs = words.into_iter().filter_map(|word| word.split_once(':'));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Writes tags as the name of what takes no tags. Parts of the owner that do not fit are left out.
pub(super) fn title(tags: &Tags) -> String {
    let mut pairs = tags.pairs();
    let needed = [OURS, "mvm-label", "mvm-run", "mvm-token", "mvm-deadline"];
    let mut title = needed
        .iter()
        .filter_map(|key| pairs.remove(*key).map(|value| format!("{key}:{value}")))
        .collect::<Vec<_>>()
        .join(" ");
    for (key, value) in pairs {
        if title.len() + key.len() + value.len() + 2 <= TITLE_MAX {
            title = format!("{title} {key}:{value}");
        }
    }
    title
}

/// Reads tags from a name.
pub(super) fn titled(title: &str) -> BTreeMap<String, String> {
    pairs(title.split_whitespace())
}

/// Returns whether what an earlier try made can be used: it is ours, of the same label and run.
pub(super) fn is_same(title: &str, tags: &Tags) -> bool {
    Tags::parse(&titled(title)).is_some_and(|found| found.label == tags.label && found.run == tags.run)
}

pub(super) fn server_pairs(server: &Server) -> BTreeMap<String, String> {
    pairs(server.tags.iter().flatten().map(String::as_str))
}

pub(super) fn observed(server: &Server) -> ObservedInstance {
    ObservedInstance {
        listed: listed_server(server),
        state: state(server),
        host_key: None,
        operation: None,
    }
}

fn state(server: &Server) -> InstanceState {
    match server.status.as_str() {
        "active" if is_off(server) => InstanceState::Stopped,
        "active" => InstanceState::Running,
        "suspended" => InstanceState::Failed {
            kind: ErrorKind::QuotaReached,
            why: "Vultr has suspended the box: see its support tickets".to_owned(),
        },
        // Those on their way, and states that we do not know: it is ours, and not there yet.
        _ => InstanceState::Pending,
    }
}

fn is_off(server: &Server) -> bool {
    let is_installed = server.server_status.as_deref() == Some("ok");
    is_installed && server.power_status.as_deref() == Some("stopped")
}

/// Returns a server. Everything of ours is listed with `tags` none when they are damaged.
pub(super) fn listed_server(server: &Server) -> Listed {
    let address: Option<Ipv4Addr> = server.main_ip.parse().ok();
    Listed {
        kind: ResourceKind::Machine,
        id: server.id.clone(),
        region: server.region.clone(),
        tags: Tags::parse(&server_pairs(server)),
        state: match is_off(server) {
            true => "stopped".to_owned(),
            false => server.status.clone(),
        },
        address: address
            .filter(|address| !address.is_unspecified())
            .map(Into::into),
        instance_type: Some(server.plan.clone()),
    }
}

/// Returns a key or a firewall group, which are of no region.
pub(super) fn listed_thing(kind: ResourceKind, id: &str, title: &str) -> Listed {
    Listed {
        kind,
        id: id.to_owned(),
        region: "all regions".to_owned(),
        tags: Tags::parse(&titled(title)),
        state: "there".to_owned(),
        address: None,
        instance_type: None,
    }
}

#[cfg(test)]
mod tests {
    use model::{
        name::{Label, RunId, Token},
        selector::Selector,
        tags::{Owner, is_meant},
        time::Deadline,
    };

    use super::*;

    #[track_caller]
    fn check(status: u16, message: &str, effect: Effect, expected: ErrorKind) {
        let body = format!(r#"{{"error": "{message}", "status": {status}}}"#);
        let reported = Words.read_error(body.as_bytes()).unwrap();
        assert_eq!(
            Words.kind(status, &reported, effect),
            expected,
            "{status} {message}"
        );
    }

    #[test]
    fn the_text_counts_as_there_is_no_code() {
        let plan = "Server add failed: This plan is not available in the selected region";
        check(400, plan, Effect::Creates, ErrorKind::NoCapacity);
        check(400, "Invalid plan chosen.", Effect::Creates, ErrorKind::Invalid);
        check(400, "Invalid region.", Effect::Creates, ErrorKind::Invalid);
        let fee = "You have reached the maximum monthly fee limit for this account";
        check(403, fee, Effect::Creates, ErrorKind::QuotaReached);
        let many = "You have reached the maximum number of active virtual machines";
        check(400, many, Effect::Creates, ErrorKind::QuotaReached);
        check(
            401,
            "Invalid API token.",
            Effect::Repeatable,
            ErrorKind::Unauthorized,
        );
        check(403, "Forbidden", Effect::Creates, ErrorKind::Unauthorized);
        check(404, "Invalid instance.", Effect::Repeatable, ErrorKind::NotFound);
        check(422, "Invalid hostname", Effect::Creates, ErrorKind::Invalid);
        let slow = ErrorKind::RateLimited { retry_after: None };
        check(429, "Rate limit reached", Effect::Creates, slow);
    }

    #[test]
    fn a_locked_box_is_asked_for_again_and_one_that_goes_is_gone() {
        let locked = "Unable to destroy server: Unable to remove VM: Server is currently locked";
        check(500, locked, Effect::Repeatable, ErrorKind::Unavailable);
        let going = "Unable to destroy server: Server is already pending destruction";
        check(500, going, Effect::Repeatable, ErrorKind::NotFound);
        check(
            400,
            "Firewall group is in use",
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
    }

    #[test]
    fn a_create_that_fails_at_their_side_may_have_happened() {
        for text in ["Internal Server Error", "Gateway Timeout"] {
            check(500, text, Effect::Creates, ErrorKind::Unanswered);
            check(504, text, Effect::Repeatable, ErrorKind::Unavailable);
        }
    }

    fn tags(length: usize) -> Tags {
        let long = |c: &str, length: usize| c.repeat(length.max(2));
        Tags {
            label: Label::new(long("l", length.min(40))).unwrap(),
            run: RunId::new(long("r", length.min(40))).unwrap(),
            token: Token::new(long("t", length)).unwrap(),
            deadline: Deadline::at_unix(1_800_000_000),
            owner: Owner {
                repository: Some(long("o", length)),
                user: Some(long("u", length)),
                ..Owner::default()
            },
        }
    }

    #[test]
    fn tags_come_back_from_tags_and_from_names() {
        let tags = tags(8);
        let words = words(&tags);
        assert_eq!(
            Tags::parse(&pairs(words.iter().map(String::as_str))).as_ref(),
            Some(&tags)
        );
        assert_eq!(Tags::parse(&titled(&title(&tags))), Some(tags));
    }

    #[test]
    fn a_name_that_would_be_too_long_loses_the_owner_alone() {
        let tags = tags(63);
        let title = title(&tags);
        assert!(title.len() <= TITLE_MAX, "{}", title.len());
        let read = Tags::parse(&titled(&title)).unwrap();
        assert_eq!(
            (&read.label, &read.run, &read.token, read.deadline),
            (&tags.label, &tags.run, &tags.token, tags.deadline)
        );
    }

    #[test]
    fn somebody_elses_things_are_not_meant() {
        for title in ["", "eve's laptop", "mvm-ephemeral", "mvm-label:box-1"] {
            assert!(!is_meant(&titled(title), &Selector::AllOurs), "{title}");
        }
    }

    fn server(status: &str, power: &str, installed: &str) -> InstanceState {
        let text = format!(
            r#"{{"id": "1", "plan": "p", "status": "{status}", "power_status": "{power}", "server_status": "{installed}"}}"#
        );
        state(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_state_of_the_future_is_still_ours() {
        assert_eq!(server("pending", "running", "none"), InstanceState::Pending);
        assert_eq!(server("resizing", "running", "ok"), InstanceState::Pending);
        assert_eq!(
            server("active", "running", "installingbooting"),
            InstanceState::Running
        );
        assert_eq!(server("active", "stopped", "locked"), InstanceState::Running);
        assert_eq!(server("active", "stopped", "ok"), InstanceState::Stopped);
        assert!(matches!(
            server("suspended", "running", "ok"),
            InstanceState::Failed { .. }
        ));
    }
}
