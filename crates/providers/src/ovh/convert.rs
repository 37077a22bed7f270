//! From OVHcloud's words to ours, and the one table from status, class and code to kind.

use std::collections::BTreeMap;

use model::{
    cloud::{InstanceState, ObservedInstance},
    error::ErrorKind,
    machine::{Listed, ResourceKind},
    tag_line,
    tags::Tags,
};

use super::wire::{Failure, Instance, Key};
use crate::http::{ApiError, Dialect, Effect, by_status};

/// Words of a message that say that there is none left. The API has no code for it.
const SOLD_OUT: [&str; 6] = [
    "no offers available",
    "out of stock",
    "not available in",
    "no valid host",
    "not enough hosts",
    "unavailable flavor",
];

/// Where its credentials come from.
pub(super) const CREDENTIALS_HELP: &str = "make an application and a consumer key at https://eu.api.ovh.com/createToken (GET, POST, PUT and DELETE on /cloud/project/*, GET on /auth/*), and set OVH_ENDPOINT (ovh-eu, ovh-ca or ovh-us), OVH_APPLICATION_KEY, OVH_APPLICATION_SECRET and OVH_CONSUMER_KEY";

/// How OVHcloud reports what went wrong.
pub(super) struct Words;

impl Dialect for Words {
    fn read_error(&self, body: &[u8]) -> Option<ApiError> {
        let failure: Failure = serde_json::from_slice(body).ok()?;
        let action = failure.details.and_then(|details| details.unauthorized_actions);
        let mut message = failure.message.unwrap_or_default();
        if let Some(action) = action {
            message = format!("{message} (the policy does not allow {action})");
        }
        Some(ApiError {
            code: failure.error_code.or(failure.class).unwrap_or_default(),
            message,
        })
    }

    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind {
        let message = error.message.to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
        match (status, error.code.as_str()) {
            (_, "INVALID_SIGNATURE" | "INVALID_CREDENTIAL" | "NOT_CREDENTIAL" | "INVALID_KEY")
            | (_, "NOT_GRANTED_CALL" | "QUERY_TIME_OUT") => ErrorKind::Unauthorized,
            (400..=499, _) if has(&["quota"]) => ErrorKind::QuotaReached,
            (412 | 413, _) => ErrorKind::QuotaReached,
            (400 | 409, _) if has(&SOLD_OUT) => ErrorKind::NoCapacity,
            (409, _) => ErrorKind::Unavailable,
            // Expired or suspended: nothing passes until somebody has paid.
            (460, _) => ErrorKind::Unauthorized,
            _ => by_status(status, effect),
        }
    }

    fn help(&self, kind: &ErrorKind, error: &ApiError) -> Option<String> {
        let help = match (kind, error.code.as_str()) {
            (_, "INVALID_SIGNATURE") => {
                "OVH_APPLICATION_SECRET or OVH_CONSUMER_KEY does not belong to OVH_APPLICATION_KEY, or OVH_ENDPOINT is another one than that they were made at"
            }
            (_, "NOT_GRANTED_CALL") => {
                "make a consumer key that may GET, POST, PUT and DELETE /cloud/project/*, and GET /auth/*"
            }
            (ErrorKind::Unauthorized, _) if error.message.contains("policy does not allow") => {
                "allow that action to this identity in the OVHcloud manager (IAM, policies)"
            }
            (ErrorKind::QuotaReached, _) => {
                "ask for a higher quota in the OVHcloud manager (Public Cloud, quota and regions), or add another region or provider to `boxes`"
            }
            (ErrorKind::NoCapacity, _) => "add another region or type to `boxes`",
            (ErrorKind::NotFound, _) if error.message.contains("service does not exist") => {
                "OVH_CLOUD_PROJECT_SERVICE names no project of this account: the OVHcloud manager shows the id under its name (Public Cloud)"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    fn credentials_help(&self) -> &str {
        CREDENTIALS_HELP
    }

    fn request_id_header(&self) -> &str {
        "x-ovh-queryid"
    }
}

/// Returns an instance of ours as it stands; its type is `known` where the answer does not tell.
pub(super) fn observed(instance: &Instance, known: Option<&str>) -> ObservedInstance {
    let pairs = tag_line::read(&instance.name).unwrap_or_default();
    let listed = listed_instance(instance, &pairs);
    ObservedInstance {
        state: state(instance),
        host_key: None,
        operation: None,
        listed: Listed {
            instance_type: listed.instance_type.or(known.map(str::to_owned)),
            ..listed
        },
    }
}

/// Returns whether an instance is not billed by the hour.
pub(super) fn is_monthly(instance: &Instance) -> bool {
    let is_monthly_plan = |code: &String| code.contains("monthly");
    instance.monthly_billing.is_some() || instance.plan_code.as_ref().is_some_and(is_monthly_plan)
}

fn state(instance: &Instance) -> InstanceState {
    let status = instance.status.as_str();
    let failed = |kind, why: String| InstanceState::Failed { kind, why };
    match status {
        _ if is_monthly(instance) => {
            let status = instance
                .monthly_billing
                .as_ref()
                .and_then(|it| it.status.as_deref());
            let why = format!("it is billed by the month ({})", status.unwrap_or("monthly plan"));
            failed(ErrorKind::Invalid, why)
        }
        "ACTIVE" => InstanceState::Running,
        "DELETED" | "DELETING" | "SOFT_DELETED" => InstanceState::Terminating,
        // A host that has none free, or hardware that does not come up: another may be made elsewhere.
        "ERROR" => failed(
            ErrorKind::NoCapacity,
            "it could not be built (status ERROR)".to_owned(),
        ),
        "SHUTOFF" | "STOPPED" | "PAUSED" | "SUSPENDED" | "SHELVED" | "SHELVED_OFFLOADED" | "RESCUE" => {
            InstanceState::Stopped
        }
        // Those on their way, and states that we do not know: it is ours, and not there yet.
        _ => InstanceState::Pending,
    }
}

/// Returns an instance with the tags in its name. What is ours is listed with `tags` none when they are damaged.
pub(super) fn listed_instance(instance: &Instance, pairs: &BTreeMap<String, String>) -> Listed {
    let is_reachable = |kind: &str, version| kind == "public" && version == 4;
    let address = instance
        .ip_addresses
        .iter()
        .find(|address| is_reachable(&address.kind, address.version));
    let of_plan = || Some(instance.plan_code.as_ref()?.split('.').next()?.to_owned());
    Listed {
        kind: ResourceKind::Machine,
        id: instance.id.clone(),
        region: instance.region.clone(),
        tags: Tags::parse(pairs),
        state: instance.status.clone(),
        address: address.and_then(|address| address.ip.parse().ok()),
        instance_type: instance
            .flavor
            .as_ref()
            .map(|flavor| flavor.name.clone())
            .or_else(of_plan),
    }
}

/// Returns a key with the tags in its name.
pub(super) fn listed_key(key: &Key, pairs: &BTreeMap<String, String>) -> Listed {
    Listed {
        kind: ResourceKind::Key,
        id: key.id.clone(),
        region: key.regions.first().cloned().unwrap_or_default(),
        tags: Tags::parse(pairs),
        state: "there".to_owned(),
        address: None,
        instance_type: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, effect: Effect, expected: ErrorKind) {
        let reported = Words.read_error(body.as_bytes()).unwrap_or_default();
        assert_eq!(Words.kind(status, &reported, effect), expected, "{status} {body}");
    }

    fn body(class: &str, message: &str) -> String {
        format!(r#"{{"class": "{class}", "message": "{message}"}}"#)
    }

    #[test]
    fn messages_count_where_there_is_no_code() {
        let bad = "Client::BadRequest";
        check(
            400,
            &body(bad, "no offers available"),
            Effect::Creates,
            ErrorKind::NoCapacity,
        );
        check(
            400,
            &body(bad, "Invalid image"),
            Effect::Creates,
            ErrorKind::Invalid,
        );
        check(
            400,
            &body(bad, "Quota exceeded for instances"),
            Effect::Creates,
            ErrorKind::QuotaReached,
        );
        check(413, "", Effect::Creates, ErrorKind::QuotaReached);
        check(
            409,
            &body("Client::Conflict", "instance is locked"),
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(404, "", Effect::Repeatable, ErrorKind::NotFound);
        check(
            500,
            &body("Server::InternalServerError", "m"),
            Effect::Creates,
            ErrorKind::Unanswered,
        );
        check(
            500,
            &body("Server::InternalServerError", "m"),
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(
            429,
            "",
            Effect::Creates,
            ErrorKind::RateLimited { retry_after: None },
        );
    }

    #[test]
    fn every_error_about_keys_is_unauthorized() {
        for (status, code) in [
            (400, "INVALID_SIGNATURE"),
            (403, "INVALID_CREDENTIAL"),
            (403, "NOT_CREDENTIAL"),
            (403, "NOT_GRANTED_CALL"),
            (403, "INVALID_KEY"),
        ] {
            let body = format!(r#"{{"errorCode": "{code}", "httpCode": "{status}", "message": "no"}}"#);
            check(status, &body, Effect::Creates, ErrorKind::Unauthorized);
        }
    }

    #[test]
    fn the_action_that_a_policy_forbids_is_named() {
        let body = r#"{"class": "Client::Forbidden", "message": "Forbidden",
            "details": {"unauthorizedActionsByIAM": "publicCloudProject:apiovh:instance/create"}}"#;
        let reported = Words.read_error(body.as_bytes()).unwrap();
        assert!(reported.message.contains("instance/create"));
        let kind = Words.kind(403, &reported, Effect::Creates);
        assert_eq!(kind, ErrorKind::Unauthorized);
        assert!(Words.help(&kind, &reported).unwrap().contains("IAM"));
    }

    #[test]
    fn a_state_of_the_future_is_still_ours() {
        let life_of = |status: &str, plan: &str| {
            let instance = serde_json::json!({
                "id": "1", "name": "mvm-ephemeral", "region": "GRA11", "status": status, "planCode": plan,
            });
            state(&serde_json::from_value(instance).unwrap())
        };
        assert_eq!(life_of("DREAMING", "b3-16.consumption"), InstanceState::Pending);
        assert_eq!(life_of("ACTIVE", "b3-16.consumption"), InstanceState::Running);
        assert!(matches!(
            life_of("ACTIVE", "b3-16.monthly.postpaid"),
            InstanceState::Failed {
                kind: ErrorKind::Invalid,
                ..
            }
        ));
    }
}
