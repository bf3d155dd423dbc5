# SPDX-License-Identifier: Apache-2.0
"""Parts of `reconstruct` on their own: levelled worlds, voxels, words, small pictures."""

from types import SimpleNamespace

import numpy as np
import pytest

from depthkit.pipelines.reconstruct.frames import KnownCamera
from depthkit.pipelines.reconstruct.placed import FIRST, LEVELLED, place_frames
from depthkit.pipelines.reconstruct.strip import NO_DEPTH, NO_POSE, FilmStrip
from depthkit.pipelines.reconstruct.surface import FINEST, STEPS, WAITING, SurfaceBuilder
from depthkit.pipelines.reconstruct.words import about_assumptions, about_metres
from depthkit.rigid import exp_se3
from depthkit.runtime.odometry.live_path import SmoothedPath
from depthkit.runtime.result import CONFIDENT_SIGMA, DepthResult, ScaleState

K = np.array([[50.0, 0, 31.5], [0, 50, 23.5], [0, 0, 1]])


def path_of(segments: list[int]) -> SmoothedPath:
    """Poses along x, one a second."""
    count = len(segments)
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 0, 3] = np.arange(count)
    return SmoothedPath(np.arange(count) / 1.0, poses, np.array(segments), np.ones(count, bool))


def with_gravity(direction, sigma: float) -> SimpleNamespace:
    """An odometry whose IMU knows which way is down."""
    gravity = SimpleNamespace(direction=np.array(direction, float), sigma=sigma)
    return SimpleNamespace(aid=SimpleNamespace(gravity_in_world=gravity))


def test_a_world_is_levelled_where_gravity_is_known():
    """The camera was pitched down by 30 degrees: gravity becomes y, the heading stays ahead."""
    down = [0.0, np.cos(np.pi / 6), np.sin(np.pi / 6)]
    placed = place_frames(path_of([0, 0, 1, 1, 1]), with_gravity(down, 0.01))
    assert placed.main == 1 and placed.axes == {1: LEVELLED, 0: FIRST}
    R = placed.by_stamp[4.0].T_world_cam[:3, :3]
    assert np.allclose(R @ down, [0, 1, 0], atol=1e-12)
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12) and np.linalg.det(R) > 0
    assert (R @ [0, 0, 1])[0] == pytest.approx(0, abs=1e-12)  # ahead stays ahead: no turn about y
    assert np.array_equal(placed.by_stamp[0.0].T_world_cam[:3, :3], np.eye(3))


@pytest.mark.parametrize(
    "odometry",
    [
        with_gravity([0, 1, 0], 0.2),
        SimpleNamespace(aid=None),
        SimpleNamespace(aid=SimpleNamespace(gravity_in_world=None)),
    ],
)
def test_an_unsure_gravity_levels_nothing(odometry):
    """Roll and pitch known to 11 degrees, or no IMU: the axes are those of the first camera."""
    placed = place_frames(path_of([0, 0, 0]), odometry)
    assert placed.axes == {0: FIRST} and placed.sizes == {0: 3}


def seen(depth: float, sigma: float, at: float) -> tuple[DepthResult, np.ndarray, np.ndarray]:
    """A wall ahead, seen from a place along x."""
    shape, T = (48, 64), exp_se3(np.array([at, 0, 0, 0, 0, 0.0]))
    result = DepthResult(
        np.full(shape, depth, np.float32),
        *(None, None, K, "metric", "", 0.0),
        sigma=np.full(shape, sigma, np.float32),
    )
    return result, np.full((*shape, 3), 128, np.uint8), T


@pytest.mark.parametrize(
    ("metric", "depth", "sigma", "voxel"),
    [
        (True, 4.0, 0.01, 4.0 / STEPS),
        (True, 0.5, 0.01, FINEST),  # metres are never finer than depth of a video
        (False, 0.5, 0.01, 0.5 / STEPS),
        (True, 4.0, 0.08, 0.25 * 0.08 * 4.0),  # nor than a quarter of the noise
    ],
)
def test_voxels_follow_the_scene(metric, depth, sigma, voxel):
    """A hundredth of the depth, within bounds; the surface lies where the wall is."""
    builder = SurfaceBuilder(is_metric=metric, voxel=None)
    for i in range(WAITING + 2):
        builder.add(*seen(depth, sigma, 0.05 * depth * i))
    surface = builder.close()
    assert surface is not None and surface.frames == WAITING + 2
    assert surface.voxel == pytest.approx(voxel, rel=1e-6)
    assert np.abs(surface.mesh.vertices[:, 2] - depth).max() < voxel


def test_a_camera_at_rest_adds_nothing():
    """The same place again and again is one observation, and unsure pixels are none."""
    builder = SurfaceBuilder(is_metric=True, voxel=0.05)
    for at in (0.0, 0.0, 0.001, 0.5):
        builder.add(*seen(2.0, 0.01, at))
    builder.add(*seen(2.0, 1.5 * CONFIDENT_SIGMA, 1.0))
    surface = builder.close()
    assert surface is not None and surface.frames == 2
    assert SurfaceBuilder(is_metric=True, voxel=0.05).close() is None


def part(unit: str) -> SimpleNamespace:
    """Figures of a segment that words are about."""
    return SimpleNamespace(unit=unit, scale_source="speed", scale_sigma=0.02, axes="its own")


def test_words_say_why_nothing_is_metres():
    """No source: a remedy; a source that failed: its name and its reason."""
    frame = SimpleNamespace(scale=ScaleState("unknown", reason="no flat ground in view"))
    log = SimpleNamespace(posed=[frame])
    assert "for metres give --speed" in about_metres(part("relative"), (), log)[0]
    said = about_metres(part("relative"), ("camera height",), log)[0]
    assert said == (
        "Not metres: camera height gave no scale for the largest segment: no flat ground in view."
    )
    assert "by speed, +- 2 %" in about_metres(part("metric"), ("speed",), log)[0]


def test_words_name_an_unsure_camera_first():
    """A focal length known to 8 % bends shapes, which is said; a calibration is no assumption."""
    camera = KnownCamera("tracks", 300.0, 56.0, 0.08, "focal length found")
    said = about_assumptions(camera, ("no times in the source: 30 assumed",), part("metric"))
    assert said[0] == "Camera: focal length found." and "to 8 % only" in said[1]
    assert "No times in the source: 30 assumed." in said
    known = KnownCamera("calibration", 300.0, 56.0, None, "calibrated")
    assert about_assumptions(known, (), part("metric"))[0] == "The scene stood still."


def test_the_sheet_frames_what_is_missing():
    """A frame without a pose has a red rim, one without depth an orange one, the rest none."""
    strip, rgb = FilmStrip(3), np.full((30, 40, 3), 100, np.uint8)
    sure = SimpleNamespace(sigma=np.full((30, 40), 0.05))
    strip.add(rgb, rgb, sure, is_placed=True)
    strip.add(rgb, None, None, is_placed=True)
    strip.add(rgb, None, None, is_placed=False)
    corners = [tuple(int(c) for c in one[0, 0]) for one in strip.sheet]
    assert corners == [(100, 100, 100), NO_DEPTH, NO_POSE]
    assert strip.draw_sheet().shape[1] % 6 == 0
    assert strip.draw_strip() is not None and FilmStrip(3).draw_strip() is None
