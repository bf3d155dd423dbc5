#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Descriptors for matching, from nothing: render worlds, train, export, compare with census.
# sh scripts/similarity/train_similarity.sh OUT [MOTORCYCLE]    about half an hour of one core
set -e
out=${1:?folder for worlds, run and figures}
motorcycle=$2
here=$(dirname "$0")
worlds=$out/worlds
# Near walls and small rooms beside wide ones: parallax of 0 to 60 pixels between two frames.
box="speed_change=3 rotation=0.6 room=[6.0,60.0] distance=[0.9,25.0] step=[0.05,0.2]"
street="moving=0 speed=[3.0,8.0]"
depthkit synth stillbox --out "$worlds" --scenes 90 --frames 6 --size 240x320 --seed 100 \
    --depth-only --noise 1 --set $box --name box
depthkit synth street --out "$worlds" --scenes 16 --frames 6 --size 240x320 --seed 100 \
    --depth-only --noise 1 --set $street --name street
depthkit synth stillbox --out "$worlds" --scenes 5 --frames 6 --size 240x320 --seed 9000 \
    --depth-only --set $box --name boxval --split val
depthkit synth street --out "$worlds" --scenes 2 --frames 6 --size 240x320 --seed 9000 \
    --depth-only --set $street --name streetval --split val
depthkit train configs/similarity/synthetic.yaml --run "$out/run" --set data.root="$worlds"
depthkit export "$out/run" --part features --out "$out/similarity-synthetic.onnx" --half-weights
python "$here/evaluate_similarity.py" --model "$out/similarity-synthetic.onnx" \
    --json "$out/figures.json" ${motorcycle:+--motorcycle "$motorcycle"}
