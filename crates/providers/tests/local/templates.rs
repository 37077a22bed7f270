//! Templates and their clones, with a fake QEMU.

use std::{collections::BTreeSet, os::unix::fs::symlink};

use futures::future::join_all;
use model::order::Parts;
use serde_json::Value;

use super::*;

impl Bench {
    /// Returns the template's directory, if there is one.
    fn template(&self) -> Option<Utf8PathBuf> {
        let images = self.root.join("cache/images").read_dir_utf8().ok()?;
        let mut names = images.filter_map(|entry| Some(entry.ok()?.into_path()));
        names.find(|path| path.file_name().is_some_and(is_template))
    }

    fn aside(&self) -> Vec<Utf8PathBuf> {
        let images = self.root.join("cache/images").read_dir_utf8().unwrap();
        let names = images.map(|entry| entry.unwrap().into_path());
        names.filter(|path| path.as_str().ends_with(".bad")).collect()
    }

    /// Brings a box up that may be a clone, and returns what was reported.
    async fn clone_up(&self, label: &str) -> Vec<String> {
        let reports = Reports::default();
        self.local.up(&divided(label), &reports).await.unwrap();
        reports.all()
    }

    /// Returns who a clone was made to be.
    fn identity(&self, label: &str) -> Value {
        let text = fs::read_to_string(self.vm(label).join("identity.json"))
            .unwrap_or_else(|error| panic!("{label} is no clone: {error}"));
        serde_json::from_str(&text).unwrap()
    }

    fn is_clone(&self, label: &str) -> bool {
        self.vm(label).join("identity.json").exists()
    }
}

fn is_template(name: &str) -> bool {
    name.starts_with("template-") && !name.contains('.')
}

/// An order of a box that may be a clone.
pub(super) fn divided(label: &str) -> Order {
    let parts = Parts {
        template: "#cloud-config\n# nobody\n".to_owned(),
        identity: format!(
            r#"{{"hostname": "{label}", "host_key": {{"private": "the-private-key of {label}"}}}}"#
        ),
    };
    Order {
        parts: Some(parts),
        ..order(label)
    }
}

fn with(change: impl FnOnce(&mut LocalSettings)) -> Bench {
    let mut bench = Bench::new();
    let mut settings = settings(&bench.root);
    change(&mut settings);
    bench.local = Local::new(bench.root.join("state"), bench.root.join("cache"), settings);
    bench
}

#[track_caller]
fn check_says(reports: &[String], words: &str) {
    let said: Vec<_> = reports.iter().filter(|report| report.contains(words)).collect();
    assert_eq!(said.len(), 1, "{words:?} in {reports:#?}");
}

#[tokio::test]
async fn first_box_makes_the_template_and_each_is_a_clone() {
    let bench = Bench::new();
    let first = bench.clone_up("b1").await;
    check_says(&first, "making a template");
    check_says(&first, "template: packages");
    let second = bench.clone_up("b2").await;
    assert!(
        !second.iter().any(|report| report.contains("template")),
        "{second:#?}"
    );
    for key in ["machine_id", "entropy", "hostname", "host_key"] {
        assert_ne!(bench.identity("b1")[key], bench.identity("b2")[key], "{key}");
    }
    assert_eq!(bench.identity("b2")["hostname"], "b2");
    let label = Label::new("b2").unwrap();
    let console = Console::console(&bench.local, &label).await.unwrap();
    assert_eq!(console, b"the console of a fake\nthe console of a fake\n");
    let now = Timestamp::now().as_second();
    assert!(
        bench.identity("b2")["time"]
            .as_f64()
            .is_some_and(|time| (now as f64 - time).abs() < 60.0)
    );
}

#[tokio::test]
async fn template_holds_nobodys_key_and_is_closed_to_others() {
    let bench = Bench::new();
    bench.clone_up("b1").await;
    let template = bench.template().unwrap();
    let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&template), 0o700);
    let mut names = BTreeSet::new();
    for entry in template.read_dir_utf8().unwrap() {
        let path = entry.unwrap().into_path();
        names.insert(path.file_name().unwrap().to_owned());
        let content = fs::read(&path).unwrap();
        assert!(
            !String::from_utf8_lossy(&content).contains("the-private-key"),
            "{path}"
        );
        assert_eq!(mode(&path) & 0o077 & !0o044, 0, "{path}");
    }
    let wanted = [
        "console.log",
        "overlay.qcow2",
        "ram",
        "seed.iso",
        "state",
        "template.json",
    ];
    assert_eq!(names, BTreeSet::from(wanted.map(str::to_owned)));
}

#[tokio::test]
async fn two_runs_wait_for_one_maker() {
    let bench = Bench::new();
    let all = join_all(["b1", "b2", "b3"].map(|label| bench.clone_up(label)))
        .await
        .concat();
    check_says(&all, "making a template of this box");
    for label in ["b1", "b2", "b3"] {
        assert!(bench.is_clone(label), "{label}");
    }
}

#[tokio::test]
async fn eight_clones_at_once_differ_and_leave_nothing() {
    let bench = Bench::new();
    let labels: Vec<String> = (1..=8).map(|number| format!("b{number}")).collect();
    join_all(labels.iter().map(|label| bench.clone_up(label))).await;
    let ids: BTreeSet<String> = labels
        .iter()
        .map(|it| bench.identity(it)["machine_id"].to_string())
        .collect();
    assert_eq!(ids.len(), 8);
    let ram = fs::metadata(bench.template().unwrap().join("ram"))
        .unwrap()
        .modified()
        .unwrap();
    bench
        .local
        .down(&Selector::AllOurs, &Reports::default())
        .await
        .unwrap();
    assert!(bench.local.list().await.unwrap().is_empty());
    assert_eq!(processes_naming(&bench.root), []);
    let template = bench.template().expect("the template stays");
    assert_eq!(
        fs::metadata(template.join("ram")).unwrap().modified().unwrap(),
        ram
    );
}

#[tokio::test]
async fn cold_box_makes_no_template() {
    let bench = with(|settings| settings.is_cold = true);
    bench.clone_up("b1").await;
    assert!(bench.template().is_none() && !bench.is_clone("b1"));
}

/// Spoils the template; the next box boots by itself and says why, and the one after it makes another template.
async fn check_put_aside(spoil: impl FnOnce(&Utf8Path), why: &str) {
    let bench = Bench::new();
    bench.clone_up("b1").await;
    spoil(&bench.template().unwrap());
    let reports = bench.clone_up("b2").await;
    check_says(&reports, "this box boots by itself");
    check_says(&reports, why);
    assert!(!bench.is_clone("b2"));
    assert_eq!(bench.aside().len(), 1);
    check_says(&bench.clone_up("b3").await, "making a template");
    assert!(bench.is_clone("b3"));
}

#[tokio::test]
async fn damaged_template_is_put_aside() {
    let append = |template: &Utf8Path| fs::write(template.join("ram"), "x").unwrap();
    check_put_aside(append, "was changed after it was made").await;
}

#[tokio::test]
async fn half_made_template_is_put_aside() {
    check_put_aside(
        |it| fs::remove_file(it.join("template.json")).unwrap(),
        "cannot be read",
    )
    .await;
    check_put_aside(|it| fs::remove_file(it.join("state")).unwrap(), "state").await;
}

#[tokio::test]
async fn template_of_another_qemu_is_put_aside() {
    let other = |template: &Utf8Path| {
        let path = template.join("template.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("7.2.22", "7.2.21")).unwrap();
    };
    check_put_aside(other, "made by another QEMU").await;
}

#[tokio::test]
async fn template_that_others_may_write_to_is_put_aside() {
    let open = |it: &Utf8Path| fs::set_permissions(it, fs::Permissions::from_mode(0o777)).unwrap();
    check_put_aside(open, "others may write").await;
}

#[tokio::test]
async fn template_of_another_user_is_put_aside() {
    if !rustix::process::geteuid().is_root() {
        std::io::Write::write_all(
            &mut std::io::stderr(),
            b"NOT TESTED: only root can give a file away\n",
        )
        .unwrap();
        return;
    }
    let give = |it: &Utf8Path| std::os::unix::fs::chown(it.join("ram"), Some(1), None).unwrap();
    check_put_aside(give, "belongs to user 1").await;
}

#[tokio::test]
async fn upgraded_qemu_gets_a_template_of_its_own() {
    let bench = Bench::new();
    bench.clone_up("b1").await;
    bench.fail(r#"{"version": "10.0.2"}"#);
    let upgraded = Local::new(
        bench.root.join("state"),
        bench.root.join("cache"),
        settings(&bench.root),
    );
    let reports = Reports::default();
    upgraded.up(&divided("b2"), &reports).await.unwrap();
    check_says(&reports.all(), "making a template");
    assert!(bench.is_clone("b2"));
}

#[tokio::test]
async fn clone_that_does_not_wake_boots_cold_and_its_template_is_put_aside() {
    for (fault, why) in [("deaf", "did not answer within"), ("broken", "wake the clone")] {
        let bench = with(|settings| settings.clone_patience = Some(Duration::from_secs(1)));
        bench.clone_up("b1").await;
        bench.fail(&format!(r#"{{"clone": "{fault}"}}"#));
        let reports = bench.clone_up("b2").await;
        check_says(&reports, why);
        assert_eq!(bench.aside().len(), 1, "{fault}");
        assert_eq!(bench.local.list().await.unwrap().len(), 2, "{fault}");
    }
}

#[tokio::test]
async fn clone_whose_maker_died_is_begun_anew() {
    let bench = Bench::new();
    bench.clone_up("b1").await;
    bench.fail(r#"{"clone": "deaf"}"#);
    let order = divided("b2");
    let reports = Reports::default();
    let waking = bench.local.up(&order, &reports);
    let seen = until("QEMU runs", || bench.vm("b2").join("qemu.pid").exists());
    tokio::select! {
        _ = waking => panic!("it answered"),
        () = seen => {}
    }
    let listed = bench.local.list().await.unwrap();
    assert_eq!(listed.len(), 2, "it is found by its tags: {listed:#?}");
    bench.fail("{}");
    bench.clone_up("b2").await;
    assert_eq!(bench.identity("b2")["hostname"], "b2");
    bench.down("b2").await;
    assert_eq!(processes_naming(&bench.vm("b2")), []);
}

#[tokio::test]
async fn template_ends_with_its_maker() {
    let bench = Bench::new();
    bench.fail(r#"{"template": ["1.0 begin packages"]}"#);
    let order = divided("b1");
    let reports = Reports::default();
    let making = bench.local.up(&order, &reports);
    let seen = until("stage 1 runs", || {
        reports.all().iter().any(|it| it.contains("template: packages"))
    });
    tokio::select! {
        _ = making => panic!("it was made"),
        () = seen => {}
    }
    let cache = bench.root.join("cache");
    until("nothing of it runs", || processes_naming(&cache).is_empty()).await;
    bench.fail("{}");
    check_says(&bench.clone_up("b1").await, "making a template");
    assert!(bench.is_clone("b1"));
}

#[tokio::test]
async fn stage_1_that_fails_in_the_template_is_seen_in_the_box() {
    let bench = Bench::new();
    bench.fail(r#"{"template": ["1.0 begin nix", "2.0 failed nix no route"]}"#);
    let reports = bench.clone_up("b1").await;
    check_says(
        &reports,
        "this box boots by itself: stage 1 of the template failed at nix: no route",
    );
    assert!(bench.template().is_none() && !bench.is_clone("b1"));
    // The box that booted by itself names the image that it uses.
    let of_box = processes_naming(&bench.vm("b1"));
    let left = processes_naming(&bench.root.join("cache"));
    assert!(left.iter().all(|pid| of_box.contains(pid)), "{left:?}");
}

#[tokio::test]
async fn image_that_was_made_anew_gets_a_template_of_its_own() {
    let bench = Bench::new();
    bench.clone_up("b1").await;
    let images = bench.root.join("cache/images").read_dir_utf8().unwrap();
    let image = images
        .map(|entry| entry.unwrap().into_path())
        .find(|path| path.as_str().contains("cloud"));
    let disk = image
        .expect("the image")
        .read_dir_utf8()
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .into_path();
    let moved = disk.with_extension("moved");
    fs::copy(&disk, &moved).unwrap();
    fs::remove_file(&disk).unwrap();
    symlink(&moved, &disk).unwrap();
    check_says(&bench.clone_up("b2").await, "making a template");
}
