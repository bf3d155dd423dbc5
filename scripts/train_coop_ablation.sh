#!/usr/bin/env bash
# CoopNet's ablation on synthetic streets with moving vehicles: five variants, equal steps and, for one seed, equal
# initial weights of depth and motion; then the table over all seeds.
# Usage: SEEDS="0 1 2" VARIANTS="zhou minimum cc unbalanced coop" scripts/train_coop_ablation.sh STREETS OUT [key=value ...]
# FLOW_INIT=RUN starts flow, where a variant has it, from a run of configs/driving/flow.yaml.
set -euo pipefail
streets=${1:?data set folder of depthkit synth street}
out=${2:?folder to write}
shift 2
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}

plain=(task=view_synthesis)
declare -A words=(
  [zhou]="${plain[*]} loss.ssim_weight=0 loss.reduction=mean loss.auto_mask=false loss.full_resolution=false loss.smoothness=second_order loss.smoothness_weight=0.1"
  [minimum]="${plain[*]}"
  [cc]="coop.mask=cc coop.balance=none"
  [unbalanced]="coop.balance=none"
  [coop]=""
)
mkdir -p "$out"
for seed in ${SEEDS:-0 1 2}; do
  for variant in ${VARIANTS:-zhou minimum cc unbalanced coop}; do
    name="${variant}_s$seed"
    [ -f "$out/$name.json" ] && continue   # an interrupted ablation goes on
    read -ra own <<< "${words[$variant]}"
    if [ -n "${FLOW_INIT:-}" ] && [[ ${words[$variant]} != *view_synthesis* ]]; then
      own+=("model.flow_init=$FLOW_INIT")
    fi
    again=()
    [ -f "$out/$name/config.yaml" ] && again=(--resume)
    "$python" -m depthkit train "$here/configs/driving/coop.yaml" --run "$out/$name" "${again[@]}" \
      --set data.root="$streets" run.seed="$seed" "${own[@]}" "$@"
    "$python" "$here/scripts/evaluate_coop.py" "$out/$name" "$streets" --name "$name" --out "$out/$name.json"
  done
done
against=()
compgen -G "$out/minimum_s*.json" > /dev/null && against=(--against minimum)
"$python" "$here/scripts/coop_report.py" "$out"/*_s*.json "${against[@]}" --out "$out/ablation.md"
