# SPDX-License-Identifier: Apache-2.0
"""Task place: views, a short overfit with each loss, what an export keeps, whole runs, bad keys."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from small_run import small_config

from depthkit.config import PlaceConfig
from depthkit.data.place_loading import PlaceDataset, PlaceReading, picture_source
from depthkit.data.snippet import collate
from depthkit.errors import ConfigError, DataError
from depthkit.models.checkpoint import read_checkpoint
from depthkit.tasks import build_task
from depthkit.tasks.place_views import change_season, vary_looks
from depthkit.training.hard_pairs import average_precision, find_hard, other_places
from depthkit.training.loop import train
from depthkit.training.run_data import open_data

STILL = PlaceConfig(rotation=0, crop=0, perspective=0, season=0)
WORDS = (
    "task=place",
    "data.size=[40,48]",
    "model.place_numbers=16",
    "place.season=0.3",
    "place.crop=0.1",
    "data.colour_jitter=0",
)


def write_scenes(folder: Path, count: int) -> Path:
    """Write pictures of random blobs, each another place."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        small = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{i:02d}.png"), cv2.resize(small, (60, 50)))
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """Twelve places, one picture each."""
    return write_scenes(tmp_path_factory.mktemp("places") / "scenes", 12)


@pytest.fixture(scope="module")
def batch(scenes):
    """Eight of them as a batch."""
    data = PlaceDataset([picture_source(scenes)], PlaceReading(size=(40, 48)))
    return collate([data[(i, 0)] for i in range(8)])


# --- views ---------------------------------------------------------------------------------------


def test_nothing_to_vary_is_the_picture_itself():
    """With all strengths 0 picture and raster stay as they are."""
    picture = torch.rand(2, 3, 12, 16)
    found = vary_looks(picture, picture, STILL)
    assert found.images is picture and found.rasters is picture


def test_pictures_of_half_a_turn_and_their_rasters_go_together():
    """Only the geometry is drawn, so picture and raster, the same at first, stay the same; they
    lie inside [0, 1], and each picture is changed in its own way."""
    torch.manual_seed(0)
    picture = torch.rand(1, 3, 24, 32).expand(3, -1, -1, -1)
    config = PlaceConfig(rotation=180, crop=0.4, perspective=0.1, season=0)
    found = vary_looks(picture, picture, config)
    assert found.rasters is not None
    torch.testing.assert_close(found.images, found.rasters)
    assert found.images.min() >= 0 and found.images.max() <= 1
    assert (found.images[0] - found.images[1]).abs().mean() > 0.05
    assert (found.images - picture).abs().mean() > 0.05


def test_a_crop_enlarges_the_middle():
    """A ramp from left to right keeps its mean value within the largest shift, and is less steep:
    a crop of up to half leaves between half and all of the slope."""
    torch.manual_seed(0)
    ramp = torch.linspace(0, 1, 33).expand(16, 3, 17, 33)
    config = PlaceConfig(rotation=0, crop=0.5, perspective=0, season=0)
    found = vary_looks(ramp, None, config).images
    slope = found[:, 0, 8, -1] - found[:, 0, 8, 0]
    assert slope.min() >= 0.5 - 1e-4 and slope.max() <= 1 + 1e-4 and slope.std() > 0.05
    assert ((found[:, 0, 8, 0] >= -1e-4) & (found[:, 0, 8, -1] <= 1 + 1e-4)).all()


def test_seasons_change_light_not_places():
    """Strength 0 is the picture; 1 changes colours within [0, 1], and contrast is still there."""
    torch.manual_seed(0)
    picture = torch.rand(8, 3, 24, 32)
    assert change_season(picture, strength=0) is picture
    changed = change_season(picture, strength=1.0)
    assert changed.min() >= 0 and changed.max() <= 1
    assert ((changed - picture).abs().mean((1, 2, 3)) > 0.01).all()
    assert (changed.std((1, 2, 3)) > 0.02).all()


# --- learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["multi_similarity", "triplet", "contrastive", "decision"])
def test_each_loss_learns(scenes, batch, objective):
    """In 25 steps on one batch the loss falls, and wrong places win less often."""
    config = small_config(scenes, *WORDS, f"place.objective={objective}")
    torch.manual_seed(0)
    task = build_task(config, ())
    assert (task.decision is not None) == (objective == "decision")
    optimizer = torch.optim.AdamW(task.parameters(), lr=2e-3)
    losses, wins = [], []
    for _ in range(25):
        output = task(batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(float(output.loss.detach()))
        wins.append(float(output.judged))
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert np.mean(wins[-5:]) < 0.7 * np.mean(wins[:5]) and int(task.steps) == 25


def test_held_out_looks_are_the_same_each_time(scenes, batch):
    """Two validations see the same views, and leave the run's own random numbers alone."""
    task = build_task(small_config(scenes, *WORDS), ()).eval()
    state = torch.get_rng_state()
    first, second = (task(batch).loss for _ in range(2))
    assert torch.equal(first, second) and torch.equal(state, torch.get_rng_state())
    assert int(task.steps) == 0


def test_an_export_keeps_the_order_by_variance(scenes, batch):
    """Of a trained task the finished network cuts a code after its most telling numbers; the
    cosines of all numbers are those of centred codes. An untrained one is left as it is."""
    task = build_task(small_config(scenes, *WORDS, "place.kept=4"), ())
    assert task.finished_net().parts == (16,)
    torch.manual_seed(0)
    for _ in range(3):
        task(batch)
    task.eval()
    cut = task.finished_net()
    assert cut.parts == (4,) and task.place_net.parts == (16,)
    codes = cut.codes(batch.target)[:, 0]
    variance = codes.detach().var(0)
    assert float(variance[0]) > float(variance[3])
    torch.testing.assert_close(cut(batch.target).norm(dim=1), torch.ones(8))


# --- hard pairs ----------------------------------------------------------------------------------


def test_map_at_5_by_hand():
    """The right answer first, third and sixth: 1, 1/3 and 0; no rival counts that is no other
    place."""
    cosines = np.zeros((6, 6))
    cosines[0] = [0.9, 0.1, 0.2, 0.3, 0.4, 0.5]
    cosines[1] = [0.9, 0.5, 0.8, 0.1, 0.1, 0.1]
    cosines[5] = [0.9, 0.9, 0.9, 0.9, 0.9, 0.1]
    rivals = ~np.eye(6, dtype=bool)
    found = average_precision(cosines, rivals)
    np.testing.assert_allclose(found[[0, 1, 5]], [1, 1 / 3, 0])
    rivals[1, 0] = False
    np.testing.assert_allclose(average_precision(cosines, rivals)[1], 1 / 2)


def test_other_places_are_those_of_the_loss():
    """Worlds differ, or the way is longer than twice the larger distance."""
    places = np.zeros((3, 2, 5))
    places[:, :, 0] = [[0, 0], [0, 0], [1, 1]]
    places[:, :, 1] = [[0, 1], [5, 6], [0, 0]]
    places[:, :, 4] = 2
    found = other_places(places, apart=2)
    assert found.tolist() == [[False, True, True], [False, False, True], [True, True, False]]


def test_hard_pairs_are_those_not_found(scenes):
    """A picture's other view without variation is itself, so even an untrained network finds it."""
    config = small_config(scenes, *WORDS)
    data = open_data(config).train
    torch.manual_seed(0)
    task = build_task(config, ())
    hard = find_hard(task, data, config, Fabric(accelerator="cpu"))
    assert hard.tolist() == [] and task.training


# --- whole runs ----------------------------------------------------------------------------------


def test_a_run_mines_hard_pairs_and_resumes(scenes, tmp_path):
    """With a look every epoch: five steps at once, and three and two, end with the same weights."""
    words = (*WORDS, "place.mine_every=1", "optimizer.steps=5", "optimizer.batch_size=4")
    config = small_config(scenes, *words, "run.save_every=3")
    whole = train(config, tmp_path / "whole")
    assert whole.steps == 5 and whole.last.exists() and whole.best_val_loss <= 1
    tensors, state = read_checkpoint(whole.last)
    assert "data.hard" in tensors and state["focal"] is None and state["shifts"] == []
    train(small_config(scenes, *words, "optimizer.steps=3"), tmp_path / "parts")
    parts = train(config, tmp_path / "parts", resume=True)
    again, _ = read_checkpoint(parts.last)
    assert all(torch.equal(tensors[name], again[name]) for name in tensors if "task" in name)


@pytest.mark.parametrize(
    ("words", "error", "line"),
    [
        (("place.kept=99",), ConfigError, r"place\.kept: at most model\.place_numbers, 16"),
        (("place.kept=1",), ConfigError, "needs 2 numbers or more"),
        (("place.kept=4", "place.whitening=none"), ConfigError, "set place.whitening: pca"),
        (("model.place_fusion=concatenated",), ConfigError, "fuses a second modality"),
        (("optimizer.batch_size=1",), ConfigError, "two places a process at least"),
        (("data.root=/nowhere",), DataError, "no such folder of pictures"),
    ],
)
def test_bad_keys_are_one_line(scenes, words, error, line):
    """Each names the key and what to do."""
    with pytest.raises(error, match=line):
        open_data(small_config(scenes, *WORDS, *words))
