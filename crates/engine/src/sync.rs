//! Copies the source trees to the box.

use model::event::{Event, Step};

use crate::{
    lane::{Lane, Refusal},
    link::Link,
};

/// Makes the box's copies of all sources equal to what is here.
pub(crate) async fn sync(lane: &Lane<'_>, link: &Link) -> Result<(), Refusal> {
    let progress = &lane.progress(Step::Sync);
    for source in &lane.plan.sources {
        let synced = link
            .over(lane.world, |session| async move {
                session.sync(source, progress).await
            })
            .await
            .map_err(|error| Refusal::new(format!("could not copy {} to the box: {error}", source.path)))?;
        lane.emit(Event::Synced {
            source: source.name.clone(),
            synced,
        });
    }
    Ok(())
}
