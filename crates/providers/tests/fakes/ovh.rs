//! A stand-in for OVHcloud's Public Cloud that remembers. Its delays, lags, limits and errors are those of the adapter's
//! README and of the vendor's description. Every signature is checked, for the time that it names.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::{
    time::{Timestamp, after, between},
    world::Clock,
};
use serde_json::{Map, Value, json};
use sha1::{Digest, Sha1};

use super::{
    clock::TestClock,
    server::{Api, Behind, Call, Reply},
    spec::Spec,
};

/// The keys that are accepted.
pub(crate) const KEYS: [&str; 3] = [
    "appkey0123456789",
    "appsecret0123456789abcdef",
    "consumer0123456789abcdef",
];

/// The project that there is.
pub(crate) const PROJECT: &str = "0123456789abcdef0123456789abcdef";

const PREFIX: &str = "/1.0";

/// How far this machine's clock is behind the API's.
const AHEAD: i64 = 3 * 3600;

/// How far a signature's time may be off.
const OFF_MAX: i64 = 30;

/// Regions, and what they sell: VMs everywhere, bare metal in one.
const REGIONS: [(&str, &[&str]); 3] = [
    ("GRA11", &["b3-8", "b3-16", "d2-2"]),
    ("SBG5", &["b3-8", "b3-16"]),
    ("GRA9", &["bm-s1"]),
];

/// What may be set by a test.
pub(crate) struct Behaviour {
    /// How long a new instance is missing from the list.
    pub(crate) list_lag: Duration,
    /// How long an instance takes to run.
    pub(crate) boot: Duration,
    /// How long an instance takes to go.
    pub(crate) leave: Duration,
    /// Types and regions that are sold out.
    pub(crate) sold_out: BTreeSet<(String, String)>,
    /// How many more instances the quota allows.
    pub(crate) quota: i64,
    /// The stock ends between the look and the create.
    pub(crate) runs_out: bool,
    /// The build ends in ERROR.
    pub(crate) fails_later: bool,
    /// Whatever was asked for, a month is billed.
    pub(crate) is_monthly: bool,
    /// From the so-manyth request on the consumer key has expired.
    pub(crate) expires_after: Option<usize>,
    /// How many requests are answered before the next is too many, once.
    pub(crate) limit_at: Option<usize>,
}

/// The cloud.
pub(crate) struct Ovh {
    clock: TestClock,
    spec: Option<Arc<Spec>>,
    pub(crate) behaviour: Behaviour,
    /// What stands behind the instances.
    pub(crate) behind: Behind,
    next_id: u64,
    instances: Vec<Thing>,
    keys: Vec<Thing>,
    asked: usize,
    /// The user-data of the last create.
    pub(crate) user_data: String,
}

struct Thing {
    value: Value,
    /// Where an instance can be reached once it runs.
    address: String,
    made: Timestamp,
    gone: Option<Timestamp>,
}

impl Ovh {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self {
            clock: clock.clone(),
            spec: Spec::written("ovh.json", PREFIX, from_ovh),
            behaviour: Behaviour {
                list_lag: Duration::from_secs(5),
                boot: Duration::from_secs(60),
                leave: Duration::from_secs(15),
                sold_out: BTreeSet::new(),
                quota: 20,
                runs_out: false,
                fails_later: false,
                is_monthly: false,
                expires_after: None,
                limit_at: None,
            },
            behind: Behind::default(),
            next_id: 100,
            instances: Vec::new(),
            keys: Vec::new(),
            asked: 0,
            user_data: String::new(),
        }
    }

    /// Makes an instance and a key under that name, which has been there for a minute.
    pub(crate) fn plant(&mut self, name: &str) {
        let body = json!({
            "name": name, "region": "GRA11", "flavorId": flavor_id("b3-8", "GRA11"), "imageId": "x", "sshKeyId": "y",
        });
        let past = Timestamp::from_second(self.clock.now().as_second() - 60).expect("a moment");
        self.insert_instance(&body, past);
        self.insert_key(
            &json!({"name": name, "publicKey": format!("ssh-ed25519 {name}"), "region": "GRA11"}),
        );
    }

    fn pass_time(&mut self) {
        let now = self.clock.now();
        let behaviour = &self.behaviour;
        self.instances.retain(|it| it.gone.is_none_or(|gone| gone > now));
        for it in &mut self.instances {
            let has_booted = between(it.made, now) >= behaviour.boot;
            let status = match it.gone {
                Some(_) => "DELETING",
                None if has_booted && behaviour.fails_later => "ERROR",
                None if has_booted => "ACTIVE",
                None => "BUILD",
            };
            it.value["status"] = json!(status);
            if has_booted && !behaviour.fails_later {
                it.value["ipAddresses"] = json!([
                    {"ip": "10.0.0.5", "type": "private", "version": 4, "networkId": "n1", "gatewayIp": null},
                    {"ip": "2001:db8::1", "type": "public", "version": 6, "networkId": "n2", "gatewayIp": null},
                    {"ip": it.address, "type": "public", "version": 4, "networkId": "n2", "gatewayIp": null},
                ]);
            }
        }
    }

    fn route(&mut self, call: &Call) -> Reply {
        let path = call.path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["auth", "time"]) => Reply::json(200, &json!(unix() + AHEAD)),
            ("GET", ["auth", "currentCredential"]) => Reply::json(
                200,
                &json!({"credentialId": 1, "applicationId": 2, "status": "validated", "ovhSupport": false,
                    "creation": "2026-01-01T00:00:00+00:00", "expiration": "2027-01-01T00:00:00+00:00",
                    "lastUse": null, "allowedIPs": null, "rules": []}),
            ),
            (_, ["cloud", "project", project, ..]) if *project != PROJECT => {
                failure(404, "Client::NotFound", "This service does not exist")
            }
            ("GET", ["cloud", "project", _]) => Reply::json(
                200,
                &json!({"project_id": PROJECT, "description": "ci", "status": "ok", "planCode": "project.2018",
                    "access": "full", "creationDate": "2026-01-01T00:00:00+00:00", "manualQuota": false, "unleash": false}),
            ),
            (method, ["cloud", "project", _, rest @ ..]) => self.in_project(method, rest, call),
            _ => not_found(),
        }
    }

    fn in_project(&mut self, method: &str, rest: &[&str], call: &Call) -> Reply {
        match (method, rest) {
            ("GET", ["flavor"]) => self.flavors(call.query("region")),
            ("GET", ["image"]) => images(call),
            ("GET", ["instance"]) => {
                let now = self.clock.now();
                let lag = self.behaviour.list_lag;
                let listed = self.instances.iter().filter(|it| between(it.made, now) >= lag);
                // The list has no flavor.
                let rows: Vec<_> = listed.map(|it| without_flavor(&it.value)).collect();
                Reply::json(200, &json!(rows))
            }
            ("POST", ["instance"]) => self.create(&call.json()),
            ("GET", ["sshkey"]) => {
                let rows: Vec<_> = self.keys.iter().map(|it| it.value.clone()).collect();
                Reply::json(200, &json!(rows))
            }
            ("POST", ["sshkey"]) => {
                let mut made = self.insert_key(&call.json());
                made["fingerPrint"] = json!("aa:bb");
                Reply::json(200, &made)
            }
            (method, ["instance", id]) => self.instance(method, id, call),
            ("DELETE", ["sshkey", id]) => {
                let before = self.keys.len();
                self.keys.retain(|it| it.value["id"] != *id);
                if self.keys.len() == before {
                    not_found()
                } else {
                    void()
                }
            }
            _ => not_found(),
        }
    }

    fn instance(&mut self, method: &str, id: &str, call: &Call) -> Reply {
        let gone = after(self.clock.now(), self.behaviour.leave);
        let Some(found) = self.instances.iter_mut().find(|it| it.value["id"] == id) else {
            return failure(
                404,
                "Client::NotFound::NoMatchingCompute",
                "Instance does not exist",
            );
        };
        match method {
            "GET" => Reply::json(200, &found.value),
            "PUT" => {
                found.value["name"] = call.json()["instanceName"].clone();
                void()
            }
            "DELETE" => {
                self.behind.destroy(id);
                found.gone.get_or_insert(gone);
                void()
            }
            _ => not_found(),
        }
    }

    fn create(&mut self, body: &Value) -> Reply {
        let flavor = body["flavorId"].as_str().unwrap_or_default();
        if self.behaviour.runs_out {
            return failure(400, "Client::BadRequest", "no offers available for this flavor");
        }
        if self.behaviour.quota <= 0 {
            return failure(413, "Client::RequestEntityTooLarge", "Quota exceeded for cores");
        }
        let image = body["imageId"].as_str().unwrap_or_default();
        let is_metal = flavor.starts_with("bm-");
        if is_metal != image.starts_with("Baremetal") {
            return failure(
                400,
                "Client::BadRequest",
                "Image cannot be used with the chosen flavor",
            );
        }
        self.user_data = body["userData"].as_str().unwrap_or_default().to_owned();
        let made = self.insert_instance(body, self.clock.now());
        Reply::json(200, &made)
    }

    fn insert_instance(&mut self, body: &Value, made: Timestamp) -> Value {
        self.next_id += 1;
        let (name, region) = (&body["name"], body["region"].as_str().unwrap_or_default());
        let flavor = body["flavorId"].as_str().unwrap_or_default();
        let flavor = flavor.split('@').next().unwrap_or_default();
        let is_monthly = self.behaviour.is_monthly || body["monthlyBilling"] == true;
        let plan = if is_monthly {
            "monthly.postpaid"
        } else {
            "consumption"
        };
        let id = format!("i-{}", self.next_id);
        let user_data = body["userData"].as_str().unwrap_or_default();
        let address = "203.0.113.20".to_owned();
        let address = self.behind.make(&id, user_data.as_bytes(), address);
        let value = json!({
            "id": id, "name": name, "region": region, "status": "BUILD", "ipAddresses": [],
            "flavorId": body["flavorId"], "imageId": body["imageId"], "sshKeyId": body["sshKeyId"], "image": null,
            "sshKey": null, "flavor": self.row(flavor, region), "created": made.to_string(), "operationIds": [],
            "planCode": format!("{flavor}.{plan}"), "currentMonthOutgoingTraffic": null, "rescuePassword": null,
            "availabilityZone": null,
            "monthlyBilling": if is_monthly { json!({"since": made.to_string(), "status": "ok"}) } else { Value::Null },
        });
        self.instances.push(Thing {
            value: value.clone(),
            address,
            made,
            gone: None,
        });
        value
    }

    fn insert_key(&mut self, body: &Value) -> Value {
        let name = body["name"].as_str().unwrap_or_default();
        let region = body["region"].as_str();
        let regions = region.map_or(REGIONS.iter().map(|(name, _)| *name).collect(), |name| vec![name]);
        let value = json!({
            "id": hex::encode(name), "name": name, "publicKey": body["publicKey"], "regions": regions,
        });
        // The id is made of the name, so that a second key of that name takes the place of the first.
        self.keys.retain(|it| it.value["id"] != value["id"]);
        self.keys.push(Thing {
            value: value.clone(),
            address: String::new(),
            made: self.clock.now(),
            gone: None,
        });
        value
    }

    fn flavors(&self, region: Option<&str>) -> Reply {
        let rows: Vec<Value> = REGIONS
            .iter()
            .filter(|(name, _)| region.is_none_or(|region| region == *name))
            .flat_map(|(name, types)| types.iter().map(|flavor| self.row(flavor, name)))
            .collect();
        match (rows.is_empty(), region) {
            (true, Some(_)) => failure(404, "Client::NotFound", "Region not found"),
            _ => Reply::json(200, &json!(rows)),
        }
    }

    fn row(&self, flavor: &str, region: &str) -> Value {
        let is_metal = flavor.starts_with("bm-");
        let is_out = self
            .behaviour
            .sold_out
            .contains(&(flavor.to_owned(), region.to_owned()));
        json!({
            "id": flavor_id(flavor, region), "name": flavor, "region": region, "available": !is_out,
            "osType": if is_metal { "baremetal-linux" } else { "linux" },
            "type": if is_metal { "baremetal.large" } else { "ovh.ssd.eg" },
            "quota": self.behaviour.quota, "ram": 16, "vcpus": 4, "disk": 100, "capabilities": [],
            "inboundBandwidth": 500, "outboundBandwidth": 500,
            "planCodes": {"hourly": format!("{flavor}.consumption"), "monthly": null, "license": null},
        })
    }

    /// Says what is wrong with how a call proves who asks.
    fn refusal(&self, call: &Call) -> Option<Reply> {
        if call.path.ends_with("/auth/time") {
            return None;
        }
        if self
            .behaviour
            .expires_after
            .is_some_and(|after| self.asked > after)
        {
            return Some(coded(403, "INVALID_CREDENTIAL", "This credential is not valid"));
        }
        let header = |name: &str| call.header(name).unwrap_or_default();
        if header("x-ovh-application") != KEYS[0] {
            return Some(coded(403, "INVALID_KEY", "This application key is invalid"));
        }
        if header("x-ovh-consumer") != KEYS[2] {
            return Some(coded(403, "NOT_CREDENTIAL", "This credential does not exist"));
        }
        let reported: i64 = header("x-ovh-timestamp").parse().unwrap_or_default();
        let is_off = (reported - unix() - AHEAD).abs() > OFF_MAX;
        if is_off || header("x-ovh-signature") != signature(call, header("x-ovh-timestamp")) {
            return Some(coded(400, "INVALID_SIGNATURE", "Invalid signature"));
        }
        None
    }
}

/// Returns the signature that a call must have.
fn signature(call: &Call, timestamp: &str) -> String {
    let host = call.header("host").unwrap_or_default();
    let mut url = reqwest::Url::parse(&format!("http://{host}{}", call.path)).expect("a URL");
    if !call.query.is_empty() {
        url.query_pairs_mut().extend_pairs(&call.query);
    }
    let body = String::from_utf8_lossy(&call.body);
    let text = format!("{}+{}+{}+{url}+{body}+{timestamp}", KEYS[1], KEYS[2], call.method);
    format!("$1${}", hex::encode(Sha1::digest(text)))
}

fn unix() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("a moment")
}

fn flavor_id(flavor: &str, region: &str) -> String {
    format!("{flavor}@{region}")
}

fn images(call: &Call) -> Reply {
    let is_metal = call.query("osType") == Some("baremetal-linux");
    let row = |name: &str| {
        json!({
            "id": name, "name": name, "region": call.query("region"), "status": "active", "user": "ubuntu", "size": 2.5,
            "type": "linux", "visibility": "public", "minDisk": 0, "minRam": 0, "flavorType": null, "planCode": null,
            "creationDate": "2026-01-01T00:00:00Z", "tags": [],
        })
    };
    let rows = match is_metal {
        true => vec![row("Baremetal - Debian 12"), row("Baremetal - Ubuntu 24.04")],
        false => vec![row("Ubuntu 24.04 - UEFI"), row("Debian 12"), row("Ubuntu 24.04")],
    };
    Reply::json(200, &json!(rows))
}

fn without_flavor(instance: &Value) -> Value {
    let mut row = instance.clone();
    row["flavor"] = Value::Null;
    row
}

/// What a call is answered with that has nothing to say.
fn void() -> Reply {
    Reply::json(200, &Value::Null)
}

fn failure(status: u16, class: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"class": class, "message": message}))
}

fn coded(status: u16, code: &str, message: &str) -> Reply {
    let body = json!({"errorCode": code, "httpCode": format!("{status}"), "message": message});
    Reply::json(status, &body)
}

fn not_found() -> Reply {
    failure(404, "Client::NotFound", "Got an invalid (or empty) URL")
}

impl Api for Ovh {
    fn names(&mut self) -> Vec<String> {
        self.pass_time();
        let name = |list: &'static str| {
            move |thing: &Thing| format!("{list}/{}", thing.value["name"].as_str().unwrap_or_default())
        };
        let instances = self.instances.iter().map(name("instance"));
        instances.chain(self.keys.iter().map(name("sshkey"))).collect()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        self.pass_time();
        self.asked += 1;
        if self.behaviour.limit_at == Some(self.asked) {
            return failure(429, "Client::TooManyRequests", "Too many requests");
        }
        if call.path.ends_with("/order/catalog/public/cloud") {
            return catalogue(call);
        }
        let mut reply = self.refusal(call).unwrap_or_else(|| self.route(call));
        reply
            .headers
            .push(("x-ovh-queryid", "EU.ext-1.5a1f2e".to_owned()));
        reply
    }

    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        // The shared extract of the description leaves it out.
        let is_left_out = call.path.ends_with("/order/catalog/public/cloud");
        self.spec
            .as_ref()
            .filter(|_| !is_left_out)
            .map(|spec| spec.mistakes(call, reply))
            .unwrap_or_default()
    }
}

/// Prices, as anybody may read them: more than one for each flavor.
fn catalogue(call: &Call) -> Reply {
    assert_eq!(call.query("ovhSubsidiary"), Some("FR"));
    assert_eq!(call.header("x-ovh-application"), None, "it is public");
    let pricing = |unit: &str, price: u64| json!({"intervalUnit": unit, "interval": 1, "price": price, "capacities": ["consumption"]});
    Reply::json(
        200,
        &json!({"catalogId": 1, "locale": {"currencyCode": "EUR", "subsidiary": "FR", "taxRate": 20}, "plans": [], "addons": [
            {"planCode": "b3-16.monthly.postpaid", "pricings": [pricing("month", 7_000_000_000)]},
            {"planCode": "b3-16.consumption", "pricings": [pricing("none", 0), pricing("hour", 21_330_000)]},
        ]}),
    )
}

/// Writes a document of OVHcloud's form as OpenAPI.
fn from_ovh(document: &Value) -> Value {
    let models = document["models"].as_object().expect("models");
    let mut paths = Map::new();
    for api in document["apis"].as_array().expect("apis") {
        let mut methods = Map::new();
        for operation in api["operations"].as_array().expect("operations") {
            let method = operation["httpMethod"].as_str().expect("a method").to_lowercase();
            methods.insert(method, operation_of(operation, models));
        }
        paths.insert(
            api["path"].as_str().expect("a path").to_owned(),
            Value::Object(methods),
        );
    }
    let schemas: Map<_, _> = models
        .iter()
        .map(|(name, model)| (name.clone(), model_of(model, models)))
        .collect();
    json!({"paths": paths, "components": {"schemas": schemas}})
}

fn operation_of(operation: &Value, models: &Map<String, Value>) -> Value {
    let parameters = operation["parameters"].as_array().expect("parameters");
    let of_query = |parameter: &&Value| parameter["paramType"] == "query";
    let query: Vec<_> = parameters
        .iter()
        .filter(of_query)
        .map(|parameter| {
            let schema = type_of(parameter["dataType"].as_str().expect("a type"), models);
            json!({"name": parameter["name"], "in": "query", "required": parameter["required"], "schema": schema})
        })
        .collect();
    let answer = type_of(operation["responseType"].as_str().expect("a type"), models);
    let answer = json!({"content": {"application/json": {"schema": answer}}});
    let mut written = json!({"parameters": query, "responses": {"200": answer, "4xx": {}, "5xx": {}}});
    let body = parameters
        .iter()
        .find(|parameter| parameter["paramType"] == "body");
    if let Some(body) = body {
        let schema = type_of(body["dataType"].as_str().expect("a type"), models);
        written["requestBody"] =
            json!({"required": true, "content": {"application/json": {"schema": schema}}});
    }
    written
}

fn model_of(model: &Value, models: &Map<String, Value>) -> Value {
    if model["enum"].is_array() {
        return json!({"enum": model["enum"]});
    }
    let Some(properties) = model["properties"].as_object() else {
        return json!({});
    };
    let mut required = Vec::new();
    let mut written = Map::new();
    for (name, property) in properties {
        let mut schema = type_of(property["type"].as_str().expect("a type"), models);
        if property["canBeNull"] == true {
            schema = json!({"anyOf": [schema, {"type": "null"}]});
        }
        if property["required"] == true {
            required.push(name.clone());
        }
        written.insert(name.clone(), schema);
    }
    let mut schema = json!({"type": "object", "properties": written});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn type_of(name: &str, models: &Map<String, Value>) -> Value {
    if let Some(item) = name.strip_suffix("[]") {
        return json!({"type": "array", "items": type_of(item, models)});
    }
    match name {
        "string" | "text" | "password" | "datetime" | "ip" | "uuid" => json!({"type": "string"}),
        "long" => json!({"type": "integer"}),
        "double" => json!({"type": "number"}),
        "boolean" => json!({"type": "boolean"}),
        "void" => json!({"type": "null"}),
        _ if models.contains_key(name) => json!({"$ref": format!("#/components/schemas/{name}")}),
        _ => json!({}),
    }
}
