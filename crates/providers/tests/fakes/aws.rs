//! A stand-in for EC2 that remembers, all regions in one. It does what the moto server does not: client tokens,
//! processor options, capacity, dependencies, lag.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{
    time::{Timestamp, after, between},
    world::Clock,
};
use serde_json::{Value, json};

use super::{
    botocore::Model,
    clock::TestClock,
    server::{Api, Behind, Call, Reply, decoded},
};

/// The key that is accepted, by its id.
pub(crate) const KEY_ID: &str = "AKIDEXAMPLE";

/// Type, cores, whether it is bare metal, whether it can nest, architecture.
const TYPES: [(&str, u32, bool, bool, &str); 7] = [
    ("c8i.xlarge", 4, false, true, "x86_64"),
    ("c7i.xlarge", 4, false, true, "x86_64"),
    ("m7i.xlarge", 4, false, true, "x86_64"),
    ("c6i.xlarge", 4, false, false, "x86_64"),
    ("c5.metal", 96, true, false, "x86_64"),
    ("m5zn.metal", 48, true, false, "x86_64"),
    ("a1.metal", 16, true, false, "arm64"),
];

/// What may be set by a test.
pub(crate) struct Behaviour {
    /// How long a new instance is not found.
    pub(crate) list_lag: Duration,
    /// How long an instance takes to run.
    pub(crate) boot: Duration,
    /// How long an instance takes to go.
    pub(crate) leave: Duration,
    /// Zones whose creates fail, with the code.
    pub(crate) failing: BTreeMap<&'static str, &'static str>,
    /// Instances are terminated instead of started, for this reason.
    pub(crate) dies_of: Option<&'static str>,
    /// How long a new security group is not found by calls that name it.
    pub(crate) group_lag: Duration,
    /// Regions that the organisation's policy denies.
    pub(crate) denied_regions: BTreeSet<&'static str>,
    /// Actions that the credentials may not use.
    pub(crate) denied_actions: BTreeSet<&'static str>,
    /// How many vCPUs of the standard families may run at once; none: nobody may ask.
    pub(crate) vcpus_max: Option<u32>,
    /// The word for an instance that is there, in place of `running`.
    pub(crate) running: &'static str,
    /// The disk outlives its instance.
    pub(crate) disk_stays: bool,
    /// Longest page, whatever is asked for.
    pub(crate) page_max: usize,
    /// Every page of a list names a next one.
    pub(crate) is_endless: bool,
    /// The regions that the account has.
    pub(crate) regions: Vec<String>,
    /// How many of the next calls are over the limit.
    pub(crate) throttled: u32,
}

/// The cloud.
pub(crate) struct Aws {
    clock: TestClock,
    /// What requests are held to.
    pub(crate) model: Option<Arc<Model>>,
    pub(crate) behaviour: Behaviour,
    /// What stands behind the instances.
    pub(crate) behind: Behind,
    things: BTreeMap<String, Thing>,
    /// The instance and the parameters of each client token.
    tokens: BTreeMap<String, (String, BTreeMap<String, String>)>,
    next_id: u64,
}

struct Thing {
    kind: &'static str,
    region: String,
    tags: BTreeMap<String, String>,
    /// What it was made with.
    made_with: BTreeMap<String, String>,
    /// The instance or the network that it belongs to.
    of: String,
    /// Where an instance can be reached once it runs.
    address: String,
    made: Timestamp,
    gone: Option<Timestamp>,
}

impl Aws {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self {
            clock: clock.clone(),
            model: Model::find(),
            behaviour: Behaviour {
                list_lag: Duration::from_secs(3),
                boot: Duration::from_secs(15),
                leave: Duration::from_secs(20),
                failing: BTreeMap::new(),
                dies_of: None,
                group_lag: Duration::from_secs(2),
                denied_regions: BTreeSet::new(),
                denied_actions: BTreeSet::new(),
                vcpus_max: Some(96),
                running: "running",
                disk_stays: false,
                page_max: 1000,
                is_endless: false,
                regions: ["us-east-1", "eu-central-1", "ap-south-1"]
                    .map(str::to_owned)
                    .to_vec(),
                throttled: 0,
            },
            behind: Behind::default(),
            things: BTreeMap::new(),
            tokens: BTreeMap::new(),
            next_id: 0,
        }
    }

    /// Makes an instance, a volume and a group with these tags.
    pub(crate) fn plant(&mut self, name: &str, region: &str, tags: &BTreeMap<String, String>) {
        let mut tags = tags.clone();
        tags.insert("Name".to_owned(), name.to_owned());
        let instance = self.add("i", region, &tags, BTreeMap::new(), "");
        self.add("vol", region, &tags, BTreeMap::new(), &instance);
        self.add("sg", region, &tags, BTreeMap::new(), "vpc-1");
    }

    /// Returns what the instance of that name was made with.
    pub(crate) fn made_with(&self, name: &str) -> Option<BTreeMap<String, String>> {
        self.of_kind("i")
            .find(|(_, thing)| thing.tags.get("Name").is_some_and(|of| of == name))
            .map(|(_, thing)| thing.made_with.clone())
    }

    /// Returns the tags of everything, by kind.
    pub(crate) fn all_tags(&self) -> Vec<(&'static str, BTreeMap<String, String>)> {
        self.things
            .values()
            .map(|thing| (thing.kind, thing.tags.clone()))
            .collect()
    }

    /// Returns how many instances were ever made.
    pub(crate) fn instances_made(&self) -> usize {
        self.of_kind("i").count()
    }

    /// Returns the ranges that the group of that name lets in.
    pub(crate) fn let_in(&self, name: &str) -> Vec<String> {
        let group = self
            .of_kind("sg")
            .find(|(_, thing)| thing.made_with.get("GroupName").is_some_and(|of| of == name));
        let ranges = group.map(|(_, thing)| thing.made_with.iter().filter(|(key, _)| key.contains("Cidr")));
        ranges
            .into_iter()
            .flatten()
            .map(|(_, value)| value.clone())
            .collect()
    }

    fn of_kind(&self, kind: &str) -> impl Iterator<Item = (&String, &Thing)> {
        self.things.iter().filter(move |(_, thing)| thing.kind == kind)
    }

    fn add(
        &mut self,
        kind: &'static str,
        region: &str,
        tags: &BTreeMap<String, String>,
        made_with: BTreeMap<String, String>,
        of: &str,
    ) -> String {
        self.next_id += 1;
        let id = format!("{kind}-{:08x}", self.next_id);
        let address = format!("198.51.100.{}", self.next_id % 250 + 1);
        let (region, tags, of, made) = (region.to_owned(), tags.clone(), of.to_owned(), self.clock.now());
        self.things.insert(
            id.clone(),
            Thing {
                kind,
                region,
                tags,
                made_with,
                of,
                address,
                made,
                gone: None,
            },
        );
        id
    }

    /// Takes all spot instances back.
    pub(crate) fn take_back(&mut self) {
        let gone = after(self.clock.now(), self.behaviour.leave);
        self.behaviour.dies_of = Some("Server.SpotInstanceTermination");
        for thing in self.things.values_mut() {
            let market = thing.made_with.get("InstanceMarketOptions.MarketType");
            if market.is_some_and(|market| market == "spot") {
                thing.gone.get_or_insert(gone);
            }
        }
    }

    /// Lets what goes with an instance go.
    fn pass_time(&mut self) {
        let now = self.clock.now();
        let is_over = |thing: &Thing| thing.gone.is_some_and(|gone| gone <= now);
        let gone: BTreeSet<_> = self
            .of_kind("i")
            .filter(|(_, thing)| is_over(thing))
            .map(|(id, _)| id.clone())
            .collect();
        let stays = self.behaviour.disk_stays;
        self.things.retain(|_, thing| {
            let goes = thing.kind == "eni" || (thing.kind == "vol" && !stays);
            !(goes && gone.contains(&thing.of))
        });
    }

    fn state(&self, thing: &Thing) -> &'static str {
        let now = self.clock.now();
        match thing.gone {
            Some(gone) if gone <= now => "terminated",
            Some(_) => "shutting-down",
            None if between(thing.made, now) < self.behaviour.boot => "pending",
            None => self.behaviour.running,
        }
    }

    fn run(&mut self, region: &str, params: &BTreeMap<String, String>) -> Reply {
        let token = params.get("ClientToken").cloned().unwrap_or_default();
        if let Some((id, first)) = self.tokens.get(&token) {
            if first != params {
                return failure(
                    400,
                    "IdempotentParameterMismatch",
                    "the token was used with other parameters",
                );
            }
            let body = json!({"reservationId": "r-1", "instancesSet": [self.instance(id)]});
            return answer("RunInstances", &body);
        }
        if !self.shows_group(params.get("NetworkInterface.1.SecurityGroupId.1")) {
            return failure(400, "InvalidGroup.NotFound", "the security group does not exist");
        }
        let zone = zone_of(params.get("NetworkInterface.1.SubnetId"));
        if let Some(code) = self.behaviour.failing.get(zone.as_str()) {
            return failure(
                if code.starts_with("Insufficient") {
                    500
                } else {
                    400
                },
                code,
                "not here, not now",
            );
        }
        let Some(user_data) = decoded(&json!(params.get("UserData"))) else {
            return failure(
                400,
                "InvalidParameterValue",
                "Invalid BASE64 encoding of user data.",
            );
        };
        if user_data.len() > 16 * 1024 {
            return failure(
                400,
                "InvalidParameterValue",
                "User data is limited to 16384 bytes",
            );
        }
        let wants_nesting = params
            .get("CpuOptions.NestedVirtualization")
            .is_some_and(|is| is == "enabled");
        let name = params.get("InstanceType").cloned().unwrap_or_default();
        let can_nest = TYPES
            .iter()
            .any(|(known, _, _, can_nest, _)| *known == name && *can_nest);
        if wants_nesting && !can_nest {
            return failure(
                400,
                "InvalidParameterCombination",
                "the type does not support nested virtualization",
            );
        }
        let tags = tags_by_kind(params);
        let of = |kind: &str| tags.get(kind).cloned().unwrap_or_default();
        let id = self.add("i", region, &of("instance"), params.clone(), "");
        self.add("vol", region, &of("volume"), BTreeMap::new(), &id);
        self.add("eni", region, &of("network-interface"), BTreeMap::new(), &id);
        let instance = self.things.get_mut(&id).expect("it was just made");
        instance.address = self.behind.make(&id, &user_data, instance.address.clone());
        if self.behaviour.dies_of.is_some() {
            let now = self.clock.now();
            self.things.get_mut(&id).expect("it was just made").gone =
                Some(after(now, Duration::from_secs(1)));
        }
        self.tokens.insert(token, (id.clone(), params.clone()));
        answer(
            "RunInstances",
            &json!({"reservationId": "r-1", "instancesSet": [self.instance(&id)]}),
        )
    }

    fn instance(&self, id: &str) -> Value {
        let thing = &self.things[id];
        let state = self.state(thing);
        let mut value = json!({
            "instanceId": id, "instanceState": {"code": 0, "name": state}, "tagSet": tag_set(&thing.tags),
            "instanceType": thing.made_with.get("InstanceType").map_or("t3.micro", String::as_str),
            "placement": {"availabilityZone": zone_of(thing.made_with.get("NetworkInterface.1.SubnetId"))},
        });
        let host: String = thing.address.rsplit('.').next().unwrap_or_default().to_owned();
        value["privateIpAddress"] = json!(format!("172.31.0.{host}"));
        let is_public = thing.made_with.get("NetworkInterface.1.AssociatePublicIpAddress");
        if state == "running" && is_public.is_none_or(|is| is == "true") {
            value["ipAddress"] = json!(thing.address);
        }
        if let (Some(code), Some(_)) = (self.behaviour.dies_of, thing.gone) {
            value["stateReason"] = json!({"code": code, "message": "it could not be started"});
        }
        value
    }

    fn instances(&self, region: &str, params: &BTreeMap<String, String>) -> Reply {
        let now = self.clock.now();
        let is_shown =
            |thing: &Thing| thing.region == region && between(thing.made, now) >= self.behaviour.list_lag;
        if let Some(id) = params.get("InstanceId.1") {
            return match self.things.get(id).filter(|thing| is_shown(thing)) {
                Some(_) => answer(
                    "DescribeInstances",
                    &json!({"reservationSet": [{"instancesSet": [self.instance(id)]}]}),
                ),
                None => failure(
                    400,
                    "InvalidInstanceID.NotFound",
                    "the instance ID does not exist",
                ),
            };
        }
        let rows = self.of_kind("i").filter(|(_, thing)| is_shown(thing));
        let rows = rows.filter(|(_, thing)| {
            fits(params, |name| match name {
                "instance-state-name" => Some(self.state(thing).to_owned()),
                _ => thing
                    .tags
                    .get(name.strip_prefix("tag:").expect("a known filter"))
                    .cloned(),
            })
        });
        let rows = rows
            .map(|(id, _)| json!({"instancesSet": [self.instance(id)]}))
            .collect();
        self.page("DescribeInstances", "reservationSet", rows, params)
    }

    fn things(&self, action: &str, kind: &str, region: &str, params: &BTreeMap<String, String>) -> Reply {
        let (set, id_name) = match kind {
            "vol" => ("volumeSet", "volumeId"),
            "eni" => ("networkInterfaceSet", "networkInterfaceId"),
            _ => ("securityGroupInfo", "groupId"),
        };
        let rows = self
            .of_kind(kind)
            .filter(|(_, thing)| thing.region == region && thing.gone.is_none());
        let rows = rows.filter(|(_, thing)| {
            fits(params, |name| match name {
                "group-name" => thing.made_with.get("GroupName").cloned(),
                "vpc-id" => Some(thing.of.clone()),
                _ => thing
                    .tags
                    .get(name.strip_prefix("tag:").expect("a known filter"))
                    .cloned(),
            })
        });
        let rows =
            rows.map(|(id, thing)| json!({id_name: id, "status": "in-use", "tagSet": tag_set(&thing.tags)}));
        self.page(action, set, rows.collect(), params)
    }

    fn page(&self, action: &str, set: &str, rows: Vec<Value>, params: &BTreeMap<String, String>) -> Reply {
        let number = |key: &str, default: usize| {
            params
                .get(key)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default)
        };
        let (start, size) = (
            number("NextToken", 0),
            number("MaxResults", 1000).min(self.behaviour.page_max),
        );
        let is_last = start + size >= rows.len() && !self.behaviour.is_endless;
        let shown: Vec<_> = rows.into_iter().skip(start).take(size).collect();
        let mut body = json!({ set: shown });
        if !is_last {
            body["nextToken"] = json!((start + size).to_string());
        }
        answer(action, &body)
    }

    fn new_group(&mut self, region: &str, params: &BTreeMap<String, String>) -> Reply {
        let name = params.get("GroupName");
        let is_taken = self
            .of_kind("sg")
            .any(|(_, thing)| thing.region == region && thing.made_with.get("GroupName") == name);
        if is_taken {
            return failure(400, "InvalidGroup.Duplicate", "the security group already exists");
        }
        let tags = tags_by_kind(params).remove("security-group").unwrap_or_default();
        let id = self.add("sg", region, &tags, params.clone(), "vpc-1");
        answer("CreateSecurityGroup", &json!({"groupId": id, "return": "true"}))
    }

    /// Returns whether a call may name a group. Those that are not ours are there.
    fn shows_group(&self, id: Option<&String>) -> bool {
        let Some(id) = id.filter(|id| id.as_str() != "sg-mine") else {
            return id.is_some();
        };
        let group = self.things.get(id);
        group.is_some_and(|group| between(group.made, self.clock.now()) >= self.behaviour.group_lag)
    }

    fn let_somebody_in(&mut self, params: &BTreeMap<String, String>) -> Reply {
        if !self.shows_group(params.get("GroupId")) {
            return failure(400, "InvalidGroup.NotFound", "the security group does not exist");
        }
        let group = params.get("GroupId").and_then(|id| self.things.get_mut(id));
        let group = group.expect("it is shown");
        let ranges: BTreeMap<_, _> = params.iter().filter(|(key, _)| key.contains("Cidr")).collect();
        if ranges.iter().any(|(key, _)| group.made_with.contains_key(*key)) {
            return failure(400, "InvalidPermission.Duplicate", "the rule already exists");
        }
        group.made_with.extend(
            ranges
                .into_iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        answer("AuthorizeSecurityGroupIngress", &json!({"return": "true"}))
    }

    fn delete(&mut self, action: &str, code: &str, id: Option<&String>) -> Reply {
        let Some(id) = id.filter(|id| self.things.contains_key(*id)) else {
            return failure(400, &format!("{code}.NotFound"), "it does not exist");
        };
        let holds = |thing: &Thing| {
            thing.kind == "i"
                && thing.gone.is_none_or(|gone| gone > self.clock.now())
                && thing.made_with.values().any(|value| value == id)
        };
        let (now, thing) = (self.clock.now(), &self.things[id]);
        let holder = self
            .things
            .get(&thing.of)
            .filter(|holder| holder.gone.is_none_or(|gone| gone > now));
        if holder.is_some() && thing.kind == "eni" {
            let message = format!("Network interface '{id}' is currently in use.");
            return failure(400, "InvalidParameterValue", &message);
        }
        if holder.is_some() {
            return failure(400, "VolumeInUse", "it is attached");
        }
        if self.things.values().any(holds) {
            return failure(400, "DependencyViolation", "resource has a dependent object");
        }
        self.things.remove(id);
        answer(action, &json!({"return": "true"}))
    }

    fn terminate(&mut self, params: &BTreeMap<String, String>) -> Reply {
        let gone = after(self.clock.now(), self.behaviour.leave);
        let id = params.get("InstanceId.1").cloned().unwrap_or_default();
        let Some(thing) = self.things.get_mut(&id) else {
            return failure(
                400,
                "InvalidInstanceID.NotFound",
                "the instance ID does not exist",
            );
        };
        self.behind.destroy(&id);
        thing.gone = thing.gone.or(Some(gone));
        answer(
            "TerminateInstances",
            &json!({"instancesSet": [{"currentState": {"name": "shutting-down"}}]}),
        )
    }

    fn route(&mut self, region: &str, params: &BTreeMap<String, String>) -> Reply {
        let action = params.get("Action").cloned().unwrap_or_default();
        if self.behaviour.denied_regions.contains(region) {
            let message = "You are not authorized to perform this operation. User: arn:aws:iam::1:user/ci is not authorized \
                           with an explicit deny in a service control policy";
            return failure(403, "UnauthorizedOperation", message);
        }
        if self.behaviour.denied_actions.contains(action.as_str()) {
            return failure(
                403,
                "UnauthorizedOperation",
                "You are not authorized to perform this operation.",
            );
        }
        if params.get("DryRun").is_some_and(|is| is == "true") {
            let message = "Request would have succeeded, but DryRun flag is set.";
            return failure(412, "DryRunOperation", message);
        }
        match action.as_str() {
            "RunInstances" => self.run(region, params),
            "DescribeInstances" => self.instances(region, params),
            "DescribeVolumes" => self.things(&action, "vol", region, params),
            "DescribeNetworkInterfaces" => self.things(&action, "eni", region, params),
            "DescribeSecurityGroups" if params.contains_key("GroupId.1") => {
                let id = params.get("GroupId.1").map(String::as_str).unwrap_or_default();
                if id != "sg-mine" && !self.things.contains_key(id) {
                    let message = format!("The security group '{id}' does not exist");
                    return failure(400, "InvalidGroup.NotFound", &message);
                }
                answer(
                    &action,
                    &json!({"securityGroupInfo": [{"groupId": id, "tagSet": []}]}),
                )
            }
            "DescribeSecurityGroups" => self.things(&action, "sg", region, params),
            "CreateSecurityGroup" => self.new_group(region, params),
            "AuthorizeSecurityGroupIngress" => self.let_somebody_in(params),
            "TerminateInstances" => self.terminate(params),
            "DeleteVolume" => self.delete(&action, "InvalidVolume", params.get("VolumeId")),
            "DeleteNetworkInterface" => self.delete(
                &action,
                "InvalidNetworkInterfaceID",
                params.get("NetworkInterfaceId"),
            ),
            "DeleteSecurityGroup" => self.delete(&action, "InvalidGroup", params.get("GroupId")),
            "CreateTags" => {
                let tags = tags_under(params, "");
                let Some(thing) = params.get("ResourceId.1").and_then(|id| self.things.get_mut(id)) else {
                    return failure(400, "InvalidID.NotFound", "it does not exist");
                };
                thing.tags.extend(tags);
                answer(&action, &json!({"return": "true"}))
            }
            "GetConsoleOutput" if params.contains_key("Latest") => failure(
                400,
                "UnsupportedOperation",
                "this instance type does not support it",
            ),
            "GetConsoleOutput" => answer(&action, &json!({"output": "WyAgICAwLjBdIExpbnV4\nCg=="})),
            "DescribeRegions" => {
                let rows: Vec<_> = self
                    .behaviour
                    .regions
                    .iter()
                    .map(|name| json!({"regionName": name}))
                    .collect();
                answer(&action, &json!({ "regionInfo": rows }))
            }
            "DescribeVpcs" => answer(
                &action,
                &json!({"vpcSet": [{"vpcId": "vpc-1", "isDefault": "true"}]}),
            ),
            "DescribeSubnets" => {
                let mut rows = subnets(region);
                let wanted = params.get("SubnetId.1");
                rows.retain(|subnet| wanted.is_none_or(|wanted| subnet["subnetId"] == wanted.as_str()));
                match wanted.filter(|_| rows.is_empty()) {
                    Some(wanted) => {
                        let message = format!("The subnet ID '{wanted}' does not exist");
                        failure(400, "InvalidSubnetID.NotFound", &message)
                    }
                    None => answer(&action, &json!({ "subnetSet": rows })),
                }
            }
            "DescribeImages" => answer(&action, &json!({ "imagesSet": images(params) })),
            "DescribeInstanceTypes" => self.page(&action, "instanceTypeSet", types(params), params),
            "DescribeInstanceTypeOfferings" => {
                let is_sold = !types(params).is_empty();
                let rows: Vec<_> = ["a", "b"]
                    .iter()
                    .filter(|_| is_sold)
                    .map(|zone| json!({"location": format!("{region}{zone}")}))
                    .collect();
                answer(&action, &json!({ "instanceTypeOfferingSet": rows }))
            }
            _ => failure(400, "InvalidAction", &format!("no action {action}")),
        }
    }
}

/// Answers as Service Quotas does, in AWS's JSON protocol.
fn quota(vcpus_max: Option<u32>, call: &Call) -> Reply {
    let asked = json!({"ServiceCode": "ec2", "QuotaCode": "L-1216C47A"});
    let (status, body) = match vcpus_max {
        Some(max) if call.json() == asked => (
            200,
            json!({"Quota": {"QuotaCode": "L-1216C47A", "Value": f64::from(max)}}),
        ),
        Some(_) => (
            400,
            json!({"__type": "NoSuchResourceException", "Message": "no such quota"}),
        ),
        None => (
            400,
            json!({"__type": "AccessDeniedException", "Message": "User: ci is not authorized"}),
        ),
    };
    Reply {
        status,
        headers: Vec::new(),
        body: body.to_string().into_bytes(),
    }
}

fn subnets(region: &str) -> Vec<Value> {
    let subnet = |zone: &str| json!({"subnetId": format!("subnet-{region}{zone}"), "availabilityZone": format!("{region}{zone}"), "vpcId": "vpc-1"});
    ["a", "b", "c"].into_iter().map(subnet).collect()
}

fn zone_of(subnet: Option<&String>) -> String {
    subnet
        .and_then(|subnet| subnet.strip_prefix("subnet-"))
        .unwrap_or("us-east-1a")
        .to_owned()
}

fn images(params: &BTreeMap<String, String>) -> Vec<Value> {
    const CANONICAL: &str = "099720109477";
    let image_of = |owner: &str, id: &str, day: &str, arch: &str| {
        let made = format!("{day}T00:00:00.000Z");
        json!({"imageId": id, "creationDate": made, "rootDeviceName": "/dev/sda1", "architecture": arch, "imageOwnerId": owner})
    };
    let image = |id: &str, day: &str, arch: &str| image_of(CANONICAL, id, day, arch);
    let owners: Vec<_> = params
        .iter()
        .filter(|(key, _)| key.starts_with("Owner."))
        .map(|(_, owner)| owner.as_str())
        .collect();
    let all = [
        image("ami-old", "2026-01-02", "x86_64"),
        image("ami-new", "2026-11-02", "x86_64"),
        image("ami-arm", "2026-11-02", "arm64"),
        // A stranger may publish a newer one of any name.
        image_of("666666666666", "ami-evil", "2026-11-20", "x86_64"),
    ];
    let is_meant = |image: &Value| {
        let owner = image["imageOwnerId"].as_str().unwrap_or_default();
        (owners.is_empty() || owners.contains(&owner))
            && fits(params, |name| match name {
                "architecture" => image["architecture"].as_str().map(str::to_owned),
                "state" => Some("available".to_owned()),
                _ => {
                    let word = if image["architecture"] == "arm64" {
                        "arm64"
                    } else {
                        "amd64"
                    };
                    Some(format!(
                        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{word}-server-1"
                    ))
                }
            })
    };
    all.into_iter().filter(is_meant).collect()
}

fn types(params: &BTreeMap<String, String>) -> Vec<Value> {
    let value = |(name, cores, is_metal, can_nest, arch): (&str, u32, bool, bool, &str)| {
        let features: &[&str] = if can_nest {
            &["nested-virtualization", "metal-compatibility"]
        } else {
            &[]
        };
        json!({
            "instanceType": name, "bareMetal": is_metal.to_string(), "vCpuInfo": {"defaultVCpus": cores},
            "processorInfo": {"supportedArchitectures": [arch], "supportedFeatures": features},
        })
    };
    let is_meant = |name: &str| fits(params, |_| Some(name.to_owned()));
    TYPES
        .into_iter()
        .filter(|(name, ..)| is_meant(name))
        .map(value)
        .collect()
}

/// Returns whether every filter of a call has a value that fits; `*` stands for anything.
fn fits(params: &BTreeMap<String, String>, value_of: impl Fn(&str) -> Option<String>) -> bool {
    let names = params
        .iter()
        .filter(|(key, _)| key.starts_with("Filter.") && key.ends_with(".Name"));
    names.into_iter().all(|(key, name)| {
        let values = key.replace(".Name", ".Value.");
        let value = value_of(name).unwrap_or_default();
        params
            .iter()
            .filter(|(key, _)| key.starts_with(&values))
            .any(|(_, pattern)| is_like(&value, pattern))
    })
}

fn is_like(value: &str, pattern: &str) -> bool {
    let parts: Vec<_> = pattern.split('*').collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return value == pattern;
    };
    let Some(rest) = value.strip_prefix(first) else {
        return false;
    };
    rest.ends_with(last) && middle.iter().all(|part| rest.contains(part))
}

fn tags_by_kind(params: &BTreeMap<String, String>) -> BTreeMap<String, BTreeMap<String, String>> {
    let kinds = params
        .iter()
        .filter(|(key, _)| key.starts_with("TagSpecification.") && key.ends_with(".ResourceType"));
    kinds
        .map(|(key, kind)| {
            (
                kind.clone(),
                tags_under(params, key.trim_end_matches("ResourceType")),
            )
        })
        .collect()
}

fn tags_under(params: &BTreeMap<String, String>, prefix: &str) -> BTreeMap<String, String> {
    let prefix = format!("{prefix}Tag.");
    let keys = params
        .iter()
        .filter(|(key, _)| key.starts_with(&prefix) && key.ends_with(".Key"));
    keys.map(|(key, name)| {
        (
            name.clone(),
            params
                .get(&key.replace(".Key", ".Value"))
                .cloned()
                .unwrap_or_default(),
        )
    })
    .collect()
}

fn tag_set(tags: &BTreeMap<String, String>) -> Vec<Value> {
    tags.iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect()
}

fn answer(action: &str, body: &Value) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{action}Response xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\">\
         <requestId>11111111-2222-3333-4444-555555555555</requestId>{}</{action}Response>",
        xml(body)
    );
    Reply {
        status: 200,
        headers: vec![("content-type", "text/xml;charset=UTF-8".to_owned())],
        body: text.into_bytes(),
    }
}

fn failure(status: u16, code: &str, message: &str) -> Reply {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message>\
         </Error></Errors><RequestID>r</RequestID></Response>"
    );
    Reply {
        status,
        headers: Vec::new(),
        body: text.into_bytes(),
    }
}

/// Writes a value as EC2 does: a list is an element with one `item` for each.
fn xml(value: &Value) -> String {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("<{name}>{}</{name}>", xml(value)))
            .collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| format!("<item>{}</item>", xml(item)))
            .collect(),
        Value::String(text) => text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;"),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Returns the parameters of a call.
pub(crate) fn params_of(call: &Call) -> BTreeMap<String, String> {
    let text = format!("http://x/?{}", String::from_utf8_lossy(&call.body));
    let uri: axum::http::Uri = text.parse().expect("a form");
    let axum::extract::Query(pairs) = axum::extract::Query::try_from_uri(&uri).expect("a form");
    pairs
}

/// Returns who signed, and for which region.
fn signed_by(call: &Call) -> Option<(&str, &str)> {
    let rest = call
        .header("authorization")?
        .strip_prefix("AWS4-HMAC-SHA256 Credential=")?;
    let mut scope = rest.split(',').next()?.split('/');
    let (id, region) = (scope.next()?, scope.nth(1)?);
    let service = match call.header("x-amz-target") {
        Some(_) => "servicequotas",
        None => "ec2",
    };
    (scope.next()? == service).then_some((id, region))
}

impl Api for Aws {
    fn names(&mut self) -> Vec<String> {
        self.pass_time();
        let is_there = |thing: &&Thing| thing.gone.is_none_or(|gone| gone > self.clock.now());
        let name = |thing: &Thing| {
            format!(
                "{}/{}",
                thing.kind,
                thing.tags.get("Name").cloned().unwrap_or_default()
            )
        };
        self.things.values().filter(is_there).map(name).collect()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        self.pass_time();
        let Some((id, region)) = signed_by(call) else {
            return failure(401, "AuthFailure", "no signature");
        };
        if id != KEY_ID {
            return failure(
                401,
                "AuthFailure",
                "AWS was not able to validate the provided access credentials",
            );
        }
        if self.behaviour.throttled > 0 {
            self.behaviour.throttled -= 1;
            return failure(503, "RequestLimitExceeded", "Request limit exceeded.");
        }
        if call.header("x-amz-target") == Some("ServiceQuotasV20190624.GetServiceQuota") {
            return quota(self.behaviour.vcpus_max, call);
        }
        let region = region.to_owned();
        self.route(&region, &params_of(call))
    }

    fn mistakes(&self, call: &Call, _reply: &Reply) -> Vec<String> {
        let is_ec2 = call.header("x-amz-target").is_none();
        self.model
            .as_ref()
            .filter(|_| is_ec2)
            .map(|model| model.mistakes(&params_of(call)))
            .unwrap_or_default()
    }
}
