# SPDX-License-Identifier: Apache-2.0
"""Two views with known matches, made of a snippet: by its depth and motion, or by a homography.

As at work, the second view is warped by the homography of a plane before it is compared, so that a
match lies along some direction, nearby. One view is then disturbed: in its colours, by a small turn
(which the matches follow), and by up to a pixel across that direction (which they do not: a camera
is never rectified exactly) [Chebbi 2023].
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.config import SimilarityConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import pixel_grid, reproject, size_of
from depthkit.geometry.warp import inside, sample

_SEEN, _HIDDEN = 1.05, 1.1  # depth over that of the nearest surface on the same pixel
_STEP = 1.05  # of inverse depth: its effect on the place is the direction of search
_CORNERS = 0.08  # of the window: how far a random homography moves its corners
_TURN = math.radians(2)
_GAMMA, _GAIN, _BIAS, _NOISE = 0.3, 0.25, 0.08, 0.02  # of [0, 1], at strength 1


@dataclass(frozen=True)
class MatchPairs:
    """Two views of B scenes and N points in each."""

    first: Tensor
    """RGB in [0, 1]. (B, 3, H, W)"""
    second: Tensor
    """RGB in [0, 1], warped to lie near the first, and disturbed. (B, 3, H, W)"""
    points: Tensor
    """Whole pixels (u, v) of the first. (B, N, 2) int"""
    matches: Tensor
    """Where they lie in the second, pixels (u, v). (B, N, 2)"""
    direction: Tensor
    """Direction of search in the second, length 1. (B, N, 2)"""
    visible: Tensor
    """The second view shows the point. (B, N) bool"""
    hidden: Tensor
    """Something nearer hides it there. (B, N) bool"""


@dataclass(frozen=True)
class _Places:
    """Where each pixel of the target lies in the source."""

    at: Tensor
    """Pixels (u, v). (B, 2, H, W)"""
    beside: Tensor
    """The same for a depth that is a little smaller. (B, 2, H, W)"""
    visible: Tensor
    """(B, 1, H, W) bool"""
    hidden: Tensor
    """(B, 1, H, W) bool"""


@torch.no_grad()
def make_pairs(snippet: Snippet, config: SimilarityConfig) -> MatchPairs:
    """Make pairs of views with known matches; what is drawn comes from torch's generator.

    Args:
        snippet: a batch; one of its sources is taken for each target.
        config: how pairs are made.
    """
    batch, height, width = len(snippet.target), *size_of(snippet.target)
    rows = torch.arange(batch, device=snippet.target.device)
    # 1. One source a target; the target itself where a homography makes the pair.
    source = torch.randint(snippet.sources.shape[1], (batch,), device=rows.device)
    motion = snippet.T_source_target_gt[rows, source]
    by_motion = _has_motion(snippet, motion) & (
        torch.rand(batch, device=rows.device) >= config.homography_share
    )
    motion = torch.where(by_motion[:, None, None], motion, torch.eye(4, device=rows.device))
    views = by_motion.view(-1, 1, 1, 1)
    seen = torch.where(views, snippet.sources[rows, source], snippet.target)
    depth = torch.where(views, snippet.depth_gt, 1.0)
    # 2. Where each pixel lies in the source, and whether it is seen there.
    places = _find_places(depth, motion, snippet.K)
    # 3. The window, and the homography that brings the source near the target.
    size = config.window or (height, width)
    top, left = (int(torch.randint(b - s + 1, ())) for b, s in zip((height, width), size, strict=True))
    H = torch.where(
        by_motion[:, None, None],
        _plane_homographies(depth, motion, snippet.K),
        _random_homographies(batch, size, corner=(left, top), like=depth),
    )
    turn = _turns(batch, size, corner=(left, top), strength=config.disturbance, like=depth)
    H_source_second = H @ turn
    # 4. Matches, and the direction of search.
    back = torch.linalg.inv(H_source_second)
    at, beside = _move(places.at, back), _move(places.beside, back)
    direction = _directions(beside - at)
    # 5. The second view, disturbed.
    shift = _across(direction) * (2 * torch.rand(batch, 1, device=rows.device) - 1)
    shift = config.disturbance * shift
    grid = _window_grid(size, (left, top), depth).expand(batch, -1, -1, -1)
    second = sample(seen, _move(grid + shift[..., None, None], H_source_second))
    second = disturb(second, strength=config.disturbance)
    # 6. Points, half of the hidden ones first.
    part = (..., slice(top, top + size[0]), slice(left, left + size[1]))
    corner = at.new_tensor([left, top])
    matches = at[part] - corner[:, None, None]
    usable = snippet.valid[part] & inside(matches, torch.ones_like(matches[:, :1]), size)
    points, flat = _draw_points(
        usable & places.visible[part], usable & places.hidden[part], config.points
    )
    chosen = matches.flatten(2).gather(2, flat[:, None].expand(-1, 2, -1)).transpose(1, 2)
    along = direction[part].flatten(2).gather(2, flat[:, None].expand(-1, 2, -1)).transpose(1, 2)
    visible, hidden = (
        (usable & kind[part]).flatten(1).gather(1, flat)
        for kind in (places.visible, places.hidden)
    )
    first = snippet.target[part]
    return MatchPairs(first, second, points, chosen, along, visible, hidden)


def _has_motion(snippet: Snippet, motion: Tensor) -> Tensor:
    """Tell which pairs have a motion of some length, and depth. (B,) bool"""
    known = motion.isfinite().all(-1).all(-1) & (snippet.depth_gt > 0).flatten(1).any(1)
    return known & (motion[:, :3, 3].norm(dim=1) > 0)


def _find_places(depth: Tensor, motion: Tensor, K: Tensor) -> _Places:
    known = depth > 0
    depth = torch.where(known, depth, 1.0)
    at, far = reproject(depth, T_source_target=motion, K_target=K, K_source=K)
    beside, _ = reproject(depth / _STEP, T_source_target=motion, K_target=K, K_source=K)
    here = known & inside(at, far, size_of(depth))
    ratio = far / nearest_surface(at, far, here)
    return _Places(at, beside, here & (ratio < _SEEN), here & (ratio > _HIDDEN))


def nearest_surface(pixels: Tensor, depth: Tensor, usable: Tensor) -> Tensor:
    """Return the least depth of all points that fall on the pixels around each point's place.

    Args:
        pixels: places (u, v) in the other view. (B, 2, H, W)
        depth: of the points there, metres. (B, 1, H, W)
        usable: points that count. (B, 1, H, W) bool

    Returns:
        Metres, the point's own depth at the most. (B, 1, H, W)
    """
    batch, height, width = len(depth), *size_of(depth)
    own = torch.where(usable, depth, torch.inf).flatten(1)  # (B, H*W)
    corner = pixels.floor().clamp(min=-1, max=max(height, width)).long()
    nearest = depth.new_full((batch, height * width), torch.inf)
    around = list[Tensor]()
    for du, dv in ((0, 0), (1, 0), (0, 1), (1, 1)):
        u = (corner[:, 0] + du).clamp(0, width - 1)
        v = (corner[:, 1] + dv).clamp(0, height - 1)
        around.append((v * width + u).flatten(1))
        nearest.scatter_reduce_(1, around[-1], own, "amin")
    found = torch.stack([nearest.gather(1, index) for index in around]).amin(0)
    return torch.minimum(found, own).where(usable.flatten(1), 1.0).view_as(depth)


def _plane_homographies(depth: Tensor, motion: Tensor, K: Tensor) -> Tensor:
    """Return K (R + q t n^T) K^-1 for a plane facing the camera at an inverse depth of the scene.

    (B, 3, 3), pixels of the target to pixels of the source.
    """
    inverse_depths = list[Tensor]()
    for one in depth.flatten(1):
        known = one[one > 0]
        place = int(torch.randint(max(len(known), 1), ()))
        inverse_depths.append(1 / known[place] if len(known) else one.new_ones(()))
    q = torch.stack(inverse_depths)[:, None]
    flat = motion[:, :3, :3].clone()
    flat[:, :, 2] += q * motion[:, :3, 3]
    return K @ flat @ torch.linalg.inv(K)


def _random_homographies(
    batch: int, size: tuple[int, int], *, corner: tuple[int, int], like: Tensor
) -> Tensor:
    """Draw homographies that move the corners of the window by a few percent of it. (B, 3, 3)"""
    (height, width), (left, top) = size, corner
    before = like.new_tensor([[0, 0], [width, 0], [width, height], [0, height]])
    before = before + before.new_tensor([left, top])
    moved = (2 * torch.rand(batch, 4, 2, device=like.device) - 1) * _CORNERS
    after = before + moved * before.new_tensor([width, height])
    return torch.stack([four_point_homography(before, each) for each in after])


def four_point_homography(before: Tensor, after: Tensor) -> Tensor:
    """Return the homography that takes four points to four others. (4, 2) twice -> (3, 3)"""
    rows = list[Tensor]()
    for (u, v), (x, y) in zip(before, after, strict=True):
        one, none = torch.ones_like(u), torch.zeros_like(u)
        rows.append(torch.stack([u, v, one, none, none, none, -u * x, -v * x]))
        rows.append(torch.stack([none, none, none, u, v, one, -u * y, -v * y]))
    matrix = torch.stack(rows).double()
    solved = torch.linalg.solve(matrix, after.reshape(-1).double())
    return torch.cat([solved, solved.new_ones(1)]).view(3, 3).to(before.dtype)


def _turns(
    batch: int, size: tuple[int, int], *, corner: tuple[int, int], strength: float, like: Tensor
) -> Tensor:
    """Draw small turns about the middle of the window. (B, 3, 3)"""
    angle = strength * _TURN * (2 * torch.rand(batch, device=like.device) - 1)
    middle = like.new_tensor([corner[0] + size[1] / 2, corner[1] + size[0] / 2])
    cos, sin = angle.cos(), angle.sin()
    R = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    turn = torch.eye(3, device=like.device).repeat(batch, 1, 1)
    turn[:, :2, :2] = R
    turn[:, :2, 2] = middle - (R @ middle[:, None])[..., 0]
    return turn


def _window_grid(size: tuple[int, int], corner: tuple[int, int], like: Tensor) -> Tensor:
    """Return the pixels (u, v) of a window. (1, 2, H, W)"""
    grid = pixel_grid(*size, like)[:2].unflatten(1, size)
    return (grid + like.new_tensor(corner)[:, None, None])[None]


def _move(pixels: Tensor, H: Tensor) -> Tensor:
    """Apply homographies to pixels. (B, 2, H, W)"""
    whole = torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1).flatten(2)
    moved = (H @ whole).unflatten(2, size_of(pixels))
    return moved[:, :2] / moved[:, 2:].clamp(min=1e-6)


def _directions(step: Tensor) -> Tensor:
    """Return directions of length 1; one drawn for all points of a pair without parallax."""
    angle = 2 * math.pi * torch.rand(len(step), device=step.device)
    drawn = torch.stack([angle.cos(), angle.sin()], 1)[..., None, None]
    length = step.norm(dim=1, keepdim=True)
    return torch.where(length > 1e-4, step / length.clamp(min=1e-4), drawn)


def _across(direction: Tensor) -> Tensor:
    """Return the direction across the mean direction of search. (B, 2, H, W) -> (B, 2)"""
    mean = F.normalize(direction.mean((2, 3)), dim=1)
    return torch.stack([-mean[:, 1], mean[:, 0]], 1)


def _draw_points(visible: Tensor, hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw points: up to an eighth hidden, the others visible where there are enough.

    Returns:
        Pixels (u, v), (B, N, 2), and their numbers row by row, (B, N).
    """
    width = visible.shape[-1]
    drawn = torch.rand(visible.shape, device=visible.device)
    rank = [
        torch.where(kind, drawn, drawn - 1).flatten(1).topk(min(n, drawn[0].numel()), dim=1).indices
        for kind, n in ((visible, count - count // 8), (hidden, count // 8))
        if n
    ]
    flat = torch.cat(rank, 1)
    return torch.stack([flat % width, flat // width], 2), flat


def disturb(image: Tensor, *, strength: float) -> Tensor:
    """Change contrast, brightness, gamma and sharpness of each picture, and add noise.

    Args:
        image: RGB in [0, 1]. (B, 3, H, W)
        strength: 0 for none.
    """
    if strength == 0:
        return image
    gain, bias, gamma, noise, blur = (
        torch.rand(5, len(image), 1, 1, 1, device=image.device) * 2 - 1
    ) * strength
    mean = image.mean((1, 2, 3), keepdim=True)
    changed = (image - mean) * (1 + _GAIN * gain) + mean + _BIAS * bias
    changed = changed.clamp(1e-3, 1).pow((_GAMMA * gamma).exp())
    soft = F.avg_pool2d(F.pad(changed, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    changed = torch.lerp(changed, soft, blur.clamp(0, 1))
    return (changed + _NOISE * noise.clamp(min=0) * torch.randn_like(image)).clamp(0, 1)
