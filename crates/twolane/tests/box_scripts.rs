//! What runs on the box, tried without a box: the KVM gate, the steps of stage 1 in a sandbox with a mirror on
//! loopback, and the box's tool on prepared directories.
//! Keeps out: what needs systemd, cloud-init or a guest; those run in a real VM.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
};

use model::render::post_deploy::{bundle, trace_file};
use tempfile::TempDir;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../ops/ephemeral")
        .join(name)
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("could not run {command:?}: {error}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Returns whether a tool is there; says loudly what is not tested when it is not.
fn has(tool: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {tool}")])
        .output()
        .unwrap()
        .status
        .success();
    if !found {
        let line = format!("NOT TESTED: {tool} is not installed\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    found
}

// --- the scripts as text

#[test]
fn shell_scripts_are_clean() {
    for name in ["stage1.sh", "template.sh", "twolane-box.sh", "host.sh"] {
        assert!(
            run(Command::new("bash").arg("-n").arg(script(name)))
                .status
                .success(),
            "{name}"
        );
        if has("shellcheck") {
            let output = run(Command::new("shellcheck").arg(script(name)));
            assert!(output.status.success(), "{}", text(&output.stdout));
        }
    }
}

// --- the gate

fn gate(arguments: &[&str]) -> (Option<i32>, serde_json::Value) {
    let output = run(Command::new("python3").arg(script("kvm-gate.py")).args(arguments));
    let answer = serde_json::from_slice(&output.stdout);
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)));
    (output.status.code(), answer)
}

#[test]
fn gate_speaks_with_one_voice_on_this_machine() {
    let (code, answer) = gate(&[]);
    let steps = answer["steps"].as_array().unwrap();
    let failed: Vec<_> = steps.iter().filter(|step| step["ok"] == false).collect();
    assert_eq!(answer["works"], failed.is_empty(), "{answer}");
    assert_eq!(code, Some(i32::from(!failed.is_empty())));
    let sentence = answer["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with("/dev/kvm ") && !sentence.contains('\n'),
        "{sentence}"
    );
    if let Some(step) = failed.first() {
        assert!(sentence.contains(step["detail"].as_str().unwrap()), "{sentence}");
    }
    assert_eq!(answer["facts"]["arch"], std::env::consts::ARCH);
}

#[test]
fn gate_says_what_is_wrong_with_the_device() {
    let (code, answer) = gate(&["--device", "/dev/no-such-device"]);
    assert_eq!((code, &answer["works"]), (Some(1), &false.into()));
    assert!(
        answer["sentence"]
            .as_str()
            .unwrap()
            .starts_with("/dev/no-such-device is not there")
    );
    let (_, answer) = gate(&["--device", "/dev/null"]);
    assert_eq!(
        answer["sentence"],
        "/dev/null does not answer as KVM: Inappropriate ioctl for device"
    );
    assert_eq!(
        answer["steps"][2]["ok"],
        serde_json::Value::Null,
        "nothing is created on it"
    );
}

#[test]
fn gate_refuses_what_it_does_not_know() {
    for arguments in [&["--nonsense", "1"][..], &["--device"], &["--limit", "soon"]] {
        let output = run(Command::new("python3").arg(script("kvm-gate.py")).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn gate_answer_quotes_every_character() {
    let device = "/dev/no \"quoted\\ ü \u{1f980}\ttab";
    let (_, answer) = gate(&["--device", device, "--limit", "0.5"]);
    let sentence = answer["sentence"].as_str().unwrap();
    assert!(
        sentence.starts_with(&format!("{device} is not there")),
        "{sentence}"
    );
}

/// Every import costs a tenth of a second on an emulated CPU.
#[test]
fn gate_imports_nothing_that_starts_slowly() {
    let output = run(Command::new("python3")
        .args(["-I", "-S", "-X", "importtime"])
        .arg(script("kvm-gate.py")));
    let imported = text(&output.stderr);
    assert!(imported.contains("| fcntl"), "{imported}");
    for slow in ["re", "enum", "json", "argparse", "site", "platform"] {
        assert!(
            !imported
                .lines()
                .any(|line| line.rsplit('|').next().unwrap().trim() == slow),
            "{slow}: {imported}"
        );
    }
}

/// Runs the gate's own watch over one step made of `body`.
fn watched(body: &str) -> serde_json::Value {
    let program = format!(
        "import importlib.util, json, os, sys, time\n\
         spec = importlib.util.spec_from_file_location('gate', sys.argv[1])\n\
         gate = importlib.util.module_from_spec(spec)\n\
         spec.loader.exec_module(gate)\n\
         gate.steps = lambda path: [('open', 'opening it', lambda _: {body}), ('loop', 'a loop', None)]\n\
         print(json.dumps(gate.probe('/dev/kvm', 0.5)))\n"
    );
    let output = run(Command::new("python3")
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg("-c")
        .arg(program)
        .arg(script("kvm-gate.py")));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

#[test]
fn guest_that_hangs_is_cut_and_named() {
    let steps = watched("time.sleep(3600)");
    assert_eq!(steps[0]["detail"], "hung, and was cut after 0.5 s");
    assert_eq!(
        (&steps[0]["ok"], &steps[1]["detail"]),
        (&false.into(), &"not reached".into())
    );
}

#[test]
fn guest_that_takes_the_probe_along_is_named() {
    let steps = watched("os.kill(os.getpid(), 9)");
    assert!(
        steps[0]["detail"]
            .as_str()
            .unwrap()
            .starts_with("killed the probe")
    );
}

#[test]
fn guests_are_the_bytes_of_their_assembly() {
    if !cfg!(target_arch = "x86_64") || !has("as") || !has("objcopy") {
        return;
    }
    let source = fs::read_to_string(script("kvm-gate.py")).unwrap();
    let guests = guests(&source);
    assert_eq!(guests.len(), 5, "{guests:?}");
    let dir = TempDir::new().unwrap();
    for (name, (assembly, bytes)) in guests {
        fs::write(dir.path().join("guest.s"), assembly).unwrap();
        let made = "as --64 -o guest.o guest.s && objcopy -O binary -j .text guest.o guest.bin";
        assert!(
            run(Command::new("sh").current_dir(&dir).args(["-c", made]))
                .status
                .success(),
            "{name}"
        );
        assert_eq!(fs::read(dir.path().join("guest.bin")).unwrap(), bytes, "{name}");
    }
}

/// Reads each `NAME = "bytes"` and the indented comment above it.
fn guests(source: &str) -> BTreeMap<String, (String, Vec<u8>)> {
    let mut guests = BTreeMap::new();
    let mut assembly = String::new();
    for line in source.lines() {
        if let Some(code) = line.strip_prefix("#   ") {
            assembly.push_str(code);
            assembly.push('\n');
        } else if let (Some((name, value)), false) = (line.split_once(" = \""), assembly.is_empty()) {
            let digits: String = value.chars().filter(char::is_ascii_hexdigit).collect();
            let bytes =
                (0..digits.len() / 2).map(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap());
            guests.insert(name.to_owned(), (std::mem::take(&mut assembly), bytes.collect()));
        } else {
            assembly.clear();
        }
    }
    guests
}

// --- stage 1

/// A box in a temporary directory, and a mirror that serves what a test puts there.
struct Sandbox {
    dir: TempDir,
    mirror: Mirror,
}

impl Sandbox {
    fn new() -> Self {
        let sandbox = Self {
            dir: TempDir::new().unwrap(),
            mirror: Mirror::start(),
        };
        for name in ["etc", "state", "lib", "bin", "opt"] {
            fs::create_dir(sandbox.path(name)).unwrap();
        }
        fs::copy(script("kvm-gate.py"), sandbox.path("lib/kvm-gate.py")).unwrap();
        // This machine's own modules stay.
        sandbox.fake(
            "modprobe",
            &format!("echo \"$@\" >>{}", sandbox.path("modprobe").display()),
        );
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn configure(&self, lines: &[(&str, &str)]) {
        let me = text(&run(Command::new("id").arg("-un")).stdout);
        let mut all = format!("WORK_USER={}\nMIRROR='{}'\n", me.trim(), self.mirror.url);
        for (name, value) in lines {
            all += &format!("{name}='{value}'\n");
        }
        fs::write(self.path("etc/stage1.env"), all).unwrap();
    }

    fn bash(&self, name: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("bash");
        command
            .arg(script(name))
            .args(arguments)
            .env("FETCH_PAUSE", "0")
            .env("HOME", self.path("home"))
            .env("TWOLANE_KVM", self.path("no-kvm"));
        command.env(
            "PATH",
            format!(
                "{}:{}",
                self.path("fakes").display(),
                std::env::var("PATH").unwrap()
            ),
        );
        for (variable, name) in [
            ("TWOLANE_ETC", "etc"),
            ("TWOLANE_STATE", "state"),
            ("TWOLANE_LIB", "lib"),
            ("TWOLANE_BIN", "bin"),
            ("TWOLANE_OPT", "opt"),
            ("TWOLANE_CLOUD", "cloud"),
            ("TWOLANE_MODPROBE_D", "modprobe.d"),
        ] {
            command.env(variable, self.path(name));
        }
        run(&mut command)
    }

    /// Runs one step; returns its exit status and its reason.
    fn step(&self, name: &str) -> (Option<i32>, String) {
        let output = self.bash("stage1.sh", &["step", name]);
        (output.status.code(), self.read("state/stage1.reason"))
    }

    fn fake(&self, program: &str, body: &str) {
        fs::create_dir_all(self.path("fakes")).unwrap();
        executable(&self.path(&format!("fakes/{program}")), body);
    }
}

fn executable(path: &Path, body: &str) {
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Serves files over HTTP on loopback. An answer may be spoilt a number of times first.
struct Mirror {
    url: String,
    files: Arc<Mutex<BTreeMap<String, Served>>>,
}

struct Served {
    bytes: Vec<u8>,
    faults: Vec<Fault>,
}

#[derive(Clone, Copy)]
enum Fault {
    Status503,
    CutBody,
    Silence,
}

impl Mirror {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let files: Arc<Mutex<BTreeMap<String, Served>>> = Arc::default();
        let served = Arc::clone(&files);
        thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let path = requested(&mut BufReader::new(&stream));
                let mut files = served.lock().unwrap();
                let Some(file) = files.get_mut(&path) else {
                    let _ = write!(
                        stream,
                        "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    );
                    continue;
                };
                let length = file.bytes.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                // The client may be gone already: that is its business.
                let _ = match file.faults.pop() {
                    Some(Fault::Silence) => {
                        silent.push(stream);
                        continue;
                    }
                    Some(Fault::Status503) => stream
                        .write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"),
                    Some(Fault::CutBody) => {
                        stream.write_all(&[head.as_bytes(), &file.bytes[..length / 2]].concat())
                    }
                    None => stream.write_all(&[head.as_bytes(), &file.bytes].concat()),
                };
            }
        });
        Self { url, files }
    }

    fn serve(&self, path: &str, bytes: Vec<u8>, faults: &[Fault]) {
        self.files.lock().unwrap().insert(
            path.to_owned(),
            Served {
                bytes,
                faults: faults.to_vec(),
            },
        );
    }
}

fn requested(request: &mut impl BufRead) -> String {
    let mut first = String::new();
    request.read_line(&mut first).unwrap();
    let mut line = String::new();
    while request.read_line(&mut line).unwrap() > 2 {
        line.clear();
    }
    first.split(' ').nth(1).unwrap_or_default().to_owned()
}

fn sha256(bytes: &[u8]) -> String {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("x"), bytes).unwrap();
    text(&run(Command::new("sha256sum").arg(dir.path().join("x"))).stdout)[..64].to_owned()
}

const ARCH: &str = std::env::consts::ARCH;

fn firecracker_release(version: &str) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let release = format!("release-{version}-{ARCH}");
    fs::create_dir(dir.path().join(&release)).unwrap();
    for name in ["firecracker", "jailer"] {
        executable(
            &dir.path().join(format!("{release}/{name}-{version}-{ARCH}")),
            &format!("echo {name} {version}"),
        );
    }
    run(Command::new("tar")
        .current_dir(&dir)
        .args(["-czf", "-", &release]))
    .stdout
}

fn firecracker(sandbox: &Sandbox, faults: &[Fault]) {
    let release = firecracker_release("v1.14.1");
    let sum = sha256(&release);
    let path =
        format!("/firecracker-microvm/firecracker/releases/download/v1.14.1/firecracker-v1.14.1-{ARCH}.tgz");
    sandbox.mirror.serve(&path, release, faults);
    sandbox.configure(&[
        ("FIRECRACKER_VERSION", "v1.14.1"),
        (&format!("FIRECRACKER_SHA256_{ARCH}"), &sum),
    ]);
}

#[test]
fn firecracker_comes_from_the_mirror_once() {
    let sandbox = Sandbox::new();
    firecracker(&sandbox, &[]);
    assert_eq!(sandbox.step("firecracker"), (Some(0), String::new()));
    assert_eq!(
        text(&run(&mut Command::new(sandbox.path("bin/jailer"))).stdout),
        "jailer v1.14.1\n"
    );
    assert_eq!(
        sandbox.step("firecracker"),
        (Some(77), "v1.14.1 is installed".to_owned())
    );
}

/// Returns a kernel file as distributions of x86 have it: a head, code, and what it unpacks.
fn kernel(packer: &[&str], payload: &[u8]) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("vmlinux"), payload).unwrap();
    let packed = run(Command::new(packer[0])
        .args(&packer[1..])
        .arg(dir.path().join("vmlinux")))
    .stdout;
    let mut file = vec![0; 0x400];
    file[0x1f1] = 1;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x24c..0x250].copy_from_slice(&u32::try_from(packed.len() + 4).unwrap().to_le_bytes());
    file.extend(packed);
    file.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    file
}

/// A box with a VMM that shows `console` when it is given the right kernel.
fn with_vmm(console: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let unpacked = b"\x7fELF and so on";
    fs::write(sandbox.path("vmlinuz"), kernel(&["xz", "-c"], unpacked)).unwrap();
    fs::write(sandbox.path("vmlinux"), unpacked).unwrap();
    fs::copy(script("vmm-boot.py"), sandbox.path("lib/vmm-boot.py")).unwrap();
    executable(
        &sandbox.path("bin/firecracker"),
        &format!(
            "image=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[\"boot-source\"][\"kernel_image_path\"])' \"$3\")\n\
             cmp \"$image\" {} || exit 1\nprintf '{console}'\nexec sleep 1000",
            sandbox.path("vmlinux").display()
        ),
    );
    let kernel = sandbox.path("vmlinuz");
    sandbox.configure(&[
        ("FIRECRACKER_VERSION", "v1.14.1"),
        ("GATE_REQUIRED", "1"),
        ("KERNEL", kernel.to_str().unwrap()),
    ]);
    sandbox
}

fn ends_after_its_words(sandbox: &Sandbox) {
    let path = sandbox.path("bin/firecracker");
    let body = fs::read_to_string(&path).unwrap().replace("exec sleep 1000", "");
    fs::write(&path, body).unwrap();
}

#[test]
fn kernel_boots_in_the_vmm_until_it_looks_for_its_root() {
    let sandbox = with_vmm(
        "Linux version 6.8.0-31-generic (x)\\r\\nKernel panic - not syncing: VFS: Unable to mount root fs on unknown-block\\r\\n",
    );
    let (code, said) = sandbox.step("vmm");
    assert_eq!(code, Some(0));
    assert!(
        said.starts_with("Linux 6.8.0-31-generic booted until it looked for its root disk, in "),
        "{said}"
    );
}

#[test]
fn kernel_is_unpacked_without_its_packer() {
    // More than one of lz4's blocks.
    let payload: Vec<u8> = b"\x7fELF"
        .iter()
        .copied()
        .chain((0..9 << 20).map(|i: u32| (i.wrapping_mul(2_654_435_761) >> 28) as u8))
        .collect();
    for packer in [
        &["lz4", "-l", "-c"][..],
        &["zstd", "-q", "-c"],
        &["gzip", "-c"],
        &["xz", "-c"],
    ] {
        if !has(packer[0]) {
            continue;
        }
        let sandbox = Sandbox::new();
        let [packed, out] = ["vmlinuz", "out"].map(|name| sandbox.path(name));
        fs::write(&packed, kernel(packer, &payload)).unwrap();
        let extract = |to: &Path| {
            run(Command::new("/usr/bin/python3")
                .env("PATH", "/nonexistent")
                .arg(script("vmm-boot.py"))
                .arg("extract")
                .args([&packed, to]))
        };
        let output = extract(&out);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{packer:?}: {}",
            text(&output.stderr)
        );
        assert!(fs::read(&out).unwrap() == payload, "{packer:?}");
        let mut cut = fs::read(&packed).unwrap();
        let last = cut.len() - 5000;
        cut.truncate(last);
        fs::write(&packed, cut).unwrap();
        let output = extract(&out);
        assert_eq!(
            output.status.code(),
            Some(77),
            "{packer:?}: {}",
            text(&output.stderr)
        );
        assert!(!text(&output.stdout).is_empty(), "{packer:?}");
    }
}

#[test]
fn vmm_sentence_stands_in_the_status() {
    let sandbox = with_vmm("Linux version 6.8.0 (x)\\r\\nKernel panic: Unable to mount root fs\\r\\n");
    let shown = fs::read_to_string(sandbox.path("bin/firecracker")).unwrap();
    let installed = "[ \"$1\" != --version ] || { echo Firecracker v1.14.1; exit; }\n";
    executable(&sandbox.path("bin/firecracker"), &(installed.to_owned() + &shown));
    executable(&sandbox.path("bin/jailer"), "");
    sandbox.fake(
        "python3",
        "for word; do case $word in *kvm-gate.py) echo {} && exit; esac; done\nexec /usr/bin/python3 \"$@\"",
    );
    let (_, lines) = whole(&sandbox);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("end vmm ok Linux 6.8.0 booted until ")),
        "{lines:?}"
    );
}

#[test]
fn vmm_failure_shows_its_own_words() {
    let sandbox = with_vmm(
        "Linux version 6.8.0 (x)\\n2026-11-27T04:00:00.123456789 [anonymous-instance:fc_vcpu 0] Received KVM_EXIT_INTERNAL_ERROR signal\\n\
         2026-11-27T04:00:00.223456789 [anonymous-instance:main] Firecracker exiting with error. exit_code=148\\n",
    );
    ends_after_its_words(&sandbox);
    assert_eq!(
        sandbox.step("vmm").1,
        "the VMM did not boot a Linux kernel to the end: Received KVM_EXIT_INTERNAL_ERROR signal; \
         Firecracker exiting with error. exit_code=148"
    );
}

#[test]
fn vmm_that_boots_no_kernel_fails_the_lane_with_its_last_words() {
    let sandbox = with_vmm("Linux version 6.8.0-31-generic (x)\\nBUG: stuck\\n");
    ends_after_its_words(&sandbox);
    assert_eq!(
        sandbox.step("vmm"),
        (
            Some(1),
            "the VMM did not boot a Linux kernel to the end: BUG: stuck".to_owned()
        )
    );
}

#[test]
fn kernel_that_cannot_be_tried_is_a_failure() {
    let sandbox = with_vmm("");
    fs::write(sandbox.path("vmlinuz"), [0; 0x400]).unwrap();
    assert_eq!(
        sandbox.step("vmm"),
        (
            Some(1),
            "no kernel could be tried in the VMM: the kernel file is of an unknown kind".to_owned()
        )
    );
    fs::remove_file(sandbox.path("vmlinuz")).unwrap();
    let (code, reason) = sandbox.step("vmm");
    assert!(
        code == Some(1) && reason.contains("No such file"),
        "{code:?} {reason}"
    );
}

#[test]
fn skip_says_what_would_make_the_check_run() {
    let sandbox = Sandbox::new();
    sandbox.configure(&[]);
    let why = |program: &str| {
        let dir = sandbox.path("");
        let need = format!("program:{program}");
        let words = ["start", "run", "check", "60", "0", dir.to_str().unwrap(), &need];
        let output = sandbox.bash("twolane-box.sh", &words);
        text(&output.stdout) + &text(&output.stderr)
    };
    let absent = why("cargo-nosuch");
    assert!(
        absent.contains("cargo-nosuch is not installed on the box: install it on your machine"),
        "{absent}"
    );
    assert!(absent.contains("cargo-tools"), "{absent}");
    let absent = why("no-such-program");
    assert!(absent.contains("add its package to packages"), "{absent}");

    fs::create_dir_all(sandbox.path("home/.cargo/bin")).unwrap();
    let too_new = "echo \"version `GLIBC_2.99' not found\" >&2; exit 1".replace('`', "\\`");
    executable(&sandbox.path("home/.cargo/bin/cargo-alien"), &too_new);
    let alien = why("cargo-alien");
    assert!(
        alien.contains("cargo-alien does not start on the box (version `GLIBC_2.99' not found)"),
        "{alien}"
    );
}

#[test]
fn download_is_tried_again() {
    let sandbox = Sandbox::new();
    firecracker(&sandbox, &[Fault::CutBody, Fault::Status503]);
    assert_eq!(sandbox.step("firecracker"), (Some(0), String::new()));
}

#[test]
fn wrong_checksum_installs_nothing() {
    let sandbox = Sandbox::new();
    firecracker(&sandbox, &[]);
    let wrong = "0".repeat(64);
    sandbox.configure(&[
        ("FIRECRACKER_VERSION", "v1.14.1"),
        (&format!("FIRECRACKER_SHA256_{ARCH}"), &wrong),
    ]);
    let (code, reason) = sandbox.step("firecracker");
    assert_eq!(code, Some(1));
    assert!(
        reason.contains("wrong checksum") && reason.contains(&wrong),
        "{reason}"
    );
    assert!(!sandbox.path("bin/firecracker").exists());
}

#[test]
fn download_without_checksum_for_this_machine_is_refused() {
    let sandbox = Sandbox::new();
    firecracker(&sandbox, &[]);
    sandbox.configure(&[("FIRECRACKER_VERSION", "v1.14.1")]);
    let (code, reason) = sandbox.step("firecracker");
    assert_eq!(code, Some(1));
    assert!(reason.contains(&format!("add sha256.{ARCH}")), "{reason}");
}

#[test]
fn download_that_is_not_there_names_its_address() {
    let sandbox = Sandbox::new();
    sandbox.configure(&[
        ("FIRECRACKER_VERSION", "v9"),
        (&format!("FIRECRACKER_SHA256_{ARCH}"), &"0".repeat(64)),
    ]);
    let (code, reason) = sandbox.step("firecracker");
    assert_eq!(code, Some(1));
    assert!(
        reason.contains(&sandbox.mirror.url) && reason.contains("404"),
        "{reason}"
    );
}

#[test]
fn rustup_is_run_as_a_file_and_reported_of_the_mirror() {
    let sandbox = Sandbox::new();
    let reported = sandbox.path("reported");
    let init = format!(
        "#!/bin/sh\necho \"$RUSTUP_DIST_SERVER $*\" > '{}'\n",
        reported.display()
    )
    .into_bytes();
    let sum = sha256(&init);
    sandbox.mirror.serve(
        &format!("/rustup/archive/1.28.2/{ARCH}-unknown-linux-gnu/rustup-init"),
        init,
        &[],
    );
    sandbox.configure(&[
        ("TOOLCHAIN", "rustup"),
        ("RUSTUP_VERSION", "1.28.2"),
        (&format!("RUSTUP_SHA256_{ARCH}"), &sum),
        ("RUST_CHANNEL", "channel-of-this-test"),
        ("RUST_COMPONENTS", "clippy rustfmt"),
    ]);
    assert_eq!(sandbox.step("toolchain"), (Some(0), String::new()));
    let expected = format!(
        "{} -y --no-modify-path --profile minimal --default-toolchain channel-of-this-test --component clippy --component rustfmt\n",
        sandbox.mirror.url
    );
    assert_eq!(sandbox.read("reported"), expected);
}

#[test]
fn operators_toolchain_is_waited_for_and_then_linked() {
    let sandbox = Sandbox::new();
    sandbox.configure(&[("TOOLCHAIN", "operator"), ("TOOLCHAIN_KEY", "1.95.0")]);
    assert_eq!(
        sandbox.step("toolchain"),
        (Some(77), "waiting for the operator's copy".to_owned())
    );
    assert_eq!(
        sandbox
            .bash("twolane-box.sh", &["link-toolchain", "1.95.0"])
            .status
            .code(),
        Some(1)
    );
    fs::create_dir_all(sandbox.path("opt/toolchain/1.95.0/bin")).unwrap();
    executable(
        &sandbox.path("opt/toolchain/1.95.0/bin/cargo"),
        "echo cargo 1.95.0",
    );
    let output = sandbox.bash("twolane-box.sh", &["link-toolchain", "1.95.0"]);
    assert_eq!(text(&output.stdout), "cargo 1.95.0\n", "{}", text(&output.stderr));
    assert_eq!(sandbox.step("toolchain").0, Some(0));
}

#[test]
fn cargo_tool_comes_out_of_its_archive() {
    let sandbox = Sandbox::new();
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("inner")).unwrap();
    executable(&dir.path().join("inner/cargo-of-this-test"), "echo here");
    let archive = run(Command::new("tar").current_dir(&dir).args(["-czf", "-", "inner"])).stdout;
    let sum = sha256(&archive);
    sandbox.mirror.serve(&format!("/tool-{ARCH}.tgz"), archive, &[]);
    let row = format!("cargo-of-this-test 1.0 https://example.org/tool-{{arch}}.tgz {sum} {sum}");
    sandbox.configure(&[("CARGO_TOOLS", &row)]);
    assert_eq!(sandbox.step("cargo-tools"), (Some(0), String::new()));
    assert_eq!(
        text(&run(&mut Command::new(sandbox.path("bin/cargo-of-this-test"))).stdout),
        "here\n"
    );
}

/// Runs all of stage 1 in the sandbox; returns the status file without its times.
fn whole(sandbox: &Sandbox) -> (Option<i32>, Vec<String>) {
    // Without users, directories and packages there is nothing that would touch this machine.
    let code = sandbox.bash("stage1.sh", &[]).status.code();
    let status = sandbox.read("state/stage1.status");
    let lines = status
        .lines()
        .map(|line| line.split_once(' ').unwrap().1.to_owned());
    (code, lines.filter(|line| !line.contains(" keys")).collect())
}

#[test]
fn lane_without_need_of_kvm_goes_on_without_it() {
    let sandbox = Sandbox::new();
    sandbox.configure(&[("WORK_USER", "no-such-user")]);
    sandbox.fake("setpriv", "shift 6; exec \"$@\"");
    let (code, lines) = whole(&sandbox);
    assert_eq!(code, Some(0));
    assert!(
        lines
            .iter()
            .any(|it| it.starts_with("skip gate KVM is not needed here: ")),
        "{lines:?}"
    );
    assert_eq!(lines.last().map(String::as_str), Some("done"));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&sandbox.read("state/gate.json")).unwrap()["works"],
        false
    );
}

#[test]
fn lane_without_need_of_kvm_has_none() {
    let sandbox = Sandbox::new();
    sandbox.configure(&[("WORK_USER", "no-such-user"), ("HIDE_KVM", "1")]);
    sandbox.fake("setpriv", "shift 6; exec \"$@\"");
    let device = sandbox.path("no-kvm");
    fs::write(&device, "").unwrap();
    let (code, lines) = whole(&sandbox);
    assert_eq!(code, Some(0));
    assert!(!device.exists());
    let sentence = format!(
        "{} was taken away: a lane with kvm = none has none",
        device.display()
    );
    assert!(lines.iter().any(|line| line.ends_with(&sentence)), "{lines:?}");
    let answer: serde_json::Value = serde_json::from_str(&sandbox.read("state/gate.json")).unwrap();
    assert_eq!(
        (answer["works"].as_bool(), answer["sentence"].as_str()),
        (Some(false), Some(&*sentence))
    );
    assert_eq!(sandbox.read("modprobe"), "-r kvm_intel\n-r kvm_amd\n-r kvm\n");
    assert!(
        sandbox
            .read("modprobe.d/twolane-no-kvm.conf")
            .contains("install kvm_amd /bin/false")
    );
}

#[test]
fn lent_machine_without_need_of_kvm_keeps_its_own() {
    let sandbox = Sandbox::new();
    lend(&sandbox);
    sandbox.configure(&[("HIDE_KVM", "1")]);
    let device = sandbox.path("no-kvm");
    fs::write(&device, "").unwrap();
    sandbox.step("gate");
    assert!(device.exists() && sandbox.read("modprobe").is_empty());
    let kept = format!("{} is kept from the checks", device.display());
    assert!(
        sandbox.read("state/gate.json").contains(&kept),
        "{}",
        sandbox.read("state/gate.json")
    );
}

#[test]
fn lane_that_needs_kvm_fails_with_the_gates_sentence() {
    let sandbox = Sandbox::new();
    sandbox.configure(&[("WORK_USER", "no-such-user"), ("GATE_REQUIRED", "1")]);
    sandbox.fake("setpriv", "shift 6; exec \"$@\"");
    let (code, lines) = whole(&sandbox);
    assert_eq!(code, Some(1));
    let last = lines.last().unwrap();
    assert!(
        last.starts_with("failed gate ") && last.contains("no-kvm is not there"),
        "{lines:?}"
    );
}

#[test]
fn step_that_hangs_is_cut_and_named() {
    let sandbox = Sandbox::new();
    firecracker(&sandbox, &[Fault::Silence; 9]);
    let env = sandbox.read("etc/stage1.env") + "WORK_USER=no-such-user\nLIMIT_STEP=2\n";
    fs::write(sandbox.path("etc/stage1.env"), env).unwrap();
    sandbox.fake("setpriv", "shift 6; exec \"$@\"");
    let (code, lines) = whole(&sandbox);
    assert_eq!(code, Some(1));
    assert!(
        lines
            .last()
            .unwrap()
            .starts_with("failed firecracker hung, and was cut after 2 s: fetching http"),
        "{lines:?}"
    );
}

// --- on a machine that was there before

/// Has what stage 1 wants to put recorded, and what is somebody else's refused.
fn lend(sandbox: &Sandbox) {
    let claims = sandbox.path("claims");
    let taken = sandbox.path("bin/jailer");
    executable(
        &sandbox.path("lib/host.sh"),
        &format!(
            "echo \"$*\" >>{}; [ \"$3\" != {} ] || [ ! -e \"$3\" ] || {{ echo it stays as it is; exit 1; }}",
            claims.display(),
            taken.display()
        ),
    );
}

#[test]
fn on_a_lent_machine_each_program_is_claimed_before_it_is_put() {
    let sandbox = Sandbox::new();
    lend(&sandbox);
    firecracker(&sandbox, &[]);
    assert_eq!(sandbox.step("firecracker"), (Some(0), String::new()));
    let claim = |name: &str| format!("claim file {}\n", sandbox.path("bin").join(name).display());
    assert_eq!(sandbox.read("claims"), claim("firecracker") + &claim("jailer"));
}

#[test]
fn on_a_lent_machine_what_somebody_else_has_stays() {
    let sandbox = Sandbox::new();
    lend(&sandbox);
    firecracker(&sandbox, &[]);
    fs::create_dir_all(sandbox.path("bin")).unwrap();
    fs::write(sandbox.path("bin/jailer"), "theirs").unwrap();
    let (code, lines) = whole(&sandbox);
    assert_eq!(code, Some(1));
    assert_eq!(lines.last().unwrap(), "failed firecracker it stays as it is");
    assert_eq!(sandbox.read("bin/jailer"), "theirs");
}

#[test]
fn on_a_lent_machine_directories_that_are_there_keep_their_owner_and_mode() {
    let sandbox = Sandbox::new();
    lend(&sandbox);
    fs::create_dir_all(sandbox.path("there")).unwrap();
    fs::set_permissions(sandbox.path("there"), fs::Permissions::from_mode(0o700)).unwrap();
    let me = text(&run(Command::new("id").arg("-un")).stdout);
    let group = text(&run(Command::new("id").arg("-gn")).stdout);
    let line = |name: &str| {
        format!(
            "0750 {} {} {}",
            me.trim(),
            group.trim(),
            sandbox.path(name).display()
        )
    };
    sandbox.configure(&[("DIRECTORIES", &format!("{}\n{}", line("there"), line("new")))]);
    assert_eq!(sandbox.step("directories"), (Some(0), String::new()));
    let mode = |name: &str| fs::metadata(sandbox.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("there"), mode("new")), (0o700, 0o750));
    assert_eq!(
        sandbox.read("claims"),
        format!("claim directory {}\n", sandbox.path("new").display())
    );
}

/// An apt that would install one package, and do `more` beside.
fn fake_apt(sandbox: &Sandbox, more: &str) {
    sandbox.fake("dpkg-query", "exit 1");
    let log = sandbox.path("apt").display().to_string();
    sandbox.fake(
        "apt-get",
        &format!(
            "echo \"$*\" >>{log}; cat \"$APT_CONFIG\" >>{log}.conf\n\
             case \"$*\" in *-s\\ install*) printf 'Inst one (1 repo)\\nInst two (1 repo)\\n{more}Conf one (1 repo)\\n' ;; esac"
        ),
    );
}

#[test]
fn on_a_lent_machine_packages_are_claimed_and_lists_are_our_own() {
    let sandbox = Sandbox::new();
    lend(&sandbox);
    fake_apt(&sandbox, "");
    sandbox.configure(&[("PACKAGES", "one")]);
    assert_eq!(sandbox.step("packages"), (Some(0), String::new()));
    assert_eq!(sandbox.read("claims"), "claim package one two\n");
    let orders = sandbox.read("apt");
    assert!(
        orders
            .trim_end()
            .ends_with("install -y --no-install-recommends --no-upgrade one"),
        "{orders}"
    );
    let lists = format!(
        "Dir::State::Lists \"{}\";",
        sandbox.path("state/apt/lists").display()
    );
    assert!(sandbox.read("apt.conf").contains(&lists));
}

#[test]
fn on_a_lent_machine_nothing_is_upgraded_or_removed_for_a_package() {
    for more in ["Inst libc6 [1] (2 repo)\\n", "Remv their-daemon [1]\\n"] {
        let sandbox = Sandbox::new();
        lend(&sandbox);
        fake_apt(&sandbox, more);
        sandbox.configure(&[("PACKAGES", "one")]);
        let (code, reason) = sandbox.step("packages");
        assert_eq!(code, Some(1));
        let name = more.split(' ').nth(1).unwrap();
        assert_eq!(
            reason,
            format!("installing one would change or remove what is there: {name}")
        );
        assert_eq!(sandbox.read("claims"), "");
    }
}

#[test]
fn a_lent_machine_keeps_its_host_key_and_says_when_stage_1_has_ended() {
    let sandbox = Sandbox::new();
    lend(&sandbox);
    fs::write(sandbox.path("etc/host-key-is-own"), "ssh-ed25519 AAAAtheirs\n").unwrap();
    assert_eq!(ask(&sandbox, &["new-host-key"]), "ssh-ed25519 AAAAtheirs\n");
    assert_eq!(ask(&sandbox, &["use-host-key"]), "");
    // Its own cloud-init ended long ago, and says nothing of ours.
    fs::create_dir_all(sandbox.path("cloud")).unwrap();
    fs::write(sandbox.path("cloud/result.json"), "{}").unwrap();
    fs::create_dir_all(sandbox.path("state")).unwrap();
    fs::write(sandbox.path("state/stage1.status"), "1.000 begin users\n").unwrap();
    assert_eq!(ask(&sandbox, &["wait-stage1", "0", "0"]), "1.000 begin users\n");
    fs::write(sandbox.path("state/stage1.ended"), "").unwrap();
    let answer = ask(&sandbox, &["wait-stage1", "1", "0"]);
    assert!(
        answer.starts_with("cloud-init {") && answer.contains("\"status\":\"done\""),
        "{answer}"
    );
}

// --- the box's tool

fn ask(sandbox: &Sandbox, arguments: &[&str]) -> String {
    let output = sandbox.bash("twolane-box.sh", arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn started_check(sandbox: &Sandbox, output: &[u8], result: Option<&str>) {
    let dir = sandbox.path("state/checks/r1/test");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("begun"), "10.000").unwrap();
    fs::write(dir.join("boot_id"), "other-boot\n").unwrap();
    fs::write(dir.join("output"), output).unwrap();
    if let Some(result) = result {
        fs::write(
            dir.join("result"),
            format!("result={result}\ncode=exited\nstatus=0\nbegun=10.000\nended=12.500\n"),
        )
        .unwrap();
    }
    sandbox.fake("systemctl", "exit 3");
}

fn header(answer: &str) -> &str {
    answer.split_once(" boot=").unwrap().0
}

#[test]
fn ended_check_is_reported_with_its_output() {
    let sandbox = Sandbox::new();
    started_check(&sandbox, b"one\ntwo\n", Some("success"));
    let answer = ask(&sandbox, &["follow", "r1", "test", "4", "60"]);
    assert_eq!(
        header(&answer),
        "state=ended offset=4 bytes=4 size=8 result=success code=exited status=0 begun=10.000 ended=12.500"
    );
    assert!(answer.ends_with("\ntwo\n"), "{answer}");
    assert!(
        ask(&sandbox, &["list", "r1"])
            .starts_with("test state=ended offset=8 bytes=0 size=8 result=success ")
    );
}

#[test]
fn long_output_comes_in_pieces_and_ends_with_the_last() {
    let sandbox = Sandbox::new();
    started_check(&sandbox, &vec![b'x'; (1 << 20) + 3], Some("success"));
    let first = ask(&sandbox, &["follow", "r1", "test", "0", "60"]);
    assert!(
        first.starts_with("state=running offset=0 bytes=1048576 size=1048579 "),
        "{}",
        header(&first)
    );
    let last = ask(&sandbox, &["follow", "r1", "test", "1048576", "60"]);
    assert!(
        last.starts_with("state=ended offset=1048576 bytes=3 size=1048579 "),
        "{}",
        header(&last)
    );
}

#[test]
fn check_that_vanished_is_lost_and_never_ended() {
    let sandbox = Sandbox::new();
    started_check(&sandbox, b"", None);
    let answer = ask(&sandbox, &["follow", "r1", "test", "0", "60"]);
    assert!(
        answer.starts_with(
            "state=lost offset=0 bytes=0 size=0 result= code= status= begun=10.000 ended= boot=other-boot"
        ),
        "{answer}"
    );
}

#[test]
fn check_that_somebody_stopped_has_not_passed() {
    let sandbox = Sandbox::new();
    started_check(&sandbox, b"", None);
    let tool = |command: &str| {
        let mut command_line = Command::new("bash");
        command_line
            .arg(script("twolane-box.sh"))
            .args([command, "r1", "test"])
            .env("TWOLANE_STATE", sandbox.path("state"));
        command_line.envs([
            ("MAINPID", "1"),
            ("SERVICE_RESULT", "success"),
            ("EXIT_CODE", "exited"),
            ("EXIT_STATUS", "0"),
        ]);
        assert!(run(&mut command_line).status.success());
    };
    tool("mark-stopped");
    tool("record");
    assert!(ask(&sandbox, &["follow", "r1", "test", "0", "60"]).contains(" result=stopped "));
}

/// Plants files of checks, and notes what systemd is asked for.
fn plant(sandbox: &Sandbox, files: &[(&str, &str)]) {
    for (check, file) in files {
        let path = sandbox.path(&format!("state/checks/{check}"));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(file), "").unwrap();
    }
    sandbox.fake("systemctl", "echo \"$*\" >>\"$TWOLANE_STATE/calls\"");
}

#[test]
fn other_runs_running_checks_are_stopped() {
    let sandbox = Sandbox::new();
    plant(
        &sandbox,
        &[
            ("r1/mine", "begun"),
            ("r1-stage2/deploy", "begun"),
            ("r0/left", "begun"),
            ("r0-stage2/deploy", "begun"),
            ("r0/over", "begun"),
            ("r0/over", "result"),
        ],
    );
    ask(&sandbox, &["stop-others", "r1"]);
    assert_eq!(
        sandbox.read("state/calls"),
        "stop twolane-r0-stage2-deploy.service twolane-r0-left.service\n"
    );
    ask(&sandbox, &["stop-others", "r0"]);
    assert!(
        sandbox
            .read("state/calls")
            .ends_with("stop twolane-r1-stage2-deploy.service twolane-r1-mine.service\n")
    );
}

#[test]
fn of_a_run_whose_checks_are_named_the_others_are_stopped_and_forgotten() {
    let sandbox = Sandbox::new();
    plant(
        &sandbox,
        &[
            ("r1/own", "begun"),
            ("r1/own-2", "begun"),
            ("r1/taken-of-2", "begun"),
            ("r1/taken-of-3", "begun"),
            ("r1/taken-of-3", "result"),
            ("r1-stage2/deploy", "begun"),
        ],
    );
    ask(&sandbox, &["stop-others", "r1", "own", "own-2"]);
    assert_eq!(
        sandbox.read("state/calls"),
        "stop twolane-r1-taken-of-2.service\n"
    );
    let is_there = |check: &str| sandbox.path(&format!("state/checks/{check}")).exists();
    assert!(is_there("r1/own") && is_there("r1/own-2") && is_there("r1-stage2/deploy"));
    assert!(!is_there("r1/taken-of-2") && !is_there("r1/taken-of-3"));
}

#[test]
fn unit_that_is_not_there_is_answered_with_those_that_are() {
    let sandbox = Sandbox::new();
    let systemctl = "case $* in\nshow*\\ there.service) echo loaded ;;\nshow*) echo not-found ;;\n\
                     list-units*) printf '%s loaded active running x\\n' there.service b.service ;;\nesac";
    sandbox.fake("systemctl", systemctl);
    sandbox.fake(
        "journalctl",
        "case $* in *--unit=nosuch*) ;; *) echo \"$*\" ;; esac",
    );
    let output = sandbox.bash("twolane-box.sh", &["journal", "nosuch", "200"]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(
        error.ends_with("no such unit; there are: b.service there.service\n"),
        "{error}"
    );
    // A check's unit is gone when it has ended; what it wrote is not.
    for unit in ["there", "twolane-r1-test"] {
        let shown = ask(&sandbox, &["journal", unit, "200"]);
        assert!(
            shown.ends_with(&format!("--lines=200 --unit={unit}\n")),
            "{shown}"
        );
    }
}

#[test]
fn started_check_is_not_started_again() {
    let sandbox = Sandbox::new();
    started_check(&sandbox, b"", None);
    assert_eq!(
        ask(&sandbox, &["start", "r1", "test", "60", "5", "/"]),
        "already\n"
    );
}

#[test]
fn files_that_did_not_come_whole_are_no_script() {
    let script = bundle(&[trace_file()]);
    let reads = |script: &str| run(Command::new("bash").args(["-nc", script])).status.success();
    assert!(reads(&script));
    let newlines = script.match_indices('\n').map(|(at, _)| at);
    for at in newlines.filter(|at| at + 1 < script.len()) {
        assert!(!reads(&script[..at]), "{}", &script[..at]);
    }
}

#[test]
fn command_that_did_not_come_whole_is_not_run() {
    let sandbox = Sandbox::new();
    // Nothing comes on standard input, as from a client that was killed.
    let output = sandbox.bash("twolane-box.sh", &["start", "r1", "test", "60", "5", "/"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("did not come whole"));
    assert!(!sandbox.path("state/checks/r1/test/begun").exists());
}

/// Starts a check whose unit begins at once, here; returns what it printed and how it was asked for.
fn begun_check(sandbox: &Sandbox, command: &str, environment: &str) -> (String, String) {
    let record = sandbox.path("asked");
    sandbox.fake(
        "systemd-run",
        &format!(
            "(echo \"$@\"; stat -c mode=%a {1}) >{0}; while [ \"$1\" != -l ]; do shift; done; shift; exec bash \"$@\" >{0}.out 2>&1",
            record.display(),
            sandbox.path("state/checks/r1/test/environment").display()
        ),
    );
    let sum = format!("{}+{}", command.len(), environment.len());
    let mut tool = Command::new("bash");
    tool.arg("-c")
        .arg("printf %s \"$2\" | bash \"$1\" start r1 test 60 \"$3\" /")
        .args(["-", script("twolane-box.sh").to_str().unwrap()])
        .arg(format!("{command}{environment}"))
        .arg(sum)
        .env("TWOLANE_ETC", sandbox.path("etc"))
        .env("TWOLANE_STATE", sandbox.path("state"))
        .env(
            "PATH",
            format!(
                "{}:{}",
                sandbox.path("fakes").display(),
                std::env::var("PATH").unwrap()
            ),
        );
    let output = run(&mut tool);
    assert!(output.status.success(), "{}", text(&output.stderr));
    (sandbox.read("asked.out"), sandbox.read("asked"))
}

#[test]
fn environment_of_a_check_is_in_no_argument_list_and_goes_with_it() {
    let sandbox = Sandbox::new();
    sandbox.configure(&[]);
    let (printed, asked) = begun_check(&sandbox, "echo \"<$TOKEN>\"\n", "export TOKEN='s3cret $(x)'\n");
    assert_eq!(printed, "<s3cret $(x)>\n");
    assert!(asked.contains("mode=600") && !asked.contains("s3cret"), "{asked}");
    assert_eq!(
        sandbox.read("state/checks/r1/test/command"),
        "echo \"<$TOKEN>\"\n"
    );
    let environment = sandbox.path("state/checks/r1/test/environment");
    let mut record = Command::new("bash");
    record
        .arg(script("twolane-box.sh"))
        .args(["record", "r1", "test"])
        .env("TWOLANE_STATE", sandbox.path("state"));
    assert!(run(&mut record).status.success());
    assert!(!environment.exists());
}

#[test]
fn names_that_are_no_names_are_refused() {
    let sandbox = Sandbox::new();
    for arguments in [
        &["follow", "../x", "test", "0", "1"][..],
        &["follow", "r1", "a b", "0", "1"],
        &["follow", "r1", "-x", "0", "1"],
        &["follow", "r1", "test", "x", "1"],
        &["start", "r1", "test", "1", "5"],
        &["start", "r1", "test", "1m", "5", "/"],
        &["start", "r1", "test", "1", "five", "/"],
        &["start", "r1", "test", "1", "5+x", "/"],
        &["link-toolchain", "../../etc"],
        &["journal", "--help", "1"],
        &["set-deadline", "soon"],
        &["dance"],
        &[],
    ] {
        let output = sandbox.bash("twolane-box.sh", arguments);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn stage1_is_reported_from_where_the_asker_was() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("cloud")).unwrap();
    fs::write(sandbox.path("cloud/result.json"), "{}").unwrap();
    sandbox.fake("cloud-init", r#"printf '{\n "status": "done"\n}\n'; exit 2"#);
    fs::write(
        sandbox.path("state/stage1.status"),
        "1.000 begin users\n2.000 end users ok\n3.000 done\n",
    )
    .unwrap();
    let answer = ask(&sandbox, &["wait-stage1", "1", "60"]);
    let lines: Vec<_> = answer.lines().collect();
    assert_eq!(lines[..2], ["2.000 end users ok", "3.000 done"]);
    assert!(
        lines[2].starts_with("cloud-init {\"boot_id\":\"")
            && lines[2].ends_with(",\"exit\":2,\"status\":{ \"status\": \"done\"}}"),
        "{answer}"
    );
}

#[test]
fn stage1_that_says_nothing_new_is_waited_for_in_vain() {
    let sandbox = Sandbox::new();
    sandbox.fake("cloud-init", "exit 0");
    fs::write(sandbox.path("state/stage1.status"), "1.000 begin users\n").unwrap();
    assert_eq!(ask(&sandbox, &["wait-stage1", "1", "0"]), "");
    assert_eq!(ask(&sandbox, &["wait-stage1", "0", "60"]), "1.000 begin users\n");
}
