//! From Latitude.sh's words to ours, and the one table from status and code to kind.

use std::time::Duration;

use model::{
    cloud::{InstanceState, ObservedInstance},
    error::ErrorKind,
    machine::{Listed, ResourceKind},
    selector::Selector,
    tag_line,
    tags::{self, OURS, Tags},
    time::{Timestamp, between},
};
use reqwest::header::HeaderMap;
use sha2::{Digest, Sha256};

use super::wire::{Failure, Key, Resource, Server, UserData};
use crate::http::{ApiError, Dialect, Effect, by_status, seconds};

/// How long a server must be there before it is believed when it was never anything but `on`.
const SETTLED: Duration = Duration::from_secs(180);

/// How long to wait after too many requests: the limits are for a minute, and the answer says so in its body.
const MINUTE: Duration = Duration::from_secs(60);

/// Where its credentials come from.
pub(super) const CREDENTIALS_HELP: &str =
    "set LATITUDESH_AUTH_TOKEN to an API key of the team (Latitude.sh dashboard, Settings, API keys)";

/// The state of a server whose deletion is ignored, whatever else it does.
pub(super) const LOCKED: &str = "locked";

/// What helps against that.
pub(super) const UNLOCK: &str = "somebody locked that server: unlock it in the Latitude.sh dashboard";

/// How Latitude.sh reports what went wrong.
pub(super) struct Words;

impl Dialect for Words {
    fn read_error(&self, body: &[u8]) -> Option<ApiError> {
        let failure: Failure = serde_json::from_slice(body).ok()?;
        let first = failure.errors.into_iter().next()?;
        let words: Vec<String> = [first.title, first.detail].into_iter().flatten().collect();
        Some(ApiError {
            code: first.code.unwrap_or_default(),
            message: words.join(": "),
        })
    }

    /// The status counts first: the code is often missing.
    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind {
        let message = error.message.to_lowercase();
        match (status, error.code.as_str()) {
            (_, "SERVERS_OUT_OF_STOCK") => ErrorKind::NoCapacity,
            (_, "RATE_LIMIT_EXCEEDED") => ErrorKind::RateLimited { retry_after: None },
            (400..=422, _) if message.contains("out of stock") => ErrorKind::NoCapacity,
            (402, _) => ErrorKind::QuotaReached,
            (400..=422, _) if message.contains("limit") || message.contains("quota") => {
                ErrorKind::QuotaReached
            }
            _ => by_status(status, effect),
        }
    }

    fn help(&self, kind: &ErrorKind, error: &ApiError) -> Option<String> {
        let help = match kind {
            ErrorKind::NoCapacity => "add another plan, site or provider to `boxes`",
            ErrorKind::QuotaReached => {
                "ask Latitude.sh for a higher limit or see to the team's billing, or add another provider to `boxes`"
            }
            ErrorKind::Invalid if error.message.to_lowercase().contains("locked") => UNLOCK,
            _ => return None,
        };
        Some(help.to_owned())
    }

    fn credentials_help(&self) -> &str {
        CREDENTIALS_HELP
    }

    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        seconds(headers, "retry-after").or(Some(MINUTE))
    }
}

/// Returns the host name of a box, which its create call carries: it names the box's tags, which are too long for it.
/// Label and run are in it as parts of a checksum.
pub(super) fn hostname(tags: &Tags) -> String {
    format!(
        "{OURS}-{}-{}",
        short(tags.label.as_str()),
        short(tags.run.as_str())
    )
}

fn short(text: &str) -> String {
    hex::encode(&Sha256::digest(text)[..4])
}

/// Returns the parts of a host name of ours: of label and run.
fn parts(hostname: &str) -> Option<(&str, &str)> {
    let (label, run) = hostname.strip_prefix(OURS)?.strip_prefix('-')?.split_once('-')?;
    let is_part = |part: &str| part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_part(label) && is_part(run)).then_some((label, run))
}

/// Returns whether a server is ours and is meant, by its host name alone.
pub(super) fn is_meant(hostname: &str, selector: &Selector) -> bool {
    parts(hostname).is_some_and(|(label, run)| match selector {
        Selector::AllOurs => true,
        Selector::Label(name) => label == short(name.as_str()),
        Selector::OfRun(name, id) => label == short(name.as_str()) && run == short(id.as_str()),
    })
}

/// Returns the tags that belong to a host name: those of its user-data, of the newest where there are several.
pub(super) fn tags_of(hostname: &str, user_data: &[Resource<UserData>]) -> Option<Tags> {
    let with_tags = user_data.iter().filter_map(|it| {
        Some((
            it.attributes.created_at.as_deref(),
            tags_in(&it.attributes.description)?,
        ))
    });
    with_tags
        .filter(|(_, tags)| self::hostname(tags) == hostname)
        .max_by_key(|(made, _)| *made)
        .map(|(_, tags)| tags)
}

/// Reads the tags of a description or a name.
pub(super) fn tags_in(text: &Option<String>) -> Option<Tags> {
    Tags::parse(&tag_line::read(text.as_deref()?)?)
}

/// Returns a server as it stands. `before` is the state that it was last seen in, where it was.
pub(super) fn observed(
    server: &Resource<Server>,
    tags: Option<Tags>,
    before: Option<&str>,
    now: Option<Timestamp>,
) -> ObservedInstance {
    ObservedInstance {
        listed: listed_server(server, tags),
        state: state(&server.attributes, before, now),
        host_key: None,
        operation: None,
    }
}

/// Returns whether a server is billed otherwise than by the hour.
pub(super) fn is_not_hourly(server: &Server) -> Option<&str> {
    let billing = server.plan.as_ref()?.billing.as_deref()?;
    (billing != "hourly").then_some(billing)
}

fn state(server: &Server, before: Option<&str>, now: Option<Timestamp>) -> InstanceState {
    if let Some(billing) = is_not_hourly(server) {
        return InstanceState::Failed {
            kind: ErrorKind::Invalid,
            why: format!("it is billed {billing}, not by the hour"),
        };
    }
    let was_another = before.is_some_and(|before| before != "on" && before != LOCKED);
    match server.status.as_str() {
        // It may say so before it is installed: believed after another state, or when it has stood a while.
        "on" if was_another || has_settled(server, now) => InstanceState::Running,
        status @ ("failed_deployment" | "failed_disk_erasing") => InstanceState::Failed {
            kind: ErrorKind::NoCapacity,
            why: format!("it could not be installed (status {status})"),
        },
        // Those on their way, and states that we do not know: it is ours, and not there yet.
        _ => InstanceState::Pending,
    }
}

fn has_settled(server: &Server, now: Option<Timestamp>) -> bool {
    let made = server
        .created_at
        .as_ref()
        .and_then(|made| made.parse::<Timestamp>().ok());
    match (made, now) {
        (Some(made), Some(now)) => between(made, now) >= SETTLED,
        _ => true,
    }
}

pub(super) fn listed_server(server: &Resource<Server>, tags: Option<Tags>) -> Listed {
    let it = &server.attributes;
    let of_region = || it.region.as_ref()?.site.as_ref()?.slug.clone();
    Listed {
        kind: ResourceKind::Machine,
        id: server.id.clone(),
        region: of_region().or_else(|| it.site.clone()).unwrap_or_default(),
        tags,
        state: match it.locked {
            Some(true) => LOCKED.to_owned(),
            Some(false) | None => it.status.clone(),
        },
        address: it.primary_ipv4.as_ref().and_then(|address| address.parse().ok()),
        instance_type: it.plan.as_ref().and_then(|plan| plan.slug.clone()),
    }
}

/// Returns what was made beside a box, if it is ours and meant.
pub(super) fn listed_thing(
    kind: ResourceKind,
    id: &str,
    text: &Option<String>,
    selector: &Selector,
) -> Option<Listed> {
    let pairs = tag_line::read(text.as_deref()?)?;
    tags::is_meant(&pairs, selector).then(|| Listed {
        kind,
        id: id.to_owned(),
        region: String::new(),
        tags: Tags::parse(&pairs),
        state: "there".to_owned(),
        address: None,
        instance_type: None,
    })
}

/// Returns whether an earlier try of the same run made this user-data.
pub(super) fn is_same_data(found: &UserData, tags: &Tags, content: &str) -> bool {
    let same = |it: &Tags| it.label == tags.label && it.run == tags.run;
    let bare = |text: &str| text.split_whitespace().collect::<String>();
    tags_in(&found.description).as_ref().is_some_and(same)
        && found
            .content
            .as_deref()
            .is_some_and(|found| bare(found) == content)
}

/// Returns whether an earlier try of the same run made this key.
pub(super) fn is_same_key(found: &Key, tags: &Tags, public_key: &str) -> bool {
    let same = |it: &Tags| it.label == tags.label && it.run == tags.run;
    let body = |key: &str| -> Vec<String> { key.split_whitespace().take(2).map(str::to_owned).collect() };
    tags_in(&found.name).as_ref().is_some_and(same)
        && found
            .public_key
            .as_deref()
            .is_some_and(|key| body(key) == body(public_key))
}

#[cfg(test)]
mod tests {
    use model::{
        name::{Label, RunId, Token},
        tags::Owner,
        time::Deadline,
    };

    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, effect: Effect, expected: ErrorKind) {
        let reported = Words.read_error(body.as_bytes()).unwrap_or_default();
        assert_eq!(Words.kind(status, &reported, effect), expected, "{status} {body}");
    }

    fn body(code: &str, detail: &str) -> String {
        format!(
            r#"{{"errors": [{{"code": {code}, "status": "x", "title": "t", "detail": "{detail}", "meta": {{}}}}]}}"#
        )
    }

    #[test]
    fn a_status_counts_where_the_code_is_missing() {
        let out = body(r#""SERVERS_OUT_OF_STOCK""#, "no stock");
        check(422, &out, Effect::Creates, ErrorKind::NoCapacity);
        check(
            422,
            &body("null", "hostname is invalid"),
            Effect::Creates,
            ErrorKind::Invalid,
        );
        check(
            422,
            &body("null", "You reached the limit of servers"),
            Effect::Creates,
            ErrorKind::QuotaReached,
        );
        check(
            423,
            &body("null", "server is locked"),
            Effect::Repeatable,
            ErrorKind::Invalid,
        );
        check(
            404,
            &body(r#""not_found""#, "gone"),
            Effect::Repeatable,
            ErrorKind::NotFound,
        );
        check(401, "", Effect::Creates, ErrorKind::Unauthorized);
        let limited = body(r#""RATE_LIMIT_EXCEEDED""#, "slow down");
        check(
            429,
            &limited,
            Effect::Creates,
            ErrorKind::RateLimited { retry_after: None },
        );
        check(502, "<html>", Effect::Creates, ErrorKind::Unanswered);
        assert_eq!(Words.retry_after(&HeaderMap::new()), Some(MINUTE));
    }

    fn tags(label: &str, run: &str) -> Tags {
        Tags {
            label: Label::new(label).unwrap(),
            run: RunId::new(run).unwrap(),
            token: Token::new("t1").unwrap(),
            deadline: Deadline::at_unix(1_800_000_000),
            owner: Owner::default(),
        }
    }

    #[test]
    fn a_host_name_fits_and_reports_label_and_run_apart() {
        let name = hostname(&tags(&"a".repeat(40), &"b".repeat(40)));
        assert!(
            name.len() <= 32
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "{name}"
        );
        let name = hostname(&tags("web-1", "r1"));
        let web = Label::new("web-1").unwrap();
        assert!(is_meant(&name, &Selector::AllOurs) && is_meant(&name, &Selector::Label(web.clone())));
        assert!(is_meant(
            &name,
            &Selector::OfRun(web.clone(), RunId::new("r1").unwrap())
        ));
        assert!(!is_meant(&name, &Selector::OfRun(web, RunId::new("r2").unwrap())));
        assert!(!is_meant(&name, &Selector::Label(Label::new("web-2").unwrap())));
        for foreign in [
            "web-1",
            "mvm-ephemeral",
            "mvm-ephemeral-web-1",
            "mvm-ephemeral-0123456z-01234567",
        ] {
            assert!(!is_meant(foreign, &Selector::AllOurs), "{foreign}");
        }
    }

    #[test]
    fn on_is_believed_after_another_state_or_some_minutes() {
        let made: Timestamp = "2026-01-02T03:00:00Z".parse().unwrap();
        let life_of = |status: &str, before: Option<&str>, seconds: u64| {
            let server =
                serde_json::json!({"hostname": "h", "status": status, "created_at": made.to_string()});
            let now = model::time::after(made, Duration::from_secs(seconds));
            state(&serde_json::from_value(server).unwrap(), before, Some(now))
        };
        assert_eq!(life_of("on", None, 5), InstanceState::Pending);
        assert_eq!(life_of("on", Some("on"), 60), InstanceState::Pending);
        assert_eq!(life_of("on", Some("on"), 200), InstanceState::Running);
        assert_eq!(life_of("on", Some("deploying"), 20), InstanceState::Running);
        assert_eq!(life_of("of the future", Some("on"), 20), InstanceState::Pending);
        assert!(matches!(
            life_of("failed_deployment", None, 5),
            InstanceState::Failed { .. }
        ));
    }
}
