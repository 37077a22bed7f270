# shellcheck shell=bash
# What up.sh and down.sh have in common. $repository is set.

# Sets $twolane to the program: the one that was asked for, the one that was built here last, or the one in the PATH.
find_twolane() {
    local built newest=''
    twolane=${TWOLANE:-}
    for built in "${CARGO_TARGET_DIR:-$repository/target}"/{release,debug}/twolane; do
        if [ -x "$built" ] && { [ -z "$newest" ] || [ "$built" -nt "$newest" ]; }; then newest=$built; fi
    done
    [ -n "$twolane" ] || twolane=${newest:-$(command -v twolane || true)}
    if [ -z "$twolane" ]; then
        printf 'error: there is no twolane\n  help: build it (cargo build -p twolane), or set TWOLANE to it\n' >&2
        exit 2
    fi
}

# Sets $project to the directory whose twolane.toml counts.
# shellcheck disable=SC2034 # up.sh uses it
find_project() {
    project=${PROJECT:-$PWD}
    if [ -z "${PROJECT:-}" ] && [ "$PWD" = "$repository" ] && [ ! -e "$PWD/twolane.toml" ]; then
        project=$repository/samples/mvmd
    fi
}
