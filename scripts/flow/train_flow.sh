#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shipped flow network, learnt without labels on rendered worlds alone: streets of 128x416, then streets and still
# boxes of 384x512; scored on unseen ones beside OpenCV's DIS. About 65 minutes of one core, and 10 of rendering.
# A killed run goes on where it stopped when the same command is given.
# Usage: [STREETS=72] [WORLDS=48] [TEST=12] scripts/flow/train_flow.sh OUT [key=value of both trainings ...]
set -euo pipefail
out=${1:?folder to write}
shift
streets=${STREETS:-72} worlds=${WORLDS:-48} test=${TEST:-12}
here=$(cd "$(dirname "$0")/../.." && pwd)
python=${PYTHON:-python}
depthkit=("$python" -m depthkit)

"${depthkit[@]}" synth street --out "$out/data/streets" --scenes "$streets" --frames 40 --size 128x416 --seed 300 \
  --set 'speed=[3,9]' vehicles=16 moving=0.5
for world in street stillbox; do
  settings=()
  [ "$world" = street ] && settings=(--set 'speed=[3,9]' moving=0.5)
  "${depthkit[@]}" synth "$world" --out "$out/data/worlds" --scenes "$worlds" --frames 20 --size 384x512 --seed 700 "${settings[@]}"
  "${depthkit[@]}" synth "$world" --out "$out/data/unseen" --scenes "$test" --frames 5 --size 384x512 --seed 9700 --split test "${settings[@]}"
done

again() { # --resume where a run was begun
  if [ -f "$1/config.yaml" ]; then echo --resume; fi
}
# shellcheck disable=SC2046  # nothing or one word
"${depthkit[@]}" train "$here/configs/driving/flow.yaml" --run "$out/streets" $(again "$out/streets") \
  --set data.root="$out/data/streets" "$@"
# shellcheck disable=SC2046
"${depthkit[@]}" train "$here/configs/driving/flow_general.yaml" --run "$out/run" $(again "$out/run") \
  --set data.root="$out/data/worlds" model.init="$out/streets" "$@"

for who in dis "$out/run"; do
  "$python" "$here/scripts/flow/predict_flow.py" "$who" "$out/data/unseen" --out "$out/flow_$(basename "$who")"
  "${depthkit[@]}" evaluate flow --pred "$out/flow_$(basename "$who")" --gt "$out/data/unseen"
done
