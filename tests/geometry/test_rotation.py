# SPDX-License-Identifier: Apache-2.0
"""Rotation out of a view: exact by hand for whole pixels, true for a rendered turn, its border."""

import math

import numpy as np
import pytest
import torch

from depthkit.errors import ShapeError
from depthkit.geometry.rotation import derotate
from depthkit.rigid import exp_se3
from depthkit.synth.boxes import box_camera, make_box_scene, render
from depthkit.trajectory import make_pose


def camera(f: float, cx: float, cy: float) -> torch.Tensor:
    """Intrinsics. (1, 3, 3) float64"""
    return torch.tensor([[[f, 0, cx], [0, f, cy], [0, 0, 1]]], dtype=torch.float64)


def rotation(*axis_angle: float) -> np.ndarray:
    """Rotation by an angle (the length, rad) about an axis. (3, 3)"""
    return exp_se3(np.array([0, 0, 0, *axis_angle], dtype=float))[:3, :3]


def turn(*axis_angle: float) -> torch.Tensor:
    """The same as a batch. (1, 3, 3) float64"""
    return torch.from_numpy(rotation(*axis_angle))[None]


def test_no_rotation_is_the_image_itself():
    """The identity returns every pixel, all of them valid."""
    image = torch.rand(2, 3, 7, 9, dtype=torch.float64)
    K = camera(5, 3.2, 4.1).repeat(2, 1, 1)
    turned = derotate(image, R_target_source=torch.eye(3).double().repeat(2, 1, 1), K=K)
    torch.testing.assert_close(turned.image, image)
    assert turned.valid.all()


def test_a_quarter_turn_about_the_axis_permutes_the_pixels():
    """Centre (2, 2) of 5 x 5, the pixel convention's own: x' = -y, y' = x, to the last bit."""
    image = torch.arange(25.0).double().view(1, 1, 5, 5)
    turned = derotate(image, R_target_source=turn(0, 0, math.pi / 2), K=camera(4, 2, 2))
    # The source's right neighbour of the centre, (3, 2), lies below it in the target, (2, 3).
    assert turned.image[0, 0, 3, 2].item() == pytest.approx(image[0, 0, 2, 3].item())
    torch.testing.assert_close(turned.image[0, 0], image[0, 0].rot90(-1))


def test_a_pan_moves_the_principal_ray_by_f_tan():
    """The target looks 45 degrees to the right: its centre shows the source's pixel cx + f."""
    image = torch.arange(21.0).double().expand(1, 1, 3, 21)
    # Directions of the source come to the target turned to the left: z goes to -x.
    turned = derotate(image, R_target_source=turn(0, -math.pi / 4, 0), K=camera(8, 4, 1))
    assert turned.image[0, 0, 1, 4].item() == pytest.approx(4 + 8)
    assert turned.valid[0, 0, 1, 4] and not turned.valid[0, 0, 1, 20]


def test_what_left_the_view_is_border_and_not_valid():
    """Turned by 90 degrees nothing of the view is left; colours are the border's, not NaN."""
    image = torch.rand(1, 3, 6, 8, dtype=torch.float64)
    turned = derotate(image, R_target_source=turn(0, math.pi / 2, 0), K=camera(8, 3.5, 2.5))
    assert turned.image.isfinite().all() and turned.image.max() <= image.max()
    assert not turned.valid[..., 4:].any()


def test_turning_there_and_back_keeps_the_middle():
    """On a smooth picture a turn and its inverse give the picture back."""
    v, u = torch.meshgrid(torch.arange(40.0), torch.arange(60.0), indexing="ij")
    image = (torch.sin(u / 9) + torch.cos(v / 7)).double()[None, None]
    K, R = camera(50, 28.3, 19.1), turn(0.02, -0.05, 0.08)
    back = derotate(derotate(image, R_target_source=R, K=K).image, R_target_source=R.mT, K=K)
    torch.testing.assert_close(
        back.image[..., 8:-8, 8:-8], image[..., 8:-8, 8:-8], atol=0.01, rtol=0
    )


def test_a_rendered_turn_is_undone():
    """A camera that only turns: its derotated frame is the frame before the turn."""
    scene, lens = make_box_scene(4), box_camera((96, 128))
    R = rotation(0.03, 0.06, -0.1)
    still, turned = (render(scene, lens, make_pose(r, np.zeros(3))).rgb for r in (np.eye(3), R))
    frames = [torch.from_numpy(f).permute(2, 0, 1)[None].double() / 255 for f in (still, turned)]
    # T_world_source = R and T_world_target = 1, so R_target_source = R.
    K = torch.from_numpy(lens.K)[None]
    undone = derotate(frames[1], R_target_source=torch.from_numpy(R)[None], K=K)
    keep = undone.valid.expand(-1, 3, -1, -1)
    error = (undone.image - frames[0]).abs()[keep]
    untouched = (frames[1] - frames[0]).abs()[keep]
    assert undone.valid.double().mean() > 0.8
    assert error.median() < 0.01 and error.mean() < 0.25 * untouched.mean()


def test_wrong_shapes_are_named():
    """One rotation for two images, 4 x 4 motions."""
    image, K = torch.rand(2, 3, 4, 4), torch.eye(3).repeat(2, 1, 1)
    with pytest.raises(ShapeError, match="derotate: R_target_source must be"):
        derotate(image, R_target_source=torch.eye(3)[None], K=K)
    with pytest.raises(ShapeError, match="derotate: R_target_source must be"):
        derotate(image, R_target_source=torch.eye(4).repeat(2, 1, 1), K=K)
    with pytest.raises(ShapeError, match="derotate: K must be"):
        derotate(image, R_target_source=K, K=K[:1])
