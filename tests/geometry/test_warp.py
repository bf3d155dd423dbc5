# SPDX-License-Identifier: Apache-2.0
"""Warping: identity, whole-pixel shifts, what is valid, gradients, and exact synthetic truth."""

import numpy as np
import pytest
import torch
from close import assert_close_to_largest
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.geometry.projection import pixel_grid
from depthkit.geometry.se3 import exp_se3
from depthkit.geometry.warp import (
    inside,
    resize,
    sample,
    shrink,
    stack_views,
    warp_to_target,
)
from depthkit.rigid import inverse
from depthkit.synth.boxes import box_camera, make_box_scene, render
from depthkit.synth.path import camera_path

FOCAL = 20.0


def image(channels: int = 3, size: tuple[int, int] = (9, 12), batch: int = 2) -> torch.Tensor:
    """Noise: every pixel another colour. (B, C, H, W)"""
    return torch.rand(batch, channels, *size, generator=torch.Generator().manual_seed(0))


def intrinsics(batch: int = 2, size: tuple[int, int] = (9, 12)) -> torch.Tensor:
    """Focal length 20 px, centred. (B, 3, 3)"""
    height, width = size
    K = [[FOCAL, 0, (width - 1) / 2], [0, FOCAL, (height - 1) / 2], [0, 0, 1]]
    return torch.tensor(K).expand(batch, 3, 3)


def step(x: float = 0.0, y: float = 0.0, z: float = 0.0, batch: int = 2) -> torch.Tensor:
    """A motion of the points without rotation, metres. (B, 4, 4)"""
    T = torch.eye(4).repeat(batch, 1, 1)
    T[:, :3, 3] = torch.tensor([x, y, z])
    return T


def wall(depth: float, size: tuple[int, int] = (9, 12), batch: int = 2) -> torch.Tensor:
    """A plane that faces the camera. (B, 1, H, W)"""
    return torch.full((batch, 1, *size), depth)


# --- numbers by hand and properties --------------------------------------------------------------


def test_no_motion_returns_the_image_and_all_is_valid():
    """The identity warp is the identity: to rounding, corners and edges included."""
    source, depth = image(), 1 + 5 * image(1)
    warped = warp_to_target(source, depth, T_source_target=step(), K=intrinsics())
    assert_close_to_largest(warped.image, source)
    assert warped.valid.all()
    torch.testing.assert_close(warped.depth, depth)


@pytest.mark.parametrize(("du", "dv"), [(3, 0), (-2, 0), (0, 4), (0, -1), (2, -3)])
def test_whole_pixel_steps_before_a_wall_are_shifts(du, dv):
    """Before a wall at 5 m, t = (du, dv) Z / f reads the pixel (u + du, v + dv), and no other."""
    source = image()
    T = step(du * 5 / FOCAL, dv * 5 / FOCAL)
    warped = warp_to_target(source, wall(5.0), T_source_target=T, K=intrinsics())
    v, u = torch.meshgrid(torch.arange(9), torch.arange(12), indexing="ij")
    seen = (u + du >= 0) & (u + du < 12) & (v + dv >= 0) & (v + dv < 9)
    assert torch.equal(warped.valid[0, 0], seen) and torch.equal(warped.valid[1, 0], seen)
    expected = torch.roll(source, (-dv, -du), (2, 3))
    assert_close_to_largest(warped.image.where(seen, 0), expected.where(seen, 0))


def test_forward_step_magnifies_by_the_ratio_of_depths():
    """1 m forward to a wall at 4 m: column u reads c + (u - c) 4/3, the wall is at 3 m."""
    ramp = torch.arange(12.0).expand(2, 1, 9, 12)
    warped = warp_to_target(ramp, wall(4.0), T_source_target=step(z=-1.0), K=intrinsics())
    u = 5.5 + (torch.arange(12.0) - 5.5) * 4 / 3
    assert_close_to_largest(warped.image[0, 0, 4], u.clamp(0, 11))
    torch.testing.assert_close(warped.depth, wall(3.0))


def test_half_a_pixel_is_the_mean_of_two():
    """Bilinear: midway between two pixels stands their mean."""
    source = torch.tensor([0.0, 1, 4, 9]).view(1, 1, 1, 4)
    pixels = torch.tensor([[0.5, 1.5, 2.5], [0, 0, 0]]).view(1, 2, 1, 3)
    torch.testing.assert_close(sample(source, pixels).flatten(), torch.tensor([0.5, 2.5, 6.5]))


def test_outside_stands_the_border_colour():
    """Positions beyond the image read its nearest pixel."""
    source = torch.arange(6.0).view(1, 1, 2, 3)
    pixels = torch.tensor([[-9.0, 9, 1], [-9, 9, 5]]).view(1, 2, 1, 3)
    assert sample(source, pixels).flatten().tolist() == [0, 5, 4]


def test_edge_pixels_are_inside_whole():
    """The image ends half a pixel beyond the last centres; behind the camera nothing is valid."""
    u = torch.tensor([-0.51, -0.49, 2.49, 2.51, 1.0, 1.0])
    v = torch.tensor([0.0, 0.0, 1.49, 1.49, -0.51, 1.51])
    pixels = torch.stack([u, v]).view(1, 2, 1, 6)
    ahead = torch.ones(1, 1, 1, 6)
    assert inside(pixels, ahead, (2, 3)).flatten().tolist() == [
        False,
        True,
        True,
        False,
        False,
        False,
    ]
    assert not inside(pixels, -ahead, (2, 3)).any()
    assert not inside(pixels, 0 * ahead, (2, 3)).any()


def test_walking_through_the_wall_leaves_nothing_valid():
    """Points that end behind the source are not valid even where their pixel lies inside."""
    warped = warp_to_target(image(), wall(2.0), T_source_target=step(z=-5.0), K=intrinsics())
    assert not warped.valid.any()
    assert warped.image.isfinite().all()


def test_turning_round_leaves_nothing_valid():
    """Half a turn about y: all points lie behind."""
    T = exp_se3(torch.tensor([[0, np.pi, 0, 0, 0, 0]] * 2)).float()
    warped = warp_to_target(image(), wall(2.0), T_source_target=T, K=intrinsics())
    assert not warped.valid.any()


def test_source_of_another_size_is_read_through_its_own_camera():
    """A source stored at twice the size with its K gives the same view as its smooth picture."""
    ramp = torch.linspace(0, 1, 24).expand(2, 3, 18, 24)
    K_source = intrinsics().clone()
    K_source[:, :2] *= 2
    K_source[:, :2, 2] += 0.5  # c' = 2 (c + 0.5) - 0.5
    warped = warp_to_target(
        ramp, wall(3.0), T_source_target=step(), K=intrinsics(), K_source=K_source
    )
    assert warped.image.shape == (2, 3, 9, 12) and warped.valid.all()
    assert_close_to_largest(warped.image, resize(ramp, (9, 12)))


def test_depth_map_can_be_warped_too():
    """One channel is as good as three, and channels do not mix."""
    maps = image(4)
    T, K = step(0.1, 0.05, -0.2), intrinsics()
    together = warp_to_target(maps, wall(3.0), T_source_target=T, K=K)
    alone = warp_to_target(maps[:, 3:], wall(3.0), T_source_target=T, K=K)
    torch.testing.assert_close(together.image[:, 3:], alone.image)


def test_batch_elements_do_not_mix():
    """Each element is warped by its own pose, depth and K."""
    T = torch.cat([step(0.3, batch=1), step(y=-0.2, z=0.1, batch=1)])
    K = intrinsics().clone()
    K[1, 0, 0] = 31
    source, depth = image(), 2 + image(1)
    both = warp_to_target(source, depth, T_source_target=T, K=K)
    second = warp_to_target(source[1:], depth[1:], T_source_target=T[1:], K=K[1:])
    torch.testing.assert_close(both.image[1:], second.image)
    assert torch.equal(both.valid[1:], second.valid)


def test_resize_keeps_the_pixel_convention():
    """A ramp of the continuous coordinate, u + 0.5, scales with the image, both ways."""
    ramp = (torch.arange(12.0) + 0.5).expand(1, 1, 8, 12)
    torch.testing.assert_close(resize(ramp, (4, 6))[0, 0, 0], 2 * (torch.arange(6.0) + 0.5))
    large = resize(ramp, (16, 24))[0, 0, 0]
    torch.testing.assert_close(large[1:-1], ((torch.arange(24.0) + 0.5) / 2)[1:-1])
    assert resize(ramp, (8, 12)) is ramp


def test_resize_shrinks_by_the_mean():
    """Shrinking averages, so that fine texture does not alias."""
    assert resize(torch.tensor([[0.0, 4], [8, 4]]).view(1, 1, 2, 2), (1, 1)).item() == 4


def test_blocks_are_averaged_whatever_the_size():
    """Blocks of 2 from the first pixel on; the last, half outside, is filled up by its border."""
    image = torch.tensor([[0.0, 2, 4], [2, 4, 6], [1, 3, 9]]).view(1, 1, 3, 3)
    assert shrink(image, 2).flatten().tolist() == [2, 5, 2, 9]
    assert shrink(image, 1) is image


def test_stacking_goes_source_by_source():
    """(B, S) becomes s0b0, s0b1, s1b0, s1b1: what `repeat` and `chunk` of the task expect."""
    views = torch.tensor([[[0.0], [10]], [[1], [11]]])  # (B=2, S=2, 1), tens name the source
    assert stack_views(views).flatten().tolist() == [0, 1, 10, 11]


# --- gradients and bad input ---------------------------------------------------------------------


def test_gradients_by_depth_pose_and_source():
    """gradcheck in float64 of the whole warp, away from pixel borders where it has corners."""
    torch.manual_seed(3)
    size = (4, 5)
    source = torch.rand(1, 2, *size, dtype=torch.float64, requires_grad=True)
    depth = (2 + torch.rand(1, 1, *size, dtype=torch.float64)).requires_grad_()
    xi = (0.02 * torch.randn(1, 6, dtype=torch.float64)).requires_grad_()
    K = intrinsics(1, size).double()

    def warp(s, d, x):
        warped = warp_to_target(s, d, T_source_target=exp_se3(x), K=K)
        return warped.image, warped.depth, warped.pixels

    pixels = warp(source, depth, xi)[2]
    assert (pixels - pixels.round()).abs().min() > 1e-4, "choose another seed"
    assert gradcheck(warp, (source, depth, xi), eps=1e-7, atol=1e-5)


def test_gradient_reaches_depth_and_pose_and_is_finite_behind_the_camera():
    """Points behind and outside give finite gradients, so one bad pixel cannot end a run."""
    depth = torch.cat([wall(0.5, batch=1), wall(3.0, batch=1)]).requires_grad_()
    xi = torch.tensor([[0.0, 0, 0, 0, 0, -1.0], [0, 0, 0, 0.1, 0, 0]], requires_grad=True)
    warped = warp_to_target(image(), depth, T_source_target=exp_se3(xi), K=intrinsics())
    warped.image.where(warped.valid, 0).sum().backward()
    assert depth.grad.isfinite().all() and xi.grad.isfinite().all()
    assert depth.grad[0].abs().max() == 0, "invalid pixels must not teach"
    assert depth.grad[1].abs().max() > 0


def test_wrong_shapes_are_named():
    """Images without a batch and pixels with three rows stop at the door."""
    with pytest.raises(ShapeError, match=r"sample: image must be \(B, C, H, W\), got \(3, 4, 5\)"):
        sample(torch.zeros(3, 4, 5), torch.zeros(1, 2, 4, 5))
    with pytest.raises(ShapeError, match=r"sample: pixels must be \(B, 2, h, w\)"):
        sample(torch.zeros(1, 3, 4, 5), torch.zeros(1, 3, 4, 5))
    with pytest.raises(ShapeError, match=r"depth must be"):
        warp_to_target(image(), wall(1.0)[:, 0], T_source_target=step(), K=intrinsics())


# --- exact synthetic truth -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def flight() -> tuple[list, np.ndarray, torch.Tensor]:
    """Three frames of the box world, their poses and K."""
    camera, path = box_camera((96, 128)), camera_path(8, 2)[[0, 1, 7]]
    frames = [render(make_box_scene(2), camera, pose) for pose in path]
    return frames, path, torch.from_numpy(camera.K)[None].float()


def truth_error(flight, target: int, source: int, *, scale: float = 1.0) -> tuple[float, float]:
    """Rebuild one frame from another with exact depth (times `scale`) and pose.

    Returns:
        The mean absolute error on valid pixels that the source sees too, and their share.
    """
    frames, path, K = flight
    rgb = [torch.from_numpy(f.rgb).permute(2, 0, 1)[None].float() / 255 for f in frames]
    depth = [torch.from_numpy(f.depth)[None, None] for f in frames]
    T = torch.from_numpy(inverse(path[source]) @ path[target])[None].float()
    maps = torch.cat([rgb[source], depth[source]], 1)
    true = warp_to_target(maps, depth[target], T_source_target=T, K=K)
    seen = true.valid & ((true.image[:, 3:] / true.depth - 1).abs() < 0.02)
    warped = warp_to_target(maps, scale * depth[target], T_source_target=T, K=K)
    difference = (warped.image[:, :3] - rgb[target]).abs().mean(1, keepdim=True)
    return difference[seen].mean().item(), seen.float().mean().item()


@pytest.mark.parametrize(("target", "source"), [(0, 1), (1, 0), (1, 2)])
def test_true_depth_and_pose_rebuild_the_target(flight, target, source):
    """Exact depth and pose rebuild the target to 1 % of the range where both frames see."""
    error, share = truth_error(flight, target, source)
    assert error < 0.01
    assert share > (0.8 if source < 2 else 0.4)


@pytest.mark.parametrize("scale", [0.7, 1.3])
def test_wrong_depth_does_not_rebuild_the_target(flight, scale):
    """Thirty per cent too near or too far at least doubles the error: the loss can teach depth."""
    assert truth_error(flight, 0, 1, scale=scale)[0] > 2 * truth_error(flight, 0, 1)[0]


def test_half_a_pixel_of_error_in_the_convention_shows(flight):
    """Reading half a pixel aside makes the error clearly worse: the convention is tested, too."""
    frames, path, K = flight
    aside = K.clone()
    aside[:, :2, 2] += 0.5
    depth = torch.from_numpy(frames[0].depth)[None, None]
    T = torch.from_numpy(inverse(path[1]) @ path[0])[None].float()
    target, source = (torch.from_numpy(f.rgb).permute(2, 0, 1)[None] / 255 for f in frames[:2])

    def error(K_source):
        warped = warp_to_target(source, depth, T_source_target=T, K=K, K_source=K_source)
        return (warped.image - target).abs().mean(1, keepdim=True)[warped.valid].mean()

    assert error(aside) > 1.5 * error(K)


def test_grid_and_sample_agree_on_every_pixel():
    """Reading an image at its own grid returns it, at any aspect, one pixel wide included."""
    for size in [(1, 1), (1, 5), (7, 1), (33, 47)]:
        picture = image(size=size, batch=1)
        pixels = pixel_grid(*size, picture)[:2].unflatten(1, size)[None]
        assert_close_to_largest(sample(picture, pixels), picture)
