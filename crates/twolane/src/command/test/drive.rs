//! Carries out what `model::watch` decides: one run at a time, beside it a look at what has changed.

use std::{
    future::{Future, pending},
    time::Duration,
};

use futures::future::LocalBoxFuture;
use model::{
    watch::{Action, Input, Watch, What, Why},
    world::Clock as _,
};
use tokio::sync::{mpsc::UnboundedReceiver, watch::Sender};

use crate::{clock::Clock, signals::Signals};

/// What the loop does, and what stands behind it.
pub(super) trait Loop {
    /// Carries a run out, until it is asked to stop. Returns why there can be no other.
    fn run(&self, what: What, stop: Signals) -> impl Future<Output = Option<Why>>;

    /// Looks whether what is sent has changed.
    fn look(&self) -> impl Future<Output = bool>;

    /// Waits from now on for what happens next.
    fn wait(&self);
}

/// Runs what is asked for, and again as often as the inputs say. Returns why it is over.
pub(super) async fn drive(of: &impl Loop, inputs: &mut UnboundedReceiver<Input>) -> Why {
    let mut watch = Watch::default();
    let mut running: Option<(LocalBoxFuture<'_, Option<Why>>, Sender<bool>)> = None;
    let mut looking: Option<LocalBoxFuture<'_, bool>> = None;
    let mut is_news = false;
    let mut action = watch.take(Input::Wanted(What::Asked), Clock.monotonic());
    loop {
        match action {
            Some(Action::Look) => looking = Some(Box::pin(of.look())),
            Some(Action::Start(what)) => {
                let (tell, stop) = Signals::by_hand();
                running = Some((Box::pin(of.run(what, stop)), tell));
            }
            Some(Action::Stop) => {
                if let Some((_, tell)) = &running {
                    let _ = tell.send(true);
                }
            }
            Some(Action::Leave(why)) => return why,
            None => {}
        }
        if watch.is_idle() && std::mem::take(&mut is_news) {
            of.wait();
        }
        let wake = watch.wake().map(|at| at.saturating_sub(Clock.monotonic()));
        action = tokio::select! {
            // Who asks to leave is heard before all else.
            biased;
            Some(input) = inputs.recv() => watch.take(input, Clock.monotonic()),
            over = ended(running.as_mut().map(|(run, _)| run)) => {
                (running, is_news) = (None, true);
                let now = Clock.monotonic();
                // While it counts as running, that leads to nothing.
                over.and_then(|why| watch.take(Input::Over(why), now));
                watch.take(Input::Ended, now)
            }
            has_changed = ended(looking.as_mut()) => {
                looking = None;
                watch.take(Input::Looked(has_changed), Clock.monotonic())
            }
            () = sleep(wake) => watch.tick(Clock.monotonic()),
        };
    }
}

async fn ended<T>(future: Option<&mut LocalBoxFuture<'_, T>>) -> T {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

async fn sleep(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::RefCell,
        fs,
        path::{Path, PathBuf},
        process::Command,
    };

    use model::world::Stop as _;
    use parking_lot::Mutex;
    use remote::{Followed, Follower};
    use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

    use super::*;

    /// Runs that wait until they are stopped, or until something is written to `end` beside the tree; real files are followed.
    struct Tried {
        follower: Mutex<Follower>,
        said: RefCell<Vec<String>>,
        tree: PathBuf,
        end: PathBuf,
    }

    impl Loop for Tried {
        async fn run(&self, what: What, stop: Signals) -> Option<Why> {
            self.say(format!("{what:?}"));
            while !self.end.exists() {
                let pause = tokio::time::sleep(Duration::from_millis(5));
                tokio::select! {
                    () = stop.asked() => {
                        self.say("stopped".to_owned());
                        return None;
                    }
                    () = pause => {}
                }
            }
            self.say("through".to_owned());
            let why = fs::read_to_string(&self.end).unwrap();
            fs::remove_file(&self.end).unwrap();
            (why == "gone").then_some(Why::Gone)
        }

        async fn look(&self) -> bool {
            let changed = self.follower.lock().look().unwrap();
            for path in &changed {
                self.say(path.strip_prefix(&self.tree).unwrap().display().to_string());
            }
            !changed.is_empty()
        }

        fn wait(&self) {
            self.say("waits".to_owned());
        }
    }

    impl Tried {
        fn say(&self, word: String) {
            self.said.borrow_mut().push(word);
        }

        /// Waits until that was said, so often.
        async fn until(&self, word: &str, times: usize) {
            for _ in 0..2000 {
                if self.said.borrow().iter().filter(|said| *said == word).count() >= times {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            panic!("never said {word} {times} times: {:?}", self.said.borrow());
        }
    }

    /// Lets the loop go on beside a story, and checks what was said to the end.
    async fn check(story: impl AsyncFn(&Tried, &Path, &UnboundedSender<Input>), expected: &[&str], end: Why) {
        let temp = tempfile::tempdir().unwrap();
        let tree = temp.path().join("tree");
        let made = Command::new("sh")
            .args([
                "-euc",
                "mkdir -p tree/src; cd tree; git init -q; echo target/ > .gitignore; echo > src/lib.rs",
            ])
            .current_dir(temp.path())
            .status();
        assert!(made.unwrap().success());
        let (tell, mut inputs) = unbounded_channel();
        let touched = tell.clone();
        let followed = Followed {
            trees: vec![tree.clone()],
            file: tree.join("twolane.toml"),
            left_out: temp.path().join("state"),
        };
        let report = move || {
            let _ = touched.send(Input::Touched);
        };
        let tried = Tried {
            follower: Mutex::new(Follower::start(followed, report).unwrap()),
            said: RefCell::default(),
            tree: tree.clone(),
            end: temp.path().join("end"),
        };
        let (why, ()) = tokio::join!(drive(&tried, &mut inputs), story(&tried, &tree, &tell));
        assert_eq!(*tried.said.borrow(), expected);
        assert_eq!(why, end);
    }

    #[tokio::test]
    async fn edit_stops_the_run_and_starts_another() {
        let story = async |tried: &Tried, tree: &Path, tell: &UnboundedSender<Input>| {
            tried.until("Asked", 1).await;
            // What is compiled meanwhile is nobody's edit.
            fs::create_dir(tree.join("target")).unwrap();
            fs::write(tree.join("target/made"), "").unwrap();
            fs::write(tree.join("src/lib.rs"), "fn f() {}").unwrap();
            tried.until("Asked", 2).await;
            fs::write(&tried.end, "").unwrap();
            tried.until("waits", 1).await;
            fs::write(tree.join("target/made"), "more").unwrap();
            fs::create_dir(tree.join("src/bin")).unwrap();
            fs::write(tree.join("src/bin/a.rs"), "").unwrap();
            tried.until("Asked", 3).await;
            tell.send(Input::Over(Why::Quit)).unwrap();
        };
        let said = [
            "Asked",
            "src/lib.rs",
            "stopped",
            "Asked",
            "through",
            "waits",
            "src/bin/a.rs",
            "Asked",
            "stopped",
        ];
        check(story, &said, Why::Quit).await;
    }

    #[tokio::test]
    async fn keys_run_and_a_lost_box_ends_all() {
        let story = async |tried: &Tried, _: &Path, tell: &UnboundedSender<Input>| {
            tried.until("Asked", 1).await;
            fs::write(&tried.end, "").unwrap();
            tried.until("waits", 1).await;
            tell.send(Input::Wanted(What::Failed)).unwrap();
            tried.until("Failed", 1).await;
            fs::write(&tried.end, "gone").unwrap();
        };
        check(
            story,
            &["Asked", "through", "waits", "Failed", "through"],
            Why::Gone,
        )
        .await;
    }
}
