#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shipped pair network: make Still Boxes, train from 64 to 128 pixels, score unseen scenes over
# displacements beside the classical answer and the best constant. About an hour of one core, and
# ten minutes of rendering. A killed run goes on where it stopped when the same command is given.
# Usage: [SCENES=2600] [TEST=60] [WORKERS=2] scripts/pairs/train_sweepnet.sh OUT [--set key=value ...]
set -euo pipefail
out=${1:?folder to write}
shift
scenes=${SCENES:-2600} test=${TEST:-60} workers=${WORKERS:-2}
here=$(cd "$(dirname "$0")/../.." && pwd)

box() { # folder, size, other options
    local folder=$1 size=$2
    shift 2
    depthkit synth stillbox --out "$out/data/$folder" --size "${size}x$size" --depth-only \
        --workers "$workers" "$@"
}
# A little noise and exposure: real cameras have them.
box stillbox_64 64 --scenes "$scenes" --frames 10 --seed 1 --noise 1.5 --exposure 0.2
box stillbox_128 128 --scenes "$scenes" --frames 10 --seed 2 --noise 1.5 --exposure 0.2
# Small rooms beside the large ones, and narrow views: near things fill the picture indoors.
box stillbox_128 128 --scenes "$((scenes / 3))" --frames 10 --seed 3 --noise 2.5 \
    --exposure 0.4 --name near --set "room=[3.5,25]" "distance=[0.5,12]"
box stillbox_128 128 --scenes "$((scenes / 3))" --frames 10 --seed 31 --noise 2.5 --exposure 0.4 \
    --name narrow --set "room=[3.5,25]" "distance=[0.5,12]" field_of_view=53.13 "step=[0.03,0.03]"
# 0.075 m a frame: 0.25, 0.5, 1, 2 and 4 times the nominal baseline are 1, 2, 4, 8, 16 frames
box test_128 128 --scenes "$test" --frames 17 --seed 900 --split test \
    --name unseen --set "step=[0.075,0.075]"

cd "$out" # the recipe's data roots are relative
resume=()
if [ -e sweepnet/config.yaml ]; then resume=(--resume); fi
depthkit train "$here/configs/uav/sweepnet.yaml" --run sweepnet "${resume[@]}" "$@"
depthkit evaluate model sweepnet data/test_128 --max-depth 100 --report report_128 --force
