# SPDX-License-Identifier: Apache-2.0
"""The back end over a map: which keyframes move, what is dropped, how depths are measured."""

import copy

import numpy as np
import pytest
from small_map import SIGMA, path, small_map

from depthkit.errors import ConfigError
from depthkit.rigid import exp_se3, log_se3
from depthkit.runtime.odometry import window
from depthkit.runtime.odometry.landmark_map import FRESH, LandmarkMap
from depthkit.runtime.odometry.window import adjust_window, measure_depths


def disturbed(world: LandmarkMap, first: int) -> LandmarkMap:
    """Move the keyframes from `first` on and all landmarks."""
    rng = np.random.default_rng(5)
    for one in world.keyframes[first:]:
        one.T_cam_world = exp_se3(0.01 * rng.normal(size=6)) @ one.T_cam_world
    world.position[world.mapped()] *= np.exp(0.02 * rng.normal(size=(len(world.mapped()), 1)))
    return world


@pytest.mark.parametrize("solver", ["numpy", "gtsam"])
def test_free_keyframes_return_and_held_ones_stay(solver: window.Solver) -> None:
    """Two of six are free: back to the truth; the four before keep their bytes."""
    if solver == "gtsam":
        pytest.importorskip("gtsam", reason="extra [gtsam] is not installed")
    world = disturbed(small_map(6), 4)
    solution = adjust_window(world, sigma=SIGMA, free=2, iterations=20, solver=solver)
    truth = path(6)
    assert solution is not None and solution.errors.max() < 0.01
    for i, one in enumerate(world.keyframes):
        assert np.abs(one.T_cam_world - truth[i]).max() < 1e-4
        assert i >= 4 or (one.T_cam_world == truth[i]).all()
    assert np.abs(world.position[:80] - small_map().position[:80]).max() < 1e-2


def test_the_first_keyframe_of_a_map_never_moves() -> None:
    """With more free ones asked for than there are; a map of one has nothing to adjust."""
    world = disturbed(small_map(4), 1)
    adjust_window(world, sigma=SIGMA, free=8)
    assert (world.keyframes[0].T_cam_world == path(4)[0]).all()
    assert adjust_window(small_map(1), sigma=SIGMA) is None


def test_wrong_observations_are_dropped() -> None:
    """Ten deviations off and seen by others: gone, and nothing else; counts agree with lists."""
    world = small_map(6, noise=0.3)
    newest = world.keyframes[-1]
    wrong = newest.slots[[3, 17]]
    newest.rays[[3, 17]] += 10 * SIGMA
    adjust_window(world, sigma=SIGMA, free=3)
    assert not np.isin(wrong, newest.slots).any()
    seen = np.concatenate([one.slots for one in world.keyframes])
    assert len(seen) == 6 * 60 - 2
    assert (np.bincount(seen, minlength=len(world.count)) == world.count).all()


def test_held_are_those_with_most_landmarks_in_common() -> None:
    """A keyframe without any, and one with fewer than eight, take no part; the last one always."""
    world = small_map(6)
    world.drop_observations(world.keyframes[1], np.ones(60, bool))
    world.drop_observations(world.keyframes[2], np.arange(60) >= 7)
    assert window._held(world, 5) == [0, 3, 4]
    for one in world.keyframes[:5]:
        world.drop_observations(one, np.ones(len(one.slots), bool))
    assert window._held(world, 5) == [4]


def test_same_map_same_bytes() -> None:
    """Two copies of a map are adjusted to the same bytes."""
    maps = [disturbed(small_map(6, noise=1.0), 3) for _ in range(2)]
    for world in maps:
        adjust_window(world, sigma=SIGMA, free=3)
    assert maps[0].position.tobytes() == maps[1].position.tobytes()
    poses = [np.stack([one.T_cam_world for one in world.keyframes]) for world in maps]
    assert poses[0].tobytes() == poses[1].tobytes()


def test_noise_moves_poses_by_their_sigma() -> None:
    """Squared errors in the metric of the information average one a degree of freedom: 18 numbers,
    so the mean over 10 maps deviates by sqrt(2 / 180) = 0.1."""
    squares, truth = [], path(6)
    for seed in range(10):
        world, rng = small_map(6), np.random.default_rng(seed)
        for one in world.keyframes:
            one.rays = one.rays + SIGMA * rng.normal(size=one.rays.shape)
        before = copy.deepcopy(truth[3:])
        solution = adjust_window(world, sigma=SIGMA, free=3, iterations=10)
        assert solution is not None
        moved = np.stack([one.T_cam_world for one in world.keyframes[3:]])
        error = log_se3(moved @ np.linalg.inv(before)).reshape(-1)
        squares.append(error @ solution.information @ error / 18)
    assert 0.6 < np.mean(squares) < 1.4


def test_unknown_solver_is_refused() -> None:
    """The message lists those that there are."""
    with pytest.raises(ConfigError, match="solver: expected one of numpy, gtsam, got 'ceres'"):
        adjust_window(small_map(), sigma=SIGMA, solver="ceres")  # type: ignore[arg-type]


def test_depth_sigma_by_hand() -> None:
    """A point at depth 4 seen from 0 and 1 to the right: a change of ln z by d moves it d / 4.

    The first sight has no lever. So sigma is that of a ray times 4, beside the fresh guess.
    """
    world = LandmarkMap()
    full = small_map(2, 1)
    slots = world.new_slots(1)
    world.position[slots] = [[0, 0, 4.0]]
    for number, x in enumerate((0.0, 1.0)):
        one = copy.deepcopy(full.keyframes[0])
        one.number, one.slots, one.T_cam_world = number, slots, np.eye(4)
        one.T_cam_world[0, 3] = -x
        one.rays = np.array([[-x / 4, 0.0]])
        world.add(one)
    measure_depths(world, slots, sigma=0.01)
    # In the second camera the lever is (0, 0, 4) and the ray -1/4: slope 1/4 * 4 / 4.
    expected = 1 / np.sqrt((0.25 / 0.01) ** 2 + 1 / FRESH**2)
    assert world.sigma[slots] == pytest.approx([expected])
    assert (world.origin[slots] == 0).all()


def test_depth_without_parallax_stays_a_guess() -> None:
    """Seen by one keyframe alone, or by none, nothing is learnt; no slots, nothing happens."""
    world = small_map(1, 8)
    slots = world.keyframes[0].slots
    measure_depths(world, np.arange(8), sigma=SIGMA)
    assert world.sigma[:8] == pytest.approx(np.full(8, FRESH))
    assert (world.origin[slots] == world.keyframes[0].centre).all()
    measure_depths(world, np.zeros(0, int), sigma=SIGMA)
