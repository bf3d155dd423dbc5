#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A place's descriptor, from nothing: render worlds, cut photographs, train, export.
# A killed run goes on where it stopped when the same command is given.
# Usage: scripts/places/train_place.sh OUT [PHOTOS ...] [key=value of the training ...]
# PHOTOS are folders of photographs that you may use (Debian's mate-backgrounds, plasma-workspace-wallpapers and
# ukui-wallpapers, unpacked, for the shipped weights). Rendering takes about 3 minutes of one core.
set -euo pipefail
out=${1:?folder for worlds, tiles and run}
shift
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
depthkit=("$python" -m depthkit)

photos=() settings=()
for word in "$@"; do
  if [ -d "$word" ]; then photos+=("$word"); else settings+=("$word"); fi
done
"${depthkit[@]}" synth street --out "$out/worlds" --scenes 120 --frames 12 --size 144x192 --seed 41000 --depth-only \
  --name street --set 'speed=[8,20]' moving=0.5
"${depthkit[@]}" synth stillbox --out "$out/worlds" --scenes 240 --frames 8 --size 144x192 --seed 41000 --depth-only \
  --name box --set 'room=[6.0,60.0]' 'distance=[0.9,25.0]' 'step=[0.1,0.4]' rotation=2.0
if [ ${#photos[@]} -gt 0 ]; then
  "$python" "$here/scripts/places/cut_photos.py" "$out/photos" "${photos[@]}"
  settings=("place.pictures=[$out/photos]" "${settings[@]}")
fi
resume=()
[ -f "$out/run/config.yaml" ] && resume=(--resume)
"${depthkit[@]}" train "$here/configs/places/synthetic.yaml" --run "$out/run" "${resume[@]}" \
  --set data.root="$out/worlds" "${settings[@]}"
"${depthkit[@]}" export "$out/run" --part place --out "$out/place-synthetic.onnx" --half-weights --force
