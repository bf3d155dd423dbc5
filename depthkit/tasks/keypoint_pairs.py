# SPDX-License-Identifier: Apache-2.0
"""Two views whose pixels correspond exactly: of one picture, or of two frames by depth and motion.

Each view is a window of its picture, turned, scaled, tilted and disturbed at random. A point goes
from the first window to its picture, from there to the other picture (nowhere else where the two
are one, else by depth and motion), and into the second window.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from depthkit.config import KeypointsConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import pixel_grid, reproject, size_of
from depthkit.geometry.warp import inside, sample
from depthkit.tasks.similarity_pairs import disturb, four_point_homography, nearest_surface

_SEEN = 1.05  # depth over that of the nearest surface on the same pixel
_OFF_CENTRE = 0.15  # share of the picture by which the middles of the two windows differ
_SHADE = 0.35  # strongest uneven light, share of the brightness, at strength 1
_NIGHT = 0.6  # logarithm of the strongest gamma beside that of `disturb`, at strength 1


@dataclass(frozen=True)
class Views:
    """Two views of B pairs."""

    first: Tensor
    """RGB in [0, 1]. (B, 3, h, w)"""
    second: Tensor
    """(B, 3, h, w)"""
    plain: tuple[Tensor, Tensor]
    """The same before colours were changed."""
    H_first: Tensor
    """Pixels of the first view to pixels of its picture. (B, 3, 3)"""
    H_second: Tensor
    """Pixels of the second view to pixels of its picture. (B, 3, 3)"""
    by_motion: Tensor
    """Pairs of two frames. (B,) bool"""


@torch.no_grad()
def make_views(snippet: Snippet, config: KeypointsConfig) -> Views:
    """Make two views of each target, or one of it and one of a source.

    Args:
        snippet: a batch; one of its sources is taken where depth and motion are known.
        config: how views are made.
    """
    # 1. Which pairs are two frames.
    motion, by_motion = _motions(snippet, config.geometry_share)
    other = torch.where(by_motion.view(-1, 1, 1, 1), snippet.sources[:, 0], snippet.target)
    # 2. Windows around nearly the same middle.
    size, like = size_of(snippet.target), motion
    middle = torch.rand(len(motion), 2, device=like.device) * 0.4 + 0.3
    offset = (2 * torch.rand(len(motion), 2, device=like.device) - 1) * _OFF_CENTRE
    H_first = draw_homographies(middle, size, config)
    H_second = draw_homographies((middle + offset).clamp(0.15, 0.85), size, config)
    # 3. The views, and their disturbed copies.
    plain = _look(snippet.target, H_first, config), _look(other, H_second, config)
    seen = [_relight(view, strength=config.disturbance) for view in plain]
    return Views(seen[0], seen[1], plain, H_first, H_second, by_motion)


@torch.no_grad()
def match_points(
    points: Tensor, views: Views, snippet: Snippet, *, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Say where points of the first view lie in the second.

    Args:
        points: pixels (u, v) of the first view. (B, N, 2)
        views: the views.
        snippet: what they were made of.
        size: of the views, (H, W).

    Returns:
        places: pixels (u, v) of the second view. (B, N, 2)
        visible: both pictures show them, and the second view too. (B, N) bool
    """
    at = move(points, views.H_first)
    whole = size_of(snippet.target)
    visible = _within(at, whole) & _valid(snippet, at)
    if views.by_motion.any():
        there, seen = _through_depth(at, snippet)
        chosen = views.by_motion[:, None]
        at = torch.where(chosen[..., None], there, at)
        visible &= torch.where(chosen, seen, True) & _within(at, whole)
    places = move(at, torch.linalg.inv(views.H_second))
    return places, visible & _within(places, size)


def draw_homographies(middle: Tensor, size: tuple[int, int], config: KeypointsConfig) -> Tensor:
    """Draw windows of a picture: tilted, scaled, turned, around a middle.

    Args:
        middle: of each window, shares of the picture's width and height. (B, 2)
        size: of the picture, (H, W).
        config: window and ranges.

    Returns:
        Pixels of the window to pixels of the picture. (B, 3, 3)
    """
    count, device = len(middle), middle.device
    height, width = config.window
    # 1. Perspective: the corners of the window move on their own.
    corners = middle.new_tensor([[0, 0], [width, 0], [width, height], [0, height]])
    corners = corners - middle.new_tensor([width, height]) / 2
    moved = (2 * torch.rand(count, 4, 2, device=device) - 1) * config.tilt
    moved = corners + moved * middle.new_tensor([width, height])
    H = torch.stack([four_point_homography(corners, each) for each in moved])
    # 2. Scale and turn.
    fit = min(size[0] / height, size[1] / width) ** 0.5  # neither the whole picture nor a bit
    scale = fit * ((2 * torch.rand(count, device=device) - 1) * math.log(config.scale)).exp()
    angle = (2 * torch.rand(count, device=device) - 1) * math.radians(config.rotation)
    cos, sin, none = scale * angle.cos(), scale * angle.sin(), torch.zeros_like(angle)
    to = middle * middle.new_tensor([size[1] - 1, size[0] - 1])
    turn = torch.stack(
        [
            torch.stack([cos, -sin, to[:, 0]], 1),
            torch.stack([sin, cos, to[:, 1]], 1),
            torch.stack([none, none, none + 1], 1),
        ],
        1,
    )
    # 3. From the corner of the window to its middle.
    shift = torch.eye(3, device=device)
    shift[0, 2], shift[1, 2] = -(width - 1) / 2, -(height - 1) / 2
    return turn @ H @ shift


def move(points: Tensor, H: Tensor) -> Tensor:
    """Apply homographies to points. (B, N, 2), (B, 3, 3) -> (B, N, 2)"""
    moved = points @ H[:, :, :2].transpose(1, 2) + H[:, None, :, 2]
    far = moved[..., 2:]
    return moved[..., :2] / torch.where(far.abs() < 1e-6, 1e-6, far)


def at_points(maps: Tensor, points: Tensor) -> Tensor:
    """Sample maps bilinearly at points. (B, C, H, W), (B, N, 2) -> (B, N, C)"""
    return sample(maps, points.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)


def _motions(snippet: Snippet, share: float) -> tuple[Tensor, Tensor]:
    """Choose pairs of two frames, and their T_source_target; the identity elsewhere."""
    motion = snippet.T_source_target_gt[:, 0]
    known = motion.isfinite().flatten(1).all(1) & (_depth(snippet) > 0).flatten(1).any(1)
    by_motion = known & (torch.rand(len(motion), device=motion.device) < share)
    return torch.where(by_motion[:, None, None], motion, torch.eye(4).to(motion)), by_motion


def _depth(snippet: Snippet) -> Tensor:
    """Return known depth, else that of a teacher. (B, 1, H, W), 0 where unknown"""
    if snippet.taught.shape[-1] == 0:
        return snippet.depth_gt
    return torch.where(snippet.depth_gt > 0, snippet.depth_gt, snippet.taught[:, :1])


def _through_depth(at: Tensor, snippet: Snippet) -> tuple[Tensor, Tensor]:
    """Carry pixels of the target to the source by depth and motion; (B, N, 2), (B, N) bool."""
    depth = _depth(snippet)
    known = depth > 0
    motion = snippet.T_source_target_gt[:, 0]
    motion = torch.where(motion.isfinite(), motion, torch.eye(4).to(motion))
    cameras = {"T_source_target": motion, "K_target": snippet.K, "K_source": snippet.K}
    places, far = reproject(torch.where(known, depth, 1.0), **cameras)
    size = size_of(depth)
    here = known & inside(places, far, size)
    seen = here & (far / nearest_surface(places, far, here, size=size) < _SEEN)
    # A pixel's own place is that of the nearest one whose depth is known.
    index = at.round().long()
    u, v = index[..., 0].clamp(0, size[1] - 1), index[..., 1].clamp(0, size[0] - 1)
    flat = (v * size[1] + u)[:, None]
    grid = pixel_grid(*size, places)[:2]  # (2, H*W)
    flow = places.flatten(2) - grid
    moved = flow.gather(2, flat.expand(-1, 2, -1)).transpose(1, 2)
    return at + moved, seen.flatten(2).gather(2, flat)[:, 0]


def _valid(snippet: Snippet, at: Tensor) -> Tensor:
    """Which pixels of the target are picture at all. (B, N) bool"""
    return at_points(snippet.valid.float(), at)[..., 0] > 0.99


def _within(points: Tensor, size: tuple[int, int]) -> Tensor:
    limits = points.new_tensor([size[1] - 1, size[0] - 1])
    return ((points >= 0) & (points <= limits)).all(-1)


def _look(picture: Tensor, H: Tensor, config: KeypointsConfig) -> Tensor:
    """Sample a window of a picture, averaged first where it is shrunk. (B, 3, h, w)"""
    height, width = config.window
    grid = pixel_grid(height, width, H)[:2].transpose(0, 1)  # (h*w, 2)
    at = move(grid.expand(len(H), -1, -1), H).transpose(1, 2).unflatten(2, (height, width))
    soft = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    shrinks = (torch.linalg.det(H[:, :2, :2]).abs().sqrt() > 1.5).view(-1, 1, 1, 1)
    return sample(torch.where(shrinks, soft, picture), at)


def _relight(view: Tensor, *, strength: float) -> Tensor:
    """Change colours, and the light: uneven, and dark as at night."""
    if strength == 0:
        return view
    few = torch.rand(len(view), 1, 3, 4, device=view.device) * 2 - 1
    shade = F.interpolate(few, size_of(view), mode="bicubic", align_corners=False)
    gamma = _NIGHT * strength * (torch.rand(len(view), 1, 1, 1, device=view.device) * 2 - 1)
    lit = (view * (1 + _SHADE * strength * shade)).clamp(1e-3, 1).pow(gamma.exp())
    return disturb(lit, strength=strength)
