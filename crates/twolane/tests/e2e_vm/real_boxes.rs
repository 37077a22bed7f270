//! A fake cloud whose boxes are real: each is a VM of this machine, behind an address of its own with SSH on port 22.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use camino::Utf8PathBuf;
use flate2::read::GzDecoder;
use model::{
    candidate::Candidate,
    name::{Label, ProviderName, Token},
    order::{Order, Preinstall},
    plan::Plan,
    selector::Selector,
    tags::{Owner, Tags},
    time::{Deadline, Timestamp},
    world::{Provider, Silent},
};
use providers::local::{self, Local, LocalSettings};
use tempfile::TempDir;
use tokio::{io::copy_bidirectional, net::TcpStream, runtime::Runtime, sync::watch, task::JoinHandle};

use crate::{
    fakes::server::{Api, Behind, Boxes, Fake},
    support::{Bench, processes_naming, short_dir, wait_until},
};

/// A fake cloud that is being served, and the VMs behind it.
pub(crate) struct RealCloud<A> {
    /// The fake.
    pub(crate) fake: Fake<A>,
    boxes: Arc<RealBoxes>,
    runtime: Runtime,
}

impl<A: Api> RealCloud<A> {
    /// Serves a fake that is given its boxes. None, and said aloud, where this user may not listen on port 22.
    pub(crate) fn start(fake: impl FnOnce(Behind) -> A) -> Option<Self> {
        if let Err(error) = listen() {
            #[expect(
                clippy::print_stderr,
                reason = "a check that did not take place is said out loud"
            )]
            {
                eprintln!("SKIPPED: this user may not listen on port 22 of a loopback address ({error})");
            }
            return None;
        }
        let runtime = Runtime::new().unwrap();
        let boxes = Arc::new(RealBoxes::new());
        let fake = fake(Behind(Some(boxes.clone())));
        let fake = runtime.block_on(Fake::serve(fake));
        Some(Self { fake, boxes, runtime })
    }

    /// Serves another fake beside this one. Its boxes are none.
    pub(crate) fn serve<B: Api>(&self, fake: B) -> Fake<B> {
        self.runtime.block_on(Fake::serve(fake))
    }

    /// From now on boxes are made for the run of this bench, which has one lane.
    pub(crate) fn make_boxes_for(&self, bench: &Bench) {
        self.boxes.runs.set(bench.state().join("runs")).unwrap();
    }

    /// Asserts that no process and no directory of a box is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let root = self.boxes.root.path();
        wait_until("no process of a box is left", || {
            processes_naming(root).is_empty()
        });
        wait_until("no directory of a box is left", || {
            fs::read_dir(root.join("boxes"))
                .into_iter()
                .flatten()
                .next()
                .is_none()
        });
    }
}

impl<A> Drop for RealCloud<A> {
    /// A test that fails leaves no VM behind either.
    fn drop(&mut self) {
        let _ = self
            .runtime
            .block_on(self.boxes.local.down(&Selector::AllOurs, &Silent));
    }
}

struct RealBoxes {
    root: TempDir,
    local: Arc<Local>,
    /// Where the plan is that says what the boxes are for.
    runs: OnceLock<PathBuf>,
    made: Mutex<BTreeMap<String, RealBox>>,
}

struct RealBox {
    label: Label,
    forward: JoinHandle<()>,
    boot: JoinHandle<()>,
}

impl RealBoxes {
    fn new() -> Self {
        let root = short_dir();
        let utf8 = |path: &Path| Utf8PathBuf::from_path_buf(path.to_owned()).unwrap();
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/twolane");
        let local = Local::new(utf8(root.path()), utf8(&cache), LocalSettings::default());
        Self {
            root,
            local: Arc::new(local),
            runs: OnceLock::new(),
            made: Mutex::default(),
        }
    }

    /// Orders of `local` what was ordered of the fake; with the plan's preinstallation, so that the base image is the
    /// one that all tests share.
    fn order(&self, user_data: &[u8]) -> Order {
        let plan = self.plan();
        let lane = plan.lanes.first().expect("a lane");
        Order {
            candidate: Candidate {
                provider: ProviderName::new(local::NAME).unwrap(),
                region: self.local.default_choice().1.to_owned(),
                instance_type: self.local.default_choice().0.to_owned(),
                image: None,
                disk_gb: None,
                options: Box::default(),
            },
            tags: Tags {
                label: lane.label.clone(),
                run: plan.run.clone(),
                token: Token::generate(&lane.label, 0),
                deadline: Deadline::after(Timestamp::now(), Duration::from_secs(3600)),
                owner: Owner::default(),
            },
            need: lane.need,
            user_data: unpacked(user_data),
            login_key: String::new(),
            allow: Vec::new(),
            parts: None,
            preinstall: Preinstall {
                packages: plan.system.packages.clone(),
                toolchain: plan.toolchain.clone(),
            },
        }
    }

    fn plan(&self) -> Plan {
        let mut runs = fs::read_dir(self.runs.get().expect("there is a bench")).unwrap();
        let run = runs.next().expect("a run").unwrap();
        let plan = fs::read(run.path().join("plan.json")).unwrap();
        serde_json::from_slice(&plan).unwrap()
    }
}

/// Reads user-data as cloud-init does: it may come packed.
fn unpacked(user_data: &[u8]) -> String {
    let mut bytes = user_data.to_vec();
    if user_data.starts_with(&[0x1f, 0x8b]) {
        bytes.clear();
        let mut decoder = GzDecoder::new(user_data);
        decoder.read_to_end(&mut bytes).expect("it is whole");
    }
    String::from_utf8(bytes).expect("it is text")
}

impl Boxes for RealBoxes {
    fn make(&self, name: &str, user_data: &[u8]) -> Ipv4Addr {
        let order = self.order(user_data);
        let label = order.tags.label.clone();
        let (address, listener) = listen().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (reported, port) = watch::channel(None);
        let local = self.local.clone();
        let boot = async move {
            let machine = local.up(&order, &Silent).await.expect("a box on this machine");
            reported.send_replace(Some(machine.port));
        };
        let made = RealBox {
            label,
            forward: tokio::spawn(forward(listener, port)),
            boot: tokio::spawn(boot),
        };
        self.made.lock().unwrap().insert(name.to_owned(), made);
        address
    }

    fn destroy(&self, name: &str) {
        let Some(made) = self.made.lock().unwrap().remove(name) else {
            return;
        };
        let local = self.local.clone();
        tokio::spawn(async move {
            made.forward.abort();
            // A box that is half made is made whole first, so that none of it turns up later.
            let _ = made.boot.await;
            let selector = Selector::Label(made.label);
            local.down(&selector, &Silent).await.expect("it goes");
        });
    }
}

/// Listens on port 22 of an address that nobody else listens on; other tests do the same at the same time.
fn listen() -> io::Result<(Ipv4Addr, TcpListener)> {
    for number in 1..=u8::MAX {
        let address = Ipv4Addr::new(127, 0, 53, number);
        match TcpListener::bind((address, 22)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            listener => return Ok((address, listener?)),
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Passes connections on to the box's own port; before there is one they are closed at once.
async fn forward(listener: tokio::net::TcpListener, port: watch::Receiver<Option<u16>>) {
    while let Ok((mut from, _)) = listener.accept().await {
        let Some(port) = *port.borrow() else { continue };
        tokio::spawn(async move {
            if let Ok(mut to) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
                let _ = copy_bidirectional(&mut from, &mut to).await;
            }
        });
    }
}
