//! Plan → what the user-data of one box is made of.

use std::collections::BTreeMap;

use super::{LanePlan, Plan};
use crate::{
    candidate::Candidate,
    config::{self, RustFrom},
    render::stage1::{Archive, CargoTool, Directory, HostKey, Pinned, Stage1, System, Toolchain, User},
    skips::TRACER_PACKAGE,
    tags::Tags,
    world::Keys,
};

impl Plan {
    /// Returns what the user-data of the lane's box is made of.
    pub fn stage1(&self, lane: &LanePlan, tags: &Tags, keys: &Keys) -> Stage1 {
        let authorized_keys = std::iter::once(&keys.login_public)
            .chain(&self.operator_key)
            .cloned()
            .collect();
        Stage1 {
            system: self.box_system(lane),
            hostname: tags.label.to_string(),
            host_key: HostKey {
                private: keys.host_private.clone(),
                public: keys.host_public.clone(),
            },
            authorized_keys,
            deadline: tags.deadline,
            ttl: lane.ttl,
        }
    }

    /// Returns the certificates for a box: on this machine also those that it trusts itself, as its downloads go the same
    /// way out.
    pub fn certificates(&self, candidate: &Candidate) -> Vec<String> {
        let is_local = candidate.provider.as_str() == "local";
        let own = self
            .operator_ca_certs
            .iter()
            .filter(|own| is_local && !self.ca_certs.contains(own));
        self.ca_certs.iter().chain(own).cloned().collect()
    }

    fn box_system(&self, lane: &LanePlan) -> System {
        let system = &self.system;
        System {
            packages: self.packages(lane),
            toolchain: system.rust.as_ref().map(|rust| self.box_toolchain(rust)),
            nix: system.nix.as_ref().map(pinned),
            firecracker: system.firecracker.as_ref().map(pinned),
            cargo_tools: system.cargo_tools.iter().map(cargo_tool).collect(),
            users: users(system),
            directories: system.directories.iter().map(directory).collect(),
            mirror: system.mirror.clone(),
            ca_certs: self.ca_certs.clone(),
            gate_required: lane.need.is_needed(),
            hide_kvm: !lane.need.is_needed(),
        }
    }

    /// Returns the packages of the lane's box: the project's, and the tracer where tests run under it.
    pub fn packages(&self, lane: &LanePlan) -> Vec<String> {
        let mut packages = self.system.packages.clone();
        if is_traced(lane) && !packages.iter().any(|package| package == TRACER_PACKAGE) {
            packages.push(TRACER_PACKAGE.to_owned());
        }
        packages
    }

    fn box_toolchain(&self, rust: &config::Rust) -> Toolchain {
        match &rust.from {
            RustFrom::Rustup(rustup) => Toolchain::Rustup {
                rustup: pinned(rustup),
                channel: rust.toolchain.clone(),
                components: rust.components.clone(),
                targets: rust.targets.clone(),
            },
            RustFrom::Apt => Toolchain::Apt,
            RustFrom::Operator => Toolchain::Operator {
                key: self
                    .toolchain
                    .as_ref()
                    .map(|toolchain| toolchain.key.clone())
                    .unwrap_or_default(),
            },
        }
    }
}

fn is_traced(lane: &LanePlan) -> bool {
    lane.checks.iter().any(|check| check.trace)
}

fn users(system: &config::System) -> Vec<User> {
    let user = |name: &String, login| User {
        name: name.clone(),
        login,
    };
    let others = system.users.iter().map(|name| user(name, false));
    std::iter::once(user(&system.user, true)).chain(others).collect()
}

fn pinned(pinned: &config::Pinned) -> Pinned {
    Pinned {
        version: pinned.version.clone(),
        sha256: checksums(&pinned.sha256),
    }
}

fn cargo_tool(tool: &config::CargoTool) -> CargoTool {
    let archive = tool.url.clone().map(|url| Archive {
        url,
        sha256: checksums(&tool.sha256),
    });
    CargoTool {
        name: tool.name.clone(),
        version: tool.version.clone(),
        archive,
    }
}

fn checksums(sums: &config::Checksums) -> BTreeMap<String, String> {
    let both = [("x86_64", &sums.x86_64), ("aarch64", &sums.aarch64)];
    both.into_iter()
        .filter_map(|(arch, sum)| Some((arch.to_owned(), sum.clone()?)))
        .collect()
}

fn directory(directory: &config::Directory) -> Directory {
    Directory {
        path: directory.path.clone(),
        owner: directory.owner.clone(),
        group: directory.group.clone(),
        mode: directory.mode.clone(),
    }
}
