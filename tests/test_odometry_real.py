# SPDX-License-Identifier: Apache-2.0
"""`depthkit odometry` with the real odometry: a rendered room with exact truth, and short clips."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

import depthkit
from depthkit.cli import main
from depthkit.data.poses_note import load_poses_note
from depthkit.data.sequence import open_sequence
from depthkit.synth.boxes import write_flight
from depthkit.synth.path import camera_path
from depthkit.trajectory import load_tum

FRAMES, SIZE, STEP = 14, (120, 160), 0.12


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> Path:
    """A flight of 1.6 m through a room of boxes."""
    root = tmp_path_factory.mktemp("flight") / "room"
    write_flight(root, camera_path(FRAMES, 1, STEP), SIZE, 1)
    return root


@pytest.fixture(scope="module")
def done(room, tmp_path_factory) -> Path:
    """What the odometry makes of it."""
    out = tmp_path_factory.mktemp("found") / "out"
    depthkit.odometry(room, out)
    return out


def ate(out: Path, reference: Path) -> depthkit.OdometryEvaluation:
    return depthkit.evaluate.odometry(out, reference, align="7dof")


def test_a_rendered_room_is_followed(room, done):
    """The live path is far better than going straight on, and all it covers is said."""
    found = ate(done, room / "poses.txt").score
    assert found.ate_m < 0.1 * found.ate_still_m
    summary = json.loads((done / "summary.json").read_text())
    assert summary["coverage"] == pytest.approx(found.coverage)
    assert summary["poses"] >= FRAMES - 5 and len(summary["segments"]) == 1
    assert summary["keyframes"] >= 2 and summary["landmarks"] > 50
    assert summary["path_scale"] == "relative"


def test_the_same_input_gives_the_same_bytes(room, done, tmp_path):
    """Nothing in it draws at random."""
    depthkit.odometry(room, tmp_path / "out")
    for name in ("trajectory_tum.txt", "trajectory_smoothed_tum.txt", "poses.csv", "points.ply"):
        assert (tmp_path / "out" / name).read_bytes() == (done / name).read_bytes()


def test_live_poses_are_those_of_the_robot(room, done):
    """The file holds what `process` returned, frame by frame."""
    from depthkit.runtime.odometry.geometric import GeometricOdometry

    sequence, odometry, poses = open_sequence(room), GeometricOdometry(), {}
    for i, stamp in enumerate(sequence.times):
        result = odometry.process(sequence.read_frame(i), stamp=stamp, K=sequence.camera.K)
        if not result.reason:
            poses[round(float(stamp), 6)] = result.T_world_cam
    live = load_tum(done / "trajectory_tum.txt")
    for stamp, T in zip(live.stamps[1:], live.T_world_cam[1:], strict=True):
        assert np.allclose(poses[round(float(stamp), 6)], T, atol=1e-9)


def test_prepared_frames_get_their_poses(room, tmp_path):
    """`prepare --poses odometry` on pictures: the path of the room, and its note."""
    words = ("--fov", "64", "--fps", "10", "--ext", "png", "--poses", "odometry", "--name", "mine")
    assert main(["prepare", str(room / "frames"), "--out", str(tmp_path / "data"), *words]) == 0
    mine = open_sequence(tmp_path / "data/mine")
    note = load_poses_note(mine.root, FRAMES)
    assert (note.source, note.unit, len(note.segments)) == ("odometry", "up_to_scale", 1)
    found = ate(mine.root / "poses.txt", room / "poses.txt").score
    assert found.ate_m < 0.1 * found.ate_still_m and found.coverage == 1


def clip(path: Path, frames: list[np.ndarray]) -> Path:
    """Write a video of RGB frames, 10 a second."""
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    for frame in frames:
        writer.write(np.ascontiguousarray(frame[..., ::-1]))
    writer.release()
    return path


@pytest.mark.parametrize("case", ["flat", "black"])
def test_what_cannot_be_followed_is_one_line(tmp_path, capsys, case):
    """A video without texture, a black one: a reason, and no folder."""
    made = {
        "flat": [np.full((120, 160, 3), 120, np.uint8)] * 8,
        "black": [np.zeros((120, 160, 3), np.uint8)] * 8,
    }
    video = clip(tmp_path / "in.avi", made[case])
    assert main(["odometry", str(video), "--fov", "64", "--out", str(tmp_path / "out")]) == 1
    error = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(error) == 1 and "no frame has a pose; " in error[0]
    assert [p.name for p in tmp_path.iterdir()] == ["in.avi"]


def test_a_covered_lens_is_said(room, tmp_path, capsys):
    """Two black frames in the middle have no pose and a reason; the path goes on after them."""
    frames = [open_sequence(room).read_frame(i) for i in range(FRAMES)]
    frames[7] = frames[8] = np.zeros_like(frames[0])
    video = clip(tmp_path / "in.avi", [*frames, *frames[::-1]])
    done = depthkit.odometry(video, tmp_path / "out", fov=64.0)
    assert done.coverage < 1 and "black" in " ".join(one.reason for one in done.losses)
    assert len(done.segments) == 1


def test_the_snippets_of_the_page_run(room, tmp_path, monkeypatch, capsys):
    """What docs/odometry.md shows of Python works as it stands."""
    page = Path(__file__).resolve().parent.parent / "docs" / "odometry.md"
    snippets = re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.M | re.S)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/mine").symlink_to(room)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, str(page), "exec"), names)
    assert len(snippets) == 2 and capsys.readouterr().out.count("\n") >= FRAMES + 1


CLIPS = {
    "kitti_odometry/sequences/00/image_0": ("{:06d}.jpg", 1),
    "sevenscenes_redkitchen": ("frame-{:06d}.color.jpg", 4),
    "tum_fr1_desk/rgb": ("", 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CLIPS)
def test_short_real_clips_are_followed(data_root, tmp_path, name):
    """Thirty frames of a road, a kitchen and a desk: most have a pose, in one segment."""
    pattern, step = CLIPS[name]
    files = sorted((data_root / name).glob("*.jpg"))
    chosen = [data_root / name / pattern.format(i * step) for i in range(30)]
    chosen = chosen if pattern else files[:30]
    (tmp_path / "in").mkdir()
    for i, file in enumerate(chosen):
        (tmp_path / f"in/{i:04d}.jpg").symlink_to(file)
    done = depthkit.odometry(
        tmp_path / "in", tmp_path / "out", fov=63.0 if "kitti" not in name else 81.4
    )
    assert done.coverage > 0.6 and len(done.segments) == 1


def test_a_bag_gives_the_path_of_its_frames(room, tmp_path):
    """Frames, K and clock of a bag; its own odometry is not read; the IMU of it is there."""
    from depthkit.data.bag_writer import write_bag
    from depthkit.data.calibrated_stream import open_calibrated
    from depthkit.pipelines.odometry.follow import FollowedOdometry
    from depthkit.pipelines.odometry.options import ScaleSources
    from depthkit.trajectory import Imu, save_imu

    folder = tmp_path / "room"
    shutil.copytree(room, folder)
    rows = np.zeros((150, 7))
    rows[:, 0], rows[:, 6] = np.arange(150) * 0.01, 9.81
    rows[:, 1] = 0.01
    save_imu(folder, Imu(rows, np.eye(4)))
    write_bag(open_sequence(folder), tmp_path / "bag")
    stream = open_calibrated(tmp_path / "bag")
    assert stream.camera == open_sequence(room).camera and stream.poses is None
    assert len(stream.imu) == 150
    assert FollowedOdometry(stream, ScaleSources()).sources == ("IMU",)
    done = depthkit.odometry(tmp_path / "bag", tmp_path / "out", imu="none")
    assert done.scale_sources == () and done.poses >= FRAMES - 5


def test_speed_gives_metres_of_the_room(room, tmp_path):
    """Once the scale is shown, lengths are those of the room, and poses of a folder are metres."""
    folder = tmp_path / "room"
    shutil.copytree(room, folder)
    (folder / "poses.txt").unlink()
    speed = 10 * STEP  # metres a second: even steps, ten frames a second
    done = depthkit.odometry(folder, tmp_path / "out", speed=speed, write_poses=True)
    metric = done.segments[-1]
    assert (metric.unit, metric.scale_source) == ("metric", "speed")
    # The median: single live steps hold what a keyframe moves the newest pose by.
    centres = load_tum(tmp_path / "out" / "trajectory_tum_1.txt").positions
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    assert len(centres) == metric.poses
    assert np.median(steps) == pytest.approx(STEP, rel=0.1)
    assert load_poses_note(folder, FRAMES).unit == "metric"
    score = depthkit.evaluate.odometry(folder / "poses.txt", room / "poses.txt", align="7dof").score
    assert score.aligned.similarity.scale == pytest.approx(1, abs=0.1) and score.coverage == 1


def test_a_network_of_pairs_sees_metres_by_the_odometry(room, tmp_path):
    """From a video to metric depth: motion and speed are all that is known."""
    words = {"poses": "odometry", "speed": 10 * STEP, "threads": 1}
    done = depthkit.infer("sweepnet-stillbox", room, tmp_path / "out", **words)
    assert done.scale == "metric" and 0.3 < done.coverage < 1
    score = depthkit.evaluate.depth(tmp_path / "out", room).report
    assert score.abs_rel < 0.4 and score.coverage == pytest.approx(done.coverage)
