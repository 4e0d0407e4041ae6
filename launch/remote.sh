# shellcheck shell=bash
# What the workers of a slice are asked to do; what they do is in worker.sh. Sourced by tpu_vm.sh.

# ssh and scp to workers. Flags such as --tunnel-through-iap are known to the alpha commands alone.
remote() { # ssh|scp ARGUMENT...
  if [[ ${TPU_SSH_FLAGS:-} ]]; then
    # shellcheck disable=SC2086 # several flags, one word each
    gcloud_ alpha compute tpus tpu-vm "$@" --zone="$zone" --quiet $TPU_SSH_FLAGS
  else
    gcloud_ compute tpus tpu-vm "$@" --zone="$zone" --quiet
  fi
}

# Runs a shell command on workers.
on() { # WORKER|all COMMAND [FLAG...]
  local worker=$1 command=$2
  shift 2
  remote ssh "$name" --worker="$worker" --command="$command" "$@"
}

# A request to worker.sh as one word for a remote shell.
ask_worker() { printf 'bash glore_jax/launch/worker.sh'; printf ' %q' "$@"; } # REQUEST ARGUMENT...

# A new slice answers its first ssh late: keys travel, machines boot. gcloud makes the key if there
# is none.
warm_up() {
  local i
  for i in 1 2 3 4 5 6; do
    on all true </dev/null && return 0
    say "not every worker of $name answers yet (try $i of 6)"
    sleep "$poll"
  done
  say "error: a worker of $name does not answer ssh: see above which. With an ssh-agent: ssh-add ~/.ssh/google_compute_engine; without outside addresses: TPU_SSH_FLAGS=--tunnel-through-iap"
  return 1
}

# The work directory whose versions a slice has to have: none before there is a run, nor if it may go
# on under others.
versions_of() {
  local flag
  [[ $workdir || -f $state/run ]] || return 0
  load_run
  for flag in "${flags[@]}"; do
    [[ $flag != --other_versions ]] || return 0
  done
  printf '%s' "$workdir"
}

# Copies the commit that is checked out here to every worker, which installs it. Its name goes along
# in a file, COMMIT, from where config.json, manifests and the report have it.
setup_slice() {
  local folder left versions commit code=0
  versions=$(versions_of)
  left=$(git -C "$checkout" status --porcelain --untracked-files=no) || die "setup copies the commit of a git checkout, and $checkout is none"
  commit=$(git -C "$checkout" rev-parse HEAD)
  [[ ! $left ]] || say "note: changes that are not committed stay here: $(printf '%s\n' "$left" | sed 's/^...//' | tr '\n' ' ')"
  warm_up || return
  folder=$(mktemp -d)
  { git -C "$checkout" archive --format=tar.gz --prefix=glore_jax.new/ -o "$folder/glore_jax.tar.gz" "$commit" &&
    remote scp "$folder/glore_jax.tar.gz" "$name:glore_jax.tar.gz" --worker=all </dev/null &&
    on all "rm -rf glore_jax.new && tar xzf glore_jax.tar.gz && echo $commit >glore_jax.new/COMMIT && bash glore_jax.new/launch/worker.sh setup${versions:+ $(printf %q "$versions")}" </dev/null; } || code=1
  rm -rf "$folder"
  ((code == 0)) || say "error: not every worker of $name is set up: see above which; the same command again does no harm"
  return "$code"
}

# Keeps the flags in $state/run, so that `run` without flags and `watch` can start the same again;
# and LIBTPU_INIT_ARGS of the laptop, if it is set.
save_run() { # GLORE_FLAG...
  local flag
  for flag in "$@"; do
    case $flag in --workdir=?*) workdir=${flag#*=} ;; esac
  done
  [[ $workdir ]] || die "run needs --workdir=gs://BUCKET/FOLDER (and --config=configs/FILE.py)"
  flags=("$@")
  [[ $dry ]] && return
  mkdir -p "$state"
  {
    printf 'workdir=%q flags=(' "$workdir" && printf ' %q' "$@" && printf ' )\n'
    [[ ! ${LIBTPU_INIT_ARGS+set} ]] || printf 'LIBTPU_INIT_ARGS=%q\n' "$LIBTPU_INIT_ARGS"
  } >"$state/run"
}

# Sets workdir, flags and run_id.
load_run() {
  if [[ -f $state/run && ! $workdir ]]; then
    # shellcheck disable=SC1091
    . "$state/run"
  elif [[ $dry && ! $workdir ]]; then
    workdir=gs://BUCKET/RUN flags=(--config=configs/FILE.py --workdir=gs://BUCKET/RUN)
  fi
  [[ $workdir ]] || die "slice $name has no run yet: \`run $name --config=configs/FILE.py --workdir=gs://BUCKET/RUN\` first"
  # A run is its work directory: the same name on every worker, after every restart.
  run_id=$(printf '%s' "${workdir#gs://}" | tr -c 'A-Za-z0-9._-' '-')
}

# A worker that runs it already says so, and is left alone.
start_run() {
  local own=''
  [[ ! ${LIBTPU_INIT_ARGS+set} ]] || printf -v own 'LIBTPU_INIT_ARGS=%q ' "$LIBTPU_INIT_ARGS"
  on all "$own$(ask_worker start "$run_id" "$workdir" "${flags[@]}")" </dev/null || {
    say "error: the run did not start on every worker: see above which; the same command again starts it where it is missing"
    return 1
  }
}

stop_run() { on all "$(ask_worker stop "$@")" </dev/null; } # [again]

# A line from each worker on RUN, or on whatever run is there. A fresh machine has no worker.sh that
# could be asked.
worker_states() { # RUN|''
  on all "[ -f glore_jax/launch/worker.sh ] || exec echo 'worker ?: bare'; $(ask_worker status ${1:+"$1"})" </dev/null
}

status_run() {
  if [[ ! $dry ]]; then
    local now
    now=$(slice_state)
    echo "slice $name ($type in $zone): $now"
    [[ $now == READY ]] || return 0
  fi
  worker_states ''
}

show_logs() { # WORKER|all
  if [[ $1 == all ]]; then
    on all "$(ask_worker logs "$run_id")" </dev/null
  else
    on "$1" "$(ask_worker follow "$run_id")"
  fi
}

open_tensorboard() { # PORT
  say "TensorBoard will be on http://localhost:$1 in a moment; Ctrl-C ends it"
  on 0 "$(ask_worker tensorboard "$1" "$workdir")" --ssh-flag="-L $1:localhost:$1"
}

# A run that failed has no report, but its logs are wanted all the more: copy what there is, then
# say what is missing.
fetch_results() { # [FOLDER [PART...]]
  local folder=${1:-$checkout/runs/$run_id} part missing=()
  shift || true
  (($#)) || set -- report logs tb
  [[ $dry ]] || mkdir -p "$folder"
  for part in "$@"; do
    copy_part "$part" "$folder" || missing+=("$part")
  done
  if ((${#missing[@]})); then
    fail "$workdir has no ${missing[*]} yet: \`status $name\` and \`logs $name\` say how far the run is"
  fi
  [[ $dry ]] || say "fetched $* to $folder"
}

copy_part() { # PART FOLDER
  local part=$1 folder=$2
  if [[ $workdir == gs://* || $dry ]]; then
    [[ $dry ]] || mkdir -p "$folder/$part"
    gcloud_ storage rsync --recursive "$workdir/$part" "$folder/$part" </dev/null || {
      # Nothing came: no empty folder that looks as if something had.
      rmdir "$folder/$part" 2>/dev/null
      return 1
    }
  else # a slice of one worker may keep it on its disk
    load_slice
    remote scp "$name:$workdir/$part" "$folder/" --recurse --worker=0 </dev/null
  fi
}
