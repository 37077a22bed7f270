//! A stand-in for Hetzner Cloud that remembers. Its delays, lags, limits and errors are those of the adapter's README
//! and of the vendor's description.

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
    server::{Api, Behind, Call, Reply},
    spec::Spec,
};

/// The token that is accepted.
pub(crate) const TOKEN: &str = "tokentokentokentokentokentokentoken0123456789abcdefghijklmnopqrst";

const PREFIX: &str = "/v1";

/// The lists: name, what one is called, and what it is made of beside id, name and labels.
const LISTS: [(&str, &str); 5] = [
    ("servers", "server"),
    ("ssh_keys", "ssh_key"),
    ("firewalls", "firewall"),
    ("primary_ips", "primary_ip"),
    ("volumes", "volume"),
];

/// What may be set by a test.
pub(crate) struct Behaviour {
    /// How long a new server is missing from lists.
    pub(crate) list_lag: Duration,
    /// How long a server takes to run. It passes through `initializing`, `off` and `starting`, as the real ones do.
    pub(crate) boot: Duration,
    /// Servers end up switched off instead of running.
    pub(crate) stays_off: bool,
    /// Answers name the location inside `datacenter`, as those of before July 2026 do.
    pub(crate) is_dated: bool,
    /// How long a server takes to go.
    pub(crate) leave: Duration,
    /// How long an address that goes with its server outlives it; none: it stays for good.
    pub(crate) address_outlives: Option<Duration>,
    /// Types and locations that are sold out.
    pub(crate) sold_out: BTreeSet<(String, String)>,
    /// How many servers the account may have.
    pub(crate) servers_max: usize,
    /// The size of the bucket of requests; one comes back each `3600 / size` seconds.
    pub(crate) bucket: f64,
    /// The server's create action fails some time after it was answered, with this code.
    pub(crate) fails_later: Option<&'static str>,
    /// The token may only read.
    pub(crate) is_readonly: bool,
    /// Longest page, whatever is asked for.
    pub(crate) page_max: usize,
}

/// The cloud.
pub(crate) struct Hetzner {
    clock: TestClock,
    /// What requests and answers are held to.
    pub(crate) spec: Option<Arc<Spec>>,
    pub(crate) behaviour: Behaviour,
    /// What stands behind the servers.
    pub(crate) behind: Behind,
    next_id: u64,
    lists: BTreeMap<&'static str, BTreeMap<u64, Thing>>,
    actions: BTreeMap<u64, ActionOf>,
    tokens: f64,
    counted: Timestamp,
    /// The highest number of servers that there ever were at once, by name.
    pub(crate) most_of_a_name: BTreeMap<String, usize>,
}

struct Thing {
    value: Value,
    made: Timestamp,
    gone: Option<Timestamp>,
}

struct ActionOf {
    value: Value,
    /// When it is through.
    end: Timestamp,
}

impl Hetzner {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self {
            clock: clock.clone(),
            spec: Spec::open_api("hetzner.json", PREFIX),
            behaviour: Behaviour {
                list_lag: Duration::from_secs(2),
                boot: Duration::from_secs(15),
                stays_off: false,
                is_dated: false,
                leave: Duration::from_secs(5),
                address_outlives: Some(Duration::from_secs(2)),
                sold_out: BTreeSet::new(),
                servers_max: 50,
                bucket: 3600.0,
                fails_later: None,
                is_readonly: false,
                page_max: 50,
            },
            behind: Behind::default(),
            next_id: 100,
            lists: LISTS
                .into_iter()
                .map(|(name, _)| (name, BTreeMap::new()))
                .collect(),
            actions: BTreeMap::new(),
            tokens: 3600.0,
            counted: clock.now(),
            most_of_a_name: BTreeMap::new(),
        }
    }

    /// Makes a server, a key and a firewall of somebody else's, under that name.
    pub(crate) fn plant(&mut self, name: &str, labels: &Value) {
        let server = json!({"name": name, "server_type": "cx23", "location": "nbg1", "labels": labels, "image": "debian-12"});
        self.create_server(&server);
        self.create_thing(
            "ssh_keys",
            &json!({"name": name, "public_key": format!("ssh-ed25519 {name}"), "labels": labels}),
        );
        self.create_thing("firewalls", &json!({"name": name, "labels": labels, "rules": []}));
    }

    /// Returns what the first server was made with.
    pub(crate) fn server(&self, name: &str) -> Option<Value> {
        let found = self.lists["servers"]
            .values()
            .find(|thing| thing.value["name"] == name);
        found.map(|thing| thing.value.clone())
    }

    /// All but so many requests of the bucket are used up.
    pub(crate) fn drain(&mut self, left: f64) {
        self.tokens = left;
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Lets what has been decided happen.
    fn pass_time(&mut self) {
        let now = self.clock.now();
        for things in self.lists.values_mut() {
            things.retain(|_, thing| thing.gone.is_none_or(|gone| gone > now));
        }
        let servers = self.lists.get_mut("servers").expect("a list");
        for thing in servers.values_mut() {
            let (age, boot) = (between(thing.made, now), self.behaviour.boot);
            let status = match () {
                () if thing.gone.is_some() => "deleting",
                () if age < boot / 3 || self.behaviour.fails_later.is_some() => "initializing",
                () if age < boot * 2 / 3 || self.behaviour.stays_off => "off",
                () if age < boot => "starting",
                () => "running",
            };
            thing.value["status"] = json!(status);
        }
        let ids: BTreeSet<_> = servers.keys().copied().collect();
        for thing in self.lists.get_mut("primary_ips").expect("a list").values_mut() {
            let holder = thing.value["assignee_id"].as_u64();
            if holder.is_some_and(|holder| !ids.contains(&holder)) {
                thing.value["assignee_id"] = Value::Null;
                thing.value["assignee_type"] = json!("unassigned");
                thing.gone = self.behaviour.address_outlives.map(|length| after(now, length));
            }
        }
    }

    fn count(&mut self) -> bool {
        let now = self.clock.now();
        let size = self.behaviour.bucket;
        let back = between(self.counted, now).as_secs_f64() * size / 3600.0;
        self.counted = now;
        self.tokens = (self.tokens + back).min(size);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    fn route(&mut self, call: &Call) -> Reply {
        let path = call.path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        if self.behaviour.is_readonly && call.method != "GET" {
            return failure(
                403,
                "token_readonly",
                "token is only allowed to perform GET requests",
            );
        }
        match (call.method.as_str(), parts.as_slice()) {
            ("POST", ["servers"]) => self.create_server(&call.json()),
            ("POST", [list @ ("ssh_keys" | "firewalls")]) => self.create_thing(list, &call.json()),
            ("GET", ["server_types"]) => server_types(call),
            ("GET", ["actions"]) => self.actions(call),
            ("GET", [list]) if self.lists.contains_key(list) => self.list(list, call),
            (method, [list, id]) if self.lists.contains_key(list) => match id.parse() {
                Ok(id) => self.one(method, list, id, call),
                Err(_) => not_found(),
            },
            _ => not_found(),
        }
    }

    /// Lists the actions that are asked for by their ids, which is the only way to see any.
    fn actions(&self, call: &Call) -> Reply {
        let now = self.clock.now();
        let ids = call.query.iter().filter(|(key, _)| key == "id");
        let known = ids.filter_map(|(_, id)| self.actions.get(&id.parse().ok()?));
        let shown = known.map(|action| {
            let mut shown = action.value.clone();
            if let Some(code) = self.behaviour.fails_later {
                shown["status"] = json!("error");
                shown["error"] = json!({"code": code, "message": "error during placement"});
            } else if now >= action.end {
                shown["status"] = json!("success");
                shown["progress"] = json!(100);
                shown["finished"] = json!(action.end.to_string());
            }
            shown
        });
        page("actions", call, shown.collect(), self.behaviour.page_max)
    }

    fn one(&mut self, method: &str, list: &str, id: u64, call: &Call) -> Reply {
        let (_, singular) = LISTS.into_iter().find(|(name, _)| *name == list).expect("a list");
        let Some(thing) = self.lists.get_mut(list).and_then(|things| things.get_mut(&id)) else {
            return not_found();
        };
        match method {
            "GET" => Reply::json(
                200,
                &json!({ singular: shown(&thing.value, self.behaviour.is_dated) }),
            ),
            "PUT" => {
                thing.value["labels"] = call.json()["labels"].clone();
                Reply::json(200, &json!({ singular: thing.value }))
            }
            "DELETE" => self.delete(list, id),
            _ => not_found(),
        }
    }

    fn delete(&mut self, list: &str, id: u64) -> Reply {
        let now = self.clock.now();
        match list {
            "servers" => {
                let gone = after(now, self.behaviour.leave);
                let thing = self
                    .lists
                    .get_mut(list)
                    .and_then(|things| things.get_mut(&id))
                    .expect("the caller looked");
                if thing.gone.is_some() {
                    return failure(423, "locked", "server is locked because of a running action");
                }
                thing.gone = Some(gone);
                self.behind.destroy(&id.to_string());
                let action = self.new_action("delete_server", id, gone);
                return Reply::json(200, &json!({ "action": action }));
            }
            "firewalls" if self.is_applied(id) => {
                return failure(422, "resource_in_use", "firewall is still in use");
            }
            "primary_ips" if !self.lists[list][&id].value["assignee_id"].is_null() => {
                return failure(422, "must_be_unassigned", "primary IP must be unassigned");
            }
            _ => {}
        }
        self.lists.get_mut(list).expect("a list").remove(&id);
        Reply::empty(204)
    }

    fn is_applied(&self, firewall: u64) -> bool {
        let has = |thing: &Thing| {
            let applied = thing.value["public_net"]["firewalls"].as_array();
            applied.is_some_and(|applied| applied.iter().any(|one| one["id"] == firewall))
        };
        self.lists["servers"].values().any(has)
    }

    fn new_action(&mut self, command: &str, server: u64, end: Timestamp) -> Value {
        let id = self.id();
        let action = json!({
            "id": id, "command": command, "status": "running", "progress": 0, "error": null, "finished": null,
            "started": self.clock.now().to_string(), "resources": [{"id": server, "type": "server"}],
        });
        let value = action.clone();
        self.actions.insert(id, ActionOf { value, end });
        action
    }

    fn create_thing(&mut self, list: &str, body: &Value) -> Reply {
        let (list, singular) = LISTS.into_iter().find(|(name, _)| *name == list).expect("a list");
        let is_taken = |thing: &Thing| {
            let has_key = !body["public_key"].is_null() && thing.value["public_key"] == body["public_key"];
            thing.value["name"] == body["name"] || has_key
        };
        if self.lists[list].values().any(is_taken) {
            return failure(409, "uniqueness_error", "name or key is already used");
        }
        let id = self.id();
        let made = self.clock.now();
        let mut value = body.clone();
        value["id"] = json!(id);
        value["created"] = json!(made.to_string());
        for rule in value["rules"].as_array_mut().into_iter().flatten() {
            let given = rule.clone();
            *rule = json!({"description": null, "port": null, "destination_ips": []});
            merge(rule, given);
        }
        let extra = match list {
            "ssh_keys" => json!({"fingerprint": "b7:2f:30:a0:2f:6c:58:6c:21:04:58:61:ba:06:3b:2f"}),
            _ => json!({"applied_to": []}),
        };
        merge(&mut value, extra);
        self.lists.get_mut(list).expect("a list").insert(
            id,
            Thing {
                value: value.clone(),
                made,
                gone: None,
            },
        );
        match list {
            "firewalls" => Reply::json(201, &json!({singular: value, "actions": []})),
            _ => Reply::json(201, &json!({ singular: value })),
        }
    }

    fn create_server(&mut self, body: &Value) -> Reply {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        if self.lists["servers"]
            .values()
            .any(|thing| thing.value["name"] == body["name"])
        {
            return failure(409, "uniqueness_error", "server name is already used");
        }
        if text("user_data").len() > 32 * 1024 {
            return failure(422, "invalid_input", "invalid input in field 'user_data'");
        }
        if self
            .behaviour
            .sold_out
            .contains(&(text("server_type"), text("location")))
        {
            return failure(412, "resource_unavailable", "error during placement");
        }
        if self.lists["servers"].len() >= self.behaviour.servers_max {
            return failure(403, "resource_limit_exceeded", "server limit exceeded");
        }
        // Keys are named by name or by id.
        let is_named = |key: &Thing, name: &Value| key.value["name"] == *name || key.value["id"] == *name;
        let has_key = |name: &Value| self.lists["ssh_keys"].values().any(|key| is_named(key, name));
        if body["ssh_keys"]
            .as_array()
            .is_some_and(|keys| !keys.iter().all(has_key))
        {
            return failure(422, "invalid_input", "SSH key not found");
        }
        let named = body["firewalls"].as_array().into_iter().flatten();
        let firewalls: Vec<_> = named.map(|one| &one["firewall"]).collect();
        let has_firewall = |id: &&Value| {
            self.lists["firewalls"]
                .values()
                .any(|one| one.value["id"] == **id)
        };
        if !firewalls.iter().all(has_firewall) {
            return failure(422, "invalid_input", "firewall not found");
        }
        let firewalls: Vec<_> = firewalls
            .into_iter()
            .map(|id| json!({"id": id, "status": "applied"}))
            .collect();
        let (id, ip) = (self.id(), self.id());
        let address = format!("192.0.2.{}", id % 250 + 1);
        let user_data = text("user_data");
        let address = self.behind.make(&id.to_string(), user_data.as_bytes(), address);
        let made = self.clock.now();
        let server = json!({
            "id": id, "name": body["name"], "status": "initializing", "created": made.to_string(),
            "labels": body["labels"], "location": location(&text("location")), "server_type": server_type(&text("server_type")),
            "public_net": {
                "ipv4": {"id": ip, "ip": address, "blocked": false, "dns_ptr": "static.example.com"},
                "ipv6": null, "floating_ips": [], "firewalls": firewalls,
            },
            "backup_window": null, "image": null, "included_traffic": null, "ingoing_traffic": null, "iso": null,
            "locked": false, "outgoing_traffic": null, "primary_disk_size": 160, "private_net": [],
            "protection": {"delete": false, "rebuild": false}, "rescue_enabled": false, "volumes": [],
            "placement_group": null, "load_balancers": [],
        });
        let primary_ip = json!({
            "id": ip, "name": format!("primary_ip-{ip}"), "ip": address, "type": "ipv4", "labels": {},
            "assignee_id": id, "assignee_type": "server", "auto_delete": true, "blocked": false,
            "created": made.to_string(), "dns_ptr": [], "location": location(&text("location")),
            "protection": {"delete": false},
        });
        self.lists.get_mut("servers").expect("a list").insert(
            id,
            Thing {
                value: server.clone(),
                made,
                gone: None,
            },
        );
        self.lists.get_mut("primary_ips").expect("a list").insert(
            ip,
            Thing {
                value: primary_ip,
                made,
                gone: None,
            },
        );
        let of_name = self.lists["servers"]
            .values()
            .filter(|thing| thing.value["name"] == body["name"])
            .count();
        let most = self.most_of_a_name.entry(text("name")).or_default();
        *most = of_name.max(*most);
        let boot = self.behaviour.boot;
        let create = self.new_action("create_server", id, after(made, boot / 3));
        let start = self.new_action("start_server", id, after(made, boot));
        let body = json!({
            "server": shown(&server, self.behaviour.is_dated), "action": create, "next_actions": [start],
            "root_password": null,
        });
        Reply::json(201, &body)
    }

    fn list(&self, list: &str, call: &Call) -> Reply {
        let now = self.clock.now();
        let is_shown =
            |thing: &&Thing| list != "servers" || between(thing.made, now) >= self.behaviour.list_lag;
        let is_named = |thing: &&Thing| call.query("name").is_none_or(|name| thing.value["name"] == name);
        let is_selected = |thing: &&Thing| {
            let selector = call.query("label_selector").unwrap_or_default();
            selector.split(',').filter(|term| !term.is_empty()).all(|term| {
                let (key, value) = term
                    .split_once('=')
                    .expect("only terms like k=v are understood here");
                thing.value["labels"][key] == value
            })
        };
        let rows = self.lists[list]
            .values()
            .filter(is_shown)
            .filter(is_named)
            .filter(is_selected);
        page(
            list,
            call,
            rows.map(|thing| shown(&thing.value, self.behaviour.is_dated))
                .collect(),
            self.behaviour.page_max,
        )
    }
}

/// Returns a thing as it is answered.
fn shown(thing: &Value, is_dated: bool) -> Value {
    let mut shown = thing.clone();
    if is_dated && let Some(location) = shown.as_object_mut().and_then(|it| it.remove("location")) {
        shown["datacenter"] =
            json!({"id": 3, "name": "nbg1-dc3", "description": "Nuremberg 1 DC 3", "location": location});
    }
    shown
}

fn page(list: &str, call: &Call, rows: Vec<Value>, page_max: usize) -> Reply {
    let number = |key: &str, default: usize| {
        call.query(key)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (page, size) = (number("page", 1).max(1), number("per_page", 25).min(page_max));
    let last = rows.len().div_ceil(size).max(1);
    let total = rows.len();
    let shown: Vec<_> = rows.into_iter().skip((page - 1) * size).take(size).collect();
    let pagination = json!({
        "page": page, "per_page": size, "total_entries": total, "last_page": last,
        "previous_page": (page > 1).then(|| page - 1), "next_page": (page < last).then_some(page + 1),
    });
    Reply::json(200, &json!({list: shown, "meta": {"pagination": pagination}}))
}

fn location(name: &str) -> Value {
    json!({
        "id": 1, "name": name, "city": "Nuremberg", "country": "DE", "description": "Nuremberg DC Park 1",
        "latitude": 49.45, "longitude": 11.07, "network_zone": "eu-central",
    })
}

fn server_type(name: &str) -> Value {
    let price = |amount: &str| json!({"net": amount, "gross": amount});
    let price = json!({
        "location": "nbg1", "price_hourly": price("0.0256000000"), "price_monthly": price("15.9900000000"),
        "included_traffic": 654_321, "price_per_tb_traffic": price("1.0000000000"),
    });
    let place = |id: u32, name: &str, available: bool| json!({"id": id, "name": name, "deprecation": null, "available": available, "recommended": true});
    json!({
        "id": 1, "name": name, "architecture": "x86", "cores": 8, "cpu_type": "shared", "deprecated": false,
        "description": name, "disk": 160, "memory": 16, "prices": [price], "storage_type": "local",
        "locations": [place(1, "nbg1", true), place(2, "hel1", true), place(3, "fsn1", false)],
    })
}

fn server_types(call: &Call) -> Reply {
    let known = ["cx23", "cx43", "cpx42", "cpx51", "ccx23"];
    let is_named = |name: &&str| call.query("name").is_none_or(|wanted| wanted == *name);
    let rows = known.into_iter().filter(is_named).map(server_type).collect();
    page("server_types", call, rows, 50)
}

fn failure(status: u16, code: &str, message: &str) -> Reply {
    Reply::json(
        status,
        &json!({"error": {"code": code, "message": message, "details": null}}),
    )
}

fn not_found() -> Reply {
    failure(404, "not_found", "resource not found")
}

fn merge(value: &mut Value, extra: Value) {
    if let (Value::Object(value), Value::Object(extra)) = (value, extra) {
        value.extend(extra);
    }
}

impl Api for Hetzner {
    fn names(&mut self) -> Vec<String> {
        self.pass_time();
        let name = |list: &str, thing: &Thing| {
            format!("{list}/{}", thing.value["name"].as_str().unwrap_or_default())
        };
        let of_list = |(list, things): (&&str, &BTreeMap<u64, Thing>)| {
            things.values().map(|thing| name(list, thing)).collect::<Vec<_>>()
        };
        self.lists.iter().flat_map(of_list).collect()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        self.pass_time();
        let mut reply = if call.header("authorization") != Some(&format!("Bearer {TOKEN}")) {
            failure(401, "unauthorized", "unable to authenticate")
        } else if self.count() {
            self.route(call)
        } else {
            // The real message holds a part of the token.
            let message = format!("limit of requests reached for {}", &TOKEN[..32]);
            failure(429, "rate_limit_exceeded", &message)
        };
        let full = (self.behaviour.bucket - self.tokens) * 3600.0 / self.behaviour.bucket;
        let reset = after(self.clock.now(), Duration::from_secs_f64(full.max(0.0)));
        reply.headers.extend([
            ("ratelimit-limit", format!("{:.0}", self.behaviour.bucket)),
            ("ratelimit-remaining", format!("{:.0}", self.tokens.floor())),
            ("ratelimit-reset", reset.as_second().to_string()),
            ("x-correlation-id", "5a1f2e".to_owned()),
            ("date", self.clock.date()),
        ]);
        reply
    }

    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        // The shared extract of the description leaves these two out.
        let is_described = call.method != "PUT" || call.path.contains("/servers/");
        self.spec
            .as_ref()
            .filter(|_| is_described)
            .map(|spec| spec.mistakes(call, reply))
            .unwrap_or_default()
    }
}
