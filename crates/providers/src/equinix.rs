//! Equinix Metal was retired. The name is known so that the answer is a fact and not a failed call.

use std::sync::LazyLock;

use async_trait::async_trait;
use model::{
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Gone, Machine},
    order::Order,
    profile::Profile,
    selector::Selector,
    world::{Progress, Provider},
};

/// Stands where Equinix Metal was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Equinix;

static PROFILE: LazyLock<Profile> = LazyLock::new(|| Profile {
    has_own_network: false,
    ..Profile::new(
        "equinix",
        &[("none", "none")],
        "no box of Equinix Metal can exist any more",
    )
});

#[async_trait]
impl Provider for Equinix {
    fn profile(&self) -> &Profile {
        &PROFILE
    }

    async fn up(&self, _order: &Order, _progress: &dyn Progress) -> Result<Machine, ProviderError> {
        Err(retired("create a box"))
    }

    async fn down(&self, _which: &Selector, _progress: &dyn Progress) -> Result<Vec<Gone>, ProviderError> {
        Ok(Vec::new())
    }

    fn refuse(&self, _instance_type: &str, _need: KvmNeed) -> Option<ProviderError> {
        Some(retired("create a box"))
    }
}

fn retired(operation: &str) -> ProviderError {
    PROFILE
        .name
        .error(
            ErrorKind::Invalid,
            operation,
            "Equinix Metal was retired on 2026-06-30",
        )
        .with_help("for bare metal use `latitude`, `vultr` (vbm-*), `ovh` (bm-*) or `aws` (*.metal)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_refused_with_the_date_and_the_alternatives() {
        let refusal = Equinix.refuse("m3.small", KvmNeed::Required).unwrap();
        assert!(refusal.cause.contains("2026-06-30"));
        assert!(refusal.help.unwrap().contains("latitude"));
    }
}
