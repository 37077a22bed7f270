//! What every provider must do, as checks that its tests call. They panic with what does not hold.

use std::collections::BTreeSet;

use model::{
    error::ErrorKind,
    machine::{Listed, ResourceKind},
    name::{Label, RunId},
    order::Order,
    selector::Selector,
    tags::Tags,
    world::{Progress, Provider},
};
use parking_lot::Mutex;

/// What a check must be able to do beside calling the provider.
pub trait Hooks: Sync {
    /// Returns an order of that label and run, with everything else as the provider likes it. Each has a new token.
    fn order(&self, label: &Label, run: &RunId) -> Order;

    /// Makes something at the provider that lacks our tag, under that name.
    fn plant_foreign(&self, label: &Label);

    /// Returns whether what was planted is still there.
    fn has_foreign(&self, label: &Label) -> bool;

    /// Returns whether anything made for a box of that label is still there: seen by other means than the provider's own answers.
    fn has_remains(&self, label: &Label) -> bool;
}

/// Keeps what was reported.
#[derive(Debug, Default)]
pub struct Reports(Mutex<Vec<String>>);

impl Reports {
    /// Returns what was reported up to now.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

impl Progress for Reports {
    fn report(&self, message: &str, _amount: Option<(u64, u64)>) {
        self.0.lock().push(message.to_owned());
    }
}

/// Runs all checks, one after the other.
pub async fn check_all(provider: &dyn Provider, hooks: &dyn Hooks) {
    up_gives_an_address_and_tags(provider, hooks).await;
    a_second_up_adopts(provider, hooks).await;
    a_label_of_another_run_is_taken(provider, hooks).await;
    down_removes_everything(provider, hooks).await;
    down_of_a_run_leaves_the_box_of_another(provider, hooks).await;
    down_of_what_is_gone_succeeds(provider).await;
    down_of_all_takes_every_tagged_box_and_nothing_else(provider, hooks).await;
}

/// A box has an address, and carries label, run and deadline.
pub async fn up_gives_an_address_and_tags(provider: &dyn Provider, hooks: &dyn Hooks) {
    let order = hooks.order(&label("c-up"), &run("r1"));
    let machine = provider.up(&order, &Reports::default()).await.expect("up");
    assert_eq!(machine.label, order.tags.label);
    assert!(
        machine.port > 0 && !machine.address.is_unspecified(),
        "{machine:?}"
    );
    if provider.listing().is_some() {
        let tags = tags_of(provider, &order.tags.label).await;
        assert_eq!(
            tags,
            std::slice::from_ref(&order.tags),
            "the box carries the order's tags"
        );
    }
    down(provider, &order.tags.label).await;
}

/// A repeated order of the same label and run gives the same box.
pub async fn a_second_up_adopts(provider: &dyn Provider, hooks: &dyn Hooks) {
    let (name, run) = (label("c-twice"), run("r1"));
    let first = provider
        .up(&hooks.order(&name, &run), &Reports::default())
        .await
        .expect("up");
    let second = provider
        .up(&hooks.order(&name, &run), &Reports::default())
        .await
        .expect("a second up of the same label and run");
    assert_eq!(
        (&first.id, first.address, first.port),
        (&second.id, second.address, second.port)
    );
    if provider.listing().is_some() {
        assert_eq!(tags_of(provider, &name).await.len(), 1, "there is one box");
    }
    down(provider, &name).await;
}

/// A label that another run has is refused, and that run's box stays.
pub async fn a_label_of_another_run_is_taken(provider: &dyn Provider, hooks: &dyn Hooks) {
    let name = label("c-taken");
    provider
        .up(&hooks.order(&name, &run("r1")), &Reports::default())
        .await
        .expect("up");
    let refusal = provider
        .up(&hooks.order(&name, &run("r2")), &Reports::default())
        .await
        .expect_err("the label is taken");
    assert_eq!(refusal.kind, ErrorKind::Taken, "{refusal}");
    if provider.listing().is_some() {
        let tags = tags_of(provider, &name).await;
        assert_eq!(
            tags.iter().map(|tags| tags.run.as_str()).collect::<Vec<_>>(),
            ["r1"]
        );
    }
    down(provider, &name).await;
}

/// After `down` by label nothing of the box is left, and the others live.
pub async fn down_removes_everything(provider: &dyn Provider, hooks: &dyn Hooks) {
    let (ours, other) = (label("c-down"), label("c-down2"));
    for name in [&ours, &other] {
        provider
            .up(&hooks.order(name, &run("r1")), &Reports::default())
            .await
            .expect("up");
    }
    let gone = provider
        .down(&Selector::Label(ours.clone()), &Reports::default())
        .await
        .expect("down");
    assert!(
        gone.iter().any(|gone| gone.kind == ResourceKind::Machine),
        "{gone:?}"
    );
    assert!(!hooks.has_remains(&ours), "nothing of {ours} is left");
    assert!(hooks.has_remains(&other), "{other} lives");
    if provider.listing().is_some() {
        assert_eq!(tags_of(provider, &ours).await, []);
    }
    down(provider, &other).await;
    assert!(!hooks.has_remains(&other), "nothing of {other} is left");
}

/// `down` for a run takes the label's box only if it was made for that run.
pub async fn down_of_a_run_leaves_the_box_of_another(provider: &dyn Provider, hooks: &dyn Hooks) {
    let (name, ours, other) = (label("c-run"), run("r1"), run("r2"));
    provider
        .up(&hooks.order(&name, &ours), &Reports::default())
        .await
        .expect("up");
    let of = async |run: &RunId| {
        let selector = Selector::OfRun(name.clone(), run.clone());
        provider.down(&selector, &Reports::default()).await.expect("down")
    };
    assert_eq!(of(&other).await, []);
    assert!(hooks.has_remains(&name), "the box of another run stays");
    assert!(!of(&ours).await.is_empty());
    assert!(!hooks.has_remains(&name), "nothing of {name} is left");
}

/// Destroying what is not there succeeds, and finds nothing.
pub async fn down_of_what_is_gone_succeeds(provider: &dyn Provider) {
    let gone = provider
        .down(&Selector::Label(label("c-never")), &Reports::default())
        .await
        .expect("down of what never was");
    assert_eq!(gone, []);
}

/// `down` of all takes every box with our tag, and leaves what lacks it.
pub async fn down_of_all_takes_every_tagged_box_and_nothing_else(provider: &dyn Provider, hooks: &dyn Hooks) {
    let (first, second, foreign) = (label("c-all1"), label("c-all2"), label("c-foreign"));
    for name in [&first, &second] {
        provider
            .up(&hooks.order(name, &run("r1")), &Reports::default())
            .await
            .expect("up");
    }
    hooks.plant_foreign(&foreign);
    let gone = provider
        .down(&Selector::AllOurs, &Reports::default())
        .await
        .expect("down of all");
    let boxes: BTreeSet<_> = gone
        .iter()
        .filter(|gone| gone.kind == ResourceKind::Machine)
        .collect::<Vec<_>>()
        .into_iter()
        .map(|gone| gone.id.clone())
        .collect();
    assert_eq!(boxes.len(), 2, "{gone:?}");
    assert!(!hooks.has_remains(&first) && !hooks.has_remains(&second));
    assert!(hooks.has_foreign(&foreign), "what lacks the tag stays");
}

async fn down(provider: &dyn Provider, label: &Label) {
    provider
        .down(&Selector::Label(label.clone()), &Reports::default())
        .await
        .expect("down");
}

async fn tags_of(provider: &dyn Provider, label: &Label) -> Vec<Tags> {
    let listing = provider.listing().expect("the caller has looked");
    let is_box = |listed: &Listed| listed.kind == ResourceKind::Machine;
    let all = listing.list().await.expect("list");
    all.into_iter()
        .filter(is_box)
        .filter_map(|listed| listed.tags)
        .filter(|tags| tags.label == *label)
        .collect()
}

fn label(text: &str) -> Label {
    Label::new(text).expect("it keeps to the rule")
}

fn run(text: &str) -> RunId {
    RunId::new(text).expect("it keeps to the rule")
}
