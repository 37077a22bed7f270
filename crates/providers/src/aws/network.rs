//! Finds where a box is connected, and makes its security group.

use futures::future::try_join;
use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    order::Order,
    tags::Tags,
};

use super::{
    Aws, convert, split_place, tagged,
    wire::{Done, Groups, NewGroup, Offerings, Params, Subnet, Subnets, Vpcs},
};
use crate::http::Effect;

impl Aws {
    /// Makes the box's security group, or finds what an earlier try made, and lets the operator in.
    pub(super) async fn group(&self, region: &str, order: &Order) -> Result<String, ProviderError> {
        let own = order.candidate.options.security_group.as_ref();
        if let Some(group) = own.or(self.access.group.as_ref()) {
            self.check_group(region, group).await?;
            return Ok(group.clone());
        }
        let vpc = self.vpc(region, order).await?;
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

    /// Refuses a group that is not there: of one that twolane makes, that would mean `not yet`.
    async fn check_group(&self, region: &str, id: &str) -> Result<(), ProviderError> {
        const WHAT: &str = "look up the security group";
        let params = Params::new("DescribeSecurityGroups").set("GroupId.1", id);
        match self.all::<Groups>(region, WHAT, params).await {
            Err(error) if error.kind == ErrorKind::NotFound => {
                let cause = format!("{region} has no security group {id}");
                let help = "name one of the box's region and network as `security-group` or AWS_SG_ID, or leave it away";
                Err(self.error(ErrorKind::Invalid, WHAT, cause).with_help(help))
            }
            found => found.map(drop),
        }
    }

    async fn new_group(&self, region: &str, vpc: &str, order: &Order) -> Result<String, ProviderError> {
        const WHAT: &str = "make the firewall";
        let name = format!("{GROUP}-{}", order.tags.label);
        let params = Params::new("CreateSecurityGroup")
            .set("GroupName", &name)
            .set("VpcId", vpc);
        let params = params.set("GroupDescription", "SSH from its operator to one box of twolane");
        let params = tagged(params, &["security-group"], order);
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

    /// Returns the subnet that is to be used, where one is named.
    fn named_subnet<'a>(&'a self, order: &'a Order) -> Option<&'a String> {
        let own = order.candidate.options.subnet.as_ref();
        own.or(self.access.subnet.as_ref())
    }

    async fn vpc(&self, region: &str, order: &Order) -> Result<String, ProviderError> {
        const WHAT: &str = "look up the network";
        if let Some(subnet) = self.named_subnet(order) {
            return Ok(self.subnet(region, subnet).await?.vpc_id);
        }
        let params = Params::new("DescribeVpcs").filter("is-default", &["true"]);
        let found = self.all::<Vpcs>(region, WHAT, params).await?;
        found.into_iter().next().map(|vpc| vpc.vpc_id).ok_or_else(|| {
            let help = "name a `subnet` in that entry of `boxes`";
            let cause = format!("{region} has no default network");
            self.error(ErrorKind::Invalid, WHAT, cause).with_help(help)
        })
    }

    async fn subnet(&self, region: &str, id: &str) -> Result<Subnet, ProviderError> {
        const WHAT: &str = "look up the subnet";
        let params = Params::new("DescribeSubnets").set("SubnetId.1", id);
        let found = match self.all::<Subnets>(region, WHAT, params).await {
            Err(error) if error.kind == ErrorKind::NotFound => Vec::new(),
            found => found?,
        };
        found.into_iter().next().ok_or_else(|| {
            let cause = format!("{region} has no subnet {id}, and a subnet serves its own region");
            let help = "write the `region` of the subnet beside it, or name a subnet of that region";
            self.error(ErrorKind::Invalid, WHAT, cause).with_help(help)
        })
    }

    /// Returns a subnet in each zone that sells the type, the wanted one first.
    pub(super) async fn subnets(&self, order: &Order) -> Result<Vec<Subnet>, ProviderError> {
        const WHAT: &str = "choose a zone";
        let (region, wanted) = split_place(&order.candidate.region);
        if let Some(subnet) = self.named_subnet(order) {
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
            let help = "use another region, or name a `subnet` in that entry of `boxes`";
            return Err(self.error(ErrorKind::NoCapacity, WHAT, cause).with_help(help));
        }
        Ok(subnets)
    }
}

/// What every name of a security group of ours begins with.
const GROUP: &str = "mvm-ephemeral-ssh";
