#!/usr/bin/env bash
# A Cloud TPU slice from creation to deletion, for one run of glore_jax.
#
#   launch/tpu_vm.sh create  NAME ZONE TYPE [VERSION]     TYPE such as v5litepod-16, v4-32
#   launch/tpu_vm.sh setup   NAME ZONE                    copy this checkout to every worker and install it
#   launch/tpu_vm.sh run     NAME ZONE GLORE_FLAG...      e.g. --config=configs/gsm8k_llama2_7b.py --workdir=gs://BUCKET/run
#   launch/tpu_vm.sh delete  NAME ZONE
#
# DRY_RUN=1 prints each command instead of running it. The run itself goes on after a pre-emption when `run` is called again.
set -euo pipefail

usage() { sed -n '2,10p' "$0" >&2; exit 2; }
(($# >= 3)) || usage
verb=$1 name=$2 zone=$3
shift 3

gcloud_() {
  if [[ ${DRY_RUN:-} ]]; then
    printf '%q ' gcloud "$@"
    echo
  else
    gcloud "$@"
  fi
}
on_all() { gcloud_ compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"; }

case $verb in
  create)
    (($# >= 1)) || usage
    gcloud_ compute tpus tpu-vm create "$name" --zone="$zone" --accelerator-type="$1" --version="${2:-tpu-ubuntu2204-base}"
    ;;
  setup)
    checkout=$(cd "$(dirname "$0")/.." && pwd)
    archive=$(mktemp -d)/glore_jax.tar.gz
    git -C "$checkout" archive --format=tar.gz --prefix=glore_jax/ -o "$archive" HEAD
    gcloud_ compute tpus tpu-vm scp "$archive" "$name:glore_jax.tar.gz" --zone="$zone" --worker=all
    on_all "tar xzf glore_jax.tar.gz && cd glore_jax && python3 -m venv .venv && .venv/bin/pip install -q -e '.[tpu]'"
    ;;
  run)
    (($# >= 1)) || usage
    on_all "set -o pipefail; cd glore_jax && .venv/bin/glore $(printf '%q ' "$@") 2>&1 | tee -a run.log"
    ;;
  delete)
    gcloud_ compute tpus tpu-vm delete "$name" --zone="$zone" --quiet
    ;;
  *) usage ;;
esac
