#!/usr/bin/env bash
# The indoor figure of the README: prepare 7-Scenes RedKitchen, train without labels, score against the sensor.
# Usage: [RECIPE=indoor/redkitchen] scripts/video/train_redkitchen.sh FRAMES_FOLDER OUT [--set key=value ...]
# Monodepth2's nets and loss beside it, in about the time of optimizer.steps=7000:
#   RECIPE=driving/monodepth2 ... --set "data.size=[128,160]" "data.shifts=[-10,10]" data.workers=0 run.threads=1 \
#     optimizer.batch_size=4 optimizer.steps=4500
set -euo pipefail
source=${1:?folder with frame-000000.color.* of the sequence}
out=${2:?folder to write}
shift 2
here=$(cd "$(dirname "$0")/../.." && pwd)

depthkit prepare "$source" --format sevenscenes --out "$out/data" --name train --frames 0:320 --size 128x160
depthkit prepare "$source" --format sevenscenes --out "$out/data" --name test --frames 320:400 --split test
depthkit train "$here/configs/${RECIPE:-indoor/redkitchen}.yaml" --run "$out/run" --set data.root="$out/data" "$@"
depthkit infer "$out/run" "$out/data/test" --out "$out/prediction" --trajectory tum --every 10
depthkit infer "$out/run" "$out/data/test" --out "$out/depth"
depthkit evaluate depth --pred "$out/depth" --gt "$out/data/test" --align median --max-depth 10 --report "$out/report"
