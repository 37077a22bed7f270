//! Equinix Metal was retired. The name is known so that the answer is a fact and not a failed call.

use async_trait::async_trait;
use model::{
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Gone, Machine},
    name::ProviderName,
    order::Order,
    selector::Selector,
    world::{Progress, Provider},
};

/// Stands where Equinix Metal was.
#[derive(Debug, Clone, Copy, Default)]
pub struct Equinix;

#[async_trait]
impl Provider for Equinix {
    fn default_instance_type(&self) -> &str {
        "none"
    }

    fn default_region(&self) -> &str {
        "none"
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

    fn has_own_network(&self) -> bool {
        false
    }

    fn dead_mans_switch(&self) -> String {
        "no box of Equinix Metal can exist any more".to_owned()
    }
}

fn retired(operation: &str) -> ProviderError {
    ProviderError {
        kind: ErrorKind::Invalid,
        provider: ProviderName::new("equinix").expect("it keeps to the rule"),
        operation: operation.to_owned(),
        cause: "Equinix Metal was retired on 2026-06-30".to_owned(),
        help: Some(
            "for bare metal use `latitude`, `vultr` (vbm-*), `ovh` (bm-*) or `aws` (*.metal)".to_owned(),
        ),
    }
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
