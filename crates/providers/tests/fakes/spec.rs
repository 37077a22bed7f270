//! Holds requests and answers to a vendor's OpenAPI document. In requests an unknown field is a mistake too.

use std::{collections::BTreeMap, sync::Arc};

use camino::Utf8PathBuf;
use jsonschema::{Draft, Validator};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::server::{Call, Reply};

/// A vendor's description of its API.
pub(crate) struct Spec {
    document: Value,
    /// What stands before every path.
    prefix: &'static str,
    validators: Validators,
}

/// Schemas that were read before, by where they stand.
#[derive(Default)]
pub(crate) struct Validators(Mutex<BTreeMap<String, Arc<Validator>>>);

impl Validators {
    /// Says where a value is not as the schema of that place has it.
    pub(crate) fn errors(&self, place: String, schema: impl FnOnce() -> Value, value: &Value) -> Vec<String> {
        let mut known = self.0.lock();
        let validator = known
            .entry(place)
            .or_insert_with(|| Arc::new(compiled(&schema())))
            .clone();
        drop(known);
        validator
            .iter_errors(value)
            .map(|error| format!("{error} at `{}`", error.instance_path()))
            .collect()
    }
}

fn compiled(schema: &Value) -> Validator {
    let options = jsonschema::options().with_draft(Draft::Draft4);
    options.build(schema).expect("the vendor's schema can be read")
}

/// Returns the path of a document among the shared specifications. None, and loudly so, when it is not there.
fn shared(name: &str) -> Option<Utf8PathBuf> {
    let path = Utf8PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/specs")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    #[expect(
        clippy::print_stderr,
        reason = "a check that did not take place is said out loud"
    )]
    {
        eprintln!("SKIPPED: {path} is not there, so nothing is held to the vendor's description of its API");
    }
    None
}

impl Spec {
    /// Returns an OpenAPI document, if it is there.
    pub(crate) fn open_api(name: &'static str, prefix: &'static str) -> Option<Arc<Self>> {
        Self::written(name, prefix, Value::clone)
    }

    /// Returns a document in Google's form, if it is there.
    pub(crate) fn discovery(name: &'static str, prefix: &'static str) -> Option<Arc<Self>> {
        Self::written(name, prefix, from_discovery)
    }

    /// Returns a document, if it is there, which `as_open_api` writes as OpenAPI. Each is read once.
    pub(crate) fn written(
        name: &'static str,
        prefix: &'static str,
        as_open_api: fn(&Value) -> Value,
    ) -> Option<Arc<Self>> {
        static READ: Mutex<BTreeMap<&str, Option<Arc<Spec>>>> = Mutex::new(BTreeMap::new());
        let read = || {
            let text = std::fs::read(shared(name)?).expect("it is readable");
            let document = serde_json::from_slice(&text).expect("it is JSON");
            Some(Arc::new(Self {
                document: as_open_api(&document),
                prefix,
                validators: Validators::default(),
            }))
        };
        let mut known = READ.lock();
        known.entry(name).or_insert_with(read).clone()
    }

    /// Says what about a call and its reply is not as described.
    pub(crate) fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        let name = format!("{} {}", call.method, call.path);
        let Some((template, operation)) = self.operation(call) else {
            return vec![format!("{name}: there is no such operation")];
        };
        let mut mistakes = self.query_mistakes(call, template, operation);
        let place = format!("{template} {}", call.method);
        mistakes.extend(self.body_mistakes(&place, call, operation));
        mistakes.extend(self.reply_mistakes(&place, reply, operation));
        mistakes
            .iter()
            .map(|mistake| format!("{name}: {mistake}"))
            .collect()
    }

    /// Finds the operation: a path without placeholders counts more than one with.
    fn operation(&self, call: &Call) -> Option<(&str, &Value)> {
        let path = call.path.strip_prefix(self.prefix)?;
        let parts: Vec<_> = path.split('/').collect();
        let paths = self.document["paths"].as_object().expect("paths");
        let mut fitting: Vec<_> = paths
            .iter()
            .filter(|(template, _)| fits(template, &parts))
            .collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        let (template, methods) = fitting.first()?;
        Some((template, methods.get(call.method.to_lowercase())?))
    }

    fn query_mistakes(&self, call: &Call, template: &str, operation: &Value) -> Vec<String> {
        let of_path = self.document["paths"][template]["parameters"].as_array();
        let of_operation = operation["parameters"].as_array();
        let declared: Vec<_> = of_path
            .into_iter()
            .chain(of_operation)
            .flatten()
            .map(|p| self.resolve(p))
            .collect();
        let mut mistakes = Vec::new();
        for (key, value) in &call.query {
            let found = declared.iter().find(|p| p["in"] == "query" && p["name"] == *key);
            match found {
                None => mistakes.push(format!("no query parameter `{key}`")),
                Some(parameter) => {
                    let schema = self.inlined(&parameter["schema"], true);
                    let place = format!("{template} {} ?{key}", call.method);
                    let errors = self
                        .validators
                        .errors(place, || schema.clone(), &typed(&schema, value));
                    mistakes.extend(errors.into_iter().map(|error| format!("query `{key}`: {error}")));
                }
            }
        }
        for parameter in declared
            .iter()
            .filter(|p| p["in"] == "query" && p["required"] == true)
        {
            let key = parameter["name"].as_str().expect("a name");
            if call.query(key).is_none() {
                mistakes.push(format!("query `{key}` is missing"));
            }
        }
        mistakes
    }

    fn body_mistakes(&self, place: &str, call: &Call, operation: &Value) -> Vec<String> {
        let body = self.resolve(&operation["requestBody"]);
        let schema = &body["content"]["application/json"]["schema"];
        match (schema.is_null(), call.body.is_empty()) {
            (true, true) => Vec::new(),
            (true, false) => vec!["takes no body".to_owned()],
            (false, true) if body["required"] == true => vec!["needs a body".to_owned()],
            (false, true) => Vec::new(),
            (false, false) => match call.header("content-type") {
                Some("application/json") => {
                    self.validators
                        .errors(place.to_owned(), || self.inlined(schema, true), &call.json())
                }
                other => vec![format!("content-type is {other:?}")],
            },
        }
    }

    fn reply_mistakes(&self, place: &str, reply: &Reply, operation: &Value) -> Vec<String> {
        let responses = &operation["responses"];
        let exact = &responses[reply.status.to_string()];
        let family = &responses[format!("{}xx", reply.status / 100)];
        let described = if exact.is_null() { family } else { exact };
        if described.is_null() {
            return vec![format!(
                "the fake answered {}, which is not described",
                reply.status
            )];
        }
        let schema = &self.resolve(described)["content"]["application/json"]["schema"];
        if schema.is_null() {
            return Vec::new();
        }
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        let place = format!("{place} {}", reply.status);
        let errors = self
            .validators
            .errors(place, || self.inlined(schema, false), &body);
        errors
            .into_iter()
            .map(|error| format!("the fake's answer: {error}"))
            .collect()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(reference) = value["$ref"].as_str() else {
            return value;
        };
        self.document
            .pointer(reference.trim_start_matches('#'))
            .expect("references resolve")
    }

    /// Returns a schema, what its parts say of the same object included where they are nothing but objects, and the
    /// names of all that it was put together from. None: it stands within itself.
    fn whole(&self, schema: &Value, above: &[String]) -> Option<(Value, Vec<String>)> {
        let mut above = above.to_vec();
        if let Some(name) = schema["$ref"].as_str() {
            if above.iter().any(|other| other == name) {
                return None;
            }
            above.push(name.to_owned());
        }
        let mut whole = self.resolve(schema).clone();
        let (mut parts, mut names) = (Vec::new(), above.clone());
        for part in whole["allOf"].as_array().cloned().unwrap_or_default() {
            let (part, of_part) = self.whole(&part, &above)?;
            names.extend(of_part.into_iter().skip(above.len()));
            parts.push(part);
        }
        let is_plain = |part: &Value| {
            let known = ["type", "properties", "required", "description"];
            let fields = part.as_object().into_iter().flatten();
            part["properties"].is_object() && fields.into_iter().all(|(key, _)| known.contains(&key.as_str()))
        };
        if parts.is_empty() || !parts.iter().all(is_plain) {
            return Some((whole, above));
        }
        let fields = whole.as_object_mut().expect("it has parts");
        fields.remove("allOf");
        for part in parts {
            let properties = fields.entry("properties").or_insert_with(|| json!({}));
            for (name, property) in part["properties"].as_object().into_iter().flatten() {
                properties[name] = property.clone();
            }
            let required = part["required"].as_array().cloned().unwrap_or_default();
            if !required.is_empty() {
                let all = fields.entry("required").or_insert_with(|| json!([]));
                all.as_array_mut().expect("a list").extend(required);
            }
        }
        Some((whole, names))
    }

    /// Returns a schema as JSON Schema has it, with nothing left to look up.
    fn inlined(&self, schema: &Value, is_closed: bool) -> Value {
        self.inlined_below(&[], schema, is_closed)
    }

    fn inlined_below(&self, above: &[String], schema: &Value, is_closed: bool) -> Value {
        let Some((schema, above)) = self.whole(schema, above) else {
            // What stands within itself is not looked at a second time.
            return json!({});
        };
        let inlined = |schema: &Value, is_closed| self.inlined_below(&above, schema, is_closed);
        let Some(fields) = schema.as_object() else {
            return schema.clone();
        };
        let mut result = Map::new();
        for (key, value) in fields {
            let value = match (key.as_str(), value) {
                ("properties", Value::Object(properties)) => {
                    let inlined = properties
                        .iter()
                        .map(|(name, s)| (name.clone(), inlined(s, is_closed)));
                    Value::Object(inlined.collect())
                }
                ("items" | "additionalProperties" | "not", value) if value.is_object() => {
                    inlined(value, is_closed)
                }
                // The parts of a sum describe one object together, so none of them is closed.
                ("allOf", Value::Array(parts)) => parts.iter().map(|part| inlined(part, false)).collect(),
                ("anyOf" | "oneOf", Value::Array(parts)) => {
                    parts.iter().map(|part| inlined(part, is_closed)).collect()
                }
                ("example" | "examples" | "description" | "title" | "default", _) => continue,
                (_, value) => value.clone(),
            };
            result.insert(key.clone(), value);
        }
        if is_closed && result.contains_key("properties") && !result.contains_key("additionalProperties") {
            result.insert("additionalProperties".to_owned(), json!(false));
        }
        let is_nullable = result.remove("nullable") == Some(json!(true));
        let schema = Value::Object(result);
        if is_nullable {
            json!({"anyOf": [schema, {"type": "null"}]})
        } else {
            schema
        }
    }
}

fn fits(template: &str, parts: &[&str]) -> bool {
    let wanted: Vec<_> = template.split('/').collect();
    wanted.len() == parts.len()
        && wanted
            .iter()
            .zip(parts)
            .all(|(want, part)| want.starts_with('{') || want == part)
}

/// Returns the text of a query parameter as the type that it is described with.
pub(crate) fn typed(schema: &Value, text: &str) -> Value {
    match schema["type"].as_str() {
        Some("integer") => text
            .parse::<i64>()
            .map_or_else(|_| json!(text), |number| json!(number)),
        Some("boolean") => text.parse::<bool>().map_or_else(|_| json!(text), |is| json!(is)),
        Some("array") => json!([typed(&schema["items"], text)]),
        _ => json!(text),
    }
}

/// Writes a document of Google's form as OpenAPI.
fn from_discovery(document: &Value) -> Value {
    let mut paths = Map::new();
    let resources = document["resources"].as_object().expect("resources");
    for method in resources
        .values()
        .filter_map(|resource| resource["methods"].as_object())
        .flat_map(Map::values)
    {
        let path = format!(
            "/{}",
            method["flatPath"]
                .as_str()
                .or(method["path"].as_str())
                .expect("a path")
        );
        let http_method = method["httpMethod"].as_str().expect("a method").to_lowercase();
        let parameter = |(name, parameter): (&String, &Value)| {
            let place = &parameter["location"];
            json!({"name": name, "in": place, "required": parameter["required"], "schema": schema_of(parameter)})
        };
        let parameters: Vec<_> = method["parameters"]
            .as_object()
            .into_iter()
            .flatten()
            .map(parameter)
            .collect();
        let mut operation = json!({
            "parameters": parameters,
            "responses": {"200": content(&method["response"]), "4xx": {}, "5xx": {}},
        });
        if !method["request"].is_null() {
            operation["requestBody"] = content(&method["request"]);
            operation["requestBody"]["required"] = json!(true);
        }
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods[http_method] = operation;
    }
    let schemas = document["schemas"].as_object().expect("schemas");
    let schemas: Map<_, _> = schemas
        .iter()
        .map(|(name, schema)| (name.clone(), schema_of(schema)))
        .collect();
    json!({"paths": paths, "components": {"schemas": schemas}})
}

fn content(schema: &Value) -> Value {
    json!({"content": {"application/json": {"schema": schema_of(schema)}}})
}

/// Writes a schema of Google's form as OpenAPI: references, and what may be anything.
fn schema_of(schema: &Value) -> Value {
    let Some(fields) = schema.as_object() else {
        return schema.clone();
    };
    if let Some(name) = fields.get("$ref").and_then(Value::as_str) {
        return json!({"$ref": format!("#/components/schemas/{name}")});
    }
    let mut result = Map::new();
    for (key, value) in fields {
        let value = match key.as_str() {
            "properties" => {
                let properties = value.as_object().expect("properties").iter();
                Value::Object(
                    properties
                        .map(|(name, schema)| (name.clone(), schema_of(schema)))
                        .collect(),
                )
            }
            "items" | "additionalProperties" => schema_of(value),
            "type" if value == "any" => continue,
            "type" | "enum" => value.clone(),
            _ => continue,
        };
        result.insert(key.clone(), value);
    }
    Value::Object(result)
}
