#!/usr/bin/env bash
# Several processes of one job on this machine, over the loopback.
#
#   experiments/launch/local.sh N --config=configs/emotionet.py --config.data.dir=DATA --workdir=RUN
#
# The GPUs of CUDA_VISIBLE_DEVICES, or else those that nvidia-smi lists, are shared out evenly.
# TERM and INT are passed on as TERM, so that the job saves. If a process fails, the others get
# TERM and, GRACE seconds later, KILL. Exits with the code of the first that failed: 75 asks to
# be run again. Needs bash 5.1 or newer.
set -uo pipefail

PYTHON=${PYTHON:-python3}
GRACE=${GRACE:-60} # seconds to save in
read -ra command <<<"${COMMAND:-$PYTHON -m ganimation_jax.main}"
PREEMPTED=75

processes=${1:-}
if ! [[ $processes =~ ^[1-9][0-9]*$ ]]; then
  echo "usage: $0 N [flags of ganimation_jax.main]: N is the number of processes" >&2
  exit 2
fi
shift
if [[ -z ${PORT:-} ]]; then
  PORT=$("$PYTHON" -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])') || exit 2
fi

gpus=()
if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then # set and empty: no GPU
  IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES"
elif command -v nvidia-smi >/dev/null; then
  mapfile -t gpus < <(nvidia-smi --query-gpu=index --format=csv,noheader)
fi
if ((${#gpus[@]} % processes)); then
  echo "${#gpus[@]} GPUs cannot be shared out evenly among $processes processes" >&2
  exit 2
fi
share=$((${#gpus[@]} / processes))

declare -A running=() # process id -> number in the job
stopping=0
terminate() { for pid in "${!running[@]}"; do kill -TERM "$pid" 2>/dev/null; done; }
trap 'stopping=1; terminate' TERM INT

for ((i = 0; i < processes; i++)); do
  mine=("${gpus[@]:i*share:share}")
  (
    ((share == 0)) || CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${mine[*]}") && export CUDA_VISIBLE_DEVICES
    exec "${command[@]}" "$@" --distributed=on --coordinator="127.0.0.1:$PORT" \
      --processes="$processes" --process="$i"
  ) &
  running[$!]=$i
done
((stopping == 0)) || terminate # those that were started after the signal

code=0
while ((${#running[@]})) && ((code == 0)); do
  wait -n -p ended "${!running[@]}"
  status=$?
  [[ -n ${ended:-} ]] || continue # woken by a signal: nothing has ended
  ((status == 0)) || echo "process ${running[$ended]} of $processes: exit code $status" >&2
  unset "running[$ended]"
  code=$status
done

if ((code)); then
  ((code == PREEMPTED)) || terminate # after a preemption the others are saving already
  deadline=$((SECONDS + GRACE))
  while ((${#running[@]})); do
    for pid in "${!running[@]}"; do
      kill -0 "$pid" 2>/dev/null || unset "running[$pid]"
    done
    if ((SECONDS >= deadline)); then
      for pid in "${!running[@]}"; do kill -KILL "$pid" 2>/dev/null; done
      break
    fi
    sleep 0.1
  done
  wait
fi
exit "$code"
