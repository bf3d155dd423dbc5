# SPDX-License-Identifier: Apache-2.0
"""The lit circle of an endoscope: found, kept, forgotten when the camera changes."""

import cv2
import numpy as np
import pytest

from depthkit.errors import DataError
from depthkit.runtime.field_of_view import DrawnView, FieldOfView, open_view, picture_of

SIZE = (120, 160)


def disc(size=SIZE, radius=0.4, centre=(0.5, 0.5)) -> np.ndarray:
    """A circle of radius x height. (H, W) bool"""
    v, u = np.mgrid[: size[0], : size[1]]
    return np.hypot(u - centre[1] * size[1], v - centre[0] * size[0]) < radius * size[0]


def frame(lit: np.ndarray, level: int = 150, noise: int = 6, seed: int = 0) -> np.ndarray:
    """A picture where lit, sensor noise around it. (H, W, 3) uint8"""
    rgb = np.random.default_rng(seed).integers(0, noise + 1, (*lit.shape, 3), dtype=np.uint8)
    rgb[lit] = level
    return rgb


def share_alike(mask: np.ndarray, truth: np.ndarray) -> float:
    """Intersection over union."""
    return float((mask & truth).sum() / (mask | truth).sum())


def test_circle_is_found_and_its_rim_left_out():
    """One frame is enough: nothing outside the circle, all inside but a rim of a pixel."""
    truth = disc()
    mask = FieldOfView().look(frame(truth))
    assert mask.dtype == bool and mask.shape == SIZE
    inner = cv2.erode(truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert np.array_equal(mask, inner)


def test_dark_tissue_counts_once_it_was_lit():
    """A dark half at the circle's edge is outside at first, and inside after it was bright once."""
    truth, view = disc(), FieldOfView()
    left = truth.copy()
    left[:, 80:] = False
    assert share_alike(view.look(frame(left)), truth) < 0.6
    assert share_alike(view.look(frame(truth)), truth) > 0.93
    assert share_alike(view.look(frame(left)), truth) > 0.93


def test_dark_lumen_inside_is_picture():
    """A dark island that does not reach the border is depth far away, not a frame."""
    lit = disc() & ~disc(radius=0.1)
    mask = FieldOfView().look(frame(lit))
    assert mask[60, 80] and share_alike(mask, disc()) > 0.93


def test_letters_and_hot_pixels_in_the_frame_are_no_picture():
    """What is bright outside the circle and apart from it stays outside."""
    rgb = frame(disc())
    cv2.putText(rgb, "12:30", (2, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255))
    rgb[100, 5] = 255
    mask = FieldOfView().look(rgb)
    assert not mask[:14, :30].any() and not mask[100, 5]


def test_ordinary_camera_has_no_frame():
    """A picture that is lit to its corners is valid to its corners."""
    assert FieldOfView().look(frame(np.ones(SIZE, bool))).all()


def test_nothing_lit_is_nothing_valid_until_light_comes():
    """A covered lens says nothing; the first bright frame does."""
    view = FieldOfView()
    assert not view.look(np.zeros((*SIZE, 3), np.uint8)).any()
    assert view.look(frame(disc())).any()


def test_another_size_starts_anew():
    """A new resolution forgets the old circle, which may lie elsewhere."""
    view = FieldOfView()
    view.look(frame(np.ones(SIZE, bool)))
    small = disc((60, 80))
    assert share_alike(view.look(frame(small)), small) > 0.88
    assert not view.look(frame(disc()))[0, 0]


def test_no_signal_screen_is_forgotten():
    """A bright screen before the picture counts for two blocks of frames, not for ever."""
    view, truth = FieldOfView(memory=5), disc()
    view.look(frame(np.ones(SIZE, bool)))
    masks = [view.look(frame(truth, seed=i)) for i in range(10)]
    assert masks[3].all() and masks[8].all() and share_alike(masks[9], truth) > 0.93


def test_reset_forgets():
    """After a reset the next frame alone counts."""
    view = FieldOfView()
    view.look(frame(np.ones(SIZE, bool)))
    view.reset()
    assert not view.look(frame(disc())).all()


def test_large_frames_agree_with_small_ones():
    """Full HD: nothing outside the circle, and a rim of one pixel of the small picture, 6 px."""
    truth = disc((1080, 1920))
    mask = FieldOfView().look(frame(truth))
    assert not (mask & ~truth).any() and share_alike(mask, truth) > 0.95


def test_same_frames_same_mask():
    """No clock and no chance."""
    frames = [frame(disc(centre=(0.5, 0.4 + 0.05 * i)), seed=i) for i in range(4)]
    one, two = FieldOfView(), FieldOfView()
    for rgb in frames:
        assert np.array_equal(one.look(rgb), two.look(rgb))


def test_frame_is_not_kept_or_changed():
    """The driver may fill its buffer again: the mask of the next frame does not follow."""
    view, rgb = FieldOfView(), frame(disc())
    before, kept = view.look(rgb).copy(), rgb.copy()
    assert np.array_equal(rgb, kept)
    rgb[...] = 255
    view_again = view.look(kept)
    assert np.array_equal(view_again, before)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_what_is_no_frame_is_refused(bad):
    """Grey and float pictures are a DataError of one line."""
    with pytest.raises(DataError, match="frame must be RGB"):
        FieldOfView().look(bad)


def test_memory_is_at_least_one_frame():
    """Zero frames of memory is a mistake of the caller."""
    with pytest.raises(DataError, match="memory: 1 frame or more, got 0"):
        FieldOfView(memory=0)


def test_drawn_mask_fits_its_frames(tmp_path):
    """It is taken as it is, resized to frames of its shape, and refused for others."""
    truth = disc()
    cv2.imwrite(str(tmp_path / "mask.png"), truth.astype(np.uint8) * 255)
    view = open_view(str(tmp_path / "mask.png"))
    assert isinstance(view, DrawnView)
    assert np.array_equal(view.look(frame(truth)), truth)
    assert share_alike(view.look(frame(disc((60, 80)))), disc((60, 80))) > 0.9
    assert share_alike(view.look(frame(disc((240, 320)))), disc((240, 320))) > 0.95
    view.reset()
    assert np.array_equal(view.look(frame(truth)), truth)
    with pytest.raises(DataError, match=r"mask is 160x120, frames are 160x160; draw it"):
        view.look(np.zeros((160, 160, 3), np.uint8))


def test_mask_is_chosen_by_its_word(tmp_path):
    """Nothing, auto, or a file, which must be a picture."""
    assert open_view("") is None and isinstance(open_view("auto"), FieldOfView)
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png", "n" * 5000):
        with pytest.raises(DataError, match=f"{name}: no mask that can be read; give a PNG"):
            open_view(str(tmp_path / name))
    with pytest.raises(DataError, match="~nobody-here/mask.png: no mask that can be read"):
        open_view("~nobody-here/mask.png")


def test_smallest_pictures():
    """One pixel, and no lit one, do not stop the search."""
    assert picture_of(np.ones((1, 1), bool)).all()
    assert not picture_of(np.zeros((3, 2), bool)).any()


def test_real_endoscope(data_root):
    """35 frames of a sinus: at least 95 % of the mask that its authors drew, 1 % more at most."""
    (folder,) = (data_root / "jhu_sinus_endoscopy" / "bag_1").iterdir()
    truth = np.asarray(cv2.imread(str(folder / "undistorted_mask.bmp"), cv2.IMREAD_GRAYSCALE)) > 127
    view = FieldOfView()
    for path in sorted(folder.glob("0000*.jpg"))[::4]:
        mask = view.look(np.asarray(cv2.imread(str(path)))[..., ::-1].copy())
    assert (mask & truth).sum() > 0.95 * truth.sum()
    assert (mask & ~truth).sum() < 0.01 * truth.sum()
