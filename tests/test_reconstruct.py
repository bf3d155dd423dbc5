# SPDX-License-Identifier: Apache-2.0
"""`depthkit reconstruct`: what it writes and says of a path and depth that are known by hand."""

import errno
import json
import math
import os
import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from fake_odometry import FakeOdometry

import depthkit
from depthkit.cli import main
from depthkit.data.calibrated_stream import open_calibrated
from depthkit.data.image_io import encode
from depthkit.data.sequence import Sequence, open_sequence
from depthkit.data.stream import FrameStream
from depthkit.outputs.depth_folder import DepthFolder, open_depth_maps
from depthkit.pipelines.odometry import follow
from depthkit.pipelines.reconstruct import depth as depth_pass
from depthkit.pipelines.reconstruct import frames as camera_search
from depthkit.pipelines.reconstruct import report
from depthkit.rigid import inverse
from depthkit.runtime.odometry import focal_search
from depthkit.runtime.odometry.focal_search import FoundFocal
from depthkit.runtime.result import DepthResult, ScaleState
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import load_tum

FRAMES, SIZE = 12, (48, 64)
SPEED = ScaleState("observed", "speed", 0.02)
SIGMA = 0.02


class TrueDepth:
    """Answers with the truth of a sequence, times a unit; counts what it was asked."""

    def __init__(self, sequence: Sequence, unit: float = 1.0, reason: str = "") -> None:
        self.sequence, self.unit, self.reason = sequence, unit, reason
        self.resets, self.motions = 0, []

    def reset(self) -> None:
        """Forget all frames."""
        self.resets += 1

    def process(self, rgb, *, stamp, K, motion) -> DepthResult:
        """Take the next frame; the first one has nothing to compare with."""
        self.motions.append(motion)
        i = int(np.argmin(np.abs(self.sequence.times - stamp)))
        reason = self.reason or ("no earlier frame" if len(self.motions) == 1 else "")
        depth = None if reason else self.sequence.read_depth(i) * np.float32(self.unit)
        sigma = None if depth is None else np.full(depth.shape, SIGMA, np.float32)
        scale = "metric" if motion.metric else "relative"
        valid = None if depth is None else depth > 0
        return DepthResult(
            depth, valid, None, K, scale, "the truth", stamp, reason=reason, sigma=sigma
        )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small room, filmed."""
    root = tmp_path_factory.mktemp("world") / "room"
    write_box_sequence(root, FRAMES, SIZE, 0)
    return root


@pytest.fixture
def room(made) -> Sequence:
    """The sequence, opened."""
    return open_sequence(made)


def put_in(monkeypatch, odometry: FakeOdometry, depth: TrueDepth) -> None:
    """Put a path and depth that are known in the place of the real ones."""
    monkeypatch.setattr(follow, "make_odometry", lambda sources, **words: odometry)
    monkeypatch.setattr(depth_pass, "make_depth_source", lambda stream: depth)


@pytest.fixture
def put(monkeypatch):
    """Put a known path and depth in place, and spare the plots, which take longest."""
    monkeypatch.setattr(report, "_path_sections", lambda *_: [])
    return lambda odometry, depth: put_in(monkeypatch, odometry, depth)


@pytest.fixture(scope="module")
def whole(made, tmp_path_factory):
    """A reconstruction in metres, plots and all: its folder and its summary."""
    sequence, out = open_sequence(made), tmp_path_factory.mktemp("whole") / "out"
    with pytest.MonkeyPatch.context() as monkeypatch:
        put_in(monkeypatch, FakeOdometry(sequence, state=SPEED), TrueDepth(sequence))
        return out, depthkit.reconstruct(made, out, speed=3.0)


def reconstruct(*words) -> int:
    return main(["reconstruct", *map(str, words)])


def read_ply_vertices(path) -> np.ndarray:
    """Positions of a binary PLY with colours. (N, 3)"""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    count = int(next(line for line in header.split(b"\n") if b"element vertex" in line).split()[2])
    rows = np.frombuffer(body, np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)]), count)
    return rows["xyz"]


def test_a_known_room_becomes_its_own_surface(room, put, tmp_path, capsys):
    """Metres by speed: depth is the truth, and every vertex of the mesh lies on a wall or a box."""
    source = TrueDepth(room)
    put(FakeOdometry(room, state=SPEED), source)
    out = tmp_path / "out"
    assert reconstruct(room.root, "--out", out, "--speed", 3, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["frames"], summary["poses"]) == (FRAMES, FRAMES)
    assert summary["depth_frames"] == FRAMES - 1  # the first has nothing to compare with
    assert (summary["scale"], summary["scale_source"]) == ("metric", "speed")
    assert summary["camera"]["origin"] == "calibration"
    assert all((out / where).exists() for where in summary["files"].values())
    assert os.listdir(tmp_path) == ["out"]
    maps = open_depth_maps(out)
    assert np.allclose(maps.read("000005"), room.read_depth(5), atol=1e-3)
    poses = load_tum(out / "trajectory_tum.txt").T_world_cam
    assert np.allclose(poses, inverse(room.poses[0]) @ room.poses, atol=1e-6)
    # The mesh, seen by a camera of the path, has the depth of that frame: within a voxel.
    part = summary["segments"][0]
    points = read_ply_vertices(out / "mesh.ply") @ inverse(poses[6])[:3, :3].T
    points = points + inverse(poses[6])[:3, 3]
    pixels = points @ room.camera.K.T
    ahead = points[:, 2] > 0.3
    u, v = np.rint(pixels[ahead, :2] / pixels[ahead, 2:]).astype(int).T
    inside = (u >= 0) & (u < SIZE[1]) & (v >= 0) & (v < SIZE[0])
    away = points[ahead][inside, 2] - room.read_depth(6)[v[inside], u[inside]]
    assert inside.sum() > 500 and np.median(np.abs(away)) < part["voxel"]
    assert all(motion.metric and motion.expected for motion in source.motions)


def test_glb_holds_the_mesh(whole):
    """The GLB is a glTF 2.0 of one mesh with as many vertices as the summary says."""
    out, summary = whole
    data = (out / "mesh.glb").read_bytes()
    magic, version, length, size, kind = struct.unpack("<4sIIII", data[:20])
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), 0x4E4F534A)
    scene = json.loads(data[20 : 20 + size])
    assert scene["accessors"][0]["count"] == summary.main.vertices > 100
    assert scene["accessors"][3]["count"] == 3 * summary.main.faces
    assert depthkit.load_record(depthkit.ReconstructSummary, out / "summary.json") == summary


def test_report_says_what_is_metric_and_loads_nothing(whole):
    """The page holds the words, the 3-D view and all pictures, and asks no other place."""
    page = (whole[0] / "report.html").read_text()
    for words in (
        "Metres: depth, path and surface are in metres, by speed, +- 2 %",
        "What failed or is weak: 1 of 12 frames with a pose have no depth: no earlier frame (1).",
        "The scene stood still.",
        "those of the first camera",
        "webgl2",
        "state of the scale",
    ):
        assert words in page
    for word in ("http://", "https://", "src='/", "import("):
        assert word not in page
    assert page.count("data:image/") == 5  # from above, strip, sheet, path, states


def test_without_a_scale_nothing_is_called_metres(room, put, tmp_path, capsys):
    """A relative path gives relative depth, and the words say how to get metres."""
    put(FakeOdometry(room, unit=0.1), TrueDepth(room, unit=0.1))
    out = tmp_path / "out"
    assert reconstruct(room.root, "--out", out) == 0
    text = capsys.readouterr().out
    assert "Not metres" in text and "--camera-height" in text and "lengths: relative" in text
    assert "scale: relative" in (out / "depth" / "depth.yaml").read_text()
    assert "metres" not in (out / "mesh.ply").read_bytes()[:400].decode("latin-1")


def test_same_input_gives_the_same_bytes(room, put, whole, tmp_path):
    """Surface, path and video do not depend on the run."""
    put(FakeOdometry(room, state=SPEED), TrueDepth(room))
    depthkit.reconstruct(room.root, tmp_path / "out", speed=3.0)
    for file in ("mesh.glb", "mesh.ply", "cloud.ply", "trajectory_tum.txt", "video.mp4"):
        assert (tmp_path / "out" / file).read_bytes() == (whole[0] / file).read_bytes()


def test_each_segment_has_a_world_of_its_own(room, put, tmp_path, monkeypatch, capsys):
    """A lost frame parts the path: the larger part is in the folder, the other in segments/."""
    monkeypatch.setattr(depth_pass, "LEAST_FRAMES", 3)
    source = TrueDepth(room)
    put(FakeOdometry(room, lost=(4,)), source)
    out = tmp_path / "out"
    assert reconstruct(room.root, "--out", out, "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    parts = summary["segments"]
    assert [(one["number"], one["poses"]) for one in parts] == [(1, 7), (0, 4)]
    assert source.resets == 1 and len(source.motions) == 11  # the lost frame is not asked for
    assert parts[1]["folder"] == "segments/0" and (out / "segments/0/mesh.ply").is_file()
    assert len(open_depth_maps(out).files) == 7 and "trajectory_1" in summary["files"]
    assert any("broke into 2 segments" in one for one in summary["failed"])
    assert any("too dark" in one for one in summary["failed"])


def test_no_depth_at_all_is_one_line(room, put, tmp_path, capsys):
    """A camera that only turns: the reason is named, exit 1, and no folder is left."""
    put(FakeOdometry(room), TrueDepth(room, reason="no past frame has parallax"))
    assert reconstruct(room.root, "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no frame has depth; no past frame has parallax" in error and "only turns" in error
    assert os.listdir(tmp_path) == []


def test_a_still_camera_is_one_line(tmp_path, capsys):
    """Frames of one place have no pose and no depth: said in one line, nothing written."""
    rng = np.random.default_rng(0)
    grain = cv2.resize(rng.integers(0, 255, (30, 40, 3), np.uint8), (160, 120))
    (tmp_path / "still").mkdir()
    for i in range(6):
        (tmp_path / "still" / f"{i}.png").write_bytes(encode(grain, "png"))
    assert reconstruct(tmp_path / "still", "--fov", 60, "--out", tmp_path / "out") == 1
    assert "no frame has a pose" in capsys.readouterr().err.splitlines()[-1]
    assert os.listdir(tmp_path) == ["still"]


def test_a_single_picture_is_one_line(room, tmp_path, capsys):
    """One picture has no motion: the line asks for a video."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "a.png").write_bytes(encode(room.read_frame(0), "png"))
    for source in (folder, folder / "a.png"):
        assert reconstruct(source, "--out", tmp_path / "out") == 1
        error = capsys.readouterr().err
        assert "needs a video" in error and error.count("\n") == 1
    assert os.listdir(tmp_path) == ["one"]


def test_a_full_disk_leaves_nothing(room, put, tmp_path, monkeypatch, capsys):
    """The disk fills in the middle: one line, and neither a folder nor a hidden one."""
    put(FakeOdometry(room), TrueDepth(room))
    add, count = DepthFolder.add, []

    def fill(self, name, depth):
        count.append(name)
        if len(count) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{name}.png")
        return add(self, name, depth)

    monkeypatch.setattr(DepthFolder, "add", fill)
    assert reconstruct(room.root, "--out", tmp_path / "out") == 1
    assert "no space left" in capsys.readouterr().err.splitlines()[-1]
    assert os.listdir(tmp_path) == []


def test_only_its_own_folder_is_replaced(room, put, tmp_path, capsys):
    """Without --force nothing is replaced; with it, no folder that it did not write."""
    put(FakeOdometry(room), TrueDepth(room))
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    assert reconstruct(room.root, "--out", out) == 1
    assert "use --force" in capsys.readouterr().err
    assert reconstruct(room.root, "--out", out, "--force") == 1
    assert "holds something else" in capsys.readouterr().err
    (out / "thesis.tex").unlink()
    out.rmdir()
    assert reconstruct(room.root, "--out", out) == 0
    put(FakeOdometry(room), TrueDepth(room))
    assert reconstruct(room.root, "--out", out, "--force") == 0


def film(folder, sequence: Sequence):
    """Write the frames as pictures without a calibration."""
    folder.mkdir()
    for i in range(len(sequence)):
        (folder / f"{i:03d}.png").write_bytes(encode(sequence.read_frame(i), "png"))
    return folder


@pytest.mark.parametrize("known", [True, False])
def test_an_unknown_camera_is_found_or_assumed_aloud(
    room, put, tmp_path, monkeypatch, capsys, known
):
    """Without a calibration the focal length is that of the tracks with its sigma, or assumed."""
    answer = FoundFocal(0.9, 0.04, 5) if known else FoundFocal(0.8, None, 1, "it only turns")
    monkeypatch.setattr(focal_search, "search_focal", lambda frames, times: answer)
    odometry = FakeOdometry(room)
    put(odometry, TrueDepth(room))
    odometry.sequence = _with_times(room, np.arange(FRAMES) / 30.0)
    depth_source = TrueDepth(odometry.sequence)
    put(odometry, depth_source)
    words = (film(tmp_path / "film", room), "--out", tmp_path / "out", "--json")
    assert reconstruct(*words) == 0
    captured = capsys.readouterr()
    camera = json.loads(captured.out)["camera"]
    assert camera["focal"] == pytest.approx(64 * answer.focal)
    assert camera["field_of_view"] == pytest.approx(
        math.degrees(2 * math.atan(0.5 / answer.focal)), abs=0.01
    )
    assert camera["origin"] == ("tracks" if known else "assumed")
    assert camera["sigma"] == answer.sigma
    said = "found from the motion of points, 58 px +- 4 %" if known else "is ASSUMED"
    assert said in captured.err and said in json.loads(captured.out)["assumed"][0]
    assert odometry.told[0][1][0, 0] == pytest.approx(64 * answer.focal)


def _with_times(sequence: Sequence, times: np.ndarray) -> Sequence:
    return replace(sequence, times=times)


def test_a_field_of_view_is_taken_as_given(room, put, tmp_path):
    """--fov is no search: 64 pixels at 90 degrees have a focal length of 32."""
    odometry = FakeOdometry(_with_times(room, np.arange(FRAMES) / 30.0))
    put(odometry, TrueDepth(odometry.sequence))
    summary = depthkit.reconstruct(film(tmp_path / "film", room), tmp_path / "out", fov=90.0)
    assert (summary.camera.origin, summary.camera.focal) == ("field of view", 32.0)
    assert summary.camera.sigma is None


def test_frames_are_resized_with_their_camera(room, put, tmp_path):
    """--size halves pixels and K alike: the focal length halves, the view stays."""
    odometry = FakeOdometry(room)
    half = TrueDepth(room)
    process = half.process

    def small(rgb, *, stamp, K, motion):
        assert rgb.shape == (24, 32, 3)
        result = process(rgb, stamp=stamp, K=K, motion=motion)
        if result.depth is None:
            return result
        parts = {name: getattr(result, name)[::2, ::2] for name in ("depth", "valid", "sigma")}
        return replace(result, **parts)

    half.process = small
    put(odometry, half)
    summary = depthkit.reconstruct(room.root, tmp_path / "out", size=(24, 32))
    assert summary.camera.focal == pytest.approx(0.5 * room.camera.fx, abs=0.01)
    assert open_depth_maps(tmp_path / "out").read("000003").shape == (24, 32)


def test_long_stretches_are_looked_at_ten_times_a_second():
    """The search takes every third frame of 30 a second, and a second stretch of a long video."""
    long, short = (FrameStream(Path(), None, np.arange(n) / 30.0, (), list) for n in (900, 100))
    assert camera_search._step(long) == 3
    assert (camera_search._starts(long), camera_search._starts(short)) == ([0, 270], [0])


def test_a_video_in_which_nothing_is_known_is_still_opened(room, tmp_path):
    """A source without a camera opens where none is required, and is refused where one is."""
    folder = film(tmp_path / "film", room)
    assert open_calibrated(folder, required=False).camera is None
    with pytest.raises(depthkit.DepthkitError, match="calibration missing"):
        open_calibrated(folder)
    guessed = open_calibrated(folder, fov=90.0, required=False).camera
    assert (guessed.fx, guessed.cx) == (pytest.approx(32), 31.5)
