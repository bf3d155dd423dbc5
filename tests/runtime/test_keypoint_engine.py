# SPDX-License-Identifier: Apache-2.0
"""The engine of keypoints: peaks to a fraction of a pixel, descriptors where they are asked for."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_export import save_small

from depthkit.cli import main
from depthkit.errors import ConfigError, DataError, EngineError, ShapeError
from depthkit.multiview.features import match
from depthkit.runtime.network.keypoint_engine import (
    KeypointConfig,
    KeypointEngine,
    describe_at,
    peaks,
)
from depthkit.runtime.network.manifest import read_manifest
from depthkit.tasks.loaded import load_task

CHANNELS = 12


def export_small(folder: Path, *words: str) -> Path:
    """Export a small run of random weights."""
    run = save_small(
        folder / "run.safetensors",
        "data.size=[96,128]",
        f"model.feature_channels={CHANNELS}",
        *words,
    )
    out = folder / "features.onnx"
    assert main(["export", str(run), "--part", "features", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """An exported light network; its checkpoint lies beside."""
    return export_small(
        tmp_path_factory.mktemp("keypoints"), "task=keypoints", "keypoints.window=[64,96]"
    )


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A picture with texture, of sides that are no multiples of 8."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (15, 20), dtype=np.uint8)
    return cv2.resize(coarse, (131, 99), interpolation=cv2.INTER_CUBIC)


def test_a_peak_is_found_to_a_fraction_of_a_pixel():
    """A paraboloid with its top at (20.3, 10.8) is found there; a lower one within the radius is
    none, and the border has none."""
    v, u = np.mgrid[:32, :48].astype(np.float32)
    score = np.maximum(0, 1 - 0.02 * ((u - 20.3) ** 2 + (v - 10.8) ** 2)).astype(np.float32)
    score[0, 5] = 0.9
    pixels, scores = peaks(score, radius=4, threshold=0.1)
    np.testing.assert_allclose(pixels, [[20.3, 10.8]], atol=1e-3)
    assert scores.shape == (1,)


def test_descriptors_are_those_of_the_blocks_and_between_them():
    """At the middle of a block its own descriptor; between two the bisector; outside the border."""
    rng = np.random.default_rng(1)
    maps = rng.normal(size=(5, 3, 4)).astype(np.float32)
    maps /= np.linalg.norm(maps, axis=0)
    at = np.array([[5.5, 1.5], [7.5, 1.5], [-3.0, -3.0]], np.float32)
    found = describe_at(maps, at, stride=4)
    between = maps[:, 0, 1] + maps[:, 0, 2]
    np.testing.assert_allclose(found[0], maps[:, 0, 1], atol=1e-6)
    np.testing.assert_allclose(found[1], between / np.linalg.norm(between), atol=1e-6)
    np.testing.assert_allclose(found[2], maps[:, 0, 0], atol=1e-6)


def test_the_manifest_says_what_it_finds(exported):
    """Descriptors and a score, their length and their grid."""
    manifest = read_manifest(exported)
    assert (manifest.kind, manifest.network) == ("features", "keypoints-light")
    assert (manifest.stride, manifest.channels) == (4, CHANNELS)
    assert sorted(manifest.check.outputs) == ["features", "score"]


def test_answers_are_those_of_torch(exported, picture):
    """Score and descriptors at a size that must be filled up."""
    net = load_task(exported.with_name("run.safetensors")).task.features_net
    rgb = torch.from_numpy(picture).float().expand(1, 3, -1, -1) / 255
    padded = torch.nn.functional.pad(rgb, (0, -131 % 8, 0, -99 % 8), mode="replicate")
    with torch.no_grad():
        wanted = net(padded)
    with KeypointEngine.open(exported) as engine:
        rgb8 = cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        answers = engine.backend.run({"frame": rgb8[None]})
    assert answers["score"].shape == (1, 99, 131)
    np.testing.assert_allclose(
        answers["features"][0], wanted.descriptors[0, :, :25, :33].numpy(), atol=1e-3
    )


def test_keypoints_are_features(exported, picture):
    """Best first, unit descriptors, inside the picture; the same twice; grey and its three equal
    channels alike; and they match themselves."""
    config = KeypointConfig(count=60)
    with KeypointEngine.open_detector(exported, config) as engine:
        found = engine.detect(picture)
        again = engine.detect(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB))
        assert engine.width == found.descriptors.shape[1] == CHANNELS
        assert engine.name.startswith("keypoints-light-")
    np.testing.assert_array_equal(found.pixels, again.pixels)
    np.testing.assert_array_equal(found.descriptors, again.descriptors)
    assert len(found) == 60 and found.ratio == config.ratio
    assert (found.pixels >= 0).all() and (found.pixels < [131, 99]).all()
    np.testing.assert_allclose(np.linalg.norm(found.descriptors, axis=1), 1, atol=1e-5)
    pairs = match(found, again, ratio=1.0)
    np.testing.assert_array_equal(pairs[:, 0], pairs[:, 1])


def test_keypoints_are_corners_or_peaks_of_the_score(exported):
    """A bright rectangle has its keypoints at its four corners; without `corners` they are the
    peaks of what the network says, weights drawn at random."""
    picture = np.full((96, 128), 60, np.uint8)
    picture[30:60, 40:90] = 200
    with KeypointEngine.open_detector(exported, KeypointConfig(count=4)) as engine:
        found = engine.detect(picture).pixels
    corners = np.array([[39.5, 29.5], [89.5, 29.5], [39.5, 59.5], [89.5, 59.5]])
    nearest = np.linalg.norm(found[:, None] - corners, axis=2)
    assert sorted(nearest.argmin(axis=1)) == [0, 1, 2, 3] and nearest.min(axis=1).max() < 2.5
    settings = KeypointConfig(count=1, corners=False)
    with KeypointEngine.open_detector(exported, settings) as engine:
        peak = engine.detect(picture).pixels[0]
        score = engine.backend.run({"frame": cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)[None]})[
            "score"
        ][0]
    v, u = np.unravel_index(score[1:-1, 1:-1].argmax(), (94, 126))
    assert np.abs(peak - [u + 1, v + 1]).max() <= 0.5


def test_masked_pixels_have_no_keypoint(exported, picture):
    """Only the right half may have some."""
    valid = np.zeros(picture.shape, bool)
    valid[:, 70:] = True
    with KeypointEngine.open_detector(exported, KeypointConfig()) as engine:
        found = engine.detect(picture, valid=valid)
        assert len(found) and (found.pixels[:, 0] > 69).all()
        with pytest.raises(ShapeError, match="valid"):
            engine.detect(picture, valid=valid[:, :50])


def test_levels_add_coarser_keypoints(exported, picture):
    """With three levels there are keypoints of three sizes, in pixels of the whole picture; levels
    that would be too small are left out."""
    with KeypointEngine.open_detector(exported, KeypointConfig(levels=8)) as engine:
        found = engine.detect(picture)
    sizes = np.unique(found.scales.round(1))
    np.testing.assert_allclose(sizes, [8, 11.3, 15.9, 22.6], atol=0.3)
    assert (found.pixels[:, 0] > 100).any()


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (np.zeros((30, 200), np.uint8), "needs 33 pixels a side"),
        (np.zeros((64, 64), np.float32), "expected a picture"),
        (np.zeros((64, 64, 4), np.uint8), "3 channels"),
    ],
)
def test_what_is_no_picture_is_one_line(exported, bad, line):
    """Too small, not of 8 bits, four channels."""
    with KeypointEngine.open(exported) as engine, pytest.raises(DataError, match=line):
        engine.detect(bad)


def test_a_blank_picture_has_none(exported):
    """Nothing to see gives no feature, not an error."""
    with KeypointEngine.open_detector(exported, KeypointConfig()) as engine:
        found = engine.detect(np.full((64, 64), 127, np.uint8))
    assert len(found) == 0 and found.descriptors.shape == (0, CHANNELS)


def test_descriptors_without_a_score_are_refused(tmp_path):
    """A network of task similarity describes pixels and finds none."""
    exported = export_small(tmp_path, "task=similarity", "similarity.window=[48,64]")
    with pytest.raises(EngineError, match="no output `score`"):
        KeypointEngine.open(exported)


def test_settings_out_of_range_are_refused():
    """Ranges are those of the schema."""
    with pytest.raises(ConfigError, match="levels"):
        KeypointConfig(levels=0)
