#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Keypoints by SuperPoint's way [DeTone 2018]: render shapes, train the detector on them, label
# pictures by homographic adaptation, train detector and descriptors together, export.
# sh scripts/keypoints/train_superpoint.sh OUT PICTURES [MINUTES]
# PICTURES: a folder of pictures of any size; MINUTES of one core for the last training (20). Before
# it, about: 4 minutes of one core to render, 10 to train the detector, 5 to label.
set -e
out=${1:?folder for data, runs and the model}
pictures=${2:?folder of pictures}
minutes=${3:-20}
here=$(dirname "$0")
per_minute=100 # steps of configs/keypoints/superpoint.yaml in a minute of one core
[ -d "$out/shapes/shapes_00000" ] || depthkit synth shapes --out "$out/shapes" --scenes 16 \
    --frames 250 --size 240x320 --seed 100
[ -d "$out/shapes/shapesval_00000" ] || depthkit synth shapes --out "$out/shapes" --scenes 1 \
    --frames 64 --size 240x320 --seed 900 --name shapesval --split val
[ -d "$out/detector" ] || depthkit train configs/keypoints/shapes.yaml --run "$out/detector" \
    --set data.root="$out/shapes"
[ -d "$out/pictures" ] || python "$here/cut_pictures.py" "$out/pictures" "$pictures" --count 900 \
    --size 240x320 --seed 7
[ -d "$out/pictures/points" ] || python "$here/label_points.py" "$out/detector" "$out/pictures" \
    --views 16 --threshold 0.01
depthkit train configs/keypoints/superpoint.yaml --run "$out/run" --set data.root="$out/pictures" \
    model.init="$out/detector" optimizer.steps=$((minutes * per_minute))
depthkit export "$out/run" --part features --out "$out/superpoint.onnx" --half-weights
