# SPDX-License-Identifier: Apache-2.0
"""Still Box scenes: seeded, free of collisions, as their options say."""

import numpy as np
import pytest

from depthkit.errors import ConfigError
from depthkit.rigid import inverse, log_so3
from depthkit.synth.render import open_renderer
from depthkit.synth.stillbox import StillboxOptions, make_stillbox_scene

SIZE = (48, 64)


def scene(seed: int = 0, frames: int = 10, **options):
    return make_stillbox_scene(StillboxOptions(**options), seed, frames=frames, size=SIZE)


def test_same_seed_same_scene_another_seed_another():
    """Everything random follows from the seed."""
    one, two, other = scene(3), scene(3), scene(4)
    np.testing.assert_array_equal(one.T_world_cam, two.T_world_cam)
    np.testing.assert_array_equal(one.textures, two.textures)
    for a, b in zip(one.bodies, two.bodies, strict=True):
        np.testing.assert_array_equal(a.mesh.vertices, b.mesh.vertices)
    assert np.abs(one.T_world_cam - other.T_world_cam).max() > 0.1


def test_flight_is_straight_even_and_without_rotation():
    """Neighbouring frames lie one step apart, on a line, with one and the same orientation."""
    poses = scene(5, step=(0.1, 0.1)).T_world_cam
    steps = np.diff(poses[:, :3, 3], axis=0)
    assert np.linalg.norm(steps, axis=1) == pytest.approx(0.1)
    assert np.abs(steps - steps[0]).max() < 1e-12
    assert np.abs(poses[:, :3, :3] - poses[0, :3, :3]).max() < 1e-12


def test_rotation_option_turns_the_camera_smoothly():
    """Rates stay within the option (three axes, and the wave on top) and change little."""
    poses = scene(6, frames=40, rotation=2.0).T_world_cam
    turns = log_so3((inverse(poses[:-1]) @ poses[1:])[:, :3, :3])
    rate = np.degrees(np.linalg.norm(turns, axis=1))
    assert 0.2 < rate.max() < 2.0 * np.sqrt(3) + 0.01
    assert np.degrees(np.abs(np.diff(turns, axis=0)).max()) < 0.5


def test_speed_swings_by_the_asked_ratio_and_nothing_else_changes():
    """x16 within the flight, smooth, on a straight line, of the same mean speed and length."""
    for seed in range(5):
        poses = scene(seed, frames=90, step=(0.08, 0.08), speed_change=16.0).T_world_cam
        steps = np.diff(poses[:, :3, 3], axis=0)
        speed = np.linalg.norm(steps, axis=1)
        assert speed.max() / speed.min() == pytest.approx(16, rel=0.05)
        assert speed.mean() == pytest.approx(0.08)
        assert np.abs(np.diff(np.log(speed))).max() < np.log(16) * 2 * 2 / 88 + 0.01
        assert np.abs(steps / speed[:, None] - steps[0] / speed[0]).max() < 1e-9
        assert poses[0, :3, 3] == pytest.approx(-poses[-1, :3, 3])


def test_each_speed_lasts_about_as_long():
    """Log-uniform: a third of the frames in each third of the logarithm of speed."""
    places = np.concatenate(
        [
            np.diff(scene(seed, frames=91, speed_change=16.0).T_world_cam[:, :3, 3], axis=0)
            for seed in range(6)
        ]
    ).reshape(6, 90, 3)
    speed = np.linalg.norm(places, axis=2)
    thirds = np.log(speed / speed.min(axis=1, keepdims=True)) / np.log(16) * 3
    for third in range(3):
        share = ((thirds >= third) & (thirds < third + 1.001)).mean()
        assert 0.25 < share < 0.42


def test_even_flights_are_those_of_before_speed_could_change():
    """Numbers of seed 3, noted before the option came: data sets made then can be made again."""
    made = scene(3, frames=12, rotation=1.0, moving=0.3)
    first, last = made.T_world_cam[0], made.bodies[-1]
    assert first[0] == pytest.approx([0.86482365, 0.33877371, -0.37055691, -0.10017054], abs=1e-7)
    assert list(made.moving_ids) == [2, 3, 7, 9, 10, 11, 21, 26, 28] and len(made.bodies) == 30
    assert last.texture == 10
    assert last.T_world_body[:3, 3] == pytest.approx([0.69737414, -3.6361782, 2.54359741], abs=1e-7)
    assert made.light.sun_direction[2] == pytest.approx(1.23937441, abs=1e-7)


def test_shortest_flights_may_change_speed():
    """One frame stands in the origin, two are one step apart."""
    assert scene(0, frames=1, speed_change=4.0).T_world_cam[0, :3, 3] == pytest.approx(np.zeros(3))
    ends = scene(0, frames=2, speed_change=4.0).T_world_cam[:, :3, 3]
    assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(0.06)


def test_at_least_twenty_solids_and_f_is_half_the_width():
    """The room and 20 or more; 90 degrees make f = W / 2."""
    made = scene(7)
    assert 21 <= len(made.bodies) <= 33
    assert made.camera.fx == pytest.approx(32) and made.camera.fy == made.camera.fx
    assert made.camera.cx == 31.5 and made.camera.cy == 23.5


def test_camera_keeps_clear_of_all_surfaces():
    """Nothing comes nearer than 0.2 m and no ray leaves the room."""
    renderer = open_renderer("ray")
    for seed in range(12):
        made = scene(seed, moving=0.5)
        renderer.load(made)
        for t in (0, 9):
            depth = renderer.render(t).depth
            assert depth.min() > 0.2 and (depth > 0).all()


def test_uneven_flights_keep_clear_too():
    """Eight metres at changing speed: nothing nearer than 0.15 m between two frames either."""
    renderer = open_renderer("ray")
    for seed in range(2):
        made = scene(seed, frames=90, step=(0.09, 0.09), speed_change=16.0, rotation=0.4)
        renderer.load(made)
        for t in np.linspace(0, 89, 18):
            depth = renderer.render(t).depth
            assert depth.min() > 0.15 and (depth > 0).all()


def test_moving_solids_are_as_many_as_asked():
    """Share 0 moves none, share 1 all but the room."""
    assert len(scene(1).moving_ids) == 0
    made = scene(1, moving=1.0)
    assert len(made.moving_ids) == len(made.bodies) - 1


def test_long_flights_stay_in_the_room_or_are_refused():
    """200 frames in rooms of 21 m and more are inside; in a room of 5 m they are refused."""
    renderer = open_renderer("ray")
    for seed in range(6):
        made = scene(seed, frames=200)
        renderer.load(made)
        assert all((renderer.render(t).ids != 65535).all() for t in (0, 199))
    with pytest.raises(ConfigError, match="does not fit into a room of 5 m"):
        scene(0, frames=200, room=(5.0, 8.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"room": (5.0, 2.0)}, "room"),
        ({"objects": (0, 3)}, "objects"),
        ({"field_of_view": 180.0}, "field_of_view"),
        ({"moving": 1.5}, "moving"),
        ({"step": (0.0, 0.1)}, "step"),
        ({"speed_change": 0.5}, "speed_change"),
        ({"speed_change": float("nan")}, "speed_change"),
    ],
)
def test_impossible_options_are_refused(options, message):
    """One line that names the option."""
    with pytest.raises(ConfigError, match=message):
        StillboxOptions(**options)
