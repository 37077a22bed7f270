//! One process: what is written comes back, and each thing that can be wrong with a journal is said with its help.

use std::{fs, os::unix::fs::PermissionsExt};

use model::{
    candidate::Candidate,
    journal::Holdings,
    name::{Label, ProviderName, Token},
    tags::{Owner, Tags},
    time::{Deadline, Timestamp},
    verdict::Verdict,
    world::Journal as _,
};
use rusqlite::Connection;

use super::*;

struct FixedClock;

#[async_trait]
impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        "2026-01-02T03:04:05.678Z".parse().unwrap()
    }

    async fn sleep(&self, _: Duration) {}

    fn random(&self) -> u64 {
        4
    }
}

struct Folder {
    _keep: tempfile::TempDir,
    dir: Utf8PathBuf,
}

impl Folder {
    fn new() -> Self {
        let keep = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(keep.path()).unwrap().join("state");
        Self { _keep: keep, dir }
    }

    /// A folder whose journal holds one entry.
    async fn used() -> Self {
        let folder = Self::new();
        folder.open().unwrap().append(&run("r1"), began()).await.unwrap();
        folder
    }

    fn open(&self) -> Result<Journal, JournalError> {
        open(&self.dir)
    }

    fn file(&self) -> Utf8PathBuf {
        self.dir.join("journal.db")
    }

    /// Opens the file as any program can.
    fn raw(&self) -> Connection {
        Connection::open(self.file()).unwrap()
    }
}

/// Gives up at once when the journal is locked.
fn open(dir: &Utf8Path) -> Result<Journal, JournalError> {
    Journal::open_within(dir, Arc::new(FixedClock), Duration::ZERO)
}

fn run(id: &str) -> RunId {
    RunId::new(id).unwrap()
}

fn began() -> Fact {
    Fact::RunBegan {
        project: "mvm".into(),
    }
}

fn intent(label: &str, run_id: &str) -> Fact {
    let label = Label::new(label).unwrap();
    Fact::Intent {
        candidate: Candidate {
            provider: ProviderName::new("local").unwrap(),
            region: "here".into(),
            instance_type: "2x4g".into(),
            image: None,
            disk_gb: None,
            options: Box::default(),
        },
        tags: Tags {
            token: Token::generate(&label, 1),
            label,
            run: run(run_id),
            deadline: Deadline::at_unix(1_800_000_000),
            owner: Owner::default(),
        },
    }
}

/// Checks that a failure names the operation and the cause, and that its help holds these words.
#[track_caller]
fn check<T>(result: Result<T, JournalError>, expected: &str, because: &str, wanted: &str) {
    match result.map(|_| ()).unwrap_err() {
        JournalError::Broken {
            operation,
            cause,
            help,
            ..
        } => {
            assert_eq!(operation, expected);
            assert!(cause.contains(because), "{cause}");
            assert!(help.contains(wanted), "{help}");
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn entries_come_back_as_written_after_reopening() {
    let folder = Folder::new();
    let facts = [
        began(),
        intent("aa", "r1"),
        Fact::Kept {
            label: Label::new("aa").unwrap(),
        },
        Fact::RunEnded {
            verdict: Verdict::Left,
        },
    ];
    let journal = folder.open().unwrap();
    for fact in &facts {
        journal.append(&run("r1"), fact.clone()).await.unwrap();
    }
    drop(journal);
    let entries = folder.open().unwrap().entries().await.unwrap();
    let expected: Vec<Entry> = facts
        .into_iter()
        .map(|fact| Entry {
            at: FixedClock.now(),
            run: run("r1"),
            fact,
        })
        .collect();
    assert_eq!(entries, expected);
}

#[tokio::test]
async fn a_label_is_free_again_when_its_box_is_gone() {
    let folder = Folder::new();
    let (one, two) = (folder.open().unwrap(), folder.open().unwrap());
    let label = Label::new("aa").unwrap();
    one.append(&run("r1"), intent("aa", "r1")).await.unwrap();
    one.append(&run("r1"), intent("aa", "r1")).await.unwrap();
    assert_eq!(
        two.append(&run("r2"), intent("aa", "r2")).await,
        Err(JournalError::Taken(label.clone()))
    );
    two.append(&run("r2"), intent("bb", "r2")).await.unwrap();
    one.append(
        &run("r1"),
        Fact::Gone {
            label,
            resources: vec![],
            is_final: true,
            attempts: vec![],
        },
    )
    .await
    .unwrap();
    two.append(&run("r2"), intent("aa", "r2")).await.unwrap();
    assert_eq!(one.entries().await.unwrap().len(), 5);
}

#[tokio::test]
async fn nobody_else_can_look_into_it() {
    let folder = Folder::used().await;
    let mode = |path: Utf8PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let journal = folder.open().unwrap();
    assert!(journal.hold(&run("r1")).await.unwrap());
    assert_eq!(mode(folder.dir.clone()), 0o700);
    assert_eq!(mode(folder.file()), 0o600);
    assert_eq!(mode(folder.dir.join("runs-locks")), 0o700);
    assert_eq!(mode(folder.dir.join("runs-locks/r1.lock")), 0o600);
    drop(journal);
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let journal = folder.open().unwrap();
    journal.append(&run("r1"), began()).await.unwrap();
    assert_eq!(mode(folder.file()), 0o600);
    assert_eq!(mode(folder.dir.join("journal.db-wal")), 0o600);
}

#[tokio::test]
async fn each_write_is_synced_to_the_disk() {
    let folder = Folder::used().await;
    let journal = folder.open().unwrap();
    let pragma = |name: &str| -> String {
        let database = journal.shared.database.lock();
        let query = format!("SELECT CAST({name} AS TEXT) FROM pragma_{name}");
        database
            .connection
            .query_row(&query, [], |row| row.get(0))
            .unwrap()
    };
    assert_eq!(pragma("synchronous"), "2");
    assert_eq!(pragma("journal_mode"), "wal");
}

#[test]
fn network_file_systems_are_reported() {
    assert!(database::is_network_type(0x6969));
    assert!(!database::is_network_type(0xef53)); // ext4
    assert!(!database::is_network_type(0x0102_1994)); // tmpfs
    assert!(!database::is_network_type(0x794c_7630)); // overlayfs
}

#[tokio::test]
async fn a_run_is_held_by_one_at_a_time() {
    let folder = Folder::new();
    let (one, two) = (folder.open().unwrap(), folder.open().unwrap());
    assert!(!two.is_held(&run("r1")).await.unwrap());
    assert!(one.hold(&run("r1")).await.unwrap());
    assert!(one.hold(&run("r1")).await.unwrap());
    assert!(!two.hold(&run("r1")).await.unwrap());
    assert!(one.is_held(&run("r1")).await.unwrap());
    assert!(two.is_held(&run("r1")).await.unwrap());
    assert!(!two.is_held(&run("r2")).await.unwrap());
    drop(one);
    assert!(!two.is_held(&run("r1")).await.unwrap());
    assert!(two.hold(&run("r1")).await.unwrap());
}

#[tokio::test]
async fn locks_of_dead_runs_are_swept() {
    let folder = Folder::new();
    let (one, two) = (folder.open().unwrap(), folder.open().unwrap());
    let locks = folder.dir.join("runs-locks");
    assert!(one.hold(&run("r1")).await.unwrap());
    fs::write(locks.join("r0.lock"), "").unwrap();
    assert!(two.hold(&run("r2")).await.unwrap());
    assert!(!locks.join("r0.lock").exists());
    assert!(locks.join("r1.lock").exists());
    assert!(one.is_held(&run("r1")).await.unwrap());
}

#[tokio::test]
async fn twenty_thousand_entries_fold() {
    let folder = Folder::new();
    let journal = folder.open().unwrap();
    {
        let mut database = journal.shared.database.lock();
        let transaction = database.connection.transaction().unwrap();
        for n in 0..10_000 {
            let run_id = format!("r{n}");
            let label = Label::new(format!("box-{n}")).unwrap();
            let gone = Fact::Gone {
                label,
                resources: vec![],
                is_final: true,
                attempts: vec![],
            };
            let second = if n % 100 == 0 { began() } else { gone };
            for fact in [intent(&format!("box-{n}"), &run_id), second] {
                let entry = Entry {
                    at: FixedClock.now(),
                    run: run(&run_id),
                    fact,
                };
                database::insert(&transaction, &entry).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
    let entries = journal.entries().await.unwrap();
    assert_eq!(entries.len(), 20_000);
    assert_eq!(Holdings::fold(&entries).boxes.len(), 100);
    journal.append(&run("rx"), intent("box-1", "rx")).await.unwrap();
    assert!(matches!(
        journal.append(&run("rx"), intent("box-200", "rx")).await,
        Err(JournalError::Taken(_))
    ));
}

#[test]
fn a_file_that_is_no_database_stops_it() {
    let folder = Folder::new();
    fs::create_dir(&folder.dir).unwrap();
    fs::write(folder.file(), "milk, eggs, bread\n".repeat(500)).unwrap();
    check(folder.open(), "open", "not a database", "journal.db.damaged");
}

#[test]
fn the_database_of_another_program_is_left_alone() {
    let folder = Folder::new();
    fs::create_dir(&folder.dir).unwrap();
    folder
        .raw()
        .execute_batch("CREATE TABLE songs (name TEXT)")
        .unwrap();
    check(folder.open(), "open", "another program", "mv ");
}

#[tokio::test]
async fn a_truncated_file_stops_it() {
    let folder = Folder::used().await;
    let length = fs::metadata(folder.file()).unwrap().len();
    for cut in [length / 2, 100, 0] {
        let file = fs::OpenOptions::new().write(true).open(folder.file()).unwrap();
        file.set_len(cut).unwrap();
        let read = match folder.open() {
            Ok(journal) => journal.entries().await.map(|_| ()),
            Err(error) => Err(error),
        };
        let JournalError::Broken { help, .. } = read.unwrap_err() else {
            panic!("cut at {cut}")
        };
        assert!(help.contains("journal.db.damaged"), "{help}");
    }
}

#[tokio::test]
async fn a_lost_file_with_its_log_still_there_stops_it() {
    let folder = Folder::used().await;
    fs::remove_file(folder.file()).unwrap();
    fs::write(folder.dir.join("journal.db-wal"), "x").unwrap();
    check(folder.open(), "open", "it is missing", "reap");
}

#[tokio::test]
async fn an_entry_that_is_not_understood_stops_it() {
    for (version, body, because) in [
        (1, "{\"fact\":\"kep", "entry 2 is not understood"),
        (1, "{\"fact\":\"teleported\",\"label\":\"aa\"}", "teleported"),
        (2, "{\"fact\":\"kept\",\"label\":\"aa\"}", "form 2"),
    ] {
        let folder = Folder::used().await;
        let insert = "INSERT INTO entries (at, run, label, kind, version, body) VALUES (?1, 'r1', 'aa', 'kept', ?2, ?3)";
        folder
            .raw()
            .execute(insert, (FixedClock.now().to_string(), version, body))
            .unwrap();
        let journal = folder.open().unwrap();
        check(journal.entries().await, "read", because, "damaged");
        check(
            journal.append(&run("r2"), intent("aa", "r2")).await,
            "write",
            because,
            "damaged",
        );
        assert_eq!(
            folder
                .raw()
                .query_row("SELECT count(*) FROM entries", [], |row| row.get(0)),
            Ok(2)
        );
    }
}

#[tokio::test]
async fn a_journal_of_a_newer_version_stops_it() {
    let folder = Folder::used().await;
    folder
        .raw()
        .execute_batch("PRAGMA user_version = 7; INSERT INTO writers VALUES (7, '9.8.7')")
        .unwrap();
    check(
        folder.open(),
        "open",
        "written by twolane 9.8.7",
        "use twolane 9.8.7 or newer",
    );
    check(folder.open(), "open", "9.8.7", "--state-dir");
    folder.raw().execute_batch("DROP TABLE writers").unwrap();
    check(folder.open(), "open", "a later twolane", "--state-dir");
}

#[tokio::test]
async fn a_journal_that_stays_locked_stops_it() {
    let folder = Folder::used().await;
    let journal = folder.open().unwrap();
    let other = folder.raw();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    check(
        journal.append(&run("r1"), began()).await,
        "write",
        "locked",
        "wait for the other",
    );
    assert_eq!(journal.entries().await.unwrap().len(), 1);
    other.execute_batch("COMMIT").unwrap();
    journal.append(&run("r1"), began()).await.unwrap();
}

#[tokio::test]
async fn a_gate_that_stays_shut_stops_it() {
    let folder = Folder::used().await;
    let journal = folder.open().unwrap();
    let gate = lock::private_file(&folder.dir.join("lock")).unwrap();
    gate.lock().unwrap();
    check(
        journal.hold(&run("r1")).await,
        "lock",
        "kept it locked",
        "wait for the other",
    );
    check(
        journal.is_held(&run("r1")).await,
        "lock",
        "kept it locked",
        "wait for the other",
    );
    fs::remove_file(folder.file()).unwrap();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(format!("{}{suffix}", folder.file())).unwrap();
    }
    check(folder.open(), "open", "kept it locked", "wait for the other");
}

#[tokio::test]
async fn a_read_only_journal_stops_it() {
    let folder = Folder::used().await;
    let journal = folder.open().unwrap();
    let read_only =
        Connection::open_with_flags(folder.file(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    journal.shared.database.lock().connection = read_only;
    check(
        journal.append(&run("r1"), began()).await,
        "write",
        "readonly",
        "you can write to",
    );
}

#[test]
fn a_directory_that_cannot_be_made_stops_it() {
    let folder = Folder::new();
    fs::write(&folder.dir, "").unwrap();
    check(folder.open(), "open", "not a directory", "--state-dir");
    check(
        open(&folder.dir.join("deeper")),
        "open",
        "ot a directory",
        "--state-dir",
    );
    // Not even root makes a file there.
    #[cfg(target_os = "linux")]
    {
        check(
            open("/proc/twolane".into()),
            "open",
            "No such file",
            "you can write to",
        );
        check(
            open("/proc/self".into()),
            "open",
            "No such file",
            "you can write to",
        );
    }
}

#[test]
fn a_directory_in_the_place_of_the_file_stops_it() {
    let folder = Folder::new();
    fs::create_dir_all(folder.file()).unwrap();
    check(folder.open(), "open", "directory", "--state-dir");
}

#[tokio::test]
async fn a_full_disk_stops_it_and_what_was_written_stays() {
    let folder = Folder::used().await;
    let journal = folder.open().unwrap();
    let limit = |pages: i64| {
        let database = journal.shared.database.lock();
        database
            .connection
            .pragma_update(None, "max_page_count", pages)
            .unwrap();
    };
    limit(1); // becomes the number of pages that there are
    let mut written = 1;
    let refused = loop {
        match journal.append(&run("r1"), intent("aa", "r1")).await {
            Ok(()) => written += 1,
            refused => break refused,
        }
        assert!(written < 10_000, "the limit does not hold");
    };
    check(refused, "write", "full", "free some space");
    assert_eq!(journal.entries().await.unwrap().len(), written);
    limit(10_000);
    journal.append(&run("r1"), began()).await.unwrap();
    drop(journal);
    assert_eq!(folder.open().unwrap().entries().await.unwrap().len(), written + 1);
}

#[test]
fn a_draft_of_a_killed_process_does_not_stay() {
    let folder = Folder::new();
    fs::create_dir(&folder.dir).unwrap();
    for name in ["journal.db.new", "journal.db.new-wal"] {
        fs::write(folder.dir.join(name), "half").unwrap();
    }
    folder.open().unwrap();
    let mut names: Vec<_> = folder
        .dir
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["journal.db", "lock"]);
}

/// A file that anything may have happened to is read, or is an error; and it is one again, or whole, the second time.
#[tokio::test]
async fn damaged_file_is_an_error_or_a_journal() {
    let folder = Folder::used().await;
    for number in 0..40 {
        let label = format!("b{number}");
        folder
            .open()
            .unwrap()
            .append(&run("r1"), intent(&label, "r1"))
            .await
            .unwrap();
    }
    let good = fs::read(folder.file()).unwrap();
    assert!(good.len() > 4096, "{} bytes", good.len());
    for seed in fuzz::seeds(100) {
        let damaged = fuzz::input(&[&good], &mut fuzz::Rng::with_seed(seed));
        for beside in ["journal.db-wal", "journal.db-shm"] {
            let _ = fs::remove_file(folder.dir.join(beside));
        }
        fs::write(folder.file(), damaged).unwrap();
        for _ in 0..2 {
            if let Ok(journal) = folder.open() {
                let _ = journal.holdings().await;
                let _ = journal.append(&run("r2"), began()).await;
            }
        }
    }
}
