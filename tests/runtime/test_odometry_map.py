# SPDX-License-Identifier: Apache-2.0
"""`odometry --map` as a command: two sessions over one rendered room, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from odometry_flights import K, noisy, pictures, poses, truth

from depthkit.camera import Camera
from depthkit.cli import main
from depthkit.data.poses_note import load_poses_note
from depthkit.data.sequence import open_sequence
from depthkit.runtime.odometry.saved_map_files import load_map, save_map
from depthkit.trajectory import load_tum

BEGIN, END = 12, 26


def sequence(folder: Path, begin: int, end: int) -> Path:
    """Write a part of the flight as a sequence folder; its frames have noise of their own."""
    (folder / "frames").mkdir(parents=True)
    for i, image in enumerate(pictures(poses()[begin:end])):
        name = str(folder / "frames" / f"{i:06d}.png")
        cv2.imwrite(name, cv2.cvtColor(noisy(image, begin + i), cv2.COLOR_RGB2BGR))
    camera = Camera(320, 240, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    lines = [
        f"{key}: {getattr(camera, key)}" for key in ("width", "height", "fx", "fy", "cx", "cy")
    ]
    (folder / "camera.yaml").write_text("\n".join([*lines, "model: pinhole", "depth_kind: none"]))
    times = "\n".join(f"{0.05 * i:.6f}" for i in range(end - begin))
    (folder / "times.txt").write_text(times + "\n")
    return folder


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run two sessions in one map, the second one writes poses into its source."""
    home = tmp_path_factory.mktemp("sessions")
    first, second = sequence(home / "first", 0, 40), sequence(home / "second", BEGIN, END)
    words = ["--map", str(home / "map"), "--json"]
    assert main(["odometry", str(first), "--out", str(home / "a"), *words]) == 0
    words.append("--write-poses")
    assert main(["odometry", str(second), "--out", str(home / "b"), *words]) == 0
    return home


def summary(folder: Path) -> dict:
    """Read what a session says of the map."""
    return json.loads((folder / "summary.json").read_text())["map"]


@pytest.mark.slow
def test_a_new_folder_begins_a_map(sessions: Path) -> None:
    """The first session finds nothing and writes it."""
    said = summary(sessions / "a")
    assert (said["keyframes_before"], said["found"], said["written"]) == (0, None, True)
    assert not (sessions / "a" / "trajectory_map_tum.txt").exists()


@pytest.mark.slow
def test_the_second_session_is_found_and_extends_it(sessions: Path) -> None:
    """From its second frame on; its keyframes are added."""
    said = summary(sessions / "b")
    assert said["found"] == pytest.approx(0.05)
    assert said["sessions"] == 2
    assert said["keyframes"] > said["keyframes_before"]
    assert len(load_map(sessions / "map").views) == said["keyframes"]


@pytest.mark.slow
def test_poses_in_the_map_are_those_of_the_first_session(sessions: Path) -> None:
    """Live ones and those written into the sequence, within 1 % of the depth."""
    there = truth(poses())[BEGIN:END, :3, 3]
    live = load_tum(sessions / "b" / "trajectory_map_tum.txt")
    index = np.rint(live.stamps / 0.05).astype(int)
    assert np.abs(live.T_world_cam[:, :3, 3] - there[index]).max() < 0.01
    found = open_sequence(sessions / "second").poses
    assert found is not None
    known = np.isfinite(found).all(axis=(1, 2))
    assert np.abs(found[known][:, :3, 3] - there[known]).max() < 0.01
    note = load_poses_note(sessions / "second", END - BEGIN)
    assert note is not None
    assert note.frame == f"map {sessions / 'map'}"


@pytest.mark.slow
def test_read_only_leaves_the_map(sessions: Path, tmp_path: Path) -> None:
    """Not a byte of it changes."""
    before = {one.name: one.read_bytes() for one in (sessions / "map").iterdir()}
    words = ["--map", str(sessions / "map"), "--map-read-only"]
    assert main(["odometry", str(sessions / "second"), "--out", str(tmp_path / "c"), *words]) == 0
    assert before == {one.name: one.read_bytes() for one in (sessions / "map").iterdir()}
    assert not summary(tmp_path / "c")["written"]


@pytest.mark.slow
def test_a_map_of_another_camera_is_one_line(
    sessions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any frame is read, and without output."""
    saved = load_map(sessions / "map")
    save_map(tmp_path / "map", replace(saved, camera=replace(saved.camera, fx=400.0)))
    words = ["--out", str(tmp_path / "out"), "--map", str(tmp_path / "map")]
    assert main(["odometry", str(sessions / "second"), *words]) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert "is the map of another camera" in said[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--map-read-only"], "there is no map"),
        (["--map", "new", "--map-read-only"], "no map is there to be read"),
        (["--map", "text"], "is a file"),
        (["--features", "nothing.onnx"], "no such model file"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whatever the frames are."""
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("x")
    assert main(["odometry", "frames", "--out", "out", *words]) == 1
    err = capsys.readouterr().err
    assert said in err
    assert len(err.strip().splitlines()) == 1
