# SPDX-License-Identifier: Apache-2.0
"""Pinhole projection: pixels by hand, back and forth, the one pixel convention, gradients."""

import pytest
import torch
from torch.autograd import gradcheck

from depthkit.camera import Camera
from depthkit.errors import ShapeError
from depthkit.geometry.projection import (
    backproject,
    displacement,
    pixel_grid,
    project,
    reproject,
    resize_intrinsics,
)
from depthkit.geometry.se3 import exp_se3

SIZE = (5, 7)


def intrinsics(batch: int = 1) -> torch.Tensor:
    """Unlike focal lengths and an off-centre principal point, a little other in each. (B, 3, 3)"""
    K = torch.tensor([[6.0, 0, 2.7], [0, 5.0, 2.2], [0, 0, 1]], dtype=torch.float64)
    return torch.stack([K + 0.1 * i * (K > 1) for i in range(batch)])


def depths(batch: int = 1, size: tuple[int, int] = SIZE) -> torch.Tensor:
    """Between 2 and 4 metres. (B, 1, H, W) float64"""
    generator = torch.Generator().manual_seed(0)
    return 2 + 2 * torch.rand(batch, 1, *size, dtype=torch.float64, generator=generator)


def motions(batch: int = 1) -> torch.Tensor:
    """Small turns and steps. (B, 4, 4) float64"""
    generator = torch.Generator().manual_seed(1)
    return exp_se3(0.1 * torch.randn(batch, 6, dtype=torch.float64, generator=generator))


# --- numbers by hand -----------------------------------------------------------------------------


def test_grid_starts_at_the_first_pixels_centre():
    """(0, 0) is the centre of the top-left pixel; u runs fastest."""
    grid = pixel_grid(2, 3, torch.zeros(1, dtype=torch.float64))
    assert grid.dtype == torch.float64
    assert grid.tolist() == [[0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]]


def test_backproject_by_hand():
    """Pixel (5, 1) at 3 m with f = (2, 4), c = (1, 3): x = 3 (5-1)/2 = 6, y = 3 (1-3)/4 = -1.5."""
    K = torch.tensor([[[2.0, 0, 1], [0, 4, 3], [0, 0, 1]]])
    points = backproject(torch.full((1, 1, 4, 6), 3.0), K)
    torch.testing.assert_close(points[0, :, 1, 5], torch.tensor([6.0, -1.5, 3.0]))


def test_project_by_hand():
    """The point (1, -2, 4) with f = (100, 200), c = (50, 60) is seen at (75, -40)."""
    K = torch.tensor([[[100.0, 0, 50], [0, 200, 60], [0, 0, 1]]])
    pixels, depth = project(torch.tensor([1.0, -2, 4]).view(1, 3, 1, 1), K)
    assert pixels.flatten().tolist() == [75, -40]
    assert depth.item() == 4


def test_sideways_step_is_a_disparity():
    """A source camera 0.5 m to the right sees a point at 2 m moved left by f B / Z = 10 px."""
    K = torch.tensor([[[40.0, 0, 3], [0, 40, 2], [0, 0, 1]]])
    T = torch.eye(4)[None].clone()
    T[:, 0, 3] = -0.5  # the points move left when the camera moves right
    pixels, depth = reproject(
        torch.full((1, 1, *SIZE), 2.0), T_source_target=T, K_target=K, K_source=K
    )
    grid = pixel_grid(*SIZE, pixels)[:2].unflatten(1, SIZE)
    torch.testing.assert_close(pixels[0], grid - torch.tensor([10.0, 0]).view(2, 1, 1))
    torch.testing.assert_close(displacement(pixels), torch.full((1, 1, *SIZE), 10.0))
    torch.testing.assert_close(depth, torch.full((1, 1, *SIZE), 2.0))


def test_displacement_by_hand():
    """Everything moved by (3, 4) has moved 5 px."""
    pixels = pixel_grid(2, 3, torch.zeros(1))[:2].unflatten(1, (2, 3))[None]
    moved = pixels + torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert displacement(moved).flatten().tolist() == [5] * 6


# --- properties ----------------------------------------------------------------------------------


def test_project_undoes_backproject():
    """A lifted pixel falls on itself, with its own depth."""
    depth, K = depths(3), intrinsics(3)
    pixels, again = project(backproject(depth, K), K)
    grid = pixel_grid(*SIZE, depth)[:2].unflatten(1, SIZE).expand(3, -1, -1, -1)
    torch.testing.assert_close(pixels, grid, atol=1e-12, rtol=0)
    torch.testing.assert_close(again, depth)


def test_reproject_is_lift_move_project():
    """One homography and one step are the same as the three operations in turn."""
    depth, K, T = depths(3), intrinsics(3), motions(3)
    K_source = 1.5 * K * torch.tensor([1.0, 1, 2 / 3], dtype=torch.float64).view(3, 1)
    points = backproject(depth, K).flatten(2)
    moved = (T[:, :3, :3] @ points + T[:, :3, 3:]).unflatten(2, SIZE)
    expected = project(moved, K_source)
    found = reproject(depth, T_source_target=T, K_target=K, K_source=K_source)
    torch.testing.assert_close(found, expected, atol=1e-11, rtol=0)


def test_only_the_ratio_of_depth_and_translation_is_seen():
    """Scaling depth and translation together moves no pixel: why monocular scale is free."""
    depth, K, T = depths(), intrinsics(), motions()
    larger = T.clone()
    larger[:, :3, 3] *= 7
    pixels, z = reproject(depth, T_source_target=T, K_target=K, K_source=K)
    pixels_7, z_7 = reproject(7 * depth, T_source_target=larger, K_target=K, K_source=K)
    torch.testing.assert_close(pixels_7, pixels, atol=1e-11, rtol=0)
    torch.testing.assert_close(z_7, 7 * z)


def test_scale_then_project_is_project_then_scale():
    """Resized intrinsics give the resized pixel: c' = s (c + 0.5) - 0.5 on both axes."""
    K, points = intrinsics(), backproject(depths(), intrinsics())
    small, large = (60, 84), (120, 126)
    pixels, _ = project(points, K)
    scaled, _ = project(points, resize_intrinsics(K, small, large))
    s = torch.tensor([126 / 84, 120 / 60], dtype=torch.float64).view(1, 2, 1, 1)
    torch.testing.assert_close(scaled, s * (pixels + 0.5) - 0.5, atol=1e-12, rtol=0)


def test_resized_intrinsics_are_the_cameras_own():
    """Tensors and `Camera` rescale K alike; there and back again is no change."""
    camera = Camera(84, 60, 70.0, 71.0, 40.0, 31.0)
    K = torch.from_numpy(camera.K)[None]
    torch.testing.assert_close(
        resize_intrinsics(K, (60, 84), (45, 42))[0], torch.from_numpy(camera.resized((45, 42)).K)
    )
    back = resize_intrinsics(resize_intrinsics(K, (60, 84), (45, 42)), (45, 42), (60, 84))
    torch.testing.assert_close(back, K)


def test_the_image_edge_stays_the_image_edge():
    """The left edge of the image, u = -0.5, maps to -0.5 and the right to W' - 0.5."""
    A = resize_intrinsics(torch.eye(3)[None], (10, 20), (30, 50))[0]
    torch.testing.assert_close(A @ torch.tensor([-0.5, -0.5, 1]), torch.tensor([-0.5, -0.5, 1]))
    torch.testing.assert_close(A @ torch.tensor([19.5, 9.5, 1]), torch.tensor([49.5, 29.5, 1]))


def test_points_behind_the_camera_keep_numbers_finite():
    """A depth of zero or less is told by the depth; pixels and gradients stay finite."""
    points = torch.tensor([[1.0, 1, 0], [1, 1, -2], [0, 0, 0]]).T.reshape(1, 3, 1, 3)
    points.requires_grad_()
    pixels, depth = project(points, intrinsics().float())
    assert depth.flatten().tolist() == [0, -2, 0]
    assert pixels.isfinite().all()
    pixels.sum().backward()
    assert points.grad.isfinite().all()


# --- gradients and bad input ---------------------------------------------------------------------


def test_gradients():
    """gradcheck of lifting, projecting and moving, by depth, K, points and pose."""
    depth, K = depths(2, (2, 3)).requires_grad_(), intrinsics(2).requires_grad_()
    assert gradcheck(backproject, (depth, K))
    points = backproject(depth, K).detach().requires_grad_()
    assert gradcheck(project, (points, K))
    xi = (0.1 * torch.randn(2, 6, dtype=torch.float64)).requires_grad_()

    def moved(d, x, k):
        return reproject(d, T_source_target=exp_se3(x), K_target=k, K_source=k)

    assert gradcheck(moved, (depth, xi, K))


@pytest.mark.parametrize("shape", [(1, 5, 7), (1, 2, 5, 7), (5, 7)])
def test_wrong_depth_shapes_are_named(shape):
    """The message says which argument, what was expected and what came."""
    depth, K, T = torch.ones(shape), torch.eye(3)[None], torch.eye(4)[None]
    with pytest.raises(ShapeError, match=r"backproject: depth must be \(B, 1, H, W\), got"):
        backproject(depth, K)
    with pytest.raises(ShapeError, match=r"reproject: depth must be"):
        reproject(depth, T_source_target=T, K_target=K, K_source=K)


def test_wrong_matrix_shapes_are_named():
    """A 4x4 K and a 3x4 pose are refused."""
    depth, K = torch.ones(1, 1, 2, 3), torch.eye(3)[None]
    with pytest.raises(ShapeError, match=r"backproject: K must be \(B, 3, 3\), got \(1, 4, 4\)"):
        backproject(depth, torch.eye(4)[None])
    with pytest.raises(ShapeError, match=r"project: points must be \(B, 3, H, W\)"):
        project(torch.ones(1, 4, 2, 3), K)
    with pytest.raises(ShapeError, match=r"T_source_target must be \(B, 4, 4\), got \(1, 3, 4\)"):
        reproject(depth, T_source_target=torch.eye(4)[None, :3], K_target=K, K_source=K)
