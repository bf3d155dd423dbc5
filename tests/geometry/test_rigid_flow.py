# SPDX-License-Identifier: Apache-2.0
"""Rigid flow: by hand, against projection, gradients, and the exact flow of a rendered street."""

import pytest
import torch
from close import assert_close_to_largest
from street_truth import street_pair
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.geometry.projection import backproject, pixel_grid, project
from depthkit.geometry.rigid_flow import rigid_flow
from depthkit.geometry.se3 import exp_se3
from depthkit.geometry.warp import warp_by_flow, warp_to_target

K = torch.tensor([[[20.0, 0, 5.5], [0, 20, 4], [0, 0, 1]]])


def step(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> torch.Tensor:
    """A motion of the points without rotation, metres. (1, 4, 4)"""
    T = torch.eye(4)[None]
    T[:, :3, 3] = torch.tensor([x, y, z])
    return T


def wall(depth: float, size: tuple[int, int] = (9, 12)) -> torch.Tensor:
    """A plane that faces the camera. (1, 1, H, W)"""
    return torch.full((1, 1, *size), depth)


def test_sideways_flow_is_focal_length_times_step_over_depth():
    """f = 20 px, 0.5 m to the right for the points, wall at 5 m: 2 px everywhere, (0, -1) for y."""
    flow, valid = rigid_flow(wall(5.0), T_source_target=step(0.5, -0.25), K=K)
    torch.testing.assert_close(flow[0, 0], torch.full((9, 12), 2.0))
    torch.testing.assert_close(flow[0, 1], torch.full((9, 12), -1.0))
    assert valid[0, 0, 1:, :10].all() and not valid[0, 0, 0].any() and not valid[..., 10:].any()


def test_forward_flow_points_away_from_the_principal_point():
    """1 m forward to a wall at 4 m: flow = (m - c) / 3; 0 at the focus of expansion."""
    flow, _ = rigid_flow(wall(4.0), T_source_target=step(z=-1.0), K=K)
    offset = pixel_grid(9, 12, flow)[:2].view(1, 2, 9, 12) - K[:, :2, 2, None, None]
    torch.testing.assert_close(flow, offset / 3)


def test_no_motion_is_no_flow():
    """The identity leaves every pixel where it is, at any depth."""
    flow, valid = rigid_flow(wall(2.0), T_source_target=step(), K=K)
    assert flow.abs().max() < 2e-6 and valid.all()


def test_rotation_flow_does_not_depend_on_depth():
    """A turning camera sees all depths move alike."""
    T = exp_se3(torch.tensor([[0.02, 0.05, -0.03, 0, 0, 0]]))
    near, far = (rigid_flow(wall(d), T_source_target=T, K=K).flow for d in (1.0, 50.0))
    torch.testing.assert_close(near, far, atol=1e-5, rtol=0)
    assert near.abs().min() > 0.01


def test_flow_equals_projection():
    """K [R|t] D K^-1 m - m, step by step."""
    torch.manual_seed(0)
    depth = 1 + 5 * torch.rand(1, 1, 9, 12)
    T = exp_se3(torch.tensor([[0.05, -0.02, 0.03, 0.2, -0.1, 0.3]]))
    points = (T[:, :3, :3] @ backproject(depth, K).flatten(2) + T[:, :3, 3:]).view(1, 3, 9, 12)
    expected = project(points, K)[0] - pixel_grid(9, 12, depth)[:2].view(1, 2, 9, 12)
    torch.testing.assert_close(
        rigid_flow(depth, T_source_target=T, K=K).flow, expected, atol=1e-5, rtol=1e-5
    )


def test_warp_by_rigid_flow_is_the_warp_by_depth():
    """The same picture, and the same pixels valid."""
    torch.manual_seed(1)
    depth, image = 1 + 3 * torch.rand(1, 1, 9, 12), torch.rand(1, 3, 9, 12)
    T = exp_se3(torch.tensor([[0.05, -0.02, 0.03, 0.2, -0.1, 0.3]]))
    warped = warp_to_target(image, depth, T_source_target=T, K=K)
    flow, valid = rigid_flow(depth, T_source_target=T, K=K)
    rebuilt, inside = warp_by_flow(image, flow)
    torch.testing.assert_close(rebuilt, warped.image, atol=1e-5, rtol=0)
    assert torch.equal(valid, warped.valid) and torch.equal(inside, warped.valid)


def test_points_behind_the_source_have_no_flow_and_no_gradient():
    """Through the wall: 0, invalid, and a loss over it leaves depth and motion alone."""
    depth = wall(2.0).requires_grad_()
    T = step(z=-5.0).requires_grad_()
    flow, valid = rigid_flow(depth, T_source_target=T, K=K)
    assert not valid.any() and not flow.any()
    flow.sum().backward()
    assert not depth.grad.any() and not T.grad.any()


def test_rigid_flow_of_the_exact_street_is_its_flow():
    """Exact depth and pose give the exact flow where nothing moves, and not on the vehicles."""
    street = street_pair()
    flow, valid = rigid_flow(street.depth, T_source_target=street.T_second_first, K=street.K)
    error = (flow - street.flow).norm(dim=1, keepdim=True)
    still = street.known & ~street.moving
    assert still.float().mean() > 0.5 and street.moving.float().mean() > 0.005
    assert error[still].max() < 0.02
    assert error[street.known & street.moving].median() > 0.3
    assert not (street.visible & still & ~valid).any(), "what the second frame sees is inside"


def test_gradients_by_depth_and_pose():
    """gradcheck in float64."""
    torch.manual_seed(3)
    depth = (2 + torch.rand(1, 1, 4, 5, dtype=torch.float64)).requires_grad_()
    xi = (0.05 * torch.randn(1, 6, dtype=torch.float64)).requires_grad_()

    def flow(d, x):
        return rigid_flow(d, T_source_target=exp_se3(x), K=K.double()).flow

    assert gradcheck(flow, (depth, xi))


# --- warping by flow -----------------------------------------------------------------------------


def test_zero_flow_returns_the_image():
    """To rounding, edges included."""
    image = torch.rand(2, 4, 9, 12)
    rebuilt, valid = warp_by_flow(image, torch.zeros(2, 2, 9, 12))
    assert_close_to_largest(rebuilt, image)
    assert valid.all()


def test_whole_pixel_flow_reads_that_pixel():
    """Flow (2, -1) reads (u + 2, v - 1); what leaves the image is not valid."""
    image = torch.rand(1, 1, 5, 6)
    flow = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, 5, 6)
    rebuilt, valid = warp_by_flow(image, flow)
    torch.testing.assert_close(rebuilt[..., 1:, :4], image[..., :4, 2:])
    assert valid[..., 1:, :4].all() and valid.sum() == 16


def test_flow_warp_has_gradients_to_image_and_flow():
    """gradcheck in float64, away from the corners of bilinear interpolation."""
    torch.manual_seed(5)
    image = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    flow = torch.empty(1, 2, 4, 5, dtype=torch.float64).uniform_(0.1, 0.9).requires_grad_()
    assert gradcheck(lambda i, f: warp_by_flow(i, f)[0], (image, flow), eps=1e-7, atol=1e-5)


def test_exact_flow_rebuilds_the_street():
    """Where the second frame sees the point, its colour is the first one's but for resampling."""
    street = street_pair()
    rebuilt, valid = warp_by_flow(street.second, street.flow)
    seen = (street.visible & street.known).expand_as(rebuilt)
    still = (street.second - street.first).abs()[seen].mean()
    assert (rebuilt - street.first).abs()[seen].mean() < 0.5 * still
    assert valid[street.visible & street.known].all()


def test_a_larger_second_view_is_read_beyond_the_first():
    """Flow of a 2 x 2 corner into a picture of 5 x 6: inside is the large picture."""
    image = torch.arange(30.0).view(1, 1, 5, 6)
    flow = torch.tensor([3.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    rebuilt, valid = warp_by_flow(image, flow)
    assert rebuilt.flatten().tolist() == [15, 16, 21, 22] and valid.all()
    assert warp_by_flow(image, flow + 1)[1].all() and not warp_by_flow(image, flow + 2)[1].all()


def test_wrong_shapes_are_the_callers_bug():
    """Flow has two channels, and as many pictures as there are."""
    with pytest.raises(ShapeError, match="warp_by_flow: image"):
        warp_by_flow(torch.rand(2, 3, 5, 6), torch.zeros(1, 2, 5, 6))
    with pytest.raises(ShapeError, match="warp_by_flow: flow"):
        warp_by_flow(torch.rand(1, 3, 5, 6), torch.zeros(1, 3, 5, 6))
