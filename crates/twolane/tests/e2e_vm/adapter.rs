//! The worked example of a shell adapter, end to end: `samples/adapters/qemu.sh` provisions the box of a whole run.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
};

use crate::support::{Bench, is, wait_until};

/// Where a kept base image has its parts. Debian's, as `local` makes it, does not boot by itself.
fn image() -> PathBuf {
    let images = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache/twolane/images");
    let find = || {
        let entries = fs::read_dir(&images).into_iter().flatten().flatten();
        // Another test may be making one, in a directory that ends in `.part`.
        entries
            .map(|entry| entry.path())
            .find(|path| path.extension().is_none() && path.join("rootfs.ext4").exists())
    };
    find().unwrap_or_else(|| {
        // A run on `local` makes one; it may end as it likes.
        let bench =
            Bench::new("[lanes.only]\nboxes = [\"local\"]\nchecks = [{ name = \"a\", run = \"true\" }]\n");
        let (_, text) = bench.output(&["run"]);
        find().unwrap_or_else(|| panic!("there is no base image:\n{text}"))
    })
}

#[test]
fn a_run_on_the_example_adapter_passes_and_leaves_nothing() {
    if let Err(error) = TcpListener::bind("127.0.54.254:22") {
        // Said by the test itself, since nothing is left to test then.
        let text = format!(
            "SKIPPED: the example adapter needs port 22 of 127.0.54.1, and this user may not have it: {error}\n"
        );
        let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        return;
    }
    let lanes = r#"
[lanes.only]
boxes = ["qemu"]
ttl = "30m"
checks = [{ name = "hello", run = "cat hello.txt && id -un" }]
"#;
    let bench = Bench::with_system("", lanes);
    let image = image();
    let boxes = bench.state().with_file_name("qemu");
    let variables = [
        ("QEMU_IMAGE", image.join("rootfs.ext4")),
        ("QEMU_FORMAT", "raw".into()),
        ("QEMU_KERNEL", image.join("vmlinuz")),
        ("QEMU_INITRD", image.join("initrd.img")),
        (
            "QEMU_APPEND",
            "root=/dev/vda rw console=ttyS0 random.trust_cpu=on audit=0".into(),
        ),
        // A host's nested KVM may run simple guests and no real kernel.
        ("QEMU_ACCEL", "tcg,thread=single".into()),
        ("QEMU_BOXES", boxes.clone()),
        // The address that the outside sees is nothing to a loopback.
        ("TWOLANE_ALLOW_CIDR", "127.0.0.1/32".into()),
    ];
    let providers = bench.project().join("providers");
    fs::create_dir(&providers).unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/adapters/qemu.sh");
    fs::copy(example, providers.join("qemu.sh")).unwrap();

    let (status, events) = bench.start_with(&["run"], &variables).finish();
    let reported = |kind: &str| events.iter().find(|event| is(event, kind));
    assert_eq!(
        status.code(),
        Some(0),
        "{events:#?}\n{}",
        bench.output(&["report"]).1
    );
    let machine = &reported("machine-up").expect("a box")["machine"];
    assert_eq!(machine["provider"], "qemu");
    assert!(
        machine["address"].as_str().unwrap().starts_with("127.0.54."),
        "{machine}"
    );
    assert_eq!(
        reported("check-ended").expect("a check")["outcome"]["outcome"],
        "passed"
    );
    let output = fs::read_to_string(&bench.files_ending("checks/hello.log")[0]).unwrap();
    assert_eq!(output, "hello from here\ndev\n");

    let left: Vec<_> = fs::read_dir(&boxes).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    let of_boxes = || {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let boxes = boxes.to_str().unwrap();
        lines
            .filter(|line| String::from_utf8_lossy(line).contains(boxes))
            .count()
    };
    wait_until("no process of the box is left", || of_boxes() == 0);
    bench.assert_nothing_left();
}
