# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/Imu of bags: samples, their place by /tf_static, several topics, bad messages."""

from pathlib import Path

import bag_makers as make
import numpy as np
import pytest

from depthkit.data.bag_imu import choose_imu_topics
from depthkit.data.bag_storage import Topic
from depthkit.data.sequence import open_sequence
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, inverse
from tests.data.source_makers import listener, picture, run

MS = make.MS
START = 1000 * MS
T_BASE_CAM = exp_se3([0.1, 0.2, 0.3, 0.4, -0.5, 0.6])
T_BASE_IMU = exp_se3([-0.1, 0.0, 0.05, 0.0, 0.3, 0.0])
STATIC = [make.static(T_BASE_CAM), make.static(T_BASE_IMU, child="imu_link")]


def frames(count: int = 4) -> list[make.Entry]:
    """Pictures at 10 Hz from one second on, and their camera."""
    size = (make.CAMERA.height, make.CAMERA.width)
    shown = [make.image(START + 100 * MS * i, picture(i, size)) for i in range(count)]
    return [make.info(START), *shown]


def samples(count: int = 81, **options) -> list[make.Entry]:
    """Samples at 200 Hz from 50 ms before the pictures on; the first rate counts them."""
    first = START - 50 * MS
    return [make.imu(first + 5 * MS * i, (i / 100, 0.0, 0.5), **options) for i in range(count)]


def bring_in(tmp_path: Path, entries: list[make.Entry], **options):
    """Prepare a bag; return its IMU and what was said."""
    bag = make.write(tmp_path / "bag", sorted(entries, key=lambda entry: entry[2]))
    notes, watcher = listener()
    (result,) = run(bag, tmp_path / "out", watcher, camera=None, **options)
    return open_sequence(result.path).imu, notes


def test_samples_and_their_place_on_the_camera(tmp_path):
    """Stamps, rates and forces as recorded; T_cam_imu = T_base_cam^-1 T_base_imu."""
    imu, _ = bring_in(tmp_path, [*STATIC, *frames(), *samples()])
    np.testing.assert_allclose(imu.rows[:, 1], np.arange(81) / 100)
    np.testing.assert_allclose(imu.rows[:, 0], 0.95 + 0.005 * np.arange(81), atol=1e-9)
    np.testing.assert_allclose(imu.rows[:, 4:], np.tile([0, 0, 9.81], (81, 1)))
    np.testing.assert_allclose(imu.T_cam_imu, inverse(T_BASE_CAM) @ T_BASE_IMU, atol=1e-9)


def test_stream_of_a_bag_has_the_samples_of_prepare(tmp_path):
    """Live and offline read the same rows."""
    entries = [*STATIC, *frames(), *samples()]
    imu, _ = bring_in(tmp_path, entries)
    stream = open_stream(tmp_path / "bag")
    np.testing.assert_allclose(stream.imu.rows, imu.rows, atol=1e-9)
    assert len(stream.imu.between(stream.times[0], stream.times[1])) == 20
    assert open_stream(tmp_path / "bag", imu_topic="none").imu is None


def test_frames_that_nothing_joins_are_said(tmp_path):
    """No /tf_static: T_cam_imu stays unknown, and the user hears how to give it."""
    imu, notes = bring_in(tmp_path, [*frames(), *samples()])
    assert imu.T_cam_imu is None
    assert any(
        "/tf_static does not join the frames 'imu_link' of /imu and 'optical'" in n for n in notes
    )
    assert any("--imu-to-camera FILE" in note for note in notes)


def test_several_imus_need_a_choice(tmp_path):
    """None is taken of two, without an error: pictures do not depend on it; a name picks one."""
    entries = [*STATIC, *frames(), *samples(topic="/a/imu"), *samples(41, topic="/b/imu")]
    imu, notes = bring_in(tmp_path / "one", entries)
    assert imu is None
    assert any("no IMU is taken of /a/imu, /b/imu; --imu-topic picks one" in n for n in notes)
    imu, _ = bring_in(tmp_path / "two", entries, imu_topic="b/imu")
    assert len(imu) == 41
    with pytest.raises(DataError, match="no topic /c of sensor_msgs/msg/Imu; it holds /a/imu, /b"):
        bring_in(tmp_path / "three", entries, imu_topic="/c")


def test_gyroscope_and_accelerometer_of_their_own_are_joined(tmp_path):
    """RealSense: forces at 100 Hz are put to the times of the rates, by lines between them."""
    gyro = samples(topic="/camera/gyro/sample", accel=None)
    accel = [
        make.imu(START + 10 * MS * i, None, (0.0, i / 10, 9.81), topic="/camera/accel/sample")
        for i in range(31)
    ]
    imu, notes = bring_in(tmp_path, [*STATIC, *frames(), *gyro, *accel])
    assert len(imu) == 61 and imu.has_accel  # those between 1.0 and 1.3 s
    np.testing.assert_allclose(imu.accel[:5, 1], [0.0, 0.05, 0.1, 0.15, 0.2], atol=1e-9)
    np.testing.assert_allclose(imu.gyro[0], [0.1, 0, 0.5])
    assert any("are joined to one IMU" in note for note in notes)


def test_a_gyroscope_alone_and_samples_without_stamps(tmp_path):
    """-1 in a covariance is not measured; stamp 0 is the recording's; falling ones drop."""
    alone = samples(accel=None)
    imu, _ = bring_in(tmp_path / "a", [*STATIC, *frames(), *alone])
    assert not imu.has_accel
    unset = [make.imu(0, (0.1, 0, 0), received=START + 5 * MS * i) for i in range(60)]
    imu, _ = bring_in(tmp_path / "b", [*STATIC, *frames(), *unset])
    np.testing.assert_allclose(imu.stamps[:2], [1.0, 1.005], atol=1e-9)
    back = make.imu(START - MS, (9.0, 0, 0), received=START + 60 * MS)
    imu, notes = bring_in(tmp_path / "c", [*STATIC, *frames(), *samples(), back])
    assert len(imu) == 81 and imu.gyro.max() < 1
    assert any("/imu: 1 of 82 samples left out" in note for note in notes)


def test_broken_messages_are_counted(tmp_path):
    """A message that does not parse is left out, with its reason."""
    broken = ("/imu", "sensor_msgs/msg/Imu", START + MS, b"\0\1\0\0" + bytes(9))
    imu, notes = bring_in(tmp_path, [*STATIC, *frames(), *samples(), broken])
    assert len(imu) == 81
    assert any("1 messages of /imu left out, the first: " in note for note in notes)


def test_choice_by_names_alone() -> None:
    """The only one, none, a pair, and a pair among others."""
    kind = "sensor_msgs/msg/Imu"

    def chosen(*names: str, wanted: str = "") -> tuple[str, ...]:
        return choose_imu_topics(Path("bag"), [Topic(n, kind, 5) for n in names], wanted)[0]

    assert chosen("/imu") == ("/imu",)
    assert chosen() == () and chosen("/imu", wanted="none") == ()
    assert chosen("/c/accel/sample", "/c/gyro/sample") == ("/c/gyro/sample", "/c/accel/sample")
    assert chosen("/c/accel/sample", "/c/gyro/sample", "/imu") == ()
    three = ("/c/accel/sample", "/c/gyro/sample", "/imu")
    assert chosen(*three, wanted="/c/gyro/sample") == ("/c/gyro/sample", "/c/accel/sample")
    assert chosen(*three, wanted="/imu") == ("/imu",)
