# SPDX-License-Identifier: Apache-2.0
"""Folders of pictures with homographies: both layouts, and what is missing is said in one line."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from depthkit.data.homography_pairs import find_homography_pairs
from depthkit.errors import DataError

H = np.array([[2.0, 0, 10], [0, 2, 0], [0, 0, 2]])


def make_scene(folder: Path, picture: str, truth: str) -> Path:
    """Write three pictures and two homographies; both names hold {} for the number."""
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        shape = (20, 30) if picture.endswith("pgm") else (20, 30, 3)
        image = np.full(shape, number, np.uint8)
        cv2.imwrite(str(folder / picture.format(number)), image)
    for number in (2, 3):
        np.savetxt(folder / truth.format(number), H * number)
    return folder


@pytest.mark.parametrize(
    ("picture", "truth"),
    [
        ("{}.ppm", "H_1_{}"),
        ("img{}.jpg", "H1to{}p"),
        ("{}.pgm", "H_1_{}.txt"),
        ("img{}.png", "H1to{}p"),
    ],
)
def test_both_layouts_are_found(tmp_path: Path, picture: str, truth: str) -> None:
    """Scenes in natural order, pairs from the first picture, homographies with 1 at the end."""
    for scene in ("v_10", "v_2"):
        make_scene(tmp_path / scene, picture, truth)
    pairs = find_homography_pairs(tmp_path)
    assert [(pair.scene, pair.name) for pair in pairs] == [
        ("v_2", "1-2"),
        ("v_2", "1-3"),
        ("v_10", "1-2"),
        ("v_10", "1-3"),
    ]
    assert np.array_equal(pairs[0].H_second_first, [[1, 0, 5], [0, 1, 0], [0, 0, 1]])
    first, second = pairs[1].read_pictures()
    assert first.shape == second.shape == (20, 30, 3)
    assert len(find_homography_pairs(tmp_path / "v_2")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no homography of picture 3; expected H_1_3 or H1to3p"),
        ("1 2 3", "expected 3x3 numbers, found 3"),
        ("one", "expected 3x3 numbers, found other text"),
        ("1 2 3 2 4 6 0 0 1", "are no homography"),
        ("1 0 0 0 1 0 0 0 nan", "are no homography"),
    ],
)
def test_a_bad_homography_is_one_line(tmp_path: Path, text: str | None, message: str) -> None:
    """The line names the file or the picture."""
    scene = make_scene(tmp_path / "wall", "{}.png", "H_1_{}")
    (scene / "H_1_3").unlink()
    if text is not None:
        (scene / "H_1_3").write_text(text)
    with pytest.raises(DataError, match=message):
        find_homography_pairs(tmp_path)


def test_what_is_no_scene_is_said(tmp_path: Path) -> None:
    """No folder, a file, a folder of other things, a scene of one picture."""
    with pytest.raises(DataError, match="no such folder"):
        find_homography_pairs(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is a file"):
        find_homography_pairs(tmp_path / "file")
    scene = make_scene(tmp_path / "wall", "{}.png", "H_1_{}")
    for number in (2, 3):
        (scene / f"{number}.png").unlink()
    with pytest.raises(DataError, match="holds no scene"):
        find_homography_pairs(tmp_path)
