# SPDX-License-Identifier: Apache-2.0
"""The IMU beside an odometry, frame by frame: metres, bridges, rest and faults."""

import numpy as np
import pytest
from imu_flights import UNIT, make_flight

from depthkit.errors import DataError
from depthkit.rigid import inverse, log_so3, make_pose
from depthkit.runtime.odometry.imu import InertialAid
from depthkit.synth.imu import T_CAM_IMU
from depthkit.trajectory.imu import ImuNoise

EUROC_NOISE = ImuNoise(1.6968e-4, 2e-3, 1.9393e-5, 3e-3)


def flown(flight, *, rows=None, frames=slice(None), aid=None, T_cam_imu=T_CAM_IMU):
    """Feed a flight: samples up to each frame, then its pose."""
    aid = aid or InertialAid(T_cam_imu, flight.imu.noise)
    rows, last = flight.imu.rows if rows is None else rows, -np.inf
    for stamp, pose in zip(flight.stamps[frames], flight.visual[frames], strict=True):
        aid.add(rows[(rows[:, 0] > last) & (rows[:, 0] <= stamp + 1e-9)])
        aid.update(stamp, pose, keyframe=False)
        last = stamp + 1e-9
    return aid


@pytest.mark.parametrize("grade", ["phone", "adis"])
def test_flight_in_metres(grade):
    """Scale within 2 % and three sigmas, gravity within three of its own, no fault."""
    aid = flown(make_flight(1, grade=grade))
    found, gravity = aid.scale, aid.gravity_in_world
    assert found.reason == "" and aid.fault == "" and aid.notes == []
    error = abs(np.log(found.factor * UNIT))
    assert error < 0.02 and error < 3 * found.sigma < 0.06
    assert np.arccos(gravity.direction[1]) < 3 * gravity.sigma + 1e-3
    assert found.stamp == pytest.approx(7.95, abs=0.5)


def test_scale_of_a_path_that_shrinks_is_followed():
    """The path's unit shrinks by a fifth in the middle: after a window the new factor holds."""
    flight = make_flight(2, seconds=15.5)
    steps = np.diff(flight.visual[:, :3, 3], axis=0)
    steps[100:] *= 1.25
    flight.visual[1:, :3, 3] = flight.visual[0, :3, 3] + np.cumsum(steps, axis=0)
    aid = flown(flight, frames=slice(0, 96))
    assert aid.scale.factor * UNIT == pytest.approx(1, abs=0.03)
    aid = flown(flight)
    assert aid.scale.factor * UNIT == pytest.approx(1 / 1.25, rel=0.03)


def test_hover_has_a_reason_and_gravity():
    """No scale without acceleration; roll and pitch all the same."""
    aid = flown(make_flight(3, amplitude=0.01, seconds=4))
    assert aid.scale.factor is None and "acceleration varies by" in aid.scale.reason
    assert np.arccos(aid.gravity_in_world.direction[1]) < 3 * aid.gravity_in_world.sigma


def test_dark_second_is_bridged():
    """One second without frames: the gyro's rotation is within 0.2 degrees and three sigmas."""
    flight = make_flight(4, grade="phone")
    aid = flown(flight, frames=slice(0, 100))
    rows = flight.imu.rows
    aid.add(rows[(rows[:, 0] > 4.95) & (rows[:, 0] <= 5.95)])
    found = aid.rotation(flight.stamps[99], flight.stamps[119])
    true = inverse(flight.T_world_cam[99]) @ flight.T_world_cam[119]
    error = np.linalg.norm(log_so3(found.R_previous_current.T @ true[:3, :3]))
    assert np.linalg.norm(log_so3(true[:3, :3])) > np.radians(5)
    assert error < np.radians(0.2)
    assert error < np.sqrt(3) * 3 * found.sigma < np.radians(2)


def test_rotation_waits_for_the_cameras_word():
    """Not before some frames have shown bias, unit and axes; not over times without samples."""
    flight = make_flight(5)
    assert flown(flight, frames=slice(0, 10)).rotation(0.3, 0.45) is None
    aid = flown(flight, frames=slice(0, 80))
    assert aid.rotation(3.8, 3.9) is not None
    assert aid.rotation(3.8, 4.2) is None
    assert aid.rotation(-1.0, 3.0) is None


def test_the_last_rate_is_kept_a_little():
    """Samples that come 30 ms late: rotation with a larger sigma, and right within three."""
    flight = make_flight(6)
    aid = flown(flight, frames=slice(0, 80))
    start, end = flight.stamps[79], flight.stamps[79] + 0.03
    found = aid.rotation(start - 0.05, end)
    assert found.sigma > 2 * aid.rotation(start - 0.05, start).sigma


def test_loss_keeps_biases():
    """A new segment has no scale yet, but the biases of the old one."""
    aid = flown(make_flight(7))
    before = aid.bias
    aid.reset_segment()
    assert aid.scale.factor is None and aid.gravity_in_world is None
    assert aid.bias is before and before.gyro_sigma < 0.001


def test_second_segment_of_another_unit():
    """After a loss the path starts anew in twice the unit: the factor is half."""
    flight = make_flight(8, seconds=14)
    aid = flown(flight, frames=slice(0, 140))
    aid.reset_segment()
    flight.visual[140:, :3, 3] *= 2
    aid = flown(flight, frames=slice(140, None), aid=aid)
    assert aid.scale.factor * UNIT == pytest.approx(0.5, rel=0.03)


def test_adjusted_poses_take_the_place_of_the_old():
    """A path that was bad when it came and is mended later gives the mended path's scale."""
    flight = make_flight(9)
    good = flight.visual.copy()
    flight.visual[:60, :3, 3] *= 1.5
    aid = flown(flight, frames=slice(0, 140))
    aid.adjust(flight.stamps, good)
    aid = flown(flight, frames=slice(140, None), aid=aid)
    assert aid.scale.factor * UNIT == pytest.approx(1, abs=0.03)


def test_rest_gives_the_bias():
    """Standing still before any frame: the mean rate is the bias; moving on ends it."""
    rng = np.random.default_rng(0)
    t = np.arange(0, 1, 0.005)
    rows = np.column_stack([t, rng.normal(0, 0.002, (200, 3)), rng.normal(0, 0.03, (200, 3))])
    rows[:, 1:4] += [0.02, -0.05, 0.08]
    rows[:, 6] += 9.81
    aid = InertialAid(T_CAM_IMU)
    aid.add(rows)
    assert aid.still
    np.testing.assert_allclose(aid.bias.gyro, [0.02, -0.05, 0.08], atol=1e-3)
    rows[:, 0] += 1
    rows[:, 1] += np.sin(9 * t)
    aid.add(rows)
    assert not aid.still


def test_gyro_alone_bridges():
    """Without accelerometer: rotation and bias, no scale, and why."""
    flight = make_flight(10)
    rows = flight.imu.rows.copy()
    rows[:, 4:] = np.nan
    aid = flown(flight, rows=rows)
    assert aid.scale.reason == "the IMU has no accelerometer"
    np.testing.assert_allclose(aid.bias.gyro, flight.biases[-1, :3], atol=5e-4)
    assert aid.rotation(7.8, 7.9) is not None


def test_silence_is_a_fault_that_ends():
    """Half a second without samples is named; afterwards the scale comes back."""
    flight = make_flight(11, seconds=12)
    rows = flight.imu.rows
    gap = rows[(rows[:, 0] < 3.0) | (rows[:, 0] > 3.5)]
    aid = flown(flight, rows=gap, frames=slice(0, 69))  # up to 3.4 s
    assert aid.fault.startswith("IMU silent for 0.4") and aid.scale.reason == aid.fault
    aid = flown(flight, rows=gap)
    assert aid.fault == "" and aid.scale.factor * UNIT == pytest.approx(1, abs=0.03)


def test_clocks_that_do_not_overlap():
    """Samples of another clock, an hour ahead or behind."""
    flight = make_flight(12, seconds=2)
    for shift in (3600, -3600):
        aid = InertialAid(T_CAM_IMU)
        rows = flight.imu.rows.copy()
        rows[:, 0] += shift
        aid.add(rows)
        aid.update(1.0, flight.visual[20])
        assert "do not overlap" in aid.fault and aid.rotation(0.9, 1.0) is None
    assert "no samples so far" in flown(flight, rows=np.zeros((0, 7))).fault


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x * np.repeat([57.3, 1], 3), "deg/s?"),
        (lambda x: x / np.repeat([1, 9.81], 3), "are these g?"),
        (lambda x: x[:, [1, 0, 2, 4, 3, 5]] * [1, -1, 1, 1, -1, 1], "turned by 90 degrees"),
    ],
)
def test_wrong_units_and_axes_give_no_metres(change, words):
    """Named, and neither scale nor a wrong rotation is given out."""
    flight = make_flight(13, seconds=5)
    rows = flight.imu.rows.copy()
    rows[:, 1:] = change(rows[:, 1:])
    aid = flown(flight, rows=rows)
    assert words in aid.fault and aid.scale.factor is None
    found = aid.rotation(4.8, 4.9)
    assert (found is None) == ("g?" not in words)


def test_bad_input_is_refused():
    """A mounting that is no matrix."""
    with pytest.raises(DataError, match="T_cam_imu"):
        InertialAid(np.eye(3))


def euroc(data_root, name):
    """Samples, stamps of the frames, true camera poses, T_cam_imu."""
    folder = data_root / name
    table = folder / "mav0/imu0/data.csv"
    pictures = sorted((folder / "mav0/cam0/data").glob("*.jpg"))
    if not table.is_file() or not pictures:
        pytest.skip(f"no {name} in {data_root}")
    rows = np.loadtxt(table, delimiter=",", comments="#")
    stamps = np.array([int(picture.stem) for picture in pictures])
    ticks = np.genfromtxt(table, delimiter=",", comments="#", usecols=0, dtype=np.int64)
    rows[:, 0] = (ticks - stamps[0]) * 1e-9
    poses = np.tile(np.eye(4), (len(stamps), 1, 1))
    poses[:, :3] = np.loadtxt(folder / "gt_cam0_poses.txt").reshape(-1, 3, 4)
    u, _, vt = np.linalg.svd(poses[:, :3, :3])
    poses[:, :3, :3] = u @ vt
    R = [
        [0.0148655429818, -0.999880929698, 0.00414029679422],
        [0.999557249008, 0.0149672133247, 0.025715529948],
        [-0.0257744366974, 0.00375618835797, 0.999660727178],
    ]
    T_imu_cam = make_pose(R, np.array([-0.0216401454975, -0.064676986768, 0.00981073058949]))
    return rows, (stamps - stamps[0]) * 1e-9, poses, inverse(T_imu_cam)


@pytest.mark.parametrize(("name", "percent"), [("euroc_v101_flight", 5.0), ("euroc_mh01", 2.0)])
def test_euroc_with_true_poses_of_unknown_scale(data_root, name, percent):
    """The scale of 0.37 is found; the gyro's bias is the known one of this sensor."""
    rows, stamps, poses, T_cam_imu = euroc(data_root, name)
    poses[:, :3, 3] *= UNIT
    aid, last = InertialAid(T_cam_imu, EUROC_NOISE), -np.inf
    for stamp, pose in zip(stamps[:180], poses[:180], strict=True):
        aid.add(rows[(rows[:, 0] > last) & (rows[:, 0] <= stamp)])
        aid.update(stamp, pose, keyframe=False)
        last = stamp
    assert aid.fault == "" and aid.notes == []
    assert abs(aid.scale.factor * UNIT - 1) < percent / 100
    np.testing.assert_allclose(aid.bias.gyro, [-0.003, 0.021, 0.077], atol=0.004)
    assert -aid.gravity_in_world.direction[2] > np.cos(np.radians(1.5))
