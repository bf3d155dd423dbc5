# SPDX-License-Identifier: Apache-2.0
"""Export of a place's descriptor: length 1, torch's answers, two modalities, what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from test_export import save_small

from depthkit.cli import main
from depthkit.errors import DataError, EngineError
from depthkit.export.graphs import build_graph
from depthkit.pipelines.models import open_model
from depthkit.runtime.network.manifest import read_manifest
from depthkit.runtime.network.place_engine import PlaceEngine
from depthkit.tasks.loaded import load_task

WORDS = ("task=place", "model.place_numbers=16")


def export(folder: Path, *words: str) -> Path:
    """Export a small untrained network; its checkpoint lies beside."""
    checkpoint = save_small(folder / "run.safetensors", *WORDS, *words)
    out = folder / "place.onnx"
    assert main(["export", str(checkpoint), "--part", "place", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """The exported network of colour alone."""
    return export(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A picture of another size than the network's. (90, 120, 3) uint8"""
    return np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)


def test_the_manifest_says_what_it_is(exported):
    """Of kind place, without a unit, of one size, sixteen numbers."""
    manifest = read_manifest(exported)
    assert (manifest.kind, manifest.network, manifest.scale) == ("place", "light", "relative")
    assert not manifest.dynamic and not manifest.takes_raster and manifest.place_parts == (16,)
    assert manifest.min_depth is None and list(manifest.check.outputs) == ["place"]
    assert main(["verify", str(exported)]) == 0


def test_descriptors_are_those_of_torch(exported, picture):
    """At the network's own size; any size gives length 1, and grey means three equal channels."""
    frame = picture[:64, :96]
    with torch.no_grad():
        rgb = torch.from_numpy(frame.copy()).permute(2, 0, 1)[None].float() / 255
        wanted = load_task(exported.with_name("run.safetensors")).task.finished_net()(rgb)[0]
    with PlaceEngine.open(exported) as engine:
        found = engine.describe(frame)
        assert (engine.name, engine.width, engine.parts) == ("light", 16, (16,))
        assert found.shape == (16,) and found.dtype == np.float32
        np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)
        assert np.linalg.norm(engine(picture)) == pytest.approx(1, abs=1e-5)
        grey = picture[..., 0]
        np.testing.assert_array_equal(engine(grey), engine(np.repeat(grey[..., None], 3, 2)))


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (("place_second=raster", "place_fusion=concatenated"), (8, 8)),
        (("place_second=raster",), (16,)),
    ],
    ids=["concatenated", "early"],
)
def test_a_raster_is_a_second_input(tmp_path, picture, words, parts):
    """It changes the descriptor; without it, or with one too many, a picture is refused."""
    out = export(tmp_path, *(f"model.{word}" for word in words))
    blank = np.zeros((90, 120, 3), np.uint8)
    with PlaceEngine.open(out) as engine:
        assert engine.parts == parts and engine.manifest.takes_raster
        first, second = (engine.describe(picture, raster) for raster in (picture, blank))
        assert np.linalg.norm(first) == pytest.approx(1, abs=1e-5)
        assert np.abs(first - second).max() > 1e-4  # untrained, so it looks at means mostly
        if len(parts) == 2:  # the first half describes the colours alone
            np.testing.assert_allclose(first[:8], second[:8], atol=1e-7)
            assert np.linalg.norm(first[:8]) == pytest.approx(0.5**0.5, abs=1e-5)
        with pytest.raises(DataError, match="describes a picture and a raster, got 1"):
            engine.describe(picture)


@pytest.mark.parametrize(
    "words",
    [
        ("model.place_pooling=rmac", "model.place_second=edges"),
        pytest.param(("model.place_pooling=convolutional",), marks=pytest.mark.slow),
        ("model.place_second=edges", "model.place_fusion=concatenated"),
    ],
    ids=["rmac", "convolutional", "edges"],
)
def test_other_networks_are_proven_too(tmp_path, picture, words):
    """R-MAC, the published head, and edges that the graph computes itself."""
    with PlaceEngine.open(export(tmp_path, *words)) as engine:
        assert engine.describe(picture).shape == (16,) and not engine.manifest.takes_raster


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (np.zeros((7, 40), np.uint8), "40x7 pixels are too few"),
        (np.zeros((40, 40, 4), np.uint8), r"expected \(H, W, 3\) or \(H, W\) uint8"),
        (np.zeros((40, 40)), "got float64"),
    ],
    ids=["small", "channels", "float"],
)
def test_what_is_no_picture_is_refused(exported, bad, line):
    """In one line, as is a raster that nobody wants."""
    with PlaceEngine.open(exported) as engine:
        with pytest.raises(DataError, match=line):
            engine.describe(bad)
        with pytest.raises(DataError, match="describes one picture, got 2"):
            engine.describe(np.zeros((40, 40), np.uint8), np.zeros((40, 40), np.uint8))


def test_a_run_opens_as_the_engine_of_its_kind(exported):
    """From the file and from the checkpoint, without naming the part."""
    for model in (exported, exported.with_name("run.safetensors")):
        with open_model(model, threads=1) as engine:
            assert isinstance(engine, PlaceEngine)


def test_what_cannot_be_exported_is_one_line(tmp_path):
    """Another part, and frames of any size."""
    loaded = load_task(save_small(tmp_path / "run.safetensors", *WORDS))
    with pytest.raises(EngineError, match="task place learnt place alone, no depth"):
        build_graph(loaded, "depth", dynamic=False)
    with pytest.raises(EngineError, match="all frames at one size"):
        build_graph(loaded, "place", dynamic=True)
