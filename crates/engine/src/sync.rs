//! Copies the source trees to the box.

use std::sync::atomic::{AtomicU32, Ordering};

use model::event::{Event, Step};

use crate::{
    lane::{Lane, Refusal},
    link::Link,
};

/// Makes the box's copies of all sources equal to what is here.
pub(crate) async fn sync(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    let copied = copy(lane, link, Step::Sync).await?;
    for Copied { event, .. } in copied {
        lane.emit(event);
    }
    Ok(())
}

/// Does it once more, in another step. Returns whether anything may have changed meanwhile.
pub(crate) async fn sync_again(lane: &Lane<'_>, link: &Link, step: Step) -> Result<bool, Refusal> {
    let copied = copy(lane, link, step).await?;
    Ok(copied.iter().any(|copied| copied.may_differ))
}

struct Copied {
    event: Event,
    may_differ: bool,
}

async fn copy(lane: &Lane<'_>, link: &Link, step: Step) -> Result<Vec<Copied>, Refusal> {
    let progress = &lane.progress(step);
    let mut all = Vec::new();
    for source in &lane.plan.sources {
        let attempts = &AtomicU32::new(0);
        let synced = link
            .over(lane.world, |session| async move {
                attempts.fetch_add(1, Ordering::Relaxed);
                session.sync(source, progress).await
            })
            .await
            .map_err(|error| Refusal::new(format!("could not copy {} to the box: {error}", source.path)))?;
        all.push(Copied {
            // An attempt whose end was lost may have done it all.
            may_differ: synced.sent + synced.deleted > 0 || attempts.load(Ordering::Relaxed) > 1,
            event: Event::Synced {
                source: source.name.clone(),
                synced,
            },
        });
    }
    Ok(all)
}
