//! A project whose boxes are stand-ins for QEMU that never let anybody in.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Makes a directory that holds the project, a home, and the stand-ins.
pub(crate) fn place() -> TempDir {
    let temp = tempfile::Builder::new().prefix("tl").tempdir_in("/tmp").unwrap();
    let dir = temp.path();
    for name in ["work", "home", "bin"] {
        fs::create_dir(dir.join(name)).unwrap();
    }
    let fakes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../providers/tests");
    for (fake, name) in [
        ("fake_qemu.py", "qemu-system-x86_64"),
        ("fake_qemu_img.sh", "qemu-img"),
    ] {
        let path = dir.join("bin").join(name);
        fs::copy(fakes.join(fake), &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let disk = dir.join("disk.img");
    fs::write(&disk, "a disk").unwrap();
    let config = format!(
        "[project]\nname = \"demo\"\n[local]\nimage = \"file://{}:sha256:{}\"\nacceleration = \"tcg\"\n\
         [lanes.fast]\nboxes = [{{ provider = \"local\", type = \"1x1g\" }}]\n\
         checks = [{{ name = \"a\", run = \"true\" }}]\n",
        disk.display(),
        hex::encode(Sha256::digest("a disk"))
    );
    fs::write(dir.join("work/twolane.toml"), config).unwrap();
    temp
}

/// Makes a command in the project that finds the stand-ins first.
pub(crate) fn command(dir: &Path, program: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = [dir.join("bin")].into_iter().chain(std::env::split_paths(&path));
    let mut command = Command::new(program);
    command
        .current_dir(dir.join("work"))
        .env_clear()
        .env("PATH", std::env::join_paths(dirs).unwrap())
        .env("HOME", dir.join("home"))
        .env("TWOLANE_STATE_DIR", dir.join("state"))
        .stdin(Stdio::null());
    command
}
