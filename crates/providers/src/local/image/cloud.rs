//! Downloads a distribution's own cloud image. Nothing is used before its checksum is right.

use std::{fs, io, process::Stdio, time::Duration};

use camino::Utf8Path;
use model::{text::last_lines, world::Progress};
use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};

use super::{
    Base,
    cache::{self, Found},
};
use crate::child;
use crate::local::{error::LocalError, programs};

/// How often a download that was cut off is resumed.
const ATTEMPTS_MAX: u32 = 5;

/// What curl says when the server cannot send the rest of a file.
const CURL_NO_RANGE: i32 = 33;

/// What curl says when the download was cut off or stood still.
const CURL_CUT: &[i32] = &[18, 28, 52, 55, 56];

/// Returns the key of the image with that checksum.
pub(crate) fn key(sha256: &str) -> String {
    cache::key("cloud", &[&sha256.to_ascii_lowercase()])
}

/// Returns the image; downloads it when it is not there.
pub(crate) async fn ensure(
    cache_dir: &Utf8Path,
    url: &str,
    sha256: &str,
    progress: &dyn Progress,
) -> Result<Base, LocalError> {
    let directory = match cache::find(cache_dir, &key(sha256), progress).await? {
        Found::There(directory) => directory,
        Found::ToBeMade(making) => {
            let file = making.part.join("disk");
            download(url, &file, progress).await?;
            check(&file, sha256, url).await?;
            making.finish()?
        }
    };
    let disk = directory.join("disk");
    let format = format_of(&disk).map_err(|e| LocalError::system(format!("read {disk}"), e))?;
    Ok(Base::Cloud {
        disk,
        format,
        image: directory,
    })
}

/// A qcow2 file says so in its first bytes; everything else is taken as it is.
fn format_of(disk: &Utf8Path) -> io::Result<&'static str> {
    use io::Read;
    let mut start = Vec::new();
    fs::File::open(disk)?.take(4).read_to_end(&mut start)?;
    Ok(if start == b"QFI\xfb" { "qcow2" } else { "raw" })
}

async fn download(url: &str, file: &Utf8Path, progress: &dyn Progress) -> Result<(), LocalError> {
    programs::need("curl", "curl")?;
    let mut last = String::new();
    for _ in 0..ATTEMPTS_MAX {
        progress.report(&format!("downloading {url}"), Some((size_of(file), 0)));
        let (code, said) = curl(url, file, progress).await?;
        match code {
            Some(0) => return Ok(()),
            Some(CURL_NO_RANGE) => {
                let _ = fs::remove_file(file);
            }
            Some(code) if CURL_CUT.contains(&code) => {}
            _ => {
                last = said;
                break;
            }
        }
        last = said;
    }
    Err(
        LocalError::invalid(format!("could not download {url}: {last}")).with_help(
            "check the address of the image and the network, or use the image `debian`, which is made here",
        ),
    )
}

async fn curl(
    url: &str,
    file: &Utf8Path,
    progress: &dyn Progress,
) -> Result<(Option<i32>, String), LocalError> {
    let mut command = Command::new("curl");
    child::fetching(command.as_std_mut());
    let child = command
        .args([
            "--fail",
            "--silent",
            "--show-error",
            "--location",
            "--proto",
            "=https,http,file",
            "--connect-timeout",
            "20",
        ])
        .args([
            "--speed-limit",
            "1000",
            "--speed-time",
            "30",
            "--continue-at",
            "-",
            "--output",
        ])
        .arg(file)
        .args(["--", url])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| LocalError::system("run curl", e))?;
    let output = watch(child, url, file, progress)
        .await
        .map_err(|e| LocalError::system("run curl", e))?;
    Ok((
        output.status.code(),
        last_lines(&String::from_utf8_lossy(&output.stderr), 2).join("\n"),
    ))
}

async fn watch(
    child: Child,
    url: &str,
    file: &Utf8Path,
    progress: &dyn Progress,
) -> io::Result<std::process::Output> {
    let done = child.wait_with_output();
    tokio::pin!(done);
    loop {
        match tokio::time::timeout(Duration::from_secs(1), &mut done).await {
            Ok(output) => return output,
            Err(_) => progress.report(&format!("downloading {url}"), Some((size_of(file), 0))),
        }
    }
}

fn size_of(file: &Utf8Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

async fn check(file: &Utf8Path, wanted: &str, url: &str) -> Result<(), LocalError> {
    let path = file.to_owned();
    let hashed = tokio::task::spawn_blocking(move || sha256_of(&path)).await;
    let got = hashed
        .map_err(io::Error::other)
        .and_then(|hash| hash)
        .map_err(|e| LocalError::system(format!("read {file}"), e))?;
    if got.eq_ignore_ascii_case(wanted) {
        return Ok(());
    }
    Err(
        LocalError::invalid(format!("{url} has the wrong checksum: sha256 {got}, not {wanted}"))
            .with_help("the image behind the address has changed, or somebody has changed it: pin another, or help the checksum"),
    )
}

fn sha256_of(file: &Utf8Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut file = fs::File::open(file)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex::encode(hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}
