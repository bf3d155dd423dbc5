# SPDX-License-Identifier: Apache-2.0
"""Flow in the layouts of Middlebury, KITTI, sequence folders and plain files."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from depthkit.camera import Camera
from depthkit.data.flow_files import write_flow
from depthkit.data.flow_pairs import find_flow_pairs, leaves_picture
from depthkit.data.sequence import SequenceWriter, write_split
from depthkit.data.truth import FrameTruth
from depthkit.errors import DataError

SIZE = (4, 6)


def make_flow(path: Path, u: float = 0.0, *, unknown: int | None = None) -> None:
    """Write even flow to the right, one row of it unknown."""
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = u
    if unknown is not None:
        flow[unknown] = np.nan
    path.parent.mkdir(parents=True, exist_ok=True)
    write_flow(path, flow)


def make_picture(path: Path, grey: int = 0) -> None:
    """Write an even picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE, 3), grey, np.uint8))


def make_sequence(root: Path, u: float = 2.0) -> None:
    """Write three frames of 50, 60, 70 with flow u; the first row is hidden, the second moves."""
    hidden, moving = np.zeros((2, *SIZE), bool)
    hidden[0], moving[1] = True, True
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[..., 0] = u
    with SequenceWriter(root, Camera(6, 4, 5.0, 5.0, 2.5, 1.5), ext="png") as writer:
        for i in range(3):
            last = i == 2
            truth = FrameTruth(None if last else flow, None if last else hidden, moving=moving)
            rgb = np.full((*SIZE, 3), 50 + 10 * i, np.uint8)
            writer.add_frame(rgb, 0.1 * i, truth=truth)


def test_sequence_gives_frames_hidden_and_moving(tmp_path: Path) -> None:
    """Two of three frames have flow; what flows out of the picture has no partner either."""
    make_sequence(tmp_path / "s")
    for place in ("s", "s/flow"):
        pairs = find_flow_pairs(tmp_path / place)
        assert list(pairs) == ["000000", "000001"]
        first, second = pairs["000001"].read_frames()
        assert (first == 60).all() and (second == 70).all()
        truth = pairs["000001"].read_truth()
        assert (truth.flow[..., 0] == 2).all()
        assert truth.moving[1].all() and truth.moving.sum() == 6
        assert truth.occluded[0].all() and truth.occluded[:, 4:].all()
        assert truth.occluded.sum() == 6 + 3 * 2


def test_flow_outside_valid_is_unknown(tmp_path: Path) -> None:
    """What valid.png leaves out of the image has no truth."""
    make_sequence(tmp_path / "s")
    mask = np.full(SIZE, 255, np.uint8)
    mask[3] = 0
    cv2.imwrite(str(tmp_path / "s/valid.png"), mask)
    truth = find_flow_pairs(tmp_path / "s")["000000"].read_truth()
    assert np.isnan(truth.flow[3]).all() and np.isfinite(truth.flow[:3]).all()


def test_data_set_gives_its_test_sequences(tmp_path: Path) -> None:
    """Maps are named SEQUENCE/FRAME; sequences that are trained on are left out."""
    for name in ("a", "b", "c"):
        make_sequence(tmp_path / name)
    write_split(tmp_path, ["a"], [], ["b"])
    assert list(find_flow_pairs(tmp_path)) == ["b/000000", "b/000001"]
    (tmp_path / "split.yaml").unlink()
    assert len(find_flow_pairs(tmp_path)) == 6


@pytest.mark.parametrize("images", ["image_2", "colored_0", "image_0"])
def test_kitti_splits_seen_from_occluded(images: str, tmp_path: Path) -> None:
    """Occluded is what flow_occ knows and flow_noc does not; obj_map above 0 moves."""
    make_flow(tmp_path / "flow_occ/000007_10.png", 1.5, unknown=0)
    make_flow(tmp_path / "flow_noc/000007_10.png", 1.5, unknown=2)
    make_picture(tmp_path / images / "000007_10.png", 30)
    make_picture(tmp_path / images / "000007_11.png", 40)
    objects = np.zeros(SIZE, np.uint8)
    objects[1, 1] = 3
    (tmp_path / "obj_map").mkdir()
    cv2.imwrite(str(tmp_path / "obj_map/000007_10.png"), objects)
    (pair,) = find_flow_pairs(tmp_path).values()
    assert pair.name == "000007_10"
    assert [frame.max() for frame in pair.read_frames()] == [30, 40]
    truth = pair.read_truth()
    assert np.isnan(truth.flow[0]).all() and np.isfinite(truth.flow[1:]).all()
    assert truth.occluded[2].all() and not truth.occluded[[1, 3]].any()
    assert np.argwhere(truth.moving).tolist() == [[1, 1]]


def test_middlebury_finds_its_frames_in_either_folder(tmp_path: Path) -> None:
    """Frames lie beside the flow, or in other-data as they are downloaded; names are scenes."""
    make_flow(tmp_path / "other-gt-flow/Grove2/flow10.flo", 1.0, unknown=1)
    for number in (10, 11):
        make_picture(tmp_path / f"other-data/Grove2/frame{number}.png", number)
    (pair,) = find_flow_pairs(tmp_path / "other-gt-flow").values()
    assert pair.name == "Grove2"
    assert [frame.max() for frame in pair.read_frames()] == [10, 11]
    truth = pair.read_truth()
    assert np.isnan(truth.flow[1]).all() and truth.occluded is None and truth.moving is None
    shutil.copytree(tmp_path / "other-data/Grove2", tmp_path / "all/Grove2")
    shutil.copy(pair.flow, tmp_path / "all/Grove2")
    assert find_flow_pairs(tmp_path / "all")["Grove2"].read_frames()[1].max() == 11


def test_plain_folders_are_predictions_of_any_of_these(tmp_path: Path) -> None:
    """NAME, flow/NAME and FOLDER/NAME; pictures beside .flo are not flow."""
    for name in ("2", "10"):
        make_flow(tmp_path / f"flat/{name}.flo")
    make_picture(tmp_path / "flat/view.png")
    make_flow(tmp_path / "out/flow/000000.png")
    make_flow(tmp_path / "deep/a/000000.png")
    make_flow(tmp_path / "deep/b/flow/000000.flo")
    assert list(find_flow_pairs(tmp_path / "flat")) == ["2", "10"]
    assert list(find_flow_pairs(tmp_path / "out")) == ["000000"]
    assert list(find_flow_pairs(tmp_path / "deep")) == ["a/000000", "b/000000"]


def test_what_is_no_flow_is_one_line(tmp_path: Path) -> None:
    """No folder, an empty one, frames that are not there, masks of another size."""
    with pytest.raises(DataError, match="none: no such folder"):
        find_flow_pairs(tmp_path / "none")
    with pytest.raises(DataError, match="holds no flow"):
        find_flow_pairs(tmp_path)
    make_flow(tmp_path / "a/x.flo")
    with pytest.raises(DataError, match="the frames of this flow are not beside it"):
        find_flow_pairs(tmp_path / "a")["x"].read_frames()
    make_sequence(tmp_path / "s")
    cv2.imwrite(str(tmp_path / "s/moving/000000.png"), np.zeros((3, 3), np.uint8))
    with pytest.raises(DataError, match=r"moving/000000.png: \(3, 3\) pixels"):
        find_flow_pairs(tmp_path / "s")["000000"].read_truth()


def test_leaving_the_picture_by_hand() -> None:
    """The last column's pixel ends at 5.5: from 3, 2.4 to the right lie inside, 2.5 do not."""
    flow = np.zeros((*SIZE, 2), np.float32)
    flow[0, 3, 0], flow[1, 3, 0] = 2.4, 2.5
    flow[2, 0, 0], flow[0, 1, 1], flow[3, 3, 1] = -0.5, -1, 0.5
    flow[1, 1] = np.nan
    assert np.argwhere(leaves_picture(flow)).tolist() == [[0, 1], [1, 3], [2, 0], [3, 3]]
