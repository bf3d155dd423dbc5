# SPDX-License-Identifier: Apache-2.0
"""Sequence folders: what is written reads back, a failure leaves nothing, damage is named."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from depthkit.camera import Camera
from depthkit.data.sequence import (
    SequenceWriter,
    open_dataset,
    open_sequence,
    write_split,
)
from depthkit.errors import DataError
from depthkit.trajectory import make_pose, quaternion_to_matrix

CAMERA = Camera(32, 24, 20.0, 21.0, 15.5, 11.5)
START = 1341847980.722988
"""An epoch time as TUM has it: microseconds must survive."""


def pose(i: int) -> np.ndarray:
    """A turned and moved camera."""
    R = quaternion_to_matrix([0.1 * i, -0.2, 0.3, 0.9])
    return make_pose(R, np.array([i, 0.5, -1.0]))


def frame(i: int) -> np.ndarray:
    """A picture no other index has."""
    return np.random.default_rng(i).integers(0, 256, (24, 32, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four frames; frame 0 has no pose, depth has a hole."""
    with SequenceWriter(tmp_path / "walk", CAMERA, ext="png", source={"format": "test"}) as writer:
        for i in range(4):
            depth = np.full((24, 32), 1.5 + i, np.float32)
            depth[0, 0] = np.nan
            writer.add_frame(frame(i), START + 0.1 * i, pose(i) if i else None, depth)
    return tmp_path / "walk"


def test_written_sequence_reads_back(folder):
    """Frames, times, depth and camera survive; PNG is exact, depth to half its step."""
    sequence = open_sequence(folder)
    assert (sequence.name, len(sequence), sequence.camera) == ("walk", 4, CAMERA)
    np.testing.assert_array_equal(sequence.read_frame(2), frame(2))
    np.testing.assert_allclose(sequence.times, START + 0.1 * np.arange(4), atol=1e-6)
    depth = sequence.read_depth(3)
    assert depth.dtype == np.float32
    assert depth[0, 0] == 0 and depth[5, 5] == pytest.approx(4.5, abs=5e-4)
    assert sequence.depth_kind == "metric" and sequence.read_valid() is None


def test_frame_without_pose_is_nan(folder):
    """Poses go to the frame of their stamp; a frame without a row stays unknown."""
    poses = open_sequence(folder).poses
    assert np.isnan(poses[0]).all()
    for i in (1, 2, 3):
        np.testing.assert_allclose(poses[i], pose(i), atol=1e-9)


def test_depth_beyond_sixteen_bits_is_unknown(tmp_path):
    """70 m do not fit uint16 at 1000 a metre and must not wrap round."""
    with SequenceWriter(tmp_path / "far", CAMERA) as writer:
        writer.add_frame(frame(0), 0.0, None, np.full((24, 32), 70.0))
    assert (open_sequence(tmp_path / "far").read_depth(0) == 0).all()


def test_valid_mask_reads_back(tmp_path):
    """valid.png is bool, True = use it."""
    valid = np.zeros((24, 32), bool)
    valid[4:20, 5:30] = True
    with SequenceWriter(tmp_path / "scope", CAMERA) as writer:
        writer.add_frame(frame(0), 0.0)
        writer.write_valid(valid)
    np.testing.assert_array_equal(open_sequence(tmp_path / "scope").read_valid(), valid)


def test_failure_while_writing_leaves_nothing(tmp_path):
    """An error inside the block removes the hidden folder and makes no other."""
    with pytest.raises(RuntimeError), SequenceWriter(tmp_path / "walk", CAMERA) as writer:
        writer.add_frame(frame(0), 0.0)
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_sequence_without_frames_is_an_error(tmp_path):
    """Zero images is no success."""
    with pytest.raises(DataError, match="no frames"), SequenceWriter(tmp_path / "walk", CAMERA):
        pass
    assert list(tmp_path.iterdir()) == []


def test_existing_sequence_needs_force(folder):
    """Without force the old frames stay; with it they are replaced."""
    with pytest.raises(DataError, match="--force"), SequenceWriter(folder, CAMERA):
        pass
    assert len(open_sequence(folder)) == 4
    with SequenceWriter(folder, CAMERA, force=True) as writer:
        writer.add_frame(frame(0), 0.0)
    assert len(open_sequence(folder)) == 1
    assert [p.name for p in folder.parent.iterdir()] == ["walk"]


@pytest.mark.parametrize(
    ("image", "time", "depth", "words"),
    [
        (np.zeros((24, 30, 3), np.uint8), 1.0, None, "30x24"),
        (np.zeros((24, 32, 3), np.uint8), 0.0, None, "not after"),
        (np.zeros((24, 32, 3), np.uint8), 1.0, np.ones((24, 32)), "all frames or none"),
    ],
)
def test_frame_that_does_not_fit_is_refused(tmp_path, image, time, depth, words):
    """Size, time and depth must fit the frames before."""
    with pytest.raises(DataError, match=words), SequenceWriter(tmp_path / "walk", CAMERA) as writer:
        writer.add_frame(frame(0), 0.0)
        writer.add_frame(image, time, None, depth)


def edit(folder: Path, **change: object) -> None:
    record = yaml.safe_load((folder / "camera.yaml").read_text())
    (folder / "camera.yaml").write_text(yaml.safe_dump({**record, **change}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "camera.yaml").unlink(), "no camera.yaml"),
        (lambda f: shutil.rmtree(f / "frames"), "no images in frames"),
        (lambda f: (f / "times.txt").unlink(), "cannot read times"),
        (lambda f: (f / "times.txt").write_text("1\n2\n"), "2 times for 4 frames"),
        (lambda f: (f / "times.txt").write_text("1\n2\n2\n3\n"), "finite and rising"),
        (lambda f: (f / "times.txt").write_text("1\n2\nx\n3\n"), "cannot read times"),
        (lambda f: (f / "poses.txt").write_text("5 0 0 0 0 0 0 1\n"), "no frame has the time"),
        (lambda f: edit(f, fx=0.0), "fx and fy must be positive"),
        (lambda f: edit(f, depth_kind="exact"), "depth_kind 'exact'"),
        (lambda f: edit(f, depth_scale=0), "depth_scale must be positive"),
        (
            lambda f: edit(f, model="brown_conrady", distortion=[0.1] * 4),
            "frames must be undistorted",
        ),
    ],
)
def test_damaged_sequence_is_named(folder, damage, words):
    """Each missing or contradicting part is one line that holds the path."""
    damage(folder)
    with pytest.raises(DataError, match=words) as caught:
        open_sequence(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frame_of_another_size_is_named(folder):
    """A frame that was replaced by hand is caught when it is read."""
    cv2.imwrite(str(folder / "frames" / "000001.png"), np.zeros((12, 32, 3), np.uint8))
    with pytest.raises(DataError, match=r"000001.png: image is 32x12, camera.yaml says 32x24"):
        open_sequence(folder).read_frame(1)


def test_truncated_frame_is_an_error_not_grey(folder):
    """OpenCV would fill the missing half with grey."""
    path = folder / "frames" / "000001.png"
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(DataError, match="000001.png: truncated"):
        open_sequence(folder).read_frame(1)


def test_depth_is_asked_for_where_there_is_none(folder):
    """The message names the sequence and the frame."""
    shutil.rmtree(folder / "depth")
    sequence = open_sequence(folder)
    assert not sequence.has_depth
    with pytest.raises(DataError, match="holds no depth"):
        sequence.read_depth(1)


def test_dataset_opens_its_sequences(folder):
    """split.yaml says who is in which part."""
    write_split(folder.parent, train=["walk"], test=["walk"])
    dataset = open_dataset(folder.parent)
    assert (dataset.train, dataset.val, dataset.test) == (("walk",), (), ("walk",))
    assert len(dataset.open("walk")) == 4
    with pytest.raises(DataError, match="no sequence 'run'; it holds walk"):
        dataset.open("run")


def test_sequence_opens_as_a_dataset(folder):
    """A folder that is one sequence trains on itself."""
    dataset = open_dataset(folder)
    assert dataset.train == ("walk",)
    assert dataset.open("walk").root == folder


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("train: [run]", "train names 'run', which is no sequence"),
        ("trian: [walk]", "unknown key 'trian'"),
        ("train: walk", "must be a list"),
        ("train: []", "names no sequence"),
        ("[", "cannot read"),
    ],
)
def test_bad_split_is_named(folder, text, words):
    """Mistakes of a split edited by hand are one line."""
    (folder.parent / "split.yaml").write_text(text)
    with pytest.raises(DataError, match=words):
        open_dataset(folder.parent)


def test_folder_without_split_is_no_dataset(tmp_path):
    """The remedy is named."""
    with pytest.raises(DataError, match="run 'depthkit prepare'"):
        open_dataset(tmp_path)
