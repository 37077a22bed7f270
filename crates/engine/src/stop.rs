//! Whoever asks first to stop.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::select;
use model::world::Stop;

/// Asks to stop as soon as one of the two does.
pub struct FirstOf(pub Arc<dyn Stop>, pub Arc<dyn Stop>);

#[async_trait]
impl Stop for FirstOf {
    async fn asked(&self) {
        select(self.0.asked(), self.1.asked()).await;
    }

    fn is_asked(&self) -> bool {
        self.0.is_asked() || self.1.is_asked()
    }
}
