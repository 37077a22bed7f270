//! A stand-in for Vultr that remembers. Its delays, lags, limits and errors are those of the adapter's README and of the
//! vendor's description.

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

/// The key that is accepted.
pub(crate) const KEY: &str = "VULTRVULTRVULTRVULTRVULTRVULTRVULTR7";

const PREFIX: &str = "/v2";

/// The lists: their path, their key in answers, and what one is called.
const LISTS: [(&str, &str, &str); 4] = [
    ("instances", "instances", "instance"),
    ("bare-metals", "bare_metals", "bare_metal"),
    ("ssh-keys", "ssh_keys", "ssh_key"),
    ("firewalls", "firewall_groups", "firewall_group"),
];

/// What may be set by a test.
pub(crate) struct Behaviour {
    /// How long a new server is missing from lists.
    pub(crate) list_lag: Duration,
    /// How long a virtual machine takes to be active. Until half of it has passed it is locked, and has no address.
    pub(crate) boot: Duration,
    /// How long bare metal takes.
    pub(crate) boot_metal: Duration,
    /// How long a server takes to go.
    pub(crate) leave: Duration,
    /// Plans and regions that are sold out.
    pub(crate) sold_out: BTreeSet<(String, String)>,
    /// How many servers the account may have.
    pub(crate) servers_max: usize,
    /// How many requests may come until the clock moves on.
    pub(crate) requests_a_second: u32,
    /// Longest page, whatever is asked for.
    pub(crate) page_max: usize,
    /// The key is taken for a wrong one from this call on.
    pub(crate) expires_at_call: Option<u32>,
    /// Bare metal is called as the description has it.
    pub(crate) is_as_described: bool,
}

/// The cloud.
pub(crate) struct Vultr {
    clock: TestClock,
    /// What requests and answers are held to.
    pub(crate) spec: Option<Arc<Spec>>,
    pub(crate) behaviour: Behaviour,
    /// What stands behind the servers.
    pub(crate) behind: Behind,
    next_id: u64,
    lists: BTreeMap<&'static str, BTreeMap<String, Thing>>,
    /// By the group's id.
    rules: BTreeMap<String, Vec<Value>>,
    calls: u32,
    second: (Timestamp, u32),
    /// The highest number of servers that there ever were at once, by label.
    pub(crate) most_of_a_name: BTreeMap<String, usize>,
}

struct Thing {
    value: Value,
    /// What a server was made with.
    asked: Value,
    made: Timestamp,
    gone: Option<Timestamp>,
}

impl Vultr {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self {
            clock: clock.clone(),
            spec: Spec::open_api("vultr.json", PREFIX),
            behaviour: Behaviour {
                list_lag: Duration::from_secs(2),
                boot: Duration::from_secs(60),
                boot_metal: Duration::from_secs(120),
                leave: Duration::from_secs(5),
                sold_out: BTreeSet::new(),
                servers_max: 50,
                requests_a_second: 30,
                page_max: 500,
                expires_at_call: None,
                is_as_described: false,
            },
            behind: Behind::default(),
            next_id: 0,
            lists: LISTS
                .into_iter()
                .map(|(path, ..)| (path, BTreeMap::new()))
                .collect(),
            rules: BTreeMap::new(),
            calls: 0,
            second: (clock.now(), 0),
            most_of_a_name: BTreeMap::new(),
        }
    }

    /// Makes servers, a key and a firewall group of somebody else's, under that name.
    pub(crate) fn plant(&mut self, name: &str, tags: &[&str]) {
        let asked = |plan: &str| json!({"region": "ewr", "plan": plan, "os_id": 2284, "label": name, "hostname": name, "tags": tags});
        self.create_server("instances", &asked("vc2-6c-16gb"));
        self.create_server("bare-metals", &asked("vbm-6c-32gb-amd"));
        self.create_thing(
            "ssh-keys",
            &json!({"name": name, "ssh_key": "ssh-ed25519 AAAA theirs"}),
        );
        self.create_thing("firewalls", &json!({"description": name}));
    }

    /// Returns what the first server of that label was made with.
    pub(crate) fn asked(&self, label: &str) -> Option<Value> {
        let lists = ["instances", "bare-metals"];
        let servers = lists.iter().flat_map(|list| self.lists[list].values());
        let mut found = servers.filter(|thing| thing.value["label"] == label);
        found.next().map(|thing| thing.asked.clone())
    }

    /// Returns the tags of all servers, and the names of all keys and groups.
    pub(crate) fn tagged(&self) -> Vec<String> {
        let all = self.lists.values().flat_map(BTreeMap::values);
        all.flat_map(|thing| {
            let tags = thing.value["tags"].as_array().cloned().unwrap_or_default();
            let title = [&thing.value["name"], &thing.value["description"]];
            let texts = tags.iter().chain(title).filter_map(Value::as_str);
            vec![texts.collect::<Vec<_>>().join(" ")]
        })
        .collect()
    }

    /// Returns the rules of the only group, as protocol, port and range.
    pub(crate) fn rules(&self) -> Vec<String> {
        let all = self.rules.values().flatten();
        let text = |rule: &Value, key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        all.map(|rule| {
            let (protocol, port, subnet) = (text(rule, "protocol"), text(rule, "port"), text(rule, "subnet"));
            format!("{protocol} {port} {subnet}/{}", rule["subnet_size"])
        })
        .collect()
    }

    fn id(&mut self) -> String {
        self.next_id += 1;
        format!("cb676a46-66fd-4dfb-b839-{:012x}", self.next_id)
    }

    /// Lets what has been decided happen.
    fn pass_time(&mut self) {
        let now = self.clock.now();
        for (list, things) in &mut self.lists {
            things.retain(|_, thing| thing.gone.is_none_or(|gone| gone > now));
            let boot = match *list {
                "instances" => self.behaviour.boot,
                "bare-metals" => self.behaviour.boot_metal,
                _ => continue,
            };
            for thing in things.values_mut() {
                let up = between(thing.made, now);
                let is_active = up >= boot;
                thing.value["status"] = json!(if is_active { "active" } else { "pending" });
                if up * 2 >= boot {
                    thing.value["main_ip"] = thing.asked["ip"].clone();
                }
                if *list == "instances" {
                    let state = match (is_active, up * 2 >= boot) {
                        (true, _) => "ok",
                        (false, true) => "installingbooting",
                        (false, false) => "locked",
                    };
                    thing.value["server_status"] = json!(state);
                }
            }
        }
    }

    /// Counts a request. Time stands still between two pauses of the client.
    fn count(&mut self) -> bool {
        let now = self.clock.now();
        if between(self.second.0, now) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        self.second.1 <= self.behaviour.requests_a_second
    }

    fn route(&mut self, call: &Call) -> Reply {
        let path = call.path.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (call.method.as_str(), parts.as_slice()) {
            ("POST", [list @ ("instances" | "bare-metals")]) => self.create_server(list, &call.json()),
            ("POST", [list @ ("ssh-keys" | "firewalls")]) => self.create_thing(list, &call.json()),
            ("POST", ["firewalls", group, "rules"]) => self.create_rule(group, &call.json()),
            ("GET", ["firewalls", group, "rules"]) => match self.rules.get(*group) {
                Some(rules) => page("firewall_rules", call, rules.clone(), self.behaviour.page_max),
                None => failure(404, "Invalid firewall group."),
            },
            ("GET", ["account"]) => account(),
            ("GET", ["os"]) => page("os", call, systems(), self.behaviour.page_max),
            ("GET", ["plans"]) => page("plans", call, plans(false), self.behaviour.page_max),
            // The description says `plans`; real answers say this.
            ("GET", ["plans-metal"]) => page("plans_metal", call, plans(true), self.behaviour.page_max),
            ("GET", ["regions", region, "availability"]) => self.availability(region),
            ("GET", [list]) if self.lists.contains_key(list) => self.list(list, call),
            (method, [list, id]) if self.lists.contains_key(list) => self.one(method, list, id, call),
            _ => failure(404, "Invalid API endpoint."),
        }
    }

    fn availability(&self, region: &str) -> Reply {
        if !REGIONS.contains(&region) {
            return failure(400, "Invalid region.");
        }
        let is_there = |plan: &&Value| {
            let id = plan["id"].as_str().unwrap_or_default().to_owned();
            let has_place = plan["locations"]
                .as_array()
                .is_some_and(|places| places.contains(&json!(region)));
            has_place && !self.behaviour.sold_out.contains(&(id, region.to_owned()))
        };
        let all: Vec<_> = plans(false).into_iter().chain(plans(true)).collect();
        let there: Vec<_> = all
            .iter()
            .filter(is_there)
            .map(|plan| plan["id"].clone())
            .collect();
        Reply::json(200, &json!({"available_plans": there}))
    }

    fn create_server(&mut self, list: &str, body: &Value) -> Reply {
        let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        let (plan, region, is_metal) = (text("plan"), text("region"), list == "bare-metals");
        let all: Vec<_> = plans(is_metal);
        if !all.iter().any(|known| known["id"] == plan.as_str()) {
            return failure(400, "Invalid plan chosen.");
        }
        if !REGIONS.contains(&region.as_str()) {
            return failure(400, "Invalid region.");
        }
        if self.behaviour.sold_out.contains(&(plan.clone(), region.clone())) {
            return failure(
                400,
                "Server add failed: This plan is not available in the selected region",
            );
        }
        let servers = self.lists["instances"].len() + self.lists["bare-metals"].len();
        if servers >= self.behaviour.servers_max {
            return failure(
                400,
                "Server add failed: You have reached the maximum number of active virtual machines",
            );
        }
        let has = |list: &str, id: &Value| self.lists[list].contains_key(id.as_str().unwrap_or_default());
        let keys = body["sshkey_id"].as_array().cloned().unwrap_or_default();
        let group = &body["firewall_group_id"];
        if !keys.iter().all(|key| has("ssh-keys", key)) || !(group.is_null() || has("firewalls", group)) {
            return failure(400, "Invalid SSH key or firewall group.");
        }
        let Some(user_data) = decoded(&body["user_data"]) else {
            return failure(400, "Invalid user_data: it must be base64 encoded.");
        };
        let id = self.id();
        let made = self.clock.now();
        let address = format!("192.0.2.{}", self.next_id % 250 + 1);
        let mut asked = body.clone();
        asked["ip"] = json!(self.behind.make(&id, &user_data, address));
        let mut value = json!({
            "id": id, "os": "Ubuntu 24.04 LTS x64", "main_ip": "", "region": region, "plan": plan,
            "date_created": made.to_string(), "status": "pending", "default_password": "shown-for-ten-minutes",
            "netmask_v4": "", "gateway_v4": "0.0.0.0", "label": body["label"], "tag": "", "tags": body["tags"],
            "os_id": body["os_id"], "app_id": 0, "image_id": "", "snapshot_id": "", "user_scheme": "root",
        });
        let extra = match is_metal {
            true => json!({
                "ram": "32768 MB", "disk": "2x 960GB NVMe", "cpu_count": 6, "internal_ip": "", "v6_network": "",
                "v6_main_ip": "", "v6_network_size": 0, "mac_address": 2_199_756_823_533_u64,
            }),
            false => json!({
                "ram": 16384, "disk": 240, "vcpu_count": 4, "power_status": "running", "server_status": "none",
                "allowed_bandwidth": 1, "v6_networks": [], "hostname": body["hostname"], "internal_ip": "",
                "vpc_only": false, "kvm": "", "firewall_group_id": body["firewall_group_id"].as_str().unwrap_or_default(),
                "features": [],
            }),
        };
        merge(&mut value, extra);
        let (list, _, singular) = LISTS
            .into_iter()
            .find(|(path, ..)| *path == list)
            .expect("a list");
        let thing = Thing {
            value: value.clone(),
            asked,
            made,
            gone: None,
        };
        self.lists.get_mut(list).expect("a list").insert(id, thing);
        let label = text("label");
        let all = self.lists["instances"]
            .values()
            .chain(self.lists["bare-metals"].values());
        let of_name = all.filter(|thing| thing.value["label"] == label.as_str()).count();
        let most = self.most_of_a_name.entry(label).or_default();
        *most = of_name.max(*most);
        let singular = match self.behaviour.is_as_described && is_metal {
            true => "baremetal",
            false => singular,
        };
        Reply::json(202, &json!({ singular: value }))
    }

    fn create_thing(&mut self, list: &str, body: &Value) -> Reply {
        let (list, _, singular) = LISTS
            .into_iter()
            .find(|(path, ..)| *path == list)
            .expect("a list");
        let (id, made) = (self.id(), self.clock.now());
        let mut value = body.clone();
        merge(&mut value, json!({"id": id, "date_created": made.to_string()}));
        if list == "firewalls" {
            let counts = json!({
                "date_modified": made.to_string(), "instance_count": 0, "rule_count": 0, "max_rule_count": 50,
            });
            merge(&mut value, counts);
            self.rules.insert(id.clone(), Vec::new());
        }
        let thing = Thing {
            value: value.clone(),
            asked: Value::Null,
            made,
            gone: None,
        };
        self.lists.get_mut(list).expect("a list").insert(id, thing);
        Reply::json(201, &json!({ singular: value }))
    }

    fn create_rule(&mut self, group: &str, body: &Value) -> Reply {
        let Some(rules) = self.rules.get_mut(group) else {
            return failure(404, "Invalid firewall group.");
        };
        let is_same = |rule: &&Value| {
            ["protocol", "subnet", "subnet_size"]
                .iter()
                .all(|key| rule[*key] == body[*key])
        };
        if rules.iter().any(|rule| is_same(&rule)) {
            return failure(400, "This rule is already defined.");
        }
        let mut rule =
            json!({"id": rules.len() + 1, "action": "accept", "port": "", "source": "", "notes": ""});
        merge(&mut rule, body.clone());
        rules.push(rule.clone());
        Reply::json(201, &json!({ "firewall_rule": rule }))
    }

    fn one(&mut self, method: &str, list: &str, id: &str, call: &Call) -> Reply {
        let (_, _, singular) = LISTS
            .into_iter()
            .find(|(path, ..)| *path == list)
            .expect("a list");
        let Some(thing) = self.lists.get_mut(list).and_then(|things| things.get_mut(id)) else {
            return failure(404, "Invalid resource ID.");
        };
        match method {
            "GET" => Reply::json(200, &json!({ singular: thing.value })),
            "PATCH" if list == "firewalls" => failure(404, "Invalid API endpoint."),
            "PATCH" | "PUT" => {
                merge(&mut thing.value, call.json());
                match list {
                    "ssh-keys" | "firewalls" => Reply::empty(204),
                    _ => Reply::json(202, &json!({ singular: thing.value })),
                }
            }
            "DELETE" => self.delete(list, id),
            _ => failure(404, "Invalid API endpoint."),
        }
    }

    fn delete(&mut self, list: &str, id: &str) -> Reply {
        let now = self.clock.now();
        let is_used = self.lists["instances"]
            .values()
            .any(|thing| thing.value["firewall_group_id"] == id);
        if list == "firewalls" && is_used {
            return failure(400, "Unable to delete firewall group: it is in use");
        }
        let leave = self.behaviour.leave;
        let things = self.lists.get_mut(list).expect("a list");
        let thing = things.get_mut(id).expect("the caller looked");
        match list {
            "instances" | "bare-metals" if thing.gone.is_some() => failure(
                500,
                "Unable to destroy server: Server is already pending destruction",
            ),
            "instances" if thing.value["server_status"] == "locked" => failure(
                500,
                "Unable to destroy server: Unable to remove VM: Server is currently locked",
            ),
            "instances" | "bare-metals" => {
                self.behind.destroy(id);
                thing.gone = Some(after(now, leave));
                Reply {
                    status: 204,
                    headers: vec![("content-type", "text/html; charset=UTF-8".to_owned())],
                    body: Vec::new(),
                }
            }
            _ => {
                things.remove(id);
                self.rules.remove(id);
                Reply::empty(204)
            }
        }
    }

    fn list(&self, list: &str, call: &Call) -> Reply {
        let now = self.clock.now();
        let (path, key, _) = LISTS
            .into_iter()
            .find(|(path, ..)| *path == list)
            .expect("a list");
        let is_server = matches!(path, "instances" | "bare-metals");
        let is_shown = |thing: &&Thing| !is_server || between(thing.made, now) >= self.behaviour.list_lag;
        let rows = self.lists[path].values().filter(is_shown);
        page(
            key,
            call,
            rows.map(|thing| thing.value.clone()).collect(),
            self.behaviour.page_max,
        )
    }
}

fn page(list: &str, call: &Call, rows: Vec<Value>, page_max: usize) -> Reply {
    let asked = call.query("per_page").and_then(|text| text.parse().ok());
    let size: usize = asked.unwrap_or(100).min(page_max);
    let cursor = call
        .query("cursor")
        .and_then(|text| text.strip_prefix("bmV4dF9f"));
    let from: usize = cursor.and_then(|text| text.parse().ok()).unwrap_or(0);
    let total = rows.len();
    let shown: Vec<_> = rows.into_iter().skip(from).take(size).collect();
    let is_end = from + size >= total;
    let next = if is_end {
        String::new()
    } else {
        format!("bmV4dF9f{}", from + size)
    };
    let meta = json!({"total": total, "links": {"next": next, "prev": ""}});
    Reply::json(200, &json!({list: shown, "meta": meta}))
}

const REGIONS: [&str; 5] = ["ewr", "ams", "fra", "sao", "mia"];

fn plans(are_metal: bool) -> Vec<Value> {
    // A real row without a place holds one empty name.
    let plan = |id: &str, hourly: f64, places: &[&str]| {
        json!({
            "id": id, "hourly_cost": hourly, "monthly_cost": hourly * 672.0, "ram": 16384, "bandwidth": 1024,
            "disk_count": 1, "locations": places, "deploy_ondemand": true,
        })
    };
    let mut plans = match are_metal {
        true => vec![
            plan("vbm-6c-32gb-amd", 0.41, &["ewr", "fra", "ams"]),
            plan("vbm-4c-32gb", 0.24, &[""]),
        ],
        false => vec![
            plan("vc2-6c-16gb", 0.11, &REGIONS),
            plan("vx1-g-4c-16g-240s", 0.153, &["ewr", "ams", "sao"]),
            plan("voc-c-4c-8gb-150s-amd", 0.123, &["ewr"]),
        ],
    };
    for plan in &mut plans {
        let extra = match are_metal {
            true => {
                json!({"type": "SSD", "disk": "960", "cpu_count": 6, "cpu_model": "EPYC 4245P", "cpu_threads": 12})
            }
            false => json!({"type": "vx1", "disk": 240, "vcpu_count": 4, "name": plan["id"],
                "location_cost": {"sao": {"hourly_cost": 0.2295, "monthly_cost": 154.0}}}),
        };
        merge(plan, extra);
    }
    plans
}

fn systems() -> Vec<Value> {
    let os =
        |id: u32, name: &str, family: &str| json!({"id": id, "name": name, "arch": "x64", "family": family});
    vec![
        os(159, "Custom", "iso"),
        os(1743, "Ubuntu 22.04 LTS x64", "ubuntu"),
        os(2136, "Debian 12 x64 (bookworm)", "debian"),
        os(2284, "Ubuntu 24.04 LTS x64", "ubuntu"),
        os(2465, "Fedora 41 x64", "fedora"),
    ]
}

fn account() -> Reply {
    let account = json!({
        "name": "Eve Example", "email": "eve@example.com", "acls": ["provisioning", "subscriptions", "firewall", "billing"],
        "balance": -100.5, "pending_charges": 1.25, "last_payment_date": "2026-10-10T01:56:20+00:00",
        "last_payment_amount": -1.0,
    });
    Reply::json(200, &json!({ "account": account }))
}

fn failure(status: u16, message: &str) -> Reply {
    Reply::json(status, &json!({"error": message, "status": status}))
}

fn merge(value: &mut Value, extra: Value) {
    if let (Value::Object(value), Value::Object(extra)) = (value, extra) {
        value.extend(extra);
    }
}

impl Api for Vultr {
    /// Returns all that is there, as list and label, name or description.
    fn names(&mut self) -> Vec<String> {
        self.pass_time();
        let name = |value: &Value| {
            let keys = ["label", "name", "description"];
            let found = keys.iter().find_map(|key| value[*key].as_str());
            found.unwrap_or_default().to_owned()
        };
        let of_list = |(list, things): (&&str, &BTreeMap<String, Thing>)| {
            let names = things
                .values()
                .map(|thing| format!("{list}/{}", name(&thing.value)));
            names.collect::<Vec<_>>()
        };
        self.lists.iter().flat_map(of_list).collect()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        self.pass_time();
        self.calls += 1;
        let is_known = call.header("authorization") == Some(&format!("Bearer {KEY}"));
        let has_expired = self.behaviour.expires_at_call.is_some_and(|at| self.calls >= at);
        let mut reply = if !is_known || has_expired {
            failure(401, "Invalid API token.")
        } else if self.count() {
            self.route(call)
        } else {
            let mut reply = failure(429, "Rate limit reached");
            reply.headers.push(("retry-after", "1".to_owned()));
            reply
        };
        // The account's address is in every answer.
        reply.headers.push(("x-user", "eve@example.com".to_owned()));
        reply.headers.push(("date", self.clock.date()));
        reply
    }

    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        // The shared extract of the description leaves these out, and describes only some refusals.
        let is_described =
            !matches!(call.method.as_str(), "PATCH" | "PUT") || call.path.contains("/bare-metals/");
        let of_reply = format!("the fake answered {}, which is not described", reply.status);
        let mistakes = self
            .spec
            .as_ref()
            .filter(|_| is_described)
            .map(|spec| spec.mistakes(call, reply));
        let mistakes = mistakes.unwrap_or_default().into_iter();
        mistakes
            .filter(|mistake| reply.status < 400 || !mistake.ends_with(&of_reply))
            .collect()
    }
}
