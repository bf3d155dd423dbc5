#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The pair network that learns without labels: make rotating Still Boxes, train from 64 to 128
# pixels, score unseen scenes over displacements. About an hour and a half of one core.
# A killed run goes on where it stopped when the same command is given again.
# Usage: [SCENES=1800] [TEST=60] [WORKERS=2] scripts/pairs/train_stabilized.sh OUT [--set key=value ...]
set -euo pipefail
out=${1:?folder to write}
shift
scenes=${SCENES:-1800} test=${TEST:-60} workers=${WORKERS:-2}
here=$(cd "$(dirname "$0")/../.." && pwd)

box() { # folder, size, other options
    local folder=$1 size=$2
    shift 2
    depthkit synth stillbox --out "$out/data/$folder" --size "${size}x$size" --depth-only \
        --workers "$workers" --frames 17 "$@"
}
# One degree a frame about each axis: 30 degrees a second.
for size in 64 128; do
    seed=$((size == 64 ? 11 : 12))
    box "rotating_$size" "$size" --scenes "$scenes" --seed "$seed" --noise 1.5 \
        --set "step=[0.06,0.12]" rotation=1.0
    # 0.075 m a frame: 0.25, 0.5, 1, 2 and 4 times the nominal baseline are 1, 2, 4, 8, 16 frames
    box "test_$size" "$size" --scenes "$test" --seed 900 --split test --name unseen \
        --set "step=[0.075,0.075]" rotation=1.0
done

cd "$out" # the recipe's data roots are relative
resume=()
if [ -e stabilized/config.yaml ]; then resume=(--resume); fi
export OPENCV_FOR_THREADS_NUM=1 # flow of small pictures: threads cost more than they bring
depthkit train "$here/configs/uav/stabilized.yaml" --run stabilized "${resume[@]}" "$@"
depthkit evaluate model stabilized/stage_2 data/test_64 --max-depth 100 --report report_64 --force
depthkit evaluate model stabilized data/test_128 --max-depth 100 --report report_128 --force
