//! A runner scale set of GitHub's as a job service: registered once, then listened to over one message session.

use async_trait::async_trait;
use model::{
    jobs::{JobService, News, Removal, ServiceError},
    text::error_chain,
};
use scaleset::{
    Client, Credentials, ExposeSecret as _, JitRunnerSetting, JobMessage, RunnerGroupId, RunnerScaleSetSpec,
    ScaleSetId, SystemInfo,
    listener::{MaxRunners, Subscription},
};
use tokio::sync::Mutex;

use crate::problem::{Problem, Result};

/// A registered scale set.
pub(crate) struct ScaleSet {
    client: Client,
    id: ScaleSetId,
    /// What the service shows as the owner of the session.
    owner: String,
    session: Mutex<Option<Subscription>>,
    capacity: MaxRunners,
}

/// What is registered, and where.
pub(crate) struct Registration<'a> {
    /// The organisation's, repository's or enterprise's address.
    pub(crate) url: &'a str,
    /// The scale set's name.
    pub(crate) name: &'a str,
    /// The runner group's name; none: the default group.
    pub(crate) group: Option<&'a str>,
    /// More labels than the name.
    pub(crate) labels: &'a [String],
}

/// Makes a client for that address. Nothing is sent yet.
pub(crate) fn client(url: &str, credentials: Credentials) -> Result<Client> {
    Client::builder(url, credentials)
        .system_info(SystemInfo::new("twolane").version(env!("CARGO_PKG_VERSION")))
        // Nobody else hears what is said on this machine: a test's emulator, or a tunnel's end.
        .allow_http(is_loopback(url))
        .build()
        .map_err(|error| {
            Problem::usage(format!("could not use the address {url}"))
                .because(error_chain(&error))
                .help("name an organisation or a repository: --url https://github.com/ORG")
        })
}

fn is_loopback(url: &str) -> bool {
    let host = url
        .strip_prefix("http://")
        .and_then(|rest| rest.split(['/', ':']).next());
    matches!(host, Some("127.0.0.1" | "localhost"))
}

impl ScaleSet {
    /// Finds the scale set, or registers it.
    pub(crate) async fn register(
        client: Client,
        registration: &Registration<'_>,
        owner: String,
    ) -> Result<Self> {
        let id = find_or_make(&client, registration).await?;
        Ok(Self {
            client,
            id,
            owner,
            session: Mutex::new(None),
            capacity: MaxRunners::new(0),
        })
    }

    /// Closes the session, so that the next process need not wait until the service gives it up.
    pub(crate) async fn close(&self) {
        if let Some(session) = self.session.lock().await.take() {
            // The service gives it up by itself.
            drop(session.session().close().await);
        }
    }

    /// Takes the next event of the session: acquires what jobs are offered, and acknowledges it.
    async fn next(&self, session: &mut Subscription) -> scaleset::Result<News> {
        let queue = session.session().clone();
        let event = session.next().await?;
        let mut news = News {
            assigned: event.statistics().total_assigned_jobs as usize,
            ..News::default()
        };
        let Some(message) = event.message() else {
            return Ok(news);
        };
        let offered: Vec<_> = message
            .jobs_available()
            .map(|job| job.job.runner_request_id)
            .collect();
        for job in &message.jobs {
            match job {
                JobMessage::Started(job) => news.started.push(job.runner_name.clone()),
                JobMessage::Completed(job) if !job.runner_name.is_empty() => {
                    news.ended.push(job.runner_name.clone());
                }
                _ => {}
            }
        }
        if !offered.is_empty() {
            queue.acquire_jobs(&offered).await?;
        }
        session.ack().await?;
        Ok(news)
    }

    /// Takes the registration of a name back, where it is registered.
    async fn unregister(&self, name: &str) -> scaleset::Result<Removal> {
        let Some(runner) = self.client.get_runner_by_name(name).await? else {
            return Ok(Removal::Removed);
        };
        match self.client.remove_runner(runner.id).await {
            Ok(()) => Ok(Removal::Removed),
            Err(error) if error.is_runner_not_found() || error.is_not_found() => Ok(Removal::Removed),
            Err(error) if error.is_job_still_running() => Ok(Removal::Busy),
            Err(error) => Err(error),
        }
    }

    async fn generate(&self, name: &str) -> scaleset::Result<String> {
        let setting = JitRunnerSetting::new(name);
        let made = self.client.generate_jit_config(self.id, &setting).await?;
        Ok(made.encoded_jit_config.expose_secret().to_owned())
    }
}

#[async_trait]
impl JobService for ScaleSet {
    async fn news(&self, capacity: usize) -> std::result::Result<News, ServiceError> {
        self.capacity.set(u32::try_from(capacity).unwrap_or(u32::MAX));
        let mut open = self.session.lock().await;
        if open.is_none() {
            let made = self
                .client
                .create_message_session(self.id, self.owner.clone())
                .await;
            let session = made.map_err(|error| match error.is_conflict() {
                true => ServiceError::Away(
                    "another process listens for this scale set, or did until it was killed; GitHub lets the next one \
                     in when it has given that one up"
                        .to_owned(),
                ),
                false => away(&error),
            })?;
            *open = Some(session.subscribe(self.capacity.clone()));
        }
        let Some(session) = open.as_mut() else {
            return Ok(News::default());
        };
        let news = self.next(session).await;
        news.map_err(|error| {
            if error.is_not_found() {
                // The service has given the session up: the next call opens another one.
                *open = None;
            }
            away(&error)
        })
    }

    async fn configure(&self, name: &str) -> std::result::Result<String, ServiceError> {
        let error = match self.generate(name).await {
            Ok(configuration) => return Ok(configuration),
            Err(error) if error.is_runner_exists() => error,
            Err(error) => return Err(away(&error)),
        };
        // Its answer was lost, or the process that asked was killed before it started the runner.
        match self.unregister(name).await {
            Ok(Removal::Removed) => self.generate(name).await.map_err(|error| away(&error)),
            Ok(Removal::Busy) => Err(ServiceError::Taken),
            Err(_) => Err(away(&error)),
        }
    }

    async fn remove(&self, name: &str) -> std::result::Result<Removal, ServiceError> {
        self.unregister(name).await.map_err(|error| away(&error))
    }
}

async fn find_or_make(client: &Client, registration: &Registration<'_>) -> Result<ScaleSetId> {
    let Registration {
        name, group, labels, ..
    } = registration;
    let group = match group {
        None => RunnerGroupId::DEFAULT,
        Some(group) => {
            let found = client.get_runner_group_by_name(group).await;
            let found = found.map_err(|error| cannot_register(registration, &error))?;
            let found = found.ok_or_else(|| {
                Problem::usage(format!("could not find the runner group `{group}`"))
                    .because(format!(
                        "{} has none of that name, or the credentials cannot see it",
                        registration.url
                    ))
                    .help("create it in the settings under Actions, Runner groups; or leave --group out")
            })?;
            found.id
        }
    };
    let found = client.get_runner_scale_set_by_name(group, name).await;
    if let Some(found) = found.map_err(|error| cannot_register(registration, &error))? {
        return Ok(found.id);
    }
    let mut spec = RunnerScaleSetSpec::new(*name).runner_group_id(group);
    if !labels.is_empty() {
        spec = spec.labels(std::iter::once(*name).chain(labels.iter().map(String::as_str)));
    }
    let made = client.create_runner_scale_set(&spec).await;
    Ok(made.map_err(|error| cannot_register(registration, &error))?.id)
}

fn cannot_register(registration: &Registration<'_>, error: &scaleset::Error) -> Problem {
    let Registration { url, name, .. } = registration;
    let is_refused = error.status().is_some_and(|status| status.is_client_error());
    let problem = match is_refused {
        true => Problem::usage(format!("could not register the scale set {name} at {url}")),
        false => Problem::infrastructure(format!("could not register the scale set {name} at {url}")),
    };
    let problem = problem.because(error_chain(error));
    match is_refused {
        true => problem.help(
            "for an organisation the App needs \"Self-hosted runners: read and write\", for a repository \
             \"Administration: read and write\"; see docs/runners.md",
        ),
        false => problem,
    }
}

fn away(error: &scaleset::Error) -> ServiceError {
    ServiceError::Away(error_chain(error))
}

#[cfg(test)]
mod tests;
