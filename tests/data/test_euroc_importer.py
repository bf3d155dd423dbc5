# SPDX-License-Identifier: Apache-2.0
"""EuRoC and TUM-VI folders: cameras, times in nanoseconds, body poses moved to the camera."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from depthkit.data.sequence import open_sequence
from depthkit.data.stream import open_stream
from depthkit.errors import DataError
from depthkit.rigid import exp_se3, inverse, matrix_to_quaternion
from depthkit.trajectory import ImuNoise
from tests.data.source_makers import H, W, listener, picture, run, run_one, save

NS = 1403636579763555584
T_BS = exp_se3([0.1, -0.2, 0.3, 0.4, -0.5, 0.6])
T_BI = exp_se3([0.0, 0.02, -0.01, 0.0, 0.1, 0.0])
BODY = np.stack([exp_se3([i, 2 * i, 0, 0, 0, 0.1 * i]) for i in range(4)])


def stamp(i: int) -> int:
    return NS + 50_000_000 * i


def sensor(T: np.ndarray, camera: bool = True) -> str:
    values = ", ".join(map(repr, T.ravel().tolist()))
    text = f"# sensor\nT_BS:\n  cols: 4\n  rows: 4\n  data: [{values}]\n"
    if not camera:
        return text
    return text + (
        f"rate_hz: 20\nresolution: [{W}, {H}]\ncamera_model: pinhole\n"
        "intrinsics: [30.0, 31.0, 15.0, 12.0]\ndistortion_model: radial-tangential\n"
        "distortion_coefficients: [0.0, 0.0, 0.0, 0.0]\n"
    )


def make_euroc(root: Path, truth: str = "state_groundtruth_estimate0", count: int = 4) -> Path:
    mav = root / "mav0"
    lines = ["#timestamp [ns],filename"]
    for i in range(count):
        save(mav / "cam0" / "data" / f"{stamp(i)}.png", picture(i))
        lines.append(f"{stamp(i)},{stamp(i)}.png")
    (mav / "cam0" / "data.csv").write_text("\n".join(lines))
    (mav / "cam0" / "sensor.yaml").write_text(sensor(T_BS))
    rows = ["#timestamp, p_RS_R_x [m], p_RS_R_y [m], p_RS_R_z [m], q_RS_w [], ..."]
    for i, T in enumerate(BODY):
        x, y, z, w = matrix_to_quaternion(T[:3, :3])
        rows.append(",".join([str(stamp(i)), *(f"{v:.12f}" for v in (*T[:3, 3], w, x, y, z))]))
    (mav / truth).mkdir()
    (mav / truth / "data.csv").write_text("\n".join(rows))
    return root


def test_poses_are_those_of_the_camera(tmp_path):
    """T_world_cam = T_world_body T_BS; times are those of the names, K that of sensor.yaml."""
    (result,) = run(make_euroc(tmp_path / "MH_01"), tmp_path / "out", camera=None)
    sequence = open_sequence(result.path)
    assert (result.name, result.format, result.poses) == ("MH_01", "euroc", 4)
    np.testing.assert_allclose(sequence.poses, BODY @ T_BS, atol=1e-6)
    np.testing.assert_allclose(sequence.times, NS / 1e9 + 0.05 * np.arange(4), atol=1e-6)
    assert (sequence.camera.fx, sequence.camera.cy) == (30.0, 12.0)


@pytest.mark.parametrize("place", ["", "mav0", "mav0/cam0"])
def test_found_from_recording_mav0_or_camera(tmp_path, place):
    """The name is that of the folder above mav0."""
    (result,) = run(make_euroc(tmp_path / "MH_01") / place, tmp_path / "out", camera=None)
    assert result.name == "MH_01"


def test_folder_of_recordings(tmp_path):
    """machine_hall/MH_01/MH_01/mav0 is two levels down."""
    make_euroc(tmp_path / "hall" / "a" / "MH_01")
    make_euroc(tmp_path / "hall" / "b" / "MH_02")
    results = run(tmp_path / "hall", tmp_path / "out", camera=None)
    assert [result.name for result in results] == ["MH_01", "MH_02"]


def test_other_camera_by_name(tmp_path):
    """cam0 is taken, cam1 is named and taken on request, with its own T_BS."""
    root = make_euroc(tmp_path / "MH_01")
    (root / "mav0" / "cam0").rename(root / "mav0" / "cam1")
    make_euroc(tmp_path / "MH_01", truth="unused")
    (root / "mav0" / "cam1" / "sensor.yaml").write_text(sensor(np.eye(4)))
    notes, watcher = listener()
    run(root, tmp_path / "a", watcher, camera=None)
    assert any("cam1 not used; --sequence cam1 takes it" in note for note in notes)
    sequence = run_one(root, tmp_path / "b", camera=None, sequence="cam1")
    np.testing.assert_allclose(sequence.poses, BODY, atol=1e-6)
    with pytest.raises(DataError, match="no sequence 'cam7'; it holds MH_01, MH_01_cam0"):
        run(root, tmp_path / "c", camera=None, sequence="cam7")


def test_marker_is_moved_to_the_body(tmp_path):
    """vicon0 gives poses of a marker: its own T_BS leads back to the body."""
    root = make_euroc(tmp_path / "V1_01", truth="vicon0")
    T_marker = exp_se3([0.05, 0.02, -0.1, 0.3, 0.2, 0.1])
    (root / "mav0" / "vicon0" / "sensor.yaml").write_text(sensor(T_marker, camera=False))
    sequence = run_one(root, tmp_path / "out", camera=None)
    np.testing.assert_allclose(sequence.poses, BODY @ inverse(T_marker) @ T_BS, atol=1e-6)


def test_given_mounting_overrules_T_BS(tmp_path):
    """--body-to-camera with the identity keeps the body's poses."""
    root = make_euroc(tmp_path / "MH_01")
    (tmp_path / "I.txt").write_text("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    sequence = run_one(root, tmp_path / "out", camera=None, body_to_camera=tmp_path / "I.txt")
    np.testing.assert_allclose(sequence.poses, BODY, atol=1e-6)


def add_imu(root: Path, *, start: int = NS, sensor_yaml: bool = True) -> Path:
    """Write 41 samples at 200 Hz whose first rate is the number of the sample."""
    folder = root / "mav0" / "imu0"
    folder.mkdir()
    lines = ["#timestamp [ns],w_RS_S_x [rad s^-1],w_RS_S_y [rad s^-1],w_RS_S_z [rad s^-1],"]
    lines[0] += "a_RS_S_x [m s^-2],a_RS_S_y [m s^-2],a_RS_S_z [m s^-2]"
    lines += [f"{start + 5_000_000 * i},{i / 100},0,0.5,9.8,0.1,0.2" for i in range(41)]
    (folder / "data.csv").write_text("\n".join(lines) + "\n")
    if sensor_yaml:
        noise = "gyroscope_noise_density: 1.6968e-04\ngyroscope_random_walk: 1.9393e-05\n"
        noise += "accelerometer_noise_density: 2.0000e-3\naccelerometer_random_walk: 3.0000e-3\n"
        (folder / "sensor.yaml").write_text(sensor(T_BI, camera=False) + noise)
    return root


def test_imu_comes_with_both_mountings(tmp_path):
    """T_cam_imu = T_BS(camera)^-1 T_BS(IMU); densities are those of sensor.yaml."""
    sequence = run_one(add_imu(make_euroc(tmp_path / "MH_01")), tmp_path / "out", camera=None)
    imu = sequence.imu
    np.testing.assert_allclose(imu.T_cam_imu, inverse(T_BS) @ T_BI, atol=1e-9)
    assert imu.noise == ImuNoise(1.6968e-4, 2e-3, 1.9393e-5, 3e-3)
    np.testing.assert_allclose(imu.rows[:, 1], np.arange(41) / 100)
    between = imu.between(*sequence.times[:2])
    np.testing.assert_allclose(
        between[:, 0], sequence.times[0] + 0.005 * np.arange(1, 11), atol=1e-6
    )


def test_imu_without_sensor_yaml_is_the_body(tmp_path):
    """The body of the format is the IMU; that this was taken is said and stored."""
    root = add_imu(make_euroc(tmp_path / "MH_01"), sensor_yaml=False)
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    imu = open_sequence(result.path).imu
    np.testing.assert_allclose(imu.T_cam_imu, inverse(T_BS), atol=1e-9)
    assert imu.noise is None
    assert any("imu0 has no sensor.yaml with T_BS: it is taken as the body" in n for n in notes)
    assert any("imu0 has no sensor.yaml" in text for text in result.assumed)


def test_imu_of_another_clock_or_an_empty_one_is_said(tmp_path):
    """Frames are stored all the same, without samples, and both spans are named."""
    root = add_imu(make_euroc(tmp_path / "MH_01"), start=NS + 10**12)
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert result.imu == 0 and open_sequence(result.path).imu is None
    assert any("the IMU is not used: frames are from 1403636579.764" in note for note in notes)
    (root / "mav0" / "imu0" / "data.csv").write_text("#\n")
    notes, watcher = listener()
    run(root, tmp_path / "again", watcher, camera=None)
    assert any("the IMU is not used: " in n and "no rows of numbers" in n for n in notes)


def test_stream_of_a_recording_has_frames_and_imu(tmp_path):
    """open_stream gives times, K, poses and samples of a EuRoC folder, as prepare does."""
    root = add_imu(make_euroc(tmp_path / "MH_01"))
    stream = open_stream(root)
    assert len(stream) == 4 and len(stream.imu) == 41
    np.testing.assert_allclose(stream.poses, BODY @ T_BS, atol=1e-6)
    frames = list(stream.frames())
    assert [frame.rgb.shape for frame in frames] == [(H, W, 3)] * 4
    parts = [stream.imu.between(a.time, b.time) for a, b in pairwise(frames)]
    assert [len(part) for part in parts] == [10, 10, 10]


def test_recordings_and_cameras_of_a_stream(tmp_path):
    """Several recordings are refused by name; a sequence folder hands its own samples on."""
    sequence = run_one(add_imu(make_euroc(tmp_path / "MH_01")), tmp_path / "out", camera=None)
    assert len(open_stream(sequence.root).imu) == 41
    make_euroc(tmp_path / "hall" / "MH_01")
    make_euroc(tmp_path / "hall" / "MH_02")
    with pytest.raises(DataError, match="holds 2 recordings; give one of them"):
        open_stream(tmp_path / "hall")


def test_leica_is_named(tmp_path):
    """What lies there and is not used is said."""
    root = make_euroc(tmp_path / "MH_01")
    (root / "mav0" / "leica0").mkdir()
    (root / "mav0" / "leica0" / "data.csv").write_text("#\n")
    notes, watcher = listener()
    run(root, tmp_path / "out", watcher, camera=None)
    assert any("leica0 holds positions without orientation" in note for note in notes)


def test_poses_of_another_clock_are_said(tmp_path):
    """Frames without any pose near are stored without, and both spans are named."""
    root = make_euroc(tmp_path / "MH_01")
    path = root / "mav0" / "state_groundtruth_estimate0" / "data.csv"
    path.write_text(path.read_text().replace("14036365", "15036365"))
    notes, watcher = listener()
    (result,) = run(root, tmp_path / "out", watcher, camera=None)
    assert result.poses == 0
    assert any("no pose of state_groundtruth_estimate0 meets a frame" in note for note in notes)


def test_missing_T_BS_is_refused(tmp_path):
    """Body poses are not taken for camera poses."""
    root = make_euroc(tmp_path / "MH_01")
    path = root / "mav0" / "cam0" / "sensor.yaml"
    path.write_text(path.read_text().replace("T_BS", "T_XX"))
    with pytest.raises(DataError, match="no T_BS there.*--body-to-camera FILE"):
        run(root, tmp_path / "out", camera=None)


def test_picture_folder_with_files_named(tmp_path):
    """The pictures alone, with --poses data.csv: T_BS of the sensor.yaml beside is applied."""
    mav = make_euroc(tmp_path / "MH_01") / "mav0"
    notes, watcher = listener()
    (result,) = run(
        mav / "cam0" / "data",
        tmp_path / "out",
        watcher,
        poses=mav / "state_groundtruth_estimate0" / "data.csv",
    )
    np.testing.assert_allclose(open_sequence(result.path).poses, BODY @ T_BS, atol=1e-6)
    assert any("poses of a body, moved to the camera: T_body_cam is T_BS" in n for n in notes)


def test_real_euroc(tmp_path, data_root):
    """MH_01 with its body's poses as a TUM file: the camera's own poses come out."""
    root = data_root / "euroc_mh01"
    sequence = run_one(
        root, tmp_path / "out", camera=None, stop=3, poses=root / "groundtruth_tum.txt"
    )
    assert sequence.imu.rate == pytest.approx(200.0, rel=1e-3)
    assert len(sequence.imu.between(*sequence.times[:2])) == 10
    truth = np.loadtxt(root / "gt_cam0_poses.txt")[:3].reshape(-1, 3, 4)
    np.testing.assert_allclose(sequence.poses[:, :3], truth, atol=1e-4)
