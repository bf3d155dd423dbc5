#!/usr/bin/env bash
# The driving figure of the README: KITTI odometry 00 and 02, trained on frames 0-199, scored on 200-299.
# Usage: scripts/video/train_kitti_small.sh KITTI_ODOMETRY OUT [--set key=value ...]
set -euo pipefail
source=${1:?folder with sequences/ and poses/}
out=${2:?folder to write}
shift 2
here=$(cd "$(dirname "$0")/../.." && pwd)

for sequence in 00 02; do
  prepare=(depthkit prepare "$source" --out "$out/data" --size 128x416 --sequence "$sequence")
  "${prepare[@]}" --frames 0:200 --name "${sequence}_train"
  "${prepare[@]}" --frames 200:300 --name "${sequence}_test" --split test
  "${prepare[@]}" --frames 0:300 --name "${sequence}_all" --split test
done
depthkit train "$here/configs/driving/kitti_small.yaml" --run "$out/run" --set data.root="$out/data" "$@"
for name in 00_test 02_test 00_all 02_all; do
  depthkit infer "$out/run" "$out/data/$name" --out "$out/$name" --trajectory tum
  depthkit evaluate odometry --estimate "$out/$name/trajectory_tum.txt" \
    --reference "$out/data/$name/poses.txt" --align 7dof --report "$out/report_$name"
done
