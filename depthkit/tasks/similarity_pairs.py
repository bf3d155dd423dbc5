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
class _Window:
    """The part of the pictures that is compared."""

    top: int
    left: int
    size: tuple[int, int]
    """(H, W), pixels."""

    def cut(self, maps: Tensor) -> Tensor:
        """(..., H, W) -> (..., h, w)"""
        (height, width), top, left = self.size, self.top, self.left
        return maps[..., top : top + height, left : left + width]

    def corner(self, like: Tensor) -> Tensor:
        """First pixel (u, v). (2, 1, 1)"""
        return like.new_tensor([self.left, self.top])[:, None, None]


@dataclass(frozen=True)
class _Views:
    """Target and source of each pair; the target itself where a homography makes the pair."""

    seen: Tensor
    """The sources. (B, 3, H, W)"""
    depth: Tensor
    """Depth of the targets in the window, metres; 0 where unknown. (B, 1, h, w)"""
    motion: Tensor
    """T_source_target. (B, 4, 4)"""
    by_motion: Tensor
    """Pairs of two frames. (B,) bool"""


@dataclass(frozen=True)
class _Places:
    """Where each pixel of the window lies in the source."""

    at: Tensor
    """Pixels (u, v). (B, 2, h, w)"""
    beside: Tensor
    """The same for a depth that is a little smaller. (B, 2, h, w)"""
    visible: Tensor
    """(B, 1, h, w) bool"""
    hidden: Tensor
    """(B, 1, h, w) bool"""


@torch.no_grad()
def make_pairs(snippet: Snippet, config: SimilarityConfig) -> MatchPairs:
    """Make pairs of views with known matches; what is drawn comes from torch's generator.

    Args:
        snippet: a batch; one of its sources is taken for each target.
        config: how pairs are made.
    """
    # 1. A window, and one source for each target.
    window = _draw_window(size_of(snippet.target), config.window)
    views = _choose_views(snippet, window, config.homography_share)
    # 2. Where each pixel lies in the source, and whether it is seen there.
    places = _find_places(views, snippet.K, window)
    # 3. The homography that brings the source near the target, with a small turn.
    H = torch.where(
        views.by_motion[:, None, None],
        _plane_homographies(views, snippet.K),
        _random_homographies(len(views.depth), window, like=views.depth),
    )
    H = H @ _turns(len(H), window, strength=config.disturbance, like=H)
    # 4. Matches in the second view, and the direction of search there.
    back = torch.linalg.inv(H)
    matches = _move(places.at, back)
    direction = _directions(_move(places.beside, back) - matches)
    matches = matches - window.corner(matches)
    # 5. The second view, a little off across that direction, and disturbed.
    off = 2 * torch.rand(len(H), 1, device=H.device) - 1
    off = config.disturbance * off * _across(direction)
    grid = pixel_grid(*window.size, H)[:2].unflatten(1, window.size) + window.corner(H)
    second = sample(views.seen, _move(grid + off[..., None, None], H))
    second = disturb(second, strength=config.disturbance)
    # 6. Points.
    usable = window.cut(snippet.valid) & inside(
        matches, torch.ones_like(matches[:, :1]), window.size
    )
    visible, hidden = usable & places.visible, usable & places.hidden
    points, index = draw_points(visible, hidden, config.points)
    return MatchPairs(
        first=window.cut(snippet.target),
        second=second,
        points=points,
        matches=_take(matches, index),
        direction=_take(direction, index),
        visible=visible.flatten(1).gather(1, index),
        hidden=hidden.flatten(1).gather(1, index),
    )


def _draw_window(whole: tuple[int, int], size: tuple[int, int] | None) -> _Window:
    if size is None:
        return _Window(0, 0, whole)
    top, left = (int(torch.randint(b - s + 1, ())) for b, s in zip(whole, size, strict=True))
    return _Window(top, left, size)


def _choose_views(snippet: Snippet, window: _Window, homography_share: float) -> _Views:
    """Draw a source for each target, and which pairs a homography makes."""
    batch, device = len(snippet.target), snippet.target.device
    rows = torch.arange(batch, device=device)
    source = torch.randint(snippet.sources.shape[1], (batch,), device=device)
    motion = snippet.T_source_target_gt[rows, source]
    depth = window.cut(snippet.depth_gt)
    known = motion.isfinite().all(-1).all(-1) & (depth > 0).flatten(1).any(1)
    moves = known & (motion[:, :3, 3].norm(dim=1) > 0)
    by_motion = moves & (torch.rand(batch, device=device) >= homography_share)
    seen = torch.where(by_motion.view(-1, 1, 1, 1), snippet.sources[rows, source], snippet.target)
    motion = torch.where(by_motion[:, None, None], motion, torch.eye(4, device=device))
    return _Views(seen, torch.where(by_motion.view(-1, 1, 1, 1), depth, 1.0), motion, by_motion)


def _find_places(views: _Views, K: Tensor, window: _Window) -> _Places:
    known = views.depth > 0
    depth = torch.where(known, views.depth, 1.0)
    K_window = K.clone()
    K_window[:, :2, 2] -= window.corner(K)[:, 0, 0]
    cameras = {"T_source_target": views.motion, "K_target": K_window, "K_source": K}
    at, far = reproject(depth, **cameras)
    beside, _ = reproject(depth / _STEP, **cameras)
    size = size_of(views.seen)
    here = known & inside(at, far, size)
    ratio = far / nearest_surface(at, far, here, size=size)
    return _Places(at, beside, here & (ratio < _SEEN), here & (ratio > _HIDDEN))


def nearest_surface(
    pixels: Tensor, depth: Tensor, usable: Tensor, *, size: tuple[int, int]
) -> Tensor:
    """Return the least depth of all points that fall on the pixels around each point's place.

    Args:
        pixels: places (u, v) in the other view. (B, 2, h, w)
        depth: of the points there, metres. (B, 1, h, w)
        usable: points that count. (B, 1, h, w) bool
        size: of the other view, (H, W) pixels.

    Returns:
        Metres, the point's own depth at the most. (B, 1, h, w)
    """
    batch, (height, width) = len(depth), size
    own = torch.where(usable, depth, torch.inf).flatten(1)  # (B, h*w)
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


def _plane_homographies(views: _Views, K: Tensor) -> Tensor:
    """Return K (R + q t n^T) K^-1 for a plane facing the camera at an inverse depth of the scene.

    (B, 3, 3), pixels of the target to pixels of the source.
    """
    inverse_depths = list[Tensor]()
    for one in views.depth.flatten(1):
        known = one[one > 0]
        place = int(torch.randint(max(len(known), 1), ()))
        inverse_depths.append(1 / known[place] if len(known) else one.new_ones(()))
    q = torch.stack(inverse_depths)[:, None]
    flat = views.motion[:, :3, :3].clone()
    flat[:, :, 2] += q * views.motion[:, :3, 3]
    return K @ flat @ torch.linalg.inv(K)


def _random_homographies(batch: int, window: _Window, *, like: Tensor) -> Tensor:
    """Draw homographies that move the corners of the window by a few percent of it. (B, 3, 3)"""
    height, width = window.size
    before = like.new_tensor([[0, 0], [width, 0], [width, height], [0, height]])
    before = before + window.corner(like)[:, 0, 0]
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


def _turns(batch: int, window: _Window, *, strength: float, like: Tensor) -> Tensor:
    """Draw small turns about the middle of the window. (B, 3, 3)"""
    angle = strength * _TURN * (2 * torch.rand(batch, device=like.device) - 1)
    middle = like.new_tensor(window.size[::-1]) / 2 + window.corner(like)[:, 0, 0]
    cos, sin = angle.cos(), angle.sin()
    R = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
    turn = torch.eye(3, device=like.device).repeat(batch, 1, 1)
    turn[:, :2, :2] = R
    turn[:, :2, 2] = middle - R @ middle
    return turn


def _move(pixels: Tensor, H: Tensor) -> Tensor:
    """Apply homographies to pixels. (B or 1, 2, h, w), (B, 3, 3) -> (B, 2, h, w)"""
    flat = pixels.flatten(-2)
    moved = H[:, :, :2] @ flat + H[:, :, 2:]  # (B, 3, h*w)
    return (moved[:, :2] / moved[:, 2:].clamp(min=1e-6)).unflatten(2, size_of(pixels))


def _take(maps: Tensor, index: Tensor) -> Tensor:
    """Take pixels by their numbers. (B, 2, h, w), (B, N) -> (B, N, 2)"""
    return maps.flatten(2).gather(2, index[:, None].expand(-1, 2, -1)).transpose(1, 2)


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


def draw_points(visible: Tensor, hidden: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Draw points: an eighth of them hidden, the others visible, where there are enough.

    Args:
        visible, hidden: pixels that may be drawn; others fill up. (B, 1, h, w) bool
        count: number of points N, at most twice the pixels.

    Returns:
        Pixels (u, v), (B, N, 2) int, and their numbers row by row, (B, N) int.
    """
    width, pixels = visible.shape[-1], visible[0].numel()
    drawn = torch.rand(visible.shape, device=visible.device)
    parts = [
        torch.where(kind, drawn, drawn - 1).flatten(1).topk(min(wanted, pixels), dim=1).indices
        for kind, wanted in ((visible, count - count // 8), (hidden, count // 8))
    ]
    index = torch.cat(parts, 1)
    return torch.stack([index % width, index // width], 2), index


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
