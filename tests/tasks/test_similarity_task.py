# SPDX-License-Identifier: Apache-2.0
"""Task similarity: pairs whose matches are exact, and descriptors that begin to find them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_run import batch_of, small_config, write_world

from depthkit.config import SimilarityConfig
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import ConfigError
from depthkit.geometry.warp import sample
from depthkit.tasks import build_task
from depthkit.tasks.similarity_pairs import (
    disturb,
    draw_points,
    four_point_homography,
    make_pairs,
    nearest_surface,
)

EXACT = SimilarityConfig(window=(40, 56), points=400, homography_share=0.0, disturbance=0.0)
F = 50.0  # focal length of the made-up camera, pixels


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Two snippets of a rendered room with exact depth and poses."""
    root = write_world(tmp_path_factory.mktemp("world") / "room")
    data = SnippetDataset([open_sequence(root)], shifts=(-2,), size=(64, 96))
    return root, batch_of(data, 3, 9)


def flat_snippet(depth: torch.Tensor, t: tuple[float, float, float]) -> Snippet:
    """Return one snippet of grey pictures with a known depth and translation. depth: (H, W)"""
    height, width = depth.shape
    T = torch.eye(4)
    T[:3, 3] = torch.tensor(t)
    K = torch.tensor([[F, 0, (width - 1) / 2], [0, F, (height - 1) / 2], [0, 0, 1.0]])
    return Snippet(
        target=torch.rand(1, 3, height, width),
        sources=torch.rand(1, 1, 3, height, width),
        K=K[None],
        shifts=torch.tensor([[-1]]),
        T_source_target_gt=T[None, None],
        valid=torch.ones(1, 1, height, width, dtype=torch.bool),
        depth_gt=depth[None, None],
        names=("made up",),
    )


def test_matches_show_the_same_colours(room):
    """At exact matches of a rendered room the two views agree; at false ones they do not."""
    torch.manual_seed(0)
    pairs = make_pairs(room[1], EXACT)
    assert pairs.first.shape == pairs.second.shape == (2, 3, 40, 56)
    assert pairs.visible.float().mean() > 0.5 and not (pairs.visible & pairs.hidden).any()
    first = sample(pairs.first, pairs.points.float().permute(0, 2, 1)[..., None])
    second = sample(pairs.second, pairs.matches.permute(0, 2, 1)[..., None])
    gap = (first - second).abs().mean(1)[..., 0]
    shuffled = (first - second.roll(11, 2)).abs().mean(1)[..., 0]
    assert gap[pairs.visible].median() < 0.25 * shuffled[pairs.visible].median()


def test_a_plane_at_its_own_depth_does_not_move():
    """A wall at 2 m seen from 0.1 m to the side: warped by its own plane every match is the pixel
    itself, and the search goes along the rows."""
    torch.manual_seed(0)
    pairs = make_pairs(flat_snippet(torch.full((48, 64), 2.0), (-0.1, 0.0, 0.0)), EXACT)
    torch.testing.assert_close(pairs.matches, pairs.points.float(), rtol=0, atol=1e-3)
    assert pairs.direction[..., 1].abs().max() < 1e-3
    assert pairs.visible.all()


def test_a_nearer_patch_hides_what_lies_behind():
    """A patch at 1 m before a wall at 4 m, camera 0.4 m to the side: at f = 50 the patch moves 20
    pixels and the wall 5, so it hides the 15 columns of the wall beside it."""
    depth = torch.full((48, 96), 4.0)
    depth[10:38, 50:70] = 1.0
    torch.manual_seed(0)
    config = replace(EXACT, window=None, points=48 * 96 * 2)
    pairs = make_pairs(flat_snippet(depth, (-0.4, 0.0, 0.0)), config)
    u, v = pairs.points[0].unbind(1)
    hidden = torch.zeros(48, 96, dtype=torch.bool)
    hidden[v[pairs.hidden[0]], u[pairs.hidden[0]]] = True
    truth = torch.zeros(48, 96, dtype=torch.bool)
    truth[10:38, 35:50] = True
    # The 2x2 pixels on which a place falls reach one pixel farther.
    assert (hidden & truth).sum() == truth.sum()
    assert (hidden & ~truth).sum() <= 2 * (28 + 16)


def test_without_depth_a_homography_makes_the_pair():
    """Pictures without truth teach too: nothing is hidden, and all matches lie nearby."""
    torch.manual_seed(0)
    pairs = make_pairs(flat_snippet(torch.zeros(48, 64), (0.0, 0.0, 0.0)), EXACT)
    assert pairs.visible.float().mean() > 0.7 and not pairs.hidden.any()
    moved = (pairs.matches - pairs.points).norm(dim=2)[pairs.visible]
    assert 0 < moved.max() < 0.2 * 56
    torch.testing.assert_close(pairs.direction.norm(dim=2), torch.ones(1, 400))


def test_four_points_give_their_homography():
    """Corners moved by a known homography give it back."""
    H = torch.tensor([[1.1, 0.05, -2], [-0.03, 0.9, 3], [1e-3, -5e-4, 1]])
    before = torch.tensor([[0.0, 0], [60, 0], [60, 40], [0, 40]])
    moved = torch.cat([before, torch.ones(4, 1)], 1) @ H.T
    found = four_point_homography(before, moved[:, :2] / moved[:, 2:])
    torch.testing.assert_close(found, H, rtol=1e-4, atol=1e-5)


def test_the_nearest_surface_on_a_pixel():
    """Of two points on one pixel, at 3 and 2 m, both find 2; an unusable one hides nothing."""
    pixels = torch.tensor([[4.0, 4.0, 4.0], [1.0, 1.0, 1.0]])[None, :, None]
    depth = torch.tensor([3.0, 2.0, 1.0])[None, None, None]
    usable = torch.tensor([True, True, False])[None, None, None]
    found = nearest_surface(pixels, depth, usable, size=(6, 8))
    assert found.flatten()[:2].tolist() == [2.0, 2.0]


def test_points_are_drawn_from_both_kinds():
    """An eighth of the points is hidden where enough are, and none is drawn twice."""
    torch.manual_seed(0)
    hidden = torch.zeros(1, 1, 10, 10, dtype=torch.bool)
    hidden[..., :3] = True
    points, index = draw_points(~hidden, hidden, 64)
    assert points.shape == (1, 64, 2) and len(set(index[0].tolist())) == 64
    assert (points[0, :, 0] < 3).sum() == 8
    assert torch.equal(points[0, :, 1] * 10 + points[0, :, 0], index[0])


def test_disturbance_changes_colours_within_their_range():
    """Strength 0 is the picture itself; 1 changes it, and stays in [0, 1]."""
    torch.manual_seed(0)
    image = torch.rand(3, 3, 12, 16)
    assert disturb(image, strength=0.0) is image
    changed = disturb(image, strength=1.0)
    assert changed.min() >= 0 and changed.max() <= 1
    assert ((changed - image).abs().mean((1, 2, 3)) > 0.01).all()


@pytest.mark.parametrize(
    "words",
    [(), ("similarity.objective=contrast",), ("similarity.decision=mlp",)],
    ids=["triplet", "contrast", "mlp"],
)
def test_it_learns(room, words):
    """In 16 steps on one batch false matches win less often, with each of the losses."""
    root, snippet = room
    small = ("window=[40,48]", "points=128", "hardest_from=0", "disturbance=0")
    small = (*(f"similarity.{word}" for word in small), "model.feature_channels=8")
    config = small_config(root, "task=similarity", *small, *words)
    torch.manual_seed(0)
    task = build_task(config, (-1, 1))
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    before = task.eval()(snippet)
    task.train()
    for _ in range(16):
        optimizer.zero_grad()
        task(snippet).loss.backward()
        optimizer.step()
    after = task.eval()(snippet)
    assert int(task.steps) == 16
    assert float(after.loss.detach()) < float(before.loss.detach())
    assert float(after.judged) < float(before.judged)


def test_held_out_pairs_are_the_same_each_time(room):
    """Two validations compare the same points, and leave the run's own random numbers alone."""
    root, snippet = room
    config = small_config(root, "task=similarity", "similarity.window=[48,64]")
    task = build_task(config, (-1, 1)).eval()
    state = torch.get_rng_state()
    first, second = (task(snippet).judged for _ in range(2))
    assert torch.equal(first, second) and torch.equal(state, torch.get_rng_state())


def test_bad_values_are_refused(room):
    """The nearest false match lies before the farthest; a window is part of the picture."""
    with pytest.raises(ConfigError, match=r"similarity\.nearest: below farthest"):
        small_config(room[0], "task=similarity", "similarity.nearest=9")
    with pytest.raises(ConfigError, match=r"similarity\.window: at most data\.size"):
        small_config(room[0], "task=similarity", "similarity.window=[48,200]")
    assert np.isfinite(SimilarityConfig().margin)
