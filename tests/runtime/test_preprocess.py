# SPDX-License-Identifier: Apache-2.0
"""Frames to the network's size and orientation, maps back: the same numbers as training's torch."""

import numpy as np
import pytest
import torch
import torch_predictors

from depthkit.errors import DataError, EngineError, ShapeError
from depthkit.geometry import rotation
from depthkit.rigid import exp_se3
from depthkit.runtime.network.manifest import Check, Manifest
from depthkit.runtime.preprocess import (
    NetworkFrame,
    check_camera,
    check_frame,
    derotate,
    enlarge_depth,
    enlarge_inverse,
    enlarge_mask,
    is_black,
    repeat_batch,
    resize_K,
    size_at_focal,
    to_size,
    turn_batch,
)

K = np.array([[48.0, 0, 47.5], [0, 48, 31.5], [0, 0, 1]])  # of 64 x 96
SIZES = [(64, 96), (480, 640), (640, 480), (63, 41), (20, 30), (33, 500)]


def frame(height: int = 64, width: int = 96, seed: int = 0) -> np.ndarray:
    """A random frame. (H, W, 3) uint8"""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def turned(x: float, y: float, z: float) -> np.ndarray:
    """A rotation. (3, 3)"""
    return exp_se3([0, 0, 0, x, y, z])[:3, :3]


def pair_manifest() -> Manifest:
    """Of a pair network for 64 x 96 frames with f = 48."""
    check = Check({}, 1, {})
    return Manifest(
        "pair", "depthnet", (64, 96), "metric", "words", check, 1e-4, dynamic=True, focal=48.0
    )


# --- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((8, 9), np.uint8),
        np.zeros((8, 9, 4), np.uint8),
        np.zeros((0, 9, 3), np.uint8),
        np.zeros((8, 9, 3), np.float32),
        np.zeros((8, 9, 3), np.uint16),
        np.zeros((1, 8, 9, 3), np.uint8),
    ],
)
def test_what_is_no_colour_frame_is_refused(bad):
    """Grey, four channels, empty, floats, 16 bits, a batch: one line with what came."""
    with pytest.raises(DataError, match="frame must be RGB") as caught:
        check_frame(bad)
    assert str(bad.shape) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_array_is_the_callers_bug():
    """A list or None keeps its traceback."""
    for bad in (None, [[1, 2, 3]]):
        with pytest.raises(TypeError, match="must be a numpy array"):
            check_frame(bad)


def test_black_is_what_shows_nothing():
    """Noise of a covered lens is black, one lit pixel is not."""
    dark = np.full((8, 9, 3), 8, np.uint8)
    assert is_black(dark) and is_black(0 * dark)
    dark[3, 4, 1] = 9
    assert not is_black(dark)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", [(64, 96), (128, 128)])
def test_size_changes_as_in_training(size, wanted):
    """Bit for bit what the torch predictors feed, whatever the shape of the frame."""
    rgb = frame(*size)
    small = to_size(rgb, wanted)
    assert small.shape == (*wanted, 3) and (small == torch_predictors._to_size(rgb, wanted)).all()


def test_frames_of_the_right_size_are_not_copied():
    """Nor are views with padded rows, as ROS messages have them."""
    rgb = frame()
    assert to_size(rgb, (64, 96)) is rgb
    padded = np.ndarray((64, 96, 3), np.uint8, buffer=bytearray(64 * 300), strides=(300, 3, 1))
    assert to_size(padded, (64, 96)) is padded


# --- cameras --------------------------------------------------------------------------------------


def test_k_follows_the_size():
    """A pixel keeps its ray: c' = s (c + 0.5) - 0.5, in both axes on their own."""
    smaller = resize_K(K, (64, 96), (21, 40))
    sy, sx = 21 / 64, 40 / 96
    for u, v in ((0, 0), (95, 63), (10.3, 50)):
        ray = np.linalg.solve(K, [u, v, 1])
        moved = np.linalg.solve(smaller, [sx * (u + 0.5) - 0.5, sy * (v + 0.5) - 0.5, 1])
        assert moved == pytest.approx(ray, abs=1e-12)


def test_frames_come_to_the_focal_length_that_was_learnt():
    """640 x 480 at f = 320 is, at f = 48, 96 x 72; a non-square pixel counts for its axis alone."""
    camera = np.array([[320.0, 0, 319.5], [0, 320, 239.5], [0, 0, 1]])
    assert size_at_focal(camera, (480, 640), pair_manifest()) == (72, 96)
    camera[1, 1] = 360
    assert size_at_focal(camera, (480, 640), pair_manifest()) == (64, 96)
    assert size_at_focal(K, (64, 96), pair_manifest()) == (64, 96)


@pytest.mark.parametrize("factor", [0.3, 2.5])
def test_a_field_of_view_far_from_the_training_is_refused(factor):
    """A fish-eye's and a telephoto's: one line with focal lengths and sizes."""
    with pytest.raises(EngineError, match=f"focal length {48 * factor:.1f} px of 96x64"):
        size_at_focal(np.diag([factor, factor, 1]) @ K, (64, 96), pair_manifest())


@pytest.mark.parametrize("value", [0.0, np.nan, -50.0])
def test_an_impossible_k_is_refused(value):
    """Zeros of an uncalibrated camera, NaN, negative: one line."""
    broken = K.copy()
    broken[1, 1] = value
    with pytest.raises(EngineError, match="K must be finite with focal lengths above 0"):
        check_camera(broken)
    with pytest.raises(ShapeError, match=r"K must be \(3, 3\)"):
        check_camera(K[:2])


# --- rotation -------------------------------------------------------------------------------------


def test_a_quarter_turn_moves_pixels_exactly():
    """Rolled by +90 degrees about z, what was right of the centre is below it: np.rot90."""
    square = frame(65, 65)
    centred = np.array([[50.0, 0, 32], [0, 50, 32], [0, 0, 1]])
    image, valid = derotate(square, R_target_source=turned(0, 0, np.pi / 2), K=centred)
    assert (image == np.rot90(square, -1)).all() and valid.all()


def test_a_yaw_looks_where_the_tangent_says():
    """A target turned so that its axis points at u = cx + 12 of the source: columns by hand.

    u_source = cx + f tan(a + b) with tan a = 12 / 48 and tan b = (u - cx) / f; its right border
    95.5 is met where tan b = (1 - 1/4) / (1 + 1/4), u = 47.5 + 48 * 0.6 = 76.3.
    """
    level = np.zeros((64, 96, 3), np.uint8) + np.arange(96, dtype=np.uint8)[None, :, None]
    R_target_source = turned(0, -np.arctan(12 / 48), 0)
    image, valid = derotate(level, R_target_source=R_target_source, K=K)
    b = np.arctan((np.arange(96) - 47.5) / 48)
    expected = np.clip(47.5 + 48 * np.tan(np.arctan(0.25) + b), 0, 95)
    assert np.abs(image[31, :, 0] - expected).max() <= 0.51
    assert valid[31, :77].all() and not valid[:, 77:].any()


@pytest.mark.parametrize("angles", [(0.03, -0.05, 0.08), (0, 0.3, 0), (-0.5, 0.2, 1.0)])
def test_rotation_is_taken_out_as_in_training(angles):
    """The torch twin to rounding, colours and mask, on the sharpest image there is: noise."""
    rgb, R = frame(61, 90), turned(*angles)
    image, valid = derotate(rgb, R_target_source=R, K=K)
    tensors = (torch.from_numpy(a)[None] for a in (np.moveaxis(rgb, -1, 0).astype(float), R, K))
    source, R_tensor, K_tensor = tensors
    truth = rotation.derotate(source, R_target_source=R_tensor, K=K_tensor)
    expected = truth.image[0].permute(1, 2, 0).numpy()
    assert (valid == truth.valid[0, 0].numpy()).all() and 0.3 < valid.mean() < 1
    assert np.abs(image - expected)[valid].max() < 0.51


def test_what_lies_behind_the_source_is_not_covered():
    """Turned by 2 rad, no pixel of the target was seen."""
    _, valid = derotate(frame(), R_target_source=turned(0, 2.0, 0), K=K)
    assert not valid.any()


def test_turned_frames_go_straight_into_a_batch():
    """Written where they are wanted, in memory that is not contiguous; without rotation copied."""
    batch = np.full((2, 80, 128, 3), 7, np.uint8)
    for i, angle in enumerate((0.0, 0.1)):
        R = turned(0, angle, 0)
        out, _ = derotate(frame(), R_target_source=R, K=K, out=batch[i, :64, :96])
        assert np.shares_memory(out, batch)
        assert (batch[i, :64, :96] == derotate(frame(), R_target_source=R, K=K)[0]).all()
    assert (batch[0, :64, :96] == frame()).all()
    assert (batch[:, 64:] == 7).all() and (batch[:, :, 96:] == 7).all()


def test_batches_are_filled_up_with_their_edges():
    """41 x 90 to multiples of 64: right and lower edges repeated, as DepthNet does inside."""
    now, before = (NetworkFrame(frame(41, 90, seed), K) for seed in (0, 1))
    turns = np.stack([np.eye(3), turned(0, 0.1, 0)])
    batch, covered = turn_batch(now, [before, before], turns, 64)
    assert batch.shape == (2, 64, 128, 3) and covered.shape == (2, 41, 90)
    padded = np.pad(before.rgb, ((0, 23), (0, 38), (0, 0)), mode="edge")
    assert (batch[0] == padded).all() and covered[0].all() and not covered[1].all()
    assert (repeat_batch(now, 3, 64)[2, :41, :90] == now.rgb).all()
    assert batch.flags.c_contiguous


def test_batches_take_frames_of_one_size():
    """Another size, no frame at all, one rotation too few: the caller's bug."""
    now = NetworkFrame(frame(), K)
    with pytest.raises(ShapeError, match="previous must be"):
        turn_batch(now, [NetworkFrame(frame(32, 96), K)], np.eye(3)[None])
    for previous in ([], [now, now]):
        with pytest.raises(ShapeError, match="rotations must be"):
            turn_batch(now, previous, np.eye(3)[None][: len(previous)])


# --- maps back ------------------------------------------------------------------------------------


def test_maps_grow_in_depth_or_its_inverse():
    """Halfway between 1 and 3: 2 in depth, 1.5 in inverse depth (mean of 1 and 1/3 is 2/3)."""
    small = np.array([[1.0, 3.0]], np.float32)
    assert enlarge_depth(small, (1, 3))[0].tolist() == pytest.approx([1, 2, 3])
    assert enlarge_inverse(small, (1, 3))[0].tolist() == pytest.approx([1, 1.5, 3])
    assert small.tolist() == [[1, 3]]


def test_a_mask_grows_only_where_all_is_known():
    """No camera pixel is valid that mixes in one that is not; all or nothing stays so."""
    small = np.ones((8, 8), bool)
    assert enlarge_mask(small, (30, 50)).all() and not enlarge_mask(~small, (30, 50)).any()
    small[4, 4] = False
    large = enlarge_mask(small, (64, 64))
    assert not large[32:40, 32:40].any() and not large[29:43, 29:43].all() and large[:28].all()
    assert enlarge_mask(small, (8, 8)) is small


def test_hot_pixels_are_no_picture():
    """One bright pixel of a covered lens leaves the frame black; one per cent of light does not."""
    frame = np.full((100, 100, 3), 3, np.uint8)
    frame[5, 7] = 255
    assert is_black(frame)
    frame[:, :1] = 60
    assert not is_black(frame)
