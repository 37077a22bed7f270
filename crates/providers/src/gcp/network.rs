//! Makes the two firewall rules of a box.

use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    order::Order,
    tags::Tags,
};
use reqwest::Method;

use super::{
    Gcp, convert, request_id, split_place,
    wire::{Firewall, NewFirewall, Operation, Protocol, Subnetwork},
};
use crate::http::Request;

impl Gcp {
    /// Returns the two rules of a box. The default network lets everybody in on port 22, and a narrower rule alone
    /// does not close that: whoever is not let in first is turned away second.
    pub(super) fn rules(&self, order: &Order, network: &str) -> [NewFirewall; 2] {
        let label = &order.tags.label;
        let rule = |suffix: &str, priority: u32, source_ranges: Vec<String>| NewFirewall {
            name: format!("{label}-{suffix}"),
            description: convert::description(&order.tags),
            network: network.to_owned(),
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
                let help = "many companies delete the network `default`: name the `subnet` to use in that entry of `boxes`, one of a \
                            Shared VPC whole (projects/HOST/regions/REGION/subnetworks/NAME)";
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

    /// Finds out where the box is to be connected. Only a subnet of this project has to be looked at: its network has the rules.
    pub(super) async fn wiring(&self, order: &Order) -> Result<Wiring, ProviderError> {
        const WHAT: &str = "look up the subnet";
        let options = &order.candidate.options;
        let (region, _) = split_place(&order.candidate.region);
        let named = |option: &Option<String>, variable: &Option<String>, of: &str| {
            let name = option.as_ref().or(variable.as_ref())?;
            Some(self.whole(name, of))
        };
        let subnetwork = named(
            &options.subnet,
            &self.subnetwork,
            &format!("regions/{region}/subnetworks"),
        );
        let network = named(&options.network, &self.network, "global/networks");
        let own = format!("projects/{}/", self.project);
        let is_shared = subnetwork
            .iter()
            .chain(&network)
            .any(|path| !path.starts_with(&own));
        let network = match (&subnetwork, network) {
            (_, Some(network)) => Some(network),
            (Some(_), None) if is_shared => None,
            (Some(path), None) => {
                let found: Subnetwork = self
                    .client
                    .json(&Request::get(format!("/{path}"), WHAT))
                    .await
                    .map_err(|error| match error.kind {
                        ErrorKind::NotFound => {
                            let help = "`gcloud compute networks subnets list` shows those that are there, with their regions";
                            error.with_help(help)
                        }
                        _ => error,
                    })?;
                let path = found.network.find("projects/").map(|at| &found.network[at..]);
                Some(path.unwrap_or(&found.network).to_owned())
            }
            (None, None) => Some(self.whole("default", "global/networks")),
        };
        Ok(Wiring {
            network,
            subnetwork,
            is_shared,
        })
    }

    /// Writes the name of something as the path from its project on.
    fn whole(&self, name: &str, of: &str) -> String {
        let project = &self.project;
        match name {
            name if name.starts_with("projects/") => name.to_owned(),
            name if name.contains('/') => format!("projects/{project}/{name}"),
            name => format!("projects/{project}/{of}/{name}"),
        }
    }
}

/// Where a box is connected.
#[derive(Debug, Clone)]
pub(super) struct Wiring {
    pub(super) network: Option<String>,
    pub(super) subnetwork: Option<String>,
    /// Whether it is of another project that shares it. That one has the rules, and ours would not be taken: the box itself lets
    /// nobody else in.
    pub(super) is_shared: bool,
}
