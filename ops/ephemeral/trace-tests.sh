#!/bin/bash
# Runs tests on a box, each as a process of its own under strace, and writes down which devices of virtual machines each
# of them asked for. Child processes count. Without strace the tests run all the same, and the record says why it is empty.
#
#   trace-tests.sh check RECORD COMMAND   runs a check's command; every test binary that cargo or cargo-nextest starts
#                                         in it goes through `run`
#   trace-tests.sh suite [ARG…]           in such a command: runs a whole suite, with cargo-nextest where it is installed.
#                                         0 when the tests ran, whether they passed or not
#   trace-tests.sh run BINARY [ARG…]      what cargo and cargo-nextest call in place of a test binary
#
# The record holds one line of JSON for each thing; it is whole when its last line says `end`. Names stand in it as their
# binary printed them. Exit status otherwise: that of the command, of cargo or of the test; 2 wrong usage.
set -uo pipefail

SELF=$(readlink -f "$0")
LINES_MAX=100 # of one test's trace, after those that say the same are left out
# Directories too: a file in them can be opened relative to them.
DEVICES=(/dev /dev/net /dev/vfio /dev/kvm /dev/net/tun /dev/vhost-net /dev/vhost-vsock /dev/vhost-vdpa-0 /dev/vfio/vfio)
CALLS='?open,?openat,?openat2,?creat,?access,?faccessat,?faccessat2,?stat,?lstat,?stat64,?lstat64,?newfstatat,?fstatat64'
CALLS+=',?statx,?readlink,?readlinkat,ioctl'
RUNNERS=(CARGO_TARGET_{X86_64,AARCH64}_UNKNOWN_LINUX_{GNU,MUSL}_RUNNER)

usage() { echo "trace-tests: $*" >&2 && exit 2; }

text() { # VALUE: as JSON in $json
    json=${1//\\/\\\\}
    json=${json//\"/\\\"}
    if [[ $json == *[[:cntrl:]]* ]]; then
        local plain=$json i char code
        json=''
        for ((i = 0; i < ${#plain}; i++)); do
            char=${plain:i:1}
            if [[ $char == [[:cntrl:]] ]]; then
                printf -v code '\\u%04x' "'$char"
                char=$code
            fi
            json+=$char
        done
    fi
    json=\"$json\"
}

# Tests run side by side: a line is written while nobody else writes.
put() { # LINES
    { flock 9 && printf '%s\n' "$1" >&9; } 9>>"$TWOLANE_RECORD"
}

micros() { printf '%s' "${EPOCHREALTIME/[.,]/}"; }

# --- a check

check() { # RECORD COMMAND
    (($# == 2)) || usage 'check RECORD COMMAND'
    local name why='' code=0
    mkdir -p "$(dirname "$1")" || exit
    TWOLANE_RECORD=$(readlink -f "$1")
    export TWOLANE_RECORD TWOLANE_TRACER=''
    if ! command -v strace >/dev/null; then
        why='strace is not installed on the box'
    elif ! why=$(strace -f -qqq --seccomp-bpf -e trace=ioctl -o /dev/null true 2>&1); then
        why="strace can not trace on the box: ${why:0:300}"
    else
        why=''
        TWOLANE_TRACER=$(strace --version | head -n 1)
    fi
    text "$TWOLANE_TRACER"
    local tracer=$json
    text "$why"
    printf '{"what":"begin","v":1,"tracer":%s,"why":%s,"kvm":%s}\n' "$tracer" "$json" \
        "$([ -e /dev/kvm ] && echo true || echo false)" >"$TWOLANE_RECORD" || exit
    for name in "${RUNNERS[@]}"; do export "$name=$SELF run"; done
    bash -c "$2" || code=$?
    put "{\"what\":\"end\",\"code\":$code}"
    exit "$code"
}

# --- a whole suite

suite() { # [ARG…]
    local code=0
    [ -n "${TWOLANE_RECORD:-}" ] || usage 'suite belongs into the command of check'
    (($# > 0)) || set -- --workspace
    if cargo nextest --version >/dev/null 2>&1; then
        cargo nextest run --no-fail-fast "$@" || code=$?
        case $code in
        0 | 4 | 100) exit 0 ;; # passed, no tests, some failed
        104) echo 'trace-tests: cargo-nextest can not list the tests: cargo test runs them' >&2 ;;
        *) exit "$code" ;;
        esac
    fi
    cargo test --no-run "$@" || exit
    cargo test --no-fail-fast "$@" || true
}

# --- one binary

run() { # BINARY [ARG…]
    local binary=$1
    if [ -z "${TWOLANE_RECORD:-}" ] || [[ $binary != */deps/* ]]; then exec "$@"; fi
    unset "${RUNNERS[@]}"
    id=$(binary_id "$binary")
    if [[ " ${*:2} " == *' --list '* ]]; then
        list "$@"
    elif [ -n "${NEXTEST:-}" ] && name=$(only_name "${@:2}"); then
        traced "$name" "$@"
    else
        harness "$@"
    fi
}

binary_id() { # BINARY: in cargo-nextest's words
    if [ -n "${NEXTEST_BINARY_ID:-}" ]; then
        printf '%s' "$NEXTEST_BINARY_ID"
        return
    fi
    local stem source package=${CARGO_PKG_NAME:-} file
    stem=$(basename "$1")
    stem=${stem%-*}
    [ -n "$package" ] || package=$stem
    # What rustc writes beside a binary: itself, a colon, and its sources, the root first.
    read -r _ source _ 2>/dev/null <"$1.d" || source=''
    file=$(basename "$source" .rs)
    [ "$file" != main ] || file=$(basename "$(dirname "$source")")
    [ "${file//-/_}" = "$stem" ] || file=$stem
    [ "$file" != "${package//-/_}" ] || file=$package
    case $source in
    src/lib.rs | */src/lib.rs) printf '%s' "$package" ;;
    src/main.rs | */src/main.rs | src/bin/* | */src/bin/*) printf '%s::bin/%s' "$package" "$file" ;;
    examples/* | */examples/*) printf '%s::example/%s' "$package" "$file" ;;
    benches/* | */benches/*) printf '%s::bench/%s' "$package" "$file" ;;
    tests/* | */tests/*) printf '%s::%s' "$package" "$file" ;;
    *) if [ "$file" = "$package" ]; then printf '%s' "$package"; else printf '%s::%s' "$package" "$file"; fi ;;
    esac
}

only_name() { # [ARG…]: the test that cargo-nextest asks for
    local found=''
    while (($# > 0)); do
        case $1 in
        --exact | --nocapture | --no-capture | --ignored | --include-ignored | --test | --bench) ;;
        -*) return 1 ;;
        *)
            [ -z "$found" ] || return 1
            found=$1
            ;;
        esac
        shift
    done
    [ -n "$found" ] && printf '%s' "$found"
}

list() { # BINARY [ARG…]: for cargo-nextest, which takes what it prints
    local code=0 printed ignored=false
    printed=$("$@") || code=$?
    [ -z "$printed" ] || printf '%s\n' "$printed"
    [[ " ${*:2} " != *' --ignored '* ]] || ignored=true
    [ "$code" != 0 ] || listed "$ignored" < <(printf '%s\n' "$printed" | sed -n 's/: \(test\|benchmark\)$//p')
    exit "$code"
}

listed() { # IGNORED; names on standard input
    local name lines='' binary
    text "$id"
    binary=$json
    while IFS= read -r name; do
        text "$name"
        lines+="{\"what\":\"listed\",\"binary\":$binary,\"test\":$json,\"ignored\":$1}"$'\n'
    done
    [ -z "$lines" ] || put "${lines%$'\n'}"
}

# Runs under the tracer, and writes down that it begins and how it ended: what is killed with all its group has only begun.
traced() { # TEST COMMAND…; no test: the whole binary
    local work code=0 from who path ended tracer options=()
    text "$id"
    who="\"binary\":$json"
    text "$1"
    [ -n "$1" ] || json=null
    who+=",\"test\":$json"
    shift
    put "{\"what\":\"began\",$who}"
    from=$(micros)
    if [ -z "${TWOLANE_TRACER:-}" ]; then
        "$@" || code=$?
        put "{\"what\":\"ended\",$who,\"code\":$code,\"micros\":$(($(micros) - from)),\"trace\":null}"
        return "$code"
    fi
    work=$(mktemp -d) || return
    for path in "${DEVICES[@]}" /dev/vhost-* /dev/vfio/*; do
        [[ $path == *\* ]] || options+=(-P "$path")
    done
    mkfifo "$work/ended" || return
    exec {ended}<>"$work/ended"
    # strace itself stays for as long as anything that the test started.
    # shellcheck disable=SC2016 # these are the inner shell's own
    (
        strace -ff -y -qqq -e signal=none --seccomp-bpf -e "trace=$CALLS" "${options[@]}" -o "$work/t" -- \
            sh -c 'code=0; "$@" || code=$?; echo "$code $PPID" >"$0"; exit "$code"' "$work/ended" "$@"
        echo "$? gone" >"$work/ended"
    ) <&0 {ended}<&- &
    read -r -u "$ended" code tracer
    if [ "$tracer" != gone ] && ! read -r -t 1 -u "$ended" _; then
        kill -KILL "$tracer" 2>/dev/null
    fi
    wait $!
    exec {ended}<&-
    put "{\"what\":\"ended\",$who,\"code\":$code,\"micros\":$(($(micros) - from)),\"trace\":$(trace_of "$work")}"
    rm -rf "$work"
    return "$code"
}

# A file for each process, so that no line is cut by another's.
trace_of() { # DIRECTORY: its lines about devices as a list, none twice
    local line lines='' count=0
    local -A known=()
    while IFS= read -r line; do
        # What was done to a directory itself tells nothing.
        [[ $line != *'"/dev"'* && $line != *'"/dev/net"'* && $line != *'"/dev/vfio"'* ]] || continue
        line=${line:0:400}
        [ -z "${known[$line]:-}" ] || continue
        known[$line]=1
        ((++count <= LINES_MAX)) || break
        text "$line"
        lines+=,$json
    done < <(cat "$1"/t.* 2>/dev/null | grep -F /dev)
    printf '[%s]' "${lines#,}"
}

# In the place of libtest's own loop: the same selection and the same words, but a process for each test.
harness() { # BINARY [ARG…]
    local binary=$1 all=() chosen=() select=() mode='' capture=1
    shift
    local given=("$@")
    while (($# > 0)); do
        case $1 in
        --ignored | --include-ignored) mode=$1 select+=("$1") ;;
        --exact) select+=("$1") ;;
        --skip) select+=(--skip "${2:-}") && shift ;;
        --skip=*) select+=("$1") ;;
        --nocapture | --no-capture) capture='' ;;
        -q | --quiet | --show-output | --test | --test-threads=* | --color=* | --format=*) ;;
        --test-threads | --color | --format) shift ;;
        -*) whole "$binary" "${given[@]}" ;;
        *) select+=("$1") ;;
        esac
        (($# == 0)) || shift
    done
    local printed
    printed=$("$binary" "${select[@]}" --list --format terse 2>/dev/null) || whole "$binary" "${given[@]}"
    ! grep -qvE '(: (test|benchmark)|^)$' <<<"$printed" || whole "$binary" "${given[@]}"
    mapfile -t all < <(sed -n 's/: test$//p' <<<"$printed")
    local -A ignored=()
    if [ -z "$mode" ]; then
        while IFS= read -r name; do
            ignored[$name]=1
        done < <("$binary" "${select[@]}" --list --format terse --ignored | sed -n 's/: test$//p')
    fi
    for name in "${all[@]}"; do
        [ -n "${ignored[$name]:-}" ] || chosen+=("$name")
    done
    ((${#chosen[@]} == 0)) || listed false < <(printf '%s\n' "${chosen[@]}")
    ((${#ignored[@]} == 0)) || listed true < <(printf '%s\n' "${!ignored[@]}")
    one_by_one
}

whole() { # BINARY [ARG…]: a harness of its own, or an option that is not known here
    traced '' "$@"
    exit
}

one_by_one() { # $binary, $mode and $capture, $all, $ignored and $chosen are set
    local name code passed=0 from out failed=() outputs=''
    from=$(micros)
    out=$(mktemp) || exit
    printf '\nrunning %s test%s\n' "${#all[@]}" "$( ((${#all[@]} == 1)) || echo s)"
    for name in "${!ignored[@]}"; do printf 'test %s ... ignored\n' "$name"; done
    for name in "${chosen[@]}"; do
        code=0
        if [ -n "$capture" ]; then
            traced "$name" "$binary" --exact "$name" ${mode:+"$mode"} >"$out" 2>&1 || code=$?
        else
            traced "$name" "$binary" --exact "$name" ${mode:+"$mode"} --nocapture || code=$?
        fi
        if [ "$code" = 0 ]; then
            ((++passed))
            printf 'test %s ... ok\n' "$name"
        else
            failed+=("$name")
            printf 'test %s ... FAILED\n' "$name"
            outputs+=$(printf '%s\n' "---- $name stdout ----" && own_output "$name" "$code" "$out")$'\n\n'
        fi
    done
    rm -f "$out"
    local word=ok
    if ((${#failed[@]} > 0)); then
        word=FAILED
        printf '\nfailures:\n\n%s\n\nfailures:\n' "${outputs%$'\n\n'}"
        printf '    %s\n' "${failed[@]}"
    fi
    printf '\ntest result: %s. %s passed; %s failed; %s ignored; 0 measured; 0 filtered out; finished in %s.%02ds\n\n' \
        "$word" "$passed" "${#failed[@]}" "${#ignored[@]}" $((($(micros) - from) / 1000000)) \
        $((($(micros) - from) / 10000 % 100))
    [ "$word" = ok ] || exit 101
}

own_output() { # NAME CODE FILE: what the test wrote, without what its harness wrote around it
    tail -c 65536 "$3" | NAME=$1 awk '
        $0 == "---- " ENVIRON["NAME"] " stdout ----" { in_it = 1; next }
        in_it && $0 == "failures:" { exit }
        in_it'
    [ "$2" = 101 ] || printf 'the process ended with status %s\n' "$2"
}

command=${1:-}
(($# == 0)) || shift
case $command in
check) check "$@" ;;
suite) suite "$@" ;;
run) (($# > 0)) || usage 'run BINARY [ARG…]' && run "$@" ;;
*) usage "no such command: $command" ;;
esac
