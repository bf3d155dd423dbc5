# SPDX-License-Identifier: Apache-2.0
"""Runs an ONNX graph that lies in memory."""

import numpy as np
import onnx
import onnxruntime


def run_onnx(model: onnx.ModelProto, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what ONNX Runtime says, by output."""
    session = onnxruntime.InferenceSession(model.SerializeToString())
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))
