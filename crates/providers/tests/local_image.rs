//! Downloads of cloud images from a server on loopback that lies, cuts off and counts.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use camino::Utf8Path;
use model::{
    candidate::Candidate,
    error::ProviderError,
    lane::KvmNeed,
    name::{Label, ProviderName, RunId, Token},
    order::{Order, Preinstall},
    tags::{Owner, Tags},
    time::Deadline,
    world::Provider,
};
use providers::{
    contract::Reports,
    local::{Acceleration, Image, Local, LocalSettings, Programs},
};
use sha2::{Digest, Sha256};

const CONTENT: &[u8] = &[7; 300_000];

/// How a server treats its clients.
#[derive(Clone, Copy)]
struct Manners {
    /// It closes the connection in the middle of this many answers.
    cuts: usize,
    /// It sends the rest of a file when asked for it.
    has_ranges: bool,
}

/// A server for one file. Returns its address and the ranges that it was asked for.
fn serve(manners: Manners) -> (String, Arc<Mutex<Vec<usize>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/disk.img", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let record = asked.clone();
    thread::spawn(move || {
        let mut cuts = manners.cuts;
        for stream in listener.incoming().flatten() {
            let start = range_of(&stream);
            record.lock().unwrap().push(start);
            let is_cut = cuts > 0;
            cuts = cuts.saturating_sub(1);
            let _ = answer(stream, start, manners.has_ranges, is_cut);
        }
    });
    (url, asked)
}

fn range_of(stream: &TcpStream) -> usize {
    let lines = BufReader::new(stream).lines().map_while(Result::ok);
    lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.to_lowercase()
                .strip_prefix("range: bytes=")?
                .strip_suffix('-')?
                .parse()
                .ok()
        })
        .last()
        .unwrap_or(0)
}

fn answer(mut stream: TcpStream, start: usize, has_ranges: bool, is_cut: bool) -> std::io::Result<()> {
    let (status, body) = match (start, has_ranges) {
        (0, _) | (_, false) => ("200 OK".to_owned(), CONTENT),
        _ => {
            let whole = CONTENT.len();
            let range = format!(
                "206 Partial Content\r\nContent-Range: bytes {start}-{}/{whole}",
                whole - 1
            );
            (range, &CONTENT[start..])
        }
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    stream.write_all(if is_cut { &body[..body.len() / 2] } else { body })
}

/// Orders a box with that image. QEMU never starts: `true` ends at once.
async fn up(root: &Utf8Path, url: &str, sha256: &str) -> ProviderError {
    let settings = LocalSettings {
        image: Image::Cloud {
            url: url.to_owned(),
            sha256: sha256.to_owned(),
        },
        acceleration: Acceleration::Tcg,
        programs: Programs {
            qemu: "/bin/true".to_owned(),
            qemu_img: "/bin/true".to_owned(),
            ..Programs::default()
        },
        ..LocalSettings::default()
    };
    let label = Label::new("b1").unwrap();
    let order = Order {
        candidate: Candidate {
            provider: ProviderName::new("local").unwrap(),
            region: "local".to_owned(),
            instance_type: "1x1g".to_owned(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        },
        tags: Tags {
            label,
            run: RunId::new("r1").unwrap(),
            token: Token::new("t-1").unwrap(),
            deadline: Deadline::at_unix(4_000_000_000),
            owner: Owner::default(),
        },
        need: KvmNeed::None,
        user_data: "#cloud-config\n".to_owned(),
        login_key: String::new(),
        allow: Vec::new(),
        parts: None,
        preinstall: Preinstall::default(),
    };
    let local = Local::new(root.join("state"), root.join("cache"), settings);
    local.up(&order, &Reports::default()).await.unwrap_err()
}

fn images(root: &Utf8Path) -> Vec<Vec<u8>> {
    let directory = root.join("cache/images");
    let entries = directory
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().into_path());
    entries.map(|path| fs::read(path.join("disk")).unwrap()).collect()
}

#[track_caller]
fn got_as_far_as_qemu(ending: &ProviderError) {
    assert!(ending.cause.contains("QEMU ended at once"), "{ending}");
}

fn right() -> String {
    hex::encode(Sha256::digest(CONTENT))
}

#[tokio::test]
async fn an_image_is_downloaded_once() {
    let root = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(root.path()).unwrap();
    let (url, asked) = serve(Manners {
        cuts: 0,
        has_ranges: true,
    });
    for _ in 0..2 {
        got_as_far_as_qemu(&up(root, &url, &right().to_uppercase()).await);
    }
    assert_eq!(*asked.lock().unwrap(), [0]);
    assert_eq!(images(root), [CONTENT]);
}

#[tokio::test]
async fn a_wrong_checksum_is_never_used() {
    let root = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(root.path()).unwrap();
    let (url, _) = serve(Manners {
        cuts: 0,
        has_ranges: true,
    });
    let refusal = up(root, &url, &"0".repeat(64)).await;
    assert!(
        refusal.cause.contains("wrong checksum") && refusal.cause.contains(&right()),
        "{refusal}"
    );
    assert_eq!(images(root), Vec::<Vec<u8>>::new());
}

#[tokio::test]
async fn a_cut_download_is_taken_up_where_it_was_cut() {
    let root = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(root.path()).unwrap();
    let (url, asked) = serve(Manners {
        cuts: 1,
        has_ranges: true,
    });
    got_as_far_as_qemu(&up(root, &url, &right()).await);
    assert_eq!(*asked.lock().unwrap(), [0, CONTENT.len() / 2]);
    assert_eq!(images(root), [CONTENT]);
}

#[tokio::test]
async fn a_cut_download_is_repeated_where_the_server_cannot_send_the_rest() {
    let root = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(root.path()).unwrap();
    let (url, _) = serve(Manners {
        cuts: 1,
        has_ranges: false,
    });
    got_as_far_as_qemu(&up(root, &url, &right()).await);
    assert_eq!(images(root), [CONTENT]);
}

#[tokio::test]
async fn a_download_that_is_always_cut_is_given_up_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let root = Utf8Path::from_path(root.path()).unwrap();
    let (url, _) = serve(Manners {
        cuts: 99,
        has_ranges: false,
    });
    let refusal = up(root, &url, &right()).await;
    assert!(refusal.cause.contains("could not download"), "{refusal}");
    assert_eq!(images(root), Vec::<Vec<u8>>::new());
}
