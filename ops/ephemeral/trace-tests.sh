#!/bin/bash
# Runs tests on a box, each as a process of its own under strace, and records which devices of virtual machines each
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

LINES_MAX=100 # of one test's trace, after those that say the same are left out
READ_MAX=1000 # lines of one process's trace that bash itself reads
LEFT_MAX=500  # tests whose empty traces may lie about
LINE_MAX=1000 # characters that bash surely writes at once
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

# Tests run side by side. What is added to a file by one write stays in one piece, and bash cuts what is long.
put() { # LINE
    if ((${#1} <= LINE_MAX)); then
        printf '%s\n' "$1" >>"$TWOLANE_RECORD"
    else
        printf '%s\n' "$1" |
            dd of="$TWOLANE_RECORD" bs=8M iflag=fullblock oflag=append conv=notrunc status=none
    fi
}

# --- a check

check() { # RECORD COMMAND
    (($# == 2)) || usage 'check RECORD COMMAND'
    local self name why='' code=0
    self=$(readlink -f "$0")
    mkdir -p "$(dirname "$1")" || exit
    TWOLANE_RECORD=$(readlink -f "$1")
    # A fixed name: what a check left that was killed is gone with the next.
    TWOLANE_WORK=$TWOLANE_RECORD.work
    rm -rf "$TWOLANE_WORK" && mkdir "$TWOLANE_WORK" || exit
    export TWOLANE_RECORD TWOLANE_WORK TWOLANE_TRACER=''
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
        "$([ "$(stat -Lc %t /dev/kvm 2>/dev/null)" = a ] && echo true || echo false)" >"$TWOLANE_RECORD" || exit
    for name in "${RUNNERS[@]}"; do export "$name=$self run"; done
    bash -c "$2" || code=$?
    rm -rf "$TWOLANE_WORK"
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
    name_binary "$binary"
    if [[ " ${*:2} " == *' --list '* ]]; then
        list "$@"
    elif [ -n "${NEXTEST:-}" ] && only_name "${@:2}"; then
        traced "$only" "$@"
    else
        harness "$@"
    fi
}

name_binary() { # BINARY: sets $id, in cargo-nextest's words
    id=${NEXTEST_BINARY_ID:-}
    [ -z "$id" ] || return 0
    local stem=${1##*/} source package=${CARGO_PKG_NAME:-} file
    stem=${stem%-*}
    [ -n "$package" ] || package=$stem
    # What rustc writes beside a binary: itself, a colon, and its sources, the root first.
    read -r _ source _ 2>/dev/null <"$1.d" || source=''
    file=${source##*/}
    file=${file%.rs}
    if [ "$file" = main ]; then
        file=${source%/*}
        file=${file##*/}
    fi
    [ "${file//-/_}" = "$stem" ] || file=$stem
    [ "$file" != "${package//-/_}" ] || file=$package
    case $source in
    src/lib.rs | */src/lib.rs) id=$package ;;
    src/main.rs | */src/main.rs | src/bin/* | */src/bin/*) id=$package::bin/$file ;;
    examples/* | */examples/*) id=$package::example/$file ;;
    benches/* | */benches/*) id=$package::bench/$file ;;
    tests/* | */tests/*) id=$package::$file ;;
    *)
        id=$package
        [ "$file" = "$package" ] || id+=::$file
        ;;
    esac
}

only_name() { # [ARG…]: sets $only, the test that cargo-nextest asks for
    only=''
    while (($# > 0)); do
        case $1 in
        --exact | --nocapture | --no-capture | --ignored | --include-ignored | --test | --bench) ;;
        -*) return 1 ;;
        *)
            [ -z "$only" ] || return 1
            only=$1
            ;;
        esac
        shift
    done
    [ -n "$only" ]
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
    local name binary
    text "$id"
    binary=$json
    while IFS= read -r name; do
        text "$name"
        put "{\"what\":\"listed\",\"binary\":$binary,\"test\":$json,\"ignored\":$1}"
    done
}

# Runs under the tracer, and records that it begins and how it ended: what is killed with all its group has only begun.
# Every small program that is started here is started once for each test: bash does by itself what it can.
traced() { # TEST COMMAND…; no test: the whole binary
    local code=0 from who path files in out ended tracer took late=0 options=()
    text "$id"
    who="\"binary\":$json"
    text "$1"
    [ -n "$1" ] || json=null
    who+=",\"test\":$json"
    shift
    put "{\"what\":\"began\",$who}"
    from=${EPOCHREALTIME/[.,]/}
    if [ -z "${TWOLANE_TRACER:-}" ]; then
        "$@" || code=$?
        put "{\"what\":\"ended\",$who,\"code\":$code,\"micros\":$((${EPOCHREALTIME/[.,]/} - from)),\"trace\":null}"
        return "$code"
    fi
    for path in "${DEVICES[@]}" /dev/vhost-* /dev/vfio/*; do
        [[ $path == *\* ]] || options+=(-P "$path")
    done
    files=$TWOLANE_WORK/$$.$from
    exec {in}<&0 {out}>&1
    # strace itself stays for as long as anything that the test started, and has the pipe open until then.
    # shellcheck disable=SC2016 # these are the inner shell's own
    exec {ended}< <(
        exec 9>&1 <&"$in" >&"$out" {in}<&- {out}>&-
        exec strace -ff -y -qqq -e signal=none --seccomp-bpf -e "trace=$CALLS" "${options[@]}" -o "$files" -- \
            sh -c 'code=0; "$@" 9>&- || code=$?; echo "$code $PPID" >&9; exit "$code"' sh "$@"
    )
    exec {in}<&- {out}>&-
    if read -r -u "$ended" code tracer; then
        read -r -t 1 -u "$ended" _ || late=$?
        # Not the end of the pipe, but of our patience.
        ((late <= 128)) || kill -KILL "$tracer" 2>/dev/null
        wait $! 2>/dev/null
    else
        wait $! 2>/dev/null
        code=$?
    fi
    exec {ended}<&-
    took=$((${EPOCHREALTIME/[.,]/} - from))
    read_trace "$files"
    put "{\"what\":\"ended\",$who,\"code\":$code,\"micros\":$took,\"trace\":$trace}"
    return "$code"
}

# A file for each process, so that no line is cut by another's. Most are empty, and are left for later.
read_trace() { # FILES: sets $trace, the lines about devices as a list, none twice
    local file line lines count=0 is_full=''
    local -A known=()
    trace=''
    for file in "$1".*; do
        [ -s "$file" ] || continue
        is_full=1
        mapfile -t -n "$READ_MAX" lines <"$file"
        if ((${#lines[@]} == READ_MAX)); then
            mapfile -t lines < <(awk -v max="$READ_MAX" '!known[$0]++ { print; if (++n == max) exit }' "$file")
        fi
        for line in "${lines[@]}"; do
            [[ $line == */dev* ]] || continue
            # What was done to a directory itself reports nothing.
            [[ $line != *'"/dev"'* && $line != *'"/dev/net"'* && $line != *'"/dev/vfio"'* ]] || continue
            line=${line:0:400}
            [ -z "${known[$line]:-}" ] || continue
            known[$line]=1
            ((++count <= LINES_MAX)) || break 2
            text "$line"
            trace+=,$json
        done
    done
    trace=[${trace#,}]
    [ -z "$is_full" ] || rm -f "$1".*
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
    local name code passed=0 from took out=$TWOLANE_WORK/$$-out count=0 failed=() outputs=''
    from=${EPOCHREALTIME/[.,]/}
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
        ((++count % LEFT_MAX)) || rm -f "$TWOLANE_WORK/$$".*
    done
    rm -f "$out" "$TWOLANE_WORK/$$".*
    local word=ok
    if ((${#failed[@]} > 0)); then
        word=FAILED
        printf '\nfailures:\n\n%s\n\nfailures:\n' "${outputs%$'\n\n'}"
        printf '    %s\n' "${failed[@]}"
    fi
    took=$((${EPOCHREALTIME/[.,]/} - from))
    printf '\ntest result: %s. %s passed; %s failed; %s ignored; 0 measured; 0 filtered out; finished in %s.%02ds\n\n' \
        "$word" "$passed" "${#failed[@]}" "${#ignored[@]}" $((took / 1000000)) $((took / 10000 % 100))
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
