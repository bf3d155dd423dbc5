#!/usr/bin/env bash
# Flow learnt without labels on open real clips and rendered worlds, scored on Middlebury's pairs beside OpenCV's DIS.
# Usage: scripts/train_flow_real.sh REDKITCHEN KITTI_RAW MIDDLEBURY OUT [key=value ...]
# model.init=RUN goes on from a run of configs/driving/flow.yaml.
set -euo pipefail
kitchen=${1:?folder with frame-000000.color.* of 7-Scenes RedKitchen}
driving=${2:?folder of KITTI raw with one drive}
pairs=${3:?folder of Middlebury pairs with flow10.flo}
out=${4:?folder to write}
shift 4
here=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python}
depthkit=("$python" -m depthkit)
size=192x256

"${depthkit[@]}" synth street --out "$out/data" --scenes 24 --frames 20 --size $size --seed 700 --set 'speed=[3,9]' moving=0.5
"${depthkit[@]}" synth stillbox --out "$out/data" --scenes 24 --frames 20 --size $size --seed 700
[ -d "$out/data/kitchen" ] || "${depthkit[@]}" prepare "$kitchen" --format sevenscenes --out "$out/data" --name kitchen --frames 0:320 --size $size
[ -d "$out/data/drive" ] || "${depthkit[@]}" prepare "$driving" --out "$out/data" --name drive --size $size --fit crop
again=()
[ -f "$out/run/config.yaml" ] && again=(--resume) # what was interrupted goes on
"${depthkit[@]}" train "$here/configs/driving/flow.yaml" --run "$out/run" "${again[@]}" \
  --set data.root="$out/data" 'data.size=[192,256]' 'flow.window=[160,208]' optimizer.steps=1500 flow.teacher_steps=800 \
  flow.occlusion_from=300 optimizer.learning_rate=4e-4 "$@"
for who in dis "$out/run"; do
  "$python" "$here/scripts/predict_flow.py" "$who" "$pairs" --out "$out/flow_$(basename "$who")"
  "${depthkit[@]}" evaluate flow --pred "$out/flow_$(basename "$who")" --gt "$pairs"
done
