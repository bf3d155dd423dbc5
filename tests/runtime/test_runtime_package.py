# SPDX-License-Identifier: Apache-2.0
"""The package as a robot imports it: public names that are true, and nothing heavy loaded."""

import subprocess
import sys

import pytest
from onnx_makers import write_mono

from depthkit import runtime


def test_the_robot_needs_no_torch(tmp_path):
    """A real run loads no torch; before it, the package has loaded no runtime and no OpenCV."""
    model = write_mono(tmp_path / "mono.onnx")
    code = f"""
import sys, depthkit.runtime as runtime
heavy = ("torch", "torchvision", "onnx", "onnxruntime", "openvino", "cv2")
assert not [m for m in heavy if m in sys.modules], sys.modules.keys()
engine = runtime.DepthEngine
assert not [m for m in heavy[:-1] if m in sys.modules]
import numpy as np
with engine.open({str(model)!r}) as open_engine:
    assert open_engine.depth(np.full((9, 9, 3), 99, np.uint8)).valid.all()
print(*[m for m in heavy if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout == "onnxruntime cv2\n"


def test_the_public_names_are_true():
    """`__all__` is sorted, each name loads, is its class's own, and dir() knows it."""
    names = runtime.__all__
    assert names == sorted(names) == sorted(runtime._HOMES) == dir(runtime)
    for name in names:
        assert getattr(runtime, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Depth'"):
        runtime.Depth  # noqa: B018
