//! Holds calls to AWS's own model of EC2, as botocore has it. An unknown, missing or mistyped parameter is a mistake.

use std::{
    collections::BTreeMap,
    io::Read,
    path::PathBuf,
    process::Command,
    sync::{Arc, OnceLock},
};

use serde_json::Value;

const FILE: &str = "data/ec2/2016-11-15/service-2.json.gz";

/// AWS's model of EC2.
pub(crate) struct Model(Value);

/// The parameters of a call as a tree: `A.1.B=x` is x under A, 1, B.
#[derive(Default)]
struct Tree {
    value: Option<String>,
    children: BTreeMap<String, Tree>,
}

impl Model {
    /// Returns the model that `TWOLANE_EC2_MODEL` names, or that of an installed botocore. None, and loudly so,
    /// when there is none. It is read once.
    pub(crate) fn find() -> Option<Arc<Self>> {
        static READ: OnceLock<Option<Arc<Model>>> = OnceLock::new();
        READ.get_or_init(|| {
            let Some(path) = path().filter(|path| path.is_file()) else {
                #[expect(
                    clippy::print_stderr,
                    reason = "a check that did not take place is said out loud"
                )]
                {
                    eprintln!("SKIPPED: no botocore is installed, so nothing is held to AWS's model of EC2");
                }
                return None;
            };
            let mut text = String::new();
            let file = std::fs::File::open(path).expect("it is readable");
            flate2::read::GzDecoder::new(file)
                .read_to_string(&mut text)
                .expect("it is gzip");
            Some(Arc::new(Self(serde_json::from_str(&text).expect("it is JSON"))))
        })
        .clone()
    }

    /// Says what about a call is not as described.
    pub(crate) fn mistakes(&self, params: &BTreeMap<String, String>) -> Vec<String> {
        let action = params.get("Action").cloned().unwrap_or_default();
        let Some(shape) = self.0["operations"][&action]["input"]["shape"].as_str() else {
            return vec![format!("{action}: there is no such action")];
        };
        let mut tree = Tree::default();
        for (key, value) in params
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), "Action" | "Version"))
        {
            let place = key.split('.').fold(&mut tree, |tree, part| {
                tree.children.entry(part.to_owned()).or_default()
            });
            place.value = Some(value.clone());
        }
        let mut mistakes = Vec::new();
        self.compare(&action, shape, &tree, &mut mistakes);
        mistakes
    }

    fn compare(&self, place: &str, shape: &str, tree: &Tree, mistakes: &mut Vec<String>) {
        let shape = &self.0["shapes"][shape];
        match shape["type"].as_str().unwrap_or_default() {
            "structure" => self.compare_structure(place, shape, tree, mistakes),
            "list" => {
                let member = shape["member"]["shape"].as_str().expect("a shape");
                for (index, child) in &tree.children {
                    let place = format!("{place}.{index}");
                    match index.parse::<u32>() {
                        Ok(1..) => self.compare(&place, member, child, mistakes),
                        _ => mistakes.push(format!("{place}: not a number from 1 on")),
                    }
                }
            }
            kind => match &tree.value {
                Some(value) if tree.children.is_empty() => {
                    mistakes.extend(why_mistyped(kind, shape, value).map(|why| format!("{place}: {why}")));
                }
                _ => mistakes.push(format!("{place}: is a {kind}")),
            },
        }
    }

    fn compare_structure(&self, place: &str, shape: &Value, tree: &Tree, mistakes: &mut Vec<String>) {
        let members = shape["members"].as_object().expect("members");
        let named: BTreeMap<_, _> = members
            .iter()
            .map(|(name, member)| (query_name(name, member), member))
            .collect();
        for (name, child) in &tree.children {
            match named.get(name) {
                Some(member) => {
                    let shape = member["shape"].as_str().expect("a shape");
                    self.compare(&format!("{place}.{name}"), shape, child, mistakes);
                }
                None => mistakes.push(format!("{place}: no parameter {name}")),
            }
        }
        for required in shape["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !tree
                .children
                .contains_key(&query_name(required, &members[required]))
            {
                mistakes.push(format!("{place}: {required} is missing"));
            }
        }
    }
}

fn path() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("TWOLANE_EC2_MODEL") {
        return Some(PathBuf::from(path));
    }
    let program = "import os, botocore; print(os.path.dirname(botocore.__file__))";
    let output = Command::new("python3")
        .args(["-c", program])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()).join(FILE))
}

/// Returns a member's name in EC2's query protocol.
fn query_name(name: &str, member: &Value) -> String {
    if let Some(name) = member["queryName"].as_str() {
        return name.to_owned();
    }
    let name = member["locationName"].as_str().unwrap_or(name);
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_ascii_uppercase())
        .into_iter()
        .chain(letters)
        .collect()
}

fn why_mistyped(kind: &str, shape: &Value, value: &str) -> Option<String> {
    let is_right = match kind {
        "integer" | "long" => value.parse::<i64>().is_ok(),
        "boolean" => matches!(value, "true" | "false"),
        _ => shape["enum"]
            .as_array()
            .is_none_or(|words| words.iter().any(|word| word == value)),
    };
    (!is_right).then(|| format!("`{value}` is no {kind} of those that there are"))
}
