# SPDX-License-Identifier: Apache-2.0
"""LightGlue and LoFTR with weights from a file: shapes, loading, positions, and wrong files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from kornia.feature import LightGlue
from safetensors.torch import save_file

from depthkit.errors import CheckpointError
from depthkit.models.matchers import Keypoints, LightGlueMatcher, LoftrMatcher, read_weights


def write_glue(path: Path, *, oriented: bool = False, width: int = 16) -> dict[str, torch.Tensor]:
    """Save a small LightGlue with random weights; return them."""
    torch.manual_seed(0)
    net = LightGlue(
        features=None,
        input_dim=width,
        descriptor_dim=32,
        num_heads=2,
        n_layers=2,
        add_scale_ori=oriented,
        flash=False,
    )
    tensors = {name: value.clone() for name, value in net.state_dict().items()}
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    return tensors


def keypoints(count: int, width: int = 16, seed: int = 0) -> Keypoints:
    """Draw features of a picture of 60x80, one on its very edge."""
    rng = np.random.default_rng(seed)
    pixels = rng.uniform(0, 60, (count, 2)).astype(np.float32)
    pixels[:1] = 79.4, -0.4
    numbers = [rng.uniform(1, 6, count).astype(np.float32) for _ in range(2)]
    return Keypoints(pixels, rng.normal(size=(count, width)).astype(np.float32), *numbers, (60, 80))


@pytest.mark.parametrize("name", ["glue.safetensors", "glue.pth"])
@pytest.mark.parametrize("oriented", [False, True])
def test_weights_say_what_lightglue_takes(tmp_path: Path, name: str, oriented: bool) -> None:
    """Length of descriptors, layers, heads and orientation follow from the shapes alone."""
    write_glue(tmp_path / name, oriented=oriented)
    matcher = LightGlueMatcher(tmp_path / name)
    assert (matcher.width, matcher.is_oriented) == (16, oriented)
    assert (matcher._net.conf.n_layers, matcher._net.conf.num_heads) == (2, 2)
    a, b = keypoints(30), keypoints(40, seed=1)
    found = matcher.match(a, b)
    assert found.dtype == np.int64 and found.shape == (len(found), 2)
    assert np.array_equal(found, LightGlueMatcher(tmp_path / name).match(a, b))
    assert matcher.match(a, keypoints(0)).shape == (0, 2)


def test_lightglue_pairs_are_those_of_its_layers(tmp_path: Path) -> None:
    """The same network filled by hand gives the same pairs; with no threshold there are some."""
    tensors = write_glue(tmp_path / "glue.pth")
    matcher = LightGlueMatcher(tmp_path / "glue.pth")
    matcher._net.conf.filter_threshold = 0.0
    a, b = keypoints(30), keypoints(30, seed=1)
    found = matcher.match(a, b)
    net = LightGlue(
        features=None,
        input_dim=16,
        descriptor_dim=32,
        num_heads=2,
        n_layers=2,
        flash=False,
        depth_confidence=-1,
        width_confidence=-1,
        filter_threshold=0.0,
    ).eval()
    net.load_state_dict(tensors)
    images = {
        f"image{number}": {
            "keypoints": torch.from_numpy(np.clip(one.pixels, 0, (80, 60)))[None].float(),
            "descriptors": torch.nn.functional.normalize(torch.from_numpy(one.descriptors), dim=1)[
                None
            ],
            "image_size": torch.tensor([[80.0, 60.0]]),
        }
        for number, one in enumerate((a, b))
    }
    with torch.no_grad():
        wanted = net(images)["matches"][0].numpy()
    assert len(found) > 3 and {*map(tuple, found)} == {*map(tuple, wanted)}
    assert (np.diff(found[:, 0]) > 0).all() and len(set(found[:, 1])) == len(found)


def test_old_names_and_wrappers_are_read(tmp_path: Path) -> None:
    """Names of the first release, without the derived buffer; a matcher saved beside a detector."""
    tensors = write_glue(tmp_path / "new.pth")
    a, b = keypoints(30), keypoints(30, seed=1)
    wanted = LightGlueMatcher(tmp_path / "new.pth").match(a, b)
    old = {}
    for name, value in tensors.items():
        if name.startswith("transformers."):
            _, number, kind, rest = name.split(".", 3)
            name = f"{kind}.{number}.{rest}"
        old[name] = value
    del old["confidence_thresholds"]
    torch.save(old, tmp_path / "old.pth")
    assert np.array_equal(LightGlueMatcher(tmp_path / "old.pth").match(a, b), wanted)
    wrapped = {f"matcher.{name}": value for name, value in tensors.items()}
    torch.save({"state_dict": wrapped | {"extractor.w": torch.ones(2)}}, tmp_path / "wrapped.ckpt")
    assert np.array_equal(LightGlueMatcher(tmp_path / "wrapped.ckpt").match(a, b), wanted)


def test_descriptors_of_another_length_are_refused(tmp_path: Path) -> None:
    """The line names both lengths."""
    write_glue(tmp_path / "glue.pth")
    matcher = LightGlueMatcher(tmp_path / "glue.pth")
    with pytest.raises(CheckpointError, match="descriptors of 16 numbers, got 12"):
        matcher.match(keypoints(5), keypoints(5, width=12))


def test_wrong_files_are_one_line(tmp_path: Path) -> None:
    """Missing, no weights at all, a pickle of something else, another network, one key too many."""
    tensors = write_glue(tmp_path / "glue.pth")
    with pytest.raises(CheckpointError, match="no such file of weights"):
        read_weights(tmp_path / "none.pth")
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("not weights")
        with pytest.raises(CheckpointError, match="no file of weights; expected .safetensors"):
            read_weights(tmp_path / name)
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="holds no tensors by name"):
        read_weights(tmp_path / "list.pth")
    torch.save({"conv.weight": torch.ones(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="not LightGlue's"):
        LightGlueMatcher(tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="weights of another network"):
        LoftrMatcher(tmp_path / "other.pth")
    torch.save(tensors | {"more": torch.ones(1)}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match="1 extra \\(more\\)"):
        LightGlueMatcher(tmp_path / "more.pth")
    laf = tensors | {"posenc.Wr.weight": torch.ones(8, 6)}
    torch.save(laf, tmp_path / "laf.pth")
    with pytest.raises(CheckpointError, match="features with 6 numbers of position"):
        LightGlueMatcher(tmp_path / "laf.pth")


@pytest.mark.slow
def test_loftr_loads_runs_and_moves_to_our_pixels(tmp_path: Path) -> None:
    """Random weights run on sides that are no multiple of 8; its frame is half a pixel off ours."""
    from kornia.feature import LoFTR

    torch.manual_seed(0)
    torch.save({"state_dict": LoFTR(pretrained=None).state_dict()}, tmp_path / "loftr.ckpt")
    matcher = LoftrMatcher(tmp_path / "loftr.ckpt")
    gray = np.random.default_rng(0).integers(0, 256, (70, 100), dtype=np.uint8)
    first, second = matcher.match(gray, gray)
    assert first.shape == second.shape == (len(first), 2) and first.dtype == np.float32
    again = matcher.match(gray, gray)
    assert np.array_equal(again[0], first) and np.array_equal(again[1], second)
    assert len(matcher.match(gray, np.zeros((39, 100), np.uint8))[0]) == 0
    found = {"keypoints0": torch.tensor([[8.0, 16]]), "keypoints1": torch.tensor([[9.5, 16.25]])}
    matcher._net = lambda images: found
    a, b = matcher.match(gray, gray)
    assert a.tolist() == [[7.5, 15.5]] and b.tolist() == [[9.0, 15.75]]
