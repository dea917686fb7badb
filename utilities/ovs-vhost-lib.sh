# shellcheck shell=sh disable=SC2034,SC2154
# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# What the scripts in this directory share: messages, long steps with a line
# of progress, installing Debian packages and building the project.  To be
# sourced by a POSIX shell that has set:
#
#   program   the script's name, for messages
#   top       the project's top directory
#   build     where to build
#
# and, if configure is to be given options, configure_options.

# What the build needs, and what building a Debian package and running guests
# need besides.  A name with
# bars is satisfied by any of the packages; the first one is installed.
build_packages='gcc libc6-dev make autoconf automake libtool pkgconf|pkg-config
    patch bzip2 xz-utils python3 openvswitch-source libdpdk-dev libnuma-dev
    libssl-dev libcap-ng-dev'
deb_packages='dpkg-dev debhelper libunbound-dev'
run_packages='python3 qemu-system-x86 iproute2 ethtool'

say() {
    echo "$program: $*"
}

fail() {
    echo "$program: $*" >&2
    exit 1
}

# The build directory that the user means: $OVS_VHOST_BUILD, the source
# directory if somebody has run ./configure there, or else _build/demo.
default_build_dir() {
    if [ -n "${OVS_VHOST_BUILD:-}" ]; then
        echo "$OVS_VHOST_BUILD"
    elif [ -e "$top/config.status" ]; then
        echo "$top"
    else
        echo "$top/_build/demo"
    fi
}

# long_step LOG WHAT COMMAND...
#
# Runs COMMAND with its output appended to LOG and shows that it lives: on a
# terminal one line that changes, otherwise a line each 15 seconds.  A failure
# shows the end of LOG and ends the script.
long_step() {
    step_log=$1 step_what=$2
    shift 2
    step_start=$(date +%s)
    step_said=$step_start
    echo "+ $*" >> "$step_log"
    tie_to_us "$@" >> "$step_log" 2>&1 < /dev/null &
    step_child=$!
    trap 'end_step' INT TERM HUP
    [ -t 1 ] || say "$step_what ..."
    while kill -0 "$step_child" 2> /dev/null; do
        sleep 0.2
        show_progress
    done
    step_status=0
    wait "$step_child" || step_status=$?
    trap - INT TERM HUP
    step_seconds=$(($(date +%s) - step_start))
    [ ! -t 1 ] || printf '\r\033[K'
    if [ $step_status != 0 ]; then
        say "the last lines of $step_log:" >&2
        tail -n 40 "$step_log" >&2
        fail "$step_what: failed (status $step_status, $step_seconds s)"
    fi
    say "$step_what: done ($step_seconds s)"
}

# Runs a command in a process that ends if this script is killed.
tie_to_us() {
    if command -v setpriv > /dev/null; then
        exec setpriv --pdeathsig TERM "$@"
    fi
    exec "$@"
}

show_progress() {
    step_now=$(date +%s)
    if [ -t 1 ]; then
        printf '\r\033[K%s: %s ... %d s: %.40s' "$program" "$step_what" \
            $((step_now - step_start)) \
            "$(tail -n 1 "$step_log" | tr -cd '[:print:]')"
    elif [ $((step_now - step_said)) -ge 15 ]; then
        step_said=$step_now
        say "$step_what ... $((step_now - step_start)) s"
    fi
}

# On a signal during a long step.
end_step() {
    trap '' INT TERM HUP
    kill -TERM "$step_child" 2> /dev/null
    wait "$step_child"
    fail "interrupted"
}

# Prints the first name of each argument of which nothing is installed.
missing_packages() {
    for wanted; do
        for package in $(echo "$wanted" | tr '|' ' '); do
            state=$(dpkg-query -W -f '${db:Status-Status}' "$package" \
                        2> /dev/null) || state=
            [ "$state" != installed ] || continue 2
        done
        echo "${wanted%%|*}"
    done
}

# install_packages PACKAGE...
#
# Installs what is missing, if anything is.
install_packages() {
    if ! command -v apt-get > /dev/null; then
        say "no apt-get here: taking it that these are installed: $*"
        return
    fi
    missing=$(missing_packages "$@" | sort -u | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || fail "not installed: ${missing% }
(run as root to have them installed)"
    say "installing with apt-get: ${missing% }"
    export DEBIAN_FRONTEND=noninteractive
    apt_options='-qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0'
    # shellcheck disable=SC2086
    long_step "$build/apt.log" "updating the package lists" \
        apt-get $apt_options update
    # shellcheck disable=SC2086
    long_step "$build/apt.log" "installing packages" \
        apt-get $apt_options install --no-install-recommends $missing
}

# Creates configure, configures and makes, each as far as it is needed.
build_project() {
    if [ ! -x "$top/configure" ]; then
        long_step "$build/build.log" "generating configure" "$top/boot.sh"
    fi
    if must_configure; then
        # shellcheck disable=SC2016
        long_step "$build/build.log" \
            "configuring Open vSwitch and the plugin" \
            sh -c 'cd "$1" && shift && exec "$@"' sh "$build" \
            "$top/configure" --quiet ${configure_options:-}
    fi
    long_step "$build/build.log" "building Open vSwitch and the plugin" \
        make -C "$build" -j "$(nproc)"
}

# make sees for itself whether configure.ac has changed, but not whether the
# tree of Open vSwitch has to be prepared again.
must_configure() {
    [ -e "$build/config.status" ] && [ -e "$build/Makefile" ] || return 0
    [ -n "$(find "$top/vswitchd-patches" "$top/build-aux/prepare-ovs" \
                -newer "$build/config.status" 2> /dev/null)" ]
}

# prepare PACKAGE...
#
# Installs the packages and builds the project, one user at a time.
prepare() {
    mkdir -p "$build" || fail "cannot make $build"
    build=$(cd "$build" && pwd)
    exec 9> "$build/.lock"
    if ! flock -n 9; then
        say "waiting for another build in $build"
        flock 9
    fi
    install_packages "$@"
    build_project
    exec 9>&-
}
