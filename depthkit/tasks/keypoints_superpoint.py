# SPDX-License-Identifier: Apache-2.0
"""SuperPoint's way to keypoints [DeTone 2018]: given points of single pictures, two views of each.

The points are exact (rendered shapes) or labels by homographic adaptation. A random homography
relates the views; the detector learns the points in both, the descriptors which places are one.
Ours: places are drawn anew in every cell, because descriptors here are denser than cells, and
cells that show what lies beyond the picture are left out.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depthkit.config import KeypointsConfig
from depthkit.data.snippet import Snippet
from depthkit.geometry.projection import size_of
from depthkit.losses.keypoints import (
    CELL,
    NO_POINT,
    UNKNOWN,
    cell_classes,
    detector_loss,
)
from depthkit.losses.superpoint import hinge_loss, same_place
from depthkit.models.keypoint_net import KeypointNet, Keypoints, keypoint_probability
from depthkit.tasks.held_out import same_draws
from depthkit.tasks.keypoint_pairs import Views, at_points, make_views, match_points, move
from depthkit.tasks.keypoints import describe
from depthkit.tasks.output import TaskOutput
from depthkit.tasks.precision import full_precision

_FOUND = 2.0  # pixels: a point is found where the likeliest place of its cell is this near


class SuperPointTask(nn.Module):
    """The task; its network is `features_net`."""

    def __init__(self, features_net: KeypointNet, *, keypoints: KeypointsConfig) -> None:
        super().__init__()
        self.features_net = features_net
        self.keypoints = replace(keypoints, geometry_share=0.0)  # points are known in one frame

    def forward(self, snippet: Snippet, *, draws: bool = False) -> TaskOutput:
        """Make two views of each target, find and describe keypoints in both, and judge them."""
        with same_draws(snippet.target.device, training=self.training):
            return self._judge(snippet, draws)

    def _judge(self, snippet: Snippet, draws: bool) -> TaskOutput:
        config = self.keypoints
        with full_precision(snippet.target.device):
            views = make_views(snippet, config)
            classes = [
                view_classes(snippet, H, config.window) for H in (views.H_first, views.H_second)
            ]
        found = self.features_net(torch.cat([views.first, views.second]))
        first, second = (
            Keypoints(*halves) for halves in zip(*(x.chunk(2) for x in found), strict=True)
        )
        with full_precision(snippet.target.device):
            logits, known = torch.cat([first.logits, second.logits]), torch.cat(classes)
            score = detector_loss(logits, known)
            loss, logged = config.score_weight * score, {"loss/score": score.detach()}
            if config.hinge_weight > 0:
                hinge, matched = self._describe(first, second, views, snippet)
                loss = loss + config.hinge_weight * hinge
                logged |= {"loss/descriptor": hinge.detach(), "health/matched": matched}
            logged |= _detected(logits.detach(), known)
        pictures = _pictures(views, first, second, classes[0]) if draws else {}
        return TaskOutput(loss, loss.detach(), logged, images=pictures)

    def _describe(
        self, first: Keypoints, second: Keypoints, views: Views, snippet: Snippet
    ) -> tuple[Tensor, Tensor]:
        """Compare all places of both views; return the loss and the share of right matches."""
        config, stride = self.keypoints, self.features_net.stride
        # 1. A place in each cell of both views, and where those of the first lie in the second.
        here, there = (draw_places(len(views.first), config.window, views.first) for _ in "12")
        carried, visible = match_points(here, views, snippet, size=config.window)
        shown = in_picture(move(there, views.H_second), snippet)
        # 2. Which pairs are one place.
        same = same_place(carried, there, radius=config.same_within)
        usable = visible[:, :, None] & shown[:, None]
        one = describe(first.descriptors, here, stride=stride)
        two = describe(second.descriptors, there, stride=stride)
        loss = hinge_loss(one, two, same=same, usable=usable, positive_weight=config.same_weight)
        # 3. How often the most similar one is right.
        with torch.no_grad():
            cosine = (one @ two.transpose(1, 2)).masked_fill(~usable, -2.0)
            right = same.gather(2, cosine.argmax(2, keepdim=True))[..., 0]
            asked = visible & (same & usable).any(2)
            matched = (right & asked).sum() / asked.sum().clamp(min=1)
        return loss, matched


def view_classes(snippet: Snippet, H: Tensor, window: tuple[int, int]) -> Tensor:
    """Say what is known of each cell of a view.

    Args:
        snippet: its targets with their points.
        H: pixels of the view to pixels of the target. (B, 3, 3)
        window: (H, W) of the view, pixels, multiples of 8.

    Returns:
        0 to 63, NO_POINT, or UNKNOWN where the cell reaches beyond the picture; of several points
        in a cell the first of the list. (B, H / 8, W / 8) int64
    """
    # 1. Points of the picture in the view; the last one written stays, so the first comes last.
    points = move(snippet.points.flip(1), torch.linalg.inv(H))
    classes = cell_classes(points, points.isfinite().all(2), window)
    # 2. A cell is known where all four of its corners show the picture.
    v, u = torch.meshgrid(
        torch.arange(0, window[0] + 1, CELL), torch.arange(0, window[1] + 1, CELL), indexing="ij"
    )
    nodes = torch.stack([u, v], -1).flatten(0, 1).to(H) - 0.5
    shown = in_picture(move(nodes.expand(len(H), -1, -1), H), snippet).unflatten(1, u.shape)
    hidden = F.max_pool2d((~shown).float()[:, None], 2, stride=1)[:, 0] > 0
    return classes.masked_fill(hidden, UNKNOWN)


def in_picture(points: Tensor, snippet: Snippet) -> Tensor:
    """Which points lie on valid pixels of the target. (B, N, 2) -> (B, N) bool"""
    height, width = size_of(snippet.target)
    limits = points.new_tensor([width, height]) - 0.5
    inside = ((points >= -0.5) & (points <= limits)).all(2)
    return inside & (at_points(snippet.valid.float(), points)[..., 0] > 0.99)


def draw_places(batch: int, window: tuple[int, int], like: Tensor) -> Tensor:
    """Draw one place in each cell. -> (B, N, 2) pixels (u, v)"""
    rows, columns = window[0] // CELL, window[1] // CELL
    v, u = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    corner = CELL * torch.stack([u, v], -1).flatten(0, 1).to(like)
    return corner + (CELL - 1) * torch.rand(batch, len(corner), 2, device=like.device)


@torch.no_grad()
def _detected(logits: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Return how many points are found to 2 pixels, and how many cells said so are right."""
    cells = F.pixel_unshuffle(logits, CELL)
    said = torch.cat([cells, torch.zeros_like(cells[:, :1])], 1).argmax(1)
    known, has = classes != UNKNOWN, (classes != UNKNOWN) & (classes != NO_POINT)
    says = known & (said != NO_POINT)
    du, dv = said % CELL - classes % CELL, said // CELL - classes // CELL
    near = has & says & (du.square() + dv.square() <= _FOUND**2)
    return {
        "health/found": near.sum() / has.sum().clamp(min=1),
        "health/right": near.sum() / says.sum().clamp(min=1),
        "health/points": has.sum() / known.sum().clamp(min=1),
    }


def _pictures(
    views: Views, first: Keypoints, second: Keypoints, classes: Tensor
) -> dict[str, Tensor]:
    """Show the views with what is said of them, and what is known."""
    few = slice(0, 4)
    places = F.one_hot(classes[few].clamp(min=0), NO_POINT + 1)[..., :NO_POINT]
    places = places * (classes[few] != UNKNOWN)[..., None]
    return {
        "first": views.first[few],
        "second": views.second[few],
        "first_known": F.pixel_shuffle(places.permute(0, 3, 1, 2).float(), CELL),
        "first_score": keypoint_probability(first.logits[few]),
        "second_score": keypoint_probability(second.logits[few]),
    }
