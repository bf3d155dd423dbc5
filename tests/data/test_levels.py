# SPDX-License-Identifier: Apache-2.0
"""Pictures of more than 8 bit: one mapping to 8 bit for a sequence."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from source_makers import (
    H,
    W,
    listener,
    make_video,
    run,
    run_one,
    save,
)

from depthkit.cli import main
from depthkit.data.levels import find_levels
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.picture import Levels, stretch

FOV = {"camera": None, "fov": 90.0}

# --- deep pictures -------------------------------------------------------------------------------


def make_deep(folder: Path, low: float, high: float, kind: type, ext: str = "png") -> Path:
    """Six pictures whose values rise from low to high over their columns, one more line a frame."""
    folder.mkdir()
    ramp = np.linspace(low, high, W).astype(kind)
    for i in range(6):
        image = np.tile(ramp, (H, 1))
        image[: i + 1] = ramp[-1]
        assert cv2.imwrite(str(folder / f"{i}.{ext}"), image)
    return folder


@pytest.mark.parametrize(
    ("low", "high", "kind", "ext"),
    [
        (29300, 30830, np.uint16, "png"),
        (0, 4095, np.uint16, "png"),
        (0, 1023, np.uint16, "pgm"),
        (0, 16383, np.uint16, "tiff"),
        (-500, 300, np.int16, "tiff"),
        (295.0, 310.0, np.float32, "tiff"),
    ],
)
def test_values_in_use_are_stretched_over_the_sequence(tmp_path, low, high, kind, ext):
    """The lowest value becomes 0, the highest 255, the same for all frames and in infer; said."""
    folder = make_deep(tmp_path / "in", low, high, kind, ext)
    notes, watcher = listener()
    (result,) = run(folder, tmp_path / "out", watcher, fps=10.0)
    sequence = run_one(folder, tmp_path / "again", fps=10.0)
    wanted = np.rint(np.linspace(0, 255, W))
    for i, frame in enumerate(open_stream(folder).frames()):
        np.testing.assert_allclose(frame.rgb[H - 1, :, 0], wanted, atol=1)
        np.testing.assert_array_equal(frame.rgb, sequence.read_frame(i))
    assert len(result.assumed) == 1 and "the same for all frames" in result.assumed[0]
    assert f"use values {low:g} to {high:g} only" in notes[0]


def test_well_used_16_bit_stays_value_over_257(tmp_path):
    """257 * v becomes v, and nothing is said."""
    folder = make_deep(tmp_path / "in", 0, 65535, np.uint16)
    notes, watcher = listener()
    run(folder, tmp_path / "out", watcher, fps=10.0)
    assert notes == []
    first = next(iter(open_stream(folder).frames())).rgb[H - 1, :, 0]
    np.testing.assert_array_equal(first, np.rint(np.linspace(0, 65535, W).astype(int) / 257))


def test_levels_do_not_depend_on_the_selection(tmp_path):
    """The part that is taken is mapped as the whole is: train and test of one recording agree."""
    folder = make_deep(tmp_path / "in", 100, 1000, np.uint16)
    save(folder / "9.png", np.full((H, W), 3000, np.uint16))
    part = run_one(folder, tmp_path / "part", fps=10.0, stop=2)
    whole = run_one(folder, tmp_path / "whole", fps=10.0)
    np.testing.assert_array_equal(part.read_frame(1), whole.read_frame(1))
    assert part.read_frame(1).max() < 90


def test_levels_can_be_given(tmp_path):
    """0:510 halves the values; they are in camera.yaml and nothing is assumed."""
    folder = make_deep(tmp_path / "in", 0, 510, np.uint16)
    sequence = run_one(folder, tmp_path / "out", fps=10.0, levels=Levels(0, 1020))
    assert sequence.read_frame(0).max() == 128
    source = yaml.safe_load((sequence.root / "camera.yaml").read_text())["source"]
    assert (source["levels"], source["assumed"]) == ([0, 1020], [])


def test_levels_of_a_video_are_refused(tmp_path):
    """An option that would be ignored is an error."""
    with pytest.raises(DataError, match="--levels is for picture files"):
        run(make_video(tmp_path / "a.mp4", 2), tmp_path / "out", levels=Levels(0, 1), **FOV)


@pytest.mark.parametrize("text", ["5", "5:5", "7:2", "a:b", "0:inf"])
def test_levels_are_two_rising_numbers(tmp_path, text, capsys):
    """Anything else is wrong usage."""
    args = ["prepare", str(tmp_path), "--out", str(tmp_path / "o"), "--levels", text]
    assert main(args) == 2
    assert "expected LOW:HIGH" in capsys.readouterr().err


def test_dead_and_hot_pixels_do_not_set_the_levels(tmp_path):
    """One pixel of 10000 at either end of the type lies beyond the percentiles."""
    image = np.linspace(1000, 2000, 10000).astype(np.uint16).reshape(100, 100)
    image[5, 5], image[6, 6] = 0, 65535
    save(tmp_path / "a.png", image)
    levels, _ = find_levels([tmp_path / "a.png"])
    assert 1000 <= levels.low < 1020 and 1980 < levels.high <= 2000


@pytest.mark.parametrize(("top", "words"), [(1.0, "0 to 1 taken"), (255.0, "0 to 255 taken")])
def test_float_pictures_of_a_known_range_keep_it(tmp_path, top, words):
    """0 to 1 and 0 to 255 are conventions; a NaN is black and no level."""
    image = np.linspace(0, top, W * H).astype(np.float32).reshape(H, W)
    image[0, 0] = np.nan
    assert cv2.imwrite(str(tmp_path / "a.tiff"), image)
    levels, sentence = find_levels([tmp_path / "a.tiff"])
    assert levels == Levels(0.0, top) and words in sentence
    assert stretch(image, levels)[0, 0] == 0 and stretch(image, levels)[-1, -1] == 255


def test_stretch_rounds_and_clips():
    """100 to 355 is the identity less 100; beyond is black or white."""
    values = np.array([[0, 100, 101, 354, 355, 60000]], np.uint16)
    np.testing.assert_array_equal(stretch(values, Levels(100, 355)), [[0, 0, 1, 254, 255, 255]])
