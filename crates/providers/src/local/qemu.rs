//! The virtual machine of a box: its command line, and how it is started and ended.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::OpenOptionsExt,
    process::Stdio,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use model::{order::Order, text::last_lines};
use tokio::process::{Child, Command};

use crate::child;

use super::{
    Programs,
    accel::Choice,
    error::LocalError,
    image::Base,
    instance_type::InstanceType,
    network::{self, Reach},
    process::{self, PIDFILE},
    programs, qmp, seed,
    store::{BoxDir, Lock},
};

/// The disk of a box, a template or a clone.
pub(crate) const DISK: &str = "overlay.qcow2";

/// What QEMU says.
pub(crate) const LOG: &str = "qemu.log";

const WATCHDOG: &str = include_str!("watchdog.py");

/// Without an HPET, as systemd-vmspawn and mkosi do: reading it leaves the guest for every look at the time.
const MACHINE: &str = "q35,hpet=off";

/// How long QEMU may take until it answers, on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long QEMU may take to end by itself before it is killed.
const QUIT_PATIENCE: Duration = Duration::from_millis(300);

/// What QEMU says when the port was taken between our look and its start.
const PORT_TAKEN: &str = "Could not set up host forwarding rule";

/// The virtual serial port over which a template waits, and its clones learn who they are.
pub(crate) const PORT: &str = "identity.sock";

/// What stands for a template's directory in that of a clone: paths in it need no quoting.
pub(crate) const TEMPLATE: &str = "template";

/// What a virtual machine is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// A box that boots.
    Box,
    /// To be frozen.
    Template,
    /// A box that goes on where a template was frozen.
    Clone,
}

/// What a box's QEMU is started with.
pub(crate) struct Vm<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) order: &'a Order,
    pub(crate) size: InstanceType,
    pub(crate) disk_gb: u32,
    pub(crate) acceleration: &'a Choice,
    pub(crate) base: &'a Base,
    /// What QEMU says of its version.
    pub(crate) qemu_version: &'a str,
    pub(crate) clone_patience: Duration,
    pub(crate) reach: Reach<'a>,
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
    /// Makes the disks of a box that boots.
    pub(crate) async fn make_disks(&self, lock: &Lock) -> Result<(), LocalError> {
        let directory = lock.directory().path();
        let tags = &self.order.tags;
        let seed = seed::image(tags.token.as_str(), tags.label.as_str(), &self.order.user_data)?;
        write(directory, "seed.iso", &seed)?;
        write_programs(directory)?;
        self.make_disk(directory, &self.base.disk(), self.base.format())
            .await
    }

    /// Makes the disks of a template.
    pub(crate) async fn make_template_disks(
        &self,
        directory: &Utf8Path,
        seed: &[u8],
    ) -> Result<(), LocalError> {
        write(directory, "seed.iso", seed)?;
        write_programs(directory)?;
        self.make_disk(directory, &self.base.disk(), self.base.format())
            .await
    }

    /// Makes the disk of a clone.
    pub(crate) async fn make_clone_disk(&self, lock: &Lock, template: &Utf8Path) -> Result<(), LocalError> {
        let directory = lock.directory().path();
        write_programs(directory)?;
        // Its console goes on after what the template's showed.
        let console = template.join("console.log");
        let console = fs::read(&console).map_err(|e| LocalError::system(format!("read {console}"), e))?;
        write(directory, "console.log", &console)?;
        let link = directory.join(TEMPLATE);
        std::os::unix::fs::symlink(template, &link)
            .map_err(|e| LocalError::system(format!("make {link}"), e))?;
        self.make_disk(directory, &template.join(DISK), "qcow2").await
    }

    /// Makes a disk that holds what differs from another.
    async fn make_disk(&self, directory: &Utf8Path, base: &Utf8Path, format: &str) -> Result<(), LocalError> {
        let mut command = Command::new(&self.programs.qemu_img);
        child::clean(command.as_std_mut());
        let output = command
            .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
            .arg(base)
            .arg(DISK)
            .arg(format!("{}G", self.disk_gb))
            .current_dir(directory)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|e| LocalError::system(format!("run {}", self.programs.qemu_img), e))?;
        if !output.status.success() {
            let said = last_lines(&String::from_utf8_lossy(&output.stderr), 3).join("\n");
            return Err(LocalError::invalid(format!(
                "qemu-img could not make the box's disk: {said}"
            )));
        }
        Ok(())
    }

    /// Starts QEMU, and returns once it answers. It lives on when this process dies.
    pub(crate) async fn start(&self, role: Role, directory: &BoxDir, port: u16) -> Result<(), Failed> {
        let log = directory.file(LOG);
        let (log, both) = fs::File::create(&log)
            .and_then(|log| Ok((log.try_clone()?, log)))
            .map_err(|e| LocalError::system(format!("write {log}"), e))?;
        let child = self
            .watched(directory.path(), role, Some(port))?
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(both)
            .spawn()
            .map_err(|e| LocalError::system(format!("run {}", self.programs.python3), e))?;
        wait_until_answering(directory.path(), child).await.map(drop)
    }

    /// Starts the QEMU of a template, and returns once it answers. It ends when the input of what is returned is closed,
    /// and so with this process; until then it keeps `lock` open.
    pub(crate) async fn start_template(
        &self,
        directory: &Utf8Path,
        lock: fs::File,
    ) -> Result<Child, LocalError> {
        let log = directory.join(LOG);
        let log = fs::File::create(&log).map_err(|e| LocalError::system(format!("write {log}"), e))?;
        let child = self
            .watched(directory, Role::Template, None)?
            .stdin(Stdio::piped())
            .stdout(lock)
            .stderr(log)
            .spawn()
            .map_err(|e| LocalError::system(format!("run {}", self.programs.python3), e))?;
        match wait_until_answering(directory, child).await {
            Ok(child) => Ok(child),
            Err(Failed::Otherwise(error)) => Err(error),
            Err(Failed::PortTaken) => Err(LocalError::invalid("a port was taken that it has no use for")),
        }
    }

    /// Returns the command of the watchdog that runs QEMU. It has no use for the operator's tokens; it gives QEMU no
    /// environment at all, so no PATH to look for it either.
    fn watched(&self, directory: &Utf8Path, role: Role, port: Option<u16>) -> Result<Command, LocalError> {
        let qemu = programs::path_of(&self.programs.qemu)
            .ok_or_else(|| LocalError::invalid(format!("`{}` is not installed", self.programs.qemu)))?;
        // What a clone uses is behind a link in its directory.
        let link = directory.join(TEMPLATE);
        let template = (role == Role::Clone).then(|| link.read_link_utf8()).transpose();
        let template = template.map_err(|e| LocalError::system(format!("read {link}"), e))?;
        let mut command = Command::new(&self.programs.python3);
        child::clean(command.as_std_mut());
        command
            .arg("-I")
            .arg(directory.join("watchdog.py"))
            .args((role == Role::Template).then_some("--with-maker"))
            .args(self.reach.watchdog_arguments())
            .args(
                self.base
                    .directories()
                    .iter()
                    .flat_map(|held| ["--hold", held.as_str()]),
            )
            .args(template.iter().flat_map(|held| ["--hold", held.as_str()]))
            .arg(directory)
            .arg(qemu)
            .args(self.arguments(role, directory, port))
            .args(self.reach.qemu_arguments(self.qemu_version));
        Ok(command)
    }

    /// Returns QEMU's arguments. Those of a clone differ from its template's in nothing that the guest sees.
    pub(crate) fn arguments(&self, role: Role, directory: &Utf8Path, port: Option<u16>) -> Vec<String> {
        let mut arguments: Vec<String> = ["-nodefaults", "-no-user-config", "-display", "none"]
            .into_iter()
            .chain(self.acceleration.arguments().iter().copied())
            .map(str::to_owned)
            .collect();
        let mut add = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        let name = match role {
            Role::Template => "template",
            Role::Box | Role::Clone => self.order.tags.label.as_str(),
        };
        add("-name", format!("guest={name}"));
        add("-smp", self.size.cpus.to_string());
        add("-m", format!("{}G", self.size.memory_gb));
        add("-pidfile", directory.join(PIDFILE).into_string());
        // Relative to the box's directory, which the watchdog enters: no path needs quoting, none is too long.
        add("-qmp", format!("unix:{},server=on,wait=off", qmp::SOCKET));
        add(
            "-chardev",
            "file,id=console,path=console.log,append=on".to_owned(),
        );
        add("-serial", "chardev:console".to_owned());
        // The disk dies with the box, so nothing has to reach the host's disk in time.
        let disk = format!("file={DISK},if=virtio,format=qcow2,cache=unsafe,discard=unmap");
        add("-drive", disk);
        let seed = if role == Role::Clone {
            "template/seed.iso"
        } else {
            "seed.iso"
        };
        add("-drive", format!("file={seed},if=virtio,format=raw,readonly=on"));
        let forward = port.map_or(String::new(), |port| {
            format!(",hostfwd=tcp:127.0.0.1:{port}-10.0.2.15:22")
        });
        add("-netdev", format!("user,id=net,ipv6=off{forward}"));
        add("-device", "virtio-net-pci,netdev=net,romfile=".to_owned());
        add("-device", "virtio-rng-pci".to_owned());
        match role {
            Role::Box => add("-M", MACHINE.to_owned()),
            Role::Template | Role::Clone => add_frozen(role, self.size.memory_gb, &mut add),
        }
        arguments.extend(self.base.arguments(self.acceleration.kernel_arguments()));
        arguments
    }
}

/// Returns where a guest's state is written to.
pub(crate) fn state_written(qemu_version: &str, file: &str) -> String {
    match network::moves_files(qemu_version) {
        true => format!("file:{file}"),
        false => format!("exec:cat >{file}"),
    }
}

/// Returns where a guest's state is read from.
pub(crate) fn state_read(qemu_version: &str, file: &str) -> String {
    match network::moves_files(qemu_version) {
        true => format!("file:{file}"),
        false => format!("exec:cat {file}"),
    }
}

/// Adds what makes a machine one that can be frozen and cloned: memory in a file, the port that its identity comes over,
/// and the device that lets its kernel know of it.
fn add_frozen(role: Role, memory_gb: u32, add: &mut impl FnMut(&str, String)) {
    let memory = match role {
        Role::Clone => "mem-path=template/ram,share=off",
        Role::Template | Role::Box => "mem-path=ram,share=on",
    };
    add(
        "-object",
        format!("memory-backend-file,id=mem,size={memory_gb}G,{memory}"),
    );
    add("-M", format!("{MACHINE},memory-backend=mem"));
    add("-device", "virtio-serial-pci".to_owned());
    add(
        "-chardev",
        format!("socket,id=identity,path={PORT},server=on,wait=off"),
    );
    add(
        "-device",
        "virtserialport,chardev=identity,name=twolane.identity".to_owned(),
    );
    add("-device", "vmgenid,guid=auto".to_owned());
    if role == Role::Clone {
        add("-incoming", "defer".to_owned());
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

async fn wait_until_answering(directory: &Utf8Path, mut child: Child) -> Result<Child, Failed> {
    let start = Instant::now();
    loop {
        if qmp::status(directory).await.is_ok() {
            return Ok(child);
        }
        if let Ok(Some(_)) = child.try_wait() {
            let log = fs::read(directory.join(LOG)).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            return Err(if log.contains(PORT_TAKEN) {
                Failed::PortTaken
            } else {
                LocalError::invalid(format!("QEMU ended at once: {}", last_lines(&log, 5).join("\n"))).into()
            });
        }
        if start.elapsed() >= START_PATIENCE {
            process::kill(directory).await?;
            return Err(LocalError::invalid("QEMU did not answer on its control socket within 30 s").into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Writes what runs beside QEMU.
fn write_programs(directory: &Utf8Path) -> Result<(), LocalError> {
    write(directory, "watchdog.py", WATCHDOG.as_bytes())?;
    write(directory, "filter.py", network::FILTER.as_bytes())
}

/// Writes a file that only its owner may read.
fn write(directory: &Utf8Path, name: &str, content: &[u8]) -> Result<(), LocalError> {
    let path = directory.join(name);
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(content))
        .map_err(|e| LocalError::system(format!("write {path}"), e))
}
