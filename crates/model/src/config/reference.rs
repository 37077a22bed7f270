//! Every key of `twolane.toml`, as people and editors read of it: `docs/configuration.md` and `docs/twolane.schema.json` are
//! made from this list, and tests hold it to what the reader takes. `UPDATE_DOCS=1 cargo test -p model reference` writes both.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::{Map, Value, json};

use super::{Around, read, read::walk::asked_keys};

/// What a value may be.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Flag,
    Word(&'static [&'static str]),
    Number,
    Length,
    Size,
    Money,
    Texts,
    Variables,
    Table,
    Tables,
    /// A list whose entries are names or tables.
    Entries,
    /// One word, or such a list.
    WordOrEntries(&'static str),
    /// A version and its checksums.
    Pin,
    FlagOrPin,
    Checksums,
    /// Names of tests, or a table.
    TextsOrTable,
}

struct Key {
    /// Dotted; `NAME` is chosen by the user, `[]` is an entry of a list.
    path: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    does: &'static str,
}

const fn key(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    example: &'static str,
    does: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default,
        example,
        does,
    }
}

/// The default of a key that must be there.
const REQUIRED: &str = "required";

#[rustfmt::skip]
const KEYS: &[Key] = &[
    key("project", Kind::Table, "", "", "The project as a whole"),
    key("project.name", Kind::Text, "the directory's name", "\"mvm\"", "Prefix of labels; at most 20 characters"),
    key("project.fail-on-skip", Kind::Flag, "false", "true", "Fail the run when no lane really ran a test; the default of every lane"),
    key("project.baseline", Kind::Text, "none", "\"twolane-skips.txt\"", "File of known silent skips, one test a line"),

    key("sources", Kind::Table, "{ NAME = { path = \".\" } }", "", "Directories to copy; checks run in the first one"),
    key("sources.NAME", Kind::Table, "", "", "One directory. On the box it is `NAME` in the home of `system.user`"),
    key("sources.NAME.path", Kind::Text, REQUIRED, "\"../mvm\"", "Path on this machine, relative to twolane.toml"),

    key("system", Kind::Table, "", "", "What stage 1 installs on every box"),
    key("system.packages", Kind::Texts, "[]", "[\"build-essential\", \"pkg-config\"]", "Distribution packages; `NAME/RELEASE` and `NAME=VERSION` as apt takes them"),
    key("system.rust", Kind::Table, "none", "", "The Rust toolchain"),
    key("system.rust.toolchain", Kind::Text, "\"stable\"", "\"1.90.0\"", "Channel or version"),
    key("system.rust.components", Kind::Texts, "[]", "[\"clippy\", \"rustfmt\"]", "Components beside the minimal profile"),
    key("system.rust.targets", Kind::Texts, "[]", "[\"x86_64-unknown-linux-musl\"]", "Targets beside the host's own"),
    key("system.rust.from", Kind::Word(&["rustup", "apt", "operator"]), "\"rustup\"", "\"operator\"", "Source of the toolchain; `operator` copies this machine's"),
    key("system.rust.rustup", Kind::Pin, "a pinned version", "{ version = \"1.28.2\" }", "Version and checksums of the rustup installer"),
    key("system.nix", Kind::FlagOrPin, "false", "true", "Nix: `true` for the pinned version, or a version with checksums"),
    key("system.firecracker", Kind::FlagOrPin, "false", "true", "Firecracker and its jailer; the KVM gate boots a kernel with it"),
    key("system.cargo-tools", Kind::Entries, "[]", "[\"cargo-nextest\", \"cargo-deny\"]", "Tools: names with a pinned version, or tables"),
    key("system.cargo-tools[].name", Kind::Text, REQUIRED, "\"cargo-fuzz\"", "Name of the crate and its program"),
    key("system.cargo-tools[].version", Kind::Text, "a pinned version", "\"0.12.0\"", "Version"),
    key("system.cargo-tools[].url", Kind::Text, "built on the box", "\"https://mirror.example/nextest-{arch}.tar.gz\"", "Archive to download; `{arch}` is the architecture"),
    key("system.cargo-tools[].sha256", Kind::Checksums, "required with `url`", "{ x86_64 = \"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\" }", "SHA-256 of the archive"),
    key("system.user", Kind::Text, "\"dev\"", "\"acme\"", "Who owns the sources and runs the checks; may log in"),
    key("system.users", Kind::Texts, "[]", "[\"mvm\", \"mvmd\"]", "System users beside it"),
    key("system.directories", Kind::Entries, "[]", "[\"/var/lib/mvm\"]", "Directories: paths, or tables"),
    key("system.directories[].path", Kind::Text, REQUIRED, "\"/srv/images\"", "Absolute path"),
    key("system.directories[].owner", Kind::Text, "the user named like its last part, else root", "\"mvm\"", "Owner"),
    key("system.directories[].group", Kind::Text, "as the owner", "\"mvmd\"", "Group"),
    key("system.directories[].mode", Kind::Text, "\"0750\", or \"0755\" for root's", "\"0770\"", "Mode in octal"),
    key("system.mirror", Kind::Text, "each vendor's server", "\"http://mirror.example/prefix\"", "Mirror of all downloads"),
    key("system.ca-certs", Kind::Text, "none", "\"ca.pem\"", "File of certificates that boxes trust in addition"),

    key("deploy", Kind::Table, "", "", "What [stage 2](deploy.md) builds, installs and starts"),
    key("deploy.binaries", Kind::Tables, "[]", "[{ package = \"mvmd\" }]", "Programs to build in release mode"),
    key("deploy.binaries[].package", Kind::Text, REQUIRED, "\"mvmd-runtime\"", "Workspace package"),
    key("deploy.binaries[].bin", Kind::Text, "the package's name", "\"mvm-hostd\"", "Name of the program"),
    key("deploy.configs", Kind::Texts, "[]", "[\"ops/coordinator.toml.j2\"]", "Templates of configuration files"),
    key("deploy.units", Kind::Texts, "[]", "[\"mvm-hostd\"]", "systemd units, started in this order"),
    key("deploy.smoke", Kind::Text, "none", "\"ops/smoke.sh\"", "Script of a check with `run = \"smoke\"`"),
    key("deploy.config-dir", Kind::Text, "\"/etc/daemons\"", "\"/etc/acme\"", "Directory of the rendered configuration"),
    key("deploy.user", Kind::Text, "\"daemons\"", "\"acme\"", "System user of the daemons"),

    key("lanes", Kind::Table, REQUIRED, "", "Lanes; at least one"),
    key("lanes.NAME", Kind::Table, "", "", "One lane; the name has at most 20 characters"),
    key("lanes.NAME.kvm", Kind::Word(&["none", "required", "nested", "metal"]), "\"none\"", "\"required\"", "What the lane needs of `/dev/kvm`; with `none` the box has none"),
    key("lanes.NAME.boxes", Kind::WordOrEntries("cheapest"), "[\"local\"]", "[\"gcp\", \"local\"]", "Candidates, in order: providers or tables; or the cheapest known"),
    key("lanes.NAME.boxes[].provider", Kind::Text, REQUIRED, "\"aws\"", "Provider"),
    key("lanes.NAME.boxes[].type", Kind::Text, "the provider's", "\"c8i.xlarge\"", "Instance type"),
    key("lanes.NAME.boxes[].region", Kind::Text, "the provider's", "\"us-east-1\"", "Provider region"),
    key("lanes.NAME.boxes[].image", Kind::Text, "the provider's", "\"ami-0123\"", "Image"),
    key("lanes.NAME.boxes[].disk", Kind::Number, "the provider's", "60", "Root disk in GiB, 4 to 65536"),
    key("lanes.NAME.boxes[].spot", Kind::Flag, "false", "true", "Buy a box that its provider may take back; then the next candidate is tried. aws, azure, gcp"),
    key("lanes.NAME.boxes[].tags", Kind::Variables, "{}", "{ team = \"ci\" }", "Your own tags on what is made: aws, azure, gcp, hetzner"),
    key("lanes.NAME.boxes[].network", Kind::Text, "`default`", "\"company\"", "Network that is there already, a name or a path: gcp"),
    key("lanes.NAME.boxes[].subnet", Kind::Text, "the provider's, or one of the box's own", "\"subnet-0123\"", "Subnet that is there already: aws (its id), gcp (a name or a path), azure (its whole id)"),
    key("lanes.NAME.boxes[].subnetwork", Kind::Text, "none", "\"projects/host/regions/us-central1/subnetworks/ci\"", "The same, in Google's word"),
    key("lanes.NAME.boxes[].security-group", Kind::Text, "one of the box's own", "\"sg-0123\"", "Security group that is there already, left as it is: aws"),
    key("lanes.NAME.boxes[].resource-group", Kind::Text, "one of the box's own", "\"acme-ci\"", "Resource group that is there already, with `subnet`; only what is made in it is destroyed: azure"),
    key("lanes.NAME.boxes[].address", Kind::Text, "a public address", "\"private\"", "With `\"private\"` no public address, [and the box is reached at its private one](cloud.md#private-addresses): aws, azure, gcp. Of the provider [host](host.md): the machine, as `eve@desk:22`"),
    key("lanes.NAME.boxes[].jump", Kind::Text, "none", "\"eve@bastion\"", "Machine through which a private address is reached, as with `ssh -J`; without it the address is dialled directly (VPN)"),
    key("lanes.NAME.tags", Kind::Variables, "{}", "{ team = \"ci\" }", "Your own tags for the boxes of every cloud in `boxes`; the entry's own count more"),
    key("lanes.NAME.ttl", Kind::Length, "\"2h\"", "\"90m\"", "Lifetime of the box, 1m to 48h"),
    key("lanes.NAME.boxes-at-once", Kind::Number, "1", "4", "Boxes that [share the lane's tests](loop.md#share-a-lane-over-boxes)"),
    key("lanes.NAME.max-cost", Kind::Money, "none", "[\"5 USD\", \"5 EUR\"]", "Refuse candidates that could cost more until the deadline; one amount for each currency"),
    key("lanes.NAME.deploy", Kind::Flag, "false", "true", "Run stage 2 before the checks"),
    key("lanes.NAME.setup", Kind::Text, "none", "\"modprobe tun\"", "Command that root runs once in the life of a box, before the checks"),
    key("lanes.NAME.build", Kind::Word(&["box", "here"]), "`here` for an emulated box, else `box`", "\"here\"", "Where tests are [compiled](loop.md): in the box, or on this machine"),
    key("lanes.NAME.continue", Kind::Flag, "true for `checks = \"rust\"`, else false", "true", "Continue after a failed check"),
    key("lanes.NAME.fail-on-skip", Kind::Flag, "that of [project]", "true", "Fail the run when no lane really ran a test of this lane"),
    key("lanes.NAME.trace", Kind::Flag, "true if any lane traces", "true", "Run tests under the [tracer](skips.md)"),
    key("lanes.NAME.supersede", Kind::Flag, "false", "true", "Destroy the boxes of an older run of the same pull request first"),
    key("lanes.NAME.checks", Kind::WordOrEntries("rust"), REQUIRED, "[\"fmt\", \"clippy\"]", "Checks, in order: `rust`, or names of its checks and tables"),
    key("lanes.NAME.checks[].name", Kind::Text, REQUIRED, "\"live kvm\"", "Name, at most 80 characters"),
    key("lanes.NAME.checks[].run", Kind::Text, REQUIRED, "\"cargo test --test live\"", "Shell command, run in the first source"),
    key("lanes.NAME.checks[].timeout", Kind::Length, "\"30m\"", "\"20m\"", "Time limit; at most the lane's `ttl`"),
    key("lanes.NAME.checks[].junit", Kind::Text, "none", "\"target/nextest/default/junit.xml\"", "JUnit file that the check writes"),
    key("lanes.NAME.checks[].artifacts", Kind::Texts, "[]", "[\"target/tmp\"]", "Files and directories to collect"),
    key("lanes.NAME.checks[].needs", Kind::Texts, "[]", "[\"program:strace\"]", "Skip the check without these: `program:NAME`, `file:PATH`, `advisory-db`"),
    key("lanes.NAME.checks[].reboot", Kind::Flag, "false", "true", "Allow the check to reboot the box"),
    key("lanes.NAME.checks[].user", Kind::Word(&["root"]), "`system.user`", "\"root\"", "User that runs the check"),
    key("lanes.NAME.checks[].env", Kind::Variables, "{}", "{ RUST_LOG = \"debug\" }", "Environment variables; part of the recorded plan"),
    key("lanes.NAME.checks[].env-from", Kind::Texts, "[]", "[\"MVM_LIVE_KERNEL\"]", "Variables to pass from your own environment; never recorded"),
    key("lanes.NAME.checks[].expect", Kind::TextsOrTable, "none", "[\"boots_a_guest\"]", "Tests that must really run, by name or number; else the check fails"),
    key("lanes.NAME.checks[].expect.min", Kind::Number, REQUIRED, "12", "Fewest tests that must really run"),
    key("lanes.NAME.checks[].after", Kind::Text, "none", "\"fmt\"", "Skip the check unless that earlier one has passed"),
    key("lanes.NAME.checks[].always", Kind::Flag, "false", "true", "Run the check also after a failure that ended the lane"),

    key("local", Kind::Table, "", "", "Boxes on this machine"),
    key("local.image", Kind::Text, "\"debian-13\"", "\"debian-12\"", "Base image"),
    key("local.mirror", Kind::Text, "this machine's own", "\"http://127.0.0.1:3142/debian\"", "Debian mirror for the base image"),
    key("local.acceleration", Kind::Word(&["auto", "kvm", "tcg"]), "\"auto\"", "\"tcg\"", "KVM if it works, KVM or no box, or emulation"),
    key("local.qemu", Kind::Text, "found in PATH", "\"/opt/qemu/bin/qemu-system-x86_64\"", "The QEMU program"),
    key("local.template", Kind::Flag, "true", "false", "Clone boxes from a template that is frozen after stage 1"),
    key("local.network", Kind::Word(&["internet", "none", "host"]), "\"internet\"", "\"none\"", "What boxes reach: the internet and nothing of this machine, nothing, or all that this machine reaches"),
    key("local.allow", Kind::Texts, "[]", "[\"127.0.0.1:3142\"]", "What boxes reach beside that: `ADDRESS[/BITS][:PORT]`; this machine's loopback is 10.0.2.2 there"),

    key("limits", Kind::Table, "", "", "How much twolane takes from a box"),
    key("limits.log", Kind::Size, "\"1 GiB\"", "\"100 MiB\"", "Output of one check, and of stage 2"),
    key("limits.artifacts", Kind::Size, "\"4 GiB\"", "\"2 GiB\"", "Collected files of one lane"),
    key("limits.artifact-files", Kind::Number, "100000", "5000", "Number of collected files of one lane"),
    key("limits.run", Kind::Size, "\"16 GiB\"", "\"8 GiB\"", "Output and collected files of all lanes of a run"),
    key("limits.free", Kind::Size, "\"1 GiB\"", "\"3 GiB\"", "Space to leave free on this machine's disk"),

    key("endpoints", Kind::Variables, "each vendor's", "{ hetzner = \"http://127.0.0.1:9999/v1\" }", "Address of a provider's API"),
];

impl Kind {
    fn words(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Word(words) => words
                .iter()
                .map(|word| format!("`{word}`"))
                .collect::<Vec<_>>()
                .join(", "),
            Self::Number => "number".to_owned(),
            Self::Length => "time: `90s`, `20m`, `1h30m`".to_owned(),
            Self::Size => "size: `500 MiB`".to_owned(),
            Self::Money => "amount: `5 USD`, or list of amounts".to_owned(),
            Self::Texts => "list of text".to_owned(),
            Self::Variables => "table of text".to_owned(),
            Self::Table => "table".to_owned(),
            Self::Tables => "list of tables".to_owned(),
            Self::Entries => "list of text or tables".to_owned(),
            Self::WordOrEntries(word) => format!("`{word}`, or list of text or tables"),
            Self::Pin => "`{ version, sha256 = { x86_64, aarch64 } }`".to_owned(),
            Self::FlagOrPin => "true, false, or `{ version, sha256 = { x86_64, aarch64 } }`".to_owned(),
            Self::Checksums => "`{ x86_64, aarch64 }`".to_owned(),
            Self::TextsOrTable => "list of text, or table".to_owned(),
        }
    }

    /// Returns the schema of a value; `inner` is that of a table.
    fn schema(self, inner: impl Fn() -> Value) -> Value {
        let text = || json!({ "type": "string" });
        let checksums = || {
            let sum = json!({ "type": "string", "pattern": "^[0-9a-fA-F]{64}$" });
            json!({ "type": "object", "additionalProperties": false, "minProperties": 1,
                "properties": { "x86_64": sum, "aarch64": sum } })
        };
        let pin = || {
            json!({ "type": "object", "additionalProperties": false, "required": ["version"],
                "properties": { "version": { "type": "string" }, "sha256": checksums() } })
        };
        let entries = || json!({ "type": "array", "items": { "anyOf": [text(), inner()] } });
        match self {
            Self::Text => text(),
            Self::Flag => json!({ "type": "boolean" }),
            Self::Word(words) => json!({ "enum": words }),
            Self::Number => json!({ "type": "integer", "minimum": 1 }),
            Self::Length => json!({ "type": "string", "pattern": "^[0-9]" }),
            Self::Size => json!({ "type": "string", "pattern": "^[0-9]+ ?[KMGT]iB$" }),
            Self::Money => {
                let amount = json!({ "type": "string", "pattern": "^[0-9.]+ [A-Z]{3}$" });
                json!({ "anyOf": [amount, { "type": "array", "items": amount }] })
            }
            Self::Texts => json!({ "type": "array", "items": text() }),
            Self::Variables => json!({ "type": "object", "additionalProperties": text() }),
            Self::Table => inner(),
            Self::Tables => json!({ "type": "array", "items": inner() }),
            Self::Entries => entries(),
            Self::WordOrEntries(word) => json!({ "anyOf": [{ "const": word }, entries()] }),
            Self::Pin => pin(),
            Self::FlagOrPin => json!({ "anyOf": [{ "type": "boolean" }, pin()] }),
            Self::Checksums => checksums(),
            Self::TextsOrTable => json!({ "anyOf": [{ "type": "array", "items": text() }, inner()] }),
        }
    }
}

/// Returns the path of the table that a key is in, and its own name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Returns the schema of the table at `path`.
fn table(path: &str) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for key in KEYS.iter().filter(|key| split(key.path).0 == path) {
        let (_, name) = split(key.path);
        let list = format!("{}[]", key.path);
        let is_list = KEYS.iter().any(|other| split(other.path).0 == list);
        let of = if is_list { list.as_str() } else { key.path };
        let mut schema = key.kind.schema(|| table(of));
        schema["description"] = key.does.into();
        if name == "NAME" {
            return json!({ "type": "object", "additionalProperties": schema });
        }
        if key.default == REQUIRED {
            required.push(name);
        }
        properties.insert(name.to_owned(), schema);
    }
    json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required })
}

fn schema() -> Value {
    let mut schema = table("");
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["title"] = "twolane.toml".into();
    schema
}

const HEAD: &str = "\
# twolane.toml

Every key, with its type, default and an example. `twolane init` writes a commented file, `twolane plan` checks it offline and
underlines every mistake at once. Editors check and complete it with [`twolane.schema.json`](twolane.schema.json): with Taplo or the
TOML extension of VS Code, make `#:schema ./twolane.schema.json` the file's first line.

twolane looks for `twolane.toml` in the current directory and in those above it. A Rust workspace without the file gets the `rust`
preset. `NAME` stands for a name of yours, `[]` for each entry of a list.

<!-- Generated from crates/model/src/config/reference.rs: UPDATE_DOCS=1 cargo test -p model reference -->
";

fn page() -> String {
    let mut text = HEAD.to_owned();
    for key in KEYS {
        let is_section = matches!(key.kind, Kind::Table) && !key.path.contains('.');
        if is_section || key.path == "endpoints" {
            text += &format!("\n## [{}]\n\n{}.\n\n", key.path, key.does);
            text += "| key | type | default | example | does |\n| --- | --- | --- | --- | --- |\n";
        }
        if !is_section && !key.example.is_empty() {
            let cell = |text: &str| text.replace('|', "\\|");
            let default = match key.default {
                REQUIRED => "**required**".to_owned(),
                words if words.starts_with(['"', '[', '{']) && words.ends_with(['"', ']', '}']) => {
                    format!("`{words}`")
                }
                words => words.to_owned(),
            };
            text += &format!(
                "| `{}` | {} | {} | `{}` | {} |\n",
                key.path
                    .replace("lanes.NAME.", "")
                    .replace("sources.NAME.", "NAME."),
                cell(&key.kind.words()),
                cell(&default),
                cell(key.example),
                cell(key.does)
            );
        }
    }
    text
}

/// Compares a file of the documentation, or writes it.
#[track_caller]
#[expect(
    clippy::disallowed_methods,
    reason = "a test, which asks whether to write what it found stale"
)]
fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../docs")
        .join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is stale: UPDATE_DOCS=1 cargo test -p model reference"
    );
}

#[test]
fn configuration_page_is_current() {
    check("configuration.md", &page());
}

#[test]
fn schema_is_current_and_accepts_what_the_reader_accepts() {
    let text = format!("{}\n", serde_json::to_string_pretty(&schema()).unwrap());
    check("twolane.schema.json", &text);
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let whole: Value = toml::from_str(include_str!("read/testdata/whole.toml")).unwrap();
    let errors: Vec<String> = validator
        .iter_errors(&whole)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, Vec::<String>::new());
    let wrong: Value = toml::from_str(include_str!("read/testdata/wrong.toml")).unwrap();
    assert!(!validator.is_valid(&wrong));
}

/// The reader's names of tables, and what they are called here. Tables with a version and checksums are one kind of value.
const TABLES: &[(&str, &str)] = &[
    ("twolane.toml", ""),
    ("`project`", "project"),
    ("source `", "sources.NAME"),
    ("`system`", "system"),
    ("`rust`", "system.rust"),
    ("an entry of `cargo-tools`", "system.cargo-tools[]"),
    ("an entry of `directories`", "system.directories[]"),
    ("`deploy`", "deploy"),
    ("an entry of `binaries`", "deploy.binaries[]"),
    ("[lanes.", "lanes.NAME"),
    ("an entry of `boxes`", "lanes.NAME.boxes[]"),
    ("an entry of `checks`", "lanes.NAME.checks[]"),
    ("`expect`", "lanes.NAME.checks[].expect"),
    ("`local`", "local"),
    ("`limits`", "limits"),
];

#[test]
fn every_key_that_is_read_is_documented() {
    read(include_str!("read/testdata/whole.toml"), &Around::default()).unwrap();
    let mut asked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (what, keys) in asked_keys() {
        if let Some((_, path)) = TABLES.iter().find(|(name, _)| what.starts_with(name)) {
            asked.entry(path).or_default().extend(keys);
        }
    }
    assert_eq!(asked.len(), TABLES.len(), "{asked:?}");
    for (path, mut keys) in asked {
        keys.sort_unstable();
        keys.dedup();
        // Refused, with the reason: nothing to document.
        keys.retain(|key| *key != "as-user");
        let mut documented: Vec<&str> = KEYS
            .iter()
            .map(|key| split(key.path))
            .filter(|(table, _)| *table == path)
            .map(|(_, name)| name)
            .collect();
        documented.sort_unstable();
        assert_eq!(documented, keys, "[{path}]");
    }
}

#[test]
fn every_example_is_read() {
    let lane = "[lanes.a]\nchecks = \"rust\"\n";
    for key in KEYS.iter().filter(|key| !key.example.is_empty()) {
        let (table, name) = split(key.path);
        let line = format!("{name} = {}", key.example);
        let (before, after) = match table {
            "" => ("".to_owned(), format!("\n{lane}")),
            "sources.NAME" => (format!("{lane}[sources]\na = {{ "), " }\n".to_owned()),
            "lanes.NAME" if name == "checks" => ("[lanes.a]\n".to_owned(), String::new()),
            "lanes.NAME" => (lane.to_owned(), String::new()),
            "lanes.NAME.checks[]" => ("[lanes.a]\nchecks = [\"fmt\", { ".to_owned(), " }]\n".to_owned()),
            "lanes.NAME.checks[].expect" => (
                "[lanes.a]\nchecks = [{ name = \"a\", run = \"b\", expect = { ".to_owned(),
                " } }]\n".to_owned(),
            ),
            "lanes.NAME.boxes[]" if name == "address" => (
                format!("{lane}boxes = [{{ provider = \"host\", "),
                " }]\n".to_owned(),
            ),
            "system.cargo-tools[]" if name == "sha256" => (
                format!("{lane}[system]\ncargo-tools = [{{ url = \"https://mirror.example/a.tar.gz\", "),
                " }]\n".to_owned(),
            ),
            path if path.ends_with("[]") => {
                let (outer, list) = split(path.trim_end_matches("[]"));
                let head = if outer == "lanes.NAME" {
                    lane.to_owned()
                } else {
                    format!("{lane}[{outer}]\n")
                };
                (format!("{head}{list} = [{{ "), " }]\n".to_owned())
            }
            "system.rust" => (format!("{lane}[system]\nrust = {{ "), " }\n".to_owned()),
            path => (format!("{lane}[{path}]\n"), "\n".to_owned()),
        };
        let text = format!("{before}{line}{after}");
        let own = before.len()..before.len() + line.len();
        let wrong = read(&text, &Around::default()).err().unwrap_or_default();
        for mistake in wrong {
            let is_own = mistake.span.start >= own.start && mistake.span.end <= own.end;
            assert!(!is_own, "{}: {}\n{text}", key.path, mistake.message);
        }
    }
}
