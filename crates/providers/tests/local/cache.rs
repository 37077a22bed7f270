//! The cache: what is in use stays, whoever prunes.

use std::{
    fs::File,
    time::{Duration, SystemTime},
};

use providers::local::{CacheKind, Prune, cached, prune};

use super::{templates::divided, *};

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Bench {
    fn cache(&self) -> Utf8PathBuf {
        self.root.join("cache")
    }

    /// Returns what kinds of things the cache holds, each with who uses it.
    fn users(&self) -> Vec<(CacheKind, Vec<String>)> {
        let all = cached(&self.cache()).unwrap().into_iter();
        let mut users: Vec<_> = all.map(|it| (it.kind, it.used_by)).collect();
        users.sort();
        users
    }

    fn prune(&self, what: Prune) -> Vec<String> {
        let gone = prune(&self.cache(), what).unwrap().into_iter();
        gone.map(|it| it.key).collect()
    }

    /// Puts a directory of that name there, last used so many days ago.
    fn plant(&self, key: &str, days: u32) -> Utf8PathBuf {
        self.plant_in("images", key, days)
    }

    fn plant_in(&self, parent: &str, key: &str, days: u32) -> Utf8PathBuf {
        let path = self.cache().join(parent).join(key);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("disk"), "d".repeat(5000)).unwrap();
        let then = SystemTime::now() - DAY * days;
        File::open(&path).unwrap().set_modified(then).unwrap();
        path
    }
}

#[tokio::test]
async fn what_a_box_uses_is_named_and_stays() {
    let bench = Bench::new();
    bench.local.up(&divided("b1"), &Reports::default()).await.unwrap();
    let used = vec!["b1".to_owned()];
    let both = [(CacheKind::Template, used.clone()), (CacheKind::Image, used)];
    assert_eq!(bench.users(), both);
    for what in [Prune::All, Prune::Over(0), Prune::Older(Duration::ZERO)] {
        assert_eq!(bench.prune(what), Vec::<String>::new(), "{what:?}");
    }
    bench.down("b1").await;
    until("nobody uses them", || {
        bench.users().iter().all(|(_, users)| users.is_empty())
    })
    .await;
    assert_eq!(bench.prune(Prune::All).len(), 2);
    assert_eq!(bench.users(), []);
    // What is gone is made again.
    bench.local.up(&divided("b2"), &Reports::default()).await.unwrap();
    assert_eq!(bench.users().len(), 2);
}

#[tokio::test]
async fn template_in_the_making_stays_and_its_remains_go() {
    let bench = Bench::new();
    bench.fail(r#"{"template": ["1.0 begin packages"]}"#);
    let (order, reports) = (divided("b1"), Reports::default());
    let seen = until("stage 1 runs", || {
        reports.all().iter().any(|it| it.contains("template: packages"))
    });
    tokio::select! {
        _ = bench.local.up(&order, &reports) => panic!("it was made"),
        () = async {
            seen.await;
            assert_eq!(bench.prune(Prune::All), Vec::<String>::new());
        } => {}
    }
    bench.plant("template-killed.part", 0);
    bench.plant("template-damaged.bad", 0);
    assert_eq!(
        bench.prune(Prune::Over(u64::MAX)).len(),
        2,
        "what nobody finished goes at once"
    );
}

#[tokio::test]
async fn what_belongs_to_another_user_stays() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let bench = Bench::new();
    let path = bench.plant("template-theirs", 40);
    std::os::unix::fs::chown(&path, Some(1), None).unwrap();
    assert_eq!(bench.prune(Prune::All), Vec::<String>::new());
    assert_eq!(cached(&bench.cache()).unwrap()[0].other_user, Some(1));
}

#[tokio::test]
async fn box_that_comes_up_deletes_templates_unused_for_long() {
    let bench = Bench::new();
    let [old, young, image] = [
        ("template-old", 31),
        ("template-young", 29),
        ("debian-13-old", 99),
    ]
    .map(|(key, days)| bench.plant(key, days));
    let reports = Reports::default();
    bench.local.up(&divided("b1"), &reports).await.unwrap();
    assert!(reports.all().iter().any(|it| it.contains("deleted template-old")));
    assert!(!old.exists() && young.exists() && image.exists());
    assert_eq!(bench.prune(Prune::Older(DAY * 30)), ["debian-13-old"]);
}

#[tokio::test]
async fn cache_shrinks_by_what_was_unused_for_longest() {
    let bench = Bench::new();
    for (key, days) in [
        ("template-a", 3),
        ("toolchain-b", 5),
        ("debian-13-c", 4),
        ("template-d", 1),
    ] {
        bench.plant(key, days);
    }
    let sizes: Vec<_> = cached(&bench.cache())
        .unwrap()
        .iter()
        .map(|it| it.bytes)
        .collect();
    assert!(sizes.iter().all(|bytes| *bytes >= 5000), "{sizes:?}");
    assert_eq!(
        bench.prune(Prune::Over(sizes[0] * 2)),
        ["toolchain-b", "debian-13-c"]
    );
}

#[tokio::test]
async fn tools_and_what_is_compiled_are_listed_and_go_with_the_rest() {
    let bench = Bench::new();
    bench.plant_in("tools", "cargo-nextest-0.9.148-x86_64", 3);
    bench.plant_in("build", "build-left", 0);
    let held = File::open(bench.plant_in("build", "build-held", 0)).unwrap();
    held.lock().unwrap();
    let kinds: Vec<_> = bench.users().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [CacheKind::Build, CacheKind::Build, CacheKind::Tool]);
    assert_eq!(bench.prune(Prune::OlderTemplates(DAY)), ["build-left"]);
    assert_eq!(bench.prune(Prune::Older(DAY)), ["cargo-nextest-0.9.148-x86_64"]);
    assert_eq!(bench.prune(Prune::All), Vec::<String>::new());
    drop(held);
    assert_eq!(bench.prune(Prune::All), ["build-held"]);
}
