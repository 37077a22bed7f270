//! Amazon EC2: nested KVM on types whose processors can, or bare metal. The single calls; see README.md.

mod convert;
mod credentials;
mod environment;
mod preflight;
mod prices;
mod wire;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::Engine;
use futures::future::{join_all, try_join, try_join4};
use model::{
    cloud::{CloudApi, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    name::Label,
    order::Order,
    price::Billed,
    profile::{Profile, Ranges},
    render::cloud_init::gzipped,
    selector::Selector,
    tags::{OURS, Tags},
    time::Timestamp,
    world::{Console, Preflight, Prices},
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

pub use self::credentials::Identity;
pub(crate) use self::environment::ENTRY;
use self::{
    convert::Kvm,
    credentials::Signer,
    wire::{
        ConsoleOutput, Done, Groups, Image, Images, InstanceType, InstanceTypes, Interfaces, NewGroup,
        Offerings, Params, Regions, Reservation, Reservations, Subnet, Subnets, Volumes, Vpcs,
    },
};
use crate::http::{Body, Client, Effect, Request, RequestLog, Settings};

/// Where its credentials come from.
const CREDENTIALS_HELP: &str = "run `aws sso login` or `aws configure`, name the profile in AWS_PROFILE, or \
     set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY";

/// The region that is asked what concerns all.
pub(crate) const REGION: &str = "us-east-1";

/// The disk of an order that names none, in GiB.
const DISK_GB: u32 = 50;

/// The longest user-data that EC2 takes, in bytes, before its base64.
const USER_DATA_MAX: usize = 16 * 1024;

/// What every name of a security group of ours begins with.
const GROUP: &str = "mvm-ephemeral-ssh";

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "the box powers itself off at its deadline, and AWS terminates it then, with its disk";

/// Amazon EC2, in all regions that the account has.
pub struct Aws {
    access: Access,
    client: Client,
    profile: Profile,
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
    regions: OnceCell<Vec<String>>,
}

/// What is needed to use EC2.
pub struct Access {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The region of an order that names none.
    pub region: Option<String>,
    /// The security group to use instead of one of our own.
    pub group: Option<String>,
    /// The subnet to use instead of the default network's.
    pub subnet: Option<String>,
    /// Where the API of every region answers, when that is not AWS.
    pub endpoint: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Access {
    fn default_region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION)
    }
}

impl Aws {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // The request carries a client token.
            is_create_repeatable: true,
            listing_lag: Duration::from_secs(5),
            ranges: if access.group.is_some() { Ranges::None } else { Ranges::Any },
            // Bare metal takes its time.
            up_max: |_| Duration::from_secs(20 * 60),
            ..Profile::new("aws", &[("c8i.xlarge", access.default_region())], DEAD_MANS_SWITCH)
        };
        let region = access.default_region().to_owned();
        let client = Client::new(Settings {
            provider: profile.name.clone(),
            endpoint: endpoint(&access, &region),
            authorize: Arc::new(Signer {
                identity: access.identity.clone(),
                region,
            }),
            dialect: &convert::Words,
            log: access.log.clone(),
            time_max: access.time_max,
        })?;
        Ok(Self {
            access,
            client,
            profile,
            clients: Mutex::default(),
            regions: OnceCell::new(),
        })
    }

    fn client(&self, region: &str) -> Result<Arc<Client>, ProviderError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(region) {
            return Ok(client.clone());
        }
        let signer = Signer {
            identity: self.access.identity.clone(),
            region: region.to_owned(),
        };
        let client = Arc::new(
            self.client
                .at(&endpoint(&self.access, region), Arc::new(signer))?,
        );
        clients.insert(region.to_owned(), client.clone());
        Ok(client)
    }

    /// Makes one call. `operation` says what for.
    async fn call<T: DeserializeOwned>(
        &self,
        region: &str,
        operation: &'static str,
        params: Params,
        effect: Effect,
    ) -> Result<T, ProviderError> {
        let mut request = Request::new(Method::POST, "/", operation);
        request.body = Body::Form(params.pairs);
        request.effect = effect;
        let client = self.client(region)?;
        let answer = client.send(&request).await?;
        quick_xml::de::from_reader(answer.body.as_slice()).map_err(|error| {
            client.garbled(
                &request,
                format!("the answer is not what its API describes: {error}"),
            )
        })
    }

    /// Reads a list, all pages.
    async fn all<T: DeserializeOwned + wire::Listed>(
        &self,
        region: &str,
        operation: &'static str,
        params: Params,
    ) -> Result<Vec<T::Row>, ProviderError> {
        let mut rows = Vec::new();
        let mut next = None;
        loop {
            let page = match next {
                Some(token) => params.clone().set("NextToken", token),
                None => params.clone(),
            };
            let (found, token) = self
                .call::<T>(region, operation, page, Effect::Repeatable)
                .await?
                .page();
            rows.extend(found);
            next = token;
            if next.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Returns the regions that the account has. They are asked for once.
    async fn all_regions(&self) -> Result<&Vec<String>, ProviderError> {
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

    async fn instance_type(&self, region: &str, name: &str) -> Result<InstanceType, ProviderError> {
        let params = Params::new("DescribeInstanceTypes").filter("instance-type", &[name]);
        let found = self
            .all::<InstanceTypes>(region, "look up the type", params)
            .await?;
        found.into_iter().next().ok_or_else(|| {
            let help = format!(
                "`aws ec2 describe-instance-types --region {region}` shows those that are there"
            );
            let cause = format!("{region} has no type {name}");
            self.error(ErrorKind::Invalid, "look up the type", cause).with_help(help)
        })
    }

    /// Refuses a type that cannot serve the lane, with the nearest that can.
    async fn check_kvm(
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
        Err(self.error(ErrorKind::NoKvm, "create a box", cause).with_help(help))
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

    /// Finds Canonical's newest image for the type's architecture.
    async fn image(&self, region: &str, order: &Order, found: &InstanceType) -> Result<Image, ProviderError> {
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
        let params = match &order.candidate.image {
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

    /// Makes the box's security group, or finds what an earlier try made, and lets the operator in.
    async fn group(&self, region: &str, order: &Order) -> Result<String, ProviderError> {
        if let Some(group) = &self.access.group {
            return Ok(group.clone());
        }
        let vpc = self.vpc(region).await?;
        let id = self.new_group(region, &vpc, order).await?;
        let mut params = Params::new("AuthorizeSecurityGroupIngress").set("GroupId", &id);
        params = params.set("IpPermissions.1.IpProtocol", "tcp");
        params = params
            .set("IpPermissions.1.FromPort", 22)
            .set("IpPermissions.1.ToPort", 22);
        let (six, four): (Vec<_>, Vec<_>) = order.allow.iter().partition(|range| range.contains(':'));
        for (index, range) in four.into_iter().enumerate() {
            params = params.set(format!("IpPermissions.1.IpRanges.{}.CidrIp", index + 1), range);
        }
        for (index, range) in six.into_iter().enumerate() {
            params = params.set(
                format!("IpPermissions.1.Ipv6Ranges.{}.CidrIpv6", index + 1),
                range,
            );
        }
        match self
            .call::<Done>(region, "make the firewall", params, Effect::Repeatable)
            .await
        {
            Ok(Done {}) => Ok(id),
            // An earlier try got that far.
            Err(error) if error.kind == ErrorKind::Taken => Ok(id),
            // The group was made, or found, a moment ago.
            Err(error) => Err(error.not_yet()),
        }
    }

    async fn new_group(&self, region: &str, vpc: &str, order: &Order) -> Result<String, ProviderError> {
        const WHAT: &str = "make the firewall";
        let name = format!("{GROUP}-{}", order.tags.label);
        let params = Params::new("CreateSecurityGroup")
            .set("GroupName", &name)
            .set("VpcId", vpc);
        let params = params.set("GroupDescription", "SSH from its operator to one box of twolane");
        let params = tagged(params, &["security-group"], &order.tags);
        let taken = match self
            .call::<NewGroup>(region, WHAT, params, Effect::Repeatable)
            .await
        {
            Ok(group) => return Ok(group.group_id),
            Err(error) if error.kind == ErrorKind::Taken => error,
            Err(error) => return Err(error),
        };
        let params = Params::new("DescribeSecurityGroups")
            .filter("group-name", &[&name])
            .filter("vpc-id", &[vpc]);
        let found = self.all::<Groups>(region, WHAT, params).await?;
        let is_same = |tags: Tags| tags.label == order.tags.label && tags.run == order.tags.run;
        let same = found
            .into_iter()
            .find(|group| Tags::parse(&convert::pairs(&group.tag_set)).is_some_and(is_same));
        same.map(|group| group.group_id).ok_or_else(|| {
            let label = &order.tags.label;
            let help =
                format!("`twolane down {label}` removes what an earlier run left; else choose another label");
            taken.with_help(help)
        })
    }

    async fn vpc(&self, region: &str) -> Result<String, ProviderError> {
        const WHAT: &str = "look up the network";
        if let Some(subnet) = &self.access.subnet {
            return Ok(self.subnet(region, subnet).await?.vpc_id);
        }
        let params = Params::new("DescribeVpcs").filter("is-default", &["true"]);
        let found = self.all::<Vpcs>(region, WHAT, params).await?;
        found.into_iter().next().map(|vpc| vpc.vpc_id).ok_or_else(|| {
            let help = "name a subnet in AWS_SUBNET_ID";
            let cause = format!("{region} has no default network");
            self.error(ErrorKind::Invalid, WHAT, cause).with_help(help)
        })
    }

    async fn subnet(&self, region: &str, id: &str) -> Result<Subnet, ProviderError> {
        const WHAT: &str = "look up the subnet";
        let found = self
            .all::<Subnets>(region, WHAT, Params::new("DescribeSubnets").set("SubnetId.1", id))
            .await?;
        let missing = || self.error(ErrorKind::Invalid, WHAT, format!("{region} has no subnet {id}"));
        found.into_iter().next().ok_or_else(missing)
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
            return Err(self.error(ErrorKind::Invalid, "create a box", cause).with_help(help));
        }
        Ok(base64::engine::general_purpose::STANDARD.encode(packed))
    }

    /// Lists one kind of thing, or all, in one region.
    async fn list_in(&self, region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        const WHAT: &str = "list what is ours";
        let params = |action: &str| meant(Params::new(action), selector);
        let instances = params("DescribeInstances").set("MaxResults", 1000);
        let (reservations, volumes, interfaces, groups) = try_join4(
            self.all::<Reservations>(region, WHAT, instances),
            self.all::<Volumes>(region, WHAT, params("DescribeVolumes").set("MaxResults", 500)),
            self.all::<Interfaces>(
                region,
                WHAT,
                params("DescribeNetworkInterfaces").set("MaxResults", 1000),
            ),
            self.all::<Groups>(
                region,
                WHAT,
                params("DescribeSecurityGroups").set("MaxResults", 1000),
            ),
        )
        .await?;
        let instances = reservations
            .iter()
            .flat_map(|reservation| &reservation.instances_set.item);
        let mut listed: Vec<_> = instances
            .filter(|instance| convert::ours(&instance.tag_set) && convert::is_there(instance))
            .map(|instance| convert::listed_instance(instance, region))
            .collect();
        let mut thing = |kind, id: &str, tags, state: Option<&str>| {
            if convert::ours(tags) {
                listed.push(convert::listed(kind, id, region, tags, state.unwrap_or("there")));
            }
        };
        for one in &volumes {
            thing(
                ResourceKind::Disk,
                &one.volume_id,
                &one.tag_set,
                one.status.as_deref(),
            );
        }
        for one in &interfaces {
            thing(
                ResourceKind::Interface,
                &one.network_interface_id,
                &one.tag_set,
                one.status.as_deref(),
            );
        }
        for one in &groups {
            thing(ResourceKind::Firewall, &one.group_id, &one.tag_set, None);
        }
        Ok(listed)
    }
}

fn endpoint(access: &Access, region: &str) -> String {
    let aws = || {
        let end = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        format!("https://ec2.{region}.{end}")
    };
    access.endpoint.clone().unwrap_or_else(aws)
}

/// Adds our tags for every kind of thing that a call makes.
fn tagged(mut params: Params, kinds: &[&str], tags: &Tags) -> Params {
    for (index, kind) in kinds.iter().enumerate() {
        let specification = format!("TagSpecification.{}", index + 1);
        params = params.set(format!("{specification}.ResourceType"), kind);
        let name = ("Name".to_owned(), tags.label.to_string());
        for (number, (key, value)) in tags.pairs().into_iter().chain([name]).enumerate() {
            params = params.set(format!("{specification}.Tag.{}.Key", number + 1), key);
            params = params.set(format!("{specification}.Tag.{}.Value", number + 1), value);
        }
    }
    params
}

/// Adds the filters for what is meant.
fn meant(params: Params, selector: &Selector) -> Params {
    let params = params.filter(&format!("tag:{OURS}"), &["true"]);
    match selector {
        Selector::AllOurs => params,
        Selector::Label(label) => params.filter("tag:mvm-label", &[label.as_str()]),
        Selector::OfRun(label, run) => params
            .filter("tag:mvm-label", &[label.as_str()])
            .filter("tag:mvm-run", &[run.as_str()]),
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

/// Splits a zone from its region: `us-east-1a` is in `us-east-1`. A region has no zone.
fn split_place(place: &str) -> (&str, Option<&str>) {
    match place.strip_suffix(|last: char| last.is_ascii_lowercase()) {
        Some(region) if region.ends_with(|last: char| last.is_ascii_digit()) => (region, Some(place)),
        _ => (place, None),
    }
}

/// Makes the token of one attempt in one place: it pins all parameters, so each place needs its own.
fn client_token(order: &Order, place: &str) -> String {
    let digest = hex::encode(Sha256::digest(format!("{} {place}", order.tags.token)));
    format!("twolane-{}", &digest[..40])
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

impl Aws {
    /// Returns a subnet in each zone that sells the type, the wanted one first.
    async fn subnets(&self, order: &Order) -> Result<Vec<Subnet>, ProviderError> {
        const WHAT: &str = "choose a zone";
        let (region, wanted) = split_place(&order.candidate.region);
        if let Some(subnet) = &self.access.subnet {
            let subnet = self.subnet(region, subnet).await?;
            return Ok(vec![subnet]);
        }
        let offerings = Params::new("DescribeInstanceTypeOfferings").set("LocationType", "availability-zone");
        let offerings = offerings.filter("instance-type", &[&order.candidate.instance_type]);
        let subnets = Params::new("DescribeSubnets").filter("default-for-az", &["true"]);
        let (offerings, mut subnets) = try_join(
            self.all::<Offerings>(region, WHAT, offerings),
            self.all::<Subnets>(region, WHAT, subnets),
        )
        .await?;
        subnets.retain(|subnet| {
            offerings
                .iter()
                .any(|offering| offering.location == subnet.availability_zone)
        });
        subnets.sort_by_key(|subnet| {
            (
                Some(subnet.availability_zone.as_str()) != wanted,
                subnet.availability_zone.clone(),
            )
        });
        if subnets.is_empty() {
            let cause = format!(
                "no zone of {region} with a default subnet sells {}",
                order.candidate.instance_type
            );
            let help = "use another region, or name a subnet in AWS_SUBNET_ID";
            return Err(self.error(ErrorKind::NoCapacity, WHAT, cause).with_help(help));
        }
        Ok(subnets)
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
        if prepared.is_nested {
            params = params.set("CpuOptions.NestedVirtualization", "enabled");
        }
        params = params
            .set("MetadataOptions.HttpTokens", "required")
            .set("MetadataOptions.HttpEndpoint", "enabled");
        params = params.set("MetadataOptions.HttpPutResponseHopLimit", 1);
        params = params.set("BlockDeviceMapping.1.DeviceName", prepared.device.unwrap_or_else(|| "/dev/sda1".to_owned()));
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
        params = params.set("NetworkInterface.1.AssociatePublicIpAddress", true);
        params = params.set("NetworkInterface.1.DeleteOnTermination", true);
        let params = tagged(params, &["instance", "volume", "network-interface"], &order.tags);
        let made = self.call::<Reservation>(region, WHAT, params, Effect::Creates).await;
        // All that it names was found or made a moment ago.
        let made = made.map_err(ProviderError::not_yet)?;
        let instance = made.instances_set.item.first();
        let none = || self.error(ErrorKind::Unanswered, WHAT, "the answer names no instance");
        Ok(convert::observed(instance.ok_or_else(none)?, region))
    }
}

#[async_trait]
impl CloudApi for Aws {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Only what can be reported from the name. Which types nest is asked of the API, before the create call.
    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let is_metal = instance_type.contains(".metal");
        let cause = match need {
            KvmNeed::Metal if !is_metal => {
                format!("{instance_type} is no bare metal, and the lane asks for it")
            }
            KvmNeed::Nested if is_metal => {
                format!("{instance_type} is bare metal, and the lane asks for nested KVM")
            }
            _ => return None,
        };
        let help = "use c5.metal for bare metal, c8i.xlarge for nested KVM";
        Some(self.error(ErrorKind::NoKvm, "create a box", cause).with_help(help))
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let (region, _) = split_place(&order.candidate.region);
        self.user_data(order)?;
        let found = self.instance_type(region, &order.candidate.instance_type).await?;
        self.check_kvm(region, &found, order.need).await?;
        let (image, subnets) = try_join(self.image(region, order, &found), self.subnets(order)).await?;
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
            Launch::new(subnet.availability_zone, prepared, |prepared| self.create(order, prepared))
        };
        Ok(subnets.into_iter().map(launch).collect())
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let region = &observed.listed.region;
        let params = Params::new("DescribeInstances").set("InstanceId.1", &observed.listed.id);
        match self.all::<Reservations>(region, "look at a box", params).await {
            Ok(found) => {
                let instance = found
                    .iter()
                    .flat_map(|reservation| &reservation.instances_set.item)
                    .next();
                Ok(instance.map(|instance| convert::observed(instance, region)))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let (region, _) = split_place(&order.candidate.region);
        let params = meant(
            Params::new("DescribeInstances"),
            &Selector::Label(order.tags.label.clone()),
        );
        let found = self.all::<Reservations>(region, "look for a box", params).await?;
        let instance = found
            .iter()
            .flat_map(|reservation| &reservation.instances_set.item)
            .find(|instance| convert::is_there(instance));
        Ok(instance.map(|instance| convert::observed(instance, region)))
    }

    /// AWS counts requests for each region apart, and a policy may deny one.
    async fn regions(&self) -> Result<Vec<String>, ProviderError> {
        self.all_regions().await.cloned()
    }

    fn region_of(&self, place: &str) -> String {
        split_place(place).0.to_owned()
    }

    async fn list(&self, region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        self.list_in(region, selector).await
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        let id = &listed.id;
        let params = match listed.kind {
            ResourceKind::Machine => {
                let params = Params::new("TerminateInstances").set("InstanceId.1", id);
                params.set("Force", true).set("SkipOsShutdown", true)
            }
            ResourceKind::Disk => Params::new("DeleteVolume").set("VolumeId", id),
            ResourceKind::Interface => Params::new("DeleteNetworkInterface").set("NetworkInterfaceId", id),
            ResourceKind::Firewall => Params::new("DeleteSecurityGroup").set("GroupId", id),
            ResourceKind::Address
            | ResourceKind::Key
            | ResourceKind::Group
            | ResourceKind::UserData
            | ResourceKind::Directory => {
                let cause = format!("AWS has no {} of ours", listed.kind);
                return Err(self.error(ErrorKind::Invalid, "destroy", cause));
            }
        };
        let Done {} = self
            .call(&listed.region, "destroy", params, Effect::Repeatable)
            .await?;
        Ok(())
    }

    fn retag(&self) -> Option<&dyn Retag> {
        Some(self)
    }

    fn preflight(&self) -> Option<&dyn Preflight> {
        Some(self)
    }

    fn prices(&self) -> Option<&dyn Prices> {
        Some(self)
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }
}

#[async_trait]
impl Retag for Aws {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        let mut params = Params::new("CreateTags").set("ResourceId.1", &listed.id);
        for (index, (key, value)) in tags.pairs().into_iter().enumerate() {
            params = params.set(format!("Tag.{}.Key", index + 1), key);
            params = params.set(format!("Tag.{}.Value", index + 1), value);
        }
        self.call::<Done>(&listed.region, "move the deadline", params, Effect::Repeatable)
            .await
            .map(|Done {}| ())
    }
}

impl Prices for Aws {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        Some((prices::hourly(instance_type, region)?, prices::DAY.to_owned()))
    }

    fn billed(&self) -> Billed {
        Billed::BY_SECOND
    }
}

#[async_trait]
impl Console for Aws {
    async fn console(&self, label: &Label) -> Result<Vec<u8>, ProviderError> {
        const WHAT: &str = "read the console";
        let selector = Selector::Label(label.clone());
        let regions = self.all_regions().await?;
        let lists = join_all(regions.iter().map(|region| self.list_in(region, &selector))).await;
        // A region that is denied has no box of ours.
        let listed: Vec<_> = lists.into_iter().flatten().flatten().collect();
        let machine = listed.iter().find(|listed| listed.kind == ResourceKind::Machine);
        let machine = machine
            .ok_or_else(|| self.error(ErrorKind::NotFound, WHAT, format!("there is no box {label}")))?;
        let params = |is_live: bool| {
            let params = Params::new("GetConsoleOutput").set("InstanceId", &machine.id);
            if is_live {
                params.set("Latest", true)
            } else {
                params
            }
        };
        let live = self
            .call::<ConsoleOutput>(&machine.region, WHAT, params(true), Effect::Repeatable)
            .await;
        let output = match live {
            Ok(output) => output,
            // Not every type shows its console live; what was kept is better than nothing.
            Err(_) => {
                self.call(&machine.region, WHAT, params(false), Effect::Repeatable)
                    .await?
            }
        };
        let text: String = output.output.split_whitespace().collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        decoded
            .map_err(|error| self.error(ErrorKind::Unavailable, WHAT, format!("it is not base64: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_reported_from_a_region() {
        assert_eq!(split_place("us-east-1a"), ("us-east-1", Some("us-east-1a")));
        assert_eq!(split_place("us-east-1"), ("us-east-1", None));
        assert_eq!(split_place("local"), ("local", None));
    }

    #[test]
    fn filters_and_tags_are_numbered() {
        let label = Label::new("web-1").unwrap();
        let params = meant(Params::new("DescribeInstances"), &Selector::Label(label));
        let text: Vec<_> = params
            .pairs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            text[2..],
            [
                "Filter.1.Name=tag:mvm-ephemeral",
                "Filter.1.Value.1=true",
                "Filter.2.Name=tag:mvm-label",
                "Filter.2.Value.1=web-1",
            ]
        );
    }
}
