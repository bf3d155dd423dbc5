# SPDX-License-Identifier: Apache-2.0
"""Pairs of pictures of one place: from a sequence, two dates, or single pictures; bad input."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthkit.data.place_loading import (
    PlaceDataset,
    PlaceReading,
    depth_picture,
    paired_source,
    picture_source,
    sequence_source,
)
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import collate
from depthkit.data.snippet_loading import ShuffledBatches
from depthkit.errors import DataError
from depthkit.synth.boxes import write_box_sequence

READING = PlaceReading(size=(40, 48))


def write_pictures(folder: Path, *names: str, value: int = 0) -> Path:
    """Write flat pictures whose grey values count up from a value."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        cv2.imwrite(str(folder / f"{name}.png"), np.full((50, 60, 3), value + 10 * i, np.uint8))
    return folder


def test_two_dates_are_pairs(tmp_path):
    """A and B of one name are one place, whatever the suffix order; others are far from it."""
    write_pictures(tmp_path / "A", "x", "y", "z")
    write_pictures(tmp_path / "B", "x", "y", "z", value=100)
    data = PlaceDataset([paired_source(tmp_path)], READING)
    assert len(data) == 6
    snippet = data[(2, 0)]
    assert snippet.names == (f"{tmp_path.name}/y",)
    assert round(255 * float(snippet.target.mean())) == 10
    assert round(255 * float(snippet.sources.mean())) == 110
    assert snippet.target.shape == (3, 40, 48) and snippet.rasters.numel() == 0
    assert torch.equal(snippet.places[0], snippet.places[1])
    other = data[(0, 0)].places
    assert (other[0, 1:4] - snippet.places[0, 1:4]).norm() > 2 * snippet.places[0, 4]
    assert collate([snippet, data[(0, 0)]]).places.shape == (2, 2, 5)


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        (("x", "y"), ("x", "w"), "w, y has no partner"),
        (("x",), ("x", "y"), "y has no partner"),
    ],
)
def test_names_that_differ_are_refused(tmp_path, first, second, line):
    """In one line that names some."""
    write_pictures(tmp_path / "A", *first)
    write_pictures(tmp_path / "B", *second)
    with pytest.raises(DataError, match=line):
        paired_source(tmp_path)


def test_single_pictures_are_places_of_their_own(tmp_path):
    """Each is its own other view; folders below are searched; one picture cannot teach."""
    write_pictures(tmp_path / "p", "a", "b")
    write_pictures(tmp_path / "p" / "more", "c")
    source = picture_source(tmp_path / "p")
    assert len(source.pictures) == 3 and [s.tolist() for s in source.same] == [[0], [1], [2]]
    snippet = PlaceDataset([source], READING)[(1, 0)]
    assert torch.equal(snippet.target, snippet.sources[0])
    one = picture_source(write_pictures(tmp_path / "one", "a"))
    with pytest.raises(DataError, match="1 pictures with another one of the same place"):
        PlaceDataset([one], READING)
    with pytest.raises(DataError, match="no such folder of pictures"):
        picture_source(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        picture_source(tmp_path / "empty")


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """A rendered room of ten frames with depth."""
    root = tmp_path_factory.mktemp("places") / "room"
    write_box_sequence(root, 10, (48, 64), seed=3)
    return root


def test_a_sequence_draws_another_frame_of_the_place(room):
    """Anew each epoch, the same at each reading, never the frame itself."""
    source = sequence_source(open_sequence(room), overlap=0.3, turned=40)
    data = PlaceDataset([source], READING)
    drawn = {int(data[(4, epoch)].shifts[0]) for epoch in range(12)}
    assert len(drawn) > 1 and 0 not in drawn
    assert {4 + shift for shift in drawn} <= set(source.same[4].tolist())
    assert torch.equal(data[(4, 3)].sources, data[(4, 3)].sources)


def test_a_sequence_of_one_frame_is_refused(tmp_path):
    """There is nothing to compare it with."""
    write_box_sequence(tmp_path / "one", 1, (48, 64), seed=3)
    with pytest.raises(DataError, match="one: no two frames have 30% of the view in common"):
        sequence_source(open_sequence(tmp_path / "one"), overlap=0.3, turned=40)


def test_rasters_come_from_depth_or_a_folder(room, tmp_path):
    """Depth as grey that is 128 at its median; a folder of pictures where there is one; neither is
    one line."""
    reading = PlaceReading(size=(40, 48), rasters=True)
    source = sequence_source(open_sequence(room), overlap=0.3, turned=40)
    rasters = PlaceDataset([source], reading)[(0, 0)].rasters
    assert rasters.shape == (2, 3, 40, 48) and 0.3 < float(rasters.median()) < 0.7
    write_pictures(tmp_path / "A", "x", "y")
    write_pictures(tmp_path / "B", "x", "y")
    with pytest.raises(DataError, match="holds no second modality"):
        PlaceDataset([paired_source(tmp_path)], reading)[(0, 0)]
    for part in "AB":
        write_pictures(tmp_path / f"{part}_raster", "x", "y", value=50)
    rasters = PlaceDataset([paired_source(tmp_path)], reading)[(2, 0)].rasters
    assert round(255 * float(rasters.mean())) == 60
    (tmp_path / "B_raster" / "y.png").unlink()
    with pytest.raises(DataError, match="no raster named y"):
        paired_source(tmp_path)


def test_depth_is_drawn_alike_at_any_scale():
    """The median is 128, half of it 170, unknown 0; metres or millimetres are the same."""
    depth = np.array([[2.0, 1.0, 4.0, 0.0, 2.0]])
    found = depth_picture(depth)[0, :, 0]
    assert found.tolist() == [128, 170, 85, 0, 128]
    np.testing.assert_array_equal(depth_picture(1000 * depth), depth_picture(depth))


def test_hard_positions_take_every_second_place():
    """Half of each batch is drawn from them, the other half stays; without any nothing changes."""
    options = {"batch_size": 6, "steps": range(3), "seed": 1}
    plain = list(ShuffledBatches(30, **options))
    hard = np.arange(20, 25)
    mixed = list(ShuffledBatches(30, **options, hard=hard))
    for before, after in zip(plain, mixed, strict=True):
        assert [i for i, _ in after[::2]] == [i for i, _ in before[::2]]
        chosen = [i for i, _ in after[1::2]]
        assert set(chosen) <= set(hard.tolist()) and len(set(chosen)) == 3
    few = list(ShuffledBatches(30, **options, hard=np.array([7])))
    for before, after in zip(plain, few, strict=True):
        assert after[1][0] == 7 and after[3:] == before[3:]
    assert list(ShuffledBatches(30, **options, hard=np.empty(0, int))) == plain
