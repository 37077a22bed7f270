//! Makes an instance, and looks at what it reports.

use std::time::Duration;

use model::{
    cloud::{CloudApi, InstanceState, ObservedInstance},
    error::{ErrorKind, ProviderError},
    machine::{Listed, Machine, ResourceKind},
    order::Order,
    render::own_firewall::with_own_firewall,
    tags::Tags,
    time::{Timestamp, between},
};
use reqwest::Method;

use super::{
    Gcp, convert,
    network::Wiring,
    request_id, series,
    wire::{
        AdvancedMachineFeatures, GuestAttributes, InitializeParams, Instance, Item, Metadata, NetworkTags,
        NewAccess, NewDisk, NewInstance, NewInterface, Operation, Page, Relabel, Scheduling, SerialPort,
    },
};
use crate::http::{self, Request};

impl Gcp {
    fn instance(&self, order: &Order, zone: &str, wiring: &Wiring) -> NewInstance {
        let candidate = &order.candidate;
        let (labels, label) = (order.pairs(), order.tags.label.to_string());
        let disk = InitializeParams {
            disk_name: order.tags.token.to_string(),
            source_image: candidate.image.clone().unwrap_or_else(|| IMAGE.to_owned()),
            disk_size_gb: candidate.disk_gb.unwrap_or(DISK_GB).to_string(),
            disk_type: format!(
                "zones/{zone}/diskTypes/{}",
                series::disk_type(&candidate.instance_type)
            ),
            labels: labels.clone(),
        };
        let scheduling = Scheduling {
            on_host_maintenance: "TERMINATE",
            automatic_restart: false,
            provisioning_model: if candidate.options.spot {
                "SPOT"
            } else {
                "STANDARD"
            },
            instance_termination_action: "DELETE",
            termination_time: order.tags.deadline.moment().to_string(),
        };
        let access = (!candidate.options.private).then_some(NewAccess {
            kind: "ONE_TO_ONE_NAT",
            name: "External NAT",
        });
        NewInstance {
            machine_type: format!("zones/{zone}/machineTypes/{}", candidate.instance_type),
            labels,
            tags: NetworkTags {
                items: vec![label.clone()],
            },
            advanced_machine_features: series::is_nested(&candidate.instance_type, order.need).then_some(
                AdvancedMachineFeatures {
                    enable_nested_virtualization: true,
                },
            ),
            scheduling,
            disks: vec![NewDisk {
                boot: true,
                auto_delete: true,
                initialize_params: disk,
            }],
            network_interfaces: vec![NewInterface {
                network: wiring.network.clone(),
                subnetwork: wiring.subnetwork.clone(),
                access_configs: access.into_iter().collect(),
            }],
            metadata: metadata(order, wiring),
            deletion_protection: false,
            name: label,
        }
    }

    pub(super) async fn create(
        &self,
        order: &Order,
        (zone, wiring): (String, Wiring),
    ) -> Result<ObservedInstance, ProviderError> {
        let request = Request::new(
            Method::POST,
            self.path(&format!("zones/{zone}/instances")),
            "create a box",
        )
        .query("requestId", request_id(&order.tags.token, &zone))
        .json(&self.instance(order, &zone, &wiring))
        .creates();
        let operation: Operation = self.client.json(&request).await?;
        let listed = Listed {
            kind: ResourceKind::Machine,
            id: order.tags.label.to_string(),
            region: zone,
            tags: Some(order.tags.clone()),
            state: "being made".to_owned(),
            address: None,
            instance_type: Some(order.candidate.instance_type.clone()),
        };
        let state = match convert::failure(&operation) {
            Some((kind, why)) => InstanceState::Failed { kind, why },
            None => InstanceState::Pending,
        };
        Ok(ObservedInstance {
            listed,
            state,
            host_key: None,
            operation: Some(operation.name),
        })
    }

    /// Looks whether Google took a spot box back: an operation of its own says so, and stays when the box is gone.
    pub(super) async fn preemption(&self, machine: &Machine) -> Option<String> {
        let path = self.path(&format!("zones/{}/operations", machine.region));
        let request = Request::get(path, "look why a box ended")
            .query("filter", format!("(operationType={PREEMPTED})"))
            .query("orderBy", "creationTimestamp desc")
            .query("maxResults", "100");
        let page: Page = self.client.json(&request).await.ok()?;
        let now = self.client.now()?;
        let operations: Vec<Operation> = http::rows(&page.items).ok()?;
        let of = operations.into_iter().find(|operation| {
            let target = operation.target_link.as_deref().unwrap_or_default();
            // An earlier box may have had that name.
            let is_new = |at: Timestamp| between(at, now) < PREEMPTED_WITHIN;
            convert::last(target) == machine.id && operation.insert_time.is_some_and(is_new)
        })?;
        let said = of.status_message.unwrap_or_default();
        Some(
            format!("{PREEMPTED}: {said}")
                .trim_end_matches([':', ' '])
                .to_owned(),
        )
    }

    /// Looks at a box that is there. While it boots, asks for the host key that it reports.
    pub(super) async fn observed(&self, instance: &Instance) -> Result<ObservedInstance, ProviderError> {
        let (listed, state) = (convert::listed_instance(instance), convert::state(instance));
        let host_key = match state {
            InstanceState::Running => self.host_key(&listed).await?,
            _ => None,
        };
        Ok(ObservedInstance {
            listed,
            state,
            host_key,
            operation: None,
        })
    }

    /// Reads the host key from what only the box itself can write: its guest attributes, else its console.
    async fn host_key(&self, listed: &Listed) -> Result<Option<String>, ProviderError> {
        let path = self.path(&format!(
            "zones/{}/instances/{}/getGuestAttributes",
            listed.region, listed.id
        ));
        let request = Request::get(path, "read the host key").query("queryPath", "hostkeys/");
        match self.client.json::<GuestAttributes>(&request).await {
            Ok(found) => {
                let items = found.query_value.map(|value| value.items).unwrap_or_default();
                let key = items.iter().find(|item| item.key == "ssh-ed25519");
                Ok(key.map(|item| format!("ssh-ed25519 {}", item.value)))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            // An organisation may forbid guest attributes.
            Err(error) if matches!(error.kind, ErrorKind::Unauthorized | ErrorKind::Invalid) => {
                Ok(convert::printed_host_key(&self.serial(listed).await?))
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn serial(&self, listed: &Listed) -> Result<String, ProviderError> {
        let path = self.path(&format!(
            "zones/{}/instances/{}/serialPort",
            listed.region, listed.id
        ));
        let request = Request::get(path, "read the console").query("port", 1);
        Ok(self.client.json::<SerialPort>(&request).await?.contents)
    }

    pub(super) async fn relabel(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        const WHAT: &str = "move the deadline";
        let current = listed.tags.as_ref().map(|tags| tags.deadline);
        if current.is_some_and(|current| tags.deadline > current) {
            let cause = "Google deletes the box at the deadline it was made with, which cannot be moved while it runs";
            let help = "make a new box with a longer `ttl`";
            return Err(self.error(ErrorKind::Invalid, WHAT, cause).with_help(help));
        }
        let path = self.path(&format!("zones/{}/instances/{}", listed.region, listed.id));
        let instance: Instance = self.client.json(&Request::get(path.clone(), WHAT)).await?;
        let label_fingerprint = instance.label_fingerprint.unwrap_or_default();
        let mut labels = instance.labels;
        labels.extend(tags.pairs());
        let body = Relabel {
            label_fingerprint,
            labels,
        };
        let request = Request::new(Method::POST, format!("{path}/setLabels"), WHAT).json(&body);
        self.client.send(&request).await.map(|_| ())
    }
}

fn metadata(order: &Order, wiring: &Wiring) -> Metadata {
    let item = |key: &'static str, value: &str| Item {
        key,
        value: value.to_owned(),
    };
    let user_data = match wiring.is_shared {
        true => with_own_firewall(&order.user_data, &order.allow),
        false => order.user_data.clone(),
    };
    let items = vec![
        item("user-data", &user_data),
        item("ssh-keys", &format!("root:{}", order.login_key)),
        item("block-project-ssh-keys", "TRUE"),
        item("enable-oslogin", "FALSE"),
        item("enable-guest-attributes", "TRUE"),
    ];
    Metadata { items }
}

/// The image of an order that names none.
const IMAGE: &str = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64";

/// The disk of an order that names none, in GiB.
const DISK_GB: u32 = 50;

/// How Google calls that it takes a spot box back.
const PREEMPTED: &str = "compute.instances.preempted";

/// How long ago that may be, of a box that is missed now.
const PREEMPTED_WITHIN: Duration = Duration::from_secs(30 * 60);
