#!/usr/bin/env bash
# On a GPU host without a network and with a limit on its time: what groups of runs lack, then what an answer costs.
#
#   setsid bash scripts/experiments/lease.sh KIT WORK SECONDS GROUP [GROUP…]     from the course's root, on the host
#
# KIT holds what was carried there: checkpoint/ and site/ (unpacked weights and wheels), pools/ (`adapter_runs draw`),
#   and, to measure serving, model.gguf and a llama-server. LLAMA_SERVER names that program; without it nothing is asked.
# WORK gets a log that ends with FINISHED, out/ for `adapter_runs keep OUT assets/reference/GROUP --group GROUP --join`,
#   and out/serving.json. Runs begin until 360 seconds before the end (140 without a server) and have 120 to end.
# The environment says COURSE_REVISION, as a host has the files alone, and JOBS, 6 unless given: three a card are
#   launched side by side, which took 16 s a run of 200 steps on two H200.
set -u
kit=$1 work=$2 seconds=$3
shift 3
export PYTHONPATH=$kit/site:$PWD/src:$PWD HF_HUB_OFFLINE=1 UNSLOTH_DISABLE_STATISTICS=1 PYTHONUNBUFFERED=1
export TORCHINDUCTOR_COMPILE_THREADS=4
mkdir -p "$work/out"
say() { echo "[$SECONDS] $*" >> "$work/log"; }
reserve=20
[ -n "${LLAMA_SERVER:-}" ] && reserve=240

begin=$((seconds - reserve - 120)) # after it no run begins
runs=$(python3 - "$@" << 'PYTHON'
import json, sys
from dataclasses import asdict
from pathlib import Path
from scripts.experiments import adapter_runs, run_groups
runs = [run for group in sys.argv[1:] for run in run_groups.runs_of(group, Path("."))]
print(json.dumps([asdict(run) for run in adapter_runs.lacking(runs)]))
PYTHON
) || { say "the runs cannot be listed"; say FINISHED; exit 1; } # no list would mean another group's
say "$(grep -o '"group"' <<< "$runs" | wc -l) runs to do"
timeout $((seconds - reserve - SECONDS)) python3 -m scripts.experiments.adapter_runs train "$kit/checkpoint" "$kit/pools" \
  "$work/out" --runs "$runs" --jobs "${JOBS:-6}" --seconds $((begin - SECONDS)) >> "$work/log" 2> "$work/train.err"
say "runs ended: $?"
pkill -f loky # workers of a run that was cut off hold the card
if [ -n "${LLAMA_SERVER:-}" ]; then
  timeout $((seconds - SECONDS)) python3 -m scripts.experiments.serving_runs "$kit/checkpoint" assets/reference/adapter \
    "$LLAMA_SERVER" "$work/out/serving.json" --base-gguf "$kit/model.gguf" >> "$work/log" 2> "$work/serving.err"
  say "serving ended: $?"
fi
say FINISHED
