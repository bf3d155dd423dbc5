# SPDX-License-Identifier: Apache-2.0
"""The focal length of an unknown camera: rounds that settle, and words where they do not."""

import numpy as np
import pytest

from depthkit.data.sequence import open_sequence
from depthkit.runtime.odometry import focal_search
from depthkit.runtime.odometry.focal_check import FocalFit
from depthkit.runtime.odometry.focal_search import TYPICAL, reduced, search_focal

FRAMES = [np.zeros((30, 40, 3), np.uint8)] * 4
TIMES = np.arange(4) / 10


def answering(monkeypatch, answer):
    """Put what keyframes say in the place of an odometry; return the focal lengths it was given."""
    asked = []

    def fits(frames, times, focal):
        asked.append(focal)
        return answer(focal)

    monkeypatch.setattr(focal_search, "_fits", fits)
    return asked


def test_the_search_ends_where_nothing_changes(monkeypatch):
    """Fits that see half of the way go on until the rest is small: 0.8 to within 2 % of 0.5."""
    asked = answering(
        monkeypatch, lambda f: ([FocalFit(0.75 * np.log(0.5 / f), 0.01)] * 6, len(FRAMES))
    )
    found = search_focal(FRAMES, TIMES)
    assert asked[0] == TYPICAL and len(asked) <= focal_search.ROUNDS
    assert found.focal == pytest.approx(0.5, rel=0.01) and found.reason == ""
    # six fits count as three; their spread is 0 and their own deviation the floor of 0.03
    assert found.sigma == pytest.approx(np.hypot(0.03, 0.03 / np.sqrt(3)))
    assert found.fits == 6


def test_one_wild_fit_does_not_count(monkeypatch):
    """The median of five stands against one that is off by 40 %."""
    fits = [FocalFit(0.0, 0.01)] * 4 + [FocalFit(0.4, 0.01)]
    answering(monkeypatch, lambda f: (fits, len(FRAMES)))
    assert search_focal(FRAMES, TIMES).focal == pytest.approx(TYPICAL)


@pytest.mark.parametrize(
    ("fits", "posed", "reason"),
    [
        ([], 0, "only 0 of 4 frames move enough"),
        ([FocalFit(0.0, 0.01)] * 2, 4, "turns and moves too little"),
        ([FocalFit(0.9, 0.01)] * 6, 4, "fit no usual focal length"),
        ([FocalFit(0.0, 0.01)] * 2 + [FocalFit(0.5, 0.01)] * 2 + [FocalFit(-0.5, 0.01)] * 2, 4, ""),
    ],
)
def test_what_is_not_determined_is_said(monkeypatch, fits, posed, reason):
    """No pose, no fits, fits that run away or disagree: the usual focal length, and why."""
    answering(monkeypatch, lambda f: (fits, posed))
    found = search_focal(FRAMES, TIMES)
    assert found.focal == TYPICAL and found.sigma is None
    assert reason in found.reason and found.reason


def test_frames_are_reduced_and_small_ones_kept():
    """640 wide becomes 320, in shape; a small frame stays as it is."""
    assert reduced(np.zeros((480, 640, 3), np.uint8)).shape == (240, 320, 3)
    small = np.zeros((90, 160, 3), np.uint8)
    assert reduced(small) is small


def test_a_still_camera_tells_nothing():
    """The real odometry on frames of one place: no focal length, and the reason."""
    rng = np.random.default_rng(1)
    frame = np.repeat(np.repeat(rng.integers(0, 255, (24, 32, 3), np.uint8), 5, 0), 5, 1)
    found = search_focal([frame] * 8, np.arange(8) / 10)
    assert found.sigma is None and "of 8 frames move enough" in found.reason


@pytest.mark.slow
def test_a_drive_with_bends_tells_the_focal_length(data_root, tmp_path):
    """KITTI 02 from its frames alone: within three of its own standard deviations."""
    import depthkit

    depthkit.prepare(data_root / "kitti_odometry", tmp_path, sequence="02", frames=(0, 150))
    sequence = open_sequence(tmp_path / "02")
    frames = [sequence.read_frame(i) for i in range(len(sequence))]
    found = search_focal(frames, sequence.times)
    true = sequence.camera.fx / sequence.camera.width
    assert found.sigma is not None and found.sigma < 0.06
    assert abs(np.log(found.focal / true)) < 3 * found.sigma
