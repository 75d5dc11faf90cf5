# Completion for bash (and for zsh, after bashcompinit): commands and options as the program's own help names them, values that are known,
# signals, and container ids.

# The options that a help text lists, not those that its sentences speak of.
_orlop_options() {
    "$@" --help 2>/dev/null | sed -n 's/^ *\(-[a-z], \)\?\(--[a-z][a-z0-9-]*\).*/\2/p'
}

# Whether the next word is the value of this option of this command.
_orlop_takes_value() {
    "$1" ${2:+"$2"} --help 2>/dev/null | grep -q -- "^ *\(-[a-z], \)\?$3 [<A-Z]\|^ *$3, --[a-z0-9-]* [<A-Z]"
}

_orlop() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local command="" root=() operands=() at=1 current offers="" ids
    while ((at < COMP_CWORD)); do
        current=${COMP_WORDS[at]}
        case $current in
            --root) root=(--root "${COMP_WORDS[at + 1]}") && ((at++)) ;;
            -*) [[ $current != *=* ]] && _orlop_takes_value "$program" "$command" "$current" && ((at++)) ;;
            *) [[ -z $command ]] && command=$current || operands+=("$current") ;;
        esac
        ((at++))
    done
    case $before in
        --cgroup-manager) offers="cgroupfs systemd disabled" ;;
        --log-format) offers="text json" ;;
        --log-level) offers="debug warning error" ;;
        --rootless) [[ -z $command ]] && offers="true false auto" ;;
        --format) offers="table json" ;;
        --manage-cgroups-mode) offers="soft full strict ignore" ;;
        --network-lock) offers="iptables nftables skip" ;;
        --empty-ns) offers="network" ;;
    esac
    if [[ -n $offers ]]; then
        :
    elif [[ $before == --* ]] && _orlop_takes_value "$program" "$command" "$before"; then
        compopt -o default
    elif [[ $word == -* ]]; then
        offers=$(_orlop_options "$program" ${command:+"$command"})
    elif [[ -z $command ]]; then
        offers=$("$program" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
    else
        ids=$("$program" "${root[@]}" list --quiet 2>/dev/null)
        case $command:${#operands[@]} in
            kill:1)
                offers=$(compgen -A signal | grep ^SIG | grep -v RT)
                # By the short name, unless the long one is being typed.
                [[ $word == SIG* ]] || offers=${offers//SIG/}
                ;;
            mounts:0) offers="add remove" ;;
            mounts:1 | start:0 | exec:0 | kill:0 | delete:0 | state:0 | ps:0 | pause:0 | resume:0 | update:0 | events:0 | checkpoint:0)
                offers=$ids ;;
            plan:* | restore:*) compopt -o dirnames ;;
            *) compopt -o default ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word")
}
complete -F _orlop orlop runc
