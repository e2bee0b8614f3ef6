#!/usr/bin/env bash
# Train on Cloud TPU VMs, without Kubernetes: one command reaches every worker of a slice.
#
#   experiments/launch/tpu_vm.sh create     # asks for a slice; it comes when there is one
#   experiments/launch/tpu_vm.sh install    # this repository onto every worker
#   experiments/launch/tpu_vm.sh train --config=configs/emotionet.py --config.data.dir=/shared/data \
#     --workdir=/shared/run --config.batch_size=2048 --config.dtype=bfloat16
#   experiments/launch/tpu_vm.sh delete
#
# Run it in the repository's root. SHARE, a Filestore share as HOST:/NAME, is mounted on /shared:
# data and workdir must be on a file system that all workers share. jax finds the other workers.
set -euo pipefail

NAME=${NAME:-ganimation}
ZONE=${ZONE:-us-west4-a}
TYPE=${TYPE:-v5litepod-256}
VERSION=${VERSION:-v2-alpha-tpuv5-lite}
SHARE=${SHARE:-}
SPOT=${SPOT:-} # 1: cheaper, may be taken away: create and train again, it continues
DIRECTORY=ganimation_jax

on_all_workers() {
  gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="$1"
}

case ${1:-} in
  create)
    gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE" \
      --accelerator-type="$TYPE" --runtime-version="$VERSION" ${SPOT:+--spot}
    echo "when is it ACTIVE: gcloud compute tpus queued-resources describe $NAME --zone=$ZONE" >&2
    ;;
  install)
    archive=$(mktemp)
    trap 'rm -f "$archive"' EXIT
    git archive --format=tar.gz --output="$archive" HEAD # what is committed
    gcloud compute tpus tpu-vm scp "$archive" "$NAME:$DIRECTORY.tar.gz" --zone="$ZONE" --worker=all
    # The image's own Python is 3.10, too old.
    on_all_workers "set -e
      mkdir -p $DIRECTORY && tar -xzf $DIRECTORY.tar.gz -C $DIRECTORY
      sudo apt-get update -qq && sudo apt-get install -y -qq python3.11-venv nfs-common
      python3.11 -m venv $DIRECTORY/.venv
      $DIRECTORY/.venv/bin/pip install --quiet --editable './${DIRECTORY}[tpu]'
      if [ -n '$SHARE' ]; then
        sudo mkdir -p /shared
        mountpoint -q /shared || sudo mount -t nfs '$SHARE' /shared
      fi"
    ;;
  train)
    shift
    flags=$(printf '%q ' "$@")
    on_all_workers "cd $DIRECTORY && exec .venv/bin/python -m ganimation_jax.main --distributed=on $flags"
    ;;
  delete)
    gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force --quiet
    ;;
  *)
    sed -n '2,/^set/{s/^# \{0,1\}//;/^set/!p;}' "$0" >&2
    exit 2
    ;;
esac
