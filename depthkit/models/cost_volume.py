# SPDX-License-Identifier: Apache-2.0
"""Correlation of each pixel's features with those around it in the other view [Sun 2018, PWC-Net].

Taken shift by shift it is memory traffic, 81 times the features. Here blocks of pixels meet the
window around them in one matrix product: most of its numbers are not wanted, and it is still three
times faster on a CPU. What is wanted lies on diagonals, which strides read without a copy.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from depthkit.errors import check_shape

RADIUS = 4  # pixels each way
SHIFTS = (2 * RADIUS + 1) ** 2
_BLOCK = 8
_WINDOW = _BLOCK + 2 * RADIUS


def correlate(first: Tensor, second: Tensor) -> Tensor:
    """Return the mean product of features of a pixel and of each shifted one; 0 beyond the border.

    Args:
        first, second: features of two views. (N, C, H, W)

    Returns:
        For the shifts (du, dv) from -4 to 4, du running fastest. (N, 81, H, W)
    """
    check_shape("correlate: first", first, "N C H W")
    check_shape("correlate: second", second, " ".join(map(str, first.shape)))
    if torch.is_grad_enabled():
        return _Correlation.apply(first, second)
    if torch.onnx.is_in_onnx_export() or torch.compiler.is_exporting():
        return _by_shift(first, second)
    return _products(*_cut(first, second), first.shape)


def _by_shift(first: Tensor, second: Tensor) -> Tensor:
    """The same with operations that an exported network may have. (N, 81, H, W)"""
    around = F.pad(second, (RADIUS,) * 4)
    # Nine shifts at a time, ends counted from the border: few nodes, so that runtimes open fast.
    reach = [slice(i, i - 2 * RADIUS or None) for i in range(2 * RADIUS + 1)]
    sideways = torch.stack([around[..., columns] for columns in reach], 1)  # (N, 9, C, H + 8, W)
    return torch.cat([(first[:, None] * sideways[..., rows, :]).mean(2) for rows in reach], 1)


class _Correlation(torch.autograd.Function):
    """Products of blocks with windows; differentiable once."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        blocks, windows = _cut(first, second)
        ctx.save_for_backward(blocks, windows)
        ctx.shape = first.shape
        return _products(blocks, windows, first.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        blocks, windows = ctx.saved_tensors
        batch, channels, height, width = ctx.shape
        rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
        grad = F.pad(grads[0] / channels, (0, -width % _BLOCK, 0, -height % _BLOCK))
        grad = grad.view(batch, 2 * RADIUS + 1, 2 * RADIUS + 1, rows, _BLOCK, columns, _BLOCK)
        products = blocks.new_zeros(len(blocks), _BLOCK**2, _WINDOW**2)
        _diagonals(products, batch, rows, columns).copy_(grad.permute(0, 3, 5, 4, 6, 1, 2))
        by_first = torch.bmm(products, windows)  # (N*rows*columns, 64, C)
        by_second = torch.bmm(products.transpose(1, 2), blocks)  # (N*rows*columns, 256, C)
        by_first = by_first.view(batch, rows, columns, _BLOCK, _BLOCK, channels)
        by_first = by_first.permute(0, 5, 1, 3, 2, 4).reshape(
            batch, channels, rows * _BLOCK, columns * _BLOCK
        )
        by_second = by_second.view(batch, rows, columns, _WINDOW, _WINDOW, channels)
        return by_first[..., :height, :width], _lay_windows(by_second, height, width)


def _cut(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Cut blocks of the first view and the windows around them of the second.

    Returns:
        (N*rows*columns, 64, C) and (N*rows*columns, 256, C)
    """
    batch, channels, height, width = first.shape
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    below, right = -height % _BLOCK, -width % _BLOCK
    a = F.pad(first, (0, right, 0, below))
    a = a.view(batch, channels, rows, _BLOCK, columns, _BLOCK).permute(0, 2, 4, 3, 5, 1)
    b = F.pad(second, (RADIUS, RADIUS + right, RADIUS, RADIUS + below))
    n, c, v, u = b.stride()
    b = b.as_strided(
        (batch, rows, columns, _WINDOW, _WINDOW, channels),
        (n, _BLOCK * v, _BLOCK * u, v, u, c),
    )
    count = batch * rows * columns
    return a.reshape(count, -1, channels), b.reshape(count, -1, channels)


def _products(blocks: Tensor, windows: Tensor, shape: torch.Size) -> Tensor:
    batch, channels, height, width = shape
    rows, columns = -(-height // _BLOCK), -(-width // _BLOCK)
    products = torch.bmm(blocks, windows.transpose(1, 2))  # (N*rows*columns, 64, 256)
    volume = _diagonals(products, batch, rows, columns).permute(0, 1, 3, 2, 4, 5, 6)
    volume = volume.reshape(batch, rows * _BLOCK, columns * _BLOCK, SHIFTS)
    return volume[:, :height, :width].permute(0, 3, 1, 2) / channels


def _diagonals(products: Tensor, batch: int, rows: int, columns: int) -> Tensor:
    """View what lies at most 4 pixels apart. (N, rows, columns, 8, 8, 9, 9): (.., v, u, dv, du)"""
    reach, block = 2 * RADIUS + 1, _BLOCK**2 * _WINDOW**2
    line = _WINDOW**2  # from one pixel of a block to the next
    return products.as_strided(
        (batch, rows, columns, _BLOCK, _BLOCK, reach, reach),
        (
            rows * columns * block,
            columns * block,
            block,
            _BLOCK * line + _WINDOW,
            line + 1,
            _WINDOW,
            1,
        ),
    )


def _lay_windows(windows: Tensor, height: int, width: int) -> Tensor:
    """Add overlapping windows up where they were cut. (N, rows, columns, 16, 16, C) -> N C H W

    A window is two blocks wide: four sums of quarters that do not overlap.
    """
    batch, rows, columns, _, _, channels = windows.shape
    total = windows.new_zeros(batch, rows + 1, columns + 1, _BLOCK, _BLOCK, channels)
    parts = windows.view(batch, rows, columns, 2, _BLOCK, 2, _BLOCK, channels)
    for down in (0, 1):
        for right in (0, 1):
            total[:, down : down + rows, right : right + columns] += parts[:, :, :, down, :, right]
    laid = total.permute(0, 5, 1, 3, 2, 4).reshape(
        batch, channels, (rows + 1) * _BLOCK, (columns + 1) * _BLOCK
    )
    return laid[..., RADIUS : RADIUS + height, RADIUS : RADIUS + width]
