# SPDX-License-Identifier: Apache-2.0
"""SuperPoint's way: classes of a view's cells by hand, and a task that learns given points."""

import pytest
import torch

from depthkit.cli import main
from depthkit.config import KeypointsConfig
from depthkit.config.strict_yaml import load_config
from depthkit.config.train import TrainConfig
from depthkit.data.sequence import open_sequence
from depthkit.data.snippet import Snippet
from depthkit.errors import ConfigError, DataError
from depthkit.losses.keypoints import NO_POINT, UNKNOWN
from depthkit.models.keypoint_net import build_keypoint_net
from depthkit.pipelines.label_points import LabelOptions, find_points, label_points, open_score
from depthkit.pipelines.synth import SynthOptions, synth
from depthkit.synth.boxes import write_box_sequence
from depthkit.tasks.keypoints import build_keypoints
from depthkit.tasks.keypoints_superpoint import (
    SuperPointTask,
    draw_places,
    in_picture,
    view_classes,
)

SIZE = (64, 80)
EYE = torch.eye(3)[None]


def make_snippet(*points: tuple[float, float]) -> Snippet:
    """One picture of white squares of 9 pixels whose upper left corners are the points."""
    target = torch.full((1, 3, *SIZE), 0.2)
    for u, v in points:
        target[..., int(v) : int(v) + 9, int(u) : int(u) + 9] = 0.9
    listed = torch.full((1, 16, 2), torch.nan)
    listed[0, : len(points)] = torch.tensor(points).view(-1, 2)
    return Snippet(
        target=target,
        sources=target[:, None],
        K=EYE,
        shifts=torch.ones(1, 1, dtype=torch.int64),
        T_source_target_gt=torch.full((1, 1, 4, 4), torch.nan),
        valid=torch.ones(1, 1, *SIZE, dtype=torch.bool),
        depth_gt=torch.zeros(1, 1, *SIZE),
        names=("squares/000000",),
        points=listed,
    )


def shifted(du: float, dv: float) -> torch.Tensor:
    """A view whose pixel (0, 0) shows (du, dv) of the picture. (1, 3, 3)"""
    H = EYE.clone()
    H[0, 0, 2], H[0, 1, 2] = du, dv
    return H


def test_cells_of_the_picture_itself():
    """(18, 10) is column 2, row 2 of cell (1, 2); all other cells are known to hold no point."""
    classes = view_classes(make_snippet((18.0, 10.0)), EYE, SIZE)
    assert classes.shape == (1, 8, 10) and classes[0, 1, 2] == 2 * 8 + 2
    assert (classes == NO_POINT).sum() == 79


def test_cells_follow_the_view():
    """A view that begins 3 pixels right of and 1 below the picture's corner shows it at (15, 9)."""
    classes = view_classes(make_snippet((18.0, 10.0)), shifted(3, 1), (48, 64))
    assert classes[0, 1, 1] == 1 * 8 + 7 and (classes == NO_POINT).sum() == 47


def test_cells_beyond_the_picture_are_unknown():
    """Eight pixels left of it and above it there is nothing; where valid is False neither."""
    snippet = make_snippet((18.0, 10.0))
    classes = view_classes(snippet, shifted(-8, -8), (64, 80))
    assert (classes[0, 0] == UNKNOWN).all() and (classes[0, :, 0] == UNKNOWN).all()
    assert (classes[0, 1:, 1:] != UNKNOWN).all()
    snippet.valid[..., 32:, :] = False
    classes = view_classes(snippet, EYE, SIZE)
    assert (classes[0, 4:] == UNKNOWN).all() and (classes[0, :3] != UNKNOWN).all()


def test_the_first_point_of_a_cell_is_taken():
    """Labels come with the most certain first."""
    one = view_classes(make_snippet((18.0, 10.0), (20.0, 12.0)), EYE, SIZE)[0, 1, 2]
    other = view_classes(make_snippet((20.0, 12.0), (18.0, 10.0)), EYE, SIZE)[0, 1, 2]
    assert one == 2 * 8 + 2 and other == 4 * 8 + 4


def test_picture_ends_half_a_pixel_beyond_its_last_centre():
    """-0.5 and 79.5 are its edges."""
    points = torch.tensor([[[-0.5, 0.0], [-0.6, 0.0], [79.5, 63.5], [79.6, 0.0]]])
    assert in_picture(points, make_snippet()).tolist() == [[True, False, True, False]]


def test_every_cell_gets_a_place():
    """One place a cell, inside its first and last pixel centres."""
    places = draw_places(3, SIZE, torch.zeros(1))
    assert places.shape == (3, 80, 2)
    cells = (places / 8).floor()
    assert cells[0, 11].tolist() == [1, 1] and len(cells[0].unique(dim=0)) == 80
    assert ((places - 8 * cells) <= 7).all()


def make_task(**options) -> SuperPointTask:
    torch.manual_seed(0)
    ranges = {"rotation": 10.0, "scale": 1.1, "tilt": 0.05, "disturbance": 0.2}
    config = KeypointsConfig(way="superpoint", window=SIZE, **ranges, **options)
    return SuperPointTask(build_keypoint_net("light", channels=16), keypoints=config)


def test_held_out_views_are_the_same_ones():
    """In evaluation the same snippet gets the same loss, and torch's generator is left alone."""
    task, snippet = make_task().eval(), make_snippet((18.0, 10.0), (40.0, 30.0))
    before = torch.get_rng_state()
    one, two = (task(snippet).loss.item() for _ in "12")
    assert one == two and (torch.get_rng_state() == before).all()


def test_the_detector_alone_has_no_descriptor_term():
    """hinge_weight 0: the descriptors' head gets no gradient."""
    task = make_task(hinge_weight=0.0).train()
    output = task(make_snippet((18.0, 10.0)))
    output.loss.backward()
    assert "loss/descriptor" not in output.terms
    assert task.features_net.body.describe.weight.grad is None
    assert output.loss.item() == pytest.approx(output.terms["loss/score"].item())


@pytest.mark.slow
def test_learns_given_points():
    """Two hundred steps on a picture of twelve squares: their listed corners are found."""
    task = make_task().train()
    places = [(float(u), float(v)) for u in (7, 22, 37, 57) for v in (6, 23, 41)]
    snippet = make_snippet(*places)
    optimizer = torch.optim.Adam(task.parameters(), 3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        task(snippet).loss.backward()
        optimizer.step()
    terms = task.eval()(snippet).terms
    assert terms["health/found"] > 0.7 and terms["health/right"] > 0.7


def test_way_chooses_the_task():
    """`keypoints.way` decides in the one build function."""
    settings = ("task=keypoints", "data.root=x", "keypoints.way=superpoint")
    config = load_config(TrainConfig, None, settings)
    assert isinstance(build_keypoints(config), SuperPointTask)


# --- labels --------------------------------------------------------------------------------------


def test_labels_of_a_picture_keep_to_the_valid_part():
    """A detector of brightness finds the spot in odd sizes; where valid is False it does not."""
    rgb = torch.zeros(70, 90, 3, dtype=torch.uint8).numpy()
    rgb[30:33, 50:53] = 255
    options = LabelOptions(model="m", data="d", views=9, threshold=0.2)  # type: ignore[arg-type]
    points = find_points(rgb, lambda x: x[:, 0], options, seed=0)
    assert points.tolist() == [[51, 31]]
    valid = torch.ones(70, 90, dtype=torch.bool).numpy()
    valid[:, 45:] = False
    assert find_points(rgb, lambda x: x[:, 0], options, seed=0, valid=valid).shape == (0, 2)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Eight drawn pictures and a detector trained on them for two steps."""
    root = tmp_path_factory.mktemp("superpoint")
    synth(SynthOptions("shapes", root / "data", scenes=1, frames=8, size=(64, 80)))
    words = [f"data.root={root / 'data'}", "data.size=[64,80]", "keypoints.window=[64,80]"]
    words += [
        "optimizer.steps=2",
        "optimizer.warmup_steps=0",
        "optimizer.batch_size=2",
        "data.validation_share=0.3",
    ]
    assert main(["train", "keypoints/shapes", "--run", str(root / "run"), "--set", *words]) == 0
    return root


def test_labels_are_written_once(trained, capsys):
    """Points appear in a bare sequence; they are not replaced without a word."""
    bare = trained / "bare"
    synth(SynthOptions("shapes", bare, scenes=1, frames=2, size=(64, 80), seed=5))
    sequence = bare / "shapes_00000"
    (sequence / "points").rename(trained / "exact")
    options = LabelOptions(trained / "run", sequence, views=3, threshold=1e-4, most=7)
    done = label_points(options)
    assert (done.sequences, done.frames) == (1, 2) and done.points <= 7
    assert open_sequence(sequence).read_points(1).shape[1] == 2
    with pytest.raises(DataError, match="has points/ already; use --force"):
        label_points(options)


def test_training_without_points_is_one_line(trained, tmp_path, capsys):
    """Sequences that list no keypoints are refused with what makes them."""
    write_box_sequence(tmp_path / "box", 6, (64, 80), 0)
    words = [f"data.root={tmp_path / 'box'}", "data.size=[64,80]", "keypoints.window=[64,80]"]
    words += ["optimizer.batch_size=2"]
    assert main(["train", "keypoints/shapes", "--run", str(tmp_path / "run"), "--set", *words]) == 1
    assert "there is no points/" in capsys.readouterr().err


def test_another_task_finds_no_keypoints(tmp_path):
    """A run of another task is named."""
    with pytest.raises(ConfigError, match="task flow.* finds no keypoints"):
        open_score("flow-synthetic")  # type: ignore[arg-type]
