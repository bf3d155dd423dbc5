#!/usr/bin/env bash
# CoopNet on real driving: KITTI odometry 00 and 02 (frames 0-199) and one drive of KITTI raw, without labels; 5-frame ATE
# on frames 200-299 beside view_synthesis of equal steps from the same weights, and pictures of what moves in the drive.
# Usage: FLOW_INIT=RUN scripts/coop/train_kitti_coop.sh KITTI_ODOMETRY KITTI_RAW OUT [key=value ...]
# FLOW_INIT: a run of configs/driving/flow_small.yaml, with which flow begins.
set -euo pipefail
odometry=${1:?folder with sequences/ and poses/}
raw=${2:?folder of KITTI raw with one drive}
out=${3:?folder to write}
flow=${FLOW_INIT:?a run of configs/driving/flow_small.yaml}
shift 3
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
depthkit=("$python" -m depthkit)

for sequence in 00 02; do
  for part in "0:200 train train" "200:300 test test"; do
    read -r frames name split <<< "$part"
    [ -d "$out/data/${sequence}_$name" ] || "${depthkit[@]}" prepare "$odometry" --out "$out/data" --size 128x416 --sequence "$sequence" \
      --frames "$frames" --name "${sequence}_$name" --split "$split"
  done
done
[ -d "$out/data/drive" ] || "${depthkit[@]}" prepare "$raw" --out "$out/data" --size 128x416 --name drive
plain="task=view_synthesis"
train() { # NAME key=value ...
  local name=$1 again=()
  shift
  [ -f "$out/$name/config.yaml" ] && again=(--resume) # what was interrupted goes on
  "${depthkit[@]}" train "$here/configs/driving/coop_small.yaml" --run "$out/$name" "${again[@]}" --set data.root="$out/data" "$@"
}
train start "$@" $plain optimizer.steps=1500 optimizer.learning_rate=1e-3
train view_synthesis optimizer.steps=600 "$@" model.init="$out/start" $plain
train coop optimizer.steps=600 "$@" model.init="$out/start" model.flow_init="$flow"
for run in view_synthesis coop; do
  for name in 00_test 02_test; do
    "${depthkit[@]}" infer "$out/$run" "$out/data/$name" --out "$out/${run}_$name" --trajectory tum
    "${depthkit[@]}" evaluate odometry --estimate "$out/${run}_$name/trajectory_tum.txt" \
      --reference "$out/data/$name/poses.txt" --align 7dof --report "$out/report_${run}_$name"
  done
done
"${depthkit[@]}" export "$out/coop" --part flow --out "$out/flow.onnx"
"${depthkit[@]}" infer "$out/coop" "$out/data/drive" --flow "$out/flow.onnx" --out "$out/drive"
