# SPDX-License-Identifier: Apache-2.0
"""`depthkit odometry`: what it writes and says of an odometry whose answers are known by hand."""

import csv
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from fake_odometry import FakeOdometry

import depthkit
from depthkit.cli import main
from depthkit.data.image_io import encode
from depthkit.data.poses_note import load_poses_note
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.data.stream import open_stream
from depthkit.pipelines.odometry import follow
from depthkit.rigid import inverse
from depthkit.runtime.result import ScaleState
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import load_kitti, load_tum

FRAMES, SIZE = 10, (48, 64)
SPEED = ScaleState("observed", "speed", 0.02)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A small synthetic sequence."""
    root = tmp_path_factory.mktemp("world") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture
def room(made) -> Sequence:
    """The sequence, opened."""
    return open_sequence(made)


@pytest.fixture
def fake(monkeypatch):
    """Put an odometry in the place of the real one, and return it with the settings it got."""

    def put(one: FakeOdometry) -> dict:
        settings = {}

        def make(sources, **words):
            settings.update(words, sources=sources)
            return one

        monkeypatch.setattr(follow, "make_odometry", make)
        return settings

    return put


def odometry(*words) -> int:
    return main(["odometry", *map(str, words)])


def from_first(poses: np.ndarray) -> np.ndarray:
    return inverse(poses[0]) @ poses


def test_one_segment_gives_every_frame_its_pose(room, fake, tmp_path, capsys):
    """Live poses are those published, the first frame's included; sigmas stand beside them."""
    fake(FakeOdometry(room, state=SPEED))
    out = tmp_path / "out"
    assert odometry(room.root, "--out", out, "--speed", 3, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    live = load_tum(out / "trajectory_tum.txt")
    assert np.allclose(live.T_world_cam, from_first(room.poses), atol=1e-9)
    assert np.allclose(live.stamps, room.times)
    assert (summary["frames"], summary["poses"], summary["coverage"]) == (FRAMES, FRAMES, 1)
    length = np.linalg.norm(np.diff(room.poses[:, :3, 3], axis=0), axis=1).sum()
    assert summary["path_length"] == pytest.approx(length, rel=1e-9)
    assert (summary["path_scale"], summary["scale_source"]) == ("metric", "speed")
    assert len(load_tum(out / "trajectory_smoothed_tum.txt")) == FRAMES
    with (out / "poses.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == FRAMES and rows[0]["sigma_position"] == ""
    assert float(rows[1]["sigma_position"]) == pytest.approx(0.3)  # 0.01 + 0.04 + 0.04 = 0.3^2
    assert float(rows[1]["sigma_rotation_deg"]) == pytest.approx(np.rad2deg(3e-3), rel=1e-4)
    assert (rows[1]["scale_state"], rows[1]["tracks"]) == ("observed", "2")
    assert all((out / where).exists() for where in summary["files"].values())
    assert os.listdir(tmp_path) == ["out"]


def test_summary_reads_back(room, fake, tmp_path):
    """The record of Python is the one of the file."""
    fake(FakeOdometry(room, lost=(4,)))
    done = depthkit.odometry(room.root, tmp_path / "out")
    again = depthkit.load_record(depthkit.OdometrySummary, tmp_path / "out/summary.json")
    assert again.segments == done.segments and again.losses == done.losses
    assert again.files == done.files


def test_a_lost_frame_makes_two_files_and_is_named(room, fake, tmp_path, capsys):
    """Nothing bridges a loss: two worlds, two files, coverage without the lost frame."""
    fake(FakeOdometry(room, lost=(4,)))
    out = tmp_path / "out"
    assert odometry(room.root, "--out", out) == 0
    text = capsys.readouterr().out
    assert "9 of 10 frames with a pose (90.0 %)" in text and "2 segments" in text
    assert "segment 0: 4 poses, 0.000 to 0.300 s, relative; ended: too dark" in text
    assert "relative (no source of scale: give --speed, --camera-height or an IMU)" in text
    parts = [load_tum(out / f"trajectory_tum{more}.txt") for more in ("", "_1")]
    assert np.allclose(parts[0].T_world_cam, from_first(room.poses[:4]), atol=1e-9)
    assert np.allclose(parts[1].T_world_cam, from_first(room.poses[5:]), atol=1e-9)
    summary = json.loads((out / "summary.json").read_text())
    assert [(one["frames"], one["reason"]) for one in summary["losses"]] == [(1, "too dark")]
    page = (out / "report/index.html").read_text()
    assert "too dark" in page and "Frames without a pose" in page


def test_the_odometry_is_told_what_is_known(room, fake, tmp_path):
    """K, the step by speed, height, gap and loops arrive where they belong."""
    one = FakeOdometry(room)
    settings = fake(one)
    depthkit.odometry(
        room.root, tmp_path / "out", speed=2.0, camera_height=1.5, loops=True, max_gap=0.5
    )
    assert settings["sources"].camera_height == 1.5
    assert (settings["loops"], settings["max_gap"]) == (True, 0.5)
    steps = [motion.displacement for _, _, _, motion in one.told]
    assert steps[0] is None and np.allclose(steps[1:], 0.2)  # 2 m/s, 0.1 s
    assert np.array_equal(one.told[0][1], room.camera.K)


def test_samples_of_an_imu_go_with_their_frame(room, fake, tmp_path):
    """Each frame gets the samples after the one before it; a foreign clock is one line."""
    from depthkit.trajectory.imu import Imu, save_imu

    rows = np.zeros((100, 7))
    rows[:, 0] = np.arange(100) * 0.01 + 0.005
    rows[:, 6] = 9.81
    (tmp_path / "imu").mkdir()
    save_imu(tmp_path / "imu", Imu(rows))
    one = FakeOdometry(room)
    fake(one)
    done = depthkit.odometry(room.root, tmp_path / "out", imu=tmp_path / "imu" / "imu.csv")
    assert done.scale_sources == ("IMU",)
    assert [len(imu) for _, _, imu, _ in one.told] == [0] + [10] * (FRAMES - 1)
    rows[:, 0] += 1e5
    save_imu(tmp_path / "imu", Imu(rows))
    with pytest.raises(depthkit.DepthkitError, match="both need one clock"):
        depthkit.odometry(room.root, tmp_path / "out2", imu=tmp_path / "imu")


def test_points_that_nobody_knows_are_left_out(room, fake, tmp_path):
    """The PLY holds the sure landmark with its colour, and says the unit."""
    fake(FakeOdometry(room, state=SPEED))
    depthkit.odometry(room.root, tmp_path / "out", speed=3.0)
    header, body = (tmp_path / "out/points.ply").read_bytes().split(b"end_header\n")
    assert b"element vertex 1\n" in header and b"metres, by speed (sigma 2 %)" in header
    assert np.frombuffer(body[:12], "<f4").tolist() == [1, 2, 3]
    assert list(body[12:]) == [10, 20, 30]


def test_kitti_keeps_the_index_of_frames(room, fake, tmp_path):
    """With --every the files say which frames they hold."""
    fake(FakeOdometry(room))
    depthkit.odometry(room.root, tmp_path / "out", format="kitti", every=3)
    rows = np.loadtxt(tmp_path / "out/trajectory_kitti.txt")
    assert rows[:, 0].tolist() == [0, 3, 6, 9]
    assert np.allclose(
        load_kitti(tmp_path / "out/trajectory_kitti.txt").T_world_cam,
        from_first(room.poses[::3]),
        atol=1e-9,
    )


def test_kitti_of_a_part_says_which_frames_it_holds(room, fake, tmp_path):
    """The first segment begins with frame 0, and is still not the whole run."""
    fake(FakeOdometry(room, lost=(4,)))
    depthkit.odometry(room.root, tmp_path / "out", format="kitti")
    for more, first in (("", 0), ("_1", 5)):
        rows = np.loadtxt(tmp_path / f"out/trajectory_kitti{more}.txt")
        assert rows.shape[1] == 13 and rows[0, 0] == first


def test_poses_go_into_the_sequence_where_asked(room, fake, tmp_path, capsys):
    """--write-poses fills a sequence without poses, again at will, but no given ones."""
    root = tmp_path / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    fake(FakeOdometry(room, lost=(4,), unit=0.5))
    assert odometry(root, "--out", tmp_path / "out", "--write-poses") == 1
    assert "given with the frames" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (root / "poses.txt").unlink()
    for _ in range(2):
        words = ("--out", tmp_path / "out", "--write-poses", "--force")
        fake(FakeOdometry(room, lost=(4,), unit=0.5))
        assert odometry(root, *words) == 0
    note = load_poses_note(root, FRAMES)
    assert (note.source, note.unit, note.segments) == ("odometry", "up_to_scale", ((0, 3), (5, 9)))
    assert np.isnan(note.sigma_translation[0]) and note.sigma_translation[1] == pytest.approx(0.3)
    poses = open_sequence(root).poses
    assert np.isnan(poses[4]).all() and np.isfinite(poses[[3, 5]]).all()


def pictures(folder: Path, frames: list[np.ndarray]) -> Path:
    folder.mkdir()
    for i, frame in enumerate(frames):
        (folder / f"{i}.png").write_bytes(encode(frame, "png"))
    return folder


def test_pictures_need_a_camera(room, fake, tmp_path, capsys):
    """Without K one line says the remedies; a field of view is one of them."""
    one = FakeOdometry(room)
    fake(one)
    folder = pictures(tmp_path / "in", [room.read_frame(i) for i in range(3)])
    assert odometry(folder, "--out", tmp_path / "out") == 1
    message = capsys.readouterr().err
    assert "--camera FILE" in message and "--fov" in message and message.count("\n") == 1
    assert odometry(folder, "--out", tmp_path / "out", "--fov", 90) == 0
    assert one.told[0][1][0, 0] == pytest.approx(32)  # 64 px wide, 90 degrees


def test_bad_input_is_one_line(room, fake, tmp_path, capsys):
    """One frame, an output that exists, a frame that never moves: one line each, nothing left."""
    fake(FakeOdometry(room, lost=tuple(range(FRAMES))))
    one = pictures(tmp_path / "one", [room.read_frame(0)])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    cases = {
        (one, "--fov", "60", "--out", tmp_path / "a"): "holds 1 frame; odometry needs two or more",
        (room.root, "--out", tmp_path / "b"): "no frame has a pose; too dark",
        (room.root, "--out", tmp_path / "full"): "use --force",
        (room.root, "--out", tmp_path / "full", "--force"): "holds something else (no poses.csv)",
        (room.root, "--fov", "60", "--out", tmp_path / "c"): "a sequence has its own camera.yaml",
        (tmp_path / "none", "--out", tmp_path / "d"): "source not found",
    }
    before = sorted(os.listdir(tmp_path))
    for words, message in cases.items():
        assert odometry(*words) == 1
        error = capsys.readouterr().err.splitlines()
        assert message in error[-1], words
    assert sorted(os.listdir(tmp_path)) == before


def test_pictures_of_16_bit_are_read(room, fake, tmp_path):
    """mono16 frames are mapped to 8 bit, one mapping for all."""
    one = FakeOdometry(room)
    fake(one)
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(4):
        grey = room.read_frame(i).mean(axis=2).astype(np.uint16) * 40 + 1000
        cv2.imwrite(str(folder / f"{i}.png"), grey)
    assert depthkit.odometry(folder, tmp_path / "out", fov=64.0).frames == 4


def test_prepare_finds_the_poses_in_the_frames(room, fake, tmp_path, capsys):
    """`prepare --poses odometry` writes poses.txt and poses.yaml of what it wrote."""
    folder = pictures(tmp_path / "in", [room.read_frame(i) for i in range(FRAMES)])
    settings = fake(FakeOdometry(room, lost=(4,), state=SPEED))
    words = ("--out", tmp_path / "data", "--fov", 64, "--fps", 10, "--name", "mine")
    words = ("prepare", folder, *words, "--poses", "odometry", "--speed", 3)
    assert main([*map(str, words)]) == 0
    shown = capsys.readouterr()
    assert "9 poses" in shown.out
    assert "poses of the odometry: metres; 9 of 10 frames, 2 segments" in shown.err
    assert settings["sources"].speed == 3
    note = load_poses_note(tmp_path / "data/mine", FRAMES)
    assert (note.source, note.unit, note.segments) == ("odometry", "metric", ((0, 3), (5, 9)))
    poses = open_sequence(tmp_path / "data/mine").poses
    assert np.allclose(poses[5:], from_first(room.poses[5:]), atol=1e-9)


def test_prepare_notes_given_poses(room, fake, tmp_path, capsys):
    """Poses of a file are given ones; a source of scale without the odometry is refused."""
    folder = pictures(tmp_path / "in", [room.read_frame(i) for i in range(FRAMES)])
    words = ("prepare", folder, "--out", tmp_path / "data", "--fov", 64, "--fps", 10)
    assert main([*map(str, words), "--poses", str(room.root / "poses.txt")]) == 0
    note = load_poses_note(tmp_path / "data/in", FRAMES)
    assert (note.source, note.unit, note.segments) == ("given", "metric", ((0, 9),))
    assert main([*map(str, words), "--force", "--speed", "3"]) == 1
    assert "speed: is for --poses odometry" in capsys.readouterr().err


@dataclass
class LateScale(FakeOdometry):
    """A scale that is known from the fifth frame on."""

    def process(self, rgb, **words):
        """Answer with the state of the frame."""
        i = int(np.argmin(np.abs(self.sequence.times - words["stamp"])))
        self.state = SPEED if i >= self.late else ScaleState()
        return super().process(rgb, **words)

    late: int = 4


@pytest.mark.parametrize(("late", "unit", "rows"), [(4, "metric", 6), (8, "up_to_scale", 10)])
def test_a_scale_that_comes_late_is_no_metric_path(room, fake, tmp_path, capsys, late, unit, rows):
    """Lengths count where they are metres; poses of one folder have one unit."""
    root = tmp_path / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    (root / "poses.txt").unlink()
    fake(LateScale(room, late=late))
    words = ("--out", tmp_path / "out", "--speed", 3, "--write-poses")
    assert odometry(root, *words) == 0
    shown = capsys.readouterr().out
    assert "metres, by speed (sigma 2 %); frames without a scale are not counted" in shown
    assert f"metres from {room.times[late]:.3f} s on, when speed had shown the scale" in shown
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    steps = np.linalg.norm(np.diff(room.poses[:, :3, 3], axis=0), axis=1)
    assert summary["path_scale"] == "mixed"
    assert summary["path_length"] == pytest.approx(steps[late - 1 :].sum(), rel=1e-9)
    assert load_poses_note(root, FRAMES).unit == unit
    assert np.isfinite(open_sequence(root).poses).all(axis=(1, 2)).sum() == rows


def test_poses_of_a_sequence_that_break_off_are_its_longest_segment(room, fake, tmp_path):
    """A stream of such a folder never holds two worlds, nor metres that are none."""
    root = tmp_path / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    (root / "poses.txt").unlink()
    fake(FakeOdometry(room, lost=(3,)))
    depthkit.odometry(root, tmp_path / "out", write_poses=True)
    stream = open_stream(root)
    assert np.isfinite(stream.poses).all(axis=(1, 2)).tolist() == [False] * 4 + [True] * 6
    assert not stream.metric and "those of the longest are used, 6 of 9" in stream.notes[0]


def test_without_matplotlib_the_report_has_no_plots(room, fake, tmp_path, monkeypatch):
    """The core alone follows a camera; the page says what is missing for its plots."""
    for name in [one for one in sys.modules if one.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    fake(FakeOdometry(room))
    assert depthkit.odometry(room.root, tmp_path / "out").poses == FRAMES
    assert "matplotlib is not installed" in (tmp_path / "out/report/index.html").read_text()


@dataclass
class OneLoop:
    """What a loop closer says after one loop: two keyframes, in a map twice as large."""

    room: Sequence

    @property
    def events(self) -> list:
        """One loop that counts, one that does not."""
        return [SimpleNamespace(kind="closed"), SimpleNamespace(kind="refused")]

    def corrected(self) -> tuple[np.ndarray, np.ndarray]:
        """Similarities of scale 2."""
        poses = self.room.poses[[2, 6]].copy()
        poses[:, :3, :3] *= 2
        return self.room.times[[2, 6]], poses

    def corrected_maps(self) -> np.ndarray:
        """Both lie in one map."""
        return np.zeros(2, int)


def test_keyframes_that_loops_correct_are_a_file_of_their_own(room, fake, tmp_path):
    """Rotations are rotations again, positions stand, and loops that were refused do not count."""
    fake(FakeOdometry(room, loops=OneLoop(room)))
    done = depthkit.odometry(room.root, tmp_path / "out", loops=True)
    assert done.loops == 1
    found = load_tum(tmp_path / "out" / done.files["trajectory_loops"])
    assert np.allclose(found.T_world_cam, room.poses[[2, 6]], atol=1e-9)
