//! A stand-in for Azure Resource Manager that remembers. Its delays, lags, limits and errors are those of the adapter's
//! README and of the vendor's description.

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
    clock::TestClock,
    server::{Api, Behind, Call, Reply, decoded},
    spec::Spec,
};

/// The token that is accepted.
pub(crate) const TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.fake-token-of-azure";

/// The subscription that there is.
pub(crate) const SUBSCRIPTION: &str = "0b1f6471-1bf0-4dda-aec3-cb9272f09590";

/// What the console says.
pub(crate) const CONSOLE: &str = "[    0.000000] Linux version 6.8.0-azure\n";

/// What may be set by a test.
pub(crate) struct Behaviour {
    /// How long what is new is missing from lists. Asked for by its path it is there at once.
    pub(crate) list_lag: Duration,
    /// How long a firewall, a network and the like take to be made.
    pub(crate) settle: Duration,
    /// How long a box takes to run.
    pub(crate) boot: Duration,
    /// How long the agent on the box takes from there to say so.
    pub(crate) agent: Duration,
    /// How long boxes in a group take to go when it goes.
    pub(crate) leave: Duration,
    /// How long the group outlives them.
    pub(crate) group_outlives: Duration,
    /// Sizes and regions that the subscription may not have, or that are sold out.
    pub(crate) sold_out: BTreeSet<(String, String)>,
    /// How many boxes the quota allows.
    pub(crate) machines_max: usize,
    /// A box's create fails some time after it was answered, with this code.
    pub(crate) fails_later: Option<&'static str>,
    /// So many calls are refused as too many.
    pub(crate) throttled: u32,
    /// Longest page of a list.
    pub(crate) page_max: usize,
    /// Every page of a list names a next one.
    pub(crate) is_endless: bool,
    /// The token is out of date from this call on.
    pub(crate) expires_at_call: Option<u32>,
    /// What boxes are made with, whatever is asked for.
    pub(crate) security_type: Option<&'static str>,
    /// The identity may only read.
    pub(crate) is_readonly: bool,
    /// Where the next page is said to be, when that is elsewhere.
    pub(crate) next_page_at: Option<&'static str>,
    /// A lock is on every group.
    pub(crate) is_locked: bool,
    /// How long a group that was just made is not found by what is made in it.
    pub(crate) unseen: Duration,
    /// A policy refuses boxes with this code.
    pub(crate) policy: Option<&'static str>,
    /// The subscription takes no schedules.
    pub(crate) has_no_schedules: bool,
}

/// The cloud.
pub(crate) struct Azure {
    clock: TestClock,
    specs: [Option<Arc<Spec>>; 3],
    pub(crate) behaviour: Behaviour,
    /// What stands behind the boxes.
    pub(crate) behind: Behind,
    /// By path, in lower case.
    things: BTreeMap<String, Thing>,
    calls: u32,
    /// Where it answers, for the addresses that it reports.
    url: String,
    /// The tags of what was made, as its create call had them.
    pub(crate) made_with: Vec<Value>,
    /// The highest number of boxes that there ever were at once, by name.
    pub(crate) most_of_a_name: BTreeMap<String, usize>,
    /// Whether the console was asked for with a token.
    pub(crate) has_leaked: bool,
}

struct Thing {
    value: Value,
    kind: Kind,
    made: Timestamp,
    gone: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Group,
    Machine,
    Network,
    Schedule,
}

impl Azure {
    pub(crate) fn new(clock: &TestClock) -> Self {
        let spec = |name| Spec::open_api(name, "");
        Self {
            clock: clock.clone(),
            specs: [
                spec("azure-compute.json"),
                spec("azure-network.json"),
                spec("azure-resources.json"),
            ],
            behaviour: Behaviour {
                list_lag: Duration::from_secs(4),
                settle: Duration::from_secs(1),
                boot: Duration::from_secs(25),
                agent: Duration::from_secs(40),
                leave: Duration::from_secs(20),
                group_outlives: Duration::from_secs(20),
                sold_out: BTreeSet::new(),
                machines_max: 20,
                fails_later: None,
                throttled: 0,
                page_max: 100,
                is_endless: false,
                expires_at_call: None,
                security_type: None,
                is_readonly: false,
                next_page_at: None,
                is_locked: false,
                unseen: Duration::from_secs(3),
                policy: None,
                has_no_schedules: false,
            },
            behind: Behind::default(),
            things: BTreeMap::new(),
            calls: 0,
            url: String::new(),
            made_with: Vec::new(),
            most_of_a_name: BTreeMap::new(),
            has_leaked: false,
        }
    }

    /// Makes a group of somebody else's with a box in it, under that name.
    pub(crate) fn plant(&mut self, name: &str, tags: &Value) {
        let made = self.clock.now();
        let group = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}");
        let thing = |kind, value| Thing {
            value,
            kind,
            made,
            gone: None,
        };
        let value = json!({"id": group, "name": name, "location": "eastus", "tags": tags, "properties": {}});
        self.things
            .insert(group.to_lowercase(), thing(Kind::Group, value));
        let id = format!("{group}/providers/Microsoft.Compute/virtualMachines/{name}");
        let properties = json!({"hardwareProfile": {"vmSize": "Standard_B1s"}});
        let value =
            json!({"id": id, "name": name, "location": "eastus", "tags": tags, "properties": properties});
        self.things.insert(id.to_lowercase(), thing(Kind::Machine, value));
    }

    /// Makes a company's group with a network in it that is somebody else's, and returns the id of the network's subnet.
    pub(crate) fn plant_network(&mut self, group: &str, location: &str) -> String {
        let made = self.clock.now();
        let path = format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}");
        let network = format!("{path}/providers/Microsoft.Network/virtualNetworks/company");
        for (id, kind) in [(&path, Kind::Group), (&network, Kind::Network)] {
            let name = id.rsplit('/').next();
            let value = json!({"id": id, "name": name, "location": location, "tags": {}, "properties": {}});
            let thing = Thing {
                value,
                kind,
                made,
                gone: None,
            };
            self.things.insert(id.to_lowercase(), thing);
        }
        format!("{network}/subnets/ci")
    }

    /// Takes all spot boxes back.
    pub(crate) fn take_back(&mut self) {
        let gone = after(self.clock.now(), self.behaviour.leave);
        for thing in self.things.values_mut() {
            let properties = &thing.value["properties"];
            if properties["priority"] == "Spot" && properties["evictionPolicy"] == "Delete" {
                thing.gone.get_or_insert(gone);
            }
        }
    }

    /// Returns the labels that anything there is tagged with.
    pub(crate) fn labels(&mut self) -> BTreeSet<String> {
        self.pass_time();
        let label = |thing: &Thing| thing.value["tags"]["mvm-label"].as_str().map(str::to_owned);
        self.things.values().filter_map(label).collect()
    }

    /// Returns the only thing of that kind, such as `networkSecurityGroups`.
    pub(crate) fn only(&self, kind: &str) -> Value {
        let part = format!("/{}/", kind.to_lowercase());
        let mut found = self.things.iter().filter(|(path, _)| path.contains(&part));
        let (_, thing) = found.next().expect("there is one");
        assert!(found.next().is_none(), "there is one {kind} only");
        thing.value.clone()
    }

    /// Lets what has been decided happen.
    fn pass_time(&mut self) {
        let now = self.clock.now();
        self.things
            .retain(|_, thing| thing.gone.is_none_or(|gone| gone > now));
        let behaviour = &self.behaviour;
        for thing in self.things.values_mut() {
            let age = between(thing.made, now);
            let has_failed =
                thing.kind == Kind::Machine && behaviour.fails_later.is_some() && age >= behaviour.boot / 2;
            let length = match thing.kind {
                Kind::Group | Kind::Schedule => Duration::ZERO,
                Kind::Network => behaviour.settle,
                Kind::Machine => behaviour.boot + behaviour.agent,
            };
            let state = match thing.gone {
                Some(_) => "Deleting",
                None if has_failed => "Failed",
                None if age >= length => "Succeeded",
                None if thing.kind == Kind::Machine => "Creating",
                None => "Updating",
            };
            thing.value["properties"]["provisioningState"] = json!(state);
        }
    }

    /// Returns what the view of a box says.
    fn statuses(&self, thing: &Thing) -> Value {
        let age = between(thing.made, self.clock.now());
        let mut codes = Vec::new();
        if thing.value["properties"]["provisioningState"] == "Failed" {
            let code = self.behaviour.fails_later.unwrap_or_default();
            codes.push(json!({"code": format!("ProvisioningState/failed/{code}"), "level": "Error", "message": "in the view"}));
        }
        let power = match age >= self.behaviour.boot {
            _ if self.is_deallocated(thing) => "deallocated",
            true => "running",
            false => "starting",
        };
        codes.push(json!({"code": format!("PowerState/{power}"), "level": "Info", "displayStatus": power}));
        json!({ "statuses": codes })
    }

    /// Returns whether a schedule's time of day has come since it was set.
    fn is_deallocated(&self, machine: &Thing) -> bool {
        let now = self.clock.now();
        let is_over = |schedule: &&Thing| {
            let properties = &schedule.value["properties"];
            let time = properties["dailyRecurrence"]["time"].as_str().unwrap_or_default();
            let set = Timestamp::from_second(properties["fakeSet"].as_i64().unwrap_or_default());
            // What is set within half an hour of its time holds from the next day on.
            let counts = after(set.expect("a moment"), Duration::from_secs(30 * 60));
            let mut minutes = (0..24 * 60).map(|minute| after(counts, Duration::from_secs(60 * minute)));
            let first = minutes.find(|minute| minute.strftime("%H%M").to_string() == time);
            properties["targetResourceId"].as_str().map(str::to_lowercase)
                == machine.value["id"].as_str().map(str::to_lowercase)
                && first.is_some_and(|first| first <= now)
        };
        let mut schedules = self.things.values().filter(|thing| thing.kind == Kind::Schedule);
        schedules.any(|schedule| is_over(&schedule))
    }

    /// Returns the power state of the only box.
    pub(crate) fn power(&mut self) -> String {
        self.pass_time();
        let machine = self.things.values().find(|thing| thing.kind == Kind::Machine);
        let statuses = self.statuses(machine.expect("there is one"));
        let last = statuses["statuses"].as_array().and_then(|all| all.last());
        last.and_then(|status| status["code"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    fn put_schedule(&mut self, path: &str, call: &Call) -> Reply {
        if self.behaviour.has_no_schedules {
            let message = "The subscription is not registered to use namespace 'Microsoft.DevTestLab'.";
            return failure(409, "MissingSubscriptionRegistration", message);
        }
        let mut value = call.json();
        let properties = &mut value["properties"];
        let target = properties["targetResourceId"]
            .as_str()
            .unwrap_or_default()
            .to_lowercase();
        let name = target.rsplit('/').next().unwrap_or_default().to_owned();
        let time = properties["dailyRecurrence"]["time"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let is_time = time.len() == 4
            && time
                .parse::<u32>()
                .is_ok_and(|time| time < 2400 && time % 100 < 60);
        let is_right = properties["taskType"] == "ComputeVmShutdownTask"
            && properties["timeZoneId"] == "UTC"
            && properties["status"] == "Enabled"
            && path.ends_with(&format!("/shutdown-computevm-{name}"));
        if !is_time || !is_right {
            return failure(
                400,
                "InvalidScheduleProperties",
                "The schedule is not as it must be.",
            );
        }
        if !self.things.contains_key(&target) {
            return failure(404, "ResourceNotFound", "The target resource was not found.");
        }
        properties["fakeSet"] = json!(self.clock.now().as_second());
        value["id"] = json!(call.path);
        value["name"] = json!(format!("shutdown-computevm-{name}"));
        let is_new = !self.things.contains_key(path);
        if is_new {
            self.made_with.push(value["tags"].clone());
        }
        self.insert(path, Kind::Schedule, value.clone());
        Reply::json(if is_new { 201 } else { 200 }, &value)
    }

    /// Returns the refusal of what is made in a group that is not there, or not yet to be seen, or going.
    fn no_group(&self, path: &str) -> Option<Reply> {
        let group = path.split('/').take(5).collect::<Vec<_>>().join("/");
        let now = self.clock.now();
        let is_seen = |group: &&Thing| between(group.made, now) >= self.behaviour.unseen;
        match self.things.get(&group).filter(is_seen) {
            None => Some(failure(
                404,
                "ResourceGroupNotFound",
                "The resource group could not be found.",
            )),
            Some(group) if group.gone.is_some() => Some(failure(
                409,
                "ResourceGroupBeingDeleted",
                "The resource group is in deprovisioning state.",
            )),
            Some(_) => None,
        }
    }

    fn route(&mut self, call: &Call) -> Reply {
        let path = call.path.to_lowercase();
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        if call.method != "GET" && self.behaviour.is_readonly {
            let message = "The client does not have authorization to perform action over scope";
            return failure(403, "AuthorizationFailed", message);
        }
        match (call.method.as_str(), parts.as_slice()) {
            (_, ["subscriptions", id, ..]) if *id != SUBSCRIPTION => failure(
                404,
                "SubscriptionNotFound",
                "The subscription could not be found.",
            ),
            ("GET", [_, _, "resourcegroups"]) => self.list(Kind::Group, call),
            ("GET", [_, _, "providers", "microsoft.compute", "virtualmachines"]) => {
                self.list(Kind::Machine, call)
            }
            ("GET", [_, _, "providers", "microsoft.devtestlab", "schedules"]) => {
                self.list(Kind::Schedule, call)
            }
            ("GET", [_, _, "resources"]) => self.resources(call),
            ("GET", [_, _, "providers", "microsoft.compute", "skus"]) => self.skus(call),
            ("GET", [_, _, "providers", "microsoft.compute", "locations", _, "usages"]) => self.usages(),
            (
                "GET",
                [
                    _,
                    _,
                    "providers",
                    "microsoft.compute",
                    "locations",
                    _,
                    "operations",
                    id,
                ],
            ) => self.operation(id),
            ("GET", [_, _, "providers", name]) => namespace(name),
            ("POST", [.., "virtualmachines", _, "retrievebootdiagnosticsdata"]) => self.diagnostics(&path),
            ("PUT", [_, _, "resourcegroups", name]) => self.put_group(&path, name, &call.json()),
            ("PUT", [_, _, "resourcegroups", _, "providers", of, ..]) => match self.no_group(&path) {
                Some(refusal) => refusal,
                None if *of == "microsoft.devtestlab" => self.put_schedule(&path, call),
                None => self.put(&path, call),
            },
            ("GET" | "PATCH", [_, _, "resourcegroups", ..]) => self.one(&path, call),
            ("DELETE", [_, _, "resourcegroups", _]) => self.delete_group(&path),
            ("DELETE", [_, _, "resourcegroups", ..]) => self.delete(&path),
            _ => failure(
                404,
                "InvalidResourceType",
                "The resource type could not be found.",
            ),
        }
    }

    fn put_group(&mut self, path: &str, name: &str, body: &Value) -> Reply {
        let is_going = self.things.get(path).is_some_and(|group| group.gone.is_some());
        if is_going {
            return failure(
                409,
                "ResourceGroupBeingDeleted",
                "The resource group is in deprovisioning state.",
            );
        }
        let is_new = !self.things.contains_key(path);
        let mut value = body.clone();
        value["id"] = json!(format!("/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}"));
        value["name"] = json!(name);
        value["type"] = json!("Microsoft.Resources/resourceGroups");
        value["properties"] = json!({"provisioningState": "Succeeded"});
        if is_new {
            self.made_with.push(body["tags"].clone());
        }
        self.insert(path, Kind::Group, value.clone());
        Reply::json(if is_new { 201 } else { 200 }, &value)
    }

    fn insert(&mut self, path: &str, kind: Kind, value: Value) {
        let made = match self.things.get(path) {
            Some(thing) => thing.made,
            None => self.clock.now(),
        };
        let thing = Thing {
            value,
            kind,
            made,
            gone: None,
        };
        self.things.insert(path.to_owned(), thing);
        self.pass_time();
    }

    fn put(&mut self, path: &str, call: &Call) -> Reply {
        let body = call.json();
        for reference in references(&body["properties"]) {
            let of_thing = reference
                .split("/subnets/")
                .next()
                .unwrap_or_default()
                .to_lowercase();
            let state = self
                .things
                .get(&of_thing)
                .map(|thing| thing.value["properties"]["provisioningState"].clone());
            match state {
                None => return failure(404, "ResourceNotFound", "The referenced resource was not found."),
                Some(state) if state == "Succeeded" => {}
                Some(_) => {
                    let message = "Cannot proceed with operation because a resource it uses is being made.";
                    return failure(429, "ReferencedResourceNotProvisioned", message);
                }
            }
        }
        let is_machine = path.contains("/virtualmachines/");
        if is_machine && let Some(refusal) = self.refusal(path, &body) {
            return refusal;
        }
        let is_new = !self.things.contains_key(path);
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut value = body.clone();
        // The API writes group names in capitals where it likes.
        value["id"] = json!(call.path.replace("twolane-", "TWOLANE-"));
        value["name"] = json!(name);
        if path.contains("/publicipaddresses/") {
            value["properties"]["ipAddress"] = json!(format!("192.0.2.{}", self.things.len() % 250 + 1));
        }
        if path.contains("/networkinterfaces/") {
            let address = format!("10.0.0.{}", self.things.len() % 250 + 4);
            value["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = json!(address);
        }
        if is_machine {
            let Some(user_data) = decoded(&value["properties"]["osProfile"]["customData"]) else {
                return failure(400, "InvalidParameter", "Custom data must be in Base64.");
            };
            let hidden = value["properties"]["osProfile"].as_object_mut();
            hidden.map(|profile| profile.remove("customData"));
            if is_new {
                self.boot(path, &value["properties"]["networkProfile"], &user_data);
            }
            if let Some(security) = self.behaviour.security_type {
                value["properties"]["securityProfile"] = json!({"securityType": security});
            }
        }
        if is_new {
            self.made_with.push(body["tags"].clone());
        }
        self.insert(
            path,
            if is_machine { Kind::Machine } else { Kind::Network },
            value,
        );
        if is_machine {
            let of_name = self
                .things
                .values()
                .filter(|thing| thing.kind == Kind::Machine && thing.value["name"] == name.as_str());
            let count = of_name.count();
            let most = self.most_of_a_name.entry(name.clone()).or_default();
            *most = count.max(*most);
        }
        let mut reply = Reply::json(if is_new { 201 } else { 200 }, &self.things[path].value);
        let operation = format!(
            "{}/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Compute/locations/eastus/operations/op-{name}?api-version=2025-11-01&t=1",
            self.url
        );
        reply.headers.push(("azure-asyncoperation", operation));
        reply.headers.push(("retry-after", "10".to_owned()));
        reply
    }

    /// Has the box of that path come up behind the address that its interface leads to.
    fn boot(&mut self, path: &str, network: &Value, user_data: &[u8]) {
        let interface = only_reference(&network["networkInterfaces"]);
        let addresses = self.things.get(&interface).map(|interface| {
            let configurations = &interface.value["properties"]["ipConfigurations"];
            only_reference(&configurations[0]["properties"]["publicIPAddress"])
        });
        let Some(address) = addresses.and_then(|path| self.things.get_mut(&path)) else {
            return;
        };
        let address = &mut address.value["properties"]["ipAddress"];
        let otherwise = address.as_str().unwrap_or_default().to_owned();
        *address = json!(self.behind.make(path, user_data, otherwise));
    }

    fn refusal(&self, path: &str, body: &Value) -> Option<Reply> {
        let properties = &body["properties"];
        if let Some(code) = self.behaviour.policy {
            let message = "Resource 'box' was disallowed by policy.";
            return Some(failure(403, code, message));
        }
        let (size, region) = (&properties["hardwareProfile"]["vmSize"], &body["location"]);
        let place = (size.as_str()?.to_owned(), region.as_str()?.to_owned());
        if self.behaviour.sold_out.contains(&place) {
            let message = "The requested size for resource is currently not available in location";
            return Some(failure(409, "SkuNotAvailable", message));
        }
        let others = self
            .things
            .iter()
            .filter(|(other, thing)| thing.kind == Kind::Machine && *other != path);
        if others.count() >= self.behaviour.machines_max {
            let message = "Operation could not be completed as it results in exceeding approved standardDSv5Family Cores quota.";
            return Some(failure(409, "OperationNotAllowed", message));
        }
        if let Some(thing) = self.things.get(path) {
            let is_other = thing.value["properties"]["hardwareProfile"]["vmSize"] != *size;
            return is_other.then(|| {
                failure(
                    409,
                    "PropertyChangeNotAllowed",
                    "Changing property is not allowed.",
                )
            });
        }
        let user = properties["osProfile"]["adminUsername"]
            .as_str()
            .unwrap_or_default();
        let keys = &properties["osProfile"]["linuxConfiguration"]["ssh"]["publicKeys"][0];
        let has_path = keys["path"] == format!("/home/{user}/.ssh/authorized_keys");
        let is_refused = ["root", "admin", "user"].contains(&user) || !has_path;
        is_refused.then(|| {
            failure(
                400,
                "InvalidParameter",
                "The Admin Username or the key's path is not allowed.",
            )
        })
    }

    fn one(&mut self, path: &str, call: &Call) -> Reply {
        let unseen = self.behaviour.unseen;
        let is_seen =
            |thing: &Thing| thing.kind != Kind::Group || between(thing.made, self.clock.now()) >= unseen;
        if !self.things.get(path).is_some_and(is_seen) {
            let code = match path.split('/').count() {
                5 => "ResourceGroupNotFound",
                _ => "ResourceNotFound",
            };
            return failure(404, code, "It was not found.");
        }
        if call.method == "PATCH" {
            let tags = call.json()["tags"].clone();
            self.things.get_mut(path).expect("it is there").value["tags"] = tags;
        }
        let thing = &self.things[path];
        let mut value = thing.value.clone();
        if call.query("$expand") == Some("instanceView") {
            value["properties"]["instanceView"] = self.statuses(thing);
        }
        Reply::json(200, &value)
    }

    fn delete_group(&mut self, path: &str) -> Reply {
        if self.behaviour.is_locked {
            return failure(
                409,
                "ScopeLocked",
                "The scope cannot perform delete operation because it is locked.",
            );
        }
        if !self.things.contains_key(path) {
            return failure(
                404,
                "ResourceGroupNotFound",
                "The resource group could not be found.",
            );
        }
        let now = self.clock.now();
        let machines_gone = after(now, self.behaviour.leave);
        let all_gone = after(machines_gone, self.behaviour.group_outlives);
        let inside = format!("{path}/");
        for (other, thing) in &mut self.things {
            if other == path || other.starts_with(&inside) {
                let gone = if thing.kind == Kind::Machine {
                    self.behind.destroy(other);
                    machines_gone
                } else {
                    all_gone
                };
                thing.gone.get_or_insert(gone);
            }
        }
        self.pass_time();
        accepted()
    }

    fn delete(&mut self, path: &str) -> Reply {
        let refers = |(other, thing): (&String, &Thing)| {
            other != path
                && references(&thing.value["properties"])
                    .iter()
                    .any(|id| id.to_lowercase() == path)
        };
        let users = self.things.iter().map(|(other, thing)| refers((other, thing)));
        if users.into_iter().any(|refers| refers) && !path.contains("/virtualmachines/") {
            return failure(400, "NicInUse", "The resource is in use by another.");
        }
        let goes_along: Vec<String> = match self.things.get(path) {
            Some(thing) if thing.kind == Kind::Machine => {
                let interfaces = thing.value["properties"]["networkProfile"]["networkInterfaces"].as_array();
                let going = interfaces.into_iter().flatten();
                let going = going.filter(|one| one["properties"]["deleteOption"] == "Delete");
                going.flat_map(references).map(|id| id.to_lowercase()).collect()
            }
            _ => Vec::new(),
        };
        let along = after(self.clock.now(), self.behaviour.leave);
        for path in goes_along {
            if let Some(thing) = self.things.get_mut(&path) {
                thing.gone.get_or_insert(along);
            }
        }
        let gone = after(self.clock.now(), self.behaviour.leave);
        match self.things.get_mut(path) {
            None => Reply::empty(204),
            Some(thing) => {
                self.behind.destroy(path);
                thing.gone.get_or_insert(gone);
                accepted()
            }
        }
    }

    fn list(&self, kind: Kind, call: &Call) -> Reply {
        let now = self.clock.now();
        let is_shown =
            |thing: &&Thing| thing.kind == kind && between(thing.made, now) >= self.behaviour.list_lag;
        let is_tagged = |thing: &&Thing| match call.query("$filter") {
            None => true,
            Some("tagName eq 'mvm-ephemeral' and tagValue eq 'true'") => {
                thing.value["tags"]["mvm-ephemeral"] == "true"
            }
            Some(other) => panic!("the filter {other} is not understood here"),
        };
        let rows = self.things.values().filter(is_shown).filter(is_tagged);
        self.page(call, rows.map(|thing| thing.value.clone()).collect())
    }

    /// Lists everything of ours but groups, whatever it is.
    fn resources(&self, call: &Call) -> Reply {
        assert_eq!(
            call.query("$filter"),
            Some("tagName eq 'mvm-ephemeral' and tagValue eq 'true'")
        );
        let now = self.clock.now();
        let is_shown = |thing: &&Thing| {
            let is_listed = between(thing.made, now) >= self.behaviour.list_lag;
            thing.kind != Kind::Group && is_listed && thing.value["tags"]["mvm-ephemeral"] == "true"
        };
        let row = |thing: &Thing| {
            let mut row = thing.value.clone();
            let parts: Vec<_> = row["id"].as_str().unwrap_or_default().split('/').collect();
            let kind = format!("{}/{}", parts[6], parts[7]);
            row["type"] = json!(kind);
            row.as_object_mut().map(|row| row.remove("properties"));
            row
        };
        self.page(call, self.things.values().filter(is_shown).map(row).collect())
    }

    fn page(&self, call: &Call, rows: Vec<Value>) -> Reply {
        let from: usize = call
            .query("$skiptoken")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        let size = self.behaviour.page_max;
        let total = rows.len();
        let shown: Vec<_> = rows.into_iter().skip(from).take(size).collect();
        let mut body = json!({ "value": shown });
        if from + size < total || self.behaviour.is_endless {
            let mut query: Vec<_> = call
                .query
                .iter()
                .filter(|(key, _)| key != "$skiptoken")
                .cloned()
                .collect();
            query.push(("$skiptoken".to_owned(), (from + size).to_string()));
            let query: Vec<_> = query
                .iter()
                .map(|(key, value)| format!("{key}={}", value.replace(' ', "%20")))
                .collect();
            let origin = self.behaviour.next_page_at.unwrap_or(&self.url);
            body["nextLink"] = json!(format!("{origin}{}?{}", call.path, query.join("&")));
        }
        Reply::json(200, &body)
    }

    fn operation(&self, _id: &str) -> Reply {
        let Some(code) = self.behaviour.fails_later else {
            return Reply::json(200, &json!({"status": "InProgress"}));
        };
        let inner =
            json!({"code": code, "message": "Allocation failed. We do not have sufficient capacity."});
        let error = json!({"code": "ResourceOperationFailure", "message": "The operation failed.", "details": [inner]});
        Reply::json(200, &json!({"status": "Failed", "error": error}))
    }

    fn diagnostics(&self, path: &str) -> Reply {
        let machine = path.trim_end_matches("/retrievebootdiagnosticsdata");
        if !self.things.contains_key(machine) {
            return failure(404, "ResourceNotFound", "It was not found.");
        }
        let link = format!("{}/store/console.log?sig=a%2Fb%3D&se=2026", self.url);
        Reply::json(
            200,
            &json!({"serialConsoleLogBlobUri": link, "consoleScreenshotBlobUri": link}),
        )
    }

    fn skus(&self, call: &Call) -> Reply {
        let filter = call.query("$filter").unwrap_or_default();
        let region = filter
            .strip_prefix("location eq '")
            .and_then(|text| text.strip_suffix('\''));
        let region = region.expect("a location").to_owned();
        let row = |name: &str, family: &str, cores: u32| {
            let is_out = self
                .behaviour
                .sold_out
                .contains(&(name.to_owned(), region.clone()));
            let info = json!({"locations": [region]});
            let limit = json!({"type": "Location", "values": [region], "restrictionInfo": info, "reasonCode": "NotAvailableForSubscription"});
            let limits: Vec<_> = is_out.then_some(limit).into_iter().collect();
            json!({
                "resourceType": "virtualMachines", "name": name, "tier": "Standard", "family": family,
                "locations": [region], "restrictions": limits,
                "capabilities": [{"name": "vCPUs", "value": cores.to_string()}, {"name": "MemoryGB", "value": "16"}],
            })
        };
        let disk = json!({"resourceType": "disks", "name": "Premium_LRS", "locations": [region]});
        let mut rows = vec![disk, row("Standard_B4ms", "standardBSFamily", 4)];
        if region == "eastus" {
            rows.push(row("Standard_D4s_v5", "standardDSv5Family", 4));
            rows.push(row("Standard_D64s_v5", "standardDSv5Family", 64));
        }
        rows.push(row("Standard_D4as_v5", "standardDASv5Family", 4));
        self.page(call, rows)
    }

    fn usages(&self) -> Reply {
        let usage = |name: &str, used: u32, limit: u32| json!({"unit": "Count", "currentValue": used, "limit": limit, "name": {"value": name, "localizedValue": name}});
        let rows = vec![
            usage("cores", 8, 100),
            usage("standardDSv5Family", 4, 10),
            usage("standardDASv5Family", 0, 0),
        ];
        Reply::json(200, &json!({ "value": rows }))
    }
}

/// Returns all ids that are named in the properties of something.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("id", Value::String(id)) => vec![id.clone()],
                (_, value) => references(value),
            })
            .collect(),
        Value::Array(values) => values.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Returns the path that the only id in there leads to.
fn only_reference(value: &Value) -> String {
    let found = references(value);
    assert!(found.len() <= 1, "there is one only: {found:?}");
    found.concat().to_lowercase()
}

fn namespace(name: &str) -> Reply {
    let state = if name == "microsoft.network" {
        "NotRegistered"
    } else {
        "Registered"
    };
    Reply::json(200, &json!({"namespace": name, "registrationState": state}))
}

fn accepted() -> Reply {
    let mut reply = Reply::empty(202);
    reply.headers.push(("retry-after", "15".to_owned()));
    reply
}

fn failure(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"code": code, "message": message}}))
}

/// Prices, as anybody may read them: of one size in one region there are several.
fn retail_prices(call: &Call) -> Reply {
    let filter = call.query("$filter").unwrap_or_default();
    let is_it =
        filter.contains("armRegionName eq 'eastus'") && filter.contains("armSkuName eq 'Standard_D4s_v5'");
    let row = |product: &str, sku: &str, price: f64| {
        json!({"currencyCode": "USD", "retailPrice": price, "unitPrice": price, "unitOfMeasure": "1 Hour", "type": "Consumption",
            "armRegionName": "eastus", "armSkuName": "Standard_D4s_v5", "productName": product, "skuName": sku})
    };
    let rows = [
        row("Virtual Machines Dsv5 Series", "Standard_D4s_v5", 0.199),
        row("Virtual Machines Dsv5 Series Windows", "Standard_D4s_v5", 0.376),
        row("Virtual Machines Dsv5 Series", "Standard_D4s_v5 Spot", 0.04),
        row(
            "Virtual Machines Dsv5 Series",
            "Standard_D4s_v5 Low Priority",
            0.05,
        ),
    ];
    let rows = if is_it { &rows[..] } else { &[] };
    Reply::json(
        200,
        &json!({"BillingCurrency": "USD", "Items": rows, "NextPageLink": null, "Count": rows.len()}),
    )
}

impl Api for Azure {
    fn set_url(&mut self, url: &str) {
        self.url = url.to_owned();
    }

    /// Returns the paths of all that is there, from the group on.
    fn names(&mut self) -> Vec<String> {
        self.pass_time();
        let name = |path: &String| path.split('/').skip(4).collect::<Vec<_>>().join("/");
        self.things.keys().map(name).collect()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        self.pass_time();
        if call.path.starts_with("/store/") {
            self.has_leaked |= call.header("authorization").is_some();
            let is_permitted = call.query("sig") == Some("a/b=");
            return Reply {
                status: if is_permitted { 200 } else { 403 },
                headers: Vec::new(),
                body: CONSOLE.as_bytes().to_vec(),
            };
        }
        if call.path == "/api/retail/prices" {
            self.has_leaked |= call.header("authorization").is_some();
            return retail_prices(call);
        }
        self.calls += 1;
        let mut reply = if call.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            failure(401, "InvalidAuthenticationToken", "The access token is invalid.")
        } else if self.behaviour.expires_at_call.is_some_and(|at| self.calls >= at) {
            failure(
                401,
                "ExpiredAuthenticationToken",
                "The access token expiry UTC time is earlier than current UTC time.",
            )
        } else if self.behaviour.throttled > 0 {
            self.behaviour.throttled -= 1;
            let mut reply = failure(429, "TooManyRequests", "The request is being throttled.");
            reply.headers.push(("retry-after", "17".to_owned()));
            reply
        } else {
            self.route(call)
        };
        reply.headers.extend([
            ("x-ms-request-id", "5a1f2e".to_owned()),
            ("x-ms-ratelimit-remaining-subscription-reads", "11999".to_owned()),
            ("date", self.clock.date()),
        ]);
        reply
    }

    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        // The shared extract of the description leaves these out.
        let is_left_out = call.method == "PATCH"
            || call.path.contains("DevTestLab")
            || call.path.contains("/operations/")
            || call.path.starts_with("/store/")
            || call.path.starts_with("/api/retail/");
        let which = match call.path.as_str() {
            path if path.contains("Microsoft.Network/") => 1,
            path if path.contains("Microsoft.Compute/") => 0,
            _ => 2,
        };
        let spec = self.specs[which].as_ref().filter(|_| !is_left_out);
        let mistakes = spec.map(|spec| spec.mistakes(call, reply)).unwrap_or_default();
        // It knows the newest version of the API alone, no tokens of pages, and of refusals only that they are.
        let is_known = |mistake: &String| {
            let is_refusal = reply.status >= 400 && mistake.contains("which is not described");
            mistake.contains("query `api-version`: ")
                || mistake.contains("query parameter `$skiptoken`")
                || is_refusal
        };
        mistakes
            .into_iter()
            .filter(|mistake| !is_known(mistake))
            .collect()
    }
}
