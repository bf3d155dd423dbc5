# SPDX-License-Identifier: Apache-2.0
"""Known keypoints of frames: their files, the snippet's copy, and what every change does to it."""

import numpy as np
import pytest
import torch

from depthkit.camera import Camera
from depthkit.data.augment import Variation, mirror, vary, zoom_and_crop
from depthkit.data.point_files import read_points, write_points
from depthkit.data.sequence import SequenceWriter, open_sequence
from depthkit.data.snippet import Snippet, collate
from depthkit.data.snippet_loading import MOST_POINTS, SnippetDataset
from depthkit.errors import DataError

CAMERA = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)
SPOT = np.array([[20.0, 14.0], [41.0, 30.0]])


def spots(points: np.ndarray) -> np.ndarray:
    """Draw a soft bright spot at each point. (48, 64, 3) uint8"""
    v, u = np.mgrid[:48, :64]
    light = sum(np.exp(-((u - x) ** 2 + (v - y) ** 2) / 18) for x, y in points)
    return np.repeat((200 * light).astype(np.uint8)[..., None], 3, axis=2)


def make_sequence(path, points=SPOT, frames=2):
    with SequenceWriter(path, CAMERA, depth_kind="none", ext="png") as writer:
        for i in range(frames):
            writer.add_frame(spots(SPOT), float(i), points=points)
    return open_sequence(path)


def brightest(snippet: Snippet, near: torch.Tensor) -> np.ndarray:
    """Return the middle of the light within 4 pixels of each point. (P, 2)"""
    light, found = snippet.target[0].double(), []
    for u, v in near.tolist():
        rows, columns = (torch.arange(round(c) - 4, round(c) + 5) for c in (v, u))
        weight = light[rows][:, columns] ** 4
        total = weight.sum()
        across, down = (weight.sum(0) * columns).sum(), (weight.sum(1) * rows).sum()
        found.append([float(across / total), float(down / total)])
    return np.array(found)


def test_points_survive_the_file(tmp_path):
    """A thousandth of a pixel is kept, and so is a frame without any."""
    points = np.array([[1.25, 2.0], [63.1234, 0.0]])
    write_points(tmp_path / "a.txt", points)
    np.testing.assert_allclose(read_points(tmp_path / "a.txt"), points, atol=5.01e-4)
    write_points(tmp_path / "b.txt", np.zeros((0, 2)))
    assert read_points(tmp_path / "b.txt").shape == (0, 2)


@pytest.mark.parametrize("text", ["1 2 3\n", "1\n", "1 2\n3\n", "a b\n", "nan 1\n"])
def test_damaged_points_are_one_line(tmp_path, text):
    """Anything but two finite numbers a line is refused with the file's name."""
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(DataError, match=r"a\.txt.*write points/ again"):
        read_points(tmp_path / "a.txt")


def test_points_come_with_all_frames_or_none(tmp_path):
    """A frame without its list is refused while writing; a missing file while reading."""
    writer = SequenceWriter(tmp_path / "a", CAMERA, depth_kind="none", ext="png")
    with pytest.raises(DataError, match="points must come with all"), writer:
        writer.add_frame(spots(SPOT), 0.0, points=SPOT)
        writer.add_frame(spots(SPOT), 1.0)
    sequence = make_sequence(tmp_path / "b")
    (sequence.root / "points/000001.txt").unlink()
    with pytest.raises(DataError, match="cannot read points"):
        sequence.read_points(1)


def test_snippet_holds_points_and_fills_up(tmp_path):
    """Rows of the file first, NaN up to the fixed number; without points no row at all."""
    sequence = make_sequence(tmp_path / "a")
    snippet = SnippetDataset([sequence], shifts=(), size=(48, 64))[0, 0]
    assert snippet.points.shape == (MOST_POINTS, 2) and snippet.points.dtype == torch.float32
    np.testing.assert_allclose(snippet.points[:2], SPOT, atol=1e-3)
    assert snippet.points[2:].isnan().all()
    assert collate([snippet, snippet]).points.shape == (2, MOST_POINTS, 2)
    bare = make_sequence(tmp_path / "b", points=None)
    assert SnippetDataset([bare], shifts=(), size=(48, 64))[0, 0].points.shape == (0, 2)
    both = SnippetDataset([bare, sequence], shifts=(), size=(48, 64))
    assert both[0, 0].points.isnan().all() and both[0, 0].points.shape == (MOST_POINTS, 2)


def test_more_points_than_fit_keep_the_first(tmp_path):
    """The list is cut at the fixed number."""
    many = np.stack([np.linspace(0, 63, 600), np.full(600, 5.0)], axis=1)
    sequence = make_sequence(tmp_path / "a", points=many)
    snippet = SnippetDataset([sequence], shifts=(), size=(48, 64))[0, 0]
    np.testing.assert_allclose(snippet.points, many[:MOST_POINTS], atol=1e-3)


def test_half_the_size_by_hand(tmp_path):
    """c' = (c + 0.5) / 2 - 0.5: (20, 14) becomes (9.75, 6.75)."""
    snippet = SnippetDataset([make_sequence(tmp_path / "a")], shifts=(), size=(24, 32))[0, 0]
    np.testing.assert_allclose(snippet.points[0], [9.75, 6.75], atol=1e-4)


@pytest.fixture
def snippet(tmp_path) -> Snippet:
    return SnippetDataset([make_sequence(tmp_path / "a")], shifts=(), size=(48, 64))[0, 0]


def test_mirrors_by_hand(snippet):
    """u' = 63 - u; v' = 47 - v; what fills up stays NaN."""
    np.testing.assert_allclose(mirror(snippet).points[0], [43, 14], atol=1e-3)
    np.testing.assert_allclose(mirror(snippet, vertical=True).points[0], [20, 33], atol=1e-3)
    assert mirror(snippet).points[2:].isnan().all()


def test_zoom_by_hand(snippet):
    """Twice as large, cut at the top left: (20, 14) lands at (40.5, 28.5), (41, 30) outside."""
    zoomed = zoom_and_crop(snippet, 2.0, corner=np.array([0.0, 0.0]))
    np.testing.assert_allclose(zoomed.points[0], [40.5, 28.5], atol=1e-3)
    assert zoomed.points[1].isnan().all()


def test_points_stay_on_their_spots(snippet):
    """After random zoom and mirrors the light is still where the points say, to a tenth."""
    variation = Variation(flip=True, colour_jitter=0.1, zoom=1.4, flip_vertical=True)
    seen = 0
    for seed in range(8):
        changed = vary(snippet, variation, np.random.default_rng(seed))
        kept = changed.points[changed.points.isfinite().all(1)]
        kept = kept[((kept > 5) & (kept < kept.new_tensor([58, 42]))).all(1)]
        np.testing.assert_allclose(brightest(changed, kept), kept, atol=0.1)
        seen += len(kept)
    assert seen > 8
