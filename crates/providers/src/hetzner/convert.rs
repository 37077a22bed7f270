//! From Hetzner's words to ours, and the one table from status and code to kind.

use std::{collections::BTreeMap, time::Duration};

use model::{
    cloud::{InstanceState, ObservedInstance},
    error::ErrorKind,
    machine::{Listed, ResourceKind},
    tags::{Tags, is_ours},
};
use reqwest::header::HeaderMap;

use super::wire::{Action, Datacenter, Failure, Named, Server, Thing};
use crate::http::{ApiError, Dialect, Effect, by_status, seconds};

/// Where its credentials come from.
pub(super) const CREDENTIALS_HELP: &str = "set HCLOUD_TOKEN to a token of the project with read and write access (Hetzner console, Security, API tokens)";

/// How Hetzner reports what went wrong.
pub(super) struct Words;

impl Dialect for Words {
    fn read_error(&self, body: &[u8]) -> Option<ApiError> {
        let failure: Failure = serde_json::from_slice(body).ok()?;
        Some(ApiError {
            code: failure.error.code,
            message: failure.error.message,
        })
    }

    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind {
        kind(&error.code).unwrap_or_else(|| by_status(status, effect))
    }

    fn help(&self, kind: &ErrorKind, error: &ApiError) -> Option<String> {
        let help = match (kind, error.code.as_str()) {
            (_, "token_readonly") => {
                "make a token with read and write access in the Hetzner console, and set HCLOUD_TOKEN"
            }
            (_, "protected") => "switch its delete protection off in the Hetzner console",
            (ErrorKind::QuotaReached, _) => {
                "ask for a higher limit in the Hetzner console, or add another provider to `boxes`"
            }
            (ErrorKind::NoCapacity, _) => {
                "add another type or location to `boxes`: cpx types are seldom sold out"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    fn credentials_help(&self) -> &str {
        CREDENTIALS_HELP
    }

    fn request_id_header(&self) -> &str {
        "x-correlation-id"
    }

    /// `RateLimit-Reset` says when the bucket is full again; one more request is allowed much sooner.
    fn retry_after(&self, headers: &HeaderMap) -> Option<Duration> {
        let reported = seconds(headers, "retry-after");
        let refill = || {
            let size = seconds(headers, "ratelimit-limit")?.as_secs();
            Some(Duration::from_millis(3_600_000 / size.max(1)))
        };
        reported.or_else(refill)
    }
}

/// Says what a code means. None: we do not know it, and its status decides.
fn kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "resource_unavailable"
        | "placement_error"
        | "server_type_not_available"
        | "location_not_available" => ErrorKind::NoCapacity,
        "resource_limit_exceeded" | "dedicated_core_limit" => ErrorKind::QuotaReached,
        "unauthorized" | "forbidden" | "token_readonly" => ErrorKind::Unauthorized,
        "rate_limit_exceeded" => ErrorKind::RateLimited { retry_after: None },
        "uniqueness_error" => ErrorKind::Taken,
        "not_found" => ErrorKind::NotFound,
        "conflict" | "locked" | "resource_in_use" | "must_be_unassigned" | "server_not_stopped"
        | "maintenance" => ErrorKind::Unavailable,
        "invalid_input" | "json_error" | "protected" | "deprecated_api_endpoint" => ErrorKind::Invalid,
        _ => return None,
    })
}

/// Returns a server as it stands. `actions` are those of its create call: they create it, switched off, and start it.
pub(super) fn observed(server: &Server, actions: &[Action]) -> ObservedInstance {
    let ids: Vec<_> = actions.iter().map(|action| action.id.to_string()).collect();
    ObservedInstance {
        listed: listed_server(server),
        state: state(&server.status, actions),
        host_key: None,
        operation: (!ids.is_empty()).then(|| ids.join(" ")),
    }
}

fn state(status: &str, actions: &[Action]) -> InstanceState {
    if let Some(action) = actions.iter().find(|action| action.status == "error") {
        return failed(action);
    }
    match status {
        "running" => InstanceState::Running,
        "deleting" => InstanceState::Terminating,
        // Every new server is off between its two actions.
        "off" | "stopping" if actions.iter().any(|action| action.status == "running") => {
            InstanceState::Pending
        }
        "off" | "stopping" => InstanceState::Stopped,
        // Those on their way, and states that we do not know: it is ours, and not there yet.
        _ => InstanceState::Pending,
    }
}

fn failed(action: &Action) -> InstanceState {
    let (code, message) = match &action.error {
        Some(error) => (error.code.as_str(), error.message.as_str()),
        None => ("", "it does not say why"),
    };
    // Whatever is wrong with this box, another may be made.
    let kind = kind(code).unwrap_or(ErrorKind::NoCapacity);
    InstanceState::Failed {
        kind,
        why: format!("{message} ({code})"),
    }
}

/// Returns a server. Everything of ours is listed with `tags` none when they are damaged.
pub(super) fn listed_server(server: &Server) -> Listed {
    let ip = server.public_net.ipv4.as_ref();
    Listed {
        kind: ResourceKind::Machine,
        id: server.id.to_string(),
        region: place(server.location.as_ref(), server.datacenter.as_ref()),
        tags: Tags::parse(&server.labels),
        state: server.status.clone(),
        address: ip.and_then(|ip| ip.ip.parse().ok()),
        instance_type: Some(server.server_type.name.clone()),
    }
}

fn place(location: Option<&Named>, datacenter: Option<&Datacenter>) -> String {
    let location = location.or(datacenter.and_then(|it| it.location.as_ref()));
    location.map(|it| it.name.clone()).unwrap_or_default()
}

/// Returns a server of ours, and the address that its create call made: that one has no labels of its own.
pub(super) fn listed_with_address(server: &Server) -> Vec<Listed> {
    if !is_ours(&server.labels) {
        return Vec::new();
    }
    let machine = listed_server(server);
    let ip = server.public_net.ipv4.as_ref();
    let address = ip.and_then(|ip| Some((ip.id?, ip))).map(|(id, ip)| Listed {
        kind: ResourceKind::Address,
        id: id.to_string(),
        state: format!("with box {}", server.id),
        address: ip.ip.parse().ok(),
        instance_type: None,
        ..machine.clone()
    });
    [machine].into_iter().chain(address).collect()
}

pub(super) fn listed_thing(kind: ResourceKind, thing: &Thing) -> Vec<Listed> {
    if !is_ours(&thing.labels) {
        return Vec::new();
    }
    vec![Listed {
        kind,
        id: thing.id.to_string(),
        region: place(thing.location.as_ref(), thing.datacenter.as_ref()),
        tags: Tags::parse(&thing.labels),
        state: "there".to_owned(),
        address: thing.ip.as_ref().and_then(|ip| ip.parse().ok()),
        instance_type: None,
    }]
}

/// Returns whether what an earlier try made can be used: it is ours, of the same label and run.
pub(super) fn is_same(found: &BTreeMap<String, String>, tags: &Tags) -> bool {
    Tags::parse(found).is_some_and(|found| found.label == tags.label && found.run == tags.run)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, effect: Effect, expected: ErrorKind) {
        let reported = Words.read_error(body.as_bytes()).unwrap_or_default();
        assert_eq!(Words.kind(status, &reported, effect), expected, "{status} {body}");
    }

    fn body(code: &str) -> String {
        format!(r#"{{"error": {{"code": "{code}", "message": "m", "details": null}}}}"#)
    }

    #[test]
    fn codes_count_more_than_statuses() {
        check(
            412,
            &body("resource_unavailable"),
            Effect::Creates,
            ErrorKind::NoCapacity,
        );
        check(
            403,
            &body("resource_limit_exceeded"),
            Effect::Creates,
            ErrorKind::QuotaReached,
        );
        check(
            403,
            &body("token_readonly"),
            Effect::Creates,
            ErrorKind::Unauthorized,
        );
        check(
            401,
            &body("unauthorized"),
            Effect::Repeatable,
            ErrorKind::Unauthorized,
        );
        check(
            429,
            &body("rate_limit_exceeded"),
            Effect::Creates,
            ErrorKind::RateLimited { retry_after: None },
        );
        check(409, &body("uniqueness_error"), Effect::Creates, ErrorKind::Taken);
        check(
            422,
            &body("resource_in_use"),
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(
            422,
            &body("must_be_unassigned"),
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(404, &body("not_found"), Effect::Repeatable, ErrorKind::NotFound);
        check(422, &body("json_error"), Effect::Creates, ErrorKind::Invalid);
    }

    #[test]
    fn a_create_that_fails_at_their_side_may_have_happened() {
        for code in [
            "server_error",
            "service_error",
            "bad_gateway",
            "timeout",
            "of the future",
        ] {
            check(502, &body(code), Effect::Creates, ErrorKind::Unanswered);
            check(502, &body(code), Effect::Repeatable, ErrorKind::Unavailable);
        }
        check(
            504,
            "upstream request timeout",
            Effect::Creates,
            ErrorKind::Unanswered,
        );
    }

    #[test]
    fn one_more_request_is_allowed_long_before_the_bucket_is_full() {
        let mut headers = HeaderMap::new();
        assert_eq!(Words.retry_after(&headers), None);
        headers.insert("ratelimit-limit", "3600".parse().unwrap());
        headers.insert("ratelimit-reset", "1900000000".parse().unwrap());
        assert_eq!(Words.retry_after(&headers), Some(Duration::from_secs(1)));
        headers.insert("retry-after", "7".parse().unwrap());
        assert_eq!(Words.retry_after(&headers), Some(Duration::from_secs(7)));
    }

    #[test]
    fn a_state_of_the_future_is_still_ours() {
        assert_eq!(state("defragmenting", &[]), InstanceState::Pending);
        assert_eq!(state("running", &[]), InstanceState::Running);
        assert_eq!(state("deleting", &[]), InstanceState::Terminating);
    }

    #[test]
    fn off_is_pending_as_long_as_an_action_runs() {
        let action = |status: &str| Action {
            id: 1,
            status: status.to_owned(),
            error: None,
        };
        let (through, runs) = (action("success"), action("running"));
        assert_eq!(state("off", &[through, runs]), InstanceState::Pending);
        assert_eq!(state("off", &[action("success")]), InstanceState::Stopped);
        assert_eq!(state("stopping", &[]), InstanceState::Stopped);
    }
}
