//! The user-data of a box: `ops/ephemeral/cloud-init.yaml` filled in, the same for every provider.
//! Keeps out: where the values come from, and what a provider does to user-data on its way.

use std::{io::Write, sync::LazyLock};

use base64::Engine;
use flate2::{Compression, write::GzEncoder};
use minijinja::{Environment, UndefinedBehavior, Value, context, value::Serde};
use serde_json::json;

use super::{
    KVM_GATE, quote,
    stage1::{CargoTool, Pinned, Stage1, System, Toolchain, User},
    validate::mistakes,
};
use crate::{order::Parts, source::WORK_USER};

const TEMPLATE: &str = include_str!("../../../../ops/ephemeral/cloud-init.yaml");
const STAGE1: &str = include_str!("../../../../ops/ephemeral/stage1.sh");
const VMM_BOOT: &str = include_str!("../../../../ops/ephemeral/vmm-boot.py");
const IDENTITY: &str = include_str!("../../../../ops/ephemeral/identity.py");
const OF_TEMPLATE: &str = include_str!("../../../../ops/ephemeral/template.sh");

/// The name of a box that is nobody's yet.
const NOBODY: &str = "twolane-template";

/// User-data cannot be made of these values; all mistakes at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not render the user-data: {}", mistakes.join("; "))]
pub struct RenderError {
    /// Each names the value and what is wrong with it.
    pub mistakes: Vec<String>,
}

/// Renders the box's user-data.
pub fn user_data(stage1: &Stage1) -> Result<String, RenderError> {
    render(stage1, true)
}

/// Renders the box's user-data in two parts: what all boxes of a configuration have in common, and who this one is.
pub fn in_parts(stage1: &Stage1) -> Result<Parts, RenderError> {
    let Stage1 {
        system,
        hostname,
        host_key,
        authorized_keys,
        deadline,
        ttl,
    } = stage1;
    let common = Stage1 {
        system: System {
            gate_required: false,
            hide_kvm: false,
            ..system.clone()
        },
        hostname: NOBODY.to_owned(),
        ..stage1.clone()
    };
    let identity = json!({
        "hostname": hostname,
        "nobody": NOBODY,
        "host_key": { "private": host_key.private, "public": host_key.public },
        "authorized_keys": authorized_keys,
        "deadline": deadline.unix(),
        "ttl": ttl.as_secs(),
        "env": assignments(&gate_env(system)),
    });
    Ok(Parts {
        template: render(&common, false)?,
        identity: identity.to_string(),
    })
}

fn render(stage1: &Stage1, identity: bool) -> Result<String, RenderError> {
    let mistakes = mistakes(stage1);
    if !mistakes.is_empty() {
        return Err(RenderError { mistakes });
    }
    let rendered = ENVIRONMENT
        .get_template("cloud-init.yaml")
        .and_then(|template| template.render(values(stage1, identity)));
    rendered.map_err(|error| RenderError {
        mistakes: vec![format!("cloud-init.yaml: {error:#}")],
    })
}

/// Read once: it is the same for all boxes.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_formatter(|out, _, value| {
        match value.as_str().filter(|_| value.is_safe()) {
            Some(ready) => out.write_str(ready)?,
            None => out.write_str(&scalar(value)?)?,
        }
        Ok(())
    });
    environment
        .add_template("cloud-init.yaml", TEMPLATE)
        .expect("the tests render it");
    environment
});

static PACKED_KVM_GATE: LazyLock<Value> = LazyLock::new(|| ready(packed(KVM_GATE)));
static PACKED_STAGE1: LazyLock<Value> = LazyLock::new(|| ready(packed(STAGE1)));

/// Returns long text that is the same for all boxes as the scalar that it becomes.
fn ready(text: String) -> Value {
    let scalar = scalar(&Value::from(text)).expect("text becomes a scalar");
    Value::from_safe_string(scalar)
}

/// Returns user-data as gzip, which cloud-init takes as well as text, for providers with little room.
pub fn gzipped(user_data: &str) -> Vec<u8> {
    gzip(user_data.as_bytes())
}

fn values(stage1: &Stage1, identity: bool) -> Value {
    let Stage1 {
        system,
        hostname,
        host_key,
        authorized_keys,
        deadline,
        ttl,
    } = stage1;
    context! {
        identity,
        identity_py => (!identity).then(|| packed(IDENTITY)),
        template_sh => (!identity).then(|| packed(OF_TEMPLATE)),
        hostname,
        host_key => context! { private => host_key.private.as_str(), public => host_key.public.as_str() },
        authorized_keys => Serde(authorized_keys),
        users => Serde(users(system)),
        ca_certs => Serde(&system.ca_certs),
        ttl_seconds => ttl.as_secs(),
        deadline => format!("{} {}\n", deadline.unix(), ttl.as_secs()),
        stage1_env => env(system),
        kvm_gate => PACKED_KVM_GATE.clone(),
        vmm_boot => system.firecracker.as_ref().map(|_| packed(VMM_BOOT)),
        stage1_sh => PACKED_STAGE1.clone(),
    }
}

/// Writes a value as YAML that every reader takes for the same scalar: JSON, in printable ASCII only.
fn scalar(value: &Value) -> Result<String, minijinja::Error> {
    if value.is_undefined() {
        return Err(minijinja::Error::from(minijinja::ErrorKind::UndefinedError));
    }
    let json = serde_json::to_string(value)
        .map_err(|error| minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string()))?;
    if json.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Ok(json);
    }
    Ok(json.chars().fold(String::new(), |text, c| match c {
        ' '..='~' => text + c.encode_utf8(&mut [0; 4]),
        '\0'..='\u{ffff}' => text + &format!("\\u{:04X}", u32::from(c)),
        _ => text + &format!("\\U{:08X}", u32::from(c)),
    }))
}

/// Returns a script as `gz+b64`, without its comments: they are for who reads the repository.
fn packed(script: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(gzip(without_comments(script).as_bytes()))
}

fn without_comments(script: &str) -> String {
    let is_code = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("#!") || !(line.is_empty() || line.starts_with('#'))
    };
    script
        .lines()
        .filter(is_code)
        .fold(String::new(), |text, line| text + line + "\n")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing into memory cannot fail.
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .expect("gzip into memory")
}

/// Returns the accounts of the box. There is always one for the checks: cloud-init takes an empty list for a mistake.
fn users(system: &System) -> Vec<User> {
    let mut users = system.users.clone();
    if !users.iter().any(|user| user.login) {
        users.retain(|user| user.name != WORK_USER);
        users.insert(
            0,
            User {
                name: WORK_USER.to_owned(),
                login: true,
            },
        );
    }
    users
}

/// Returns the user that runs the checks.
pub fn work_user(system: &System) -> String {
    users(system)
        .into_iter()
        .find(|user| user.login)
        .map_or(WORK_USER.to_owned(), |user| user.name)
}

/// Returns the shell variables that `stage1.sh` reads.
fn env(system: &System) -> String {
    let mut lines = vec![
        ("PACKAGES".to_owned(), system.packages.join(" ")),
        ("WORK_USER".to_owned(), work_user(system)),
        (
            "USERS".to_owned(),
            rows(&users(system), |user| {
                format!("{} {}", user.name, if user.login { "login" } else { "system" })
            }),
        ),
        (
            "DIRECTORIES".to_owned(),
            rows(&system.directories, |it| {
                format!("{} {} {} {}", it.mode, it.owner, it.group, it.path)
            }),
        ),
        (
            "CARGO_TOOLS".to_owned(),
            rows(&system.cargo_tools, cargo_tool_row),
        ),
        ("MIRROR".to_owned(), system.mirror.clone().unwrap_or_default()),
    ];
    lines.extend(gate_env(system));
    match &system.toolchain {
        None => {}
        Some(Toolchain::Apt) => lines.push(("TOOLCHAIN".to_owned(), "apt".to_owned())),
        Some(Toolchain::Operator { key }) => {
            lines.push(("TOOLCHAIN".to_owned(), "operator".to_owned()));
            lines.push(("TOOLCHAIN_KEY".to_owned(), key.clone()));
        }
        Some(Toolchain::Rustup {
            rustup,
            channel,
            components,
            targets,
        }) => {
            lines.push(("TOOLCHAIN".to_owned(), "rustup".to_owned()));
            lines.push(("RUST_CHANNEL".to_owned(), channel.clone()));
            lines.push(("RUST_COMPONENTS".to_owned(), components.join(" ")));
            lines.push(("RUST_TARGETS".to_owned(), targets.join(" ")));
            lines.extend(pinned("RUSTUP", rustup));
        }
    }
    lines.extend(system.nix.iter().flat_map(|it| pinned("NIX", it)));
    lines.extend(system.firecracker.iter().flat_map(|it| pinned("FIRECRACKER", it)));
    assignments(&lines)
}

/// Returns those variables that differ between the lanes of a configuration.
fn gate_env(system: &System) -> [(String, String); 2] {
    let flag = |name: &str, is_set: bool| (name.to_owned(), if is_set { "1" } else { "" }.to_owned());
    [
        flag("GATE_REQUIRED", system.gate_required),
        flag("HIDE_KVM", system.hide_kvm),
    ]
}

fn assignments(variables: &[(String, String)]) -> String {
    let set = variables.iter().filter(|(_, value)| !value.is_empty());
    set.fold(String::new(), |text, (name, value)| {
        text + name + "=" + &quote(value) + "\n"
    })
}

fn rows<T>(items: &[T], row: impl Fn(&T) -> String) -> String {
    items.iter().map(row).collect::<Vec<_>>().join("\n")
}

fn cargo_tool_row(tool: &CargoTool) -> String {
    let Some(archive) = &tool.archive else {
        return format!("{} {} - - -", tool.name, tool.version);
    };
    let sha = |arch: &str| archive.sha256.get(arch).map_or("-", String::as_str);
    format!(
        "{} {} {} {} {}",
        tool.name,
        tool.version,
        archive.url,
        sha("x86_64"),
        sha("aarch64")
    )
}

fn pinned(name: &str, pinned: &Pinned) -> Vec<(String, String)> {
    let checksums = pinned
        .sha256
        .iter()
        .map(|(arch, sha)| (format!("{name}_SHA256_{arch}"), sha.clone()));
    [(format!("{name}_VERSION"), pinned.version.clone())]
        .into_iter()
        .chain(checksums)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use super::*;
    use crate::{
        render::stage1::{Archive, Directory, HostKey},
        time::Deadline,
    };

    fn sha(digit: char) -> BTreeMap<String, String> {
        let sum = |digit: char| digit.to_string().repeat(64);
        BTreeMap::from([
            ("x86_64".to_owned(), sum(digit)),
            ("aarch64".to_owned(), sum('f')),
        ])
    }

    fn system() -> System {
        let users = [("mvm", true), ("mvmd", false)].map(|(name, login)| User {
            name: name.to_owned(),
            login,
        });
        let pinned = |version: &str, digit| Pinned {
            version: version.to_owned(),
            sha256: sha(digit),
        };
        System {
            packages: ["build-essential", "libssl-dev"].map(str::to_owned).to_vec(),
            toolchain: Some(Toolchain::Rustup {
                rustup: pinned("1.28.2", '1'),
                channel: "stable".to_owned(),
                components: ["clippy", "rustfmt"].map(str::to_owned).to_vec(),
                targets: Vec::new(),
            }),
            nix: Some(pinned("2.24.0", '2')),
            firecracker: Some(pinned("v1.14.1", '3')),
            cargo_tools: vec![
                CargoTool {
                    name: "cargo-fuzz".to_owned(),
                    version: "0.13.1".to_owned(),
                    archive: None,
                },
                CargoTool {
                    name: "cargo-deny".to_owned(),
                    version: "0.20.2".to_owned(),
                    archive: Some(Archive {
                        url: "https://example.org/deny-{arch}.tgz".to_owned(),
                        sha256: sha('4'),
                    }),
                },
            ],
            directories: vec![
                directory("/var/lib/mvm", "mvm", "mvm", "0755"),
                directory("/etc/mvmd", "root", "mvmd", "0750"),
            ],
            users: users.to_vec(),
            mirror: Some("http://10.0.2.2:8000".to_owned()),
            ca_certs: Vec::new(),
            gate_required: true,
            hide_kvm: false,
        }
    }

    fn directory(path: &str, owner: &str, group: &str, mode: &str) -> Directory {
        Directory {
            path: path.to_owned(),
            owner: owner.to_owned(),
            group: group.to_owned(),
            mode: mode.to_owned(),
        }
    }

    fn stage1() -> Stage1 {
        Stage1 {
            system: system(),
            hostname: "mvm-live-7f3a".to_owned(),
            host_key: HostKey {
                private: "PRIVATE\nHALF\n".to_owned(),
                public: "ssh-ed25519 AAAAhost".to_owned(),
            },
            authorized_keys: vec!["ssh-ed25519 AAAAlogin twolane".to_owned()],
            deadline: Deadline::at_unix(1_795_451_360),
            ttl: Duration::from_secs(7200),
        }
    }

    fn parsed(stage1: &Stage1) -> serde_json::Value {
        serde_saphyr::from_str(&user_data(stage1).unwrap()).unwrap()
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut Stage1), mistake: &str) {
        let mut stage1 = stage1();
        change(&mut stage1);
        let error = user_data(&stage1).unwrap_err();
        assert!(error.mistakes.iter().any(|it| it.contains(mistake)), "{error}");
    }

    #[test]
    fn user_data_looks_like_this() {
        let text = user_data(&stage1()).unwrap();
        let text = text
            .replace(&packed(KVM_GATE), "kvm-gate.py")
            .replace(&packed(VMM_BOOT), "vmm-boot.py")
            .replace(&packed(STAGE1), "stage1.sh");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn template_user_data_holds_no_identity() {
        let stage1 = stage1();
        let parts = in_parts(&stage1).unwrap();
        for part in [
            "PRIVATE",
            "AAAAhost",
            "AAAAlogin",
            "mvm-live-7f3a",
            "1795451360",
            "7200",
        ] {
            assert!(!parts.template.contains(part), "{part} is in the template");
            assert!(parts.identity.contains(part), "{part} is not in the identity");
        }
        let yaml: serde_json::Value = serde_saphyr::from_str(&parts.template).unwrap();
        assert_eq!(yaml["users"], parsed(&stage1)["users"]);
        assert_eq!(yaml["runcmd"][0][2], "template");
        assert_eq!(parts.identity.lines().count(), 1);
    }

    #[test]
    fn lanes_of_one_configuration_share_a_template() {
        let live = in_parts(&stage1()).unwrap();
        let mut other = stage1();
        other.system.gate_required = false;
        other.system.hide_kvm = true;
        other.hostname = "mvm-cheap-1".to_owned();
        let other = in_parts(&other).unwrap();
        assert_eq!(live.template, other.template);
        assert!(live.identity.contains("GATE_REQUIRED=") && !live.identity.contains("HIDE_KVM"));
        assert!(other.identity.contains("HIDE_KVM="));
        let mut more = stage1();
        more.system.packages.push("gcc".to_owned());
        assert_ne!(live.template, in_parts(&more).unwrap().template);
    }

    #[test]
    fn user_data_fits_where_there_is_least_room() {
        let text = user_data(&stage1()).unwrap();
        assert!(gzipped(&text).len() < 15_900, "{} bytes", gzipped(&text).len());
    }

    #[test]
    fn value_cannot_break_out() {
        let hostile = "a\"\n  - x: {{ 7 }}\n#' \u{7f}\u{85}\u{2028}\u{1f600}";
        let mut stage1 = stage1();
        stage1.host_key.private = hostile.to_owned();
        assert_eq!(parsed(&stage1)["ssh_keys"]["ed25519_private"], hostile);
        assert!(user_data(&stage1).unwrap().is_ascii());
    }

    #[test]
    fn there_is_always_a_user_for_the_checks() {
        let mut stage1 = stage1();
        stage1.system.users = vec![User {
            name: WORK_USER.to_owned(),
            login: false,
        }];
        assert_eq!(parsed(&stage1)["users"][0]["shell"], "/bin/bash");
        assert_eq!(parsed(&stage1)["users"].as_array().map(Vec::len), Some(1));
    }

    #[test]
    fn words_that_the_script_would_split_are_refused() {
        check_refused(|it| it.system.packages.push("a b".to_owned()), "package `a b`");
        check_refused(
            |it| it.system.packages.push("--reinstall".to_owned()),
            "package `--reinstall`",
        );
        check_refused(|it| it.system.users[0].name = "x;y".to_owned(), "user `x;y`");
        check_refused(
            |it| it.system.directories[0].path = "/a/../b".to_owned(),
            "directory `/a/../b`",
        );
        check_refused(
            |it| it.system.directories[0].path = "relative".to_owned(),
            "directory `relative`",
        );
        check_refused(|it| it.hostname = String::new(), "label ``");
        check_refused(
            |it| it.system.mirror = Some("ftp://x".to_owned()),
            "mirror `ftp://x`",
        );
    }

    #[test]
    fn download_without_checksum_is_refused() {
        let none = || Pinned {
            version: "1".to_owned(),
            sha256: BTreeMap::new(),
        };
        check_refused(|it| it.system.nix = Some(none()), "nix has no sha256");
        let short = BTreeMap::from([("x86_64".to_owned(), "abc".to_owned())]);
        check_refused(
            |it| it.system.firecracker.as_mut().unwrap().sha256 = short,
            "sha256.x86_64 of firecracker",
        );
    }

    #[test]
    fn box_that_nobody_could_enter_is_refused() {
        check_refused(|it| it.authorized_keys.clear(), "no key may log in");
        check_refused(
            |it| it.authorized_keys.push("a\nb".to_owned()),
            "the authorized key is not one line",
        );
    }

    #[test]
    fn private_key_is_never_shown() {
        assert!(!format!("{:?}", stage1()).contains("PRIVATE"));
    }

    #[test]
    fn comments_stay_at_home() {
        assert_eq!(
            without_comments("#!/bin/sh\n# why\n\n  # what\nx # y\n"),
            "#!/bin/sh\nx # y\n"
        );
    }
}
