# SPDX-License-Identifier: Apache-2.0
"""The IMU doctor: what it says of samples that are made, and of EuRoC's own."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from plane_world import make_texture, pose, render, write_sequence

from depthkit.camera import Camera
from depthkit.cli import main
from depthkit.cli.inspect_text import print_report
from depthkit.data.inspect import load_inspection, save_inspection
from depthkit.data.inspect.imu import check_imu
from depthkit.data.inspect.imu_noise import measure_windows
from depthkit.data.inspect.pictures import read_picture, view_of
from depthkit.data.inspect.scan import scan_frames
from depthkit.data.sequence import open_sequence
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, inverse
from depthkit.trajectory import Imu, ImuNoise, save_imu
from tests.data.source_makers import run_one
from tests.test_gyro_fit import BIAS, R_CAM_IMU, frames, samples

T_CAM_IMU = np.eye(4)
T_CAM_IMU[:3, :3] = R_CAM_IMU
NOISE = ImuNoise(2.345e-4, 2e-3, 2e-5, 3e-3)
TIMES, R_NEXT = frames()


def make_imu(noise: float = 2e-3, **changes: float) -> Imu:
    """Samples that fit the frames of test_gyro_fit, gravity along z, white noise."""
    gyro = samples(noise=noise, **changes)
    accel = np.random.default_rng(1).normal([0, 0, 9.81], 10 * noise, (len(gyro), 3))
    return Imu(np.column_stack([gyro, accel]), T_CAM_IMU, NOISE)


def look(imu: Imu | None):
    """Run the doctor on samples beside frames of known rotation; no pixels are needed."""
    steps = [SimpleNamespace(pair=SimpleNamespace(motion=SimpleNamespace(R_b_a=R))) for R in R_NEXT]
    scan = SimpleNamespace(steps=[*steps[:-1], None], looks=[None] * len(TIMES))
    return check_imu(SimpleNamespace(imu=imu, times=TIMES), scan)


def test_what_fits_has_no_findings():
    """Angle and offset near 0, bias and rate as made, densities sigma / sqrt(rate)."""
    found = look(make_imu())
    assert found.findings == () and found.untold == ""
    assert found.axes_deg < 0.2 and abs(found.time_offset) < 5e-4
    assert found.rate_hz == pytest.approx(200) and found.rate_ratio == pytest.approx(1, abs=0.01)
    np.testing.assert_allclose(found.gyro_bias, BIAS, atol=2e-3)
    gyro, accel, *walks = found.densities
    # Percentiles over seven windows of 200 samples: deviations are known to a tenth.
    assert gyro.recommended == pytest.approx(2e-3 / np.sqrt(200), rel=0.3)
    assert accel.recommended == pytest.approx(2e-2 / np.sqrt(200), rel=0.3)
    assert [walk.recommended for walk in walks] == [2e-5, 3e-3]


def test_turned_late_and_in_degrees_are_all_reported():
    """Each fault by its size: a turn of 20 degrees, 50 ms, deg/s."""
    turn = exp_se3([0, 0, 0, 0, np.radians(20), 0])
    found = look(replace(make_imu(), T_cam_imu=turn @ T_CAM_IMU))
    assert found.axes_deg == pytest.approx(20, abs=0.2)
    assert "axes of T_cam_imu are off by 20" in found.findings[0]
    found = look(make_imu(offset=0.05))
    assert found.time_offset == pytest.approx(0.05, abs=5e-4)
    assert "later than those of the frames; shift imu.csv by -50" in found.findings[0]
    found = look(make_imu(ratio=180 / np.pi))
    assert found.rate_ratio == pytest.approx(57.3, rel=0.01)
    assert len(found.findings) == 1 and "its unit is deg/s" in found.findings[0]


def test_g_inverse_mounting_and_mirror_are_named():
    """Gravity of 1, T_imu_cam in place of T_cam_imu, an axis of the wrong sign."""
    rows = make_imu().rows * [1, 1, 1, 1, 1 / 9.80665, 1 / 9.80665, 1 / 9.80665]
    assert "g? --imu-units g" in look(replace(make_imu(), rows=rows)).findings[0]
    found = look(replace(make_imu(), T_cam_imu=inverse(T_CAM_IMU)))
    assert "it is the inverse (T_imu_cam)" in found.findings[0]
    found = look(replace(make_imu(), rows=make_imu().rows * [1, 1, -1, 1, 1, 1, 1]))
    assert "wrong sign" in found.findings[0] and found.R_cam_imu == ()


def test_gaps_slow_samples_and_frames_without_are_counted():
    """A dropped second has its place and length; 25 Hz is too slow."""
    imu = make_imu()
    t = imu.stamps
    holed = replace(imu, rows=imu.rows[(t < 2) | (t > 3)])
    found = look(holed)
    ((start, length),) = found.gaps
    assert start == pytest.approx(1.995, abs=0.006) and length == pytest.approx(1.01, abs=0.011)
    assert any("1 gaps between samples, the longest 1.01 s" in text for text in found.findings)
    late = look(replace(imu, rows=imu.rows[t > 1.0]))
    assert late.uncovered == 21
    slow = look(replace(imu, rows=imu.rows[::8]))
    assert any("25 samples a second: too few" in text for text in slow.findings)


def test_held_extremes_are_saturation():
    """Peaks that are cut off hold one value; noise and quantised rest do not count."""
    imu = make_imu(noise=2e-2)
    rows = imu.rows.copy()
    rows[:, 4] += 30 * np.maximum(0, np.sin(2 * np.pi * imu.stamps)) ** 20
    assert look(replace(imu, rows=rows)).saturated == ()
    rows[:, 4] = np.minimum(rows[:, 4], 20.0)
    ((axis, count),) = look(replace(imu, rows=rows)).saturated
    assert axis == "ax" and count == int((rows[:, 4] == 20.0).sum()) > 50
    assert any("saturated" in text for text in look(replace(imu, rows=rows)).findings)
    coarse = np.round(make_imu().rows, 2)
    coarse[:, 0] = imu.stamps
    assert look(replace(imu, rows=coarse)).saturated == ()


def test_rest_and_motion_have_their_own_noise():
    """A second half that shakes three times as much: both figures, and a word on imu.yaml's."""
    rng = np.random.default_rng(0)
    t = np.arange(4000) / 200
    sigma = np.where(t < 10, 2.8e-3, 2.8e-2)[:, None]
    w = rng.normal(0, 1, (4000, 3)) * sigma + BIAS
    w[t >= 10, 2] += np.sin(2 * t[t >= 10])
    a = rng.normal([0, 0, 9.81], 1e-2, (4000, 3))
    windows = measure_windows(Imu(np.column_stack([t, w, a])))
    assert windows.still.tolist() == [True] * 10 + [False] * 10
    found = look(Imu(np.column_stack([t - 1, w, a]), T_CAM_IMU, NOISE))
    gyro = found.densities[0]
    assert gyro.given == NOISE.gyro
    assert gyro.rest == pytest.approx(2.8e-3 / np.sqrt(200), rel=0.1)
    assert gyro.motion == pytest.approx(2.8e-2 / np.sqrt(200), rel=0.15)
    assert found.rest_seconds == 10 and found.gravity == pytest.approx(9.81, abs=0.01)
    np.testing.assert_allclose(found.gyro_bias, BIAS, atol=2e-3)


def test_smooth_motion_is_no_noise():
    """A swing of 3 rad/s at 1 Hz leaves less than the noise of a good sensor.

    Its second difference is 3 (2 pi / 200)^2 = 3e-3 at most, a tenth of it after sqrt(6 * 200).
    """
    t = np.arange(1000) / 200
    rows = np.zeros((1000, 7))
    rows[:, 0], rows[:, 1], rows[:, 6] = t, 3 * np.sin(2 * np.pi * t), 9.81
    assert measure_windows(Imu(rows)).gyro.max() < 1e-4


def test_gyroscope_alone_and_unknown_mounting_are_borne():
    """No accelerometer: no density of it; no T_cam_imu: the rotation is given, no angle."""
    imu = make_imu()
    rows = imu.rows.copy()
    rows[:, 4:] = np.nan
    found = look(Imu(rows))
    assert [one.name for one in found.densities] == ["gyro", "gyro_walk"]
    assert np.isnan(found.axes_deg)
    np.testing.assert_allclose(np.reshape(found.R_cam_imu, (3, 3)), R_CAM_IMU, atol=3e-3)
    assert found.findings == ("T_cam_imu is unknown; prepare with --imu-to-camera FILE",)


def test_what_the_motion_does_not_tell_is_said():
    """Samples of another recording, and none at all."""
    imu = make_imu()
    rows = imu.rows.copy()
    rows[:, 1:4] = np.random.default_rng(2).permutation(rows[:, 1:4])
    found = look(replace(imu, rows=rows))
    assert "do not turn alike" in found.untold and found.pairs == 0
    assert np.isnan(found.time_offset) and found.R_cam_imu == ()
    assert look(None) is None


def test_program_reports_the_imu_of_a_folder(tmp_path, capsys):
    """In text, in --json and in inspect.json, small densities with their digits."""
    turns = [pose(yaw=3 * np.sin(0.6 * i), pitch=2 * np.sin(i)) for i in range(22)]
    texture, camera = make_texture(), Camera(160, 120, 130.0, 130.0, 79.5, 59.5)
    frames = [render(texture, T, camera) for T in turns]
    seq = write_sequence(tmp_path / "a", frames, poses=turns, camera=camera)
    t = np.arange(-0.5, 1.5, 0.005)
    rows = np.zeros((len(t), 7))
    rows[:, 0], rows[:, 2], rows[:, 6] = t, np.radians(54) * np.cos(18 * t), 9.81
    rows[:, 1] = np.radians(60) * np.cos(30 * t)
    save_imu(seq.root, Imu(rows, np.eye(4), NOISE))
    assert main(["inspect", str(seq.root), "--json", "--save"]) == 0
    found = json.loads(capsys.readouterr().out)["sequences"]["a"]["imu"]
    assert found["samples"] == 400 and found["pairs"] >= 20
    assert abs(found["time_offset"]) < 0.005
    assert found["densities"][0]["given"] == 2.345e-4
    again = load_inspection(seq.root)
    assert again.imu.samples == 400 and again.imu.densities[0].name == "gyro"
    stored = load_inspection(save_inspection(again, seq.root))
    np.testing.assert_equal(asdict(again), asdict(stored))
    print_report([stored], frames_per_second=1.0)
    assert "IMU: 400 samples at 200 Hz" in capsys.readouterr().out


def test_samples_of_another_clock_are_one_line(tmp_path, capsys):
    """The folder is refused with both spans, by whoever wants its samples."""
    seq = write_sequence(tmp_path / "a", [np.zeros((240, 320, 3), np.uint8)] * 2)
    save_imu(seq.root, Imu(make_imu().rows + [1e6, 0, 0, 0, 0, 0, 0]))
    with pytest.raises(DataError, match=r"imu.csv: frames are from 0.000 to 0.033 s, the IMU from"):
        open_sequence(seq.root).imu  # noqa: B018
    assert main(["inspect", str(seq.root)]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["euroc_mh01", "euroc_v101_flight"])
def test_real_euroc(tmp_path, data_root, name):
    """T_BS and the clock of EuRoC are right: both come out, and so do a turn and 50 ms."""
    seq = run_one(data_root / name, tmp_path / "out", camera=None)
    view = view_of(seq)
    scan = scan_frames(len(seq), lambda i: read_picture(seq, i, view), view, turn_gap=1)
    imu, turn = seq.imu, exp_se3([0, 0, 0, 0.2, -0.3, 0.4])
    found = check_imu(seq, scan)
    assert found.findings == ()
    assert found.axes_deg < max(1.0, 3 * found.axes_sigma_deg)
    assert abs(found.time_offset) < max(1e-3, 3 * found.time_offset_sigma)
    # The bias of this IMU, as standing still shows it elsewhere in its recordings.
    np.testing.assert_allclose(found.gyro_bias, [-0.003, 0.021, 0.079], atol=0.01)
    rows = imu.rows.copy()
    rows[:, 0] += 0.05
    rows[:, 1:] = (rows[:, 1:].reshape(-1, 2, 3) @ turn[:3, :3].T).reshape(-1, 6)
    seq.__dict__["imu"] = replace(imu, rows=rows)
    changed = check_imu(seq, scan)
    assert changed.time_offset == pytest.approx(found.time_offset + 0.05, abs=1e-3)
    assert changed.axes_deg == pytest.approx(30.85, abs=1.2)
    seq.__dict__["imu"] = replace(imu, rows=imu.rows * [1, 57.3, 57.3, 57.3, 1, 1, 1])
    assert any("its unit is deg/s" in text for text in check_imu(seq, scan).findings)
