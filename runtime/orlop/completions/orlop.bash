# Completion for bash (and for zsh, after bashcompinit): commands and options as the program's own help names them, and container ids.
_orlop() {
    local program=${COMP_WORDS[0]} word=${COMP_WORDS[COMP_CWORD]} command="" root=() at=1
    while ((at < COMP_CWORD)); do
        case ${COMP_WORDS[at]} in
            --root) root=(--root "${COMP_WORDS[at + 1]}") && ((at++)) ;;
            --log | --log-format | --log-level | --cgroup-manager | --rootless) ((at++)) ;;
            -*) ;;
            *) command=${COMP_WORDS[at]} && break ;;
        esac
        ((at++))
    done
    local offers=""
    if [[ ${COMP_WORDS[COMP_CWORD - 1]} == --cgroup-manager ]]; then
        offers="cgroupfs systemd disabled"
    elif [[ -z $command && $word != -* ]]; then
        offers=$("$program" --help 2>/dev/null | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
    elif [[ $word == -* ]]; then
        offers=$("$program" ${command:+"$command"} --help 2>/dev/null | grep -o -- '--[a-z][a-z-]*')
    else
        case $command in
            start | exec | kill | delete | state | ps | pause | resume | update | events | checkpoint)
                offers=$("$program" "${root[@]}" list --quiet 2>/dev/null) ;;
            plan | restore) compopt -o dirnames ;;
            *) compopt -o default ;;
        esac
    fi
    mapfile -t COMPREPLY < <(compgen -W "$offers" -- "$word")
}
complete -F _orlop orlop runc
