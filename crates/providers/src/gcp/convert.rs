//! From Compute Engine's words to ours, and the one table from status and code to kind.

use std::collections::BTreeMap;

use model::{
    cloud::InstanceState,
    error::ErrorKind,
    machine::{Listed, ResourceKind},
    tags::{Tags, is_ours},
};

use super::wire::{Disk, Failure, Firewall, Instance, Operation};
use crate::http::{ApiError, Dialect, Effect, by_status};

/// Where its credentials come from.
pub(super) const CREDENTIALS_HELP: &str = "run `gcloud auth application-default login`, or set \
     GOOGLE_APPLICATION_CREDENTIALS to a key file; and set GOOGLE_CLOUD_PROJECT";

/// How Google reports what went wrong.
pub(super) struct Words;

impl Dialect for Words {
    fn read_error(&self, body: &[u8]) -> Option<ApiError> {
        let failure: Failure = serde_json::from_slice(body).ok()?;
        let reason = failure
            .error
            .errors
            .into_iter()
            .next()
            .map(|reason| reason.reason);
        let code = reason
            .filter(|reason| !reason.is_empty())
            .unwrap_or(failure.error.status);
        Some(ApiError {
            code,
            message: failure.error.message,
        })
    }

    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind {
        if is_policy(error) {
            return ErrorKind::Invalid;
        }
        kind(&error.code).unwrap_or_else(|| by_status(status, effect))
    }

    fn help(&self, kind: &ErrorKind, error: &ApiError) -> Option<String> {
        let help = match (kind, error.code.as_str()) {
            (_, "accessNotConfigured" | "SERVICE_DISABLED") => {
                "run `gcloud services enable compute.googleapis.com`"
            }
            _ if is_policy(error) => {
                "the organisation's policy forbids it: use another project or provider, or ask who administers the policy"
            }
            (ErrorKind::QuotaReached, _) => {
                "ask for more quota in the Google console, or add another region to `boxes`"
            }
            (ErrorKind::NoCapacity, _) => "add another region or type to `boxes`",
            _ => return None,
        };
        Some(help.to_owned())
    }

    fn credentials_help(&self) -> &str {
        CREDENTIALS_HELP
    }
}

/// Returns whether an organisation's policy refuses. It has the code of a fingerprint that does not match, and is final.
fn is_policy(error: &ApiError) -> bool {
    error.code == "conditionNotMet" && error.message.to_lowercase().contains("constraint")
}

/// Says what a code means, of an answer or of an operation. None: we do not know it, and its status decides.
pub(super) fn kind(code: &str) -> Option<ErrorKind> {
    let is_exhausted = code.contains("RESOURCE_POOL_EXHAUSTED") || code.starts_with("IP_SPACE_EXHAUSTED");
    if is_exhausted || code == "INSUFFICIENT_CAPACITY" || code == "STOCKOUT" {
        return Some(ErrorKind::NoCapacity);
    }
    if code.contains("QUOTA") {
        return Some(ErrorKind::QuotaReached);
    }
    Some(match code {
        "quotaExceeded" | "limitExceeded" => ErrorKind::QuotaReached,
        "rateLimitExceeded" | "userRateLimitExceeded" | "RATE_LIMIT_EXCEEDED" => {
            ErrorKind::RateLimited { retry_after: None }
        }
        "alreadyExists" | "ALREADY_EXISTS" | "RESOURCE_ALREADY_EXISTS" => ErrorKind::Taken,
        "notFound" | "NOT_FOUND" | "RESOURCE_NOT_FOUND" => ErrorKind::NotFound,
        "resourceInUseByAnotherResource"
        | "resourceInUse"
        | "resourceNotReady"
        | "conditionNotMet"
        | "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE"
        | "RESOURCE_NOT_READY" => ErrorKind::Unavailable,
        "forbidden"
        | "authError"
        | "required_auth"
        | "accessNotConfigured"
        | "SERVICE_DISABLED"
        | "PERMISSION_DENIED"
        | "PERMISSIONS_ERROR"
        | "UNAUTHENTICATED" => ErrorKind::Unauthorized,
        "invalid" | "required" | "badRequest" | "INVALID_ARGUMENT" | "CONDITION_NOT_MET"
        | "INVALID_USAGE" => ErrorKind::Invalid,
        _ => return None,
    })
}

/// Says how an operation went. None: well, or it is still going on.
pub(super) fn failure(operation: &Operation) -> Option<(ErrorKind, String)> {
    let error = operation.error.as_ref()?.errors.first()?;
    // Whatever went wrong with this one, another may be made.
    let kind = kind(&error.code).unwrap_or(ErrorKind::NoCapacity);
    Some((kind, format!("{} ({})", error.message, error.code)))
}

pub(super) fn state(instance: &Instance) -> InstanceState {
    match instance.status.as_str() {
        "RUNNING" => InstanceState::Running,
        "PENDING" | "PROVISIONING" | "STAGING" | "REPAIRING" => InstanceState::Pending,
        "PENDING_STOP" | "STOPPING" | "DEPROVISIONING" => InstanceState::Terminating,
        "STOPPED" | "TERMINATED" | "SUSPENDING" | "SUSPENDED" => InstanceState::Stopped,
        _ => InstanceState::Unknown,
    }
}

pub(super) fn listed_instance(instance: &Instance) -> Listed {
    let address = instance.network_interfaces.first().and_then(|interface| {
        // The configuration is there from the start where a public address is to be, which comes later.
        match interface.access_configs.first() {
            Some(access) => access.nat_ip.as_ref(),
            None => interface.network_ip.as_ref(),
        }
    });
    Listed {
        kind: ResourceKind::Machine,
        id: instance.name.clone(),
        region: last(&instance.zone).to_owned(),
        tags: Tags::parse(&instance.labels),
        state: match &instance.status_message {
            Some(message) => format!("{} ({message})", instance.status),
            None => instance.status.clone(),
        },
        address: address.and_then(|ip| ip.parse().ok()),
        instance_type: Some(last(&instance.machine_type).to_owned()),
    }
}

pub(super) fn listed_disk(disk: &Disk) -> Option<Listed> {
    is_ours(&disk.labels).then(|| Listed {
        kind: ResourceKind::Disk,
        id: disk.name.clone(),
        region: disk.zone.as_deref().map(last).unwrap_or_default().to_owned(),
        tags: Tags::parse(&disk.labels),
        state: disk.status.clone().unwrap_or_default(),
        address: None,
        instance_type: None,
    })
}

pub(super) fn listed_firewall(firewall: &Firewall) -> Option<Listed> {
    let pairs = described(&firewall.description);
    is_ours(&pairs).then(|| Listed {
        kind: ResourceKind::Firewall,
        id: firewall.name.clone(),
        region: "global".to_owned(),
        tags: Tags::parse(&pairs),
        state: "there".to_owned(),
        address: None,
        instance_type: None,
    })
}

/// Writes tags as the description of what takes no labels.
pub(super) fn description(tags: &Tags) -> String {
    let pairs = tags.pairs();
    pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// Reads tags from a description.
pub(super) fn described(description: &str) -> BTreeMap<String, String> {
    let pairs = description
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Returns the name at the end of a resource's address.
pub(super) fn last(address: &str) -> &str {
    address.rsplit('/').next().unwrap_or(address)
}

/// Finds the box's host keys where cloud-init prints them on the serial console.
pub(super) fn printed_host_key(console: &str) -> Option<String> {
    let (_, rest) = console.rsplit_once("-----BEGIN SSH HOST KEY KEYS-----")?;
    let (keys, _) = rest.split_once("-----END SSH HOST KEY KEYS-----")?;
    let key = keys
        .lines()
        .find_map(|line| line.find("ssh-ed25519 ").map(|at| &line[at..]))?;
    let mut words = key.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, effect: Effect, expected: ErrorKind) {
        let reported = Words.read_error(body.as_bytes()).unwrap_or_default();
        assert_eq!(Words.kind(status, &reported, effect), expected, "{status} {body}");
    }

    fn body(reason: &str) -> String {
        format!(
            r#"{{"error":{{"code":400,"message":"m","errors":[{{"domain":"global","reason":"{reason}","message":"m"}}]}}}}"#
        )
    }

    #[test]
    fn reasons_count_more_than_statuses() {
        check(
            403,
            &body("quotaExceeded"),
            Effect::Creates,
            ErrorKind::QuotaReached,
        );
        check(
            403,
            &body("rateLimitExceeded"),
            Effect::Creates,
            ErrorKind::RateLimited { retry_after: None },
        );
        check(403, &body("forbidden"), Effect::Creates, ErrorKind::Unauthorized);
        check(409, &body("alreadyExists"), Effect::Creates, ErrorKind::Taken);
        check(
            400,
            &body("resourceInUseByAnotherResource"),
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(503, &body("backendError"), Effect::Creates, ErrorKind::Unanswered);
        check(
            503,
            &body("backendError"),
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(401, "{}", Effect::Repeatable, ErrorKind::Unauthorized);
        check(
            401,
            r#"{"error":{"code":401,"message":"m","status":"UNAUTHENTICATED"}}"#,
            Effect::Creates,
            ErrorKind::Unauthorized,
        );
    }

    #[test]
    fn both_forms_of_exhaustion_are_no_capacity() {
        for code in [
            "ZONE_RESOURCE_POOL_EXHAUSTED",
            "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
            "RESOURCE_POOL_EXHAUSTED",
            "INSUFFICIENT_CAPACITY",
        ] {
            assert_eq!(kind(code), Some(ErrorKind::NoCapacity), "{code}");
        }
        assert_eq!(kind("QUOTA_EXCEEDED"), Some(ErrorKind::QuotaReached));
    }

    #[test]
    fn a_host_key_is_found_on_the_console() {
        let console = "[ 1.0] x\nci-info: -----BEGIN SSH HOST KEY KEYS-----\r\necdsa-sha2-nistp256 AAAAE2 root@b\r\n\
                       ssh-ed25519 AAAAC3Nz root@b\r\n-----END SSH HOST KEY KEYS-----\r\nlogin:";
        assert_eq!(printed_host_key(console).as_deref(), Some("ssh-ed25519 AAAAC3Nz"));
        assert_eq!(printed_host_key("login:"), None);
    }
}
