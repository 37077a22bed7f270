//! The bodies of Azure's create calls. Each carries the tags: what is in a group does not take the group's.

use model::order::Order;
use serde_json::{Value, json};

use super::sizes;

/// The user that the API insists on. The box's cloud-init makes its own users, and lets nobody in as this one.
const USER: &str = "azureuser";

/// The disk of an order that names none, in GiB.
const DISK_GB: u32 = 64;

/// The paths of what a box refers to.
pub(super) struct Paths {
    pub(super) firewall: String,
    /// None where the subnet is there already.
    pub(super) network: Option<String>,
    pub(super) subnet: String,
    pub(super) address: String,
    pub(super) interface: String,
}

pub(super) fn group(order: &Order) -> Value {
    json!({"location": order.candidate.region, "tags": order.pairs()})
}

/// Whatever no rule lets in from outside is dropped by the rules that each group has from the start.
pub(super) fn firewall(order: &Order) -> Value {
    let rule = |(index, range): (usize, &String)| {
        json!({
            "name": format!("ssh-{index}"),
            "properties": {
                "protocol": "Tcp", "access": "Allow", "direction": "Inbound", "priority": 100 + index,
                "sourceAddressPrefix": range, "sourcePortRange": "*",
                "destinationAddressPrefix": "*", "destinationPortRange": "22",
            },
        })
    };
    // The box has no IPv6 address.
    let ranges = order.allow.iter().filter(|range| !range.contains(':'));
    let rules: Vec<_> = ranges.enumerate().map(rule).collect();
    thing(order, &json!({"securityRules": rules}))
}

pub(super) fn address(order: &Order) -> Value {
    let mut address = thing(order, &json!({"publicIPAllocationMethod": "Static"}));
    address["sku"] = json!({"name": "Standard"});
    address
}

pub(super) fn network(order: &Order, paths: &Paths) -> Value {
    let subnet = json!({
        "name": "box",
        "properties": {"addressPrefix": "10.0.0.0/24", "networkSecurityGroup": {"id": paths.firewall}},
    });
    thing(
        order,
        &json!({"addressSpace": {"addressPrefixes": ["10.0.0.0/24"]}, "subnets": [subnet]}),
    )
}

pub(super) fn interface(order: &Order, paths: &Paths) -> Value {
    let mut properties = json!({"primary": true, "subnet": {"id": paths.subnet}});
    if !order.candidate.options.private {
        properties["publicIPAddress"] = json!({"id": paths.address});
    }
    let configuration = json!({"name": "box", "properties": properties});
    thing(
        order,
        &json!({"networkSecurityGroup": {"id": paths.firewall}, "ipConfigurations": [configuration]}),
    )
}

pub(super) fn machine(order: &Order, paths: &Paths, user_data: &str) -> Value {
    let candidate = &order.candidate;
    let key = json!({"path": format!("/home/{USER}/.ssh/authorized_keys"), "keyData": order.login_key});
    let named = candidate.image.as_deref();
    let mut properties = json!({
        "hardwareProfile": {"vmSize": candidate.instance_type},
        // Under Trusted Launch, which is the default of newer versions, there is no nested virtualisation.
        "securityProfile": {"securityType": "Standard"},
        "storageProfile": {
            "imageReference": image(named.unwrap_or_else(|| sizes::image(&candidate.instance_type))),
            "osDisk": {
                "createOption": "FromImage", "caching": "ReadWrite", "deleteOption": "Delete",
                "diskSizeGB": candidate.disk_gb.unwrap_or(DISK_GB),
                "managedDisk": {"storageAccountType": "StandardSSD_LRS"},
            },
        },
        "osProfile": {
            "computerName": order.tags.label.as_str(), "adminUsername": USER, "customData": user_data,
            "linuxConfiguration": {"disablePasswordAuthentication": true, "ssh": {"publicKeys": [key]}},
        },
        "networkProfile": {"networkInterfaces": [
            {"id": paths.interface, "properties": {"primary": true, "deleteOption": "Delete"}},
        ]},
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": true}},
    });
    if candidate.options.spot {
        properties["priority"] = "Spot".into();
        // What is taken back is gone, disk and all: nothing of it is to be paid for.
        properties["evictionPolicy"] = "Delete".into();
    }
    thing(order, &properties)
}

/// Reads `publisher:offer:sku:version`, as Azure's own tools write it; anything else is the id of an image.
fn image(name: &str) -> Value {
    match name.split(':').collect::<Vec<_>>().as_slice() {
        [publisher, offer, sku, version] => {
            json!({"publisher": publisher, "offer": offer, "sku": sku, "version": version})
        }
        _ => json!({"id": name}),
    }
}

fn thing(order: &Order, properties: &Value) -> Value {
    json!({"location": order.candidate.region, "tags": order.pairs(), "properties": properties})
}
