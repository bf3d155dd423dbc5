# SPDX-License-Identifier: Apache-2.0
"""Snippets from sequence folders: conventions by hand, unknowns, an order that can be resumed."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depthkit.camera import Camera
from depthkit.data.augment import Variation
from depthkit.data.sequence import Sequence, SequenceWriter, open_sequence
from depthkit.data.snippet import collate
from depthkit.data.snippet_loading import ShuffledBatches, SnippetDataset, build_loader
from depthkit.errors import DataError
from depthkit.geometry.warp import warp_to_target
from depthkit.synth.boxes import write_box_sequence
from depthkit.trajectory import make_pose

CAMERA = Camera(32, 24, 20.0, 21.0, 14.5, 12.5)
SIZE = (24, 32)


def write(path: Path, count: int = 6, *, depth: bool = True, poses: bool = True) -> Sequence:
    """Frame i is grey 10 i, stands at z = i metres, turned a quarter about z where i is odd."""
    turned = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    with SequenceWriter(path, CAMERA, ext="png") as writer:
        for i in range(count):
            T = make_pose(turned if i % 2 else np.eye(3), np.array([0.0, 0, i]))
            Z = np.full(SIZE, 1.0 + i)
            Z[0, 0] = 0
            known = poses and i != 4
            rgb = np.full((*SIZE, 3), 10 * i, np.uint8)
            writer.add_frame(rgb, 0.1 * i, T if known else None, Z if depth else None)
    return open_sequence(path)


def dataset(*sequences: Sequence, shifts=(-1, 1), size=SIZE, **options) -> SnippetDataset:
    return SnippetDataset(sequences, shifts=shifts, size=size, **options)


# --- one snippet ---------------------------------------------------------------------------------


def test_target_and_sources_are_the_frames_of_the_shifts(tmp_path):
    """Target 2 with shifts -2 and 1 reads frames 0 and 3, colours in [0, 1], in this order."""
    snippet = dataset(write(tmp_path / "walk"), shifts=(-2, 1))[0, 0]
    assert snippet.names == ("walk/000002",) and snippet.shifts.tolist() == [-2, 1]
    assert snippet.target.shape == (3, *SIZE) and snippet.sources.shape == (2, 3, *SIZE)
    assert snippet.target[0, 0, 0].item() == pytest.approx(20 / 255)
    expected = torch.tensor([0, 30 / 255])
    torch.testing.assert_close(snippet.sources[:, 1, 5, 7], expected)
    assert snippet.depth_gt[0, 5, 5] == 3 and snippet.depth_gt[0, 0, 0] == 0
    assert snippet.valid.all() and snippet.valid.dtype == torch.bool
    np.testing.assert_allclose(snippet.K, CAMERA.K)


def test_motion_by_hand(tmp_path):
    """Target 2 at z = 2; source 1 at z = 1, turned: T_source_target = inv(T_w_s) T_w_t."""
    snippet = dataset(write(tmp_path / "walk"))[1, 0]
    assert snippet.names == ("walk/000002",)
    # The target's point (1, 0, 0) is the world's (1, 0, 2), 1 m ahead of the turned source.
    point = torch.tensor([1.0, 0, 0, 1])
    moved = snippet.T_source_target_gt @ point
    torch.testing.assert_close(moved[0], torch.tensor([0.0, -1, 1, 1]), atol=1e-6, rtol=0)
    torch.testing.assert_close(moved[1], torch.tensor([0.0, -1, -1, 1]), atol=1e-6, rtol=0)


def test_unknown_poses_are_nan(tmp_path):
    """Frame 4 has no pose: NaN as a source, all NaN as the target; without a file all is NaN."""
    data = dataset(write(tmp_path / "walk"))
    as_source, as_target = data[2, 0].T_source_target_gt, data[3, 0].T_source_target_gt
    assert as_source[0].isfinite().all() and as_source[1].isnan().all()
    assert as_target.isnan().all()
    bare = dataset(write(tmp_path / "bare", poses=False))[0, 0]
    assert bare.T_source_target_gt.shape == (2, 4, 4) and bare.T_source_target_gt.isnan().all()


def test_no_depth_is_depth_zero(tmp_path):
    """A sequence without depth pictures gives zeros: unknown everywhere."""
    snippet = dataset(write(tmp_path / "walk", depth=False))[0, 0]
    assert snippet.depth_gt.shape == (1, *SIZE) and not snippet.depth_gt.any()


@pytest.mark.parametrize("size", [(12, 16), (48, 64), (20, 40)])
def test_everything_follows_the_size(tmp_path, size):
    """Images, maps and K come at the size asked for, K by c' = s (c + 0.5) - 0.5."""
    snippet = dataset(write(tmp_path / "walk"), size=size)[0, 0]
    assert snippet.target.shape == (3, *size) and snippet.sources.shape == (2, 3, *size)
    assert snippet.depth_gt.shape == snippet.valid.shape == (1, *size)
    v, u = size[0] / 24, size[1] / 32
    K = [[20 * u, 0, u * 15 - 0.5], [0, 21 * v, v * 13 - 0.5], [0, 0, 1]]
    torch.testing.assert_close(snippet.K, torch.tensor(K))
    assert set(snippet.depth_gt.unique().tolist()) <= {0.0, 2.0}


def test_resized_truth_rebuilds_the_target(tmp_path):
    """Frames rendered at 96 x 128 and read at 64 x 80 keep depth, K and motion consistent."""
    write_box_sequence(tmp_path / "room", 3, (96, 128), 1)
    snippet = collate([dataset(open_sequence(tmp_path / "room"), size=(64, 80))[0, 0]])
    for s in range(2):
        warped = warp_to_target(
            snippet.sources[:, s],
            snippet.depth_gt,
            T_source_target=snippet.T_source_target_gt[:, s],
            K=snippet.K,
        )
        error = (warped.image - snippet.target).abs().mean(1, keepdim=True)[warped.valid]
        assert error.median() < 0.006 and error.mean() < 0.015


def test_valid_mask_is_read_and_resized(tmp_path):
    """The left half is no image: false there at every size."""
    sequence = write(tmp_path / "walk")
    mask = np.zeros(SIZE, np.uint8)
    mask[:, 16:] = 255
    cv2.imwrite(str(tmp_path / "walk" / "valid.png"), mask)
    for size in (SIZE, (12, 16)):
        valid = dataset(sequence, size=size)[0, 0].valid
        half = size[1] // 2
        assert not valid[..., :half].any() and valid[..., half:].all()


# --- the index -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shifts", "expected"),
    [((-1, 1), [1, 2, 3, 4]), ((1,), [0, 1, 2, 3, 4]), ((-2,), [2, 3, 4, 5]), ((-3, 2), [3])],
)
def test_targets_are_those_whose_sources_exist(tmp_path, shifts, expected):
    """Six frames: no target whose source would lie before the first or after the last."""
    assert [f for _, f in dataset(write(tmp_path / "w"), shifts=shifts).index] == expected


def test_only_wanted_targets_are_kept(tmp_path):
    """Frames marked false are no targets, though they may still be sources; ends stay out."""
    one, two = write(tmp_path / "a"), write(tmp_path / "b")
    wanted = [np.array([1, 0, 1, 1, 0, 1], bool), np.zeros(6, bool)]
    data = dataset(one, two, targets=wanted)
    assert data.index == [(0, 2), (0, 3)] and len(data) == 2


def test_too_short_sequences_are_named(tmp_path):
    """Four frames cannot have shifts -2 and 2; the message says how many are needed."""
    short = write(tmp_path / "short", 4)
    with pytest.raises(
        DataError, match=r"short: 4 frames are too few for shifts \[-2, 2\].*least 5"
    ):
        dataset(write(tmp_path / "long"), short, shifts=(-2, 2))


def test_nothing_left_is_an_error(tmp_path):
    """No target at all is not an empty success."""
    sequence = write(tmp_path / "walk")
    with pytest.raises(DataError, match="no frame is left to be a target; run 'depthkit inspect'"):
        dataset(sequence, targets=[np.zeros(6, bool)])
    with pytest.raises(DataError, match="no frame is left"):
        dataset()


def test_variation_follows_seed_epoch_and_place(tmp_path):
    """The same (seed, epoch, index) varies alike; another epoch, place or seed otherwise."""
    write_box_sequence(tmp_path / "room", 4, (36, 48), 0)
    sequence, jitter = open_sequence(tmp_path / "room"), Variation(True, 0.2, 1.2)

    def made(seed=0, place=0, epoch=0):
        return dataset(sequence, size=(36, 48), variation=jitter, seed=seed)[place, epoch]

    assert torch.equal(made().sources, made().sources) and torch.equal(made().K, made().K)
    for other in (made(seed=1), made(epoch=1), made(place=1)):
        assert not torch.equal(made().K, other.K)


# --- random shifts, and targets alone ------------------------------------------------------------


def test_random_shifts_reach_all_around_and_never_outside(tmp_path):
    """Six frames, at most 2 apart: every frame is a target, sources lie in the sequence, all alike.

    Frame 0 can take 0, 1 or 2, frame 2 all from -2 to 2; over 200 epochs each comes a fair share.
    """
    data = dataset(write(tmp_path / "walk"), shifts=(-3,), random_shift=2)
    assert [frame for _, frame in data.index] == list(range(6))
    for place, reach in ((0, [0, 1, 2]), (2, [-2, -1, 0, 1, 2]), (5, [-2, -1, 0])):
        drawn = [data[place, epoch].shifts.item() for epoch in range(200)]
        assert sorted(set(drawn)) == reach
        assert min(drawn.count(shift) for shift in reach) > 0.6 * 200 / len(reach)


def test_a_random_pair_keeps_its_depth_and_motion_together(tmp_path):
    """Whichever frame is later: depth is the target's, colours and motion the drawn source's."""
    data = dataset(write(tmp_path / "walk"), shifts=(-3,), random_shift=3)
    for epoch in range(12):
        snippet = data[2, epoch]
        source = 2 + snippet.shifts.item()
        assert snippet.depth_gt[0, 5, 5] == 3
        assert snippet.sources[0, 0, 0, 0].item() == pytest.approx(10 * source / 255)
        T = snippet.T_source_target_gt[0]
        if source != 4:  # the frame without a pose
            assert T[2, 3].item() == pytest.approx(2 - source)
        else:
            assert T.isnan().all()


def test_random_shifts_follow_seed_epoch_and_place(tmp_path):
    """The same (seed, epoch, index) draws the same pair; over epochs and seeds it changes."""
    sequence = write(tmp_path / "walk")

    def drawn(seed: int, epochs: range) -> list[int]:
        data = dataset(sequence, shifts=(-3,), random_shift=3, seed=seed)
        return [data[3, epoch].shifts.item() for epoch in epochs]

    assert drawn(0, range(20)) == drawn(0, range(20)) != drawn(1, range(20))
    assert len(set(drawn(0, range(20)))) > 2


def test_a_random_shift_needs_two_frames(tmp_path):
    """One frame has no pair; two do, though the nominal shift is 3."""
    assert len(dataset(write(tmp_path / "two", 2), shifts=(-3,), random_shift=3)) == 2
    with pytest.raises(DataError, match=r"one: 1 frames are too few .* at least 2"):
        dataset(write(tmp_path / "one", 1), shifts=(-3,), random_shift=3)


def test_targets_alone_have_no_sources(tmp_path):
    """Without shifts every frame is a target, nothing else is read, and all variation works."""
    everything = Variation(True, 0.2, 1.2, flip_vertical=True)
    data = dataset(write(tmp_path / "walk"), shifts=(), variation=everything)
    assert len(data) == 6
    snippet = collate([data[0, 0], data[5, 1]])
    assert snippet.sources.shape == (2, 0, 3, *SIZE)
    assert snippet.T_source_target_gt.shape == (2, 0, 4, 4) and snippet.shifts.shape == (2, 0)


# --- the order -----------------------------------------------------------------------------------


def batches(count: int = 23, size: int = 4, first: int = 0, last: int = 17, **options) -> list:
    """All batches from step `first` to before `last`."""
    options = {"seed": 5} | options
    return list(ShuffledBatches(count, batch_size=size, steps=range(first, last), **options))


@pytest.mark.parametrize("step", [1, 4, 5, 12, 16])
def test_resumed_order_is_the_tail_of_the_whole(step):
    """Resumed at any step, in the middle of an epoch or at its edge, the rest is the same."""
    assert batches(first=step) == batches()[step:]


def test_slices_of_processes_make_the_batch():
    """Two or four processes together see what one would, in order, nothing twice."""
    for processes in (2, 4):
        shares = [batches(rank=r, processes=processes) for r in range(processes)]
        joined = [sum(parts, []) for parts in zip(*shares, strict=True)]
        assert joined == batches()


def test_an_epoch_shows_each_target_at_most_once():
    """23 targets in batches of 4: five batches an epoch, 20 different ones, epoch by epoch."""
    all_batches = batches(last=15)
    for epoch in range(3):
        shown = sum(all_batches[5 * epoch : 5 * epoch + 5], [])
        assert {e for _, e in shown} == {epoch}
        assert len({i for i, _ in shown}) == 20 and {i for i, _ in shown} <= set(range(23))


def test_epochs_and_seeds_differ():
    """Every epoch and every seed has an order of its own, and none is left out for ever."""
    epochs = [sum(batches(first=5 * e, last=5 * e + 5), []) for e in range(12)]
    orders = [[i for i, _ in epoch] for epoch in epochs]
    assert len(set(map(tuple, orders))) == 12
    assert set(sum(orders, [])) == set(range(23))
    assert batches(seed=5) != batches(seed=6)


def test_length_is_the_number_of_steps_left():
    """The progress bar is right after a resume."""
    sampler = ShuffledBatches(23, batch_size=4, steps=range(6, 17), seed=0)
    assert len(sampler) == len(list(sampler)) == 11


def test_exactly_one_batch_of_data_is_enough():
    """As many targets as the batch: each step shows them all."""
    for batch in batches(count=4, last=3):
        assert sorted(i for i, _ in batch) == [0, 1, 2, 3]


def test_too_little_data_and_uneven_batches_are_refused():
    """Fewer targets than a batch, or a batch that does not divide, is said with its remedy."""
    with pytest.raises(DataError, match="3 snippets are fewer than one batch of 4; add frames"):
        batches(count=3)
    with pytest.raises(DataError, match="4 does not divide over 3 processes.*multiple of 3"):
        batches(processes=3)


# --- batches -------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1])
def test_loader_gives_the_batches_in_order(tmp_path, workers):
    """Through the loader, with a worker process too, come the sampler's batches, stacked."""
    data = dataset(write(tmp_path / "walk"), variation=Variation(True, 0.2, 1.1))
    sampler = ShuffledBatches(len(data), batch_size=2, steps=range(3), seed=0)
    loaded = list(build_loader(data, sampler, workers=workers, pin=False))
    for snippet, batch in zip(loaded, sampler, strict=True):
        assert snippet.names == tuple(data[item].names[0] for item in batch)
        expected = collate([data[item] for item in batch])
        assert snippet.target.shape == (2, 3, *SIZE) and snippet.K.shape == (2, 3, 3)
        assert torch.equal(snippet.sources, expected.sources)
        assert torch.equal(snippet.K, expected.K) and snippet.shifts.tolist() == [[-1, 1]] * 2


def test_snippet_moves_to_a_device_whole(tmp_path):
    """All tensors move, names stay, the old snippet is left as it was."""
    snippet = dataset(write(tmp_path / "walk"))[0, 0]
    moved = snippet.to(torch.device("meta"))
    assert moved.target.is_meta and moved.depth_gt.is_meta and moved.shifts.is_meta
    assert moved.names == snippet.names and not snippet.target.is_meta
