#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The pair network on real pairs, without any scaling, beside the classical answer and the best constant.
# Usage: scripts/pairs/evaluate_real_pairs.sh MODEL OUT [--backend openvino ...]   (MODEL: .onnx, run, checkpoint or shipped name)
# Data: DEPTHKIT_TEST_DATA, else ../shared/data beside the checkout; scripts/pairs/prepare_real_pairs.py says what is made of it.
set -euo pipefail
model=${1:?run folder, checkpoint or name of a shipped model}
out=${2:?folder to write}
shift 2
here=$(cd "$(dirname "$0")/../.." && pwd)
data=${DEPTHKIT_TEST_DATA:-$here/../shared/data}

if [ ! -f "$out/data/split.yaml" ]; then
  python "$here/scripts/pairs/prepare_real_pairs.py" "$data" "$out/data"
fi
evaluate() {  # sequence, then the options of its own
  local name=$1
  shift
  echo "== $name"
  depthkit evaluate model "$model" "$out/data/$name" --max-depth 10 --report "$out/$name" --force "$@"
}
evaluate clip --baseline 0.025 --baseline 0.05 --baseline 0.1 "$@"
evaluate office --baseline 0.15 --baseline 0.3 --baseline 0.6 --baseline 1.2 "$@"
evaluate kitchen --baseline 0.075 --baseline 0.15 --baseline 0.3 --baseline 0.6 --every 5 "$@"
