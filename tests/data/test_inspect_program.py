# SPDX-License-Identifier: Apache-2.0
"""`depthkit inspect`: its file, its output, and what it says of real data."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from plane_world import make_texture, pose, render, write_sequence
from real_sequences import open_kitti, open_redkitchen

from depthkit.cli import main
from depthkit.data.inspect import inspect_sequence, load_inspection, save_inspection, suggest_shifts
from depthkit.data.sequence import write_split
from depthkit.errors import DataError

TEXTURE = make_texture()
MOVING = [render(TEXTURE, pose(x=0.025 * i)) for i in range(24)]


# --- the file and the program --------------------------------------------------------------------


def test_saved_inspection_reads_back_equal(tmp_path):
    """inspect.json holds the whole record; NaN comes back as NaN."""
    seq = write_sequence(
        tmp_path / "slide", MOVING[:12], poses=[pose(x=0.025 * i) for i in range(12)]
    )
    found = inspect_sequence(seq)
    path = save_inspection(found, seq.root)
    again = load_inspection(seq.root)
    assert path.name == "inspect.json"
    # Not `==`: from Python 3.13 on two records with NaN in them are never equal.
    np.testing.assert_equal(asdict(again), asdict(load_inspection(path)))
    assert again.usable == found.usable and again.suggested_shifts == found.suggested_shifts
    assert again.poses.step_median == pytest.approx(0.025)
    assert np.isnan(again.per_frame[-1].flow_px)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 99}', '{"version": 1, "frames": 3}'])
def test_damaged_inspection_is_one_clear_error(tmp_path, text):
    """Whatever is wrong with the file, the error names it and the remedy."""
    (tmp_path / "inspect.json").write_text(text)
    with pytest.raises(DataError, match=r"inspect\.json: .*inspect"):
        load_inspection(tmp_path)


def test_program_prints_one_object_for_a_data_set(tmp_path, capsys):
    """--json is one object with each sequence; --save leaves a file that loads; exit code 0."""
    write_sequence(tmp_path / "a", MOVING[:12])
    write_sequence(tmp_path / "b", [MOVING[0]] * 12)
    write_split(tmp_path, train=["a"], val=["b"])
    assert main(["inspect", str(tmp_path), "--json", "--save"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["sequences"]["a"]["can_teach"] and not report["sequences"]["b"]["can_teach"]
    assert report["errors"] == {} and report["can_teach"]
    assert load_inspection(tmp_path / "b").faults["duplicate"] == tuple(range(1, 12))


def test_program_prints_a_plain_table_for_one_sequence(tmp_path, capsys):
    """Not a terminal: no escape codes, the verdict and the chosen gap are there."""
    write_sequence(tmp_path / "a", MOVING)
    assert main(["inspect", str(tmp_path / "a")]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert "can teach depth: yes, with shifts [-2, 2]" in text and "2 <" in text


def test_program_refuses_what_is_no_data_set(tmp_path, capsys):
    """An empty folder, an unknown sequence and a broken one end with one line and exit 1."""
    assert main(["inspect", str(tmp_path)]) == 1
    seq = write_sequence(tmp_path / "a", MOVING[:4])
    assert main(["inspect", str(seq.root), "--sequence", "zz"]) == 1
    (seq.root / "times.txt").write_text("0\n1\n")
    assert main(["inspect", str(seq.root)]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 3 and all(line.startswith("depthkit: error: ") for line in lines)


# --- real data -----------------------------------------------------------------------------------


def test_redkitchen_suggests_several_frames(data_root: Path):
    """7.7 mm a frame at about 2 m are 140 * 0.0077 / 2 = 0.54 px at 128 lines; 3 need 6 frames."""
    seq = open_redkitchen(data_root)
    assert 6 <= suggest_shifts(seq)[1] <= 20


def test_kitti_suggests_the_next_frame(data_root: Path):
    """Driving at 10 Hz: one frame is enough, and the poses agree with the tracks."""
    seq = open_kitti(data_root, first=0, last=60)
    found = inspect_sequence(seq, max_frames=10)
    assert found.suggested_shifts == (-1, 1) == suggest_shifts(seq)
    assert found.poses.rotation_error_deg < 0.1 and found.poses.direction_error_deg < 3
    assert found.poses.findings == () and found.poses.convention == "T_world_cam"
    assert found.poses.step_median == pytest.approx(0.8, abs=0.3)


@pytest.mark.parametrize("factor", [1.0, 1.4])
def test_wrong_focal_length_is_named_on_kitti(data_root: Path, factor: float):
    """In a bend the poses tell the focal length to 5 %; K 1.4 times too long gets a finding."""
    seq = open_kitti(data_root, first=185, last=225)
    camera = replace(seq.camera, fx=seq.camera.fx * factor, fy=seq.camera.fy * factor)
    found = inspect_sequence(replace(seq, camera=camera), max_frames=4).poses
    assert found.focal_ratio == pytest.approx(1 / factor, rel=0.05)
    assert found.convention == "T_world_cam"
    assert ["focal length" in line for line in found.findings] == [True] * (factor != 1.0)


@pytest.mark.parametrize("wrong", ["T_cam_world (inverted)", "T_world_cam with OpenGL axes"])
def test_wrong_pose_convention_is_named_on_kitti(data_root: Path, wrong: str):
    """Poses stored as T_cam_world, or with y up and z back, are recognised as such."""
    seq = open_kitti(data_root, first=185, last=225)
    opengl = seq.poses @ np.diag([1.0, -1.0, -1.0, 1.0])
    poses = np.linalg.inv(seq.poses) if "inverted" in wrong else opengl
    found = inspect_sequence(replace(seq, poses=poses), max_frames=4).poses
    assert found.convention.startswith(wrong) and wrong in found.findings[0]
