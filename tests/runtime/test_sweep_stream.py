# SPDX-License-Identifier: Apache-2.0
"""Depth by plane sweep on exact scenes: a slanted textured plane seen by a moving camera."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from depthkit.errors import EngineError, ShapeError
from depthkit.multiview.matching_cost import zncc_descriptors
from depthkit.rigid import exp_se3, inverse
from depthkit.runtime.depth.sweep_config import SweepConfig
from depthkit.runtime.depth.sweep_map import DepthMap, SteadyScale, carried, fused, steadied
from depthkit.runtime.depth.sweep_sources import Candidate, choose, look
from depthkit.runtime.depth.sweep_stream import SweepStream, confidence_of
from depthkit.runtime.motion.told import Motion

SIZE = (120, 160)
K = np.array([[130.0, 0, 79.5], [0, 130.0, 59.5], [0, 0, 1]])
CONFIG = SweepConfig(shrink=1, planes=48)
NORMAL, AWAY = np.array([0.0, -0.5, 0.87]), 3.0  # the plane n . X = 3 of the first camera
BOX = 1.8  # depth of a board in front of it, of the first camera


def texture() -> np.ndarray:
    """A random picture that the plane wears, 40 pixels a metre."""
    noise = np.random.default_rng(0).integers(0, 255, (600, 800)).astype(np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.5)


WEAR = texture()


def view(T_world_cam: np.ndarray, *, board: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture (H, W, 3) and exact depth (H, W) of the plane, with a board before it."""
    u, v = np.meshgrid(np.arange(SIZE[1]), np.arange(SIZE[0]))
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(K).T @ T_world_cam[:3, :3].T
    centre = T_world_cam[:3, 3]
    depth = (AWAY - NORMAL @ centre) / (rays @ NORMAL)
    if board:
        near = (BOX - centre[2]) / rays[..., 2]
        at = centre + near[..., None] * rays
        depth = np.where(np.abs(at[..., :2] - 0.2).max(axis=2) < 0.5, near, depth)
    points = centre + depth[..., None] * rays
    x, y = 60 * points[..., 0] + 400, 60 * points[..., 1] + 300
    grey = cv2.remap(WEAR, x.astype(np.float32), y.astype(np.float32), cv2.INTER_CUBIC)
    return np.repeat(grey[..., None], 3, axis=2), depth.astype(np.float32)


def flight(frames: int, step: float = 0.04) -> list[np.ndarray]:
    """Poses of a sideways flight with a little turning."""
    twists = [np.array([step, 0.3 * step, 0.2 * step, 0, 0.004, 0.002]) * i for i in range(frames)]
    return [exp_se3(twist) for twist in twists]


def run(stream: SweepStream, poses: list[np.ndarray], **motion):
    """Send the views of a flight; return the results."""
    return [
        stream.process(view(T)[0], stamp=0.1 * i, K=K, motion=Motion(T, **motion))
        for i, T in enumerate(poses)
    ]


def test_a_plane_is_measured_to_two_percent():
    """Depth in metres, most pixels sure, errors inside the band that sigma promises."""
    poses = flight(8)
    result = run(SweepStream(CONFIG), poses)[-1]
    truth = view(poses[-1])[1]
    inner = np.s_[8:-8, 8:-8]
    error = np.abs(np.log(result.depth / truth))[inner]
    assert result.scale == "metric" and result.reason == "" and result.valid.all()
    assert np.median(error) < 0.02 and (error < 0.1).mean() > 0.9
    assert (error < 1.628 * result.sigma[inner]).mean() > 0.8
    assert result.decision.rule == "sweep" and len(result.decision.shifts) >= 2


def test_the_newest_sweep_can_be_looked_at():
    """Nothing before the first depth and after a reset; sure depth is its own without fusion."""
    stream, poses = SweepStream(replace(CONFIG, fuse=False)), flight(6)
    assert run(stream, poses[:1])[-1].depth is None and stream.swept is None
    result = run(stream, poses)[-1]
    sure = result.sigma[8:-8, 8:-8] < 0.1
    apart = np.abs(np.log(stream.swept.inverse * result.depth))[8:-8, 8:-8]
    assert sure.any() and np.percentile(apart[sure], 95) < 0.1
    np.testing.assert_array_equal(stream.newest.inverse, stream.swept.inverse)
    stream.reset()
    assert stream.swept is None and stream.newest is None


@pytest.mark.parametrize("cost", ["zncc", "learned"])
def test_costs_are_exchangeable(cost):
    """The same plane with another cost; the learnt one with descriptors given."""
    describe = zncc_descriptors if cost == "learned" else None
    stream = SweepStream(replace(CONFIG, cost=cost), describe=describe)
    poses = flight(6)
    result, truth = run(stream, poses)[-1], view(poses[-1])[1]
    assert np.median(np.abs(np.log(result.depth / truth))) < 0.03


def test_relative_poses_give_relative_depth_in_their_unit():
    """The same flight in another unit: depth in that unit, and never called metres."""
    poses = flight(6)
    scaled = [T.copy() for T in poses]
    for T in scaled:
        T[:3, 3] *= 5
    stream, stamps = SweepStream(CONFIG), range(len(poses))
    for i, T, given in zip(stamps, poses, scaled, strict=True):
        motion = Motion(given, metric=False)
        result = stream.process(view(T)[0], stamp=0.1 * i, K=K, motion=motion)
    truth = view(poses[-1])[1]
    assert result.scale == "relative"
    assert np.median(np.abs(np.log(result.depth / (5 * truth)))) < 0.03


def test_a_wrong_attitude_is_mended():
    """Errors of 1.2 degrees in every attitude, before two planes: less than half is left."""
    rng = np.random.default_rng(0)
    poses = flight(10)
    given = [T @ exp_se3(np.r_[0, 0, 0, rng.normal(0, np.radians(1.2), 3)]) for T in poses]
    errors = {}
    for mend in (True, False):
        stream = SweepStream(replace(CONFIG, correct_poses=mend, fuse=False))
        for i, (T, told) in enumerate(zip(poses, given, strict=True)):
            rgb, truth = view(T, board=True)
            result = stream.process(rgb, stamp=0.1 * i, K=K, motion=Motion(told))
        errors[mend] = np.median(np.abs(np.log(result.depth / truth)))
    assert errors[True] < errors[False] / 2


def test_the_same_frames_give_the_same_bytes():
    """Also after a reset."""
    stream, poses = SweepStream(CONFIG), flight(5)
    first = run(stream, poses)[-1]
    stream.reset()
    again = run(stream, poses)[-1]
    assert np.array_equal(first.depth, again.depth) and np.array_equal(first.sigma, again.sigma)


def test_memory_is_bounded_and_the_ring_spans_baselines():
    """At most `capacity` past frames, old ones among them."""
    stream = SweepStream(replace(CONFIG, capacity=6))
    run(stream, flight(14, step=0.02))
    shifts = [13 - frame.index for frame in stream._ring]
    assert len(shifts) == 6 and max(shifts) > 6


@pytest.mark.parametrize(
    ("poses", "reason"),
    [
        ([np.eye(4)] * 4, "not moved enough"),
        ([exp_se3(np.r_[0, 0, 0, 0, 0.03 * i, 0]) for i in range(4)], "not moved enough"),
        ([exp_se3(np.r_[1e-4 * i, 0, 0, 0, 0, 0]) for i in range(4)], "parallax"),
    ],
    ids=["hover", "rotation alone", "a tenth of a millimetre"],
)
def test_without_parallax_there_is_no_depth_and_a_reason(poses, reason):
    """Nothing is invented where nothing can be known."""
    result = run(SweepStream(CONFIG), poses)[-1]
    assert result.depth is None and reason in result.reason


def test_hovering_after_a_flight_keeps_depth():
    """Past frames with parallax are still there."""
    poses = flight(6)
    result = run(SweepStream(CONFIG), poses + [poses[-1]] * 5)[-1]
    assert np.median(np.abs(np.log(result.depth / view(poses[-1])[1]))) < 0.03


def test_faulty_frames_are_left_out_with_a_reason():
    """And the next good one goes on with the past frames that are there."""
    stream, poses = SweepStream(CONFIG), flight(7)
    run(stream, poses[:5])
    good, T = view(poses[5])[0], poses[5]
    bad = {
        "no camera pose": (good, K, Motion()),
        "not finite": (good, K, Motion(np.full((4, 4), np.nan))),
        "is not a rotation": (good, K, Motion(np.diag([2.0, 2.0, 2.0, 1.0]))),
        "attitude of the camera pose": (good, K, Motion(np.diag([-1.0, 1.0, 1.0, 1.0]))),
        "no intrinsics": (good, None, Motion(T)),
        "K must be finite": (good, np.zeros((3, 3)), Motion(T)),
        "black": (np.zeros_like(good), K, Motion(T)),
        "must be RGB": (good[..., 0], K, Motion(T)),
        "too small": (good[:40, :40].copy(), K, Motion(T)),
    }
    for i, (reason, (rgb, matrix, motion)) in enumerate(bad.items()):
        result = stream.process(rgb, stamp=0.41 + 0.01 * i, K=matrix, motion=motion)
        assert result.depth is None and reason in result.reason
    assert stream.process(good, stamp=0.5, K=K, motion=Motion(T)).depth is not None
    with pytest.raises(TypeError):
        stream.process("frame", stamp=0.6, K=K, motion=Motion(T))
    with pytest.raises(ShapeError):
        stream.process(good, stamp=0.6, K=np.eye(4), motion=Motion(T))


@pytest.mark.parametrize("what", ["pause", "unit", "time runs back", "another size"])
def test_a_break_drops_the_past(what):
    """Frames before it must not be compared with those after it."""
    stream, poses = SweepStream(CONFIG), flight(6)
    run(stream, poses[:5])
    rgb, stamp, motion = view(poses[5])[0], 0.5, Motion(poses[5])
    match what:
        case "pause":
            stamp = 9.0
        case "unit":
            motion = Motion(poses[5], metric=False)
        case "time runs back":
            stamp = 0.1
        case "another size":
            rgb = rgb[:100]
    result = stream.process(np.ascontiguousarray(rgb), stamp=stamp, K=K, motion=motion)
    assert result.depth is None and "the past is forgotten" in result.reason
    assert len(stream._ring) == 1


def test_a_pose_that_jumps_is_named():
    """A kilometre away no past frame shows anything: that is no lack of parallax."""
    stream, poses = SweepStream(CONFIG), flight(6)
    run(stream, poses[:5])
    far = poses[5].copy()
    far[2, 3] += 1000.0
    result = stream.process(view(poses[5])[0], stamp=0.5, K=K, motion=Motion(far))
    assert result.depth is None and "pose jumped" in result.reason


def test_learned_cost_without_a_network_is_refused():
    """One line that says what to do."""
    with pytest.raises(EngineError, match="kind features"):
        SweepStream(SweepConfig(cost="learned"))


# --- sources ------------------------------------------------------------------------------------


def test_parallax_and_overlap_by_hand():
    """A sideways step of 0.1 m at 2 m depth: 130 x 0.1 / 2 = 6.5 pixels."""
    T = np.eye(4)
    T[0, 3] = -0.1
    turned = exp_se3(np.r_[0, 0, 0, 0, np.radians(40), 0])
    found = look(np.stack([T, turned]), K, SIZE, 0.5)
    assert np.isclose(found[0].parallax, 6.5) and found[0].overlap > 0.85
    assert np.isclose(found[1].parallax, 0, atol=1e-9) and found[1].overlap < 0.5


def test_sources_are_nearest_to_what_is_wanted_by_ratio():
    """3, 5 and 12 pixels are wanted; 100 is far too much, 0.5 too little, 6 shows too little."""
    pixels = [0.5, 4.0, 6.0, 11.0, 100.0, 3.0]
    candidates = [Candidate(p, 0.1 if p == 6 else 0.9) for p in pixels]
    assert choose(candidates, (3, 5, 12), least=1, overlap=0.5) == [5, 1, 3]
    assert choose([Candidate(90, 0.9), Candidate(70, 0.9)], (3, 5), least=1, overlap=0.5) == [1]
    assert choose(candidates[:1], (3, 5), least=1, overlap=0.5) == []


# --- maps ---------------------------------------------------------------------------------------


def flat(value: float, sigma: float = 0.05, T: np.ndarray | None = None) -> DepthMap:
    """An even map."""
    shape = np.full(SIZE, 1, np.float32)
    return DepthMap(shape * value, shape * sigma, np.eye(4) if T is None else T, K)


def test_a_carried_map_has_the_depth_of_the_new_place():
    """One metre forward: what was 4 m away is 3 m away."""
    ahead = np.eye(4)
    ahead[2, 3] = 1.0
    moved = carried(flat(1 / 4), ahead, K)
    known = moved.inverse > 0
    assert np.allclose(moved.inverse[known], 1 / 3, rtol=1e-6) and known.mean() > 0.4
    back = carried(moved, inverse(inverse(ahead)) @ inverse(ahead), K)
    assert np.allclose(back.inverse[back.inverse > 0], 1 / 4, rtol=1e-5)


def test_agreeing_maps_average_and_disagreeing_ones_do_not():
    """By hand: equal weights give the mean; far apart, the surer stays and doubts."""
    near = fused(flat(0.50), flat(0.51), step=0.01)
    assert np.allclose(near.inverse, 0.505, atol=1e-6)
    assert np.allclose(near.sigma, 0.05, rtol=1e-5)
    apart = fused(flat(0.5, 0.2), flat(0.9, 0.05), step=0.01)
    assert np.allclose(apart.inverse, 0.9) and np.allclose(apart.sigma, 0.05 * 1.25, rtol=1e-5)


def test_scales_meet_between_their_maps():
    """A new map 10 % off with a weight of a quarter: both move, and agree."""
    new, last = steadied(flat(0.55), flat(0.5), gain=0.25)
    assert np.allclose(new.inverse, last.inverse, rtol=1e-6)
    assert np.allclose(last.inverse, 0.5 * 1.1**0.25, rtol=1e-6)
    far = steadied(flat(1.5), flat(0.5), gain=0.25)
    assert np.allclose(far[0].inverse, 1.5) and np.allclose(far[1].inverse, 0.5)


def test_a_steady_scale_is_a_mean_by_variance():
    """Two measurements of equal error at once: half each; sigma stays that of one frame."""
    scale = SteadyScale()
    assert scale.take(0.1, 1.0) == 1.0 and np.isclose(scale.sigma, 0.1)
    assert np.isclose(scale.take(0.1, 1.0), 0.5) and np.isclose(scale.sigma, 0.1)
    assert scale.take(0.01, 1.0) > 0.95 and np.isclose(scale.sigma, 0.01, rtol=0.05)


def test_confidence_is_a_probability_that_falls_with_sigma():
    """Laplace errors: at sigma 0.1 the share within 25 % is 1 - exp(-sqrt 2 ln 1.25 / 0.1)."""
    found = confidence_of(np.array([[0.01, 0.1, 1.0]], np.float32))
    assert np.allclose(found[0, 1], 1 - np.exp(-np.sqrt(2) * np.log(1.25) / 0.1), atol=1e-5)
    assert found[0, 0] > found[0, 1] > found[0, 2] > 0
