# SPDX-License-Identifier: Apache-2.0
"""The simulated IMU: numbers by hand, exact derivatives, noise as stated, files."""

import numpy as np
import pytest

from depthkit.cli import main
from depthkit.errors import ConfigError, DataError
from depthkit.rigid import exp_se3, log_so3, make_pose
from depthkit.synth.imu import T_CAM_IMU, SmoothPath, find_grade, simulate_imu
from depthkit.trajectory import load_imu

DOWN = np.array([0.0, 9.81, 0.0])


def waving(count=60):
    t = np.arange(count) / 20
    turns = 0.4 * np.sin(np.outer(t, [1.1, 0.9, 1.3]) + [0, 1, 2])
    poses = exp_se3(np.column_stack([np.zeros((count, 3)), turns]))
    poses[:, :3, 3] = 0.5 * np.sin(np.outer(t, [1.0, 1.4, 0.8]) + [2, 0, 1])
    return SmoothPath(t, poses, T_CAM_IMU)


def test_at_rest_it_measures_the_support():
    """1 g against gravity: the camera's up, -y, is the IMU's +x."""
    path = SmoothPath(np.arange(5.0), np.tile(np.eye(4), (5, 1, 1)), T_CAM_IMU)
    measured = path.measurements(np.array([0.3, 2.0]), DOWN)
    np.testing.assert_allclose(measured, [[0, 0, 0, 9.81, 0, 0]] * 2, atol=1e-12)


def test_in_free_fall_it_measures_nothing():
    """A parabola: the spline is exact where its second derivative is even (away from the ends)."""
    t = np.arange(0, 4, 0.1)
    poses = make_pose(np.eye(3), np.outer(4.905 * t**2, [0.0, 1.0, 0.0]))
    path = SmoothPath(t, poses, np.eye(4))
    np.testing.assert_allclose(path.measurements(np.array([2.03]), DOWN), 0, atol=1e-5)


def test_on_a_circle_it_measures_the_pull_inwards():
    """Radius 2 m at 1.5 rad/s about the vertical: 4.5 m/s2, and the rate in the IMU's axes."""
    t = np.arange(0, 4, 0.05)
    turn = np.column_stack([np.zeros((len(t), 4)), 1.5 * t, np.zeros(len(t))])
    poses = exp_se3(turn)
    poses[:, :3, 3] = poses[:, :3, :3] @ [2.0, 0.0, 0.0]
    measured = SmoothPath(t, poses, np.eye(4)).measurements(np.array([2.0]), DOWN)[0]
    np.testing.assert_allclose(measured, [0, 1.5, 0, -4.5, -9.81, 0], atol=5e-3)


def test_camera_passes_through_its_frames():
    """At the knots the poses are those given."""
    path = waving()
    t = path.times[[0, 7, 59]]
    again = SmoothPath(path.times, path.camera_poses(path.times), T_CAM_IMU)
    np.testing.assert_allclose(again.camera_poses(t), path.camera_poses(t), atol=1e-12)


def test_measurements_are_the_derivatives_of_the_path():
    """By central differences of its poses."""
    path, t, h = waving(), np.linspace(0.2, 2.7, 11), 1e-4
    before, now, after = (path.imu_poses(t + s) for s in (-h, 0, h))
    rates = log_so3(before[:, :3, :3].swapaxes(1, 2) @ after[:, :3, :3]) / (2 * h)
    pull = (after - 2 * now + before)[:, :3, 3] / h**2 - DOWN
    force = np.einsum("nji,nj->ni", now[:, :3, :3], pull)
    measured = path.measurements(t, DOWN)
    np.testing.assert_allclose(measured[:, :3], rates, atol=1e-5)
    np.testing.assert_allclose(measured[:, 3:], force, atol=1e-4)
    velocity = (after - before)[:, :3, 3] / (2 * h)
    np.testing.assert_allclose(path.velocities(t), velocity, atol=1e-6)


@pytest.mark.parametrize("name", ["phone", "adis"])
def test_noise_is_as_stated(name):
    """White noise is density times the root of the rate; the bias walks by walk times root time."""
    still = SmoothPath(np.array([0.0, 100.0]), np.tile(np.eye(4), (2, 1, 1)), T_CAM_IMU)
    grade = find_grade(name)
    imu, biases = simulate_imu(still, grade, seed=1)
    exact = still.measurements(imu.stamps, DOWN)
    white = (imu.rows[:, 1:] - exact - biases).std(axis=0)
    noise = np.repeat([grade.noise.gyro, grade.noise.accel], 3) * np.sqrt(200)
    np.testing.assert_allclose(white, noise, rtol=0.03)  # 20000 samples: 0.5 %
    steps = np.diff(biases, axis=0).std(axis=0) * np.sqrt(200)
    walk = np.repeat([grade.noise.gyro_walk, grade.noise.accel_walk], 3)
    np.testing.assert_allclose(steps, walk, rtol=0.03)
    assert imu.noise == grade.noise and len(imu) == 20001


def test_seeds_and_the_perfect_one():
    """Same seed, same samples; a perfect sensor has no errors and states no noise."""
    path = waving()
    first, again, other = (
        simulate_imu(path, find_grade("adis"), seed=s)[0].rows for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    perfect, biases = simulate_imu(path, find_grade("perfect"), seed=1)
    assert perfect.noise is None and not biases.any()
    np.testing.assert_array_equal(perfect.rows[:, 1:], path.measurements(perfect.stamps, DOWN))
    assert perfect.stamps[-1] >= path.times[-1]


def test_what_cannot_be_made_is_said():
    """An unknown sensor, one pose, times that stand still."""
    with pytest.raises(ConfigError, match="phone, adis, perfect"):
        find_grade("watch")
    for times in ([0.0], [0.0, 0.0]):
        with pytest.raises(DataError, match="rising times"):
            SmoothPath(np.array(times), np.tile(np.eye(4), (len(times), 1, 1)), np.eye(4))


def test_synth_writes_the_imu_of_its_scenes(tmp_path, capsys):
    """imu.csv covers the frames; without --imu there is none; one frame is too few."""
    words = ["--scenes", "1", "--size", "32x48", "--workers", "1", "--backend", "ray"]
    command = ["synth", "stillbox", "--out", str(tmp_path), *words]
    assert main([*command, "--frames", "4", "--imu", "phone", "--name", "with"]) == 0
    imu = load_imu(tmp_path / "with_00000")
    times = np.loadtxt(tmp_path / "with_00000/times.txt")
    assert imu.stamps[0] <= times[0] and imu.stamps[-1] >= times[-1]
    assert imu.rate == pytest.approx(200) and imu.noise == find_grade("phone").noise
    assert main([*command, "--frames", "2", "--name", "none"]) == 0
    assert load_imu(tmp_path / "none_00000") is None
    assert main([*command, "--frames", "1", "--imu", "phone", "--name", "one"]) == 1
    assert "2 or more for an IMU" in capsys.readouterr().err
