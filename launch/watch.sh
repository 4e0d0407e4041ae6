# shellcheck shell=bash
# Keeps a run going until it is done. Sourced by tpu_vm.sh.
#
# The work directory holds all that is worth keeping, so there is one cure for everything: the same
# command again, on the same slice if it is there, else on a new one. What is never done: delete a
# slice because of a bad connection, or restart a run that ended by its own fault.

# Looks before bad news counts: pre-empted workers fail first, and their slice says so a little
# later.
grace=3
# Restarts on one slice without an hour of running between them.
patience=3
# After exit code 4, looks before the run is started again: one, then twice as many each time.
longest_pause=64

# Looks every $poll seconds and acts on one word, the slice's state or, if that is READY, `judge`'s:
#
#   done, stopped, busy           the watch ends
#   LOST, GONE                    a new slice, the same run
#   missing, interrupted, failed  bad news: when it has held for more than $grace looks, `failed`
#                                 ends the watch, the others start the run again
#   unanswered                    the same, as often as it takes, but after a pause that grows
#   running, unreachable, ...     wait
watch_run() {
  [[ ! $dry ]] || { rehearse && return; }
  local now verdict last='' bad=0 limit restarts=0 pause=1 since=$SECONDS
  while true; do
    now=$(slice_state)
    ! unwanted || return 0 # asked after the look: whoever deletes says so before the slice goes
    verdict=$now
    [[ $now != READY ]] || verdict=$(judge)
    [[ $verdict == "$last" ]] || say "$(date '+%F %T') $name: $verdict"
    last=$verdict
    case $verdict in
      done)
        say "$run_id is done: \`fetch $name\`, then \`delete $name\`"
        return 0
        ;;
      stopped) say "$run_id was stopped: \`run $name\` goes on with it" && return 0 ;;
      busy) fail "another run is on slice $name: \`status $name\` says which" ;;
      LOST | GONE)
        renew_slice || return
        restarts=0 pause=1 bad=0 last=''
        ;;
      missing | interrupted | unanswered | failed*) bad=$((bad + 1)) ;;
      *) bad=0 ;;
    esac
    [[ $verdict == running ]] || since=$SECONDS
    ((SECONDS - since < 3600)) || restarts=0 pause=1
    limit=$grace
    [[ $verdict != unanswered ]] || limit=$((grace + pause))
    if ((bad > limit)); then
      bad=0
      if [[ $verdict == failed* ]]; then
        show_logs all || true
        say "error: $run_id ended with exit code ${verdict#failed }: its last lines are above; \`run $name\` when it is mended"
        return "${verdict#failed }"
      fi
      if [[ $verdict == unanswered ]]; then
        pause=$((pause < longest_pause ? 2 * pause : pause))
      else
        ((restarts++ < patience)) || fail "$run_id was started again $patience times on slice $name and did not stay up: \`logs $name\`"
      fi
      on_again
    fi
    sleep "$poll"
  done
}

# Whether somebody deleted the slice. Whoever does says so before it goes: only then can a slice
# that is gone be told from one that was taken away.
unwanted() {
  [[ -f $state/deleted || ! -f $state/slice ]] || return
  say "slice $name was deleted: no longer watching"
}

# One word from what the workers say. Anything but an answer of everyone is "unreachable", and
# changes nothing. Exit codes 1 and 2 are a run's own fault; 4 is a bucket or a disk that did not
# answer; all others are what happens to a process whose peers or machine have gone. The worse news
# of one worker counts for all: the order matters.
judge() {
  local answers own
  answers=$(worker_states "$run_id") || { echo unreachable && return; }
  answers=$(printf '%s\n' "$answers" | grep '^worker [0-9?]*: ' || true)
  own=$(printf '%s\n' "$answers" | sed -n 's/^worker [0-9]*: ended \([12]\) .*/\1/p' | sort -n | tail -n 1)
  case $answers in
    '') echo unreachable ;;
    *": busy"*) echo busy ;;
    *": stopped"*) echo stopped ;;
    *": bare"* | *": idle"* | *": lost"*) echo missing ;;
    *": ended "[1-9]*)
      [[ ! $own ]] || { echo "failed $own" && return; }
      [[ $answers != *": ended 4 "* ]] || { echo unanswered && return; }
      echo interrupted
      ;;
    *": running"*) echo running ;;
    *) echo "done" ;;
  esac
}

# Everyone from the start: whoever still runs would wait for a worker that has forgotten the run.
# If a step fails, the next look finds who does not run.
on_again() {
  say "starting $run_id again on $name"
  stop_run again >/dev/null 2>&1 || true
  setup_slice && start_run || true
}

# Until there is one, however long it takes; an error other than "not now" ends the watch.
renew_slice() {
  local code
  say "slice $name is no more: creating it again and going on with $run_id"
  while true; do
    code=0
    delete_slice || code=$?
    ! unwanted || exit 0
    ((code)) || create_slice || code=$?
    ! unwanted || withdraw # deleted while it was asked for
    ((code)) || wait_for_slice || code=$?
    case $code in
      0) break ;;
      3) sleep "$poll" ;; # not now
      *) return "$code" ;;
    esac
  done
  setup_slice && start_run || true
}

# Ends the watch once what was asked for is gone: nobody else knows that it is there.
withdraw() {
  local code
  while true; do
    code=0
    delete_slice || code=$?
    ((code == 3)) || break
    sleep "$poll"
  done
  ((code)) || rm -f "$state/slice"
  exit "$code"
}

# --dry-run: the commands of a look and of a renewal.
rehearse() {
  echo "# at each look:"
  gcloud_ compute tpus tpu-vm describe "$name" --zone="$zone" --format='value(state)'
  worker_states "$run_id"
  echo "# after a pre-emption:"
  delete_slice
  create_slice
  setup_slice
  start_run
}
