#!/usr/bin/env bash
# One worker of a slice: what tpu_vm.sh asks of it over ssh. It runs on the TPU VM, in ~/glore_jax.
#
#   setup [WORKDIR]            put ~/glore_jax.new in place and install it, with a new enough Python
#                              and the versions that were tested, or those that WORKDIR began with
#   start RUN WORKDIR FLAG...  start the run and return; it goes on without whoever asked
#   status [RUN]               one line: running, ended CODE, stopped, lost (the machine went down),
#                              idle, busy with another
#   logs RUN | follow RUN      what the run printed here
#   stop [again]               end the run: first kindly, so that it saves, then not; `again`: it is
#                              to be started again, so that nobody takes it for a person's wish
#   tensorboard PORT WORKDIR   for as long as the connection is open
#
# A TPU belongs to one process at a time, so there is one lock for each machine, and the run holds
# it to its last process: it cannot be held twice, and it never outlives a crash or a reboot, as a
# file with a process id would. What belongs to runs lies in ~/glore_runs:
#
#   lock                       held while a run is here
#   constraints-PYTHON.txt     the versions that are installed
#   current                    the name of the last run
#   RUN/log                    its last log, named by start and worker; RUN/pid, of its supervisor
#   RUN/exit_code              how it ended; none: it is running, or the machine went down
#   RUN/stopped                a person stopped it
set -euo pipefail
runs=$HOME/glore_runs
checkout=$HOME/glore_jax
venv=$HOME/glore_venv
python_version=3.11 # what the tests run on
port=8476           # the coordinator's, on worker 0; the network must let workers reach it

metadata() {
  curl -sf --retry 3 -H 'Metadata-Flavor: Google' \
    "http://metadata.google.internal/computeMetadata/v1/instance/attributes/$1"
}

number=$(metadata agent-worker-number || echo 0)
say() { echo "worker $number: $*"; }
die() { say "error: $*" >&2; exit 1; }

# Nothing runs here. The lock is taken for a moment only, to see whether it can be had.
free() { ! [[ -e $runs/lock ]] || flock -n "$runs/lock" true; }
current() { cat "$runs/current" 2>/dev/null || true; }

setup() { # [WORKDIR]
  local python versions
  free || die "$(current) is running here: \`stop\` first"
  if [[ -d $checkout.new ]]; then
    # A work directory on this disk stays.
    [[ ! -d $checkout/runs ]] || mv "$checkout/runs" "$checkout.new/runs"
    rm -rf "$checkout"
    mv "$checkout.new" "$checkout"
  fi
  [[ -x $venv/bin/pip ]] || make_venv
  python=$("$venv/bin/python" -c 'import sys; print("{}.{}".format(*sys.version_info))')
  versions=constraints-$python.txt
  mkdir -p "$runs"
  rm -f "$runs"/constraints-*
  cp "$checkout/launch/$versions" "$runs/" 2>/dev/null || say "note: no versions were tested with Python $python: installing the newest"
  install_package
  # Only what is installed can read a bucket.
  if [[ ${1:-} ]] && read_kept "$1/$versions" "$runs/$versions"; then
    say "versions of $1"
    install_package
  fi
  # v5e and newer start and end faster with huge pages; the run itself does not need them.
  sudo -n sh -c 'echo always >/sys/kernel/mm/transparent_hugepage/enabled' 2>/dev/null || true
  say "ready: $("$venv/bin/python" -c 'import sys, importlib.metadata as m; print("Python", sys.version.split()[0], *(f"{p} {m.version(p)}" for p in ("jax", "libtpu")))')"
}

install_package() {
  local file constraints=()
  for file in "$runs"/constraints-*; do
    [[ ! -e $file ]] || constraints=(--constraint "$file")
  done
  "$venv/bin/pip" install -q --disable-pip-version-check ${constraints[@]+"${constraints[@]}"} -e "${checkout}[tpu]" tensorboard
}

# 0: FILE is now what the work directory has, which is something else; 1: it has none, or the same.
read_kept() { # URL FILE
  local code=0
  cd "$checkout"
  "$venv/bin/python" - "$@" <<'PYTHON' || code=$?
import pathlib, sys
from etils import epath
source, target = epath.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
kept = source.read_bytes() if source.exists() else None
if kept is None or target.exists() and target.read_bytes() == kept:
    sys.exit(4)
target.write_bytes(kept)
PYTHON
  ((code == 0 || code == 4)) || die "cannot read $1 (the reason is above)"
  return "$code"
}

# TPU VM images come with Python 3.10. uv brings a newer one without apt, which is often locked by
# updates on a fresh machine.
make_venv() {
  local python
  rm -rf "$venv"
  for python in "python$python_version" python3.12 python3.13 python3; do
    if "$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      "$python" -m venv "$venv" && return
      rm -rf "$venv"
    fi
  done
  command -v uv >/dev/null || python3 -m pip install -q --user uv || die "no Python 3.11, and no pip to install uv with: sudo apt-get install python3-pip"
  PATH=$HOME/.local/bin:$PATH uv venv -q --seed --python "$python_version" "$venv"
}

start() { # RUN WORKDIR FLAG...
  local run=$1 workdir=$2
  [[ -x $venv/bin/glore ]] || die "glore is not installed here: \`setup\` first"
  mkdir -p "$runs/$run"
  join_slice "$workdir"
  choose_flags
  # File 9 stays open in everything that is started from here on, and with it the lock is held.
  exec 9>>"$runs/lock"
  if ! flock -n 9; then
    [[ $(current) == "$run" ]] || die "$(current) is running here: \`stop\` first"
    say "already runs $run"
    return
  fi
  echo "$run" >"$runs/current"
  rm -f "$runs/$run/"{exit_code,stopped,pid}
  ln -sfn "$(date -u +%Y%m%dT%H%M%SZ)-worker-$number.log" "$runs/$run/log"
  # A session of its own: no terminal and no ssh connection can end it.
  setsid bash "$checkout/launch/worker.sh" supervise "$@" </dev/null >>"$runs/$run/$(readlink "$runs/$run/log")" 2>&1 &
  echo $! >"$runs/$run/pid"
  say "started $run"
}

# The metadata server knows the workers of a slice, in order; an ssh shell has nothing in its
# environment. With all three variables given, glore itself checks that everyone has come, and names
# who has not.
join_slice() { # WORKDIR
  local endpoints first hosts=()
  endpoints=$(metadata worker-network-endpoints) || die "the metadata server does not say who belongs to this slice: is this a TPU VM?"
  IFS=, read -r -a hosts <<<"$endpoints"
  ((${#hosts[@]} > 1)) || return 0
  [[ $1 == gs://* ]] || die "a slice of ${#hosts[@]} workers needs a work directory that all see: --workdir=gs://BUCKET/FOLDER"
  first=${hosts[0]##*:} # an address, or name:id:address
  export JAX_COORDINATOR_ADDRESS=$first:$port JAX_NUM_PROCESSES=${#hosts[@]} JAX_PROCESS_ID=$number
}

# What the compiler is asked to do on this generation of TPU, unless whoever calls has said it.
choose_flags() {
  local type generation found
  [[ ! ${LIBTPU_INIT_ARGS+set} ]] || return 0
  type=$(metadata accelerator-type) || return 0
  generation=${type%%-*}
  found=$(flags_of "${generation/v5litepod/v5e}")
  [[ ! $found ]] || export LIBTPU_INIT_ARGS=$found
}

flags_of() { # GENERATION
  sed 's/#.*//' "$checkout/launch/libtpu_flags.txt" | awk -F: -v g="$1" 'index(" " $1 " ", " " g " ") { gsub(/ /, "", $2); printf "%s%s", space, $2; space = " " }'
}

# Stays beside the run for its exit code and its log. File 9 is the lock; the run inherits it,
# helpers must not.
supervise() { # RUN WORKDIR FLAG...
  local run=$1 workdir=$2 log child='' told='' mirror code=0
  # Before there is a child: one that is started while a signal comes must hear of it too.
  trap 'told=1; [[ ! $child ]] || kill -TERM $child 2>/dev/null || true' TERM
  shift 2
  cd "$checkout"
  log=$runs/$run/$(readlink "$runs/$run/log")
  mirror_log "$log" "$workdir" "$@" 9>&- &
  mirror=$!
  PYTHONUNBUFFERED=1 "$venv/bin/glore" "$@" &
  child=$!
  [[ ! $told ]] || kill -TERM $child 2>/dev/null || true
  wait $child || code=$?
  while kill -0 $child 2>/dev/null; do # only the signal was heard, the run is still saving
    code=0
    wait $child || code=$?
  done
  kill $mirror 2>/dev/null || true
  copy_log "$log" "$workdir" 9>&- || true
  echo "$code" >"$runs/$run/exit_code"
}

# A pre-empted machine is gone with its disk: the log goes to the work directory while it grows,
# and once the versions, so that the machine which follows gets the same. By then the run has
# accepted them.
mirror_log() { # LOG WORKDIR FLAG...
  local size last=0 kept='' log=$1 workdir=$2
  shift 2
  while sleep "${GLORE_MIRROR_SECONDS:-60}"; do
    size=$(wc -c <"$log")
    [[ $size == "$last" ]] || ! copy_log "$log" "$workdir" || last=$size
    [[ $kept || $number != 0 ]] || ! keep_versions "$workdir" "$@" || kept=1
  done
}

keep_versions() { # WORKDIR FLAG...
  local file
  for file in "$runs"/constraints-*; do
    [[ ! -e $file ]] || "$venv/bin/python" - "$file" "$@" <<'PYTHON' >/dev/null 2>&1 || return
import pathlib, sys
from etils import epath
file, workdir, *flags = sys.argv[1:]
target = epath.Path(workdir) / pathlib.Path(file).name
if "--other_versions" in flags or not target.exists():
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(pathlib.Path(file).read_bytes())
PYTHON
  done
}

copy_log() { # LOG WORKDIR
  "$venv/bin/python" - "$1" "$2/logs/$(basename "$1")" <<'PYTHON' >/dev/null 2>&1
import sys
from etils import epath
target = epath.Path(sys.argv[2])
target.parent.mkdir(parents=True, exist_ok=True)
target.write_bytes(open(sys.argv[1], "rb").read())
PYTHON
}

status() { # [RUN]
  local run
  run=$(current)
  if ! free; then
    if [[ ${1:-$run} == "$run" ]]; then say "running $run"; else say "busy with $run"; fi
  elif [[ ! $run || ${1:-$run} != "$run" ]]; then
    say "idle"
  elif [[ -e $runs/$run/stopped ]]; then
    say "stopped $run"
  elif [[ -e $runs/$run/exit_code ]]; then
    say "ended $(cat "$runs/$run/exit_code") $run"
  else
    say "lost $run"
  fi
}

# A progress bar of some library is one line to tail, however long it gets.
logs() { # RUN
  [[ -e $runs/$1/log ]] || die "no log of $1 here"
  tail -c 20000 "$runs/$1/log" | tr '\r' '\n' | tail -n 30 | sed "s/^/worker $number: /"
}

follow() { # RUN
  [[ -e $runs/$1/log ]] || die "no log of $1 here"
  while_connected tail -n 100 -F "$runs/$1/log"
}

tensorboard() { # PORT WORKDIR
  while_connected "$venv/bin/tensorboard" --host=localhost --port="$1" --logdir="$2/tb"
}

# ssh leaves what it started behind; its end is the end of this input.
while_connected() {
  "$@" </dev/null &
  cat >/dev/null
  kill $! 2>/dev/null || true
}

stop() { # [again]
  local run pid i
  run=$(current)
  [[ ! $run || ${1:-} == again ]] || touch "$runs/$run/stopped"
  if free; then
    say "nothing is running"
    return
  fi
  # The supervisor passes the signal on; its session is the run's process group.
  pid=$(cat "$runs/$run/pid")
  kill -TERM "$pid" 2>/dev/null || true
  for ((i = 0; i < ${GLORE_STOP_SECONDS:-180}; i++)); do
    free && break
    sleep 1
  done
  free || kill -KILL -- "-$pid" 2>/dev/null || true
  say "stopped $run"
}

cd "$HOME"
case ${1:-} in
  setup | start | supervise | status | logs | follow | stop | tensorboard) "$@" ;;
  *) die "unknown request '${1:-}': launch/tpu_vm.sh asks for setup, start, status, logs, follow, stop, tensorboard" ;;
esac
