# SPDX-License-Identifier: Apache-2.0
"""Height over the ground: exact planes with tilt, objects, walls, noise; refusals; a road."""

from time import thread_time

import cv2
import numpy as np
import pytest

from depthkit.camera import Camera
from depthkit.errors import ShapeError
from depthkit.rigid import inverse, make_pose
from depthkit.runtime.odometry.ground_height import ground_height

SIZE = (128, 416)
K = np.array([[240.0, 0, 207.5], [0, 245.0, 50.5], [0, 0, 1]])
UP = np.array([0.0, -1.0, 0.0])  # of a camera that looks straight ahead: its y points down


def turned(*, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """Up in the camera frame once the camera has looked down by pitch and leant by roll, degrees.

    Looking down by 90 degrees, the optical axis points down: up is (0, 0, -1).
    """
    p, r = np.radians([pitch, roll])
    return np.array([np.sin(r) * np.cos(p), -np.cos(r) * np.cos(p), -np.sin(p)])


def rays(K=K, size=SIZE) -> np.ndarray:
    """Rays at depth 1. (H, W, 3)"""
    u, v = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones(size)], -1)


def ground(height=1.65, up=UP, *, far=80.0, K=K, size=SIZE) -> np.ndarray:
    """Depth of a ground plane: up . p = -height; `far` where the ray does not meet it. (H, W)"""
    down = -(rays(K, size) @ up)
    with np.errstate(divide="ignore"):
        depth = np.where(down > 0, height / down, np.inf)
    return np.minimum(depth, far).astype(np.float32)


def test_a_flat_road_by_hand():
    """1.65 under a level camera: the row 100 px below the horizon is seen at 245 / 100 * 1.65."""
    K_whole = K.copy()
    K_whole[1, 2] = 20.0
    depth = ground(K=K_whole)
    assert depth[120, 0] == pytest.approx(1.65 * 2.45)
    found = ground_height(depth, K=K_whole, up=UP)
    assert found.height == pytest.approx(1.65, rel=1e-4)
    assert found.up == pytest.approx(UP, abs=1e-4)
    assert found.spread < 1e-4 and found.reason == ""
    assert found.share == pytest.approx(np.mean(depth < 80), abs=0.05)


@pytest.mark.parametrize("unit", [1e-3, 1.0, 50.0])
def test_height_has_the_units_of_the_depth(unit):
    """A relative map with any factor gives the height with that factor."""
    found = ground_height(ground() * np.float32(unit), K=K, up=UP)
    assert found.height == pytest.approx(1.65 * unit, rel=1e-4)


@pytest.mark.parametrize(
    ("pitch", "roll", "height"), [(0, 12, 2.0), (20, -8, 1.2), (45, 0, 30.0), (90, 0, 40.0)]
)
def test_any_mounting(pitch, roll, height):
    """A camera that looks down, leans or looks at the nadir, told where up is."""
    up = turned(pitch=pitch, roll=roll)
    found = ground_height(ground(height, up, far=1e4), K=K, up=up)
    assert found.height == pytest.approx(height, rel=1e-3)
    assert found.up == pytest.approx(up, abs=1e-3)


@pytest.mark.parametrize("error", [-8.0, 3.0, 8.0])
def test_a_wrong_up_direction_is_put_right(error):
    """The car brakes or the road climbs: height is square to the ground, whatever up was said."""
    up = turned(pitch=10)
    found = ground_height(ground(up=up), K=K, up=turned(pitch=10 + error))
    assert found.height == pytest.approx(1.65, rel=1e-3)
    assert found.up == pytest.approx(up, abs=1e-3)


def test_objects_do_no_harm():
    """Walls, a car roof and a table, a third of the ground's pixels: the ground's height still."""
    depth = ground()
    depth[:, :60] = np.minimum(depth[:, :60], 6.0)  # a wall that faces the camera
    roof = np.minimum(ground(0.5), 80)  # level as well, one metre and more above the ground
    depth[70:128, 250:370] = roof[70:128, 250:370]
    depth[40:90, 150:180] = np.minimum(depth[40:90, 150:180], 9.0)
    found = ground_height(depth, K=K, up=UP)
    assert found.height == pytest.approx(1.65, rel=5e-3)
    assert 0.2 < found.share < 0.45


@pytest.mark.parametrize("seed", range(4))
def test_noise_is_averaged(seed):
    """Smooth errors of a few percent, as of networks, and a tilt of 2 degrees: within 3 %."""
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[: SIZE[0], : SIZE[1]]
    waves = sum(
        rng.normal() * np.sin(rng.uniform(0.01, 0.06) * u + rng.uniform(0.01, 0.1) * v + 6 * k)
        for k in range(6)
    )
    depth = ground(up=turned(pitch=2)) * np.exp(0.01 * waves + 0.002 * rng.normal(size=SIZE))
    found = ground_height(depth, K=K, up=UP)
    assert found.height == pytest.approx(1.65, rel=0.03)


def test_unknown_pixels_are_left_out():
    """NaN, zero, negative, infinite, and what the caller calls invalid are never ground."""
    depth, valid = ground(), np.ones(SIZE, bool)
    depth[60:70], depth[70:75], depth[75:80], depth[80:85] = np.nan, 0, -1, np.inf
    depth[100:, 200:], valid[100:, 200:] = ground(0.3)[100:, 200:], False
    found = ground_height(depth, K=K, up=UP, valid=valid)
    assert found.height == pytest.approx(1.65, rel=5e-3)


def test_a_large_map_is_sampled():
    """Four times the size in both axes: the same height, from as many pixels as the small one."""
    large = K * np.array([[4.0], [4.0], [1.0]])
    depth = ground(K=large, size=(512, 1664))
    assert ground_height(depth, K=large, up=UP).height == pytest.approx(1.65, rel=1e-3)


REFUSED = {
    "nothing known": np.full(SIZE, np.nan),
    "a wall": np.full(SIZE, 5.0),
    "a ceiling": ground(up=-UP),
    "a patch of ground": np.where(np.arange(SIZE[1]) < 390, 5.0, ground()),
    "tiny": ground()[:3, :3],
}


@pytest.mark.parametrize("scene", REFUSED)
def test_too_little_ground_is_refused(scene):
    """No height, and the share that was found."""
    found = ground_height(REFUSED[scene], K=K, up=UP)
    assert found.height is None
    assert "of the depth is ground, needs 5% and 100 pixels" in found.reason


def test_a_steep_plane_is_no_ground():
    """40 degrees against up, as the slope of a hill in front."""
    found = ground_height(ground(up=turned(pitch=40)), K=K, up=UP)
    assert found.height is None and found.reason


@pytest.mark.parametrize("up", [(0, 0, 0), (np.nan, 0, 1)])
def test_no_up_direction_is_said(up):
    """Length 0 and NaN point nowhere."""
    assert "up must be a direction" in ground_height(ground(), K=K, up=np.array(up)).reason


def test_wrong_shapes_raise():
    """The caller's bug."""
    with pytest.raises(ShapeError):
        ground_height(ground()[None], K=K, up=UP)
    with pytest.raises(ShapeError):
        ground_height(ground(), K=K, up=np.eye(4)[0])


def test_it_is_fast():
    """Under 10 ms of a core at 128x416, the best of a few tries, however busy the machine is."""
    depth, times = ground(), []
    for _ in range(5):
        started = thread_time()
        ground_height(depth, K=K, up=UP)
        times.append(thread_time() - started)
    assert min(times) < 10e-3


def test_a_real_road(data_root):
    """KITTI 00: the rig's sheet says 1.65 m; depth is triangulated from flow and known poses.

    DIS flow on asphalt is no truth (single frames are off by a tenth), so the median of 15 counts.
    """
    root = data_root / "kitti_odometry"
    rows = np.loadtxt(root / "poses/00.txt").reshape(-1, 3, 4)
    poses = make_pose(rows[:, :, :3], rows[:, :, 3])
    camera = Camera(1241, 376, 718.856, 718.856, 607.1928, 185.2157)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    heights = []
    for i in range(5, 300, 20):
        now, before = (
            cv2.imread(str(root / f"sequences/00/image_0/{j:06d}.jpg"), cv2.IMREAD_GRAYSCALE)
            for j in (i, i - 1)
        )
        moved = flow.calc(now, before, None)
        depth = triangulate(moved, camera.K, inverse(poses[i - 1]) @ poses[i])
        inverse_small = cv2.resize(1 / depth, SIZE[::-1], interpolation=cv2.INTER_AREA)
        found = ground_height(1 / inverse_small, K=camera.resized(SIZE).K, up=UP)
        heights.append(found.height if found.height else np.nan)
    assert np.isfinite(heights).sum() >= 13
    assert np.nanmedian(heights) == pytest.approx(1.65, rel=0.1)


def triangulate(flow: np.ndarray, K: np.ndarray, T_before_now: np.ndarray) -> np.ndarray:
    """Return the depth that moves each pixel as the flow says, NaN beyond 80 m. (H, W) float32"""
    ray = rays(K, flow.shape[:2])
    seen = ray[..., :2] + flow / K[[0, 1], [0, 1]]
    turned_ray, t = ray @ T_before_now[:3, :3].T, T_before_now[:3, 3]
    # z (q - p q_z) = p t_z - t in x and in y, for z q + t seen at p: least squares.
    a = turned_ray[..., :2] - seen * turned_ray[..., 2:]
    b = seen * t[2] - t[:2]
    depth = (a * b).sum(-1) / np.maximum((a * a).sum(-1), 1e-12)
    return np.where((depth > 1) & (depth < 80), depth, np.nan).astype(np.float32)
