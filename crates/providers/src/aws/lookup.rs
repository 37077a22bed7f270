//! Looks up what EC2 has: regions, types that fit, images.

use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
};

use super::{
    Aws,
    convert::{self, Kvm},
    wire::{Image, Images, InstanceType, InstanceTypes, Params, Regions},
};

impl Aws {
    /// Returns the regions that the account has. They are asked for once.
    pub(super) async fn all_regions(&self) -> Result<&Vec<String>, ProviderError> {
        let ask = || async {
            let found = self.all::<Regions>(
                self.access.default_region(),
                "list the regions",
                Params::new("DescribeRegions"),
            );
            Ok(found
                .await?
                .into_iter()
                .map(|region| region.region_name)
                .collect())
        };
        self.regions.get_or_try_init(ask).await
    }

    pub(super) async fn instance_type(
        &self,
        region: &str,
        name: &str,
    ) -> Result<InstanceType, ProviderError> {
        let params = Params::new("DescribeInstanceTypes").filter("instance-type", &[name]);
        let found = self
            .all::<InstanceTypes>(region, "look up the type", params)
            .await?;
        found.into_iter().next().ok_or_else(|| {
            let help =
                format!("`aws ec2 describe-instance-types --region {region}` shows those that are there");
            let cause = format!("{region} has no type {name}");
            self.error(ErrorKind::Invalid, "look up the type", cause)
                .with_help(help)
        })
    }

    /// Refuses a type that cannot serve the lane, with the nearest that can.
    pub(super) async fn check_kvm(
        &self,
        region: &str,
        found: &InstanceType,
        need: KvmNeed,
    ) -> Result<(), ProviderError> {
        if convert::serves(convert::kvm(found), need) {
            return Ok(());
        }
        let name = &found.instance_type;
        let cause = match convert::kvm(found) {
            Kvm::None => {
                format!("{name} can neither nest (its processor does not support it) nor is it bare metal")
            }
            Kvm::Nested => format!("{name} is no bare metal, and the lane asks for it"),
            Kvm::Metal => format!("{name} is bare metal, and the lane asks for nested KVM"),
        };
        let near = self.nearest(region, found, need).await.unwrap_or_default();
        let help = match near.is_empty() {
            true => "use c8i.xlarge, or c5.metal for bare metal".to_owned(),
            false => format!("the nearest types of {region} that can: {}", near.join(", ")),
        };
        Err(self
            .error(ErrorKind::NoKvm, "create a box", cause)
            .with_help(help))
    }

    /// Returns types of the same size that can serve the lane; the smallest bare metal ones where that is asked for.
    async fn nearest(
        &self,
        region: &str,
        of: &InstanceType,
        need: KvmNeed,
    ) -> Result<Vec<String>, ProviderError> {
        let size = of.instance_type.rsplit('.').next().unwrap_or_default();
        let pattern = if need == KvmNeed::Metal {
            "*.metal*".to_owned()
        } else {
            format!("*.{size}")
        };
        let params = Params::new("DescribeInstanceTypes").filter("instance-type", &[&pattern]);
        let mut types = self.all::<InstanceTypes>(region, "look up types", params).await?;
        types.retain(|found| {
            convert::serves(convert::kvm(found), need) && !found.instance_type.starts_with("mac")
        });
        let family = of.instance_type.chars().next();
        types.sort_by_key(|found| {
            let is_other_family = found.instance_type.chars().next() != family;
            (
                found.v_cpu_info.default,
                is_other_family,
                found.instance_type.clone(),
            )
        });
        Ok(types
            .into_iter()
            .map(|found| found.instance_type)
            .take(5)
            .collect())
    }

    /// Finds the image of that id or name for the type's architecture; Canonical's newest where none is named.
    pub(super) async fn image(
        &self,
        region: &str,
        wanted: Option<&str>,
        found: &InstanceType,
    ) -> Result<Image, ProviderError> {
        const WHAT: &str = "look up the image";
        let is_arm = found
            .processor_info
            .supported_architectures
            .item
            .iter()
            .any(|name| name == "arm64");
        let (word, architecture) = if is_arm {
            ("arm64", "arm64")
        } else {
            ("amd64", "x86_64")
        };
        let params = match wanted {
            Some(id) if id.starts_with("ami-") => Params::new("DescribeImages").set("ImageId.1", id),
            // A stranger's newer image of the same name must not win.
            Some(name) => Params::new("DescribeImages")
                .set("Owner.1", "self")
                .set("Owner.2", canonical(region))
                .set("Owner.3", "amazon")
                .filter("name", &[name])
                .filter("state", &["available"]),
            None => {
                let name = format!("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{word}-server-*");
                let params = Params::new("DescribeImages")
                    .set("Owner.1", canonical(region))
                    .filter("name", &[&name]);
                params
                    .filter("architecture", &[architecture])
                    .filter("state", &["available"])
            }
        };
        let images = self.all::<Images>(region, WHAT, params).await?;
        let newest = images
            .into_iter()
            .max_by(|one, other| one.creation_date.cmp(&other.creation_date));
        newest.ok_or_else(|| self.error(ErrorKind::Invalid, WHAT, format!("{region} has no such image")))
    }
}

/// Returns the account that publishes Canonical's images in a region's partition.
fn canonical(region: &str) -> &'static str {
    match region.split('-').next() {
        Some("cn") => "837727238323",
        _ if region.starts_with("us-gov-") => "513442679011",
        _ => "099720109477",
    }
}
