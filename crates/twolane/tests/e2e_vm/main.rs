//! End to end on `local`: real VMs, real cloud-init, real sshd, rsync and systemd.
//! `cargo nextest run --workspace --profile e2e`; needs QEMU and the rest of what `./test.sh` sets up.

mod adapter;
mod clones;
mod clouds;
mod deploy;
mod faults;
mod host;
mod kill;
mod lan;
mod local;
mod real_boxes;
mod runner;
mod split;
mod support;

#[expect(dead_code, reason = "the providers' own tests use the rest")]
#[path = "../../../providers/tests/fakes/mod.rs"]
mod fakes;
