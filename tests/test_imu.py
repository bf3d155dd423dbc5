# SPDX-License-Identifier: Apache-2.0
"""The record of an IMU and its files, imu.csv and imu.yaml."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.errors import DataError, ShapeError
from depthkit.trajectory import Imu, ImuNoise, load_imu, make_pose, save_imu

NOISE = ImuNoise(1.6968e-4, 2e-3, 1.9393e-5, 3e-3)
T_CAM_IMU = make_pose([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0.06, -0.02, 0.01])


def make_rows(count: int = 6, start: float = 1403636579.768555392, rate: float = 200.0):
    """Return samples whose first column rises and whose others can be told apart."""
    rows = np.arange(count * 7, dtype=np.float64).reshape(count, 7) / 7
    rows[:, 0] = start + np.arange(count) / rate
    return rows


def test_files_give_back_what_was_saved(tmp_path: Path) -> None:
    """Times survive to a float64 of an epoch, values to 12 digits, the rest as it was."""
    saved = Imu(make_rows(), T_CAM_IMU, NOISE)
    save_imu(tmp_path, saved)
    found = load_imu(tmp_path)
    assert found is not None and found.noise == NOISE
    np.testing.assert_array_equal(found.T_cam_imu, T_CAM_IMU)
    np.testing.assert_allclose(found.rows[:, 0], saved.rows[:, 0], rtol=0, atol=3e-7)
    np.testing.assert_allclose(found.rows[:, 1:], saved.rows[:, 1:], rtol=1e-11)
    assert (tmp_path / "imu.csv").read_text().splitlines()[0] == "t,wx,wy,wz,ax,ay,az"


def test_what_is_not_known_stays_unknown(tmp_path: Path) -> None:
    """No file is no IMU; no mounting, no noise and no accelerometer are kept as such."""
    assert load_imu(tmp_path) is None
    rows = make_rows()
    rows[:, 4:] = np.nan
    save_imu(tmp_path, Imu(rows))
    found = load_imu(tmp_path)
    assert found is not None
    assert (found.T_cam_imu, found.noise, found.has_accel) == (None, None, False)
    (tmp_path / "imu.yaml").unlink()
    assert load_imu(tmp_path) is not None


def test_between_takes_each_sample_once() -> None:
    """Intervals that follow each other share no sample: the start is left out, the end is in."""
    imu = Imu(make_rows(10, start=0.0, rate=10.0))
    np.testing.assert_array_equal(imu.between(0.1, 0.3)[:, 0], imu.stamps[2:4])
    parts = [imu.between(a, b) for a, b in ((-1.0, 0.0), (0.0, 0.45), (0.45, 0.5), (0.5, 9.0))]
    np.testing.assert_array_equal(np.concatenate(parts), imu.rows)
    assert imu.between(0.5, 0.2).shape == (0, 7)
    assert imu.rate == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("imu.csv", "t,wx", "time,wx", "expected the header t,wx,wy,wz,ax,ay,az"),
        ("imu.csv", ",2.85714285714\n", "\n", "line 4 has 6 columns"),
        ("imu.csv", ",2.85714285714\n", ",lost\n", "line 4: 'lost' is not a number"),
        ("imu.csv", ",2.85714285714\n", ",inf\n", "sample 3 holds NaN"),
        ("imu.csv", "0.020000000,", "0.010000000,", "sample 3 has time 0.01, not after"),
        ("imu.yaml", "rate: ", "hertz: ", "unknown key 'hertz'"),
        ("imu.yaml", "gyro: ", "gyroscope: ", "noise: unknown key 'gyroscope'"),
        ("imu.yaml", "  gyro_walk: 1.9393e-05\n", "", "noise gyro_walk must be a number, got None"),
        ("imu.yaml", "accel: 0.002", "accel: -0.002", "noise accel must be positive"),
        ("imu.yaml", "- - 0.0\n", "- - 0.5\n", "T_cam_imu is no rigid motion"),
        ("imu.yaml", "- - 0.0\n", "- -", "T_cam_imu must be 4 rows of 4 numbers"),
    ],
)
def test_damage_is_one_line(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    """Each damage is named with its file, line and what was expected."""
    save_imu(tmp_path, Imu(make_rows(4, start=0.0, rate=100.0), T_CAM_IMU, NOISE))
    text = (tmp_path / name).read_text()
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new, 1))
    with pytest.raises(DataError) as error:
        load_imu(tmp_path)
    assert message in str(error.value) and name in str(error.value)
    assert "\n" not in str(error.value)


def test_empty_files_and_wrong_shapes(tmp_path: Path) -> None:
    """A table without samples is refused; a wrong shape is the caller's bug."""
    (tmp_path / "imu.csv").write_text("t,wx,wy,wz,ax,ay,az\n")
    with pytest.raises(DataError, match="holds no samples"):
        load_imu(tmp_path)
    with pytest.raises(ShapeError, match="expected"):
        Imu(np.zeros((3, 6)))
