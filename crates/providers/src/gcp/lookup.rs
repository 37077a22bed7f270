//! Looks up what Compute Engine has: zones that sell a type, and lists, page by page.

use futures::future::join_all;
use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    order::Order,
};
use serde::de::DeserializeOwned;

use super::{
    Gcp, split_place,
    wire::{Everywhere, MachineType, Page, Warning, Zone},
};
use crate::http::{self, PAGES_MAX, Request, endless};

impl Gcp {
    pub(super) async fn machine_type(&self, zone: &str, name: &str) -> Result<MachineType, ProviderError> {
        let path = self.path(&format!("zones/{zone}/machineTypes/{name}"));
        self.client.json(&Request::get(path, "look up the type")).await
    }

    /// Returns the zones of the order's region that sell the type and are open, the wanted one first.
    pub(super) async fn zones(&self, order: &Order) -> Result<Vec<String>, ProviderError> {
        let (region, wanted) = split_place(&order.candidate.region);
        let zones: Vec<Zone> = self.pages("zones", "list the zones").await?;
        let is_open = |zone: &&Zone| zone.status == "UP" && zone.deprecated.is_none();
        let mut names: Vec<_> = zones
            .iter()
            .filter(is_open)
            .map(|zone| zone.name.clone())
            .collect();
        names.retain(|name| split_place(name).0 == region);
        names.sort_by_key(|name| (Some(name.as_str()) != wanted, name.clone()));
        let looks = names
            .iter()
            .map(|zone| self.machine_type(zone, &order.candidate.instance_type));
        let looks = join_all(looks).await;
        let is_unsold = |look: &Result<MachineType, ProviderError>| {
            look.as_ref()
                .is_err_and(|error| error.kind == ErrorKind::NotFound)
        };
        if !names.is_empty() && looks.iter().all(is_unsold) {
            let cause = format!("no zone of {region} sells {}", order.candidate.instance_type);
            let help = "add another region or type to `boxes`";
            return Err(self
                .error(ErrorKind::NoCapacity, "choose a zone", cause)
                .with_help(help));
        }
        let mut looks = looks.iter();
        names.retain(|_| !looks.next().is_some_and(is_unsold));
        if names.is_empty() {
            let help = "`gcloud compute zones list` shows those that are there".to_owned();
            let cause = format!("there is no open zone in {}", order.candidate.region);
            return Err(self
                .error(ErrorKind::Invalid, "choose a zone", cause)
                .with_help(help));
        }
        Ok(names)
    }

    /// Returns a list over all zones, whole.
    pub(super) async fn everywhere<T: DeserializeOwned>(
        &self,
        list: &str,
        filter: &str,
        operation: &'static str,
    ) -> Result<Vec<T>, ProviderError> {
        let mut rows = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let request = self.page_request(&format!("aggregated/{list}"), operation, token.as_deref());
            let page: Everywhere = self.client.json(&request.query("filter", filter)).await?;
            let mut missing = page.unreachables;
            for (place, found) in page.items {
                let is_unreachable = warning(&found).is_some_and(|warning| warning.code == "UNREACHABLE");
                missing.extend(is_unreachable.then(|| place.clone()));
                let found = found.get(list).and_then(|found| found.as_array());
                let read = http::rows(found.map_or(&[], Vec::as_slice));
                rows.extend(read.map_err(|why| {
                    self.error(ErrorKind::Unavailable, operation, format!("{place}: {why}"))
                })?);
            }
            if !missing.is_empty() {
                let cause = format!("the list is incomplete: {} did not answer", missing.join(", "));
                return Err(self.error(ErrorKind::Unavailable, operation, cause));
            }
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(rows);
            }
        }
        Err(self.error(ErrorKind::Invalid, operation, endless()))
    }

    fn page_request(&self, rest: &str, operation: &'static str, token: Option<&str>) -> Request {
        let request = Request::get(self.path(rest), operation).query("maxResults", PAGE);
        match token {
            Some(token) => request.query("pageToken", token),
            None => request,
        }
    }

    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        rest: &str,
        operation: &'static str,
    ) -> Result<Vec<T>, ProviderError> {
        let mut rows = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let request = self.page_request(rest, operation, token.as_deref());
            let page: Page = self.client.json(&request).await?;
            let read = http::rows(&page.items);
            rows.extend(read.map_err(|why| self.client.garbled(&request, why))?);
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(rows);
            }
        }
        Err(self.error(ErrorKind::Invalid, operation, endless()))
    }
}

fn warning(found: &serde_json::Value) -> Option<Warning> {
    serde_json::from_value(found.get("warning")?.clone()).ok()
}

/// The longest page that the API gives.
const PAGE: u32 = 500;
