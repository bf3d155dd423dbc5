# SPDX-License-Identifier: Apache-2.0
"""Snippets read from sequence folders, varied, and batched in a reproducible order.

The order of the data and every random variation follow from (seed, epoch, index) alone, so a run
that is resumed at step n, or split over processes, sees exactly what the uninterrupted one saw.
"""

from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceOf
from copy import copy

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from depthkit.camera import resize_matrix
from depthkit.data.augment import Variation, vary
from depthkit.data.sequence import Sequence
from depthkit.data.snippet import Snippet, collate
from depthkit.data.teacher_maps import TeacherMaps
from depthkit.errors import DataError

MOST_POINTS = 512  # known keypoints of a frame; the first ones where a file lists more


class SnippetDataset(Dataset):
    """All targets of some sequences whose sources lie inside the sequence.

    With a random shift a target has one source, anew each epoch, anywhere within reach of it.
    """

    def __init__(
        self,
        sequences: SequenceOf[Sequence],
        *,
        shifts: tuple[int, ...],
        size: tuple[int, int],
        targets: SequenceOf[np.ndarray] | None = None,
        variation: Variation | None = None,
        random_shift: int = 0,
        seed: int = 0,
        teachers: SequenceOf[TeacherMaps | None] | None = None,
    ) -> None:
        """Index the targets.

        Args:
            sequences: opened sequence folders.
            shifts: frame offset of each source; none for targets alone.
            size: (H, W) of the snippets; frames of another size are resized, K follows.
            targets: for each sequence, which frames may be targets, (N,) bool; None for all.
            variation: random changes; None for none.
            random_shift: in place of the shifts, one from -n to n, 0 too; 0 for the shifts.
            seed: of the random changes.
            teachers: for each sequence, depth that teaches, None for nothing known; None in place
                of all for snippets without that part.

        Raises:
            DataError: a sequence is too short for its shifts, or nothing is left to be a target.
        """
        self.sequences, self.shifts, self.size = list(sequences), shifts, size
        self.variation, self.seed, self.random_shift = variation, seed, random_shift
        self.teachers = None if teachers is None else list(teachers)
        before, after = max(0, -min(shifts, default=0)), max(0, max(shifts, default=0))
        if random_shift:
            before = after = 0
        self.index: list[tuple[int, int]] = []
        for number, sequence in enumerate(self.sequences):
            least = 2 if random_shift else before + after + 1
            if len(sequence) < least:
                raise DataError(
                    f"{sequence.name}: {len(sequence)} frames are too few for shifts "
                    f"{list(shifts)}; at least {least} are needed"
                )
            for frame in range(before, len(sequence) - after):
                if targets is None or targets[number][frame]:
                    self.index.append((number, frame))
        if not self.index:
            raise DataError("no frame is left to be a target; run 'depthkit inspect' on the data")
        self.has_points = any(sequence.has_points for sequence in self.sequences)
        self.window_shifts: np.ndarray | None = None
        """Shifts of each target's own sources, in place of the common ones. (len(self), S) int"""
        self.hard: np.ndarray | None = None
        """Positions that make up half of each batch; None where no one is preferred. (M,) int"""

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, item: tuple[int, int]) -> Snippet:
        """Read one snippet.

        Args:
            item: index of the target, and the epoch, which changes the random variation.
        """
        position, epoch = item
        number, frame = self.index[position]
        sequence = self.sequences[number]
        rng = np.random.default_rng((self.seed, epoch, position))
        if self.random_shift:
            shifts = self._draw_shift(len(sequence), frame, rng)
        elif self.window_shifts is not None:
            shifts = tuple(int(shift) for shift in self.window_shifts[position])
        else:
            shifts = self.shifts
        frames = [frame, *(frame + shift for shift in shifts)]
        images = np.stack([self._read(sequence, i) for i in frames])  # (1+S, H, W, 3)
        valid = sequence.read_valid()
        depth = sequence.read_depth(frame) if sequence.has_depth else None
        rgb = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)
        snippet = Snippet(
            target=rgb[0],
            sources=rgb[1:],
            K=torch.from_numpy(sequence.camera.resized(self.size).K).float(),
            shifts=torch.tensor(shifts, dtype=torch.int64),
            T_source_target_gt=_motions(sequence, frames),
            valid=self._map(valid, fill=1).bool(),
            depth_gt=self._map(depth, fill=0).float(),
            names=(f"{sequence.name}/{frame:06d}",),
            pairs=position * len(shifts) + torch.arange(len(shifts)),
            taught=self._taught(number, frame),
            points=self._points(sequence, frame),
        )
        return snippet if self.variation is None else vary(snippet, self.variation, rng)

    def room(self) -> np.ndarray:
        """Count the frames before and after each target in its sequence. (len(self), 2) int"""
        return np.array([(f, len(self.sequences[n]) - 1 - f) for n, f in self.index])

    def plain(self) -> "SnippetDataset":
        """Return the same snippets without random changes."""
        same = copy(self)
        same.variation = None
        return same

    def _draw_shift(self, count: int, frame: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Draw a shift, all within the sequence alike; its sign says which frame is the later."""
        first, last = max(0, frame - self.random_shift), min(count - 1, frame + self.random_shift)
        return (int(rng.integers(first, last, endpoint=True)) - frame,)

    def _read(self, sequence: Sequence, frame: int) -> np.ndarray:
        image = sequence.read_frame(frame)
        if image.shape[:2] == self.size:
            return image
        shrinks = self.size[0] < image.shape[0]
        return cv2.resize(
            image, self.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )

    def _taught(self, number: int, frame: int) -> Tensor:
        """Read what the teacher says of a target. (2, H, W), or no pixel without teachers"""
        if self.teachers is None:
            return torch.zeros(2, 0, 0)
        teacher = self.teachers[number]
        stem = self.sequences[number].frames[frame].stem
        maps = None if teacher is None else teacher.read(stem, frame)
        return torch.cat([self._map(None if maps is None else maps[k], fill=0.0) for k in (0, 1)])

    def _points(self, sequence: Sequence, frame: int) -> Tensor:
        """Read the known keypoints of a target; no row where no sequence has any. (P, 2)"""
        if not self.has_points:
            return torch.zeros(0, 2)
        points = np.full((MOST_POINTS, 2), np.nan)
        if sequence.has_points:
            known = sequence.read_points(frame)[:MOST_POINTS]
            S = resize_matrix(sequence.camera.size, self.size)
            points[: len(known)] = known * S[[0, 1], [0, 1]] + S[:2, 2]
        return torch.from_numpy(points).float()

    def _map(self, values: np.ndarray | None, fill: float) -> Tensor:
        """Bring a one-channel map to the snippet's size by nearest pixel. (1, H, W)"""
        if values is None:
            return torch.full((1, *self.size), fill)
        values = values.astype(np.float32)
        if values.shape != self.size:
            values = cv2.resize(values, self.size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        return torch.from_numpy(values)[None]


def _motions(sequence: Sequence, frames: list[int]) -> Tensor:
    """Known T_source_target of a target and its sources, NaN where unknown. (S, 4, 4)"""
    if sequence.poses is None:
        return torch.full((len(frames) - 1, 4, 4), torch.nan)
    T_world = sequence.poses[frames]  # (1+S, 4, 4)
    motions = np.full((len(frames) - 1, 4, 4), np.nan)
    segments = sequence.segments()[frames]
    known = (segments[1:] == segments[0]) & (segments[0] >= 0)
    motions[known] = np.linalg.inv(T_world[1:][known]) @ T_world[0]
    return torch.from_numpy(motions).float()


class ShuffledBatches(Sampler[list[tuple[int, int]]]):
    """Batches of one process, from any step on: an order that depends on seed and epoch alone.

    Every epoch is a new permutation, cut into whole batches over all processes; each process takes
    its own slice of each batch. Hard positions, where there are some, take every second place.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        steps: range,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        hard: np.ndarray | None = None,
    ) -> None:
        if batch_size % processes:
            raise DataError(
                f"batch size {batch_size} does not divide over {processes} processes; "
                f"set optimizer.batch_size to a multiple of {processes}"
            )
        if count < batch_size:
            raise DataError(
                f"{count} snippets are fewer than one batch of {batch_size}; "
                "add frames or set a smaller optimizer.batch_size"
            )
        self.count, self.batch_size, self.steps, self.seed = count, batch_size, steps, seed
        self.hard = np.empty(0, int) if hard is None else hard
        self.share = slice(rank * batch_size // processes, (rank + 1) * batch_size // processes)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        per_epoch = self.count // self.batch_size
        current, order = -1, np.empty(0, int)
        for step in self.steps:
            epoch, place = divmod(step, per_epoch)
            if epoch != current:
                order = np.random.default_rng((self.seed, epoch)).permutation(self.count)
                current = epoch
            batch = order[place * self.batch_size : (place + 1) * self.batch_size]
            yield [(int(i), epoch) for i in self._with_hard(batch, step)[self.share]]

    def _with_hard(self, batch: np.ndarray, step: int) -> np.ndarray:
        """Put hard positions in place of every second one of a batch, as far as there are some."""
        places = np.arange(1, len(batch), 2)[: len(self.hard)]
        rng = np.random.default_rng((self.seed, step, 1))
        batch = batch.copy()
        batch[places] = rng.choice(self.hard, len(places), replace=False) if len(places) else []
        return batch


def build_loader(
    dataset: SnippetDataset, batches: Iterable[list[tuple[int, int]]], *, workers: int, pin: bool
) -> DataLoader:
    """Make a loader whose workers read with one thread each."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=workers,
        pin_memory=pin,
        persistent_workers=False,
        worker_init_fn=_use_one_thread if workers else None,
        prefetch_factor=4 if workers else None,
    )


def start_loader(loader: DataLoader) -> Iterator[Snippet]:
    """Start a loader. It draws a seed for its workers, which must not move the run's own RNG."""
    with torch.random.fork_rng(devices=[]):
        return iter(loader)


def _use_one_thread(worker: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
