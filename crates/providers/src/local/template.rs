//! Templates: a box that boots once, and of which every other box is a clone.
//!
//! A template boots through the same cloud-init and the same stage 1 as every box, with the part of the user-data that
//! all boxes of a configuration share (`model::order::Parts`). It has no identity: no label, no key, no deadline, and no
//! SSH server runs in it. Once stage 1 is done it waits on a virtual serial port (`ops/ephemeral/identity.py`), and is
//! frozen there: a file with its memory, one with the state of its devices, and its disk, which nobody writes to any
//! more. A clone maps the memory, lays a disk of its own on the disk, goes on where the template was frozen, and learns
//! over that port who it is. Only then does its SSH server start; the engine finds a box whose stage 1 has little left to
//! do, and drives it like any other.
//!
//! The key is all that went in, so that a change of anything makes another template. A template is a cache: whatever is
//! wrong with it, the box boots by itself, and says why. Its QEMU ends with the process that makes it.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    order::Parts,
    stage1::{Said, StatusLine},
    text::last_lines,
    world::Progress,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::UnixStream,
    time::timeout,
};

use super::{
    error::LocalError,
    image::cache::{self, Found, Held, Making},
    process, programs,
    qemu::{self, DISK, LOG, PORT, Role, Vm},
    qmp, seed, space,
    store::Lock,
};

/// Changes whenever templates are made in another way that their key would not show.
const FORMAT: &str = "2";

const MEMORY: &str = "ram";
const STATE: &str = "state";
const SEED: &str = "seed.iso";
const CONSOLE: &str = "console.log";
const MANIFEST: &str = "template.json";

/// How long a template may say nothing while no step of stage 1 runs: it boots, or cloud-init ends.
const BOOT_PATIENCE: Duration = Duration::from_secs(10 * 60);

/// How long a step may take: longer than stage 1 gives any.
const STEP_PATIENCE: Duration = Duration::from_secs(41 * 60);

/// How long QEMU may take to be gone once the state is written.
const QUIT_PATIENCE: Duration = Duration::from_secs(20);

/// How long a clone may take to become itself: a hundred times what it needs on a quiet machine.
pub(crate) const CLONE_PATIENCE: Duration = Duration::from_secs(60);

/// Random bytes that a clone is given.
const ENTROPY_BYTES: usize = 256;

/// A frozen box, there for as many clones as are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    directory: Held,
}

/// Written when a template is whole.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    format: String,
    /// Unix seconds.
    made: u64,
    /// The QEMU that froze it: no other can read it.
    qemu: String,
    /// The image that its disk lies on.
    base: Utf8PathBuf,
    files: BTreeMap<String, Stamp>,
}

/// What shows that somebody wrote to a file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    bytes: u64,
    seconds: i64,
    nanos: i64,
}

/// Why a clone did not come to life.
pub(crate) enum NoClone {
    /// The port belongs to somebody else by now.
    PortTaken,
    /// The template may be no good.
    Template(LocalError),
    /// It was not the template's fault.
    Otherwise(LocalError),
}

impl Template {
    pub(crate) fn directory(&self) -> &Utf8Path {
        &self.directory
    }

    /// Renames it, so that the next run makes another. What runs on it holds its files open.
    pub(crate) fn put_aside(&self) {
        let aside = Utf8PathBuf::from(format!("{}.bad", self.directory()));
        // Another process may do the same at the same time; that it is out of the way is all that counts.
        let _ = fs::remove_dir_all(&aside);
        let _ = fs::rename(self.directory(), &aside);
    }
}

/// Returns the template of a box; makes it when it is not there. An error says why the box has to boot by itself.
pub(crate) async fn ensure(
    cache_dir: &Utf8Path,
    vm: &Vm<'_>,
    parts: &Parts,
    progress: &dyn Progress,
) -> Result<Template, LocalError> {
    let qemu = build_of(&vm.programs.qemu, vm.qemu_version)?;
    let key = key(vm, parts, &qemu)?;
    match cache::find(cache_dir, &key, progress).await? {
        Found::There(directory) => {
            let template = Template { directory };
            template.check(&qemu).inspect_err(|_| template.put_aside())?;
            Ok(template)
        }
        Found::ToBeMade(making) => make(making, vm, parts, qemu, progress).await,
    }
}

impl Template {
    /// Refuses one that is not ours alone, not whole, or was made by another QEMU.
    fn check(&self, qemu: &str) -> Result<(), LocalError> {
        self.check_owner()?;
        let path = self.directory.join(MANIFEST);
        let manifest: Manifest = fs::read(&path)
            .map_err(|e| e.to_string())
            .and_then(|text| serde_json::from_slice(&text).map_err(|e| e.to_string()))
            .map_err(|why| LocalError::invalid(format!("the template {path} cannot be read: {why}")))?;
        if manifest.qemu != qemu {
            return Err(LocalError::invalid(format!(
                "the template {} was made by another QEMU",
                self.directory()
            )));
        }
        for (name, stamp) in &manifest.files {
            if Stamp::of(&self.directory.join(name))? != *stamp {
                return Err(LocalError::invalid(format!(
                    "the template's file {} was changed after it was made",
                    self.directory.join(name)
                )));
            }
        }
        Ok(())
    }

    /// A template is memory that a box goes on from: who can write to it is root on that box.
    fn check_owner(&self) -> Result<(), LocalError> {
        let us = rustix::process::geteuid().as_raw();
        for path in [
            self.directory().to_owned(),
            self.directory.join(MEMORY),
            self.directory.join(STATE),
        ] {
            let about = fs::metadata(&path)
                .map_err(|e| LocalError::system(format!("read the template {path}"), e))?;
            if about.uid() != us {
                return Err(LocalError::invalid(format!(
                    "the template {path} belongs to user {}, not to user {us}",
                    about.uid()
                )));
            }
            if about.mode() & 0o022 != 0 {
                return Err(LocalError::invalid(format!(
                    "others may write to the template {path}"
                )));
            }
        }
        Ok(())
    }
}

impl Stamp {
    fn of(path: &Utf8Path) -> Result<Self, LocalError> {
        let about = fs::metadata(path)
            .map_err(|e| LocalError::system(format!("read the template's file {path}"), e))?;
        Ok(Self {
            bytes: about.len(),
            seconds: about.mtime(),
            nanos: about.mtime_nsec(),
        })
    }
}

/// Returns the key of all that goes into a template.
fn key(vm: &Vm<'_>, parts: &Parts, qemu: &str) -> Result<String, LocalError> {
    let arguments = vm.arguments(Role::Template, Utf8Path::new(""), None).join("\0");
    // The disk of a template holds only what differs from the image: another file under that name is another image.
    let base = vm.base.disk();
    let about = fs::metadata(&base).map_err(|e| LocalError::system(format!("read {base}"), e))?;
    let base = format!("{base} {} {}.{}", about.len(), about.mtime(), about.mtime_nsec());
    let size = vm.disk_gb.to_string();
    Ok(cache::key(
        "template",
        &[FORMAT, qemu, &arguments, &base, &size, &parts.template],
    ))
}

/// Returns what tells one build of QEMU from another.
fn build_of(qemu: &str, version: &str) -> Result<String, LocalError> {
    let path =
        programs::path_of(qemu).ok_or_else(|| LocalError::invalid(format!("`{qemu}` is not installed")))?;
    let about = fs::metadata(&path).map_err(|e| LocalError::system(format!("read {path}"), e))?;
    let version = version.lines().next().unwrap_or_default();
    Ok(format!(
        "{version}, {} bytes of {}.{}",
        about.len(),
        about.mtime(),
        about.mtime_nsec()
    ))
}

async fn make(
    making: Making,
    vm: &Vm<'_>,
    parts: &Parts,
    qemu: String,
    progress: &dyn Progress,
) -> Result<Template, LocalError> {
    let part = making.part.clone();
    space::check_disk(
        &part,
        space::template_bytes(vm.size),
        space::disk_free(&part)?,
        "a template with its memory file",
    )?;
    progress.report(
        "making a template of this box, once: the next ones are clones of it",
        None,
    );
    // What a maker that was killed left, should its watchdog have been killed too.
    qemu::end(&part).await?;
    vm.make_template_disks(
        &part,
        &seed::image("twolane-template", "twolane-template", &parts.template)?,
    )
    .await?;
    let vm_process = vm.start_template(&part, making.share()?).await?;
    let frozen = freeze(&part, vm, progress).await;
    if frozen.is_err() {
        process::kill(&part).await?;
    }
    // The watchdog holds the lock too.
    drop(vm_process);
    frozen?;
    seal(&part, vm, qemu)?;
    let directory = making.finish()?;
    Ok(Template { directory })
}

/// Follows the template until it waits, and freezes it.
async fn freeze(part: &Utf8Path, vm: &Vm<'_>, progress: &dyn Progress) -> Result<(), LocalError> {
    let port = qmp::connect(part, PORT)
        .await
        .map_err(|e| LocalError::system("reach the template's port", e))?;
    follow(BufReader::new(port).lines(), part, progress).await?;
    let began = Instant::now();
    qmp::freeze(part, qemu::state_written(vm.qemu_version, STATE))
        .await
        .map_err(|e| LocalError::system("freeze the template", e))?;
    if !process::wait_until_gone(part, QUIT_PATIENCE).await {
        return Err(LocalError::invalid("the template's QEMU did not end"));
    }
    let took = began.elapsed().as_secs_f64();
    progress.report(&format!("template: frozen in {took:.2} s"), None);
    Ok(())
}

async fn follow(
    mut lines: Lines<BufReader<UnixStream>>,
    part: &Utf8Path,
    progress: &dyn Progress,
) -> Result<(), LocalError> {
    let mut patience = BOOT_PATIENCE;
    loop {
        let line = match timeout(patience, lines.next_line()).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None) | Err(_)) => {
                let log = fs::read(part.join(LOG)).unwrap_or_default();
                let said = last_lines(&String::from_utf8_lossy(&log), 3).join("\n");
                return Err(LocalError::invalid(format!("the template's QEMU ended: {said}")));
            }
            Err(_) => {
                return Err(LocalError::invalid(format!(
                    "the template said nothing for {} minutes",
                    patience.as_secs() / 60
                )));
            }
        };
        if line == "waiting" {
            return Ok(());
        }
        patience = BOOT_PATIENCE;
        match StatusLine::parse(&line).map(|line| line.said) {
            Some(Said::Begin(step)) => {
                progress.report(&format!("template: {step}"), None);
                patience = STEP_PATIENCE;
            }
            Some(Said::GaveUp(step, why)) => {
                return Err(LocalError::invalid(format!(
                    "stage 1 of the template failed at {step}: {why}"
                )));
            }
            _ => {}
        }
    }
}

/// Leaves only what clones need, closed to writing, and says that it is whole. Nothing is forced to the disk: a template
/// that a loss of power damages does not answer, and is made again.
fn seal(part: &Utf8Path, vm: &Vm<'_>, qemu: String) -> Result<(), LocalError> {
    let error = |e| LocalError::system(format!("finish the template {part}"), e);
    let keep = [MEMORY, STATE, DISK, SEED, CONSOLE];
    for entry in part.read_dir_utf8().map_err(error)? {
        let path = entry.map_err(error)?.into_path();
        if !keep.contains(&path.file_name().unwrap_or_default()) {
            fs::remove_file(&path).map_err(error)?;
        }
    }
    let mut files = BTreeMap::new();
    for name in keep {
        let path = part.join(name);
        // QEMU opens the memory for writing, although a clone's writes stay its own.
        let mode = if name == MEMORY { 0o600 } else { 0o400 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(error)?;
        files.insert(name.to_owned(), Stamp::of(&path)?);
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        made: unix_now().as_secs(),
        qemu,
        base: vm.base.disk(),
        files,
    };
    let text =
        serde_json::to_vec_pretty(&manifest).map_err(|e| LocalError::system("describe the template", e))?;
    fs::write(part.join(MANIFEST), text).map_err(error)?;
    fs::set_permissions(part, Permissions::from_mode(0o700)).map_err(error)
}

/// Starts a clone in its locked directory, and returns once it is itself.
pub(crate) async fn clone(vm: &Vm<'_>, lock: &Lock, template: &Template, port: u16) -> Result<(), NoClone> {
    let directory = lock.directory();
    match vm.start(Role::Clone, directory, port).await {
        Ok(()) => {}
        Err(qemu::Failed::PortTaken) => return Err(NoClone::PortTaken),
        Err(qemu::Failed::Otherwise(error)) => return Err(NoClone::Template(error)),
    }
    let parts = vm.order.parts.as_ref();
    let identity = parts.map_or("{}", |parts| parts.identity.as_str());
    let state = qemu::state_read(vm.qemu_version, &format!("{}/{STATE}", qemu::TEMPLATE));
    let woken = timeout(vm.clone_patience, wake(directory.path(), identity, state)).await;
    woken
        .unwrap_or_else(|_| {
            Err(LocalError::invalid(format!(
                "a clone of the template {} did not answer within {} s",
                template.directory(),
                vm.clone_patience.as_secs()
            )))
        })
        .map_err(NoClone::Template)
}

async fn wake(directory: &Utf8Path, identity: &str, state: String) -> Result<(), LocalError> {
    let error = |what: &'static str| move |e: std::io::Error| LocalError::system(what, e);
    // The guest sees the port open from its first moment on.
    let mut port = qmp::connect(directory, PORT)
        .await
        .map_err(error("reach the clone's port"))?;
    qmp::thaw(directory, state)
        .await
        .map_err(error("wake the clone"))?;
    let line = identity_now(identity)? + "\n";
    port.write_all(line.as_bytes())
        .await
        .map_err(error("tell the clone who it is"))?;
    let mut lines = BufReader::new(port).lines();
    while let Some(line) = lines.next_line().await.map_err(error("hear from the clone"))? {
        if line == "adopted" {
            return Ok(());
        }
    }
    Err(LocalError::invalid(
        "the clone's QEMU ended before it learned who it is",
    ))
}

/// Adds what must not come from the template: the time, random bytes and the machine's id.
fn identity_now(identity: &str) -> Result<String, LocalError> {
    let mut whole: Value =
        serde_json::from_str(identity).map_err(|e| LocalError::system("read the box's identity", e))?;
    whole["entropy"] = json!(hex::encode(random::<ENTROPY_BYTES>()?));
    whole["machine_id"] = json!(hex::encode(random::<16>()?));
    whole["time"] = json!(unix_now().as_secs_f64());
    Ok(whole.to_string())
}

fn random<const N: usize>() -> Result<[u8; N], LocalError> {
    use std::io::Read;
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| LocalError::system("read /dev/urandom", e))?;
    Ok(bytes)
}

fn unix_now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
