#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shipped flow network goes on without labels on open real clips and rendered worlds, scored on Middlebury's pairs
# beside OpenCV's DIS. Half an hour of one core, and five minutes of rendering; a killed run goes on where it stopped.
# Usage: scripts/flow/train_flow_real.sh REDKITCHEN KITTI_RAW MIDDLEBURY OUT [key=value ...]
set -euo pipefail
kitchen=${1:?folder with frame-000000.color.* of 7-Scenes RedKitchen}
driving=${2:?folder of KITTI raw with one drive}
pairs=${3:?folder of Middlebury pairs with flow10.flo}
out=${4:?folder to write}
shift 4
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
depthkit=("$python" -m depthkit)
size=384x512

"${depthkit[@]}" synth street --out "$out/data" --scenes 24 --frames 20 --size $size --seed 700 --set 'speed=[3,9]' moving=0.5
"${depthkit[@]}" synth stillbox --out "$out/data" --scenes 24 --frames 20 --size $size --seed 700
for every in 1 4 8; do # its camera is slow: 7 mm a frame
  [ -d "$out/data/kitchen_$every" ] || "${depthkit[@]}" prepare "$kitchen" --format sevenscenes --out "$out/data" \
    --name "kitchen_$every" --frames 0:320 --every $every --size $size
done
[ -d "$out/data/drive" ] || "${depthkit[@]}" prepare "$driving" --out "$out/data" --name drive --size $size --fit crop
again=()
[ -f "$out/run/config.yaml" ] && again=(--resume) # what was interrupted goes on
"${depthkit[@]}" train "$here/configs/driving/flow_general.yaml" --run "$out/run" "${again[@]}" \
  --set data.root="$out/data" model.init=flow-synthetic optimizer.steps=4500 "$@"
for who in dis "$out/run"; do
  "$python" "$here/scripts/flow/predict_flow.py" "$who" "$pairs" --out "$out/flow_$(basename "$who")"
  "${depthkit[@]}" evaluate flow --pred "$out/flow_$(basename "$who")" --gt "$pairs"
done
