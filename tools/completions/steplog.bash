# Bash completion for Steplog's programs. What may follow is asked of the program itself (its --help), so it
# is never out of date; ids of instances are asked of workflow-inspect.

_steplog_help() { "$@" --help 2>/dev/null; }

_steplog_verbs() { awk '/^Subcommands:$/ { on = 1; next } /^[^ ]/ { on = 0 } on && /^  [^ ]/ { print $1 }'; }

_steplog_flags() {
  awk '/^Options:$/ { on = 1; next } /^[^ ]/ { on = 0 }
    on && /^  -/ { split($1, names, ","); for (i in names) print names[i] }'
}

# $1: an option. Its values, where they are few and known.
_steplog_values() {
  case $1 in
    --state) echo pending queued running sleeping waiting stuck completed failed cancelled ;;
    --log-level) echo debug info warn error ;;
    --log-format) echo json text ;;
    --reconcile) echo look repair off ;;
    --id-conflict) echo join reject replace ;;
    --key-conflict) echo queue reject join replace ;;
    --provider) echo stripe clerk resend ;;
    --workflow) echo provision_customer reconcile_accounts tell_people ;;
  esac
}

# The newest instances' ids, whole and as the events they came from. $@: the options that name the database.
_steplog_ids() {
  workflow-inspect list --json --limit 200 "$@" 2>/dev/null | grep -o '"id":"[^"]*"' | cut -d '"' -f 4 |
    sed -n 'p; s,.*/,,p'
}

_steplog_files() {
  mapfile -t COMPREPLY < <(compgen -f -- "$1")
  compopt -o filenames 2>/dev/null
}

_steplog() {
  local program=$1 word=$2 before=$3 help choices verb=() database=() i
  COMPREPLY=()
  case $before in
    --database | --tls-cert | --tls-key) _steplog_files "$word"; return ;;
  esac
  choices=$(_steplog_values "$before")
  help=$(_steplog_help "$program") || return
  for ((i = 1; i < COMP_CWORD; i++)); do
    if [ "${COMP_WORDS[i]}" = --database ]; then
      database=(--database "${COMP_WORDS[i + 1]}")
    elif _steplog_verbs <<<"$help" | grep -qFx -e "${COMP_WORDS[i]}"; then
      verb+=("${COMP_WORDS[i]}")
      help=$(_steplog_help "$program" "${verb[@]}") || return
    fi
  done
  if [ -z "$choices" ]; then
    case $word in
      -*) choices=$(_steplog_flags <<<"$help"; _steplog_help "$program" | _steplog_flags) ;;
      *) choices=$(_steplog_verbs <<<"$help") ;;
    esac
  fi
  if [ -z "$choices" ] && grep -q '^  ID ' <<<"$help"; then choices=$(_steplog_ids "${database[@]}"); fi
  if [ -z "$choices" ] && grep -q '^  FILE ' <<<"$help"; then _steplog_files "$word"; return; fi
  mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$word" | sort -u)
}

complete -F _steplog workflow-server workflow-inspect workflow-resume workflow-admin workflow-sandbox workflow-bench
