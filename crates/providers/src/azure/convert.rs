//! From Azure's words to ours, and the one table from status and code to kind.

use std::collections::BTreeMap;

use model::{
    cloud::InstanceState,
    error::ErrorKind,
    machine::{Listed, ResourceKind},
    selector::Selector,
    tags::{self, Tags},
};

use super::wire::{ErrorBody, Failure, Thing};
use crate::http::{ApiError, Dialect, Effect, by_status};

/// Where its credentials come from.
pub(super) const CREDENTIALS_HELP: &str = "run `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET (or \
     AZURE_FEDERATED_TOKEN_FILE) to a service principal with the role Contributor; in GitHub Actions give the job \
     `permissions: id-token: write`, and set AZURE_TENANT_ID and AZURE_CLIENT_ID; and set AZURE_SUBSCRIPTION_ID";

/// How Azure reports what went wrong.
pub(super) struct Words;

impl Dialect for Words {
    fn read_error(&self, body: &[u8]) -> Option<ApiError> {
        let failure: Failure = serde_json::from_slice(body).ok()?;
        Some(reported(&failure.error))
    }

    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind {
        if status == 429 {
            return ErrorKind::RateLimited { retry_after: None };
        }
        kind(&error.code, &error.message).unwrap_or_else(|| by_status(status, effect))
    }

    fn help(&self, kind: &ErrorKind, error: &ApiError) -> Option<String> {
        let help = match (kind, error.code.as_str()) {
            (_, "SubscriptionNotFound" | "InvalidSubscriptionId") => {
                "set AZURE_SUBSCRIPTION_ID to a subscription that these credentials can see: `az account list`"
            }
            (_, "AuthorizationFailed" | "LinkedAuthorizationFailed") => {
                "give the identity the role Contributor on the subscription: it makes a resource group for each box"
            }
            (_, "MissingSubscriptionRegistration") => {
                "run `az provider register --namespace Microsoft.Compute`, and the same for Microsoft.Network and Microsoft.DevTestLab"
            }
            (_, "RequestDisallowedByPolicy") => {
                "a policy of the subscription forbids it; the message names it: ask who set it, or use another size or region"
            }
            (_, "RequestDisallowedByAzure") => {
                "a policy of Azure itself keeps new resources of this subscription out of this region: use another region, or ask Azure's support"
            }
            (_, "PlatformImageNotFound" | "ImageNotFound" | "GalleryImageNotFound") => {
                "name an image that the region has: `az vm image list --location REGION --all --publisher PUBLISHER`"
            }
            (_, "ScopeLocked") => "remove the lock in the Azure portal (Locks), then `twolane down` again",
            (_, "FeatureNotEnabled" | "FeatureNotSupportedForAccount") => {
                "run `az feature register --namespace Microsoft.Compute --name UseStandardSecurityType`, then `az provider register --namespace Microsoft.Compute`"
            }
            (ErrorKind::QuotaReached, _) => {
                "ask for more quota in the Azure portal (Usage + quotas), or use another size or region"
            }
            (ErrorKind::NoCapacity, _) => {
                "add another size or region to `boxes`; `twolane doctor --provider azure` shows what the region sells"
            }
            _ => return None,
        };
        Some(help.to_owned())
    }

    fn credentials_help(&self) -> &str {
        CREDENTIALS_HELP
    }

    fn request_id_header(&self) -> &str {
        "x-ms-request-id"
    }
}

/// Returns what an error says: the innermost code that we know, else the outermost.
pub(super) fn reported(error: &ErrorBody) -> ApiError {
    known(error).unwrap_or_else(|| ApiError {
        code: error.code.clone(),
        message: error.message.clone(),
    })
}

fn known(error: &ErrorBody) -> Option<ApiError> {
    let inner = error.details.iter().flatten().find_map(known);
    let own = || {
        kind(&error.code, &error.message).map(|_| ApiError {
            code: error.code.clone(),
            message: error.message.clone(),
        })
    };
    inner.or_else(own)
}

/// Says what a code means. None: we do not know it, and its status decides.
pub(super) fn kind(code: &str, message: &str) -> Option<ErrorKind> {
    Some(match code {
        "SkuNotAvailable"
        | "AllocationFailed"
        | "ZonalAllocationFailed"
        | "OverconstrainedAllocationRequest"
        | "OverconstrainedZonalAllocationRequest"
        | "OSProvisioningTimedOut"
        | "NicReservedForAnotherVm" => ErrorKind::NoCapacity,
        "OperationNotAllowed" if is_quota(message) => ErrorKind::QuotaReached,
        "QuotaExceeded" | "ResourceQuotaExceeded" | "PublicIPCountLimitReached" => ErrorKind::QuotaReached,
        // Not `NotFound`: nothing is gone because it cannot be seen.
        "SubscriptionNotFound"
        | "InvalidSubscriptionId"
        | "AuthorizationFailed"
        | "LinkedAuthorizationFailed"
        | "AuthenticationFailed"
        | "InvalidAuthenticationToken"
        | "InvalidAuthenticationTokenTenant"
        | "ExpiredAuthenticationToken" => ErrorKind::Unauthorized,
        "MissingSubscriptionRegistration"
        | "RequestDisallowedByPolicy"
        | "RequestDisallowedByAzure"
        | "PlatformImageNotFound"
        | "ImageNotFound"
        | "GalleryImageNotFound"
        | "ScopeLocked"
        | "FeatureNotEnabled"
        | "FeatureNotSupportedForAccount" => ErrorKind::Invalid,
        "TooManyRequests" => ErrorKind::RateLimited { retry_after: None },
        "AnotherOperationInProgress"
        | "RetryableError"
        | "ResourceGroupBeingDeleted"
        | "ReferencedResourceNotProvisioned"
        | "NicInUse"
        | "InUseNetworkSecurityGroupCannotBeDeleted"
        | "PublicIPAddressCannotBeDeleted"
        | "InUseSubnetCannotBeDeleted" => ErrorKind::Unavailable,
        "ResourceGroupNotFound" | "ResourceNotFound" | "NotFound" => ErrorKind::NotFound,
        _ => return None,
    })
}

/// Azure uses one code for a quota and for an operation that is not allowed.
fn is_quota(message: &str) -> bool {
    let message = message.to_lowercase();
    ["quota", "lowprioritycores"]
        .iter()
        .any(|word| message.contains(word))
}

/// The name of a box's group, and of the box in it. List answers write names of groups in capitals at times.
pub(super) fn id_of(thing: &Thing) -> String {
    let parts: Vec<_> = thing.id.split('/').collect();
    let at = parts
        .iter()
        .position(|part| part.eq_ignore_ascii_case("resourceGroups"));
    let group = at.and_then(|at| parts.get(at + 1)).unwrap_or(&"");
    format!("{}/{}", group.to_lowercase(), thing.name)
}

/// Returns whether what is tagged so is meant. What has no tags at all never is.
pub(super) fn is_meant(tags: &Option<BTreeMap<String, String>>, selector: &Selector) -> bool {
    tags.as_ref().is_some_and(|pairs| tags::is_meant(pairs, selector))
}

/// Returns a box or a group. Everything of ours is listed with `tags` none when they are damaged.
pub(super) fn listed(kind: ResourceKind, thing: &Thing) -> Listed {
    let size = thing.properties.hardware_profile.as_ref();
    Listed {
        kind,
        id: match kind {
            ResourceKind::Machine | ResourceKind::Schedule => id_of(thing),
            _ => thing.name.to_lowercase(),
        },
        region: thing.location.clone(),
        tags: thing.tags.as_ref().and_then(Tags::parse),
        state: thing.properties.provisioning_state.clone().unwrap_or_default(),
        address: None,
        instance_type: size.and_then(|size| size.vm_size.clone()),
    }
}

/// Says where a box stands. It runs before Azure's agent on it has reported so.
pub(super) fn state(machine: &Thing) -> InstanceState {
    let properties = &machine.properties;
    let security = properties.security_profile.as_ref();
    if let Some(other) = security
        .and_then(|security| security.security_type.as_deref())
        .filter(|security| *security != "Standard")
    {
        return InstanceState::Failed {
            kind: ErrorKind::NoKvm,
            why: format!("Azure made it with security type {other}, which allows no nested virtualisation"),
        };
    }
    let power = |state: &str| {
        let view = properties.instance_view.as_ref();
        let mut statuses = view.iter().flat_map(|view| &view.statuses);
        statuses.any(|status| status.code == format!("PowerState/{state}"))
    };
    match properties.provisioning_state.as_deref() {
        Some("Failed" | "Canceled") => {
            let (code, message) = why_failed(machine);
            failed(&code, &message)
        }
        Some("Deleting") => InstanceState::Terminating,
        Some("Succeeded") if power("stopped") || power("deallocated") || power("deallocating") => {
            InstanceState::Failed {
                kind: ErrorKind::Invalid,
                why: "a box of that label exists and is switched off".to_owned(),
            }
        }
        Some("Succeeded") => InstanceState::Running,
        _ if power("running") => InstanceState::Running,
        // Those on their way, and states that we do not know: it is ours, and not there yet.
        _ => InstanceState::Pending,
    }
}

pub(super) fn failed(code: &str, message: &str) -> InstanceState {
    InstanceState::Failed {
        // Whatever is wrong with this box, another may be made.
        kind: kind(code, message).unwrap_or(ErrorKind::NoCapacity),
        why: format!("{message} ({code})"),
    }
}

/// Reads the reason from a status such as `ProvisioningState/failed/AllocationFailed`.
fn why_failed(machine: &Thing) -> (String, String) {
    let view = machine.properties.instance_view.as_ref();
    let mut statuses = view.iter().flat_map(|view| &view.statuses);
    let found = statuses.find_map(|status| {
        let code = status.code.strip_prefix("ProvisioningState/failed/")?;
        Some((code.to_owned(), status.message.clone().unwrap_or_default()))
    });
    found.unwrap_or_else(|| ("Failed".to_owned(), "it does not say why".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, effect: Effect, expected: ErrorKind) {
        let reported = Words.read_error(body.as_bytes()).unwrap_or_default();
        assert_eq!(Words.kind(status, &reported, effect), expected, "{status} {body}");
    }

    fn body(code: &str, message: &str) -> String {
        format!(r#"{{"error": {{"code": "{code}", "message": "{message}"}}}}"#)
    }

    #[test]
    fn codes_count_more_than_statuses() {
        let creates = Effect::Creates;
        check(409, &body("SkuNotAvailable", "m"), creates, ErrorKind::NoCapacity);
        check(
            409,
            &body("AllocationFailed", "m"),
            creates,
            ErrorKind::NoCapacity,
        );
        let quota = "Operation could not be completed as it results in exceeding approved Total Regional Cores quota.";
        check(
            409,
            &body("OperationNotAllowed", quota),
            creates,
            ErrorKind::QuotaReached,
        );
        check(
            409,
            &body("OperationNotAllowed", "the disk is attached"),
            creates,
            ErrorKind::Invalid,
        );
        let slow = ErrorKind::RateLimited { retry_after: None };
        check(
            429,
            &body("OperationNotAllowed", "The server rejected the request"),
            creates,
            slow,
        );
        check(
            404,
            &body("SubscriptionNotFound", "m"),
            Effect::Repeatable,
            ErrorKind::Unauthorized,
        );
        check(
            403,
            &body("RequestDisallowedByPolicy", "m"),
            creates,
            ErrorKind::Invalid,
        );
        check(
            409,
            &body("ResourceGroupBeingDeleted", "m"),
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(
            404,
            &body("ResourceGroupNotFound", "m"),
            Effect::Repeatable,
            ErrorKind::NotFound,
        );
        check(
            401,
            &body("ExpiredAuthenticationToken", "m"),
            creates,
            ErrorKind::Unauthorized,
        );
        check(400, &body("InvalidParameter", "m"), creates, ErrorKind::Invalid);
    }

    #[test]
    fn a_create_that_fails_at_their_side_may_have_happened() {
        check(
            500,
            &body("InternalServerError", "m"),
            Effect::Creates,
            ErrorKind::Unanswered,
        );
        check(504, "<html>", Effect::Creates, ErrorKind::Unanswered);
        check(504, "<html>", Effect::Repeatable, ErrorKind::Unavailable);
    }

    #[test]
    fn the_innermost_code_that_is_known_counts() {
        let body = r#"{"error": {"code": "ResourceOperationFailure", "message": "see details", "details": [
            {"code": "Conflict", "message": "m", "details": [{"code": "ZonalAllocationFailed", "message": "full"}]}]}}"#;
        check(409, body, Effect::Creates, ErrorKind::NoCapacity);
        assert_eq!(Words.read_error(body.as_bytes()).unwrap().message, "full");
        let unknown =
            r#"{"error": {"code": "Outer", "message": "m", "details": [{"code": "Inner", "message": "n"}]}}"#;
        assert_eq!(Words.read_error(unknown.as_bytes()).unwrap().code, "Outer");
    }

    #[track_caller]
    fn parsed_state(provisioning: &str, statuses: &str, security: &str) -> InstanceState {
        let statuses: Vec<_> = statuses
            .split_whitespace()
            .map(|code| format!(r#"{{"code": "{code}", "message": "m"}}"#))
            .collect();
        let text = format!(
            r#"{{"properties": {{"provisioningState": "{provisioning}", "securityProfile": {{"securityType": "{security}"}},
                "instanceView": {{"statuses": [{}]}}}}}}"#,
            statuses.join(",")
        );
        state(&serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_box_runs_before_its_agent_says_so() {
        assert_eq!(parsed_state("Creating", "", "Standard"), InstanceState::Pending);
        assert_eq!(
            parsed_state("Creating", "PowerState/starting", "Standard"),
            InstanceState::Pending
        );
        assert_eq!(
            parsed_state("Creating", "PowerState/running", "Standard"),
            InstanceState::Running
        );
        assert_eq!(
            parsed_state("Succeeded", "PowerState/running", "Standard"),
            InstanceState::Running
        );
        assert_eq!(
            parsed_state("Deleting", "PowerState/running", "Standard"),
            InstanceState::Terminating
        );
        assert_eq!(parsed_state("Dreaming", "", "Standard"), InstanceState::Pending);
        assert!(matches!(
            parsed_state("Succeeded", "PowerState/deallocated", "Standard"),
            InstanceState::Failed { .. }
        ));
    }

    #[test]
    fn a_box_that_cannot_nest_is_no_use() {
        let InstanceState::Failed { kind, why } =
            parsed_state("Succeeded", "PowerState/running", "TrustedLaunch")
        else {
            panic!("it runs");
        };
        assert_eq!(kind, ErrorKind::NoKvm);
        assert!(why.contains("TrustedLaunch"));
    }

    #[test]
    fn a_failed_box_says_why() {
        let failed = parsed_state("Failed", "ProvisioningState/failed/AllocationFailed", "Standard");
        let InstanceState::Failed { kind, why } = failed else {
            panic!("it runs")
        };
        assert_eq!(
            (kind, why.as_str()),
            (ErrorKind::NoCapacity, "m (AllocationFailed)")
        );
    }

    #[test]
    fn a_group_in_capitals_is_the_same_group() {
        let id =
            "/subscriptions/s/resourceGroups/TWOLANE-T1/providers/Microsoft.Compute/virtualMachines/box-1";
        let thing: Thing = serde_json::from_str(&format!(r#"{{"id": "{id}", "name": "box-1"}}"#)).unwrap();
        assert_eq!(id_of(&thing), "twolane-t1/box-1");
    }
}
