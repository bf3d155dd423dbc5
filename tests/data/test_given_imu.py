# SPDX-License-Identifier: Apache-2.0
"""An IMU the user gives for a source: its clock, its units, and how it sits on the camera."""

from pathlib import Path

import numpy as np
import pytest

from depthkit.data.importers.mounting import load_imu_mounting
from depthkit.data.imu_stream import ImuOptions, give_imu
from depthkit.data.sequence import SequenceWriter, open_sequence
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, inverse
from depthkit.trajectory import Imu, ImuNoise, save_imu
from tests.data.source_makers import PINHOLE, H, W, listener, make_images, make_video, run, run_one

T_CAM_IMU = exp_se3([0.1, -0.2, 0.3, 0.4, -0.5, 0.6])


def clip(tmp_path: Path, times: str = "0.0\n0.1\n0.2\n0.3\n") -> Path:
    source = make_images(tmp_path / "clip", 4)
    (source / "times.txt").write_text(times)
    return source


def table(path: Path, *, start: float = -0.1, count: int = 120, scale: float = 1.0) -> Path:
    """Samples at 200 Hz that stand still but for a turn about z."""
    rows = [f"{start + i / 200:.4f},0,0,{0.5 * scale},0.1,0.2,9.8" for i in range(count)]
    path.write_text("t,wx,wy,wz,ax,ay,az\n" + "\n".join(rows) + "\n")
    return path


def matrix(path: Path, T: np.ndarray) -> Path:
    path.write_text("\n".join(" ".join(f"{v:.12f}" for v in row) for row in T))
    return path


def test_samples_beside_pictures_and_videos(tmp_path):
    """A csv and a 4x4 file are enough; the folder holds both."""
    options = {
        "imu": table(tmp_path / "imu.csv"),
        "imu_to_camera": matrix(tmp_path / "T.txt", T_CAM_IMU),
    }
    sequence = run_one(clip(tmp_path), tmp_path / "out", **options)
    assert len(sequence.imu) == 120 and sequence.imu.rate == pytest.approx(200)
    np.testing.assert_allclose(sequence.imu.T_cam_imu, T_CAM_IMU, atol=1e-9)
    np.testing.assert_allclose(sequence.imu.rows[0], [-0.1, 0, 0, 0.5, 0.1, 0.2, 9.8])
    video = make_video(tmp_path / "clip.mp4")
    assert len(run_one(video, tmp_path / "of_video", camera=None, fov=60, **options).imu) == 120


@pytest.mark.parametrize("program", ["depthkit", "kalibr"])
def test_noise_lies_beside_the_table(tmp_path, program):
    """imu.yaml of a sequence folder, or of Kalibr; --imu-to-camera overrules its T_cam_imu."""
    path = table(tmp_path / "imu.csv")
    noise = ImuNoise(1e-3, 1e-2, 1e-5, 1e-4)
    if program == "depthkit":
        save_imu(tmp_path, Imu(np.loadtxt(path, delimiter=",", skiprows=1), np.eye(4), noise))
    else:
        (tmp_path / "imu.yaml").write_text(
            "rostopic: /imu\nupdate_rate: 200.0\naccelerometer_noise_density: 1.0e-2\n"
            "accelerometer_random_walk: 1.0e-4\ngyroscope_noise_density: 1e-3\n"
            "gyroscope_random_walk: 1.0e-5\n"
        )
    source = clip(tmp_path)
    imu = run_one(source, tmp_path / "a", imu=path).imu
    assert imu.noise == noise and (imu.T_cam_imu is None) == (program == "kalibr")
    mounting = matrix(tmp_path / "T.txt", T_CAM_IMU)
    imu = run_one(source, tmp_path / "b", imu=path, imu_to_camera=mounting).imu
    np.testing.assert_allclose(imu.T_cam_imu, T_CAM_IMU, atol=1e-9)


def test_unknown_mounting_is_said_and_stays_unknown(tmp_path):
    """Without --imu-to-camera nothing is assumed; the remedy is named."""
    notes, watcher = listener()
    (result,) = run(clip(tmp_path), tmp_path / "out", watcher, imu=table(tmp_path / "imu.csv"))
    assert open_sequence(result.path).imu.T_cam_imu is None
    assert result.imu == 120
    assert any("T_cam_imu is unknown" in n and "--imu-to-camera FILE" in n for n in notes)
    assert any("IMU: 120 samples at 200 Hz" in note for note in notes)


def test_clocks_without_overlap_are_refused(tmp_path):
    """One line with both spans; nothing is written."""
    with pytest.raises(DataError) as error:
        run(clip(tmp_path), tmp_path / "out", imu=table(tmp_path / "imu.csv", start=50.0))
    assert "frames are from 0.000 to 0.300 s, the IMU from 50.000 to 50.595 s" in str(error.value)
    assert not (tmp_path / "out").exists()


def test_units_are_suspected_and_set(tmp_path):
    """50 rad/s all the time is a word; --imu-units deg/s converts and the word is gone."""
    path = table(tmp_path / "imu.csv", scale=100.0)
    notes, watcher = listener()
    run(clip(tmp_path), tmp_path / "a", watcher, imu=path)
    assert any("impossible as rad/s; deg/s? --imu-units deg/s" in note for note in notes)
    notes, watcher = listener()
    (result,) = run(tmp_path / "clip", tmp_path / "b", watcher, imu=path, imu_units="deg/s")
    assert not any("impossible" in note for note in notes)
    gyro = open_sequence(result.path).imu.gyro
    np.testing.assert_allclose(gyro[:, 2], np.radians(50), rtol=1e-10)


def test_options_without_an_imu_are_refused(tmp_path):
    """Nothing is dropped in silence."""
    source = clip(tmp_path)
    with pytest.raises(DataError, match="--imu-units is given, but there is no IMU"):
        run(source, tmp_path / "out", imu_units="g")
    with pytest.raises(DataError, match="--imu-to-camera is given, but there is no IMU"):
        run(source, tmp_path / "out", imu_to_camera=matrix(tmp_path / "T.txt", T_CAM_IMU))


def test_a_part_of_the_frames_keeps_the_samples_around_it(tmp_path):
    """Ten seconds before and behind; every n-th frame changes nothing."""
    source = clip(tmp_path, "0\n20\n40\n60\n")
    path = table(tmp_path / "imu.csv", count=12100)
    imu = run_one(source, tmp_path / "out", imu=path, start=1, stop=2, time_unit="s").imu
    np.testing.assert_allclose(imu.stamps[[0, -1]], [10.0, 30.0], atol=0.0051)
    assert len(run_one(source, tmp_path / "all", imu=path, every=3, time_unit="s").imu) == 12100


def test_a_changed_imu_is_another_plan(tmp_path):
    """A run that continues an older one sees that samples differ."""
    source = clip(tmp_path)
    run(source, tmp_path / "out", imu=table(tmp_path / "imu.csv"))
    with pytest.raises(DataError, match="exists already"):
        run(source, tmp_path / "out", imu=table(tmp_path / "imu.csv", scale=2.0))


@pytest.mark.parametrize(
    ("text", "T"),
    [
        ("plain", T_CAM_IMU),
        ("cam0:\n  T_cam_imu: {}\n", T_CAM_IMU),
        ("T_imu_cam: {}\n", inverse(T_CAM_IMU)),
        ("sensor:\n  T_BS: {}\n", inverse(T_CAM_IMU)),
    ],
)
def test_mounting_files_mean_one_transform(tmp_path, text, T):
    """Plain numbers are T_cam_imu; Kalibr's key too, those of T_body_cam are inverted."""
    path = tmp_path / "T.yaml"
    if text == "plain":
        matrix(path, T)
    else:
        path.write_text(text.format(T.tolist()))
    found, words = load_imu_mounting(path)
    np.testing.assert_allclose(found, T_CAM_IMU, atol=1e-9)
    assert words.startswith("T_cam_imu is ") and "T_body_cam" not in words


def test_stream_takes_a_file_a_mounting_and_units(tmp_path):
    """What prepare writes is what a stream is given; the word on a missing T_cam_imu goes away."""
    sequence = run_one(clip(tmp_path), tmp_path / "out", ext="png")
    stream, path = open_stream(sequence.root), table(tmp_path / "imu.csv")
    assert stream.imu is None and give_imu(stream, ImuOptions()) is stream
    given = give_imu(stream, ImuOptions(path))
    assert len(given.imu) == 120 and any("T_cam_imu is unknown" in note for note in given.notes)
    mounting = matrix(tmp_path / "T.txt", T_CAM_IMU)
    placed = give_imu(given, ImuOptions(imu_to_camera=mounting, imu_units="deg/s"))
    np.testing.assert_allclose(placed.imu.T_cam_imu, T_CAM_IMU, atol=1e-9)
    np.testing.assert_allclose(placed.imu.gyro, np.radians(given.imu.gyro))
    assert not any("T_cam_imu is unknown" in note for note in placed.notes)
    with pytest.raises(DataError, match="--imu-units is given, but there is no IMU"):
        give_imu(stream, ImuOptions(imu_units="g"))
    late = table(tmp_path / "late.csv", start=9.0)
    with pytest.raises(DataError, match=r"late.csv: frames are from 0.000 to 0.300 s, the IMU"):
        give_imu(stream, ImuOptions(late))


def test_writer_of_sequences_takes_an_imu(tmp_path):
    """Synthetic worlds write theirs beside the frames."""
    rows = np.zeros((50, 7))
    rows[:, 0], rows[:, 6] = np.arange(50) / 100, 9.81
    with SequenceWriter(tmp_path / "seq", PINHOLE.camera) as writer:
        writer.add_frame(np.zeros((H, W, 3), np.uint8), 0.1)
        writer.write_imu(Imu(rows, T_CAM_IMU))
    np.testing.assert_allclose(open_sequence(tmp_path / "seq").imu.rows, rows, atol=1e-9)


def test_real_kitti_rates_beside_a_drive_without_oxts(tmp_path, data_root):
    """A table of rates and speeds: a gyroscope alone, on the clock of the frames."""
    path = data_root / "kitti_raw_0001_motion" / "2011_09_26_drive_0001_imu_pose.csv"
    drive = data_root / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0001_sync"
    notes, watcher = listener()
    (result,) = run(drive, tmp_path / "out", watcher, camera=None, imu=path, stop=5)
    imu = open_sequence(result.path).imu
    assert not imu.has_accel and imu.rate == pytest.approx(9.7, abs=0.2)
    assert any("no oxts: frames are stored without poses and IMU" in note for note in notes)
    assert any("without accelerations" in note for note in notes)
