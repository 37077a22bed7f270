//! The schedule that deallocates a box at its deadline, whoever is lost.

use std::{collections::BTreeMap, time::Duration};

use model::{
    error::{ErrorKind, ProviderError},
    machine::Listed,
    tags::Tags,
    time::{Deadline, Timestamp, after, between},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Azure, wire::Thing};
use crate::http::Request;

const VERSION: &str = "2018-09-15";

/// What a schedule's name begins with; the API takes no other.
const NAME: &str = "shutdown-computevm-";

/// A schedule that is set within half an hour of its time comes a day later.
const NOTICE: Duration = Duration::from_secs(31 * 60);

/// A schedule is a time of day: it comes every day, and so a day early for what is to end later.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3600);

/// Returns when a schedule that is set now can end a box, with whole minutes. None: it would come too early.
fn moment(deadline: Deadline, now: Option<Timestamp>) -> Option<Timestamp> {
    let minute = |moment| after(moment, Duration::from_secs(59));
    let Some(now) = now else {
        return Some(minute(deadline.moment()));
    };
    let moment = deadline.moment().max(after(now, NOTICE));
    (between(now, moment) < AHEAD_MAX).then(|| minute(moment))
}

/// Tags as Azure has them.
type Pairs = BTreeMap<String, String>;

impl Azure {
    fn schedule_path(&self, group: &str, schedule: &str) -> String {
        self.path(&format!(
            "resourceGroups/{group}/providers/Microsoft.DevTestLab/schedules/{schedule}"
        ))
    }

    /// Makes sure that a box's schedule is there, by its tags. `all` are those with the user's own.
    pub(super) async fn ensure_schedule(&self, machine: &Listed, all: &Pairs) -> Result<(), ProviderError> {
        let (group, name) = machine.id.split_once('/').unwrap_or_default();
        let path = self.schedule_path(group, &format!("{NAME}{name}"));
        match &machine.tags {
            Some(tags)
                if self
                    .thing(&path, VERSION, "look at its schedule")
                    .await?
                    .is_none() =>
            {
                self.set_schedule(machine, tags, all).await
            }
            _ => Ok(()),
        }
    }

    /// Sets a box's schedule to a new deadline. The user's own tags on it stay.
    pub(super) async fn move_schedule(&self, machine: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        let (group, name) = machine.id.split_once('/').unwrap_or_default();
        let path = self.schedule_path(group, &format!("{NAME}{name}"));
        let found = self.thing(&path, VERSION, "look at its schedule").await?;
        let all = found.and_then(|schedule| schedule.tags).unwrap_or_default();
        self.set_schedule(machine, tags, &all).await
    }

    /// Sets a box's schedule to its deadline; or removes it, where it would come a day early.
    pub(super) async fn set_schedule(
        &self,
        machine: &Listed,
        tags: &Tags,
        all: &Pairs,
    ) -> Result<(), ProviderError> {
        let (group, name) = machine.id.split_once('/').unwrap_or_default();
        let schedule = format!("{NAME}{name}");
        let Some(moment) = moment(tags.deadline, self.client.now()) else {
            return match self.delete_schedule(&format!("{group}/{schedule}")).await {
                Err(error) if error.kind == ErrorKind::NotFound => Ok(()),
                outcome => outcome,
            };
        };
        let mut pairs = all.clone();
        pairs.extend(tags.pairs());
        let body = json!({
            "location": machine.region,
            "tags": pairs,
            "properties": {
                "status": "Enabled", "taskType": "ComputeVmShutdownTask", "timeZoneId": "UTC",
                "dailyRecurrence": {"time": moment.strftime("%H%M").to_string()},
                "notificationSettings": {"status": "Disabled"},
                "targetResourceId": self.machine_path(group, name),
            },
        });
        let path = self.schedule_path(group, &schedule);
        let request = Request::new(Method::PUT, path, "set the schedule that ends the box")
            .query("api-version", VERSION)
            .json(&body);
        let set = self.client.json::<Value>(&request).await;
        // The box that it names was made just now.
        set.map(|_| ()).map_err(ProviderError::not_yet)
    }

    /// Returns all schedules of the subscription.
    pub(super) async fn schedules(&self) -> Result<Vec<Thing>, ProviderError> {
        let path = self.path("providers/Microsoft.DevTestLab/schedules");
        self.all(Request::get(path, "list what is ours").query("api-version", VERSION))
            .await
    }

    /// Destroys a schedule, named by its group and its own name.
    pub(super) async fn delete_schedule(&self, id: &str) -> Result<(), ProviderError> {
        let (group, name) = id.split_once('/').unwrap_or_default();
        let path = self.schedule_path(group, name);
        let request = Request::new(Method::DELETE, path, "destroy").query("api-version", VERSION);
        self.client.send(&request).await.map(|_| ())
    }
}
