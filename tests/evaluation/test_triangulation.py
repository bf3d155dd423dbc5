# SPDX-License-Identifier: Apache-2.0
"""The classical answer: exact on exact flow, as wrong as predicted on noisy flow."""

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.multiview.triangulation import triangulate
from depthkit.synth.boxes import box_camera, make_box_scene, render, trace
from depthkit.synth.path import camera_path, forward_path
from depthkit.trajectory import exp_se3, inverse

K = np.array([[50.0, 0.0, 31.5], [0.0, 50.0, 23.5], [0.0, 0.0, 1.0]])
SIZE = (48, 64)


def motion(*t: float) -> np.ndarray:
    """T_source_target of a camera that moved so that points shift by t, metres."""
    T = np.eye(4)
    T[:3, 3] = t
    return T


def flow_of(depth: np.ndarray, T_source_target: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Reproject every pixel: the flow of a rigid scene. (H, W, 2)"""
    v, u = np.mgrid[: depth.shape[0], : depth.shape[1]].astype(np.float64)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)
    points = (pixels @ np.linalg.inv(K).T) * depth[..., None]
    seen = (points @ T_source_target[:3, :3].T + T_source_target[:3, 3]) @ K.T
    return seen[..., :2] / seen[..., 2:] - pixels[..., :2]


@pytest.mark.parametrize("path", [camera_path(6, 1), forward_path(6, 1)])
def test_exact_flow_gives_exact_depth(path: np.ndarray) -> None:
    """With the exact flow of a rendered room, rotation and all, depth comes back to 1e-6."""
    scene, camera = make_box_scene(3), box_camera((48, 64))
    for i in range(1, 6):
        depth, _ = trace(scene, camera, path[i])
        T_source_target = inverse(path[i - 1]) @ path[i]
        flow = flow_of(depth, T_source_target, camera.K)
        found = triangulate(flow, T_source_target, camera.K)
        error = np.abs(found.depth - depth) / depth
        assert found.valid.mean() > 0.9
        assert error[found.valid].max() < 1e-6
        assert np.nanmax(found.residual) < 1e-6


def test_sideways_motion_is_stereo() -> None:
    """f |t| / disparity: 50 px, 0.2 m and 4 px are 2.5 m."""
    flow = np.zeros((*SIZE, 2))
    flow[..., 0] = -4.0
    found = triangulate(flow, motion(-0.2, 0.0, 0.0), K)
    assert found.valid.all()
    np.testing.assert_allclose(found.depth, 2.5)


def test_noise_gives_the_predicted_error() -> None:
    """0.1 px of noise on 0.2 m sideways at 5 m: dZ / Z = 5 / (50 * 0.2) * 0.1 = 5 %."""
    rng = np.random.default_rng(0)
    depth, T = np.full(SIZE, 5.0), motion(-0.2, 0.0, 0.0)
    flow = flow_of(depth, T, K) + rng.normal(0, 0.1, (*SIZE, 2))
    found = triangulate(flow, T, K)
    spread = np.std(1 / found.depth) * 5.0  # inverse depth is what is linear in the flow
    assert found.valid.all()
    assert spread == pytest.approx(0.05, rel=0.05)


def test_noise_across_the_line_changes_nothing() -> None:
    """The depth is that of the nearest point of the epipolar line; how far it is, is told."""
    depth, T = np.full(SIZE, 5.0), motion(-0.2, 0.0, 0.0)
    flow = flow_of(depth, T, K) + np.array([0.0, 1.5])
    found = triangulate(flow, T, K)
    np.testing.assert_allclose(found.depth, 5.0)
    np.testing.assert_allclose(found.residual, 1.5)
    assert found.valid.all()
    assert not triangulate(flow, T, K, max_residual=1.0).valid.any()


def test_pixels_without_depth_are_unknown() -> None:
    """Flow against the epipolar line, at the epipole, beyond it, or not known, gives 0; flow of
    next to nothing along the line is far, and is clipped and not valid."""
    flow = np.zeros((*SIZE, 2))
    flow[..., 0] = 4.0
    assert (triangulate(flow, motion(-0.2, 0.0, 0.0), K).depth == 0).all()
    flow[..., 0] = -0.05
    far = triangulate(flow, motion(-0.2, 0.0, 0.0), K, max_depth=60.0)
    assert (far.depth == 60.0).all() and not far.valid.any()
    flow[0, 0] = np.nan
    assert triangulate(flow, motion(-0.2, 0.0, 0.0), K).depth[0, 0] == 0

    K_whole = np.array([[50.0, 0.0, 32.0], [0.0, 50.0, 24.0], [0.0, 0.0, 1.0]])
    ahead = motion(0.0, 0.0, 0.2)  # points lie deeper in the source: they run to the epipole
    onto = triangulate(flow_of(np.full(SIZE, 2.0), ahead, K_whole), ahead, K_whole)
    assert onto.depth[24, 32] == 0 and not onto.valid[24, 32]
    np.testing.assert_allclose(onto.depth[onto.valid], 2.0)
    beyond = np.zeros((*SIZE, 2))
    beyond[24, 42] = (-11.0, 0.0)  # 10 px from the epipole, moved 11
    assert triangulate(beyond, ahead, K_whole).depth[24, 42] == 0


def test_rotation_alone_is_refused() -> None:
    """There is no depth from no motion, and shapes are checked at the door."""
    T = exp_se3(np.array([0.0, 0.0, 0.0, 0.0, 0.1, 0.0]))
    with pytest.raises(DataError, match="no depth from no motion"):
        triangulate(np.zeros((4, 4, 2)), T, K)
    with pytest.raises(ShapeError, match="flow must be"):
        triangulate(np.zeros((4, 4)), motion(1, 0, 0), K)


@pytest.mark.parametrize("size", [(64, 64), (128, 128)])
def test_classical_answer_on_rendered_pairs(size: tuple[int, int]) -> None:
    """DIS flow and the known motion measure a room to a tenth, on small frames too; what could not
    be measured is filled in."""
    pytest.importorskip("cv2")
    from depthkit.multiview.classical import classical_depth

    scene, camera, path = make_box_scene(3), box_camera(size), forward_path(4, 1)
    depth, _ = trace(scene, camera, path[3])
    target, source = (render(scene, camera, path[i]).rgb for i in (3, 2))
    T_source_target = inverse(path[2]) @ path[3]
    found, measured = classical_depth(target, source, T_source_target, K=camera.K, max_depth=50.0)
    error = np.abs(found - depth) / depth
    assert (found > 0).all() and measured.mean() > 0.9
    assert error.mean() < 0.12 and error[measured].mean() < 0.1


@pytest.mark.parametrize("side", [64, 100, 420])
def test_flow_at_any_size(side: int) -> None:
    """A picture moved by (3, -2) px has that flow in pixels of its own, however it is matched, and
    none once a homography that moves it back is told."""
    cv2 = pytest.importorskip("cv2")
    from depthkit.multiview.dense_flow import dense_flow

    rng = np.random.default_rng(0)
    whole = cv2.GaussianBlur(rng.integers(0, 255, (side + 20, side + 20, 3), np.uint8), (0, 0), 3)
    whole = cv2.normalize(whole, None, 0, 255, cv2.NORM_MINMAX)
    target, source = whole[10:-10, 10:-10], whole[12:-8, 7:-13]
    inner = (slice(8, -8), slice(8, -8))
    flow = dense_flow(target, source)[inner]
    np.testing.assert_allclose(np.median(flow, axis=(0, 1)), [3, -2], atol=0.1)
    shift = np.array([[1.0, 0, 3], [0, 1, -2], [0, 0, 1]])
    rest = dense_flow(target, source, source_of_target=shift)[inner]
    np.testing.assert_allclose(np.median(rest, axis=(0, 1)), 0, atol=0.05)


def test_gaps_take_their_nearest_neighbour() -> None:
    """Each gap gets the depth of the nearest valid pixel; without any, what is asked for."""
    pytest.importorskip("cv2")
    from depthkit.multiview.dense_flow import fill_from_neighbours

    depth = np.array([[1.0, 0.0, 0.0, 0.0, 5.0]])
    filled = fill_from_neighbours(depth, depth > 0, otherwise=9.0)
    assert filled[0, 0] == filled[0, 1] == 1.0 and filled[0, 3] == filled[0, 4] == 5.0
    assert (fill_from_neighbours(depth, depth > 9, otherwise=9.0) == 9.0).all()
