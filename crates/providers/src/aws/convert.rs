//! From EC2's words to ours, and the one table from status and code to kind.

use std::collections::BTreeMap;

use model::{
    cloud::{InstanceState, ObservedInstance},
    error::ErrorKind,
    lane::KvmNeed,
    machine::{self, ResourceKind},
    tags::{Tags, is_ours},
};

use super::wire::{Failure, Instance, InstanceType, JsonFailure, Set, Tag};
use crate::http::{ApiError, Dialect, Effect, by_status};

/// What a processor must support to run a hypervisor within a virtual machine.
const NESTING: &str = "nested-virtualization";

/// Where its credentials come from.
pub(super) const CREDENTIALS_HELP: &str = "run `aws sso login` or `aws configure`, name the profile in AWS_PROFILE, or \
     set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// How AWS reports what went wrong.
pub(super) struct Words;

impl Dialect for Words {
    fn read_error(&self, body: &[u8]) -> Option<ApiError> {
        // The JSON protocol, which only Service Quotas is asked by.
        if let Ok(failure) = serde_json::from_slice::<JsonFailure>(body) {
            return Some(ApiError {
                code: failure.code,
                message: failure.message,
            });
        }
        let failure: Failure = quick_xml::de::from_reader(body).ok()?;
        Some(ApiError {
            code: failure.errors.error.code,
            message: failure.errors.error.message,
        })
    }

    fn kind(&self, status: u16, error: &ApiError, effect: Effect) -> ErrorKind {
        // So an attached interface answers its deletion.
        if error.code == "InvalidParameterValue" && error.message.contains("currently in use") {
            return ErrorKind::Unavailable;
        }
        kind(&error.code).unwrap_or_else(|| by_status(status, effect))
    }

    fn help(&self, kind: &ErrorKind, error: &ApiError) -> Option<String> {
        let help = match (kind, error.code.as_str()) {
            (_, "ExpiredToken" | "RequestExpired") => {
                "log in again (`aws sso login`), and check this machine's clock"
            }
            (_, "UnauthorizedOperation") if error.message.contains("service control policy") => {
                "the organisation's policy denies this region: use another, or ask who administers it"
            }
            (_, "UnauthorizedOperation") => {
                "give the credentials the EC2 permissions that docs/clouds/aws.md lists"
            }
            (_, "OptInRequired") => "switch the region on in the AWS console, or use another",
            (ErrorKind::QuotaReached, _) => {
                "ask for more vCPUs in Service Quotas (they count per region), or add another region to `boxes`"
            }
            (ErrorKind::NoCapacity, _) => "add another region or type to `boxes`",
            _ => return None,
        };
        Some(help.to_owned())
    }

    fn credentials_help(&self) -> &str {
        CREDENTIALS_HELP
    }

    fn request_id_header(&self) -> &str {
        "x-amzn-requestid"
    }
}

/// Says what a code means, of an answer or of a state's reason. None: we do not know it, and its status decides.
pub(super) fn kind(code: &str) -> Option<ErrorKind> {
    Some(match code {
        "InsufficientInstanceCapacity"
        | "Server.InsufficientInstanceCapacity"
        | "InsufficientHostCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "SpotMaxPriceTooLow"
        | "Unsupported" => ErrorKind::NoCapacity,
        "InstanceLimitExceeded"
        | "VcpuLimitExceeded"
        | "MaxSpotInstanceCountExceeded"
        | "VolumeLimitExceeded"
        | "Client.VolumeLimitExceeded"
        | "SecurityGroupLimitExceeded" => ErrorKind::QuotaReached,
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => {
            ErrorKind::RateLimited { retry_after: None }
        }
        "AuthFailure"
        | "UnauthorizedOperation"
        | "AccessDeniedException"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "RequestExpired"
        | "OptInRequired"
        | "PendingVerification"
        | "Blocked"
        | "SignatureDoesNotMatch" => ErrorKind::Unauthorized,
        "InvalidGroup.Duplicate" | "InvalidPermission.Duplicate" | "IdempotentParameterMismatch" => {
            ErrorKind::Taken
        }
        "DependencyViolation"
        | "VolumeInUse"
        | "InvalidNetworkInterface.InUse"
        | "IncorrectState"
        | "IncorrectInstanceState"
        | "InvalidGroup.InUse"
        | "ResourceInUse" => ErrorKind::Unavailable,
        code if code.ends_with(".NotFound") => ErrorKind::NotFound,
        code if code.starts_with("InvalidParameter") || code.starts_with("Missing") => ErrorKind::Invalid,
        "VPCIdNotSpecified" => ErrorKind::Invalid,
        _ => return None,
    })
}

pub(super) fn pairs(tags: &Set<Tag>) -> BTreeMap<String, String> {
    tags.item
        .iter()
        .map(|tag| (tag.key.clone(), tag.value.clone()))
        .collect()
}

pub(super) fn observed(instance: &Instance, region: &str) -> ObservedInstance {
    let state = state(instance);
    ObservedInstance {
        listed: listed_instance(instance, region),
        state,
        host_key: None,
        operation: None,
    }
}

fn state(instance: &Instance) -> InstanceState {
    let (code, message) = match &instance.state_reason {
        Some(reason) => (reason.code.as_str(), reason.message.as_str()),
        None => ("", ""),
    };
    let failed = |kind| InstanceState::Failed {
        kind,
        why: format!("{message} ({code})"),
    };
    match instance.instance_state.name.as_str() {
        "pending" => InstanceState::Pending,
        "running" => InstanceState::Running,
        "shutting-down" | "terminated" if has_died(code) => failed(death(code)),
        "shutting-down" => InstanceState::Terminating,
        "terminated" => InstanceState::Terminated,
        "stopping" | "stopped" => InstanceState::Stopped,
        _ => InstanceState::Unknown,
    }
}

/// Returns whether an instance ended by itself, and not because somebody asked for it.
fn has_died(code: &str) -> bool {
    code.starts_with("Server.")
        || code.starts_with("Client.InvalidKMSKey")
        || [
            "Client.InternalError",
            "Client.VolumeLimitExceeded",
            "Client.InvalidSnapshot.NotFound",
        ]
        .contains(&code)
}

/// Says what the death of an instance means for the next one.
fn death(code: &str) -> ErrorKind {
    match kind(code) {
        Some(kind @ (ErrorKind::NoCapacity | ErrorKind::QuotaReached)) => kind,
        // The disk's key or its image is wrong for this account, and stays so.
        _ if code.starts_with("Client.Invalid") => ErrorKind::Invalid,
        // It may pass; the token of this attempt returns the same dead instance for ever.
        _ if code == "Client.InternalError" => ErrorKind::Unavailable,
        // Whatever went wrong with this one, another may be made elsewhere.
        _ => ErrorKind::NoCapacity,
    }
}

/// Returns whether an instance exists. One that was terminated stays listed for an hour; a state that is not known here is
/// one of something that is there.
pub(super) fn is_there(instance: &Instance) -> bool {
    instance.instance_state.name != "terminated"
}

/// The tag of a box without a public address, and its value.
pub(super) const ADDRESS: &str = "mvm-address";
pub(super) const PRIVATE: &str = "private";

pub(super) fn listed_instance(instance: &Instance, region: &str) -> machine::Listed {
    let zone = instance
        .placement
        .as_ref()
        .and_then(|placement| placement.availability_zone.as_deref());
    let state = match zone {
        Some(zone) => format!("{} in {zone}", instance.instance_state.name),
        None => instance.instance_state.name.clone(),
    };
    let is_private = pairs(&instance.tag_set)
        .get(ADDRESS)
        .is_some_and(|kind| kind == PRIVATE);
    let address = if is_private {
        &instance.private_ip_address
    } else {
        &instance.ip_address
    };
    machine::Listed {
        address: address.as_ref().and_then(|ip| ip.parse().ok()),
        instance_type: Some(instance.instance_type.clone()),
        ..listed(
            ResourceKind::Machine,
            &instance.instance_id,
            region,
            &instance.tag_set,
            &state,
        )
    }
}

pub(super) fn listed(
    kind: ResourceKind,
    id: &str,
    region: &str,
    tags: &Set<Tag>,
    state: &str,
) -> machine::Listed {
    machine::Listed {
        kind,
        id: id.to_owned(),
        region: region.to_owned(),
        tags: Tags::parse(&pairs(tags)),
        state: state.to_owned(),
        address: None,
        instance_type: None,
    }
}

/// Returns what carries our tag; the filter of the call is not trusted alone.
pub(super) fn ours(tags: &Set<Tag>) -> bool {
    is_ours(&pairs(tags))
}

/// How a type gives KVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kvm {
    None,
    Nested,
    Metal,
}

pub(super) fn kvm(found: &InstanceType) -> Kvm {
    let can_nest = found
        .processor_info
        .supported_features
        .item
        .iter()
        .any(|feature| feature == NESTING);
    match (found.bare_metal, can_nest) {
        (true, _) => Kvm::Metal,
        (false, true) => Kvm::Nested,
        (false, false) => Kvm::None,
    }
}

/// Returns whether a type can serve a lane.
pub(super) fn serves(kvm: Kvm, need: KvmNeed) -> bool {
    match need {
        KvmNeed::None => true,
        KvmNeed::Required => kvm != Kvm::None,
        KvmNeed::Nested => kvm == Kvm::Nested,
        KvmNeed::Metal => kvm == Kvm::Metal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, code: &str, effect: Effect, expected: ErrorKind) {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
             <Message>m &amp; m</Message></Error></Errors><RequestID>r</RequestID></Response>"
        );
        let reported = Words.read_error(body.as_bytes()).unwrap();
        assert_eq!(
            (reported.code.as_str(), reported.message.as_str()),
            (code, "m & m")
        );
        assert_eq!(Words.kind(status, &reported, effect), expected, "{status} {code}");
    }

    #[test]
    fn codes_count_more_than_statuses() {
        check(
            500,
            "InsufficientInstanceCapacity",
            Effect::Creates,
            ErrorKind::NoCapacity,
        );
        check(400, "Unsupported", Effect::Creates, ErrorKind::NoCapacity);
        check(400, "VcpuLimitExceeded", Effect::Creates, ErrorKind::QuotaReached);
        check(
            503,
            "RequestLimitExceeded",
            Effect::Creates,
            ErrorKind::RateLimited { retry_after: None },
        );
        check(
            403,
            "UnauthorizedOperation",
            Effect::Creates,
            ErrorKind::Unauthorized,
        );
        check(400, "ExpiredToken", Effect::Repeatable, ErrorKind::Unauthorized);
        check(
            400,
            "DependencyViolation",
            Effect::Repeatable,
            ErrorKind::Unavailable,
        );
        check(
            400,
            "InvalidGroup.NotFound",
            Effect::Repeatable,
            ErrorKind::NotFound,
        );
        check(
            400,
            "InvalidParameterCombination",
            Effect::Creates,
            ErrorKind::Invalid,
        );
        check(
            400,
            "IdempotentParameterMismatch",
            Effect::Creates,
            ErrorKind::Taken,
        );
    }

    #[test]
    fn a_create_that_fails_at_their_side_may_have_happened() {
        for code in ["InternalError", "ServiceUnavailable", "OfTheFuture"] {
            check(500, code, Effect::Creates, ErrorKind::Unanswered);
            check(503, code, Effect::Repeatable, ErrorKind::Unavailable);
        }
    }

    #[test]
    fn what_the_api_says_of_a_type_decides() {
        let xml = "<item><instanceType>c8i.xlarge</instanceType><bareMetal>false</bareMetal><vCpuInfo><defaultVCpus>4\
                   </defaultVCpus></vCpuInfo><processorInfo><supportedArchitectures><item>x86_64</item>\
                   </supportedArchitectures><supportedFeatures><item>nested-virtualization</item>\
                   <item>metal-compatibility</item></supportedFeatures></processorInfo></item>";
        let found: InstanceType = quick_xml::de::from_str(xml).unwrap();
        assert_eq!(kvm(&found), Kvm::Nested);
        assert_eq!(found.v_cpu_info.default, 4);
        let plain = InstanceType {
            processor_info: Default::default(),
            ..found.clone()
        };
        assert_eq!(kvm(&plain), Kvm::None);
        assert_eq!(
            kvm(&InstanceType {
                bare_metal: true,
                ..plain
            }),
            Kvm::Metal
        );
        assert!(serves(Kvm::Metal, KvmNeed::Required) && !serves(Kvm::Metal, KvmNeed::Nested));
        assert!(serves(Kvm::None, KvmNeed::None) && !serves(Kvm::None, KvmNeed::Required));
    }
}
