#!/usr/bin/env bash
# CoopNet's ablation on synthetic streets with moving vehicles: variants with equal steps and, for one seed, equal
# initial weights, a short run of view_synthesis; then the table over all seeds, OUT/ablation.md, and pictures of each run.
#
# Usage: FLOW_INIT=RUN [SEEDS="0 1 2"] [VARIANTS="zhou minimum cc unbalanced coop"] scripts/coop/train_coop_ablation.sh STREETS OUT [key=value ...]
#
# STREETS: a data set of 'depthkit synth street' with test sequences. FLOW_INIT: a run of configs/driving/flow_small.yaml, with which
# flow begins. VARIANTS: zhou, minimum (and auto-mask), cc, unbalanced, coop, without_mask_net, without_contact. EVERY=4 scores every
# fourth frame, as the figures of the README do; START_STEPS=1000 is the length of the common start. The words are those of
# 'depthkit train --set', for all runs. Called again it goes on; two calls with other VARIANTS share two cores.
set -euo pipefail
refuse() {
  echo "train_coop_ablation: error: $1" >&2
  exit 2
}
if [ $# -lt 2 ] || [[ "$1$2" == *--help* ]]; then
  sed -n '2,/^set /s/^# \{0,1\}//p' "$0" >&2
  exit 2
fi
streets=$1 out=$2 flow=${FLOW_INIT:-}
shift 2
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
config=${CONFIG:-$here/configs/driving/coop_small.yaml}
variants=${VARIANTS:-zhou minimum cc unbalanced coop}

plain="task=view_synthesis"
declare -A words=(
  [start]="$plain optimizer.steps=${START_STEPS:-1000} optimizer.learning_rate=1e-3 optimizer.gradient_clip=10"
  [zhou]="$plain loss.ssim_weight=0 loss.reduction=mean loss.auto_mask=false loss.smoothness=second_order loss.smoothness_weight=0.1"
  [minimum]="$plain"
  [cc]="coop.mask=cc coop.balance=none coop.contact_weight=0 coop.mask_weight=0 model.flow_init=$flow"
  [unbalanced]="coop.balance=none model.flow_init=$flow"
  [without_mask_net]="coop.mask_weight=0 model.flow_init=$flow"
  [without_contact]="coop.contact_weight=0 model.flow_init=$flow"
  [coop]="model.flow_init=$flow"
)
# What would be found out after hours is asked now.
for variant in $variants; do
  [ -n "${words[$variant]:-}" ] || refuse "no variant '$variant'"
  [[ "${words[$variant]}" != *flow_init* ]] || [ -f "$flow/checkpoints/last.safetensors" ] || [ -f "$flow" ] ||
    refuse "variant $variant begins with a trained flow; set FLOW_INIT to a run of flow_small.yaml, not '$flow'"
done
grep -qs '^test:' "$streets/split.yaml" || refuse "$streets: no data set with test sequences ('depthkit synth street --split test' adds some)"
"$python" -m depthkit train "$config" --dry-run --set data.root="$streets" "$@" > /dev/null

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
      train "start_s$seed" start "$seed" "$@"
      touch "$start.done"
    fi
  ) 9> "$start.lock"
  for variant in $variants; do
    name="${variant}_s$seed"
    [ -f "$out/$name.json" ] && continue
    train "$name" "$variant" "$seed" model.init="$start" "$@"
    "$python" "$here/scripts/coop/evaluate_coop.py" "$out/$name" "$streets" --name "$name" \
      --every "${EVERY:-1}" --out "$out/$name.json" --pictures "$out/pictures_$name"
  done
done
against=()
compgen -G "$out/minimum_s*.json" > /dev/null && against=(--against minimum)
"$python" "$here/scripts/coop/coop_report.py" "$out"/*_s*.json "${against[@]}" --out "$out/ablation.md"
