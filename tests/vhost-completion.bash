# SPDX-License-Identifier: Apache-2.0
# Copyright (c) 2026 The ovs-vhost authors.
#
# Prints what bash's completion offers for lines that somebody has begun to
# type.
#
#   bash vhost-completion.bash COMPLETION-FILE... < LINES
#
# Each FILE is sourced; then each line of the standard input is completed where
# it has a "|", at its end, and printed with the words that are offered behind
# "->", sorted.

for file; do
    # shellcheck disable=SC1090
    . "$file"
done

# Sets COMP_WORDS as readline does: it separates at blanks and at characters in
# COMP_WORDBREAKS, and runs of the latter are words too.
split_line() {
    local rest=$1 part

    COMP_WORDS=()
    while [[ $rest =~ ^[[:space:]]*([:=]+|[^[:space:]:=]+)(.*)$ ]]; do
        part=${BASH_REMATCH[1]}
        rest=${BASH_REMATCH[2]}
        COMP_WORDS+=("$part")
    done
    case $1 in
    *[[:space:]:=]) COMP_WORDS+=("") ;;
    esac
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
}

complete_line() {
    local command function

    COMP_LINE=$1
    COMP_POINT=${#1}
    COMP_TYPE=9
    split_line "$1"
    command=${COMP_WORDS[0]}
    function=$(complete -p "${command##*/}" | sed 's/.* -F \([^ ]*\) .*/\1/')
    COMPREPLY=()
    "$function" "$command" "${COMP_WORDS[COMP_CWORD]}" \
        "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s| -> %s\n' "$1" \
        "$(printf '%s\n' "${COMPREPLY[@]}" | sort | tr '\n' ' ' \
            | sed 's/ $//')"
}

COMP_WORDBREAKS=$' \t\n"\'><=;|&(:'
while IFS= read -r line; do
    complete_line "${line%|}"
done
