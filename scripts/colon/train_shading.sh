#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The endoscope figure of the README: make synthetic colons, learn depth from shading twice with equal steps
# (curriculum, everything at once), score both on unseen colons of the highest level, print one table.
# A killed run goes on where it stopped when the same command is given again.
# Usage: [SCENES=250] [FRAMES=6] [SIZE=128x128] [SEED=1] scripts/colon/train_shading.sh OUT [--set key=value ...]
set -euo pipefail
out=${1:?folder to write}
shift
scenes=${SCENES:-250} frames=${FRAMES:-6} size=${SIZE:-128x128} seed=${SEED:-1}
here=$(cd "$(dirname "$0")/../.." && pwd)

colon() {  # name, level, split, scenes, seed: other seeds are other colons
    depthkit synth colon --out "$out/data" --name "$1" --set level="$2" --split "$3" \
        --scenes "$4" --frames "$frames" --size "$size" --seed "$5" --depth-only --noise 1
}
for level in 1 2 3 4 5; do
    colon "colon_l$level" "$level" train "$scenes" "$((10 * seed + level))"
done
colon colon_val 5 val "$((scenes / 10 + 1))" "$((10 * seed + 6))"
colon colon_test 5 test "$((scenes / 5 + 1))" "$((10 * seed + 7))"

for name in shading shading_all; do
    resume=()
    if [ -e "$out/$name/config.yaml" ]; then resume=(--resume); fi
    depthkit train "$here/configs/endoscope/$name.yaml" --run "$out/$name" "${resume[@]}" \
        --set data.root="$out/data" "$@"
    depthkit evaluate model "$out/$name" "$out/data" --max-depth 0.25 --json > "$out/$name.json"
done

python3 - "$out" <<'PYTHON'
import json, sys
from pathlib import Path

def row(name, scores):
    a1, rmse, abs_rel = (scores[key] for key in ("a1", "rmse", "abs_rel"))
    print(f"{name:22}{a1:8.4f}{100 * rmse:9.3f}{abs_rel:9.4f}")

found = {name: json.loads((Path(sys.argv[1]) / f"{name}.json").read_text()) for name in ("shading", "shading_all")}
print(f"{'unseen level-5 colons':22}{'a1':>8}{'RMSE cm':>9}{'abs_rel':>9}")
row("curriculum", found["shading"])
row("all levels at once", found["shading_all"])
row("best constant depth", found["shading"]["constant"])
PYTHON
