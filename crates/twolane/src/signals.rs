//! Ctrl-C, SIGTERM and a closed terminal: the first asks to stop, the second leaves at once.

use std::{io, process, sync::Arc, thread, time::Duration};

use async_trait::async_trait;
use futures::future::{Either, select};
use model::world::Stop;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

use crate::{
    exit::Exit,
    keys,
    show::{standing::Standing, stream::Style},
};

/// Whether somebody has asked to stop: the user by a signal, or who holds the other end.
#[derive(Clone)]
pub(crate) struct Signals(watch::Receiver<bool>);

impl Signals {
    /// Makes one that no signal asks, and the end that does.
    pub(crate) fn by_hand() -> (watch::Sender<bool>, Self) {
        let (tell, asked) = watch::channel(false);
        (tell, Self(asked))
    }

    /// Begins to listen.
    pub(crate) fn listen(standing: Arc<Standing>, style: Style) -> io::Result<Self> {
        let mut signals = [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ];
        let (tell, asked) = Self::by_hand();
        tokio::spawn(async move {
            any(&mut signals).await;
            let _ = tell.send(true);
            any(&mut signals).await;
            leave(&standing, style);
        });
        Ok(asked)
    }
}

#[async_trait]
impl Stop for Signals {
    async fn asked(&self) {
        let mut asked = self.0.clone();
        if asked.wait_for(|is_asked| *is_asked).await.is_err() {
            // Nobody can ask any more.
            std::future::pending::<()>().await;
        }
    }

    fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

async fn any(signals: &mut [Signal; 3]) {
    let [interrupt, terminate, hangup] = signals;
    let two = select(Box::pin(interrupt.recv()), Box::pin(terminate.recv()));
    match select(two, Box::pin(hangup.recv())).await {
        Either::Left(_) | Either::Right(_) => {}
    }
}

/// Says which boxes stay and how they die, and leaves. A terminal that takes nothing any more does not hold it up.
fn leave(standing: &Standing, style: Style) {
    let text = match standing.text() {
        Some(text) => format!("\nleaving at once\n{text}"),
        None => "\nleaving at once; no box exists".to_owned(),
    };
    let telling = thread::spawn(move || style.message(&text));
    for _ in 0..20 {
        if telling.is_finished() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    keys::give_back();
    process::exit(i32::from(Exit::Interrupted.code()));
}
