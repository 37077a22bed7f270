//! The virtual machine of a box: its command line, and how it is started and ended.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use model::order::Order;
use tokio::process::{Child, Command};

use super::{
    Programs,
    accel::Choice,
    error::{LocalError, end_of},
    image::Base,
    instance_type::InstanceType,
    process::{self, PIDFILE},
    qmp, seed,
    store::{BoxDir, Lock},
};

const WATCHDOG: &str = include_str!("watchdog.py");

/// Without an HPET, as systemd-vmspawn and mkosi do: reading it leaves the guest for every look at the time.
const MACHINE: &str = "q35,hpet=off";

/// How long QEMU may take until it answers, on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long QEMU may take to end by itself before it is killed.
const QUIT_PATIENCE: Duration = Duration::from_millis(300);

/// What QEMU says when the port was taken between our look and its start.
const PORT_TAKEN: &str = "Could not set up host forwarding rule";

/// What a box's QEMU is started with.
pub(crate) struct Vm<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) order: &'a Order,
    pub(crate) size: InstanceType,
    pub(crate) disk_gb: u32,
    pub(crate) acceleration: &'a Choice,
    pub(crate) base: &'a Base,
}

/// How a start failed.
pub(crate) enum Failed {
    /// The port belongs to somebody else by now.
    PortTaken,
    Otherwise(LocalError),
}

impl From<LocalError> for Failed {
    fn from(error: LocalError) -> Self {
        Self::Otherwise(error)
    }
}

/// Returns a port of the loopback that is free now.
pub(crate) fn free_port() -> Result<u16, LocalError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|e| LocalError::system("find a free port on 127.0.0.1", e))
}

impl Vm<'_> {
    /// Makes the box's disks.
    pub(crate) async fn make_disks(&self, lock: &Lock) -> Result<(), LocalError> {
        let directory = lock.directory();
        let seed = seed::image(&self.order.tags, &self.order.user_data)?;
        write_private(&directory.file("seed.iso"), &seed)
            .and_then(|()| write_private(&directory.file("watchdog.py"), WATCHDOG.as_bytes()))
            .map_err(|e| LocalError::system(format!("write to {}", directory.path()), e))?;
        let output = Command::new(&self.programs.qemu_img)
            .args(["create", "-q", "-f", "qcow2", "-F", self.base.format(), "-b"])
            .arg(self.base.disk())
            .arg("overlay.qcow2")
            .arg(format!("{}G", self.disk_gb))
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|e| LocalError::system(format!("run {}", self.programs.qemu_img), e))?;
        if !output.status.success() {
            let said = end_of(&String::from_utf8_lossy(&output.stderr), 3);
            return Err(LocalError::invalid(format!(
                "qemu-img could not make the box's disk: {said}"
            )));
        }
        Ok(())
    }

    /// Starts QEMU, and returns once it answers. It lives on when this process dies.
    pub(crate) async fn start(&self, lock: &Lock, port: u16) -> Result<(), Failed> {
        let directory = lock.directory();
        let log = fs::File::create(directory.file("qemu.log"))
            .map_err(|e| LocalError::system(format!("write {}", directory.file("qemu.log")), e))?;
        let both = log
            .try_clone()
            .map_err(|e| LocalError::system(format!("write {}", directory.file("qemu.log")), e))?;
        let child = Command::new(&self.programs.python3)
            .arg("-I")
            .arg(directory.file("watchdog.py"))
            .arg(directory.path())
            .arg(&self.programs.qemu)
            .args(self.arguments(directory, port))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn()
            .map_err(|e| LocalError::system(format!("run {}", self.programs.python3), e))?;
        wait_until_answering(directory, child).await
    }

    fn arguments(&self, directory: &BoxDir, port: u16) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-M",
            MACHINE,
        ]
        .into_iter()
        .chain(self.acceleration.arguments().iter().copied())
        .map(str::to_owned)
        .collect();
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        add("-name", format!("guest={}", self.order.tags.label));
        add("-smp", self.size.cpus.to_string());
        add("-m", format!("{}G", self.size.memory_gb));
        add("-pidfile", directory.file(PIDFILE).into_string());
        // Relative to the box's directory, which the watchdog enters: no path needs quoting, none is too long.
        add("-qmp", format!("unix:{},server=on,wait=off", qmp::SOCKET));
        add(
            "-chardev",
            "file,id=console,path=console.log,append=on".to_owned(),
        );
        add("-serial", "chardev:console".to_owned());
        // The disk dies with the box, so nothing has to reach the host's disk in time.
        let disk = "file=overlay.qcow2,if=virtio,format=qcow2,cache=unsafe,discard=unmap";
        add("-drive", disk.to_owned());
        add(
            "-drive",
            "file=seed.iso,if=virtio,format=raw,readonly=on".to_owned(),
        );
        let network = "user,id=net,ipv6=off,hostfwd=tcp:127.0.0.1";
        add("-netdev", format!("{network}:{port}-10.0.2.15:22"));
        add("-device", "virtio-net-pci,netdev=net,romfile=".to_owned());
        add("-device", "virtio-rng-pci".to_owned());
        arguments.extend(self.base.arguments(self.acceleration.kernel_arguments()));
        arguments
    }
}

/// Ends whatever of the box runs, and returns once nothing does. Returns whether something ran.
pub(crate) async fn end(directory: &Utf8Path) -> Result<bool, LocalError> {
    if process::find(directory).is_empty() {
        return Ok(false);
    }
    // The answer may be lost as QEMU ends: whether it is gone is seen from its process.
    let asked = qmp::quit(directory).await.is_ok();
    if !asked || !process::wait_until_gone(directory, QUIT_PATIENCE).await {
        process::kill(directory).await?;
    }
    Ok(true)
}

async fn wait_until_answering(directory: &BoxDir, mut child: Child) -> Result<(), Failed> {
    let start = Instant::now();
    loop {
        if qmp::status(directory.path()).await.is_ok() {
            return Ok(());
        }
        if let Ok(Some(_)) = child.try_wait() {
            let log = fs::read(directory.file("qemu.log")).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            return Err(if log.contains(PORT_TAKEN) {
                Failed::PortTaken
            } else {
                LocalError::invalid(format!("QEMU ended at once: {}", end_of(&log, 5))).into()
            });
        }
        if start.elapsed() >= START_PATIENCE {
            process::kill(directory.path()).await?;
            return Err(LocalError::invalid("QEMU did not answer on its control socket within 30 s").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn write_private(path: &Utf8Path, content: &[u8]) -> io::Result<()> {
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)?
        .write_all(content)
}
