#!/usr/bin/env bash
# A Cloud TPU slice from creation to deletion, for one run of glore_jax (see docs/tpu_vm.md).
#
#   launch/tpu_vm.sh create NAME --zone=ZONE --type=TYPE [--spot] [--queued] [--version=RUNTIME]
#                                [GCLOUD_FLAG...]
#   launch/tpu_vm.sh setup NAME          copy this checkout to every worker and install it
#   launch/tpu_vm.sh run NAME --config=configs/FILE.py --workdir=gs://BUCKET/RUN [GLORE_FLAG...]
#   launch/tpu_vm.sh status NAME         the slice, and the run on every worker
#   launch/tpu_vm.sh watch NAME          until the run is done: after a pre-emption a new slice, the
#                                        same run
#   launch/tpu_vm.sh logs NAME [WORKER]  last lines of all workers, or follow one
#   launch/tpu_vm.sh tensorboard NAME [PORT]
#                                        on http://localhost:6006 until Ctrl-C
#   launch/tpu_vm.sh fetch NAME [FOLDER [PART...]]
#                                        report, logs and tb of the work directory, or other parts
#   launch/tpu_vm.sh stop NAME           end the run, keep the slice
#   launch/tpu_vm.sh delete NAME         end the slice and what it costs
#
# --dry-run (or DRY_RUN=1) prints each command instead. `run` without flags repeats the last command
# of this slice. TPU_SSH_FLAGS="--tunnel-through-iap --batch-size=64" goes to each ssh and scp, with
# gcloud's alpha commands.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(dirname "$here")
poll=${GLORE_POLL_SECONDS:-60}
dry=${DRY_RUN:-}
# shellcheck source=launch/slice.sh
. "$here/slice.sh"
# shellcheck source=launch/remote.sh
. "$here/remote.sh"
# shellcheck source=launch/watch.sh
. "$here/watch.sh"

# The comment at the top of this file.
usage() { sed -n '2,21s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
say() { printf 'tpu_vm: %s\n' "$*" >&2; }
die() { say "error: $*"; exit 2; }
fail() { say "error: $*"; exit 1; }

interrupted() {
  trap - INT
  case $verb in
    create) say "interrupted; the slice may still come up and cost money: \`delete $name\`, or the same command again" ;;
    delete) say "interrupted; the slice may still be there and cost money: the same command again" ;;
    watch) say "no longer watching; the run itself goes on: \`watch $name\` again, or \`delete $name\`" ;;
    setup | run) say "interrupted; some workers may have got it: the same command again" ;;
  esac
  exit 130
}

# Zone and type are asked for once; what belongs to the slice is known from then on.
parse_create() {
  zone='' type='' version='' queued='' extra=()
  local flag
  for flag in "$@"; do
    case $flag in
      --zone=*) zone=${flag#*=} ;;
      --type=* | --accelerator-type=*) type=${flag#*=} ;;
      --version=* | --runtime-version=*) version=${flag#*=} ;;
      --queued) queued=1 ;;
      --*) extra+=("$flag") ;;
      *) die "unexpected argument '$flag': create takes flags of the form --name=value" ;;
    esac
  done
  [[ $zone && $type ]] || die "create needs --zone=ZONE and --type=TYPE, such as --zone=us-west4-a --type=v5litepod-16"
  [[ $version ]] || version=$(runtime_version "$type")
}

words=()
for word in "$@"; do
  if [[ $word == --dry-run ]]; then dry=1; else words+=("$word"); fi
done
((${#words[@]} >= 2)) || usage
set -- "${words[@]}"
verb=$1 name=$2
shift 2
[[ $name =~ ^[a-z]([-a-z0-9]*[a-z0-9])?$ ]] || die "'$name' is no name of a slice: small letters, digits and hyphens, a letter first"
state=${GLORE_SLICES:-$checkout/runs/tpu}/$name
workdir='' flags=() # the run, once it is known
trap interrupted INT

case $verb in
  create)
    parse_create "$@"
    known=$(described_slice)
    [[ ! -f $state/slice || $(cat "$state/slice") == "$known" ]] ||
      die "slice $name exists with other settings ($(head -n 1 "$state/slice")): \`delete $name\` first, or choose another name"
    [[ $dry ]] || rm -f "$state/deleted"
    create_slice
    wait_for_slice
    ;;
  setup)
    load_slice
    setup_slice
    ;;
  run)
    load_slice
    (($# == 0)) || save_run "$@"
    load_run
    start_run
    ;;
  watch | logs | tensorboard)
    load_slice
    load_run
    case $verb in
      watch) watch_run ;;
      logs) show_logs "${1:-all}" ;;
      tensorboard) open_tensorboard "${1:-6006}" ;;
    esac
    ;;
  fetch) # works when the slice is gone
    load_run
    fetch_results "$@"
    ;;
  status | stop)
    load_slice
    "${verb}_run"
    ;;
  delete)
    load_slice
    [[ $dry ]] || touch "$state/deleted" # before the slice goes: \`watch\` must not bring it back
    delete_slice
    [[ $dry ]] || rm -f "$state/slice"
    ;;
  *) usage ;;
esac
