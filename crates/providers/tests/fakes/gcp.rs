//! A stand-in for Compute Engine that remembers. Its operations, delays and errors are those of the adapter's README.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
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
    server::{Api, Behind, Call, Reply},
    spec::Spec,
};

/// The token that is accepted.
pub(crate) const TOKEN: &str = "ya29.token-token-token-token-token-token";

/// The project that there is.
pub(crate) const PROJECT: &str = "acme-ci";

const PREFIX: &str = "/compute/v1";

const ZONES: [&str; 6] = [
    "us-central1-a",
    "us-central1-b",
    "us-central1-f",
    "europe-west4-a",
    "us-east1-b",
    "us-east1-c",
];

/// What may be set by a test.
pub(crate) struct Behaviour {
    /// How long a new instance is missing from lists.
    pub(crate) list_lag: Duration,
    /// How long the operation of an insert takes.
    pub(crate) insert: Duration,
    /// How long after that the guest has reported its host key.
    pub(crate) boot: Duration,
    /// How long an instance takes to go.
    pub(crate) leave: Duration,
    /// Zones whose inserts fail, with the code that their operations tell.
    pub(crate) failing: BTreeMap<&'static str, &'static str>,
    /// The operation of a firewall insert fails with this code.
    pub(crate) firewall_fails: Option<&'static str>,
    /// Zones that do not answer lists.
    pub(crate) unreachable: BTreeSet<&'static str>,
    /// An organisation's policy forbids guest attributes.
    pub(crate) has_guest_attributes: bool,
    /// What an organisation's policy says of every instance.
    pub(crate) policy: Option<&'static str>,
    /// Zones that do not sell the types that are known.
    pub(crate) unsold: BTreeSet<&'static str>,
    /// The networks that there are.
    pub(crate) networks: BTreeSet<String>,
    /// The subnets that there are, with their networks.
    pub(crate) subnetworks: BTreeMap<String, String>,
    /// The boot disk outlives its instance.
    pub(crate) disk_stays: bool,
    /// Longest page, whatever is asked for.
    pub(crate) page_max: usize,
    /// Every page of a list names a next one.
    pub(crate) is_endless: bool,
}

/// The cloud.
pub(crate) struct Gcp {
    clock: TestClock,
    spec: Option<Arc<Spec>>,
    pub(crate) behaviour: Behaviour,
    /// What stands behind the instances.
    pub(crate) behind: Behind,
    instances: BTreeMap<(String, String), Thing>,
    disks: BTreeMap<(String, String), Value>,
    firewalls: BTreeMap<String, Value>,
    operations: BTreeMap<String, Run>,
    /// Those that took a spot instance back.
    preempted: Vec<Value>,
    /// The operation that each request id led to.
    requests: BTreeMap<String, String>,
    /// How many instances of a name were ever made.
    pub(crate) made: BTreeMap<String, usize>,
}

struct Thing {
    value: Value,
    /// The key that the guest agent reports.
    host_key: String,
    made: Timestamp,
    gone: Option<Timestamp>,
}

struct Run {
    value: Value,
    ends: Timestamp,
    error: Option<&'static str>,
}

impl Gcp {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self {
            clock: clock.clone(),
            spec: Spec::discovery("gcp-compute-v1.json", PREFIX),
            behaviour: Behaviour {
                list_lag: Duration::from_secs(2),
                insert: Duration::from_secs(12),
                boot: Duration::from_secs(20),
                leave: Duration::from_secs(30),
                failing: BTreeMap::new(),
                firewall_fails: None,
                unreachable: BTreeSet::new(),
                has_guest_attributes: true,
                policy: None,
                unsold: BTreeSet::new(),
                networks: BTreeSet::from([format!("projects/{PROJECT}/global/networks/default")]),
                subnetworks: BTreeMap::new(),
                disk_stays: false,
                page_max: 500,
                is_endless: false,
            },
            behind: Behind::default(),
            instances: BTreeMap::new(),
            disks: BTreeMap::new(),
            firewalls: BTreeMap::new(),
            operations: BTreeMap::new(),
            preempted: Vec::new(),
            requests: BTreeMap::new(),
            made: BTreeMap::new(),
        }
    }

    /// Makes an instance with its disk, and a rule, under that name.
    pub(crate) fn plant(&mut self, name: &str, labels: &Value) {
        let made = self.clock.now();
        let value = json!({
            "name": name, "zone": zone_url(ZONES[0]), "machineType": "zones/z/machineTypes/e2-micro", "labels": labels,
            "status": "RUNNING",
        });
        let key = (ZONES[0].to_owned(), name.to_owned());
        self.disks.insert(
            key.clone(),
            json!({"name": name, "zone": zone_url(ZONES[0]), "labels": labels, "status": "READY"}),
        );
        self.instances.insert(
            key,
            Thing {
                value,
                host_key: String::new(),
                made,
                gone: None,
            },
        );
        self.firewalls.insert(
            name.to_owned(),
            json!({"name": name, "description": "somebody's rule"}),
        );
    }

    /// Returns the instance of that name.
    pub(crate) fn instance(&self, name: &str) -> Option<Value> {
        self.instances
            .iter()
            .find(|((_, key), _)| key == name)
            .map(|(_, thing)| thing.value.clone())
    }

    /// The guest agents make host keys anew, and report them.
    pub(crate) fn renew_host_keys(&mut self) {
        for thing in self.instances.values_mut() {
            thing.host_key.push_str("Renewed");
        }
    }

    /// Takes all spot instances back.
    pub(crate) fn take_back(&mut self) {
        let gone = after(self.clock.now(), self.behaviour.leave);
        for thing in self.instances.values_mut() {
            if thing.value["scheduling"]["provisioningModel"] == "SPOT" {
                thing.gone.get_or_insert(gone);
                let name = text(&thing.value["name"], &Value::Null);
                let zone = text(&thing.value["zone"], &Value::Null);
                self.preempted.push(json!({
                    "name": format!("systemevent-{name}"), "kind": "compute#operation", "status": "DONE", "user": "system",
                    "operationType": "compute.instances.preempted", "statusMessage": "Instance was preempted.",
                    "targetLink": format!("{zone}/instances/{name}"), "insertTime": self.clock.now().to_string(), "zone": zone,
                }));
            }
        }
    }

    /// Returns the rule of that name.
    pub(crate) fn firewall(&self, name: &str) -> Option<Value> {
        self.firewalls.get(name).cloned()
    }

    /// Lets what has been decided happen.
    fn pass_time(&mut self) {
        let now = self.clock.now();
        let gone = self
            .instances
            .iter()
            .filter(|(_, thing)| thing.gone.is_some_and(|gone| gone <= now));
        let gone: Vec<_> = gone
            .map(|(key, thing)| (key.clone(), thing.value["disks"][0].clone()))
            .collect();
        for (key, disk) in gone {
            self.instances.remove(&key);
            if !self.behaviour.disk_stays && disk["autoDelete"] == true {
                let name = disk["initializeParams"]["diskName"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                self.disks.remove(&(key.0, name));
            }
        }
        for thing in self.instances.values_mut() {
            let status = match thing.gone {
                Some(_) => "STOPPING",
                None if between(thing.made, now) >= self.behaviour.insert => "RUNNING",
                None => "STAGING",
            };
            thing.value["status"] = json!(status);
        }
    }

    fn route(&mut self, call: &Call) -> Reply {
        let path = call.path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        if path.contains("/subnetworks/") {
            return match self.behaviour.subnetworks.get(path.trim_start_matches('/')) {
                Some(network) => {
                    let url = format!("https://www.googleapis.com{PREFIX}/{network}");
                    Reply::json(200, &json!({"kind": "compute#subnetwork", "network": url}))
                }
                None => failure(404, "notFound", "The resource 'subnetworks/…' was not found"),
            };
        }
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        let ["projects", PROJECT, rest @ ..] = parts.as_slice() else {
            return failure(404, "notFound", "The resource 'projects/…' was not found");
        };
        match (call.method.as_str(), rest) {
            ("GET", ["zones"]) => self.zones(call),
            ("GET", ["regions", region]) => region_reply(region),
            ("GET", ["zones", zone, "machineTypes", name]) => self.machine_type(zone, name),
            ("GET", ["aggregated", list @ ("instances" | "disks")]) => self.everywhere(list, call),
            ("POST", ["zones", zone, "instances"]) => self.insert(zone, call),
            ("POST", ["global", "firewalls"]) => self.insert_firewall(call),
            ("GET", ["global", "firewalls"]) => {
                let rows = self.firewalls.values().cloned().collect();
                page(call, rows, &self.behaviour)
            }
            (method, ["global", "firewalls", name]) => self.one_firewall(method, name, call),
            ("GET", ["zones", zone, "operations"]) => {
                let is_meant =
                    |row: &&Value| row["zone"] == zone_url(zone) && is_selected(row, call.query("filter"));
                let rows = self.preempted.iter().filter(is_meant).cloned().collect();
                page(call, rows, &self.behaviour)
            }
            ("GET", ["zones", _, "operations", name]) => self.operation(name),
            ("POST", ["global", "operations", name, "wait"]) => {
                // The real one holds its answer until the operation is over.
                if let Some(run) = self.operations.get_mut(*name) {
                    run.ends = self.clock.now();
                }
                self.operation(name)
            }
            (method, ["zones", zone, "instances", name, rest @ ..]) => {
                self.one_instance(method, zone, name, rest, call)
            }
            ("DELETE", ["zones", zone, "disks", name]) => self.delete_disk(zone, name),
            _ => failure(404, "notFound", "not found"),
        }
    }

    fn machine_type(&self, zone: &str, name: &str) -> Reply {
        match self.behaviour.unsold.contains(zone) {
            true => failure(404, "notFound", "The resource 'machineTypes/…' was not found"),
            false => machine_type(zone, name),
        }
    }

    fn zones(&self, call: &Call) -> Reply {
        let zone = |name: &&str| json!({"name": name, "status": "UP", "region": "r"});
        let mut rows: Vec<_> = ZONES.iter().map(zone).collect();
        rows.push(json!({"name": "us-central1-z", "status": "DOWN", "region": "r"}));
        page(call, rows, &self.behaviour)
    }

    fn everywhere(&self, list: &str, call: &Call) -> Reply {
        let now = self.clock.now();
        let is_shown = |thing: &&Thing| between(thing.made, now) >= self.behaviour.list_lag;
        let rows: Vec<_> = match list {
            "instances" => self
                .instances
                .values()
                .filter(is_shown)
                .map(|thing| thing.value.clone())
                .collect(),
            _ => self.disks.values().cloned().collect(),
        };
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|row| is_selected(row, call.query("filter")))
            .collect();
        let (shown, token) = cut(call, rows, &self.behaviour);
        let mut items = serde_json::Map::new();
        for zone in ZONES {
            let here: Vec<_> = shown
                .iter()
                .filter(|row| row["zone"] == zone_url(zone))
                .cloned()
                .collect();
            let found = match (self.behaviour.unreachable.contains(zone), here.is_empty()) {
                (true, _) => json!({"warning": {"code": "UNREACHABLE", "message": "zone did not answer"}}),
                (false, true) => json!({"warning": {"code": "NO_RESULTS_ON_PAGE", "message": "no results"}}),
                (false, false) => json!({ list: here }),
            };
            items.insert(format!("zones/{zone}"), found);
        }
        let mut body = json!({"kind": "compute#instanceAggregatedList", "items": items});
        if let Some(token) = token {
            body["nextPageToken"] = json!(token);
        }
        Reply::json(200, &body)
    }

    fn insert(&mut self, zone: &str, call: &Call) -> Reply {
        if let Some(known) = self.repeated(call) {
            return known;
        }
        let body = call.json();
        if let Some(policy) = self.behaviour.policy {
            return failure(412, "conditionNotMet", policy);
        }
        if let Some(refusal) = self.wrong_wiring(zone, &body["networkInterfaces"][0]) {
            return refusal;
        }
        let is_metal = body["machineType"]
            .as_str()
            .is_some_and(|name| name.ends_with("-metal"));
        let disk_type = body["disks"][0]["initializeParams"]["diskType"].as_str();
        if is_metal && disk_type.is_some_and(|kind| kind.contains("/pd-")) {
            return failure(
                400,
                "invalid",
                "[pd-balanced] features are not compatible for creating instance.",
            );
        }
        let key = (zone.to_owned(), text(&body["name"], &Value::Null));
        if self.instances.contains_key(&key) {
            return failure(409, "alreadyExists", "The resource already exists");
        }
        let error = self.behaviour.failing.get(zone).copied();
        let made = self.clock.now();
        if error.is_none() {
            let address = format!("198.51.100.{}", self.instances.len() + 1);
            let (user_data, host_key) = match &self.behind.0 {
                Some(_) => with_new_host_key(&user_data(&body)),
                None => (user_data(&body), "AAAAC3told".to_owned()),
            };
            let address = self.behind.make(&key.1, user_data.as_bytes(), address);
            let mut value = body.clone();
            value["zone"] = json!(zone_url(zone));
            value["status"] = json!("STAGING");
            value["labelFingerprint"] = json!("Zm9v");
            let interface = &mut value["networkInterfaces"][0];
            interface["networkIP"] = json!(format!("10.128.0.{}", self.instances.len() + 2));
            if let Some(access) = interface["accessConfigs"].get_mut(0) {
                access["natIP"] = json!(address);
            }
            let params = &body["disks"][0]["initializeParams"];
            let disk_key = (zone.to_owned(), text(&params["diskName"], &body["name"]));
            let disk = json!({"name": disk_key.1, "zone": zone_url(zone), "labels": params["labels"], "status": "READY"});
            self.disks.insert(disk_key, disk);
            *self.made.entry(key.1.clone()).or_default() += 1;
            self.instances.insert(
                key,
                Thing {
                    value,
                    host_key,
                    made,
                    gone: None,
                },
            );
        }
        self.start(
            "insert",
            call,
            after(made, self.behaviour.insert),
            error,
            Some(zone),
        )
    }

    /// Refuses what leads to a network or a subnet that is not there, or not together or in this region.
    fn wrong_wiring(&self, zone: &str, interface: &Value) -> Option<Reply> {
        let (network, subnetwork) = (&interface["network"], &interface["subnetwork"]);
        let network_of = subnetwork
            .as_str()
            .map(|path| self.behaviour.subnetworks.get(path));
        match (network.as_str(), network_of) {
            (_, Some(None)) => Some(failure(
                404,
                "notFound",
                "The referenced subnetwork resource cannot be found.",
            )),
            (Some(network), Some(Some(of))) if network != of => Some(failure(
                400,
                "invalid",
                "The subnetwork is not part of the network.",
            )),
            (_, Some(Some(_))) => {
                let region = zone.rsplit_once('-').map_or(zone, |(region, _)| region);
                let is_here = subnetwork
                    .as_str()
                    .is_some_and(|path| path.contains(&format!("/regions/{region}/")));
                (!is_here).then(|| {
                    failure(
                        400,
                        "invalid",
                        "Subnetwork must be in the same region as the instance.",
                    )
                })
            }
            (Some(network), None) if self.behaviour.networks.contains(network) => None,
            (_, None) => Some(failure(
                404,
                "notFound",
                "The referenced network resource cannot be found.",
            )),
        }
    }

    fn insert_firewall(&mut self, call: &Call) -> Reply {
        if let Some(known) = self.repeated(call) {
            return known;
        }
        let mut body = call.json();
        let network = text(&body["network"], &Value::Null);
        if !network.starts_with(&format!("projects/{PROJECT}/")) {
            return failure(
                400,
                "invalid",
                "Cross project referencing is not allowed for this resource.",
            );
        }
        if !self.behaviour.networks.contains(&network) {
            return failure(
                404,
                "notFound",
                &format!("The resource '{network}' was not found"),
            );
        }
        // An empty list lets everybody in.
        if body["sourceRanges"].as_array().is_some_and(Vec::is_empty) {
            body["sourceRanges"] = json!(["0.0.0.0/0"]);
        }
        let name = text(&body["name"], &Value::Null);
        if self.firewalls.contains_key(&name) {
            return failure(409, "alreadyExists", "The resource already exists");
        }
        let error = self.behaviour.firewall_fails;
        if error.is_none() {
            self.firewalls.insert(name, body);
        }
        let ends = after(self.clock.now(), Duration::from_secs(5));
        self.start("insert", call, ends, error, None)
    }

    /// A request whose id is known is answered with its operation.
    fn repeated(&self, call: &Call) -> Option<Reply> {
        let name = self.requests.get(call.query("requestId")?)?;
        Some(self.operation(name))
    }

    fn start(
        &mut self,
        kind: &str,
        call: &Call,
        ends: Timestamp,
        error: Option<&'static str>,
        zone: Option<&str>,
    ) -> Reply {
        let name = format!("operation-{}", self.operations.len() + 1);
        let mut value =
            json!({"name": name, "kind": "compute#operation", "operationType": kind, "status": "RUNNING"});
        if let Some(zone) = zone {
            value["zone"] = json!(zone_url(zone));
        }
        if let Some(id) = call.query("requestId") {
            self.requests.insert(id.to_owned(), name.clone());
        }
        self.operations.insert(
            name,
            Run {
                value: value.clone(),
                ends,
                error,
            },
        );
        Reply::json(200, &value)
    }

    fn operation(&self, name: &str) -> Reply {
        let Some(run) = self.operations.get(name) else {
            return failure(404, "notFound", "no such operation");
        };
        let mut value = run.value.clone();
        if run.ends <= self.clock.now() {
            value["status"] = json!("DONE");
            if let Some(code) = run.error {
                value["error"] =
                    json!({"errors": [{"code": code, "message": "the zone does not have enough resources"}]});
                value["httpErrorStatusCode"] = json!(503);
            }
        }
        Reply::json(200, &value)
    }

    fn one_firewall(&mut self, method: &str, name: &str, call: &Call) -> Reply {
        let Some(firewall) = self.firewalls.get_mut(name) else {
            return failure(404, "notFound", "no such rule");
        };
        match method {
            "GET" => Reply::json(200, firewall),
            "PATCH" => {
                firewall["description"] = call.json()["description"].clone();
                self.start("patch", call, self.clock.now(), None, None)
            }
            _ => {
                self.firewalls.remove(name);
                self.start("delete", call, self.clock.now(), None, None)
            }
        }
    }

    fn one_instance(&mut self, method: &str, zone: &str, name: &str, rest: &[&str], call: &Call) -> Reply {
        let now = self.clock.now();
        let booted = self.behaviour.insert + self.behaviour.boot;
        let Some(thing) = self.instances.get_mut(&(zone.to_owned(), name.to_owned())) else {
            return failure(404, "notFound", "no such instance");
        };
        let has_booted = between(thing.made, now) >= booted;
        match (method, rest) {
            ("GET", []) => Reply::json(200, &thing.value),
            ("GET", ["getGuestAttributes"]) if !self.behaviour.has_guest_attributes => {
                failure(403, "forbidden", "guest attributes are disabled by policy")
            }
            ("GET", ["getGuestAttributes"]) if !has_booted => failure(404, "notFound", "no guest attributes"),
            ("GET", ["getGuestAttributes"]) => {
                let item =
                    |key: &str, value: &str| json!({"namespace": "hostkeys", "key": key, "value": value});
                let items = json!([
                    item("ecdsa-sha2-nistp256", "AAAAE2"),
                    item("ssh-ed25519", &thing.host_key)
                ]);
                Reply::json(
                    200,
                    &json!({"queryPath": "hostkeys/", "queryValue": {"items": items}}),
                )
            }
            ("GET", ["serialPort"]) => {
                let keys = "-----BEGIN SSH HOST KEY KEYS-----\nssh-ed25519 AAAAC3printed root@box\n-----END SSH HOST KEY KEYS-----\n";
                let contents = format!("[    0.0] Linux\n{}", if has_booted { keys } else { "" });
                Reply::json(
                    200,
                    &json!({"contents": contents, "start": "0", "next": contents.len().to_string()}),
                )
            }
            ("POST", ["setLabels"]) => {
                if call.json()["labelFingerprint"] != thing.value["labelFingerprint"] {
                    return failure(
                        412,
                        "conditionNotMet",
                        "Labels fingerprint either invalid or resource labels have changed",
                    );
                }
                thing.value["labels"] = call.json()["labels"].clone();
                self.start("setLabels", call, now, None, Some(zone))
            }
            ("DELETE", []) => {
                let gone = after(now, self.behaviour.leave);
                self.behind.destroy(name);
                thing.gone = thing.gone.or(Some(gone));
                self.start("delete", call, gone, None, Some(zone))
            }
            _ => failure(404, "notFound", "not found"),
        }
    }

    fn delete_disk(&mut self, zone: &str, name: &str) -> Reply {
        let is_used = self.instances.iter().any(|((place, _), thing)| {
            place == zone && thing.value["disks"][0]["initializeParams"]["diskName"] == name
        });
        if is_used {
            return failure(400, "resourceInUseByAnotherResource", "the disk is being used");
        }
        match self.disks.remove(&(zone.to_owned(), name.to_owned())) {
            Some(_) => Reply::json(200, &json!({"name": "operation-disk", "status": "RUNNING"})),
            None => failure(404, "notFound", "no such disk"),
        }
    }
}

fn user_data(instance: &Value) -> String {
    let items = instance["metadata"]["items"].as_array();
    let mut items = items.into_iter().flatten();
    let found = items.find(|item| item["key"] == "user-data");
    found.map_or(String::new(), |item| text(&item["value"], &Value::Null))
}

/// Does what the guest agent does at the first boot: the host key that came with the user-data gives way to a new one.
/// Returns it as well, without its kind.
fn with_new_host_key(user_data: &str) -> (String, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("key");
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
    let status = command.arg(&file).status().expect("ssh-keygen is there");
    assert!(status.success(), "ssh-keygen: {status}");
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).expect("a key");
    let (private, public) = (read("key"), read("key.pub"));
    let replaced = |line: &str| match line.split_once(": ") {
        Some((name @ "  ed25519_private", _)) => format!("{name}: {}\n", json!(private)),
        Some((name @ "  ed25519_public", _)) => format!("{name}: {}\n", json!(public.trim())),
        _ => format!("{line}\n"),
    };
    let key = public.split_whitespace().nth(1).expect("a key").to_owned();
    (user_data.lines().map(replaced).collect(), key)
}

fn zone_url(zone: &str) -> String {
    format!("https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}")
}

fn text(value: &Value, otherwise: &Value) -> String {
    value
        .as_str()
        .or(otherwise.as_str())
        .unwrap_or_default()
        .to_owned()
}

/// Understands `key=value` and `(key=value) (key=value)`.
fn is_selected(row: &Value, filter: Option<&str>) -> bool {
    filter.unwrap_or_default().split_whitespace().all(|term| {
        let (key, value) = term
            .trim_matches(['(', ')'])
            .split_once('=')
            .expect("only terms like k=v are understood");
        match key.strip_prefix("labels.") {
            Some(label) => row["labels"][label] == value,
            None => row[key] == value,
        }
    })
}

fn cut(call: &Call, rows: Vec<Value>, behaviour: &Behaviour) -> (Vec<Value>, Option<String>) {
    let number = |key: &str, default: usize| {
        call.query(key)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (start, size) = (
        number("pageToken", 0),
        number("maxResults", 500).min(behaviour.page_max),
    );
    let token = (start + size < rows.len() || behaviour.is_endless).then(|| (start + size).to_string());
    (rows.into_iter().skip(start).take(size).collect(), token)
}

fn page(call: &Call, rows: Vec<Value>, behaviour: &Behaviour) -> Reply {
    let (shown, token) = cut(call, rows, behaviour);
    // An empty list has no `items` at all.
    let mut body = if shown.is_empty() {
        json!({"kind": "list"})
    } else {
        json!({"kind": "list", "items": shown})
    };
    if let Some(token) = token {
        body["nextPageToken"] = json!(token);
    }
    Reply::json(200, &body)
}

fn region_reply(region: &str) -> Reply {
    let is_of = |zone: &&&str| zone.starts_with(region);
    let zones: Vec<_> = ZONES.iter().filter(is_of).map(|zone| zone_url(zone)).collect();
    let quota =
        |metric: &str, limit: f64, usage: f64| json!({"metric": metric, "limit": limit, "usage": usage});
    Reply::json(
        200,
        &json!({"name": region, "zones": zones, "quotas": [quota("CPUS", 72.0, 0.0), quota("N2_CPUS", 8.0, 6.0)]}),
    )
}

fn machine_type(zone: &str, name: &str) -> Reply {
    match name {
        "n2-standard-4" | "n1-standard-4" | "c3-standard-192-metal" => {
            Reply::json(200, &json!({"name": name, "guestCpus": 4, "zone": zone}))
        }
        _ => failure(
            404,
            "notFound",
            &format!("The resource 'machineTypes/{name}' was not found"),
        ),
    }
}

fn failure(status: u16, reason: &str, message: &str) -> Reply {
    let error = json!({"domain": "global", "reason": reason, "message": message});
    Reply::json(
        status,
        &json!({"error": {"code": status, "message": message, "errors": [error]}}),
    )
}

impl Api for Gcp {
    fn names(&mut self) -> Vec<String> {
        self.pass_time();
        let instances = self.instances.keys().map(|(_, name)| format!("instances/{name}"));
        let disks = self
            .disks
            .values()
            .map(|disk| format!("disks/{}", text(&disk["labels"]["mvm-label"], &disk["name"])));
        let firewalls = self.firewalls.keys().map(|name| format!("firewalls/{name}"));
        instances.chain(disks).chain(firewalls).collect()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        self.pass_time();
        match call.header("authorization") == Some(&format!("Bearer {TOKEN}")) {
            true => self.route(call),
            false => failure(401, "authError", "Invalid Credentials"),
        }
    }

    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        // The shared extract of the description leaves subnets and lists of operations out.
        let spec = self
            .spec
            .as_ref()
            .filter(|_| !call.path.contains("/subnetworks/") && !call.path.ends_with("/operations"));
        spec.map(|spec| spec.mistakes(call, reply)).unwrap_or_default()
    }
}
