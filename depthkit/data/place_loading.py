# SPDX-License-Identifier: Apache-2.0
"""Pictures in pairs that show one place: of sequences, of two dates, or of single pictures.

A source is a list of pictures of one world with what is known of them; the reader draws for each
picture another one of its place, anew each epoch.
"""

from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from depthkit.data.augment import Variation, vary
from depthkit.data.image_io import list_images, read_rgb
from depthkit.data.place_overlap import find_visits
from depthkit.data.sequence import Sequence
from depthkit.data.snippet import Snippet
from depthkit.data.snippet_loading import SnippetDataset
from depthkit.errors import DataError

RASTERS = "raster"
"""Folder of a sequence, of a folder of pictures and suffix of A and B: pictures of a second
modality, named as the first one's."""
_KEPT_PICTURES = 4096  # in memory, of the network's size


@dataclass(frozen=True, eq=False)
class PlaceSource:
    """Pictures of one world, and which of them show one place."""

    name: str
    pictures: tuple[Path, ...]
    same: tuple[np.ndarray, ...]
    """For each picture those of its place; itself alone where only another look at it is known; no
    one where it teaches nothing. (N_i,) int each"""
    places: np.ndarray
    """Position, and distance at which another place begins. (N, 4)"""
    rasters: tuple[Path, ...] = ()
    """Second modality of each picture; empty for none."""
    sequence: Sequence | None = None
    """Whose frames these are; its depth is the raster where there are no others."""
    rule: str = "pictures"
    """How places were told: depth, poses, tracks, pairs or pictures."""

    @property
    def usable(self) -> np.ndarray:
        """Which pictures have a picture of the same place. (N,) bool"""
        return np.array([len(found) > 0 for found in self.same], bool)


@dataclass(frozen=True)
class PlaceReading:
    """How sources are read."""

    size: tuple[int, int]
    """(H, W) of the pictures; each side is brought to it on its own."""
    variation: Variation | None = None
    """Random changes common to both pictures of a pair."""
    rasters: bool = False
    """Whether the second modality is read."""
    seed: int = 0
    """Seed for what is drawn."""


class PlaceDataset(SnippetDataset):
    """Snippets of a picture and one source: another picture of the same place."""

    def __init__(
        self,
        sources: SequenceOf[PlaceSource],
        reading: PlaceReading,
        *,
        targets: SequenceOf[np.ndarray] | None = None,
    ) -> None:
        """Index the pictures.

        Args:
            sources: worlds; pictures of different ones show different places.
            reading: how.
            targets: for each source, which pictures are asked for, (N,) bool; None for all.

        Raises:
            DataError: fewer than two pictures are left.
        """
        self.sources, self.reading = list(sources), reading
        self.sequences = [s.sequence for s in self.sources if s.sequence is not None]
        self.shifts, self.size, self.seed = (), reading.size, reading.seed
        self.variation, self.random_shift = reading.variation, 0
        self.teachers, self.window_shifts, self.hard = None, None, None
        self.index = []
        for number, source in enumerate(self.sources):
            wanted = source.usable if targets is None else source.usable & targets[number]
            self.index += [(number, int(i)) for i in np.flatnonzero(wanted)]
        if len(self.index) < 2:
            raise DataError(
                f"{len(self.index)} pictures with another one of the same place; a place is told "
                "from others, so 2 or more are needed"
            )
        self._read_already: dict[tuple[int, int], np.ndarray] = {}

    def __getitem__(self, item: tuple[int, int]) -> Snippet:
        """Read a picture and draw another one of its place; see `SnippetDataset`."""
        position, epoch = item
        number, target = self.index[position]
        source = self.sources[number]
        rng = np.random.default_rng((self.seed, epoch, position))
        other = int(rng.choice(source.same[target]))
        both = (target, other)
        rgb = _as_tensor(np.stack([self._picture(number, i) for i in both]))
        places = np.column_stack([np.full(2, number), source.places[list(both)]])
        snippet = Snippet(
            target=rgb[0],
            sources=rgb[1:],
            K=torch.eye(3),
            shifts=torch.tensor([other - target]),
            T_source_target_gt=torch.full((1, 4, 4), torch.nan),
            valid=torch.ones(1, *self.size, dtype=torch.bool),
            depth_gt=torch.zeros(1, *self.size),
            names=(f"{source.name}/{source.pictures[target].stem}",),
            pairs=torch.tensor([position]),
            places=torch.from_numpy(places).float(),
        )
        if self.reading.rasters:  # changes common to both pictures would miss their rasters
            rasters = np.stack([self._raster(source, i) for i in both])
            return replace(snippet, rasters=_as_tensor(rasters))
        return snippet if self.variation is None else vary(snippet, self.variation, rng)

    def _picture(self, number: int, i: int) -> np.ndarray:
        """Read a picture at the network's size, once. (H, W, 3) uint8"""
        known = self._read_already
        if (number, i) not in known:
            picture = _fit(read_rgb(self.sources[number].pictures[i]), self.size)
            if len(known) >= _KEPT_PICTURES:
                return picture
            known[number, i] = picture
        return known[number, i]

    def _raster(self, source: PlaceSource, i: int) -> np.ndarray:
        """Read the second modality of a picture. (H, W, 3) uint8"""
        if source.rasters:
            return _fit(read_rgb(source.rasters[i]), self.size)
        if source.sequence is None or not source.sequence.has_depth:
            raise DataError(
                f"{source.name}: holds no second modality; put pictures of the same names into "
                f"{RASTERS}/, or set model.place_second: none"
            )
        return _fit(depth_picture(source.sequence.read_depth(i)), self.size)


def depth_picture(depth: np.ndarray) -> np.ndarray:
    """Turn depth into a grey picture that is the same at any scale.

    The median depth has the value 128: v = 255 / (1 + depth / median); 0 where unknown.

    Args:
        depth: 0 where unknown. (H, W)

    Returns:
        (H, W, 3) uint8
    """
    known = depth > 0
    median = float(np.median(depth[known])) if known.any() else 1.0
    value = np.where(known, 255 / (1 + depth / median), 0)
    return np.repeat(np.rint(value).astype(np.uint8)[..., None], 3, 2)


# --- sources -------------------------------------------------------------------------------------


def sequence_source(sequence: Sequence, *, overlap: float, turned: float) -> PlaceSource:
    """Make a source of a sequence folder; see `find_visits`.

    Raises:
        DataError: no two frames show one place, or rasters do not fit the frames.
    """
    visits = find_visits(sequence, overlap=overlap, turned=turned)
    if not any(len(found) for found in visits.same):
        raise DataError(
            f"{sequence.name}: no two frames have {overlap:.0%} of the view in common "
            f"(by {visits.rule}); lower place.overlap, or leave it out"
        )
    rasters = _rasters_beside(sequence.frames, sequence.root / RASTERS)
    return PlaceSource(
        sequence.name, sequence.frames, visits.same, visits.places, rasters, sequence, visits.rule
    )


def paired_source(root: Path) -> PlaceSource:
    """Make a source of two folders, `A` and `B`, whose pictures of one name show one place.

    Raises:
        DataError: the names differ.
    """
    first, second = (list_images(root / name) for name in ("A", "B"))
    odd = sorted({p.stem for p in first} ^ {p.stem for p in second})
    if odd or len({p.stem for p in first}) != len(first):
        raise DataError(
            f"{root}: A and B must hold pictures of the same names, each once; "
            f"{', '.join(odd[:3]) or 'a name twice'} has no partner"
        )
    order = {path.stem: path for path in second}
    second = [order[path.stem] for path in first]
    rasters = zip(
        _rasters_beside(first, root / f"A_{RASTERS}"),
        _rasters_beside(second, root / f"B_{RASTERS}"),
        strict=True,
    )
    count = 2 * len(first)  # one after the other, so that whole places are held out
    return PlaceSource(
        root.name,
        tuple(path for pair in zip(first, second, strict=True) for path in pair),
        tuple(np.array([i ^ 1]) for i in range(count)),
        _apart(np.arange(count) // 2),
        tuple(path for pair in rasters for path in pair),
        rule="pairs",
    )


def picture_source(root: Path) -> PlaceSource:
    """Make a source of any pictures below a folder: each is a place of its own.

    Raises:
        DataError: no folder, or no picture in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of pictures")
    folders = sorted({root, *(p for p in root.rglob("*") if p.is_dir() and p.name != RASTERS)})
    pictures = tuple(path for folder in folders for path in list_images(folder))
    if not pictures:
        raise DataError(f"{root}: holds no picture")
    same = tuple(np.array([i]) for i in range(len(pictures)))
    rasters = _rasters_beside(pictures, root / RASTERS)
    return PlaceSource(root.name, pictures, same, _apart(np.arange(len(pictures))), rasters)


def _apart(numbers: np.ndarray) -> np.ndarray:
    """Put places of different numbers far from each other. (N, 4)"""
    return np.column_stack([numbers, np.zeros((len(numbers), 2)), np.full(len(numbers), 0.01)])


def _rasters_beside(pictures: SequenceOf[Path], folder: Path) -> tuple[Path, ...]:
    """Return the raster of each picture; none where there is no such folder.

    Raises:
        DataError: a picture has none.
    """
    if not folder.is_dir():
        return ()
    known = {path.stem: path for path in list_images(folder)}
    for path in pictures:
        if path.stem not in known:
            raise DataError(f"{folder}: no raster named {path.stem}, as {path} needs")
    return tuple(known[path.stem] for path in pictures)


def _fit(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    shrinks = size[0] < picture.shape[0]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(picture, size[::-1], interpolation=mode)


def _as_tensor(pictures: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [0, 1]"""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().div_(255)
