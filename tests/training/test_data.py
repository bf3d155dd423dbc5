# SPDX-License-Identifier: Apache-2.0
"""From the data configuration to what teaches and what is held out."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from small_run import small_config

from depthkit.data.sequence import SequenceWriter, open_sequence, write_split
from depthkit.errors import ConfigError, DataError
from depthkit.training import data as training_data
from depthkit.training.data import RunData, check_truth, open_run_data


def open_data(root, *words: str) -> RunData:
    """Open the data of a small run."""
    return open_run_data(small_config(root, *words).data, seed=0)


def targets(dataset) -> list[int]:
    """Return the target frames of a data set of one sequence."""
    return [frame for _, frame in dataset.index]


@pytest.fixture
def dataset(world, tmp_path):
    """Two sequences and a split: a trains, b validates."""
    for name in ("a", "b"):
        shutil.copytree(world, tmp_path / "set" / name)
    write_split(tmp_path / "set", train=["a"], val=["b"], test=[])
    return tmp_path / "set"


def test_last_targets_are_held_out(world):
    """24 frames, shifts -1 and 2: targets 1..21; a fifth of 24, five, are held out at the end."""
    data = open_data(world, "data.shifts=[-1,2]", "data.validation_share=0.2")
    assert targets(data.train) == list(range(1, 17))
    assert targets(data.val) == list(range(17, 22))
    assert data.shifts == (-1, 2) and data.names == ("room",)


def test_one_target_is_held_out_at_least(world):
    """A share of nearly nothing still leaves something to validate on."""
    data = open_data(world, "data.validation_share=0.001")
    assert targets(data.val) == [22] and targets(data.train) == list(range(1, 22))


def test_validation_is_not_varied(world):
    """Held-out snippets are the frames as they are, in every epoch; training ones are not."""
    data = open_data(world, "data.colour_jitter=0.3")
    first, again = data.val[(0, 0)], data.val[(0, 5)]
    assert (first.target == again.target).all()
    assert (data.train[(0, 0)].target != data.train[(0, 5)].target).any()


def test_named_sequences_take_the_places_of_the_split(dataset):
    """The split's lists hold unless the configuration names sequences."""
    data = open_data(dataset)
    assert data.names == ("a",) and [s.name for s in data.val.sequences] == ["b"]
    assert targets(data.train) == targets(data.val) == list(range(1, 23))
    other = open_data(dataset, "data.train=[b]", "data.val=[a]")
    assert other.names == ("b",) and [s.name for s in other.val.sequences] == ["a"]


def test_a_split_without_training_sequences_is_an_error(dataset):
    """Zero sequences are an error, and the key to set is named."""
    (dataset / "split.yaml").unlink()
    write_split(dataset, train=[], val=["b"], test=[])
    with pytest.raises(ConfigError, match=r"no training sequence; name them in data\.train"):
        open_data(dataset)


def test_an_unknown_sequence_is_named(dataset):
    """A sequence that is not there is an error with its name."""
    with pytest.raises(DataError, match="nowhere"):
        open_data(dataset, "data.train=[nowhere]")


def test_shifts_longer_than_the_sequence_are_an_error(world):
    """23 frames before and after a target need 47."""
    with pytest.raises(DataError, match="24 frames are too few for shifts .* at least 47"):
        open_data(world, "data.shifts=[-23,23]")


def test_frames_the_doctor_calls_unusable_do_not_teach(dataset, monkeypatch):
    """A saved inspection takes frames out of the targets, unless skip_static is off."""
    usable = np.arange(24) % 2 == 0
    monkeypatch.setattr(
        training_data, "load_inspection", lambda root: SimpleNamespace(usable=tuple(usable))
    )
    assert len(open_data(dataset).train) == 22
    (dataset / "a" / "inspect.json").write_text("{}")
    assert targets(open_data(dataset).train) == list(range(2, 23, 2))
    assert len(open_data(dataset, "data.skip_static=false").train) == 22


def test_nothing_usable_is_an_error(dataset, monkeypatch):
    """A sequence without one usable frame sends the user to the doctor."""
    monkeypatch.setattr(
        training_data, "load_inspection", lambda root: SimpleNamespace(usable=(False,) * 24)
    )
    (dataset / "a" / "inspect.json").write_text("{}")
    with pytest.raises(DataError, match="depthkit inspect"):
        open_data(dataset)


def test_auto_shifts_are_the_median_of_the_sequences(dataset, monkeypatch):
    """Three sequences asking for 2, 3 and 7 frames are trained at 3 before and after."""
    shutil.copytree(dataset / "a", dataset / "c")
    (dataset / "split.yaml").unlink()
    write_split(dataset, train=["a", "b", "c"], val=["b"], test=[])
    wanted = {"a": (-2, 2), "b": (-7, 7), "c": (-3, 3)}
    monkeypatch.setattr(training_data, "suggest_shifts", lambda sequence: wanted[sequence.name])
    data = open_data(dataset, "data.shifts=auto")
    assert data.shifts == data.train.shifts == data.val.shifts == (-3, 3)


def test_auto_shifts_ask_the_doctor(world):
    """On a real (rendered) clip the doctor answers with some frames before and after."""
    before, after = open_data(world, "data.shifts=auto").shifts
    assert before == -after and 1 <= after <= 5


@pytest.fixture
def levels(world, tmp_path):
    """A data set of two worlds, names as `synth` gives them."""
    train, val = ["plain_00000", "plain_00001", "rich_00000"], ["plain_00002", "rich_00001"]
    for name in (*train, *val):
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).symlink_to(world)
    write_split(tmp_path / "set", train=train, val=val, test=[])
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("[plain_*]", ("plain_00000", "plain_00001")),
        ("['*_00000']", ("plain_00000", "rich_00000")),
        ("[rich_*,plain_00001,'plain_*']", ("rich_00000", "plain_00001", "plain_00000")),
        ("[plain_00002]", ("plain_00002",)),
        ("['rich_0000[01]']", ("rich_00000",)),
    ],
)
def test_globs_pick_from_their_own_part_of_the_split(levels, wanted, names):
    """Whatever a glob matches, what validates never teaches; a full name may come from anywhere."""
    assert open_data(levels, f"data.train={wanted}").names == names


def test_globs_choose_what_validates_too(levels):
    """data.val takes globs of the validation list."""
    data = open_data(levels, "data.train=['plain_*']", "data.val=['rich_*']")
    assert len(data.val.sequences) == 1 and len(data.train.sequences) == 2


def test_a_glob_without_a_match_is_an_error(levels):
    """Nothing found is said with the key, not trained on nothing."""
    with pytest.raises(ConfigError, match=r"no sequence under val .* 'colon_\*'; change data\.val"):
        open_data(levels, "data.val=['colon_*']")


PAIR = ("task=supervised_pair", "model.depth=depthnet", "data.shifts=[-3]")


def checked(root, *words: str) -> RunData:
    """Open the data of a task and check its truth."""
    config = small_config(root, *words)
    data = open_run_data(config.data, seed=0, single_view=config.single_view)
    check_truth(data, config)
    return data


def copy_without(world, path, *, poses: bool = True, depth: bool = True, kind: str = "metric"):
    """Write a few frames of the world again, without part of its truth."""
    source = open_sequence(world)
    with SequenceWriter(path, source.camera, depth_kind=kind, ext="png") as writer:
        for i in range(8):
            T, Z = source.poses[i] if poses else None, source.read_depth(i) if depth else None
            writer.add_frame(source.read_frame(i), source.times[i], T, Z)
    return path


def test_random_pairs_teach_and_the_nominal_pair_validates(world):
    """Training targets are all frames but the held-out ones; validation keeps to shift -3."""
    data = checked(world, *PAIR, "data.random_shift=6")
    assert targets(data.train) == list(range(23)) and data.train.random_shift == 6
    assert targets(data.val) == [23] and data.val[(0, 3)].shifts.tolist() == [-3]
    assert data.focal == pytest.approx(open_sequence(world).camera.fx)


def test_tasks_of_one_frame_read_no_sources(world):
    """No shift keeps a frame from being a target, and none is read."""
    data = checked(world, "task=supervised_mono", "data.shifts=[-30]")
    assert data.shifts == () and len(data.train) + len(data.val) == 24
    assert data.train[(0, 0)].sources.shape[0] == 0


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ({"depth": False}, "b: task supervised_pair learns from metric depth"),
        ({"kind": "up_to_scale"}, "b: task supervised_pair learns from metric depth"),
        ({"poses": False}, r"b: a pair needs its known distance, and there is no poses\.txt"),
    ],
)
def test_a_task_without_its_truth_is_refused(world, tmp_path, missing, message):
    """A sequence that cannot teach is named before the run begins, one among good ones too."""
    shutil.copytree(world, tmp_path / "a")
    copy_without(world, tmp_path / "b", **missing)
    write_split(tmp_path, train=["a", "b"], val=["a"], test=[])
    with pytest.raises(DataError, match=message):
        checked(tmp_path, *PAIR)
    checked(tmp_path, *PAIR, "data.train=[a]")


def test_pairs_of_two_focal_lengths_are_refused(world, tmp_path):
    """A pair network has no input for K: cameras 10 % apart cannot be taught together."""
    for name, factor in (("a", 1.0), ("b", 1.1)):
        shutil.copytree(world, tmp_path / name)
        text = (tmp_path / name / "camera.yaml").read_text()
        fx = open_sequence(world).camera.fx
        (tmp_path / name / "camera.yaml").write_text(text.replace(f"{fx}", f"{fx * factor}"))
    write_split(tmp_path, train=["a", "b"], val=["a"], test=[])
    with pytest.raises(DataError, match="focal lengths from .* pixels at"):
        checked(tmp_path, *PAIR)
    checked(tmp_path, "task=supervised_mono")


def test_pairs_squeezed_to_another_aspect_are_refused(world):
    """One focal length serves both axes: 64x96 frames may not be trained at 64x64."""
    with pytest.raises(DataError, match="a data.size of its own aspect"):
        checked(world, *PAIR, "data.size=[64,64]")
