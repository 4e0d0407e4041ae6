# shellcheck shell=bash
# The slice itself: create, state, delete. Sourced by tpu_vm.sh.
#
# What belongs to a slice (zone, type, how it was asked for) is kept in $state/slice, so that
# `watch` can ask for the same again; what belongs to the run (its flags) in $state/run, which
# outlives the slice. Both are read as shell.

# With --dry-run the command is printed instead, as one could type it.

gcloud_() {
  if [[ $dry ]]; then
    printf '%q ' gcloud "$@"
    echo
  else
    gcloud "$@"
  fi
}

# What gcloud says on stderr decides what to do next: it goes to the person and into $said. Its
# stdout takes the way round the pipe, by file 3.
attempt() { # GCLOUD_ARGUMENT...
  local file code=0
  file=$(mktemp)
  { gcloud_ "$@" 2>&1 1>&3 </dev/null | tee "$file" >&2; } 3>&1 || code=$?
  said=$(cat "$file")
  rm -f "$file"
  return "$code"
}

# The image of a TPU VM depends on the generation of its chips.
runtime_version() { # TYPE
  case $1 in
    v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5e-*) die "the type of a v5e slice is called v5litepod-${1#v5e-}" ;;
    *) die "no runtime version is known for type $1: add --version=RUNTIME (gcloud compute tpus tpu-vm versions list)" ;;
  esac
}

# The content of $state/slice.
described_slice() {
  printf 'zone=%q type=%q version=%q queued=%q\n' "$zone" "$type" "$version" "$queued"
  printf 'extra=('
  ((${#extra[@]} == 0)) || printf ' %q' "${extra[@]}"
  printf ' )\n'
}

load_slice() {
  extra=() queued=''
  if [[ -f $state/slice ]]; then
    # shellcheck disable=SC1091
    . "$state/slice"
  elif [[ $dry ]]; then
    zone=ZONE type=TYPE version=RUNTIME
  else
    die "no slice $name is known here: \`create $name --zone=ZONE --type=TYPE\` first (for one made elsewhere too)"
  fi
}

# Whether what gcloud has just said is that it did not get through to Google, or heard no answer:
# what was asked for may be done all the same, and the same command again is right.
unreached() {
  case $said in
    *nreachable* | *UNAVAILABLE* | *DEADLINE_EXCEEDED* | *"imed out"* | *"Max retries exceeded"*) ;;
    *ConnectionError* | *"onnection reset"* | *"onnection aborted"* | *"onnection refused"*) ;;
    *"name resolution"* | *"service not known"* | *"Unable to find the server"*) ;;
    *) return 1 ;;
  esac
  say "error: gcloud does not reach Google (its reason is above)"
}

# 0: it is there or in the queue; 3: not now (no capacity, quota that is still in use, or no
# connection); other: gcloud's own exit code.
create_slice() {
  local code=0 request=()
  if [[ $queued ]]; then
    request=(queued-resources create "$name" --node-id="$name" --runtime-version="$version")
  else
    request=(tpu-vm create "$name" --version="$version")
  fi
  request+=(--zone="$zone" --accelerator-type="$type" --scopes=https://www.googleapis.com/auth/cloud-platform)
  ((${#extra[@]} == 0)) || request+=("${extra[@]}")
  # Before gcloud is asked: whatever it leaves behind, `delete` must be able to find.
  [[ $dry ]] || { mkdir -p "$state" && described_slice >"$state/slice"; }
  attempt compute tpus "${request[@]}" || code=$?
  ((code)) || return 0
  case $said in
    *ALREADY_EXISTS* | *"already exists"*)
      say "slice $name exists already, going on with it"
      return 0
      ;;
    *[Qq]uota*) say "error: the project's quota in $zone does not reach for $type: ask for more, or another type or zone (docs/tpu_vm.md)" ;;
    *"no more capacity"* | *"nsufficient capacity"* | *RESOURCE_EXHAUSTED* | *stockout*)
      say "error: no capacity for $type in $zone now: later, another zone, or --queued to wait in line"
      ;;
    *)
      ! unreached || return 3
      say "error: the slice was not created (gcloud's reason is above); \`delete $name\` removes what may be left of it"
      return "$code"
      ;;
  esac
  # Nothing was made, so another zone may be tried under the same name. `watch` keeps asking.
  [[ $verb == watch ]] || rm -f "$state/slice"
  return 3
}

# Only a queued slice keeps one waiting: in the queue, as long as it takes.
wait_for_slice() {
  [[ $queued && ! $dry ]] || return 0
  local now last=''
  while true; do
    now=$(slice_state)
    case $now in
      READY) return 0 ;;
      LOST | GONE)
        say "error: the request for $name failed or expired: \`delete $name\`, then \`create\` again"
        return 3
        ;;
    esac
    [[ $now == "$last" ]] || say "slice $name: $now (Ctrl-C keeps its place in the queue)"
    last=$now
    sleep "$poll"
  done
}

# One word:
#   READY        the workers can be asked
#   WAITING      it will come up
#   LOST         pre-empted or failed: it will not
#   GONE         there is no such slice
#   UNREACHABLE  gcloud cannot say
slice_state() {
  local answer
  if [[ $queued ]]; then
    answer=$(describe queued-resources 'value(state.state)')
    case $answer in
      ACTIVE) ;; # what counts now is its node
      SUSPENDING | SUSPENDED | FAILED | DELETING) echo LOST && return ;;
      GONE | UNREACHABLE) echo "$answer" && return ;;
      *) echo WAITING && return ;;
    esac
  fi
  answer=$(describe tpu-vm 'value(state)')
  case $answer in
    READY | GONE | UNREACHABLE) echo "$answer" ;;
    PREEMPTED | TERMINATED | STOPPED | DELETING | HIDDEN | UNKNOWN) echo LOST ;;
    *) echo WAITING ;;
  esac
}

describe() { # tpu-vm|queued-resources FORMAT
  local answer
  if answer=$(gcloud compute tpus "$1" describe "$name" --zone="$zone" --format="$2" 2>&1 </dev/null); then
    printf '%s\n' "$answer" | tail -n 1
  elif [[ $answer == *NOT_FOUND* || $answer == *"not found"* ]]; then
    echo GONE
  else
    printf '%s\n' "$answer" | tail -n 1 >&2
    echo UNREACHABLE
  fi
}

# 0 too if it is gone already; 3: no connection; other: gcloud's own exit code.
delete_slice() {
  local code=0
  if [[ $queued ]]; then
    attempt compute tpus queued-resources delete "$name" --zone="$zone" --force --quiet || code=$?
  else
    attempt compute tpus tpu-vm delete "$name" --zone="$zone" --quiet || code=$?
  fi
  if ((code)) && [[ $said != *NOT_FOUND* && $said != *"not found"* ]]; then
    ! unreached || code=3
    say "error: slice $name may still be there and cost money: the same command again"
    return "$code"
  fi
}
