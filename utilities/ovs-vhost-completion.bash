# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Completion in bash for this project's programs, and for the commands vhost/*
# and netdev-plugin/* of ovs-appctl.
#
# Like Open vSwitch's own completion this knows no lists of its own where a
# program can be asked: options come from --help, commands of ovs-appctl with
# their arguments from "list-commands", ports from "vhost/show".  A switch that
# does not run has none.
#
# To be sourced after ovs-appctl-bashcomp.bash, if that is used: other commands
# of ovs-appctl are left to it.  Names of files in /etc/bash_completion.d sort
# like that.

# _ovs_vhost_words
#
# Sets 'line' to the words before the cursor as the shell will see them, which
# are not those in COMP_WORDS: readline also separates at colons and equals
# signs.  The last one, the word to complete, is 'word'.
_ovs_vhost_words() {
    local text=${COMP_LINE:0:COMP_POINT}

    read -r -a line <<< "$text"
    case $text in
    *[[:space:]]) line+=("") ;;
    esac
    word=${line[${#line[@]} - 1]}
}

# _ovs_vhost_reply WORD...
#
# Offers those of the WORDs that begin with 'word'.  One that ends with "=",
# ":" or "/" is not complete with that.
_ovs_vhost_reply() {
    local candidate cut=""

    # What readline takes for words before, it will not replace.
    case $COMP_WORDBREAKS in
    *[:=]*)
        case $word in
        *[:=]*) cut=${word%"${word##*[:=]}"} ;;
        esac ;;
    esac
    for candidate; do
        if [[ $candidate == "$word"* ]]; then
            COMPREPLY+=("${candidate#"$cut"}")
            case $candidate in
            *[=:/]) compopt -o nospace 2> /dev/null ;;
            esac
        fi
    done
}

# The same with WORDs from the standard input, one in a line.
_ovs_vhost_reply_lines() {
    local lines

    mapfile -t lines
    _ovs_vhost_reply "${lines[@]}"
}

# _ovs_vhost_files PREFIX
#
# Offers PREFIX and a file's name, for a 'word' that begins with PREFIX.
_ovs_vhost_files() {
    local path paths=()

    while IFS= read -r path; do
        if [ -d "$path" ]; then
            path=$path/
        fi
        paths+=("$1$path")
    done < <(compgen -f -- "${word#"$1"}")
    _ovs_vhost_reply "${paths[@]}"
}

# _ovs_vhost_options
#
# Prints the long options in the program's help.
_ovs_vhost_options() {
    "${line[0]}" --help 2> /dev/null | grep -o -E -- '--[a-z][a-z0-9-]*' \
        | sort -u
}

# _ovs_vhost_values OPTION
#
# Prints the values that OPTION may have, if they are few, one in a line.
_ovs_vhost_values() {
    local program=${line[0]##*/}

    case $program:$1 in
    ovs-vhost-guest:--misbehave)
        "${line[0]}" --misbehave list 2> /dev/null | _ovs_vhost_first
        printf '%s\n' all rings packed messages resources list ;;
    ovs-vhost-guest:--features)
        "${line[0]}" --features list 2> /dev/null | _ovs_vhost_first \
            | sed 'h; s/^/+/p; x; s/^/-/'
        echo list ;;
    ovs-vhost-container:--type) printf '%s\n' vhostuserclient vhostuser ;;
    ovs-vhost-top:--sort) printf '%s\n' name rx tx bits drops ;;
    ovs-vhost-demo:--shell) printf '%s\n' vm1 vm2 station switch ;;
    ovs-vhost-ovn:--type)
        printf '%s\n' vhostuser vhostuserclient dpdkvhostuser \
            dpdkvhostuserclient ;;
    ovs-vhost-gaps:--side) printf '%s\n' ours stock ;;
    esac
}

# Prints the first word of each line.
_ovs_vhost_first() {
    sed -n 's/^ *\([a-z][a-z0-9_-]*\).*/\1/p'
}

# _ovs_vhost_option_has_value OPTION
_ovs_vhost_option_has_value() {
    "${line[0]}" --help 2> /dev/null \
        | grep -q -E -- "(^|[ [,|])$1[ =\[]+(<[a-z]|[A-Z{])"
}

# _ovs_vhost_program
#
# Completes what all programs have: an option, or its value.  Fails if it is
# something else.
_ovs_vhost_program() {
    local previous=${line[${#line[@]} - 2]} values

    case $word in
    --*=*)
        values=$(_ovs_vhost_values "${word%%=*}")
        if [ -n "$values" ]; then
            # shellcheck disable=SC2001
            _ovs_vhost_reply_lines < <(sed "s/^/${word%%=*}=/" <<< "$values")
        else
            _ovs_vhost_files "${word%%=*}="
        fi
        return 0 ;;
    esac
    case $previous in
    --*)
        values=$(_ovs_vhost_values "$previous")
        if [ -n "$values" ]; then
            _ovs_vhost_reply_lines <<< "$values"
            return 0
        elif _ovs_vhost_option_has_value "$previous"; then
            _ovs_vhost_files ""
            return 0
        fi ;;
    esac
    case $word in
    -*)
        _ovs_vhost_reply_lines < <(_ovs_vhost_options)
        return 0 ;;
    esac
    return 1
}

# MODE:SOCKET,OPTION,...
_ovs_vhost_guest_port() {
    local option options=()

    case $word in
    *,*)
        while read -r option; do
            options+=("${word%,*},$option")
        done < <("${line[0]}" --help 2> /dev/null \
            | sed -n '/^Port options/,/^$/s/^  \([a-z].\{23\}\).*/\1/p' \
            | sed 's/[ |]* \([a-z]\)/\n\1/g' \
            | sed -n 's/^\([a-z-]*=\).*/\1/p; s/^\([a-z-]*\) *$/\1/p')
        _ovs_vhost_reply "${options[@]}"
        compopt -o nospace 2> /dev/null ;;
    *:*)
        _ovs_vhost_files "${word%%:*}:"
        compopt -o nospace 2> /dev/null ;;
    *)
        _ovs_vhost_reply_lines < <("${line[0]}" --help 2> /dev/null \
            | sed -n '/^Modes:/,/^$/s/^  \([a-z+]*\) .*/\1:/p') ;;
    esac
}

# record FRONT-END BACK-END, play RECORDING BACK-END, show RECORDING
_ovs_vhost_session_word() {
    case $word in
    connect:* | listen:*) _ovs_vhost_files "${word%%:*}:"; return ;;
    esac
    if [ ${#line[@]} = 2 ]; then
        _ovs_vhost_reply record play show
        return
    fi
    [ "${line[1]}" = show ] || _ovs_vhost_reply connect: listen:
    [ "${line[1]}" = record ] || _ovs_vhost_files ""
}

# COMMAND BRIDGE INTERFACE CONTAINER
_ovs_vhost_container_word() {
    local each words=()

    for each in "${line[@]:1}"; do
        [[ $each == --* ]] || words+=("$each")
    done
    case ${#words[@]}:${words[0]} in
    1:*)
        _ovs_vhost_reply_lines < <("${line[0]}" --help 2> /dev/null \
            | sed -n '/^Commands/,/^$/s/^  \([a-z-]*\).*/\1/p') ;;
    2:list | 2:del-ports | 4:*)
        _ovs_vhost_reply_lines < <("${line[0]}" list 2> /dev/null \
            | awk 'NR > 1 { print $3 }' | sort -u
            ip netns list 2> /dev/null | sed 's/ .*//') ;;
    2:*)
        _ovs_vhost_reply_lines < <(ovs-vsctl --timeout=5 list-br \
            2> /dev/null) ;;
    esac
}

_ovs_vhost_complete() {
    local line=() word

    COMPREPLY=()
    _ovs_vhost_words
    _ovs_vhost_program && return
    case ${line[0]##*/} in
    ovs-vhost-guest) _ovs_vhost_guest_port ;;
    ovs-vhost-session) _ovs_vhost_session_word ;;
    ovs-vhost-container) _ovs_vhost_container_word ;;
    ovs-vhost-check)
        _ovs_vhost_reply_lines < <("${line[0]}" --help 2> /dev/null \
            | sed -n '/^Suites/,/^$/s/^  \([a-z0-9]*\)  *[^ ].*/\1/p') ;;
    esac
}

# ovs-appctl.  'appctl' is the command with its options, 'words' are the words
# of the command to ovs-vswitchd so far.
_ovs_vhost_appctl_split() {
    local i

    appctl=("${line[0]}")
    words=()
    for ((i = 1; i < ${#line[@]}; i++)); do
        if [ ${#words[@]} != 0 ]; then
            words+=("${line[i]}")
        else
            case ${line[i]} in
            -t | -T | --target | --timeout)
                appctl+=("${line[i]}" "${line[i + 1]}")
                i=$((i + 1)) ;;
            -*) appctl+=("${line[i]}") ;;
            *) words+=("${line[i]}") ;;
            esac
        fi
    done
}

# Prints the commands of ovs-vswitchd with their arguments.
_ovs_vhost_appctl_commands() {
    "${appctl[@]}" list-commands 2> /dev/null \
        | sed -n 's,^ *\(\(vhost\|netdev-plugin\)/.*\),\1,p'
}

# Offers what may be the last of 'words', an argument of the first.
_ovs_vhost_appctl_argument() {
    local syntax argument place=0 nth=0 given

    # Which argument this is, not counting options.
    for given in "${words[@]:1}"; do
        [[ $given == --* ]] || nth=$((nth + 1))
    done
    syntax=$(_ovs_vhost_appctl_commands \
                 | awk -v name="${words[0]}" '$1 == name')
    for argument in ${syntax#* }; do
        argument=${argument#[}
        argument=${argument%]}
        case $argument in
        --*)
            [[ " ${words[*]} " == *" $argument "* ]] \
                || _ovs_vhost_reply "$argument"
            continue ;;
        esac
        place=$((place + 1))
        [ $place = $nth ] || continue
        case $argument in
        port)
            _ovs_vhost_reply_lines < <("${appctl[@]}" vhost/show 2> /dev/null \
                | sed -n 's/^\([^ ]*\): .*/\1/p') ;;
        file) _ovs_vhost_files "" ;;
        esac
    done
}

_ovs_vhost_appctl() {
    local line=() word appctl=() words=()

    _ovs_vhost_words
    _ovs_vhost_appctl_split
    case ${words[0]} in
    vhost/* | netdev-plugin/*)
        COMPREPLY=()
        if [ ${#words[@]} = 1 ]; then
            _ovs_vhost_reply_lines \
                < <(_ovs_vhost_appctl_commands | sed 's/ .*//')
        else
            _ovs_vhost_appctl_argument
        fi ;;
    *)
        if [ -n "$_ovs_vhost_appctl_before" ]; then
            "$_ovs_vhost_appctl_before" "$@"
        elif [ ${#words[@]} = 1 ]; then
            COMPREPLY=()
            _ovs_vhost_reply_lines \
                < <(_ovs_vhost_appctl_commands | sed 's/ .*//')
        fi ;;
    esac
}

# Who completed ovs-appctl so far.
_ovs_vhost_appctl_before=$(complete -p ovs-appctl 2> /dev/null \
    | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
if [ "$_ovs_vhost_appctl_before" = _ovs_vhost_appctl ]; then
    _ovs_vhost_appctl_before=
fi
complete -F _ovs_vhost_appctl ovs-appctl
complete -F _ovs_vhost_complete ovs-vhost-bench ovs-vhost-check \
    ovs-vhost-container ovs-vhost-demo ovs-vhost-gaps ovs-vhost-guest \
    ovs-vhost-ovn \
    ovs-vhost-session ovs-vhost-top
