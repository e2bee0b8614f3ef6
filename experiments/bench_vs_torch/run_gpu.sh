#!/usr/bin/env bash
# The whole table on one GPU, in under 8 minutes: JSON under ${OUT:-results}, tables beside it.
#
#   experiments/bench_vs_torch/run_gpu.sh [PART ...]     parts: the names below; default: all
#
# DATA=DIR, a prepared dataset, adds the part `train`, two minutes more: the command line, with
# loader, logging and checkpoints. SIZES="--image-size 32 --width 8 --batch 8" with
# JAX_PLATFORMS=cpu tries the script where there is no GPU.
#
# Each part has its own time limit and keeps what it has when that strikes; a part that fails
# does not stop the others, and the exit code counts those that did.
set -uo pipefail
cd "$(dirname "$0")/../.."
OUT=${OUT:-results}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
# Fail without a GPU rather than measure the CPU; FLOPs are counted on the CPU.
export JAX_PLATFORMS=${JAX_PLATFORMS:-cuda,cpu}
# What one part compiles the next need not: its compilation is measured in a cache of its own.
export JAX_COMPILATION_CACHE_DIR=${JAX_COMPILATION_CACHE_DIR:-$(mktemp -d)}
export PYTHONUNBUFFERED=1
read -ra sizes <<<"${SIZES:-}"
parts=${*:-train step_float32 step_bfloat16 people compare inference exact compile}
failed=0

part() { # name, seconds, command...
  local name=$1 seconds=$2
  shift 2
  [[ " $parts " == *" $name "* ]] || return 0
  echo "== $name, at most $seconds s" >&2
  local start=$SECONDS
  timeout "$seconds" "$@" --json "$OUT/$name.json" 2>"$OUT/$name.log" | tee "$OUT/$name.txt"
  local code=${PIPESTATUS[0]}
  echo "== $name: exit $code after $((SECONDS - start)) s" >&2
  if ((code)); then
    tail -n 5 "$OUT/$name.log" >&2
    failed=$((failed + 1))
  fi
}

bench() { part "$1" "$2" "$PYTHON" -m ganimation_jax.bench "${@:3}" "${sizes[@]}"; }

train() { # name, more flags...: prints progress with images/s, and writes metrics as JSON lines
  [[ " $parts " == *" train "* && -n ${DATA:-} ]] || return 0
  echo "== $1, at most 60 s" >&2
  local run
  run=$(mktemp -d)
  timeout 60 "$PYTHON" -m ganimation_jax.main --config=configs/emotionet.py \
    --config.data.dir="$DATA" --config.dtype=bfloat16 --config.wandb.mode=disabled \
    --config.every.log=12500 --config.every.checkpoint=50000 "${@:2}" \
    --workdir="$run" 2>&1 | tee "$OUT/$1.txt"
  local code=${PIPESTATUS[0]}
  cp "$run/metrics.jsonl" "$OUT/$1.jsonl"
  rm -rf "$run"
  # 124: the time was up, as meant; the paper's schedule takes longer.
  ((code == 0 || code == 124)) || failed=$((failed + 1))
}

read -ra train_flags <<<"${TRAIN_FLAGS:-}"
train train_loader "${train_flags[@]}"
train train_resident --config.data.resident=True "${train_flags[@]}"

bench step_float32 80 step --repeats 10
bench step_bfloat16 70 step --dtype bfloat16 --repeats 10
# The step of the model that ships, at its own sizes: those of SIZES do not apply.
bench people 50 step --config=emotionet:people --repeats 10
part compare 140 "$PYTHON" experiments/bench_vs_torch/run.py \
  --peers "${PEERS:-torch,jax,jax-bfloat16,torch-best}" --repeats 10 --minutes 2.1 "${sizes[@]}"
bench inference 35 inference --dtype bfloat16 --repeats 10
bench exact 50 exact --dtype bfloat16 --n-critic 2 --repeats 5
bench compile 50 compile --dtype bfloat16
# Only when named, being long: how the step grows.
if [[ " $parts " == *" sweep "* ]]; then
  bench sweep 420 step --dtype bfloat16 --repeats 5 --sweep-batch 50 100 --sweep-n-critic 1 \
    --sweep-image-size 64 256
fi
exit "$failed"
