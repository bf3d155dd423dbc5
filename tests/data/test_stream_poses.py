# SPDX-License-Identifier: Apache-2.0
"""Poses of a file given to frames that are streamed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from data.source_makers import make_images

from depthkit.data.stream import FrameStream, open_stream
from depthkit.data.stream_poses import with_poses
from depthkit.errors import DataError
from depthkit.trajectory import Trajectory


def stream(tmp_path: Path, hz: float) -> FrameStream:
    """Eight frames."""
    return replace(open_stream(make_images(tmp_path, 8)), times=np.arange(8) / hz)


def straight(count: int) -> Trajectory:
    """0.3 m from one whole number to the next."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = 0.3 * np.arange(count)
    return Trajectory(np.arange(float(count)), poses)


@pytest.mark.parametrize("count", [3, 8])
def test_frame_numbers_are_not_taken_for_seconds(tmp_path: Path, count: int) -> None:
    """0, 1, 2 ... beside frames of a quarter of a second: baselines would be 30 times too short."""
    with pytest.raises(DataError, match=r"its times are 0, 1, 2 \.\.\.: frame numbers"):
        with_poses(stream(tmp_path, 30.0), straight(count), 1.0)


def test_whole_seconds_of_a_slow_source_are_seconds(tmp_path: Path) -> None:
    """A frame and a pose a second: 0.3 m between frames."""
    given = with_poses(stream(tmp_path, 1.0), straight(8), 1.0)
    assert given.poses is not None
    np.testing.assert_allclose(given.poses[:, 0, 3], 0.3 * np.arange(8), atol=1e-12)


def test_poses_once_a_second_beside_a_video_are_seconds(tmp_path: Path) -> None:
    """Eight frames at 2 Hz last 3.5 s, as four poses and the next do: half way is 0.15 m."""
    given = with_poses(stream(tmp_path, 2.0), straight(5), 1.0)
    assert given.poses is not None
    np.testing.assert_allclose(given.poses[1, 0, 3], 0.15, atol=1e-12)
