//! Makes a lane's box, and has stage 1 prepare it: candidates are tried in order. Only here are boxes created.

use std::{sync::Arc, time::Duration};

use futures::future::join;
use model::{
    candidate::Candidate,
    error::{ErrorKind, ProviderError, RemoteError},
    event::{Event, Step},
    journal::{Fact, Held, HeldState},
    machine::Machine,
    name::Token,
    order::{Order, Preinstall},
    plan::price_of,
    render::cloud_init,
    retry::{Next, after},
    tags::Tags,
    time::Deadline,
    world::Provider,
};

use crate::{
    alive::{while_alive, while_booting},
    begun::have_begun,
    deploy,
    down::{DestroyOutcome, down_own},
    lane::{Lane, Refusal},
    link::Link,
    stage1::stage1,
    sync::sync,
    time::{Limit, within},
};

/// How long a provider may take to make a box, image and all.
const CREATE_MAX: Duration = Duration::from_secs(45 * 60);

/// How long a box may take from its address to the first command: bare metal needs up to 20 minutes.
const BOOT_MAX: Duration = Duration::from_secs(25 * 60);

/// How long a box's host key may be another one than it reported: a program of the image's own may replace it, and report it
/// again only later.
const KEY_MAX: Duration = Duration::from_secs(60);

/// How often it is looked for meanwhile.
const KEY_PAUSE: Duration = Duration::from_secs(2);

/// Makes the lane's box, prepares it, sources included, and has it do its work. `link` leads to it meanwhile. When a spot
/// box is taken back, all of it begins anew with the next candidate. What was made stays when this fails: whoever called
/// destroys it.
pub(crate) async fn on_new_box<T>(
    lane: &Lane<'_>,
    link: &Link,
    work: impl AsyncFn() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let mut held = held(lane).await?;
    // An earlier process may have made, and destroyed, what nobody knows of here.
    let mut is_of_request = held.is_none();
    let mut rejected = Vec::new();
    let candidates = candidates_from(&lane.lane.candidates, held.as_ref());
    for (index, candidate) in candidates.iter().enumerate() {
        let outcome = match up(lane, candidate, held.take(), link).await {
            Ok(()) => while_alive(lane, link, work()).await.map_err(|refusal| Refusal {
                // Whatever else its work ends with, another box would end with too.
                is_candidates: refusal.is_death && candidate.options.spot,
                ..refusal
            }),
            Err(refusal) => Err(refusal),
        };
        let refusal = match outcome {
            Err(refusal) if refusal.is_death && candidate.options.spot => taken_back(candidate, refusal),
            Err(refusal) => refusal,
            outcome => return outcome,
        };
        is_of_request &= refusal.is_of_request;
        let refusal = Refusal {
            is_of_request,
            ..refusal
        };
        let is_last = index + 1 == candidates.len();
        if !refusal.is_candidates || (is_last && rejected.is_empty()) {
            return Err(refusal);
        }
        lane.emit(Event::CandidateRejected {
            candidate: candidate.clone(),
            why: refusal.why.clone(),
        });
        lane.shards.rejected(&lane.lane.name);
        rejected.push(format!("{candidate}: {}", refusal.why));
        if is_last {
            break;
        }
        link.cut();
        match down_own(lane).await {
            DestroyOutcome::Gone(gone) => is_of_request &= gone.is_empty(),
            DestroyOutcome::Left { why } => {
                return Err(Refusal::new(format!(
                    "{candidate} was rejected, and its box could not be destroyed: {why}"
                )));
            }
        }
    }
    let why = format!("no candidate could serve the lane\n{}", rejected.join("\n"));
    let refusal = Refusal::new(why).help(format!(
        "add a candidate to `boxes` of [lanes.{}]",
        lane.lane.name
    ));
    Err(Refusal {
        is_of_request,
        ..refusal
    })
}

/// Returns the candidates to try: from the one on that was asked when the run was taken from its process.
fn candidates_from<'a>(candidates: &'a [Candidate], held: Option<&Held>) -> &'a [Candidate] {
    let asked = |held: &Held| {
        candidates
            .iter()
            .position(|candidate| *candidate == held.candidate)
    };
    &candidates[held.and_then(asked).unwrap_or(0)..]
}

fn taken_back(candidate: &Candidate, refusal: Refusal) -> Refusal {
    let provider = &candidate.provider;
    let why = format!(
        "{}\nit was a spot box, which {provider} takes back when it likes",
        refusal.why
    );
    Refusal { why, ..refusal }.help("add a candidate without `spot` behind it in `boxes`")
}

async fn up(lane: &Lane<'_>, candidate: &Candidate, held: Option<Held>, link: &Link) -> Result<(), Refusal> {
    let provider = lane.world.providers.get(&candidate.provider);
    let provider =
        provider.ok_or_else(|| Refusal::of_candidate(format!("no provider `{}`", candidate.provider)))?;
    if let Some(error) = provider.refuse(&candidate.instance_type, lane.lane.need) {
        return Err(of_provider(error));
    }
    let is_new = held.as_ref().is_none_or(|held| held.state != HeldState::Up);
    let mut machine = lane
        .step(Step::Up, create(lane, candidate, held, provider))
        .await?;
    lane.emit(Event::MachineUp {
        machine: machine.clone(),
    });
    link.aim(&machine);
    let reported_by = is_new.then_some(&**provider);
    let connected = connect(lane, &mut machine, link, reported_by);
    lane.step(Step::Connect, while_booting(lane, link, Step::Connect, connected))
        .await?;
    while_alive(lane, link, prepare(lane, link)).await
}

/// Has stage 1 and the first copy of the sources run side by side: the copy needs little of what stage 1 installs.
async fn prepare(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    let has_begun = have_begun(lane, link).await || deploy::has_begun(lane, link).await;
    let early = async {
        if has_begun {
            Ok(())
        } else {
            lane.step(Step::Sync, sync(lane, link)).await
        }
    };
    let (prepared, copied) = join(lane.step(Step::Stage1, stage1(lane, link)), early).await;
    prepared?;
    if copied.is_err() {
        // The box may have lacked the user or rsync until stage 1 was through.
        lane.step(Step::Sync, sync(lane, link)).await?;
    }
    Ok(())
}

/// Connects, takes the box over and has it make itself a new host key. Of a new box the provider may report another key.
async fn connect(
    lane: &Lane<'_>,
    machine: &mut Machine,
    link: &Link,
    reported_by: Option<&dyn Provider>,
) -> Result<(), Refusal> {
    first_contact(lane, machine, link, reported_by)
        .await?
        .map_err(|error| match error {
            RemoteError::Here(_) => Refusal::new(error),
            _ => Refusal::of_candidate(format!("the box never let us in: {error}")).help(format!(
                "twolane logs {} --console shows how far it booted",
                lane.lane.label
            )),
        })?;
    // What an earlier process of a shared lane took over belongs to boxes that begin anew.
    let own = lane.lane.share.as_ref().map_or(&[][..], |_| &lane.lane.checks);
    crate::open::take_over(lane.world, link, &lane.plan.run, own)
        .await
        .map_err(Refusal::of_candidate)?;
    crate::open::renew_host_key(machine, lane.world, link)
        .await
        .map_err(Refusal::of_candidate)
}

/// Connects; where the host key is not the one that a new box reported, looks for one that it has reported since.
async fn first_contact(
    lane: &Lane<'_>,
    machine: &mut Machine,
    link: &Link,
    reported_by: Option<&dyn Provider>,
) -> Result<Result<(), RemoteError>, Refusal> {
    let clock = &*lane.world.clock;
    let mut key_end = None;
    loop {
        let outcome = link.connect(lane.world, BOOT_MAX).await.map(drop);
        let (Err(RemoteError::Impostor(_)), Some(provider), Some(known)) =
            (&outcome, reported_by, &machine.host_key)
        else {
            return Ok(outcome);
        };
        if key_end
            .get_or_insert_with(|| Limit::after(clock, KEY_MAX))
            .is_over(clock)
        {
            return Ok(outcome);
        }
        match provider.host_key(machine).await {
            Ok(Some(reported)) if reported != *known => {
                machine.host_key = Some(reported);
                keep_in_mind(lane, machine).await?;
            }
            Ok(_) | Err(_) => clock.sleep(KEY_PAUSE).await,
        }
    }
}

/// Returns the lane's machine: the one that the journal knows when a run is resumed, else a new one.
async fn create(
    lane: &Lane<'_>,
    candidate: &Candidate,
    held: Option<Held>,
    provider: &Arc<dyn Provider>,
) -> Result<Machine, Refusal> {
    if let Some(Held {
        state: HeldState::Up,
        machine: Some(machine),
        ..
    }) = held
    {
        return Ok(machine);
    }
    let end = Limit::after(&*lane.world.clock, CREATE_MAX);
    let (mut attempt, mut is_tried) = (0, false);
    loop {
        attempt += 1;
        let (progress, left) = (lane.progress(Step::Up), end.left(&*lane.world.clock));
        // Whoever stops while the provider is silent has nothing to look for.
        let asked = question(lane, candidate, tags(lane).await?);
        let answer = within(lane.world, left, provider.answers(&asked, &progress)).await;
        if let Err(error) = answer.unwrap_or_else(|| Err(too_slow(&asked))) {
            wait_after(lane, error, attempt, left).await?;
            continue;
        }
        // What an earlier attempt or process may have made is adopted when it is found. When it is not, it may turn up late
        // beside what is made now, or be dead, and its token with it: an attempt of its own, so that the journal knows of
        // both.
        let tags = intend(lane, candidate).await?;
        let order = order(lane, candidate, &tags).await?;
        if !std::mem::replace(&mut is_tried, true) {
            lane.emit(Event::CandidateTried {
                candidate: candidate.clone(),
                deadline: tags.deadline,
                dead_mans_switch: provider.profile().dead_mans_switch.clone(),
                price: price_of(candidate, &**provider),
            });
            if let Some(expiry) = provider
                .expiry()
                .filter(|expiry| *expiry < tags.deadline.moment())
            {
                let name = &candidate.provider;
                lane.notice(format!(
                    "the credentials of {name} expire at {expiry}, before the box's deadline: twolane cannot destroy the box \
                     after that. Shorten `ttl`, or use credentials that renew themselves"
                ));
            }
        }
        let left = end.left(&*lane.world.clock);
        let answer = within(lane.world, left, provider.up(&order, &progress)).await;
        let error = match answer.unwrap_or_else(|| Err(too_slow(&order))) {
            Ok(machine) => return keep_in_mind(lane, &machine).await.map(|()| machine),
            Err(error) => error,
        };
        record_failure(lane, &tags, &error).await?;
        wait_after(lane, error, attempt, left).await?;
    }
}

/// Waits until the next attempt of a candidate, if there is to be one.
async fn wait_after(
    lane: &Lane<'_>,
    error: ProviderError,
    attempt: u32,
    left: Duration,
) -> Result<(), Refusal> {
    match after(&error.kind, attempt, left) {
        Next::Wait(pause) => {
            lane.world.clock.sleep(pause).await;
            Ok(())
        }
        Next::FindByLabel | Next::OtherCandidate | Next::GiveUp => Err(of_provider(error)),
    }
}

/// Records a machine that is up.
async fn keep_in_mind(lane: &Lane<'_>, machine: &Machine) -> Result<(), Refusal> {
    if let Some(host_key) = &machine.host_key {
        // Reported by the provider over its own API: the key that was sent was replaced.
        let keys = std::slice::from_ref(host_key);
        let pinned = lane.world.remote.pin(&machine.label, keys).await;
        pinned.map_err(Refusal::of_candidate)?;
    }
    record(
        lane,
        Fact::Up {
            machine: machine.clone(),
        },
    )
    .await
}

async fn held(lane: &Lane<'_>) -> Result<Option<Held>, Refusal> {
    let mut holdings = lane.world.journal.holdings().await.map_err(Refusal::new)?;
    let held = holdings.boxes.remove(&lane.lane.label);
    Ok(held.filter(|held| held.run == lane.plan.run))
}

/// Makes the tags of a new attempt.
async fn tags(lane: &Lane<'_>) -> Result<Tags, Refusal> {
    let label = &lane.lane.label;
    // What an earlier attempt made may have been extended since, and is adopted with the deadline that it has then.
    let extended = held(lane).await?.map(|held| held.tags.deadline);
    let deadline = Deadline::after(lane.world.clock.now(), lane.lane.ttl);
    Ok(Tags {
        label: label.clone(),
        run: lane.plan.run.clone(),
        token: Token::generate(label, lane.world.clock.random()),
        deadline: extended.map_or(deadline, |extended| extended.max(deadline)),
        owner: lane.plan.owner.clone(),
    })
}

/// Makes the tags of a new attempt, and has them on the disk before any create call leaves.
async fn intend(lane: &Lane<'_>, candidate: &Candidate) -> Result<Tags, Refusal> {
    let tags = tags(lane).await?;
    record(
        lane,
        Fact::Intent {
            candidate: candidate.clone(),
            tags: tags.clone(),
        },
    )
    .await?;
    Ok(tags)
}

/// Returns the order that a provider is asked about before it is intended: without the box's keys, as what is kept of a box here
/// is found by its intent.
fn question(lane: &Lane<'_>, candidate: &Candidate, tags: Tags) -> Order {
    Order {
        candidate: candidate.clone(),
        tags,
        need: lane.lane.need,
        user_data: String::new(),
        login_key: String::new(),
        allow: lane.plan.allow.clone(),
        parts: None,
        preinstall: Preinstall::default(),
    }
}

async fn order(lane: &Lane<'_>, candidate: &Candidate, tags: &Tags) -> Result<Order, Refusal> {
    let keys = lane.world.remote.keys(&tags.label).await.map_err(Refusal::new)?;
    let mut stage1 = lane.plan.stage1(lane.lane, tags, &keys);
    stage1.system.ca_certs = lane.plan.certificates(candidate);
    let user_data = cloud_init::user_data(&stage1).map_err(Refusal::new)?;
    let parts = cloud_init::in_parts(&stage1).map_err(Refusal::new)?;
    Ok(Order {
        user_data,
        login_key: keys.login_public,
        parts: Some(parts),
        preinstall: Preinstall {
            packages: lane.plan.system.packages.clone(),
            toolchain: lane.plan.toolchain.clone(),
        },
        ..question(lane, candidate, tags.clone())
    })
}

async fn record(lane: &Lane<'_>, fact: Fact) -> Result<(), Refusal> {
    lane.world
        .journal
        .append(&lane.plan.run, fact)
        .await
        .map_err(Refusal::new)
}

fn too_slow(order: &Order) -> ProviderError {
    let cause = format!("no answer within {} minutes", CREATE_MAX.as_secs() / 60);
    let provider = &order.candidate.provider;
    provider.error(ErrorKind::Unanswered, "create a box", cause)
}

/// Records whether a failed create call was answered. The box stays in the journal until `down` has found
/// nothing of it: keys and rules may have been made for it before.
async fn record_failure(lane: &Lane<'_>, tags: &Tags, error: &ProviderError) -> Result<(), Refusal> {
    let (label, token, why) = (tags.label.clone(), tags.token.clone(), error.cause.clone());
    let fact = match error.kind {
        ErrorKind::Unanswered => Fact::Unanswered { label, why },
        _ => Fact::Refused { label, token, why },
    };
    record(lane, fact).await
}

fn of_provider(error: ProviderError) -> Refusal {
    let (help, is_of_request) = (error.help.clone(), error.kind.is_of_request());
    Refusal {
        help,
        is_of_request,
        ..Refusal::of_candidate(error)
    }
}
