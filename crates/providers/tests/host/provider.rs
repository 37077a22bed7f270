//! The provider over a real sshd: the contract, and every way in which a machine cannot be gone into.

use std::sync::atomic::{AtomicU64, Ordering};

use camino::Utf8PathBuf;
use model::{
    candidate::Candidate,
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    name::{Label, ProviderName, RunId, Token},
    order::{Order, Preinstall},
    render::{
        cloud_init::user_data,
        stage1::{HostKey, Stage1, System},
    },
    selector::Selector,
    tags::{Owner, Tags},
    time::{Deadline, Timestamp},
    world::Provider,
};
use providers::{
    contract::{Hooks, Reports, check_all},
    host::{Host, HostSettings},
};

use crate::machine::Machine;

fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

fn run(text: &str) -> RunId {
    RunId::new(text).unwrap()
}

fn order(region: &str, label: &Label, run: &RunId) -> Order {
    static TOKENS: AtomicU64 = AtomicU64::new(0);
    let login_key = format!("ssh-ed25519 AAAAlogin{label} {label}");
    let deadline = Deadline::at_unix(Timestamp::now().as_second() + 3600);
    let stage1 = Stage1 {
        system: System::default(),
        hostname: label.to_string(),
        host_key: HostKey {
            private: "PRIVATE".to_owned(),
            public: "ssh-ed25519 AAAAsent".to_owned(),
        },
        authorized_keys: vec![login_key.clone()],
        deadline,
        ttl: std::time::Duration::from_secs(3600),
    };
    Order {
        candidate: Candidate {
            provider: ProviderName::new("host").unwrap(),
            region: region.to_owned(),
            instance_type: "as-it-is".to_owned(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        },
        tags: Tags {
            label: label.clone(),
            run: run.clone(),
            token: Token::generate(label, TOKENS.fetch_add(1, Ordering::Relaxed)),
            deadline,
            owner: Owner {
                user: Some("eve".to_owned()),
                ..Owner::default()
            },
        },
        need: KvmNeed::None,
        user_data: user_data(&stage1).unwrap(),
        login_key,
        allow: Vec::new(),
        parts: None,
        preinstall: Preinstall::default(),
    }
}

/// Two machines, as one holds one box; and an operator with a state directory.
struct Desk {
    machines: [Machine; 2],
    state: tempfile::TempDir,
}

impl Desk {
    fn new() -> Option<Self> {
        let mut machines = [Machine::new(), Machine::new()];
        for machine in &mut machines {
            machine.serve()?;
        }
        let config: String = machines
            .iter()
            .map(|machine| {
                let ssh = machine.root().join("ssh");
                format!(
                    "Match exec \"test %p = {}\"\n  UserKnownHostsFile {ssh}/known_hosts\n  IdentityFile {ssh}/login_key\n\
                     Match all\n  GlobalKnownHostsFile /dev/null\n  IdentitiesOnly yes\n  IdentityAgent none\n",
                    machine.port()
                )
            })
            .collect();
        machines[0].write("ssh/both", &config);
        Some(Self {
            machines,
            state: tempfile::tempdir().unwrap(),
        })
    }

    fn provider(&self) -> Host {
        let [first, second] = &self.machines;
        let settings = HostSettings {
            addresses: [first, second]
                .iter()
                .map(|machine| machine.address().parse().unwrap())
                .collect(),
            ssh_config: Some(first.root().join("ssh/both")),
        };
        Host::new(
            Utf8PathBuf::from_path_buf(self.state.path().to_owned()).unwrap(),
            settings,
        )
    }

    /// Returns the machine on which the contract's boxes of that label are made.
    fn machine_of(&self, label: &Label) -> &Machine {
        &self.machines[usize::from(label.as_str().ends_with('2'))]
    }

    async fn up(&self, name: &str) -> Result<model::machine::Machine, ProviderError> {
        let order = order(&self.machines[0].address(), &label(name), &run("r1"));
        self.provider().up(&order, &Reports::default()).await
    }

    async fn down(&self, name: &str) -> Result<Vec<model::machine::Gone>, ProviderError> {
        let selector = Selector::OfRun(label(name), run("r1"));
        self.provider().down(&selector, &Reports::default()).await
    }

    /// Makes nobody remember a box. A machine that cannot be gone into is not retried.
    #[track_caller]
    fn assert_nothing_remembered(&self) {
        let left = std::fs::read_dir(self.state.path().join("hosts"))
            .into_iter()
            .flatten()
            .count();
        assert_eq!(left, 0);
    }
}

impl Hooks for Desk {
    fn order(&self, label: &Label, run: &RunId) -> Order {
        order(&self.machine_of(label).address(), label, run)
    }

    fn plant_foreign(&self, label: &Label) {
        for machine in &self.machines {
            machine.write(&format!("srv/{label}"), "theirs\n");
            machine.write("root/.ssh/authorized_keys", "ssh-rsa BBBB admin\n");
        }
    }

    fn has_foreign(&self, label: &Label) -> bool {
        let has = |machine: &Machine| {
            machine.has(&format!("srv/{label}"))
                && machine.read("root/.ssh/authorized_keys") == "ssh-rsa BBBB admin\n"
        };
        self.machines.iter().all(has)
    }

    fn has_remains(&self, label: &Label) -> bool {
        let machine = self.machine_of(label);
        machine.everything().iter().any(|line| {
            !line.starts_with("fakes/") && line.contains(label.as_str()) && !line.starts_with("srv/")
        })
    }
}

macro_rules! desk {
    () => {
        match Desk::new() {
            Some(desk) => desk,
            None => return,
        }
    };
}

#[tokio::test]
async fn keeps_the_contract() {
    let desk = desk!();
    check_all(&desk.provider(), &desk).await;
    desk.assert_nothing_remembered();
}

#[tokio::test]
async fn a_box_is_found_again_by_another_process_and_by_its_address() {
    let desk = desk!();
    let machine = desk.up("m1").await.unwrap();
    assert_eq!(machine.host_key.as_deref(), Some("ssh-ed25519 AAAAhost"));
    assert_eq!(
        (machine.address.is_loopback(), machine.port),
        (true, desk.machines[0].port())
    );
    assert!(machine.note.unwrap().contains("Desk OS 1"));
    let listed = desk.provider().listing().unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].region, desk.machines[0].address());
    // Another operator, who knows only the machine, reads who has it.
    let other = order(&desk.machines[0].address(), &label("m2"), &run("r2"));
    let refusal = desk.provider().up(&other, &Reports::default()).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoCapacity, "{refusal}");
    assert!(
        refusal.cause.contains("taken by box m1 of run r1 (user eve)"),
        "{refusal}"
    );
    desk.down("m1").await.unwrap();
    desk.assert_nothing_remembered();
}

#[tokio::test]
async fn a_deadline_is_moved_in_the_lock_and_on_the_machine() {
    let desk = desk!();
    desk.up("m1").await.unwrap();
    let later = Deadline::at_unix(4_102_444_800);
    let provider = desk.provider();
    provider
        .own_deadline()
        .unwrap()
        .move_deadline(&label("m1"), later)
        .await
        .unwrap();
    let listed = provider.listing().unwrap().list().await.unwrap();
    assert_eq!(listed[0].tags.as_ref().unwrap().deadline, later);
    assert!(
        desk.machines[0]
            .read("etc/twolane/deadline")
            .starts_with("4102444800 ")
    );
}

#[tokio::test]
async fn each_way_not_in_has_its_kind_and_its_mend() {
    let mut desk = desk!();
    let before = desk.machines[0].everything();
    let check = async |desk: &Desk, kind: ErrorKind, help: &str| {
        let refusal = desk.up("m1").await.unwrap_err();
        assert_eq!(refusal.kind, kind, "{refusal}");
        assert!(refusal.help.as_deref().unwrap().contains(help), "{refusal:?}");
        desk.assert_nothing_remembered();
    };
    let own = desk.machines[0].read("ssh/host_key.pub");
    desk.machines[0].know(&desk.machines[1].read("ssh/host_key.pub"));
    check(&desk, ErrorKind::Invalid, "ssh-keygen -R").await;
    desk.machines[0].write("ssh/known_hosts", "");
    check(&desk, ErrorKind::Invalid, "compare the fingerprint").await;
    desk.machines[0].know(&own);
    let authorized = desk.machines[0].read("ssh/authorized");
    desk.machines[0].write("ssh/authorized", "");
    check(&desk, ErrorKind::Unauthorized, "ssh-copy-id").await;
    desk.machines[0].write("ssh/authorized", &authorized);
    desk.machines[0].write("not-root", "");
    check(&desk, ErrorKind::Unauthorized, "NOPASSWD").await;
    std::fs::remove_file(desk.machines[0].path("not-root")).unwrap();
    assert_eq!(desk.machines[0].everything(), before);

    let box_there = desk.up("m1").await;
    assert!(box_there.is_ok(), "{box_there:?}");
    desk.machines[0].stop();
    // Its own box: that it cannot be reached does not mean that the box is gone.
    let failure = desk.down("m1").await.unwrap_err();
    assert_eq!(failure.kind, ErrorKind::Unavailable, "{failure}");
    assert!(
        std::fs::read_dir(desk.state.path().join("hosts"))
            .unwrap()
            .count()
            > 0
    );
}

#[tokio::test]
async fn a_machine_that_is_off_is_left_for_the_next_candidate() {
    let desk = desk!();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let order = order(&format!("127.0.0.1:{port}"), &label("m1"), &run("r1"));
    let refusal = desk.provider().up(&order, &Reports::default()).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotFound, "{refusal}");
    desk.assert_nothing_remembered();
}

#[tokio::test]
async fn doctor_reports_what_would_stand_in_the_way() {
    let desk = desk!();
    let provider = desk.provider();
    let look = async |need| {
        let preflight = provider.preflight().unwrap();
        preflight
            .preflight("as-it-is", &desk.machines[0].address(), need)
            .await
    };
    let findings = look(KvmNeed::None).await;
    for what in ["reachable", "root", "system", "root login", "kvm", "lock"] {
        let of = |finding: &&model::world::Finding| finding.what.ends_with(&format!(" {what}"));
        let finding = findings
            .iter()
            .find(of)
            .unwrap_or_else(|| panic!("{what}: {findings:?}"));
        assert!(finding.is_good, "{finding:?}");
    }
    desk.up("m1").await.unwrap();
    let findings = look(KvmNeed::None).await;
    let lock = findings
        .iter()
        .find(|finding| finding.what.ends_with(" lock"))
        .unwrap();
    assert!(
        !lock.is_good && lock.found.contains("box m1 of run r1"),
        "{lock:?}"
    );
}
