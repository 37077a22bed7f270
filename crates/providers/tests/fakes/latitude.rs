//! A stand-in for Latitude.sh that remembers. Its delays, lags, limits and errors are those of the adapter's README and
//! of the vendor's description.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use model::{
    time::{Timestamp, after, between},
    world::Clock,
};
use serde_json::{Map, Value, json};

use super::{
    clock::TestClock,
    server::{Api, Behind, Call, Reply, decoded},
    spec::Spec,
};

/// The key that is accepted.
pub(crate) const TOKEN: &str = "ak_0123456789abcdef0123456789abcdef";

const MINUTE: Duration = Duration::from_secs(60);

/// What may be set by a test.
pub(crate) struct Behaviour {
    /// How long a new server is missing from lists.
    pub(crate) list_lag: Duration,
    /// How long a server takes to run.
    pub(crate) boot: Duration,
    /// How long a server takes to go.
    pub(crate) leave: Duration,
    /// Whether the server says `on` at first, before it is installed.
    pub(crate) boasts: bool,
    /// Whether a delete during the installation is forgotten, once.
    pub(crate) forgets_delete: bool,
    /// Whether servers are locked: the API takes an order to delete one, and ignores it.
    pub(crate) is_locked: bool,
    /// The installation fails.
    pub(crate) fails_later: bool,
    /// Plans and sites that are in stock.
    pub(crate) stock: BTreeSet<(&'static str, &'static str)>,
    /// Plans and sites whose stock ends between the look and the create.
    pub(crate) runs_out: BTreeSet<(String, String)>,
    /// How servers are billed, whatever was asked for.
    pub(crate) billing: Option<&'static str>,
    /// How many servers the team may have.
    pub(crate) servers_max: usize,
    /// The projects: id, slug and kind.
    pub(crate) projects: Vec<(&'static str, &'static str, &'static str)>,
    /// The key has expired.
    pub(crate) has_expired: bool,
    /// How many requests that read, and that write, a minute allows.
    pub(crate) limits: (usize, usize),
    /// Whether lists say how long they are. Where they do not, a page past the end repeats the last one.
    pub(crate) tells_totals: bool,
    /// Longest page, whatever is asked for.
    pub(crate) page_max: usize,
}

/// The cloud.
pub(crate) struct Latitude {
    clock: TestClock,
    spec: Option<Arc<Spec>>,
    pub(crate) behaviour: Behaviour,
    /// What stands behind the servers.
    pub(crate) behind: Behind,
    next_id: u64,
    lists: BTreeMap<&'static str, Vec<Thing>>,
    reads: Vec<Timestamp>,
    writes: Vec<Timestamp>,
    /// What the last server was asked for with.
    pub(crate) asked: Value,
}

struct Thing {
    value: Value,
    made: Timestamp,
    gone: Option<Timestamp>,
}

impl Latitude {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self {
            clock: clock.clone(),
            spec: Spec::written("latitude.json", "", opened),
            behaviour: Behaviour {
                list_lag: Duration::from_secs(8),
                boot: Duration::from_secs(90),
                leave: Duration::from_secs(40),
                boasts: false,
                forgets_delete: false,
                is_locked: false,
                fails_later: false,
                stock: [
                    ("c2-small-x86", "NYC"),
                    ("c2-small-x86", "DAL"),
                    ("m4-metal-small", "CHI"),
                ]
                .into(),
                runs_out: BTreeSet::new(),
                billing: None,
                servers_max: 10,
                projects: vec![("proj_ci", "ci", "on_demand")],
                has_expired: false,
                limits: (60, 20),
                tells_totals: true,
                page_max: 100,
            },
            behind: Behind::default(),
            next_id: 100,
            lists: [
                ("servers", Vec::new()),
                ("user_data", Vec::new()),
                ("ssh_keys", Vec::new()),
            ]
            .into(),
            reads: Vec::new(),
            writes: Vec::new(),
            asked: Value::Null,
        }
    }

    /// Makes a server, user-data and a key: of that host name, and with that description.
    pub(crate) fn plant(&mut self, hostname: &str, description: &str) {
        let server =
            json!({"hostname": hostname, "plan": "c2-small-x86", "site": "NYC", "billing": "hourly"});
        let past = Timestamp::from_second(self.clock.now().as_second() - 3600).expect("a moment");
        self.insert_server(&server, past, b"");
        let content = json!({"description": description, "content": "eA=="});
        self.insert("user_data", &content);
        self.insert(
            "ssh_keys",
            &json!({"name": description, "public_key": format!("ssh-ed25519 {description}")}),
        );
    }

    fn pass_time(&mut self) {
        let now = self.clock.now();
        let behaviour = &self.behaviour;
        let servers = self.lists.get_mut("servers").expect("a list");
        servers.retain(|it| it.gone.is_none_or(|gone| gone > now));
        for it in servers {
            let age = between(it.made, now);
            let status = match () {
                () if age >= behaviour.boot && behaviour.fails_later => "failed_deployment",
                () if age >= behaviour.boot => "on",
                () if behaviour.boasts && age < behaviour.boot / 4 => "on",
                () if age < behaviour.boot / 2 => "starting_deploy",
                () => "deploying",
            };
            it.value["attributes"]["status"] = json!(status);
            it.value["attributes"]["locked"] = json!(behaviour.is_locked);
        }
    }

    /// Returns whether a minute allows another request of that kind.
    fn count(&mut self, is_read: bool) -> bool {
        let now = self.clock.now();
        let (reads, writes) = self.behaviour.limits;
        let (seen, most) = match is_read {
            true => (&mut self.reads, reads),
            false => (&mut self.writes, writes),
        };
        seen.retain(|at| between(*at, now) < MINUTE);
        if seen.len() >= most {
            return false;
        }
        seen.push(now);
        true
    }

    fn route(&mut self, call: &Call) -> Reply {
        let path = call.path.clone();
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (call.method.as_str(), parts.as_slice()) {
            ("GET", ["user", "profile"]) => {
                let user =
                    json!({"id": "user_1", "attributes": {"first_name": "E", "email": "eve@example.com"}});
                Reply::json(200, &json!({"data": user}))
            }
            ("GET", ["projects"]) => {
                let row = |(id, slug, kind): &(&str, &str, &str)| {
                    json!({"id": id, "type": "projects",
                        "attributes": {"name": slug.to_uppercase(), "slug": slug, "provisioning_type": kind}})
                };
                let rows = self.behaviour.projects.iter().map(row).collect();
                self.page(call, rows)
            }
            ("GET", ["plans"]) => self.plans(call),
            ("GET", ["plans", "operating_systems"]) => {
                let row = |slug: &str| {
                    json!({"id": slug, "type": "operating_system", "attributes": {"slug": slug, "name": slug,
                        "user": "ubuntu", "features": {"ssh_keys": true, "user_data": true, "raid": true},
                        "provisionable_on": ["c2.small.x86", "m4.metal.small"]}})
                };
                let rows = ["ubuntu_24_04_x64_lts", "debian_12"].map(row).to_vec();
                self.page(call, rows)
            }
            ("POST", ["servers"]) => self.create(call),
            ("POST", ["user_data"]) if !is_yaml_hash(&call.json()["data"]["attributes"]["content"]) => {
                failure(422, Value::Null, "content must be a YAML hash")
            }
            ("POST", [list @ ("user_data" | "ssh_keys")]) => {
                let made = self.insert(list, &call.json()["data"]["attributes"]);
                Reply::json(201, &json!({ "data": made }))
            }
            ("GET", [list]) if self.lists.contains_key(list) => self.list(list, call),
            (method, [list, id]) if self.lists.contains_key(list) => self.one(method, list, id, call),
            _ => not_found(),
        }
    }

    fn list(&self, list: &str, call: &Call) -> Reply {
        let now = self.clock.now();
        let lag = match list {
            "servers" => self.behaviour.list_lag,
            _ => Duration::ZERO,
        };
        let listed = self.lists[list].iter().filter(|it| between(it.made, now) >= lag);
        let rows = listed.map(|it| it.value.clone()).collect();
        self.page(call, rows)
    }

    fn one(&mut self, method: &str, list: &str, id: &str, call: &Call) -> Reply {
        let now = self.clock.now();
        let things = self.lists.get_mut(list).expect("a list");
        let Some(at) = things.iter().position(|it| it.value["id"] == id) else {
            return not_found();
        };
        let thing = &mut things[at];
        match (method, list) {
            ("GET", _) => Reply::json(200, &json!({"data": thing.value})),
            ("PATCH", "user_data") => {
                let description = &call.json()["data"]["attributes"]["description"];
                thing.value["attributes"]["description"] = description.clone();
                Reply::json(200, &json!({"data": thing.value}))
            }
            ("DELETE", "servers") => {
                let is_forgotten =
                    self.behaviour.forgets_delete && thing.value["attributes"]["status"] != "on";
                if is_forgotten {
                    self.behaviour.forgets_delete = false;
                } else if !self.behaviour.is_locked {
                    self.behind.destroy(id);
                    thing.gone.get_or_insert(after(now, self.behaviour.leave));
                }
                Reply::empty(204)
            }
            ("DELETE", "ssh_keys") => {
                things.remove(at);
                Reply::json(200, &json!({"meta": {}}))
            }
            ("DELETE", _) => {
                things.remove(at);
                Reply::empty(204)
            }
            _ => not_found(),
        }
    }

    fn create(&mut self, call: &Call) -> Reply {
        let body = call.json()["data"]["attributes"].clone();
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let has = |list: &str, id: &Value| self.lists[list].iter().any(|it| it.value["id"] == *id);
        let hostname = text("hostname");
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if hostname.is_empty() || hostname.len() > 32 || !hostname.bytes().all(is_name) {
            return failure(422, Value::Null, "hostname is invalid");
        }
        let user_data = self.user_data(&body["user_data"]);
        let Some(user_data) = user_data.filter(|_| has("ssh_keys", &body["ssh_keys"][0])) else {
            return failure(422, Value::Null, "user data or SSH key does not exist");
        };
        if self.lists["servers"].len() >= self.behaviour.servers_max {
            return failure(
                422,
                Value::Null,
                "You have reached the limit of servers for your team",
            );
        }
        let place = (text("plan"), text("site"));
        let is_there = self
            .behaviour
            .stock
            .iter()
            .any(|(plan, site)| (*plan, *site) == (place.0.as_str(), place.1.as_str()));
        if !is_there || self.behaviour.runs_out.contains(&place) {
            return failure(
                422,
                json!("SERVERS_OUT_OF_STOCK"),
                "There are no servers available",
            );
        }
        self.asked = body.clone();
        let made = self.insert_server(&body, self.clock.now(), &user_data);
        Reply::json(201, &json!({ "data": made }))
    }

    fn id(&mut self, prefix: &str) -> String {
        self.next_id += 1;
        format!("{prefix}_{}", self.next_id)
    }

    fn user_data(&self, id: &Value) -> Option<Vec<u8>> {
        let mut known = self.lists["user_data"].iter();
        let found = known.find(|it| it.value["id"] == *id)?;
        decoded(&found.value["attributes"]["content"])
    }

    fn insert_server(&mut self, body: &Value, made: Timestamp, user_data: &[u8]) -> Value {
        let id = self.id("sv");
        let address = self.behind.make(&id, user_data, "203.0.113.30".to_owned());
        let billing = self
            .behaviour
            .billing
            .map_or(body["billing"].clone(), |billing| json!(billing));
        let status = if self.behaviour.boasts {
            "on"
        } else {
            "starting_deploy"
        };
        let value = json!({"id": id, "type": "servers", "attributes": {
            "hostname": body["hostname"], "status": status, "label": "846419NODEME", "role": "Bare Metal",
            "primary_ipv4": address, "primary_ipv6": null, "created_at": made.to_string(), "locked": false,
            "plan": {"id": "plan_1", "slug": body["plan"], "name": "x", "billing": billing},
            "region": {"city": "c", "country": "d", "site": {"id": "loc_1", "slug": body["site"]}},
        }});
        let server = Thing {
            value: value.clone(),
            made,
            gone: None,
        };
        self.lists.get_mut("servers").expect("a list").push(server);
        value
    }

    fn insert(&mut self, list: &str, attributes: &Value) -> Value {
        let id = self.id(if list == "user_data" { "ud" } else { "ssh" });
        let made = self.clock.now();
        let mut attributes = attributes.clone();
        attributes["created_at"] = json!(made.to_string());
        attributes.as_object_mut().expect("attributes").remove("project");
        let value = json!({"id": id, "type": list, "attributes": attributes});
        let thing = Thing {
            value: value.clone(),
            made,
            gone: None,
        };
        self.lists.get_mut(list).expect("a list").push(thing);
        value
    }

    fn page(&self, call: &Call, rows: Vec<Value>) -> Reply {
        let number = |key: &str, default: usize| {
            call.query(key)
                .and_then(|text| text.parse().ok())
                .unwrap_or(default)
        };
        let size = number("page[size]", 20).min(self.behaviour.page_max);
        let total = rows.len();
        let page = match number("page[number]", 1).max(1) {
            page if self.behaviour.tells_totals => page,
            page => page.min(total.div_ceil(size).max(1)),
        };
        let shown: Vec<_> = rows.into_iter().skip((page - 1) * size).take(size).collect();
        let meta = match call.query("stats[total]") {
            Some(_) if self.behaviour.tells_totals => json!({"stats": {"total": {"count": total}}}),
            _ => json!({}),
        };
        Reply::json(200, &json!({"data": shown, "meta": meta}))
    }

    /// Adds a server of somebody else's without a name, a state or a plan.
    pub(crate) fn plant_odd(&mut self) {
        // The description has no such server, and the real API does.
        self.spec = None;
        self.plant("odd", "odd");
        let odd = self.lists.get_mut("servers").and_then(|it| it.last_mut());
        let odd = &mut odd.expect("it was planted").value["attributes"];
        for field in ["hostname", "plan", "region"] {
            odd[field] = Value::Null;
        }
    }

    fn plans(&self, call: &Call) -> Reply {
        let row = |slug: &str, name: &str, hour: f64| {
            let sites = self.behaviour.stock.iter().filter(|(plan, _)| *plan == slug);
            let sites: Vec<_> = sites.map(|(_, site)| *site).collect();
            json!({"id": format!("plan_{slug}"), "type": "plans", "attributes": {
                "slug": slug, "name": name, "features": ["ssh", "raid", "user_data"],
                "specs": {"cpu": {"type": "E-2134G", "clock": 3.5, "cores": 4, "count": 1}, "memory": {"total": 32}},
                "regions": [{"name": "United States", "deploys_instantly": ["ubuntu_24_04_x64_lts"],
                    "locations": {"available": ["NYC", "DAL", "CHI"], "in_stock": sites}, "stock_level": "low",
                    "pricing": {"USD": {"hour": hour, "month": 100.0, "year": null}}}],
            }})
        };
        let rows = [
            row("m4-metal-small", "m4.metal.small", 0.81),
            row("c2-small-x86", "c2.small.x86", 0.21),
        ];
        let slug = call.query("filter[slug]");
        let rows: Vec<_> = rows
            .into_iter()
            .filter(|row| slug.is_none_or(|slug| row["attributes"]["slug"] == slug))
            .collect();
        Reply::json(200, &json!({ "data": rows }))
    }
}

/// Returns whether user-data is one YAML document that is a hash; what else cloud-init takes is refused.
fn is_yaml_hash(content: &Value) -> bool {
    let text = decoded(content).and_then(|bytes| String::from_utf8(bytes).ok());
    let read = text.map(|text| serde_saphyr::from_str::<Value>(&text));
    matches!(read, Some(Ok(Value::Object(_))))
}

fn failure(status: u16, code: Value, detail: &str) -> Reply {
    let error =
        json!({"code": code, "status": status.to_string(), "title": "Error", "detail": detail, "meta": {}});
    Reply::json(status, &json!({"errors": [error]}))
}

fn not_found() -> Reply {
    failure(404, json!("not_found"), "Specified Record Not Found")
}

impl Api for Latitude {
    fn names(&mut self) -> Vec<String> {
        self.pass_time();
        let name = |list: &str, thing: &Thing| {
            let key = match list {
                "servers" => "hostname",
                "user_data" => "description",
                _ => "name",
            };
            format!(
                "{list}/{}",
                thing.value["attributes"][key].as_str().unwrap_or_default()
            )
        };
        let of_list = |(list, things): (&&str, &Vec<Thing>)| {
            things.iter().map(|thing| name(list, thing)).collect::<Vec<_>>()
        };
        self.lists.iter().flat_map(of_list).collect()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        self.pass_time();
        let is_known = call.header("authorization") == Some(&format!("Bearer {TOKEN}"));
        let mut reply = if !is_known || self.behaviour.has_expired {
            failure(401, Value::Null, "Invalid API key")
        } else if self.count(call.method == "GET") {
            self.route(call)
        } else {
            let error = json!({"code": "RATE_LIMIT_EXCEEDED", "status": "429", "title": "Rate limit exceeded",
                "detail": "Too many requests", "meta": {"retry_after": 60}});
            Reply::json(429, &json!({"errors": [error]}))
        };
        reply.headers.push(("date", self.clock.date()));
        reply
    }

    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        // The shared extract of the description leaves this one out.
        let is_described = call.method != "PATCH";
        self.spec
            .as_ref()
            .filter(|_| is_described)
            .map(|spec| spec.mistakes(call, reply))
            .unwrap_or_default()
    }
}

/// Returns the description as it is meant: answers are JSON, failures come everywhere, and lists of values lag.
fn opened(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(opened).collect(),
        Value::Object(fields) => {
            let is_open = fields.contains_key("x-speakeasy-unknown-values");
            let mut result = Map::new();
            for (key, value) in fields {
                match key.as_str() {
                    "enum" if is_open => continue,
                    "application/vnd.api+json" => result.insert("application/json".to_owned(), opened(value)),
                    "responses" => {
                        let mut responses = opened(value);
                        responses["4xx"] = json!({});
                        responses["5xx"] = json!({});
                        result.insert(key.clone(), responses)
                    }
                    "status" if value["enum"].is_array() => {
                        result.insert(key.clone(), json!({"type": "string"}))
                    }
                    _ => result.insert(key.clone(), opened(value)),
                };
            }
            Value::Object(result)
        }
        _ => value.clone(),
    }
}
