# SPDX-License-Identifier: Apache-2.0
"""poses.yaml: what is written is read, and what does not fit is refused in one line."""

import math

import numpy as np
import pytest

from depthkit.data.poses_note import PosesNote, load_poses_note, save_poses_note
from depthkit.errors import DataError


def test_round_trip(tmp_path):
    """All that is written is read again; frames outside of segments are labelled -1."""
    note = PosesNote(
        "odometry",
        "up_to_scale",
        ((0, 2), (4, 5)),
        (0.0, 0.01, 0.02, math.nan, 0.0, 0.5),
        (0.0, 1e-4, 2e-4, math.nan, 0.0, 3e-3),
    )
    save_poses_note(tmp_path, note)
    read = load_poses_note(tmp_path, 6)
    assert (read.source, read.unit, read.segments) == (note.source, note.unit, note.segments)
    np.testing.assert_array_equal(read.sigma_translation, note.sigma_translation)
    np.testing.assert_array_equal(read.sigma_rotation, note.sigma_rotation)
    assert read.labels(7).tolist() == [0, 0, 0, -1, 1, 1, -1]


def test_without_sigmas(tmp_path):
    """Sigmas may be left out, and a folder without the file has no note."""
    assert load_poses_note(tmp_path, 3) is None
    save_poses_note(tmp_path, PosesNote("given", "metric", ((0, 2),)))
    assert "sigma" not in (tmp_path / "poses.yaml").read_text()
    assert load_poses_note(tmp_path, 3).sigma_rotation == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source: gps\nunit: metric\nsegments: [[0, 2]]", "source: expected given or odometry"),
        ("source: given\nunit: feet\nsegments: [[0, 2]]", "unit: expected metric or up_to_scale"),
        ("source: given\nunit: metric\nsegments: [0, 2]", r"expected \[\[first, last\], ...\]"),
        ("source: given\nunit: metric", r"expected \[\[first, last\], ...\], got None"),
        ("source: given\nunit: metric\nsegments: [[0, 1], [1, 2]]", "do not overlap"),
        ("source: given\nunit: metric\nsegments: [[0, 3]]", "frame 3 is beyond the last of 3"),
        ("source: given\nunit: metric\nsegments: [[0, 2]]\nsigmas: 1", "unknown key 'sigmas'"),
        ("source: given\nunit: metric\nsegments: []\nsigma_rotation: [1]", "1 numbers for 3"),
        ("source: given\nunit: metric\nsegments: []\nsigma_rotation: [-1, 0, 0]", "0 or more"),
    ],
)
def test_bad_notes(tmp_path, text, message):
    """Every fault is one line with the file and the key."""
    (tmp_path / "poses.yaml").write_text(text)
    with pytest.raises(DataError, match=message) as error:
        load_poses_note(tmp_path, 3)
    assert "\n" not in str(error.value) and "poses.yaml" in str(error.value)


def test_overlap_is_not_written(tmp_path):
    """Segments that overlap are refused by the writer too."""
    with pytest.raises(DataError, match="do not overlap"):
        save_poses_note(tmp_path, PosesNote("given", "metric", ((0, 5), (3, 8))))
