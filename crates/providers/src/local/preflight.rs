//! Says whether a box could be had here, one finding for each thing that it takes.

use async_trait::async_trait;
use model::{
    lane::KvmNeed,
    world::{Finding, Preflight},
};

use super::{
    Local,
    error::LocalError,
    image::{self, Image},
    instance_type::InstanceType,
    network::Reach,
    programs, space,
};

#[async_trait]
impl Preflight for Local {
    async fn preflight(&self, instance_type: &str, _region: &str, need: KvmNeed) -> Vec<Finding> {
        let mut findings = self.program_findings();
        findings.push(memory(instance_type));
        findings.push(self.disk());
        findings.push(self.kvm(need).await);
        findings.push(self.image());
        findings.push(good("network", format!("a box {}", Reach::of(&self.settings))));
        findings
    }
}

impl Local {
    fn program_findings(&self) -> Vec<Finding> {
        let configured = &self.settings.programs;
        let mut needed = vec![
            ("qemu", configured.qemu.as_str(), "qemu-system-x86"),
            ("qemu-img", &configured.qemu_img, "qemu-utils"),
            ("python3", &configured.python3, "python3"),
            ("rsync", "rsync", "rsync"),
            ("ssh", "ssh", "openssh-client"),
        ];
        needed.extend(match self.settings.image {
            Image::Made(_) => vec![
                ("mmdebstrap", "mmdebstrap", "mmdebstrap"),
                ("mke2fs", "mke2fs", "e2fsprogs"),
            ],
            Image::Cloud { .. } => vec![("curl", "curl", "curl")],
        });
        let look = |(what, program, package): (&str, &str, &str)| match programs::path_of(program) {
            Some(path) => good(what, path),
            None => bad(
                what,
                format!("`{program}` is not installed"),
                programs::help(package),
            ),
        };
        needed.into_iter().map(look).collect()
    }

    fn disk(&self) -> Finding {
        let has_image = image::is_there(&self.cache_dir, &image::default_key(&self.settings));
        let image_bytes = if has_image { 0 } else { space::IMAGE_BYTES };
        let check = || -> Result<u64, LocalError> {
            let cache = space::disk_free(&self.cache_dir)?;
            space::check_disk(&self.cache_dir, image_bytes, cache, "making a base image")?;
            let state = space::disk_free(&self.state_dir)?;
            space::check_disk(&self.state_dir, space::BOX_BYTES, state, "a box")?;
            Ok(state)
        };
        finding("disk", check().map(|free| format!("{} free", space::show(free))))
    }

    async fn kvm(&self, need: KvmNeed) -> Finding {
        if let Some(refusal) = model::world::Provider::refuse(self, instance_type_default(), need) {
            return bad("kvm", refusal.cause, refusal.help.unwrap_or_default());
        }
        // Who asks wants to know how it is now.
        let choice = super::accel::Probe::default()
            .choose(self.settings.acceleration, &self.settings.programs)
            .await;
        finding("kvm", choice.map(|choice| choice.to_string()))
    }

    fn image(&self) -> Finding {
        let key = image::default_key(&self.settings);
        let found = match (&self.settings.image, image::is_there(&self.cache_dir, &key)) {
            (_, true) => format!("{key} is there"),
            (Image::Made(release), false) => {
                format!(
                    "{} is to be made by the first run, in a minute or more",
                    release.name()
                )
            }
            (Image::Cloud { url, .. }, false) => format!("to be downloaded by the first run from {url}"),
        };
        good("base image", found)
    }
}

fn instance_type_default() -> &'static str {
    super::instance_type::DEFAULT
}

fn memory(instance_type: &str) -> Finding {
    let check = || -> Result<u64, LocalError> {
        let size = InstanceType::parse(instance_type)?;
        let available = space::memory_available()?;
        space::check_memory(size, available)?;
        Ok(available)
    };
    finding(
        "memory",
        check().map(|available| format!("{} available", space::show(available))),
    )
}

fn finding(what: &str, result: Result<String, LocalError>) -> Finding {
    match result {
        Ok(found) => good(what, found),
        Err(error) => Finding {
            what: what.to_owned(),
            is_good: false,
            found: error.cause,
            help: error.help,
        },
    }
}

fn good(what: &str, found: impl Into<String>) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: true,
        found: found.into(),
        help: None,
    }
}

fn bad(what: &str, found: impl Into<String>, help: impl Into<String>) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: false,
        found: found.into(),
        help: Some(help.into()),
    }
}
