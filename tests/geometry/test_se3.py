# SPDX-License-Identifier: Apache-2.0
"""Rigid motions: known rotations, exp and log undo each other, gradients hold at zero rotation."""

import math

import kornia
import pytest
import torch
from kornia.geometry.liegroup import Se3, So3
from torch.autograd import gradcheck

from depthkit import rigid
from depthkit.errors import ShapeError
from depthkit.geometry.se3 import (
    exp_se3,
    exp_so3,
    hat,
    inverse,
    log_se3,
    log_so3,
    motion_from_vector,
    rigid_motion,
)

ANGLES = (0.0, 1e-9, 1e-6, 1e-4, 1.01e-4, 1e-2, 0.099, 0.101, 1.0, 2.0, math.pi - 0.1)
"""Radians, with both sides of the two places where the formulas change (1e-4 and 0.1)."""


def axes(count: int, seed: int = 0) -> torch.Tensor:
    """Random unit vectors. (count, 3) float64"""
    v = torch.randn(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return v / v.norm(dim=-1, keepdim=True)


def twists(angle: float, count: int = 8) -> torch.Tensor:
    """Twists of one angle and random velocities. (count, 6) float64"""
    return torch.cat([angle * axes(count), 3 * axes(count, seed=1)], -1)


# --- numbers by hand -----------------------------------------------------------------------------


def test_hat_is_the_cross_product():
    """hat(w) v = w x v, and x cross y is z."""
    w, v = torch.tensor([1.0, 0, 0]), torch.tensor([0, 1.0, 0])
    assert (hat(w) @ v).tolist() == [0, 0, 1]
    w, v = torch.randn(5, 3), torch.randn(5, 3)
    torch.testing.assert_close((hat(w) @ v[..., None])[..., 0], torch.linalg.cross(w, v))


def test_quarter_turn_about_z_takes_x_to_y():
    """Right-handed: a quarter turn about z takes x to y; in a camera, right to down."""
    R = exp_so3(torch.tensor([0, 0, math.pi / 2], dtype=torch.float64))
    expected = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    torch.testing.assert_close(R, expected, atol=1e-15, rtol=0)


def test_screw_of_a_half_turn_by_hand():
    """Driving 1 m on a half circle about z, from along x, ends 2 / pi to the side."""
    T = exp_se3(torch.tensor([0, 0, math.pi, 1.0, 0, 0.5], dtype=torch.float64))
    expected = torch.tensor([0, 2 / math.pi, 0.5], dtype=torch.float64)
    torch.testing.assert_close(T[:3, 3], expected, atol=1e-15, rtol=0)


def test_motion_from_vector_keeps_the_translation_as_it_is():
    """A network's translation is not bent by its rotation, unlike a twist's velocity."""
    vector = torch.tensor([[0.3, -0.2, 0.1, 1.0, 2.0, 3.0]], dtype=torch.float64)
    T = motion_from_vector(vector)
    assert T[0, :3, 3].tolist() == [1, 2, 3]
    assert T[0, 3].tolist() == [0, 0, 0, 1]
    torch.testing.assert_close(T[:, :3, :3], exp_so3(vector[:, :3]))
    assert (exp_se3(vector)[0, :3, 3] - T[0, :3, 3]).abs().max() > 0.1


def test_zero_vector_is_exactly_the_identity():
    """No motion is the identity to the last bit, in every precision."""
    for dtype in (torch.float32, torch.float64):
        assert torch.equal(
            motion_from_vector(torch.zeros(2, 6, dtype=dtype))[1], torch.eye(4, dtype=dtype)
        )
        assert torch.equal(exp_se3(torch.zeros(6, dtype=dtype)), torch.eye(4, dtype=dtype))
        assert torch.equal(log_se3(torch.eye(4, dtype=dtype)), torch.zeros(6, dtype=dtype))


def test_inverse_of_a_known_motion():
    """A camera 2 m along x, turned a quarter about z: the way back is by hand."""
    T = rigid_motion(exp_so3(torch.tensor([0, 0, math.pi / 2])), torch.tensor([2.0, 0, 0]))
    expected = torch.tensor([[0.0, 1, 0, 0], [-1, 0, 0, 2], [0, 0, 1, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(inverse(T), expected, atol=1e-6, rtol=0)


# --- properties ----------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", ANGLES)
def test_exp_of_log_is_the_motion_itself(angle):
    """exp(log T) = T and log(exp xi) = xi from no rotation to nearly half a turn."""
    xi = twists(angle)
    T = exp_se3(xi)
    torch.testing.assert_close(exp_se3(log_se3(T)), T, atol=1e-12, rtol=0)
    torch.testing.assert_close(log_se3(T), xi, atol=1e-11, rtol=0)
    torch.testing.assert_close(log_so3(T[:, :3, :3]), xi[:, :3], atol=1e-11, rtol=0)


@pytest.mark.parametrize("angle", ANGLES)
def test_rotations_are_rotations(angle):
    """R R^T = I and det R = 1, the angle is the one asked for."""
    R = exp_so3(twists(angle)[:, :3])
    eye = torch.eye(3, dtype=R.dtype).expand(8, 3, 3)
    torch.testing.assert_close(R @ R.mT, eye, atol=1e-14, rtol=0)
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(8, dtype=R.dtype))
    torch.testing.assert_close(exp_so3(-twists(angle)[:, :3]), R.mT, atol=1e-15, rtol=0)


@pytest.mark.parametrize("angle", ANGLES)
def test_inverse_undoes_a_motion(angle):
    """inverse(T) T = T inverse(T) = I, and inverting twice returns T."""
    T = exp_se3(twists(angle))
    eye = torch.eye(4, dtype=T.dtype).expand_as(T)
    torch.testing.assert_close(inverse(T) @ T, eye, atol=1e-14, rtol=0)
    torch.testing.assert_close(T @ inverse(T), eye, atol=1e-14, rtol=0)
    torch.testing.assert_close(inverse(inverse(T)), T, atol=1e-14, rtol=0)


@pytest.mark.parametrize("angle", ANGLES)
def test_single_precision_agrees_with_double(angle):
    """Float32 is as good as its own rounding at every angle, also where the series ends."""
    xi = twists(angle)
    T = exp_se3(xi)
    assert (exp_se3(xi.float()).double() - T).abs().max() < 3e-6
    assert (log_se3(T.float()).double() - xi).abs().max() < (2e-5 if angle > 3 else 5e-6)


def test_any_number_of_leading_axes():
    """A (2, 5, 6) stack is worked element by element."""
    xi = twists(0.7, count=10).unflatten(0, (2, 5))
    T = exp_se3(xi)
    assert T.shape == (2, 5, 4, 4)
    torch.testing.assert_close(T[1, 2], exp_se3(xi[1, 2]))
    torch.testing.assert_close(log_se3(T), xi)
    torch.testing.assert_close(inverse(T)[0, 3], inverse(T[0, 3]))


def test_arguments_are_not_edited():
    """Nothing edits its argument."""
    xi = twists(0.5)
    before = xi.clone()
    T = exp_se3(xi)
    T_before = T.clone()
    inverse(T), log_se3(T)
    assert torch.equal(xi, before) and torch.equal(T, T_before)


# --- agreement with others -----------------------------------------------------------------------


@pytest.mark.parametrize("angle", ANGLES)
def test_agrees_with_kornia(angle):
    """kornia's SE(3) puts the velocity first; otherwise the two are the same."""
    xi = twists(angle)
    theirs = torch.cat([xi[:, 3:], xi[:, :3]], -1)
    group = Se3.exp(theirs)
    T = exp_se3(xi)
    lost = cancelled_in_kornia(angle) * 3  # the velocity's length
    torch.testing.assert_close(T, group.matrix().detach(), atol=1e-12 + lost, rtol=0)
    torch.testing.assert_close(exp_so3(xi[:, :3]), So3.exp(xi[:, :3]).matrix(), atol=1e-12, rtol=0)
    logarithm = group.log().detach()
    torch.testing.assert_close(
        log_se3(T), torch.cat([logarithm[:, 3:], logarithm[:, :3]], -1), atol=1e-10 + lost, rtol=0
    )


def cancelled_in_kornia(angle: float) -> float:
    """What kornia before 0.9 (pip's choice on Python 3.10) loses of a translation, as a share.

    It computes (1 - cos a) / a^2 as written and multiplies by a vector of length a. 1 - cos a is
    wrong by up to the rounding of 1, eps, and 0 where a^2 is below it: min(eps / a, a / 2).
    """
    if angle == 0 or tuple(map(int, kornia.__version__.split(".")[:2])) >= (0, 9):
        return 0.0
    return min(torch.finfo(torch.float64).eps / angle, angle / 2)


@pytest.mark.parametrize("angle", ANGLES)
def test_agrees_with_the_numpy_twin(angle):
    """The torch-free motions of the robot's runtime differ only in order: velocity first."""
    xi = twists(angle)
    T = exp_se3(xi)
    swapped = xi.roll(3, -1).numpy()
    torch.testing.assert_close(T, torch.from_numpy(rigid.exp_se3(swapped)), atol=1e-12, rtol=0)
    theirs = torch.from_numpy(rigid.log_se3(T.numpy())).roll(3, -1)
    torch.testing.assert_close(log_se3(T), theirs, atol=1e-9, rtol=0)


def test_exp_is_the_matrix_exponential():
    """exp_se3 is the power series of the 4x4 generator, by definition."""
    xi = twists(1.3)
    generator = torch.zeros(8, 4, 4, dtype=torch.float64)
    generator[:, :3, :3], generator[:, :3, 3] = hat(xi[:, :3]), xi[:, 3:]
    torch.testing.assert_close(exp_se3(xi), torch.linalg.matrix_exp(generator), atol=1e-13, rtol=0)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("angle", (0.0, 1e-3, 0.09, 0.5, 2.0, math.pi - 0.1))
def test_gradients_of_exp_and_log(angle):
    """gradcheck in float64, at zero rotation too."""
    xi = twists(angle, count=2).requires_grad_()
    assert gradcheck(exp_so3, xi[:, :3].detach().requires_grad_())
    assert gradcheck(exp_se3, xi)
    assert gradcheck(motion_from_vector, xi)
    # The logarithm is defined on rotations only, so the checked path stays on them.
    assert gradcheck(lambda w: log_so3(exp_so3(w)), xi[:, :3].detach().requires_grad_())
    assert gradcheck(lambda x: log_se3(exp_se3(x)), xi)
    assert gradcheck(lambda x: inverse(exp_se3(x)), xi)


@pytest.mark.parametrize("dtype", (torch.float32, torch.float64))
def test_gradient_at_rest_is_the_generator(dtype):
    """At zero the derivative of exp by each axis is that axis' cross-product matrix."""
    w = torch.zeros(3, dtype=dtype)
    jacobian = torch.autograd.functional.jacobian(exp_so3, w)  # (3, 3, 3)
    expected = torch.stack([hat(axis) for axis in torch.eye(3, dtype=dtype)], -1)
    torch.testing.assert_close(jacobian, expected)


@pytest.mark.parametrize(
    "function", (exp_so3, exp_se3, motion_from_vector, log_so3, log_se3, inverse)
)
def test_wrong_shapes_are_named(function):
    """A shape that cannot be meant stops at the door, with the function's name."""
    with pytest.raises(ShapeError, match=f"{function.__name__}: .* must be .* got"):
        function(torch.zeros(2, 5))
