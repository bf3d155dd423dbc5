#!/usr/bin/env bash
# CoopNet's ablation on synthetic streets with moving vehicles: variants with equal steps and, for one seed, equal
# initial weights, a short run of view_synthesis; then the table over all seeds.
# Usage: FLOW_INIT=RUN SEEDS="0 1 2" VARIANTS="zhou minimum cc unbalanced coop" scripts/train_coop_ablation.sh STREETS OUT [key=value ...]
# FLOW_INIT: a run of configs/driving/flow_small.yaml, with which flow begins. EVERY=4 scores every fourth frame, as the figures of
# the README do. Two calls with other VARIANTS share two cores.
set -euo pipefail
streets=${1:?data set folder of depthkit synth street}
out=${2:?folder to write}
flow=${FLOW_INIT:?a run of configs/driving/flow_small.yaml}
shift 2
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
config=${CONFIG:-$here/configs/driving/coop_small.yaml}

plain="task=view_synthesis"
declare -A words=(
  [start]="$plain optimizer.steps=1000 optimizer.learning_rate=1e-3 optimizer.gradient_clip=10"
  [zhou]="$plain loss.ssim_weight=0 loss.reduction=mean loss.auto_mask=false loss.smoothness=second_order loss.smoothness_weight=0.1"
  [minimum]="$plain"
  [cc]="coop.mask=cc coop.balance=none coop.contact_weight=0 coop.mask_weight=0 model.flow_init=$flow"
  [unbalanced]="coop.balance=none model.flow_init=$flow"
  [without_mask_net]="coop.mask_weight=0 model.flow_init=$flow"
  [without_contact]="coop.contact_weight=0 model.flow_init=$flow"
  [coop]="model.flow_init=$flow"
)

train() { # NAME VARIANT SEED [key=value ...]
  local name=$1 variant=$2 seed=$3 own again=()
  shift 3
  read -ra own <<< "${words[$variant]}"
  [ -f "$out/$name/config.yaml" ] && again=(--resume) # an interrupted ablation goes on
  "$python" -m depthkit train "$config" --run "$out/$name" "${again[@]}" \
    --set data.root="$streets" run.seed="$seed" "$@" "${own[@]}"
}

mkdir -p "$out"
for seed in ${SEEDS:-0 1 2}; do
  start=$out/start_s$seed
  (
    flock 9 # of two calls the second one waits for the start
    if [ ! -f "$start.done" ]; then
      train "start_s$seed" start "$seed"
      touch "$start.done"
    fi
  ) 9> "$start.lock"
  for variant in ${VARIANTS:-zhou minimum cc unbalanced coop}; do
    name="${variant}_s$seed"
    [ -f "$out/$name.json" ] && continue
    train "$name" "$variant" "$seed" model.init="$start" "$@"
    "$python" "$here/scripts/evaluate_coop.py" "$out/$name" "$streets" --name "$name" \
      --every "${EVERY:-1}" --out "$out/$name.json" --pictures "$out/pictures_$name"
  done
done
against=()
compgen -G "$out/minimum_s*.json" > /dev/null && against=(--against minimum)
"$python" "$here/scripts/coop_report.py" "$out"/*_s*.json "${against[@]}" --out "$out/ablation.md"
