//! Local boxes with a fake QEMU: what is on the disk and in the process table, and what is left afterwards.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    candidate::Candidate,
    error::ErrorKind,
    lane::KvmNeed,
    name::{Label, ProviderName, RunId, Token},
    order::{Order, Preinstall},
    selector::Selector,
    tags::{Owner, Tags},
    time::{Deadline, Timestamp},
    world::{Console, Listing, OwnDeadline, Provider},
};
use providers::{
    contract::{self, Hooks, Reports},
    local::{Acceleration, Image, Local, LocalSettings, Programs},
};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

#[path = "local/cache.rs"]
mod cache;
#[path = "local/network.rs"]
mod network;
#[path = "local/templates.rs"]
mod templates;

/// A machine of our own to make boxes on.
struct Bench {
    _dir: TempDir,
    root: Utf8PathBuf,
    local: Local,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = Utf8PathBuf::try_from(dir.path().canonicalize().unwrap()).unwrap();
        let local = Local::new(root.join("state"), root.join("cache"), settings(&root));
        Self {
            _dir: dir,
            root,
            local,
        }
    }

    fn vm(&self, label: &str) -> Utf8PathBuf {
        self.root.join("state/boxes").join(label).join("vm")
    }

    /// Says how the fake QEMU fails from now on.
    fn fail(&self, how: &str) {
        fs::write(self.root.join("fake.json"), how).unwrap();
    }

    async fn up(&self, label: &str) -> model::machine::Machine {
        self.local.up(&order(label), &Reports::default()).await.unwrap()
    }

    async fn down(&self, label: &str) -> Vec<model::machine::Gone> {
        let selector = Selector::Label(Label::new(label).unwrap());
        self.local.down(&selector, &Reports::default()).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        for pid in processes_naming(&self.root) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Puts the fakes, and an image that is "downloaded" already, into a directory.
fn settings(root: &Utf8Path) -> LocalSettings {
    let install = |name: &str, text: &str| {
        let path = root.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.into_string()
    };
    let image = root.join("image");
    fs::write(&image, "a disk").unwrap();
    LocalSettings {
        image: Image::Cloud {
            url: format!("file://{image}"),
            sha256: hex::encode(Sha256::digest("a disk")),
        },
        acceleration: Acceleration::Tcg,
        programs: Programs {
            qemu: install("qemu", include_str!("fake_qemu.py")),
            qemu_img: install("qemu-img", include_str!("fake_qemu_img.sh")),
            ..Programs::default()
        },
        ..LocalSettings::default()
    }
}

fn order_of(label: &Label, run: &RunId, token: &str) -> Order {
    Order {
        candidate: Candidate {
            provider: ProviderName::new("local").unwrap(),
            region: "local".to_owned(),
            instance_type: "1x1g".to_owned(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        },
        tags: Tags {
            label: label.clone(),
            run: run.clone(),
            token: Token::new(token).unwrap(),
            deadline: Deadline::after(Timestamp::now(), Duration::from_secs(3600)),
            owner: Owner::default(),
        },
        need: KvmNeed::Required,
        user_data: "#cloud-config\n# the-private-key\n".to_owned(),
        login_key: "ssh-ed25519 AAAA".to_owned(),
        allow: Vec::new(),
        parts: None,
        preinstall: Preinstall::default(),
    }
}

fn order(label: &str) -> Order {
    order_of(&Label::new(label).unwrap(), &RunId::new("r1").unwrap(), "t-1")
}

/// Returns the processes whose command line names a path: seen without the provider's help.
fn processes_naming(path: &Utf8Path) -> Vec<rustix::process::Pid> {
    let names = |pid: i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(&format!("{path}/"))
    };
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| names(*pid))
        .filter_map(rustix::process::Pid::from_raw)
        .collect()
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("still not: {what}"));
}

impl Hooks for Bench {
    fn order(&self, label: &Label, run: &RunId) -> Order {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
        let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        order_of(label, run, &format!("t-{number}"))
    }

    fn plant_foreign(&self, label: &Label) {
        let vm = self.vm(label.as_str());
        fs::create_dir_all(&vm).unwrap();
        let record = r#"{"version": 1, "tags": {"owner": "somebody"}, "instance_type": "1x1g", "port": 1, "note": ""}"#;
        fs::write(vm.join("box.json"), record).unwrap();
    }

    fn has_foreign(&self, label: &Label) -> bool {
        self.vm(label.as_str()).join("box.json").exists()
    }

    fn has_remains(&self, label: &Label) -> bool {
        let vm = self.vm(label.as_str());
        vm.exists() || vm.parent().unwrap().exists() || !processes_naming(&vm).is_empty()
    }
}

#[tokio::test]
async fn console_without_end_does_not_fill_the_disk() {
    let bench = Bench::new();
    bench.fail(r#"{"floods": true}"#);
    bench.up("b1").await;
    let console = bench.vm("b1").join("console.log");
    let is_whole = || fs::read(&console).is_ok_and(|text| text.ends_with(b"the end of the flood\n"));
    let is_short = || fs::metadata(&console).is_ok_and(|it| it.len() < 2 << 20);
    until("the console is cut", || is_short() && is_whole()).await;
    let shown = Console::console(&bench.local, &Label::new("b1").unwrap())
        .await
        .unwrap();
    let shown = String::from_utf8_lossy(&shown);
    assert!(shown.starts_with("[what came before was more than 64 MiB"));
    assert!(shown.ends_with("the end of the flood\n"));
    bench.down("b1").await;
}

#[tokio::test]
async fn local_keeps_the_contract() {
    let bench = Bench::new();
    contract::check_all(&bench.local, &bench).await;
}

#[tokio::test]
async fn a_box_is_closed_to_others_and_its_key_is_nowhere_but_in_the_seed() {
    let bench = Bench::new();
    let machine = bench.up("b1").await;
    assert!(machine.note.unwrap().contains("TCG"));
    let vm = bench.vm("b1");
    let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&vm), 0o700);
    assert_eq!(mode(&vm.join("seed.iso")), 0o600);
    for entry in vm.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && entry.file_name() != "seed.iso" {
            let content = fs::read(entry.path()).unwrap();
            assert!(
                !String::from_utf8_lossy(&content).contains("the-private-key"),
                "{}",
                entry.path()
            );
        }
    }
    let console = Console::console(&bench.local, &Label::new("b1").unwrap())
        .await
        .unwrap();
    assert_eq!(console, b"the console of a fake\n");
}

#[tokio::test]
async fn two_boxes_do_not_share_a_port() {
    let bench = Bench::new();
    let (one, two) = tokio::join!(bench.up("b1"), bench.up("b2"));
    assert_ne!(one.port, two.port);
    assert_eq!(bench.down("b1").await.len(), 3);
    assert_eq!(bench.local.list().await.unwrap()[0].state, "running");
}

#[tokio::test]
async fn the_words_of_a_qemu_that_ends_at_once_are_the_cause() {
    let bench = Bench::new();
    bench.fail(r#"{"dies": "cannot set up guest memory"}"#);
    let refusal = bench
        .local
        .up(&order("b1"), &Reports::default())
        .await
        .unwrap_err();
    assert!(refusal.cause.contains("cannot set up guest memory"), "{refusal}");
    assert!(!bench.vm("b1").exists());
}

#[tokio::test]
async fn a_port_that_was_taken_meanwhile_is_followed_by_another() {
    let bench = Bench::new();
    bench.fail(r#"{"taken": 2}"#);
    let reports = Reports::default();
    bench.local.up(&order("b1"), &reports).await.unwrap();
    assert_eq!(
        reports
            .all()
            .iter()
            .filter(|report| report.contains("port was taken"))
            .count(),
        2
    );
    bench.fail(r#"{"taken": 99}"#);
    let refusal = bench
        .local
        .up(&order("b2"), &Reports::default())
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unavailable);
    assert!(!bench.vm("b2").exists());
}

#[tokio::test]
async fn a_qemu_that_does_not_listen_is_killed() {
    let bench = Bench::new();
    bench.fail(r#"{"deaf": true}"#);
    bench.up("b1").await;
    bench.down("b1").await;
    assert_eq!(processes_naming(&bench.vm("b1")), []);
}

#[tokio::test]
async fn what_a_killed_client_began_is_replaced_by_the_same_run_and_refused_to_another() {
    let bench = Bench::new();
    bench.up("b1").await;
    let first = processes_naming(&bench.vm("b1"));
    for pid in first {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    until("the box is dead", || processes_naming(&bench.vm("b1")).is_empty()).await;
    assert_eq!(bench.local.list().await.unwrap()[0].state, "stopped");
    let other = order_of(&Label::new("b1").unwrap(), &RunId::new("r2").unwrap(), "t-2");
    let refusal = bench.local.up(&other, &Reports::default()).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Taken);
    bench.up("b1").await;
    assert_eq!(bench.local.list().await.unwrap()[0].state, "running");
}

#[tokio::test]
async fn a_directory_without_a_record_is_a_leftover() {
    let bench = Bench::new();
    fs::create_dir_all(bench.vm("b1")).unwrap();
    fs::write(bench.vm("b1").join("box.json.new"), "{").unwrap();
    let listed = bench.local.list().await.unwrap();
    assert_eq!((listed.len(), &listed[0].tags), (1, &None));
    bench
        .local
        .down(&Selector::AllOurs, &Reports::default())
        .await
        .unwrap();
    assert!(!bench.vm("b1").exists());
}

#[tokio::test]
async fn a_box_whose_directory_was_deleted_is_still_found() {
    let bench = Bench::new();
    bench.up("b1").await;
    fs::remove_dir_all(bench.vm("b1")).unwrap();
    bench.down("b1").await;
    assert_eq!(processes_naming(&bench.vm("b1")), []);
}

#[tokio::test]
async fn a_box_ends_at_its_deadline_without_anybody() {
    let bench = Bench::new();
    bench.up("b1").await;
    let label = Label::new("b1").unwrap();
    bench
        .local
        .move_deadline(&label, Deadline::at_unix(1))
        .await
        .unwrap();
    until("the box and its directory are gone", || {
        !bench.has_remains(&label)
    })
    .await;
}

#[tokio::test]
async fn the_deadline_moves_in_the_tags() {
    let bench = Bench::new();
    bench.up("b1").await;
    let label = Label::new("b1").unwrap();
    let later = Deadline::after(Timestamp::now(), Duration::from_secs(7200));
    bench.local.move_deadline(&label, later).await.unwrap();
    let listed = bench.local.list().await.unwrap();
    assert_eq!(listed[0].tags.as_ref().unwrap().deadline, later);
    let missing = bench
        .local
        .move_deadline(&Label::new("b9").unwrap(), later)
        .await
        .unwrap_err();
    assert_eq!(missing.kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_before_anything_is_made() {
    let bench = Bench::new();
    let refuse = async |change: fn(&mut Order)| {
        let mut order = order("b1");
        change(&mut order);
        bench
            .local
            .up(&order, &Reports::default())
            .await
            .unwrap_err()
            .to_string()
    };
    let size = refuse(|order| order.candidate.instance_type = "cx43".to_owned()).await;
    assert!(size.contains("`cx43`"), "{size}");
    let memory = refuse(|order| order.candidate.instance_type = "1x1024g".to_owned()).await;
    assert!(memory.contains("1024.5 GiB"), "{memory}");
    let region = refuse(|order| order.candidate.region = "mars".to_owned()).await;
    assert!(region.contains("`mars`"), "{region}");
    assert!(!bench.root.join("state").exists());
}

#[tokio::test]
async fn a_missing_qemu_is_named_with_its_package() {
    let bench = Bench::new();
    let mut settings = settings(&bench.root);
    settings.programs.qemu = "qemu-that-is-not-there".to_owned();
    let local = Local::new(bench.root.join("state"), bench.root.join("cache"), settings);
    let refusal = local.up(&order("b1"), &Reports::default()).await.unwrap_err();
    assert!(refusal.help.unwrap().contains("qemu-system-x86"));
}
