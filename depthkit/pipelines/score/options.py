# SPDX-License-Identifier: Apache-2.0
"""Options of each kind of `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from depthkit.errors import DataError
from depthkit.evaluation.depth import DepthProtocol
from depthkit.pipelines.checks import check_at_least, check_choices, check_positive
from depthkit.pipelines.models import EngineOptions
from depthkit.pipelines.odometry.options import ScaleSources
from depthkit.runtime.config import Quality, Rule
from depthkit.trajectory import Order


@dataclass(frozen=True)
class DepthOptions:
    """One run of `evaluate depth`."""

    pred: Path
    """Folder of predicted depth maps, or a sequence folder."""
    gt: Path
    """Folder of true depth maps, 0 = unknown, or a sequence folder."""
    pred_scale: float | None = None
    """Stored value per metre of the predictions; None: from their folder."""
    gt_scale: float | None = None
    """Stored value per metre of the truth."""
    protocol: DepthProtocol = field(default_factory=DepthProtocol)
    """Alignment, region and range."""
    report: Path | None = None
    """Folder of an HTML report to write."""
    force: bool = False
    """Write the report into a folder that has files."""

    def __post_init__(self) -> None:
        check_positive(pred_scale=self.pred_scale, gt_scale=self.gt_scale)


@dataclass(frozen=True)
class OdometryOptions:
    """One run of `evaluate odometry`."""

    estimates: tuple[Path, ...]
    """Trajectories to score, in any format that is read."""
    reference: Path
    """True trajectory, metres."""
    align: str = "none"
    """Fit of the estimate to the reference, a key of `ALIGNMENTS`."""
    max_gap: float = 0.01
    """Largest time between poses that pair, seconds; not used for KITTI."""
    snippets: int = 5
    """Frames in a snippet of the snippet ATE."""
    repeats: Literal["error", "first"] = "error"
    """What to do with a stamp that repeats: refuse the file, or keep its first pose."""
    quaternion: Order | None = None
    """Order in the estimates; None for header, first pose and reference to decide."""
    reference_quaternion: Order | None = None
    """Order in the reference."""
    time_unit: Literal["auto", "s", "ms", "us", "ns"] = "auto"
    """Unit of the stamps in all files."""
    save: Path | None = None
    """File of the scores to write, for `evaluate compare`."""
    report: Path | None = None
    """Folder of an HTML report to write."""
    force: bool = False
    """Write the report into a folder that has files."""

    def __post_init__(self) -> None:
        check_choices(self)


@dataclass(frozen=True)
class FlowOptions:
    """One run of `evaluate flow`."""

    pred: Path
    """Folder of predicted flow, pixels."""
    gt: Path
    """True flow: a folder, a sequence folder, a data set, KITTI's or Middlebury's folders."""
    report: Path | None = None
    """Folder of an HTML report to write."""
    force: bool = False
    """Write the report into a folder that has files."""


@dataclass(frozen=True)
class ModelOptions:
    """One run of `evaluate model`."""

    model: Path
    """Exported .onnx, run folder, checkpoint, or a shipped model's name; or the word sweep."""
    sequences: tuple[Path, ...]
    """Sequence folders with depth; a data set folder stands for its test sequences."""
    baselines: tuple[float, ...] = ()
    """Pair networks: metres between the two cameras, a row each."""
    shifts: tuple[int, ...] = ()
    """Pair networks: frames from target to source, -3 for three earlier, a row each."""
    rule: Rule | None = None
    """Pair networks: stream the sequences with this choice of earlier frames."""
    quality: Quality | None = None
    """Sweep: working size; None for normal."""
    similarity: str | None = None
    """Sweep: census, zncc, or an exported network of kind features; None for census."""
    poses: Literal["odometry"] | None = None
    """Sweep, or pairs with a rule: the motion is found in the frames; None for the sequences' own
    poses. Single frames: depth is fitted to the points of that odometry."""
    scale: ScaleSources = ScaleSources()
    """What gives that odometry metres."""
    protocol: DepthProtocol = field(default_factory=DepthProtocol)
    """Alignment and range."""
    every: int = 1
    """Score every n-th frame."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """What the network runs on."""
    report: Path | None = None
    """Folder of an HTML report to write."""
    force: bool = False
    """Write the report into a folder that has files."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, every=self.every)
        for baseline in self.baselines:
            check_positive(baselines=baseline)
        if self.baselines and self.shifts:
            raise DataError("baselines and shifts pair frames in two ways; give one of the two")
        if self.scale.names and not self.poses:
            raise DataError(
                f"{self.scale.names[0]}: gives an odometry metres; give --poses odometry"
            )
        if not self.sequences:
            raise DataError("no sequence to score on; give at least one folder")


@dataclass(frozen=True)
class PlaceRules:
    """What counts as one place."""

    radius: float = 5.0
    """Poses: largest distance of a right place, metres; within twice that, a match is not false."""
    angle: float = 45.0
    """Poses: largest angle between the optical axes of a right place, degrees."""
    apart: float | None = None
    """One recording: least path between a query and its candidates, metres; None for ten radii."""
    tolerance: int = 0
    """Matched pictures: largest difference of their numbers that is right."""
    turned: bool = False
    """Matched pictures: each query is asked in four quarter turns, as of a camera that looks down
    and may head anywhere."""

    def __post_init__(self) -> None:
        check_positive(radius=self.radius, apart=self.apart, angle=self.angle)
        check_at_least(0, tolerance=self.tolerance)

    @property
    def path_apart(self) -> float:
        """Least path between a query and its candidates, metres."""
        return 10 * self.radius if self.apart is None else self.apart


@dataclass(frozen=True)
class PlacesOptions:
    """One run of `evaluate places`."""

    data: Path
    """Recordings of places with a truth; the queries where a database is given."""
    database: Path | None = None
    """A second recording of the same places."""
    models: tuple[Path, ...] = ()
    """Networks of kind place: exported .onnx, run folders, checkpoints, or shipped names."""
    imagenet: Path | None = None
    """ONNX file of ImageNet features: (1, 3, H, W) to (1, C, h, w) or (1, C)."""
    fuse: Literal["concat", "late"] | None = None
    """How the models become one: descriptors joined, or lists of answers merged."""
    sizes: tuple[int, ...] = ()
    """Lengths of codes of the table of compactness."""
    fit: Path | None = None
    """Folder of pictures that the axes of shorter codes are learnt on; None for the database."""
    rules: PlaceRules = field(default_factory=PlaceRules)
    """What counts as one place."""
    threshold: float | None = None
    """Similarity above which the model's matches are accepted; None to calibrate."""
    engine: EngineOptions = field(default_factory=EngineOptions)
    """What the networks run on."""
    report: Path | None = None
    """Folder of an HTML report to write."""
    force: bool = False
    """Write the report into a folder that has files."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_at_least(1, sizes=min(self.sizes, default=None))
        if self.fuse and len(self.models) < 2:
            raise DataError(f"--fuse {self.fuse} joins models; give --model twice or more")
        if self.threshold is not None and len(self.models) != 1 and not self.fuse:
            count = len(self.models)
            raise DataError(f"--threshold belongs to one model, {count} are given; name one")
        if self.fit is not None and not self.sizes:
            raise DataError("--fit learns shorter codes; give their --sizes")
