//! Makes an instance.

use base64::Engine;
use futures::future::try_join;
use model::{
    cloud::{CloudApi, Launch, ObservedInstance},
    error::{ErrorKind, ProviderError},
    order::Order,
    render::cloud_init::gzipped,
};
use sha2::{Digest, Sha256};

use super::{
    Aws,
    convert::{self, Kvm},
    split_place, tagged,
    wire::{Params, Reservation, Subnet},
};
use crate::http::Effect;

impl Aws {
    /// Finds and makes what the instance needs. Returns one create call for each zone.
    pub(super) async fn launches<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let (region, _) = split_place(&order.candidate.region);
        self.user_data(order)?;
        let found = self.instance_type(region, &order.candidate.instance_type).await?;
        self.check_kvm(region, &found, order.need).await?;
        let (image, subnets) = try_join(
            self.image(region, order.candidate.image.as_deref(), &found),
            self.subnets(order),
        )
        .await?;
        let group = self.group(region, order).await?;
        let is_nested = order.need.is_needed() && convert::kvm(&found) == Kvm::Nested;
        let launch = |subnet: Subnet| {
            let prepared = Prepared {
                image: image.image_id.clone(),
                device: image.root_device_name.clone(),
                group: group.clone(),
                is_nested,
                place: format!("{}/{}", subnet.availability_zone, subnet.subnet_id),
                subnet: subnet.subnet_id,
            };
            Launch::new(subnet.availability_zone, prepared, |prepared| {
                self.create(order, prepared)
            })
        };
        Ok(subnets.into_iter().map(launch).collect())
    }

    async fn create(&self, order: &Order, prepared: Prepared) -> Result<ObservedInstance, ProviderError> {
        const WHAT: &str = "create a box";
        let (region, _) = split_place(&order.candidate.region);
        let mut params = Params::new("RunInstances").set("MinCount", 1).set("MaxCount", 1);
        params = params
            .set("ImageId", prepared.image)
            .set("InstanceType", &order.candidate.instance_type);
        params = params
            .set("ClientToken", client_token(order, &prepared.place))
            .set("UserData", self.user_data(order)?);
        params = params.set("InstanceInitiatedShutdownBehavior", "terminate");
        if order.candidate.options.spot {
            params = params
                .set("InstanceMarketOptions.MarketType", "spot")
                .set("InstanceMarketOptions.SpotOptions.SpotInstanceType", "one-time")
                .set(
                    "InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior",
                    "terminate",
                );
        }
        if prepared.is_nested {
            params = params.set("CpuOptions.NestedVirtualization", "enabled");
        }
        params = params
            .set("MetadataOptions.HttpTokens", "required")
            .set("MetadataOptions.HttpEndpoint", "enabled");
        params = params.set("MetadataOptions.HttpPutResponseHopLimit", 1);
        params = params.set(
            "BlockDeviceMapping.1.DeviceName",
            prepared.device.unwrap_or_else(|| "/dev/sda1".to_owned()),
        );
        params = params.set(
            "BlockDeviceMapping.1.Ebs.VolumeSize",
            order.candidate.disk_gb.unwrap_or(DISK_GB),
        );
        params = params.set("BlockDeviceMapping.1.Ebs.VolumeType", "gp3");
        params = params.set("BlockDeviceMapping.1.Ebs.DeleteOnTermination", true);
        params = params
            .set("NetworkInterface.1.DeviceIndex", 0)
            .set("NetworkInterface.1.SubnetId", prepared.subnet);
        params = params.set("NetworkInterface.1.SecurityGroupId.1", prepared.group);
        let is_public = !order.candidate.options.private;
        params = params.set("NetworkInterface.1.AssociatePublicIpAddress", is_public);
        params = params.set("NetworkInterface.1.DeleteOnTermination", true);
        let params = tagged(params, &["instance", "volume", "network-interface"], order);
        let made = self
            .call::<Reservation>(region, WHAT, params, Effect::Creates)
            .await;
        // All that it names was found or made a moment ago.
        let made = made.map_err(ProviderError::not_yet)?;
        let instance = made.instances_set.item.first();
        let none = || self.error(ErrorKind::Unanswered, WHAT, "the answer names no instance");
        Ok(convert::observed(instance.ok_or_else(none)?, region))
    }

    fn user_data(&self, order: &Order) -> Result<String, ProviderError> {
        let plain = order.user_data.as_bytes();
        let packed = if plain.len() > USER_DATA_MAX {
            gzipped(&order.user_data)
        } else {
            plain.to_vec()
        };
        if packed.len() > USER_DATA_MAX {
            let cause = format!(
                "the user-data is {} bytes, packed, and EC2 takes {USER_DATA_MAX}",
                packed.len()
            );
            let help = "shorten [system] in twolane.toml: packages, certificates, tools";
            return Err(self
                .error(ErrorKind::Invalid, "create a box", cause)
                .with_help(help));
        }
        Ok(base64::engine::general_purpose::STANDARD.encode(packed))
    }
}

/// What a create call names.
#[derive(Clone)]
struct Prepared {
    image: String,
    device: Option<String>,
    group: String,
    is_nested: bool,
    subnet: String,
    /// Zone and subnet, for the client token.
    place: String,
}

/// Makes the token of one attempt in one place: it pins all parameters, so each place needs its own.
fn client_token(order: &Order, place: &str) -> String {
    let digest = hex::encode(Sha256::digest(format!("{} {place}", order.tags.token)));
    format!("twolane-{}", &digest[..40])
}

/// The disk of an order that names none, in GiB.
const DISK_GB: u32 = 50;

/// The longest user-data that EC2 takes, in bytes, before its base64.
const USER_DATA_MAX: usize = 16 * 1024;
