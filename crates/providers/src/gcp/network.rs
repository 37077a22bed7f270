//! Makes the two firewall rules of a box.

use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    order::Order,
    tags::Tags,
};
use reqwest::Method;

use super::{
    Gcp, convert, request_id,
    wire::{Firewall, NewFirewall, Operation, Protocol},
};
use crate::http::Request;

impl Gcp {
    /// Returns the two rules of a box. The default network lets everybody in on port 22, and a narrower rule alone
    /// does not close that: whoever is not let in first is turned away second.
    pub(super) fn rules(&self, order: &Order) -> [NewFirewall; 2] {
        let label = &order.tags.label;
        let rule = |suffix: &str, priority: u32, source_ranges: Vec<String>| NewFirewall {
            name: format!("{label}-{suffix}"),
            description: convert::description(&order.tags),
            network: self.network_path(),
            direction: "INGRESS",
            priority,
            source_ranges,
            target_tags: vec![label.to_string()],
            allowed: Vec::new(),
            denied: Vec::new(),
        };
        let ssh = Protocol {
            ip_protocol: "tcp",
            ports: vec!["22"],
        };
        let all = Protocol {
            ip_protocol: "all",
            ports: Vec::new(),
        };
        // The box has no IPv6 address, and one rule cannot name ranges of both kinds.
        let allow = order
            .allow
            .iter()
            .filter(|range| !range.contains(':'))
            .cloned()
            .collect();
        [
            NewFirewall {
                allowed: vec![ssh],
                ..rule("allow", 900, allow)
            },
            NewFirewall {
                denied: vec![all],
                ..rule("deny", 950, vec!["0.0.0.0/0".to_owned()])
            },
        ]
    }

    /// Makes a rule and waits for the answer that it holds; or finds that an earlier try made it.
    pub(super) async fn rule(&self, rule: &NewFirewall, tags: &Tags) -> Result<(), ProviderError> {
        const WHAT: &str = "make the firewall";
        let request = Request::new(Method::POST, self.path("global/firewalls"), WHAT)
            .query("requestId", request_id(&tags.token, &rule.name))
            .json(rule);
        let operation = match self.client.json::<Operation>(&request).await {
            Ok(operation) => operation,
            Err(error) if error.kind == ErrorKind::Taken => return self.same_rule(rule, tags, error).await,
            Err(error) if error.kind == ErrorKind::NotFound => {
                let help = "many companies delete the network `default`: name yours in TWOLANE_GCP_NETWORK, and its subnet in \
                            TWOLANE_GCP_SUBNETWORK (projects/HOST/regions/REGION/subnetworks/NAME)";
                return Err(error.with_help(help));
            }
            Err(error) => return Err(error),
        };
        let wait = self.path(&format!("global/operations/{}/wait", operation.name));
        let operation: Operation = self.client.json(&Request::new(Method::POST, wait, WHAT)).await?;
        if let Some((kind, why)) = convert::failure(&operation) {
            return match kind {
                ErrorKind::Taken => self.same_rule(rule, tags, self.error(kind, WHAT, why)).await,
                kind => Err(self.error(kind, WHAT, why)),
            };
        }
        match operation.status.as_str() {
            "DONE" => Ok(()),
            status => Err(self.error(
                ErrorKind::Unavailable,
                WHAT,
                format!("the rule is still {status}"),
            )),
        }
    }

    async fn same_rule(
        &self,
        rule: &NewFirewall,
        tags: &Tags,
        taken: ProviderError,
    ) -> Result<(), ProviderError> {
        let path = self.path(&format!("global/firewalls/{}", rule.name));
        let found: Firewall = self
            .client
            .json(&Request::get(path, "look for the firewall"))
            .await?;
        let found = Tags::parse(&convert::described(&found.description));
        if found.is_some_and(|found| found.label == tags.label && found.run == tags.run) {
            return Ok(());
        }
        let help = format!(
            "`twolane down {}` removes what an earlier run left; else choose another label",
            tags.label
        );
        Err(taken.with_help(help))
    }

    /// Returns the network, which may be of another project that shares it.
    pub(super) fn network_path(&self) -> String {
        match self.network.contains('/') {
            true => self.network.clone(),
            false => format!("projects/{}/global/networks/{}", self.project, self.network),
        }
    }
}
