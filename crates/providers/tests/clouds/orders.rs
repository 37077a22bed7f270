//! Orders as the engine makes them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use model::{
    candidate::Candidate,
    lane::KvmNeed,
    name::{Label, ProviderName, RunId, Token},
    order::{Order, Preinstall},
    tags::{Owner, Tags},
    time::Deadline,
    world::Clock,
};

use crate::fakes::clock::TestClock;

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

pub(crate) fn run(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

/// Makes an order with a new token.
pub(crate) fn order(
    (provider, instance_type, region): (&str, &str, &str),
    label: &Label,
    run: &RunId,
    clock: &TestClock,
) -> Order {
    static TOKENS: AtomicU64 = AtomicU64::new(0);
    Order {
        candidate: Candidate {
            provider: ProviderName::new(provider).unwrap(),
            region: region.to_owned(),
            instance_type: instance_type.to_owned(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        },
        tags: Tags {
            label: label.clone(),
            run: run.clone(),
            token: Token::generate(label, TOKENS.fetch_add(1, Ordering::Relaxed)),
            deadline: Deadline::after(clock.now(), Duration::from_secs(3600)),
            owner: Owner {
                repository: Some("acme-mvm".into()),
                ..Owner::default()
            },
        },
        need: KvmNeed::None,
        user_data: "#cloud-config\n".to_owned(),
        login_key: format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{label} {label}"),
        allow: vec!["203.0.113.7/32".to_owned()],
        parts: None,
        preinstall: Preinstall::default(),
    }
}
