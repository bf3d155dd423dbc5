# SPDX-License-Identifier: Apache-2.0
"""The ring reaches back at any speed, and each rule takes the frames it says."""

from dataclasses import fields

import numpy as np
import pytest

from depthkit.errors import ConfigError, ShapeError
from depthkit.rigid import exp_se3
from depthkit.runtime.config import BaselineConfig, RuntimeConfig
from depthkit.runtime.depth.baseline import Feedback, next_shift, overlap, select, wanted_depths
from depthkit.runtime.depth.frame_ring import FrameRing, RingFrame
from depthkit.runtime.motion.place import CameraMotion
from depthkit.runtime.motion.told import Motion
from depthkit.runtime.preprocess import NetworkFrame

D0 = 0.3
K = np.array([[64.0, 0, 63.5], [0, 64, 63.5], [0, 0, 1]])
PICTURE = NetworkFrame(np.zeros((128, 128, 3), np.uint8), K)


def turned(degrees: float) -> np.ndarray:
    """A turn about the vertical. (3, 3)"""
    return exp_se3(np.array([0, 0, 0, 0, np.radians(degrees), 0]))[:3, :3]


def at(index: int, x: float, *, stamp: float | None = None, turn: float = 0.0) -> RingFrame:
    """A frame taken x metres to the right."""
    time = 0.1 * index if stamp is None else stamp
    return RingFrame(index, time, PICTURE, turned(turn), np.array([x, 0, 0]))


def fly(xs, config=None, **more) -> FrameRing:
    """The ring after frames at these places."""
    ring = FrameRing(config or BaselineConfig(), nominal_baseline=D0)
    for index, x in enumerate(xs):
        ring.push(at(index, x, **more))
    return ring


def choose(ring, current, feedback=None, **config):
    """The selection of a rule."""
    return select(
        ring,
        current,
        config=BaselineConfig(**config),
        nominal_baseline=D0,
        feedback=feedback or Feedback(),
    )


# --- the ring -------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.005, 0.02, 0.08, 0.32])
def test_ring_holds_geometric_baselines_at_any_speed(speed):
    """From x1 to x64 of speed, each baseline the flight has covered is there to a quarter."""
    xs = speed * np.arange(400)
    ring = fly(xs, BaselineConfig(max_age=1e3))
    assert len(ring) == 32
    have = np.array([xs[-1] + speed - past.position[0] for past in ring])
    nearest, farthest = speed, min(20 * D0, xs[-1])
    for wanted in np.geomspace(max(nearest, 0.1 * D0), 0.95 * farthest, 40):
        nearby = np.abs(np.log(have / wanted)).min()
        assert nearby < np.log(1.25) or np.abs(have - wanted).min() <= speed / 2 + 1e-9


def test_ring_follows_a_change_of_speed():
    """After a fast and then a sixteen times slower stretch, D0 / 3, D0 and 3 D0 are all there."""
    xs = np.concatenate([np.arange(0, 10, 0.32), 10 + np.arange(0, 0.6, 0.02)])
    ring = fly(xs)
    have = np.array([xs[-1] + 0.02 - past.position[0] for past in ring])
    for wanted in (D0 / 3, D0, 3 * D0):
        assert np.abs(have / wanted - 1).min() < 0.2


def test_ring_forgets_what_is_old_or_far():
    """Nothing older than max_age, and what is farther than max_baseline goes first."""
    ring = fly(0.01 * np.arange(50), BaselineConfig(max_age=2.05))
    assert len(ring) == 21 and min(past.index for past in ring) == 29
    ring = fly(0.1 * np.arange(200), BaselineConfig(max_age=1e3))
    assert max(19.9 - past.position[0] for past in ring) <= 20 * D0 + 1e-9


def test_hovering_does_not_push_out_the_past():
    """Fifty frames on the spot leave the frames of the approach."""
    xs = np.r_[0.05 * np.arange(30), np.full(50, 1.5)]
    have = [1.5 - past.position[0] for past in fly(xs)]
    assert max(have) == pytest.approx(1.5) and sum(h > 0.05 for h in have) > 15


def test_ring_without_distances_keeps_spread_shifts():
    """Only counted frames: near ones all, far ones thinned, none lost before its time."""
    ring = FrameRing(BaselineConfig(capacity=8, max_age=1e3), nominal_baseline=D0)
    for index in range(200):
        ring.push(RingFrame(index, 0.1 * index, PICTURE))
    shifts = sorted(200 - past.index for past in ring)
    assert len(shifts) == 8 and shifts[0] == 1 and shifts[-1] > 100
    assert sorted(np.diff(shifts)) == list(np.diff(shifts))


def test_fixed_shift_is_always_there():
    """Rule fixed finds exactly its shift after any number of frames, standing or moving."""
    config = BaselineConfig(rule="fixed", shift=10, capacity=12)
    for count in (11, 40, 100):
        for step in (0.001, 0.5):
            ring = fly(step * np.arange(count), config)
            assert 10 in [count - past.index for past in ring]


# --- the rules ------------------------------------------------------------------------------------


def test_nearest_takes_the_baseline_nearest_to_nominal():
    """Of 0.1 .. 0.9 m the one at 0.3 m, three frames back at 0.1 m a frame."""
    chosen = choose(fly(0.1 * np.arange(9)), at(9, 0.9), rule="nearest")
    assert chosen.decision.shifts == (3,) and chosen.decision.wanted == (D0,)
    assert chosen.decision.baselines == pytest.approx((0.3,))
    assert "nominal" in chosen.decision.reason


def test_multi_range_takes_a_frame_for_each_depth():
    """Depths 10, 20 and 40 m at net value 20 want 0.15, 0.3 and 0.6 m."""
    ring = fly(0.05 * np.arange(20))
    chosen = choose(ring, at(20, 1.0), Feedback((10.0, 20.0, 40.0), 3))
    assert chosen.decision.wanted == pytest.approx((0.15, 0.3, 0.6))
    assert chosen.decision.shifts == (3, 6, 12)
    assert chosen.decision.baselines == pytest.approx((0.15, 0.3, 0.6))


def test_multi_range_takes_no_frame_twice_and_starts_at_nominal():
    """Two depths nearly alike are one pair; without a last map it is the nominal baseline."""
    ring = fly(0.1 * np.arange(9))
    chosen = choose(ring, at(9, 0.9), Feedback((20.0, 20.5, 40.0), 3))
    assert chosen.decision.shifts == (3, 6)
    assert choose(ring, at(9, 0.9)).decision.shifts == (3,)


def test_feedback_takes_the_wanted_shift():
    """Rule C starts at the fixed shift and then follows the last map's."""
    ring = fly(0.1 * np.arange(9))
    assert choose(ring, at(9, 0.9), rule="feedback").decision.shifts == (3,)
    chosen = choose(ring, at(9, 0.9), Feedback((), 5), rule="feedback")
    assert chosen.decision.shifts == (5,) and "5 wanted" in chosen.decision.reason


def test_next_shift_is_the_published_formula():
    """round(shift mean / target), from 1 to the longest there is."""
    assert next_shift(3, 60.0, target=30, longest=20) == 6
    assert next_shift(3, 4.0, target=30, longest=20) == 1
    assert next_shift(9, 90.0, target=30, longest=20) == 20


def test_best_of_n_tries_spread_shifts():
    """Five frames from the newest to the oldest, each about the same factor farther back."""
    chosen = choose(fly(0.1 * np.arange(16)), at(16, 1.6), rule="best_of_n")
    assert chosen.decision.shifts == (1, 2, 4, 8, 16)


def test_wanted_depths_are_quantiles():
    """Tenth, half and nine tenths of the depths; alone, the median."""
    depth = np.linspace(0, 100, 1001)
    assert wanted_depths(depth, 3) == pytest.approx((10, 50, 90))
    assert wanted_depths(depth, 1) == pytest.approx((50,))


def test_motion_of_a_pair_is_in_the_current_frame():
    """A camera turned by 90 degrees sees its past place ahead; R takes past axes to its own."""
    ring = FrameRing(BaselineConfig(max_rotation=80, min_overlap=0.01), nominal_baseline=D0)
    ring.push(at(0, 0.0, turn=60))
    now = at(1, -0.5, turn=90)
    (pair,) = choose(ring, now, max_rotation=80, min_overlap=0.01).pairs
    assert pair.t_current_previous == pytest.approx([0, 0, 0.5], abs=1e-12)
    assert pair.R_current_previous == pytest.approx(turned(-30), abs=1e-12)
    assert pair.rotation == pytest.approx(30)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("past", "now", "reason"),
    [
        ([], at(1, 0), "no past frame"),
        ([at(0, 0)], at(1, 0.002), "no translation: at most 0.0020 m"),
        ([at(0, 0)], at(1, 1, turn=40), "turned too far: 40.0 deg"),
        ([at(0, 0, stamp=0)], at(1, 1, stamp=20), "stale: the newest past frame is 20.00 s old"),
    ],
)
def test_selection_says_why_it_refuses(past, now, reason):
    """No pair, and the reason with its number."""
    ring = FrameRing(BaselineConfig(), nominal_baseline=D0)
    for frame in past:
        ring.push(frame)
    chosen = choose(ring, now)
    assert chosen.pairs == () and chosen.decision.shifts == ()
    assert chosen.decision.reason.startswith(reason)


def test_too_little_overlap_is_refused():
    """A turn within the limit may still leave less than half of the picture."""
    chosen = choose(fly([0]), at(1, 1, turn=50), max_rotation=80)
    assert chosen.decision.reason.startswith("too little overlap")


def test_overlap_of_turns():
    """All without a turn, less and less with it, nothing behind the camera."""
    turns = np.stack([turned(degrees) for degrees in (0, 20, 45, 180)])
    none, some, half, behind = overlap(turns, K, (128, 128))
    assert none == 1 and behind == 0 and 0.3 < half < some < 1


def test_frames_that_do_not_fit_are_left_out_one_by_one():
    """A past frame that looks elsewhere does not keep the others from being used."""
    ring = FrameRing(BaselineConfig(), nominal_baseline=D0)
    ring.push(at(0, 0.0))
    ring.push(at(1, 0.05, turn=60))
    assert choose(ring, at(2, 0.4)).decision.shifts == (2,)


# --- what is known of the motion ------------------------------------------------------------------


def read(motion, T=None, way=None, R=None, expected=False):
    """The place of the next frame."""
    return motion.read(Motion(T, way, R, expected))


def test_displacements_add_up():
    """0.1 and 0.2 m are 0.3 m of way, and the source says what that is worth in a curve."""
    motion = CameraMotion()
    ways = [read(motion, way=w).travelled for w in (5.0, 0.1, 0.2)]
    assert np.diff(ways) == pytest.approx([0.1, 0.2])
    assert "curve" in motion.scale_source()


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"expected": True}, "no motion for this frame"),
        ({"T": np.full((4, 4), np.nan)}, "pose is not finite"),
        ({"T": np.full((4, 4), np.inf)}, "pose is not finite"),
        ({"T": np.diag([1, 1, -1, 1.0])}, "pose is not a rotation"),
        ({"T": np.diag([2, 2, 2, 1.0])}, "pose is not a rotation"),
        ({"way": -1.0}, "displacement must be 0 m or more"),
        ({"R": np.eye(3), "expected": True}, "no displacement for this frame"),
        ({"way": np.nan}, "displacement must be 0 m or more"),
        ({"way": np.inf}, "displacement must be 0 m or more"),
        ({"way": 1.0, "expected": True}, "no attitude for this frame"),
        ({"way": 1.0, "R": np.full((3, 3), np.nan)}, "attitude is not finite"),
        ({"way": 1.0, "R": np.zeros((3, 3))}, "attitude is not a rotation"),
    ],
)
def test_impossible_motion_is_a_fault(given, fault):
    """The place says what is wrong, and nothing is raised."""
    assert read(CameraMotion(), **given).fault.startswith(fault)


def test_missing_motion_is_never_taken_for_unknown():
    """A stream with poses does not turn relative because one pose is missing."""
    motion = CameraMotion()
    read(motion, T=np.eye(4))
    place = read(motion)
    assert place.fault == "no pose for this frame" and not place.breaks
    read(motion, way=1.0)
    assert read(motion).breaks, "all before a missing displacement has no known distance"


def test_a_missing_attitude_is_never_taken_for_level():
    """A turn that is not known must not pass for parallax: not this frame, nor frames before it."""
    motion, R = CameraMotion(), np.eye(3)
    assert not read(motion, way=0.1, R=R).fault
    place = read(motion, way=0.1)
    assert place.fault == "no attitude for this frame" and not place.breaks
    assert read(motion, way=0.1, R=R).travelled == pytest.approx(0.3)
    level = CameraMotion()
    assert not read(level, way=0.1).fault
    place = read(level, way=0.1, R=R)
    assert place.breaks and not place.fault, "how the frames before were turned is not known"
    assert not read(level, way=0.1, R=R).breaks


def test_what_was_promised_from_the_start_is_a_fault_until_it_comes():
    """Before the first value its kind is open; then the frame says which one it lacks."""
    motion = CameraMotion()
    assert read(motion, expected=True).fault.startswith("no motion") and motion.kind is None
    assert not read(motion, T=np.eye(4)).fault and motion.kind == "pose"
    assert read(motion, expected=True).fault == "no pose for this frame"
    level = CameraMotion()
    read(level, R=np.eye(3))
    assert level.kind == "unknown"
    assert read(level, expected=True).fault == "no attitude for this frame"


def test_two_sources_make_one_motion():
    """The distance of a twist and the attitude of an IMU; what either lacks is a fault."""
    twist, imu = Motion(displacement=0.5), Motion(R_world_cam=np.eye(3))
    both = twist.merged(imu)
    assert both.displacement == 0.5 and both.R_world_cam is imu.R_world_cam
    assert both.T_world_cam is None and not both.expected
    assert twist.merged(Motion(expected=True)).expected


def test_wrong_shapes_are_bugs():
    """A pose of another shape raises."""
    with pytest.raises(ShapeError):
        read(CameraMotion(), T=np.eye(3))


# --- the configuration ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shift", 0),
        ("capacity", 2),
        ("ranges", 0),
        ("target", 0.0),
        ("band", (5.0, 2.0, 50.0, 80.0)),
        ("min_baseline", 0.0),
        ("max_baseline", 0.5),
        ("max_rotation", 90.0),
        ("min_overlap", 0.0),
        ("max_age", 0.0),
        ("max_speed", -1.0),
    ],
)
def test_impossible_values_are_refused(name, value):
    """Each check names its field."""
    with pytest.raises(ConfigError, match=f"^{name}: "):
        BaselineConfig(**{name: value})


def test_config_holds_plain_values():
    """ROS parameters are declared from it: numbers, words and tuples of numbers alone."""
    for field in fields(BaselineConfig):
        assert isinstance(getattr(BaselineConfig(), field.name), int | float | str | tuple)
    with pytest.raises(ConfigError, match="threads"):
        RuntimeConfig(threads=0)
