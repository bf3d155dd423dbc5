#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Keypoints from pictures without labels: cut pictures, render worlds, train, export, score.
# sh scripts/keypoints/train_keypoints.sh OUT PICTURES... [-- OXFORD]    about an hour of one core
# The shipped weights: PICTURES are those of Debian's packages mate-backgrounds, gnome-backgrounds,
# plasma-workspace-wallpapers, ukui-wallpapers, tuxpaint-stamps-default, supertuxkart-data and
# torcs-data (free licences), fetched by `apt-get download` and unpacked by `dpkg-deb -x`.
set -e
out=${1:?folder for data, run and figures}
shift
here=$(dirname "$0")
pictures=
while [ $# -gt 0 ] && [ "$1" != "--" ]; do
    pictures="$pictures $1"
    shift
done
data=$out/data
[ -d "$data/stillbox_00000" ] || depthkit synth stillbox --out "$data" --scenes 40 --frames 4 \
    --size 480x640 --seed 300 --depth-only --noise 2 --name stillbox
[ -d "$data/street_00000" ] || depthkit synth street --out "$data" --scenes 40 --frames 4 \
    --size 480x640 --seed 300 --depth-only --noise 2 --name street
# shellcheck disable=SC2086
[ -d "$data/pictures" ] || python "$here/cut_pictures.py" "$data/pictures" $pictures --count 3000
depthkit train configs/keypoints/pictures.yaml --run "$out/run" --set data.root="$data"
depthkit export "$out/run" --part features --out "$out/keypoints-light.onnx" --half-weights
if [ "${1:-}" = "--" ]; then
    depthkit evaluate matching "$2" --model "$out/keypoints-light.onnx"
fi
