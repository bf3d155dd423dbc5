# SPDX-License-Identifier: Apache-2.0
"""Keypoints and descriptors learnt from pictures and video without labels.

SiLK's way [Gleize 2023]: descriptors by the likelihood that true matches find each other there and
back, keypoints where they do. Ours: candidates are corners, one a cell, that both views show, so
that a keypoint can be found again to a pixel, and the cells compete as SuperPoint's do.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.config import KeypointsConfig, TrainConfig
from depthkit.data.snippet import Snippet
from depthkit.losses.keypoints import (
    CELL,
    NO_POINT,
    UNKNOWN,
    Matches,
    cell_classes,
    cycle_likelihood,
    detector_loss,
)
from depthkit.models.keypoint_net import (
    KeypointNet,
    Keypoints,
    build_keypoint_net,
    keypoint_probability,
)
from depthkit.tasks.held_out import same_draws
from depthkit.tasks.keypoint_pairs import Views, at_points, make_views, match_points
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.precision import full_precision

_LUMA = (0.299, 0.587, 0.114)
_WEAK = 0.02  # corner response below this share of the picture's strongest is none
_AGAIN = 2  # pixels: how near a corner of the second view must lie to a point of the first


class KeypointTask(nn.Module):
    """The task; its network is `features_net`."""

    def __init__(self, features_net: KeypointNet, *, keypoints: KeypointsConfig) -> None:
        super().__init__()
        self.features_net, self.keypoints = features_net, keypoints

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Make views, find and describe keypoints in both, and judge them."""
        with same_draws(snippet.target.device, training=self.training):
            return self._judge(snippet, draws)

    def _judge(self, snippet: Snippet, draws: bool) -> TaskOutput:
        config = self.keypoints
        with full_precision(snippet.target.device):
            views = make_views(snippet, config)
        found = self.features_net(torch.cat([views.first, views.second]))
        first, second = (
            Keypoints(*halves) for halves in zip(*(x.chunk(2) for x in found), strict=True)
        )
        with full_precision(snippet.target.device):
            candidates, corner = choose_candidates(views.plain[0], corners=config.corners)
            places, visible = match_points(candidates, views, snippet, size=config.window)
            matches = self._match(first, second, (candidates, places), visible & corner)
            kept = matches.success
            if config.corners:
                kept = kept & found_again(views.plain[1], places)
            score = self._score_loss(first, second, (candidates, places), kept, visible)
            loss = matches.loss + config.score_weight * score
        shown = (visible & corner).sum().clamp(min=1)
        logged = {
            "loss/descriptor": matches.loss.detach(),
            "loss/score": score.detach(),
            "health/matched": matches.success.sum() / shown,
            "health/keypoints": kept.sum() / shown,
            "health/compared": (visible & corner).float().mean(),
        }
        pictures = _pictures(views, first, second) if draws else {}
        return TaskOutput(loss, loss.detach(), logged, images=pictures)

    def _match(
        self, first: Keypoints, second: Keypoints, places: tuple[Tensor, Tensor], usable: Tensor
    ) -> Matches:
        """Compare descriptors at the points with those at their true places."""
        stride = self.features_net.stride
        return cycle_likelihood(
            describe(first.descriptors, places[0], stride=stride),
            describe(second.descriptors, places[1], stride=stride),
            places=places,
            usable=usable,
            temperature=self.keypoints.temperature,
        )

    def _score_loss(
        self,
        first: Keypoints,
        second: Keypoints,
        places: tuple[Tensor, Tensor],
        kept: Tensor,
        visible: Tensor,
    ) -> Tensor:
        """Teach both views which points are worth keeping."""
        if not self.keypoints.corners:  # as published: a yes or no for each point
            odds = [
                at_points(k.logits, p)[..., 0] for k, p in zip((first, second), places, strict=True)
            ]
            losses = [
                F.binary_cross_entropy_with_logits(x, kept.float(), reduction="none") for x in odds
            ]
            return (sum(losses) * visible).sum() / (2 * visible.sum().clamp(min=1))
        losses = [
            detector_loss(view.logits, known_classes(at, kept, visible, self.keypoints.window))
            for view, at in zip((first, second), places, strict=True)
        ]
        return (losses[0] + losses[1]) / 2


def known_classes(points: Tensor, kept: Tensor, visible: Tensor, window: tuple[int, int]) -> Tensor:
    """Return the classes of cells; unknown where no point of the cell is seen by both views."""
    classes = cell_classes(points, kept, window)
    seen = cell_classes(points, visible, window) != NO_POINT
    return torch.where(seen, classes, UNKNOWN)


def describe(descriptors: Tensor, points: Tensor, *, stride: int) -> Tensor:
    """Sample descriptors at pixels of the picture; of length 1 again. -> (B, N, C)"""
    return F.normalize(at_points(descriptors, (points + 0.5) / stride - 0.5), dim=2)


def choose_candidates(view: Tensor, *, corners: bool) -> tuple[Tensor, Tensor]:
    """Choose one point a cell: its strongest corner, else (or where not asked for) a random one.

    Args:
        view: RGB in [0, 1]. (B, 3, H, W)
        corners: whether corners are looked for.

    Returns:
        points: whole pixels (u, v). (B, N, 2), N = H W / 64
        corner: which of them are corners, all of them where not asked for. (B, N) bool
    """
    height, width = view.shape[2:]
    drawn = torch.rand_like(view[:, :1])
    strength = drawn
    if corners:
        strength = torch.where(is_corner(view), drawn + 1, drawn)
    cells = F.pixel_unshuffle(strength, CELL)  # (B, 64, h, w)
    best, place = cells.flatten(2).max(1)  # (B, N)
    number = torch.arange(cells[0, 0].numel(), device=view.device)
    u = number % (width // CELL) * CELL + place % CELL
    v = number // (width // CELL) * CELL + place // CELL
    points = torch.stack([u, v], 2).to(view.dtype)
    return points, best >= 1 if corners else torch.ones_like(best, dtype=torch.bool)


def corner_response(view: Tensor) -> Tensor:
    """Return the smaller eigenvalue of the structure tensor [Shi and Tomasi 1994]. (B, 1, H, W)"""
    grey = (view * view.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    grey = _blur(grey)
    du = F.pad(grey[..., 2:] - grey[..., :-2], (1, 1, 0, 0))
    dv = F.pad(grey[..., 2:, :] - grey[..., :-2, :], (0, 0, 1, 1))
    a, b, c = _blur(torch.cat([du * du, du * dv, dv * dv], 1)).chunk(3, 1)
    return (a + c - ((a - c).square() + 4 * b * b).sqrt()) / 2


def is_corner(view: Tensor) -> Tensor:
    """Mark pixels where the corner response is the largest within 2 pixels. (B, 1, H, W) bool"""
    response = corner_response(view)
    largest = F.max_pool2d(response, 5, stride=1, padding=2)
    return (response == largest) & (response > _WEAK * response.amax((2, 3), keepdim=True))


def found_again(view: Tensor, places: Tensor) -> Tensor:
    """Which points have a corner of the view beside them. (B, 3, H, W), (B, N, 2) -> (B, N)"""
    near = F.max_pool2d(is_corner(view).float(), 2 * _AGAIN - 1, stride=1, padding=_AGAIN - 1)
    return at_points(near, places.round())[..., 0] > 0.5


def _blur(maps: Tensor) -> Tensor:
    """Blur by a binomial of 5 pixels, standard deviation 1."""
    weights = maps.new_tensor([1, 4, 6, 4, 1]) / 16
    channels = maps.shape[1]
    rows = weights.view(1, 1, 1, 5).expand(channels, 1, 1, 5)
    maps = F.conv2d(F.pad(maps, (2, 2, 0, 0), mode="replicate"), rows, groups=channels)
    columns = rows.transpose(2, 3)
    return F.conv2d(F.pad(maps, (0, 0, 2, 2), mode="replicate"), columns, groups=channels)


def _pictures(views: Views, first: Keypoints, second: Keypoints) -> dict[str, Tensor]:
    """Show the views with what is said of them."""
    few = slice(0, 4)
    return {
        "first": views.first[few],
        "second": views.second[few],
        "first_score": keypoint_probability(first.logits[few]),
        "second_score": keypoint_probability(second.logits[few]),
    }


def build_keypoints(config: TrainConfig) -> nn.Module:
    """Make the task from its configuration, with random weights."""
    model = config.model
    net = build_keypoint_net(
        model.keypoints, channels=model.feature_channels, width=model.keypoint_width
    )
    if config.keypoints.way == "superpoint":
        from depthkit.tasks.keypoints_superpoint import SuperPointTask

        return SuperPointTask(net, keypoints=config.keypoints)
    return KeypointTask(net, keypoints=config.keypoints)
