# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from depthkit.errors import ShapeError
from depthkit.multiview.plane_sweep import OUTSIDE, plane_inverse_depths, plane_sweep

K = np.array([[40.0, 0, 31.5], [0, 40.0, 23.5], [0, 0, 1]])


def picture(seed: int = 0, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def sweep(previous: np.ndarray, current: np.ndarray, t: tuple, q: list[float]) -> np.ndarray:
    return plane_sweep(
        previous, current, t_previous_current=np.array(t), K=K, inverse_depths=np.array(q)
    )


def test_planes_begin_at_infinity_and_end_at_the_nearest() -> None:
    """Inverse depths rise from 0 to 1 / nearest, closer together far away."""
    q = plane_inverse_depths(5, nearest=2.0)
    np.testing.assert_allclose(q, [0, 0.5 * 0.25**1.5, 0.5 * 0.5**1.5, 0.5 * 0.75**1.5, 0.5])
    assert (np.diff(q, 2) > 0).all()


def test_a_sideways_plane_matches_at_its_depth_alone() -> None:
    """40 px * 0.3 m * 0.5 / m = 6 px: the frame moved by 6 px fits the plane at 2 m exactly."""
    previous = picture()
    current = np.roll(previous, -6, axis=1)  # u' = u + 6
    volume = sweep(previous, current, (0.3, 0, 0), [0.0, 0.25, 0.5, 1.0])
    assert volume.shape == (4, 48, 64) and volume.dtype == np.uint8
    assert (volume[2, :, :58] == 0).all()
    assert all(volume[i, :, :50].mean() > 60 for i in (0, 1, 3))


def test_what_leaves_the_previous_frame_is_marked() -> None:
    """Sideways by 6 px the last 6 columns are outside; half a pixel of the edge still counts."""
    volume = sweep(picture(), picture(1), (0.3, 0, 0), [0.5])
    assert (volume[0, :, 58:] == OUTSIDE).all() and (volume[0, :, :58] != OUTSIDE).any(0).all()
    volume = sweep(picture(), picture(1), (0, -0.3, 0), [0.5])
    assert (volume[0, :6] == OUTSIDE).all() and (volume[0, 6:] != OUTSIDE).any(1).all()


def test_forward_motion_scales_about_the_principal_point() -> None:
    """t = (0, 0, 0.5) and q = 1: u' = (u + cx/2) / 1.5, so the middle stays and scale is 2/3."""
    u = np.arange(64)
    ramp = np.repeat(np.tile((2 * u).astype(np.uint8), (48, 1))[..., None], 3, axis=2)
    moved = 2 * ((u + 0.5 * 31.5) / 1.5)
    still = np.repeat(np.tile(np.rint(moved).astype(np.uint8), (48, 1))[..., None], 3, axis=2)
    volume = sweep(ramp, still, (0, 0, 0.5), [1.0])
    assert volume[0].max() <= 1


def test_no_motion_gives_every_plane_the_same_answer() -> None:
    """Without translation all planes show the unmoved frame, so they say nothing of depth."""
    a, b = picture(), picture(1)
    volume = sweep(a, b, (0, 0, 0), [0.0, 0.5, 1.0])
    plain = np.abs(a.astype(float) - b).mean(2)
    np.testing.assert_allclose(volume, np.broadcast_to(plain, volume.shape), atol=1)


def test_frames_of_two_sizes_are_a_bug() -> None:
    """The caller resizes both frames alike."""
    with pytest.raises(ShapeError, match="current"):
        sweep(picture(), picture(size=(24, 32)), (0.1, 0, 0), [0.5])
