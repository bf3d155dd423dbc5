# SPDX-License-Identifier: Apache-2.0
"""Tables of inertial samples: columns by name, units of header and user, doubts about units."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.data.imu_table import read_imu_table, rising_samples
from depthkit.data.imu_units import parse_units, suspect_units, to_si
from depthkit.errors import DataError

ROW = (0.1, 0.2, 0.3, 9.7, 0.5, -0.4)


def write(path: Path, header: str, *, mark: str = ",", order=range(7), times=None) -> Path:
    """Write five samples at 200 Hz under a header."""
    stamps = times or [f"{5 + i / 200:.3f}" for i in range(5)]
    rows = [[stamp, *(f"{value + i:.3f}" for value in ROW)] for i, stamp in enumerate(stamps)]
    lines = [mark.join(row[k] for k in order) for row in rows]
    path.write_text("\n".join(([header] if header else []) + lines) + "\n")
    return path


@pytest.mark.parametrize(
    "header",
    [
        "t,wx,wy,wz,ax,ay,az",
        "#timestamp [s],w_RS_S_x [rad s^-1],w_RS_S_y,w_RS_S_z,a_RS_S_x [m s^-2],a_RS_S_y,a_RS_S_z",
        "time,gyro_x,gyro_y,gyro_z,accel_x,accel_y,accel_z",
        "timestamp,gyroX,gyroY,gyroZ,accX,accY,accZ",
        "Time,angular_velocity.x,angular_velocity.y,angular_velocity.z,"
        "linear_acceleration.x,linear_acceleration.y,linear_acceleration.z",
        "stamp,gx,gy,gz,ax,ay,az",
    ],
)
def test_columns_go_by_their_names(tmp_path, header):
    """Headers of EuRoC, rosbag csv, phones and loggers mean the same seven columns."""
    table = read_imu_table(write(tmp_path / "imu.csv", header))
    np.testing.assert_allclose(table.rows[2], [5.01, *(v + 2 for v in ROW)], atol=1e-12)
    assert (table.notes, table.assumed) == ((), ())


def test_order_and_other_columns_do_not_matter(tmp_path):
    """Accelerations first, covariances and quaternions between: the names decide."""
    path = write(
        tmp_path / "imu.csv",
        "ax ay az orientation_x t wx wy wz",
        mark=" ",
        order=(4, 5, 6, 1, 0, 1, 2, 3),
    )
    np.testing.assert_allclose(read_imu_table(path).rows[0], [5.0, *ROW], atol=1e-12)


def test_units_of_the_header_are_converted_and_the_user_overrules(tmp_path):
    """deg/s and g in brackets; --imu-units says otherwise."""
    header = "t [s],wx [deg/s],wy [deg/s],wz [deg/s],ax [g],ay [g],az [g]"
    path = write(tmp_path / "imu.csv", header)
    row = read_imu_table(path).rows[0]
    np.testing.assert_allclose(row[1:4], np.radians(ROW[:3]), rtol=1e-12)
    np.testing.assert_allclose(row[4:], np.array(ROW[3:]) * 9.80665, rtol=1e-12)
    row = read_imu_table(path, units=("rad/s", "m/s2")).rows[0]
    np.testing.assert_allclose(row[1:], ROW, rtol=1e-12)


@pytest.mark.parametrize(
    ("header", "stamps", "said"),
    [
        ("t,wx,wy,wz,ax,ay,az", [5_000_000 + 5000 * i for i in range(5)], "microseconds"),
        ("t,wx,wy,wz,ax,ay,az", [5000 + 5 * i for i in range(5)], "milliseconds"),
        ("t [ms],wx,wy,wz,ax,ay,az", [5000 + 5 * i for i in range(5)], ""),
        ("t,wx,wy,wz,ax,ay,az", [1403636579763555584 + 5_000_000 * i for i in range(5)], "nano"),
    ],
)
def test_unit_of_the_times_is_told(tmp_path, header, stamps, said):
    """By the header, by the size of a date, or by a spacing that an IMU has; and said."""
    path = write(tmp_path / "imu.csv", header, times=[str(s) for s in stamps])
    table = read_imu_table(path)
    np.testing.assert_allclose(np.diff(table.rows[:, 0]), 0.005, atol=1e-6)
    assert said in "".join(table.assumed) and bool(said) == bool(table.assumed)


def test_without_a_header_the_usual_order_is_said(tmp_path):
    """t w a as EuRoC has it, or t a w where the first three hold gravity."""
    path = write(tmp_path / "imu.txt", "", mark=" ")
    table = read_imu_table(path)
    np.testing.assert_allclose(table.rows[0], [5.0, *ROW])
    assert table.assumed == ("imu.txt: has no header: columns taken as t wx wy wz ax ay az",)
    swapped = read_imu_table(write(tmp_path / "b.txt", "", mark=" ", order=(0, 4, 5, 6, 1, 2, 3)))
    np.testing.assert_allclose(swapped.rows[0], [5.0, *ROW])
    assert "t ax ay az wx wy wz" in swapped.assumed[0]


def test_a_gyroscope_alone_has_no_accelerations(tmp_path):
    """Three rates are enough; accelerations are NaN."""
    path = write(tmp_path / "imu.csv", "t,wx,wy,wz", order=range(4))
    rows = read_imu_table(path).rows
    np.testing.assert_allclose(rows[0, :4], [5.0, *ROW[:3]])
    assert np.isnan(rows[:, 4:]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,wx,wy,wz,ax,ay\n1,2,3,4,5,6\n", "no time, three rates and three accelerations among"),
        ("t,wx,wy,ax,ay,az\n1,2,3,4,5,6\n", "no time, three rates and three accelerations among"),
        ("1,2,3\n2,3,4\n", "has 3 columns and no header"),
        ("t,wx,wy,wz\n", "holds no rows of numbers"),
        ("", "holds no rows of numbers"),
        ("t,wx,wy,wz\n1,2,3,4\n2,3\n", "line 3 has 2 columns, the first row 4"),
    ],
)
def test_tables_of_something_else_are_one_line(tmp_path, text, message):
    """The file is named, and what was expected."""
    path = tmp_path / "imu.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_imu_table(path)
    assert message in str(error.value) and str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path):
    """Not a traceback."""
    with pytest.raises(DataError, match="no such file of inertial samples"):
        read_imu_table(tmp_path / "imu.csv")


def test_samples_that_do_not_rise_are_left_out_and_counted():
    """A repeated stamp, a step back and a NaN: the first of equal times stays."""
    rows = np.tile(np.arange(7.0), (6, 1))
    rows[:, 0] = [0, 1, 1, 0.5, 2, 3]
    rows[5, 2] = np.nan
    kept, notes = rising_samples(rows, "imu.csv")
    assert kept[:, 0].tolist() == [0, 1, 2]
    assert notes == ("imu.csv: 3 of 6 samples left out: not finite, or their time does not rise",)


# --- units ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", (None, None)),
        ("deg/s", ("deg/s", None)),
        ("g", (None, "g")),
        ("g, deg/s", ("deg/s", "g")),
        ("rad/s,mg", ("rad/s", "mg")),
    ],
)
def test_units_are_told_by_themselves(text, expected):
    """Each unit is of one sensor only, so their order is free."""
    assert parse_units(text) == expected


@pytest.mark.parametrize("text", ["degrees", "g,g", "deg/s,rad/s", "g;deg/s"])
def test_other_units_are_refused(text):
    """A word that is none, or two for one sensor."""
    with pytest.raises(DataError, match="--imu-units: .* expected one or two of rad/s"):
        parse_units(text)


def motion(gyro: float, gravity: float) -> np.ndarray:
    """Samples that turn at about a rate, with gravity of a size."""
    rng = np.random.default_rng(0)
    w = rng.normal(0, gyro, (500, 3))
    a = np.array([0, 0, gravity]) * (1 + rng.normal(0, 0.05, (500, 1)))
    return np.column_stack([np.arange(500) / 200, w, a])


@pytest.mark.parametrize(
    ("gyro", "gravity", "words"),
    [
        (0.5, 9.81, ()),
        (3.0, 9.81, ()),
        (30.0, 9.81, ("impossible as rad/s; deg/s? --imu-units deg/s",)),
        (0.5, 1.0, ("g? --imu-units g sets it",)),
        (0.5, 1000.0, ("mg? --imu-units mg sets it",)),
        (0.5, 0.3, ("gravity seems to be taken out",)),
        (0.5, 40.0, ("a strong or constant acceleration, or another unit",)),
        (30.0, 1.0, ("--imu-units deg/s", "--imu-units g")),
    ],
)
def test_sizes_that_are_impossible_are_suspected(gyro, gravity, words):
    """Rates beyond every sensor's range, and |a| that is not 9.8; each with its remedy."""
    found = suspect_units(motion(gyro, gravity))
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_conversion_by_hand():
    """180 deg/s are pi rad/s, 1 g is 9.80665 m/s2, times stay."""
    rows = np.array([[3.0, 180.0, 0, 0, 1.0, 0, 0]])
    np.testing.assert_allclose(to_si(rows, "deg/s", "g"), [[3, np.pi, 0, 0, 9.80665, 0, 0]])
