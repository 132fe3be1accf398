# Shared by tools/demo, tools/check and .ci/run: steps with one line each, installation of what is missing, the build.
# Sourced, not run. Everything a step prints goes to build/log/<step>.log; the terminal gets one line per step on
# standard error, so that standard output carries only results.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log_dir=$root/build/log
jobs=$(nproc 2>/dev/null || echo 2)
step_pid=
export DEBIAN_FRONTEND=noninteractive NINJA_STATUS='[%f/%t] '

# Ctrl-C ends the running step with everything it started (each step is a process group of its own).
stop_step() {
    [[ -n $step_pid ]] || return 0
    kill -TERM -- "-$step_pid" 2>/dev/null || kill -TERM "$step_pid" 2>/dev/null || true
    step_pid=
}
trap 'stop_step; exit 130' INT
trap 'stop_step; exit 143' TERM
trap stop_step EXIT

say() { printf '%s\n' "$*" >&2; }
on_terminal() { [[ -t 2 && ${TERM:-dumb} != dumb ]]; }

# The newest "34/80" in a log: ninja and ctest both count like this.
progress_of() {
    tail -c 2000 "$1" 2>/dev/null | grep -oE '[0-9]+/[0-9]+' | tail -n 1 || true
}

# Rewrites one line until process $1 ends. Silent when standard error is no terminal: logs get one line per step.
watch_step() {
    local pid=$1 name=$2 log=$3 started=$4 wheel="|/-\\" i=0
    on_terminal || return 0
    while kill -0 "$pid" 2>/dev/null; do
        printf '\r\033[K%s %-34s %9s  %4d s' "${wheel:i++%4:1}" "$name" "$(progress_of "$log")" \
            $((SECONDS - started)) >&2
        sleep 0.2
    done
    printf '\r\033[K' >&2
}

# run_step <name> <log> <advice> <command...>: one line when it ends; on failure the end of the log and the advice.
run_step() {
    local name=$1 log=$log_dir/$2.log advice=$3 started=$SECONDS status=0
    shift 3
    mkdir -p "$log_dir"
    set -m # job control gives the step a process group, which stop_step can end as a whole
    "$@" >"$log" 2>&1 </dev/null &
    step_pid=$!
    set +m
    watch_step "$step_pid" "$name" "$log" "$started"
    wait "$step_pid" || status=$?
    step_pid=
    if ((status == 0)); then
        printf '  %-34s ok %9s s\n' "$name" $((SECONDS - started)) >&2
        return 0
    fi
    printf '  %-34s FAILED after %s s (exit %s)\n' "$name" $((SECONDS - started)) "$status" >&2
    say "  the last lines of ${log#"$root/"}:"
    tail -n 25 "$log" | sed 's/^/    | /' >&2
    say "  $advice"
    return "$status"
}

# --- what must be there -----------------------------------------------------------------------------------------------

# Rows are "<package> <kind>:<what shows that it is there>". What is found is not installed again, however it came.
present() {
    local kind=${1%%:*} what=${1#*:}
    case $kind in
        command) command -v "$what" >/dev/null ;;
        module) command -v pkg-config >/dev/null && pkg-config --exists "$what" ;;
        header) command -v gcc >/dev/null && echo "#include <$what>" | gcc -E - >/dev/null 2>&1 ;;
        clang-links) command -v clang >/dev/null && clang_links "$what" ;;
        file) [[ -e $what ]] ;;
    esac
}

# Whether clang can link a program with this flag: its runtime libraries are packages of their own.
clang_links() {
    echo 'int main(void) { return 0; }' | clang "$1" -x c - -o /dev/null 2>/dev/null
}

needs_build=(
    "gcc                    command:gcc"
    "libc6-dev              header:stdio.h"
    "cmake                  command:cmake"
    "ninja-build            command:ninja"
    "pkg-config             command:pkg-config"
    "libjansson-dev         module:jansson"
    "libpcre2-dev           module:libpcre2-8"
    "libutf8proc-dev        module:libutf8proc"
    "libopenblas-dev        module:openblas"
)
needs_tests=(
    "libcriterion-dev       module:criterion"
    "xz-utils               command:xz"
    "python3                command:python3"
)

# The packages of the table in "$@" that are missing, one per line.
missing_packages() {
    local row package probe
    for row in "$@"; do
        read -r package probe <<<"$row"
        present "$probe" || echo "$package"
    done
}

# How to become root for apt: nothing, sudo, or a reason why not.
as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}
can_become_root() {
    ((EUID == 0)) && return 0
    command -v sudo >/dev/null || return 1
    if [[ -t 0 ]]; then sudo -v; else sudo -n true 2>/dev/null; fi
}

apt_install() {
    local options=(-y --no-install-recommends -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    # Old lists may still do, for instance from a local mirror, so a failing update alone is no failure.
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get)
    as_root "${apt[@]}" update || echo "apt-get update failed; trying with the present lists"
    as_root "${apt[@]}" install "${options[@]}" "$@"
}

# need <table rows...>: installs what is missing, or says exactly what somebody else has to install.
need() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    if ! command -v apt-get >/dev/null; then
        say "This system has no apt-get. Install what these Debian packages hold, then run this again:"
        say "    ${missing[*]}"
        return 1
    fi
    if ! can_become_root; then
        say "Packages are missing and this user cannot install them (not root, no sudo). Have somebody run:"
        say "    apt-get install ${missing[*]}"
        return 1
    fi
    run_step "install ${#missing[@]} packages" install \
        "Without network or with a broken package list, install by hand: apt-get install ${missing[*]}" \
        apt_install "${missing[@]}" || return
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]})) || return 0
    say "Installed, yet not found: ${missing[*]} (see build/log/install.log)"
    return 1
}

# --- building ---------------------------------------------------------------------------------------------------------

build_dir() { # <preset>
    if [[ $1 == release ]]; then echo "$root/build"; else echo "$root/build/$1"; fi
}

# A checkout that was moved or copied keeps a cache that names the old place; cmake refuses it. Start that one afresh.
drop_foreign_cache() {
    local cache=$1/CMakeCache.txt
    [[ -f $cache ]] || return 0
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$cache" && return 0
    rm -rf "$cache" "$1/CMakeFiles" "$1/build.ninja" "$1/.ninja_deps" "$1/.ninja_log"
}

# configure <preset> <cmake options...>
configure() {
    local preset=$1
    shift
    drop_foreign_cache "$(build_dir "$preset")"
    (cd "$root" && cmake --preset "$preset" "-DSLUICE_WERROR=${SLUICE_WERROR:-OFF}" "$@")
}

# configure_and_build <preset> <target> <cmake options...>
configure_and_build() {
    local preset=$1 target=$2
    shift 2
    run_step "configure $preset" "configure-$preset" \
        "A library may be missing or a cache stale: remove ${log_dir%/log} and run this again." \
        configure "$preset" "$@" || return
    run_step "build $preset" "build-$preset" \
        "The compiler's message stands above; all of it is in the log." \
        cmake --build "$(build_dir "$preset")" --target "$target" --parallel "$jobs"
}
