# SPDX-License-Identifier: Apache-2.0
"""Export of descriptors: any size, unit length, torch's answers, and what has none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_export import save_small

from depthkit.cli import main
from depthkit.errors import EngineError
from depthkit.pipelines.models import open_model
from depthkit.runtime.network.feature_engine import FeatureEngine
from depthkit.runtime.network.manifest import read_manifest
from depthkit.tasks.loaded import load_task

WORDS = ("task=similarity", "data.size=[72,100]", "similarity.window=[48,64]")
CHANNELS = 8


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The exported descriptors of a small run; its checkpoint lies beside."""
    folder = tmp_path_factory.mktemp("similarity")
    checkpoint = save_small(
        folder / "run.safetensors", *WORDS, f"model.feature_channels={CHANNELS}"
    )
    words = ["export", checkpoint, "--part", "features", "--out", folder / "features.onnx"]
    assert main([*map(str, words)]) == 0
    return folder / "features.onnx"


def test_the_manifest_says_what_it_is(exported):
    """Of kind features, without a unit, of any size, one descriptor a pixel."""
    manifest = read_manifest(exported)
    assert (manifest.kind, manifest.network, manifest.scale) == ("features", "small", "relative")
    assert manifest.dynamic and manifest.stride == 1 and manifest.size_multiple == 1
    assert manifest.min_depth is None and manifest.nominal_baseline is None
    assert list(manifest.check.outputs) == ["features"]


@pytest.mark.parametrize("size", [(72, 100), (41, 67)])
def test_descriptors_are_those_of_torch(exported, size):
    """At the training's size and at another one; grey and its three equal channels alike."""
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, size, dtype=np.uint8)
    net = load_task(exported.with_name("run.safetensors")).task.features_net
    rgb = torch.from_numpy(np.repeat(grey[None, None], 3, 1)).float() / 255
    height, width = size
    padded = torch.nn.functional.pad(rgb, (0, -width % 8, 0, -height % 8), mode="replicate")
    with torch.no_grad():
        wanted = net(padded)[0, :, :height, :width].permute(1, 2, 0).numpy()
    with FeatureEngine.open(exported) as engine:
        found = engine(grey)
        np.testing.assert_array_equal(found, engine(np.repeat(grey[..., None], 3, 2)))
    assert found.shape == (*size, CHANNELS)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=2), 1, atol=1e-4)


def test_a_run_opens_as_the_engine_of_its_kind(exported):
    """From the file and from the checkpoint, without naming the part."""
    for model in (exported, exported.with_name("run.safetensors")):
        with open_model(model, threads=1) as engine:
            assert isinstance(engine, FeatureEngine)


@pytest.mark.parametrize(
    ("words", "part", "line"),
    [
        ((), "depth", r"task similarity learnt features alone, no depth; take its features"),
        (("similarity.decision=mlp",), "features", r"train with similarity\.decision: cosine"),
    ],
)
def test_what_cannot_be_exported_is_one_line(tmp_path, capsys, words, part, line):
    """Another part, and descriptors that only their own network can compare."""
    run = save_small(tmp_path / "run.safetensors", *WORDS, *words)
    out = tmp_path / "out.onnx"
    with pytest.raises(EngineError, match=line):
        from depthkit.export.graphs import build_graph

        build_graph(load_task(run), part, dynamic=False)
    assert main(["export", str(run), "--part", part, "--out", str(out)]) == 1
    assert not out.exists() and "Traceback" not in capsys.readouterr().err
