//! What the credentials of a cloud have to permit: what its page lists is what all calls of a box's life need, and no more.

use std::collections::BTreeSet;

use model::{cloud::CloudApi, lane::KvmNeed, order::Order, time::Deadline, world::Provider};
use serde_json::Value;

use crate::{
    bench::Bench,
    fakes::server::{Api, Call},
    orders::label,
};

/// Looks whether a box could be made, makes it, moves its deadline, reads its console, lists it and destroys it. Returns what
/// the calls needed, as `needs` says of each.
pub(crate) async fn of_a_life<A: CloudApi, F: Api>(
    bench: &Bench<A, F>,
    order: &Order,
    needs: fn(&Call) -> Vec<String>,
) -> BTreeSet<String> {
    let (_, instance_type, region) = bench.place;
    if let Some(preflight) = bench.cloud.preflight() {
        preflight.preflight(instance_type, region, KvmNeed::None).await;
    }
    bench.make(order).await.unwrap();
    if let Some(console) = bench.cloud.console() {
        let _ = console.console(&label("box-1")).await;
    }
    let own = bench.cloud.own_deadline().unwrap();
    let deadline = Deadline::at_unix(order.tags.deadline.unix() - 600);
    own.move_deadline(&label("box-1"), deadline).await.unwrap();
    bench.cloud.listing().unwrap().list().await.unwrap();
    bench.down("box-1").await.unwrap();
    bench.fake.seen(needs).into_iter().flatten().collect()
}

/// Returns the words of a cloud's list that begin so.
pub(crate) fn listed(cloud: &str, start: &str) -> BTreeSet<String> {
    let text = providers::permissions(cloud).unwrap();
    let words = text.split(|c: char| c.is_whitespace() || "\",".contains(c));
    words
        .filter(|word| word.starts_with(start))
        .map(str::to_owned)
        .collect()
}

/// Returns what Compute Engine's reference names for a method.
pub(crate) fn gcp(call: &Call) -> Vec<String> {
    let path: Vec<&str> = call.path.split('/').skip(5).collect();
    let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
    let words: &[&str] = match (call.method.as_str(), path.as_slice()) {
        ("GET", ["zones"]) => &["zones.list"],
        ("GET", ["regions", _]) => &["regions.get"],
        ("GET", ["regions", _, "subnetworks", _]) => &["subnetworks.get"],
        ("GET", ["zones", _, "machineTypes", _]) => &["machineTypes.get"],
        ("GET", ["zones", _, "operations", _]) => &["zoneOperations.get"],
        ("GET", ["zones", _, "operations"]) => &["zoneOperations.list"],
        ("POST", ["global", "operations", _, "wait"]) => &["globalOperations.get"],
        ("POST", ["global", "firewalls"]) => &["firewalls.create", "networks.updatePolicy"],
        ("GET", ["global", "firewalls"]) => &["firewalls.list"],
        ("GET", ["global", "firewalls", _]) => &["firewalls.get"],
        ("PATCH", ["global", "firewalls", _]) => {
            &["firewalls.get", "firewalls.update", "networks.updatePolicy"]
        }
        ("DELETE", ["global", "firewalls", _]) => &["firewalls.delete", "networks.updatePolicy"],
        ("GET", ["aggregated", "instances"]) => &["instances.list"],
        ("GET", ["aggregated", "disks"]) => &["disks.list"],
        ("DELETE", ["zones", _, "disks", _]) => &["disks.delete"],
        ("POST", ["zones", _, "instances"]) => {
            let mut words = vec![
                "instances.create",
                "disks.create",
                "instances.setMetadata",
                "subnetworks.use",
            ];
            let labels = ["instances.setLabels", "disks.setLabels"];
            words.extend(labels.iter().filter(|_| body["labels"].is_object()));
            words.extend(body["tags"].is_object().then_some("instances.setTags"));
            let access = &body["networkInterfaces"][0]["accessConfigs"][0];
            words.extend(access.is_object().then_some("subnetworks.useExternalIp"));
            return words.iter().map(|word| format!("compute.{word}")).collect();
        }
        ("GET", ["zones", _, "instances", _]) => &["instances.get"],
        ("GET", ["zones", _, "instances", _, "getGuestAttributes"]) => &["instances.getGuestAttributes"],
        ("GET", ["zones", _, "instances", _, "serialPort"]) => &["instances.getSerialPortOutput"],
        ("POST", ["zones", _, "instances", _, "setLabels"]) => &["instances.setLabels"],
        ("DELETE", ["zones", _, "instances", _]) => &["instances.delete"],
        (method, path) => panic!("it is not known what {method} {path:?} needs"),
    };
    words.iter().map(|word| format!("compute.{word}")).collect()
}

/// Returns what Azure's rule makes of a path: the provider's name, the kinds of things, and what is done; with the right to join
/// what a body refers to.
pub(crate) fn azure(call: &Call) -> Vec<String> {
    let path: Vec<&str> = call.path.split('/').skip(3).collect();
    let verb = match call.method.as_str() {
        "GET" => "read",
        "PUT" | "PATCH" => "write",
        "DELETE" => "delete",
        _ => "action",
    };
    let of = path.iter().position(|part| *part == "providers");
    let action = match (of.map(|at| &path[at + 1..]), path.as_slice()) {
        // Prices and what was stored elsewhere need nothing.
        _ if !call.path.starts_with("/subscriptions/") => return Vec::new(),
        (Some([_]), _) => "Microsoft.Resources/subscriptions/providers/read".to_owned(),
        (Some([provider, things @ ..]), _) => {
            let kinds: Vec<&str> = things.iter().step_by(2).copied().collect();
            format!("{provider}/{}/{verb}", kinds.join("/"))
        }
        (None, [list]) if *list == "resources" => {
            format!("Microsoft.Resources/subscriptions/resources/{verb}")
        }
        _ => format!("Microsoft.Resources/subscriptions/resourceGroups/{verb}"),
    };
    let text = String::from_utf8_lossy(&call.body);
    let joins = [
        ("\"networkSecurityGroup\"", "networkSecurityGroups"),
        ("\"publicIPAddress\"", "publicIPAddresses"),
        ("\"subnet\"", "virtualNetworks/subnets"),
        ("\"networkInterfaces\"", "networkInterfaces"),
    ];
    let joins = joins.iter().filter(|(word, _)| text.contains(word));
    let joins = joins.map(|(_, kind)| format!("Microsoft.Network/{kind}/join/action"));
    std::iter::once(action).chain(joins).collect()
}

/// Returns the right of a call at OVHcloud, as `createToken` takes it: all that is below the project is one.
pub(crate) fn ovh(call: &Call) -> Vec<String> {
    let path = call.path.trim_start_matches("/1.0");
    let parts: Vec<&str> = path.split('/').collect();
    let right = match parts.as_slice() {
        // Anybody may ask for the time, and read the catalogue.
        ["", "auth", "time"] | ["", "order", ..] => return Vec::new(),
        ["", "cloud", "project", _] => "/cloud/project/PROJECT".to_owned(),
        ["", "cloud", "project", _, ..] => "/cloud/project/PROJECT/*".to_owned(),
        _ => path.to_owned(),
    };
    vec![format!("{} {right}", call.method)]
}
