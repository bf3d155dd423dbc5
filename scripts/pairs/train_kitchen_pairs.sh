#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shipped pair network goes on without labels on a real video with poses: 7-Scenes RedKitchen,
# frames 0-319; scored on frames 320-399 over baselines, in metres, before and after.
# Usage: DEPTHKIT_TEST_DATA=FOLDER scripts/pairs/train_kitchen_pairs.sh OUT [--set key=value ...]
set -euo pipefail
out=${1:?folder to write}
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
source=${DEPTHKIT_TEST_DATA:-$here/../shared/data}/sevenscenes_redkitchen

part() { # name, frames, split
    depthkit prepare "$source" --out "$out/data/kitchen" --format sevenscenes --size 96x128 \
        --name "$1" --frames "$2" --split "$3"
}
part train 0:320 train
part test 320:400 test

cd "$out" # the recipe's data root is relative
resume=()
if [ -e kitchen_pairs/config.yaml ]; then resume=(--resume); fi
export OPENCV_FOR_THREADS_NUM=1 # small pictures: threads cost more than they bring
depthkit train "$here/configs/indoor/kitchen_pairs.yaml" --run kitchen_pairs "${resume[@]}" "$@"
for model in sweepnet-stillbox kitchen_pairs; do
    depthkit evaluate model "$model" data/kitchen/test --baseline 0.1 --max-depth 10
    depthkit evaluate model "$model" data/kitchen/test --rule multi_range --max-depth 10
done
