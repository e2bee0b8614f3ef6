#!/usr/bin/env bash
# The whole table on one GPU, in under 8 minutes: JSON under ${OUT:-results}, tables beside it.
#
#   experiments/bench_vs_torch/run_gpu.sh [PART ...]     parts: the names below; default: all
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
parts=${*:-step_float32 step_bfloat16 compare inference exact compile}
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

bench() { part "$1" "$2" "$PYTHON" -m ganimation_jax.bench "${@:3}"; }

bench step_float32 90 step --repeats 10
bench step_bfloat16 80 step --dtype bfloat16 --repeats 10
part compare 150 "$PYTHON" experiments/bench_vs_torch/run.py \
  --peers torch,jax,jax-bfloat16,torch-best --repeats 10 --minutes 2.3
bench inference 40 inference --dtype bfloat16 --repeats 10
bench exact 60 exact --dtype bfloat16 --n-critic 2 --repeats 5
bench compile 55 compile --dtype bfloat16
# Only when named, being long: how the step grows.
if [[ " $parts " == *" sweep "* ]]; then
  bench sweep 420 step --dtype bfloat16 --repeats 5 --sweep-batch 50 100 --sweep-n-critic 1 \
    --sweep-image-size 64 256
fi
exit "$failed"
