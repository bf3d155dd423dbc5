# SPDX-License-Identifier: Apache-2.0
"""Photometric error: SSIM by hand and by three references, its hand-written gradient, L1."""

import importlib

import kornia.metrics
import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from depthkit.errors import ShapeError
from depthkit.losses.photometric import l1_error, photometric_error, ssim

C1, C2 = 0.01**2, 0.03**2
SIZES = ((2, 2), (2, 5), (3, 3), (4, 2), (7, 6))
"""The border rules of the adjoint meet each other on images of two or three pixels."""


def pair(size: tuple[int, int] = (7, 6), seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two noisy views of one picture. (2, 3, H, W) float64 each"""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(2, 3, *size, dtype=torch.float64, generator=generator)
    noise = torch.rand(2, 3, *size, dtype=torch.float64, generator=generator)
    return x, 0.7 * x + 0.3 * noise


def plain_ssim(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """SSIM as the paper writes it, by pooling, with torch's own gradient."""

    def mean(a):
        return F.avg_pool2d(F.pad(a, (1, 1, 1, 1), mode="reflect"), 3, 1)

    mx, my = mean(x), mean(y)
    sx, sy, sxy = mean(x * x) - mx**2, mean(y * y) - my**2, mean(x * y) - mx * my
    return (2 * mx * my + C1) * (2 * sxy + C2) / ((mx**2 + my**2 + C1) * (sx + sy + C2))


# --- numbers by hand -----------------------------------------------------------------------------


def test_ssim_of_flat_images_is_the_luminance_term():
    """Without texture, SSIM = (2ab + C1) / (a^2 + b^2 + C1): 0.4 and 0.8 give 0.6401 / 0.8001."""
    x, y = (
        torch.full((1, 1, 4, 4), 0.4, dtype=torch.float64),
        torch.full((1, 1, 4, 4), 0.8, dtype=torch.float64),
    )
    expected = torch.full((1, 1, 4, 4), 0.6401 / 0.8001, dtype=torch.float64)
    torch.testing.assert_close(ssim(x, y), expected, atol=1e-12, rtol=0)


def test_ssim_of_one_dot_by_hand():
    """A dot of 0.9 in the dark seen as grey 0.1: window mean 0.1, variance 0.09 - 0.01 = 0.08."""
    x = torch.zeros(1, 1, 3, 3, dtype=torch.float64)
    x[0, 0, 1, 1] = 0.9
    y = torch.full_like(x, 0.1)
    expected = C2 / (0.08 + C2)  # equal means, no covariance
    assert ssim(x, y)[0, 0, 1, 1].item() == pytest.approx(expected, rel=1e-9)


def test_opposite_texture_has_negative_similarity():
    """A chequerboard and its negative: covariance is minus the variance."""
    x = (torch.arange(36).view(6, 6) + torch.arange(6)[:, None]).remainder(2).double()[None, None]
    s = ssim(x, 1 - x)
    assert (s < -0.9).all() and (s >= -1).all()


def test_l1_is_the_mean_over_colours():
    """(0.1, 0.2, 0.6) away gives 0.3."""
    target = torch.full((1, 3, 2, 2), 0.3)
    image = target + torch.tensor([0.1, -0.2, 0.6]).view(1, 3, 1, 1)
    torch.testing.assert_close(l1_error(image, target), torch.full((1, 1, 2, 2), 0.3))


def test_photometric_error_of_flat_images_by_hand():
    """0.85 (1 - SSIM) / 2 + 0.15 * 0.4 for 0.4 against 0.8."""
    x, y = (
        torch.full((1, 3, 4, 4), 0.4, dtype=torch.float64),
        torch.full((1, 3, 4, 4), 0.8, dtype=torch.float64),
    )
    expected = 0.85 * (1 - 0.6401 / 0.8001) / 2 + 0.15 * 0.4
    assert photometric_error(x, y)[0, 0, 2, 2].item() == pytest.approx(expected, rel=1e-9)


def test_without_ssim_stands_l1_alone_and_the_reverse():
    """The weight shares the two terms out."""
    x, y = pair()
    torch.testing.assert_close(photometric_error(x, y, ssim_weight=0), l1_error(x, y))
    alone = ((1 - ssim(x, y)) / 2).mean(1, keepdim=True)
    torch.testing.assert_close(photometric_error(x, y, ssim_weight=1), alone)


# --- properties ----------------------------------------------------------------------------------


def test_equal_images_have_no_error():
    """SSIM of an image with itself is 1 and the error 0, in float32 to rounding."""
    x, _ = pair((20, 30))
    torch.testing.assert_close(ssim(x, x), torch.ones_like(x), atol=1e-12, rtol=0)
    assert photometric_error(x.float(), x.float()).abs().max() < 1e-4


def test_ssim_is_symmetric_and_bounded():
    """SSIM(x, y) = SSIM(y, x), in [-1, 1]."""
    x, y = pair((20, 30))
    torch.testing.assert_close(ssim(x, y), ssim(y, x))
    assert ssim(x, y).abs().max() <= 1


def test_mirrored_images_have_the_mirrored_error():
    """No border is favoured."""
    x, y = pair()
    for axis in (2, 3):
        mirrored = photometric_error(x.flip(axis), y.flip(axis)).flip(axis)
        torch.testing.assert_close(mirrored, photometric_error(x, y))


def test_images_and_colours_of_a_batch_do_not_mix():
    """The error of one image is the same alone and in company."""
    x, y = pair()
    torch.testing.assert_close(photometric_error(x[1:], y[1:]), photometric_error(x, y)[1:])
    torch.testing.assert_close(ssim(x[:, 1:2], y[:, 1:2]), ssim(x, y)[:, 1:2])


def test_arguments_are_not_edited():
    """The in-place arithmetic stays inside, forward and backward."""
    x, y = pair()
    x_before, y_before = x.clone(), y.clone()
    ssim(x.requires_grad_(), y).sum().backward()
    assert torch.equal(x.detach(), x_before) and torch.equal(y, y_before)


# --- references ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_ssim_is_the_papers_formula(size):
    """Equal to the plain formula over pooled windows, borders too."""
    x, y = pair(size)
    torch.testing.assert_close(ssim(x, y), plain_ssim(x, y), atol=1e-12, rtol=0)


@pytest.mark.parametrize("size", SIZES)
def test_hand_written_gradient_is_autograds(size):
    """The written-out backward equals torch's gradient of the plain formula, for any weighting."""
    x, y = pair(size)
    weights = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(2))
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    (ssim(ours, y) * weights).sum().backward()
    (plain_ssim(theirs, y) * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-9, rtol=1e-9)


def test_single_precision_gradient_is_close_on_smooth_images():
    """In float32 the gradient keeps three digits on a nearly flat picture, where C2 rules."""
    x, y = pair((12, 14))
    x, y = 0.5 + 0.02 * x, 0.5 + 0.02 * y
    single, double = x.float().requires_grad_(), x.clone().requires_grad_()
    ssim(single, y.float()).sum().backward()
    ssim(double, y).sum().backward()
    assert (single.grad - double.grad).abs().max() < 2e-3 * double.grad.abs().max()


def test_ssim_follows_kornias_where_the_windows_agree(monkeypatch):
    """kornia weighs its window by a Gaussian; with equal weights it is the same map."""
    x, y = pair((9, 8))
    module = importlib.import_module("kornia.metrics.ssim")  # its function hides it

    def equal_weights(size, sigma, **options):
        return torch.full((1, size), 1 / size, dtype=x.dtype)

    monkeypatch.setattr(module, "get_gaussian_kernel1d", equal_weights)
    theirs = kornia.metrics.ssim(x, y, 3, eps=0.0)
    torch.testing.assert_close(ssim(x, y), theirs, atol=1e-12, rtol=0)


def test_ssim_follows_kornias_gaussian_on_flat_windows():
    """Where windows are flat the weighting does not matter, and kornia's own map is ours."""
    x, y = (
        torch.full((1, 3, 5, 6), 0.3, dtype=torch.float64),
        torch.full((1, 3, 5, 6), 0.9, dtype=torch.float64),
    )
    torch.testing.assert_close(ssim(x, y), kornia.metrics.ssim(x, y, 3, eps=0.0), atol=1e-9, rtol=0)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_gradcheck_of_ssim(size):
    """float64 finite differences confirm the gradient by the image."""
    x, y = pair(size)
    assert gradcheck(lambda a: ssim(a, y[:1, :1]), x[:1, :1].clone().requires_grad_())


def test_gradcheck_of_the_photometric_error():
    """Both terms together, away from equal colours where L1 has its corner."""
    x, y = pair((4, 5))
    assert (x - y).abs().min() > 1e-5, "choose another seed"
    assert gradcheck(lambda a: photometric_error(a, y), x.requires_grad_())


def test_target_gets_no_gradient():
    """The target is what is seen; only the rebuilt view is moved by SSIM."""
    x, y = pair()
    ssim(x.requires_grad_(), y.requires_grad_()).sum().backward()
    assert y.grad is None


def test_two_backward_passes_give_the_same_gradient():
    """Nothing saved for the backward is used up by it."""
    x, y = pair()
    loss = ssim(x.requires_grad_(), y).sum()
    (first,) = torch.autograd.grad(loss, x, retain_graph=True)
    (second,) = torch.autograd.grad(loss, x)
    assert torch.equal(first, second)


def test_second_derivative_is_refused_not_wrong():
    """The hand-written gradient has none of its own: asking for one is an error."""
    x, y = pair()
    (gradient,) = torch.autograd.grad(ssim(x.requires_grad_(), y).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable|does not require grad"):
        torch.autograd.grad(gradient.sum(), x)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_gradient_of_black_and_white_is_finite(value):
    """Saturated frames divide by C1 C2 at worst: finite, in float32."""
    x = torch.full((1, 3, 6, 6), value, requires_grad=True)
    photometric_error(x, torch.zeros(1, 3, 6, 6)).mean().backward()
    assert x.grad.isfinite().all()


# --- bad input -----------------------------------------------------------------------------------


def test_shapes_that_would_broadcast_are_refused():
    """A target with one channel or one image must not be spread silently."""
    x = torch.rand(2, 3, 4, 4)
    for other in (x[:1], x[:, :1], x[..., :3]):
        with pytest.raises(ShapeError, match=r"ssim: target must be \(2, 3, 4, 4\), got"):
            ssim(x, other)
        with pytest.raises(ShapeError, match=r"l1_error: target must be \(2, 3, 4, 4\), got"):
            photometric_error(x, other, ssim_weight=0)
    with pytest.raises(ShapeError, match=r"ssim: image must be \(B, C, H, W\)"):
        ssim(x[0], x[0])
