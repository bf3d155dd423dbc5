# SPDX-License-Identifier: Apache-2.0
"""Task keypoints: views whose pixels correspond exactly, corners, and a network that learns."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import batch_of, small_config, write_world

from depthkit.config import KeypointsConfig
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import ConfigError
from depthkit.tasks import build_task
from depthkit.tasks.keypoint_pairs import (
    at_points,
    draw_homographies,
    make_views,
    match_points,
    move,
)
from depthkit.tasks.keypoints import (
    choose_candidates,
    corner_response,
    describe,
    found_again,
    is_corner,
    known_classes,
)

EXACT = KeypointsConfig(window=(64, 96), geometry_share=0.0, disturbance=0.0)


def smooth_snippet(size=(128, 192), batch=2) -> Snippet:
    """Pictures smooth enough to be sampled anywhere, without depth or motion."""
    torch.manual_seed(0)
    coarse = torch.rand(batch, 3, size[0] // 16, size[1] // 16)
    picture = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1)
    return Snippet(
        target=picture,
        sources=torch.rand(batch, 1, 3, *size),
        K=torch.eye(3).expand(batch, 3, 3),
        shifts=torch.ones(batch, 1, dtype=torch.int64),
        T_source_target_gt=torch.full((batch, 1, 4, 4), torch.nan),
        valid=torch.ones(batch, 1, *size, dtype=torch.bool),
        depth_gt=torch.zeros(batch, 1, *size),
        names=("smooth",) * batch,
    )


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Two snippets of a rendered room with exact depth and poses."""
    root = write_world(tmp_path_factory.mktemp("world") / "room")
    return batch_of(SnippetDataset([open_sequence(root)], shifts=(-2,), size=(64, 96)), 3, 9)


def grid(count: int, size: tuple[int, int]) -> torch.Tensor:
    """Return random pixels of a view. (2, count, 2)"""
    torch.manual_seed(5)
    return torch.rand(2, count, 2) * torch.tensor([size[1] - 1.0, size[0] - 1.0])


def test_matched_points_show_the_same_colours():
    """Two random views of one picture agree at matched points, and not beside them."""
    snippet = smooth_snippet()
    torch.manual_seed(1)
    views = make_views(snippet, EXACT)
    points = grid(400, EXACT.window)
    places, visible = match_points(points, views, snippet, size=EXACT.window)
    assert visible.float().mean() > 0.2 and not views.by_motion.any()
    gap = (at_points(views.first, points) - at_points(views.second, places)).abs().mean(2)
    beside = (at_points(views.first, points) - at_points(views.second, places + 12)).abs().mean(2)
    assert gap[visible].median() < 0.2 * beside[visible].median()


def test_matches_of_one_picture_are_a_homography():
    """Where the second view shows a point is H_second^-1 H_first of it."""
    snippet = smooth_snippet()
    views = make_views(snippet, EXACT)
    points = grid(50, EXACT.window)
    places, _ = match_points(points, views, snippet, size=EXACT.window)
    wanted = move(points, torch.linalg.inv(views.H_second) @ views.H_first)
    torch.testing.assert_close(places, wanted, rtol=1e-3, atol=5e-2)


def test_frames_match_by_depth_and_motion(room):
    """Two frames of a rendered room: matched points of their views show the same colours."""
    config = replace(EXACT, geometry_share=1.0, rotation=10.0, scale=1.1)
    torch.manual_seed(0)
    views = make_views(room, config)
    points = grid(600, config.window)
    places, visible = match_points(points, views, room, size=config.window)
    assert views.by_motion.all() and visible.float().mean() > 0.15
    gap = (at_points(views.first, points) - at_points(views.second, places)).abs().mean(2)
    mixed = (at_points(views.first, points) - at_points(views.second, places).roll(7, 1)).abs()
    assert gap[visible].median() < 0.4 * mixed.mean(2)[visible].median()


def test_a_wall_that_moves_sideways_moves_all_points_alike():
    """A wall at 2 m and 0.1 m to the side at f = 50: 2.5 pixels, by hand; what leaves the picture
    is not visible."""
    snippet = smooth_snippet(size=(64, 96), batch=1)
    T = torch.eye(4)
    T[0, 3] = 0.1
    K = torch.tensor([[50.0, 0, 47.5], [0, 50.0, 31.5], [0, 0, 1]])
    snippet = replace(
        snippet,
        K=K[None],
        T_source_target_gt=T[None, None],
        depth_gt=torch.full((1, 1, 64, 96), 2.0),
    )
    torch.manual_seed(0)
    config = replace(EXACT, geometry_share=1.0)
    views = make_views(snippet, config)
    flat = replace(views, H_first=torch.eye(3)[None], H_second=torch.eye(3)[None])
    points = torch.tensor([[[10.0, 20.0], [50.0, 40.0], [94.0, 10.0]]])
    places, visible = match_points(points, flat, snippet, size=(64, 96))
    torch.testing.assert_close(places, points + torch.tensor([2.5, 0.0]), rtol=0, atol=1e-3)
    assert visible.tolist() == [[True, True, False]]


def test_windows_lie_around_their_middle():
    """Without tilt the middle of the window is the wanted place of the picture, whatever the turn;
    and the scale is within the range."""
    torch.manual_seed(0)
    config = replace(EXACT, tilt=0.0, rotation=180.0, scale=2.0)
    middle = torch.tensor([[0.5, 0.5], [0.25, 0.75]])
    H = draw_homographies(middle, (129, 193), config)
    centre = torch.tensor([[[47.5, 31.5]]]).expand(2, 1, 2)
    wanted = torch.tensor([[[96.0, 64.0]], [[48.0, 96.0]]])
    torch.testing.assert_close(move(centre, H), wanted, rtol=0, atol=1e-3)
    sizes = torch.linalg.det(H[:, :2, :2]).sqrt() / (129 / 64) ** 0.5
    assert ((sizes > 0.49) & (sizes < 2.02)).all()


def test_corners_of_a_square_are_found_and_its_edges_are_not():
    """The strongest responses lie within 2 pixels of the four corners; halfway along an edge there
    is nearly none."""
    view = torch.zeros(1, 3, 64, 96)
    view[..., 20:44, 30:66] = 1.0
    response = corner_response(view)[0, 0]
    assert response[32, 30] < 1e-3 * response.max()
    v, u = is_corner(view)[0, 0].nonzero().unbind(1)
    corners = torch.tensor([[30, 20], [65, 20], [30, 43], [65, 43]])
    near = torch.cdist(torch.stack([u, v], 1).float(), corners.float()).amin(0)
    assert (near <= 2).all() and len(u) == 4


def test_candidates_are_one_a_cell():
    """Every cell has one point; where it holds a corner that is the point."""
    view = torch.zeros(1, 3, 64, 96)
    view[..., 20:44, 30:66] = 1.0
    points, corner = choose_candidates(view, corners=True)
    cells = (points[0] // 8).long()
    assert torch.equal(cells[:, 1] * 12 + cells[:, 0], torch.arange(96))
    assert int(corner.sum()) == 4
    again = found_again(view, points)
    assert again[corner].all()
    moved = found_again(view, points + 6)
    assert not moved[corner].any()


def test_cells_are_known_only_where_both_views_see_them():
    """A visible failure is "no point", a kept one its class, an unseen one unknown."""
    points = torch.tensor([[[1.0, 1.0], [9.0, 1.0], [17.0, 1.0]]])
    kept = torch.tensor([[True, False, False]])
    visible = torch.tensor([[True, True, False]])
    assert known_classes(points, kept, visible, (8, 24)).tolist() == [[[9, 64, -1]]]


def test_a_descriptor_lies_in_the_middle_of_its_block():
    """Stride 4: the descriptor of block 2 is exact at pixel 9.5, and of length 1 between two."""
    maps = torch.nn.functional.normalize(torch.randn(1, 8, 4, 6), dim=1)
    at = describe(maps, torch.tensor([[[9.5, 5.5], [11.5, 5.5]]]), stride=4)
    torch.testing.assert_close(at[0, 0], maps[0, :, 1, 2])
    between = torch.nn.functional.normalize(maps[0, :, 1, 2] + maps[0, :, 1, 3], dim=0)
    torch.testing.assert_close(at[0, 1], between)


@pytest.mark.parametrize("words", [(), ("keypoints.corners=false",)])
def test_a_few_steps_learn_one_picture(words):
    """Forty steps on one pair of pictures: true matches find each other several times as often."""
    config = small_config(
        Path(),
        "task=keypoints", "model.feature_channels=16", "data.size=[128,192]",
        "keypoints.window=[64,96]", "keypoints.disturbance=0", *words,
    )  # fmt: skip
    torch.manual_seed(0)
    task = build_task(config, (-1,)).train()
    snippet = smooth_snippet()
    snippet = replace(
        snippet, target=(snippet.target + 0.3 * torch.rand(2, 3, 128, 192)).clamp(0, 1)
    )
    optimizer = torch.optim.AdamW(task.parameters(), lr=3e-3)
    matched = []
    for _ in range(40):
        optimizer.zero_grad()
        output = task(snippet)
        output.loss.backward()
        optimizer.step()
        matched.append(float(output.terms["health/matched"]))
    assert sum(matched[-8:]) > 2 * sum(matched[:8])


def test_held_out_pairs_are_always_the_same():
    """In evaluation mode the same snippet gives the same loss, and torch's generator stays."""
    config = small_config(
        Path(), "task=keypoints", "keypoints.window=[64,96]", "data.size=[128,192]"
    )
    task = build_task(config, (-1,)).eval()
    before = torch.random.get_rng_state()
    with torch.no_grad():
        first, second = task(smooth_snippet()).judged, task(smooth_snippet()).judged
    assert torch.equal(first, second)
    torch.manual_seed(0)
    assert before.numel() == torch.random.get_rng_state().numel()


def test_a_window_of_odd_size_is_one_line():
    """The error names the key and the rule."""
    with pytest.raises(ConfigError, match=r"keypoints\.window: multiples of 8; got \[100, 128\]"):
        small_config(Path(), "task=keypoints", "keypoints.window=[100,128]")
