# SPDX-License-Identifier: Apache-2.0
"""The player with a sequence that has an IMU: which samples it sends, when, and where they sit."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rosbags.rosbag2", reason="rosbags is not installed (extra [bag])")

from data.bag_makers import CAMERA
from data.source_makers import picture
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Imu as ImuMessage

from depthkit.data.sequence import SequenceWriter
from depthkit.rigid import make_pose
from depthkit.trajectory.imu import Imu, save_imu
from ros_nodes import player_frames
from ros_nodes.inputs.imu_input import read_sample
from ros_nodes.player_config import PlayerConfig
from ros_nodes.player_source import open_play

pytestmark = pytest.mark.ros

MS = 10**6
T_CAM_IMU = make_pose(np.eye(3), [0.1, 0.0, 0.0])


@pytest.fixture
def ride(tmp_path: Path) -> Path:
    """Three frames at 2, 2.1 and 2.2 s; samples every 50 ms from 1 to 2.5 s, rising by one."""
    root = tmp_path / "ride"
    with SequenceWriter(root, CAMERA, ext="png") as writer:
        for i in range(3):
            writer.add_frame(picture(i), 2 + 0.1 * i)
    times = np.round(np.arange(1.0, 2.51, 0.05), 3)
    rows = np.column_stack([times, np.arange(6 * len(times)).reshape(-1, 6)])
    save_imu(root, Imu(rows, T_CAM_IMU))
    return root


def sent(play) -> list[tuple[str, int]]:
    """Return topic and stamp, ms, of what is sent."""
    return [(one.topic, round(one.at / MS)) for one in play.messages()]


def test_samples_precede_the_frame_that_they_lead_to(ride: Path) -> None:
    """Half a second of them before the first frame; none after the last one."""
    play = open_play(PlayerConfig(source=ride))
    assert play.topics["imu"] is ImuMessage
    found = [(topic, at) for topic, at in sent(play) if topic in ("imu", "image")]
    samples = [("imu", at) for at in range(1550, 2001, 50)]
    expected = [*samples, ("image", 2000), ("imu", 2050), ("imu", 2100), ("image", 2100)]
    assert found == [*expected, ("imu", 2150), ("imu", 2200), ("image", 2200)]


def test_a_sample_is_sent_as_it_is(ride: Path) -> None:
    """Rates and forces to the last bit, its stamp and frame; no orientation."""
    play = open_play(PlayerConfig(source=ride, imu_frame="px4"))
    first = next(one for one in play.messages() if one.topic == "imu")
    message = deserialize_message(first.data, ImuMessage)
    assert read_sample(message) == ([1.55, 66, 67, 68, 69, 70, 71], "")
    assert message.header.frame_id == "px4" and message.orientation_covariance[0] == -1


def test_a_gyroscope_alone_says_so(tmp_path: Path) -> None:
    """NaN becomes a covariance of -1, and NaN again."""
    root = tmp_path / "turn"
    with SequenceWriter(root, CAMERA, ext="png") as writer:
        writer.add_frame(picture(0), 2.0)
    rates = np.array([[1.9, 1, 2, 3], [2.1, 4, 5, 6]])
    save_imu(root, Imu(np.pad(rates, ((0, 0), (0, 3)), constant_values=np.nan), T_CAM_IMU))
    play = open_play(PlayerConfig(source=root))
    first = next(one for one in play.messages() if one.topic == "imu")
    row, reason = read_sample(deserialize_message(first.data, ImuMessage))
    assert not reason and row[:4] == pytest.approx([1.9, 1, 2, 3]) and np.isnan(row[4:]).all()


def test_start_cuts_samples_too(ride: Path) -> None:
    """From 0.1 s into the frames, with half a second of samples before."""
    found = sent(open_play(PlayerConfig(source=ride, start=0.1)))
    assert [at for topic, at in found if topic == "imu"] == list(range(1650, 2201, 50))
    assert [at for topic, at in found if topic == "image"] == [2100, 2200]


@pytest.mark.parametrize("given", [{"imu_topic": "none"}, {"fps": 30.0}])
def test_samples_are_left_out_on_request(ride: Path, given: dict) -> None:
    """Or where the frames have other times than those of the samples."""
    assert "imu" not in open_play(PlayerConfig(source=ride, **given)).topics


def test_where_the_imu_sits_is_sent_or_said(ride: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On /tf_static where tf2_msgs imports; else a line that names the file."""
    monkeypatch.setattr(player_frames, "TFMessage", None)
    play = open_play(PlayerConfig(source=ride))
    assert "/tf_static" not in play.topics
    (note,) = [one for one in play.notes if "imu.yaml as imu.file" in one]
    assert "tf2_msgs does not import" in note
    monkeypatch.setattr(player_frames, "TFMessage", SimpleNamespace)
    monkeypatch.setattr(player_frames, "serialize_message", lambda message: message)
    play = open_play(PlayerConfig(source=ride, frame_id="eye"))
    assert not [note for note in play.notes if "imu" in note]
    first = next(play.messages())
    assert first.topic == "/tf_static" and first.stamp is None
    (place,) = first.data.transforms
    assert (place.header.frame_id, place.child_frame_id) == ("eye", "imu")
    assert place.transform.translation.x == pytest.approx(0.1)
