# SPDX-License-Identifier: Apache-2.0
"""Homographic adaptation with detectors whose answers are known, and picking the points."""

import pytest
import torch

from depthkit.config import KeypointsConfig
from depthkit.errors import ShapeError
from depthkit.tasks.homographic_adaptation import (
    BORDER,
    adapted_score,
    draw_views,
    strongest_points,
)

SIZE = (64, 80)


def spots(*points: tuple[int, int]) -> torch.Tensor:
    """A black picture with soft white spots at these pixels (u, v). (3, 64, 80)"""
    v, u = torch.meshgrid(torch.arange(64.0), torch.arange(80.0), indexing="ij")
    light = sum(torch.exp(-((u - x) ** 2 + (v - y) ** 2) / 8) for x, y in points)
    return light.expand(3, -1, -1)


def brightness(images: torch.Tensor) -> torch.Tensor:
    """A detector that any view answers alike: the light itself."""
    return images[:, 0]


def views(count: int) -> torch.Tensor:
    torch.manual_seed(3)
    config = KeypointsConfig(window=SIZE, rotation=40, scale=1.3, tilt=0.1)
    return draw_views(count, SIZE, config)


def test_the_first_view_is_the_picture():
    """The identity comes first; with it alone the score is the detector's, its border aside."""
    assert (views(3)[0] == torch.eye(3)).all() and views(3).shape == (3, 3, 3)
    picture = spots((20, 14), (41, 30))
    score = adapted_score(brightness, picture, views(1))
    inner = slice(BORDER, -BORDER)
    torch.testing.assert_close(score[inner, inner], picture[0, inner, inner])
    assert score[0].sum() == 0 and score[:, -1].sum() == 0


def test_what_all_views_show_stays_where_it_is():
    """Views carried back by their homographies agree: spots keep place and nearly height."""
    score = adapted_score(brightness, spots((20, 14), (41, 30)), views(30))
    points, strength = strongest_points(score, threshold=0.5)
    assert sorted(points.tolist()) == [[20, 14], [41, 30]]
    assert (strength > 0.85).all() and (strength <= 1).all()


def test_a_batch_of_views_changes_nothing():
    """One view at a time or all at once: the same sum but for its order."""
    picture = spots((20, 14))
    one, many = (adapted_score(brightness, picture, views(7), batch=b) for b in (1, 7))
    torch.testing.assert_close(one, many, atol=1e-6, rtol=1e-5)


def test_what_one_view_alone_says_fades():
    """A false answer at a fixed pixel of every view is spread by their homographies."""

    def fooled(images: torch.Tensor) -> torch.Tensor:
        said = images[:, 0].clone()
        said[:, 40, 10] = 1.0
        return said

    score = adapted_score(fooled, spots((41, 20)), views(40))
    assert score[20, 41] > 0.8 and score[40, 10] < 0.2


def test_pixels_count_by_the_views_that_had_them():
    """A detector that says 1 everywhere is 1 wherever any view looked, not less near the edges."""
    score = adapted_score(lambda x: torch.ones_like(x[:, 0]), spots((9, 9)), views(20))
    seen = score > 0
    assert seen.float().mean() > 0.7
    torch.testing.assert_close(score[seen], torch.ones_like(score[seen]), atol=0.5, rtol=0)
    inner = slice(BORDER + 1, -BORDER - 1)
    ones = torch.ones_like(score[inner, inner])
    torch.testing.assert_close(score[inner, inner], ones, atol=1e-4, rtol=0)


def test_strongest_points_by_hand():
    """A weaker pixel within the radius, and one below the threshold, are no points."""
    score = torch.zeros(*SIZE)
    for u, v, value in ((10, 10, 0.9), (13, 10, 0.8), (30, 20, 0.95), (50, 40, 0.05)):
        score[v, u] = value
    points, strength = strongest_points(score, threshold=0.1)
    assert points.tolist() == [[30, 20], [10, 10]]
    torch.testing.assert_close(strength, torch.tensor([0.95, 0.9]))
    assert strongest_points(score, threshold=0.1, most=1)[0].tolist() == [[30, 20]]
    assert strongest_points(score, threshold=0.1, radius=2)[0].shape == (3, 2)
    assert strongest_points(torch.zeros(*SIZE), threshold=0.1)[0].shape == (0, 2)


def test_shapes_are_checked():
    """A batch in place of a picture is refused."""
    with pytest.raises(ShapeError, match="adapted_score: picture"):
        adapted_score(brightness, spots((9, 9))[None], views(1))
