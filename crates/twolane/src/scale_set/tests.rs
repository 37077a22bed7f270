use std::{sync::Arc, time::Duration};

use scaleset::testing::{Emulator, Endpoint, Fault, JobState};

use super::*;

const NAME: &str = "kvm";
const SOON: Duration = Duration::from_secs(10);

async fn emulator() -> Emulator {
    Emulator::builder()
        .long_poll(Duration::from_millis(50))
        .start()
        .await
}

async fn registered(emulator: &Emulator) -> ScaleSet {
    let registration = Registration {
        url: &emulator.config_url(),
        name: NAME,
        group: None,
        labels: &[],
    };
    ScaleSet::register(emulator.client(), &registration, "here".to_owned())
        .await
        .unwrap()
}

/// Asks for news until they are as wanted, or it takes too long.
async fn news_until(set: &ScaleSet, is_it: impl Fn(&News) -> bool) -> News {
    let wanted = async {
        loop {
            if let Ok(news) = set.news(4).await
                && is_it(&news)
            {
                return news;
            }
        }
    };
    tokio::time::timeout(SOON, wanted).await.unwrap()
}

#[tokio::test]
async fn second_process_finds_what_the_first_registered() {
    let emulator = emulator().await;
    let (one, other) = (registered(&emulator).await, registered(&emulator).await);
    assert_eq!(one.id, other.id);
    assert_eq!(emulator.state().scale_sets.len(), 1);
}

#[tokio::test]
async fn jobs_are_acquired_started_and_ended() {
    let emulator = emulator().await;
    let set = registered(&emulator).await;
    assert_eq!(set.news(4).await.unwrap(), News::default());
    let job = emulator.queue_job(set.id, [NAME]);
    news_until(&set, |news| news.assigned == 1).await;
    assert_eq!(emulator.state().jobs[0].state, JobState::Assigned);
    assert!(!set.configure("kvm-1").await.unwrap().is_empty());
    emulator.start_job(job, Some("kvm-1"));
    let news = news_until(&set, |news| !news.started.is_empty()).await;
    assert_eq!((news.assigned, news.started), (1, vec!["kvm-1".to_owned()]));
    assert_eq!(set.remove("kvm-1").await, Ok(Removal::Busy));
    assert_eq!(set.configure("kvm-1").await, Err(ServiceError::Taken));
    emulator.complete_job(job, None);
    let news = news_until(&set, |news| !news.ended.is_empty()).await;
    assert_eq!((news.assigned, news.ended), (0, vec!["kvm-1".to_owned()]));
}

#[tokio::test]
async fn job_that_is_cancelled_before_it_has_a_runner_ends_none() {
    let emulator = emulator().await;
    let set = registered(&emulator).await;
    let job = emulator.queue_job(set.id, [NAME]);
    news_until(&set, |news| news.assigned == 1).await;
    emulator.complete_job(job, None);
    let news = news_until(&set, |news| news.assigned == 0).await;
    assert!(news.ended.is_empty(), "{news:?}");
}

#[tokio::test]
async fn runner_that_never_started_is_registered_anew() {
    let emulator = emulator().await;
    let set = registered(&emulator).await;
    let first = set.configure("kvm-1").await.unwrap();
    let second = set.configure("kvm-1").await.unwrap();
    assert_ne!(first, second);
    assert_eq!(emulator.state().runners.len(), 1);
    assert_eq!(set.remove("kvm-1").await, Ok(Removal::Removed));
    assert_eq!(set.remove("kvm-1").await, Ok(Removal::Removed));
    assert!(emulator.state().runners.is_empty());
}

#[tokio::test]
async fn session_of_a_killed_process_is_waited_out() {
    let emulator = emulator().await;
    let killed = registered(&emulator).await;
    killed.news(4).await.unwrap();
    let set = registered(&emulator).await;
    let Err(ServiceError::Away(why)) = set.news(4).await else {
        panic!("there are two sessions")
    };
    assert!(why.contains("another process listens"), "{why}");
    emulator.expire_session(set.id);
    set.news(4).await.unwrap();
    // The one that was taken over notices, and opens none beside the new one.
    assert!(killed.news(4).await.is_err());
    assert!(killed.news(4).await.is_err());
}

#[tokio::test]
async fn session_that_is_closed_lets_the_next_process_in() {
    let emulator = emulator().await;
    let set = registered(&emulator).await;
    set.news(4).await.unwrap();
    set.close().await;
    registered(&emulator).await.news(4).await.unwrap();
}

#[tokio::test]
async fn service_that_is_away_loses_no_job() {
    let emulator = emulator().await;
    let set = registered(&emulator).await;
    set.news(4).await.unwrap();
    // More than the client repeats by itself.
    emulator.inject(Fault::status(Endpoint::GetMessage, 503).times(7));
    emulator.inject(Fault::status(Endpoint::AcquireJobs, 500).times(6));
    emulator.inject(Fault::status(Endpoint::DeleteMessage, 500).times(6));
    emulator.queue_job(set.id, [NAME]);
    assert!(matches!(set.news(4).await, Err(ServiceError::Away(_))));
    news_until(&set, |news| news.assigned == 1).await;
    emulator.expire_admin_tokens();
    emulator.expire_queue_token(set.id);
    emulator.queue_job(set.id, [NAME]);
    news_until(&set, |news| news.assigned == 2).await;
}

#[tokio::test]
async fn capacity_is_what_the_last_news_were_asked_with() {
    let emulator = emulator().await;
    let set = registered(&emulator).await;
    set.news(7).await.unwrap();
    set.news(7).await.unwrap();
    set.news(0).await.unwrap();
    let polls = emulator.requests_to(Endpoint::GetMessage);
    let capacities: Vec<_> = polls.iter().map(|poll| poll.max_capacity).collect();
    assert_eq!(capacities, [Some(7), Some(0)]);
}

#[tokio::test]
async fn credentials_that_do_not_do_say_what_they_need() {
    let emulator = emulator().await;
    let client = client(
        &emulator.config_url(),
        Credentials::personal_access_token("ghp_another").unwrap(),
    );
    let registration = Registration {
        url: &emulator.config_url(),
        name: NAME,
        group: None,
        labels: &[],
    };
    let problem = ScaleSet::register(client.unwrap(), &registration, String::new())
        .await
        .err()
        .unwrap();
    let text = problem.text();
    assert!(
        text.contains("401") && text.contains("Self-hosted runners: read and write"),
        "{text}"
    );
    assert!(!text.contains("ghp_another"), "{text}");
}

#[tokio::test]
async fn many_jobs_need_no_more_calls_than_boxes_and_polls() {
    let emulator = Emulator::builder()
        .long_poll(Duration::from_millis(20))
        .auto_run_jobs(Duration::from_millis(1))
        .start()
        .await;
    let set = Arc::new(registered(&emulator).await);
    for _ in 0..200 {
        emulator.queue_job(set.id, [NAME]);
    }
    let mut made = 0;
    let all = async {
        while emulator
            .state()
            .jobs
            .iter()
            .any(|job| job.state != JobState::Completed)
        {
            let news = set.news(200).await.unwrap();
            for _ in emulator.state().runners.len()..news.assigned {
                made += 1;
                set.configure(&format!("kvm-{made}")).await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    assert!((200..=260).contains(&made), "{made}");
}

#[test]
fn plain_http_stays_on_this_machine() {
    let token = || Credentials::personal_access_token("t").unwrap();
    assert!(client("http://127.0.0.1:4100/org", token()).is_ok());
    assert!(client("https://github.com/acme", token()).is_ok());
    for wrong in [
        "http://ghes.example.com/acme",
        "http://github.com/acme",
        "http://127.0.0.1.example.com/a",
        "github",
    ] {
        assert!(client(wrong, token()).is_err(), "{wrong}");
    }
}
